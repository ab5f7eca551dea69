//! Offering an earlier admission again, because somebody rolled back to it.
//!
//! A cycle that is run again with another plan makes other candidates under the same names; the ledger keeps
//! all their admissions. After a rollback to one that this plan would not make, the registry offers that one
//! under its name, from the store. It was admitted, and nothing has taken it back since.

use std::collections::BTreeMap;

use super::{Offer, Params, licence, source_kind, unfit};
use crate::base::digest::Sha256;
use crate::ledger::{EntryKind, Leaf};
use crate::record::admission::AdmissionRecord;
use crate::record::candidate::CandidateManifest;
use crate::record::evaluation::EvaluationSidecar;
use crate::record::registry::RegistryRow;
use crate::record::smoke::RuntimeSmoke;
use crate::record::{self, Record};
use crate::registry::{Claims, EvidenceKind, NewEvidence, NewRegistryEntry};
use crate::stage::{Context, StageError};

/// Puts every candidate that a rollback leads to in the place of its namesake, unless the plan offers it or a
/// newer one that was admitted since.
pub(super) fn bring_back(
    context: &Context<'_>,
    params: &Params,
    leaves: &[Leaf],
    line: &[Sha256],
    offer: &mut Offer,
) -> Result<(), StageError> {
    let place = |manifest: Sha256| line.iter().rposition(|one| *one == manifest);
    let back = leaves.iter().filter(|leaf| leaf.kind == EntryKind::Rollback && leaf.cycle == params.cycle);
    for leaf in back {
        let Some((wanted, at)) = leaf.subject.and_then(|subject| Some((subject, place(subject)?))) else {
            continue;
        };
        let namesake = offer.rows.iter().find(|row| Some(&row.candidate) == leaf.candidate.as_ref());
        let newer = namesake.and_then(|row| place(row.manifest));
        if newer.is_none_or(|newer| newer < at) {
            bring(context, params, leaves, wanted, offer)?;
        }
    }
    Ok(())
}

fn bring(
    context: &Context<'_>,
    params: &Params,
    leaves: &[Leaf],
    wanted: Sha256,
    offer: &mut Offer,
) -> Result<(), StageError> {
    let about = |leaf: &&Leaf| leaf.kind == EntryKind::Admission && leaf.subject == Some(wanted);
    let Some(leaf) = leaves.iter().rev().find(about) else { return Ok(()) };
    let records = Records::of(context)?;
    let (Some(manifest_bytes), Some(admission_bytes)) = (records.get(wanted), records.get(leaf.record))
    else {
        return Err(StageError::Refused(format!(
            "ledger entry {} admitted {}, but its records are no longer in the store",
            leaf.index,
            wanted.short()
        )));
    };
    let manifest: CandidateManifest = read(manifest_bytes)?;
    let admission: AdmissionRecord = read(admission_bytes)?;
    let id = manifest.candidate.clone();
    let why = match context.taint_of_candidate(wanted, &manifest)? {
        Some(taint) => Some(taint.to_string()),
        None => unfit(context, params, &manifest, wanted, Some((leaf, leaves)))?,
    };
    if let Some(why) = why {
        offer.leave_out(id, why);
        return Ok(());
    }
    offer.entries.retain(|entry| entry.id != id);
    if let Some(place) = offer.rows.iter().position(|row| row.candidate == id) {
        offer.rows.remove(place);
        offer.leave_out(id.clone(), "rolled back to an earlier admission".to_owned());
    }
    offer.rows.push(RegistryRow {
        candidate: id.clone(),
        manifest: wanted,
        admission: leaf.record,
        artifact: manifest.artifact.sha256,
    });
    offer.entries.push(NewRegistryEntry {
        id,
        model: context.store.locate(&manifest.artifact.blake3)?,
        model_sha256: manifest.artifact.sha256,
        manifest: manifest_bytes.to_vec(),
        admission: admission_bytes.to_vec(),
        cycle: params.cycle.clone(),
        ledger_index: leaf.index,
        evidence: records.evidence(wanted, &manifest, &admission),
        claims: Claims::smoke_only(source_kind(&manifest.claims.source_kind)),
        licence: licence(&manifest.licences),
        budget_bytes: params.budget,
    });
    Ok(())
}

fn read<T: Record>(bytes: &[u8]) -> Result<T, StageError> {
    record::from_bytes(bytes).map_err(|source| StageError::Record { input: T::TYPE.to_owned(), source })
}

/// Every record of the store, by its SHA-256.
struct Records(BTreeMap<Sha256, Vec<u8>>);

impl Records {
    fn of(context: &Context<'_>) -> Result<Self, StageError> {
        let mut records = BTreeMap::new();
        for result in context.store.every_result()? {
            let Some(blob) = result.record() else { continue };
            // What is gone or damaged is not there.
            if let Ok(bytes) = context.store.read(&blob.digest) {
                records.insert(Sha256::of(&bytes), bytes);
            }
        }
        Ok(Self(records))
    }

    fn get(&self, sha256: Sha256) -> Option<&[u8]> {
        self.0.get(&sha256).map(Vec::as_slice)
    }

    /// What the admission was decided on, as far as a page shows it.
    fn evidence(
        &self,
        wanted: Sha256,
        manifest: &CandidateManifest,
        admission: &AdmissionRecord,
    ) -> Vec<NewEvidence> {
        let mut found = Vec::new();
        for (kind, sha256) in
            [(EvidenceKind::Promotion, admission.promotion), (EvidenceKind::Lineage, manifest.lineage)]
        {
            let record = self.get(sha256).map(<[u8]>::to_vec);
            found.extend(record.map(|record| NewEvidence { kind, suite: None, record }));
        }
        let is = |bytes: &[u8], kind: &str| bytes.ends_with(format!("\"type\":\"{kind}\"}}").as_bytes());
        let mut evaluations = BTreeMap::new();
        let mut smoke = None;
        for bytes in self.0.values() {
            if is(bytes, RuntimeSmoke::TYPE) {
                let body = record::from_bytes::<RuntimeSmoke>(bytes).ok();
                smoke = body.filter(|body| body.subject.manifest == wanted).map(|_| bytes).or(smoke);
            } else if is(bytes, EvaluationSidecar::TYPE)
                && let Ok(body) = record::from_bytes::<EvaluationSidecar>(bytes)
                && body.subject.manifest == wanted
            {
                evaluations.insert(body.suite.name, bytes);
            }
        }
        let kind = EvidenceKind::Smoke;
        found.extend(smoke.map(|record| NewEvidence { kind, suite: None, record: record.clone() }));
        let kind = EvidenceKind::Evaluation;
        let measured = evaluations.into_iter();
        found.extend(measured.map(|(suite, record)| NewEvidence {
            kind,
            suite: Some(suite),
            record: record.clone(),
        }));
        found
    }
}
