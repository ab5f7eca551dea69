//! What can be wrong with a model's folder.

use std::path::PathBuf;

use super::config::HfConfigError;
use super::ids::IdsError;
use super::index::IndexError;
use crate::disk::DiskError;
use crate::model::safetensors::SafetensorsError;

/// Why a folder cannot be opened as a model.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file, or the folder itself.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A path that is no folder.
    #[error("{} is no folder; a model saved by Hugging Face's libraries is one", .0.display())]
    NoFolder(PathBuf),
    /// No weights that can be read.
    #[error(
        "{} has neither model.safetensors nor model.safetensors.index.json{}",
        folder.display(),
        if *pickled { "; its weights are in a format that can run code, save them as safetensors" } else { "" }
    )]
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// Whether there are pickled weights.
        pickled: bool,
    },
    /// Weights twice.
    #[error("{} has both model.safetensors and model.safetensors.index.json; remove the one that is not the model", .0.display())]
    TwoWeights(PathBuf),
    /// A link to a place outside.
    #[error(
        "{} leads out of the model's folder, to {}; copy the model with its links followed (cp -rL)",
        path.display(),
        target.display()
    )]
    Leaves {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// Weights in a form that is not read here.
    #[error(
        "{} says that weights are packed (quantization_config), and the tensor `{tensor}` is {kind}; \
         packed weights are not read here, save the model as f32, f16 or bf16",
        path.display()
    )]
    Packed {
        /// The configuration.
        path: PathBuf,
        /// A tensor that may hold them.
        tensor: String,
        /// Its type.
        kind: &'static str,
    },
    /// A configuration of packed weights beside plain ones: whoever loads a child would unpack what is not packed.
    #[error(
        "{} has a quantization_config, and no tensor is packed; take it out if the weights are plain numbers, else \
         save the model as f32, f16 or bf16",
        .0.display()
    )]
    SaidToBePacked(PathBuf),
    /// A file too long to be read into memory.
    #[error("{} has {found} bytes; at most {most} of such a file are read", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// The longest that is read.
        most: u64,
    },
    /// More chat templates than anybody has.
    #[error("{} has {found} chat templates or more; at most {most} are read, remove those that nobody uses", path.display())]
    Templates {
        /// Their folder.
        path: PathBuf,
        /// Templates counted.
        found: usize,
        /// Most that are read.
        most: usize,
    },
    /// The index.
    #[error("{} {source}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: IndexError,
    },
    /// The configuration.
    #[error("{} {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: HfConfigError,
    },
    /// Which ids begin and end, in one of the files that say so.
    #[error("{} {source}", path.display())]
    Ids {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: IdsError,
    },
    /// A file of tensors that is not there.
    #[error("{} is not there; the index says that it holds tensor {tensor:?}", path.display())]
    MissingShard {
        /// The file.
        path: PathBuf,
        /// A tensor of it.
        tensor: String,
    },
    /// A file of tensors that cannot be read.
    #[error("{}: not a usable safetensors file: {source}", path.display())]
    Shard {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: SafetensorsError,
    },
    /// A tensor that the index lists and its file does not have.
    #[error("{} has no tensor {tensor:?}, which the index says is there", path.display())]
    NotInShard {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A tensor that a file has and the index does not list there.
    #[error("{} has a tensor {tensor:?}, which the index {}", path.display(), elsewhere(listed.as_deref()))]
    NotInIndex {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The file in which the index has it.
        listed: Option<String>,
    },
}

fn elsewhere(listed: Option<&str>) -> String {
    listed.map_or("does not list".to_owned(), |file| format!("says is in {file}"))
}
