//! What was decided of bytes, whatever manifest they are under.
//!
//! Any edit of a plan makes other manifests of the same models. So what somebody said of a model, that it is no longer
//! offered or not fit to be released, counts in its cycle for everybody with the same bytes: a retirement altogether,
//! a rejection at the gate of that name. A refusal by what was measured is of its manifest alone, for another plan
//! asks other things.
//!
//! The ledger names manifests; whose bytes they are of, their records tell. A record that is gone is an error, not
//! a candidate that nothing was said of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::{Pedigree, PedigreeError};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::ledger::{EntryKind, Leaf};
use crate::record::admission::AdmissionRecord;
use crate::record::candidate::CandidateManifest;
use crate::record::promotion::{Decision, GateState};
use crate::store::Store;

/// A person's rejection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The entry of the refusal that came of it.
    pub entry: u64,
    /// At which gate.
    pub gate: Name,
    /// Whose manifest was rejected.
    pub manifest: Sha256,
}

/// What was said of bytes in each cycle.
#[derive(Debug, Default)]
pub struct Decided {
    rejected: BTreeMap<(Name, Sha256), Vec<Rejection>>,
    retired: BTreeMap<(Name, Sha256), u64>,
    /// Decisions on manifests that cannot be read: whose bytes they are of, nobody knows.
    lost: Vec<Leaf>,
    /// Refusals of bytes, with the manifest, that cannot be read: why they refused, nobody knows.
    unexplained: BTreeMap<(Name, Sha256), Vec<(Leaf, Sha256)>>,
}

/// One log at one root says the same, of records that were there before it: it is read once for all stages of a run.
static READ: Mutex<Option<(PathBuf, Sha256, Arc<Decided>)>> = Mutex::new(None);

impl Decided {
    /// What the ledger of a store says of bytes.
    ///
    /// # Errors
    ///
    /// If ledger or store cannot be read.
    pub fn of(store: &Store) -> Result<Arc<Self>, PedigreeError> {
        let ledger = store.ledger()?;
        let head = ledger.head()?;
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((folder, root, decided)) = &*read
            && (folder.as_path(), *root) == (ledger.folder(), head.root)
        {
            return Ok(decided.clone());
        }
        let decided = Arc::new(Self::read(store, &ledger.leaves()?)?);
        if decided.lost.is_empty() && decided.unexplained.is_empty() {
            *read = Some((ledger.folder().to_owned(), head.root, decided.clone()));
        }
        Ok(decided)
    }

    fn read(store: &Store, leaves: &[Leaf]) -> Result<Self, PedigreeError> {
        let mut decided = Self::default();
        let says = |leaf: &&Leaf| matches!(leaf.kind, EntryKind::Refusal | EntryKind::Retirement);
        let said: Vec<_> =
            leaves.iter().filter(says).filter_map(|leaf| Some((leaf, leaf.subject?))).collect();
        if said.is_empty() {
            return Ok(decided);
        }
        let pedigree = Pedigree::load(store)?;
        let rejections = rejections(&pedigree);
        for (leaf, manifest) in said {
            let Some(body) = pedigree.manifests.get(&manifest) else {
                decided.lost.push(leaf.clone());
                continue;
            };
            let bytes = (leaf.cycle.clone(), body.artifact.sha256);
            if leaf.kind == EntryKind::Retirement {
                decided.retired.entry(bytes).or_insert(leaf.index);
                continue;
            }
            // The refusal that the entry binds names the gates. A promotion does not stand in for it: a manifest that
            // was refused can have another one later, which says nothing of why this entry refused.
            let Some(refusal) = pedigree.refusals.get(&leaf.record) else {
                decided.unexplained.entry(bytes).or_default().push((leaf.clone(), manifest));
                continue;
            };
            let found = rejections.get(&manifest).into_iter().flatten().cloned();
            let gates = found.chain(told_by(&pedigree, body, refusal)).collect::<BTreeSet<Name>>();
            let rejected = gates.into_iter().map(|gate| Rejection { entry: leaf.index, gate, manifest });
            decided.rejected.entry(bytes).or_default().extend(rejected);
        }
        Ok(decided)
    }

    /// The first entry that retires these bytes in this cycle.
    ///
    /// # Errors
    ///
    /// If somebody was retired of whom nobody can tell whether it is these bytes.
    pub fn retired(&self, cycle: &Name, artifact: Sha256) -> Result<Option<u64>, PedigreeError> {
        match self.retired.get(&(cycle.clone(), artifact)) {
            Some(entry) => Ok(Some(*entry)),
            None => self.whole(cycle, EntryKind::Retirement).map(|()| None),
        }
    }

    /// Everything that is retired in a cycle, by its bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::retired`].
    pub fn retired_in(&self, cycle: &Name) -> Result<BTreeMap<Sha256, u64>, PedigreeError> {
        self.whole(cycle, EntryKind::Retirement)?;
        let here = self.retired.iter().filter(|((of, _), _)| of == cycle);
        Ok(here.map(|((_, artifact), entry)| (*artifact, *entry)).collect())
    }

