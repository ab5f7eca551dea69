//! Which other plans of this cycle are in the ledger, where gates ask for what only one of them had to pass.

use super::graph::StageGraph;
use super::resolve::Results;
use crate::ledger::{EntryKind, Leaf};
use crate::pedigree::tried;
use crate::plan::{GateRule, Plan};
use crate::record;
use crate::record::ledger::LedgerExtract;
use crate::stage::Kind;
use crate::store::{Store, StoreError};

/// Whether a gate of a plan asks suites.
pub fn asks(plan: &Plan) -> bool {
    let asks = |rule: &GateRule| matches!(rule, GateRule::Metric(metric) if !metric.suites.is_empty());
    plan.gates.iter().any(|gate| asks(&gate.rule))
}

/// The entries of other plans of the cycle in a ledger with these leaves.
pub fn other_plans(
    graph: &StageGraph,
    store: &Store,
    results: &Results,
    leaves: &[Leaf],
) -> Result<Vec<u64>, StoreError> {
    Ok(tried::other_plans(leaves, &graph.cycle, own_entry(graph, store, results)?, u64::MAX))
}

/// Where this plan was entered; none if it was not yet.
fn own_entry(graph: &StageGraph, store: &Store, results: &Results) -> Result<Option<u64>, StoreError> {
    let stage = graph.find(&format!("{}:plan", Kind::Ledger.name()));
    let result = stage.and_then(|index| results[index.index()].as_ref());
    let Some(blob) = result.and_then(|result| result.record()) else { return Ok(None) };
    let extract: LedgerExtract = record::from_bytes(&store.read(&blob.digest)?).map_err(|error| {
        let what = "the record of where this plan was entered".to_owned();
        StoreError::Unreadable { what, digest: blob.digest, why: error.to_string() }
    })?;
    let own = extract.entries.iter().find(|place| place.kind == EntryKind::Plan.word());
    Ok(own.map(|place| place.index))
}
