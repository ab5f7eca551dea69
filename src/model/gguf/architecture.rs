//! The architectures that have a meaning here, and what each can say of a network.
//!
//! | `general.architecture` | rotary pairs | biases | `rope_freqs.weight` |
//! |---|---|---|---|
//! | `llama` (Llama, Mistral, SmolLM and their like) | side by side | those whose tensors are there | read |
//! | `qwen2` | half a head apart | the same; queries, keys and values have them | unknown to it |
//! | `qwen3`, `olmo2`, `gemma3` | half a head apart | read if they are there, unknown to other programs | unknown to them |
//!
//! There is no architecture `mistral`: llama.cpp's converter writes those models as `llama`, and so does
//! this one. A network with the norms of qwen3, olmo2 or gemma3 ([`crate::model::norms`]) is written as that, and they have no
//! others; one with biases on queries, keys and values alone as `qwen2`, every other one as `llama`.
//!
//! Scaled frequencies of the kinds `linear` and `yarn` are facts of each architecture; those of `llama3`
//! are a tensor that only `llama` has ([`super::rope_freqs`]).

use crate::model::config::{ConfigError, ModelConfig};
use crate::model::naming::Naming;
use crate::model::norms::Norms;
use crate::model::variant::{BIAS, FAMILY, ROPE, RopeScale, SCORES, Variant, WINDOWS};
use crate::model::windows::Windows;

