//! Doing again what a stage did, and comparing everything it made.

use super::mismatch;
use crate::base::difference;
use crate::base::digest::Digest;
use crate::convert::ConvertError;
use crate::disk::DiskError;
use crate::model::WriteError;
use crate::operator::OperatorError;
use crate::record;
use crate::record::receipt::OperatorReceipt;
use crate::stage::{Action, Context, Kind, StageError, is_asked, recompute, stage};
use crate::store::{ActionResult, Store, StoreError};

/// Why nothing was confirmed.
#[derive(Debug)]
pub(in crate::engine) enum Wrong {
    /// It does not hold. The reason is a sentence.
    Differs(String),
    /// There is no place to do it again in, which says nothing about what was done.
    NoPlace(StoreError),
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self::Differs(why)
    }
}

impl Wrong {
    fn of(store: &Store, error: StageError) -> Self {
        let no_place = |error: &DiskError| error.is_full() || error.is_unwritable();
        match error {
            StageError::Store(StoreError::Disk(error)) | StageError::Disk(error) if no_place(&error) => {
                Self::NoPlace(error.into())
            }
            StageError::Operator(OperatorError::Write(WriteError::Io(source)))
            | StageError::Write(WriteError::Io(source)) => {
                let path = store.root().to_owned();
                Self::NoPlace(DiskError { doing: "write a model again in", path, source }.into())
            }
            StageError::Convert(ConvertError::Disk(error)) if no_place(&error) => Self::NoPlace(error.into()),
            other => Self::Differs(other.to_string()),
        }
    }
}

/// Runs a stage again and compares everything it made: against the ledger of now, and where that went on since
/// against what it was.
pub(in crate::engine) fn rederived(
    store: &Store,
    action: &Action,
    result: &ActionResult,
) -> Result<String, Wrong> {
    let stage = stage(Kind::from_name(&action.kind).expect("graphs hold known kinds"));
    let now = Context::looking(store, action);
    let again = |context: &Context<'_>| -> Result<(), Wrong> {
        let again = stage.run(context).map_err(|error| Wrong::of(store, error))?;
        Ok(same("derived again", result, &again.into())?)
    };
    let Err(wrong) = again(&now) else { return Ok("derived again: same bytes, same verdict".to_owned()) };
    // A record that cannot be read tells nothing of its time.
    for past in stage.made_before(&now, result).unwrap_or_default() {
        if again(&Context { past: Some(past), ..now }).is_ok() {
            let entries = past.entries;
            return Ok(format!(
                "derived again from the first {entries} ledger entries: same bytes, same verdict"
            ));
        }
    }
    if stage.settled(&now, result).unwrap_or(false) {
        return Ok("derived again but for a signature that was made anew; the ledger has it".to_owned());
    }
    Err(wrong)
}

fn same(how: &str, result: &ActionResult, again: &ActionResult) -> Result<(), String> {
    let names = result.outputs.keys().chain(again.outputs.keys());
    for name in names {
        let (bound, found) = (result.outputs.get(name), again.outputs.get(name));
        if bound != found {
            let digest = found.map_or(Digest::of(b""), |found| found.digest);
            return Err(mismatch(
                &format!("{how}, `{name}` differs"),
                bound.map(|bound| &bound.digest),
                digest,
            ));
        }
    }
    if again.verdict != result.verdict {
        return Err(format!("{how}, the verdict is {:?}, recorded is {:?}", again.verdict, result.verdict));
    }
    if again.summary != result.summary {
        return Err(format!("{how}, it says {:?}, recorded is {:?}", again.summary, result.summary));
    }
    Ok(())
}

/// Runs an operator again and compares the child, and then the receipt with all that it says of the way there.
pub(super) fn recomputed(store: &Store, action: &Action, result: &ActionResult) -> Result<String, Wrong> {
    let again = recompute(store, action).map_err(|error| Wrong::of(store, error))?;
    let child = again.receipt.output;
    match result.outputs.get("artifact") {
        Some(bound) if *bound == child => {}
        bound => {
            let bound = bound.map(|bound| &bound.digest);
            return Err(mismatch("recomputed: MISMATCH", bound, child.digest).into());
        }
    }
    if let Some(where_it_is) = receipt(store, result, &again.receipt)? {
        return Err(format!("recomputed: MISMATCH of the receipt: {where_it_is}").into());
    }
    same("recomputed: MISMATCH", result, &again.made.into())?;
    Ok(format!("recomputed: MATCH {}", child.digest.short()))
}

/// Where the receipt that is kept is not the one that was made again.
fn receipt(store: &Store, result: &ActionResult, again: &OperatorReceipt) -> Result<Option<String>, String> {
    let Some(kept) = result.record() else { return Ok(Some("there is none".to_owned())) };
    let bytes = store.read(&kept.digest).map_err(|error| error.to_string())?;
    let found: OperatorReceipt = record::from_bytes(&bytes).map_err(|error| format!("record: {error}"))?;
    Ok(difference::first(&found, again))
}

/// Runs an evaluation again without any cache, so that the model is asked, its texts are searched and what it is
/// held against is made anew, and compares everything. What is not asked here is derived again.
pub(super) fn asked(store: &Store, action: &Action, result: &ActionResult) -> Result<String, Wrong> {
    if !is_asked(action) {
        return rederived(store, action, result);
    }
    let context = Context { fresh: true, ..Context::looking(store, action) };
    let again = stage(Kind::Eval).run(&context).map_err(|error| Wrong::of(store, error))?;
    let again: ActionResult = again.into();
    same("asked again: MISMATCH", result, &again)?;
    let outcomes = again.outputs.get("outcomes").map_or_else(String::new, |blob| blob.digest.short());
    Ok(format!("asked again: MATCH {outcomes}"))
}
