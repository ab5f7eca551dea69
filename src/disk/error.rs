//! An input or output error that knows its path.

use std::io;
use std::path::{Path, PathBuf};

/// What failed, on which path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}", path.display())]
pub struct DiskError {
    /// The verb: "open", "write", ...
    pub doing: &'static str,
    /// The path.
    pub path: PathBuf,
    /// The cause.
    pub source: io::Error,
}

impl DiskError {
    /// Whether the path was not there.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether something is in the way there that is not replaced, which whoever chose the place can mend.
    pub fn is_taken(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }

    /// Whether a folder is where a file must be.
    pub fn is_a_folder(&self) -> bool {
        self.source.kind() == io::ErrorKind::IsADirectory
    }

    /// Whether nothing may be written there.
    pub fn is_read_only(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
    }

    /// What a person can do about it, where we know.
    pub fn hint(&self) -> Option<&'static str> {
        const ELSEWHERE: &str = "choose a writable store with --store DIR or STUDBOOK_STORE";
        match self.source.kind() {
            // What we make ourselves cannot be misspelt in a plan.
            io::ErrorKind::NotFound if self.doing.starts_with("create") => Some(ELSEWHERE),
            io::ErrorKind::StorageFull => Some("free some space and run again: finished stages are kept"),
            io::ErrorKind::QuotaExceeded => Some("the disk quota is used up; free some space and run again"),
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Some(ELSEWHERE),
            io::ErrorKind::NotADirectory => Some("a part of that path is a file; name a folder instead"),
            io::ErrorKind::NotFound => {
                Some("check the spelling; paths are relative to this folder, those in a plan to the plan")
            }
            io::ErrorKind::IsADirectory => Some("name a file inside that folder"),
            _ => None,
        }
    }
}

/// Adds the path to an [`io::Result`].
pub trait IoContext<T> {
    /// `fs::File::open(path).at("open", path)?`
    fn at(self, doing: &'static str, path: impl AsRef<Path>) -> Result<T, DiskError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: impl AsRef<Path>) -> Result<T, DiskError> {
        self.map_err(|source| DiskError { doing, path: path.as_ref().to_owned(), source })
    }
}
