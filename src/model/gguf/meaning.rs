//! What a file of a known architecture means: a configuration, and the tokenizer that it carries.
//!
//! | fact, after the architecture's name | configuration |
//! |---|---|
//! | `block_count` | layers |
//! | `embedding_length`, `feed_forward_length` | widths |
//! | `attention.head_count`, `attention.head_count_kv` | heads |
//! | `attention.key_length`, `attention.value_length`, `rope.dimension_count` | width of a head, where it is not the usual one |
//! | `context_length` | longest sequence |
//! | `rope.freq_base`, `attention.layer_norm_rms_epsilon` | constants |
//! | `attention.sliding_window`, `attention.sliding_window_pattern`, `rope.freq_base_swa` | windows of gemma3 |
//! | `rope.scaling.type`, `rope.scaling.factor`, `rope.scaling.original_context_length` | scaled frequencies |
//!
//! Biases are there if their tensors are, norms where the architecture has them. Older files state a factor, or `rope.scale_linear`, without a type,
//! and mean `linear`.
//!
//! The tokenizers of SLM1 have no name in GGUF. A file made from an `.slm` carries the tokenizer's
//! section as bytes in a fact of our own, so that it comes back as it was; other programs see a model
//! without a vocabulary (`tokenizer.ggml.model` is `none`). Another program's vocabulary is read as one of
//! SLM1's where that makes the same ids of every text, as a Hugging Face folder's is, else as what it is.

use super::architecture::{Architecture, PERIOD, usual_yarn};
use super::facts::{Fact, Facts};
use super::rope_freqs;
use super::write::general;
use crate::model::config::ModelConfig;
use crate::model::tokenizer::Tokenizer;
use crate::model::variant::{RopeScale, Variant};
use crate::model::windows::Windows;

/// Our fact: an SLM1 tokenizer section.
pub const TOKENIZER: &str = "studbook.tokenizer.slm1";

/// Our fact: how many ids are not text, as an SLM1 header says it.
pub const SPECIALS: &str = "studbook.special_token_count";

/// Why a file has no meaning here.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MeaningError {
    /// Another architecture.
    #[error("the architecture is `{0}`; {known} are known here", known = known())]
    Architecture(String),
    /// A fact that is missing or of the wrong kind.
    #[error("the fact `{0}` is missing or is no number that fits")]
    Missing(String),
    /// Something the network does that is not computed here.
    #[error("the model has `{0}`, which is not computed here")]
    Unsupported(String),
    /// A tokenizer section that is none.
    #[error("the fact `studbook.tokenizer.slm1`: {0}")]
    Tokenizer(String),
    /// A vocabulary that cannot be used.
    #[error("the file's vocabulary cannot be used: {0}")]
    Vocabulary(String),
}

/// The architectures with a meaning, for people.
fn known() -> String {
    let names = Architecture::ALL.map(|architecture| format!("`{}`", architecture.name()));
    let [first @ .., last] = &names;
    format!("{} and {last}", first.join(", "))
}

/// The architecture that the facts are of.
///
/// # Errors
///
/// [`MeaningError::Architecture`] of another one than [`Architecture::ALL`], or of none.
pub fn architecture(facts: &Facts) -> Result<Architecture, MeaningError> {
    let name = facts.text("general.architecture").unwrap_or("nothing");
    Architecture::from_name(name).ok_or_else(|| MeaningError::Architecture(name.to_owned()))
}

