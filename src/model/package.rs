//! A model of any format: its tensors, what the file says they mean, the small files beside it.
//!
//! Merging needs tensors and no more. Running needs a configuration and a tokenizer, and not every
//! format says them, or says them in a way that is known here; what is missing is noted with the
//! reason, so that whoever needs it can tell.

use std::sync::Arc;

use super::checkpoint::Checkpoint;
use super::config::ModelConfig;
use super::gguf::facts::Facts;
use super::naming::Naming;
use super::tokenizer::Tokenizer;
use super::weights::Weights;

/// A small file that belongs to a model and is carried to its children as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Companion {
    /// Its name in the folder.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A model.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its tensors, under the names they have there.
    pub weights: Weights,
    /// Which family those names belong to.
    pub naming: Option<Naming>,
    /// The network, if it is one that is known here; else why not.
    pub config: Result<ModelConfig, String>,
    /// How text becomes ids, if it is a way that is known here; else why not.
    pub tokenizer: Result<Tokenizer, String>,
    /// Files beside the weights.
    pub companions: Vec<Companion>,
    /// What a GGUF file says before its tensors.
    pub facts: Option<Arc<Facts>>,
}

impl Package {
    /// Tensors that nothing more is known of.
    pub fn of_weights(weights: Weights) -> Self {
        let naming = Naming::of(weights.infos().iter().map(|info| info.name.as_str()));
        let unknown = || format!("a {} file does not say it", weights.format());
        Self {
            naming,
            config: Err(unknown()),
            tokenizer: Err(unknown()),
            companions: Vec::new(),
            facts: None,
            weights,
        }
    }

    /// The companion called `name`.
    pub fn companion(&self, name: &str) -> Option<&Companion> {
        self.companions.iter().find(|companion| companion.name == name)
    }

    /// What its tensors are called, if it is known which network they are of.
    pub fn naming_of_known_network(&self) -> Option<Naming> {
        self.naming.filter(|_| self.config.is_ok())
    }

    /// The model as one that can be run here, or why it is none.
    pub fn runnable(&self) -> Result<Checkpoint, String> {
        let config = self.config.clone().map_err(|why| format!("its network is not known: {why}"))?;
        let tokenizer = self.tokenizer.clone().map_err(|why| format!("its tokenizer is not known: {why}"))?;
        if self.naming != Some(Naming::Slm1) {
            let format = self.weights.format();
            return Err(format!(
                "a {format} model is not run as it is; `studbook convert` makes an .slm of it"
            ));
        }
        Ok(Checkpoint { config, tokenizer, weights: self.weights.clone() })
    }
}

impl From<Checkpoint> for Package {
    fn from(checkpoint: Checkpoint) -> Self {
        let Checkpoint { config, tokenizer, weights } = checkpoint;
        let naming = Some(Naming::Slm1);
        Self {
            weights,
            naming,
            config: Ok(config),
            tokenizer: Ok(tokenizer),
            companions: Vec::new(),
            facts: None,
        }
    }
}
