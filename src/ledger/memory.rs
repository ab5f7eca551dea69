//! The heads this reader has accepted, kept outside the ledger.
//!
//! Whoever can write the ledger can write it anew, chain and head and all; nothing inside it tells.
//! What tells is a reader who has seen it before. The file holds the head of one log, only ever a later
//! one, and lies where the ledger's writer has no business.
//!
//! A log names itself. If a second name were simply remembered beside the first, a log written anew under
//! another one would be a first sight, and nobody would miss the old log: another log needs another memory.
//! Files that remember several from earlier versions still tell of each of them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::LedgerError;
use super::checkpoint::{Head, read_bounded};
use crate::base::canonical;
use crate::disk::lock::Lock;
use crate::disk::{IoContext, atomic};

/// The memory format written here; no other is read.
const MEMORY_VERSION: u32 = 2;
/// The longest memory file.
const MAX_MEMORY: u64 = 4 << 20;

/// A file of remembered heads.
#[derive(Debug, Clone)]
pub struct Memory {
    path: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    version: u32,
    heads: Vec<Head>,
}

impl Memory {
    /// The memory in the file `path`, which need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last head accepted for `origin`; none means trust on first use. Who remembers only other logs
    /// does not see this one for the first time: it is there in their place.
    ///
    /// # Errors
    ///
    /// If the memory cannot be read, or is of another log.
    pub fn recall(&self, origin: &str) -> Result<Option<Head>, LedgerError> {
        let heads = self.read()?;
        match heads.iter().find(|head| head.origin == origin) {
            Some(head) => Ok(Some(head.clone())),
            None => self.no_other_than(origin, &heads).map(|()| None),
        }
    }

    /// Refuses `origin` if another log is remembered, and says which.
    ///
    /// # Errors
    ///
    /// If there is one, or the memory cannot be read.
    pub fn knows_no_other_than(&self, origin: &str) -> Result<(), LedgerError> {
        self.no_other_than(origin, &self.read()?)
    }

    fn no_other_than(&self, origin: &str, heads: &[Head]) -> Result<(), LedgerError> {
        let Some(head) = heads.iter().find(|head| head.origin != origin) else { return Ok(()) };
        let (path, found, remembered) = (self.path.clone(), origin.to_owned(), head.clone());
        Err(LedgerError::OtherLog { path, found, remembered })
    }

    /// Remembers an accepted head. One that is older than what is remembered is refused, and so is another
    /// log.
    ///
    /// # Errors
    ///
    /// If `head` is one of those, or the memory cannot be read or written.
    pub fn remember(&self, head: &Head) -> Result<(), LedgerError> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).at("create the folder", folder)?;
        }
        let _held = Lock::exclusive(&self.path.with_extension("lock"))?;
        let mut heads = self.read()?;
        match heads.iter_mut().find(|known| known.origin == head.origin) {
            Some(known) if known == head => return Ok(()),
            Some(known) if known.size > head.size => {
                return Err(LedgerError::RolledBack { remembered: known.size, found: head.size });
            }
            Some(known) if known.size == head.size => {
                let (expected, found) = (known.root, head.root);
                return Err(LedgerError::Replaced { size: head.size, expected, found });
            }
            Some(known) => known.clone_from(head),
            None => {
                self.no_other_than(&head.origin, &heads)?;
                heads.push(head.clone());
            }
        }
        heads.sort_by(|a, b| a.origin.cmp(&b.origin));
        let bytes = canonical::to_vec(&Remembered { version: MEMORY_VERSION, heads })
            .map_err(|error| self.bad(error.to_string()))?;
        Ok(atomic::replace(&self.path, &bytes)?)
    }

    fn bad(&self, why: String) -> LedgerError {
        LedgerError::BadMemory { path: self.path.clone(), why }
    }

    fn read(&self) -> Result<Vec<Head>, LedgerError> {
        let Some(bytes) = read_bounded(&self.path, MAX_MEMORY)? else { return Ok(Vec::new()) };
        let bytes = bytes.map_err(|why| self.bad(why))?;
        let read: Remembered = canonical::from_slice(&bytes).map_err(|error| self.bad(error.to_string()))?;
        if read.version != MEMORY_VERSION {
            return Err(self.bad(format!("have version {}, expected {MEMORY_VERSION}", read.version)));
        }
        for head in &read.heads {
            head.validate().map_err(|why| self.bad(format!("hold a head that {why}")))?;
        }
        if !read.heads.is_sorted_by(|a, b| a.origin < b.origin) {
            return Err(self.bad("hold an origin twice or out of order".to_owned()));
        }
        Ok(read.heads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::Sha256;

    fn head(origin: &str, size: u64, last: &[u8]) -> Head {
        Head { origin: origin.to_owned(), size, root: Sha256::of(last) }
    }

    #[test]
    fn only_moves_forward() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::at(folder.path().join("deep/heads"));
        assert_eq!(memory.recall("a").unwrap(), None);
        memory.remember(&head("b", 3, b"3")).unwrap();
        memory.remember(&head("b", 5, b"5")).unwrap();
        memory.remember(&head("b", 5, b"5")).unwrap();
        assert_eq!(memory.recall("b").unwrap(), Some(head("b", 5, b"5")));
        let older = memory.remember(&head("b", 3, b"3")).unwrap_err();
        assert!(matches!(older, LedgerError::RolledBack { remembered: 5, found: 3 }), "{older}");
        let fork = memory.remember(&head("b", 5, b"other")).unwrap_err();
        assert!(matches!(fork, LedgerError::Replaced { size: 5, .. }), "{fork}");
    }

    #[test]
    fn another_log_is_no_first_sight() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::at(folder.path().join("heads"));
        memory.remember(&head("b", 3, b"3")).unwrap();
        for error in [memory.recall("a").unwrap_err(), memory.remember(&head("a", 9, b"9")).unwrap_err()] {
            assert!(matches!(error, LedgerError::OtherLog { .. }), "{error}");
            assert!(error.to_string().contains("3 entries of \"b\""), "{error}");
        }
        assert_eq!(memory.recall("b").unwrap(), Some(head("b", 3, b"3")));
        // One of an earlier version that remembers both tells of both.
        let heads = vec![head("a", 1, b"1"), head("b", 3, b"3")];
        let both = canonical::to_vec(&Remembered { version: MEMORY_VERSION, heads }).unwrap();
        std::fs::write(memory.path(), both).unwrap();
        assert_eq!(memory.recall("a").unwrap(), Some(head("a", 1, b"1")));
        memory.remember(&head("b", 5, b"5")).unwrap();
        assert_eq!(memory.recall("b").unwrap(), Some(head("b", 5, b"5")));
        assert!(memory.knows_no_other_than("b").is_err() && memory.recall("c").is_err());
    }

    #[test]
    fn a_damaged_memory_is_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::at(folder.path().join("heads"));
        memory.remember(&head("a", 1, b"1")).unwrap();
        let good = std::fs::read_to_string(memory.path()).unwrap();
        for bad in ["", "{}", &good[..good.len() - 1], &good.replace("\"version\":2}", "\"version\":1}")] {
            std::fs::write(memory.path(), bad).unwrap();
            let error = memory.recall("a").unwrap_err();
            assert!(matches!(error, LedgerError::BadMemory { .. }), "{bad}: {error}");
        }
    }
}
