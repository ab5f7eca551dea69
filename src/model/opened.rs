//! A model of any format and the maps it lies in: from a file, from a folder, or from files that lie
//! apart and belong together by a [`Listing`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::adapter::peft;
use super::format::{ModelError, read_named};
use super::listing::{Listing, Place};
use super::package::Package;
use super::{huggingface, trained};
use crate::base::digest::Digest;
use crate::disk::mmap::Mapped;

/// A model of any format and the maps it lies in.
#[derive(Debug, Clone)]
pub struct OpenedPackage {
    /// The model.
    pub package: Package,
    /// Its files of tensors, by name. The name of a single file is its path's last part.
    pub files: Vec<(String, Arc<Mapped>)>,
    /// Whether it is several files.
    pub is_folder: bool,
}

impl OpenedPackage {
    /// A file that is not what it was when it was opened.
    pub fn edited(&self) -> Option<&Path> {
        self.files.iter().find(|(_, file)| !file.unchanged()).map(|(_, file)| file.path())
    }

    /// The only file of a model that is one file.
    pub fn single(&self) -> Option<&Arc<Mapped>> {
        if self.is_folder { None } else { self.files.first().map(|(_, file)| file) }
    }
}

fn named(path: &Path, error: ModelError) -> ModelError {
    ModelError::InFile { path: path.to_owned(), source: Box::new(error) }
}

/// Opens a model of any format, a file or a folder.
///
/// # Errors
///
/// [`ModelError::Disk`] if there is nothing, or it cannot be read; else [`ModelError::InFile`] with the path
/// and what is wrong there, [`ModelError::UnknownFormat`] of a file of no format that is known. Elements are
/// not looked at, but in a trained source.
pub fn open_package(path: &Path) -> Result<OpenedPackage, ModelError> {
    if path.is_dir() {
        return open_at(&Place::folder(path)).map_err(|error| named(path, error));
    }
    let mapped = Arc::new(Mapped::open(path)?);
    let package = read_named(path, mapped.clone()).map_err(|error| named(path, error))?;
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    Ok(OpenedPackage { package, files: vec![(name, mapped)], is_folder: false })
}

fn open_at(place: &Place) -> Result<OpenedPackage, ModelError> {
    if place.has(trained::MANIFEST) {
        let trained::read::Opened { package, manifest, files } = trained::open_at(place)?;
        let names = manifest.tensors.into_iter().map(|file| file.name);
        return Ok(OpenedPackage { package, files: names.zip(files).collect(), is_folder: true });
    }
    let folder = huggingface::open_at(place)?;
    let package = folder.package();
    let files = folder.shards.into_iter().map(|shard| (shard.name, shard.mapped)).collect();
    Ok(OpenedPackage { package, files, is_folder: true })
}

/// Opens a model by its list of files; `files` says where each of them is, `name` is what errors call
/// the model. What is read into memory is checked against the list here; what is mapped was hashed by
/// whoever located it.
///
/// # Errors
///
/// [`ModelError::InFile`] with the name and what is wrong there, [`ModelError::OtherFile`] of a file that was
/// read and is not the one that is listed.
pub fn open_listed(
    name: &Path,
    listing: &Listing,
    files: BTreeMap<String, PathBuf>,
) -> Result<OpenedPackage, ModelError> {
    let opened = open_at(&Place::scattered(name, files)).map_err(|error| named(name, error))?;
    for companion in &opened.package.companions {
        let found = Digest::of(&companion.bytes);
        match listing.file(&companion.name) {
            Some(listed) if listed.blake3 == found => {}
            listed => {
                let expected = listed.map_or(Digest::of(b""), |listed| listed.blake3);
                let error = ModelError::OtherFile { name: companion.name.clone(), expected, found };
                return Err(named(name, error));
            }
        }
    }
    Ok(opened)
}

/// The names of the files that make the model or the adapter in a folder.
///
/// # Errors
///
/// [`ModelError::InFile`] with the path: as [`trained::read::names`] of a folder with a manifest, as
/// [`huggingface::folder::names`] of any other. Of an adapter never: its files need not be there.
pub fn names_in(folder: &Path) -> Result<Vec<String>, ModelError> {
    if peft::is_one(folder) {
        return Ok(peft::FILES.map(str::to_owned).to_vec());
    }
    let names = if folder.join(trained::MANIFEST).exists() {
        trained::read::names(folder).map_err(ModelError::from)
    } else {
        huggingface::folder::names(folder).map_err(ModelError::from)
    };
    names.map_err(|error| named(folder, error))
}
