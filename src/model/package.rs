//! A model of any format: its tensors, what the file says they mean, the small files beside it.
//!
//! Merging needs tensors and no more. Running needs a configuration and a tokenizer, and not every
//! format says them, or says them in a way that is known here; what is missing is noted with the
//! reason, so that whoever needs it can tell.

use std::collections::HashSet;
use std::sync::Arc;

use super::buffer::BufferError;
use super::checkpoint::Checkpoint;
use super::config::{ModelConfig, tensor_table};
use super::gguf::facts::Facts;
use super::gguf::rope_freqs;
use super::naming::Naming;
use super::tokenizer::Tokenizer;
use super::weights::{TensorInfo, Weights};
use crate::tensor::view::TensorView;

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

    /// The name of the output matrix of a tied model that stores it all the same, its embedding matrix
    /// once more. One of other numbers is a tensor of its own.
    pub fn embeddings_again(&self) -> Option<String> {
        let naming = self.naming.filter(|_| self.config.as_ref().is_ok_and(|config| config.tied_output))?;
        let output = naming.from_slm1("output.weight")?;
        let stored = self.weights.tensor(&output)?;
        let embedding = self.weights.tensor(&naming.from_slm1("tok_embeddings.weight")?)?;
        ((stored.dtype, stored.data) == (embedding.dtype, embedding.data)).then_some(output)
    }

    /// Its tensors but for those that follow from the rest: what a tied model stores of its output matrix,
    /// and what a GGUF file's rotary frequencies are divided by.
    pub fn own_tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        let again = self.embeddings_again();
        let infos = self.weights.infos().iter();
        infos.filter(move |info| {
            again.as_deref() != Some(info.name.as_str()) && !self.is_of_frequencies(&info.name)
        })
    }

    /// Whether a tensor says how rotary frequencies are scaled, as the configuration does that was made of
    /// it.
    pub fn is_of_frequencies(&self, name: &str) -> bool {
        name == rope_freqs::TENSOR && self.naming_of_known_network() == Some(Naming::Gguf)
    }

    /// The same network with an output matrix of its own, which is the embedding matrix again.
    #[must_use]
    pub fn untied(&self) -> Self {
        let mut untied = self.clone();
        let (Ok(config), Some(naming)) = (&mut untied.config, self.naming) else { return untied };
        if config.tied_output {
            let [embedding, output] = naming.token_matrices();
            config.tied_output = false;
            untied.weights = untied.weights.with_again(&embedding, &output);
        }
        untied
    }

    /// The model as one that can be run: where every tensor of the network is there in its shape, every
    /// other one is known to say nothing new, and text becomes ids the network has.
    ///
    /// # Errors
    ///
    /// [`Unrunnable::Config`], [`Unrunnable::Tokenizer`] or [`Unrunnable::Names`] of what is not known of it;
    /// [`Unrunnable::Vocabulary`] of more ids than the matrix has rows; [`Unrunnable::Count`],
    /// [`Unrunnable::Missing`] or [`Unrunnable::Shape`] of a tensor that the network needs;
    /// [`Unrunnable::Buffer`], [`Unrunnable::Stranger`] or [`Unrunnable::Untied`] of one that says something
    /// else.
    pub fn checkpoint(&self) -> Result<Checkpoint, Unrunnable> {
        let config = self.config.clone().map_err(Unrunnable::Config)?;
        let tokenizer = self.tokenizer.clone().map_err(Unrunnable::Tokenizer)?;
        let naming = self.naming.ok_or(Unrunnable::Names)?;
        let (ids, vocab) = (tokenizer.vocab_size(), config.vocab_size);
        if tokenizer.rows() > vocab {
            return Err(Unrunnable::Vocabulary { ids, vocab });
        }
        self.carried_buffers()?;
        let known = self.known_tensors(&config, naming)?;
        let strangers = self.weights.tensors().filter(|view| !known.contains(view.name));
        for view in strangers {
            self.check_stranger(view, &config, naming)?;
        }
        Ok(Checkpoint { config, tokenizer, naming, weights: self.weights.clone() })
    }

    /// The names of the network's tensors, each found in its shape.
    fn known_tensors(&self, config: &ModelConfig, naming: Naming) -> Result<HashSet<String>, Unrunnable> {
        // A configuration can claim billions of layers: the list is only made if it can be right.
        let (needed, found) = (config.tensor_count(), self.weights.infos().len() as u64);
        if needed > found {
            return Err(Unrunnable::Count { needed, found });
        }
        let table = tensor_table(config).map_err(|error| Unrunnable::Config(error.to_string()))?;
        let mut known = HashSet::new();
        for spec in table {
            // Every tensor of the table has a name in every family.
            let slm1_name = spec.name;
            let name = naming.from_slm1(&slm1_name).unwrap_or_else(|| slm1_name.clone());
            let Some(shape) = self.weights.tensor(&name).map(|view| view.shape) else {
                return Err(Unrunnable::Missing(name));
            };
            if *shape != spec.shape {
                let (found, mut expected) = (shape.to_string(), spec.shape.to_string());
                if let Some(why) = config.why_shape(&slm1_name) {
                    expected += &format!(" ({why})");
                }
                return Err(Unrunnable::Shape { name, found, expected });
            }
            known.insert(name);
        }
        Ok(known)
    }

    /// A tensor that the network does not ask for must not change what it computes.
    fn check_stranger(
        &self,
        view: TensorView<'_>,
        config: &ModelConfig,
        naming: Naming,
    ) -> Result<(), Unrunnable> {
        // The configuration was made of it.
        if naming == Naming::Gguf && view.name == rope_freqs::TENSOR {
            return Ok(());
        }
        // The output matrix of a tied model is its embedding matrix, and some files store it all the same.
        let own = |name: &str| naming.from_slm1(name);
        if config.tied_output && own("output.weight").as_deref() == Some(view.name) {
            let embedding = own("tok_embeddings.weight").and_then(|name| self.weights.tensor(&name));
            let same = |other: TensorView<'_>| (other.dtype, other.data) == (view.dtype, view.data);
            return match embedding.is_some_and(same) {
                true => Ok(()),
                false => Err(Unrunnable::Untied(view.name.to_owned())),
            };
        }
        Err(Unrunnable::Stranger(view.name.to_owned()))
    }
}

