//! Writing a folder: tensors arrive in order and go to files of a chosen size.
//!
//! ```text
//! model.safetensors                                  if one file is enough
//! model-00001-of-00002.safetensors ...               else, with
//! model.safetensors.index.json                       which tensor is where
//! ```
//!
//! A file is closed as soon as the next tensor would make it larger than asked for; a tensor is never
//! cut. The files get their names only when they are whole; the folder itself is the caller's to
//! publish.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::folder::{INDEX, SINGLE};
use crate::base::digest::Digest;
use crate::base::sink::ArtifactSink;
use crate::disk::fresh::{self, Durability};
use crate::disk::hashed::{HashedFile, Unpublished};
use crate::disk::{DiskError, IoContext};
use crate::model::buffer::Buffer;
use crate::model::safetensors::{Layout, Metadata};
use crate::model::writer::{ModelWriter, Planned, WriteError};

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Its name in the folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its content.
    pub blake3: Digest,
}

/// Most bytes of tensors in one file of a folder, if nobody says.
pub const SHARD: u64 = 5_000_000_000;

/// Where every tensor of a folder will lie.
#[derive(Debug, Clone)]
pub struct FolderLayout {
    files: Vec<(String, Layout)>,
}

impl FolderLayout {
    /// Files of at most `limit` bytes of tensors each, or of one tensor that is larger.
    ///
    /// # Errors
    ///
    /// As [`Layout::new`].
    pub fn new(planned: &[Planned], limit: u64, metadata: &Metadata) -> Result<Self, WriteError> {
        Self::with_buffers(planned, &[], limit, metadata)
    }

    /// The same with buffers in the last file, behind its tensors.
    ///
    /// # Errors
    ///
    /// As [`Layout::with_buffers`].
    pub fn with_buffers(
        planned: &[Planned],
        buffers: &[Buffer],
        limit: u64,
        metadata: &Metadata,
    ) -> Result<Self, WriteError> {
        let mut groups: Vec<Vec<Planned>> = vec![Vec::new()];
        let mut filled = 0_u64;
        for tensor in planned {
            let single = Layout::new(vec![tensor.clone()], &Metadata::new())?;
            let bytes = single.places().first().map_or(0, |place| place.end - place.start);
            if filled > 0 && filled.saturating_add(bytes) > limit {
                groups.push(Vec::new());
                filled = 0;
            }
            filled = filled.saturating_add(bytes);
            groups.last_mut().unwrap_or(&mut Vec::new()).push(tensor.clone());
        }
        let count = groups.len();
        let name = |index: usize| match count {
            1 => SINGLE.to_owned(),
            _ => format!("model-{:05}-of-{count:05}.safetensors", index + 1),
        };
        let files = groups.into_iter().enumerate().map(|(index, group)| {
            let own = if index + 1 == count { buffers.to_vec() } else { Vec::new() };
            Ok((name(index), Layout::with_buffers(group, own, metadata)?))
        });
        Ok(Self { files: files.collect::<Result<_, WriteError>>()? })
    }

    /// Bytes of all files, the index too.
    pub fn total_bytes(&self) -> u64 {
        let index = self.index().map_or(0, |index| index.len() as u64);
        self.files.iter().map(|(_, layout)| layout.total_bytes()).sum::<u64>() + index
    }

    /// The index, if there is more than one file.
    fn index(&self) -> Option<Vec<u8>> {
        if self.files.len() == 1 {
            return None;
        }
        let mut total = 0;
        let mut map = BTreeMap::new();
        for (name, layout) in &self.files {
            total += layout.places().iter().map(|place| place.end - place.start).sum::<u64>();
            total += layout.buffers().iter().map(|buffer| buffer.data().len() as u64).sum::<u64>();
            map.extend(layout.planned().iter().map(|tensor| (&tensor.name, name)));
            map.extend(layout.buffers().iter().map(|buffer| (&buffer.name, name)));
        }
        let index = serde_json::json!({ "metadata": { "total_size": total }, "weight_map": map });
        let mut bytes = serde_json::to_vec_pretty(&index).expect("plain values");
        bytes.push(b'\n');
        Some(bytes)
    }
}

/// Where the files of a folder go: into a folder, or into a store.
pub trait Shelf {
    /// Starts a file.
    ///
    /// # Errors
    ///
    /// If no file can be made there.
    fn begin(&mut self) -> Result<HashedFile, DiskError>;

    /// Takes a finished file under its name in the folder.
    ///
    /// # Errors
    ///
    /// If the name is taken, or the disk refuses it.
    fn end(&mut self, name: &str, file: Unpublished) -> Result<(), DiskError>;

    /// Takes a small file.
    ///
    /// # Errors
    ///
    /// As [`Self::begin`] and [`Self::end`], and if the disk does not take the bytes.
    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let mut file = self.begin()?;
        file.write(bytes).at("write", Path::new(name))?;
        self.end(name, file.finish()?)
    }
}

/// A folder that is there; its files are everybody's to read.
pub struct InFolder(pub PathBuf);

impl Shelf for InFolder {
    fn begin(&mut self) -> Result<HashedFile, DiskError> {
        HashedFile::create_with_mode(&self.0, 0o644)
    }

