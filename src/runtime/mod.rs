//! Runs a model: text in, logits or text out, the same bits everywhere.
//!
//! An evaluation is evidence only if anybody can repeat it. The forward pass here is therefore
//! defined to the last bit: every dot product has one order ([`crate::tensor::kernel`]), exponentials and
//! angles come from the `libm` crate and not from the platform, and no result depends on the number
//! of threads, on how a prompt is cut, or on which other sequences are computed beside it.
//!
//! ```text
//! Checkpoint -> Model -> Session -> logits -> Sampler -> token -> text
//!               weights  keys and             greedy or
//!               in place values               seeded
//! ```
//!
//! * [`config`]: the dimensions, checked once.
//! * [`weights`]: which tensor is which matrix; everything stays in the mapped file.
//! * [`rope`]: positions as angles. [`attention`]: keys and values, causal attention.
//! * [`forward`]: sessions, one or many. `pass`: one pass through the network.
//! * [`sample`]: from logits to the next token.
//! * [`generate()`]: from a prompt to text, one or thousands.
//! * [`resources`]: what it takes to run a model.
//! * [`score`]: how likely a text is, alone or beside another model's opinion.
//!
//! It is not a fast runtime for large models: no fused multiply-add, no reduced precision, no GPU.

pub mod attention;
pub mod config;
pub mod error;
pub mod forward;
pub mod generate;
mod pass;
pub mod resources;
pub mod rope;
pub mod sample;
pub mod score;
pub mod weights;

#[cfg(test)]
mod fixture;
#[cfg(all(test, feature = "engine"))]
mod tests;

pub use error::RuntimeError;
pub use forward::{Model, Session, Wanted};
#[cfg(feature = "engine")]
pub use generate::text_of;
pub use generate::{
    Answer, GenerateOptions, Generation, MAX_OUTPUT_BYTES, StopReason, generate, generate_batch,
};
pub use sample::{Sampler, Sampling};
