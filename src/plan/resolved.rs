//! A plan whose every reference holds: what the engine compiles.
//!
//! Plain data, no place in any source text: whatever could be wrong with it has been said before.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::pool::{ChosenBy, PoolParent};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::convert::Form;
use crate::evaluate::Options;
use crate::model::licence::Policy;
use crate::operator::{Operator, Parameters, Rule, Slice, Value, soup};
use crate::pedigree::bred::History;
use crate::record::promotion::CLOSING_GATES;

/// The metric that no suite measures.
pub const ARTIFACT_BYTES: &str = "artifact_bytes";

/// Gates every candidate has, or is given by what the ledger says of it, whatever the plan says.
pub const RESERVED_GATES: [&str; 4] = ["compatibility", "runtime-smoke", CLOSING_GATES[0], CLOSING_GATES[1]];

/// A plan whose every reference holds.
#[derive(Debug, Clone)]
pub struct Plan {
    /// SHA-256 of the plan file.
    pub sha256: Sha256,
    /// `[cycle]`
    pub cycle: Cycle,
    /// `[budget]`
    pub budget: Budget,
    /// Parents in the order they are declared.
    pub parents: Vec<Parent>,
    /// Candidates in the order they are declared, sweeps spelled out.
    pub candidates: Vec<Candidate>,
    /// `[smoke]`
    pub smoke: Smoke,
    /// `[[eval]]`
    pub suites: Vec<Suite>,
    /// `[[gate]]`
    pub gates: Vec<Gate>,
    /// `[licences]`
    pub licences: Option<Policy>,
    /// Whom gates mean by the champion, if any does and there is one.
    pub champion: Option<Champion>,
    /// `[review]`
    pub review: Review,
    /// Training texts that parents declare.
    pub texts: BTreeMap<Name, Vec<DeclaredText>>,
    /// What chose parents that come from pools of earlier cycles.
    pub chosen_by: Vec<ChosenBy>,
    /// How many parents the recipe selects.
    pub pool_size: u64,
    /// Retired candidates that the recipe would otherwise select, with the ledger entry that says so.
    pub retired: BTreeMap<Sha256, u64>,
    /// The page of admitted models.
    pub registry: RegistryPlan,
}

/// `[cycle]`
#[derive(Debug, Clone, Serialize)]
pub struct Cycle {
    /// Its name.
    pub name: Name,
    /// What all randomness derives from.
    pub seed: String,
}

/// `[budget]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Most candidates.
    pub candidates: u64,
    /// Largest artifact in bytes.
    pub artifact: u64,
    /// All artifacts together in bytes.
    pub disk: u64,
    /// Longest run in seconds.
    pub seconds: u64,
}

/// Where a parent comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A model file and, if there is one, its trained-source manifest.
    File {
        /// The model.
        model: PathBuf,
        /// The manifest.
        manifest: Option<PathBuf>,
        /// What comes with its bytes, if it is a copy of a model that was bred here.
        history: History,
    },
    /// A place in an earlier cycle's pool.
    Pool {
        /// The cycle.
        cycle: Name,
        /// The parent.
        parent: PoolParent,
    },
}

/// A text that a parent was trained on, by its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredText {
    /// The file.
    pub path: PathBuf,
    /// Its SHA-256, as declared.
    pub sha256: Sha256,
}

/// What a parent is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// What deltas are taken from.
    Base,
    /// What candidates are made of.
    Parent,
}

/// `[parents.NAME]`
#[derive(Debug, Clone)]
pub struct Parent {
    /// Its name.
    pub name: Name,
    /// Where it comes from.
    pub origin: Origin,
    /// The parent whose model it is added to, if it is an adapter.
    pub adapts: Option<Name>,
    /// What it is for.
    pub role: Role,
    /// The licence the plan expects.
    pub licence: Option<String>,
    /// Whether it is an adapter that can only be read beside its model: a LoRA folder does not say which
    /// model it is for.
    pub needs_model: bool,
    /// How children that are like it are stored.
    pub form: Form,
}

/// `[candidates.NAME]`, one of a sweep.
#[derive(Clone)]
pub struct Candidate {
    /// Its own name.
    pub name: Name,
    /// The section it comes from.
    pub family: Name,
    /// What makes it.
    pub operator: &'static dyn Operator,
    /// What deltas are taken from.
    pub base: Option<Name>,
    /// From whom, in order.
    pub parents: Vec<Name>,
    /// With which values, defaults filled in.
    pub parameters: Parameters,
    /// With which other values for some tensors.
    pub rules: Vec<Rule>,
    /// The layers of parents that it is stacked of; whole parents if there are none.
    pub slices: Vec<Slice>,
    /// Whether the child has the tokens of the model it is like, where those of its parents differ.
    pub tokens_of_base: bool,
}

impl Candidate {
    /// The metric and the suite that choose the parents of a greedy soup.
    pub fn selection(&self) -> Option<(&str, &str)> {
        let word = |name: &str| match self.parameters.get(name) {
            Some(Value::Choice(word)) => Some(word.as_str()),
            _ => None,
        };
        let is_greedy = self.operator.name() == soup::Soup.name() && word("weighting") == Some(soup::GREEDY);
        if is_greedy { Some((word("metric")?, word("suite")?)) } else { None }
    }

    /// How many models are made for it, itself included: a greedy soup is tried with each parent but the
    /// best.
    pub fn made(&self) -> u64 {
        if self.selection().is_some() { self.parents.len() as u64 } else { 1 }
    }