    fn end(&mut self, name: &str, file: Unpublished) -> Result<(), DiskError> {
        let path = self.0.join(name);
        fresh::folder_for(&path)?;
        file.persist(&path, false)
    }
}

/// A folder being written.
pub struct FolderWriter<'a> {
    layout: &'a FolderLayout,
    shelf: Box<dyn Shelf + 'a>,
    /// The file that is being written, and bytes of it.
    file: Option<(HashedFile, u64)>,
    /// Files finished, and tensors of the current one.
    files: usize,
    tensors: usize,
    written: Vec<Written>,
    durability: Durability,
}

impl<'a> FolderWriter<'a> {
    /// Starts writing into a folder that is there.
    pub fn new(layout: &'a FolderLayout, folder: &Path, durability: Durability) -> Self {
        Self { durability, ..Self::on(layout, Box::new(InFolder(folder.to_owned()))) }
    }

    /// Starts writing files that go wherever the shelf puts them, each on the disk before it has its name.
    pub fn on(layout: &'a FolderLayout, shelf: Box<dyn Shelf + 'a>) -> Self {
        let durability = Durability::Synced;
        Self { layout, shelf, file: None, files: 0, tensors: 0, written: Vec::new(), durability }
    }

    /// Writes a small file beside those of tensors.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`] if the shelf does not take it.
    pub fn companion(&mut self, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
        self.shelf.put(name, bytes).map_err(|error| disk(&error))?;
        let (name, blake3) = (name.to_owned(), Digest::of(bytes));
        self.written.push(Written { name, bytes: bytes.len() as u64, blake3 });
        Ok(())
    }

    /// What was written, once it is finished.
    pub fn written(&self) -> &[Written] {
        &self.written
    }

    /// The current file, begun if need be, and the end of the current tensor in it.
    fn current(&mut self, doing: &'static str) -> Result<Current<'_, 'a>, WriteError> {
        let planned: usize = self.layout.files.iter().map(|(_, layout)| layout.planned().len()).sum();
        let done: usize = self.layout.files[..self.files].iter().map(|(_, l)| l.planned().len()).sum();
        let count = WriteError::Count { written: done + self.tensors, planned, doing };
        let Some((_, layout)) = self.layout.files.get(self.files) else { return Err(count) };
        let (Some(tensor), Some(place)) =
            (layout.planned().get(self.tensors), layout.places().get(self.tensors))
        else {
            return Err(count);
        };
        if self.file.is_none() {
            let mut file = self.shelf.begin().map_err(|error| disk(&error))?;
            file.announce(layout.total_bytes())?;
            file.write(layout.head())?;
            self.file = Some((file, layout.head().len() as u64));
        }
        let file = self.file.as_mut().expect("just begun");
        Ok(Current { file, tensor, start: place.start, end: place.end })
    }

    fn close(&mut self) -> Result<(), WriteError> {
        let Some((mut file, mut bytes)) = self.file.take() else { return Ok(()) };
        let (name, layout) = &self.layout.files[self.files];
        for buffer in layout.buffers() {
            file.write(buffer.data())?;
            bytes += buffer.data().len() as u64;
        }
        let name = name.clone();
        let done = file.finish_as(self.durability).map_err(|error| disk(&error))?;
        let blake3 = done.digest;
        self.shelf.end(&name, done).map_err(|error| disk(&error))?;
        self.written.push(Written { name, bytes, blake3 });
        self.files += 1;
        self.tensors = 0;
        Ok(())
    }
}

/// The file and the tensor that are being written.
struct Current<'w, 'a> {
    /// The file, and how far it is.
    file: &'w mut (HashedFile, u64),
    tensor: &'a Planned,
    /// Where the tensor lies in it.
    start: u64,
    end: u64,
}

impl Current<'_, '_> {
    fn wrong_length(&self, found: u64) -> WriteError {
        let (tensor, part, expected) = (self.tensor.name.clone(), "payload", self.end - self.start);
        WriteError::Length { tensor, part, expected, found: found - self.start }
    }
}

fn disk(error: &DiskError) -> WriteError {
    WriteError::Io(std::io::Error::new(error.source.kind(), error.to_string()))
}

impl ModelWriter for FolderWriter<'_> {
    fn payload(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let current = self.current("more payload came")?;
        let found = current.file.1 + bytes.len() as u64;
        if found > current.end {
            return Err(current.wrong_length(found));
        }
        current.file.0.write(bytes)?;
        current.file.1 = found;
        Ok(())
    }

    fn finish_tensor(&mut self, scales: &[u8]) -> Result<(), WriteError> {
        let current = self.current("a tensor was finished")?;
        if current.file.1 != current.end || !scales.is_empty() {
            return Err(current.wrong_length(current.file.1 + scales.len() as u64));
        }
        self.tensors += 1;
        if self.tensors == self.layout.files[self.files].1.planned().len() { self.close() } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        if self.files != self.layout.files.len() {
            self.current("the folder was finished")?;
            let planned = self.layout.files.len();
            return Err(WriteError::Count { written: self.files, planned, doing: "the folder was finished" });
        }
        if let Some(index) = self.layout.index() {
            self.companion(INDEX, &index)?;
        }
        Ok(())
    }
}
