//! Every record of a store that pedigrees are made of, by its SHA-256.

use std::collections::BTreeMap;

use super::PedigreeError;
use super::cases::Cases;
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::ledger::{EntryKind, Leaf};
use crate::record::admission::AdmissionRecord;
use crate::record::candidate::CandidateManifest;
use crate::record::evaluation::EvaluationSidecar;
use crate::record::lineage::LineageTemplate;
use crate::record::promotion::PromotionTemplate;
use crate::record::source::SourceArtifact;
use crate::record::{self, Record};
use crate::store::Store;

/// The records, read once.
#[derive(Debug, Default)]
pub struct Pedigree {
    /// Candidates.
    pub manifests: BTreeMap<Sha256, CandidateManifest>,
    /// What was promised of them.
    pub lineages: BTreeMap<Sha256, LineageTemplate>,
    /// Their parents.
    pub sources: BTreeMap<Sha256, SourceArtifact>,
    /// What became of them, by manifest; the record's own digest beside it.
    pub admissions: BTreeMap<Sha256, (Sha256, AdmissionRecord)>,
    /// Every refusal, by its own digest.
    pub(super) refusals: BTreeMap<Sha256, AdmissionRecord>,
    /// Whom the ledger admitted and nobody refused (true), and whom it refused (false), by manifest.
    pub(super) decided: BTreeMap<Sha256, bool>,
    /// What the ledger decided of candidates, entry by entry.
    pub(super) decisions: Vec<Leaf>,
    /// The state of their gates.
    pub promotions: BTreeMap<Sha256, PromotionTemplate>,
    /// The suites that somebody was measured on.
    pub(super) suites: BTreeMap<Sha256, Cases>,
}

impl Pedigree {
    /// Reads a store, whatever cycle its records are of. Records that are gone or damaged are not there.
    ///
    /// # Errors
    ///
    /// If the store cannot be listed, or its ledger not be read.
    pub fn load(store: &Store) -> Result<Self, PedigreeError> {
        let mut pedigree = Self::default();
        for result in store.every_result()? {
            let Some(blob) = result.record() else { continue };
            if let Ok(bytes) = store.read(&blob.digest) {
                pedigree.take(&bytes);
            }
        }
        for leaf in store.ledger()?.leaves()? {
            let (true, Some(manifest)) = (leaf.kind.is_decision(), leaf.subject) else { continue };
            // A refusal is the last word, wherever it stands.
            let admitted = pedigree.decided.entry(manifest).or_insert(true);
            *admitted &= leaf.kind == EntryKind::Admission;
            pedigree.decisions.push(leaf);
        }
        Ok(pedigree)
    }

    /// What became of a candidate: `admitted`, `refused` or `undecided`. The ledger says so; where it does not
    /// know of it, its record.
    pub fn verdict(&self, manifest: Sha256) -> &'static str {
        let recorded = || self.admissions.get(&manifest).map(|(_, admission)| admission.admitted);
        match self.decided.get(&manifest).copied().or_else(recorded) {
            None => "undecided",
            Some(true) => "admitted",
            Some(false) => "refused",
        }
    }

    /// Takes in a record if it is of a kind that matters.
    pub fn take(&mut self, bytes: &[u8]) {
        let sha256 = Sha256::of(bytes);
        // The type is the last member of a canonical record.
        let is = |kind: &str| bytes.ends_with(format!("\"type\":\"{kind}\"}}").as_bytes());
        if is(CandidateManifest::TYPE) {
            self.manifests.extend(record::from_bytes(bytes).ok().map(|body| (sha256, body)));
        } else if is(LineageTemplate::TYPE) {
            self.lineages.extend(record::from_bytes(bytes).ok().map(|body| (sha256, body)));
        } else if is(SourceArtifact::TYPE) {
            self.sources.extend(record::from_bytes(bytes).ok().map(|body| (sha256, body)));
        } else if is(PromotionTemplate::TYPE) {
            self.promotions.extend(record::from_bytes(bytes).ok().map(|body| (sha256, body)));
        } else if is(EvaluationSidecar::TYPE)
            && let Ok(body) = record::from_bytes::<EvaluationSidecar>(bytes)
        {
            self.note(&body.suite);
        } else if is(AdmissionRecord::TYPE)
            && let Ok(body) = record::from_bytes::<AdmissionRecord>(bytes)
            && let Some(manifest) = body.manifest
        {
            if !body.admitted {
                self.refusals.insert(sha256, body.clone());
            }
            // Of several the refusal: it is the last word.
            let known = self.admissions.get(&manifest);
            if known.is_none_or(|(_, known)| known.admitted) {
                self.admissions.insert(manifest, (sha256, body));
            }
        }
    }

    /// The candidates that a person may mean: by manifest or artifact digest, whole or its beginning, or
    /// by name, alone or after its cycle and a slash.
    pub fn find(&self, wanted: &str) -> Vec<Sha256> {
        let (cycle, name) = match wanted.split_once('/') {
            Some((cycle, name)) => (Some(cycle), name),
            None => (None, wanted),
        };
        let by_name = |manifest: &CandidateManifest| {
            manifest.candidate.as_str() == name && cycle.is_none_or(|cycle| manifest.cycle.as_str() == cycle)
        };
        let begins = |digest: &Sha256| wanted.len() >= 8 && digest.to_hex().starts_with(wanted);
        let all = self.manifests.iter();
        all.filter(|(sha256, body)| begins(sha256) || begins(&body.artifact.sha256) || by_name(body))
            .map(|(sha256, _)| *sha256)
            .collect()
    }

    /// That the manifest of whom a person may mean is lost: the ledger decided of such a candidate (of this cycle, if one
    /// is named), and its manifest cannot be read.
    pub fn lost(&self, wanted: &str, cycle: Option<&str>) -> Option<PedigreeError> {
        let (cycle, name) =
            wanted.split_once('/').map_or((cycle, wanted), |(cycle, name)| (Some(cycle), name));
        let by_name = |leaf: &Leaf| {
            leaf.candidate.as_ref().is_some_and(|candidate| candidate.as_str() == name)
                && cycle.is_none_or(|cycle| leaf.cycle.as_str() == cycle)
        };
        let begins = |digest: &Sha256| wanted.len() >= 8 && digest.to_hex().starts_with(wanted);
        // The last word on the last of them.
        self.decisions.iter().rev().find_map(|leaf| {
            let record = leaf.subject.filter(|subject| !self.manifests.contains_key(subject))?;
            let decides = if leaf.kind == EntryKind::Admission { "admits" } else { "refuses" };
            let whose = format!("candidate that ledger entry {} {decides}", leaf.index);
            let unreadable = PedigreeError::Unreadable { what: "manifest", record, whose };
            (begins(&record) || by_name(leaf)).then_some(unreadable)
        })
    }

    /// The source records a candidate was made from: base first, then parents, adapted models after
    /// their adapters.
    pub fn parents(&self, manifest: &CandidateManifest) -> Vec<(&Name, Sha256)> {
        let Some(lineage) = self.lineages.get(&manifest.lineage) else { return Vec::new() };
        let mut parents = Vec::new();
        for parent in lineage.base.iter().chain(&lineage.parents) {
            let mut next = Some(parent);
            while let Some(ancestor) = next {
                if !parents.contains(&(&ancestor.name, ancestor.source)) {
                    parents.push((&ancestor.name, ancestor.source));
                }
                next = ancestor.adapts.as_deref();
            }
        }
        parents
    }
}
