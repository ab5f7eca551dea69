//! What the ledger holds of a plan before the first operator runs: gates and suites, and what ranks and
//! chooses parents, cannot be chosen to fit the result.

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
    /// What the review ranks by, and who stays if nothing is done. Plans that were registered before this was
    /// asked have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<serde_json::Value>,
    /// How many parents the pool offers; as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<serde_json::Value>,
}

/// One use of a suite that is marked `final`: entered with the plan that uses it, whatever comes of it.
/// How often a suite was used is the number of such entries in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinalUse {
    /// The cycle.
    pub cycle: Name,
    /// What the plan calls the suite.
    pub suite: Name,
    /// SHA-256 of its cases, in whatever order and under whatever ids.
    pub cases: Sha256,
    /// The registration of the plan: a plan changed and run again is another use.
    pub registration: Sha256,
}

impl FinalUse {
    /// What people call a ledger entry of a kind and a predicate type: these are entered as plans.
    pub fn word<'w>(kind: &'w str, predicate_type: &str) -> &'w str {
        if predicate_type == Self::TYPE { "final-use" } else { kind }
    }
}

impl Record for FinalUse {
    const TYPE: &'static str = "urn:studbook:final-use:v2";
}

impl Record for PlanRegistration {
    const TYPE: &'static str = "urn:studbook:plan-registration:v2";
}
