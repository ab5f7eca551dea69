//! Doing again what a stage did, and comparing everything it made.

use super::mismatch;
use crate::base::difference;
use crate::base::digest::Digest;
use crate::record;
use crate::record::receipt::OperatorReceipt;
use crate::stage::{Action, Context, Kind, StageError, is_asked, recompute, stage};
use crate::store::{ActionResult, Store};

/// A stage that is looked into, without clock, haste or audience.
pub(super) fn context<'a>(store: &'a Store, action: &'a Action) -> Context<'a> {
    Context { store, action, now: &String::new, cancelled: &|| false, progress: &|_, _| (), fresh: false }
}

/// Runs a stage again and compares everything it made.
pub(in crate::engine) fn rederived(
    store: &Store,
    action: &Action,
    result: &ActionResult,
) -> Result<String, String> {
    let kind = Kind::from_name(&action.kind).expect("graphs hold known kinds");
    let again = stage(kind).run(&context(store, action)).map_err(|error: StageError| error.to_string())?;
    same("derived again", result, &again.into())?;
    Ok("derived again: same bytes, same verdict".to_owned())
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
pub(super) fn recomputed(store: &Store, action: &Action, result: &ActionResult) -> Result<String, String> {
    let again = recompute(store, action).map_err(|error| error.to_string())?;
    let child = again.receipt.output;
    match result.outputs.get("artifact") {
        Some(bound) if *bound == child => {}
        bound => {
            return Err(mismatch("recomputed: MISMATCH", bound.map(|bound| &bound.digest), child.digest));
        }
    }
    if let Some(where_it_is) = receipt(store, result, &again.receipt)? {
        return Err(format!("recomputed: MISMATCH of the receipt: {where_it_is}"));
    }
    same("recomputed: MISMATCH", result, &again.made.into())?;
    Ok(format!("recomputed: MATCH {}", child.digest.short()))
}

/// Where the receipt that is kept is not the one that was made again.
fn receipt(store: &Store, result: &ActionResult, again: &OperatorReceipt) -> Result<Option<String>, String> {
    let Some(kept) = result.outputs.get("record") else { return Ok(Some("there is none".to_owned())) };
    let bytes = store.read(&kept.digest).map_err(|error| error.to_string())?;
    let found: OperatorReceipt = record::from_bytes(&bytes).map_err(|error| format!("record: {error}"))?;
    Ok(difference::first(&found, again))
}

/// Runs an evaluation again without any cache, so that the model is asked, its texts are searched and what it is
/// held against is made anew, and compares everything. What is not asked here is derived again.
pub(super) fn asked(store: &Store, action: &Action, result: &ActionResult) -> Result<String, String> {
    if !is_asked(action) {
        return rederived(store, action, result);
    }
    let context = Context { fresh: true, ..context(store, action) };
    let again: ActionResult = stage(Kind::Eval).run(&context).map_err(|error| error.to_string())?.into();
    same("asked again: MISMATCH", result, &again)?;
    let outcomes = again.outputs.get("outcomes").map_or_else(String::new, |blob| blob.digest.short());
    Ok(format!("asked again: MATCH {outcomes}"))
}
