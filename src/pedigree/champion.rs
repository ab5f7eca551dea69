//! The champion: the candidate that newcomers are compared with.
//!
//! It is the last candidate that the ledger admitted, or went back to, and did not take back. A cycle's champion is that of
//! the moment its plan was first entered: running it again compares with the same one, and never with a
//! child of its own.

use super::{Decided, Pedigree, PedigreeError, Revoked, Tracer};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::ledger::{EntryKind, Leaf, taken_back};
use crate::record::Record;
use crate::record::candidate::CandidateManifest;
use crate::record::plan::PlanRegistration;
use crate::store::Store;

/// An admitted candidate that stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Champion {
    /// SHA-256 of its manifest.
    pub manifest: Sha256,
    /// Its manifest.
    pub body: CandidateManifest,
}

/// What is needed to say who stands.
struct Hall<'s> {
    leaves: Vec<Leaf>,
    pedigree: Pedigree,
    revoked: std::sync::Arc<Revoked>,
    store: &'s Store,
}

/// The last candidate that was admitted before this cycle was first entered and still stands; none if
/// nobody was.
///
/// # Errors
///
/// If the ledger is not whole, or admits somebody whose manifest this store does not have: what cannot be
/// looked up is never passed over for an earlier one.
pub fn last_admitted(store: &Store, cycle: &Name) -> Result<Option<Champion>, PedigreeError> {
    let hall = Hall::open(store)?;
    let is_entry = |leaf: &&Leaf| {
        leaf.kind == EntryKind::Plan && leaf.cycle == *cycle && leaf.predicate_type == PlanRegistration::TYPE
    };
    let entered = hall.leaves.iter().find(is_entry).map_or(u64::MAX, |leaf| leaf.index);
    let mut end = entered;
    let decides = |leaf: &&Leaf| matches!(leaf.kind, EntryKind::Admission | EntryKind::Rollback);
    while let Some(leaf) = hall.leaves.iter().rev().find(|leaf| leaf.index < end && decides(leaf)) {
        // Who went back to somebody that is gone, too, goes back further, and never forward again.
        let admission = match leaf.kind {
            EntryKind::Rollback => hall.admission_of(leaf.subject),
            _ => Some(leaf),
        };
        end = admission.map_or(leaf.index, |admission| admission.index.min(leaf.index));
        if let Some(admission) = admission
            && let Ok(champion) = hall.standing(admission)?
        {
            return Ok(Some(champion));
        }
    }
    Ok(None)
}

/// The admitted candidate with this manifest, whatever cycle it is of; or why it is no champion.
///
/// # Errors
///
/// As [`last_admitted`].
pub fn named(store: &Store, manifest: Sha256) -> Result<Result<Champion, String>, PedigreeError> {
    let hall = Hall::open(store)?;
    match hall.admission_of(Some(manifest)) {
        Some(leaf) => hall.standing(leaf),
        None => Ok(Err(format!("the ledger of this store did not admit {}", manifest.short()))),
    }
}

impl<'s> Hall<'s> {
    fn open(store: &'s Store) -> Result<Self, PedigreeError> {
        let ledger = store.ledger()?;
        let (leaves, revoked) = (ledger.leaves()?, Revoked::of(&ledger)?);
        Ok(Self { leaves, pedigree: Pedigree::load(store)?, revoked, store })
    }

    /// The last entry that admits the candidate with this manifest.
    fn admission_of(&self, manifest: Option<Sha256>) -> Option<&Leaf> {
        let admits = |leaf: &&Leaf| leaf.kind == EntryKind::Admission && leaf.subject == manifest;
        self.leaves.iter().rev().find(admits)
    }

    /// Who was admitted by this entry; or why it does not stand any more.
    fn standing(&self, leaf: &Leaf) -> Result<Result<Champion, String>, PedigreeError> {
        if let Some(later) = taken_back(leaf, &self.leaves) {
            return Ok(Err(format!("ledger entry {} took it back", later.index)));
        }
        let found =
            leaf.subject.and_then(|manifest| Some((manifest, self.pedigree.manifests.get(&manifest)?)));
        let Some((manifest, body)) = found else { return Err(PedigreeError::Unknown(leaf.index)) };
        let taint = Tracer::new(&self.pedigree, &self.revoked, self.store).candidate(manifest, body)?;
        let against = Decided::of(self.store)?.against(&self.pedigree, (manifest, body))?;
        Ok(match taint.map(|taint| taint.to_string()).or(against) {
            Some(why) => Err(why),
            None => Ok(Champion { manifest, body: body.clone() }),
        })
    }
}
