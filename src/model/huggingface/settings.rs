//! `config.json` of a network that came from elsewhere: a new one, in the library's words.

use serde_json::Value;

use super::gemma3::layer_types;
use crate::model::config::{ConfigError, ModelConfig};
use crate::model::norms::Norms;
use crate::model::tokenizer::{BOS, EOS, PAD, Tokenizer};
use crate::model::variant::{Activation, BIAS, RopeScale, Variant};
use crate::tensor::dtype::DType;

/// What the library calls an encoding; f32 for what it has no word for.
pub fn torch(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        DType::F64 => "float64",
        DType::F32 | DType::Q8_0 | DType::Q4_0 | DType::GgmlQ8_0 => "float32",
    }
}

/// The families that a network from elsewhere is written as.
#[derive(Clone, Copy)]
enum Family {
    /// Biases on all of attention, all of feed-forward, or nothing.
    Llama,
    /// Biases on queries, keys and values.
    Qwen2,
    /// Norms of each query and key head; biases on all of attention, or nothing.
    Qwen3,
    /// Norms behind attention and feed-forward; biases on all of attention, or nothing.
    Olmo2,
    /// Everything that gemma3 does; biases on all of attention, or nothing.
    Gemma3,
}

impl Family {
    /// The family that has these biases and norms, and does all else that such a network does.
    fn of(variant: &Variant) -> Option<Self> {
        let Variant { qkv_bias, output_bias, ffn_bias, norms, .. } = *variant;
        if variant.family() == Variant::GEMMA3.family() {
            return (qkv_bias == output_bias && !ffn_bias).then_some(Self::Gemma3);
        }
        let plain = Variant { norms, ..Variant::PLAIN };
        if variant.family() != plain.family() || variant.windows.is_some() || variant.score_width.is_some() {
            return None;
        }
        match (qkv_bias == output_bias, ffn_bias, norms) {
            (true, false, Norms::QWEN3) => Some(Self::Qwen3),
            (true, false, Norms::OLMO2) => Some(Self::Olmo2),
            (true, _, Norms::PLAIN) => Some(Self::Llama),
            (false, false, Norms::PLAIN) if qkv_bias => Some(Self::Qwen2),
            _ => None,
        }
    }

    /// Its `model_type`, and its class in the library.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Llama => ("llama", "LlamaForCausalLM"),
            Self::Qwen2 => ("qwen2", "Qwen2ForCausalLM"),
            Self::Qwen3 => ("qwen3", "Qwen3ForCausalLM"),
            Self::Olmo2 => ("olmo2", "Olmo2ForCausalLM"),
            Self::Gemma3 => ("gemma3_text", "Gemma3ForCausalLM"),
        }
    }
}

/// Whether the file can say what the network is: which family has its biases and norms.
///
/// # Errors
///
/// The first field that cannot be, as [`ModelConfig::validate`] says, or that no family has together with the
/// others.
pub fn check(config: &ModelConfig) -> Result<(), ConfigError> {
    config.validate()?;
    if Family::of(&config.variant).is_some() {
        return Ok(());
    }
    let Variant { norms, rope, .. } = config.variant;
    let own = if norms == Norms::GEMMA3 { Variant::GEMMA3 } else { Variant { norms, ..Variant::PLAIN } };
    let own = Variant { rope, ..own };
    // Biases last: a family has some of them, where of the rest it has one way.
    let mut differences = config.variant.differences(&own);
    differences.sort_by_key(|(field, ..)| *field == BIAS);
    let (field, found, own) =
        differences.into_iter().next().unwrap_or_else(|| ("norm", norms.to_string(), "another".to_owned()));
    let expected = match (field == BIAS, norms.are_plain()) {
        (false, _) => format!("{own}, as the families with these norms have it"),
        (true, true) => {
            "that of qwen2 (on queries, keys and values) or of llama (on all of attention, on all of \
                         feed-forward)"
                .to_owned()
        }
        (true, false) => {
            "none, or on all of attention, as in qwen3, olmo2 and gemma3, whose norms these are".to_owned()
        }
    };
    Err(ConfigError { field, found, expected })
}

/// The file of a network that came from elsewhere. The ids that begin and end texts are the tokenizer's.
///
/// A network that no family has ([`check`]) is written as a `llama`.
pub fn write(config: &ModelConfig, dtype: DType, tokenizer: Option<&Tokenizer>) -> Vec<u8> {
    write_with(config, dtype, &ids(tokenizer, None))
}

