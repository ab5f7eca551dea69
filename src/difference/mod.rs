//! Differences between two models: measured, or kept as an adapter.
//!
//! ```text
//! a, b -> pairs of tensors, read in runs -> sums in a fixed order        compare
//!                                        -> dense, sparse or low rank    extract
//! ```
//!
//! Models are mapped and read in runs, so their size does not matter; sums are f64, cut and added in
//! an order that follows from sizes alone, so threads do not matter either.
//!
//! * [`mod@compare`]: how far two models are apart, tensor by tensor.
//! * [`mod@extract`]: what one has and the other has not, as an adapter package.
//! * [`mod@keep`]: an adapter of another format as a package.
//! * [`selection`]: which tensors an adapter is made of.
//! * [`low_rank`]: the best product of two narrow matrices; `linear`: the algebra for it.
//! * `pair`: a tensor of both models.

pub mod compare;
mod error;
pub mod extract;
pub mod keep;
mod linear;
pub mod low_rank;
mod pair;
pub mod selection;
#[cfg(test)]
mod tests;

pub use compare::{Comparison, Measures, Reshaped, TensorDifference, compare, compare_as};
pub use error::{DifferenceError, Side};
pub use extract::{Changed, Extracted, Form, Made, extract};
pub use keep::keep;
pub use selection::{LeftOut, Selection};
