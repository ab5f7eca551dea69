//! Since when: the plan was in the log before the decision, and both are in it.

use std::path::Path;

use super::evidence::Evidence;
use super::{approvers, layout};
use crate::base::digest::Sha256;
use crate::base::wording::count;
use crate::evaluate::{self, Suite};
use crate::ledger::{DEFAULT_ORIGIN, EntryKind, Head, Leaf, Ledger, LedgerError, Proof, refusal_of};
use crate::pedigree::tried::{Elsewhere, elsewhere, other_plans};
use crate::record::Record;
use crate::record::admission::AdmissionRecord;
use crate::record::plan::PlanRegistration;
use crate::trust::{Claim, PublicKey, Trust};

/// The keys of a trust file that may sign checkpoints.
pub(super) fn log_keys(trust: &Trust) -> Vec<PublicKey> {
    trust.for_claim(Claim::Checkpoint).map(|key| key.public.clone()).collect()
}

/// Checks both proofs, which are of the log that every store has: one under another name is nobody's.
/// Without keys nobody signed them, as far as the reader knows. The reason is a sentence.
pub(super) fn check(evidence: &Evidence, keys: &[PublicKey]) -> Result<String, String> {
    let told = |what: &'static str| move |error: LedgerError| format!("{what}: {error}");
    let (head, decision) =
        evidence.decision.verify(Some(DEFAULT_ORIGIN), keys).map_err(told("the decision"))?;
    let (also, plan) = evidence.plan.verify(Some(&head.origin), keys).map_err(told("the plan"))?;
    if head != also || evidence.decision.checkpoint != evidence.plan.checkpoint {
        return Err("the two proofs are against two checkpoints".to_owned());
    }
    if evidence.decision.checkpoint.to_text() != evidence.checkpoint {
        return Err(format!("{:?} is not the checkpoint of the proofs", layout::CHECKPOINT));
    }
    decided(evidence, &decision)?;
    registered(evidence, &plan)?;
    if decision.registration != Some(plan.index) || plan.index >= decision.index {
        return Err("the decision was made under another plan, or before it".to_owned());
    }
    let others = evidence.other_plans().unwrap_or_default();
    let wrong = |other: &&u64| **other >= decision.index || **other == plan.index;
    if let Some(wrong) = others.iter().find(wrong) {
        return Err(format!("entry {wrong} is named as another plan before the decision, and is none"));
    }
    if let Some([_, entry]) = others.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(format!("entry {entry} is named twice or out of order among the other plans"));
    }
    let before = evidence.index.same_cases.windows(2).find(|pair| pair[0].entry >= pair[1].entry);
    if let Some([_, Elsewhere { entry, .. }]) = before {
        return Err(format!("entry {entry} is named twice or out of order among the plans of other cycles"));
    }
    let late = |other: &&Elsewhere| other.entry >= decision.index || other.cycle == evidence.index.cycle;
    if let Some(Elsewhere { entry, cycle, .. }) = evidence.index.same_cases.iter().find(late) {
        return Err(format!(
            "entry {entry} is named as a plan of `{cycle}` before the decision, and is none"
        ));
    }
    let signed = if keys.is_empty() { "unsigned, so whoever made it could make another" } else { "signed" };
    Ok(format!(
        "entries {} (plan) and {} ({}) of {} in {}, {signed}",
        plan.index,
        decision.index,
        decision.kind.word(),
        head.size,
        head.origin
    ))
}

fn decided(evidence: &Evidence, leaf: &Leaf) -> Result<(), String> {
    let admission = &evidence.admission;
    let kind = if admission.body.admitted { EntryKind::Admission } else { EntryKind::Refusal };
    let ours = leaf.kind == kind
        && leaf.record == admission.subject.sha256
        && leaf.subject == admission.body.manifest
        && leaf.candidate.as_ref() == Some(&evidence.index.candidate)
        && leaf.cycle == evidence.index.cycle
        && leaf.predicate_type == AdmissionRecord::TYPE;
    if ours { Ok(()) } else { Err("the entry of the decision is about something else".to_owned()) }
}

fn registered(evidence: &Evidence, leaf: &Leaf) -> Result<(), String> {
    let ours = leaf.kind == EntryKind::Plan
        && leaf.record == evidence.registration.subject.sha256
        && leaf.cycle == evidence.index.cycle
        && leaf.predicate_type == PlanRegistration::TYPE;
    if ours { Ok(()) } else { Err("the entry of the plan is about something else".to_owned()) }
}

/// Checks a ledger that the reader has: it extends the one of the proofs and takes nothing back since.
pub(super) fn since(evidence: &Evidence, folder: &Path, keys: Vec<PublicKey>) -> Result<String, LedgerOrWhy> {
    let head = Head::from_text(&evidence.decision.checkpoint.text).map_err(LedgerOrWhy::Why)?;
    let ledger = Ledger::open_as(folder, DEFAULT_ORIGIN)?.trusting(keys);
    let report = ledger.check(Some(&head))?;
    let bound = bound(evidence);
    let leaves = ledger.leaves()?;
    for leaf in &leaves {
        let word = match leaf.kind {
            EntryKind::Revocation => "revokes",
            EntryKind::Retirement => "retires",
            _ => continue,
        };
        if let Some((_, what)) = bound.iter().find(|(subject, _)| Some(*subject) == leaf.subject) {
            return Err(LedgerOrWhy::Why(format!("ledger entry {} {word} {what}", leaf.index)));
        }
    }
    let others = others(evidence, &leaves).map_err(LedgerOrWhy::Why)?;
    if let Some(refusal) = refused(evidence, &leaves) {
        let index = refusal.index;
        return Err(LedgerOrWhy::Why(format!(
            "ledger entry {index} refuses the candidate, which was admitted"
        )));
    }
    if let Some(why) = approvers::lost(evidence, &leaves).map_err(LedgerOrWhy::Why)? {
        return Err(LedgerOrWhy::Why(why));
    }
    Ok(format!(
        "{} entries extend the proofs' log and take nothing of it back; asked were the candidate, its admission, \
         its parents, suites, data sets, keys and approvers, not whom its parents descend from: with one of those the store \
         that bred it takes back the admission{others}",
        report.head.size
    ))
}

