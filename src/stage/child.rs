//! A child on its way into the store: one blob, or a blob for each file of a folder and the list of them.

use std::collections::BTreeMap;

use super::{PART, StageError};
use crate::convert::Child;
use crate::disk::hashed::{HashedFile, Unpublished};
use crate::disk::{DiskError, IoContext, space};
use crate::model::huggingface::{Shelf, Written};
use crate::model::{ListedFile, Listing, ModelError, ModelWriter};
use crate::operator::{Application, OperatorError};
use crate::store::{Blob, Store, StoreError};

/// A child that was written.
pub(super) struct Done {
    /// What was done.
    pub(super) application: Application,
    /// Its file, or the list of its files.
    pub(super) artifact: Blob,
    /// The files of a folder.
    pub(super) files: Vec<Written>,
}

impl Done {
    /// What a stage that made it hands back.
    pub(super) fn outputs(&self) -> BTreeMap<String, Blob> {
        let file = |file: &Written| {
            (format!("{PART}{}", file.name), Blob { digest: file.blake3, bytes: file.bytes })
        };
        let mut outputs: BTreeMap<String, Blob> = self.files.iter().map(file).collect();
        outputs.insert("artifact".to_owned(), self.artifact);
        outputs
    }
}

/// What brings the tensors.
pub(super) type Make<'a> = &'a dyn Fn(&mut dyn ModelWriter) -> Result<Application, OperatorError>;

/// Writes a child into the store, or, unless it is `kept`, only to see what it hashes to. Whether there
/// is room is asked before the first byte.
pub(super) fn write(
    store: &Store,
    child: &Child<'_>,
    kept: bool,
    make: Make<'_>,
) -> Result<Done, StageError> {
    let mut shelf = InStore { store, kept };
    space::check(store.root(), child.total_bytes())?;
    if !child.is_folder() {
        let mut file = shelf.begin()?;
        let application = child.write_file(&mut file, make)?;
        let done = file.finish()?;
        let artifact = Blob { digest: done.digest, bytes: done.bytes };
        if kept {
            store.publish(done)?;
        }
        return Ok(Done { application, artifact, files: Vec::new() });
    }
    let (application, files) = child.write_folder(Box::new(&mut shelf), make)?;
    let listed =
        |file: &Written| ListedFile { name: file.name.clone(), bytes: file.bytes, blake3: file.blake3 };
    let listing = Listing::new(files.iter().map(listed).collect()).map_err(ModelError::from)?;
    let bytes = listing.to_bytes();
    let artifact = if kept {
        store.put(&bytes)?
    } else {
        Blob { digest: crate::base::digest::Digest::of(&bytes), bytes: bytes.len() as u64 }
    };
    Ok(Done { application, artifact, files })
}

/// Files become blobs.
struct InStore<'a> {
    store: &'a Store,
    kept: bool,
}

impl Shelf for &mut InStore<'_> {
    fn begin(&mut self) -> Result<HashedFile, DiskError> {
        InStore::begin(self)
    }

    fn end(&mut self, _name: &str, file: Unpublished) -> Result<(), DiskError> {
        if !self.kept {
            return Ok(());
        }
        self.store.publish(file).map(drop).or_else(|error| self.disk(error))
    }
}

impl InStore<'_> {
    fn begin(&mut self) -> Result<HashedFile, DiskError> {
        self.store.artifact().or_else(|error| self.disk(error))
    }

    fn disk<T>(&self, error: StoreError) -> Result<T, DiskError> {
        match error {
            StoreError::Disk(error) => Err(error),
            other => Err(std::io::Error::other(other.to_string())).at("write in", self.store.root()),
        }
    }
}
