//! The approval gate: somebody's word, or as many signatures as the plan demands.

use super::{ApprovalRule, Case, Found};
use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;
use crate::pedigree::Revoked;
use crate::pedigree::approvals::{Counted, counted};
use crate::record;
use crate::record::approval::{Approval, SignedApprovals};
use crate::record::promotion::GateState;
use crate::stage::StageError;
use crate::stage::context::of;
use crate::trust::Trust;

fn pending(finding: impl Into<String>) -> Result<Found, StageError> {
    Ok((GateState::Pending, finding.into(), vec![]))
}

impl Case<'_> {
    pub(super) fn approval(&self, gate: &Name, rule: &ApprovalRule) -> Result<Found, StageError> {
        let Some(digest) = self.context.optional(&of("approval", gate)) else {
            return pending(format!("waits for {}: {}", wanted(rule), rule.statement));
        };
        let (Some(bytes), Some((_, manifest)), Some((_, lineage))) =
            (self.brought_bytes(gate, &digest)?, &self.candidate, &self.lineage)
        else {
            return pending("waits for an artifact to approve");
        };
        let is_ours = |approval: &Approval| {
            approval.gate == *gate
                && approval.manifest == manifest.sha256
                && approval.lineage == lineage.sha256
        };
        let evidence = Sha256::of(&bytes);
        if !rule.keys.is_empty() {
            return signed(rule, &bytes, evidence, &*self.context.revoked()?, &is_ours);
        }
        let Ok(brought) = record::from_bytes::<Approval>(&bytes) else {
            return pending("the approval that was brought cannot be read");
        };
        if !is_ours(&brought) {
            return pending("the approval that was brought is for another candidate, gate or lineage");
        }
        let (state, verb) = verdict(&brought);
        Ok((state, format!("{verb} by {}: {}", brought.by, brought.reason), vec![evidence]))
    }

    /// What was brought for a gate, if it is what the stage's key is about.
    pub(super) fn brought_bytes(&self, gate: &Name, digest: &Digest) -> Result<Option<Vec<u8>>, StageError> {
        let Some((_, manifest)) = &self.candidate else { return Ok(None) };
        let Some(brought) = self.context.store.brought(&manifest.blake3, gate)? else { return Ok(None) };
        if brought.digest != *digest {
            return Err(StageError::Refused(format!(
                "the evidence for `{gate}` changed while it was being used"
            )));
        }
        // It stays in the store: the promotion rests on it.
        self.context.store.put(&brought.bytes)?;
        Ok(Some(brought.bytes))
    }
}

fn verdict(approval: &Approval) -> (GateState, &'static str) {
    if approval.approve { (GateState::Passed, "approved") } else { (GateState::Failed, "rejected") }
}

fn wanted(rule: &ApprovalRule) -> String {
    if rule.keys.is_empty() {
        return "somebody to approve".to_owned();
    }
    let names: Vec<&str> = rule.keys.iter().map(|key| key.name.as_str()).collect();
    format!("{} of the signatures of {}", rule.threshold, names.join(", "))
}

/// Every key that agrees counts once; one that rejects is enough to fail.
fn signed(
    rule: &ApprovalRule,
    bytes: &[u8],
    evidence: Sha256,
    revoked: &Revoked,
    is_ours: &dyn Fn(&Approval) -> bool,
) -> Result<Found, StageError> {
    let keys = rule.keys.iter().map(|key| (key.name.clone(), key.public.clone()));
    let trust = Trust::in_approvers(keys).map_err(StageError::Refused)?;
    let Ok(brought) = record::from_bytes::<SignedApprovals>(bytes) else {
        return pending(format!("the approval that was brought is not signed; waits for {}", wanted(rule)));
    };
    let Counted { agreed, rejected, refused } = counted(&brought, &trust, revoked, is_ours);
    if let Some((name, reason)) = rejected {
        let finding = format!("rejected by {name} (signed): {reason}");
        return Ok((GateState::Failed, finding, vec![evidence]));
    }
    if rule.threshold > 0 && agreed.len() as u64 >= rule.threshold {
        let finding = format!("approved by {} (signed)", agreed.join(", "));
        return Ok((GateState::Passed, finding, vec![evidence]));
    }
    let mut finding = format!("{} of {} signed approvals", agreed.len(), rule.threshold);
    if !refused.is_empty() {
        finding += &format!("; refused: {}", refused.join("; "));
    }
    pending(finding)
}
