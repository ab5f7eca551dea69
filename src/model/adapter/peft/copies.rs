//! Copies of whole layers that the library saves beside the factors of embeddings, unless it is told not to.
//!
//! It puts them in the place of the base's own when it loads the adapter. One that is the base's changes
//! nothing; any other would, and is refused.

use super::error::PeftError;
use super::factors::{PREFIX, target};
use crate::model::package::Package;
use crate::model::weights::Weights;
use crate::tensor::view::TensorView;

/// Values that are held against each other at a time.
const RUN: usize = 1 << 16;

/// The module whose weight a tensor would be a copy of.
pub(super) fn module(name: &str) -> Option<&str> {
    let weight = name.strip_prefix(PREFIX)?.strip_suffix(".weight")?;
    Some(weight.strip_suffix(".base_layer").unwrap_or(weight))
}

/// Refuses a tensor that is no copy of the base's.
pub(super) fn check(name: &str, adapter: &Weights, base: &Package) -> Result<(), PeftError> {
    let stranger = || PeftError::Stranger(name.to_owned());
    let found = target(module(name).ok_or_else(stranger)?, base).map_err(|_| stranger())?;
    let (copy, own) = (adapter.tensor(name), base.weights.tensor(&found.tensor));
    let (Some(copy), Some(own)) = (copy, own) else { return Err(stranger()) };
    if found.rows.is_none() && is_same(&copy, &own) {
        return Ok(());
    }
    Err(PeftError::OtherLayer { name: name.to_owned(), tensor: found.tensor })
}

fn is_same(copy: &TensorView<'_>, own: &TensorView<'_>) -> bool {
    let all = copy.shape.elements();
    let (mut ours, mut theirs) = (vec![0.0; RUN.min(all)], vec![0.0; RUN.min(all)]);
    copy.shape == own.shape
        && (0..all).step_by(RUN).all(|start| {
            let count = RUN.min(all - start);
            copy.read_f32(start, &mut ours[..count]);
            own.read_f32(start, &mut theirs[..count]);
            ours[..count]
                .iter()
                .zip(&theirs[..count])
                .all(|(ours, theirs)| ours.to_bits() == theirs.to_bits())
        })
}
