//! The files of a registry in memory, to be changed while they are served.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use studbook::base::digest::Sha256;
use studbook::ledger::tree::{Tree, leaf_hash, prove_inclusion};
use studbook::ledger::{Head, Note, Proof};
use studbook::registry::serve::{Content, Serving};

/// The files of a registry: they can change while they are served.
#[derive(Clone, Default)]
pub(super) struct Site(pub(super) Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Content for Site {
    fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap().get(path).cloned()
    }
}

impl Site {
    pub(super) fn of(files: &BTreeMap<String, Vec<u8>>) -> Self {
        Self(Arc::new(Mutex::new(files.clone())))
    }

    pub(super) fn serve(&self) -> Serving {
        Serving::start(Arc::new(self.clone()), 0).unwrap()
    }

    pub(super) fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.bytes(path).unwrap()).unwrap()
    }

    pub(super) fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.0.lock().unwrap().insert(path.to_owned(), bytes.into());
    }

    pub(super) fn remove(&self, path: &str) {
        self.0.lock().unwrap().remove(path);
    }

    /// Changes the first entry of the selector.
    pub(super) fn entry(&self, change: impl FnOnce(&mut Value)) {
        let mut selector = self.json("selector.json");
        change(&mut selector["entries"][0]);
        self.put("selector.json", selector.to_string());
    }

    /// Changes a record and everything that names it by digest in the selector: right in every checksum.
    pub(super) fn record(&self, field: &str, change: impl FnOnce(&mut Value)) {
        let digest = self.json("selector.json")["entries"][0][field].as_str().unwrap().to_owned();
        let path = self.0.lock().unwrap().keys().find(|path| path.contains(&digest)).unwrap().clone();
        let mut record = self.json(&path);
        change(&mut record);
        let bytes = record.to_string().into_bytes();
        let new = Sha256::of(&bytes).to_hex();
        self.put(&path.replace(&digest, &new), bytes);
        self.entry(|entry| entry[field] = json!(new));
    }

    /// Rewrites the ledger, everything about it right again: the chain, the root, the proofs.
    pub(super) fn ledger(&self, change: impl FnOnce(&mut Vec<Value>)) {
        let lines = String::from_utf8(self.bytes("ledger.jsonl").unwrap()).unwrap();
        let mut leaves: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        change(&mut leaves);
        let (mut lines, mut previous, mut tree) = (Vec::new(), "0".repeat(64), Tree::default());
        for (index, leaf) in leaves.iter_mut().enumerate() {
            leaf["index"] = json!(index);
            leaf["prev"] = json!(previous);
            let line = leaf.to_string();
            previous = Sha256::of(line.as_bytes()).to_hex();
            tree.push(leaf_hash(line.as_bytes()));
            lines.push(line);
        }
        let origin = self.json("ledger.json")["origin"].as_str().unwrap().to_owned();
        let head = Head { origin, size: tree.size(), root: tree.root() };
        let checkpoint = Note::unsigned(head.to_text());
        self.put("checkpoint", checkpoint.to_text());
        self.put("ledger.jsonl", lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>());
        for entry in self.json("selector.json")["entries"].as_array().unwrap() {
            let index = entry["ledger_index"].as_u64().unwrap();
            let Some(line) = lines.get(index as usize) else { continue };
            let path = prove_inclusion(&tree, index, tree.size()).unwrap();
            let proof =
                Proof { entry: line.clone().into_bytes(), index, path, checkpoint: checkpoint.clone() };
            self.put(&format!("proofs/{}.tlog-proof", entry["id"].as_str().unwrap()), proof.to_text());
        }
    }
}
