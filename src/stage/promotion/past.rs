//! Refusals for what was taken back, looked into when the ledger says more.
//!
//! Who was refused for what was taken back stays refused for that: a nearer cause that is entered later says nothing of
//! the record. What the ledger takes back or refuses it does for good, so whoever it closes at any time it closes now,
//! and no other decision follows from an earlier one.

use super::PromotionStage;
use crate::base::digest::Sha256;
use crate::ledger::{EntryKind, Leaf};
use crate::record::admission::AdmissionRecord;
use crate::record::promotion::{CLOSING_GATES, GateStatus, NOT_REVOKED, PromotionTemplate};
use crate::record::{self, Subject};
use crate::stage::{Context, Past, Stage, StageError};
use crate::store::{ActionResult, Verdict};

fn is_closing(gate: &GateStatus) -> bool {
    CLOSING_GATES.contains(&gate.gate.as_str())
}

/// A refusal by a gate that only the ledger closes.
fn closed(
    context: &Context<'_>,
    result: &ActionResult,
) -> Result<Option<(PromotionTemplate, Subject)>, StageError> {
    let found = context.record_of::<PromotionTemplate>(result)?;
    let refused = matches!(result.verdict, Verdict::Reject(_));
    Ok(found.filter(|(template, _)| refused && template.gates.iter().any(is_closing)))
}

/// The refusals of a candidate that the ledger has.
fn refusals<'l>(leaves: &'l [Leaf], template: &PromotionTemplate) -> impl Iterator<Item = &'l Leaf> {
    let manifest = template.manifest;
    leaves
        .iter()
        .filter(move |leaf| leaf.kind == EntryKind::Refusal && manifest.is_some() && leaf.subject == manifest)
}

/// Now, but by the signatures that are there, and before each revocation.
pub(super) fn made_before(context: &Context<'_>, result: &ActionResult) -> Result<Vec<Past>, StageError> {
    let Some((template, _)) = closed(context, result)? else { return Ok(Vec::new()) };
    let leaves = context.store.ledger()?.leaves()?;
    let settled = refusals(&leaves, &template).next().is_some();
    let revocations = leaves.iter().rev().filter(|leaf| leaf.kind == EntryKind::Revocation);
    let all = [leaves.len() as u64].into_iter().chain(revocations.map(|leaf| leaf.index));
    Ok(all.map(|entries| Past { entries, settled }).collect())
}

/// Whether the ledger refused by this very record, for a key that it took back before. What that key signed may have
/// been signed anew since, and then nothing but the record is left that tells of it; all else must come out again.
pub(super) fn settled(context: &Context<'_>, result: &ActionResult) -> Result<bool, StageError> {
    let Some((mut found, subject)) = closed(context, result)? else { return Ok(false) };
    let again: ActionResult = PromotionStage.run(context)?.into();
    let Some((mut again, _)) = context.record_of::<PromotionTemplate>(&again)? else { return Ok(false) };
    let closing = found.gates.extract_if(.., |gate| is_closing(gate)).collect::<Vec<_>>();
    again.gates.retain(|gate| !is_closing(gate));
    let [gate] = closing.as_slice() else { return Ok(false) };
    let [key] = gate.evidence.as_slice() else { return Ok(false) };
    if found != again || gate.gate.as_str() != NOT_REVOKED {
        return Ok(false);
    }
    let leaves = context.store.ledger()?.leaves()?;
    let revokes = |leaf: &&Leaf| leaf.kind == EntryKind::Revocation && leaf.subject == Some(*key);
    let Some(revoked) = leaves.iter().find(revokes).map(|leaf| leaf.index) else { return Ok(false) };
    let says = format!(" signed by key {}, which ledger entry {revoked} revokes", key.short());
    let mut later = refusals(&leaves, &found).filter(|leaf| leaf.index > revoked);
    Ok(gate.finding.ends_with(&says) && later.any(|leaf| binds(context, leaf.record, subject.sha256)))
}

/// Whether an admission record of this store, by its digest, is of this promotion template.
fn binds(context: &Context<'_>, admission: Sha256, promotion: Sha256) -> bool {
    let results = context.store.every_result().unwrap_or_default();
    results.iter().filter_map(ActionResult::record).any(|blob| {
        let bytes = context.store.read(&blob.digest).unwrap_or_default();
        Sha256::of(&bytes) == admission
            && record::from_bytes::<AdmissionRecord>(&bytes).is_ok_and(|body| body.promotion == promotion)
    })
}