/// The file of a network that came from elsewhere, with these ids ([`ids`]).
pub fn write_with(config: &ModelConfig, dtype: DType, ids: &[(&'static str, Value)]) -> Vec<u8> {
    let Variant { qkv_bias, ffn_bias, rope, .. } = config.variant;
    let family = Family::of(&config.variant).unwrap_or(Family::Llama);
    let (model_type, class) = family.names();
    let mut file = serde_json::json!({
        "architectures": [class],
        "head_dim": config.head_dim,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.ffn_size,
        "max_position_embeddings": config.max_context,
        "model_type": model_type,
        "num_attention_heads": config.head_count,
        "num_hidden_layers": config.layer_count,
        "num_key_value_heads": config.kv_head_count,
        "rms_norm_eps": decimal(config.rms_norm_epsilon),
        "rope_theta": decimal(config.rope_theta),
        "tie_word_embeddings": config.tied_output,
        "torch_dtype": torch(dtype),
        "vocab_size": config.vocab_size,
    });
    let mut say = |key: &str, value: Value| file[key] = value;
    if config.variant.activation == Activation::Silu {
        say("hidden_act", Value::from("silu"));
    }
    match family {
        Family::Llama => {
            say("attention_bias", Value::Bool(qkv_bias));
            say("mlp_bias", Value::Bool(ffn_bias));
        }
        Family::Qwen2 => say("use_sliding_window", Value::Bool(false)),
        Family::Qwen3 => {
            say("attention_bias", Value::Bool(qkv_bias));
            say("use_sliding_window", Value::Bool(false));
        }
        Family::Olmo2 => say("attention_bias", Value::Bool(qkv_bias)),
        Family::Gemma3 => {
            say("attention_bias", Value::Bool(qkv_bias));
            gemma3(config, &mut say);
        }
    }
    scaling(&rope).into_iter().for_each(|scaling| say("rope_scaling", scaling));
    ids.iter().for_each(|(key, ids)| say(key, ids.clone()));
    let mut bytes = serde_json::to_vec_pretty(&file).expect("plain values");
    bytes.push(b'\n');
    bytes
}

/// What gemma3 says beyond the others: `hidden_act` under another name, and its windows.
fn gemma3(config: &ModelConfig, say: &mut dyn FnMut(&str, Value)) {
    let Variant { score_width, windows, .. } = &config.variant;
    say("hidden_activation", Value::from("gelu_pytorch_tanh"));
    say("layer_types", Value::from(layer_types(windows.as_ref(), config.layer_count)));
    say("query_pre_attn_scalar", Value::from(score_width.unwrap_or(config.head_dim)));
    if let Some(windows) = windows {
        say("rope_local_base_freq", Value::from(decimal(windows.rope_theta)));
        say("sliding_window", Value::from(windows.size));
    }
    for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
        say(key, Value::Null);
    }
}

/// A way of scaling as the library reads it; nothing where there is none.
fn scaling(rope: &RopeScale) -> Option<serde_json::Value> {
    Some(match *rope {
        RopeScale::Plain => return None,
        RopeScale::Linear { factor } => serde_json::json!({ "rope_type": "linear", "factor": factor }),
        RopeScale::Llama3 { factor, low, high, original } => serde_json::json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low,
            "high_freq_factor": high,
            "original_max_position_embeddings": tokens(original),
        }),
        RopeScale::Yarn { factor, fast, slow, original, attention, truncate } => serde_json::json!({
            "rope_type": "yarn",
            "factor": factor,
            "beta_fast": fast,
            "beta_slow": slow,
            "original_max_position_embeddings": tokens(original),
            "attention_factor": attention,
            "truncate": truncate,
        }),
    })
}

/// A context in whole tokens, as the library insists on where it is one.
fn tokens(context: f64) -> serde_json::Value {
    let whole = context.fract() == 0.0 && context < f64::from(u32::MAX);
    if whole { (context as u64).into() } else { context.into() }
}

