//! A folder to tensors, everything checked.

use std::collections::{BTreeSet, HashSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::manifest::{MAX_BYTES, Manifest, ManifestError, TensorFile};
use super::{MANIFEST, MAX_MAGNITUDE, NAME};
use crate::disk::mmap::Mapped;
use crate::disk::small::read_small_text;
use crate::disk::{DiskError, IoContext};
use crate::model::config::{TensorSpec, tensor_table};
use crate::model::listing::Place;
use crate::model::naming::Naming;
use crate::model::package::Package;
use crate::model::tokenizer::{Tokenizer, TokenizerError};
use crate::model::weights::{SharedBytes, TensorInfo, Weights};
use crate::tensor::dtype::DType;
use crate::tensor::shape::Shape;

/// Why a folder is no trained source.
#[derive(Debug, thiserror::Error)]
pub enum TrainedError {
    /// A file that cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The manifest.
    #[error("{MANIFEST}: {0}")]
    Manifest(#[from] ManifestError),
    /// The tokenizer section.
    #[error("{path}: {source}")]
    Tokenizer {
        /// Its file.
        path: String,
        /// What is wrong.
        source: TokenizerError,
    },
    /// A path that leads elsewhere.
    #[error("{MANIFEST}: the path {path:?} {why}; paths are relative and stay in the folder")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A list of tensors that is not the network's.
    #[error("{MANIFEST}: {0}")]
    Tensors(String),
    /// A file of another length.
    #[error("{path}: {found} bytes, expected {expected} for tensor {tensor}")]
    Length {
        /// The file.
        path: String,
        /// The tensor.
        tensor: String,
        /// Its length.
        found: u64,
        /// The length the manifest and the shape say.
        expected: u64,
    },
    /// A value that cannot be a weight.
    #[error("{path}: tensor {tensor}, element {element} (byte {}) is {value}; expected a finite number of at most {MAX_MAGNITUDE}", element * 4)]
    Value {
        /// The file.
        path: String,
        /// The tensor.
        tensor: String,
        /// Index of the element.
        element: usize,
        /// Its value.
        value: f32,
    },
    /// A tensor that was never trained.
    #[error("{path}: every element of tensor {tensor} is zero; expected at least one that is not")]
    AllZero {
        /// The file.
        path: String,
        /// The tensor.
        tensor: String,
    },
}

/// A trained source that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The model.
    pub package: Package,
    /// What its manifest says of it.
    pub manifest: Manifest,
    /// The maps that its tensors lie in.
    pub files: Vec<Arc<Mapped>>,
}

/// The names of the files that make a folder's model, as its manifest spells them.
///
/// # Errors
///
/// [`TrainedError::Disk`] if the manifest cannot be read, or has more than 16 MiB; [`TrainedError::Manifest`]
/// as [`Manifest::parse`]. Whether the files are there is not asked.
pub fn names(folder: &Path) -> Result<Vec<String>, TrainedError> {
    let manifest = Manifest::parse(&text(&folder.join(MANIFEST))?)?;
    let tensors = manifest.tensors.into_iter().map(|file| file.path);
    Ok([MANIFEST.to_owned(), manifest.tokenizer].into_iter().chain(tensors).collect())
}

/// Opens a folder: the model, and what its manifest says of it.
///
/// # Errors
///
/// As [`open_at`], and [`TrainedError::Path`] of one that leads out of the folder, or through a link.
pub fn open(folder: &Path) -> Result<(Package, Manifest), TrainedError> {
    open_at(&Place::folder(folder)).map(|opened| (opened.package, opened.manifest))
}

/// Opens a model whose files may lie anywhere.
///
/// # Errors
///
/// As [`names`], and [`TrainedError::Disk`] if a file cannot be read; [`TrainedError::Tensors`] if the files
/// are not those of the network's tensors, each once and no other; [`TrainedError::Length`],
/// [`TrainedError::Value`] or [`TrainedError::AllZero`] of one of them; [`TrainedError::Tokenizer`] of a
/// section that is none.
pub fn open_at(place: &Place) -> Result<Opened, TrainedError> {
    let path = place.path(MANIFEST);
    let manifest = Manifest::parse(&text(&path)?)?;
    let specs = tensor_table(&manifest.config).map_err(|error| TrainedError::Tensors(error.to_string()))?;
    let mut tensors = Vec::with_capacity(specs.len());
    let mut files = Vec::with_capacity(specs.len());
    for (spec, file) in in_order(specs, &manifest.tensors)? {
        let mapped = Arc::new(Mapped::open(&inside(place, &file.path)?)?);
        check(&spec, file, (*mapped).as_ref())?;
        tensors.push(TensorInfo {
            name: spec.name,
            dtype: DType::F32,
            part: files.len(),
            data: 0..spec.shape.elements() * 4,
            shape: spec.shape,
            scales: 0..0,
            block_size: 0,
        });
        files.push(mapped);
    }
    no_other_tensors(place, &manifest)?;
    let parts = files.iter().map(|file| file.clone() as SharedBytes).collect();
    let section = Mapped::open(&inside(place, &manifest.tokenizer)?)?;
    let refuse = |source| TrainedError::Tokenizer { path: manifest.tokenizer.clone(), source };
    let package = Package {
        weights: Weights::new(NAME, tensors, parts),
        naming: Some(Naming::Slm1),
        config: Ok(manifest.config.clone()),
        tokenizer: Ok(Tokenizer::from_section(section.as_ref()).map_err(refuse)?),
        companions: Vec::new(),
        facts: None,
    };
    Ok(Opened { package, manifest, files })
}

/// A file is one tensor's, and every file of numbers in the folder is some tensor's.
fn no_other_tensors(place: &Place, manifest: &Manifest) -> Result<(), TrainedError> {
    let plain = |path: &str| -> PathBuf {
        Path::new(path).components().filter(|part| !matches!(part, Component::CurDir)).collect()
    };
    let mut listed = HashSet::new();
    if let Some(twice) = manifest.tensors.iter().find(|file| !listed.insert(plain(&file.path))) {
        return Err(TrainedError::Tensors(format!("the file {} is that of two tensors", twice.path)));
    }
    if place.files().is_some() {
        return Ok(());
    }
    let folders: BTreeSet<&Path> = listed.iter().filter_map(|path| path.parent()).collect();
    for folder in folders {
        let full = place.root().join(folder);
        let mut names = Vec::new();
        // A folder that cannot be listed to its end may hold anything.
        for entry in std::fs::read_dir(&full).at("list", &full)? {
            names.push(folder.join(entry.at("list", &full)?.file_name()));
        }
        names.sort();
        let is_stray =
            |path: &&PathBuf| path.extension().is_some_and(|end| end == "f32") && !listed.contains(*path);
        if let Some(stray) = names.iter().find(is_stray) {
            let message = format!("the file {} is no tensor's; remove it or list it", stray.display());
            return Err(TrainedError::Tensors(message));
        }
    }
    Ok(())
}

fn text(path: &Path) -> Result<String, TrainedError> {
    Ok(read_small_text("read", path, MAX_BYTES)?)
}

/// Each tensor of the network with its file; the order of the manifest does not matter.
fn in_order(
    specs: Vec<TensorSpec>,
    files: &[TensorFile],
) -> Result<Vec<(TensorSpec, &TensorFile)>, TrainedError> {
    let mut names = HashSet::new();
    if let Some(twice) = files.iter().find(|file| !names.insert(file.name.as_str())) {
        return Err(TrainedError::Tensors(format!("the tensor {} is listed twice", twice.name)));
    }
    let known: HashSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    if let Some(stranger) = files.iter().find(|file| !known.contains(file.name.as_str())) {
        return Err(TrainedError::Tensors(format!("the network has no tensor {}", stranger.name)));
    }
    let by_name: std::collections::HashMap<&str, &TensorFile> =
        files.iter().map(|file| (file.name.as_str(), file)).collect();
    specs
        .into_iter()
        .map(|spec| match by_name.get(spec.name.as_str()) {
            Some(file) => Ok((spec, *file)),
            None => Err(TrainedError::Tensors(format!("the tensor {} is missing", spec.name))),
        })
        .collect()
}

/// A path that stays inside the folder, step by step, none of them a symbolic link.
fn inside(place: &Place, relative: &str) -> Result<PathBuf, TrainedError> {
    let refuse = |why| TrainedError::Path { path: relative.to_owned(), why };
    if place.files().is_some() {
        return Ok(place.path(relative));
    }
    let mut path = place.root().to_owned();
    for component in Path::new(relative).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => continue,
            Component::ParentDir => return Err(refuse("goes up")),
            Component::RootDir | Component::Prefix(_) => return Err(refuse("is absolute")),
        }
        if std::fs::symlink_metadata(&path).at("open", &path)?.is_symlink() {
            return Err(refuse("is a symbolic link"));
        }
    }
    Ok(path)
}

fn check(spec: &TensorSpec, file: &TensorFile, bytes: &[u8]) -> Result<(), TrainedError> {
    let (tensor, path) = (|| spec.name.clone(), || file.path.clone());
    let shape = Shape::new(file.dims.clone())
        .map_err(|error| TrainedError::Tensors(format!("tensor {}: {error}", spec.name)))?;
    if shape != spec.shape {
        let message = format!("tensor {} is {shape}; the network needs {}", spec.name, spec.shape);
        return Err(TrainedError::Tensors(message));
    }
    let expected = shape.elements() as u64 * 4;
    for found in [file.bytes, bytes.len() as u64] {
        if found != expected {
            return Err(TrainedError::Length { path: path(), tensor: tensor(), found, expected });
        }
    }
    let mut zero = true;
    for (element, word) in bytes.as_chunks::<4>().0.iter().enumerate() {
        let value = f32::from_le_bytes(*word);
        if !value.is_finite() || value.abs() > MAX_MAGNITUDE {
            return Err(TrainedError::Value { path: path(), tensor: tensor(), element, value });
        }
        zero &= value == 0.0;
    }
    if zero { Err(TrainedError::AllZero { path: path(), tensor: tensor() }) } else { Ok(()) }
}
