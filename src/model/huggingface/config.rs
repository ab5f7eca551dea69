//! `config.json` of the llama family: the network's dimensions under the names of their library.
//!
//! Only what tells networks of this family apart is read; the file itself is carried along whole, so
//! nothing is lost. Keys that older versions of the library did not write have the values that these
//! versions meant.

use serde::Deserialize;

use super::gemma3::{self, Gemma3};
use super::rope::RopeScaling;
use crate::model::config::{ConfigError, ModelConfig};
use crate::model::norms::Norms;
use crate::model::variant::{Activation, Variant};

/// The values of `model_type` that are read: networks of one build that differ in numbers only.
pub const FAMILY: [&str; 6] = ["llama", "mistral", "qwen2", "qwen3", "olmo2", GEMMA3];

/// The `model_type` of the text model of gemma3.
const GEMMA3: &str = "gemma3_text";

/// Width of a head of qwen3 if the file does not say.
const QWEN3_HEAD: u32 = 128;

/// Larger than any number of things in a network that exists.
const MOST: u64 = 1 << 30;

/// A network of the llama family.
#[derive(Debug, Clone, PartialEq)]
pub struct HfConfig {
    /// One of [`FAMILY`].
    pub model_type: String,
    /// Width of the residual stream.
    pub hidden_size: u32,
    /// Number of blocks.
    pub num_hidden_layers: u32,
    /// Query heads.
    pub num_attention_heads: u32,
    /// Key and value heads; divides `num_attention_heads`. As many as those if the file does not say.
    pub num_key_value_heads: u32,
    /// Width of a head; if the file does not say, `hidden_size / num_attention_heads`, but in qwen3 128 and in gemma3
    /// 256.
    pub head_dim: u32,
    /// Width of the feed-forward layer.
    pub intermediate_size: u32,
    /// Number of token ids.
    pub vocab_size: u32,
    /// Longest sequence.
    pub max_position_embeddings: u32,
    /// Added to the mean square before its root.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies; 10,000 if the file does not say, in gemma3 a million.
    pub rope_theta: f64,
    /// How the rotary frequencies are changed for longer sequences.
    pub rope_scaling: RopeScaling,
    /// Whether the output matrix is the embedding matrix; no if the file does not say, but in gemma3 yes.
    pub tie_word_embeddings: bool,
    /// Whether the attention projections of llama, qwen3, olmo2 and gemma3 have biases; no if the file does not say.
    /// Those of query, key and value always have in qwen2, none in mistral.
    pub attention_bias: bool,
    /// Whether llama's feed-forward matrices have biases; no if the file does not say.
    pub mlp_bias: bool,
    /// What stands between the feed-forward matrices; `silu` if the file does not say. gemma3 calls it
    /// `hidden_activation`.
    pub hidden_act: String,
    /// How far back attention sees, where that is limited; of gemma3, see `gemma3`.
    pub sliding_window: Option<u32>,
    /// Which share of a head is turned; all of it if the file does not say.
    pub partial_rotary_factor: Option<f64>,
    /// Whether the file says how the weights are packed.
    pub quantized: bool,
    /// What the weights were saved as, in the library's words.
    pub torch_dtype: Option<String>,
    /// What only gemma3 says.
    pub gemma3: Option<Gemma3>,
}

