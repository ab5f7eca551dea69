//! A child's `config.json`: its model's, with what became another number in the child.

use serde_json::{Map, Value};

use super::config::HfConfig;
use super::folder::CONFIG;
use super::settings::torch;
use crate::model::package::Package;
use crate::tensor::dtype::DType;

/// What became another number.
#[derive(Debug, Default, Clone)]
pub struct Changes {
    /// The encoding.
    pub dtype: Option<DType>,
    /// The child's layers.
    pub layers: Option<Vec<LayerOf>>,
    /// Rows of the matrices that have one for each token.
    pub vocab_size: Option<usize>,
    /// Whether the output matrix became one of its own.
    pub untied: bool,
}

/// A layer of the child, by where it comes from.
#[derive(Debug, Clone)]
pub struct LayerOf {
    /// What errors call the model.
    pub model: String,
    /// Its configuration, where it has a file of it.
    pub config: Option<Vec<u8>>,
    /// The layer's number there.
    pub number: usize,
}

impl LayerOf {
    /// A layer of a model.
    pub fn new(model: &str, package: &Package, number: usize) -> Self {
        let config = package.companion(CONFIG).map(|file| file.bytes.clone());
        Self { model: model.to_owned(), config, number }
    }

    /// Whether nothing in the model limits how far its attention sees.
    fn sees_everything(&self) -> bool {
        let windowless = |config: &Vec<u8>| {
            let known = HfConfig::parse(config).ok().flatten();
            known.is_some_and(|config| {
                config.sliding_window.is_none() && config.gemma3.is_none_or(|own| own.windows.is_none())
            })
        };
        self.config.as_ref().is_none_or(windowless)
    }
}

/// What newer folders list of each layer, and what they say of one whose attention sees everything.
const LAYER_TYPES: &str = "layer_types";
const FULL_ATTENTION: &str = "full_attention";

/// Why a file cannot be mended.
#[derive(Debug, thiserror::Error)]
pub enum MendError {
    /// No JSON object.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// It counts its layers by a key that is not known here.
    #[error("it does not say how many layers it has ({})", COUNTS.join(", "))]
    Layers,
    /// It says something of each layer and another model's does not.
    #[error(
        "`{key}` says something of each layer, and `{model}`, whose layer {number} becomes the child's layer \
         {layer}, does not say it; a folder whose {CONFIG} has `{key}` does"
    )]
    List {
        /// The key.
        key: String,
        /// The model that does not say it.
        model: String,
        /// The layer there.
        number: usize,
        /// The layer, in the child.
        layer: usize,
    },
    /// A model of a layer whose configuration is none.
    #[error("the {CONFIG} of `{model}`: {why}")]
    Other {
        /// The model.
        model: String,
        /// What is wrong.
        why: serde_json::Error,
    },
}

/// What numbers of layers are called.
pub(in crate::model) const COUNTS: [&str; 4] = ["num_hidden_layers", "n_layer", "n_layers", "num_layers"];

impl Changes {
    /// Whether nothing became another number.
    pub fn are_none(&self) -> bool {
        self.dtype.is_none() && self.layers.is_none() && self.vocab_size.is_none() && !self.untied
    }

