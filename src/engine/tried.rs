//! Which other plans are in the ledger, where gates ask for what only one of them had to pass.

use std::collections::BTreeMap;

use super::graph::{StageGraph, StageIndex};
use super::resolve::{Resolver, Results};
use super::upgraded::Before;
use crate::base::digest::Sha256;
use crate::base::key::WriteKey;
use crate::ledger::{EntryKind, Leaf};
use crate::pedigree::tried::{self, Elsewhere};
use crate::pedigree::{Pedigree, PedigreeError};
use crate::plan::{GateRule, Plan};
use crate::record;
use crate::record::ledger::LedgerExtract;
use crate::record::plan::PlanRegistration;
use crate::stage::Kind;
use crate::store::{ActionResult, Store, StoreError};

/// Other plans whose tests a gate's correction does not count.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// Ledger entries of other plans of the cycle.
    pub here: Vec<u64>,
    /// Plans of other cycles whose gates ask the same cases.
    pub elsewhere: Vec<Elsewhere>,
}

/// Whether a gate of a plan asks suites.
pub fn asks(plan: &Plan) -> bool {
    let asks = |rule: &GateRule| matches!(rule, GateRule::Metric(metric) if !metric.suites.is_empty());
    plan.gates.iter().any(|gate| asks(&gate.rule))
}

/// The other plans in a ledger with these leaves: of the cycle all of them until this plan is entered, of other cycles
/// none until then, for which cases its gates ask is said by its registration.
///
/// # Errors
///
/// If the store cannot be read. A registration that is gone is that of another plan.
pub fn others(
    graph: &StageGraph,
    store: &Store,
    results: &Results,
    leaves: &[Leaf],
) -> Result<Others, PedigreeError> {
    let all = || tried::plans(leaves, &graph.cycle).map(|leaf| leaf.index);
    let Some(entry) = own_entry(graph, store, results)? else {
        return Ok(Others { here: all().collect(), elsewhere: Vec::new() });
    };
    if all().all(|index| index == entry) && tried::elsewhere(leaves, &graph.cycle).next().is_none() {
        return Ok(Others::default());
    }
    let known = registrations(store)?;
    let records: BTreeMap<u64, Sha256> = leaves.iter().map(|leaf| (leaf.index, leaf.record)).collect();
    let registration = |index: &u64| known.get(records.get(index)?);
    let Some(own) = registration(&entry) else {
        let here = all().filter(|index| *index != entry).collect();
        return Ok(Others { here, elsewhere: Vec::new() });
    };
    let mut here = tried::other_plans(leaves, own, Some(entry), u64::MAX);
    if !here.is_empty() {
        let pedigree = Pedigree::load(store)?;
        here.retain(|other| registration(other).is_none_or(|other| tried::differ(&pedigree, own, other)));
    }
    Ok(Others { here, elsewhere: tried::same_cases(store, &known, leaves, own, u64::MAX)? })
}

/// Every registration that can be read, by its digest.
///
/// # Errors
///
/// If the store cannot be read.
pub fn registrations(store: &Store) -> Result<BTreeMap<Sha256, PlanRegistration>, StoreError> {
    let mut known = BTreeMap::new();
    for result in store.every_result()? {
        let Some(blob) = result.outputs.get("registration") else { continue };
        let Ok(bytes) = store.read(&blob.digest) else { continue };
        known.extend(record::from_bytes(&bytes).ok().map(|body| (Sha256::of(&bytes), body)));
    }
    Ok(known)
}

/// Where this plan was entered; none if it was not yet. Right after an upgrade that is where the plan was entered before
/// it, if it says the same.
fn own_entry(graph: &StageGraph, store: &Store, results: &Results) -> Result<Option<u64>, StoreError> {
    let Some(stage) = graph.find(&format!("{}:plan", Kind::Ledger.name())) else { return Ok(None) };
    let result = match &results[stage.index()] {
        Some(result) => Some(result.clone()),
        None => match kept(graph, store, results, stage)? {
            Some(result) => Some(result),
            None => before_upgrade(graph, store, stage)?,
        },
    };
    let Some(blob) = result.as_ref().and_then(ActionResult::record) else { return Ok(None) };
    let extract: LedgerExtract = record::from_bytes(&store.read(&blob.digest)?).map_err(|error| {
        let what = "the record of where this plan was entered".to_owned();
        StoreError::Unreadable { what, digest: blob.digest, why: error.to_string() }
    })?;
    let own = extract.entries.iter().find(|place| place.kind == EntryKind::Plan.word());
    Ok(own.map(|place| place.index))
}

/// What is recorded of the entry, where the registration beside it is gone: this plan is not another one for that.
fn kept(
    graph: &StageGraph,
    store: &Store,
    results: &Results,
    stage: StageIndex,
) -> Result<Option<ActionResult>, StoreError> {
    let action = Resolver::new(graph, store).action(stage, results)?;
    let kept = store.recorded(&action.action_key())?;
    Ok(kept.filter(|kept| kept.record().is_some_and(|blob| store.holds(blob).unwrap_or(false))))
}

fn before_upgrade(
    graph: &StageGraph,
    store: &Store,
    stage: StageIndex,
) -> Result<Option<ActionResult>, StoreError> {
    Before::new(graph, store)?.result(stage)
}
