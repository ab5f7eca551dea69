//! Whom a parent pool may offer, and what is known of it.
//!
//! A pool is a text that a person copies, and can edit. What it says of licences, declared data and training
//! would be inherited by every child; so it is held against the record that it names, and a candidate must
//! have been admitted by the ledger, and not refused. Whether it was revoked since is for the source stage to ask. One that
//! was retired is left out of pools that are made from then on, and stays a parent where a pool offered it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Decided, Pedigree, PedigreeError};
use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;
use crate::ledger::{EntryKind, refusal_of};
use crate::record::candidate::TRAINED;
use crate::store::Store;

/// A model as its own record knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// BLAKE3 of the model.
    pub artifact: Digest,
    /// Its length.
    pub bytes: u64,
    /// Licences it carries.
    pub licences: Vec<String>,
    /// Data its ancestors declared.
    pub data: Vec<String>,
    /// Whether it or all its ancestors were trained.
    pub trained: bool,
}

/// The retired candidates that a pool of this cycle could offer, with the entry that says so: its own, by manifest
/// and by bytes, and its parents, by the record that a pool names them by, through however many pools they came.
///
/// # Errors
///
/// If the ledger cannot be read, or nobody can tell which bytes were retired.
pub fn retired(
    store: &Store,
    cycle: &Name,
    parents: &[Sha256],
) -> Result<BTreeMap<Sha256, u64>, PedigreeError> {
    let mut retired = Decided::of(store)?.retired_in(cycle)?;
    let mut anywhere: BTreeMap<Sha256, u64> = BTreeMap::new();
    for leaf in store.ledger()?.leaves()? {
        let (EntryKind::Retirement, Some(subject)) = (leaf.kind, leaf.subject) else { continue };
        anywhere.entry(subject).or_insert(leaf.index);
        if leaf.cycle == *cycle {
            retired.entry(subject).or_insert(leaf.index);
        }
    }
    if anywhere.is_empty() || parents.is_empty() {
        return Ok(retired);
    }
    let pedigree = Pedigree::load(store)?;
    for parent in parents {
        if let Some(entry) = anywhere.get(&bred_as(&pedigree, *parent)?) {
            retired.entry(*parent).or_insert(*entry);
        }
    }
    Ok(retired)
}

/// Whom a pool's record is of: a parent that is passed on is named by its source record, and that again by what the
/// pool before named it by.
fn bred_as(pedigree: &Pedigree, record: Sha256) -> Result<Sha256, PedigreeError> {
    let (mut now, mut seen) = (record, BTreeSet::new());
    while let Some(source) = pedigree.sources.get(&now) {
        if !seen.insert(now) {
            return Err(PedigreeError::Circle(now));
        }
        match source.origin.manifest.filter(|_| source.origin.cycle.is_some()) {
            Some(before) => now = before,
            None => return Ok(now),
        }
    }
    match pedigree.manifests.contains_key(&now) {
        true => Ok(now),
        false => Err(PedigreeError::Unreadable {
            what: "record",
            record: now,
            whose: format!("parent that a pool offers as {}", record.short()),
        }),
    }
}

/// The admitted candidate with this manifest, or the parent with this source record; or why there is none.
/// The reason is a phrase.
///
/// # Errors
///
/// If store or ledger cannot be read: what cannot be looked up is not offered. So is a record that is gone and was here
/// once: the ledger admitted its candidate, or the pool that names it is of this store (`written`).
pub fn offered(
    store: &Store,
    record: Sha256,
    written: bool,
) -> Result<Result<Offered, String>, PedigreeError> {
    let pedigree = Pedigree::load(store)?;
    if let Some(source) = pedigree.sources.get(&record) {
        let origin = &source.origin;
        return Ok(Ok(Offered {
            artifact: source.artifact.blake3,
            bytes: source.artifact.bytes,
            licences: origin.licences.clone(),
            data: origin.data.clone(),
            trained: origin.source_kind == TRAINED,
        }));
    }
    let leaves = store.ledger()?.leaves()?;
    let admission =
        leaves.iter().find(|leaf| leaf.kind == EntryKind::Admission && leaf.subject == Some(record));
    let Some(manifest) = pedigree.manifests.get(&record) else {
        let whose = match admission {
            Some(leaf) => format!("candidate that ledger entry {} admits", leaf.index),
            None if written => "parent that a pool of this store offers".to_owned(),
            None => return Ok(Err("its record is not in this store".to_owned())),
        };
        return Err(PedigreeError::Unreadable { what: "record", record, whose });
    };
    if admission.is_none() {
        return Ok(Err("the ledger of this store did not admit it".to_owned()));
    }
    if let Some(refusal) = refusal_of(record, &leaves) {
        return Ok(Err(format!("ledger entry {} refused it", refusal.index)));
    }
    Ok(Ok(Offered {
        artifact: manifest.artifact.blake3,
        bytes: manifest.artifact.bytes,
        licences: manifest.licences.clone(),
        data: manifest.data.clone(),
        trained: manifest.claims.is_trained(),
    }))
}
