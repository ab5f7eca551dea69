//! Part 4: Operator receipt: what was done, so that anyone can do it again and compare bytes.

use serde::{Deserialize, Serialize};

use super::Record;
use super::lineage::BoundOperator;
use crate::base::digest::Digest;
use crate::base::name::Name;
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
    /// The child's encoding.
    pub dtype: String,
    /// The child.
    pub output: Blob,
    /// What was found or drawn for the whole model: weights, shares, norms.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub realised: Parameters,
    /// Every tensor: its digest and how far it moved.
    pub tensors: Vec<TensorReceipt>,
    /// The command that does it again, PLAN being the plan of the cycle.
    pub recompute: String,
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
    const TYPE: &'static str = "urn:studbook:operator-receipt:v1";
}
