//! What the ledger says of a cycle: that there was one, and the decisions that stand.
//!
//! Only those under the plan as it is now: of another plan, or of the same one before an edit, nothing need be here.

use std::collections::BTreeMap;

use crate::base::name::Name;
use crate::engine::graph::StageGraph;
use crate::engine::resolve::Results;
use crate::ledger::{EntryKind, Leaf, taken_back};
use crate::record::{self, ledger::LedgerExtract};
use crate::stage::Kind;
use crate::store::Store;

/// What the ledger says of a cycle.
pub(super) struct Standing {
    /// Its first entry.
    pub(super) first: Option<u64>,
    /// The last decision on every candidate under the plan as it is now that nothing has taken back.
    pub(super) standing: BTreeMap<Name, Leaf>,
}

impl Standing {
    pub(super) fn of(graph: &StageGraph, store: &Store, results: &Results) -> Result<Self, String> {
        let ledger = store.ledger().map_err(|error| error.to_string())?;
        let leaves = ledger.leaves().map_err(|error| error.to_string())?;
        let of_it: Vec<&Leaf> = leaves.iter().filter(|leaf| leaf.cycle == graph.cycle).collect();
        let registration = registration(graph, store, results);
        let mut standing = BTreeMap::new();
        for leaf in of_it.iter().filter(|leaf| registration.is_some() && leaf.registration == registration) {
            let Some(candidate) = &leaf.candidate else { continue };
            if matches!(leaf.kind, EntryKind::Admission | EntryKind::Refusal) {
                standing.insert(candidate.clone(), (*leaf).clone());
            }
        }
        standing.retain(|_, leaf| taken_back(leaf, &leaves).is_none());
        Ok(Self { first: of_it.first().map(|leaf| leaf.index), standing })
    }
}

/// The ledger's entry of the plan as it is now, if it is there.
fn registration(graph: &StageGraph, store: &Store, results: &Results) -> Option<u64> {
    let mut found = graph.of_kind(Kind::Ledger).filter_map(|index| {
        let record = results[index.index()].as_ref()?.record()?;
        let extract: LedgerExtract = record::from_bytes(&store.read(&record.digest).ok()?).ok()?;
        let plan = extract.entries.iter().find(|place| place.kind == EntryKind::Plan.word())?;
        Some(plan.index)
    });
    found.next()
}
