//! The action cache: what an action made, and what it found.
//!
//! Records are held by their digests, but the result that names them, and its line for people, are named by
//! the action that they follow from. So a result is sealed: a file that was damaged, or belongs to another
//! action, is a miss and never a wrong answer. Whoever writes a seal of his own meets the records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Blob, Store, StoreError};
use crate::base::canonical;
use crate::base::digest::{ActionKey, Digest};
use crate::disk::small::read_small;
use crate::disk::{DiskError, IoContext, atomic, fault};

/// A folder's child has a line for each of its files.
const MAX_RESULT: u64 = 64 << 20;

/// What the names of outputs begin with that are one file of an artifact of several.
pub const PART: &str = "artifact/";

/// What a stage found. All three are facts about its inputs and therefore cached; machine trouble
/// is an error and never is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Verdict {
    /// Go on.
    Pass,
    /// The candidate is refused, and why.
    Reject(Vec<String>),
    /// With this evidence nothing can be decided: what is waited for.
    Wait(Vec<String>),
}

/// An action's outputs and verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionResult {
    /// The blobs it made, by name. Every stage makes a `record`.
    pub outputs: BTreeMap<String, Blob>,
    /// What it found.
    pub verdict: Verdict,
    /// One line for people.
    pub summary: String,
}

impl ActionResult {
    /// The record that it made: what other stages and people read of it.
    pub fn record(&self) -> Option<&Blob> {
        self.outputs.get("record")
    }
}

/// A result as it lies in its file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    /// BLAKE3 of the list of the action key and the result, as canonical JSON.
    seal: Digest,
    result: ActionResult,
}

/// The seal of a result under the name of its action.
fn seal(key: &str, result: &ActionResult) -> Result<Digest, canonical::CanonicalError> {
    canonical::to_vec(&(key, result)).map(|bytes| Digest::of(&bytes))
}

/// The result in a file, if it is whole and that of this action.
fn unsealed(key: &str, bytes: &[u8]) -> Option<ActionResult> {
    let Sealed { seal: found, result } = canonical::from_slice(bytes).ok()?;
    (seal(key, &result).ok()? == found).then_some(result)
}

impl Store {
    /// Where the result of an action is.
    pub fn action_path(&self, key: &ActionKey) -> std::path::PathBuf {
        let hex = key.to_hex();
        self.root.join("actions").join(&hex[..2]).join(&hex[2..])
    }

    /// The result of an action, if it is here with all its blobs whole. What is damaged is a miss.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if the result or a blob of it cannot be read: nothing is known then, which is no
    /// miss.
    pub fn lookup(&self, key: &ActionKey) -> Result<Option<ActionResult>, StoreError> {
        let Some(result) = self.recorded(key)? else { return Ok(None) };
        for (name, blob) in &result.outputs {
            if !self.holds(blob)? {
                tracing::warn!(blob = %blob.digest, output = %name, "a blob is missing or damaged; its stage runs again");
                return Ok(None);
            }
        }
        Ok(Some(result))
    }

    /// What is recorded of an action, whether or not its blobs are still whole.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if there is a file and it cannot be read. One that is damaged, has more than 64 MiB
    /// or is another action's is a miss.
    pub fn recorded(&self, key: &ActionKey) -> Result<Option<ActionResult>, StoreError> {
        let path = self.action_path(key);
        let bytes = match read_small("read", &path, MAX_RESULT) {
            Err(error) if error.is_not_found() => return Ok(None),
            // Longer than any result can be is damaged like any other.
            Err(error) if error.source.kind() == std::io::ErrorKind::InvalidData => Vec::new(),
            other => other?,
        };
        let Some(result) = unsealed(&key.to_hex(), &bytes) else {
            tracing::warn!(path = %path.display(), "an action result is damaged; its stage runs again");
            return Ok(None);
        };
        self.meet(&result);
        Ok(Some(result))
    }

    /// Every result there is, in the order of the keys; damaged ones are left out, as in a lookup.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if the folders of results cannot be listed.
    pub fn every_result(&self) -> Result<Vec<ActionResult>, StoreError> {
        let root = self.root.join("actions");
        let mut paths = Vec::new();
        for shard in folder(&root)? {
            paths.extend(folder(&shard)?);
        }
        paths.sort();
        let mut results = Vec::with_capacity(paths.len());
        for path in paths {
            let bytes = read_small("read", &path, MAX_RESULT).ok();
            let name = path.strip_prefix(&root).unwrap_or(&path);
            let key: String = name.iter().filter_map(|part| part.to_str()).collect();
            results.extend(bytes.and_then(|bytes| unsealed(&key, &bytes)));
        }
        Ok(results)
    }

    /// Records what an action made.
    ///
    /// # Errors
    ///
    /// [`StoreError::Document`] of a result with a number that JSON would not keep; [`StoreError::Disk`] if it
    /// cannot be written.
    pub fn record_action(&self, key: &ActionKey, result: &ActionResult) -> Result<(), StoreError> {
        // Its blobs are on the disk by now, and if a power cut takes it, its stage runs again.
        self.write_action(key, result, atomic::replace_content)
    }

    /// Records what an action inside a stage made: that stage's own result makes it superfluous, so it is
    /// not waited for until it is on the disk. The seal tells if only half of it came to be there.
    ///
    /// # Errors
    ///
    /// As [`Self::record_action`], less what comes of a sync.
    pub fn remember_action(&self, key: &ActionKey, result: &ActionResult) -> Result<(), StoreError> {
        self.write_action(key, result, atomic::replace_view)
    }

    fn write_action(
        &self,
        key: &ActionKey,
        result: &ActionResult,
        write: fn(&std::path::Path, &[u8]) -> Result<(), DiskError>,
    ) -> Result<(), StoreError> {
        let path = self.action_path(key);
        let sealed = || {
            let seal = seal(&key.to_hex(), result)?;
            canonical::to_vec(&Sealed { seal, result: result.clone() })
        };
        let bytes = sealed()
            .map_err(|source| StoreError::Document { what: format!("the result of action {key}"), source })?;
        self.at_work()?;
        write(&path, &bytes)?;
        self.meet(result);
        self.unsettled(path.parent().expect("actions lie in folders").to_owned());
        fault::point("action-stored").at("write", &path)?;
        Ok(())
    }
}

/// The paths in a folder; none if it is not there.
fn folder(path: &std::path::Path) -> Result<Vec<std::path::PathBuf>, StoreError> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.at("list", path)?,
    };
    let paths: std::io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
    Ok(paths.at("list", path)?)
}
