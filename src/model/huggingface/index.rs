//! `model.safetensors.index.json`: which tensor is in which file.
//!
//! ```text
//! {"metadata": {"total_size": 2200119296},
//!  "weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors", ...}}
//! ```
//!
//! A file name here is opened later, so it must be nothing but a name. A tensor listed twice would be
//! in one file for some readers and in another for the rest, so that is no index.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

/// The longest file name that can be there.
const MAX_NAME: usize = 255;

/// The extension of every file an index may name.
const EXTENSION: &str = ".safetensors";

/// A checked index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Bytes of all tensors, if the index says so. Savers have counted differently; nothing relies on
    /// it.
    pub total_size: Option<u64>,
    /// The file of each tensor: a plain name.
    pub weight_map: BTreeMap<String, String>,
}

/// Why a file is no index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Not JSON, not this JSON, or a key twice.
    #[error("is not a usable index: {0}")]
    Json(#[from] serde_json::Error),
    /// A file name that is more than a name, or of no file that can be read.
    #[error(
        "says that tensor {tensor:?} is in {file:?}; a file's name there must be that of a .safetensors file beside it"
    )]
    FileName {
        /// The tensor.
        tensor: String,
        /// The name.
        file: String,
    },
    /// No tensors.
    #[error("lists no tensors")]
    Empty,
}

impl Index {
    /// Reads an index.
    ///
    /// # Errors
    ///
    /// [`IndexError::Json`] of what is no such JSON, or has a tensor twice; [`IndexError::Empty`] without
    /// tensors; [`IndexError::FileName`] of a file that is no `.safetensors` beside it.
    pub fn parse(bytes: &[u8]) -> Result<Self, IndexError> {
        let Raw { metadata, weight_map: WeightMap(weight_map) } = serde_json::from_slice(bytes)?;
        if weight_map.is_empty() {
            return Err(IndexError::Empty);
        }
        if let Some((tensor, file)) = weight_map.iter().find(|(_, file)| !is_plain_name(file)) {
            return Err(IndexError::FileName { tensor: tensor.clone(), file: file.clone() });
        }
        let total_size = metadata.and_then(|metadata| metadata.total_size).and_then(|size| whole(&size));
        Ok(Self { total_size, weight_map })
    }

    /// Every file it names, sorted.
    pub fn files(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }
}

/// Whether a name can only be that of a safetensors file in the folder itself.
fn is_plain_name(name: &str) -> bool {
    let plain = |character: char| !matches!(character, '/' | '\\') && !character.is_control();
    name.len() > EXTENSION.len()
        && name.len() <= MAX_NAME
        && name.ends_with(EXTENSION)
        && name.chars().all(plain)
}

/// Some savers write the size as a float.
fn whole(number: &serde_json::Number) -> Option<u64> {
    let exact = |size: &f64| size.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(size);
    number.as_u64().or_else(|| number.as_f64().filter(exact).map(|size| size as u64))
}

#[derive(Deserialize)]
struct Raw {
    metadata: Option<RawMetadata>,
    weight_map: WeightMap,
}

#[derive(Deserialize)]
struct RawMetadata {
    total_size: Option<serde_json::Number>,
}

/// Text to text, no key twice.
struct WeightMap(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ReadWeightMap)
    }
}

struct ReadWeightMap;

impl<'de> Visitor<'de> for ReadWeightMap {
    type Value = WeightMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a file name for each tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<WeightMap, A::Error> {
        let mut map = BTreeMap::new();
        while let Some(tensor) = entries.next_key::<String>()? {
            if map.contains_key(&tensor) {
                return Err(de::Error::custom(format_args!("tensor {tensor:?} comes twice")));
            }
            map.insert(tensor, entries.next_value()?);
        }
        Ok(WeightMap(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Index::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_index_is_read() {
        let text = r#"{
  "metadata": { "total_size": 52, "total_parameters": 13 },
  "weight_map": { "b": "model-2.safetensors", "a": "model-1.safetensors", "c": "model-2.safetensors" },
  "later": [1, {"x": null}]
}"#;
        let index = Index::parse(text.as_bytes()).unwrap();
        assert_eq!(index.total_size, Some(52));
        assert_eq!(index.weight_map["c"], "model-2.safetensors");
        assert!(index.files().into_iter().eq(["model-1.safetensors", "model-2.safetensors"]));
        for (metadata, size) in [
            ("", None),
            (r#""metadata": null, "#, None),
            (r#""metadata": {}, "#, None),
            (r#""metadata": {"total_size": 1.6e10}, "#, Some(16_000_000_000)),
            (r#""metadata": {"total_size": -1}, "#, None),
        ] {
            let text = format!(r#"{{{metadata}"weight_map": {{"a": "x.safetensors"}}}}"#);
            assert_eq!(Index::parse(text.as_bytes()).unwrap().total_size, size, "{metadata}");
        }
    }

    #[test]
    fn names_that_lead_away_are_refused() {
        for file in [
            "../x.safetensors",
            "/etc/x.safetensors",
            "a/x.safetensors",
            "..\\x.safetensors",
            "x\\u0000.safetensors",
            "x\\n.safetensors",
            "..",
            "",
            ".safetensors",
            "pytorch_model.bin",
        ] {
            let file = file.replace("..\\x", "..\\\\x");
            let text = format!(r#"{{"weight_map": {{"a": "x.safetensors", "b": "{file}"}}}}"#);
            let error = refused(&text);
            assert!(error.starts_with("says that tensor \"b\" is in "), "{file}: {error}");
        }
        let long = format!(r#"{{"weight_map": {{"a": "{}.safetensors"}}}}"#, "x".repeat(255));
        assert!(refused(&long).contains("tensor \"a\""));
    }

    #[test]
    fn what_is_no_index_is_refused() {
        let error = refused("{\"weight_map\": {\n\"a\": \"x.safetensors\",\n\"a\": \"y.safetensors\"}}");
        assert!(error.contains("tensor \"a\" comes twice at line 3"), "{error}");
        assert!(refused(r#"{"weight_map": {}, "weight_map": {}}"#).contains("duplicate field `weight_map`"));
        assert!(refused(r#"{"metadata": {"total_size": 1, "total_size": 2}}"#).contains("duplicate field"));
        assert!(refused(r#"{"metadata": {}}"#).contains("missing field `weight_map`"));
        assert!(refused(r#"{"weight_map": {"a": 1}}"#).contains("expected a string"));
        assert!(refused(r#"{"weight_map": {"a": "x.safetensors"}} x"#).contains("trailing characters"));
        assert_eq!(refused(r#"{"weight_map": {}}"#), "lists no tensors");
        assert!(refused("").contains("EOF"));
        assert!(refused(&"[".repeat(1 << 20)).contains("is not a usable index"));
        assert!(refused(&format!("{{\"x\":{}", "[".repeat(1 << 20))).contains("is not a usable index"));
        assert!(Index::parse(b"{\"weight_map\": {\"\xff\": \"x.safetensors\"}}").is_err());
    }
}
