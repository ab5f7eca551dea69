//! What a conversion needs to know: which tensor becomes which, how its rows move, how it is stored.

use crate::model::buffer::BufferError;
use crate::model::config::{ConfigError, ModelConfig, tensor_table};
use crate::model::gguf::{self, Architecture, Facts};
use crate::model::huggingface::{CONFIG, HfConfig, settings};
use crate::model::naming::{Naming, Permutation};
use crate::model::tokenizer::Tokenizer;
use crate::model::tokenizer::json::{self, JsonTokenizerError};
use crate::model::weights::TensorInfo;
use crate::model::{Package, WriteError};
use crate::operator::{OperatorError, Source, Tensors, beyond};
use crate::tensor::shape::Shape;

use super::rows::Rows;
use super::shifted::Shifted;

/// Why a model cannot be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The network is not known.
    #[error("the network is not known, so it cannot be written as {format}: {why}")]
    Config {
        /// What was to be written.
        format: &'static str,
        /// Why it is not known.
        why: String,
    },
    /// A network that the format has no words for.
    #[error("the network cannot be written as {format}: {why}")]
    Words {
        /// What was to be written.
        format: &'static str,
        /// What cannot be said there.
        why: String,
    },
    /// The tokenizer is not known.
    #[error(
        "the tokenizer cannot be written as {format}: {why}; `--tokenizer FILE` takes a tokenizer.json or another model's"
    )]
    Tokenizer {
        /// What was to be written.
        format: &'static str,
        /// Why it is not known.
        why: String,
    },
    /// An infinity or not-a-number in the model.
    #[error(
        "the value {value} is in tensor `{tensor}` at element {index}{}; a model is converted if all its numbers are \
         finite",
        beyond(*value)
    )]
    NotFinite {
        /// The tensor, as the model calls it.
        tensor: String,
        /// Flat index.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A tokenizer that GGUF has no tables for.
    #[error(
        "the tokenizer cannot be written as GGUF: {0}; `--tokenizer FILE` takes another one, \
         `--without-tokenizer` leaves it out"
    )]
    Tables(String),
    /// Another tokenizer that does not fit.
    #[error("the tokenizer has {tokenizer} ids and the model {model}")]
    Vocabulary {
        /// Ids of the tokenizer.
        tokenizer: u32,
        /// Rows of the embedding matrix.
        model: u32,
    },
    /// A tensor that the network needs.
    #[error("there is no tensor `{0}`")]
    Missing(String),
    /// A tensor that the network does not have; the other format has no place for it.
    #[error("the tensor `{0}` has no place in a llama-like network, so it cannot be written as {1}")]
    Stranger(String, &'static str),
    /// An output matrix that the configuration says is not there.
    #[error(
        "the tensor `{0}` is not the embedding matrix again, as the configuration says \
         (`tie_word_embeddings`), so one of them is wrong"
    )]
    Untied(String),
    /// A tensor of another shape than the configuration says.
    #[error("tensor `{tensor}` is {found}; the configuration says {expected}{}", in_brackets(why))]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Box<Shape>,
        /// The shape it should have.
        expected: Box<Shape>,
        /// Which of its fields make that shape.
        why: Option<String>,
    },
    /// A tensor that holds no weights.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// Making the tensors.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// The new file.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Where it was to go.
    #[error(transparent)]
    Disk(#[from] crate::disk::DiskError),
    /// A child's format that cannot have the encoding.
    #[error("{format} children cannot be stored as {dtype}; possible are {possible}")]
    Encoding {
        /// The format.
        format: &'static str,
        /// The encoding.
        dtype: crate::tensor::dtype::DType,
        /// What it can hold.
        possible: String,
    },
    /// A format that children do not have.
    #[error("children cannot be stored as {0}")]
    NoChild(&'static str),
    /// Small files beside the weights.
    #[error("{0} cannot be mended: {1}")]
    Companion(String, String),
    /// A tokenizer on its way.
    #[error(transparent)]
    JsonTokenizer(#[from] JsonTokenizerError),
}

impl ConvertError {
    /// Whether it says something of the model, and nothing of what was asked for: then it is told with the
    /// model's name.
    pub fn is_of_model(&self) -> bool {
        matches!(
            self,
            Self::Config { .. }
                | Self::Words { .. }
                | Self::NotFinite { .. }
                | Self::Missing(_)
                | Self::Stranger(..)
                | Self::Untied(_)
                | Self::Shape { .. }
        )
    }

    /// Whether the disk failed or had no place for it, not the model or what was asked for.
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Disk(_) | Self::Write(WriteError::Io(_)) => true,
            Self::Operator(error) => error.is_environment(),
            _ => false,
        }
    }

    /// What a person can do about a disk that failed.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Disk(error) => error.hint(),
            Self::Write(error) => error.hint(),
            Self::Operator(error) => error.hint(),
            _ => None,
        }
    }
}

