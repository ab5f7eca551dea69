//! How a conversation becomes one text: chat templates, wherever a folder keeps them.
//!
//! The library takes `chat_template.jinja` first, then what `tokenizer_config.json` says, then
//! `chat_template.json`. A model may have several, by names; the one without a name is called `default`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::model::package::{Companion, Package};

/// The file with the names of special tokens, and in many folders the templates.
pub const SETTINGS: &str = "tokenizer_config.json";

/// The template that is taken where nobody names one.
pub const DEFAULT: &str = "default";

/// The folder of chat templates that have a name, each in a file of its own: companions, too.
pub const TEMPLATES: &str = "additional_chat_templates";

/// How their files end.
const TEMPLATE: &str = ".jinja";

/// Most templates that are read, and the longest of them.
pub(super) const MAX_TEMPLATES: usize = 64;
pub(super) const MAX_TEMPLATE: u64 = 1 << 20;

/// The name of the chat template that a companion is, if it is one with a name.
pub fn template_name(companion: &str) -> Option<&str> {
    let name = companion.strip_prefix(TEMPLATES)?.strip_prefix('/')?.strip_suffix(TEMPLATE)?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

const OWN: &str = "chat_template.jinja";
const OLDER: &str = "chat_template.json";
const KEY: &str = "chat_template";

/// Every template by its name. A file of its own is what the library takes first.
pub fn all(package: &Package) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for listing in [OLDER, SETTINGS] {
        if let Some(file) = package.companion(listing).and_then(|file| object(&file.bytes)) {
            found.extend(named(file.get(KEY)));
        }
    }
    let own = package.companion(OWN);
    let with_names = package.companions.iter().filter_map(|file| Some((template_name(&file.name)?, file)));
    for (name, file) in with_names.chain(own.map(|file| (DEFAULT, file))) {
        if let Ok(text) = String::from_utf8(file.bytes.clone()) {
            found.insert(name.to_owned(), text);
        }
    }
    found
}

/// Gives a model's small files this template in the place of the one without a name, wherever they say one: programs
/// look in different files. Where none does, it goes into the settings, which every version of the library reads, or
/// into a file of its own.
pub fn put(companions: &mut Vec<Companion>, template: &str) {
    let mut is_said = false;
    for file in companions.iter_mut() {
        is_said |= match file.name.as_str() {
            OWN => {
                file.bytes = template.into();
                true
            }
            SETTINGS | OLDER => replace(file, template, false),
            _ => false,
        };
    }
    let mut settings = companions.iter_mut().filter(|file| file.name == SETTINGS);
    if !is_said && !settings.any(|file| replace(file, template, true)) {
        companions.push(Companion { name: OWN.to_owned(), bytes: template.into() });
    }
}

/// Replaces what a file says, or has it said where it says nothing, if that is wanted; whether it says it now.
fn replace(file: &mut Companion, template: &str, wanted: bool) -> bool {
    let Some(mut said) = object(&file.bytes) else { return false };
    if !wanted && !said.contains_key(KEY) {
        return false;
    }
    set(said.entry(KEY).or_insert(Value::Null), template);
    file.bytes = format!("{:#}\n", Value::Object(said)).into_bytes();
    true
}

/// One template, or the one in a list that has no other name.
fn set(said: &mut Value, template: &str) {
    let Value::Array(several) = said else {
        *said = template.into();
        return;
    };
    match several.iter_mut().find(|one| one["name"] == DEFAULT) {
        Some(one) => one["template"] = template.into(),
        None => several.push(serde_json::json!({ "name": DEFAULT, "template": template })),
    }
}

fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(bytes).ok()
}

/// One template, or a list of some with names.
fn named(value: Option<&Value>) -> Vec<(String, String)> {
    match value {
        Some(Value::String(only)) => vec![(DEFAULT.to_owned(), only.clone())],
        Some(Value::Array(several)) => {
            let one =
                |one: &Value| Some((one["name"].as_str()?.to_owned(), one["template"].as_str()?.to_owned()));
            several.iter().filter_map(one).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::weights::Weights;

    /// What is found once a template was put among these files, and what the files then are.
    fn put_among(files: &[(&str, &str)]) -> (BTreeMap<String, String>, Vec<(String, String)>) {
        let mut package = Package::of_weights(Weights::none());
        let file =
            |(name, text): &(&str, &str)| Companion { name: (*name).to_owned(), bytes: (*text).into() };
        package.companions = files.iter().map(file).collect();
        put(&mut package.companions, "{{ new }}");
        let text = |file: &Companion| (file.name.clone(), String::from_utf8(file.bytes.clone()).unwrap());
        (all(&package), package.companions.iter().map(text).collect())
    }

    #[test]
    fn a_template_is_put_where_the_model_has_its_own() {
        let settings = (SETTINGS, r#"{"chat_template":"old","eos_token":"</s>"}"#);
        let (found, files) = put_among(&[settings]);
        assert_eq!(found[DEFAULT], "{{ new }}");
        assert_eq!(files[0].1, "{\n  \"chat_template\": \"{{ new }}\",\n  \"eos_token\": \"</s>\"\n}\n");
        // Whoever looks elsewhere finds the same.
        let (found, files) = put_among(&[settings, (OWN, "old")]);
        assert_eq!((found[DEFAULT].as_str(), files[1].1.as_str()), ("{{ new }}", "{{ new }}"));
        assert!(files.iter().all(|(_, text)| !text.contains("old")), "{files:?}");
        let tools = r#"{"chat_template": [{"name": "tool_use", "template": "T"}]}"#;
        let (found, files) = put_among(&[(SETTINGS, tools), (OLDER, r#"{"chat_template": "old"}"#)]);
        assert_eq!((found["tool_use"].as_str(), found[DEFAULT].as_str()), ("T", "{{ new }}"));
        assert!(files.len() == 2 && files.iter().all(|(_, text)| text.contains("{{ new }}")), "{files:?}");
        let (_, files) = put_among(&[(SETTINGS, "{}")]);
        assert_eq!(files.len(), 1);
        // Where nothing says anything.
        for files in [&[][..], &[(SETTINGS, "no JSON")]] {
            assert_eq!(put_among(files).1.last().unwrap(), &(OWN.to_owned(), "{{ new }}".to_owned()));
        }
    }
}
