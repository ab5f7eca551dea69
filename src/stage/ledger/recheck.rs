//! Holding what a ledger stage left against the ledger of now, without entering anything.
//!
//! Its record and its proofs follow from its inputs and the entries that are there. A proof is against the
//! checkpoint of its day, so it is not made again: it must hold, and today's log must extend that checkpoint.

use super::{PROOF, Params, Registering, concluding, extracted, registering};
use crate::base::difference;
use crate::ledger::{Head, Leaf, Ledger, LedgerError, NewEntry, Proof};
use crate::record::ledger::LedgerExtract;
use crate::stage::{Context, StageError};
use crate::store::ActionResult;

pub(super) fn recheck(context: &Context<'_>, result: &ActionResult) -> Result<(), StageError> {
    let ledger = context.store.ledger()?;
    let (expected, leaves) = match context.params()? {
        Params::Plan(params) => {
            let cycle = params.cycle.clone();
            let Registering { entries, registration, .. } = registering(context, params)?;
            if result.outputs.get("registration") != Some(&registration) {
                return refuse("the registration is not of this plan");
            }
            let leaves = there(&ledger, &entries)?;
            (extracted(cycle, Vec::new(), &leaves)?, leaves)
        }
        Params::Admissions { cycle, candidates } => {
            let (plan, entries) = concluding(context, &cycle, &candidates)?;
            let leaves = there(&ledger, &entries)?;
            (extracted(cycle, plan.entries, &leaves)?, leaves)
        }
    };
    let Some((found, _)) = context.record_of::<LedgerExtract>(result)? else {
        return refuse("it made no record");
    };
    if let Some(where_it_is) = difference::first(&found, &expected) {
        return refuse(&format!("the record is not what the ledger says: {where_it_is}"));
    }
    proofs(context, result, &ledger, &leaves)
}

fn refuse<T>(why: &str) -> Result<T, StageError> {
    Err(StageError::Refused(why.to_owned()))
}

fn read(context: &Context<'_>, result: &ActionResult, output: &str) -> Result<Vec<u8>, StageError> {
    match result.outputs.get(output) {
        Some(blob) => Ok(context.store.read(&blob.digest)?),
        None => refuse(&format!("it made no `{output}`")),
    }
}

/// The leaf of every entry, by what makes an entry the same as one that is there.
fn there(ledger: &Ledger, entries: &[NewEntry]) -> Result<Vec<Leaf>, StageError> {
    let records: Vec<_> = entries.iter().map(|entry| entry.record).collect();
    let mut leaves = Vec::with_capacity(entries.len());
    for (entry, found) in entries.iter().zip(ledger.find_records(&records)?) {
        let is_it = |leaf: &Leaf| {
            (leaf.kind, &leaf.cycle, &leaf.candidate) == (entry.kind, &entry.cycle, &entry.candidate)
        };
        match found.into_iter().find(is_it) {
            Some(leaf) => leaves.push(leaf),
            None => {
                return refuse(&format!(
                    "the ledger has no {} of the record {}",
                    entry.kind.word(),
                    entry.record.short()
                ));
            }
        }
    }
    Ok(leaves)
}

/// Every decision has its proof, and every proof is of a decision.
fn proofs(
    context: &Context<'_>,
    result: &ActionResult,
    ledger: &Ledger,
    leaves: &[Leaf],
) -> Result<(), StageError> {
    let decided: Vec<_> = leaves.iter().filter_map(|leaf| Some((leaf.candidate.as_ref()?, leaf))).collect();
    let proofs = result.outputs.keys().filter(|name| name.starts_with(PROOF)).count();
    if proofs != decided.len() {
        return refuse(&format!("it made {proofs} proofs of {} decisions", decided.len()));
    }
    let mut seen: Vec<Head> = Vec::new();
    for (candidate, leaf) in decided {
        let bytes = read(context, result, &format!("{PROOF}{candidate}"))?;
        let bad = |why: String| StageError::Refused(format!("the proof for `{candidate}`: {why}"));
        let told = |error: LedgerError| bad(error.to_string());
        let text = std::str::from_utf8(&bytes).map_err(|error| bad(error.to_string()))?;
        let proof = Proof::parse(text).map_err(told)?;
        let (head, proved) = holds(context, &proof, &ledger.head()?.origin).map_err(told)?;
        if proved != *leaf {
            return Err(bad(format!("is of entry {}, the decision is entry {}", proved.index, leaf.index)));
        }
        // Most are of one checkpoint, and the whole log is read for each.
        if !seen.contains(&head) {
            ledger.check(Some(&head)).map_err(told)?;
            seen.push(head);
        }
    }
    Ok(())
}

/// A checkpoint of the days before there were keys, or of an earlier key, is as good as the log that extends
/// it; a wrong signature is none.
fn holds(context: &Context<'_>, proof: &Proof, origin: &str) -> Result<(Head, Leaf), LedgerError> {
    match proof.verify(Some(origin), &context.store.custody().log_keys()) {
        Err(LedgerError::Unsigned { .. }) => proof.verify(Some(origin), &[]),
        other => other,
    }
}
