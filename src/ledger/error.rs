//! What can be wrong with a ledger, one variant for each thing that can be done to it.

use std::path::PathBuf;

use super::Head;
use crate::base::digest::Sha256;
use crate::disk::DiskError;
use crate::trust::TrustError;

/// Why a ledger cannot be read, trusted or extended.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A key cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The checkpoint is not the note it must be.
    #[error("the checkpoint {} {why}; restore it from a copy", path.display())]
    BadHead {
        /// The checkpoint file.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// There are entries but no checkpoint.
    #[error("the ledger {} has entries but no checkpoint; restore it from a copy", path.display())]
    HeadMissing {
        /// The ledger's folder.
        path: PathBuf,
    },
    /// The ledger is another one than was asked for.
    #[error("the ledger's origin is {found:?}, expected {expected:?}; restore it from a copy")]
    Origin {
        /// Asked for, or remembered.
        expected: String,
        /// In the checkpoint.
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
    /// A tile or bundle of entries that is not the file it must be.
    #[error("the ledger file {} {why}", path.display())]
    BadTile {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// A tile or bundle is gone.
    #[error("the ledger file {} is missing; restore it from a copy", path.display())]
    TileMissing {
        /// The file.
        path: PathBuf,
    },
    /// A file or folder that is no part of a ledger.
    #[error("{} does not belong in a ledger; take it away", path.display())]
    Stray {
        /// What was found.
        path: PathBuf,
    },
    /// Something that is not in the log was asked for.
    #[error("the ledger has no entry {index}: it has {size}")]
    BeyondEnd {
        /// What was asked for.
        index: u64,
        /// How many there are.
        size: u64,
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
    /// The entries and the checkpoint disagree, and nothing tells which was edited.
    #[error(
        "the checkpoint expects its {size} entries to have the root {expected}, they have {found}: an entry or the checkpoint was edited"
    )]
    RootDisagrees {
        /// Entries.
        size: u64,
        /// The root in the checkpoint.
        expected: Sha256,
        /// The root of the entries.
        found: Sha256,
    },
    /// An admission or refusal without the plan it was decided by.
    #[error("ledger entry {index} {why}; a decision names the plan that was registered before it")]
    Unregistered {
        /// Which entry.
        index: u64,
        /// What is wrong.
        why: String,
    },
    /// A checkpoint without the signature it must have.
    #[error(
        "the checkpoint of {size} entries is not signed by a log key of the trust file; if you have checked it, sign it with `studbook ledger sign --key KEY`"
    )]
    Unsigned {
        /// Entries.
        size: u64,
    },
    /// A checkpoint by a key that its own log takes back.
    #[error(
        "the checkpoint of {size} entries is signed by the log key {key} and by no other of the trust file, but ledger entry {entry} revokes that key: whoever has it may have signed this. If you have checked it, take the key out of the folder of keys, make another (`studbook keys new log --trust trust.toml`) and sign with that one (`studbook ledger sign --key KEY`)"
    )]
    RevokedSigner {
        /// Entries.
        size: u64,
        /// The key's id.
        key: Sha256,
        /// Which entry takes it back.
        entry: u64,
    },
    /// A signed log that would go on unsigned.
    #[error(
        "the checkpoint of {size} entries is signed by the log's own key, and no log key is here to sign the next one: nothing was recorded. Name the folder of keys with --keys DIR, or the plan that it lies beside"
    )]
    NoSigner {
        /// Entries.
        size: u64,
    },
    /// A signature that does not fit its text.
    #[error(
        "the signature of `{name}` on the checkpoint does not match: other text or another key than {key}"
    )]
    BadSignature {
        /// Who is said to have signed.
        name: String,
        /// The key it was checked with.
        key: Sha256,
    },
    /// A proof that proves nothing.
    #[error("the proof {why}")]
    BadProof {
        /// What is wrong with it.
        why: String,
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
    #[error("the ledger was truncated: its checkpoint counts {size} entries, {found} are there")]
    Truncated {
        /// Entries by the checkpoint.
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
        "the ledger was replaced: its first {size} entries were accepted with the root {expected} before, now they have {found}"
    )]
    Replaced {
        /// Entries remembered.
        size: u64,
        /// Their root then.
        expected: Sha256,
        /// Their root now.
        found: Sha256,
    },
    /// A log under another name than the one remembered.
    #[error(
        "the ledger calls itself {found:?}, but {} remembers {} entries of {:?} with the root {}: it is another one, or was written anew under another name. Restore the ledger that is remembered; another log needs a memory of its own", path.display(), remembered.size, remembered.origin, remembered.root
    )]
    OtherLog {
        /// The memory.
        path: PathBuf,
        /// In the checkpoint.
        found: String,
        /// What is remembered.
        remembered: Head,
    },
    /// Somebody moved the checkpoint without holding the lock.
    #[error(
        "the checkpoint changed while it was being extended (from {expected} to {found} entries); nothing was recorded, run again"
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
    /// Whether this is evidence of tampering, as opposed to trouble with the machine or the caller. A memory that
    /// cannot be read is: without it nobody can tell whether the ledger was led back.
    pub fn is_tampering(&self) -> bool {
        !matches!(
            self,
            Self::Disk(_)
                | Self::Trust(_)
                | Self::HeadMoved { .. }
                | Self::Conflict { .. }
                | Self::BeyondEnd { .. }
                | Self::NoSigner { .. }
        )
    }
}
