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

use std::fmt;

use serde::{Deserialize, Serialize};

use super::config::{ConfigError, ensure, ensure_positive};
use super::norms::Norms;
use super::windows::Windows;

/// What differences in biases are told as.
pub const BIAS: &str = "bias";
/// And in how rotary frequencies are scaled.
pub const ROPE: &str = "rope_scaling";
/// And in what scores are divided by the root of.
pub const SCORES: &str = "query_pre_attn_scalar";
/// And in windows.
pub const WINDOWS: &str = "sliding_window";
/// And in what all networks of a family have in common, biases apart.
pub const FAMILY: [&str; 3] = ["norm", "hidden_activation", "embeddings"];

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

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silu => "silu",
            Self::GeluTanh => "gelu (tanh)",
        })
    }
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
    pub fn family(&self) -> (Norms, Activation, bool) {
        (self.norms, self.activation, self.scaled_embeddings)
    }

    /// What two networks do not have in common: the field, what this one has, what the other has.
    pub fn differences(&self, other: &Self) -> Vec<(&'static str, String, String)> {
        let pairs = self.fields().into_iter().zip(other.fields()).zip(self.are_same(other));
        let found = pairs.filter(|(_, same)| !same);
        found.map(|(((field, ours), (_, theirs)), _)| (field, ours, theirs)).collect()
    }

    /// What people are told of it: biases and frequencies of every network, the rest of those that have it otherwise
    /// than llama.
    pub fn told(&self) -> impl Iterator<Item = (&'static str, String)> {
        let fields = self.fields().into_iter().zip(self.are_same(&Self::PLAIN));
        let told = fields.filter(|((field, _), plain)| [BIAS, ROPE].contains(field) || !plain);
        told.map(|(told, _)| told)
    }

    /// Every field by the word that configurations have for it, and what it says, for people. What makes a family
    /// comes first.
    fn fields(&self) -> [(&'static str, String); 7] {
        let Self { rope, norms, activation, scaled_embeddings, score_width, windows, .. } = self;
        let scaled = if *scaled_embeddings { "times the root of their width" } else { "as they are" };
        let width = score_width.map_or_else(|| "the width of a head".to_owned(), |width| width.to_string());
        let windows = windows.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        let [norm, act, embeddings] = FAMILY;
        [
            (norm, norms.to_string()),
            (act, activation.to_string()),
            (embeddings, scaled.to_owned()),
            (BIAS, self.bias()),
            (ROPE, rope.to_string()),
            (SCORES, width),
            (WINDOWS, windows),
        ]
    }

    /// Whether they are the same in each of these fields: two that print alike need not be.
    fn are_same(&self, other: &Self) -> [bool; 7] {
        let biases = |it: &Self| [it.qkv_bias, it.output_bias, it.ffn_bias];
        [
            self.norms == other.norms,
            self.activation == other.activation,
            self.scaled_embeddings == other.scaled_embeddings,
            biases(self) == biases(other),
            self.rope == other.rope,
            self.score_width == other.score_width,
            self.windows == other.windows,
        ]
    }

    /// The projections that have biases.
    fn bias(&self) -> String {
        let places = [
            (self.qkv_bias, "queries, keys and values"),
            (self.output_bias, "attention's output"),
            (self.ffn_bias, "the feed-forward layers"),
        ];
        let places: Vec<_> = places.into_iter().filter_map(|(has, place)| has.then_some(place)).collect();
        if places.is_empty() { "none".to_owned() } else { format!("on {}", places.join(", ")) }
    }

    /// Checks every number, of a network of so many layers.
    pub(super) fn validate(&self, layers: u32) -> Result<(), ConfigError> {
        ensure(self.score_width != Some(0), SCORES, &0_u32, &"at least 1")?;
        self.windows.as_ref().map_or(Ok(()), |windows| windows.validate(layers))?;
        let positive = |field, number: f64| ensure_positive(field, number, &number);
        match self.rope {
            RopeScale::Plain => Ok(()),
            RopeScale::Linear { factor } => positive("rope factor", factor),
            RopeScale::Llama3 { factor, low, high, original } => {
                positive("rope factor", factor)?;
                positive("low_freq_factor", low)?;
                positive("high_freq_factor - low_freq_factor", high - low)?;
                positive("original_max_position_embeddings", original)
            }
            RopeScale::Yarn { factor, fast, slow, original, attention, .. } => {
                positive("rope factor", factor)?;
                positive("beta_fast", fast)?;
                positive("beta_slow", slow)?;
                positive("original_max_position_embeddings", original)?;
                positive("attention_factor", attention)
            }
        }
    }
}

impl Default for Variant {
    fn default() -> Self {
        Self::PLAIN
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<String> = self.told().map(|(field, own)| format!("{field} {own}")).collect();
        f.write_str(&told.join("; "))
    }
}

impl fmt::Display for RopeScale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("none"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_that_differs_is_told_by_itself() {
        let biased = Variant { qkv_bias: true, ..Variant::PLAIN };
        let scaled = Variant { rope: RopeScale::Linear { factor: 2.0 }, ffn_bias: true, ..Variant::PLAIN };
        let told = |ours: &Variant, theirs: &Variant| -> Vec<String> {
            let found = ours.differences(theirs).into_iter();
            found.map(|(field, ours, theirs)| format!("{field}: {ours} / {theirs}")).collect()
        };
        assert_eq!(told(&biased, &biased), [""; 0]);
        assert_eq!(told(&biased, &Variant::PLAIN), ["bias: on queries, keys and values / none"]);
        assert_eq!(
            told(&biased, &scaled),
            [
                "bias: on queries, keys and values / on the feed-forward layers",
                "rope_scaling: none / linear / 2"
            ]
        );
        let normed = Variant { norms: Norms::OLMO2, ..Variant::PLAIN };
        assert_eq!(told(&normed, &Variant::PLAIN).len(), 1);
        // Two scales that print alike are two all the same.
        let twice = Variant { rope: RopeScale::Linear { factor: f64::NAN }, ..Variant::PLAIN };
        assert_eq!(twice.differences(&twice).len(), 1);
    }
}