/// The shortest decimal of the f32, not the f64 next to it.
pub fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// Which ids stand before a text, end one and fill it up; `pad` is what else says the last.
pub fn ids(tokenizer: Option<&Tokenizer>, pad: Option<u32>) -> Vec<(&'static str, Value)> {
    let Some(Tokenizer::HuggingFace(tokenizer)) = tokenizer else {
        let own = [("bos_token_id", BOS), ("eos_token_id", EOS), ("pad_token_id", PAD)];
        return own.map(|(key, id)| (key, Value::from(id))).to_vec();
    };
    let begins = tokenizer.begin().map(|id| ("bos_token_id", Value::from(id)));
    let ends = match tokenizer.ends() {
        [] => None,
        [id] => Some(Value::from(*id)),
        ids => Some(Value::from(ids)),
    };
    let ends = ends.map(|ends| ("eos_token_id", ends));
    let pad = pad.filter(|id| tokenizer.bytes(*id).is_some()).map(|id| ("pad_token_id", Value::from(id)));
    [begins, ends, pad].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::huggingface::{HfConfig, RopeScaling};
    use crate::model::windows::Windows;

    #[test]
    fn what_is_written_is_read_back() {
        let tiny = crate::model::config::tests::tiny;
        let rope = RopeScale::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        let yarn = RopeScaling {
            rope_type: Some("yarn".to_owned()),
            factor: Some(4.0),
            original_max_position_embeddings: Some(1024.0),
            ..RopeScaling::default()
        };
        for (biases, rope, norms) in [
            ([false, false, false], RopeScale::Plain, Norms::PLAIN),
            ([true, false, false], rope, Norms::PLAIN),
            ([true, true, false], RopeScale::Linear { factor: 2.5 }, Norms::PLAIN),
            ([false, false, true], yarn.scale().unwrap(), Norms::PLAIN),
            ([false, false, false], rope, Norms::QWEN3),
            ([true, true, false], RopeScale::Plain, Norms::QWEN3),
            ([false, false, false], RopeScale::Plain, Norms::OLMO2),
            ([true, true, false], RopeScale::Plain, Norms::OLMO2),
        ] {
            let [qkv_bias, output_bias, ffn_bias] = biases;
            let variant = Variant { qkv_bias, output_bias, ffn_bias, rope, norms, ..Variant::PLAIN };
            let config = ModelConfig { variant, head_dim: 6, ..tiny() };
            assert!(check(&config).is_ok());
            let written = write(&config, DType::BF16, None);
            assert_eq!(HfConfig::parse(&written).unwrap().unwrap().network().as_ref(), Ok(&config));
        }
        let windows = Windows { size: 5, rope_theta: 2e4, full: vec![1] };
        for (windows, score_width, bias) in [(Some(windows), None, true), (None, Some(8), false)] {
            let rope = RopeScale::Linear { factor: 8.0 };
            let build = Variant { qkv_bias: bias, output_bias: bias, rope, ..Variant::GEMMA3 };
            let variant = Variant { windows, score_width, ..build };
            let config = ModelConfig { variant, head_dim: 6, layer_count: 3, tied_output: bias, ..tiny() };
            assert!(check(&config).is_ok());
            let written = write(&config, DType::BF16, None);
            assert_eq!(HfConfig::parse(&written).unwrap().unwrap().network().as_ref(), Ok(&config));
        }
        for strange in [
            Variant { windows: Some(Windows { size: 5, rope_theta: 2e4, full: vec![] }), ..Variant::PLAIN },
            Variant { scaled_embeddings: true, ..Variant::PLAIN },
            Variant { activation: Activation::GeluTanh, norms: Norms::QWEN3, ..Variant::PLAIN },
            Variant { ffn_bias: true, ..Variant::GEMMA3 },
        ] {
            assert!(check(&ModelConfig { variant: strange, ..tiny() }).is_err());
        }
        let variant = Variant { output_bias: true, ..Variant::PLAIN };
        let error = check(&ModelConfig { variant, ..tiny() }).unwrap_err().to_string();
        assert!(error.starts_with("bias is on attention's output;") && error.contains("qwen2"), "{error}");
        let variant = Variant { qkv_bias: true, norms: Norms::QWEN3, ..Variant::PLAIN };
        let error = check(&ModelConfig { variant, ..tiny() }).unwrap_err().to_string();
        let told = "bias is on queries, keys and values; expected none, or on all of attention, as in qwen3";
        assert!(error.starts_with(told), "{error}");
    }
}
