//! What was taken back, as stages see it: from the ledger of now, not from their inputs.
//!
//! Like the ledger and the registry this is shared and changes without any action changing, so stages
//! ask again whenever a cached result is to be used.

use std::sync::Arc;

use super::{Context, StageError};
use crate::base::digest::Sha256;
use crate::pedigree::{PedigreeError, Revoked, Taint, Tracer, shared};
use crate::record::candidate::CandidateManifest;
use crate::record::promotion::GateStatus;
use crate::record::source::SourceArtifact;

impl Context<'_> {
    /// What reaches a parent; none if nothing does.
    pub(super) fn taint_of_source(
        &self,
        sha256: Sha256,
        body: &SourceArtifact,
    ) -> Result<Option<Taint>, StageError> {
        self.traced(|tracer| tracer.source(sha256, body))
    }

    /// What reaches a candidate; none if nothing does.
    pub(super) fn taint_of_candidate(
        &self,
        sha256: Sha256,
        body: &CandidateManifest,
    ) -> Result<Option<Taint>, StageError> {
        self.traced(|tracer| tracer.candidate(sha256, body))
    }

    /// What reaches the records that gates rest on; none if nothing does.
    pub(super) fn taint_of_evidence(&self, gates: &[GateStatus]) -> Result<Option<Taint>, StageError> {
        self.traced(|tracer| tracer.evidence(gates))
    }

    /// What the ledger takes back.
    pub(super) fn revoked(&self) -> Result<Arc<Revoked>, StageError> {
        Revoked::of(&self.store.ledger()?).map_err(stage_error)
    }

    /// Which entry retired a candidate.
    pub(super) fn retired(&self, manifest: Sha256) -> Result<Option<u64>, StageError> {
        let revoked = self.revoked()?;
        Ok(revoked.retired.get(&manifest).copied())
    }

    fn traced(
        &self,
        ask: impl FnOnce(&mut Tracer<'_>) -> Result<Option<Taint>, PedigreeError>,
    ) -> Result<Option<Taint>, StageError> {
        let revoked = self.revoked()?;
        if revoked.is_empty() {
            return Ok(None);
        }
        let asked = shared(self.store, |pedigree| {
            ask(&mut Tracer::new(pedigree, &revoked, self.store).signing_anew())
        });
        asked.flatten().map_err(stage_error)
    }
}

pub(super) fn stage_error(error: PedigreeError) -> StageError {
    match error {
        PedigreeError::Store(error) => error.into(),
        PedigreeError::Ledger(error) => error.into(),
        other => StageError::Refused(other.to_string()),
    }
}
