//! New files and folders for people: whole or not there at all.
//!
//! They are made under a temporary name beside their place and renamed at the end. What is there
//! already is refused unless its replacement was asked for; that is found out before the work, and
//! again when the name is given.
//!
//! A name is given at once in every case: whoever looks sees the whole or nothing. What a power cut in
//! the next half minute may take is the caller's choice, [`Durability`].

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::hashed::{HashedFile, Unpublished};
use super::{DiskError, IoContext, atomic};

/// When bytes reach the disk itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before the name is given: who has the name has the bytes, whatever happens.
    Synced,
    /// When the system sees fit, as with `cp`: after a power cut the name may stand for less than was
    /// written. For what can be made again and is recorded with its digest.
    LeftToSystem,
}

/// The folder that a path is in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes a file; gives back what `write` does, and the file's digest and length.
pub fn file<T, E: From<DiskError>>(
    out: &Path,
    replace: bool,
    durability: Durability,
    write: impl FnOnce(&mut HashedFile) -> Result<T, E>,
) -> Result<(T, crate::base::digest::Digest, u64), E> {
    refuse_existing(out, replace)?;
    let mut file = HashedFile::create_with_exact_mode(folder_of(out), 0o644)?;
    let done = write(&mut file)?;
    let finished: Unpublished = file.finish_as(durability)?;
    let (digest, bytes) = (finished.digest, finished.bytes);
    finished.persist(out, replace)?;
    Ok((done, digest, bytes))
}

/// Makes a folder; `write` fills it under its temporary name.
pub fn folder<T, E: From<DiskError>>(
    out: &Path,
    replace: bool,
    durability: Durability,
    write: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    refuse_existing(out, replace)?;
    let beside = folder_of(out);
    let folder =
        tempfile::Builder::new().prefix(".tmp-").tempdir_in(beside).at("create a folder in", beside)?;
    let done = write(folder.path())?;
    for entry in std::fs::read_dir(folder.path()).at("list", folder.path())? {
        let path = entry.at("list", folder.path())?.path();
        if path.is_file() {
            let readable = std::fs::Permissions::from_mode(0o644);
            std::fs::set_permissions(&path, readable).at("open to others", &path)?;
        }
    }
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).at("open to others", folder.path())?;
    if replace && out.exists() {
        let removed = if out.is_dir() { std::fs::remove_dir_all(out) } else { std::fs::remove_file(out) };
        removed.at("remove", out)?;
    }
    std::fs::rename(folder.path(), out).at("write", out)?;
    // It has another name now, so there is nothing left to remove.
    drop(folder.keep());
    if durability == Durability::Synced {
        atomic::sync_folder(beside)?;
    }
    Ok(done)
}

fn refuse_existing(out: &Path, replace: bool) -> Result<(), DiskError> {
    if replace || std::fs::symlink_metadata(out).is_err() {
        return Ok(());
    }
    let message = "it is there already; --force replaces it";
    Err(std::io::Error::new(std::io::ErrorKind::AlreadyExists, message)).at("write", out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sink::ArtifactSink;

    fn write(out: &Path, replace: bool, text: &str) -> Result<(), DiskError> {
        let write = |file: &mut HashedFile| file.write(text.as_bytes()).at("write", out);
        file(out, replace, Durability::LeftToSystem, write).map(|((), ..)| ())
    }

    #[test]
    fn files_are_whole_and_not_replaced_by_accident() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("a");
        write(&out, false, "one").unwrap();
        assert!(write(&out, false, "two").unwrap_err().to_string().contains("--force"));
        write(&out, true, "two").unwrap();
        assert_eq!(std::fs::read(&out).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_fails_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("a");
        let fill = |folder: &Path| std::fs::write(folder.join("x"), "1").at("write", folder);
        let fail = |inner: &Path| {
            fill(inner)?;
            std::fs::read(inner.join("none")).map(drop).at("read", inner)
        };
        assert!(folder(&out, false, Durability::Synced, fail).is_err());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
        folder(&out, false, Durability::LeftToSystem, fill).unwrap();
        assert!(folder(&out, false, Durability::Synced, fill).is_err());
        folder(&out, true, Durability::Synced, fill).unwrap();
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
