//! What two networks compute differently, whatever their weights are.
//!
//! Weights are added, subtracted and compared element by element, and that says something of the models if
//! the networks do the same with them. Where both networks are known here, their own facts are compared; of
//! others the keys of `config.json`, but for those that no number follows from. A model that says nothing
//! of its network (a bare file) contradicts nobody.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::config::ModelConfig;
use super::huggingface::config::HfConfig;
use super::huggingface::folder::CONFIG;
use super::huggingface::mend::COUNTS;
use super::identity::{Difference, DifferenceKind, architecture_differences};
use super::package::Package;
use super::variant::{ROPE, SCORES, WINDOWS};

/// Something that two networks do not do alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlike {
    /// The field, such as `architecture.head_count` or `config.num_attention_heads`.
    pub field: String,
    /// What the first model says.
    pub ours: String,
    /// What the second one says.
    pub theirs: String,
    /// What that means for their weights.
    pub bearing: Bearing,
}

/// What a difference means for weights of the same name and shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bearing {
    /// They are of different computations: an element of one is no element of the other.
    Network,
    /// They are of one computation with another constant in it.
    Constant,
    /// One of the two does not say it; what it means by that depends on who reads it.
    Unsaid,
    /// None: it says how many there are, or which of them are the same, and the tensors tell.
    Extent,
}

impl From<Unlike> for Difference {
    fn from(Unlike { field, ours, theirs, .. }: Unlike) -> Self {
        Self { kind: DifferenceKind::Architecture, field, ours, theirs }
    }
}

/// Every way in which two networks compute differently, as far as both models tell.
pub fn unlike(ours: &Package, theirs: &Package) -> Vec<Unlike> {
    if let (Ok(one), Ok(other)) = (&ours.config, &theirs.config) {
        let mut found = of_known(one, other);
        found.extend(of_family(ours, theirs));
        return found;
    }
    match (keys(ours), keys(theirs)) {
        (Some(ours), Some(theirs)) => by_key(&ours, &theirs),
        _ => Vec::new(),
    }
}

fn of_known(ours: &ModelConfig, theirs: &ModelConfig) -> Vec<Unlike> {
    let found = architecture_differences(ours, theirs).into_iter().map(|found| {
        let bearing = match found.field.rsplit('.').next().unwrap_or_default() {
            "vocab_size" | "special_token_count" | "layer_count" | "tied_output" => Bearing::Extent,
            "max_context" | "rope_theta" | "rms_norm_epsilon" | ROPE | SCORES | WINDOWS => Bearing::Constant,
            _ => Bearing::Network,
        };
        let Difference { field, ours, theirs, .. } = found;
        Unlike { field, ours, theirs, bearing }
    });
    found.collect()
}

/// What folders of the known family say beyond the facts of the network that is computed here: within the
/// context of both it may come to the same, and beyond it not.
fn of_family(ours: &Package, theirs: &Package) -> Vec<Unlike> {
    let (Some(ours), Some(theirs)) = (HfConfig::of(ours), HfConfig::of(theirs)) else { return Vec::new() };
    let window = |config: &HfConfig| config.sliding_window.map_or("none".to_owned(), |size| size.to_string());
    let dynamic = |config: &HfConfig| {
        config.dynamic_factor().map_or("none".to_owned(), |factor| format!("by {factor}"))
    };
    let model_type = |config: &HfConfig| config.model_type.clone();
    let fields = [
        ("model_type", model_type(&ours), model_type(&theirs), Bearing::Network),
        ("sliding_window", window(&ours), window(&theirs), Bearing::Constant),
        ("dynamic_rope", dynamic(&ours), dynamic(&theirs), Bearing::Constant),
    ];
    let differ = fields.into_iter().filter(|(_, ours, theirs, _)| ours != theirs);
    let unlike = |(field, ours, theirs, bearing)| Unlike {
        field: format!("architecture.{field}"),
        ours,
        theirs,
        bearing,
    };
    differ.map(unlike).collect()
}

/// The keys of a `config.json` that a number follows from, those of objects behind a dot.
type Keys = BTreeMap<String, Value>;

fn keys(package: &Package) -> Option<Keys> {
    let config: Map<String, Value> = serde_json::from_slice(&package.companion(CONFIG)?.bytes).ok()?;
    let mut keys = Keys::new();
    flatten("", config, &mut keys);
    Some(keys)
}

fn flatten(above: &str, object: Map<String, Value>, keys: &mut Keys) {
    for (key, value) in object {
        if SILENT.contains(&key.as_str()) || SILENT_PARTS.iter().any(|part| key.contains(part)) {
            continue;
        }
        let path = one_spelling(&format!("{above}{key}"));
        match value {
            Value::Object(inner) => flatten(&format!("{path}."), inner, keys),
            // As good as nothing.
            Value::Null => {}
            Value::String(kind) if path.ends_with("rope_scaling.rope_type") && kind == "default" => {}
            value => {
                keys.insert(path, value);
            }
        }
    }
}

