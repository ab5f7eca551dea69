//! Gates that ask how sure one is, decided together: because many candidates are judged at once, the
//! p value of each is adjusted by how many there are.
//!
//! One record for a cycle. A promotion template takes its rows from here and says so by the evidence
//! that a row rests on, not by this record: a candidate more changes this record and no verdict of others
//! that stays the same.

use serde::{Deserialize, Serialize};

use super::Record;
use super::promotion::GateState;
use crate::base::digest::Sha256;
use crate::base::name::Name;

/// Every gate of a cycle that asks for a confidence, for every candidate it is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateComparisons {
    /// The cycle.
    pub cycle: Name,
    /// Tests that were adjusted together. One that could not be made counts, too.
    pub family: u64,
    /// In the order of the plan: candidates, then gates.
    pub rows: Vec<Comparison>,
}

/// One gate of one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// The candidate.
    pub candidate: Name,
    /// Its manifest, if it was made.
    pub manifest: Option<Sha256>,
    /// The gate.
    pub gate: Name,
    /// The gate's rule, as the plan states it.
    pub rule: serde_json::Value,
    /// What follows.
    pub state: GateState,
    /// The numbers, the test and what it says.
    pub finding: String,
    /// The test, if it could be made.
    pub test: Option<Tested>,
    /// The sidecars it rests on.
    pub evidence: Vec<Sha256>,
}

/// A test with its p values, each before and after Holm's adjustment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tested {
    /// Which test.
    pub method: String,
    /// Cases.
    pub n: u64,
    /// The statistic less what is demanded.
    pub excess: f64,
    /// P value of "the demand is missed".
    pub meets: f64,
    /// The same, adjusted.
    pub meets_adjusted: f64,
    /// P value of "the demand is met".
    pub misses: f64,
    /// The same, adjusted.
    pub misses_adjusted: f64,
    /// Cases that would decide, if it is undecided and anything points to an end.
    pub cases_needed: Option<u64>,
}

impl GateComparisons {
    /// What its stage is called among the evaluations, whose names all have a dot.
    pub const LABEL: &'static str = "comparisons";
}

impl Record for GateComparisons {
    const TYPE: &'static str = "urn:studbook:gate-comparisons:v1";
}
