//! Which tensors an adapter is made of, and what is left out by it.

use serde::Serialize;

use super::compare::Measures;
use super::error::DifferenceError;
use crate::model::Package;
use crate::model::adapter::peft::modules::is_linear;
use crate::operator::rule::matches;
use crate::tensor::shape::Shape;

/// The tensors whose differences are kept, by the base's names. By default all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selection<'a> {
    /// Patterns, one of which a tensor must match if there are any.
    pub only: &'a [String],
    /// Patterns that a tensor must not match.
    pub skip: &'a [String],
    /// Whether matrices of linear modules alone are kept, each as a product where products are asked for:
    /// what a LoRA can say.
    pub linear: bool,
}

impl Selection<'_> {
    /// Whether a tensor of the base is meant.
    pub fn takes(&self, base: &Package, tensor: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, tensor));
        (self.only.is_empty() || any(self.only))
            && !any(self.skip)
            && (!self.linear || is_linear(base, tensor))
    }

    /// A pattern that no tensor of the base matches: a slip, which would be read and ignored.
    pub fn unmet<'s>(&'s self, base: &Package) -> Option<&'s str> {
        let met = |pattern: &str| base.weights.infos().iter().any(|info| matches(pattern, &info.name));
        self.only.iter().chain(self.skip).map(String::as_str).find(|pattern| !met(pattern))
    }
}

/// Refuses an adapter without deltas where something differs: it would be taken for the difference. Of models
/// that are equal nothing is left out.
pub(super) fn refuse_nothing(kept: usize, left_out: &[LeftOut]) -> Result<(), DifferenceError> {
    let differ = left_out.iter().filter(|tensor| tensor.measures.changed > 0.0);
    let differ: Vec<String> = differ.map(|tensor| tensor.tensor.clone()).collect();
    if kept == 0 && !differ.is_empty() { Err(DifferenceError::AllLeftOut(differ)) } else { Ok(()) }
}

/// A tensor that differs and has no delta.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeftOut {
    /// Its name in the base.
    pub tensor: String,
    /// Its dimensions.
    pub shape: Shape,
    /// How far the model's is from the base's.
    #[serde(flatten)]
    pub measures: Measures,
}
