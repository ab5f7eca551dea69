//! The run log of a cycle: what happened to every stage, appended line by line.
//!
//! Status is derived from it and never stored. A line cut short by a crash is skipped; the store
//! itself says what is done, the log only says what was last tried and under which key.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::base::canonical;
use crate::base::digest::{ActionKey, Digest};
use crate::base::name::Name;
use crate::disk::IoContext;
use crate::disk::small::read_small;

/// A million events and more.
const MAX_LOG: u64 = 512 << 20;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// It ran to its end.
    Executed,
    /// Its result was already there under a key the log had not seen last.
    Hit,
    /// It failed: machine trouble or unusable input.
    Failed(String),
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The stage.
    pub stage: String,
    /// What happened.
    pub happened: Happened,
    /// Under which key.
    pub key: ActionKey,
    /// The action's document in the store: what `why` compares with.
    pub action: Digest,
    /// When, RFC 3339.
    pub time: String,
    /// How long it took.
    pub milliseconds: u64,
}

impl Store {
    fn log_path(&self, cycle: &Name) -> PathBuf {
        self.root.join("cycles").join(cycle.as_str()).join("log")
    }

    /// Opens a cycle's log to append to.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if the file or its folder cannot be made, or may not be written.
    pub fn append_log(&self, cycle: &Name) -> Result<LogWriter, StoreError> {
        let path = self.log_path(cycle);
        let folder = path.parent().expect("the log lies in a folder");
        std::fs::create_dir_all(folder).at("create the folder", folder)?;
        let file = File::options().create(true).append(true).open(&path).at("open", &path)?;
        Ok(LogWriter { file, path })
    }

    /// The last event of every stage.
    ///
    /// # Errors
    ///
    /// As [`Self::events`].
    pub fn last_events(&self, cycle: &Name) -> Result<BTreeMap<String, Event>, StoreError> {
        Ok(self.events(cycle)?.into_iter().map(|event| (event.stage.clone(), event)).collect())
    }

    /// Everything that happened, in order.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if there is a log and it cannot be read, or has more than 512 MiB. A line that is
    /// no event is left out.
    pub fn events(&self, cycle: &Name) -> Result<Vec<Event>, StoreError> {
        let path = self.log_path(cycle);
        let text = match read_small("read", &path, MAX_LOG) {
            Err(error) if error.is_not_found() => Vec::new(),
            other => other?,
        };
        let lines = text.split(|byte| *byte == b'\n');
        Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }
}

/// Appends events.
#[derive(Debug)]
pub struct LogWriter {
    file: File,
    path: PathBuf,
}

impl LogWriter {
    /// Appends one line in one write, so that two processes' lines do not mix.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if it cannot be written; [`StoreError::Document`] of a number beyond 2^53 - 1.
    pub fn append(&mut self, event: &Event) -> Result<(), StoreError> {
        let line = canonical::to_vec(event)
            .map_err(|source| StoreError::Document { what: "an event of the run log".to_owned(), source })?;
        // The leading newline ends a line that a crash cut short.
        let line = [b"\n", line.as_slice()].concat();
        Ok(self.file.write_all(&line).at("append to", &self.path)?)
    }
}
