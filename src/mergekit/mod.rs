//! mergekit configurations, carried out without a plan.
//!
//! ```text
//! YAML -> Config -> (models opened) -> inputs of every tensor of the child -> operator -> files, receipt
//! ```
//!
//! A configuration means here what it means to mergekit 0.1.5 computing in f32, method by method
//! ([`method`]): the same defaults, filters, gradients and slices. What is not supported is refused by
//! name; nothing is read and ignored but what changes memory use only.
//!
//! * [`yaml`]: the text as a tree with places.
//! * [`config`]: the tree as a merge, every mistake at once.
//! * [`method`]: which operator a method is. [`setting`]: a parameter for a tensor at a depth.
//! * [`assemble`]: which tensors of which models make which tensor of the child. `fits`: whether slices can stand
//!   in one.
//! * [`merge`]: models in, files and a receipt out. `child`: the files. [`error`]: why not. `models`: opened,
//!   adapters on them. [`networks`]: whether they compute the same. `tokens`: whose rows are whose.
//!   [`template`]: whose chat template it has. [`receipt`]: what was done. [`filters`]: what a configuration says in vain. `forget`: inputs let go of
//!   meanwhile.

pub mod assemble;
mod child;
pub mod config;
pub mod error;
pub mod filters;
mod fits;
mod forget;
pub mod hashing;
pub mod merge;
pub mod method;
mod models;
pub mod networks;
pub mod receipt;
pub mod setting;
pub mod template;
mod tokens;
mod union;
pub mod yaml;
