//! Part 4: Operator receipt: what was done, so that anyone can do it again and compare bytes.

use serde::{Deserialize, Serialize};

use super::Record;
use super::lineage::BoundOperator;
use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;
use crate::model::buffer::BufferReceipt;
use crate::model::huggingface::Written;
use crate::operator::{Parameters, TensorReceipt};
use crate::store::Blob;

/// One application of an operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorReceipt {
    /// The candidate it was for; it names the random streams.
    pub candidate: Name,
    /// What was done, with which values.
    pub operator: BoundOperator,
    /// What all randomness derives from.
    pub seed: String,
    /// What deltas were taken from.
    pub base: Option<Used>,
    /// From whom, in order.
    pub parents: Vec<Used>,
    /// The child's format.
    pub format: String,
    /// The child's encoding, or that tensors are stored as in the model it is like.
    pub dtype: String,
    /// The child: its file, or the list of its files.
    pub output: Blob,
    /// The files of a child that is a folder, in the order in which they were written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Written>,
    /// What was found or drawn for the whole model: weights, shares, norms.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub realised: Parameters,
    /// How a greedy soup, or a trial on the way to it, came to its parents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<Selection>,
    /// Tensors beside the weights, and whether the child has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buffers: Vec<BufferReceipt>,
    /// Every tensor: its digest and how far it moved.
    pub tensors: Vec<TensorReceipt>,
    /// The command that does it again, PLAN being the plan of the cycle.
    pub recompute: String,
}

impl OperatorReceipt {
    /// The child's length; of a folder, that of all its files.
    pub fn bytes(&self) -> u64 {
        match self.files.as_slice() {
            [] => self.output.bytes,
            files => files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes)),
        }
    }
}

/// How the parents of a greedy soup were chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// The metric; higher is better.
    pub metric: String,
    /// The suite it was measured on.
    pub suite: Name,
    /// SHA-256 of the suite's cases.
    pub cases: Sha256,
    /// The parents, best first, each with its own score.
    pub order: Vec<(Name, f64)>,
    /// Every soup that was tried, in order.
    pub trials: Vec<Trial>,
}

/// A soup with one parent more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// The parent that was added.
    pub added: Name,
    /// To these.
    pub to: Vec<Name>,
    /// What the soup scored.
    pub score: f64,
    /// What had to be reached.
    pub best_before: f64,
    /// Whether the parent stayed.
    pub kept: bool,
    /// The evaluation that says so.
    pub evaluation: Sha256,
}

/// A parent as it was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Used {
    /// What the plan calls it.
    pub name: Name,
    /// BLAKE3 of its bytes.
    pub blake3: Digest,
    /// The model it was added to, if it is an adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapts: Option<Box<Used>>,
}

impl Record for OperatorReceipt {
    const TYPE: &'static str = "urn:studbook:operator-receipt:v2";
}
