//! What can go wrong between a checkpoint and its text.

use crate::model::config::ConfigError;
use crate::model::tokenizer::TokenizerError;
use crate::tensor::dtype::DType;

/// Why a model cannot run, or not on this input.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RuntimeError {
    /// The configuration contradicts itself.
    #[error("the configuration cannot run: {0}")]
    Config(#[from] ConfigError),
    /// A tensor is missing.
    #[error("tensor `{name}` is missing; {expected} elements were expected")]
    Missing {
        /// Its name.
        name: String,
        /// Its shape.
        expected: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("tensor `{name}` is {found}, but the configuration makes it {expected}")]
    Shape {
        /// Its name.
        name: String,
        /// The shape in the file.
        found: String,
        /// The shape it must have.
        expected: String,
    },
    /// A tensor's bytes do not fit its shape.
    #[error("tensor `{name}` ({dtype}): payload or scales do not have the length its shape asks for")]
    Layout {
        /// Its name.
        name: String,
        /// Its encoding.
        dtype: DType,
    },
    /// A context of zero, or longer than the model's.
    #[error("a context of {context} tokens is not possible; this model has 1 to {max_context}")]
    Context {
        /// The context asked for.
        context: usize,
        /// The model's own.
        max_context: usize,
    },
    /// More tokens than a session has room for.
    #[error(
        "{tokens} more tokens do not fit: {position} of {context} positions are taken; open a session with a larger context"
    )]
    Full {
        /// Tokens offered.
        tokens: usize,
        /// Positions taken.
        position: usize,
        /// Positions in all.
        context: usize,
    },
    /// No tokens where some are needed.
    #[error("no tokens were given; at least one is needed")]
    Empty,
    /// Nothing from which the first token of a text would follow.
    #[error(
        "nothing stands before the first token of a text: the tokenizer puts nothing there, and the model says \
         no `bos_token_id` and no `eos_token_id`"
    )]
    NoBeginning,
    /// An id outside the vocabulary.
    #[error("token {token} is not in a vocabulary of {vocab}")]
    Token {
        /// The id.
        token: u32,
        /// Number of ids.
        vocab: usize,
    },
    /// Sessions and inputs of a batch do not belong together.
    #[error("the batch does not fit together: {0}")]
    Batch(String),
    /// A sampling parameter out of range.
    #[error("{parameter} = {value} is out of range; {expected}")]
    Sampling {
        /// Its name.
        parameter: &'static str,
        /// What was given.
        value: String,
        /// What is possible.
        expected: &'static str,
    },
    /// A logit that is no number.
    #[error("logit of token {token} is {value}; the weights overflow, so nothing can be chosen")]
    NotFinite {
        /// The first id concerned.
        token: u32,
        /// Its logit.
        value: f32,
    },
    /// A prompt that leaves nothing to feed.
    #[error("the prompt is empty; give at least one character")]
    EmptyPrompt,
    /// A prompt that leaves no room for an answer.
    #[error("the prompt has {tokens} tokens; this model takes at most {most}")]
    LongPrompt {
        /// Tokens of the prompt.
        tokens: usize,
        /// The longest prompt possible.
        most: usize,
    },
    /// A text that the tokenizer makes no ids of.
    #[error("{0}")]
    Text(TokenizerError),
    /// A token was chosen that stands for no text.
    #[error("the answer cannot be written: {0}")]
    Tokenizer(#[from] TokenizerError),
}
