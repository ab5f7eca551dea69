//! Part 7: Evaluation sidecar: one model measured on one suite, with every outcome kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::smoke::Evaluated;
use super::{Record, Subject};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::evaluate::contamination::Contamination;
use crate::evaluate::{Metric, Options};

/// A measurement that can be recomputed from its outcomes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSidecar {
    /// Who was measured.
    pub subject: Evaluated,
    /// The suite.
    pub suite: MeasuredSuite,
    /// The file with one line for each case.
    pub outcomes: Subject,
    /// The numbers, each with its n and standard error.
    pub metrics: BTreeMap<String, Metric>,
    /// Whether the cases stand in the texts that its ancestors were trained on.
    pub contamination: Contamination,
}

/// A suite as it was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredSuite {
    /// Its name.
    pub name: Name,
    /// Its evaluator.
    pub kind: String,
    /// Its cases; for another harness's, what was brought of it.
    pub cases: Subject,
    /// Of another harness's: SHA-256 of what it asked, and how. Only numbers of which it is the same can be
    /// compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Sha256>,
    /// How many.
    pub n: u64,
    /// How they were asked, with all that a plan may leave unsaid.
    pub options: Options,
}

impl Record for EvaluationSidecar {
    const TYPE: &'static str = "urn:studbook:evaluation-sidecar:v3";
}