/// Newer versions of the library write what concerns rotary frequencies elsewhere.
fn one_spelling(path: &str) -> String {
    let path = path.replace("rope_parameters", "rope_scaling");
    let path = path.replace("rope_scaling.rope_theta", "rope_theta");
    match path.strip_suffix("rope_scaling.type") {
        Some(above) => format!("{above}rope_scaling.rope_type"),
        None => path.replace("rope_scaling.partial_rotary_factor", "partial_rotary_factor"),
    }
}

/// Keys that say how a model is loaded, trained or asked, and nothing of what it computes.
const SILENT: [&str; 33] = [
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "_name_or_path",
    "attn_implementation",
    "auto_map",
    "chunk_size_feed_forward",
    "do_sample",
    "dtype",
    "finetuning_task",
    "gradient_checkpointing",
    "id2label",
    "initializer_factor",
    "initializer_range",
    "label2id",
    "max_length",
    "num_logits_to_keep",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "pretraining_tp",
    "problem_type",
    "return_dict",
    "router_aux_loss_coef",
    "task_specific_params",
    "tf_legacy_loss",
    "tokenizer_class",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "use_bfloat16",
    "use_cache",
    "use_return_dict",
];

/// The same, of all keys that have this in them. (`summary_` is of a head that language models lack.)
const SILENT_PARTS: [&str; 5] = ["_token_id", "dropout", "pdrop", "summary_", "unsloth"];

/// What is in the keys that say which computation it is; any other key is a constant of it.
const NETWORK_PARTS: [&str; 17] = [
    "activation",
    "alibi",
    "architectures",
    "d_ff",
    "d_model",
    "embd",
    "expert",
    "ffn",
    "head",
    "hidden",
    "inner",
    "intermediate",
    "model_type",
    "multi_query",
    "parallel_residual",
    "partial_rotary",
    "rotary_pct",
];

fn by_key(ours: &Keys, theirs: &Keys) -> Vec<Unlike> {
    let mut found = Vec::new();
    let all = ours.keys().chain(theirs.keys().filter(|key| !ours.contains_key(*key)));
    for key in all {
        let (one, other) = (ours.get(key), theirs.get(key));
        if one.is_some_and(|one| other.is_some_and(|other| same(one, other))) {
            continue;
        }
        let said = |value: Option<&Value>| match value {
            None => "not said".to_owned(),
            Some(Value::String(word)) => word.clone(),
            Some(other) => other.to_string(),
        };
        found.push(Unlike {
            field: format!("config.{key}"),
            ours: said(one),
            theirs: said(other),
            bearing: bearing(key, one, other),
        });
    }
    found
}

/// Whether two values are one: `10000` is `10000.0`.
fn same(one: &Value, other: &Value) -> bool {
    one == other || one.as_f64().is_some_and(|one| other.as_f64() == Some(one))
}

