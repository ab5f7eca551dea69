//! Python files that a folder's `auto_map` names: a network or a tokenizer that the library does not have.
//!
//! They are programs, which whoever loads the model would run. They are no part of a model's numbers and are
//! never copied; so that a child does not fail to load without a word, what it lacks is named.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::folder::{CONFIG, MAX_COMPANION};
use crate::disk::small::read_small;

const WHO_NAMES: [&str; 2] = [CONFIG, "tokenizer_config.json"];

/// The files that a folder's settings name and the folder lacks, each once, in order.
pub fn missing(folder: &Path) -> Vec<String> {
    let named = WHO_NAMES.iter().flat_map(|settings| {
        let bytes = read_small("read", &folder.join(settings), MAX_COMPANION).unwrap_or_default();
        named_in(&serde_json::from_slice(&bytes).unwrap_or_default())
    });
    let named: BTreeSet<String> = named.collect();
    named.into_iter().filter(|file| !folder.join(file).exists()).collect()
}

/// `"AutoModel": "modeling_x.Model"` is a class in `modeling_x.py`; with `--` in it, in somebody's repository.
fn named_in(settings: &Value) -> Vec<String> {
    let values = settings["auto_map"].as_object().into_iter().flat_map(|map| map.values());
    let classes = values.flat_map(|value| match value {
        Value::Array(several) => several.iter().collect(),
        one => vec![one],
    });
    let here = classes.filter_map(Value::as_str).filter(|class| !class.contains("--"));
    here.filter_map(|class| class.split_once('.').map(|(module, _)| format!("{module}.py"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_named_and_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        assert!(missing(folder.path()).is_empty());
        write(
            CONFIG,
            r#"{"auto_map": {"AutoConfig": "configuration_x.C", "AutoModel": "modeling_x.M",
                "AutoModelForCausalLM": "modeling_x.L", "AutoOther": "a/b--modeling_y.M"}}"#,
        );
        write(WHO_NAMES[1], r#"{"auto_map": {"AutoTokenizer": ["tokenization_x.T", null]}}"#);
        assert_eq!(missing(folder.path()), ["configuration_x.py", "modeling_x.py", "tokenization_x.py"]);
        write("modeling_x.py", "");
        assert_eq!(missing(folder.path()), ["configuration_x.py", "tokenization_x.py"]);
        write(CONFIG, r#"{"auto_map": 3}"#);
        write(WHO_NAMES[1], "not JSON");
        assert!(missing(folder.path()).is_empty());
    }
}