    /// Whom the child is like, in configuration, tokenizer and tensors: the base, or the first parent.
    pub fn like(&self) -> Option<&Name> {
        self.base.as_ref().or(self.parents.first())
    }
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidate")
            .field("name", &self.name)
            .field("operator", &self.operator.name())
            .finish_non_exhaustive()
    }
}

/// `[smoke]`
#[derive(Debug, Clone, Serialize)]
pub struct Smoke {
    /// What is generated from.
    pub prompts: Vec<String>,
    /// How far.
    pub max_tokens: u64,
}

/// `[[eval]]`
#[derive(Debug, Clone)]
pub struct Suite {
    /// Its name.
    pub name: Name,
    /// The evaluator.
    pub kind: &'static str,
    /// The cases; none if they are another harness's.
    pub cases: Option<PathBuf>,
    /// How they are asked.
    pub options: Options,
    /// What the results decide.
    pub r#use: SuiteUse,
}

/// What the results on a suite may decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SuiteUse {
    /// Which models go on; no gate.
    Selection,
    /// Which models are admitted; no objective.
    Gate,
    /// The same, and every use is counted in the ledger.
    Final,
    /// Both, on the same cases: a winner is then judged by the luck that made it win.
    Both,
}

impl SuiteUse {
    /// Every use with its word.
    pub const ALL: [(&'static str, Self); 4] =
        [("selection", Self::Selection), ("gate", Self::Gate), ("final", Self::Final), ("both", Self::Both)];

    /// Whether gates may ask about it.
    pub fn gates(self) -> bool {
        self != Self::Selection
    }

    /// Whether the review may rank by it.
    pub fn selects(self) -> bool {
        matches!(self, Self::Selection | Self::Both)
    }
}

/// Compared with whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Versus {
    /// The best of the candidate's own parents (and base) on this metric.
    BestParent,
    /// This parent of the plan.
    Parent(Name),
    /// The parent that stays if nothing is done.
    NoOp(Name),
    /// The champion.
    Champion {
        /// Its manifest; none if there is no champion.
        manifest: Option<Sha256>,
        /// Whom to compare with if there is none; nobody can pass without either.
        otherwise: Option<Box<Versus>>,
    },
}

impl Versus {
    /// Who is meant, once it is known whether there is a champion.
    pub fn settled(&self) -> Option<&Self> {
        match self {
            Self::Champion { manifest: None, otherwise } => otherwise.as_deref(),
            other => Some(other),
        }
    }
}

/// What the review calls doing nothing.
pub const NO_OP: &str = "no-op";
/// What the champion is called in stages and records.
pub const CHAMPION: &str = "champion";

/// The champion of a cycle: an admitted candidate of another one, measured beside the parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Champion {
    /// [`CHAMPION`], as a name.
    pub name: Name,
    /// Where it comes from: always a pool's place.
    pub origin: Origin,
    /// Its manifest.
    pub manifest: Sha256,
}

/// A number that must lie somewhere.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricGate {
    /// The metric.
    pub metric: String,
    /// The suites whose mean it is; none for what is not measured by a suite.
    pub suites: Vec<Name>,
    /// At least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// At most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// At least `margin` better than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versus: Option<Versus>,
    /// By how much.
    pub margin: f64,
    /// How sure one must be, one-sided; without it the numbers are compared as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
}

/// Somebody who must agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Approval {
    /// To what.
    pub statement: String,
    /// Whose signed approvals count; none if anybody's word does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<ApprovalKey>,
    /// How many of them it takes; 0 if no keys are named.
    #[serde(skip_serializing_if = "is_zero")]
    pub threshold: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A key that may approve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApprovalKey {
    /// What the trust file calls it.
    pub name: Name,
    /// Base64 of its SPKI: which key the plan means is part of what it says.
    pub public: String,
}

/// What a gate asks.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GateRule {
    /// A number.
    Metric(MetricGate),
    /// A person.
    Approval(Approval),
    /// The smoke run, repeated in a browser with the same result.
    BrowserSmoke,
}

/// `[[gate]]`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gate {
    /// Its name.
    pub name: Name,
    /// Sections it is for; all if empty.
    #[serde(skip)]
    pub families: Vec<Name>,
    /// What it asks.
    pub rule: GateRule,
}

impl Gate {
    /// Whether a candidate must pass it.
    pub fn is_for(&self, candidate: &Candidate) -> bool {
        self.families.is_empty() || self.families.contains(&candidate.family)
    }
}

/// What the review ranks by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// A suite's main metric, higher is better.
    Suite(Name),
    /// Length of the model, lower is better.
    ArtifactBytes,
}

impl Objective {
    /// Its name in records.
    pub fn name(&self) -> &str {
        match self {
            Self::Suite(name) => name.as_str(),
            Self::ArtifactBytes => ARTIFACT_BYTES,
        }
    }
}

/// `[review]`
#[derive(Debug, Clone, Serialize)]
pub struct Review {
    /// What is ranked by.
    pub objectives: Vec<Objective>,
    /// The parent that stays if nothing is done.
    pub no_op: Option<Name>,
}

/// `[registry]`
#[derive(Debug, Clone, Serialize)]
pub struct RegistryPlan {
    /// Largest model it takes, in bytes.
    pub budget: u64,
    /// Until when its signed metadata holds: `2027-06-30T00:00:00Z`. None signs nothing.
    pub expires: Option<String>,
    /// Until when the root of that holds; none is as long.
    pub root_expires: Option<String>,
}
