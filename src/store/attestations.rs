//! Signed statements about records, each under the SHA-256 of its record.
//!
//! They are no inputs of any stage: signing changes no record and no key of an action. One that another key signs anew
//! is kept in a folder beside, with the length of the ledger at that time: what was decided until then was decided on it.

use std::path::PathBuf;

use super::{Store, StoreError};
use crate::base::digest::Sha256;
use crate::disk::small::read_small;
use crate::disk::{IoContext, atomic};

/// Where attestations are kept that were made anew since, below the others.
const EARLIER: &str = "earlier";

/// An attestation that was made anew since.
#[derive(Debug)]
pub struct Earlier {
    /// Its record.
    pub record: Sha256,
    /// How many entries the ledger had by then.
    pub entries: u64,
    /// What it was; none if that cannot be read.
    pub bytes: Option<Vec<u8>>,
}

impl Store {
    fn earlier_attestations_path(&self) -> PathBuf {
        self.root.join("attestations").join(EARLIER)
    }

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

    /// Keeps an attestation that is about to be replaced while the ledger has so many entries.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if it cannot be written.
    pub fn keep_attestation(&self, record: Sha256, entries: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.at_work()?;
        let name = format!("{record}.{entries}.{}.json", Sha256::of(bytes));
        Ok(atomic::replace(&self.earlier_attestations_path().join(name), bytes)?)
    }

    /// Every attestation that was made anew since, of at most so many bytes each.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if they cannot be listed.
    pub fn earlier_attestations(&self, most: u64) -> Result<Vec<Earlier>, StoreError> {
        let folder = self.earlier_attestations_path();
        let listed = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.at("list", &folder)?,
        };
        let mut found = Vec::new();
        for entry in listed {
            let path = entry.at("list", &folder)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let mut parts = name.split('.');
            let (record, entries) = (parts.next(), parts.next());
            let record = record.and_then(|record| record.parse().ok());
            // Half-written files have other names.
            let Some((record, entries)) = record.zip(entries.and_then(|it| it.parse().ok())) else {
                continue;
            };
            found.push(Earlier { record, entries, bytes: read_small("read", &path, most).ok() });
        }
        found.sort_by_key(|it| (it.record, it.entries));
        Ok(found)
    }
}