    /// The file with the changes; everything else stays.
    ///
    /// # Errors
    ///
    /// [`MendError::Json`] of what is no JSON object. Of other layers, [`MendError::Layers`] if it does not say
    /// how many it has, [`MendError::List`] of a key that says something of each layer and that the model of
    /// one does not have, [`MendError::Other`] of such a model's file.
    pub fn mend(&self, bytes: &[u8]) -> Result<Vec<u8>, MendError> {
        let mut config: Map<String, Value> = serde_json::from_slice(bytes)?;
        if let Some(layers) = &self.layers {
            stack(&mut config, layers)?;
        }
        if let Some(dtype) = self.dtype {
            let key = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
            config.insert(key.to_owned(), torch(dtype).into());
        }
        if let Some(rows) = self.vocab_size {
            config.insert("vocab_size".to_owned(), rows.into());
        }
        if self.untied {
            config.insert("tie_word_embeddings".to_owned(), false.into());
        }
        let mut bytes = serde_json::to_vec_pretty(&config)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// Another number of layers; what is listed by layer is listed for those that there are.
fn stack(config: &mut Map<String, Value>, layers: &[LayerOf]) -> Result<(), MendError> {
    let count = COUNTS.into_iter().find_map(|key| Some((key, config.get(key)?.as_u64()?)));
    let (key, had) = count.ok_or(MendError::Layers)?;
    spell_out(config)?;
    config.insert(key.to_owned(), layers.len().into());
    let is_listed = |(key, value): &(&String, &Value)| {
        key.contains("layer") && value.as_array().is_some_and(|list| list.len() as u64 == had)
    };
    let listed: Vec<(String, Value)> =
        config.iter().filter(is_listed).map(|(key, list)| (key.clone(), list.clone())).collect();
    if listed.is_empty() {
        return Ok(());
    }
    let sources: Vec<Map<String, Value>> = layers.iter().map(settings).collect::<Result<_, _>>()?;
    for (key, own) in listed {
        let entry = |(layer, (of, source)): (usize, (&LayerOf, &Map<String, Value>))| {
            let found = match source.get(&key) {
                None | Some(Value::Null) => unlisted(&key, &own, of),
                Some(list) => list.get(of.number).cloned(),
            };
            let (model, number) = (&of.model, of.number);
            found.ok_or_else(|| MendError::List { key: key.clone(), model: model.clone(), number, layer })
        };
        let list = layers.iter().zip(&sources).enumerate().map(entry).collect::<Result<_, _>>()?;
        config.insert(key, Value::Array(list));
    }
    Ok(())
}

/// What the model of a layer says; nothing if it has no such file.
fn settings(layer: &LayerOf) -> Result<Map<String, Value>, MendError> {
    let Some(bytes) = &layer.config else { return Ok(Map::new()) };
    let other = |why| MendError::Other { model: layer.model.clone(), why };
    let mut settings = serde_json::from_slice(bytes).map_err(other)?;
    spell_out(&mut settings).map_err(other)?;
    Ok(settings)
}

/// Lists what each layer sees where a period says it: in a child of other layers it would be of others.
fn spell_out(config: &mut Map<String, Value>) -> Result<(), serde_json::Error> {
    if config.get(LAYER_TYPES).is_some_and(|list| !list.is_null()) {
        return Ok(());
    }
    let known = HfConfig::parse(&serde_json::to_vec(config)?).ok().flatten();
    if let Some(types) = known.and_then(|known| known.layer_types()) {
        config.insert(LAYER_TYPES.to_owned(), types.into());
    }
    Ok(())
}

/// What a list that a model does not have would say of its layer, where that is known: what the child's
/// model, whose list is `own`, says of every layer, if nothing in the other one contradicts it.
fn unlisted(key: &str, own: &Value, layer: &LayerOf) -> Option<Value> {
    let full = Value::from(FULL_ATTENTION);
    let everywhere = own.as_array().is_some_and(|list| list.iter().all(|entry| *entry == full));
    (key == LAYER_TYPES && everywhere && layer.sees_everything()).then_some(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(changes: &Changes, text: &str) -> Value {
        serde_json::from_slice(&changes.mend(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn what_is_listed_by_layer_is_stacked() {
        let one = r#"{"num_hidden_layers": 2, "layer_types": ["a", "b"], "eos_token_id": [1, 2]}"#;
        let two = r#"{"num_hidden_layers": 3, "layer_types": ["c", "d", "e"]}"#;
        let layer = |text: &str, number| LayerOf {
            model: "other".to_owned(),
            config: Some(text.as_bytes().to_vec()),
            number,
        };
        let layers = vec![layer(one, 0), layer(one, 1), layer(two, 1), layer(two, 2)];
        let changes = Changes { layers: Some(layers), ..Changes::default() };
        let config = mended(&changes, one);
        assert_eq!(config["num_hidden_layers"], 4);
        assert_eq!(config["layer_types"], serde_json::json!(["a", "b", "d", "e"]));
        assert_eq!(config["eos_token_id"], serde_json::json!([1, 2]));
        assert_eq!(mended(&changes, r#"{"n_layer": 2}"#), serde_json::json!({"n_layer": 4}));

        assert!(matches!(changes.mend(b"{}"), Err(MendError::Layers)));
        let without = Changes { layers: Some(vec![layer("{}", 0)]), ..Changes::default() };
        let error = without.mend(one.as_bytes()).unwrap_err().to_string();
        for part in ["`layer_types` says", "`other`, whose layer 0", "the child's layer 0", "config.json"] {
            assert!(error.contains(part), "{error}");
        }
    }

    /// A file without a configuration, and a folder of an older version.
    #[test]
    fn a_list_that_is_not_there_means_what_is_said_of_every_layer() {
        let types = |second: &str, config: Option<&str>| {
            let like =
                format!(r#"{{"num_hidden_layers": 2, "layer_types": ["full_attention", "{second}"]}}"#);
            let config = config.map(|text| text.as_bytes().to_vec());
            let layer = LayerOf { model: "other".to_owned(), config, number: 1 };
            let changes = Changes { layers: Some(vec![layer]), ..Changes::default() };
            let mended = changes.mend(like.as_bytes()).ok()?;
            let config: Value = serde_json::from_slice(&mended).unwrap();
            Some(config["layer_types"].clone())
        };
        let (full, sliding) = ("full_attention", "sliding_attention");
        let older = r#"{"model_type": "mistral", "hidden_size": 8, "num_hidden_layers": 2, "vocab_size": 32,
            "num_attention_heads": 4, "intermediate_size": 16, "max_position_embeddings": 64,
            "rms_norm_eps": 1e-6, "sliding_window": null}"#;
        let listed = Some(serde_json::json!([full]));
        assert_eq!(types(full, None), listed);
        assert_eq!(types(full, Some(older)), listed);
        assert_eq!(types(full, Some(&older.replace("null", "32"))), None);
        assert_eq!(types(full, Some("{}")), None);
        assert_eq!(types(sliding, None), None);
        assert_eq!(types(sliding, Some(older)), None);
        // One that is too short is no list that is not there.
        assert_eq!(types(full, Some(r#"{"layer_types": []}"#)), None);
    }

    /// Its period would be of other layers in the child.
    #[test]
    fn windows_that_a_period_says_are_listed_when_layers_are_stacked() {
        let gemma3 = r#"{"model_type": "gemma3_text", "hidden_size": 8, "num_hidden_layers": 3, "vocab_size": 32,
            "num_attention_heads": 4, "intermediate_size": 16, "max_position_embeddings": 64,
            "rms_norm_eps": 1e-6, "sliding_window": 4, "sliding_window_pattern": 2}"#;
        let layer =
            |number| LayerOf { model: "other".to_owned(), config: Some(gemma3.as_bytes().to_vec()), number };
        let layers = Some(vec![layer(0), layer(1), layer(1), layer(2)]);
        let config = mended(&Changes { layers, ..Changes::default() }, gemma3);
        let [near, far] = ["sliding_attention", FULL_ATTENTION];
        assert_eq!(config["layer_types"], serde_json::json!([near, far, far, near]));
        let network = HfConfig::parse(config.to_string().as_bytes()).unwrap().unwrap().network().unwrap();
        assert_eq!(network.variant.windows.unwrap().full, [1, 2]);
    }

    #[test]
    fn everything_else_stays() {
        assert!(Changes::default().are_none());
        let changes =
            Changes { dtype: Some(DType::BF16), vocab_size: Some(9), untied: true, ..Changes::default() };
        assert!(!changes.are_none());
        let config = mended(&changes, r#"{"dtype": "float32", "vocab_size": 12, "x": [{}]}"#);
        let expected = serde_json::json!({
            "dtype": "bfloat16", "vocab_size": 9, "tie_word_embeddings": false, "x": [{}],
        });
        assert_eq!(config, expected);
        assert_eq!(mended(&changes, "{}")["torch_dtype"], "bfloat16");
    }
}
