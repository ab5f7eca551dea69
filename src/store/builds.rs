//! What an action was executed on: a note beside its result, which no result, record or key depends on.
//!
//! Written before the result, so that there is no result that was made here without one. Who signs asks for
//! it; who does not, never does.

use std::path::PathBuf;

use super::{Store, StoreError};
use crate::base::digest::ActionKey;
use crate::disk::atomic;
use crate::disk::small::read_small;

impl Store {
    fn build_path(&self, key: &ActionKey) -> PathBuf {
        let hex = key.to_hex();
        self.root.join("builds").join(&hex[..2]).join(&hex[2..])
    }

    /// The note of who executed an action; none if it was executed elsewhere, or without keys.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if there is one and it cannot be read, is no file or has more than `most` bytes.
    pub fn build_note(&self, key: &ActionKey, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
        match read_small("read the note", &self.build_path(key), most) {
            Err(error) if error.is_not_found() => Ok(None),
            other => Ok(Some(other?)),
        }
    }

    /// Keeps the note of the last execution of an action.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if it cannot be written.
    pub fn note_build(&self, key: &ActionKey, note: &[u8]) -> Result<(), StoreError> {
        self.at_work()?;
        Ok(atomic::replace_content(&self.build_path(key), note)?)
    }
}
