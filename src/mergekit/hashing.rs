//! The digests of a merge's inputs, which the receipt names.
//!
//! Inputs are hashed as the merge reads them ([`Along`]). The same parents are merged again and again, with
//! other weights; so a file is not hashed again while its stamp is the one it had when it was ([`Stamps`]),
//! the rule that a store has for sources. What is remembered lies in the user's cache folder and may be
//! deleted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::models::Models;
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
    ///
    /// # Errors
    ///
    /// If the file or its folder cannot be written.
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
    /// Every file once, though several models may have it.
    files: Vec<InputFile<'a>>,
    /// Of every model, where its files are in the list.
    of_models: BTreeMap<&'a str, Vec<usize>>,
}

struct InputFile<'a> {
    mapped: &'a Mapped,
    /// Absent if the digest was remembered.
    along: Option<Along<'a>>,
    digest: OnceLock<Digest>,
}

impl InputFile<'_> {
    fn digest(&self, memory: &Memory, began: i128) -> Digest {
        *self.digest.get_or_init(|| {
            let digest = self.along.as_ref().expect("what is not known is hashed").finish();
            memory.remember(self.mapped, digest, began);
            digest
        })
    }
}

impl<'a> Underway<'a> {
    /// Before anything is read.
    pub(super) fn begin(digests: &'a InputDigests, models: &'a Models) -> Self {
        let memory = match digests {
            InputDigests::LeftOut => None,
            InputDigests::Hashed(memory) => Some(memory),
        };
        let mut all = Self { memory, began: now(), files: Vec::new(), of_models: BTreeMap::new() };
        if let Some(memory) = memory {
            for (name, opened) in models {
                let files = opened.files.iter().map(|(_, mapped)| all.place_of(memory, mapped)).collect();
                all.of_models.insert(name, files);
            }
        }
        all
    }

    /// Where a file is in the list, from now on.
    fn place_of(&mut self, memory: &Memory, mapped: &'a Mapped) -> usize {
        let is_it = |file: &InputFile<'_>| file.mapped.stamp() == mapped.stamp();
        self.files.iter().position(is_it).unwrap_or_else(|| {
            let (along, digest) = match memory.recall(mapped) {
                Some(known) => (None, OnceLock::from(known)),
                None => (Some(Along::new(mapped)), OnceLock::new()),
            };
            self.files.push(InputFile { mapped, along, digest });
            self.files.len() - 1
        })
    }

    fn file(&self, model: &str, part: usize) -> Option<&InputFile<'a>> {
        self.files.get(*self.of_models.get(model)?.get(part)?)
    }

    /// The source again; what is read of it is hashed along, if it has to be. It is a tensor of this model
    /// that lies there in this file of it.
    pub(super) fn hear<'s>(
        &'s self,
        source: Box<dyn Source + 's>,
        model: &str,
        info: &TensorInfo,
    ) -> Box<dyn Source + 's> {
        let along = self.file(model, info.part).and_then(|file| file.along.as_ref());
        let Some(along) = along else { return source };
        let size = info.data.len() / info.shape.elements().max(1);
        Box::new(Heard { source, along, start: info.data.start, size })
    }

    /// Whether there are any.
    pub(super) fn are_told(&self) -> bool {
        self.memory.is_some()
    }

    /// Hashes what nobody read. Whether an input changed is asked after this: then no digest is of a later
    /// state than what was merged.
    pub(super) fn finish(&self) {
        if let Some(memory) = self.memory {
            for file in &self.files {
                file.digest(memory, self.began);
            }
        }
    }

    /// That of a model's file, once everything was read.
    pub(super) fn of(&self, model: &str, part: usize) -> Option<Digest> {
        Some(self.file(model, part)?.digest(self.memory?, self.began))
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

    fn expect(&self, first: usize) {
        self.source.expect(first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::along::UNIT;

    struct Zeros;

    impl Source for Zeros {
        fn read<'s>(&'s self, _: usize, scratch: &'s mut [f32]) -> &'s [f32] {
            scratch
        }
    }

    #[test]
    fn what_is_read_is_hashed_along() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let bytes: Vec<u8> = (0..4 * UNIT).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let mapped = Mapped::open(&path).unwrap();
        let along = Along::new(&mapped);
        // From the second unit to the end of the file, two bytes an element.
        let heard = Heard { source: Box::new(Zeros), along: &along, start: UNIT, size: 2 };
        let mut scratch = [0.0; 1000];
        for (first, hashed) in [(0, 0), (UNIT / 2 - 1000, 1), (UNIT - 1001, 1), (UNIT - 1000, 2)] {
            heard.read(first, &mut scratch);
            assert_eq!(along.hashed(), hashed, "{first}");
        }
        assert_eq!(along.finish(), Digest::of(&bytes));
    }

    #[test]
    fn a_file_of_two_models_is_hashed_once_and_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, vec![5; UNIT]).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(30));
        let (memory, mapped) = (Memory::open(None, true), Mapped::open(&path).unwrap());
        let (again, digest) = (Mapped::open(&path).unwrap(), Digest::of(&vec![5; UNIT]));
        let (files, of_models) = (Vec::new(), BTreeMap::new());
        let mut all = Underway { memory: Some(&memory), began: now(), files, of_models };
        let places = [all.place_of(&memory, &mapped), all.place_of(&memory, &again)];
        assert_eq!((places, all.files.len()), ([0, 0], 1));
        all.of_models.insert("m", vec![0]);
        assert_eq!((all.of("m", 0), all.of("m", 1), all.of("n", 0)), (Some(digest), None, None));
        assert_eq!(memory.recall(&again), Some(digest));
    }
}
