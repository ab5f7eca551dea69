//! What one process signs with, and whose signatures it demands.

use std::path::Path;

use super::keyring;
use super::{Keyring, PublicKey, Role, SecretKey, TRUST_FILE, Trust, TrustError, TrustedKey};
use crate::base::name::Name;

/// The folder of keys beside a plan, where no other is named.
pub const KEYS_FOLDER: &str = "keys";

/// A trust file and a folder of keys, either of which may be missing.
#[derive(Debug, Clone, Default)]
pub struct Custody {
    trust: Option<Trust>,
    keyring: Option<Keyring>,
}

impl Custody {
    /// What lies in a plan's folder: `trust.toml`, and `keys/` unless another folder is named.
    ///
    /// # Errors
    ///
    /// If there is a trust file that cannot be read or has a mistake.
    pub fn of(folder: &Path, keys: Option<&Path>) -> Result<Self, TrustError> {
        let file = folder.join(TRUST_FILE);
        // A dangling link is a trust file that is gone, not one that never was.
        let trust = if file.symlink_metadata().is_ok() { Some(Trust::load(&file)?) } else { None };
        let own = folder.join(KEYS_FOLDER);
        let keyring = match keys {
            Some(named) => Some(Keyring::at(named)),
            None => own.is_dir().then(|| Keyring::at(own)),
        };
        Ok(Self { trust, keyring })
    }

    /// Whose signatures count; none demands nothing.
    pub fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    /// Whether there is a folder of keys.
    pub fn has_keys(&self) -> bool {
        self.keyring.is_some()
    }

    /// The key of a role, if there is one. One that the trust file does not know is refused: what it
    /// signed would be refused later.
    ///
    /// # Errors
    ///
    /// If the key cannot be read, others can read it, or the trust file does not have it for what the role signs.
    pub fn signer(&self, role: Role) -> Result<Option<SecretKey>, TrustError> {
        let Some(key) = self.keyring.as_ref().map(|ring| ring.secret(role)).transpose()?.flatten() else {
            return Ok(None);
        };
        if let Some(trust) = &self.trust {
            for claim in role.claims() {
                trust.allowed(key.public().id(), *claim)?;
            }
        }
        Ok(Some(key))
    }

    /// Every public key there is: those of the trust file, or without one those of the folder of keys, each
    /// for what its role may sign.
    ///
    /// # Errors
    ///
    /// If the folder of keys or a key in it cannot be read.
    pub fn public_keys(&self) -> Result<Trust, TrustError> {
        if let Some(trust) = &self.trust {
            return Ok(trust.clone());
        }
        let files = self.keyring.as_ref().map(Keyring::list).transpose()?.unwrap_or_default();
        let known = files.into_iter().map(|file| TrustedKey {
            name: file.stem,
            role: file.role,
            public: file.public,
            claims: file.role.claims().to_vec(),
        });
        Ok(Trust::of(known))
    }

    /// Every key of a role, `ROLE` and `ROLE.NAME`, by stem, with its secret half where that is at hand.
    ///
    /// # Errors
    ///
    /// If the folder of keys or a key of the role cannot be read, or others can read a secret one.
    pub fn keys_of(&self, role: Role) -> Result<Vec<(Name, PublicKey, Option<SecretKey>)>, TrustError> {
        let Some(ring) = &self.keyring else { return Ok(Vec::new()) };
        let mut keys = Vec::new();
        for file in ring.list()?.into_iter().filter(|file| file.role == role) {
            let secret =
                if file.signs { Some(keyring::read_secret(&ring.secret_path(&file.stem))?) } else { None };
            keys.push((file.stem, file.public, secret));
        }
        Ok(keys)
    }

    /// The keys of which one must have signed a checkpoint; none at all demand nothing.
    pub fn log_keys(&self) -> Vec<PublicKey> {
        let trusted = self.trust.iter().flat_map(|trust| trust.for_claim(super::Claim::Checkpoint));
        trusted.map(|key| key.public.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_nobody_vouched_for_signs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let custody = || Custody::of(folder.path(), None).unwrap();
        assert!(custody().signer(Role::Log).unwrap().is_none() && custody().trust().is_none());
        let ring = Keyring::at(folder.path().join(KEYS_FOLDER));
        let log = ring.generate(Role::Log, None).unwrap();
        assert_eq!(custody().signer(Role::Log).unwrap().unwrap().public(), log.public);
        assert_eq!(custody().log_keys(), []);
        std::fs::write(folder.path().join(TRUST_FILE), "").unwrap();
        let error = custody().signer(Role::Log).unwrap_err();
        assert!(matches!(error, TrustError::UnknownKey(_)), "{error}");
        let entry = Trust::entry("log", Role::Log, &log.public);
        std::fs::write(folder.path().join(TRUST_FILE), entry).unwrap();
        assert_eq!(custody().log_keys(), [log.public]);
        assert!(custody().signer(Role::Log).unwrap().is_some());
    }
}
