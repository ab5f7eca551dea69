//! Signed statements about a cycle's records: made after a run, checked by whoever verifies.
//!
//! What is said follows from the records alone (for a decision, also from its time in the ledger; for a
//! child, what made it is told besides), so checking is deriving it again. A run without keys says nothing and is none the worse for it; where
//! the trust file names a key for a kind of record, a record without its statement does not pass.

use super::graph::{StageGraph, StageIndex};
use super::resolve::{Resolver, Results};
use super::verify::Checked;
use crate::base::digest::{Digest, Sha256};
use crate::base::key::WriteKey;
use crate::base::name::Name;
use crate::ledger::LedgerError;
use crate::pedigree::{PedigreeError, Revoked, signing};
use crate::record::attest::build::MAX_NOTE;
use crate::record::attest::{
    AttestError, BuildFacts, Bundle, Descriptor, Statement, agree, bundle, predicate,
};
use crate::record::{self, Record, RecordError, Subject};
use crate::record::{
    admission::AdmissionRecord, candidate::CandidateManifest, comparison::GateComparisons,
    compat::CompatibilityReport, evaluation::EvaluationSidecar, lineage::LineageTemplate,
    promotion::PromotionTemplate, receipt::OperatorReceipt, recipe::ParentPoolRecipe,
    registry::SelectorRegistry, review::PopulationReview, smoke::RuntimeSmoke, source::SourceArtifact,
};
use crate::stage::Kind;
use crate::store::{Blob, Store, StoreError, ViewEntry};
use crate::trust::{Claim, TrustError};

/// Why a record cannot be attested, or its attestation does not count.
#[derive(Debug, thiserror::Error)]
pub(super) enum EvidenceError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record itself.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The bundle.
    #[error(transparent)]
    Attest(#[from] AttestError),
    /// A key.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// What the ledger takes back.
    #[error(transparent)]
    Pedigree(#[from] PedigreeError),
    /// The ledger, which knows when.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Nothing is signed where something must be.
    #[error("the trust file names a key for {} records, but nobody signed this one", .0.word())]
    Missing(Claim),
}

/// What is claimed by a stage's record.
struct Claimed {
    record: Sha256,
    claim: Claim,
    statement: Statement,
}

/// A cycle's records.
struct Records<'a> {
    graph: &'a StageGraph,
    store: &'a Store,
    results: &'a Results,
}

