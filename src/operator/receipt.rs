//! What an operator says it did: goes into the operator receipt as it is.

use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;
use crate::tensor::dtype::DType;
use crate::tensor::shape::Shape;

use super::parameter::Parameters;

/// One application of an operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// What was found or drawn for the whole model.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub realised: Parameters,
    /// Every tensor, in storage order.
    pub tensors: Vec<TensorReceipt>,
}

/// One tensor of the child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorReceipt {
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub shape: Shape,
    /// Its encoding.
    pub dtype: DType,
    /// BLAKE3 of its stored bytes: the payload, then the scales if it has any.
    pub digest: Digest,
    /// How far it went from where it came.
    pub delta: DeltaStatistics,
    /// What was found or drawn for this tensor: `kept` counts per parent, say.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub realised: Parameters,
}

/// The difference between the child as stored and the base, or the first parent without a base.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeltaStatistics {
    /// Root of the sum of squares.
    pub l2: f64,
    /// The largest magnitude.
    pub max_abs: f64,
    /// Share of elements that changed.
    pub density: f64,
    /// Share of elements that one parent moved up and another moved down.
    pub sign_conflict_rate: f64,
}
