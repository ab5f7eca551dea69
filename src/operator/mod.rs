//! Operators: pure functions of (parents, parameters, seed) that make a child.
//!
//! ```text
//! Job -> checks -> TensorInputs -> kernels -> blocks, on every core -> one file, in order -> Application
//! ```
//!
//! Same inputs, same bytes: on any machine, any number of threads, any block size. Inputs are widened
//! exactly to f32, arithmetic is f32 in list order without fused multiply-add, every element is
//! rounded once to the output encoding. No model is ever in memory: parents are mapped, the child
//! leaves in blocks.
//!
//! # Adding an operator
//!
//! One file here with a unit struct that implements [`Operator`], and one line in [`OPERATORS`].
//! Nothing else names operators: the planner checks plans against [`Operator::parameters`], the
//! engine calls [`apply()`], reports print [`Operator::summary`].
//!
//! * Write the definition at the top of the file, with the field's name and the source.
//! * Declare parameters; refuse senseless combinations in [`Operator::relations`].
//! * Return a [`Kernel`] from [`Operator::kernel`]: it sees the same few thousand elements of every
//!   input and fills in the child's. Look over the tensor first if you must ([`trim`] does, for a
//!   cut by magnitude), over all tensors in [`Operator::survey`].
//! * Draw from [`TensorInputs::random`] by element or unit index, never in sequence.
//! * Put numbers computed elsewhere into `tests/fixtures/operators.json`.
//! * Raise [`Operator::version`] whenever the same inputs would give other bytes.
//!
//! # Rooms in here
//!
//! * [`contract`]: what an operator is. [`parameter`], [`rule`], [`depth`]: its settings, per tensor or
//!   per layer if need be.
//! * [`blend`], [`task_delta`], [`sparse_task_delta`], [`prune`], [`dare`], [`della`], [`sign_merge`],
//!   [`federated`], [`model_stock`], [`slerp`], [`nuslerp`], [`multislerp`], [`nearswap`], [`sce`], [`ram`],
//!   [`arcee_fusion`], [`karcher`], [`soup`], [`crossover`], [`mutate`], [`passthrough`]: the operators.
//! * [`trim`] on `magnitudes`: the exact cut by magnitude. `combine`: sums and elections of sparse
//!   differences; `rescale`: what makes up for dropped elements.
//! * [`reduce`], `gram`: sums over a tensor in a fixed order, of products of parents. `divergence`: of rows, as
//!   distributions. `draw`, `genes`, `survey`: what is drawn, for elements, units, models.
//! * [`mod@outline`]: what is known of a child before anything is read.
//! * [`job`]: who and how; [`mod@apply`]: carried out; [`receipt`]: what it says about itself.
//! * [`adapted`]: a model with an adapter on it, as a parent. [`slice`](mod@slice): layers of parents, stacked, as one.
//! * [`source`], `pieces`, `stream`, `digests`, `statistics`: the machine underneath.

pub mod adapted;
pub mod alike;
pub mod apply;
pub mod arcee_fusion;
pub mod blend;
mod block;
mod bracket;
mod combine;
pub mod contract;
mod counters;
pub mod crossover;
pub mod dare;
pub mod della;
pub mod depth;
mod digests;
mod divergence;
mod draw;
mod error;
pub mod federated;
mod genes;
mod gram;
pub mod job;
pub mod karcher;
mod magnitudes;
pub mod model_stock;
pub mod multislerp;
pub mod mutate;
pub mod nearswap;
pub mod nuslerp;
pub mod outline;
pub mod parameter;
pub mod passthrough;
mod pieces;
pub mod prune;
pub mod ram;
mod rank;
pub mod receipt;
mod record;
pub mod reduce;
mod rescale;
mod rooms;
pub mod rule;
pub mod sce;
pub mod sign_merge;
pub mod slerp;
pub mod slice;
pub mod soup;
pub mod source;
pub mod sparse_task_delta;
mod statistics;
mod stream;
mod survey;
pub mod task_delta;
#[cfg(test)]
mod tests;
pub mod trim;

pub use adapted::{Adapted, in_memory};
pub use apply::{apply, apply_in_blocks, apply_slm1, output_bytes};
pub use contract::{Kernel, Operator, Piece, TensorInputs};
pub use error::OperatorError;
#[cfg(feature = "engine")]
pub(crate) use error::beyond;
pub use job::{Job, Parent, check, complete};
pub use outline::{Outlined, Unsuited, check_child};
pub use parameter::{Parameter, Parameters, Value, Values};
pub use receipt::{Application, DeltaStatistics, TensorReceipt};
pub use rule::Rule;
pub use slice::{Slice, Stack};
pub use source::{Source, Tensors};

/// Every operator.
pub static OPERATORS: &[&dyn Operator] = &[
    &blend::Blend,
    &task_delta::TaskDelta,
    &sparse_task_delta::SparseTaskDelta,
    &prune::Prune,
    &dare::Dare,
    &della::Della,
    &sign_merge::SignMerge,
    &passthrough::Passthrough,
    &federated::Federated,
    &model_stock::ModelStock,
    &slerp::Slerp,
    &nuslerp::NuSlerp,
    &multislerp::MultiSlerp,
    &nearswap::NearSwap,
    &sce::Sce,
    &ram::Ram,
    &arcee_fusion::ArceeFusion,
    &karcher::Karcher,
    &soup::Soup,
    &crossover::Crossover,
    &mutate::Mutate,
];

/// The operator that plans call `name`.
pub fn find(name: &str) -> Option<&'static dyn Operator> {
    OPERATORS.iter().copied().find(|operator| operator.name() == name)
}