/// A model that is to be written in other names: every tensor of its network, in storage order.
pub struct Task<'a> {
    /// The model.
    pub package: &'a Package,
    /// One for each tensor that is written.
    pub moves: Vec<Move>,
}

/// A tensor's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// What it is called there.
    pub from: String,
    /// What it will be called.
    pub to: String,
    /// Its dimensions.
    pub shape: Shape,
    /// How its rows move.
    pub permutation: Option<Permutation>,
    /// What is added to its numbers.
    pub shift: i8,
}

impl Move {
    /// The tensor in `tensors`, its rows in the new order.
    pub fn source<'t>(&self, tensors: &'t dyn Tensors) -> Option<Box<dyn Source + 't>> {
        let source = tensors.source(&self.from)?;
        // A bias has one number for each row of its matrix.
        let columns = if self.shape.dims().len() == 1 { 1 } else { self.shape.columns() };
        let source: Box<dyn Source + 't> = match self.permutation {
            None => source,
            Some(permutation) => Box::new(Rows { source, columns, permutation }),
        };
        Some(match self.shift {
            0 => source,
            shift => Box::new(Shifted { source, by: f32::from(shift) }),
        })
    }
}

impl<'a> Task<'a> {
    /// Finds every tensor of the network under its name, in its shape, and no other tensor.
    ///
    /// # Errors
    ///
    /// [`ConvertError::Config`] of a network that is not known, or whose tensors have names of their own;
    /// [`ConvertError::Words`] of one that the format cannot say; [`ConvertError::Missing`],
    /// [`ConvertError::Shape`] or [`ConvertError::Stranger`] of the first tensor that is not as the network
    /// needs it; [`ConvertError::Untied`] of an output matrix that should be the embedding.
    pub fn new(package: &'a Package, to: Naming, format: &'static str) -> Result<Self, ConvertError> {
        let unknown = |why: &String| ConvertError::Config { format, why: why.clone() };
        let config = known(package, format)?;
        let words = |error: ConfigError| ConvertError::Words { format, why: error.to_string() };
        check_words(package, config, to).map_err(words)?;
        let from =
            package.naming.ok_or_else(|| unknown(&"its tensors have names of their own".to_owned()))?;
        let table = tensor_table(config)
            .map_err(|error| unknown(&format!("its dimensions are no shapes: {error}")))?;
        let moves = table
            .into_iter()
            .map(|spec| {
                let name = |naming: Naming| {
                    naming.from_slm1(&spec.name).ok_or_else(|| ConvertError::Missing(spec.name.clone()))
                };
                let (there, here) = (name(from)?, name(to)?);
                let found =
                    package.weights.shape(&there).ok_or_else(|| ConvertError::Missing(there.clone()))?;
                if *found != spec.shape {
                    let why = config.why_shape(&spec.name);
                    let (found, expected) = (Box::new(found.clone()), Box::new(spec.shape));
                    return Err(ConvertError::Shape { tensor: there, found, expected, why });
                }
                let permutation = from.permutation(to, &spec.name, config);
                let shift = from.shift(to, &spec.name, config);
                Ok(Move { from: there, to: here, shape: spec.shape, permutation, shift })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let task = Self { package, moves };
        let [_, output] = from.token_matrices();
        match task.stranger() {
            Some(name) if config.tied_output && name == output => Err(ConvertError::Untied(output)),
            Some(name) => Err(ConvertError::Stranger(name.to_owned(), format)),
            None => Ok(task),
        }
    }

    /// Every tensor of the model in the names of another family, or under the name it has where the
    /// family is the model's own: then nothing need be known of the network.
    ///
    /// # Errors
    ///
    /// As [`Self::new`], if the family is another one; else never.
    pub fn named(
        package: &'a Package,
        to: Option<Naming>,
        format: &'static str,
    ) -> Result<Self, ConvertError> {
        match to {
            Some(to) if package.naming != Some(to) => Self::new(package, to, format),
            _ => Ok(Self::as_they_are(package)),
        }
    }

    /// Every tensor under the name it has, but for those that follow from the rest.
    pub fn as_they_are(package: &'a Package) -> Self {
        let as_it_is = |info: &TensorInfo| Move {
            from: info.name.clone(),
            to: info.name.clone(),
            shape: info.shape.clone(),
            permutation: None,
            shift: 0,
        };
        Self { package, moves: package.own_tensors().map(as_it_is).collect() }
    }

    /// The network.
    ///
    /// # Errors
    ///
    /// [`ConvertError::Config`] if it is not known, with the reason.
    pub fn config(&self, format: &'static str) -> Result<&'a ModelConfig, ConvertError> {
        known(self.package, format)
    }

    /// A tensor that would be left behind. Of those that follow from the rest nothing is lost; an output
    /// matrix of a tied model that has other numbers than the embedding matrix is another tensor.
    fn stranger(&self) -> Option<&'a str> {
        let known: std::collections::HashSet<&str> =
            self.moves.iter().map(|step| step.from.as_str()).collect();
        let mut names = self.package.own_tensors().map(|info| info.name.as_str());
        names.find(|name| !known.contains(name))
    }

    /// The tokenizer, or another one that fits.
    ///
    /// # Errors
    ///
    /// [`ConvertError::Tokenizer`] if there is none that is known, with the reason;
    /// [`ConvertError::Vocabulary`] if its ids do not fit the rows of the embedding matrix; else as
    /// [`Self::config`].
    pub fn tokenizer(
        &self,
        other: Option<&Tokenizer>,
        format: &'static str,
    ) -> Result<Tokenizer, ConvertError> {
        let tokenizer = match (other, &self.package.tokenizer) {
            (Some(other), _) => other.clone(),
            (None, Ok(own)) => own.clone(),
            (None, Err(why)) => return Err(ConvertError::Tokenizer { format, why: why.clone() }),
        };
        let (ids, model) = (tokenizer.vocab_size(), self.config(format)?.vocab_size);
        // Other people's matrices have rows to spare, or none for a token that no text has; SLM1's have neither.
        let fits = if tokenizer.is_slm1() { ids == model } else { tokenizer.rows() <= model };
        if fits { Ok(tokenizer) } else { Err(ConvertError::Vocabulary { tokenizer: ids, model }) }
    }

    /// The tokenizer, or another one that fits, as a format of SLM1 tokenizers takes it.
    ///
    /// # Errors
    ///
    /// As [`Self::tokenizer`], and [`ConvertError::Tokenizer`] of one that is no BTOK or BPE1, with the reason.
    pub fn slm1_tokenizer(
        &self,
        other: Option<&Tokenizer>,
        format: &'static str,
    ) -> Result<Tokenizer, ConvertError> {
        let own = self.package.tokenizer.as_ref().ok();
        match self.why_foreign(other, other.or(own)) {
            Some(why) => Err(ConvertError::Tokenizer { format, why }),
            None => self.tokenizer(other, format),
        }
    }

    /// Why what makes ids of text is none of SLM1's tokenizers: a GGUF file and a `tokenizer.json` each have
    /// their own words for it.
    fn why_foreign(&self, other: Option<&Tokenizer>, found: Option<&Tokenizer>) -> Option<String> {
        if found.is_some_and(Tokenizer::is_slm1) {
            return None;
        }
        let says_tables =
            |facts: &&Facts| facts.text("tokenizer.ggml.model").is_some_and(|model| model != "none");
        let (what, why) = match self.package.facts.as_deref().filter(|_| other.is_none()).filter(says_tables)
        {
            Some(facts) => ("the file's vocabulary".to_owned(), gguf::exact::tokenizer(facts).err()?),
            None => {
                let found = found?;
                let why = json::from_json(&found.to_section()).err().map(JsonTokenizerError::why);
                let why = why.unwrap_or_else(|| "other ids end an answer".to_owned());
                (format!("a {}", found.kind()), why)
            }
        };
        Some(format!("{what} cannot be an SLM1 tokenizer: {why}"))
    }
}

/// Whether a family of files has words for the network. A folder's own configuration goes to its children.
fn check_words(package: &Package, config: &ModelConfig, to: Naming) -> Result<(), ConfigError> {
    if to != Naming::HuggingFace {
        check_dynamic(package)?;
    }
    match (to, Architecture::with_rows(to, config)) {
        (Naming::HuggingFace, _) if package.companion(CONFIG).is_some() => Ok(()),
        (Naming::HuggingFace, _) => settings::check(config),
        (_, Some(architecture)) => architecture.check(config),
        _ => config.validate_plain(),
    }
}

/// Refuses frequencies that change with the length of a text, which folders alone have a word for. The runtime
/// takes them as they are up to the context of the configuration, and goes no further; others do.
fn check_dynamic(package: &Package) -> Result<(), ConfigError> {
    let Some(factor) = HfConfig::of(package).and_then(|said| said.dynamic_factor()) else { return Ok(()) };
    let expected =
        "`linear`, `yarn` or `llama3`, or none: remove `rope_scaling` from its config.json for a model of \
                    the context stated there and no more"
            .to_owned();
    Err(ConfigError { field: "rope_scaling", found: format!("`dynamic` by {factor}"), expected })
}

/// What is known of the reason, behind what it is the reason of.
fn in_brackets(why: &Option<String>) -> String {
    why.as_ref().map_or_else(String::new, |why| format!(" ({why})"))
}

/// The network of a model, if it is known.
fn known<'a>(package: &'a Package, format: &'static str) -> Result<&'a ModelConfig, ConvertError> {
    package.config.as_ref().map_err(|why| ConvertError::Config { format, why: why.clone() })
}
