//! An action: everything that decides what a stage makes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::canonical;
use crate::base::digest::Digest;
use crate::base::key::{KeyListener, WriteKey};

/// A self-contained piece of work. Stored as a document, it can be done by any process that
/// reaches the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// The kind of stage.
    pub kind: String,
    /// Its version.
    pub version: u32,
    /// Its parameters.
    pub params: Value,
    /// Its inputs by name.
    pub inputs: BTreeMap<String, Digest>,
}

impl WriteKey for Action {
    fn write_key(&self, listener: &mut dyn KeyListener) {
        listener.field("kind", &self.kind);
        listener.field("version", &self.version.to_string());
        write_value("param", &self.params, listener);
        for (name, digest) in &self.inputs {
            listener.field(&format!("input.{name}"), &digest.to_hex());
        }
    }
}

/// Leaves with their paths. Objects are sorted by the map itself; empty ones are named, too, so
/// that `{}` and nothing differ.
fn write_value(path: &str, value: &Value, listener: &mut dyn KeyListener) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, value) in members {
                write_value(&format!("{path}.{key}"), value, listener);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (i, value) in items.iter().enumerate() {
                write_value(&format!("{path}[{i}]"), value, listener);
            }
        }
        leaf => {
            let text = canonical::to_string(leaf).expect("a leaf read from JSON can be written as JSON");
            listener.field(path, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn action(params: Value) -> Action {
        Action {
            kind: "k".into(),
            version: 1,
            params,
            inputs: BTreeMap::from([("a".into(), Digest::of(b"a"))]),
        }
    }

    #[test]
    fn the_key_hears_every_leaf() {
        let one = action(json!({"weight": [1.0, 0.5], "empty": {}}));
        assert_ne!(one.action_key(), action(json!({"weight": [1.0, 0.25], "empty": {}})).action_key());
        assert_ne!(one.action_key(), action(json!({"weight": [1.0, 0.5]})).action_key());
        let paths: Vec<_> = one.explain().into_iter().map(|(path, _)| path).collect();
        assert_eq!(
            paths,
            ["kind", "version", "param.empty", "param.weight[0]", "param.weight[1]", "input.a"]
        );
    }
}
