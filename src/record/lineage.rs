//! Part 3: Lineage template: everything that decides a candidate and its judgement, bound before any of
//! it is computed. A gate moved afterwards is another lineage.

use serde::{Deserialize, Serialize};

use super::Record;
use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;
use crate::evaluate::Options;
use crate::operator::parameter::Parameters;
use crate::operator::rule::Rule;
use crate::operator::slice::Slice;

/// What a candidate will be made of and judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineageTemplate {
    /// The cycle.
    pub cycle: Name,
    /// The candidate.
    pub candidate: Name,
    /// What deltas are taken from.
    pub base: Option<Ancestor>,
    /// From whom, in order.
    pub parents: Vec<Ancestor>,
    /// What makes it.
    pub operator: BoundOperator,
    /// Whose tokens the child has, where those of its parents differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<Name>,
    /// What all randomness derives from.
    pub seed: String,
    /// The cycle's limits.
    pub budget: BoundBudget,
    /// What must come out.
    pub expected: Expected,
    /// The gates, as the plan states them.
    pub gates: serde_json::Value,
    /// The suites it will be measured on.
    pub suites: Vec<BoundSuite>,
    /// The smoke prompts.
    pub smoke: serde_json::Value,
    /// The candidate that gates mean by the champion, by its source record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub champion: Option<Ancestor>,
    /// The compatibility report it rests on.
    pub compatibility: Sha256,
}

/// A parent by its source record and its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ancestor {
    /// What the plan calls it.
    pub name: Name,
    /// Its source record.
    pub source: Sha256,
    /// Its bytes.
    pub sha256: Sha256,
    /// Where the store finds them.
    pub blake3: Digest,
    /// The model it is added to, if it is an adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapts: Option<Box<Ancestor>>,
}

/// An operator with all its values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundOperator {
    /// Its name.
    pub name: String,
    /// Its version: another version may compute other bytes.
    pub version: u32,
    /// Its parameters, defaults filled in.
    pub parameters: Parameters,
    /// Other parameters for some tensors; the first rule whose pattern matches wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// The layers of parents that are stacked into the one it works on; whole parents if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<Slice>,
}

/// The limits of a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundBudget {
    /// Most candidates.
    pub candidates: u64,
    /// Largest artifact in bytes.
    pub artifact: u64,
    /// All artifacts in bytes.
    pub disk: u64,
    /// Longest run in seconds.
    pub seconds: u64,
}

/// The child, foretold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Its format.
    pub format: String,
    /// Its encoding.
    pub dtype: String,
    /// Its exact length.
    pub bytes: u64,
    /// Its number of tensors.
    pub tensors: u64,
    /// Its number of parameters.
    pub parameters: u64,
    /// Digest of its tensor names and shapes.
    pub layout: Digest,
}

/// A suite by name and content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundSuite {
    /// Its name.
    pub name: Name,
    /// Its evaluator.
    pub kind: String,
    /// SHA-256 of its cases; none if they are another harness's.
    pub sha256: Option<Sha256>,
    /// How they are asked.
    pub options: Options,
    /// What the results may decide: `selection`, `gate`, `final` or `both`.
    pub r#use: String,
}

impl Record for LineageTemplate {
    const TYPE: &'static str = "urn:studbook:lineage-template:v2";
}
