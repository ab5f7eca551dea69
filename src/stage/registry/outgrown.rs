//! A registry that shows less of the ledger than there is by now, and nothing that is wrong.
//!
//! The ledger is the store's: a second cycle, a retirement of somebody else or the first signature of a log key
//! makes another checkpoint of it. The next run shows that one. Until then a registry is as good as what it shows:
//! entries that today's log begins with, under a checkpoint of the log's own keys or of the days before it had
//! any, and models of which nothing was taken back.

use super::{Params, not_as_offered, registry_folder, release, shown};
use crate::record::registry::SelectorRegistry;
use crate::registry::snapshot;
use crate::stage::{Context, StageError};
use crate::store::ActionResult;

/// What is to be told of it; none if it is not that.
pub(super) fn outgrown(context: &Context<'_>, result: &ActionResult) -> Result<Option<String>, StageError> {
    let params: Params = context.params()?;
    let Some((record, _)) = context.record_of::<SelectorRegistry>(result)? else { return Ok(None) };
    let folder = registry_folder(context.store, &params.cycle);
    let Some(selector) = shown(context, &params, &record, &folder)? else { return Ok(None) };
    if not_as_offered(context, &params, &record)?.is_some() {
        return Ok(None);
    }
    let log = context.store.ledger()?;
    let Ok(size) = snapshot::check_earlier(&folder, &log, &release::log_keys(context), &selector) else {
        return Ok(None);
    };
    let published = release::still_holds(context, &params, &folder, &log, size)?;
    if !published && !release::never_was(&params, &folder, &log)? {
        return Ok(None);
    }
    let entries = log.leaves()?.len();
    Ok(Some(format!("shows {size} of {entries} ledger entries, every one as it is; the next run renews it")))
}