impl Records<'_> {
    fn read<T: Record>(&self, index: StageIndex) -> Result<Option<(T, Subject)>, EvidenceError> {
        let result = self.results[index.index()].as_ref();
        let Some(blob) = result.and_then(|result| result.record()) else { return Ok(None) };
        let bytes = self.store.read(&blob.digest)?;
        Ok(Some((record::from_bytes(&bytes)?, Subject::of(&bytes))))
    }

    /// The record of another stage of the same candidate.
    fn of<T: Record>(&self, kind: Kind, candidate: &Name) -> Result<Option<(T, Subject)>, EvidenceError> {
        match self.graph.find(&format!("{}:{candidate}", kind.name())) {
            Some(index) => self.read(index),
            None => Ok(None),
        }
    }

    /// When a candidate was admitted or refused, by the ledger.
    fn decided(&self, candidate: &Name) -> Result<Option<String>, EvidenceError> {
        let Some((_, subject)) = self.of::<AdmissionRecord>(Kind::Admission, candidate)? else {
            return Ok(None);
        };
        let leaves = self.store.ledger()?.find_record(subject.sha256)?;
        Ok(leaves.into_iter().find(|leaf| leaf.kind.is_decision()).map(|leaf| leaf.time))
    }

    /// What a stage's record claims; none if it claims nothing.
    fn claimed(&self, index: StageIndex) -> Result<Option<Claimed>, EvidenceError> {
        match self.graph.node(index).kind {
            Kind::Source => self.with(index, Claim::Source, |body: &SourceArtifact, _| {
                let subject = vec![Descriptor::new(body.name.as_str(), body.artifact.sha256)];
                Ok(Some(predicate::own(subject, body)?))
            }),
            Kind::Compat => self.with(index, Claim::Compatibility, |body: &CompatibilityReport, record| {
                Ok(predicate::compatibility(body, record))
            }),
            Kind::Operator => self.with(index, Claim::Receipt, |body: &OperatorReceipt, record| {
                let lineage = self.of::<LineageTemplate>(Kind::Lineage, &body.candidate)?;
                let manifest = self.of::<CandidateManifest>(Kind::Candidate, &body.candidate)?;
                let (Some((lineage, _)), Some((manifest, _))) = (lineage, manifest) else { return Ok(None) };
                Ok(Some(predicate::provenance(body, record, &lineage, &manifest)?))
            }),
            Kind::Candidate => self.with(index, Claim::Candidate, |body: &CandidateManifest, record| {
                Ok(Some(predicate::candidate(body, record)?))
            }),
            Kind::Smoke => self.with(index, Claim::Smoke, |body: &RuntimeSmoke, record| {
                Ok(Some(predicate::smoke(body, record)))
            }),
            Kind::Eval if self.graph.node(index).label == GateComparisons::LABEL => {
                self.with(index, Claim::Evaluation, |body: &GateComparisons, record| {
                    Ok(Some(predicate::comparisons(body, record)?))
                })
            }
            Kind::Eval => self.with(index, Claim::Evaluation, |body: &EvaluationSidecar, _| {
                let subject = vec![Descriptor::new(body.subject.name.as_str(), body.subject.artifact)];
                Ok(Some(predicate::own(subject, body)?))
            }),
            Kind::Promotion => self.with(index, Claim::Promotion, |body: &PromotionTemplate, record| {
                let manifest = self.of::<CandidateManifest>(Kind::Candidate, &body.candidate)?;
                let (Some((manifest, _)), Some(time)) = (manifest, self.decided(&body.candidate)?) else {
                    return Ok(None);
                };
                Ok(predicate::gates(body, record, &manifest, &time))
            }),
            Kind::Admission => self.with(index, Claim::Admission, |body: &AdmissionRecord, record| {
                let manifest = self.of::<CandidateManifest>(Kind::Candidate, &body.candidate)?;
                let (Some((manifest, _)), Some(time)) = (manifest, self.decided(&body.candidate)?) else {
                    return Ok(None);
                };
                Ok(Some(predicate::admission(body, record, &manifest, &time)))
            }),
            Kind::Review => self.with(index, Claim::Review, |body: &PopulationReview, record| {
                let mut subject = vec![Descriptor::new("population-review.json", record)];
                let members = body.members.iter();
                subject.extend(members.map(|member| Descriptor::new(member.name.as_str(), member.manifest)));
                Ok(Some(predicate::own(subject, body)?))
            }),
            Kind::Recipe => self.with(index, Claim::Pool, |body: &ParentPoolRecipe, _| {
                let subject = vec![Descriptor::new("pool.toml", body.fragment.sha256)];
                Ok(Some(predicate::own(subject, body)?))
            }),
            Kind::Registry => self.with(index, Claim::Release, |body: &SelectorRegistry, record| {
                Ok(Some(predicate::release(body, record)))
            }),
            // A lineage template only promises; the ledger proves its own entries.
            Kind::Lineage | Kind::Ledger => Ok(None),
        }
    }

    fn with<T: Record>(
        &self,
        index: StageIndex,
        claim: Claim,
        say: impl FnOnce(&T, Sha256) -> Result<Option<Statement>, EvidenceError>,
    ) -> Result<Option<Claimed>, EvidenceError> {
        let Some((body, subject)) = self.read::<T>(index)? else { return Ok(None) };
        let record = subject.sha256;
        Ok(say(&body, record)?.map(|statement| Claimed { record, claim, statement }))
    }

    /// What a stage's program and machine were, if it was executed here.
    fn built(&self, index: StageIndex) -> Result<Option<BuildFacts>, EvidenceError> {
        let action = Resolver::new(self.graph, self.store).action(index, self.results)?;
        let note = self.store.build_note(&action.action_key(), MAX_NOTE)?;
        Ok(note.and_then(|note| BuildFacts::from_bytes(&note)))
    }

    /// Where a stage's attestation is shown.
    fn shown(&self, index: StageIndex) -> String {
        let node = self.graph.node(index);
        format!("{}/{}.sigstore.json", node.kind.folder(), node.label)
    }
}

