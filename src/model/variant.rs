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

/// Biases, rotary frequencies and norms of a network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
    /// What is normed. Unsaid where that is what llama norms, as in every record from before others were known.
    #[serde(default, skip_serializing_if = "Norms::are_plain")]
    pub norms: Norms,
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
    /// No biases, frequencies as they are, norms as llama has them.
    pub const PLAIN: Self = Self {
        qkv_bias: false,
        output_bias: false,
        ffn_bias: false,
        rope: RopeScale::Plain,
        norms: Norms::PLAIN,
    };

    /// Whether SLM1 can say it.
    pub fn is_plain(&self) -> bool {
        *self == Self::PLAIN
    }

    /// What two networks do not have in common: the field, what this one has, what the other has.
    pub fn differences(&self, other: &Self) -> Vec<(&'static str, String, String)> {
        let fields = |it: &Self| {
            [("bias", it.bias()), ("rope_scaling", it.rope.to_string()), ("norm", it.norms.to_string())]
        };
        let pairs = fields(self).into_iter().zip(fields(other));
        let found = pairs.filter(|((_, ours), (_, theirs))| ours != theirs);
        let mut found: Vec<_> = found.map(|((field, ours), (_, theirs))| (field, ours, theirs)).collect();
        // What is told apart here and not above is told all the same.
        if found.is_empty() && self != other {
            found.push(("variant", format!("{self:?}"), format!("{other:?}")));
        }
        found
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

    /// Checks every number.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
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
        write!(f, "bias {}; rope_scaling {}", self.bias(), self.rope)?;
        if self.norms.are_plain() { Ok(()) } else { write!(f, "; norm {}", self.norms) }
    }
}

impl std::fmt::Display for RopeScale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
