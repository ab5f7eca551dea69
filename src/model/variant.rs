//! What networks of the llama family do differently from one another, beyond their dimensions.
//!
//! SLM1 has no words for any of it, so an `.slm` file's network is always [`Variant::PLAIN`]; models
//! of other formats say it in their configuration.
//!
//! Rotary frequencies are one number for each pair of a head's elements, `theta^(-2i/d)`, and longer
//! contexts are bought by making them smaller. The ways differ:
//!
//! | kind | frequency |
//! |---|---|
//! | `linear` | `f / factor` (Chen et al. 2023, position interpolation) |
//! | `llama3` | slow ones divided, fast ones kept, those between blended |
//! | `yarn` | a ramp from kept to divided; cosines and sines are scaled, too (Peng et al. 2023) |

use serde::{Deserialize, Serialize};

use super::config::ConfigError;
use super::norms::Norms;
use super::windows::Windows;

/// Biases, rotary frequencies, norms and more of a network. What is unsaid in a record is as llama has it, as in every
/// record from before anything else was known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Whether the query, key and value projections have biases.
    pub qkv_bias: bool,
    /// Whether attention's output projection has one.
    pub output_bias: bool,
    /// Whether the three matrices of the feed-forward layers have biases.
    pub ffn_bias: bool,
    /// How rotary frequencies are scaled.
    pub rope: RopeScale,
    /// What is normed.
    #[serde(default, skip_serializing_if = "Norms::are_plain")]
    pub norms: Norms,
    /// What stands between the feed-forward matrices.
    #[serde(default, skip_serializing_if = "Activation::is_silu")]
    pub activation: Activation,
    /// Whether embeddings are multiplied by the root of their width.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scaled_embeddings: bool,
    /// Scores are divided by the root of this, where it is not the width of a head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_width: Option<u32>,
    /// Layers that look back over a window only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<Windows>,
}

/// What stands between the feed-forward matrices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `x / (1 + exp(-x))`
    #[default]
    Silu,
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`
    GeluTanh,
}

impl Activation {
    /// Whether it is that of llama.
    pub fn is_silu(&self) -> bool {
        *self == Self::Silu
    }
}

/// How rotary frequencies are scaled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum RopeScale {
    /// Not at all.
    #[default]
    Plain,
    /// All by one factor.
    Linear {
        /// What every frequency is divided by; positive.
        factor: f64,
    },
    /// By how many turns a pair makes in the context of the training.
    Llama3 {
        /// What slow frequencies are divided by; positive.
        factor: f64,
        /// Pairs of fewer turns are divided; positive.
        low: f64,
        /// Pairs of more turns are kept; above `low`.
        high: f64,
        /// The context of the training; positive.
        original: f64,
    },
    /// A ramp over the pairs.
    Yarn {
        /// What slow frequencies are divided by; positive.
        factor: f64,
        /// Pairs of more turns are kept.
        fast: f64,
        /// Pairs of fewer turns are divided.
        slow: f64,
        /// The context of the training; positive.
        original: f64,
        /// What cosines and sines are multiplied by; positive.
        attention: f64,
        /// Whether the ends of the ramp are whole pairs.
        truncate: bool,
    },
}

impl Variant {
    /// No biases, frequencies as they are, everything as llama has it.
    pub const PLAIN: Self = Self {
        qkv_bias: false,
        output_bias: false,
        ffn_bias: false,
        rope: RopeScale::Plain,
        norms: Norms::PLAIN,
        activation: Activation::Silu,
        scaled_embeddings: false,
        score_width: None,
        windows: None,
    };
    /// gemma3, its windows apart.
    pub const GEMMA3: Self = Self {
        norms: Norms::GEMMA3,
        activation: Activation::GeluTanh,
        scaled_embeddings: true,
        ..Self::PLAIN
    };

    /// Whether SLM1 can say it.
    pub fn is_plain(&self) -> bool {
        *self == Self::PLAIN
    }

    /// What all networks of a family have in common: their norms, what stands between their feed-forward matrices,
    /// and whether their embeddings are scaled.
    pub fn build(&self) -> (Norms, Activation, bool) {
        (self.norms, self.activation, self.scaled_embeddings)
    }

    /// Checks every number, of a network of so many layers.
    pub(super) fn validate(&self, layers: u32) -> Result<(), ConfigError> {
        if self.score_width == Some(0) {
            let (found, expected) = ("0".to_owned(), "at least 1".to_owned());
            return Err(ConfigError { field: "query_pre_attn_scalar", found, expected });
        }
        self.windows.as_ref().map_or(Ok(()), |windows| windows.validate(layers))?;
        let numbers = match self.rope {
            RopeScale::Plain => Vec::new(),
            RopeScale::Linear { factor } => vec![("rope factor", factor)],
            RopeScale::Llama3 { factor, low, high, original } => {
                vec![
                    ("rope factor", factor),
                    ("low_freq_factor", low),
                    ("high_freq_factor - low_freq_factor", high - low),
                    ("original_max_position_embeddings", original),
                ]
            }
            RopeScale::Yarn { factor, fast, slow, original, attention, .. } => vec![
                ("rope factor", factor),
                ("beta_fast", fast),
                ("beta_slow", slow),
                ("original_max_position_embeddings", original),
                ("attention_factor", attention),
            ],
        };
        match numbers.into_iter().find(|(_, number)| !(number.is_finite() && *number > 0.0)) {
            None => Ok(()),
            Some((field, found)) => Err(ConfigError {
                field,
                found: found.to_string(),
                expected: "a positive finite number".to_owned(),
            }),
        }
    }
}

impl Default for Variant {
    fn default() -> Self {
        Self::PLAIN
    }
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let biases = [(self.qkv_bias, "qkv"), (self.output_bias, "output"), (self.ffn_bias, "feed-forward")];
        let biases: Vec<_> = biases.into_iter().filter_map(|(has, name)| has.then_some(name)).collect();
        let biases = if biases.is_empty() { "none".to_owned() } else { biases.join(", ") };
        write!(f, "biases {biases}, frequencies {}", self.rope)?;
        if !self.norms.are_plain() {
            write!(f, ", norms {}", self.norms)?;
        }
        if self.activation == Activation::GeluTanh {
            f.write_str(", GELU (tanh)")?;
        }
        if self.scaled_embeddings {
            f.write_str(", embeddings scaled")?;
        }
        if let Some(width) = self.score_width {
            write!(f, ", scores of width {width}")?;
        }
        self.windows.as_ref().map_or(Ok(()), |windows| write!(f, ", windows {windows}"))
    }
}

impl std::fmt::Display for RopeScale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain => f.write_str("as they are"),
            Self::Linear { factor } => write!(f, "linear / {factor}"),
            Self::Llama3 { factor, low, high, original } => {
                write!(f, "llama3 / {factor} ({low} to {high} turns in {original})")
            }
            Self::Yarn { factor, fast, slow, original, attention, truncate } => {
                let ends = if *truncate { "" } else { ", untruncated" };
                write!(f, "yarn / {factor} ({slow} to {fast} turns in {original}, x {attention}{ends})")
            }
        }
    }
}
