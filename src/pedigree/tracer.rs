//! Whom a revocation reaches: a walk from a record to all that it rests on.
//!
//! ```text
//! candidate --> its source records --> the candidate, or the source record, that a pool offered
//!         \--> everybody with the same bytes --> what these bytes were made of
//! ```
//!
//! Bytes count wherever they appear: under another name, another plan or as a file that somebody copied. Of
//! those who share them only what is in the bytes is asked (who they are, what they were made of, declared
//! data), not what was merely said of them: the suite of one says nothing against the other.
//!
//! What is tainted is found by looking, so what cannot be looked at is never passed over: a record that is
//! named and is not here is an error.

use std::collections::{BTreeMap, BTreeSet};

use super::taint::{Revoked, Taint};
use super::{Pedigree, PedigreeError};
use crate::base::digest::Sha256;
use crate::record::attest::{Bundle, bundle};
use crate::record::candidate::CandidateManifest;
use crate::record::source::SourceArtifact;
use crate::store::Store;

/// What is asked of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    /// Whether it may be used.
    Use,
    /// Whether its bytes may be, whoever has them.
    Bytes,
}

/// Looks for what reaches records of a pedigree.
pub struct Tracer<'a> {
    pedigree: &'a Pedigree,
    revoked: &'a Revoked,
    /// Who signed a record, where attestations are at hand.
    signers: BTreeMap<Sha256, Sha256>,
    /// Records on the way here.
    path: BTreeSet<Sha256>,
    /// Records and artifacts that were asked already: once is enough, however many descend from them.
    seen: BTreeSet<(Sha256, Asked)>,
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
        Ok(Self { pedigree, revoked, signers, path: BTreeSet::new(), seen: BTreeSet::new() })
    }

    /// What reaches a source record; the nearest cause first.
    pub fn source(&mut self, sha256: Sha256, body: &SourceArtifact) -> Result<Option<Taint>, PedigreeError> {
        if !self.begin() {
            return Ok(None);
        }
        self.of_source(sha256, body, Asked::Use)
    }

    /// What reaches a candidate; the nearest cause first.
    pub fn candidate(
        &mut self,
        sha256: Sha256,
        body: &CandidateManifest,
    ) -> Result<Option<Taint>, PedigreeError> {
        if !self.begin() {
            return Ok(None);
        }
        self.of_candidate(sha256, body, Asked::Use)
    }

    /// Forgets the question before; whether there is anything to ask.
    fn begin(&mut self) -> bool {
        self.path.clear();
        self.seen.clear();
        !self.revoked.is_empty()
    }

    fn signed(&self, record: Sha256) -> Option<Taint> {
        self.revoked.hit(*self.signers.get(&record)?, "its record was signed by key")
    }

    /// Whether a record is to be asked: not twice. One that leads back to itself is forged.
    fn enters(&mut self, sha256: Sha256, asked: Asked) -> Result<bool, PedigreeError> {
        if asked == Asked::Use {
            if !self.path.insert(sha256) {
                return Err(PedigreeError::Circle(sha256));
            }
            // Whoever may be used has bytes that may be.
            self.seen.insert((sha256, Asked::Bytes));
        }
        let first = self.seen.insert((sha256, asked));
        if !first && asked == Asked::Use {
            self.path.remove(&sha256);
        }
        Ok(first)
    }

    fn of_source(
        &mut self,
        sha256: Sha256,
        body: &SourceArtifact,
        asked: Asked,
    ) -> Result<Option<Taint>, PedigreeError> {
        if !self.enters(sha256, asked)? {
            return Ok(None);
        }
        let revoked = self.revoked;
        let mut found = revoked
            .hit(sha256, "it is the source")
            .or_else(|| revoked.hit(body.artifact.sha256, "it is the artifact"))
            .or_else(|| revoked.data(&body.origin.data))
            .or_else(|| self.signed(sha256).filter(|_| asked == Asked::Use));
        if found.is_none() {
            found = self.of_origin(sha256, body, asked)?;
        }
        if found.is_none() {
            found = self.of_bytes(body.artifact.sha256)?;
        }
        self.path.remove(&sha256);
        Ok(found)
    }

    /// What reaches the record that a pool offered: of a candidate, or of a parent that was passed on.
    fn of_origin(
        &mut self,
        sha256: Sha256,
        body: &SourceArtifact,
        asked: Asked,
    ) -> Result<Option<Taint>, PedigreeError> {
        let pedigree = self.pedigree;
        let Some(bred) = body.origin.manifest else { return Ok(None) };
        match (pedigree.manifests.get(&bred), pedigree.sources.get(&bred)) {
            (Some(manifest), _) => self.of_candidate(bred, manifest, asked),
            (None, Some(source)) => self.of_source(bred, source, asked),
            (None, None) if self.revoked.subjects.contains_key(&bred) => {
                Ok(self.revoked.hit(bred, "it is the candidate"))
            }
            // Of a pool there is a record; what else a source names is a file of somebody's own.
            (None, None) if body.origin.cycle.is_some() => Err(PedigreeError::Unreadable {
                what: "record that its pool offered",
                record: bred,
                whose: format!("source `{}` ({})", body.name, sha256.short()),
            }),
            (None, None) => Ok(None),
        }
    }

    fn of_candidate(
        &mut self,
        sha256: Sha256,
        body: &CandidateManifest,
        asked: Asked,
    ) -> Result<Option<Taint>, PedigreeError> {
        if !self.enters(sha256, asked)? {
            return Ok(None);
        }
        let revoked = self.revoked;
        let mut found = revoked
            .hit(sha256, "it is the candidate")
            .or_else(|| revoked.hit(body.artifact.sha256, "it is the artifact"))
            .or_else(|| revoked.data(&body.data));
        if found.is_none() && asked == Asked::Use {
            found = self.said_of(sha256, body);
        }
        if found.is_none() {
            found = self.of_parents(sha256, body, asked)?;
        }
        if found.is_none() {
            found = self.of_bytes(body.artifact.sha256)?;
        }
        self.path.remove(&sha256);
        Ok(found)
    }

    /// What reaches that which was said of a candidate.
    fn said_of(&self, sha256: Sha256, body: &CandidateManifest) -> Option<Taint> {
        let lineage = self.pedigree.lineages.get(&body.lineage);
        let mut suites = lineage.into_iter().flat_map(|lineage| &lineage.suites);
        let admission = self.pedigree.admissions.get(&sha256).map(|(record, _)| *record);
        suites
            .find_map(|suite| self.revoked.hit(suite.sha256?, "it was measured on suite"))
            .or_else(|| self.signed(sha256))
            .or_else(|| self.signed(admission?))
    }

    fn of_parents(
        &mut self,
        sha256: Sha256,
        body: &CandidateManifest,
        asked: Asked,
    ) -> Result<Option<Taint>, PedigreeError> {
        let pedigree = self.pedigree;
        let unreadable = |what, record| PedigreeError::Unreadable {
            what,
            record,
            whose: format!("candidate {}/{} ({})", body.cycle, body.candidate, sha256.short()),
        };
        if !pedigree.lineages.contains_key(&body.lineage) {
            return Err(unreadable("lineage template", body.lineage));
        }
        for (name, source) in pedigree.parents(body) {
            let parent = pedigree.sources.get(&source);
            let parent = parent.ok_or_else(|| unreadable("source record of a parent", source))?;
            if let Some(taint) = self.of_source(source, parent, asked)? {
                let how = format!("its parent `{name}` is tainted: {}", taint.how);
                return Ok(Some(Taint { how, ..taint }));
            }
        }
        Ok(None)
    }

    /// What reaches bytes: by anybody who has them.
    fn of_bytes(&mut self, artifact: Sha256) -> Result<Option<Taint>, PedigreeError> {
        if !self.seen.insert((artifact, Asked::Bytes)) {
            return Ok(None);
        }
        let pedigree = self.pedigree;
        for (sha256, body) in pedigree.manifests.iter().filter(|(_, it)| it.artifact.sha256 == artifact) {
            if let Some(taint) = self.of_candidate(*sha256, body, Asked::Bytes)? {
                let how = format!("its bytes are those of {}/{}: {}", body.cycle, body.candidate, taint.how);
                return Ok(Some(Taint { how, ..taint }));
            }
        }
        for (sha256, body) in pedigree.sources.iter().filter(|(_, it)| it.artifact.sha256 == artifact) {
            if let Some(taint) = self.of_source(*sha256, body, Asked::Bytes)? {
                let how = format!("its bytes are those of the source `{}`: {}", body.name, taint.how);
                return Ok(Some(Taint { how, ..taint }));
            }
        }
        Ok(None)
    }
}
