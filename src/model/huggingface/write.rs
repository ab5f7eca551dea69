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
use crate::disk::fresh::Durability;
use crate::disk::hashed::HashedFile;
use crate::model::safetensors::{Layout, Metadata};
use crate::model::writer::{ModelWriter, Planned, WriteError};

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Written {
    /// Its name in the folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its content.
    pub blake3: Digest,
}

/// Where every tensor of a folder will lie.
#[derive(Debug, Clone)]
pub struct FolderLayout {
    files: Vec<(String, Layout)>,
}

impl FolderLayout {
    /// Files of at most `limit` bytes of tensors each, or of one tensor that is larger.
    pub fn new(planned: &[Planned], limit: u64, metadata: &Metadata) -> Result<Self, WriteError> {
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
        let files = groups.into_iter().enumerate();
        let files = files.map(|(index, group)| Ok((name(index), Layout::new(group, metadata)?)));
        Ok(Self { files: files.collect::<Result<_, WriteError>>()? })
    }

    /// Bytes of all files, the index apart.
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().map(|(_, layout)| layout.total_bytes()).sum()
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
            map.extend(layout.planned().iter().map(|tensor| (&tensor.name, name)));
        }
        let index = serde_json::json!({ "metadata": { "total_size": total }, "weight_map": map });
        let mut bytes = serde_json::to_vec_pretty(&index).expect("plain values");
        bytes.push(b'\n');
        Some(bytes)
    }
}

/// A folder being written.
pub struct FolderWriter<'a> {
    layout: &'a FolderLayout,
    folder: PathBuf,
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
        let folder = folder.to_owned();
        Self { layout, folder, file: None, files: 0, tensors: 0, written: Vec::new(), durability }
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
            let mut file = HashedFile::create_with_mode(&self.folder, 0o644).map_err(|error| disk(&error))?;
            file.write(layout.head())?;
            self.file = Some((file, layout.head().len() as u64));
        }
        let file = self.file.as_mut().expect("just begun");
        Ok(Current { file, tensor, start: place.start, end: place.end })
    }

    fn close(&mut self) -> Result<(), WriteError> {
        let Some((file, bytes)) = self.file.take() else { return Ok(()) };
        let name = self.layout.files[self.files].0.clone();
        let done = file.finish_as(self.durability).map_err(|error| disk(&error))?;
        let blake3 = done.digest;
        done.persist(&self.folder.join(&name), false).map_err(|error| disk(&error))?;
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

fn disk(error: &crate::disk::DiskError) -> WriteError {
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
            std::fs::write(self.folder.join(INDEX), &index)?;
            let (bytes, blake3) = (index.len() as u64, Digest::of(&index));
            self.written.push(Written { name: INDEX.to_owned(), bytes, blake3 });
        }
        Ok(())
    }
}
