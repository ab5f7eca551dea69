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

/// Gives a model's small files this template in the place of the one without a name: where they have it, else in
/// the settings, which every version of the library reads, else in a file of its own.
pub fn put(companions: &mut Vec<Companion>, template: &str) {
    let place = |name: &str| companions.iter().position(|file| file.name == name);
    if let (None, Some(settings)) = (place(OWN), place(SETTINGS))
        && let Some(mut said) = object(&companions[settings].bytes)
    {
        set(said.entry(KEY).or_insert(Value::Null), template);
        companions[settings].bytes = format!("{:#}\n", Value::Object(said)).into_bytes();
        return;
    }
    match place(OWN) {
        Some(own) => companions[own].bytes = template.into(),
        None => companions.push(Companion { name: OWN.to_owned(), bytes: template.into() }),
    }
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
        // A file of its own comes first, and the settings stay.
        let (found, files) = put_among(&[settings, (OWN, "old")]);
        assert_eq!((found[DEFAULT].as_str(), files[0].1.as_str()), ("{{ new }}", settings.1));
        let tools = r#"{"chat_template": [{"name": "tool_use", "template": "T"}]}"#;
        let (found, files) = put_among(&[(SETTINGS, tools), (OLDER, r#"{"chat_template": "older"}"#)]);
        assert_eq!((found["tool_use"].as_str(), found[DEFAULT].as_str()), ("T", "{{ new }}"));
        assert_eq!(files.len(), 2);
        // Where nothing says anything.
        for files in [&[][..], &[(SETTINGS, "no JSON")]] {
            assert_eq!(put_among(files).1.last().unwrap(), &(OWN.to_owned(), "{{ new }}".to_owned()));
        }
    }
}
