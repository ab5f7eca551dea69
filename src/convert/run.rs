//! Models that are to be run: in place where the runtime can, else made in memory.

use super::task::ConvertError;
use super::view::View;
use crate::model::naming::Naming;
use crate::model::{Checkpoint, Package};
use crate::operator::{OperatorError, Tensors, in_memory};

/// Most bytes of f32 that a model is made of in memory to be run.
pub const MOST_IN_MEMORY: u64 = 4 << 30;

/// Why a model is not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It says too little of itself, or something that is not computed here.
    #[error("{0}")]
    Unknown(String),
    /// A value on the way.
    #[error(transparent)]
    Operator(#[from] OperatorError),
}

/// Whether a model can be run, or why not; its numbers are not looked at.
pub fn runnable(package: &Package) -> Result<(), String> {
    let Err(why) = package.runnable() else { return Ok(()) };
    if package.naming == Some(Naming::Slm1) {
        return Err(why);
    }
    can_be_made(package).map_err(|made| if package.config.is_ok() { made } else { why })
}

fn can_be_made(package: &Package) -> Result<(), String> {
    let bytes = package.weights.parameters().saturating_mul(4);
    if let Err(why) = &package.tokenizer {
        return Err(format!("its tokenizer is not known: {why}"));
    }
    if bytes > MOST_IN_MEMORY {
        return Err(format!("it would take {bytes} bytes of memory, {MOST_IN_MEMORY} are allowed"));
    }
    slm1(package, &package.weights).map(drop).map_err(|error| error.to_string())
}

fn slm1<'a>(package: &'a Package, tensors: &'a dyn Tensors) -> Result<View<'a>, ConvertError> {
    View::new(package, tensors, Some(Naming::Slm1), "a model that is run")
}

/// A model that can be run. `tensors` are those of `package`, or with an adapter on them: then, and where
/// the model cannot be run in place, it is made in memory, as f32. `name` is what errors call it.
pub fn checkpoint(
    package: &Package,
    adapted: Option<&dyn Tensors>,
    name: &str,
) -> Result<Checkpoint, RunError> {
    runnable(package).map_err(RunError::Unknown)?;
    if adapted.is_none()
        && let Ok(checkpoint) = package.runnable()
    {
        return Ok(checkpoint);
    }
    let view = slm1(package, adapted.unwrap_or(&package.weights))
        .map_err(|error| RunError::Unknown(error.to_string()))?;
    let (Ok(config), Ok(tokenizer)) = (&package.config, &package.tokenizer) else {
        return Err(RunError::Unknown("its network or its tokenizer is not known".to_owned()));
    };
    Ok(in_memory(&view, config, tokenizer, name)?)
}
