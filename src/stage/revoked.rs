//! What was taken back, as stages see it: from the ledger of now, not from their inputs.
//!
//! Like the ledger and the registry this is shared and changes without any action changing, so stages
//! ask again whenever a cached result is to be used.

use super::{Context, StageError};
use crate::base::digest::Sha256;
use crate::pedigree::{Pedigree, PedigreeError, Revoked, Taint, Tracer};
use crate::record::candidate::CandidateManifest;
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

    /// Which entry retired a candidate.
    pub(super) fn retired(&self, manifest: Sha256) -> Result<Option<u64>, StageError> {
        let revoked = Revoked::of(&self.store.ledger()?).map_err(stage_error)?;
        Ok(revoked.retired.get(&manifest).copied())
    }

    fn traced(
        &self,
        ask: impl FnOnce(&mut Tracer<'_>) -> Result<Option<Taint>, PedigreeError>,
    ) -> Result<Option<Taint>, StageError> {
        let revoked = Revoked::of(&self.store.ledger()?).map_err(stage_error)?;
        if revoked.is_empty() {
            return Ok(None);
        }
        let pedigree = Pedigree::load(self.store).map_err(stage_error)?;
        let mut tracer = Tracer::new(&pedigree, &revoked, self.store).map_err(stage_error)?;
        ask(&mut tracer).map_err(stage_error)
    }
}

pub(super) fn stage_error(error: PedigreeError) -> StageError {
    match error {
        PedigreeError::Store(error) => error.into(),
        PedigreeError::Ledger(error) => error.into(),
        other @ (PedigreeError::Circle(_) | PedigreeError::Unknown(_) | PedigreeError::Unreadable { .. }) => {
            StageError::Refused(other.to_string())
        }
    }
}
