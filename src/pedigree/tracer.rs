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

use super::answers::{Answer, Answers, Asked};
use super::approvals::unapproved;
use super::signing::is_replaced;
use super::taint::{Revoked, Taint};
use super::{Pedigree, PedigreeError};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::record::attest::{Bundle, bundle};
use crate::record::candidate::CandidateManifest;
use crate::record::promotion::{Decision, GateStatus};
use crate::record::source::SourceArtifact;
use crate::store::Store;
use crate::trust::Role;

/// Looks for what reaches records of a pedigree.
pub struct Tracer<'a> {
    pedigree: &'a Pedigree,
    revoked: &'a Revoked,
    /// Knows who signed a record, where attestations are at hand.
    store: &'a Store,
    /// Roles whose signatures are about to be made anew.
    replaced: Vec<Role>,
    /// Records on the way here.
    path: BTreeSet<Sha256>,
    /// Of records and artifacts that were asked already, however many descend from them.
    answers: Answers,
    /// What people call that which was taken back.
    names: BTreeMap<Sha256, Option<String>>,
}

impl<'a> Tracer<'a> {
    /// A tracer over these records; `store` is asked who signed them.
    pub fn new(pedigree: &'a Pedigree, revoked: &'a Revoked, store: &'a Store) -> Self {
        let (replaced, path) = (Vec::new(), BTreeSet::new());
        let (answers, names) = (Answers::default(), BTreeMap::new());
        Self { pedigree, revoked, store, replaced, path, answers, names }
    }

    /// For a run: what a revoked key signed is signed anew at its end, where there is another key of the role.
    /// What was admitted on the revoked one stays closed, for the ledger took that back with it.
    #[must_use]
    pub fn signing_anew(mut self) -> Self {
        let roles = [Role::Producer, Role::Evaluator, Role::Promoter];
        self.replaced =
            roles.into_iter().filter(|role| is_replaced(self.store, self.revoked, *role)).collect();
        self
    }

    /// What a taint says, and what its digest is of, as far as records tell.
    pub fn told(&mut self, taint: &Taint) -> String {
        let name = || self.pedigree.known_as(self.store, taint.subject);
        let brief = taint.brief();
        match self.names.entry(taint.subject).or_insert_with(name) {
            Some(known) => format!("{brief} ({known})"),
            None => brief.to_string(),
        }
    }

    /// What reaches the records that gates rest on.
    ///
    /// # Errors
    ///
    /// If an attestation is there and cannot be read.
    pub fn evidence(&self, gates: &[GateStatus]) -> Result<Option<Taint>, PedigreeError> {
        // Compatibility is the lineage's, and some other role's.
        for gate in gates.iter().filter(|gate| gate.gate.as_str() != "compatibility") {
            for record in &gate.evidence {
                let taint = self.signed(*record, Role::Evaluator)?;
                if let Some(taint) = taint {
                    let how = format!("the gate `{}` rests on a record that was signed by key", gate.gate);
                    return Ok(Some(Taint { how, ..taint }));
                }
            }
        }
        Ok(None)
    }

    /// What reaches a source record; the nearest cause first.
    ///
    /// # Errors
    ///
    /// [`PedigreeError::Unreadable`] if it rests on a record that is not here, [`PedigreeError::Circle`] if it rests
    /// on itself.
    pub fn source(&mut self, sha256: Sha256, body: &SourceArtifact) -> Result<Option<Taint>, PedigreeError> {
        if !self.begin() {
            return Ok(None);
        }
        let found = self.of_source(sha256, body, Asked::Use)?;
        if found.is_none() {
            self.answers.found_nothing();
        }
        Ok(found)
    }

    /// What reaches a candidate; the nearest cause first.
    ///
    /// # Errors
    ///
    /// As [`Self::source`], and if a candidate was revoked whose bytes only its lost manifest tells.
    pub fn candidate(
        &mut self,
        sha256: Sha256,
        body: &CandidateManifest,
    ) -> Result<Option<Taint>, PedigreeError> {
        if !self.begin() {
            return Ok(None);
        }
        let found = self.of_candidate(sha256, body, Asked::Use)?;
        // What gates are opened for, might be the bytes of somebody of whom only the digest is left.
        if found.is_none() {
            self.answers.found_nothing();
            self.every_revoked_is_known()?;
        }
        Ok(found)
    }

