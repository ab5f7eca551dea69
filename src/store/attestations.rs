//! Signed statements about records, each under the SHA-256 of its record.
//!
//! They are no inputs of any stage: signing changes no record and no key of an action.

use std::path::PathBuf;

use super::{Store, StoreError};
use crate::base::digest::Sha256;
use crate::disk::{IoContext, atomic};

impl Store {
    fn attestation_path(&self, record: Sha256) -> PathBuf {
        self.root.join("attestations").join(format!("{record}.json"))
    }

    /// Whether anything was ever signed here.
    pub fn has_attestations(&self) -> bool {
        self.root.join("attestations").exists()
    }

    /// The attestation of a record; none if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if there is one and it cannot be read, is no plain file or has more than `most`
    /// bytes; the last two are told before it is read.
    pub fn attestation(&self, record: Sha256, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.attestation_path(record);
        let metadata = match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.at("examine", &path)?,
        };
        if !metadata.is_file() || metadata.len() > most {
            let error = std::io::Error::other(format!("is no plain file of at most {most} bytes"));
            return Err(error).at("read", &path)?;
        }
        Ok(Some(std::fs::read(&path).at("read", &path)?))
    }

    /// Keeps the attestation of a record, in place of an earlier one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if it cannot be written.
    pub fn attest(&self, record: Sha256, bytes: &[u8]) -> Result<(), StoreError> {
        self.at_work()?;
        Ok(atomic::replace(&self.attestation_path(record), bytes)?)
    }
}