/// Signs what a run's records claim, as far as there are keys, and says what to show of it. What was
/// signed before by a key that is not here stays as it is; what another key signed before is kept beside.
pub(super) fn attest(
    graph: &StageGraph,
    store: &Store,
    results: &Results,
) -> Result<Vec<ViewEntry>, EvidenceError> {
    let mut shown = Vec::new();
    if !store.custody().has_keys() && !store.has_attestations() {
        return Ok(shown);
    }
    let records = Records { graph, store, results };
    for index in &graph.order {
        let Some(Claimed { record, claim, mut statement }) = records.claimed(*index)? else { continue };
        if claim == Claim::Receipt
            && let Some(facts) = records.built(*index)?
        {
            statement = facts.told_in(statement);
        }
        let there = store.attestation(record, bundle::MAX_BUNDLE)?;
        let bytes = match (store.custody().signer(claim.role())?, there) {
            (Some(key), there) => {
                signing::refuse_revoked(store, claim.role(), key.public().id())?;
                let bytes = Bundle::sign(&statement, &key)?.to_bytes();
                if there.as_ref() != Some(&bytes) {
                    if let Some(there) = there.filter(|there| !is_by(there, key.public().id())) {
                        store.keep_attestation(record, store.ledger()?.head()?.size, &there)?;
                    }
                    store.attest(record, &bytes)?;
                }
                bytes
            }
            (None, Some(there)) => there,
            (None, None) => continue,
        };
        shown.push(Store::copied(records.shown(*index), &store.put(&bytes)?));
    }
    Ok(shown)
}

/// Whether an attestation is one by this key.
fn is_by(attestation: &[u8], key: Sha256) -> bool {
    Bundle::parse(attestation).is_ok_and(|bundle| bundle.keyid() == key)
}

/// What is to be shown of what was signed, without signing.
pub(super) fn kept(
    graph: &StageGraph,
    store: &Store,
    results: &Results,
) -> Result<Vec<ViewEntry>, EvidenceError> {
    let mut shown = Vec::new();
    if !store.has_attestations() {
        return Ok(shown);
    }
    let records = Records { graph, store, results };
    for index in &graph.order {
        let Some(Claimed { record, .. }) = records.claimed(*index)? else { continue };
        let Some(bytes) = store.attestation(record, bundle::MAX_BUNDLE)? else { continue };
        let blob = Blob { digest: Digest::of(&bytes), bytes: bytes.len() as u64 };
        shown.push(Store::copied(records.shown(*index), &blob));
    }
    Ok(shown)
}

/// Checks the attestation of every record that has one, or must have one.
pub(super) fn check(graph: &StageGraph, store: &Store, results: &Results, tell: &mut dyn FnMut(Checked)) {
    if store.custody().trust().is_none() && !store.has_attestations() {
        return;
    }
    let records = Records { graph, store, results };
    for index in &graph.order {
        let (ok, finding) = match check_one(&records, *index) {
            Ok(None) => continue,
            Ok(Some(finding)) => (true, finding),
            Err(error) => (false, error.to_string()),
        };
        tell(Checked { what: format!("attestation of {}", graph.node(*index).id), ok, finding });
    }
}

fn check_one(records: &Records<'_>, index: StageIndex) -> Result<Option<String>, EvidenceError> {
    let Some(Claimed { record, claim, statement }) = records.claimed(index)? else { return Ok(None) };
    let there = records.store.attestation(record, bundle::MAX_BUNDLE)?;
    let trust = records.store.custody().trust();
    let demanded = trust.is_some_and(|trust| trust.for_claim(claim).next().is_some());
    let bundle = match there {
        Some(bytes) => Bundle::parse(&bytes)?,
        None if demanded => return Err(EvidenceError::Missing(claim)),
        None => return Ok(None),
    };
    if Revoked::of(&records.store.ledger()?)?.subjects.contains_key(&bundle.keyid()) {
        return Err(TrustError::Revoked(bundle.keyid()).into());
    }
    let Some(trust) = trust else {
        return Ok(Some(format!(
            "signed by {}, not checked: there is no trust file",
            bundle.keyid().short()
        )));
    };
    let (found, key) = bundle.verify(trust, claim, &statement.predicate_type)?;
    let facts = agree(&statement, &found)?;
    Ok(Some(key.signed(facts.as_ref().map(|facts| facts as _))))
}
