//! What surveys have in common: they look at the whole model, so what they go by must be the same
//! for all of it.

use super::contract::{Operator, TensorInputs};
use super::error::OperatorError;
use super::outline::same_everywhere;
use super::parameter::{Parameters, Value, Values};
use crate::base::rng::Philox;

/// The values that hold for the whole model; an error if a rule or a ramp gives some tensor
/// another value of one that must ([`Operator::whole`]). `None` for a model without tensors.
pub(super) fn settings<'a>(
    operator: &dyn Operator,
    tensors: &'a [TensorInputs<'_>],
) -> Result<Option<&'a Values>, OperatorError> {
    let given = tensors.iter().map(|tensor| (tensor.name, tensor.values.parameters()));
    same_everywhere(operator.whole(), given)
        .map_err(|(_, message)| OperatorError::Relation { operator: operator.name(), message })?;
    Ok(tensors.first().map(|first| &first.values))
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
