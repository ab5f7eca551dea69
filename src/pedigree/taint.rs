//! What was taken back, and whom that reaches.
//!
//! A revocation names one digest. It reaches a candidate whose manifest or artifact that is, whose suites
//! or declared data it is among, one whose records were signed by that key, and everybody who descends
//! from one it reaches. Nothing is removed: what is tainted stays on record as tainted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Pedigree, PedigreeError};
use crate::base::digest::Sha256;
use crate::ledger::{EntryKind, Ledger};
use crate::record::attest::{Bundle, bundle};
use crate::record::candidate::CandidateManifest;
use crate::record::source::SourceArtifact;
use crate::store::Store;

/// What the ledger takes back: the digest, and the entry that says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revoked {
    /// For cause.
    pub subjects: BTreeMap<Sha256, u64>,
    /// Without blame: candidates that are no longer offered.
    pub retired: BTreeMap<Sha256, u64>,
}

/// Why something is not to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// What was taken back.
    pub subject: Sha256,
    /// By which ledger entry.
    pub entry: u64,
    /// How it is related: `it is`, `it was measured on`, `it descends from`.
    pub how: String,
}

impl std::fmt::Display for Taint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}, which ledger entry {} revokes", self.how, self.subject.short(), self.entry)
    }
}

/// One log at one root always says the same, so it is read once for all stages of a run.
static READ: Mutex<Option<(PathBuf, Sha256, Arc<Revoked>)>> = Mutex::new(None);

impl Revoked {
    /// What a ledger takes back. The whole log is checked on the way.
    pub fn of(ledger: &Ledger) -> Result<Arc<Self>, PedigreeError> {
        let head = ledger.head()?;
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((folder, root, revoked)) = &*read
            && (folder.as_path(), *root) == (ledger.folder(), head.root)
        {
            return Ok(revoked.clone());
        }
        let mut revoked = Self::default();
        for leaf in ledger.leaves()? {
            let Some(subject) = leaf.subject else { continue };
            match leaf.kind {
                EntryKind::Revocation => revoked.subjects.entry(subject).or_insert(leaf.index),
                EntryKind::Retirement => revoked.retired.entry(subject).or_insert(leaf.index),
                _ => continue,
            };
        }
        let revoked = Arc::new(revoked);
        *read = Some((ledger.folder().to_owned(), head.root, revoked.clone()));
        Ok(revoked)
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    fn hit(&self, subject: Sha256, how: &str) -> Option<Taint> {
        let entry = *self.subjects.get(&subject)?;
        Some(Taint { subject, entry, how: how.to_owned() })
    }

    fn data(&self, data: &[String]) -> Option<Taint> {
        data.iter().find_map(|name| self.hit(Sha256::of(name.as_bytes()), "it was trained on data set"))
    }
}

/// Looks for what reaches records of a pedigree.
pub struct Tracer<'a> {
    pedigree: &'a Pedigree,
    revoked: &'a Revoked,
    /// Who signed a record, where attestations are at hand.
    signers: BTreeMap<Sha256, Sha256>,
    /// Manifests on the way here.
    path: BTreeSet<Sha256>,
}

impl<'a> Tracer<'a> {
    /// A tracer over these records; `store` is asked who signed them.
    pub fn new(pedigree: &'a Pedigree, revoked: &'a Revoked, store: &Store) -> Result<Self, PedigreeError> {
        let mut signers = BTreeMap::new();
        if !revoked.is_empty() && store.has_attestations() {
            let admissions = pedigree.admissions.values().map(|(sha256, _)| sha256);
            for record in pedigree.manifests.keys().chain(pedigree.sources.keys()).chain(admissions) {
                let bytes = store.attestation(*record, bundle::MAX_BUNDLE)?;
                let signer = bytes.and_then(|bytes| Some(Bundle::parse(&bytes).ok()?.keyid()));
                signers.extend(signer.map(|signer| (*record, signer)));
            }
        }
        Ok(Self { pedigree, revoked, signers, path: BTreeSet::new() })
    }

    fn signed(&self, record: Sha256) -> Option<Taint> {
        self.revoked.hit(*self.signers.get(&record)?, "its record was signed by key")
    }

    /// What reaches a source record; the nearest cause first.
    pub fn source(&mut self, sha256: Sha256, body: &SourceArtifact) -> Result<Option<Taint>, PedigreeError> {
        let revoked = self.revoked;
        let own = revoked
            .hit(sha256, "it is the source")
            .or_else(|| revoked.hit(body.artifact.sha256, "it is the artifact"))
            .or_else(|| revoked.data(&body.origin.data))
            .or_else(|| self.signed(sha256));
        if own.is_some() {
            return Ok(own);
        }
        let Some(bred) = body.origin.manifest else { return Ok(None) };
        if let Some(taint) = revoked.hit(bred, "it is the candidate") {
            return Ok(Some(taint));
        }
        match self.pedigree.manifests.get(&bred) {
            Some(manifest) => self.candidate(bred, manifest),
            None => Ok(None),
        }
    }

    /// What reaches a candidate; the nearest cause first.
    pub fn candidate(
        &mut self,
        sha256: Sha256,
        body: &CandidateManifest,
    ) -> Result<Option<Taint>, PedigreeError> {
        let (pedigree, revoked) = (self.pedigree, self.revoked);
        let lineage = pedigree.lineages.get(&body.lineage);
        let suites = || lineage.into_iter().flat_map(|lineage| &lineage.suites);
        let admission = pedigree.admissions.get(&sha256).map(|(record, _)| *record);
        let own = revoked
            .hit(sha256, "it is the candidate")
            .or_else(|| revoked.hit(body.artifact.sha256, "it is the artifact"))
            .or_else(|| suites().find_map(|suite| revoked.hit(suite.sha256?, "it was measured on suite")))
            .or_else(|| revoked.data(&body.data))
            .or_else(|| self.signed(sha256))
            .or_else(|| self.signed(admission?));
        if own.is_some() {
            return Ok(own);
        }
        if !self.path.insert(sha256) {
            return Err(PedigreeError::Circle(sha256));
        }
        let mut found = None;
        for (name, source) in pedigree.parents(body) {
            let Some(parent) = pedigree.sources.get(&source) else { continue };
            found = self.source(source, parent)?.map(|taint| Taint {
                how: format!("its parent `{name}` is tainted: {}", taint.how),
                ..taint
            });
            if found.is_some() {
                break;
            }
        }
        self.path.remove(&sha256);
        Ok(found)
    }
}
