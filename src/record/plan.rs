//! What the ledger holds of a plan before the first operator runs: gates and suites cannot be
//! chosen to fit the result.

use serde::{Deserialize, Serialize};

use super::Record;
use super::lineage::{BoundBudget, BoundSuite};
use crate::base::digest::Sha256;
use crate::base::name::Name;

/// A plan, registered before it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRegistration {
    /// The cycle.
    pub cycle: Name,
    /// What all randomness derives from.
    pub seed: String,
    /// Its limits.
    pub budget: BoundBudget,
    /// Its candidates.
    pub candidates: Vec<Name>,
    /// Every candidate's lineage template; none if its parents do not fit.
    pub lineages: Vec<Option<Sha256>>,
    /// The suites.
    pub suites: Vec<BoundSuite>,
    /// The gates, as the plan states them.
    pub gates: serde_json::Value,
}

impl Record for PlanRegistration {
    const TYPE: &'static str = "urn:studbook:plan-registration:v2";
}
