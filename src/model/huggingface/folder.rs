//! A folder opened: files of tensors mapped, everything small read.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::HfConfig;
use super::error::FolderError;
use super::index::Index;
use super::{NAME, order};
use crate::disk::IoContext;
use crate::disk::mmap::Mapped;
use crate::model::package::{Companion, Package};
use crate::model::safetensors::{self, Metadata};
use crate::model::tokenizer::json;
use crate::model::weights::{SharedBytes, TensorInfo, Weights};

/// The file with all tensors.
pub const SINGLE: &str = "model.safetensors";
/// The file that says which tensor is where.
const INDEX: &str = "model.safetensors.index.json";
/// How text becomes ids.
pub const TOKENIZER: &str = "tokenizer.json";
/// The network's dimensions.
pub const CONFIG: &str = "config.json";

/// Files without tensors that make a model what it is, in the order in which they are kept.
pub const COMPANIONS: [&str; 10] = [
    CONFIG,
    "generation_config.json",
    TOKENIZER,
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
];

/// The longest companion that is read: twice the largest tokenizer there is.
pub const MAX_COMPANION: u64 = 64 << 20;
/// The longest index that is read: half a million tensors.
pub const MAX_INDEX: u64 = 64 << 20;
/// The longest configuration that is read.
pub const MAX_CONFIG: u64 = 1 << 20;

/// A model's folder.
#[derive(Debug)]
pub struct Folder {
    /// Where it is, links followed.
    pub path: PathBuf,
    /// The network, if it is of a family that is known.
    pub config: Option<HfConfig>,
    /// The files of tensors, by name.
    pub shards: Vec<Shard>,
    /// Every tensor, by name and layer; its part is an index of `shards`.
    pub tensors: Vec<TensorInfo>,
    /// Bytes of all tensors as the index counts them.
    pub total_size: Option<u64>,
    /// Small files to carry along, each one of [`COMPANIONS`].
    pub companions: Vec<Companion>,
}

/// One file of tensors.
#[derive(Debug, Clone)]
pub struct Shard {
    /// Its name in the folder.
    pub name: String,
    /// Its bytes and stamp.
    pub mapped: Arc<Mapped>,
    /// What it says about itself.
    pub metadata: Metadata,
}

impl Folder {
    /// The tensors with their bytes.
    pub fn weights(&self) -> Weights {
        let parts = self.shards.iter().map(|shard| shard.mapped.clone() as SharedBytes).collect();
        Weights::new(NAME, self.tensors.clone(), parts)
    }

    /// The model as every format gives it.
    ///
    /// Its parts are held by its weights; the maps in [`Folder::shards`] tell whether they changed.
    pub fn package(&self) -> Package {
        let mut package = Package::of_weights(self.weights());
        package.config = match &self.config {
            Some(config) => config.network(),
            None => Err(format!("{CONFIG} describes no network of the llama family, or is not there")),
        };
        package.tokenizer = match self.companion(TOKENIZER) {
            Some(companion) => json::from_json(&companion.bytes).map_err(|error| error.to_string()),
            None => Err(format!("there is no {TOKENIZER}")),
        };
        package.companions.clone_from(&self.companions);
        package
    }

    /// The companion called `name`.
    pub fn companion(&self, name: &str) -> Option<&Companion> {
        self.companions.iter().find(|companion| companion.name == name)
    }
}

/// Opens a folder and checks that its files agree. Payloads are mapped, not read.
pub fn open(folder: &Path) -> Result<Folder, FolderError> {
    let root = Root::new(folder)?;
    let companions = root.companions()?;
    let config = match companions.iter().find(|companion| companion.name == CONFIG) {
        Some(companion) => HfConfig::parse(&companion.bytes)
            .map_err(|source| FolderError::Config { path: root.0.join(CONFIG), source })?,
        None => None,
    };
    let index = root.index()?;
    let mut model = Folder {
        config,
        shards: Vec::new(),
        tensors: Vec::new(),
        total_size: index.as_ref().and_then(|index| index.total_size),
        companions,
        path: root.0.clone(),
    };
    match &index {
        None => root.shard(SINGLE, &mut model)?,
        Some(index) => root.shards(index, &mut model)?,
    }
    model.tensors.sort_by(|a, b| order::by_layer(&a.name, &b.name));
    Ok(model)
}

