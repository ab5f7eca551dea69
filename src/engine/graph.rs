//! Stages and how each needs the others.

use std::collections::HashMap;
use std::path::PathBuf;

use petgraph::algo::toposort;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use serde_json::Value;

use crate::base::digest::Digest;
use crate::base::name::Name;
use crate::stage::Kind;

/// A stage's place in the graph.
pub type StageIndex = NodeIndex<u32>;

/// How a stage depends on an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It must have passed.
    Pass,
    /// It must have come to an end by a verdict; a refusal is one, a failure is not.
    Verdict,
    /// It must be over, however it ended.
    End,
}

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// An output of an earlier stage.
    Stage(StageIndex, &'static str),
    /// A person's file.
    File(PathBuf),
    /// Bytes known by their digest.
    Blob(Digest),
    /// What was brought for a gate of the candidate introduced by this stage.
    Brought(StageIndex, Name),
}

/// A named input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name in the action.
    pub name: String,
    /// Where it comes from.
    pub from: From,
}

/// One stage.
#[derive(Debug, Clone)]
pub struct Node {
    /// `kind:name`.
    pub id: String,
    /// Its kind.
    pub kind: Kind,
    /// The candidate, parent or cycle it is about; part of file names.
    pub label: String,
    /// The candidate it belongs to.
    pub candidate: Option<Name>,
    /// Its parameters.
    pub params: Value,
    /// Its inputs.
    pub inputs: Vec<Input>,
}

/// A compiled plan.
///
/// Stages are asked for by name and by candidate once for each candidate, so both are looked up in
/// maps made once: a sweep of thousands must not walk all stages thousands of times.
#[derive(Debug)]
pub struct StageGraph {
    /// The cycle's name.
    pub cycle: Name,
    /// Stages; an edge says how the later one needs the earlier one.
    pub graph: DiGraph<Node, Need>,
    /// An order in which every stage comes after what it needs.
    pub order: Vec<StageIndex>,
    by_id: HashMap<String, StageIndex>,
    by_candidate: HashMap<Name, Vec<StageIndex>>,
}

impl StageGraph {
    /// Puts stages in order, each after what it needs.
    ///
    /// # Panics
    /// If stages need each other in a circle.
    pub fn new(cycle: Name, graph: DiGraph<Node, Need>) -> Self {
        let order = toposort(&graph, None).expect("stages only need stages made before them");
        let mut by_candidate: HashMap<Name, Vec<StageIndex>> = HashMap::new();
        for index in &order {
            if let Some(candidate) = &graph[*index].candidate {
                by_candidate.entry(candidate.clone()).or_default().push(*index);
            }
        }
        let by_id = order.iter().map(|index| (graph[*index].id.clone(), *index)).collect();
        Self { cycle, graph, order, by_id, by_candidate }
    }

    /// A stage.
    pub fn node(&self, index: StageIndex) -> &Node {
        &self.graph[index]
    }

    /// What a stage needs.
    pub fn needs(&self, index: StageIndex) -> impl Iterator<Item = (StageIndex, Need)> {
        self.graph.edges_directed(index, petgraph::Incoming).map(|edge| (edge.source(), *edge.weight()))
    }

    /// The stage called `id`.
    pub fn find(&self, id: &str) -> Option<StageIndex> {
        self.by_id.get(id).copied()
    }

    /// The stages that belong to a candidate, in order.
    pub fn of_candidate(&self, candidate: &Name) -> &[StageIndex] {
        self.by_candidate.get(candidate).map_or(&[], Vec::as_slice)
    }

    /// Every stage of a kind, in order.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = StageIndex> {
        self.order.iter().copied().filter(move |index| self.graph[*index].kind == kind)
    }

    /// Number of stages.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}
