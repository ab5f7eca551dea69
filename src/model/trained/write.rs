//! Writing a folder: tensors arrive in order, each into a file of its own; the manifest comes last.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::manifest::{Manifest, TensorFile};
use super::{MANIFEST, MAX_MAGNITUDE};
use crate::model::tokenizer::Tokenizer;
use crate::model::writer::{ModelWriter, Planned, WriteError};

/// The tokenizer section's file.
const TOKENIZER: &str = "tokenizer.bin";

/// A folder being written.
pub struct Writer {
    folder: PathBuf,
    manifest: Manifest,
    done: usize,
    current: Option<(File, u64)>,
}

/// The tensors' files, as a manifest lists them.
pub fn files(planned: &[Planned]) -> Vec<TensorFile> {
    let file = |tensor: &Planned| TensorFile {
        name: tensor.name.clone(),
        dims: tensor.shape.dims().to_vec(),
        bytes: tensor.shape.elements() as u64 * 4,
        path: format!("tensors/{}.f32", tensor.name),
    };
    planned.iter().map(file).collect()
}

impl Writer {
    /// Starts writing into an empty folder that is there.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`] if the folder cannot be written.
    pub fn new(folder: &Path, manifest: Manifest, tokenizer: &Tokenizer) -> Result<Self, WriteError> {
        std::fs::create_dir_all(folder.join("tensors"))?;
        std::fs::write(folder.join(TOKENIZER), tokenizer.to_section())?;
        let manifest = Manifest { tokenizer: TOKENIZER.to_owned(), ..manifest };
        Ok(Self { folder: folder.to_owned(), manifest, done: 0, current: None })
    }

    fn plan(&self, doing: &'static str) -> Result<&TensorFile, WriteError> {
        let (written, planned) = (self.done, self.manifest.tensors.len());
        self.manifest.tensors.get(self.done).ok_or(WriteError::Count { written, planned, doing })
    }
}

impl ModelWriter for Writer {
    fn payload(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let plan = self.plan("more payload came")?;
        for (i, word) in bytes.as_chunks::<4>().0.iter().enumerate() {
            let value = f32::from_le_bytes(*word);
            if !value.is_finite() || value.abs() > MAX_MAGNITUDE {
                let written = self.current.as_ref().map_or(0, |(_, written)| *written) as usize;
                return Err(WriteError::Value {
                    tensor: plan.name.clone(),
                    element: written / 4 + i,
                    value,
                    expected: "a trained source takes finite numbers up to 65504",
                });
            }
        }
        if self.current.is_none() {
            self.current = Some((File::create_new(self.folder.join(&plan.path))?, 0));
        }
        if let Some((file, written)) = &mut self.current {
            file.write_all(bytes)?;
            *written += bytes.len() as u64;
        }
        Ok(())
    }

    fn finish_tensor(&mut self, _scales: &[u8]) -> Result<(), WriteError> {
        let plan = self.plan("a tensor was finished")?;
        let found = self.current.as_ref().map_or(0, |(_, written)| *written);
        if found != plan.bytes {
            let (tensor, part, expected) = (plan.name.clone(), "payload", plan.bytes);
            return Err(WriteError::Length { tensor, part, expected, found });
        }
        if let Some((file, _)) = self.current.take() {
            file.sync_data()?;
        }
        self.done += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        if self.done != self.manifest.tensors.len() {
            let (written, planned) = (self.done, self.manifest.tensors.len());
            return Err(WriteError::Count { written, planned, doing: "the folder was finished" });
        }
        Ok(std::fs::write(self.folder.join(MANIFEST), self.manifest.to_text())?)
    }
}