/// The configuration that the facts describe; `stored` says whether the file has a tensor.
///
/// # Errors
///
/// As [`architecture`]; [`MeaningError::Missing`] of a fact that is not there or no number that fits;
/// [`MeaningError::Unsupported`] of one that says what is not computed here: experts, capped logits, windows of
/// an olmo2.
pub fn config(facts: &Facts, stored: impl Fn(&str) -> bool) -> Result<ModelConfig, MeaningError> {
    let architecture = architecture(facts)?;
    let own = Own { facts, architecture: architecture.name() };
    if !matches!(own.get("expert_count"), None | Some(Fact::Unsigned(0))) {
        return Err(own.unsupported("expert_count"));
    }
    // The fact by which olmo3 differs, whose files name the same architecture.
    let window = "attention.sliding_window";
    if architecture == Architecture::Olmo2 && own.get(window).is_some() {
        return Err(own.unsupported(window));
    }
    if architecture == Architecture::Gemma3 {
        let capped = ["attn_logit_softcapping", "final_logit_softcapping", "attention.scale"];
        if let Some(name) = capped.into_iter().find(|name| own.get(name).is_some()) {
            return Err(own.unsupported(name));
        }
    }
    let (hidden_size, head_count) = (own.size("embedding_length")?, own.size("attention.head_count")?);
    let kv_head_count = own.stated_size("attention.head_count_kv")?.unwrap_or(head_count);
    let vocab_size = match own.stated_size("vocab_size")? {
        Some(stated) => stated,
        None => vocabulary(facts).ok_or_else(|| own.missing("vocab_size"))?,
    };
    let max_context = own.size("context_length")?;
    let layer_count = own.size("block_count")?;
    let head_dim = own.head_dim(hidden_size / head_count)?;
    let windows = match architecture {
        Architecture::Gemma3 => own.windows(layer_count)?,
        _ => None,
    };
    let scores = architecture.score_width(layer_count, hidden_size, head_count);
    let epsilon = "attention.layer_norm_rms_epsilon";
    Ok(ModelConfig {
        vocab_size,
        special_token_count: u32::try_from(facts.unsigned(SPECIALS).unwrap_or(4)).unwrap_or(4),
        hidden_size,
        layer_count,
        head_count,
        kv_head_count,
        head_dim,
        ffn_size: own.size("feed_forward_length")?,
        max_context,
        rope_theta: own.theta(architecture)?,
        rms_norm_epsilon: own.number(epsilon)?.ok_or_else(|| own.missing(epsilon))?,
        tied_output: !stored("output.weight"),
        variant: Variant {
            qkv_bias: stored("blk.0.attn_q.bias"),
            output_bias: stored("blk.0.attn_output.bias"),
            ffn_bias: stored("blk.0.ffn_gate.bias"),
            rope: own.rope(max_context)?,
            score_width: scores.filter(|width| *width != head_dim),
            windows,
            ..architecture.variant()
        },
    })
}

/// More layers than any network has: those that see everything are listed.
const MOST_LAYERS: u32 = 1 << 16;

/// Facts about scaled frequencies that change nothing as long as they are these.
const USUAL: [(&str, f32); 5] = [
    ("rope.scaling.attn_factor", 1.0),
    ("rope.scaling.yarn_attn_factor", 1.0),
    ("rope.scaling.yarn_ext_factor", 1.0),
    ("rope.scaling.yarn_beta_fast", 32.0),
    ("rope.scaling.yarn_beta_slow", 1.0),
];

/// The facts whose names begin with the architecture's.
struct Own<'f> {
    facts: &'f Facts,
    architecture: &'static str,
}

