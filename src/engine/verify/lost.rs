//! Why a stage has no result, or none any more.
//!
//! To a run, a damaged blob is merely one to make again; to whoever verifies, it is the finding. But a stage may
//! also wait for the next run: after an edit of the plan, or behind a run that was stopped. The log tells the two
//! apart: in it, what such a stage is made of was made anew after the stage itself. The log can be lost, too; what
//! the ledger has of the cycle is then the witness that there was one.
//!
//! Every stage is accounted for, so that evidence which is gone is never merely one line less.

use std::collections::{BTreeMap, BTreeSet};

use super::mismatch;
use super::standing::Standing;
use crate::base::canonical;
use crate::base::key::WriteKey;
use crate::engine::graph::{From, StageGraph, StageIndex};
use crate::engine::preview::Outlook;
use crate::engine::resolve::{Resolver, Results};
use crate::stage::{Action, Context, Kind, StageError, stage};
use crate::store::{Blob, Event, Happened, Store, StoreError};

/// What the log of a cycle says, beside what is there now.
pub(super) struct History<'a> {
    graph: &'a StageGraph,
    store: &'a Store,
    results: &'a Results,
    events: Vec<Event>,
    /// The place of every stage's last event.
    last: BTreeMap<String, usize>,
    decided: Result<Standing, String>,
    /// Stages without a result that say why, or rest on one that does.
    accounted: BTreeSet<StageIndex>,
}

impl<'a> History<'a> {
    pub(super) fn load(
        graph: &'a StageGraph,
        store: &'a Store,
        results: &'a Results,
    ) -> Result<Self, StoreError> {
        let events = store.events(&graph.cycle)?;
        let last = events.iter().enumerate().map(|(at, event)| (event.stage.clone(), at)).collect();
        let decided = Standing::of(graph, store, results);
        Ok(Self { graph, store, results, events, last, decided, accounted: BTreeSet::new() })
    }

