//! The digests of a merge's inputs, which the receipt names.
//!
//! Inputs are hashed as the merge reads them ([`Along`]). The same parents are merged again and again, with
//! other weights; so a file is not hashed again while its stamp is the one it had when it was ([`Stamps`]),
//! the rule that a store has for sources. What is remembered lies in the user's cache folder and may be
//! deleted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::models::{Models, Opened};
use crate::base::digest::Digest;
use crate::disk::along::Along;
use crate::disk::mmap::Mapped;
use crate::disk::stamps::{Stamps, now};
use crate::disk::{DiskError, IoContext};
use crate::model::weights::TensorInfo;
use crate::operator::Source;

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

    fn recall(&self, mapped: &Mapped) -> Option<Digest> {
        let path = path_of(mapped)?;
        self.stamps.recall(&path, &mapped.stamp()).filter(|_| self.believed && mapped.unchanged())
    }

    fn remember(&self, mapped: &Mapped, digest: Digest, began: i128) {
        if let Some(path) = path_of(mapped).filter(|_| mapped.unchanged()) {
            self.stamps.remember(&path, mapped.stamp(), digest, began);
        }
    }
}

/// The name to remember a file by. There is none if the working folder is gone.
fn path_of(mapped: &Mapped) -> Option<PathBuf> {
    std::path::absolute(mapped.path()).ok()
}

/// The digests of a merge's inputs while it reads them.
pub(super) struct Underway<'a> {
    /// Absent if nobody wants to know.
    memory: Option<&'a Memory>,
    began: i128,
    /// Of every model, its files.
    files: BTreeMap<&'a str, Vec<InputFile<'a>>>,
}

struct InputFile<'a> {
    mapped: &'a Mapped,
    known: Option<Digest>,
    along: Along<'a>,
}

impl<'a> Underway<'a> {
    /// Before anything is read.
    pub(super) fn begin(digests: &'a InputDigests, models: &'a Models) -> Self {
        let memory = match digests {
            InputDigests::LeftOut => None,
            InputDigests::Hashed(memory) => Some(memory),
        };
        let file = |(_, mapped): &'a (String, Arc<Mapped>)| InputFile {
            mapped,
            known: memory.and_then(|memory| memory.recall(mapped)),
            along: Along::new(mapped),
        };
        let files = |opened: &'a Opened| opened.files.iter().map(file).collect();
        let files = models.iter().map(|(name, opened)| (name.as_str(), files(opened))).collect();
        Self { memory, began: now(), files }
    }

    /// The source again; what is read of it is hashed along, if it has to be. It is a tensor of this model
    /// that lies there in this file of it.
    pub(super) fn hear<'s>(
        &'s self,
        source: Box<dyn Source + 's>,
        model: &str,
        info: &TensorInfo,
    ) -> Box<dyn Source + 's> {
        let file = self.files.get(model).and_then(|files| files.get(info.part));
        match file.filter(|file| self.memory.is_some() && file.known.is_none()) {
            None => source,
            Some(InputFile { along, .. }) => {
                let size = info.data.len() / info.shape.elements().max(1);
                Box::new(Heard { source, along, start: info.data.start, size })
            }
        }
    }

    /// Whether there are any.
    pub(super) fn are_told(&self) -> bool {
        self.memory.is_some()
    }

    /// That of a model's file, once everything was read.
    pub(super) fn of(&self, model: &str, part: usize) -> Option<Digest> {
        let memory = self.memory?;
        let InputFile { mapped, known, along } = self.files.get(model)?.get(part)?;
        Some(known.unwrap_or_else(|| {
            let digest = along.finish();
            memory.remember(mapped, digest, self.began);
            digest
        }))
    }
}

/// A tensor whose bytes are hashed as they are read.
struct Heard<'a> {
    source: Box<dyn Source + 'a>,
    along: &'a Along<'a>,
    /// Where it begins in the file, and about how many bytes an element has.
    start: usize,
    size: usize,
}

impl Source for Heard<'_> {
    fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        let start = self.start + first * self.size;
        let read = start..start + scratch.len() * self.size;
        let values = self.source.read(first, scratch);
        self.along.was_read(read);
        values
    }
}
