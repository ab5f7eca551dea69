//! One stage on its own thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::decided::Decision;
use super::failure::{Failure, Fault};
use super::graph::StageIndex;
use super::{build, decided};
use crate::base::canonical;
use crate::base::digest::ActionKey;
use crate::stage::{Context, Kind, StageError, stage};
use crate::store::{ActionResult, StoreError};

/// What the thread reports back.
pub(super) struct Done {
    pub(super) index: StageIndex,
    pub(super) outcome: Result<ActionResult, Failure>,
    pub(super) cancelled: bool,
    pub(super) took: Duration,
}

/// Runs it, and puts its result where the next lookup finds it.
pub(super) fn work(
    index: StageIndex,
    id: &str,
    context: &Context<'_>,
    key: &ActionKey,
    decisions: Result<Vec<Decision>, StoreError>,
) -> Done {
    let start = Instant::now();
    let Context { store, action, .. } = *context;
    let kind = Kind::from_name(&action.kind).expect("graphs hold known kinds");
    let run = || -> Result<ActionResult, StageError> {
        // The action is a document of its own: any process that reaches the store could do this.
        let document = canonical::to_vec(action).map_err(|error| StageError::Refused(error.to_string()))?;
        store.put_memo(&document)?;
        decided::hold(store, &decisions?)?;
        let result = ActionResult::from(stage(kind).run(context)?);
        if kind == Kind::Operator {
            build::note(store, key)?;
        }
        store.record_action(key, &result)?;
        Ok(result)
    };
    let caught = catch_unwind(AssertUnwindSafe(run));
    let failure = |message: String, hint, fault| Failure { stage: id.to_owned(), message, hint, fault };
    let mut was_cancelled = false;
    let outcome = match caught {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => {
            was_cancelled = matches!(error, StageError::Cancelled);
            Err(failure(error.to_string(), error.hint(), Fault::of(&error)))
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Err(failure(
                format!("internal error: {text}"),
                Some("this is a bug in studbook".to_owned()),
                Fault::Bug,
            ))
        }
    };
    Done { index, outcome, cancelled: was_cancelled, took: start.elapsed() }
}
