//! A model that can be run: its weights, and what they mean.

use std::ops::Deref;

use crate::model::config::ModelConfig;
use crate::model::naming::Naming;
use crate::model::tokenizer::Tokenizer;
use crate::model::weights::Weights;

/// A validated model. It is its weights with a meaning, so it can be used wherever weights can.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Dimensions and constants of the network.
    pub config: ModelConfig,
    /// How text becomes ids.
    pub tokenizer: Tokenizer,
    /// What the tensors are called, and how rotary pairs lie in them.
    pub naming: Naming,
    /// The tensors the configuration asks for, and no others.
    pub weights: Weights,
}

impl Deref for Checkpoint {
    type Target = Weights;

    fn deref(&self) -> &Weights {
        &self.weights
    }
}
