//! What a cycle's registry was published as: the record of every publication under its SHA-256, and every
//! root of its metadata. The folder that browsers see can be made again from them.

use std::path::PathBuf;

use super::{Store, StoreError};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::disk::atomic;
use crate::disk::small::read_small;

/// Longest root or record that is read.
const MAX_RELEASE: u64 = 4 << 20;

impl Store {
    fn release_path(&self, cycle: &Name, name: &str) -> PathBuf {
        self.root.join("releases").join(cycle.as_str()).join(name)
    }

    /// The record of a publication.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if there is none, or it cannot be read or has more than 4 MiB. Whether it has this
    /// digest is not asked.
    pub fn release(&self, cycle: &Name, record: Sha256) -> Result<Vec<u8>, StoreError> {
        let path = self.release_path(cycle, &format!("{record}.json"));
        Ok(read_small("read the publication", &path, MAX_RELEASE)?)
    }

    /// The root of a registry's metadata with this digest.
    ///
    /// # Errors
    ///
    /// As [`Self::release`].
    pub fn release_root(&self, cycle: &Name, root: Sha256) -> Result<Vec<u8>, StoreError> {
        let path = self.release_path(cycle, &format!("{root}.root.json"));
        Ok(read_small("read the root", &path, MAX_RELEASE)?)
    }

    /// Keeps the record of a publication and its roots.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if they cannot be written; the record is the last.
    pub fn keep_release(&self, cycle: &Name, record: &[u8], roots: &[Vec<u8>]) -> Result<(), StoreError> {
        self.at_work()?;
        let name = |bytes: &[u8], end: &str| format!("{}{end}", Sha256::of(bytes));
        for root in roots {
            atomic::replace(&self.release_path(cycle, &name(root, ".root.json")), root)?;
        }
        Ok(atomic::replace(&self.release_path(cycle, &name(record, ".json")), record)?)
    }
}