/// Whose facts a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// `llama`
    Llama,
    /// `qwen2`
    Qwen2,
    /// `qwen3`
    Qwen3,
    /// `olmo2`
    Olmo2,
    /// `gemma3`
    Gemma3,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Llama, Self::Qwen2, Self::Qwen3, Self::Olmo2, Self::Gemma3];

    /// What `general.architecture` says, and what its facts begin with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Olmo2 => "olmo2",
            Self::Gemma3 => "gemma3",
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
            Self::Olmo2 | Self::Gemma3 => Naming::GgufBehind,
        }
    }

    /// What its networks do, biases, frequencies and windows apart.
    pub fn variant(self) -> Variant {
        match self {
            Self::Llama | Self::Qwen2 => Variant::PLAIN,
            Self::Qwen3 => Variant { norms: Norms::QWEN3, ..Variant::PLAIN },
            Self::Olmo2 => Variant { norms: Norms::OLMO2, ..Variant::PLAIN },
            Self::Gemma3 => Variant::GEMMA3,
        }
    }

    /// What scores are divided by the root of, where that is not the width of a head: no fact says it, and programs
    /// know the one gemma3 that it is so of by its depth.
    pub fn score_width(self, layers: u32, hidden: u32, heads: u32) -> Option<u32> {
        (self == Self::Gemma3 && layers == GEMMA3_27B).then(|| hidden / heads)
    }

    /// Whether other programs look for biases in its files.
    fn has_biases(self) -> bool {
        matches!(self, Self::Llama | Self::Qwen2)
    }

    /// The architecture of a network whose rows lie as they do in this family of files; none if it is not of
    /// GGUF. Whether its files can say the rest is asked of [`Self::check`].
    pub fn with_rows(naming: Naming, config: &ModelConfig) -> Option<Self> {
        match naming {
            Naming::Gguf => Some(Self::Llama),
            Naming::GgufHalves if config.variant.norms == Norms::QWEN3 => Some(Self::Qwen3),
            Naming::GgufHalves => Some(Self::Qwen2),
            Naming::GgufBehind if config.variant.norms == Norms::GEMMA3 => Some(Self::Gemma3),
            Naming::GgufBehind => Some(Self::Olmo2),
            Naming::Slm1 | Naming::HuggingFace => None,
        }
    }

    /// The architecture that a network is written as.
    pub fn of(config: &ModelConfig) -> Self {
        let Variant { qkv_bias, output_bias, ffn_bias, rope, norms, .. } = config.variant;
        match (qkv_bias, output_bias, ffn_bias, rope) {
            _ if norms == Norms::QWEN3 => Self::Qwen3,
            _ if norms == Norms::OLMO2 => Self::Olmo2,
            _ if norms == Norms::GEMMA3 => Self::Gemma3,
            (_, _, _, RopeScale::Llama3 { .. }) => Self::Llama,
            (true, false, false, _) => Self::Qwen2,
            _ => Self::Llama,
        }
    }

    /// Whether its files can say what the network is.
    ///
    /// # Errors
    ///
    /// The first field that cannot be, as [`ModelConfig::validate`] says, or that its files have no words for:
    /// norms, biases, the width of scores, windows or a way of scaling rotary frequencies that other programs
    /// would not take it to have.
    pub fn check(self, config: &ModelConfig) -> Result<(), ConfigError> {
        config.validate()?;
        self.check_tensors(&config.variant)?;
        self.check_attention(config)?;
        let expected = match config.variant.rope {
            RopeScale::Plain | RopeScale::Linear { .. } => return Ok(()),
            RopeScale::Llama3 { .. } if self == Self::Llama => return Ok(()),
            RopeScale::Llama3 { .. } => {
                format!("a way of scaling that is no tensor: `{}` has no rope_freqs.weight", self.name())
            }
            RopeScale::Yarn { .. } if self == Self::Gemma3 => {
                "no yarn: in layers of `gemma3` that look back over a window nothing is scaled".to_owned()
            }
            rope if is_usual_yarn(&rope) => return Ok(()),
            _ => "yarn with the numbers that follow from its factor and a context of the training in whole tokens"
                .to_owned(),
        };
        let found = config.variant.rope.to_string();
        Err(ConfigError { field: ROPE, found, expected })
    }

    /// Whether it can say what attention does.
    fn check_attention(self, config: &ModelConfig) -> Result<(), ConfigError> {
        let name = self.name();
        let &ModelConfig { layer_count, hidden_size, head_count, head_dim, .. } = config;
        let usual = self.score_width(layer_count, hidden_size, head_count).unwrap_or(head_dim);
        let found = config.variant.score_width.unwrap_or(head_dim);
        if found != usual {
            let expected = format!("{usual}, which programs take in a `{name}` of such dimensions");
            return Err(ConfigError { field: SCORES, found: found.to_string(), expected });
        }
        let expected = match &config.variant.windows {
            None => return Ok(()),
            Some(windows) if self == Self::Gemma3 && windows.full == Windows::every(PERIOD, layer_count) => {
                return Ok(());
            }
            Some(_) if self == Self::Gemma3 => {
                format!("each layer but every sixth one, for which alone `{name}` has words")
            }
            Some(_) => format!("none, for which `{name}` has no words"),
        };
        let found = config.variant.windows.as_ref().map(ToString::to_string).unwrap_or_default();
        Err(ConfigError { field: WINDOWS, found, expected })
    }

    /// Whether it has a place for every tensor that not every network has.
    fn check_tensors(self, variant: &Variant) -> Result<(), ConfigError> {
        let name = self.name();
        let own = self.variant();
        let differs = |field: &str| variant.differences(&own).into_iter().find(|(told, ..)| *told == field);
        for field in FAMILY {
            if let Some((field, found, own)) = differs(field) {
                return Err(ConfigError { field, found, expected: format!("that of every `{name}`: {own}") });
            }
        }
        if let Some((field, found, _)) = differs(BIAS).filter(|_| !self.has_biases()) {
            let expected = format!("none, which programs that run a `{name}` look for");
            return Err(ConfigError { field, found, expected });
        }
        Ok(())
    }
}

/// Layers of the gemma3 of 27 billion parameters.
const GEMMA3_27B: u32 = 62;