    /// The first rejection of these bytes in this cycle at one of these gates, under another manifest.
    ///
    /// # Errors
    ///
    /// If somebody was refused of whom nobody can tell whether it is these bytes.
    pub fn rejected(
        &self,
        (manifest, body): (Sha256, &CandidateManifest),
        gates: &BTreeSet<&Name>,
    ) -> Result<Option<&Rejection>, PedigreeError> {
        let cycle = &body.cycle;
        let all = self.rejected.get(&(cycle.clone(), body.artifact.sha256)).into_iter().flatten();
        let mut elsewhere = all.filter(|one| one.manifest != manifest && gates.contains(&one.gate));
        if let Some(rejection) = elsewhere.next() {
            return Ok(Some(rejection));
        }
        let unexplained = self.unexplained.get(&(cycle.clone(), body.artifact.sha256));
        match unexplained.into_iter().flatten().find(|(_, of)| *of != manifest) {
            Some((leaf, _)) => Err(unreadable("refusal", leaf.record, leaf)),
            None => self.whole(cycle, EntryKind::Refusal).map(|()| None),
        }
    }

    /// Why a candidate is not put before others, whatever admitted it: its bytes are retired in its cycle, or somebody
    /// rejected them at a gate that it was bound to.
    ///
    /// # Errors
    ///
    /// As [`Self::retired`] and [`Self::rejected`].
    pub fn against(
        &self,
        pedigree: &Pedigree,
        (manifest, body): (Sha256, &CandidateManifest),
    ) -> Result<Option<String>, PedigreeError> {
        if let Some(entry) = self.retired(&body.cycle, body.artifact.sha256)? {
            return Ok(Some(format!("ledger entry {entry} retires it")));
        }
        let gates = pedigree.lineages.get(&body.lineage).and_then(|lineage| lineage.gates.as_array());
        let names = gates.into_iter().flatten().filter_map(|gate| gate["name"].as_str()?.parse().ok());
        let names: BTreeSet<Name> = names.collect();
        let rejection = self.rejected((manifest, body), &names.iter().collect())?;
        let told =
            |by: &Rejection| format!("ledger entry {} rejects the same bytes at `{}`", by.entry, by.gate);
        Ok(rejection.map(told))
    }

    /// Refuses to say that nothing was said where that cannot be known.
    fn whole(&self, cycle: &Name, kind: EntryKind) -> Result<(), PedigreeError> {
        let lost = self.lost.iter().find(|leaf| leaf.kind == kind && leaf.cycle == *cycle);
        let lost = lost.and_then(|leaf| Some((leaf, leaf.subject?)));
        lost.map_or(Ok(()), |(leaf, manifest)| Err(unreadable("manifest", manifest, leaf)))
    }
}

/// A record of a decision that nobody can look at.
fn unreadable(what: &'static str, record: Sha256, leaf: &Leaf) -> PedigreeError {
    let (cycle, name) = (&leaf.cycle, leaf.candidate.as_ref().map_or("?", Name::as_str));
    let whose = format!(
        "candidate {cycle}/{name}, of which ledger entry {} is the {},",
        leaf.index,
        leaf.kind.word()
    );
    PedigreeError::Unreadable { what, record, whose }
}

/// The approval gates that a refusal says failed.
fn told_by(pedigree: &Pedigree, body: &CandidateManifest, refusal: &AdmissionRecord) -> BTreeSet<Name> {
    let lineage = pedigree.lineages.get(&body.lineage);
    let gates = refusal.reasons.iter().filter_map(|reason| reason.split_once(": ")?.0.parse::<Name>().ok());
    gates.filter(|gate| lineage.is_none_or(|it| asks_somebody(&it.gates, gate))).collect()
}

/// The approval gates at which a person rejected, by manifest.
fn rejections(pedigree: &Pedigree) -> BTreeMap<Sha256, BTreeSet<Name>> {
    let mut found: BTreeMap<Sha256, BTreeSet<Name>> = BTreeMap::new();
    for body in pedigree.promotions.values().filter(|body| body.decision == Decision::Refuse) {
        let Some(manifest) = body.manifest else { continue };
        let lineage = pedigree.manifests.get(&manifest).and_then(|it| pedigree.lineages.get(&it.lineage));
        let failed = body.gates.iter().filter(|gate| gate.state == GateState::Failed);
        let rejected = failed.filter(|gate| lineage.is_none_or(|it| asks_somebody(&it.gates, &gate.gate)));
        found.entry(manifest).or_default().extend(rejected.map(|gate| gate.gate.clone()));
    }
    found
}

/// Whether a gate is passed by somebody's word, as a lineage bound it.
fn asks_somebody(gates: &Value, name: &Name) -> bool {
    let gates = gates.as_array().into_iter().flatten();
    let mut named = gates.filter(|gate| gate["name"] == name.as_str());
    named.any(|gate| gate["rule"].get("approval").is_some())
}
