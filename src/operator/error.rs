//! What can go wrong while a child is made.

use crate::model::WriteError;
use crate::tensor::shape::Shape;

use super::alike::Misfit;
use super::parameter::ParameterError;

/// Why no child was made.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// A parameter is wrong by itself.
    #[error("{operator}: {source}")]
    Parameter {
        /// The operator.
        operator: &'static str,
        /// What is wrong.
        source: ParameterError,
    },
    /// Parameters are wrong together.
    #[error("{operator}: {message}")]
    Relation {
        /// The operator.
        operator: &'static str,
        /// What is wrong.
        message: String,
    },
    /// Too few or too many parents.
    #[error("{operator} takes {expected}, found {found}")]
    Parents {
        /// The operator.
        operator: &'static str,
        /// "2 parents or more", say.
        expected: String,
        /// Parents given.
        found: usize,
    },
    /// No base where one is needed.
    #[error("{0} works on differences from a base; name one with `base = \"...\"`")]
    NoBase(&'static str),
    /// The parents' dimensions or constants differ.
    #[error("`{parent}` and `{reference}` differ in {what}: {found} and {expected}")]
    Config {
        /// The parent.
        parent: String,
        /// Whom it was compared with.
        reference: String,
        /// What differs.
        what: &'static str,
        /// The parent's.
        found: String,
        /// The reference's.
        expected: String,
    },
    /// A slice of layers that are not there.
    #[error("`{parent}` has {layers} layers, numbered from 0; there is no layer {layer}")]
    Layer {
        /// The parent.
        parent: String,
        /// The layer.
        layer: usize,
        /// How many there are.
        layers: usize,
    },
    /// Slices of a model whose layers do not fit.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// A tensor is in one model and not in the other.
    #[error("`{without}` has no tensor `{tensor}`, `{with}` has one")]
    Missing {
        /// The tensor.
        tensor: String,
        /// Who has it.
        with: String,
        /// Who has not.
        without: String,
    },
    /// A tensor has two shapes.
    #[error("tensor `{tensor}` is {found} in `{parent}` and {expected} in `{reference}`")]
    Shape {
        /// The tensor.
        tensor: String,
        /// The parent.
        parent: String,
        /// Its shape there.
        found: Box<Shape>,
        /// Whom it was compared with.
        reference: String,
        /// The shape there.
        expected: Box<Shape>,
    },
    /// An infinity or not-a-number in a parent.
    #[error(
        "`{parent}` has the value {value} in tensor `{tensor}` at element {index}{}; operators take finite numbers only",
        beyond(*value)
    )]
    InputNotFinite {
        /// The parent.
        parent: String,
        /// The tensor.
        tensor: String,
        /// Flat index.
        index: usize,
        /// The value.
        value: f32,
    },
    /// An infinity or not-a-number in the child.
    #[error(
        "{operator} made the value {value} in tensor `{tensor}` at element {index}; \
         its weights are too large or cancel to almost nothing"
    )]
    OutputNotFinite {
        /// The operator.
        operator: &'static str,
        /// The tensor.
        tensor: String,
        /// Flat index.
        index: usize,
        /// The value.
        value: f32,
    },
    /// The child cannot be laid out or written.
    #[error("the child cannot be written: {0}")]
    Write(#[from] WriteError),
    /// Somebody asked to stop.
    #[error("cancelled")]
    Cancelled,
}

/// What an infinity may have been.
pub(crate) fn beyond(value: f32) -> &'static str {
    if value.is_infinite() { " (or an f64 beyond the range of f32, which is read as that)" } else { "" }
}

impl OperatorError {
    /// Whether the disk failed, not the parents or the plan.
    pub fn is_environment(&self) -> bool {
        matches!(self, Self::Write(WriteError::Io(_)))
    }

    /// What a person can do about a disk that failed.
    #[cfg(feature = "engine")]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Write(error) => error.hint(),
            _ => None,
        }
    }
}
