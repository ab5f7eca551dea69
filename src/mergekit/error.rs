//! Why a merge was not made.

use std::path::PathBuf;

use crate::base::diagnostic::Findings;
use crate::convert::ConvertError;
use crate::disk::DiskError;
use crate::model::adapter::AdapterError;
use crate::model::huggingface::mend::MendError;
use crate::model::overwrite::OverwriteError;
use crate::model::{ModelError, WriteError};
use crate::operator::OperatorError;

/// Why a merge was not made.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The configuration has mistakes, or asks for what the models do not have.
    #[error("{} has {} mistakes", .0.path.display(), .0.errors())]
    Config(Findings),
    /// A model that cannot be opened.
    #[error("{0}")]
    Model(#[from] ModelError),
    /// Making tensors.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// The child.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Where it was to go.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// An adapter that cannot be opened, or is of another model.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// A model's tensors in the child's names.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The child would take the place of what it is made from.
    #[error(transparent)]
    Overwrite(#[from] OverwriteError),
    /// The child's name says that it is of a format it will not have.
    #[error(
        "{} is named like a file of another format; a merge makes a folder, or a .safetensors file of such files: \
         name it so, and let `studbook convert` make another format of it",
        .0.display()
    )]
    Named(PathBuf),
    /// A file of its own is one file, however large.
    #[error(
        "the models are bare files, so {} would be one file, which `--shard` does not divide; leave it out, or merge \
         folders",
        .0.display()
    )]
    Whole(PathBuf),
    /// Somebody wrote to an input meanwhile.
    #[error("{0} was changed while it was read; nothing is kept of the child: merge again")]
    Changed(PathBuf),
    /// A small file beside the weights.
    #[error("{0} of the child: {1}")]
    Companion(&'static str, MendError),
    /// The receipt.
    #[error("the receipt cannot be written: {0}")]
    Receipt(String),
}

impl MergeError {
    /// What a person can do about a disk that failed.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Disk(error) => error.hint(),
            Self::Write(error) => error.hint(),
            Self::Operator(error) => error.hint(),
            Self::Convert(error) => error.hint(),
            _ => None,
        }
    }
}
