//! What `gemma3_text` says beyond what every network of the family does.
//!
//! Layers look back over a window or see everything, and each of the two ways has rotary frequencies of its own:
//! `rope_theta` with `rope_scaling` for layers that see everything, `rope_local_base_freq` for the others. Newer
//! versions of the library write both under `rope_parameters`, by the way. Which layers are which is listed
//! (`layer_types`) or a period (`sliding_window_pattern`).

use serde::{Deserialize, Deserializer};

use super::config::{HfConfigError, positive, size, wrong};
use super::rope::RopeScaling;
use crate::model::windows::Windows;

/// What the library means where a file does not say.
const HEAD: u32 = 256;
const KV_HEADS: u32 = 4;
const WINDOW: u64 = 4096;
const PERIOD: u64 = 6;
const THETA: f64 = 1e6;
const LOCAL_THETA: f64 = 1e4;
const SCORES: u64 = 256;
const ACTIVATION: &str = "gelu_pytorch_tanh";

/// What these files call `hidden_act`.
pub(super) const ACTIVATION_KEY: &str = "hidden_activation";

/// More layers than any network has: those that see everything are listed.
const MOST_LAYERS: u32 = 1 << 16;

/// How a layer that looks back over a window is called, and one that sees everything.
const WINDOWED: &str = "sliding_attention";
const FULL: &str = "full_attention";

/// What only these networks say.
#[derive(Debug, Clone, PartialEq)]
pub struct Gemma3 {
    /// The layers that look back over a window, if there are any.
    pub windows: Option<Windows>,
    /// Scores are divided by the root of it.
    pub query_pre_attn_scalar: u32,
    /// Something that is said and not computed here, with its value.
    pub unknown: Option<String>,
}

/// Its keys as they may be written.
#[derive(Deserialize)]
pub(super) struct Raw {
    hidden_activation: Option<String>,
    query_pre_attn_scalar: Option<u64>,
    /// `null` is another thing than nothing.
    #[serde(default, deserialize_with = "said")]
    sliding_window: Option<Option<u64>>,
    sliding_window_pattern: Option<u64>,
    layer_types: Option<Vec<String>>,
    rope_theta: Option<f64>,
    rope_local_base_freq: Option<f64>,
    rope_scaling: Option<RopeScaling>,
    rope_parameters: Option<ByWay>,
    attn_logit_softcapping: Option<f64>,
    final_logit_softcapping: Option<f64>,
    use_bidirectional_attention: Option<bool>,
}

fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Frequencies of each way.
#[derive(Default, Deserialize)]
struct ByWay {
    full_attention: Option<RopeScaling>,
    sliding_attention: Option<RopeScaling>,
    /// These would be of every layer, which is no configuration of this family.
    rope_type: Option<String>,
    rope_theta: Option<f64>,
}

/// What stands under keys of the whole family and means something else here, or is meant by something else.
pub(super) struct Said {
    pub(super) own: Gemma3,
    pub(super) hidden_act: String,
    pub(super) rope_theta: Option<f64>,
    pub(super) rope_scaling: RopeScaling,
}

impl Raw {
    /// Width of a head, and key and value heads, where the file does not say.
    pub(super) const USUAL: (u32, u32) = (HEAD, KV_HEADS);

    pub(super) fn check(self, layers: u32) -> Result<Said, HfConfigError> {
        if layers > MOST_LAYERS {
            return Err(wrong("num_hidden_layers", layers, format!("1 to {MOST_LAYERS}")).into());
        }
        let unknown = self.unknown();
        let by_way = self.rope_parameters.unwrap_or_default();
        let [full, local] = [&by_way.full_attention, &by_way.sliding_attention]
            .map(|way| way.as_ref().and_then(|way| way.rope_theta));
        let local = local.or(self.rope_local_base_freq).or(Some(LOCAL_THETA));
        let seeing = match &self.layer_types {
            Some(types) => listed(types, layers)?,
            None => {
                let period = self.sliding_window_pattern.or(Some(PERIOD));
                Windows::every(size("sliding_window_pattern", period)?, layers)
            }
        };
        let no_window = self.sliding_window == Some(None) && seeing.len() < layers as usize;
        let unknown = unknown.or_else(|| {
            no_window.then(|| format!("`sliding_window` is null, and there are layers of `{WINDOWED}`"))
        });
        let windows = Windows {
            size: size("sliding_window", self.sliding_window.flatten().or(Some(WINDOW)))?,
            rope_theta: positive("rope_local_base_freq", local)? as f32,
            full: seeing,
        };
        let scores = size("query_pre_attn_scalar", self.query_pre_attn_scalar.or(Some(SCORES)))?;
        Ok(Said {
            own: Gemma3 {
                windows: Some(windows).filter(|windows| windows.full.len() < layers as usize),
                query_pre_attn_scalar: scores,
                unknown,
            },
            hidden_act: self.hidden_activation.unwrap_or_else(|| ACTIVATION.to_owned()),
            rope_theta: full.or(self.rope_theta).or(Some(THETA)),
            rope_scaling: self.rope_scaling.or(by_way.full_attention).unwrap_or_default(),
        })
    }

