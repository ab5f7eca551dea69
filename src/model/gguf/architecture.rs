//! The architectures that have a meaning here, and what each can say of a network.
//!
//! | `general.architecture` | rotary pairs | biases | `rope_freqs.weight` |
//! |---|---|---|---|
//! | `llama` (Llama, Mistral, SmolLM and their like) | side by side | those whose tensors are there | read |
//! | `qwen2` | half a head apart | the same; queries, keys and values have them | unknown to it |
//! | `qwen3` | half a head apart | read if they are there, unknown to other programs | unknown to it |
//!
//! There is no architecture `mistral`: llama.cpp's converter writes those models as `llama`, and so does
//! this one. A network with norms of query and key heads is written as `qwen3`, which has them always and
//! alone; one with biases on queries, keys and values alone as `qwen2`, every other one as `llama`.
//!
//! Scaled frequencies of the kinds `linear` and `yarn` are facts of each architecture; those of `llama3`
//! are a tensor that only `llama` has ([`super::rope_freqs`]).

use crate::model::config::{ConfigError, ModelConfig};
use crate::model::naming::Naming;
use crate::model::variant::{RopeScale, Variant};

/// Whose facts a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// `llama`
    Llama,
    /// `qwen2`
    Qwen2,
    /// `qwen3`
    Qwen3,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Llama, Self::Qwen2, Self::Qwen3];

    /// What `general.architecture` says, and what its facts begin with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    /// The architecture of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.name() == name)
    }

    /// What its tensors are called, and how their rows lie.
    pub fn naming(self) -> Naming {
        match self {
            Self::Llama => Naming::Gguf,
            Self::Qwen2 | Self::Qwen3 => Naming::GgufHalves,
        }
    }

    /// Whether each head of its queries and keys is normed.
    pub fn has_head_norms(self) -> bool {
        match self {
            Self::Llama | Self::Qwen2 => false,
            Self::Qwen3 => true,
        }
    }

    /// The architecture of a network whose rows lie as they do in this family of files; none if it is not of
    /// GGUF. Whether its files can say the rest is asked of [`Self::check`].
    pub fn with_rows(naming: Naming, config: &ModelConfig) -> Option<Self> {
        match naming {
            Naming::Gguf => Some(Self::Llama),
            Naming::GgufHalves if config.variant.head_norms => Some(Self::Qwen3),
            Naming::GgufHalves => Some(Self::Qwen2),
            Naming::Slm1 | Naming::HuggingFace => None,
        }
    }

    /// The architecture that a network is written as.
    pub fn of(config: &ModelConfig) -> Self {
        let Variant { qkv_bias, output_bias, ffn_bias, rope, head_norms } = config.variant;
        match (qkv_bias, output_bias, ffn_bias, rope) {
            _ if head_norms => Self::Qwen3,
            (_, _, _, RopeScale::Llama3 { .. }) => Self::Llama,
            (true, false, false, _) => Self::Qwen2,
            _ => Self::Llama,
        }
    }

    /// Whether its files can say what the network is.
    pub fn check(self, config: &ModelConfig) -> Result<(), ConfigError> {
        config.validate()?;
        self.check_tensors(&config.variant)?;
        let expected = match config.variant.rope {
            RopeScale::Plain | RopeScale::Linear { .. } => return Ok(()),
            RopeScale::Llama3 { .. } if self == Self::Llama => return Ok(()),
            RopeScale::Llama3 { .. } => {
                format!("a way of scaling that is no tensor: `{}` has no rope_freqs.weight", self.name())
            }
            rope if is_usual_yarn(&rope) => return Ok(()),
            _ => "yarn with the numbers that follow from its factor and a context of the training in whole tokens"
                .to_owned(),
        };
        let found = config.variant.rope.to_string();
        Err(ConfigError { field: "frequencies", found, expected })
    }

    /// Whether it has a place for every tensor that not every network has.
    fn check_tensors(self, variant: &Variant) -> Result<(), ConfigError> {
        let name = self.name();
        let biased = variant.qkv_bias || variant.output_bias || variant.ffn_bias;
        let expected = match (variant.head_norms, self.has_head_norms()) {
            (true, false) => format!("no norms of query and key heads, for which `{name}` has no tensors"),
            (false, true) => format!("norms of query and key heads, which every `{name}` has"),
            (true, true) if biased => {
                format!("no biases, which programs that run a `{name}` do not look for")
            }
            _ => return Ok(()),
        };
        Err(ConfigError { field: "variant", found: variant.to_string(), expected })
    }
}

