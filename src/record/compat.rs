//! Part 2: Compatibility report: whether a candidate's parents may be combined at all.

use serde::{Deserialize, Serialize};

use super::Record;
use crate::base::digest::Sha256;
use crate::base::name::Name;

/// Every check of every parent against the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompatibilityReport {
    /// For whom.
    pub candidate: Name,
    /// The operator that would combine them.
    pub operator: String,
    /// The parents (base first if there is one) and their source records.
    pub parents: Vec<(Name, Sha256)>,
    /// The checks, in a fixed order.
    pub checks: Vec<Check>,
    /// Whether all passed.
    pub compatible: bool,
}

/// One thing that must fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// `tokenizer`, `layout`, `shape`, `quantisation`, `constants` (where the networks compute alike with other
    /// ones), `vocabulary` (where the plan says whose tokens the child has), `adapter` (where there is one),
    /// `format`, `resource-envelope`, or `licences` (where the plan has a policy).
    pub check: String,
    /// Whether it fits.
    pub passed: bool,
    /// Every mismatch, or what was found to fit.
    pub findings: Vec<String>,
}

impl Record for CompatibilityReport {
    const TYPE: &'static str = "urn:studbook:compatibility-report:v1";
}
