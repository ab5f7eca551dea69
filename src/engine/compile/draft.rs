//! A stage being described, with what it needs.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::base::name::Name;
use crate::engine::graph::{From, Input, Need, Node, StageIndex};
use crate::stage::Kind;

/// A stage being described.
pub(super) struct Draft {
    pub(super) node: Node,
    pub(super) needs: Vec<(StageIndex, Need)>,
}

impl Draft {
    pub(super) fn new(kind: Kind, label: &str, params: &impl Serialize) -> Self {
        let params: Value = serde_json::to_value(params).expect("parameters are plain values");
        let node = Node {
            id: format!("{}:{label}", kind.name()),
            kind,
            label: label.to_owned(),
            candidate: None,
            params,
            inputs: Vec::new(),
        };
        Self { node, needs: Vec::new() }
    }

    pub(super) fn of(mut self, candidate: &Name) -> Self {
        self.node.candidate = Some(candidate.clone());
        self
    }

    pub(super) fn input(mut self, name: impl Into<String>, from: From) -> Self {
        self.node.inputs.push(Input { name: name.into(), from });
        self
    }

    pub(super) fn output_of(
        self,
        name: impl Into<String>,
        stage: StageIndex,
        output: &'static str,
        need: Need,
    ) -> Self {
        self.input(name, From::Stage(stage, output)).after(stage, need)
    }

    pub(super) fn record_of(self, name: impl Into<String>, stage: StageIndex, need: Need) -> Self {
        self.output_of(name, stage, "record", need)
    }

    pub(super) fn after(mut self, stage: StageIndex, need: Need) -> Self {
        self.needs.push((stage, need));
        self
    }
}

/// One edge for each stage, the last word counts. The graph's own `update_edge` would look through all
/// edges of the needed stage, and a parent has as many as there are candidates.
pub(super) fn each_once(needs: Vec<(StageIndex, Need)>) -> Vec<(StageIndex, Need)> {
    let mut places: BTreeMap<StageIndex, usize> = BTreeMap::new();
    let mut once: Vec<(StageIndex, Need)> = Vec::with_capacity(needs.len());
    for (stage, need) in needs {
        let place = *places.entry(stage).or_insert(once.len());
        match once.get_mut(place) {
            Some(known) => known.1 = need,
            None => once.push((stage, need)),
        }
    }
    once
}
