//! The digests of a merge's inputs, which the receipt names.
//!
//! Hashing reads all inputs once more. The same parents are merged again and again, with other weights;
//! so a file is not hashed again while its stamp is the one it had when it was ([`Stamps`]), the rule that
//! a store has for sources. What is remembered lies in the user's cache folder and may be deleted.

use std::path::{Path, PathBuf};

use crate::base::digest::Digest;
use crate::disk::mmap::Mapped;
use crate::disk::stamps::{Stamps, now};
use crate::disk::{DiskError, IoContext, tree};

/// How a receipt comes to the digests of inputs.
#[derive(Debug)]
pub enum InputDigests {
    /// Not at all.
    LeftOut,
    /// Files are hashed, less those that are remembered.
    Hashed(Memory),
}

/// What is known of files that were hashed before.
#[derive(Debug)]
pub struct Memory {
    /// Where it is kept, if anywhere.
    path: Option<PathBuf>,
    stamps: Stamps,
    believed: bool,
}

impl Memory {
    /// What is remembered in a folder, if there is one. What is not believed is found out again.
    pub fn open(folder: Option<&Path>, believed: bool) -> Self {
        let path = folder.map(|folder| folder.join("stamps"));
        Self { stamps: path.as_deref().map(Stamps::load).unwrap_or_default(), path, believed }
    }

    /// Saves what is new.
    pub fn save(&self) -> Result<(), DiskError> {
        let Some(path) = &self.path else { return Ok(()) };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).at("create the folder", folder)?;
        }
        self.stamps.save(path)
    }

    fn digest(&self, mapped: &Mapped) -> Digest {
        // The working folder may be gone; then there is no name to remember the file by.
        let Ok(path) = std::path::absolute(mapped.path()) else { return tree::digest_of(mapped) };
        let known =
            self.stamps.recall(&path, &mapped.stamp()).filter(|_| self.believed && mapped.unchanged());
        known.unwrap_or_else(|| {
            let (began, digest) = (now(), tree::digest_of(mapped));
            if mapped.unchanged() {
                self.stamps.remember(&path, mapped.stamp(), digest, began);
            }
            digest
        })
    }
}

impl InputDigests {
    /// Whether there are any.
    pub(super) fn are_told(&self) -> bool {
        matches!(self, Self::Hashed(_))
    }

    /// That of one file.
    pub(super) fn of(&self, mapped: &Mapped) -> Option<Digest> {
        match self {
            Self::LeftOut => None,
            Self::Hashed(memory) => Some(memory.digest(mapped)),
        }
    }
}
