//! How answers are drawn and filled up, between `generation_config.json` of a folder and facts of a file.
//!
//! | folder | fact |
//! |---|---|
//! | `pad_token_id` of `config.json`, else of `generation_config.json` | `tokenizer.ggml.padding_token_id` |
//! | `temperature`, `top_k`, `top_p`, `min_p`, where `do_sample` is true | `general.sampling.temp`, `.top_k`, `.top_p`, `.min_p` |
//!
//! Which ids end an answer is the tokenizer's business. What else the file says has no fact of one meaning with
//! it (`repetition_penalty` looks back over the whole text there, over the last tokens here), and is named by
//! [`left_out`].

use serde_json::{Map, Value, json};

use super::facts::{Fact, Facts};
use crate::model::huggingface::folder::{CONFIG, GENERATION};
use crate::model::huggingface::settings::decimal;
use crate::model::package::{Companion, Package};

const PAD: &str = "tokenizer.ggml.padding_token_id";

/// Keys of the file, and the facts with the same meaning.
const SAMPLING: [(&str, &str); 4] = [
    ("temperature", "general.sampling.temp"),
    ("top_k", "general.sampling.top_k"),
    ("top_p", "general.sampling.top_p"),
    ("min_p", "general.sampling.min_p"),
];

/// Keys that say nothing of how answers are made, or say it of ids, which go with the tokenizer.
const SILENT: [&str; 6] = [
    "_from_model_config",
    "transformers_version",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "do_sample",
];

/// Adds what a folder's files say and the facts do not say yet.
pub fn write(package: &Package, facts: &mut Facts) {
    let tokens = match facts.get("tokenizer.ggml.tokens") {
        Some(Fact::List(tokens)) => tokens.len() as u64,
        _ => 0,
    };
    let said = |name: &str| said(package, name)?.get("pad_token_id")?.as_u64().filter(|id| *id < tokens);
    if let Some(id) = said(CONFIG).or_else(|| said(GENERATION)).filter(|_| facts.get(PAD).is_none()) {
        facts.push(PAD, Fact::Unsigned(id));
    }
    for (_, fact, value) in sampling(package) {
        facts.push(fact, value);
    }
}

/// What a folder's file says that facts can say.
fn sampling(package: &Package) -> Vec<(&'static str, &'static str, Fact)> {
    let Some(file) = said(package, GENERATION) else { return Vec::new() };
    if file.get("do_sample") != Some(&Value::Bool(true)) {
        return Vec::new();
    }
    let value = |key: &str| match key {
        "top_k" => file.get(key)?.as_i64().filter(|count| i32::try_from(*count).is_ok()).map(Fact::Signed),
        _ => file.get(key)?.as_f64().map(|number| Fact::F32(number as f32)),
    };
    SAMPLING.into_iter().filter_map(|(key, fact)| Some((key, fact, value(key)?))).collect()
}

/// The keys of a folder's `generation_config.json` that another file does not say; `is_said` is whether it
/// says what facts can.
pub fn left_out(package: &Package, is_said: bool) -> Vec<String> {
    let written = if is_said { sampling(package) } else { Vec::new() };
    let is_left = |key: &&String, value: &Value| {
        !value.is_null() && !SILENT.contains(&key.as_str()) && !written.iter().any(|(said, ..)| said == *key)
    };
    let file = said(package, GENERATION).unwrap_or_default();
    file.iter().filter(|(key, value)| is_left(key, value)).map(|(key, _)| key.clone()).collect()
}

/// The id that fills up texts, if the facts say one.
pub fn pad(facts: &Facts) -> Option<u32> {
    facts.unsigned(PAD).and_then(|id| u32::try_from(id).ok())
}

/// The file that says what the facts say; nothing if they say nothing of it. The library asks no other file
/// for `ids` where there is this one.
pub fn settings(facts: &Facts, ids: &[(&'static str, Value)]) -> Option<Companion> {
    let value = |fact: &str| match facts.get(fact)? {
        Fact::F32(number) => Some(json!(decimal(*number))),
        Fact::Signed(_) | Fact::Unsigned(_) => facts.unsigned(fact).map(|count| json!(count)),
        _ => None,
    };
    let mut file: Map<String, Value> =
        SAMPLING.iter().filter_map(|(key, fact)| Some(((*key).to_owned(), value(fact)?))).collect();
    if file.is_empty() {
        return None;
    }
    file.insert("do_sample".to_owned(), json!(true));
    file.extend(ids.iter().map(|(key, ids)| ((*key).to_owned(), ids.clone())));
    let mut bytes = serde_json::to_vec_pretty(&file).ok()?;
    bytes.push(b'\n');
    Some(Companion { name: GENERATION.to_owned(), bytes })
}

/// A file of a folder as the object it is.
fn said(package: &Package, name: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&package.companion(name)?.bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::weights::Weights;

    fn package(config: &str, generation: &str) -> Package {
        let mut package = Package::of_weights(Weights::none());
        for (name, text) in [(CONFIG, config), (GENERATION, generation)] {
            package.companions.push(Companion { name: name.to_owned(), bytes: text.into() });
        }
        package
    }

    fn written(package: &Package) -> Facts {
        let mut facts = Facts::default();
        let tokens = ["a", "b", "c"].map(|text| Fact::Text(text.to_owned()));
        facts.push("tokenizer.ggml.tokens", Fact::List(tokens.to_vec()));
        write(package, &mut facts);
        facts
    }

    #[test]
    fn how_answers_are_drawn_goes_and_comes_back() {
        let said = r#"{"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "repetition_penalty": 1.1,
            "max_new_tokens": null, "eos_token_id": [1, 2], "transformers_version": "4.51.0", "pad_token_id": 1}"#;
        let package = package(r#"{"pad_token_id": 2}"#, said);
        let facts = written(&package);
        assert_eq!(pad(&facts), Some(2));
        assert_eq!(facts.get("general.sampling.top_k"), Some(&Fact::Signed(20)));
        assert_eq!(facts.number("general.sampling.temp"), Some(0.6));
        let back = settings(&facts, &[("eos_token_id", json!([1, 2]))]).unwrap();
        let expected = json!({"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "eos_token_id": [1, 2]});
        assert_eq!(serde_json::from_slice::<Value>(&back.bytes).unwrap(), expected);
        assert_eq!(left_out(&package, true), ["repetition_penalty"]);
        assert_eq!(left_out(&package, false), ["repetition_penalty", "temperature", "top_k", "top_p"]);
    }

    #[test]
    fn what_is_not_drawn_or_no_id_is_not_said() {
        let facts =
            written(&package(r#"{"pad_token_id": -1}"#, r#"{"temperature": 0.6, "pad_token_id": 3}"#));
        assert_eq!((pad(&facts), facts.get("general.sampling.temp")), (None, None));
        assert_eq!(settings(&facts, &[]), None);
        let facts = written(&package("[]", r#"{"pad_token_id": 1, "do_sample": true, "top_k": 1.5}"#));
        assert_eq!((pad(&facts), settings(&facts, &[])), (Some(1), None));
    }
}
