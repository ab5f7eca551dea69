//! Why a model of the store is not taken, and whose fault that is.

use crate::pedigree::PedigreeError;

/// A reason, as a phrase.
pub(super) struct Unfit {
    pub(super) why: String,
    /// Whether what it rests on was here once and is lost or damaged: no mistake of whoever wrote the plan.
    pub(super) lost: bool,
}

impl From<String> for Unfit {
    fn from(why: String) -> Self {
        Self { why, lost: false }
    }
}

impl From<PedigreeError> for Unfit {
    fn from(error: PedigreeError) -> Self {
        Self { why: error.to_string(), lost: error.is_damage() }
    }
}
