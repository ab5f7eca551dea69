//! A child's `config.json`: its model's, with what became another number in the child.

use serde_json::{Map, Value};

use super::settings::torch;
use crate::tensor::dtype::DType;

/// What became another number.
#[derive(Debug, Default, Clone)]
pub struct Changes {
    /// The encoding.
    pub dtype: Option<DType>,
    /// The child's layers: for each the configuration of the model it comes from, and its number there.
    pub layers: Option<Vec<(Vec<u8>, usize)>>,
    /// Rows of the matrices that have one for each token.
    pub vocab_size: Option<usize>,
    /// Whether the output matrix became one of its own.
    pub untied: bool,
}

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
        "`{key}` says something of each layer, and that of the model of the child's layer {layer} does not"
    )]
    List {
        /// The key.
        key: String,
        /// The layer, in the child.
        layer: usize,
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
fn stack(config: &mut Map<String, Value>, layers: &[(Vec<u8>, usize)]) -> Result<(), MendError> {
    let count = COUNTS.into_iter().find_map(|key| Some((key, config.get(key)?.as_u64()?)));
    let (key, had) = count.ok_or(MendError::Layers)?;
    config.insert(key.to_owned(), layers.len().into());
    let is_listed = |(key, value): &(&String, &Value)| {
        key.contains("layer") && value.as_array().is_some_and(|list| list.len() as u64 == had)
    };
    let listed: Vec<String> = config.iter().filter(is_listed).map(|(key, _)| key.clone()).collect();
    if listed.is_empty() {
        return Ok(());
    }
    let sources: Vec<Map<String, Value>> =
        layers.iter().map(|(bytes, _)| serde_json::from_slice(bytes)).collect::<Result<_, _>>()?;
    for key in listed {
        let mut list = Vec::with_capacity(layers.len());
        for (layer, (source, (_, number))) in sources.iter().zip(layers).enumerate() {
            match source.get(&key).and_then(|entries| entries.get(number)) {
                Some(entry) => list.push(entry.clone()),
                None => return Err(MendError::List { key, layer }),
            }
        }
        config.insert(key, Value::Array(list));
    }
    Ok(())
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
        let layer = |text: &str, number| (text.as_bytes().to_vec(), number);
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
        assert!(error.contains("`layer_types`") && error.contains("layer 0"), "{error}");
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
