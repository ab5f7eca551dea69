//! Who was retired: admitted, and no longer offered. No record of a candidate says so, only the ledger does.

use super::graph::StageGraph;
use super::resolve::Results;
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::pedigree::{Decided, Revoked};
use crate::record;
use crate::record::candidate::CandidateManifest;
use crate::stage::Kind;
use crate::store::Store;

/// The entry that retired a candidate of a cycle, or the same bytes in it under another manifest. Where ledger or store
/// cannot be read nothing is told of it: whoever needs to know fails there.
pub fn retired(graph: &StageGraph, store: &Store, results: &Results, candidate: &Name) -> Option<u64> {
    let revoked = Revoked::of(&store.ledger().ok()?).ok().filter(|revoked| !revoked.retired.is_empty())?;
    let stage = graph.find(&format!("{}:{candidate}", Kind::Candidate.name()))?;
    let bytes = store.read(&results[stage.index()].as_ref()?.record()?.digest).ok()?;
    let body: CandidateManifest = record::from_bytes(&bytes).ok()?;
    let of_bytes = || Decided::of(store).ok()?.retired(&graph.cycle, body.artifact.sha256).ok()?;
    revoked.retired.get(&Sha256::of(&bytes)).copied().or_else(of_bytes)
}

/// What is told of it.
pub fn told(entry: u64) -> String {
    format!("retired by ledger entry {entry}, so it is no longer offered")
}