    /// Whether nothing of this cycle was ever made.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.results.iter().all(Option::is_none)
            && self.decided.as_ref().is_ok_and(|decided| decided.first.is_none())
    }

    /// What is to be told of a stage without a result: that it is not made yet, or what is wrong. Stages are asked
    /// about in order.
    pub(super) fn told(
        &mut self,
        index: StageIndex,
        outlook: &Outlook,
        action: Result<Action, StoreError>,
    ) -> Result<String, String> {
        let above = self.graph.needs(index).any(|(needed, _)| self.accounted.contains(&needed));
        let (told, accounted) = match (action, outlook) {
            (Err(error), _) => (Err(error.to_string()), true),
            (Ok(_), Outlook::Blocked { by }) => {
                (Err(format!("nobody can look into it: in the way is {}", by.join(", "))), true)
            }
            (Ok(action), Outlook::WouldRun { .. } | Outlook::Cached { .. }) => self.not_there(index, &action),
            (Ok(_), Outlook::Depends { on }) => {
                (Ok(format!("not made yet: it waits for {}", on.join(", "))), above)
            }
            (Ok(_), Outlook::Pending { on }) => {
                (Ok(format!("not made: {} waits for evidence", on.join(", "))), above)
            }
            (Ok(_), Outlook::Skipped { by }) => {
                (Ok(format!("not made: refused at {}", by.join(", "))), above)
            }
        };
        if accounted {
            self.accounted.insert(index);
            return told;
        }
        told.and_then(|told| self.undecided(index).map_or(Ok(told), Err))
    }

    /// Of a stage that would run: whether it is lost, and whether that accounts for what rests on it.
    fn not_there(&self, index: StageIndex, action: &Action) -> (Result<String, String>, bool) {
        let Some(at) = self.last.get(&self.graph.node(index).id).copied() else {
            return match self.decided.as_ref().map_or(None, |decided| decided.first) {
                Some(entry) if self.events.is_empty() => {
                    let why = "the log of the cycle is gone, and what was made cannot be found";
                    (Err(format!("ledger entry {entry} is of this cycle, but {why}")), true)
                }
                _ => (Ok("never made; the next run makes it".to_owned()), false),
            };
        };
        let failed = match &self.events[at].happened {
            Happened::Failed(why) => Some(why),
            Happened::Executed | Happened::Hit => None,
        };
        // A failure made nothing, and what was made before it is looked for all the same.
        let Some(at) = self.last_made(index) else {
            let why = failed.map_or("", String::as_str);
            return (Ok(format!("not made: it failed last time: {why}")), false);
        };
        let last = &self.events[at];
        if last.key == action.action_key() {
            return (self.gone(action, last, failed), true);
        }
        let told = match (self.moved(index, at, action), failed) {
            (Some(why), _) => Err(why),
            (None, Some(why)) => {
                Ok(format!("not made of what the plan says now: it failed last time: {why}"))
            }
            (None, None) => Ok("not made yet of what the plan says now; the next run makes it".to_owned()),
        };
        (told, true)
    }

    /// The place of the last event by which a stage had a result.
    fn last_made(&self, index: StageIndex) -> Option<usize> {
        let id = &self.graph.node(index).id;
        let made = |event: &Event| !matches!(event.happened, Happened::Failed(_));
        self.events.iter().rposition(|event| event.stage == *id && made(event))
    }

    /// Why an admission must be here and is not: the ledger has a decision under this very plan that stands, and
    /// nothing was made since that would lead to another, or what it rests on is gone.
    fn undecided(&self, index: StageIndex) -> Option<String> {
        let node = self.graph.node(index);
        let (Kind::Admission, Some(candidate), Ok(decided)) = (node.kind, &node.candidate, &self.decided)
        else {
            return None;
        };
        let leaf = decided.standing.get(candidate)?;
        let why = match self.last.get(&node.id) {
            None => "the log says nothing of it".to_owned(),
            Some(at) => {
                let upstream = self.upstream(index);
                match upstream.iter().find_map(|stage| self.taken_away(*stage, *at)) {
                    Some(why) => why,
                    None if upstream.iter().any(|stage| self.touched(*stage, *at)) => return None,
                    None => "nothing was made since that would change it".to_owned(),
                }
            }
        };
        let (entry, kind) = (leaf.index, leaf.kind.word());
        Some(format!("ledger entry {entry} is its {kind}, which nothing here says any more: {why}"))
    }

    /// The stages that decide it: its promotion, and what that needs.
    fn upstream(&self, admission: StageIndex) -> Vec<StageIndex> {
        let needs = |index| self.graph.needs(index).map(|(needed, _)| needed);
        needs(admission).flat_map(|promotion| needs(promotion).chain([promotion])).collect()
    }

    /// Whether a stage had another result after this event.
    fn touched(&self, stage: StageIndex, at: usize) -> bool {
        self.last_made(stage).is_some_and(|last| last > at)
    }

    /// What was brought for a stage before this event, and is not there now.
    fn taken_away(&self, stage: StageIndex, at: usize) -> Option<String> {
        let node = self.graph.node(stage);
        let then = self.events[..at].iter().rev().find(|event| event.stage == node.id)?;
        let then: Action = canonical::from_slice(&self.store.read(&then.action).ok()?).ok()?;
        let now = Resolver::new(self.graph, self.store).action(stage, self.results).ok()?;
        let gone = node.inputs.iter().find(|input| {
            let brought = matches!(input.from, From::Brought(..));
            brought && then.inputs.contains_key(&input.name) && !now.inputs.contains_key(&input.name)
        })?;
        Some(format!("the input `{}` of {} was brought and is gone; bring it again", gone.name, node.id))
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

    /// Why what an action made is not there, or does not hold; or that it merely shows what was before, or that a run
    /// took notice of why it holds no longer and made nothing of it.
    fn gone(&self, action: &Action, last: &Event, failed: Option<&String>) -> Result<String, String> {
        let result = match self.store.recorded(&last.key) {
            Ok(Some(result)) => result,
            Ok(None) => return Err("what it made is no longer recorded, or cannot be read".to_owned()),
            Err(error) => return Err(error.to_string()),
        };
        let damaged = |(name, blob)| self.damaged(blob).map(|why| format!("{name}: {why}"));
        if let Some(why) = result.outputs.iter().find_map(damaged) {
            return Err(why);
        }
        let stage = stage(Kind::from_name(&action.kind).expect("graphs hold known kinds"));
        let context = Context::looking(self.store, action);
        match stage.still_holds(&context, &result) {
            Ok(false) => {}
            // Whoever looked first did not find it, and nothing was said against it.
            Ok(true) => {
                return Err("it was not whole when it was looked for, and is now; verify again".to_owned());
            }
            Err(error) => return Err(nobody_can_tell(&error)),
        }
        match (stage.outgrown(&context, &result), failed) {
            (Ok(Some(told)), _) => Ok(told),
            // A parent that was taken back cannot be used, and a run that says so has the last word.
            (Ok(None), Some(why)) if action.kind == Kind::Source.name() => {
                Ok(format!("not made: it failed last time: {why}"))
            }
            (Ok(None), _) => {
                Err(stage.lapsed(&context, &result).unwrap_or_else(|error| nobody_can_tell(&error)))
            }
            (Err(error), _) => Err(nobody_can_tell(&error)),
        }
    }

    /// Why a blob is not what a result needs. A file of somebody's with the same bytes can be read in its place, and
    /// does not make up for it.
    fn damaged(&self, blob: &Blob) -> Option<String> {
        let held = self.store.rehash(blob).and_then(|()| self.store.holds(blob));
        match held {
            Ok(true) => None,
            Ok(false) => {
                let path = self.store.locate(&blob.digest).ok();
                let other = path.map(|path| format!("; {} has the same bytes", path.display()));
                let missing = StoreError::Missing(blob.digest);
                Some(format!("{missing}{}; the next run makes it again", other.unwrap_or_default()))
            }
            Err(error) => Some(error.to_string()),
        }
    }
}

fn nobody_can_tell(error: &StageError) -> String {
    format!("nobody can tell whether it still holds: {error}")
}