impl<'f> Own<'f> {
    fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn get(&self, name: &str) -> Option<&'f Fact> {
        self.facts.get(&self.name(name))
    }

    /// A number, if it is stated; what is stated and is none is never passed over.
    fn number(&self, name: &str) -> Result<Option<f32>, MeaningError> {
        let known = || self.facts.number(&self.name(name)).ok_or_else(|| self.missing(name));
        self.get(name).map(|_| known()).transpose()
    }

    fn missing(&self, name: &str) -> MeaningError {
        MeaningError::Missing(self.name(name))
    }

    fn unsupported(&self, name: &str) -> MeaningError {
        MeaningError::Unsupported(self.name(name))
    }

    /// A size that must be there.
    fn size(&self, name: &str) -> Result<u32, MeaningError> {
        let found = self.facts.unsigned(&self.name(name)).and_then(|number| u32::try_from(number).ok());
        found.filter(|number| *number > 0).ok_or_else(|| self.missing(name))
    }

    /// A size that is right if it is there.
    fn stated_size(&self, name: &str) -> Result<Option<u32>, MeaningError> {
        self.get(name).map(|_| self.size(name)).transpose()
    }

    /// The width of a head: keys, values and the turned part of both must agree on it.
    fn head_dim(&self, usual: u32) -> Result<u32, MeaningError> {
        let key = self.stated_size("attention.key_length")?.unwrap_or(usual);
        for name in ["attention.value_length", "rope.dimension_count"] {
            if self.stated_size(name)?.is_some_and(|stated| stated != key) {
                return Err(self.unsupported(name));
            }
        }
        Ok(key)
    }

    /// Base of the rotary frequencies. Some files of gemma3 call it otherwise, and one that does not say it at all
    /// cannot mean the usual one.
    fn theta(&self, architecture: Architecture) -> Result<f32, MeaningError> {
        const THETA: &str = "rope.freq_base";
        match (self.number(THETA)?, architecture) {
            (Some(theta), _) => Ok(theta),
            (None, Architecture::Gemma3) => {
                self.number("rope.global.freq_base")?.ok_or_else(|| self.missing(THETA))
            }
            (None, _) => Ok(10_000.0),
        }
    }

    /// Which layers look back over a window: all but every sixth one, unless the file says otherwise.
    fn windows(&self, layers: u32) -> Result<Option<Windows>, MeaningError> {
        const PATTERN: &str = "attention.sliding_window_pattern";
        let Some(size) = self.stated_size("attention.sliding_window")? else { return Ok(None) };
        if layers > MOST_LAYERS {
            return Err(self.missing("block_count"));
        }
        let full = match self.get(PATTERN) {
            None => Windows::every(PERIOD, layers),
            Some(Fact::List(ways)) if ways.len() == layers as usize => {
                let sees_everything = |(layer, way): (u32, &Fact)| match way {
                    Fact::Bool(windowed) => Ok((!windowed).then_some(layer)),
                    _ => Err(self.unsupported(PATTERN)),
                };
                let full: Vec<_> = (0..layers).zip(ways).map(sees_everything).collect::<Result<_, _>>()?;
                full.into_iter().flatten().collect()
            }
            Some(Fact::List(_)) => return Err(self.unsupported(PATTERN)),
            Some(_) => Windows::every(self.size(PATTERN)?, layers),
        };
        let rope_theta = self.number("rope.freq_base_swa")?.or(self.number("rope.local.freq_base")?);
        let rope_theta = rope_theta.unwrap_or(10_000.0);
        Ok(Some(Windows { size, rope_theta, full }).filter(|windows| windows.full.len() < layers as usize))
    }

    fn rope(&self, max_context: u32) -> Result<RopeScale, MeaningError> {
        const KIND: &str = "rope.scaling.type";
        const FACTOR: &str = "rope.scaling.factor";
        for (name, usual) in USUAL {
            if self.number(name)?.is_some_and(|stated| stated != usual) {
                return Err(self.unsupported(name));
            }
        }
        // The decimal that was meant, not the f64 next to the f32.
        let decimal = |factor: f32| factor.to_string().parse::<f64>().unwrap_or(f64::from(factor));
        let factor = self.number(FACTOR)?.or(self.number("rope.scale_linear")?).map(decimal);
        let needed = || factor.ok_or_else(|| self.missing(FACTOR));
        // A factor of nothing is how some files say that there is none.
        let plain = |factor: &f64| [0.0, 1.0].contains(factor);
        match self.facts.text(&self.name(KIND)) {
            None if self.get(KIND).is_some() => Err(self.unsupported(KIND)),
            Some("none") => Ok(RopeScale::Plain),
            None if factor.is_none() => Ok(RopeScale::Plain),
            None | Some("linear") if factor.as_ref().is_some_and(plain) => Ok(RopeScale::Plain),
            None | Some("linear") => Ok(RopeScale::Linear { factor: needed()? }),
            Some("yarn") if self.architecture != Architecture::Gemma3.name() => {
                let original = self.stated_size("rope.scaling.original_context_length")?;
                Ok(usual_yarn(needed()?, f64::from(original.unwrap_or(max_context))))
            }
            Some(_) => Err(self.unsupported(KIND)),
        }
    }
}