    /// Refuses to find nothing where the bytes of somebody who was revoked cannot be known.
    fn every_revoked_is_known(&self) -> Result<(), PedigreeError> {
        let mut revoked = self.revoked.by_manifest.iter();
        let lost = revoked.find(|(manifest, _)| !self.pedigree.manifests.contains_key(*manifest));
        let Some((record, leaf)) = lost else { return Ok(()) };
        let name = leaf.candidate.as_ref().map_or("?", Name::as_str);
        let whose = format!("candidate {}/{name}, which ledger entry {} revokes,", leaf.cycle, leaf.index);
        Err(PedigreeError::Unreadable { what: "manifest", record: *record, whose })
    }

    #[cfg(test)]
    pub(super) fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Forgets the question before; whether there is anything to ask.
    fn begin(&mut self) -> bool {
        self.path.clear();
        self.answers.begin();
        !self.revoked.is_empty()
    }

    /// Whether the key that signed a record was taken back.
    fn signed(&self, record: Sha256, role: Role) -> Result<Option<Taint>, PedigreeError> {
        if self.replaced.contains(&role) || self.revoked.is_empty() {
            return Ok(None);
        }
        let unreadable = || PedigreeError::Unreadable {
            what: "attestation",
            record,
            whose: "record with this digest".to_owned(),
        };
        let bytes = self.store.attestation(record, bundle::MAX_BUNDLE).map_err(|_| unreadable())?;
        let Some(bytes) = bytes else { return Ok(None) };
        let bundle = Bundle::parse(&bytes).map_err(|_| unreadable())?;
        Ok(self.revoked.hit(bundle.keyid(), "its record was signed by key"))
    }

    /// Asks a record or an artifact, unless it was asked already. A record that leads back to itself is forged.
    fn ask(&mut self, sha256: Sha256, asked: Asked, look: impl FnOnce(&mut Self) -> Answer) -> Answer {
        if asked == Asked::Use && self.path.contains(&sha256) {
            return Err(PedigreeError::Circle(sha256));
        }
        if let Some(answer) = self.answers.find((sha256, asked)) {
            return answer;
        }
        if asked == Asked::Use {
            self.path.insert(sha256);
        }
        let open = self.answers.open((sha256, asked));
        let found = look(self);
        self.answers.close(&open, &found);
        if asked == Asked::Use {
            self.path.remove(&sha256);
        }
        found
    }

    fn of_source(&mut self, sha256: Sha256, body: &SourceArtifact, asked: Asked) -> Answer {
        self.ask(sha256, asked, |tracer| tracer.reaches_source(sha256, body, asked))
    }

    fn reaches_source(&mut self, sha256: Sha256, body: &SourceArtifact, asked: Asked) -> Answer {
        let revoked = self.revoked;
        let mut found = revoked
            .hit(sha256, "it is the source")
            .or_else(|| revoked.bytes(body.artifact.sha256))
            .or_else(|| revoked.data(&body.origin.data));
        if found.is_none() && asked == Asked::Use {
            found = self.signed(sha256, Role::Producer)?;
        }
        if found.is_none() {
            found = self.of_origin(sha256, body, asked)?;
        }
        if found.is_none() {
            found = self.of_bytes(body.artifact.sha256)?;
        }
        Ok(found)
    }

