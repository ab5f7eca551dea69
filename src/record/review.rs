//! Part 11: Population review: candidates, parents and doing nothing, ranked side by side.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Record;
use super::significance::Significance;
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::review::{Crowding, Objective};

/// A ranking that says what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PopulationReview {
    /// The cycle.
    pub cycle: Name,
    /// What is ranked by.
    pub objectives: Vec<Objective>,
    /// Everybody with a full objective vector, best first.
    pub members: Vec<Member>,
    /// Who could not be ranked, and why.
    pub unranked: Vec<(Name, String)>,
    /// Which differences are more than chance.
    pub significance: Significance,
}

/// One model under review.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name.
    pub name: Name,
    /// `candidate`, `parent` or `no-op`.
    pub kind: String,
    /// Its candidate manifest or source record.
    pub manifest: Sha256,
    /// The objective values.
    pub vector: BTreeMap<String, f64>,
    /// The records they come from.
    pub evidence: Vec<Sha256>,
    /// Its front: 0 is not dominated by anybody.
    pub rank: u64,
    /// Crowding distance within the front; `"inf"` at its ends.
    pub crowding: Crowding,
    /// Mean fraction of smoke prompts answered otherwise than its nearest neighbours.
    pub novelty: Option<f64>,
}

impl Record for PopulationReview {
    const TYPE: &'static str = "urn:studbook:population-review:v2";
}
