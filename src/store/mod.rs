//! The store: everything Studbook keeps between runs, in plain files under one folder.
//!
//! ```text
//! .studbook/
//!   version            what wrote this store; newer ones are refused, not guessed at
//!   objects/ab/cd...   blobs under their BLAKE3 digest, read-only           (cas)
//!   actions/ab/cd...   action key -> outputs and verdict                    (actions)
//!   builds/ab/cd...    action key -> what it was executed on, where there are keys   (builds)
//!   evidence/          approvals and other facts brought from outside       (evidence)
//!   cycles/NAME/log    what happened to every stage, append-only            (log)
//!   attestations/      signed statements about records                (attestations)
//!   ledger/            the promotion ledger                              (ledger)
//!   runs/NAME/         every record of a cycle by name, for people          (view)
//!   registry/NAME/     admitted models for browsers
//!   releases/NAME/     what that was published as, where it is signed           (releases)
//!   index/stamps       which files were hashed when; may be deleted         (stamps)
//!   heads              what every log said last, ours and others'           (ledger)
//!   tmp/               files being written
//!   at-work            locked by whoever writes; what the dead left is removed by who comes alone   (leftovers)
//! ```
//!
//! Files are the truth. Blobs and action results are written under a temporary name, synced and
//! renamed, so several processes can work in one store at once without a lock, and a crash leaves
//! the old state or the new one; what a power cut may undo is told in `cas`. An action result counts only if all its blobs are there whole.

mod actions;
mod attestations;
mod builds;
mod cas;
mod evidence;
mod ledger;
mod leftovers;
mod log;
mod met;
mod models;
mod releases;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub use actions::{ActionResult, PART, Verdict};
pub use attestations::Earlier;
pub use cas::Blob;
pub use evidence::Brought;
pub use log::{Event, Happened, LogWriter};
pub use view::{ViewEntry, ViewFindings};

use self::met::Met;
use crate::base::canonical::CanonicalError;
use crate::base::digest::Digest;
use crate::disk::presence::Presence;
use crate::disk::small::read_small_text;
use crate::disk::stamps::Stamps;
use crate::disk::{DiskError, IoContext, atomic, fault};
use crate::model::adapter::AdapterError;
use crate::model::{Listing, ModelError};
use crate::trust::Custody;

/// The layout this program writes.
const VERSION: u32 = 1;
const VERSION_PREFIX: &str = "studbook-store ";
const MAX_VERSION: u64 = 4096;

/// The folders a store begins with.
const BEGINNING: [&str; 6] = ["objects", "actions", "evidence", "cycles", "index", "tmp"];

/// What can be wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file could not be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The store was written by a later version.
    #[error("the store {} has format {found}; this program knows formats up to {VERSION}", path.display())]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The folder is something else.
    #[error("{} is not a Studbook store: its `version` file says {found:?}", path.display())]
    NotAStore {
        /// The folder.
        path: PathBuf,
        /// What its version file says.
        found: String,
    },
    /// The folder has things in it, and nothing says that they are a store's.
    #[error("{} is not empty and is not a Studbook store: {found:?} is in it, and no `version`", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
        /// What is in it.
        found: String,
    },
    /// A blob is gone.
    #[error("the blob {0} is not in the store")]
    Missing(Digest),
    /// Somebody's file is not any more what it was when it was hashed.
    #[error("{} changed or was removed: it had the digest {digest}, and no other file has it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The digest it had.
        digest: Digest,
    },
    /// A blob's bytes are not what its name says.
    #[error("the blob {expected} is damaged: its bytes have the digest {found}")]
    Damaged {
        /// Its name.
        expected: Digest,
        /// What its bytes hash to.
        found: Digest,
    },
    /// A model cannot be opened.
    #[error(transparent)]
    Model(Box<ModelError>),
    /// An adapter cannot be opened.
    #[error(transparent)]
    Adapter(Box<AdapterError>),
    /// A document in the store cannot be read.
    #[error("{what} {source}")]
    Document {
        /// Which document.
        what: String,
        /// Why.
        source: CanonicalError,
    },
    /// A record of the store is not what it is kept as.
    #[error("{what}, the blob {digest}, cannot be read: {why}")]
    Unreadable {
        /// Which record.
        what: String,
        /// Its digest.
        digest: Digest,
        /// Why.
        why: String,
    },
}

impl From<ModelError> for StoreError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Disk(error) => Self::Disk(error),
            other => Self::Model(Box::new(other)),
        }
    }
}

impl From<AdapterError> for StoreError {
    fn from(error: AdapterError) -> Self {
        Self::Adapter(Box::new(error))
    }
}

