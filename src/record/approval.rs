//! What an approver states: evidence for an approval gate, brought with `studbook attest`.

use serde::{Deserialize, Serialize};

use super::Record;
use crate::base::digest::Sha256;
use crate::base::name::Name;

/// One person's word on one candidate under one set of gates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The gate.
    pub gate: Name,
    /// The candidate's manifest: no other candidate is meant.
    pub manifest: Sha256,
    /// Its lineage template, which bound the gates: no other policy is meant.
    pub lineage: Sha256,
    /// Whether they agree.
    pub approve: bool,
    /// Who says so. Unsigned: a name, not a proof.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Record for Approval {
    const TYPE: &'static str = "urn:studbook:approval:v1";
}
