//! What holding a conversation takes besides ids of text: templates and the names of special tokens, between
//! the small files of a folder and the facts of one file.
//!
//! | folder | fact |
//! |---|---|
//! | `chat_template.jinja`, else `chat_template` of `tokenizer_config.json`, else of `chat_template.json` | `tokenizer.chat_template` |
//! | a template with a name in a list, or in `additional_chat_templates/NAME.jinja` | `tokenizer.chat_template.NAME`, named in `tokenizer.chat_templates` |
//! | `bos_token`, `eos_token`, `unk_token`, `pad_token` of `tokenizer_config.json` | the id under `tokenizer.ggml.` |

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::facts::{Fact, Facts};
use crate::model::huggingface::template::{self, DEFAULT, SETTINGS};
use crate::model::package::{Companion, Package};

/// The fact with a model's chat template.
pub const TEMPLATE: &str = "tokenizer.chat_template";
const NAMES: &str = "tokenizer.chat_templates";

/// Settings of the library, and the facts with the same meaning.
const SPECIAL: [(&str, &str); 4] = [
    ("bos_token", "tokenizer.ggml.bos_token_id"),
    ("eos_token", "tokenizer.ggml.eos_token_id"),
    ("unk_token", "tokenizer.ggml.unknown_token_id"),
    ("pad_token", "tokenizer.ggml.padding_token_id"),
];

/// Adds what a folder's files say and the facts do not say yet. Tokens are looked up in the facts' own table.
pub fn write(package: &Package, facts: &mut Facts) {
    let settings = package.companion(SETTINGS).and_then(|file| object(&file.bytes)).unwrap_or_default();
    for (setting, fact) in SPECIAL {
        let id = token(settings.get(setting)).and_then(|text| id_of(facts, text));
        if let (Some(id), None) = (id, facts.get(fact)) {
            facts.push(fact, Fact::Unsigned(id));
        }
    }
    let mut templates = template::all(package);
    if let Some(usual) = templates.remove(DEFAULT) {
        facts.push(TEMPLATE, Fact::Text(usual));
    }
    if !templates.is_empty() {
        facts.push(NAMES, Fact::List(templates.keys().cloned().map(Fact::Text).collect()));
    }
    for (name, template) in templates {
        facts.push(format!("{TEMPLATE}.{name}"), Fact::Text(template));
    }
}

/// How many templates a model has, in files or in facts.
pub fn count(package: &Package) -> usize {
    let in_facts = |facts: &Facts| usize::from(facts.text(TEMPLATE).is_some()) + list(facts, NAMES).len();
    package.facts.as_deref().map_or(0, in_facts) + template::all(package).len()
}

/// The settings that say what the facts say, as a file of a folder; nothing if they say nothing of it.
pub fn settings(facts: &Facts) -> Option<Companion> {
    let tokens = list(facts, "tokenizer.ggml.tokens");
    let text = |fact: &str| match tokens.get(usize::try_from(facts.unsigned(fact)?).ok()?)? {
        Fact::Text(text) => Some(json!(text)),
        _ => None,
    };
    let mut said: Map<String, Value> =
        SPECIAL.iter().filter_map(|(setting, fact)| Some(((*setting).to_owned(), text(fact)?))).collect();
    let usual = facts.text(TEMPLATE).map(|template| (DEFAULT.to_owned(), template.to_owned()));
    let named = list(facts, NAMES).iter().filter_map(|name| match name {
        Fact::Text(name) => Some((name.clone(), facts.text(&format!("{TEMPLATE}.{name}"))?.to_owned())),
        _ => None,
    });
    let templates: BTreeMap<String, String> = usual.into_iter().chain(named).collect();
    let listed = templates.iter().map(|(name, template)| json!({ "name": name, "template": template }));
    match (templates.get(DEFAULT), templates.len()) {
        (_, 0) => {}
        (Some(only), 1) => drop(said.insert("chat_template".to_owned(), json!(only))),
        _ => drop(said.insert("chat_template".to_owned(), listed.collect())),
    }
    if said.is_empty() {
        return None;
    }
    said.insert("tokenizer_class".to_owned(), json!("PreTrainedTokenizerFast"));
    // Text comes back with the spaces it was made with.
    said.insert("clean_up_tokenization_spaces".to_owned(), json!(false));
    let mut bytes = serde_json::to_vec_pretty(&said).ok()?;
    bytes.push(b'\n');
    Some(Companion { name: SETTINGS.to_owned(), bytes })
}

