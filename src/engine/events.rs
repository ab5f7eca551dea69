//! The run log: what happened to which stage, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use super::graph::StageGraph;
use crate::base::canonical;
use crate::base::digest::{ActionKey, Digest};
use crate::stage::Action;
use crate::store::{Event, Happened, LogWriter, Store, StoreError};

/// Written only when there is something new to say.
pub(super) struct Log<'g> {
    writer: Option<LogWriter>,
    last: BTreeMap<String, Event>,
    graph: &'g StageGraph,
    now: fn() -> String,
}

impl<'g> Log<'g> {
    pub(super) fn open(
        graph: &'g StageGraph,
        store: &Store,
        now: fn() -> String,
    ) -> Result<Self, StoreError> {
        let last = store.last_events(&graph.cycle)?;
        Ok(Self { writer: None, last, graph, now })
    }

    /// A hit is news only if the log's last word on the stage was about another key, or a failure.
    pub(super) fn hit(
        &mut self,
        id: &str,
        key: &ActionKey,
        action: &Action,
        store: &Store,
    ) -> Result<(), StoreError> {
        let known = self.last.get(id);
        if known.is_some_and(|event| event.key == *key && !matches!(event.happened, Happened::Failed(_))) {
            return Ok(());
        }
        self.note(id, Happened::Hit, key, action, Duration::ZERO, store)
    }

    pub(super) fn note(
        &mut self,
        id: &str,
        happened: Happened,
        key: &ActionKey,
        action: &Action,
        took: Duration,
        store: &Store,
    ) -> Result<(), StoreError> {
        let document = canonical::to_vec(action)
            .map_err(|source| StoreError::Document { what: format!("the action of {id}"), source })?;
        let event = Event {
            stage: id.to_owned(),
            happened,
            key: *key,
            action: Digest::of(&document),
            time: (self.now)(),
            milliseconds: took.as_millis() as u64,
        };
        if self.writer.is_none() {
            self.writer = Some(store.append_log(&self.graph.cycle)?);
        }
        self.writer.as_mut().expect("just opened").append(&event)
    }
}
