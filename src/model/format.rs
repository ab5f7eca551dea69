//! The formats that can be read. A new one is one module and one line in [`FORMATS`].

use super::checkpoint::Checkpoint;
use super::slm1::{self, Slm1Error};
use super::weights::SharedBytes;

/// Why a model cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No format recognises the bytes.
    #[error(
        "this is no model file that is known here: it begins with \"{head}\"; known formats: {}",
        known_formats()
    )]
    UnknownFormat {
        /// Its first bytes, at most eight.
        head: String,
    },
    /// A damaged or unusable `.slm` file.
    #[error("not a usable SLM1 file: {0}")]
    Slm1(#[from] Slm1Error),
    /// The file itself.
    #[cfg(feature = "engine")]
    #[error(transparent)]
    Disk(#[from] crate::disk::DiskError),
    /// Any of these, in a file.
    #[cfg(feature = "engine")]
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        source: Box<ModelError>,
    },
}

/// A model file format.
pub trait Format: Sync {
    /// What records call it.
    fn name(&self) -> &'static str;
    /// Usual file name extensions, without the dot.
    fn extensions(&self) -> &'static [&'static str];
    /// Whether a file that begins like this is probably one.
    fn sniff(&self, head: &[u8]) -> bool;
    /// Reads and checks one.
    fn read(&self, bytes: SharedBytes) -> Result<Checkpoint, ModelError>;
}

struct Slm1;

impl Format for Slm1 {
    fn name(&self) -> &'static str {
        slm1::NAME
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["slm"]
    }

    fn sniff(&self, head: &[u8]) -> bool {
        head.starts_with(&slm1::header::MAGIC)
    }

    fn read(&self, bytes: SharedBytes) -> Result<Checkpoint, ModelError> {
        Ok(slm1::read::read(bytes)?)
    }
}

/// Every format.
pub static FORMATS: &[&dyn Format] = &[&Slm1];

/// Reads a model of any known format.
pub fn open_bytes(bytes: SharedBytes) -> Result<Checkpoint, ModelError> {
    let head = (*bytes).as_ref();
    match FORMATS.iter().find(|format| format.sniff(head)) {
        Some(format) => format.read(bytes),
        None => {
            let head = head[..head.len().min(8)].escape_ascii().to_string();
            Err(ModelError::UnknownFormat { head })
        }
    }
}

fn known_formats() -> String {
    let describe = |format: &&dyn Format| format!("{} (.{})", format.name(), format.extensions().join(", ."));
    FORMATS.iter().map(describe).collect::<Vec<_>>().join(", ")
}

/// A model and the map it lies in.
#[cfg(feature = "engine")]
#[derive(Debug, Clone)]
pub struct Opened {
    /// The model.
    pub checkpoint: Checkpoint,
    /// The file's bytes and stamp.
    pub mapped: std::sync::Arc<crate::disk::mmap::Mapped>,
}

/// Maps and reads a file; an error names the path.
#[cfg(feature = "engine")]
pub fn open(path: &std::path::Path) -> Result<Opened, ModelError> {
    let mapped = std::sync::Arc::new(crate::disk::mmap::Mapped::open(path)?);
    match open_bytes(mapped.clone()) {
        Ok(checkpoint) => Ok(Opened { checkpoint, mapped }),
        Err(error) => Err(ModelError::InFile { path: path.to_owned(), source: Box::new(error) }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn an_unknown_format_lists_the_known_ones() {
        let error = open_bytes(Arc::new(b"GGUF\x03".to_vec())).unwrap_err().to_string();
        assert!(error.contains("GGUF\\x03") && error.contains("slm1 (.slm)"), "{error}");
        assert!(open_bytes(Arc::new(Vec::new())).is_err());
    }

    #[cfg(feature = "engine")]
    #[test]
    fn a_file_is_mapped_and_errors_name_it() {
        use crate::model::WriteError;
        use crate::model::slm1::write::write_values;
        use crate::model::slm1::{Encoding, Layout};
        let config = crate::model::config::tests::tiny();
        let encoding = Encoding::new(crate::tensor::dtype::DType::F32);
        let layout = Layout::new(&config, &crate::model::Tokenizer::Btok, encoding).unwrap();
        let mut file = Vec::new();
        write_values::<WriteError>(&layout, &mut file, |_, _, out| {
            out.fill(1.0);
            Ok(())
        })
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.slm");
        std::fs::write(&path, &file).unwrap();
        let opened = open(&path).unwrap();
        assert_eq!(opened.checkpoint.bytes(), file.len() as u64);
        assert!(opened.mapped.unchanged());
        // A payload begins at a multiple of 64 of a page: it is read in place.
        assert!(opened.checkpoint.tensors().all(|view| view.as_f32().is_some()));

        let path = folder.path().join("cut.slm");
        std::fs::write(&path, &file[..200]).unwrap();
        let error = open(&path).unwrap_err().to_string();
        assert!(error.contains("cut.slm") && error.contains("cut short"), "{error}");
    }
}