/// The other plans of the cycle are those that the dossier names: what it leaves out makes its gates look harder. Of
/// a dossier that is older than the question gives back what is to be told.
fn others(evidence: &Evidence, leaves: &[Leaf]) -> Result<String, String> {
    let at = |proof: &Proof| Leaf::from_bytes(&proof.entry).map(|leaf| leaf.index);
    let (plan, decision) = (at(&evidence.plan)?, at(&evidence.decision)?);
    let found = other_plans(leaves, &evidence.registration.body, Some(plan), decision);
    let there = in_other_cycles(evidence, leaves, decision)?;
    let told = |entries: &[u64]| match entries {
        [] => "none".to_owned(),
        some => format!("the entries {}", some.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")),
    };
    match evidence.other_plans() {
        Some(named) if *named == found => Ok(there),
        None if found.is_empty() => Ok(there),
        None => Ok(format!(
            "; of other plans of the cycle before the decision the ledger has {}, which was not asked yet when the \
             dossier was made{there}",
            told(&found)
        )),
        Some(named) => Err(format!(
            "of other plans of the cycle before the decision the ledger has {}, the dossier names {}",
            told(&found),
            told(named)
        )),
    }
}

/// What the ledger says of plans of other cycles: that those which the dossier names are there, and how many others
/// might ask the same cases, too.
fn in_other_cycles(evidence: &Evidence, leaves: &[Leaf], decision: u64) -> Result<String, String> {
    let all: Vec<&Leaf> =
        elsewhere(leaves, &evidence.index.cycle).filter(|leaf| leaf.index < decision).collect();
    let named = &evidence.index.same_cases;
    for plan in named {
        if !all.iter().any(|leaf| (leaf.index, &leaf.cycle) == (plan.entry, &plan.cycle)) {
            return Err(format!(
                "ledger entry {} is no plan of `{}` before the decision",
                plan.entry, plan.cycle
            ));
        }
    }
    let is_named = |leaf: &&&Leaf| named.iter().any(|plan| plan.entry == leaf.index);
    let rest = all.len() - all.iter().filter(is_named).count();
    if rest == 0 {
        return Ok(String::new());
    }
    Ok(format!(
        "; before the decision it has {} of other cycles that the dossier does not name, and whether they ask the same \
         cases only the store that bred it tells",
        count(rest, "plan")
    ))
}

/// The entry that refused the candidate that the dossier says was admitted.
fn refused<'l>(evidence: &Evidence, leaves: &'l [Leaf]) -> Option<&'l Leaf> {
    refusal_of(evidence.manifest().subject.sha256, leaves).filter(|_| evidence.admission.body.admitted)
}

/// Everything whose revocation reaches the candidate, as far as the dossier names it.
fn bound(evidence: &Evidence) -> Vec<(Sha256, String)> {
    let manifest = evidence.manifest();
    let mut all = vec![
        (manifest.subject.sha256, "the candidate".to_owned()),
        (manifest.body.artifact.sha256, "its artifact".to_owned()),
        (evidence.admission.subject.sha256, "its admission".to_owned()),
    ];
    for (name, source) in &evidence.sources {
        all.push((source.subject.sha256, format!("the source `{name}`")));
        all.push((source.body.artifact.sha256, format!("the artifact of `{name}`")));
        all.extend(source.body.origin.manifest.map(|bred| (bred, format!("the origin of `{name}`"))));
    }
    for suite in &evidence.lineage().body.suites {
        all.extend(suite.sha256.map(|cases| (cases, format!("the suite `{}`", suite.name))));
        let cases = evidence.suites.get(&suite.name).zip(evaluate::find(&suite.kind));
        let cases = cases.and_then(|(bytes, evaluator)| Suite::parse(evaluator, bytes).ok());
        all.extend(cases.map(|cases| (cases.asked(), format!("the cases of the suite `{}`", suite.name))));
    }
    for data in &manifest.body.data {
        all.push((Sha256::of(data.as_bytes()), format!("the data set {data:?}")));
    }
    for key in evidence.keys.keys() {
        all.push((key.public.id(), format!("the key `{}`", key.name)));
    }
    all
}

/// Why a ledger does not speak for a dossier.
#[derive(Debug)]
pub(super) enum LedgerOrWhy {
    /// The log itself.
    Ledger(LedgerError),
    /// What it says.
    Why(String),
}

impl From<LedgerError> for LedgerOrWhy {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl std::fmt::Display for LedgerOrWhy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ledger(error) => error.fmt(f),
            Self::Why(why) => f.write_str(why),
        }
    }
}
