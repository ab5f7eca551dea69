//! What a file of the `llama` architecture means: a configuration, and the tokenizer that it carries.
//!
//! | fact | configuration |
//! |---|---|
//! | `llama.block_count` | layers |
//! | `llama.embedding_length`, `llama.feed_forward_length` | widths |
//! | `llama.attention.head_count`, `llama.attention.head_count_kv` | heads |
//! | `llama.context_length` | longest sequence |
//! | `llama.rope.freq_base`, `llama.attention.layer_norm_rms_epsilon` | constants |
//!
//! The tokenizers of SLM1 have no name in GGUF. A file made from an `.slm` carries the tokenizer's
//! section as bytes in a fact of our own, so that it comes back as it was; other programs see a model
//! without a vocabulary (`tokenizer.ggml.model` is `none`).

use super::facts::{Fact, Facts};
use super::write::general;
use crate::model::config::ModelConfig;
use crate::model::tokenizer::Tokenizer;
use crate::model::variant::{RopeScale, Variant};

/// The architecture that has a meaning here.
pub const ARCHITECTURE: &str = "llama";

/// Our fact: an SLM1 tokenizer section.
pub const TOKENIZER: &str = "studbook.tokenizer.slm1";

/// Our fact: how many ids are not text, as an SLM1 header says it.
pub const SPECIALS: &str = "studbook.special_token_count";

/// Why a file has no meaning here.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MeaningError {
    /// Another architecture.
    #[error("the architecture is `{0}`; `llama` is known here")]
    Architecture(String),
    /// A fact that is missing or of the wrong kind.
    #[error("the fact `{0}` is missing or is no number that fits")]
    Missing(&'static str),
    /// Something the network does that is not computed here.
    #[error("the model has `{0}`, which is not computed here")]
    Unsupported(&'static str),
    /// A tokenizer section that is none.
    #[error("the fact `studbook.tokenizer.slm1`: {0}")]
    Tokenizer(String),
    /// A vocabulary that cannot be used.
    #[error("the file's vocabulary cannot be used: {0}")]
    Vocabulary(String),
}

/// The configuration that the facts describe. `tied` says whether there is no output matrix.
pub fn config(facts: &Facts, tied: bool) -> Result<ModelConfig, MeaningError> {
    let architecture = facts.text("general.architecture").unwrap_or("nothing");
    if architecture != ARCHITECTURE {
        return Err(MeaningError::Architecture(architecture.to_owned()));
    }
    if !matches!(facts.get("llama.expert_count"), None | Some(Fact::Unsigned(0))) {
        return Err(MeaningError::Unsupported("llama.expert_count"));
    }
    let number = |name: &'static str| {
        let found = facts.unsigned(name).and_then(|number| u32::try_from(number).ok());
        found.filter(|number| *number > 0).ok_or(MeaningError::Missing(name))
    };
    let hidden_size = number("llama.embedding_length")?;
    let head_count = number("llama.attention.head_count")?;
    let kv_head_count = match facts.get("llama.attention.head_count_kv") {
        Some(_) => number("llama.attention.head_count_kv")?,
        None => head_count,
    };
    let vocab_size = match facts.get("llama.vocab_size") {
        Some(_) => number("llama.vocab_size")?,
        None => vocabulary(facts).ok_or(MeaningError::Missing("llama.vocab_size"))?,
    };
    let head_dim = head_dim(facts, hidden_size / head_count)?;
    let epsilon = "llama.attention.layer_norm_rms_epsilon";
    Ok(ModelConfig {
        vocab_size,
        special_token_count: u32::try_from(facts.unsigned(SPECIALS).unwrap_or(4)).unwrap_or(4),
        hidden_size,
        layer_count: number("llama.block_count")?,
        head_count,
        kv_head_count,
        head_dim,
        ffn_size: number("llama.feed_forward_length")?,
        max_context: number("llama.context_length")?,
        rope_theta: facts.number("llama.rope.freq_base").unwrap_or(10_000.0),
        rms_norm_epsilon: facts.number(epsilon).ok_or(MeaningError::Missing(epsilon))?,
        tied_output: tied,
        variant: Variant { rope: rope(facts)?, ..Variant::PLAIN },
    })
}

