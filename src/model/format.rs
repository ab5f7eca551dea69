//! The formats that can be read. A new one is one module and one line in [`FORMATS`].

use super::checkpoint::Checkpoint;
use super::config::ModelConfig;
use super::gguf;
use super::naming::Naming;
use super::package::Package;
use super::safetensors;
use super::slm1::{self, Slm1Error};
use super::variant::RopeScale;
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
    /// A model of a format that is not run or bred as it is.
    #[error("this is a {format} file; make an .slm of it first: studbook convert FILE OUT.slm")]
    Foreign {
        /// The format.
        format: &'static str,
    },
    /// A damaged or unusable GGUF file.
    #[error("not a usable GGUF file: {0}")]
    Gguf(#[from] gguf::GgufError),
    /// A damaged or unusable safetensors file.
    #[error("not a usable safetensors file: {0}")]
    Safetensors(#[from] safetensors::SafetensorsError),
    /// A folder that is no Hugging Face model.
    #[cfg(feature = "engine")]
    #[error("not a usable model folder: {0}")]
    Folder(#[from] super::huggingface::FolderError),
    /// A folder that is no trained source.
    #[cfg(feature = "engine")]
    #[error("not a usable trained-source folder: {0}")]
    Trained(#[from] super::trained::TrainedError),
    /// A list of files that is none, or of other files than there are.
    #[cfg(feature = "engine")]
    #[error(transparent)]
    Listing(#[from] super::listing::ListingError),
    /// A file that is not the one that is listed.
    #[cfg(feature = "engine")]
    #[error("{name} is not the file that the model's list names: expected {expected}, found {found}")]
    OtherFile {
        /// The file.
        name: String,
        /// Its digest in the list.
        expected: crate::base::digest::Digest,
        /// Its digest.
        found: crate::base::digest::Digest,
    },
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
    ///
    /// # Errors
    ///
    /// What the format's own error says: what is wrong, and where in the file. Elements are not looked at.
    fn read(&self, bytes: SharedBytes) -> Result<Package, ModelError>;
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

    fn read(&self, bytes: SharedBytes) -> Result<Package, ModelError> {
        Ok(slm1::read::read(bytes)?.into())
    }
}

struct Gguf;

impl Format for Gguf {
    fn name(&self) -> &'static str {
        gguf::NAME
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["gguf"]
    }

    fn sniff(&self, head: &[u8]) -> bool {
        head.starts_with(&gguf::MAGIC)
    }

    fn read(&self, bytes: SharedBytes) -> Result<Package, ModelError> {
        let gguf::Gguf { weights, facts } = gguf::read(bytes)?;
        let mut package = Package::of_weights(weights);
        let stored = |name: &str| package.weights.info(name).is_some();
        let config = gguf::meaning::config(&facts, stored).map_err(|error| error.to_string());
        if let Ok(architecture) = gguf::meaning::architecture(&facts) {
            package.naming = package.naming.map(|_| architecture.naming());
        }
        package.config = config.and_then(|config| scaled(config, &package, &facts));
        package.tokenizer = match gguf::meaning::tokenizer(&facts) {
            Ok(Some(tokenizer)) => Ok(tokenizer),
            Ok(None) => Err("the file has no vocabulary".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        package.facts = Some(std::sync::Arc::new(facts));
        Ok(package)
    }
}

/// The network with its rotary frequencies scaled as the file's tensor says, if it has one and its
/// architecture knows it.
fn scaled(mut config: ModelConfig, package: &Package, facts: &gguf::Facts) -> Result<ModelConfig, String> {
    let knows = package.naming == Some(Naming::Gguf);
    let Some(tensor) = package.weights.tensor(gguf::rope_freqs::TENSOR).filter(|_| knows) else {
        return Ok(config);
    };
    match gguf::rope_freqs::scale(tensor, &config, facts) {
        Some(scale) if config.variant.rope == RopeScale::Plain => {
            config.variant.rope = scale;
            Ok(config)
        }
        _ => {
            let why = "rotary frequencies are scaled in a way that is not known here";
            Err(format!("`{}`: {why}", gguf::rope_freqs::TENSOR))
        }
    }
}

struct Safetensors;

impl Format for Safetensors {
    fn name(&self) -> &'static str {
        safetensors::NAME
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["safetensors"]
    }

    fn sniff(&self, head: &[u8]) -> bool {
        safetensors::sniff(head)
    }

    fn read(&self, bytes: SharedBytes) -> Result<Package, ModelError> {
        Ok(Package::of_weights(safetensors::read(bytes)?.0))
    }
}

/// Every format of a single file.
pub static FORMATS: &[&dyn Format] = &[&Slm1, &Gguf, &Safetensors];

/// Reads a model that can be run and bred: an SLM1 file.
///
/// # Errors
///
/// [`ModelError::UnknownFormat`] of bytes that are no model, [`ModelError::Foreign`] of one of another format,
/// [`ModelError::Slm1`] as [`slm1::read::read`].
pub fn open_bytes(bytes: SharedBytes) -> Result<Checkpoint, ModelError> {
    let format = sniff((*bytes).as_ref())?;
    if format.name() == slm1::NAME {
        return Ok(slm1::read::read(bytes)?);
    }
    Err(ModelError::Foreign { format: format.name() })
}

/// Reads a model of any known format.
///
/// # Errors
///
/// [`ModelError::UnknownFormat`] of bytes that are no model; else as [`Format::read`].
pub fn open_package_bytes(bytes: SharedBytes) -> Result<Package, ModelError> {
    sniff((*bytes).as_ref())?.read(bytes)
}

fn sniff(head: &[u8]) -> Result<&'static dyn Format, ModelError> {
    FORMATS.iter().copied().find(|format| format.sniff(head)).ok_or_else(|| {
        let head = head[..head.len().min(8)].escape_ascii().to_string();
        ModelError::UnknownFormat { head }
    })
}

#[cfg(feature = "engine")]
fn by_extension(path: &std::path::Path) -> Option<&'static dyn Format> {
    let extension = path.extension()?.to_str()?;
    FORMATS.iter().copied().find(|format| format.extensions().contains(&extension))
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

/// Reads a mapped file of any format. Damaged at its very beginning, it is still what its name says.
#[cfg(feature = "engine")]
pub(super) fn read_named(path: &std::path::Path, bytes: SharedBytes) -> Result<Package, ModelError> {
    match sniff((*bytes).as_ref()) {
        Ok(format) => format.read(bytes),
        Err(unknown) => by_extension(path).map_or(Err(unknown), |format| format.read(bytes)),
    }
}

/// Maps and reads a file.
///
/// # Errors
///
/// [`ModelError::Disk`] if there is no such file, or it cannot be read; else as [`open_bytes`], with the path.
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
        let error = open_bytes(Arc::new(b"ELF2\x03".to_vec())).unwrap_err().to_string();
        assert!(error.contains("ELF2\\x03") && error.contains("slm1 (.slm)"), "{error}");
        let error = open_bytes(Arc::new(b"GGUF\x03".to_vec())).unwrap_err().to_string();
        assert!(error.contains("studbook convert"), "{error}");
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
