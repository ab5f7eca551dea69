//! From a plan to its stages: people declare candidates, the thirteen kinds follow.
//!
//! ```text
//! source ─ compat ─ lineage ─┬─ operator ─ candidate ─ smoke ─ eval ─ promotion ─ admission ─┬─ ledger
//!                            └─ ledger:plan (before any operator)                             ├─ recipe
//!          source ─ smoke ─ eval (parents, for comparison) ─────────── review ────────────────┴─ registry
//! ```
//!
//! * `draft`: a stage being described. `models`: parents and tests. `candidates`: from lineage to manifest.
//!   `trials`: greedy soups. `gates`: from evidence to admission. `conclude`: the rest.

mod candidates;
mod conclude;
mod draft;
mod gates;
mod models;
mod trials;

use std::collections::BTreeMap;

use petgraph::graph::DiGraph;

use self::draft::{Draft, each_once};
pub(super) use self::gates::rivals_of;
use super::graph::{From, Need, Node, StageGraph, StageIndex};
use crate::base::name::Name;
use crate::plan::{Candidate, Origin, Plan};

/// Compiles a plan. Stages depend only on stages made before them, so there are no circles.
pub fn compile(plan: &Plan) -> StageGraph {
    let mut compiler = Compiler {
        plan,
        graph: DiGraph::default(),
        origins: plan.parents.iter().map(|parent| (&parent.name, &parent.origin)).collect(),
        adapts: plan
            .parents
            .iter()
            .filter_map(|parent| Some((&parent.name, parent.adapts.as_ref()?)))
            .collect(),
        sources: BTreeMap::new(),
        smokes: BTreeMap::new(),
        evals: BTreeMap::new(),
        lineages: Vec::new(),
    };
    compiler.parents();
    compiler.champion();
    let compats: Vec<StageIndex> = plan.candidates.iter().map(|candidate| compiler.bind(candidate)).collect();
    let registration = compiler.registration();
    let bred: Vec<Bred> = plan
        .candidates
        .iter()
        .enumerate()
        .map(|(i, candidate)| compiler.breed(candidate, compiler.lineages[i], registration))
        .collect();
    let comparisons = compiler.comparisons(&bred);
    let ends: Vec<Ends> = plan
        .candidates
        .iter()
        .zip(bred)
        .enumerate()
        .map(|(i, (candidate, bred))| {
            compiler.judge(candidate, compats[i], compiler.lineages[i], bred, comparisons)
        })
        .collect();
    compiler.conclude(registration, &ends);
    StageGraph::new(plan.cycle.name.clone(), compiler.graph)
}

struct Compiler<'p> {
    plan: &'p Plan,
    graph: DiGraph<Node, Need>,
    origins: BTreeMap<&'p Name, &'p Origin>,
    /// Adapters, and the parents they are added to.
    adapts: BTreeMap<&'p Name, &'p Name>,
    sources: BTreeMap<Name, StageIndex>,
    /// Of parents and candidates.
    smokes: BTreeMap<Name, StageIndex>,
    evals: BTreeMap<(Name, Name), StageIndex>,
    lineages: Vec<StageIndex>,
}

/// What must be bound before anything of a candidate is computed.
#[derive(Clone, Copy)]
struct Bound {
    lineage: StageIndex,
    registration: StageIndex,
}

/// A candidate that was made and tested.
#[derive(Clone, Copy)]
struct Bred {
    operator: StageIndex,
    manifest: StageIndex,
}

/// Where a candidate's way ends.
struct Ends {
    operator: StageIndex,
    candidate: StageIndex,
    lineage: StageIndex,
    promotion: StageIndex,
    admission: StageIndex,
}

impl Compiler<'_> {
    fn add(&mut self, draft: Draft) -> StageIndex {
        let index = self.graph.add_node(draft.node);
        for (needed, need) in each_once(draft.needs) {
            self.graph.add_edge(needed, index, need);
        }
        index
    }
}

fn model_of(origin: &Origin) -> From {
    match origin {
        Origin::File { model, .. } => From::File(model.clone()),
        Origin::Pool { parent, .. } => From::Blob(parent.artifact),
    }
}

/// Everybody a candidate descends from, base first, each once.
fn ancestors(candidate: &Candidate) -> Vec<&Name> {
    let mut all: Vec<&Name> = candidate.base.iter().collect();
    for parent in &candidate.parents {
        if !all.contains(&parent) {
            all.push(parent);
        }
    }
    all
}