impl StoreError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            // Somebody's model is opened; what is read and written is the store's own.
            Self::Disk(error) if error.is_a_folder() && ["read", "write"].contains(&error.doing) => {
                Some("the store is damaged: a folder is in the place of that file; take it away".to_owned())
            }
            Self::Disk(error) if error.is_unwritable() => {
                Some("choose a writable store with --store DIR or STUDBOOK_STORE".to_owned())
            }
            Self::Disk(error) if error.is_full() => {
                Some("free some space and run again: finished stages are kept".to_owned())
            }
            Self::Disk(error) => error.hint().map(str::to_owned),
            Self::Newer { .. } => {
                Some("use the newer studbook, or another store with --store DIR".to_owned())
            }
            Self::NotAStore { .. } => Some("choose another folder with --store DIR".to_owned()),
            Self::Taken { .. } => Some(format!(
                "name a new or an empty folder with --store DIR or STUDBOOK_STORE; if it is a store that lost its \
                 `version`, write the line \"{VERSION_PREFIX}{VERSION}\" into that file"
            )),
            Self::Missing(_) | Self::Damaged { .. } => {
                Some("run the plan again: damaged and missing blobs are rebuilt".to_owned())
            }
            Self::Changed { .. } => Some(
                "leave models as they are while a plan runs; put it back, or run the plan again".to_owned(),
            ),
            Self::Model(_) | Self::Adapter(_) => None,
            Self::Document { .. } => Some("delete that file; it is made again by the next run".to_owned()),
            Self::Unreadable { .. } => Some(
                "`studbook verify PLAN` says which stage's result names it: delete that file under `actions/`, and \
                 the next run makes it again"
                    .to_owned(),
            ),
        }
    }
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    stamps: Stamps,
    /// Folders with names that are not known to be on the disk.
    unsettled: Mutex<BTreeSet<PathBuf>>,
    /// Lists of the files of folders that were hashed.
    listings: Mutex<BTreeMap<Digest, Listing>>,
    /// Files outside of the store that are not any more what they were.
    changed: Mutex<BTreeMap<Digest, PathBuf>>,
    custody: Custody,
    /// That we write here, from the first write on.
    presence: Mutex<Option<Presence>>,
    met: Met,
}

impl Store {
    /// Opens a store to work in, making it if needed.
    ///
    /// # Errors
    ///
    /// As [`Self::open`] and [`Self::make`].
    pub fn create(root: &Path) -> Result<Self, StoreError> {
        let store = Self::open(root)?;
        store.make()?;
        Ok(store)
    }

    /// Makes the folders of a store that was opened to read, to work in it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Taken`] with what is in the folder, if it is somebody else's: none such is filled,
    /// whatever a mistyped path says. [`StoreError::Disk`] if the folders cannot be made, or not be written to.
    pub fn make(&self) -> Result<(), StoreError> {
        let root = &self.root;
        if is_there(root) {
            return self.at_work();
        }
        if let Some(found) = strange_in(root)? {
            // Unless another process has made the store just now and is at work.
            return if is_there(root) {
                self.at_work()
            } else {
                Err(StoreError::Taken { path: root.clone(), found })
            };
        }
        for folder in BEGINNING {
            let folder = root.join(folder);
            std::fs::create_dir_all(&folder).at("create the folder", &folder)?;
        }
        fault::point("store-begun").at("create", root)?;
        atomic::replace(&root.join("version"), format!("{VERSION_PREFIX}{VERSION}\n").as_bytes())?;
        self.at_work()
    }

    /// Opens a store to read; one that does not exist is an empty one. Writes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Newer`] of a store that a newer version made; [`StoreError::NotAStore`] if its `version`
    /// file says something else; [`StoreError::Disk`] if that file cannot be read, or has more than 4 KiB.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let version = root.join("version");
        match read_small_text("read", &version, MAX_VERSION) {
            Ok(text) => check_version(root, &text)?,
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        let stamps = Stamps::load(&root.join("index/stamps"));
        let (unsettled, listings, changed) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (custody, presence, met) = (Custody::default(), Mutex::default(), Met::new());
        Ok(Self { root: root.to_owned(), stamps, unsettled, listings, changed, custody, presence, met })
    }

    /// From now on what is written here is signed, and what is read must be, as `custody` says.
    #[must_use]
    pub fn kept_by(mut self, custody: Custody) -> Self {
        self.custody = custody;
        self
    }

    /// What signs here, and whose signatures count.
    pub fn custody(&self) -> &Custody {
        &self.custody
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Remembers for the next run which files were hashed. Losing this costs time, nothing else.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if they cannot be written.
    pub fn save_stamps(&self) -> Result<(), StoreError> {
        self.at_work()?;
        Ok(self.stamps.save(&self.root.join("index/stamps"))?)
    }
}

/// Whether something in `root` says that it is a store; what exactly, [`Store::open`] reads.
pub fn is_there(root: &Path) -> bool {
    root.join("version").exists()
}

/// What is in a folder and is not what a crash leaves of making a store: its first folders, empty, and what
/// was to become its `version`. The first of it by name; a folder that is not there has nothing.
fn strange_in(root: &Path) -> Result<Option<String>, DiskError> {
    let listed = match std::fs::read_dir(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.at("list", root)?,
    };
    let mut entries = listed.collect::<Result<Vec<_>, _>>().at("list", root)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (name, kind) = (entry.file_name(), entry.file_type().at("examine", entry.path())?);
        let name = name.to_string_lossy().into_owned();
        let ours = if kind.is_dir() {
            BEGINNING.contains(&name.as_str())
                && std::fs::read_dir(entry.path()).at("list", entry.path())?.next().is_none()
        } else {
            kind.is_file() && atomic::is_leftover(&name)
        };
        if !ours {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn check_version(root: &Path, text: &str) -> Result<(), StoreError> {
    let number = text.trim_end().strip_prefix(VERSION_PREFIX).and_then(|n| n.parse::<u32>().ok());
    match number {
        Some(found) if found > VERSION => Err(StoreError::Newer { path: root.to_owned(), found }),
        Some(_) => Ok(()),
        None => Err(StoreError::NotAStore { path: root.to_owned(), found: text.chars().take(60).collect() }),
    }
}
