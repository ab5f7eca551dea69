//! Conversion: a model as a file of another format, tensor by tensor.
//!
//! ```text
//! Package -> which tensor becomes which, rows reordered if need be -> passthrough -> the writer
//! ```
//!
//! Values are widened exactly and rounded once to the encoding of the new file. Between Hugging Face
//! and the others the rows of query and key matrices are reordered ([`crate::model::naming`]), so the
//! network computes the same; so do gains that folders hold less one. What one format cannot say (a tokenizer, an
//! attention bias) is refused by name: nothing is dropped on the way.
//!
//! * [`task`]: what a conversion needs to know; names, rows, encodings.
//! * [`rows`]: a tensor with its rows in another order.
//! * [`shifted`]: a tensor with a number added to all of its own.
//! * [`view`]: a model read as if it had a child's names.
//! * [`child`]: a child laid out: like which model, in which format.
//! * [`mod@outline`]: a model of stacked layers, to lay a child out like it.
//! * [`run`]: models that are to be run.
//! * [`target`]: the formats that can be written.

pub mod child;
pub mod outline;
pub mod rows;
pub mod run;
pub mod shifted;
pub mod target;
pub mod task;
#[cfg(test)]
mod testing;
pub mod view;

pub use child::{Child, Form};
pub use outline::{in_names_of, laid_out, one_layer, outline};
pub use run::{RunError, checkpoint};
pub use target::{Options, Target, convert};
pub use task::ConvertError;
pub use view::{Row, Tokens, View};
