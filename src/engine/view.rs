//! What `runs/CYCLE/` shows: records, children and proofs by name.

use super::graph::{Node, StageGraph};
use super::resolve::Results;
use crate::convert::Target;
use crate::stage::PART;
use crate::store::{Blob, Store, ViewEntry};

/// How the file of a child ends; nothing for a folder, whose artifact is the list of its files.
fn extension(params: &serde_json::Value) -> Option<&'static str> {
    let format = params.pointer("/output/format").and_then(serde_json::Value::as_str);
    format.and_then(Target::from_word).and_then(Target::extension)
}

/// Each stage's outputs under its kind's folder.
pub(super) fn view(graph: &StageGraph, results: &Results) -> Vec<ViewEntry> {
    let mut entries = Vec::new();
    for index in &graph.order {
        if let Some(result) = &results[index.index()] {
            let node = graph.node(*index);
            entries.extend(result.outputs.iter().map(|(name, blob)| entry(node, name, blob)));
        }
    }
    entries
}

/// One output by the name that people see.
fn entry(node: &Node, name: &str, blob: &Blob) -> ViewEntry {
    let label = &node.label;
    let path = |file: String| format!("{}/{file}", node.kind.folder());
    if let Some(file) = name.strip_prefix(PART) {
        return Store::linked(path(format!("{label}/{file}")), blob);
    }
    if let Some(candidate) = name.strip_prefix("proof.") {
        return Store::copied(path(format!("{candidate}.tlog-proof")), blob);
    }
    match (name, extension(&node.params)) {
        ("record", _) => Store::copied(path(format!("{label}.json")), blob),
        ("artifact", Some(extension)) => Store::linked(path(format!("{label}.{extension}")), blob),
        ("artifact", None) => Store::copied(path(format!("{label}.files.json")), blob),
        ("outcomes", _) => Store::copied(path(format!("{label}.outcomes.jsonl")), blob),
        ("pool", _) => Store::copied(path("pool.toml".to_owned()), blob),
        (other, _) => Store::copied(path(format!("{label}.{other}.json")), blob),
    }
}