    /// What is not computed here.
    fn unknown(&self) -> Option<String> {
        for (key, value) in [
            ("attn_logit_softcapping", self.attn_logit_softcapping),
            ("final_logit_softcapping", self.final_logit_softcapping),
        ] {
            if let Some(value) = value {
                return Some(format!("`{key}` is {value}"));
            }
        }
        if self.use_bidirectional_attention == Some(true) {
            return Some("`use_bidirectional_attention` is true".to_owned());
        }
        let by_way = self.rope_parameters.as_ref()?;
        if by_way.rope_type.is_some() || by_way.rope_theta.is_some() {
            return Some("`rope_parameters` is not by `layer_types`".to_owned());
        }
        let kind = by_way.sliding_attention.as_ref()?.kind();
        (kind != "default").then(|| format!("the `rope_type` of `{WINDOWED}` is `{kind}`"))
    }
}

/// The layers that see everything, of a list of the ways of all.
fn listed(types: &[String], layers: u32) -> Result<Vec<u32>, HfConfigError> {
    if types.len() != layers as usize {
        let expected = format!("one for each of num_hidden_layers {layers}");
        return Err(wrong("layer_types", types.len(), expected).into());
    }
    match types.iter().find(|way| ![WINDOWED, FULL].contains(&way.as_str())) {
        Some(way) => Err(wrong("layer_types", way.as_str(), format!("`{WINDOWED}` or `{FULL}`")).into()),
        None => Ok((0..layers).zip(types).filter(|(_, way)| *way == FULL).map(|(layer, _)| layer).collect()),
    }
}

