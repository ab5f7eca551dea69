//! Which ids begin a sequence, end an answer and fill a batch, for a model that gets another one's tokenizer: in its
//! own files they would be those of other tokens.

use serde_json::{Map, Value};

use super::folder::{CONFIG, GENERATION};
use crate::model::package::Package;

/// Ids that both files may say.
const KEYS: [&str; 4] = ["bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id"];

/// What a model's files say.
#[derive(Debug, Clone, Default)]
pub struct SpecialIds {
    config: Map<String, Value>,
    generation: Map<String, Value>,
}

impl SpecialIds {
    /// Those of a model. What its generation config does not say, its configuration does.
    pub fn of(package: &Package) -> Self {
        let said = |name: &str| {
            let file = package.companion(name).and_then(|file| serde_json::from_slice(&file.bytes).ok());
            let mut file: Map<String, Value> = file.unwrap_or_default();
            file.retain(|key, _| KEYS.contains(&key.as_str()));
            file
        };
        let config = said(CONFIG);
        let mut generation = config.clone();
        generation.extend(said(GENERATION));
        Self { config, generation }
    }

    /// A file of another model with these ids in the place of its own; nothing if such a file says none.
    ///
    /// # Errors
    ///
    /// If the file is no JSON object.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<Option<Vec<u8>>, serde_json::Error> {
        let ids = match name {
            CONFIG => &self.config,
            GENERATION => &self.generation,
            _ => return Ok(None),
        };
        let mut file: Map<String, Value> = serde_json::from_slice(bytes)?;
        file.retain(|key, _| !KEYS.contains(&key.as_str()));
        file.extend(ids.clone());
        let mut bytes = serde_json::to_vec_pretty(&file)?;
        bytes.push(b'\n');
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::package::Companion;
    use crate::model::weights::Weights;

    #[test]
    fn ids_take_the_place_of_others() {
        let mut package = Package::of_weights(Weights::none());
        let file = |name: &str, text: &str| Companion { name: name.to_owned(), bytes: text.into() };
        package.companions = vec![
            file(CONFIG, r#"{"bos_token_id": 1, "eos_token_id": 2, "hidden_size": 8}"#),
            file(GENERATION, r#"{"eos_token_id": [2, 7], "temperature": 0.6}"#),
        ];
        let ids = SpecialIds::of(&package);
        let put = |name, text: &str| -> Value {
            serde_json::from_slice(&ids.put(name, text.as_bytes()).unwrap().unwrap()).unwrap()
        };
        let old = r#"{"bos_token_id": 5, "pad_token_id": 0, "hidden_size": 9}"#;
        assert_eq!(
            put(CONFIG, old),
            serde_json::json!({"bos_token_id": 1, "eos_token_id": 2, "hidden_size": 9})
        );
        let generation = put(GENERATION, r#"{"eos_token_id": 3, "top_p": 0.9}"#);
        let expected = serde_json::json!({"bos_token_id": 1, "eos_token_id": [2, 7], "top_p": 0.9});
        assert_eq!(generation, expected);
        assert_eq!(ids.put("tokenizer.json", b"{}").unwrap(), None);
        assert!(ids.put(CONFIG, b"[]").is_err());
    }
}
