//! What an approver states: evidence for an approval gate, brought with `studbook attest`.

use serde::{Deserialize, Serialize};

use super::attest::{Bundle, Descriptor, Statement, predicate};
use super::{Record, RecordError};
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
    /// Who says so. Unless it is signed: a name, not a proof.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Record for Approval {
    const TYPE: &'static str = "urn:studbook:approval:v1";
}

impl Approval {
    /// What an approver signs: this, about the candidate's manifest.
    ///
    /// # Errors
    ///
    /// [`RecordError::Json`] if it cannot be written as canonical JSON; an approval that was read always can.
    pub fn statement(&self) -> Result<Statement, RecordError> {
        predicate::own(vec![Descriptor::new("candidate-manifest.json", self.manifest)], self)
    }
}

/// Approvals that were signed, one bundle for each key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedApprovals {
    /// In the order of their key ids.
    pub bundles: Vec<Bundle>,
}

impl Record for SignedApprovals {
    const TYPE: &'static str = "urn:studbook:signed-approvals:v1";
}

impl SignedApprovals {
    /// Adds an approval, in place of an earlier one by the same key.
    pub fn add(&mut self, bundle: Bundle) {
        self.bundles.retain(|other| other.keyid() != bundle.keyid());
        self.bundles.push(bundle);
        self.bundles.sort_by_key(Bundle::keyid);
    }
}
