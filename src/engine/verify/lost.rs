//! Why a stage that has run once has no result any more.
//!
//! To a run, a damaged blob is merely one to make again; to whoever verifies, it is the finding. But a stage may
//! also wait for the next run: after an edit of the plan, or behind a run that was stopped. The log tells the two
//! apart: in it, what such a stage is made of was made anew after the stage itself.

use std::collections::BTreeMap;

use super::again::context;
use super::mismatch;
use crate::base::canonical;
use crate::base::key::WriteKey;
use crate::engine::graph::{From, StageGraph, StageIndex};
use crate::engine::preview::Outlook;
use crate::engine::resolve::{Resolver, Results};
use crate::stage::{Action, Kind, StageError, stage};
use crate::store::{Event, Happened, Store, StoreError};

/// What the log of a cycle says, beside what is there now.
pub(super) struct History<'a> {
    graph: &'a StageGraph,
    store: &'a Store,
    results: &'a Results,
    events: Vec<Event>,
    /// The place of every stage's last event.
    last: BTreeMap<String, usize>,
}

impl<'a> History<'a> {
    pub(super) fn load(
        graph: &'a StageGraph,
        store: &'a Store,
        results: &'a Results,
    ) -> Result<Self, StoreError> {
        let events = store.events(&graph.cycle)?;
        let last = events.iter().enumerate().map(|(at, event)| (event.stage.clone(), at)).collect();
        Ok(Self { graph, store, results, events, last })
    }

    /// What is to be told of a stage without a result: that it is not made yet, or what is wrong; nothing if it
    /// never was made.
    pub(super) fn lost(
        &self,
        index: StageIndex,
        outlook: &Outlook,
        action: Result<Action, StoreError>,
    ) -> Option<Result<String, String>> {
        let at = *self.last.get(&self.graph.node(index).id)?;
        let last = &self.events[at];
        if matches!(last.happened, Happened::Failed(_)) || !matches!(outlook, Outlook::WouldRun { .. }) {
            return None;
        }
        Some(match action {
            Err(error) => Err(error.to_string()),
            Ok(action) if last.key == action.action_key() => self.gone(&action, last),
            Ok(action) => match self.moved(index, at, &action) {
                Some(why) => Err(why),
                None => Ok("not made yet of what the plan says now; the next run makes it".to_owned()),
            },
        })
    }

    /// An input with other bytes that no edit of the plan explains. Another parameter, or an input more or less,
    /// is a changed plan.
    fn moved(&self, index: StageIndex, at: usize, action: &Action) -> Option<String> {
        let before = self.store.read(&self.events[at].action).ok()?;
        let before: Action = canonical::from_slice(&before).ok()?;
        self.graph.node(index).inputs.iter().find_map(|input| {
            let (bound, found) = (before.inputs.get(&input.name)?, action.inputs.get(&input.name)?);
            let explained = match &input.from {
                From::Stage(stage, _) => self.made_anew(*stage, at),
                From::File(_) | From::Blob(_) | From::Brought(..) => false,
            };
            let what = format!("the input `{}` changed", input.name);
            (found != bound && !explained).then(|| mismatch(&what, Some(bound), *found))
        })
    }

    /// Whether a stage was made anew after this event, or has another action than it had then.
    fn made_anew(&self, stage: StageIndex, at: usize) -> bool {
        let id = &self.graph.node(stage).id;
        let of_it = |event: &&Event| event.stage == *id;
        let anew = |event: &Event| event.happened == Happened::Executed;
        if self.events[at..].iter().filter(of_it).any(anew) {
            return true;
        }
        let then = self.events[..at].iter().rev().find(of_it);
        let now = Resolver::new(self.graph, self.store).action(stage, self.results);
        matches!((then, now), (Some(then), Ok(now)) if then.key != now.action_key())
    }

    /// Why what an action made is not there, or does not hold; or that it merely shows what was before.
    fn gone(&self, action: &Action, last: &Event) -> Result<String, String> {
        let result = match self.store.recorded(&last.key) {
            Ok(Some(result)) => result,
            Ok(None) => return Err("what it made is no longer recorded, or cannot be read".to_owned()),
            Err(error) => return Err(error.to_string()),
        };
        let damaged = |(name, blob)| self.store.rehash(blob).err().map(|error| format!("{name}: {error}"));
        if let Some(why) = result.outputs.iter().find_map(damaged) {
            return Err(why);
        }
        let stage = stage(Kind::from_name(&action.kind).expect("graphs hold known kinds"));
        let context = context(self.store, action);
        let holds = stage.still_holds(&context, &result);
        match holds.and_then(|_| stage.outgrown(&context, &result)) {
            Ok(Some(told)) => Ok(told),
            Ok(None) => Err(stage.lapsed(&context, &result).unwrap_or_else(nobody_can_tell)),
            Err(error) => Err(nobody_can_tell(error)),
        }
    }
}

fn nobody_can_tell(error: StageError) -> String {
    format!("nobody can tell whether it still holds: {error}")
}