fn bearing(key: &str, one: Option<&Value>, other: Option<&Value>) -> Bearing {
    let last = key.rsplit('.').next().unwrap_or(key);
    let is_one_of = |names: &[&str]| names.contains(&last);
    let length = |value: Option<&Value>| value.and_then(Value::as_array).map(Vec::len);
    let other_depth = last.contains("layer") && length(one) != length(other);
    if is_one_of(&["vocab_size", "tie_word_embeddings"]) || is_one_of(&COUNTS) || other_depth {
        Bearing::Extent
    } else if key.contains("rope_scaling") && last != "partial_rotary_factor" {
        // Whoever says nothing of it has none.
        Bearing::Constant
    } else if one.is_none() || other.is_none() {
        Bearing::Unsaid
    } else if last.ends_with("_act") || NETWORK_PARTS.iter().any(|part| last.contains(part)) {
        Bearing::Network
    } else {
        Bearing::Constant
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::package::Companion;
    use crate::model::weights::Weights;

    fn package(config: &str) -> Package {
        let mut package = Package::of_weights(Weights::none());
        package.companions.push(Companion { name: CONFIG.to_owned(), bytes: config.as_bytes().to_vec() });
        if let Ok(Some(known)) = HfConfig::parse(config.as_bytes()) {
            package.config = known.network();
        }
        package
    }

    const LLAMA: &str = r#"{"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "intermediate_size": 16,
        "vocab_size": 32, "max_position_embeddings": 64, "rms_norm_eps": 1e-6}"#;
    const GPT2: &str = r#"{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 8,
        "n_head": 2, "n_layer": 2, "vocab_size": 32, "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new", "rope_theta": 10000, "torch_dtype": "float32"}"#;

    fn found(text: &str, from: &str, to: &str) -> Vec<(String, Bearing)> {
        assert!(text.contains(from), "{from}");
        let found = unlike(&package(text), &package(&text.replace(from, to)));
        found.into_iter().map(|found| (found.field, found.bearing)).collect()
    }

    fn only(text: &str, from: &str, to: &str) -> (String, Bearing) {
        let mut found = found(text, from, to);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[test]
    fn known_networks_differ_in_their_facts() {
        let is = |from: &str, to: &str, field: &str, bearing| {
            assert_eq!(only(LLAMA, from, to), (format!("architecture.{field}"), bearing));
        };
        is("heads\": 4", "heads\": 2", "head_count", Bearing::Network);
        is("\"llama\"", "\"mistral\"", "model_type", Bearing::Network);
        is("1e-6", "1e-5", "rms_norm_epsilon", Bearing::Constant);
        is("\"head_dim\"", "\"rope_theta\": 5e5, \"head_dim\"", "rope_theta", Bearing::Constant);
        let scaled = "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}, \"head_dim\"";
        is("\"head_dim\"", scaled, "rope_scaling", Bearing::Constant);
        is("\"head_dim\"", &scaled.replace("linear", "dynamic"), "dynamic_rope", Bearing::Constant);
        is("\"head_dim\"", "\"attention_bias\": true, \"head_dim\"", "bias", Bearing::Network);
        is("\": 32", "\": 33", "vocab_size", Bearing::Extent);
        assert_eq!(found(LLAMA, "\"head_dim\"", "\"torch_dtype\": \"float16\", \"head_dim\""), []);
        let mistral = LLAMA.replace("\"llama\"", "\"mistral\"");
        let windowed = only(&mistral, "\"head_dim\"", "\"sliding_window\": 64, \"head_dim\"");
        assert_eq!(windowed, ("architecture.sliding_window".to_owned(), Bearing::Constant));
        let gemma3 = LLAMA.replace("\"llama\"", "\"gemma3_text\"");
        for (more, field) in [(WINDOWS, WINDOWS), (SCORES, SCORES), ("rope_local_base_freq", WINDOWS)] {
            let other = only(&gemma3, "\"head_dim\"", &format!("\"{more}\": 64, \"head_dim\""));
            assert_eq!(other, (format!("architecture.{field}"), Bearing::Constant), "{more}");
        }
        let fields: Vec<_> = found(LLAMA, "\"llama\"", "\"gemma3_text\"").into_iter().collect();
        assert!(fields.contains(&("architecture.norm".to_owned(), Bearing::Network)), "{fields:?}");
    }

    #[test]
    fn other_networks_differ_in_the_keys_that_a_number_follows_from() {
        let is = |from: &str, to: &str, key: &str, bearing| {
            assert_eq!(only(GPT2, from, to), (format!("config.{key}"), bearing));
        };
        is("head\": 2", "head\": 4", "n_head", Bearing::Network);
        is("gelu_new", "relu", "activation_function", Bearing::Network);
        is("\"gpt2\"", "\"gptx\"", "model_type", Bearing::Network);
        is("GPT2LM", "Other", "architectures", Bearing::Network);
        is("1e-5", "1e-6", "layer_norm_epsilon", Bearing::Constant);
        is("\"n_layer\": 2", "\"n_layer\": 3", "n_layer", Bearing::Extent);
        is("\"n_layer\"", "\"scale_attn\": true, \"n_layer\"", "scale_attn", Bearing::Unsaid);
        let scaled = "\"rope_scaling\": {\"factor\": 2.0}, \"n_layer\"";
        is("\"n_layer\"", scaled, "rope_scaling.factor", Bearing::Constant);
        for (from, to) in [
            ("float32", "bfloat16"),
            ("\"n_layer\"", "\"resid_pdrop\": 0.1, \"bos_token_id\": 7, \"n_layer\""),
            ("\"n_layer\"", "\"rope_scaling\": null, \"n_layer\""),
            (
                "\"rope_theta\": 10000",
                "\"rope_parameters\": {\"rope_theta\": 1e4, \"rope_type\": \"default\"}",
            ),
        ] {
            assert_eq!(found(GPT2, from, to), [], "{to}");
        }
        // A known network and another one.
        let found = unlike(&package(LLAMA), &package(GPT2));
        assert!(found.iter().any(|found| found.field == "config.model_type"), "{found:?}");
        assert_eq!(unlike(&package(LLAMA), &Package::of_weights(Weights::none())), []);
    }
}
