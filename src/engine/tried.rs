//! Which other plans of this cycle are in the ledger, where gates ask for what only one of them had to pass.

use std::collections::BTreeMap;

use super::graph::StageGraph;
use super::resolve::Results;
use crate::base::digest::Sha256;
use crate::ledger::{EntryKind, Leaf};
use crate::pedigree::{Pedigree, PedigreeError, tried};
use crate::plan::{GateRule, Plan};
use crate::record;
use crate::record::ledger::LedgerExtract;
use crate::record::plan::PlanRegistration;
use crate::stage::Kind;
use crate::store::{Store, StoreError};

/// Whether a gate of a plan asks suites.
pub fn asks(plan: &Plan) -> bool {
    let asks = |rule: &GateRule| matches!(rule, GateRule::Metric(metric) if !metric.suites.is_empty());
    plan.gates.iter().any(|gate| asks(&gate.rule))
}

/// The entries of other plans of the cycle in a ledger with these leaves: of all of them until this plan is entered.
///
/// # Errors
///
/// If the store cannot be read. A registration that is gone is that of another plan.
pub fn other_plans(
    graph: &StageGraph,
    store: &Store,
    results: &Results,
    leaves: &[Leaf],
) -> Result<Vec<u64>, PedigreeError> {
    let all = || tried::plans(leaves, &graph.cycle).map(|leaf| leaf.index);
    let Some(entry) = own_entry(graph, store, results)? else { return Ok(all().collect()) };
    if all().all(|index| index == entry) {
        return Ok(Vec::new());
    }
    let known = registrations(store)?;
    let records: BTreeMap<u64, Sha256> = leaves.iter().map(|leaf| (leaf.index, leaf.record)).collect();
    let registration = |index: &u64| known.get(records.get(index)?);
    let Some(own) = registration(&entry) else {
        return Ok(all().filter(|index| *index != entry).collect());
    };
    let mut others = tried::other_plans(leaves, own, Some(entry), u64::MAX);
    if !others.is_empty() {
        let pedigree = Pedigree::load(store)?;
        others.retain(|other| registration(other).is_none_or(|other| tried::differ(&pedigree, own, other)));
    }
    Ok(others)
}

/// Every registration that can be read, by its digest.
fn registrations(store: &Store) -> Result<BTreeMap<Sha256, PlanRegistration>, StoreError> {
    let mut known = BTreeMap::new();
    for result in store.every_result()? {
        let Some(blob) = result.outputs.get("registration") else { continue };
        let Ok(bytes) = store.read(&blob.digest) else { continue };
        known.extend(record::from_bytes(&bytes).ok().map(|body| (Sha256::of(&bytes), body)));
    }
    Ok(known)
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