/// The list that says which layers look back over a window.
#[cfg(feature = "engine")]
pub(super) fn layer_types(windows: Option<&Windows>, layers: u32) -> Vec<&'static str> {
    let is_windowed =
        |layer: &u32| windows.is_some_and(|windows| windows.of_layer(*layer as usize).is_some());
    (0..layers).map(|layer| if is_windowed(&layer) { WINDOWED } else { FULL }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::ModelConfig;
    use crate::model::huggingface::HfConfig;
    use crate::model::variant::{RopeScale, Variant};

    /// The keys of the published model of a billion parameters that matter, and some that do not.
    const PUBLISHED: &str = r#"{
        "architectures": ["Gemma3ForCausalLM"], "attention_bias": false, "attn_logit_softcapping": null,
        "bos_token_id": 2, "eos_token_id": [1, 106], "final_logit_softcapping": null, "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152, "intermediate_size": 6912,
        "max_position_embeddings": 32768, "model_type": "gemma3_text", "num_attention_heads": 4,
        "num_hidden_layers": 26, "num_key_value_heads": 1, "query_pre_attn_scalar": 256,
        "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000, "rope_scaling": null, "rope_theta": 1000000,
        "sliding_window": 512, "sliding_window_pattern": 6, "torch_dtype": "bfloat16", "vocab_size": 262144
    }"#;

    fn published(from: &str, to: &str) -> String {
        assert!(PUBLISHED.contains(from), "{from}");
        PUBLISHED.replacen(from, to, 1)
    }

    fn network(text: &str) -> Result<ModelConfig, String> {
        HfConfig::parse(text.as_bytes()).unwrap().unwrap().network()
    }

    #[test]
    fn a_published_configuration() {
        let windows = Windows { size: 512, rope_theta: 10_000.0, full: vec![5, 11, 17, 23] };
        let expected = ModelConfig {
            vocab_size: 262_144,
            special_token_count: 4,
            hidden_size: 1152,
            layer_count: 26,
            head_count: 4,
            kv_head_count: 1,
            head_dim: 256,
            ffn_size: 6912,
            max_context: 32_768,
            rope_theta: 1e6,
            rms_norm_epsilon: 1e-6,
            tied_output: true,
            variant: Variant { windows: Some(windows), ..Variant::GEMMA3 },
        };
        assert_eq!(network(PUBLISHED), Ok(expected.clone()));
        // What the library means where nothing is said.
        let mut silent = PUBLISHED.to_owned();
        for said in [
            r#""head_dim": 256,"#,
            r#""hidden_activation": "gelu_pytorch_tanh","#,
            r#""query_pre_attn_scalar": 256,"#,
            r#""rope_local_base_freq": 10000,"#,
            r#""rope_theta": 1000000,"#,
            r#""sliding_window_pattern": 6,"#,
        ] {
            assert!(silent.contains(said), "{said}");
            silent = silent.replacen(said, "", 1);
        }
        assert_eq!(network(&silent), Ok(expected));
    }

    #[test]
    fn newer_files_say_it_by_the_way() {
        let newer = published(
            r#""rope_local_base_freq": 10000, "rope_scaling": null, "rope_theta": 1000000,"#,
            r#""rope_parameters": {"full_attention": {"rope_theta": 5e5, "rope_type": "linear", "factor": 8.0},
                "sliding_attention": {"rope_theta": 2e4, "rope_type": "default"}},"#,
        );
        let found = network(&newer).unwrap();
        assert_eq!((found.rope_theta, found.variant.rope), (5e5, RopeScale::Linear { factor: 8.0 }));
        assert_eq!(found.variant.windows.unwrap().rope_theta, 2e4);
        let older =
            published(r#""rope_scaling": null"#, r#""rope_scaling": {"rope_type": "linear", "factor": 8.0}"#);
        assert_eq!(network(&older).unwrap().variant.rope, RopeScale::Linear { factor: 8.0 });
        let layers = |types: &str| {
            let text = published(r#""num_hidden_layers": 26"#, r#""num_hidden_layers": 2"#);
            text.replace(r#""sliding_window_pattern": 6"#, &format!("\"layer_types\": [{types}]"))
        };
        let full = |types: &str| network(&layers(types)).unwrap().variant.windows.map(|windows| windows.full);
        assert_eq!(full(r#""full_attention", "sliding_attention""#), Some(vec![0]));
        assert_eq!(full(r#""sliding_attention", "sliding_attention""#), Some(vec![]));
        assert_eq!(full(r#""full_attention", "full_attention""#), None);
        let refused = |types: &str| HfConfig::parse(layers(types).as_bytes()).unwrap_err().to_string();
        assert!(refused(r#""full_attention""#).contains("layer_types is 1; expected one for each"));
        assert!(refused(r#""full_attention", "other""#).contains("layer_types is other; expected `sliding"));
        let many = published("\"num_hidden_layers\": 26", "\"num_hidden_layers\": 1000000000");
        let error = HfConfig::parse(many.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("num_hidden_layers is 1000000000; expected 1 to 65536"), "{error}");
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        let refused = |from: &str, to: &str| network(&published(from, to)).unwrap_err();
        for (from, to, part) in [
            (
                "attn_logit_softcapping\": null",
                "attn_logit_softcapping\": 50.0",
                "`attn_logit_softcapping` is 50",
            ),
            (
                "final_logit_softcapping\": null",
                "final_logit_softcapping\": 30.0",
                "`final_logit_softcapping` is 30",
            ),
            (
                "\"bos",
                "\"use_bidirectional_attention\": true, \"bos",
                "`use_bidirectional_attention` is true",
            ),
            ("gelu_pytorch_tanh", "silu", "`hidden_activation` is `silu`"),
            ("\"sliding_window\": 512", "\"sliding_window\": null", "`sliding_window` is null, and"),
            (
                "\"rope_scaling\": null",
                "\"rope_parameters\": {\"rope_theta\": 1e4}",
                "`rope_parameters` is not by",
            ),
            (
                "\"rope_scaling\": null",
                "\"rope_parameters\": {\"sliding_attention\": {\"rope_type\": \"linear\", \"factor\": 2}}",
                "the `rope_type` of `sliding_attention` is `linear`",
            ),
        ] {
            let error = refused(from, to);
            assert!(error.contains(part) && error.contains("not computed here"), "{error}");
        }
        // Where every layer sees everything, it says nothing.
        let all = published("\"sliding_window\": 512", "\"sliding_window\": null");
        let all = all.replace("pattern\": 6", "pattern\": 1");
        assert_eq!(network(&all).unwrap().variant.windows, None);
        let scores = network(&published("scalar\": 256", "scalar\": 168")).unwrap();
        assert_eq!(scores.variant.score_width, Some(168));
    }
}
