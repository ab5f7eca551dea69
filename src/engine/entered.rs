//! The entry of a plan of which this run cannot say all again.
//!
//! A plan is registered with what binds each of its candidates. Where a run fails before it knows that of one of them,
//! because evidence was lost or a parent cannot be read, it does not know another plan: the one that was entered with
//! it stands. A candidate that is refused before it is bound is another thing, and so is a plan that never was entered.

use super::graph::{From, StageGraph, StageIndex};
use super::schedule::End;
use crate::base::canonical;
use crate::stage::{Action, Context, Kind, stage};
use crate::store::{ActionResult, Event, Happened, Store, StoreError};

/// The last entry of this plan, if it is all that this one is and has besides what failed stages would have bound.
pub(super) fn entered_before(
    graph: &StageGraph,
    store: &Store,
    index: StageIndex,
    action: &Action,
    end_of: &dyn Fn(StageIndex) -> Option<End>,
) -> Result<Option<ActionResult>, StoreError> {
    let node = graph.node(index);
    let failed = |from: &From| match from {
        From::Stage(stage, _) => matches!(end_of(*stage), Some(End::Failed | End::Blocked)),
        From::File(_) | From::Blob(_) | From::Brought(..) => false,
    };
    let unknown: Vec<&str> =
        node.inputs.iter().filter(|input| failed(&input.from)).map(|input| input.name.as_str()).collect();
    if node.kind != Kind::Ledger || unknown.is_empty() {
        return Ok(None);
    }
    let made = |event: &Event| event.stage == node.id && !matches!(event.happened, Happened::Failed(_));
    let Some(event) = store.events(&graph.cycle)?.into_iter().rev().find(made) else { return Ok(None) };
    let document = store.read(&event.action).ok();
    let Some(mut before) = document.and_then(|bytes| canonical::from_slice::<Action>(&bytes).ok()) else {
        return Ok(None);
    };
    let stood = before.clone();
    before.inputs.retain(|name, _| !unknown.contains(&name.as_str()));
    // As canonical JSON, in which 0.0 is 0.
    if canonical::to_vec(&before).ok() != canonical::to_vec(action).ok() {
        return Ok(None);
    }
    let Some(result) = store.lookup(&event.key)? else { return Ok(None) };
    let context = Context::looking(store, &stood);
    Ok(stage(node.kind).still_holds(&context, &result).unwrap_or(false).then_some(result))
}
