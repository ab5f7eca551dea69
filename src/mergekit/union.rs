//! The tokens of all models: those of the base, and behind them what the others have besides.
//!
//! As mergekit 0.1.5 has it: first every token that is an added one in no model, then the added ones, each as the
//! first model that has it says; all of them become added tokens of the base's tokenizer, found in a text before
//! it is cut. mergekit takes the tokens of a model in the order of a hash table, another in every run, and without
//! a base the tokenizer of any model; here it is the order of their ids, and the first model.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::tokens::Speaker;
use crate::model::Package;
use crate::model::huggingface::TOKENIZER;

/// A tokenizer that was added to.
pub(super) struct Grown {
    /// The tokens behind those of the base, by their ids.
    pub(super) tokens: Vec<String>,
    /// Its file.
    file: Vec<u8>,
    /// What it was added, as its file says it.
    added: Vec<Value>,
}

/// The other files of a tokenizer that list added tokens: programs that find them there believe them.
const SETTINGS: &str = "tokenizer_config.json";
const LISTED: &str = "added_tokens.json";

impl Grown {
    /// A file of the base's tokenizer as it is with the new tokens; nothing if it says nothing of added ones.
    pub(super) fn companion(&self, name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        if name == TOKENIZER {
            return Some(self.file.clone());
        }
        let mut file = serde_json::from_slice::<Map<String, Value>>(bytes).ok()?;
        match name {
            SETTINGS => {
                let decoder = file.get_mut("added_tokens_decoder")?.as_object_mut()?;
                for entry in &self.added {
                    let mut own = entry.as_object()?.clone();
                    let id = own.remove("id")?;
                    decoder.insert(id.to_string(), Value::Object(own));
                }
            }
            LISTED => file.extend(
                self.added.iter().filter_map(|entry| Some((text(entry)?.to_owned(), entry["id"].clone()))),
            ),
            _ => return None,
        }
        serde_json::to_vec_pretty(&file).ok()
    }
}

/// The tokenizer of the first model with the tokens of `others`, and with those that are `named` besides; nothing if
/// it has them already. An error is a sentence.
pub(super) fn grow(
    first: &Speaker<'_>,
    others: &[Speaker<'_>],
    named: &[&str],
) -> Result<Option<Grown>, String> {
    let speakers = || std::iter::once(first).chain(others);
    let added: Vec<Vec<Value>> = speakers().map(|speaker| added(speaker.package)).collect();
    let texts = |entries: &'_ [Value]| -> Vec<String> {
        entries.iter().filter_map(text).map(str::to_owned).collect()
    };
    let is_added: BTreeSet<String> = added.iter().flat_map(|entries| texts(entries)).collect();
    let mut seen = BTreeSet::new();
    let mut is_new =
        |token: &str| first.vocabulary.row(token, first.rows).is_none() && seen.insert(token.to_owned());
    let mut entries = Vec::new();
    for speaker in others {
        let plain =
            speaker.vocabulary.tokens(speaker.rows).into_iter().filter(|token| !is_added.contains(*token));
        entries.extend(plain.filter(|token| is_new(token)).map(entry));
    }
    for (speaker, own) in others.iter().zip(&added[1..]) {
        let has_row = |entry: &&Value| {
            text(entry).is_some_and(|text| speaker.vocabulary.row(text, speaker.rows).is_some())
        };
        entries
            .extend(own.iter().filter(has_row).filter(|entry| text(entry).is_some_and(&mut is_new)).cloned());
    }
    entries.extend(named.iter().filter(|token| is_new(token)).map(|token| entry(token)));
    if entries.is_empty() {
        return Ok(None);
    }
    let tokens: Vec<String> = texts(&entries);
    let file = first.package.companion(TOKENIZER).and_then(|file| serde_json::from_slice(&file.bytes).ok());
    let Some(mut file): Option<Map<String, Value>> = file else {
        return Err(format!(
            "the token {:?} is to be added, and there is no {TOKENIZER} to add it to",
            tokens[0]
        ));
    };
    let count = first.vocabulary.len();
    if first.vocabulary.tokens(first.rows).len() != count {
        let why = "the base's tokenizer has ids without a row, where they would go";
        return Err(format!("the token {:?} is to be added, and {why}", tokens[0]));
    }
    for (entry, id) in entries.iter_mut().zip(count..) {
        entry["id"] = id.into();
    }
    let all = [added[0].as_slice(), &entries].concat();
    file.insert("added_tokens".to_owned(), Value::Array(all));
    let file = serde_json::to_vec(&file).map_err(|error| error.to_string())?;
    Ok(Some(Grown { tokens, file, added: entries }))
}

/// The added tokens of a model, by their ids.
fn added(package: &Package) -> Vec<Value> {
    let file =
        package.companion(TOKENIZER).and_then(|file| serde_json::from_slice::<Value>(&file.bytes).ok());
    let mut entries = file.and_then(|file| file.get("added_tokens")?.as_array().cloned()).unwrap_or_default();
    entries.sort_by_key(|entry| entry["id"].as_u64());
    entries
}

fn text(entry: &Value) -> Option<&str> {
    entry["content"].as_str()
}

/// A token of no special meaning, as the library `tokenizers` adds a text.
fn entry(token: &str) -> Value {
    json!({ "id": 0, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": true, "special": false })
}
