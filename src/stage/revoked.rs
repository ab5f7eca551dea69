//! What was taken back, as stages see it: from the ledger of now, not from their inputs.
//!
//! Like the ledger and the registry this is shared and changes without any action changing, so stages
//! ask again whenever a cached result is to be used.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Context, StageError};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::pedigree::{Decided, PedigreeError, Revoked, Taint, Tracer, shared};
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

    /// What the ledger took back with its first entries.
    fn revoked_by(&self, entries: u64) -> Result<Revoked, StageError> {
        let leaves = self.store.ledger()?.leaves()?;
        Ok(Revoked::by(&leaves[..leaves.len().min(entries as usize)]))
    }

    /// Which entry retired a candidate, or the same bytes in its cycle under another manifest.
    pub(super) fn retired(
        &self,
        cycle: &Name,
        manifest: Sha256,
        artifact: Sha256,
    ) -> Result<Option<u64>, StageError> {
        let revoked = self.revoked()?;
        match revoked.retired.get(&manifest) {
            Some(entry) => Ok(Some(*entry)),
            None if revoked.retired.is_empty() => Ok(None),
            None => Decided::of(self.store)
                .and_then(|decided| decided.retired(cycle, artifact))
                .map_err(stage_error),
        }
    }

    /// What the ledger says against a candidate, with the entry that says it: that it was refused, or that somebody
    /// rejected the same bytes at one of these gates.
    pub(super) fn refused(
        &self,
        (manifest, body): (Sha256, &CandidateManifest),
        gates: &BTreeSet<&Name>,
    ) -> Result<Option<(u64, Sha256, String)>, StageError> {
        let revoked = self.revoked()?;
        let own = revoked.refused.get(&manifest).map(|entry| {
            let why =
                format!("ledger entry {entry} refuses it, and nothing that is brought later changes that");
            (*entry, manifest, why)
        });
        if gates.is_empty() || revoked.refused.is_empty() {
            return Ok(own);
        }
        let decided = Decided::of(self.store).map_err(stage_error)?;
        let found = decided.rejected((manifest, body), gates).map_err(stage_error)?;
        let rejected = found.map(|it| {
            let why =
                format!("ledger entry {}: the same bytes were rejected at the gate `{}`", it.entry, it.gate);
            (it.entry, it.manifest, why)
        });
        // Whichever came first: so the record of a refusal is derived again as it was.
        Ok(own.into_iter().chain(rejected).min_by_key(|(entry, ..)| *entry))
    }

    /// What a taint says, for people: records have its own words, or they would change with what a store holds.
    pub(super) fn told(&self, taint: &Taint) -> Result<String, StageError> {
        let revoked = self.revoked()?;
        shared(self.store, |pedigree| Tracer::new(pedigree, &revoked, self.store).told(taint))
            .map_err(stage_error)
    }

    fn traced(
        &self,
        ask: impl FnOnce(&mut Tracer<'_>) -> Result<Option<Taint>, PedigreeError>,
    ) -> Result<Option<Taint>, StageError> {
        let revoked = match self.past {
            Some(past) => Arc::new(self.revoked_by(past.entries)?),
            None => self.revoked()?,
        };
        if revoked.is_empty() {
            return Ok(None);
        }
        let asked = shared(self.store, |pedigree| {
            let tracer = Tracer::new(pedigree, &revoked, self.store);
            let settled = self.past.is_some_and(|past| past.settled);
            ask(&mut if settled { tracer } else { tracer.signing_anew() })
        });
        asked.flatten().map_err(stage_error)
    }
}

pub(super) fn stage_error(error: PedigreeError) -> StageError {
    match error {
        PedigreeError::Store(error) => error.into(),
        PedigreeError::Ledger(error) => error.into(),
        PedigreeError::Unreadable { .. } | PedigreeError::Circle(_) => StageError::Lost(error.to_string()),
        other => StageError::Refused(other.to_string()),
    }
}
