//! Why a registry cannot be built, or must not be served.

use crate::disk::DiskError;
use crate::ledger::LedgerError;
use crate::trust::TrustError;

/// What is wrong, and with which entry or file.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A key cannot be used, or may not publish.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Metadata that is not what it must be.
    #[error("{path} {why}; build the registry again, or get it from somewhere else")]
    Metadata {
        /// The document, or the file that it is about.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// Metadata whose time is over: whoever shows it may be hiding what came later.
    #[error(
        "the registry's metadata expired on {expires}, and it is {now}; write a later `expires` in its plan and build it again"
    )]
    Expired {
        /// Until when it held.
        expires: String,
        /// What time it was said to be.
        now: String,
    },
    /// A registry older than the ledger says.
    #[error(
        "the registry's metadata has version {found}, the ledger says at least {least}: it was rolled back; build it again"
    )]
    RolledBack {
        /// What is there.
        found: u64,
        /// What must be.
        least: u64,
    },
    /// A signature that cannot be made.
    #[error("{what} cannot be signed: {why}; put the key back, or see `studbook keys new registry`")]
    NoKey {
        /// Which document.
        what: String,
        /// The reason.
        why: String,
    },
    /// The selector is not the document it must be.
    #[error("selector.json {0}; build the registry again")]
    Selector(String),
    /// Two entries of one id.
    #[error("the id {0} is in the registry twice")]
    DuplicateId(String),
    /// A model larger than allowed.
    #[error(
        "the model of {id} has {bytes} bytes, over the {budget} it may have; quantise it or leave it out"
    )]
    OverBudget {
        /// Whose.
        id: String,
        /// Its length.
        bytes: u64,
        /// The limit: the entry's own, or the selector's.
        budget: u64,
    },
    /// An entry that nobody admitted.
    #[error("{id} has no admission: {why}")]
    NotAdmitted {
        /// Whose.
        id: String,
        /// What was looked for.
        why: String,
    },
    /// An admission that was taken back.
    #[error("the admission of {id} was taken back by ledger entry {index}; build the registry without it")]
    Revoked {
        /// Whose.
        id: String,
        /// The revocation or retirement.
        index: u64,
    },
    /// A path that leaves its folder, or could in some server.
    #[error("the model path {path:?} of {id} is not a plain path inside the registry")]
    Traversal {
        /// Whose.
        id: String,
        /// The path.
        path: String,
    },
    /// An entry that says something its file or its other fields do not.
    #[error("{id}: {what} is {found}, expected {expected}")]
    Drift {
        /// Whose.
        id: String,
        /// Which field.
        what: &'static str,
        /// What it says.
        found: String,
        /// What it should.
        expected: String,
    },
    /// A manifest that is not of this model.
    #[error("the manifest of {id} {why}")]
    Manifest {
        /// Whose.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// A model that is not readable as what it is offered as.
    #[error("the model of {id} {why}")]
    Model {
        /// Whose.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file that must be there and plain.
    #[error("{path} {why}; build the registry again")]
    File {
        /// Inside the registry.
        path: String,
        /// What it is instead.
        why: String,
    },
    /// A ledger that no page reads.
    #[error(
        "the ledger's entries have {bytes} bytes, and at most {most} of them are read beside a registry; start a \
         store of its own for later cycles (--store)"
    )]
    LongLedger {
        /// Their length.
        bytes: u64,
        /// The limit.
        most: u64,
    },
    /// A server that cannot start.
    #[error("cannot serve on 127.0.0.1, port {port}: {why}")]
    Serve {
        /// The port asked for; 0 is any.
        port: u16,
        /// The reason.
        why: String,
    },
    /// A file that is no part of a registry.
    #[error("{path} does not belong in a registry; take it away")]
    Stranger {
        /// Inside the registry.
        path: String,
    },
    /// A file that no entry names.
    #[error("{path} is not named by the selector; build the registry again, which removes it")]
    Unlisted {
        /// Inside the registry.
        path: String,
    },
}

impl RegistryError {
    /// Whether the disk failed, not an entry.
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Ledger(error) => !error.is_tampering(),
            other => matches!(other, Self::Disk(_) | Self::Serve { .. }),
        }
    }
}
