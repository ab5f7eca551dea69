//! A folder of keys: `ROLE.pem` or `ROLE.NAME.pem`, each with its public half beside it.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{PublicKey, Role, SecretKey, TrustError};
use crate::base::name::Name;
use crate::disk::{IoContext, atomic};

const SECRET: &str = ".pem";
const PUBLIC: &str = ".pub.pem";
/// No key file is longer.
const MAX_KEY_FILE: u64 = 4096;

/// One key of a folder, by its public half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// What it is for.
    pub role: Role,
    /// `ROLE` or `ROLE.NAME`: its files' common stem.
    pub stem: Name,
    /// The public half.
    pub public: PublicKey,
    /// Whether the secret half is there, too.
    pub signs: bool,
}

/// A folder of keys.
#[derive(Debug, Clone)]
pub struct Keyring {
    folder: PathBuf,
}

impl Keyring {
    /// The keys in `folder`, which need not exist.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a key's secret half lies.
    pub fn secret_path(&self, stem: &Name) -> PathBuf {
        self.folder.join(format!("{stem}{SECRET}"))
    }

    /// Where a key's public half lies.
    pub fn public_path(&self, stem: &Name) -> PathBuf {
        self.folder.join(format!("{stem}{PUBLIC}"))
    }

    /// Makes a key. One that is there is never replaced: what it signed would lose its name.
    ///
    /// # Errors
    ///
    /// [`TrustError::Exists`] if there is a key of that name; else if the folder cannot be written.
    pub fn generate(&self, role: Role, name: Option<&Name>) -> Result<KeyFile, TrustError> {
        let stem = stem(role, name)?;
        let key = SecretKey::generate_for(role.algorithm())?;
        let (secret, public) = (self.secret_path(&stem), self.public_path(&stem));
        std::fs::create_dir_all(&self.folder).at("create the folder", &self.folder)?;
        if public.exists() {
            return Err(TrustError::Exists(public));
        }
        let opened = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&secret);
        let mut file = match opened {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(TrustError::Exists(secret));
            }
            other => other.at("create", &secret)?,
        };
        file.write_all(key.to_pem().as_bytes()).and_then(|()| file.sync_all()).at("write", &secret)?;
        atomic::replace(&public, key.public().to_pem().as_bytes())?;
        Ok(KeyFile { role, stem, public: key.public(), signs: true })
    }

    /// Every key, by stem.
    ///
    /// # Errors
    ///
    /// If the folder or a public key in it cannot be read.
    pub fn list(&self) -> Result<Vec<KeyFile>, TrustError> {
        let mut keys = Vec::new();
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(keys),
            other => other.at("list", &self.folder)?,
        };
        for entry in entries {
            let name = entry.at("list", &self.folder)?.file_name();
            let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(PUBLIC)) else { continue };
            let word = stem.split('.').next().unwrap_or_default();
            let (Some(role), Ok(stem)) = (Role::from_word(word), stem.parse::<Name>()) else { continue };
            let public = read_public(&self.public_path(&stem))?;
            let signs = self.secret_path(&stem).exists();
            keys.push(KeyFile { role, stem, public, signs });
        }
        keys.sort_by(|a, b| a.stem.cmp(&b.stem));
        Ok(keys)
    }

    /// The secret key of a role without a name; none if there is none.
    ///
    /// # Errors
    ///
    /// As [`read_secret`] but for a file that is not there, and if it is a key of another kind than the role has.
    pub fn secret(&self, role: Role) -> Result<Option<SecretKey>, TrustError> {
        let path = self.secret_path(&stem(role, None)?);
        match read_secret(&path) {
            Err(TrustError::Disk(error)) if error.is_not_found() => Ok(None),
            Ok(key) if key.public().algorithm() != role.algorithm() => {
                Err(bad(&path, &format!("is no {} key", role.algorithm().word())))
            }
            other => other.map(Some),
        }
    }
}

