//! What can be wrong with a ledger, one variant for each thing that can be done to it.

use std::path::PathBuf;

use crate::base::digest::Sha256;
use crate::disk::DiskError;

/// Why a ledger cannot be read, trusted or extended.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The head is not the document it must be.
    #[error("the ledger head {} {why}; restore it from a copy", path.display())]
    BadHead {
        /// The head file.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// There are entries but no head.
    #[error("the ledger {} has entries but no head; restore the head from a copy", path.display())]
    HeadMissing {
        /// The ledger's folder.
        path: PathBuf,
    },
    /// The ledger is another one than was asked for.
    #[error("the ledger's origin is {found:?}, expected {expected:?}")]
    Origin {
        /// Asked for, or remembered.
        expected: String,
        /// In the head.
        found: String,
    },
    /// An entry that cannot be written, or whose bytes are no leaf.
    #[error("ledger entry {index} {why}")]
    Malformed {
        /// Which entry.
        index: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A bundle that is no plain file of a plausible length.
    #[error("the ledger bundle {} {why}", path.display())]
    BadBundle {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// An entry's bytes are not those its successor was chained to.
    #[error(
        "ledger entry {index} was edited: the chain expects it to hash to {expected}, its bytes hash to {found}"
    )]
    Edited {
        /// Which entry.
        index: u64,
        /// The digest in the chain.
        expected: Sha256,
        /// The digest of the bytes.
        found: Sha256,
    },
    /// The last entry and the head disagree.
    #[error(
        "the ledger head expects entry {index} to hash to {expected}, its bytes hash to {found}: that entry or the head was edited"
    )]
    HeadDisagrees {
        /// The last entry.
        index: u64,
        /// The digest in the head.
        expected: Sha256,
        /// The digest of the bytes.
        found: Sha256,
    },
    /// Two entries changed places.
    #[error("ledger entries were swapped: entry {index} was expected, entry {found} is in its place")]
    Swapped {
        /// Which entry was expected.
        index: u64,
        /// Which one is there.
        found: u64,
    },
    /// An entry is gone from the middle.
    #[error("ledger entry {index} was dropped: entry {found} follows where it was expected")]
    Dropped {
        /// Which entry is gone.
        index: u64,
        /// Which one is in its place.
        found: u64,
    },
    /// An entry too many.
    #[error("ledger entry inserted at position {index}: it says it is entry {found}")]
    Inserted {
        /// Where.
        index: u64,
        /// What it calls itself.
        found: u64,
    },
    /// The end is missing.
    #[error("the ledger was truncated: its head counts {size} entries, {found} are there")]
    Truncated {
        /// Entries by the head.
        size: u64,
        /// Entries found.
        found: u64,
    },
    /// An older state of the log than the one remembered.
    #[error(
        "the ledger was rolled back: {remembered} entries were accepted before, now it has {found}; restore the newer copy"
    )]
    RolledBack {
        /// Entries remembered.
        remembered: u64,
        /// Entries found.
        found: u64,
    },
    /// Another log than the one remembered, or a fork of it.
    #[error(
        "the ledger was replaced: entry {index} was accepted as {expected} before, now it hashes to {found}"
    )]
    Replaced {
        /// The last entry remembered.
        index: u64,
        /// Its digest then.
        expected: Sha256,
        /// Its digest now.
        found: Sha256,
    },
    /// Somebody moved the head without holding the lock.
    #[error(
        "the ledger head changed while it was being extended (from {expected} to {found} entries); nothing was recorded, run again"
    )]
    HeadMoved {
        /// Entries when the write began.
        expected: u64,
        /// Entries when it was to be committed.
        found: u64,
    },
    /// The same record was entered before with another subject or type.
    #[error(
        "ledger entry {index} already binds this record, but with another subject or predicate type; a record has one meaning"
    )]
    Conflict {
        /// The earlier entry.
        index: u64,
    },
    /// The remembered heads cannot be read.
    #[error(
        "the remembered ledger heads in {} {why}; without them a rolled-back ledger cannot be told from a good one. Restore the file, or delete it to trust the ledger once more on first use", path.display()
    )]
    BadMemory {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl LedgerError {
    /// Whether this is evidence of tampering, as opposed to trouble with the machine or the caller.
    pub fn is_tampering(&self) -> bool {
        !matches!(
            self,
            Self::Disk(_) | Self::HeadMoved { .. } | Self::Conflict { .. } | Self::BadMemory { .. }
        )
    }
}
