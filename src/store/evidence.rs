//! Facts brought from outside: approvals now, browser runs and external evaluations later.
//!
//! A fact is stored under what it is about (the candidate's manifest) and the gate it is for. It is
//! an input of the stage that reads it, so bringing one changes that stage's key and nothing else.

use std::path::PathBuf;

use super::{Store, StoreError};
use crate::base::digest::Digest;
use crate::base::name::Name;
use crate::disk::atomic;
use crate::disk::small::read_small;

/// A document brought for a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
}

/// The largest document that can be brought.
const MAX_BROUGHT: u64 = 16 << 20;

impl Store {
    fn evidence_path(&self, manifest: &Digest, gate: &Name) -> PathBuf {
        self.root.join("evidence").join(manifest.to_hex()).join(format!("{gate}.json"))
    }

    /// What was brought for a gate of the candidate with this manifest.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if there is something and it cannot be read, or has more than 16 MiB.
    pub fn brought(&self, manifest: &Digest, gate: &Name) -> Result<Option<Brought>, StoreError> {
        let path = self.evidence_path(manifest, gate);
        let bytes = match read_small("read", &path, MAX_BROUGHT) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        let digest = Digest::of(&bytes);
        Ok(Some(Brought { bytes, digest }))
    }

    /// Brings a document for a gate, replacing an earlier one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if it cannot be written.
    pub fn bring(&self, manifest: &Digest, gate: &Name, bytes: &[u8]) -> Result<(), StoreError> {
        self.at_work()?;
        Ok(atomic::replace(&self.evidence_path(manifest, gate), bytes)?)
    }
}