/// The folder itself, links followed.
struct Root(PathBuf);

impl Root {
    fn new(folder: &Path) -> Result<Self, FolderError> {
        let root = folder.canonicalize().at("open", folder)?;
        if root.is_dir() { Ok(Self(root)) } else { Err(FolderError::NoFolder(folder.to_owned())) }
    }

    /// The file called `name`, if there is one; a link may lead to another name in the folder.
    fn file(&self, name: &str) -> Result<Option<PathBuf>, FolderError> {
        let path = self.0.join(name);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.at("examine", &path)?,
        };
        let target = path.canonicalize().at("follow the link", &path)?;
        if target.starts_with(&self.0) { Ok(Some(target)) } else { Err(FolderError::Leaves { path, target }) }
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

    fn companions(&self) -> Result<Vec<Companion>, FolderError> {
        let mut companions = Vec::new();
        for name in COMPANIONS {
            let most = if name == CONFIG { MAX_CONFIG } else { MAX_COMPANION };
            if let Some(bytes) = self.read(name, most)? {
                companions.push(Companion { name: name.to_owned(), bytes });
            }
        }
        Ok(companions)
    }

    /// The index, or nothing if all tensors are in one file.
    fn index(&self) -> Result<Option<Index>, FolderError> {
        let single = self.file(SINGLE)?.is_some();
        match (single, self.read(INDEX, MAX_INDEX)?) {
            (true, None) => Ok(None),
            (true, Some(_)) => Err(FolderError::TwoWeights(self.0.clone())),
            (false, Some(bytes)) => Index::parse(&bytes)
                .map(Some)
                .map_err(|source| FolderError::Index { path: self.0.join(INDEX), source }),
            (false, None) => {
                let pickled = ["pytorch_model.bin", "pytorch_model.bin.index.json"];
                let pickled = pickled.iter().any(|name| self.0.join(name).exists());
                Err(FolderError::NoWeights { folder: self.0.clone(), pickled })
            }
        }
    }

    /// Maps every file the index names; both must list the same tensors in the same files.
    fn shards(&self, index: &Index, model: &mut Folder) -> Result<(), FolderError> {
        for name in index.files() {
            let first = model.tensors.len();
            if self.file(name)?.is_none() {
                let listed = index.weight_map.iter().find(|(_, file)| *file == name);
                let tensor = listed.map(|(tensor, _)| tensor.clone()).unwrap_or_default();
                return Err(FolderError::MissingShard { path: self.0.join(name), tensor });
            }
            self.shard(name, model)?;
            for info in &model.tensors[first..] {
                let listed = index.weight_map.get(&info.name);
                if listed.is_none_or(|file| file != name) {
                    let (path, tensor, listed) = (self.0.join(name), info.name.clone(), listed.cloned());
                    return Err(FolderError::NotInIndex { path, tensor, listed });
                }
            }
        }
        let found: BTreeSet<&str> = model.tensors.iter().map(|info| info.name.as_str()).collect();
        match index.weight_map.iter().find(|(tensor, _)| !found.contains(tensor.as_str())) {
            None => Ok(()),
            Some((tensor, file)) => {
                Err(FolderError::NotInShard { path: self.0.join(file), tensor: tensor.clone() })
            }
        }
    }

    /// Maps one file of tensors.
    fn shard(&self, name: &str, model: &mut Folder) -> Result<(), FolderError> {
        let path = self.file(name)?.unwrap_or_else(|| self.0.join(name));
        let mapped = Arc::new(Mapped::open(&path)?);
        let (infos, metadata) = safetensors::infos((*mapped).as_ref(), model.shards.len())
            .map_err(|source| FolderError::Shard { path, source })?;
        model.tensors.extend(infos);
        model.shards.push(Shard { name: name.to_owned(), mapped, metadata });
        Ok(())
    }
}
