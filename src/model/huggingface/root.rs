//! Where a folder's files are: looked for by the names that are known, links followed no further than the folder,
//! nothing read beyond its limit.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::FolderError;
use super::folder::{COMPANIONS, CONFIG, Folder, INDEX, MAX_COMPANION, MAX_CONFIG, MAX_INDEX, SINGLE, Shard};
use super::index::Index;
use super::template::{MAX_TEMPLATE, MAX_TEMPLATES, TEMPLATES, template_name};
use crate::disk::IoContext;
use crate::disk::links::{Followed, follow};
use crate::disk::mmap::Mapped;
use crate::model::listing::Place;
use crate::model::package::Companion;
use crate::model::safetensors;
use crate::model::weights::SharedBytes;

/// Where the files are; a folder with links followed.
pub(super) struct Root(pub(super) Place);

impl Root {
    pub(super) fn new(place: &Place) -> Result<Self, FolderError> {
        if place.files().is_some() {
            return Ok(Self(place.clone()));
        }
        let root = place.root().canonicalize().at("open", place.root())?;
        if root.is_dir() {
            Ok(Self(Place::folder(&root)))
        } else {
            Err(FolderError::NoFolder(place.root().to_owned()))
        }
    }

    /// The file called `name`, if there is one; a link may lead to another name in the folder.
    pub(super) fn file(&self, name: &str) -> Result<Option<PathBuf>, FolderError> {
        if let Some(files) = self.0.files() {
            return Ok(files.get(name).cloned());
        }
        let path = self.0.path(name);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.at("examine", &path)?,
        };
        match follow(self.0.root(), &path)? {
            Followed::Inside(target) => Ok(Some(target)),
            Followed::Outside(target) => Err(FolderError::Leaves { path, target }),
        }
    }

    /// The content of the file called `name`, if there is one.
    fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, FolderError> {
        let Some(path) = self.file(name)? else { return Ok(None) };
        // Asked before opening: opening a pipe would wait for a writer.
        if !fs::metadata(&path).at("examine", &path)?.is_file() {
            return Err(std::io::Error::new(ErrorKind::InvalidInput, "is not a regular file"))
                .at("open", &path)
                .map_err(Into::into);
        }
        let mut bytes = Vec::new();
        let mut file = File::open(&path).at("open", &path)?;
        file.by_ref().take(most + 1).read_to_end(&mut bytes).at("read", &path)?;
        if bytes.len() as u64 > most {
            let found = file.metadata().at("examine", &path)?.len();
            return Err(FolderError::TooLong { path, found, most });
        }
        Ok(Some(bytes))
    }

    pub(super) fn companions(&self) -> Result<Vec<Companion>, FolderError> {
        let mut companions = Vec::new();
        for name in COMPANIONS {
            let most = if name == CONFIG { MAX_CONFIG } else { MAX_COMPANION };
            if let Some(bytes) = self.read(name, most)? {
                companions.push(Companion { name: name.to_owned(), bytes });
            }
        }
        for name in self.templates()? {
            if let Some(bytes) = self.read(&name, MAX_TEMPLATE)? {
                companions.push(Companion { name, bytes });
            }
        }
        Ok(companions)
    }

    /// The files of templates with names, in the order of their names.
    pub(super) fn templates(&self) -> Result<Vec<String>, FolderError> {
        let mut names: Vec<String> = match self.0.files() {
            Some(files) => files.keys().filter(|name| template_name(name).is_some()).cloned().collect(),
            None => match self.file(TEMPLATES)?.filter(|folder| folder.is_dir()) {
                None => return Ok(Vec::new()),
                Some(folder) => listed(&folder)?,
            },
        };
        if names.len() > MAX_TEMPLATES {
            let (path, found) = (self.0.path(TEMPLATES), names.len());
            return Err(FolderError::Templates { path, found, most: MAX_TEMPLATES });
        }
        names.sort();
        Ok(names)
    }

    /// The index, or nothing if all tensors are in one file.
    pub(super) fn index(&self) -> Result<Option<Index>, FolderError> {
        let single = self.file(SINGLE)?.is_some();
        match (single, self.read(INDEX, MAX_INDEX)?) {
            (true, None) => Ok(None),
            (true, Some(_)) => Err(FolderError::TwoWeights(self.0.root().to_owned())),
            (false, Some(bytes)) => Index::parse(&bytes)
                .map(Some)
                .map_err(|source| FolderError::Index { path: self.0.path(INDEX), source }),
            (false, None) => {
                let pickled = ["pytorch_model.bin", "pytorch_model.bin.index.json"];
                let pickled = pickled.iter().any(|name| self.0.path(name).exists());
                Err(FolderError::NoWeights { folder: self.0.root().to_owned(), pickled })
            }
        }
    }

    /// Maps every file the index names; both must list the same tensors in the same files.
    pub(super) fn shards(&self, index: &Index, model: &mut Folder) -> Result<(), FolderError> {
        for name in index.files() {
            let first = (model.tensors.len(), model.buffers.len());
            if self.file(name)?.is_none() {
                let listed = index.weight_map.iter().find(|(_, file)| *file == name);
                let tensor = listed.map(|(tensor, _)| tensor.clone()).unwrap_or_default();
                return Err(FolderError::MissingShard { path: self.0.path(name), tensor });
            }
            self.shard(name, model)?;
            for found in model.names_after(first) {
                let listed = index.weight_map.get(found);
                if listed.is_none_or(|file| file != name) {
                    let (path, tensor, listed) = (self.0.path(name), found.to_owned(), listed.cloned());
                    return Err(FolderError::NotInIndex { path, tensor, listed });
                }
            }
        }
        let found: BTreeSet<&str> = model.names_after((0, 0)).collect();
        match index.weight_map.iter().find(|(tensor, _)| !found.contains(tensor.as_str())) {
            None => Ok(()),
            Some((tensor, file)) => {
                Err(FolderError::NotInShard { path: self.0.path(file), tensor: tensor.clone() })
            }
        }
    }

    /// Maps one file of tensors.
    pub(super) fn shard(&self, name: &str, model: &mut Folder) -> Result<(), FolderError> {
        let path = self.file(name)?.unwrap_or_else(|| self.0.path(name));
        let mapped = Arc::new(Mapped::open(&path)?);
        let part: SharedBytes = mapped.clone();
        let safetensors::Contents { tensors, buffers, metadata } =
            safetensors::contents(&part, model.shards.len())
                .map_err(|source| FolderError::Shard { path, source })?;
        model.tensors.extend(tensors);
        model.buffers.extend(buffers);
        model.shards.push(Shard { name: name.to_owned(), mapped, metadata });
        Ok(())
    }
}

/// The templates in their folder, by their paths from the model's.
fn listed(folder: &Path) -> Result<Vec<String>, FolderError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).at("list", folder)? {
        let name = entry.at("list", folder)?.file_name();
        let name = name.to_str().map(|name| format!("{TEMPLATES}/{name}"));
        names.extend(name.filter(|name| template_name(name).is_some()));
        // Whoever has that many has more than anybody looks at.
        if names.len() > MAX_TEMPLATES {
            break;
        }
    }
    Ok(names)
}