/// Why a file is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum HfConfigError {
    /// Not JSON, a value of another type, or one of these keys twice.
    #[error("is not a usable configuration: {0}")]
    Json(#[from] serde_json::Error),
    /// A key without which there is no network.
    #[error("has no {0}, which a network of this family needs")]
    Missing(&'static str),
    /// A value that cannot be.
    #[error(transparent)]
    Field(#[from] ConfigError),
}

impl HfConfig {
    /// Reads a configuration; `None` if the network is of another family, or does not say.
    ///
    /// # Errors
    ///
    /// [`HfConfigError::Json`] of what is no JSON object, or has a value of another type or a key twice; of a
    /// network that is of the family, [`HfConfigError::Missing`] or [`HfConfigError::Field`] of a key that it
    /// needs.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, HfConfigError> {
        let Kind { model_type } = serde_json::from_slice(bytes)?;
        match model_type {
            Some(model_type) if FAMILY.contains(&model_type.as_str()) => {
                let raw: Raw = serde_json::from_slice(bytes)?;
                let is_gemma3 = model_type == GEMMA3;
                let own = is_gemma3.then(|| serde_json::from_slice(bytes)).transpose()?;
                raw.check(model_type, own).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// By how much longer texts are than those of the configuration's context, where frequencies change with
    /// the length of a text.
    pub fn dynamic_factor(&self) -> Option<f64> {
        (self.rope_scaling.kind() == "dynamic").then(|| self.rope_scaling.factor.unwrap_or(1.0))
    }

    /// The family that a configuration says its network is of, whether it is one that is read or not.
    pub fn model_type(bytes: &[u8]) -> Option<String> {
        serde_json::from_slice::<Kind>(bytes).ok()?.model_type
    }

    /// What each layer sees, in the library's words, where not every one sees the same for all that is known here.
    #[cfg(feature = "engine")]
    pub fn layer_types(&self) -> Option<Vec<&'static str>> {
        let own = self.gemma3.as_ref()?;
        Some(gemma3::layer_types(own.windows.as_ref(), self.num_hidden_layers))
    }

    /// The network as it is computed here.
    ///
    /// Attention that sees a limited way back is whole attention up to that length, so the longest
    /// sequence is no longer, but in gemma3, whose windows are computed. The file does not say which ids are no
    /// text; four is the least.
    ///
    /// # Errors
    ///
    /// What it does that is not computed here: another activation, rotary angles of a part of a head, packed
    /// weights, a way of scaling frequencies; else what [`ModelConfig::validate`] says.
    pub fn network(&self) -> Result<ModelConfig, String> {
        let is = |family: &str| self.model_type == family;
        let family = match self.model_type.as_str() {
            "qwen3" => Variant { norms: Norms::QWEN3, ..Variant::PLAIN },
            "olmo2" => Variant { norms: Norms::OLMO2, ..Variant::PLAIN },
            GEMMA3 => Variant::GEMMA3,
            _ => Variant::PLAIN,
        };
        let activation: &[&str] = match family.activation {
            Activation::Silu => &["silu", "swish"],
            Activation::GeluTanh => &["gelu_pytorch_tanh"],
        };
        if !activation.contains(&self.hidden_act.as_str()) {
            let key = if self.gemma3.is_some() { gemma3::ACTIVATION_KEY } else { "hidden_act" };
            return Err(format!("`{key}` is `{}`, which is not computed here", self.hidden_act));
        }
        if let Some(share) = self.partial_rotary_factor.filter(|share| *share != 1.0) {
            return Err(format!("`partial_rotary_factor` is {share}, which is not computed here"));
        }
        if self.quantized {
            return Err("`quantization_config` packs the weights in a way that is not read here".to_owned());
        }
        if let Some(unknown) = self.gemma3.as_ref().and_then(|own| own.unknown.as_ref()) {
            return Err(format!("{unknown}, which is not computed here"));
        }
        let scores = self.gemma3.as_ref().map(|own| own.query_pre_attn_scalar);
        let attention_bias = !is("mistral") && !is("qwen2") && self.attention_bias;
        let variant = Variant {
            qkv_bias: is("qwen2") || attention_bias,
            output_bias: attention_bias,
            ffn_bias: is("llama") && self.mlp_bias,
            rope: self.rope_scaling.scale()?,
            score_width: scores.filter(|width| *width != self.head_dim),
            windows: self.gemma3.as_ref().and_then(|own| own.windows.clone()),
            ..family
        };
        let config = ModelConfig {
            vocab_size: self.vocab_size,
            special_token_count: 4,
            hidden_size: self.hidden_size,
            layer_count: self.num_hidden_layers,
            head_count: self.num_attention_heads,
            kv_head_count: self.num_key_value_heads,
            head_dim: self.head_dim,
            ffn_size: self.intermediate_size,
            max_context: self.sliding_window.unwrap_or(u32::MAX).min(self.max_position_embeddings),
            rope_theta: self.rope_theta as f32,
            rms_norm_epsilon: self.rms_norm_eps as f32,
            tied_output: self.tie_word_embeddings,
            variant,
        };
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }
}

#[derive(Deserialize)]
struct Kind {
    model_type: Option<String>,
}

/// Every key as it may be written. `null` is as good as nothing.
#[derive(Deserialize)]
struct Raw {
    hidden_size: Option<u64>,
    num_hidden_layers: Option<u64>,
    num_attention_heads: Option<u64>,
    num_key_value_heads: Option<u64>,
    head_dim: Option<u64>,
    intermediate_size: Option<u64>,
    vocab_size: Option<u64>,
    max_position_embeddings: Option<u64>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeScaling>,
    /// Newer versions write both of the above here.
    rope_parameters: Option<RopeScaling>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    hidden_act: Option<String>,
    sliding_window: Option<u64>,
    partial_rotary_factor: Option<f64>,
    quantization_config: Option<serde::de::IgnoredAny>,
    /// The qwens state a window that they only use if this says so,
    use_sliding_window: Option<bool>,
    /// and only from this layer on; 28 if the file does not say,
    max_window_layers: Option<u64>,
    /// unless what each layer sees is spelled out.
    layer_types: Option<Vec<String>>,
    torch_dtype: Option<String>,
    /// What newer versions call `torch_dtype`.
    dtype: Option<String>,
}

impl Raw {
    fn check(self, model_type: String, own: Option<gemma3::Raw>) -> Result<HfConfig, HfConfigError> {
        let hidden_size = size("hidden_size", self.hidden_size)?;
        let heads = size("num_attention_heads", self.num_attention_heads)?;
        let (usual_head, usual_kv) = match model_type.as_str() {
            "qwen3" => (Some(QWEN3_HEAD), heads),
            GEMMA3 => (Some(gemma3::Raw::USUAL.0), gemma3::Raw::USUAL.1),
            _ => (None, heads),
        };
        let kv_heads = size("num_key_value_heads", self.num_key_value_heads.or(Some(usual_kv.into())))?;
        if !heads.is_multiple_of(kv_heads) {
            let expected = format!("a divisor of num_attention_heads {heads}");
            return Err(wrong("num_key_value_heads", kv_heads, expected).into());
        }
        let head_dim = match self.head_dim.or(usual_head.map(u64::from)) {
            None if !hidden_size.is_multiple_of(heads) => {
                let expected = format!("a multiple of num_attention_heads {heads}, for want of a head_dim");
                return Err(wrong("hidden_size", hidden_size, expected).into());
            }
            None => hidden_size / heads,
            stated => size("head_dim", stated)?,
        };
        let layers = size("num_hidden_layers", self.num_hidden_layers)?;
        let window = self.sliding_window.filter(|_| self.is_windowed(&model_type, layers));
        let own = own.map(|own| own.check(layers)).transpose()?;
        let theta = match &own {
            Some(own) => own.rope_theta,
            None => self.rope_theta.or(self.rope_parameters.as_ref().and_then(|rope| rope.rope_theta)),
        };
        let scaling = match &own {
            Some(own) => own.rope_scaling.clone(),
            None => self.rope_scaling.or(self.rope_parameters).unwrap_or_default(),
        };
        let hidden_act = own.as_ref().map(|own| own.hidden_act.clone()).or(self.hidden_act);
        Ok(HfConfig {
            hidden_size,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: kv_heads,
            head_dim,
            intermediate_size: size("intermediate_size", self.intermediate_size)?,
            vocab_size: size("vocab_size", self.vocab_size)?,
            max_position_embeddings: size("max_position_embeddings", self.max_position_embeddings)?,
            rms_norm_eps: positive("rms_norm_eps", self.rms_norm_eps)?,
            rope_theta: positive("rope_theta", theta.or(Some(10_000.0)))?,
            rope_scaling: scaling,
            tie_word_embeddings: self.tie_word_embeddings.unwrap_or(own.is_some()),
            attention_bias: self.attention_bias.unwrap_or(false),
            mlp_bias: self.mlp_bias.unwrap_or(false),
            hidden_act: hidden_act.unwrap_or_else(|| "silu".to_owned()),
            sliding_window: window.map(|window| size("sliding_window", Some(window))).transpose()?,
            partial_rotary_factor: self.partial_rotary_factor,
            quantized: self.quantization_config.is_some(),
            torch_dtype: self.torch_dtype.or(self.dtype),
            gemma3: own.map(|own| own.own),
            model_type,
        })
    }

    /// Whether any layer sees no further back than the window.
    fn is_windowed(&self, model_type: &str, layers: u32) -> bool {
        if model_type == "mistral" {
            return self.use_sliding_window.unwrap_or(true);
        }
        if model_type == GEMMA3 {
            return false;
        }
        let from = self.max_window_layers.unwrap_or(28);
        let any = match &self.layer_types {
            Some(types) => types.iter().any(|of_layer| of_layer != "full_attention"),
            None => from < u64::from(layers),
        };
        self.use_sliding_window == Some(true) && any
    }
}

pub(super) fn size(field: &'static str, found: Option<u64>) -> Result<u32, HfConfigError> {
    let found = found.ok_or(HfConfigError::Missing(field))?;
    match u32::try_from(found) {
        Ok(size) if size != 0 && found <= MOST => Ok(size),
        _ => Err(wrong(field, found, format!("1 to {MOST}")).into()),
    }
}

pub(super) fn positive(field: &'static str, found: Option<f64>) -> Result<f64, HfConfigError> {
    let found = found.ok_or(HfConfigError::Missing(field))?;
    if found.is_finite() && found > 0.0 {
        return Ok(found);
    }
    Err(wrong(field, found, "a positive number".to_owned()).into())
}

pub(super) fn wrong(field: &'static str, found: impl ToString + Copy, expected: String) -> ConfigError {
    ConfigError { field, found: found.to_string(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::variant::RopeScale;

    /// The keys of a small published llama that matter, and some that do not.
    const SMALL: &str = r#"{
        "architectures": ["LlamaForCausalLM"], "attention_bias": false, "bos_token_id": 1,
        "hidden_act": "silu", "hidden_size": 576, "intermediate_size": 1536, "is_llama_config": true,
        "max_position_embeddings": 8192, "model_type": "llama", "num_attention_heads": 9,
        "num_hidden_layers": 30, "num_key_value_heads": 3, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
        "rope_scaling": null, "rope_theta": 100000, "tie_word_embeddings": true,
        "torch_dtype": "bfloat16", "vocab_size": 49152, "nested": {"hidden_size": "x"}
    }"#;

    fn parse(text: &str) -> HfConfig {
        HfConfig::parse(text.as_bytes()).unwrap().unwrap()
    }

    fn refused(text: &str) -> String {
        HfConfig::parse(text.as_bytes()).unwrap_err().to_string()
    }

    /// `SMALL` with a key replaced or taken away.
    fn small(from: &str, to: &str) -> String {
        assert!(SMALL.contains(from), "{from}");
        SMALL.replacen(from, to, 1)
    }

    #[test]
    fn a_published_configuration() {
        let config = parse(SMALL);
        let expected = HfConfig {
            model_type: "llama".to_owned(),
            hidden_size: 576,
            num_hidden_layers: 30,
            num_attention_heads: 9,
            num_key_value_heads: 3,
            head_dim: 64,
            intermediate_size: 1536,
            vocab_size: 49_152,
            max_position_embeddings: 8192,
            rms_norm_eps: 1e-5,
            rope_theta: 100_000.0,
            rope_scaling: RopeScaling::default(),
            tie_word_embeddings: true,
            attention_bias: false,
            mlp_bias: false,
            hidden_act: "silu".to_owned(),
            sliding_window: None,
            partial_rotary_factor: None,
            quantized: false,
            torch_dtype: Some("bfloat16".to_owned()),
            gemma3: None,
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn what_older_and_newer_versions_leave_out() {
        let text = small(r#""num_key_value_heads": 3,"#, "").replace(r#""rope_theta": 100000,"#, "");
        let text =
            text.replace(r#""tie_word_embeddings": true,"#, "").replace(r#""attention_bias": false,"#, "");
        let config = parse(&text);
        assert_eq!((config.num_key_value_heads, config.rope_theta), (9, 10_000.0));
        assert_eq!((config.tie_word_embeddings, config.attention_bias), (false, false));
        let biased = |family| {
            let variant = parse(&text.replace("\"llama\"", family)).network().unwrap().variant;
            (variant.qkv_bias, variant.output_bias)
        };
        assert_eq!(biased("\"qwen2\""), (true, false));
        assert_eq!(biased("\"mistral\""), (false, false));
        let newer = small(
            r#""rope_theta": 100000,"#,
            r#""rope_parameters": {"rope_theta": 5e5, "rope_type": "default"},"#,
        );
        let newer = newer.replace("torch_dtype", "dtype");
        assert_eq!((parse(&newer).rope_theta, parse(&newer).rope_scaling.kind()), (500_000.0, "default"));
        assert_eq!(parse(&newer).torch_dtype.as_deref(), Some("bfloat16"));
        assert_eq!(parse(&small(r#""hidden_act""#, r#""head_dim": 128, "hidden_act""#)).head_dim, 128);
    }

    #[test]
    fn a_network_is_computed_or_refused_with_the_reason() {
        let network = |text: &str| parse(text).network();
        let expected = ModelConfig {
            vocab_size: 49_152,
            special_token_count: 4,
            hidden_size: 576,
            layer_count: 30,
            head_count: 9,
            kv_head_count: 3,
            head_dim: 64,
            ffn_size: 1536,
            max_context: 8192,
            rope_theta: 100_000.0,
            rms_norm_epsilon: 1e-5,
            tied_output: true,
            variant: Variant::PLAIN,
        };
        assert_eq!(network(SMALL), Ok(expected));
        let refused = |from: &str, to: &str| network(&small(from, to)).unwrap_err();
        let changed = |from: &str, to: &str| network(&small(from, to)).unwrap();
        let biased = changed("\"attention_bias\": false", "\"attention_bias\": true, \"mlp_bias\": true");
        let all = Variant { qkv_bias: true, output_bias: true, ffn_bias: true, ..Variant::PLAIN };
        assert_eq!(biased.variant, all);
        let linear = changed("scaling\": null", "scaling\": {\"type\": \"linear\", \"factor\": 4}");
        assert_eq!(linear.variant.rope, RopeScale::Linear { factor: 4.0 });
        // A head that is not a share of the width.
        assert_eq!(changed("\"is_llama", "\"head_dim\": 32, \"is_llama").head_dim, 32);
        assert!(refused("\"silu\"", "\"gelu\"").contains("`hidden_act` is `gelu`"));
        assert!(refused("scaling\": null", "scaling\": {\"type\": \"su\"}").contains("`rope_type` `su`"));
        let partial = refused("\"is_llama", "\"partial_rotary_factor\": 0.5, \"is_llama");
        assert!(partial.contains("`partial_rotary_factor` is 0.5"), "{partial}");
        let packed = refused("\"is_llama", "\"quantization_config\": {}, \"is_llama");
        assert!(packed.contains("`quantization_config`"), "{packed}");
    }

    #[test]
    fn a_window_bounds_the_context_where_it_is_used() {
        let context = |family: &str, more: &str| {
            let text = small("\"is_llama", &format!("\"sliding_window\": 4096, {more} \"is_llama"));
            parse(&text.replace("\"llama\"", family)).network().unwrap().max_context
        };
        assert_eq!(context("\"mistral\"", ""), 4096);
        assert_eq!(context("\"llama\"", ""), 8192);
        assert_eq!(context("\"qwen2\"", "\"use_sliding_window\": false,"), 8192);
        assert_eq!(context("\"qwen2\"", "\"use_sliding_window\": true,"), 4096);
        // Thirty layers; those before `max_window_layers` see everything.
        let used = |more: &str| context("\"qwen3\"", &format!("\"use_sliding_window\": true, {more},"));
        assert_eq!([29, 30].map(|from| used(&format!("\"max_window_layers\": {from}"))), [4096, 8192]);
        assert_eq!(used("\"layer_types\": [\"full_attention\", \"full_attention\"]"), 8192);
        assert_eq!(used("\"layer_types\": [\"full_attention\", \"sliding_attention\"]"), 4096);
        assert_eq!(context("\"qwen3\"", ""), 8192);
    }

    #[test]
    fn qwen3_has_norms_of_heads_and_its_own_width_of_them() {
        let qwen3 = |from: &str, to: &str| parse(&small(from, to).replace("\"llama\"", "\"qwen3\""));
        let plain = qwen3("576", "576").network().unwrap();
        assert_eq!(plain.variant, Variant { norms: Norms::QWEN3, ..Variant::PLAIN });
        assert_eq!(plain.head_dim, 128, "as the library has it");
        let said = qwen3(
            "\"attention_bias\": false",
            "\"attention_bias\": true, \"mlp_bias\": true, \"head_dim\": 32",
        );
        let variant = Variant { qkv_bias: true, output_bias: true, norms: Norms::QWEN3, ..Variant::PLAIN };
        assert_eq!(said.network().map(|network| (network.head_dim, network.variant)), Ok((32, variant)));
    }

    #[test]
    fn other_families_are_not_read() {
        for text in [small("\"llama\"", "\"gpt2\""), small("\"model_type\": \"llama\",", ""), "{}".to_owned()]
        {
            assert_eq!(HfConfig::parse(text.as_bytes()).unwrap(), None);
        }
        let strange = r#"{"model_type": "strange", "hidden_size": [1, 2]}"#;
        assert_eq!(HfConfig::parse(strange.as_bytes()).unwrap(), None);
    }

    #[test]
    fn refusals_name_the_key() {
        assert!(refused("{").contains("EOF while parsing an object at line 1"));
        assert!(refused("[]").contains("is not a usable configuration"));
        assert!(refused(&small("576", "\"576\"")).contains("expected u64"));
        assert!(refused(&small("\"vocab_size\": 49152,", "")).starts_with("has no vocab_size"));
        assert_eq!(refused(&small("576", "0")), "hidden_size is 0; expected 1 to 1073741824");
        assert!(refused(&small("576", "4294967872")).starts_with("hidden_size is 4294967872"));
        assert!(refused(&small("576", "577")).contains("a multiple of num_attention_heads 9"));
        assert!(refused(&small("heads\": 3", "heads\": 2")).contains("a divisor of num_attention_heads 9"));
        assert!(refused(&small("1e-05", "0")).starts_with("rms_norm_eps is 0; expected a positive number"));
        assert!(refused(&small("100000", "-1")).starts_with("rope_theta is -1"));
        let twice = small("\"hidden_size\": 576,", "\"hidden_size\": 576, \"hidden_size\": 577,");
        assert!(refused(&twice).contains("duplicate field `hidden_size`"));
    }
}
