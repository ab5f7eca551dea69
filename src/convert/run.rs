//! Models that are to be run: in place where they are whole, in memory with an adapter on them.

use super::task::ConvertError;
use super::view::View;
use crate::model::{Checkpoint, Package, Unrunnable};
use crate::operator::{OperatorError, Tensors, in_memory};

/// Why a model is not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It says too little of itself, or something that is not computed here.
    #[error(transparent)]
    Unrunnable(#[from] Unrunnable),
    /// Its tensors cannot be put together.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// A value on the way.
    #[error(transparent)]
    Operator(#[from] OperatorError),
}

/// A model that can be run. With `adapted`, its tensors with an adapter on them, it is made in memory, as
/// f32 under the names it has; `name` is what errors call it then.
///
/// # Errors
///
/// [`RunError::Unrunnable`] as [`Package::checkpoint`]. With `adapted`, [`RunError::Operator`] of an element
/// that is infinite or no number, or [`RunError::Convert`] as [`View::new`].
pub fn checkpoint(
    package: &Package,
    adapted: Option<&dyn Tensors>,
    name: &str,
) -> Result<Checkpoint, RunError> {
    let checkpoint = package.checkpoint()?;
    let Some(adapted) = adapted else { return Ok(checkpoint) };
    let format = package.weights.format();
    // What follows from other tensors follows from those with the adapter on them.
    let view = View::new(package, adapted, None, format)?;
    let weights = in_memory(&view, format, name)?;
    Ok(Package { weights, ..package.clone() }.checkpoint()?)
}