fn list<'f>(facts: &'f Facts, name: &str) -> &'f [Fact] {
    match facts.get(name) {
        Some(Fact::List(items)) => items,
        _ => &[],
    }
}

fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(bytes).ok()
}

/// A token is written as its text, or as an object with its text and conditions.
fn token(value: Option<&Value>) -> Option<&str> {
    let value = value?;
    value.as_str().or_else(|| value["content"].as_str())
}

fn id_of(facts: &Facts, text: &str) -> Option<u64> {
    let is_it = |fact: &Fact| matches!(fact, Fact::Text(own) if own == text);
    list(facts, "tokenizer.ggml.tokens").iter().position(is_it).map(|id| id as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::weights::Weights;

    fn package(files: &[(&str, &str)]) -> Package {
        let mut package = Package::of_weights(Weights::none());
        let file =
            |(name, text): &(&str, &str)| Companion { name: (*name).to_owned(), bytes: (*text).into() };
        package.companions = files.iter().map(file).collect();
        package
    }

    fn table() -> Facts {
        let mut facts = Facts::default();
        let tokens = ["a", "<s>", "</s>", "<pad>"].map(|text| Fact::Text(text.to_owned()));
        facts.push("tokenizer.ggml.tokens", Fact::List(tokens.to_vec()));
        facts.push("tokenizer.ggml.eos_token_id", Fact::Unsigned(0));
        facts
    }

    fn back(files: &[(&str, &str)]) -> (Facts, Value) {
        let mut facts = table();
        write(&package(files), &mut facts);
        let settings = settings(&facts).unwrap();
        assert_eq!(settings.name, SETTINGS);
        let said = serde_json::from_slice(&settings.bytes).unwrap();
        (facts, said)
    }

    #[test]
    fn templates_and_special_tokens_go_and_come_back() {
        let settings = r#"{"bos_token": "<s>", "eos_token": "</s>", "pad_token": {"content": "<pad>"},
            "unk_token": "<nowhere>", "chat_template": "old"}"#;
        let (facts, said) = back(&[(SETTINGS, settings), ("chat_template.jinja", "{{ x }}")]);
        assert_eq!(facts.text(TEMPLATE), Some("{{ x }}"));
        assert_eq!(facts.unsigned("tokenizer.ggml.bos_token_id"), Some(1));
        assert_eq!(facts.unsigned("tokenizer.ggml.padding_token_id"), Some(3));
        assert_eq!(facts.unsigned("tokenizer.ggml.eos_token_id"), Some(0), "what is said stays");
        assert_eq!(facts.get("tokenizer.ggml.unknown_token_id"), None);
        assert_eq!(
            (&said["bos_token"], &said["eos_token"], &said["pad_token"]),
            (&json!("<s>"), &json!("a"), &json!("<pad>"))
        );
        assert_eq!((&said["chat_template"], said.get("unk_token")), (&json!("{{ x }}"), None));
    }

    #[test]
    fn several_templates_keep_their_names() {
        let list = r#"{"chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]}"#;
        let (facts, said) = back(&[(SETTINGS, list)]);
        assert_eq!(
            (facts.text(TEMPLATE), facts.text("tokenizer.chat_template.tool_use")),
            (Some("D"), Some("T"))
        );
        assert_eq!(facts.get(NAMES), Some(&Fact::List(vec![Fact::Text("tool_use".to_owned())])));
        let pair = |name: &str, template: &str| json!({ "name": name, "template": template });
        assert_eq!(said["chat_template"], json!([pair("default", "D"), pair("tool_use", "T")]));
        let file = ("additional_chat_templates/rag.jinja", "R");
        let (facts, _) = back(&[(SETTINGS, list), file]);
        assert_eq!(facts.text("tokenizer.chat_template.rag"), Some("R"));
        let (_, said) = back(&[("chat_template.json", r#"{"chat_template": "J"}"#)]);
        assert_eq!(said["chat_template"], "J");
    }

    #[test]
    fn who_says_nothing_gets_no_file() {
        assert_eq!(settings(&Facts::default()), None);
        let mut facts = Facts::default();
        write(&package(&[(SETTINGS, "[]"), ("chat_template.json", "no JSON")]), &mut facts);
        assert_eq!(facts, Facts::default());
    }
}
