//! Part 10: Promotion ledger: where a cycle's plan, admissions and refusals stand in the log.

use serde::{Deserialize, Serialize};

use super::Record;
use crate::base::digest::Sha256;
use crate::base::name::Name;

/// The entries a cycle has in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerExtract {
    /// The cycle.
    pub cycle: Name,
    /// Its entries, in the order of the plan.
    pub entries: Vec<LedgerPlace>,
}

/// One entry of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerPlace {
    /// `plan`, `admission` or `refusal`.
    pub kind: String,
    /// About whom.
    pub candidate: Option<Name>,
    /// The record it binds.
    pub record: Sha256,
    /// Its place, from 0.
    pub index: u64,
    /// SHA-256 of the entry.
    pub leaf: Sha256,
}

impl Record for LedgerExtract {
    const TYPE: &'static str = "urn:studbook:ledger-extract:v1";
}
