//! What a stage made before the program was upgraded, of the same things.
//!
//! A stage of another version has another key, and so have all that rest on it. The run log has the action that each
//! stage last was, and it is the same but for versions if it was told the same and was given the same files, blobs and
//! results of stages that are the same themselves.

use std::collections::BTreeMap;

use super::graph::{From, Input, StageGraph, StageIndex};
use super::resolve::Resolver;
use crate::base::canonical;
use crate::base::digest::Digest;
use crate::stage::Action;
use crate::store::{ActionResult, Event, Store, StoreError};

/// The stages of a plan as the run log last saw them.
pub(super) struct Before<'a> {
    graph: &'a StageGraph,
    store: &'a Store,
    resolver: Resolver<'a>,
    last: BTreeMap<String, Event>,
    known: BTreeMap<StageIndex, Option<ActionResult>>,
}

impl<'a> Before<'a> {
    pub(super) fn new(graph: &'a StageGraph, store: &'a Store) -> Result<Self, StoreError> {
        let (resolver, last) = (Resolver::new(graph, store), store.last_events(&graph.cycle)?);
        Ok(Self { graph, store, resolver, last, known: BTreeMap::new() })
    }

    /// What a stage made when it last was what it is now, but for versions; none if it was something else.
    pub(super) fn result(&mut self, stage: StageIndex) -> Result<Option<ActionResult>, StoreError> {
        if let Some(known) = self.known.get(&stage) {
            return Ok(known.clone());
        }
        let found = self.look(stage)?;
        self.known.insert(stage, found.clone());
        Ok(found)
    }

    fn look(&mut self, stage: StageIndex) -> Result<Option<ActionResult>, StoreError> {
        let graph = self.graph;
        let node = graph.node(stage);
        let Some(event) = self.last.get(&node.id) else { return Ok(None) };
        let (key, document) = (event.key, self.store.read(&event.action));
        // A document that is gone tells nothing.
        let Some(before) = document.ok().and_then(|bytes| canonical::from_slice::<Action>(&bytes).ok())
        else {
            return Ok(None);
        };
        // As canonical JSON, in which 0.0 is 0.
        let params = [&before.params, &node.params].map(|params| canonical::to_vec(params).ok());
        if params[0] != params[1] {
            return Ok(None);
        }
        let mut given = 0;
        for input in &node.inputs {
            let now = self.given(input)?;
            if before.inputs.get(&input.name) != now.as_ref() {
                return Ok(None);
            }
            given += usize::from(now.is_some());
        }
        if given != before.inputs.len() {
            return Ok(None);
        }
        self.store.lookup(&key)
    }

    fn given(&mut self, input: &Input) -> Result<Option<Digest>, StoreError> {
        if let From::Stage(stage, output) = &input.from {
            let made = self.result(*stage)?;
            return Ok(made.and_then(|made| made.outputs.get(*output).map(|blob| blob.digest)));
        }
        self.resolver.given(&input.from)
    }
}