fn stem(role: Role, name: Option<&Name>) -> Result<Name, TrustError> {
    let Some(name) = name else { return Ok(role.word().parse().expect("roles are names")) };
    let text = format!("{role}.{name}");
    let why = if name.as_str() == "pub" || name.as_str().ends_with(".pub") {
        Some("cannot be named `pub`: that marks public halves".to_owned())
    } else {
        text.parse::<Name>().err().map(|error| format!("cannot be named so: {error}"))
    };
    match why {
        Some(why) => Err(TrustError::BadKey { path: text.into(), why }),
        None => Ok(text.parse().expect("just looked at")),
    }
}

/// Reads a secret key; one that others can read is refused.
///
/// # Errors
///
/// [`TrustError::Exposed`] if others can read it, [`TrustError::BadKey`] if it is none; else if it cannot be read.
pub fn read_secret(path: &Path) -> Result<SecretKey, TrustError> {
    let mut file = open(path)?;
    let mode = file.metadata().at("examine", path)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(TrustError::Exposed { path: path.to_owned(), mode });
    }
    let text = read(&mut file, path)?;
    SecretKey::from_pem(&text).map_err(|why| bad(path, &why))
}

/// Reads a public key.
///
/// # Errors
///
/// [`TrustError::BadKey`] if it is none; else if it cannot be read.
pub fn read_public(path: &Path) -> Result<PublicKey, TrustError> {
    let text = read(&mut open(path)?, path)?;
    PublicKey::from_pem(&text).map_err(|why| bad(path, &why))
}

fn bad(path: &Path, why: &str) -> TrustError {
    TrustError::BadKey { path: path.to_owned(), why: why.to_owned() }
}

fn open(path: &Path) -> Result<std::fs::File, TrustError> {
    // Looked at first: opening a FIFO would wait for ever.
    if !std::fs::metadata(path).at("open the key", path)?.is_file() {
        return Err(bad(path, "is not a plain file"));
    }
    Ok(std::fs::File::open(path).at("open the key", path)?)
}

fn read(file: &mut std::fs::File, path: &Path) -> Result<Zeroizing<String>, TrustError> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_KEY_FILE as usize + 1));
    let read = file.take(MAX_KEY_FILE + 1).read_to_string(&mut text);
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(bad(path, "is not text")),
        Err(error) => Err(error).at("read the key", path)?,
        Ok(bytes) if bytes as u64 > MAX_KEY_FILE => Err(bad(path, "is too long for a key")),
        Ok(_) => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn makes_finds_and_never_replaces_keys() {
        let folder = tempfile::tempdir().unwrap();
        let ring = Keyring::at(folder.path().join("keys"));
        assert_eq!(ring.list().unwrap(), []);
        assert!(ring.secret(Role::Log).unwrap().is_none());
        let log = ring.generate(Role::Log, None).unwrap();
        let ada = ring.generate(Role::Approver, Some(&"ada".parse().unwrap())).unwrap();
        assert_eq!(ring.list().unwrap(), [ada.clone(), log.clone()]);
        assert_eq!(ring.secret(Role::Log).unwrap().unwrap().public(), log.public);
        assert!(ring.secret(Role::Approver).unwrap().is_none(), "ada's key is not everybody's");
        assert_eq!(read_secret(&ring.secret_path(&ada.stem)).unwrap().public(), ada.public);
        assert!(matches!(ring.generate(Role::Log, None), Err(TrustError::Exists(_))));
        assert!(ring.generate(Role::Log, Some(&"pub".parse().unwrap())).is_err());
        let mode = std::fs::metadata(ring.secret_path(&log.stem)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_exposed_or_damaged_secret_is_refused_without_being_shown() {
        let folder = tempfile::tempdir().unwrap();
        let ring = Keyring::at(folder.path());
        let key = ring.generate(Role::Producer, None).unwrap();
        let path = ring.secret_path(&key.stem);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = ring.secret(Role::Producer).unwrap_err();
        assert!(matches!(error, TrustError::Exposed { mode: 0o644, .. }), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let body = text.lines().nth(1).unwrap().to_owned();
        for damaged in [text.replace("MC4", "MC5"), text.replace("PRIVATE", "RSA PRIVATE"), body.clone()] {
            std::fs::write(&path, damaged).unwrap();
            let error = ring.secret(Role::Producer).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains(&body[10..30]), "{shown}");
        }
    }
}
