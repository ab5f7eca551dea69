//! What a stage's inputs are this time, and so its action.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::graph::{From, StageGraph, StageIndex};
use crate::base::digest::Digest;
use crate::stage::{Action, stage};
use crate::store::{ActionResult, Store, StoreError};

/// The results that are known so far, by stage.
pub type Results = Vec<Option<ActionResult>>;

/// Turns stages into actions. A person's file is looked at once, so that one run sees one state.
pub struct Resolver<'a> {
    graph: &'a StageGraph,
    store: &'a Store,
    files: RefCell<HashMap<PathBuf, Digest>>,
}

impl<'a> Resolver<'a> {
    /// For one run.
    pub fn new(graph: &'a StageGraph, store: &'a Store) -> Self {
        Self { graph, store, files: RefCell::default() }
    }

    /// The action of a stage whose needs have all ended with these results.
    ///
    /// # Errors
    ///
    /// If a file that the stage is given, or what was brought for its gate, cannot be read.
    pub fn action(&self, index: StageIndex, results: &Results) -> Result<Action, StoreError> {
        let node = self.graph.node(index);
        let mut inputs = BTreeMap::new();
        for input in &node.inputs {
            if let Some(digest) = self.digest(&input.from, results)? {
                inputs.insert(input.name.clone(), digest);
            }
        }
        Ok(Action {
            kind: node.kind.name().to_owned(),
            version: stage(node.kind).version(),
            params: node.params.clone(),
            inputs,
        })
    }

    /// What a person gave, whatever stages made.
    pub(super) fn given(&self, from: &From) -> Result<Option<Digest>, StoreError> {
        match from {
            From::File(path) => Ok(Some(self.file(path)?)),
            From::Blob(digest) => Ok(Some(*digest)),
            From::Stage(..) | From::Brought(..) => Ok(None),
        }
    }

    fn digest(&self, from: &From, results: &Results) -> Result<Option<Digest>, StoreError> {
        let output = |stage: &StageIndex, name: &str| {
            let result = results[stage.index()].as_ref()?;
            result.outputs.get(name).map(|blob| blob.digest)
        };
        Ok(match from {
            From::Stage(stage, name) => output(stage, name),
            From::File(path) => Some(self.file(path)?),
            From::Blob(digest) => Some(*digest),
            From::Brought(stage, gate) => match output(stage, "record") {
                Some(manifest) => self.store.brought(&manifest, gate)?.map(|brought| brought.digest),
                None => None,
            },
        })
    }

    fn file(&self, path: &Path) -> Result<Digest, StoreError> {
        if let Some(digest) = self.files.borrow().get(path) {
            return Ok(*digest);
        }
        let digest = self.store.hash_model(path)?.digest;
        self.files.borrow_mut().insert(path.to_owned(), digest);
        Ok(digest)
    }
}