/// Why a model cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unrunnable {
    /// The network is not known, or not computed here.
    #[error("the network cannot be run: {0}")]
    Config(String),
    /// The tokenizer is not known.
    #[error("the tokenizer is not known: {0}")]
    Tokenizer(String),
    /// Tensors of no family.
    #[error("its tensors have names of their own, so nothing says which is which")]
    Names,
    /// Ids beyond the embedding matrix.
    #[error("the tokenizer has {ids} ids and the network {vocab}")]
    Vocabulary {
        /// Ids of the tokenizer.
        ids: u32,
        /// Rows of the embedding matrix.
        vocab: u32,
    },
    /// Fewer tensors than the configuration asks for.
    #[error("the configuration asks for {needed} tensors; there are {found}")]
    Count {
        /// Tensors needed.
        needed: u64,
        /// Tensors there.
        found: u64,
    },
    /// A tensor that is not there.
    #[error("there is no tensor `{0}`")]
    Missing(String),
    /// A tensor of another shape.
    #[error("tensor `{name}` is {found}; the configuration makes it {expected}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: String,
        /// The shape it must have.
        expected: String,
    },
    /// A tensor that holds no weights.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// A tensor without a place.
    #[error("tensor `{0}` has no place in the network that the configuration describes")]
    Stranger(String),
    /// An output matrix that is another one than the embeddings it should be.
    #[error("the output matrix is tied to the embeddings, but the file has another one, `{0}`")]
    Untied(String),
}

impl From<Checkpoint> for Package {
    fn from(checkpoint: Checkpoint) -> Self {
        let Checkpoint { config, tokenizer, naming, weights } = checkpoint;
        let (naming, config, tokenizer) = (Some(naming), Ok(config), Ok(tokenizer));
        Self { weights, naming, config, tokenizer, companions: Vec::new(), facts: None }
    }
}
