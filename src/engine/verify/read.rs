//! Which models the sources of a cycle read, by its log.
//!
//! A plan that names a model which is gone or cut short cannot be understood, and from the plan alone this is a slip of
//! whoever wrote it. The log tells whether the model was there once.

use std::collections::BTreeMap;

use crate::base::canonical;
use crate::base::digest::Digest;
use crate::base::name::Name;
use crate::stage::{Action, Kind};
use crate::store::{Event, Happened, Store, StoreError};

/// The model that each source of a cycle read last, by its stage; of those only that made a record.
///
/// # Errors
///
/// If there is a log and it cannot be read.
pub fn models_read(store: &Store, cycle: &Name) -> Result<BTreeMap<String, Digest>, StoreError> {
    let made = |event: &Event| !matches!(event.happened, Happened::Failed(_));
    let mut read = BTreeMap::new();
    for event in store.events(cycle)?.into_iter().filter(made) {
        if !event.stage.starts_with(Kind::Source.name()) {
            continue;
        }
        let Ok(bytes) = store.read(&event.action) else { continue };
        let Ok(action) = canonical::from_slice::<Action>(&bytes) else { continue };
        let is_source = action.kind == Kind::Source.name();
        read.extend(action.inputs.get("model").filter(|_| is_source).map(|model| (event.stage, *model)));
    }
    Ok(read)
}
