//! The thirteen records, one file each.
//!
//! A record is a canonical JSON document `{"body": ..., "type": "urn:studbook:...:v1"}`. It binds
//! other records and artifacts by digest, and holds no clock, host name or path, so that the same
//! plan over the same files makes the same bytes anywhere. The ledger, which is about when, is the
//! exception and has its own format.

pub mod admission;
pub mod approval;
pub mod attest;
pub mod browser_smoke;
pub mod candidate;
pub mod comparison;
pub mod compat;
mod document;
pub mod evaluation;
pub mod external;
pub mod ledger;
pub mod lineage;
pub mod plan;
pub mod promotion;
pub mod receipt;
pub mod recipe;
pub mod registry;
pub mod review;
pub mod revocation;
pub mod significance;
pub mod smoke;
pub mod source;

pub use document::{Record, RecordError, Subject, from_bytes, to_bytes};