fn vocabulary(facts: &Facts) -> Option<u32> {
    match facts.get("tokenizer.ggml.tokens")? {
        Fact::List(tokens) => u32::try_from(tokens.len()).ok(),
        _ => None,
    }
}

/// The SLM1 tokenizer that a file of ours carries; in any other, that of its own vocabulary: one of SLM1's
/// if it can be.
///
/// # Errors
///
/// [`MeaningError::Tokenizer`] of a section that is none; [`MeaningError::Vocabulary`] of tables that are not
/// read here, or make no tokenizer.
pub fn tokenizer(facts: &Facts) -> Result<Option<Tokenizer>, MeaningError> {
    match facts.get(TOKENIZER) {
        #[cfg(feature = "engine")]
        None => match super::exact::tokenizer(facts) {
            Ok(tokenizer) => Ok(Some(tokenizer)),
            Err(_) => super::vocabulary::tokenizer(facts),
        },
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
    let mut carried = general(facts.text("general.architecture").unwrap_or_default());
    let own =
        ["general.architecture", "general.alignment", "general.file_type", "general.quantization_version"];
    for (name, fact) in facts.iter().filter(|(name, _)| !own.contains(name)) {
        carried.push(name, fact.clone());
    }
    carried
}

/// The facts of a model.
pub fn facts(architecture: Architecture, config: &ModelConfig, tokenizer: Option<&Tokenizer>) -> Facts {
    let mut facts = general(architecture.name());
    let own = |name: &str| format!("{}.{name}", architecture.name());
    let mut number = |name: &str, value: u32| facts.push(own(name), Fact::Unsigned(u64::from(value)));
    number("vocab_size", config.vocab_size);
    number("block_count", config.layer_count);
    number("context_length", config.max_context);
    number("embedding_length", config.hidden_size);
    number("feed_forward_length", config.ffn_size);
    number("attention.head_count", config.head_count);
    number("attention.head_count_kv", config.kv_head_count);
    if config.query_size() != u64::from(config.hidden_size) {
        number("attention.key_length", config.head_dim);
        number("attention.value_length", config.head_dim);
    }
    number("rope.dimension_count", config.head_dim);
    facts.push(own("rope.freq_base"), Fact::F32(config.rope_theta));
    facts.push(own("attention.layer_norm_rms_epsilon"), Fact::F32(config.rms_norm_epsilon));
    // That every sixth layer sees everything need not be said, and older programs do not listen.
    if let Some(windows) = &config.variant.windows {
        facts.push(own("attention.sliding_window"), Fact::Unsigned(u64::from(windows.size)));
        facts.push(own("rope.freq_base_swa"), Fact::F32(windows.rope_theta));
    }
    scaling(&config.variant.rope, &own, &mut facts);
    if let Some(tokenizer) = tokenizer {
        facts.push("tokenizer.ggml.model", Fact::Text("none".to_owned()));
        facts.push(SPECIALS, Fact::Unsigned(u64::from(config.special_token_count)));
        facts.push(TOKENIZER, Fact::Bytes(tokenizer.to_section()));
    }
    facts
}

/// How frequencies are scaled; what no architecture can say was refused before
/// ([`Architecture::check`]).
fn scaling(rope: &RopeScale, own: &dyn Fn(&str) -> String, facts: &mut Facts) {
    let mut kind = |kind: &str, factor: f64| {
        facts.push(own("rope.scaling.type"), Fact::Text(kind.to_owned()));
        facts.push(own("rope.scaling.factor"), Fact::F32(factor as f32));
    };
    match *rope {
        RopeScale::Plain => {}
        RopeScale::Linear { factor } => kind("linear", factor),
        RopeScale::Yarn { factor, original, .. } => {
            kind("yarn", factor);
            facts.push(own("rope.scaling.original_context_length"), Fact::Unsigned(original as u64));
        }
        RopeScale::Llama3 { .. } => facts.push(rope_freqs::WAY, rope_freqs::stated(rope)),
    }
}
