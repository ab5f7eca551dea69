//! Who descends from whom, over all cycles of a store, and what is tainted by what was taken back.
//!
//! A candidate's manifest binds its lineage template, that binds the source record of every parent, and
//! a source that was bred here binds the manifest of the candidate it was. Each link is a SHA-256 of what
//! it points to, so an ancestor cannot name its descendant: it would have to contain its own digest.
//! Whoever walks the links keeps a list of where it came from all the same, because files can be forged.
//!
//! ```text
//! manifest --lineage--> template --source--> source record --origin.manifest--> manifest of an earlier cycle
//!                                                       \--origin.manifest--> source record of an earlier cycle
//! ```
//!
//! A pool offers candidates, and parents that are passed on; of the latter the source record is named.
//!
//! * [`records`]: every record of a store that pedigrees are made of. [`mod@shared`]: read once for a whole run.
//! * [`taint`]: what was taken back. [`tracer`]: whom that reaches, `answers`: found once. [`named`]: what people call it.
//! * [`approvals`]: signed approvals, counted. [`signing`]: nothing is signed with a key that was taken back.
//!   [`signers`]: what was admitted on such a key's signatures, whatever became of them since.
//! * [`decided`]: what was decided of bytes, under whatever manifest.
//! * [`bred`]: whether a file is a model of this store.
//! * [`cases`]: suites that ask the same.
//! * [`champion`]: whom newcomers are compared with. [`mod@offered`]: whom a pool may offer.
//! * [`tried`]: which other plans were entered, of a cycle or about the same cases.
//! * [`tree`]: a candidate's pedigree to the roots, for people and programs. `drawn`: as text and as a picture.

mod answers;
pub mod approvals;
pub mod bred;
pub mod cases;
pub mod champion;
pub mod decided;
mod drawn;
pub mod named;
pub mod offered;
pub mod records;
pub mod shared;
pub mod signers;
pub mod signing;
pub mod taint;
pub mod tracer;
pub mod tree;
pub mod tried;

pub use decided::Decided;
pub use records::Pedigree;
pub use shared::shared;
pub use signers::Signers;
pub use taint::{Revoked, Taint};
pub use tracer::Tracer;
pub use tree::Ancestry;

/// Why there is no pedigree.
#[derive(Debug, thiserror::Error)]
pub enum PedigreeError {
    /// The store.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] crate::ledger::LedgerError),
    /// The keys at hand.
    #[error(transparent)]
    Trust(#[from] crate::trust::TrustError),
    /// A key that was taken back, where something would be signed.
    #[error(
        "the {role} key {key} was revoked by ledger entry {entry}, and nothing is signed with it: take it out of \
         the folder of keys, and make another (`studbook keys new {role} --trust trust.toml`)"
    )]
    RevokedKey {
        /// What it is for.
        role: crate::trust::Role,
        /// Its id.
        key: crate::base::digest::Sha256,
        /// Which entry takes it back.
        entry: u64,
    },
    /// An admission whose manifest is not in this store.
    #[error("ledger entry {0} admits a candidate whose manifest is not in this store")]
    Unknown(u64),
    /// A record that names itself among its ancestors: no honest writer can make one.
    #[error("the pedigree of {0} leads back to itself; its records are forged")]
    Circle(crate::base::digest::Sha256),
    /// A record that somebody descends from, and that cannot be looked at.
    #[error(
        "the {what} {record} of the {whose} cannot be read in this store, so nobody can tell whether what the \
         ledger takes back reaches it: put it back from a copy of the store, or run the plan that made it \
         again (`studbook verify PLAN` names the file)"
    )]
    Unreadable {
        /// What it is.
        what: &'static str,
        /// Its digest.
        record: crate::base::digest::Sha256,
        /// Who names it.
        whose: String,
    },
}

impl PedigreeError {
    /// Whether evidence is lost, damaged or forged, as opposed to trouble with the machine or the caller.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Ledger(error) => error.is_tampering(),
            Self::Trust(error) => error.is_tampering(),
            Self::Unknown(_) | Self::Circle(_) | Self::Unreadable { .. } => true,
            Self::Store(_) | Self::RevokedKey { .. } => false,
        }
    }
}