/// The width of a head: keys, values and the turned part of both must agree on it.
fn head_dim(facts: &Facts, usual: u32) -> Result<u32, MeaningError> {
    let names = ["llama.attention.key_length", "llama.attention.value_length", "llama.rope.dimension_count"];
    let stated = |name| facts.unsigned(name).unwrap_or(u64::from(usual));
    let key = u32::try_from(stated(names[0])).map_err(|_| MeaningError::Missing(names[0]))?;
    match names.into_iter().find(|name| facts.get(name).is_some() && stated(name) != u64::from(key)) {
        None => Ok(key),
        Some(name) => Err(MeaningError::Unsupported(name)),
    }
}

fn rope(facts: &Facts) -> Result<RopeScale, MeaningError> {
    const KIND: &str = "llama.rope.scaling.type";
    const FACTOR: &str = "llama.rope.scaling.factor";
    match facts.text(KIND) {
        None if facts.get(KIND).is_none() => Ok(RopeScale::Plain),
        Some("none") => Ok(RopeScale::Plain),
        Some("linear") => {
            let factor = facts.number(FACTOR).ok_or(MeaningError::Missing(FACTOR))?;
            Ok(RopeScale::Linear { factor: f64::from(factor) })
        }
        _ => Err(MeaningError::Unsupported(KIND)),
    }
}

fn vocabulary(facts: &Facts) -> Option<u32> {
    match facts.get("tokenizer.ggml.tokens")? {
        Fact::List(tokens) => u32::try_from(tokens.len()).ok(),
        _ => None,
    }
}

/// The SLM1 tokenizer that a file of ours carries; in any other, that of its own vocabulary.
pub fn tokenizer(facts: &Facts) -> Result<Option<Tokenizer>, MeaningError> {
    match facts.get(TOKENIZER) {
        #[cfg(feature = "engine")]
        None => super::vocabulary::tokenizer(facts),
        #[cfg(not(feature = "engine"))]
        None => Ok(None),
        Some(Fact::Bytes(section)) => Tokenizer::from_section(section)
            .map(Some)
            .map_err(|error| MeaningError::Tokenizer(error.to_string())),
        Some(_) => Err(MeaningError::Tokenizer("is not a list of bytes".to_owned())),
    }
}

/// The facts of another file as a new file has them: all, but for where its tensors lie and how they are
/// stored.
pub fn carried(facts: &Facts) -> Facts {
    let mut carried = general(ARCHITECTURE);
    let own =
        ["general.architecture", "general.alignment", "general.file_type", "general.quantization_version"];
    for (name, fact) in facts.iter().filter(|(name, _)| !own.contains(name)) {
        carried.push(name, fact.clone());
    }
    carried
}

/// The facts of a model.
pub fn facts(config: &ModelConfig, tokenizer: Option<&Tokenizer>) -> Facts {
    let mut facts = general(ARCHITECTURE);
    let mut number = |name: &str, value: u32| facts.push(name, Fact::Unsigned(u64::from(value)));
    number("llama.vocab_size", config.vocab_size);
    number("llama.block_count", config.layer_count);
    number("llama.context_length", config.max_context);
    number("llama.embedding_length", config.hidden_size);
    number("llama.feed_forward_length", config.ffn_size);
    number("llama.attention.head_count", config.head_count);
    number("llama.attention.head_count_kv", config.kv_head_count);
    number("llama.rope.dimension_count", config.head_dim);
    facts.push("llama.rope.freq_base", Fact::F32(config.rope_theta));
    facts.push("llama.attention.layer_norm_rms_epsilon", Fact::F32(config.rms_norm_epsilon));
    if let Some(tokenizer) = tokenizer {
        facts.push("tokenizer.ggml.model", Fact::Text("none".to_owned()));
        facts.push(SPECIALS, Fact::Unsigned(u64::from(config.special_token_count)));
        facts.push(TOKENIZER, Fact::Bytes(tokenizer.to_section()));
    }
    facts
}