    /// What reaches the record that a pool offered: of a candidate, or of a parent that was passed on.
    fn of_origin(&mut self, sha256: Sha256, body: &SourceArtifact, asked: Asked) -> Answer {
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

    fn of_candidate(&mut self, sha256: Sha256, body: &CandidateManifest, asked: Asked) -> Answer {
        self.ask(sha256, asked, |tracer| tracer.reaches_candidate(sha256, body, asked))
    }

    fn reaches_candidate(&mut self, sha256: Sha256, body: &CandidateManifest, asked: Asked) -> Answer {
        let revoked = self.revoked;
        let mut found = revoked
            .hit(sha256, "it is the candidate")
            .or_else(|| revoked.bytes(body.artifact.sha256))
            .or_else(|| revoked.data(&body.data));
        if found.is_none() && asked == Asked::Use {
            found = self.said_of(sha256, body)?;
        }
        if found.is_none() {
            found = self.of_parents(sha256, body, asked)?;
        }
        if found.is_none() {
            found = self.of_bytes(body.artifact.sha256)?;
        }
        if found.is_none() && asked == Asked::Use {
            // Whatever it was that reached it then, and whatever became of that since.
            let mut admissions = revoked.admitted.get(&sha256).into_iter().flatten();
            found = admissions.find_map(|record| revoked.hit(*record, "it was admitted by record"));
        }
        Ok(found)
    }

    /// What reaches that which was said of a candidate: suites, signatures, approvals.
    fn said_of(&self, sha256: Sha256, body: &CandidateManifest) -> Result<Option<Taint>, PedigreeError> {
        let (pedigree, revoked) = (self.pedigree, self.revoked);
        let lineage = pedigree.lineages.get(&body.lineage);
        let suites = lineage.into_iter().flat_map(|lineage| &lineage.suites);
        for suite in suites.filter_map(|suite| suite.sha256) {
            let asked = || revoked.hit(pedigree.asked_by(self.store, suite)?, "it was measured on the cases");
            let found = revoked.hit(suite, "it was measured on suite").or_else(asked);
            if found.is_some() {
                return Ok(found);
            }
        }
        let made = [sha256, body.receipt].into_iter().chain(lineage.map(|lineage| lineage.compatibility));
        for record in made {
            if let Some(taint) = self.signed(record, Role::Producer)? {
                return Ok(Some(taint));
            }
        }
        if let Some(taint) = self.decided_on(sha256)? {
            return Ok(Some(taint));
        }
        unapproved(pedigree, revoked, self.store, sha256, body)
    }

    /// What reaches the decisions to admit a candidate, and the records that they rest on.
    fn decided_on(&self, manifest: Sha256) -> Result<Option<Taint>, PedigreeError> {
        let admission = self.pedigree.admissions.get(&manifest).map(|(record, _)| record);
        for record in self.revoked.admitted.get(&manifest).into_iter().flatten().chain(admission) {
            if let Some(taint) = self.signed(*record, Role::Promoter)? {
                return Ok(Some(taint));
            }
        }
        let admits = |manifest_of: Option<Sha256>, decision| {
            manifest_of == Some(manifest) && decision == Decision::Admit
        };
        for (record, body) in &self.pedigree.promotions {
            if !admits(body.manifest, body.decision) {
                continue;
            }
            let own = self.signed(*record, Role::Promoter)?;
            let found = if own.is_some() { own } else { self.evidence(&body.gates)? };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn of_parents(&mut self, sha256: Sha256, body: &CandidateManifest, asked: Asked) -> Answer {
        let pedigree = self.pedigree;
        let unreadable = |what, record| PedigreeError::Unreadable {
            what,
            record,
            whose: format!("candidate {}/{} ({})", body.cycle, body.candidate, sha256.short()),
        };
        if !pedigree.lineages.contains_key(&body.lineage) {
            return Err(unreadable("lineage template", body.lineage));
        }
        let mut parents = Vec::new();
        for (name, source) in pedigree.parents(body) {
            let parent = pedigree.sources.get(&source);
            parents.push((
                name,
                source,
                parent.ok_or_else(|| unreadable("source record of a parent", source))?,
            ));
        }
        // A child with the bytes of one of its parents (a weight of nothing for the others) brings nothing of
        // the others to whoever has these bytes, that parent first of all.
        let is_copy = |parent: &SourceArtifact| parent.artifact.sha256 == body.artifact.sha256;
        if asked == Asked::Bytes && parents.iter().any(|(.., parent)| is_copy(parent)) {
            parents.retain(|(.., parent)| is_copy(parent));
        }
        for (name, source, parent) in parents {
            if let Some(taint) = self.of_source(source, parent, asked)? {
                let how = format!("its parent `{name}` is tainted: {}", taint.how);
                return Ok(Some(Taint { how, ..taint }));
            }
        }
        Ok(None)
    }

    /// What reaches bytes: by anybody who has them.
    fn of_bytes(&mut self, artifact: Sha256) -> Answer {
        self.ask(artifact, Asked::Bytes, |tracer| tracer.reaches_bytes(artifact))
    }

    fn reaches_bytes(&mut self, artifact: Sha256) -> Answer {
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