/// Of how many layers of a `gemma3` one sees everything: older programs know no other number.
pub(super) const PERIOD: u32 = 6;

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
    fn each_architecture_has_its_norms_and_no_others() {
        let normed = |own: Architecture, biased, rope| {
            let variant = Variant { qkv_bias: biased, output_bias: biased, rope, ..own.variant() };
            ModelConfig { variant, ..tiny() }
        };
        let llama3 = RopeScale::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        let refused = |architecture: Architecture, config: &ModelConfig| {
            architecture.check(config).unwrap_err().to_string()
        };
        for own in [Architecture::Qwen3, Architecture::Olmo2, Architecture::Gemma3] {
            let name = own.name();
            let plain = normed(own, false, RopeScale::Plain);
            let (biased, scaled) = (normed(own, true, RopeScale::Plain), normed(own, false, llama3));
            for config in [&plain, &biased, &scaled] {
                assert_eq!(Architecture::of(config), own);
                for other in Architecture::ALL.into_iter().filter(|other| *other != own) {
                    let error = refused(other, config);
                    assert!(error.contains(&format!("expected that of every `{}`", other.name())), "{error}");
                }
            }
            assert_eq!(own.check(&plain), Ok(()));
            let error = refused(own, &biased);
            let told = format!(
                "bias is on queries, keys and values, attention's output; expected none, which programs that run \
                 a `{name}` look for"
            );
            assert_eq!(error, told);
            assert!(refused(own, &scaled).contains(&format!("`{name}` has no rope_freqs")));
            assert_eq!(Architecture::with_rows(own.naming(), &plain), Some(own));
            // Rows that lie side by side have no such norms, and the check says so.
            assert_eq!(Architecture::with_rows(Naming::Gguf, &plain), Some(Architecture::Llama));
            assert_eq!(Architecture::with_rows(Naming::HuggingFace, &plain), None);
        }
        assert_eq!(Architecture::with_rows(Naming::GgufHalves, &tiny()), Some(Architecture::Qwen2));
    }

    #[test]
    fn a_gemma3_is_written_with_the_windows_and_scores_that_programs_know() {
        let gemma3 = |full: &[u32], change: fn(&mut ModelConfig)| {
            let windows = Windows { size: 4, rope_theta: 1e4, full: full.to_vec() };
            let variant = Variant { windows: Some(windows), ..Variant::GEMMA3 };
            let mut config = ModelConfig { variant, layer_count: 7, ..tiny() };
            change(&mut config);
            Architecture::Gemma3.check(&config).map_err(|error| error.to_string())
        };
        assert_eq!(gemma3(&[5], |_| ()), Ok(()));
        assert_eq!(gemma3(&[], |config| config.variant.windows = None), Ok(()));
        assert!(
            gemma3(&[4], |_| ())
                .unwrap_err()
                .contains("but in layers 4; expected each layer but every sixth")
        );
        let error = gemma3(&[5], |config| config.variant.score_width = Some(8)).unwrap_err();
        assert!(error.contains("query_pre_attn_scalar is 8; expected 4"), "{error}");
        let deep = |config: &mut ModelConfig| {
            (config.layer_count, config.hidden_size, config.variant.windows) = (62, 16, None);
        };
        assert!(gemma3(&[], deep).unwrap_err().contains("is 4; expected 8"));
        let error = gemma3(&[5], |config| config.variant.rope = usual_yarn(4.0, 16.0)).unwrap_err();
        assert!(error.contains("expected no yarn"), "{error}");
        let windows = Some(Windows { size: 4, rope_theta: 1e4, full: vec![] });
        let llama = ModelConfig { variant: Variant { windows, ..Variant::PLAIN }, ..tiny() };
        let error = Architecture::Llama.check(&llama).unwrap_err().to_string();
        assert!(error.contains("`llama` has no words"), "{error}");
        let scaled = ModelConfig { variant: Variant { scaled_embeddings: true, ..Variant::PLAIN }, ..tiny() };
        let error = Architecture::Llama.check(&scaled).unwrap_err().to_string();
        assert!(error.contains("that of every `llama`: as they are"), "{error}");
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
