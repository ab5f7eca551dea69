//! What surveys have in common: they look at the whole model, so what they go by must be the same
//! for all of it.

use super::contract::TensorInputs;
use super::error::OperatorError;
use super::parameter::{Parameters, Value, Values};
use crate::base::rng::Philox;

/// The values that hold for the whole model; an error if a rule or a ramp gives some tensor
/// another value of one of `names`. `None` for a model without tensors.
pub(super) fn settings<'a>(
    operator: &'static str,
    tensors: &'a [TensorInputs<'_>],
    names: &[&str],
) -> Result<Option<&'a Values>, OperatorError> {
    let Some(first) = tensors.first() else { return Ok(None) };
    for tensor in tensors {
        let differs =
            |name: &&&str| tensor.values.parameters().get(**name) != first.values.parameters().get(**name);
        if let Some(name) = names.iter().find(differs) {
            let tensor = tensor.name;
            let message = format!("`{name}` holds for the whole model and cannot be another for `{tensor}`");
            return Err(OperatorError::Relation { operator, message });
        }
    }
    Ok(Some(&first.values))
}

/// The random stream for what is drawn once for the whole model.
pub(super) fn stream(tensors: &[TensorInputs<'_>]) -> Philox {
    match tensors.first() {
        Some(tensor) => Philox::for_purpose(&tensor.purpose),
        None => Philox::for_purpose(&[]),
    }
}

/// Numbers that the survey found, empty if it did not.
pub(super) fn numbers<'a>(survey: &'a Parameters, name: &str) -> &'a [f64] {
    match survey.get(name) {
        Some(Value::PerParent(numbers)) => numbers,
        _ => &[],
    }
}
