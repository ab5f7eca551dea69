//! Why two models cannot be compared, or their difference not be kept.

use std::fmt;

use crate::model::WriteError;
use crate::model::adapter::{AdapterError, Mismatch};
use crate::model::arithmetic::Unlike;
use crate::model::buffer::BufferError;
use crate::tensor::shape::Shape;

/// One of two models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first: what differences are taken from.
    First,
    /// The second.
    Second,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "the first model",
            Self::Second => "the second model",
        })
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum DifferenceError {
    /// Tensors beside the weights differ.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// A weight that is NaN or infinite.
    #[error(
        "{side} has the value {value} in tensor `{tensor}` at element {index}; finite numbers are needed"
    )]
    NotFinite {
        /// Which model.
        side: Side,
        /// The tensor.
        tensor: String,
        /// Flat index.
        index: usize,
        /// The value.
        value: f32,
    },
    /// Two weights further apart than an f32 can say.
    #[error("the difference in tensor `{tensor}` at element {index} is {value}, which no adapter can hold")]
    Overflow {
        /// The tensor.
        tensor: String,
        /// Flat index.
        index: usize,
        /// The difference.
        value: f32,
    },
    /// A tensor of one model only.
    #[error("{without} has no tensor `{tensor}`; an adapter can change tensors, not add or remove them")]
    Missing {
        /// The tensor.
        tensor: String,
        /// Who has not.
        without: Side,
    },
    /// A tensor of two shapes.
    #[error("tensor `{tensor}` is {first} in the first model and {second} in the second")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its shape in the first.
        first: Box<Shape>,
        /// And in the second.
        second: Box<Shape>,
    },
    /// Models that are not two states of one.
    #[error("the models are not two states of one: {}", in_one_line(.0))]
    OtherModel(Vec<Mismatch>),
    /// Networks that do other things with the same weights.
    #[error(
        "the models compute differently, which no adapter can say: {}; give both the same config.json if that \
         is not meant",
        networks_in_one_line(.0)
    )]
    OtherNetwork(Vec<Unlike>),
    /// An adapter that is not for the first model.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// All that differs was not to be kept.
    #[error("nothing is left to write: {} left out, which is all that differs", these(.0))]
    AllLeftOut(Vec<String>),
    /// The adapter cannot be written.
    #[error("the adapter cannot be written: {0}")]
    Write(#[from] WriteError),
    /// Somebody asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl DifferenceError {
    /// Whether the disk failed, not the models.
    pub fn is_environment(&self) -> bool {
        matches!(self, Self::Write(WriteError::Io(_)))
    }

    /// What a person can do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Write(error) => error.hint(),
            Self::AllLeftOut(_) => Some(
                "`--only` has to match one of them, `--skip` must not, and `--linear-only` keeps matrices of linear \
                 modules alone: leave out less",
            ),
            _ => None,
        }
    }
}

/// Tensors by their names, the first few of them.
fn these(tensors: &[String]) -> String {
    let named: Vec<String> = tensors.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    let named = named.join(", ");
    match tensors.len() {
        1 => format!("{named} is"),
        count if count <= NAMED => format!("{named} are"),
        count => format!("{named} and {} more are", count - NAMED),
    }
}

/// Tensors that a message names before it counts the rest.
const NAMED: usize = 5;

fn networks_in_one_line(unlike: &[Unlike]) -> String {
    let say = |found: &Unlike| {
        format!("{} is {} in the first and {} in the second", found.field, found.ours, found.theirs)
    };
    unlike.iter().map(say).collect::<Vec<_>>().join("; ")
}

fn in_one_line(mismatches: &[Mismatch]) -> String {
    let say = |found: &Mismatch| {
        format!("{} is {} in the first and {} in the second", found.field, found.adapter, found.model)
    };
    mismatches.iter().map(say).collect::<Vec<_>>().join("; ")
}