/// The way `yarn` with what a file does not say: 32 and 1 turns, whole pairs, and the usual attention.
pub(super) fn usual_yarn(factor: f64, original: f64) -> RopeScale {
    let attention = 0.1 * libm::log(factor) + 1.0;
    RopeScale::Yarn { factor, fast: 32.0, slow: 1.0, original, attention, truncate: true }
}

fn is_usual_yarn(rope: &RopeScale) -> bool {
    let RopeScale::Yarn { factor, original, .. } = *rope else { return false };
    *rope == usual_yarn(factor, original) && original.fract() == 0.0 && original <= f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::tests::tiny;

    fn network(qkv_bias: bool, output_bias: bool, rope: RopeScale) -> ModelConfig {
        let variant = Variant { qkv_bias, output_bias, rope, ..Variant::PLAIN };
        ModelConfig { variant, ..tiny() }
    }

    #[test]
    fn a_network_has_the_architecture_that_can_say_it() {
        let llama3 = RopeScale::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        let of = |qkv, output, rope| Architecture::of(&network(qkv, output, rope)).name();
        assert_eq!(of(false, false, RopeScale::Plain), "llama");
        assert_eq!(of(true, false, RopeScale::Linear { factor: 2.0 }), "qwen2");
        assert_eq!(of(true, true, RopeScale::Plain), "llama");
        assert_eq!(of(true, false, llama3), "llama");
        let config = network(true, false, llama3);
        assert_eq!(Architecture::Llama.check(&config), Ok(()));
        let error = Architecture::Qwen2.check(&config).unwrap_err().to_string();
        assert!(error.contains("llama3 / 8") && error.contains("`qwen2` has no rope_freqs"), "{error}");
    }

    #[test]
    fn norms_of_heads_are_those_of_qwen3_and_of_nothing_else() {
        let normed = |qkv_bias, rope| {
            let variant =
                Variant { qkv_bias, output_bias: qkv_bias, rope, head_norms: true, ..Variant::PLAIN };
            ModelConfig { variant, ..tiny() }
        };
        let llama3 = RopeScale::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        let refused = |architecture: Architecture, config: &ModelConfig| {
            architecture.check(config).unwrap_err().to_string()
        };
        let plain = normed(false, RopeScale::Plain);
        let (biased, scaled) = (normed(true, RopeScale::Plain), normed(false, llama3));
        for config in [&plain, &biased, &scaled] {
            assert_eq!(Architecture::of(config), Architecture::Qwen3);
            for other in [Architecture::Llama, Architecture::Qwen2] {
                let error = refused(other, config);
                assert!(error.contains("norms of query and key heads; expected no norms"), "{error}");
            }
        }
        assert_eq!(Architecture::Qwen3.check(&plain), Ok(()));
        let error = refused(Architecture::Qwen3, &biased);
        assert!(error.contains("biases qkv, output") && error.contains("expected no biases"), "{error}");
        let error = refused(Architecture::Qwen3, &scaled);
        assert!(error.contains("`qwen3` has no rope_freqs"), "{error}");
        let error = refused(Architecture::Qwen3, &tiny());
        assert!(error.contains("which every `qwen3` has"), "{error}");
        let rows = |naming, config: &ModelConfig| Architecture::with_rows(naming, config);
        assert_eq!(rows(Naming::GgufHalves, &plain), Some(Architecture::Qwen3));
        assert_eq!(rows(Naming::GgufHalves, &tiny()), Some(Architecture::Qwen2));
        assert_eq!(rows(Naming::Gguf, &plain), Some(Architecture::Llama));
        assert_eq!(rows(Naming::HuggingFace, &plain), None);
    }

    #[test]
    fn yarn_is_said_with_its_usual_numbers_only() {
        let check = |rope| Architecture::Qwen2.check(&network(true, false, rope)).is_ok();
        assert!(check(usual_yarn(4.0, 1024.0)));
        assert!(!check(usual_yarn(4.0, 1024.5)));
        let RopeScale::Yarn { factor, fast, slow, original, truncate, .. } = usual_yarn(4.0, 1024.0) else {
            panic!()
        };
        assert!(!check(RopeScale::Yarn { factor, fast, slow, original, attention: 1.0, truncate }));
    }
}
