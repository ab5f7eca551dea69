//! Why there is no dossier, or why one cannot be looked at.

use crate::disk::DiskError;
use crate::ledger::LedgerError;
use crate::pedigree::PedigreeError;
use crate::record::RecordError;
use crate::store::StoreError;
use crate::trust::TrustError;

/// What can go wrong on the way to a dossier.
#[derive(Debug, thiserror::Error)]
pub enum DossierError {
    /// A file could not be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A key.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// What was taken back.
    #[error(transparent)]
    Pedigree(#[from] PedigreeError),
    /// A record of the store.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// There is nothing to export yet, or not any more.
    #[error("{0}")]
    NotReady(String),
    /// What was there once is gone.
    #[error("{0}")]
    Lost(String),
    /// What was to be written does not hold: nothing was written.
    #[error("the dossier would not pass its own check, so it was not written: {what}: {why}")]
    Unsound {
        /// What was checked.
        what: String,
        /// What was found.
        why: String,
    },
}
