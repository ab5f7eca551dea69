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

    /// Whether somebody may not write there, or has nowhere to.
    pub fn is_unwritable(&self) -> bool {
        match self.source.kind() {
            // What we make ourselves cannot be misspelt in a plan.
            io::ErrorKind::NotFound => self.doing.starts_with("create"),
            io::ErrorKind::ReadOnlyFilesystem => true,
            io::ErrorKind::PermissionDenied => !self.only_reads(),
            _ => false,
        }
    }

    /// Whether nothing was to be changed there.
    fn only_reads(&self) -> bool {
        const READING: [&str; 8] = ["compare", "examine", "find", "hash", "list", "map", "open", "read"];
        // Locks are opened to write.
        let first = self.doing.split(' ').next().unwrap_or_default();
        READING.contains(&first) && !matches!(self.doing, "open the lock" | "open to others")
    }

    /// Whether there is no room.
    pub fn is_full(&self) -> bool {
        self.source.kind() == io::ErrorKind::StorageFull
    }

    /// What a person can do about it, where we know.
    pub fn hint(&self) -> Option<&'static str> {
        match self.source.kind() {
            _ if self.is_unwritable() => Some("choose a folder that is there and that you may write to"),
            io::ErrorKind::StorageFull => Some("free some space and run again"),
            io::ErrorKind::QuotaExceeded => Some("the disk quota is used up; free some space and run again"),
            io::ErrorKind::PermissionDenied => {
                Some("you may not read it: ask its owner, or give yourself the permission (chmod u+r)")
            }
            io::ErrorKind::NotADirectory => Some("a part of that path is a file; name a folder instead"),
            io::ErrorKind::NotFound => {
                Some("check the spelling; paths are relative to this folder, those in a plan to the plan")
            }
            io::ErrorKind::IsADirectory => Some("name a file inside that folder"),
            _ => None,
        }
    }
}

/// What a person can do about an error whose path was lost on its way up, while something was written.
pub fn hint_of_writing(error: &io::Error) -> Option<&'static str> {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    if let Some(disk) = error.get_ref().and_then(|inner| inner.downcast_ref::<DiskError>()) {
        return disk.hint();
    }
    match error.kind() {
        kind @ (PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull) => {
            DiskError { doing: "write", path: PathBuf::new(), source: kind.into() }.hint()
        }
        _ => None,
    }
}

/// Adds the path to an [`io::Result`].
pub trait IoContext<T> {
    /// `fs::File::open(path).at("open", path)?`
    ///
    /// # Errors
    ///
    /// The one that came, now with its path and what was being done.
    fn at(self, doing: &'static str, path: impl AsRef<Path>) -> Result<T, DiskError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: impl AsRef<Path>) -> Result<T, DiskError> {
        self.map_err(|source| DiskError { doing, path: path.as_ref().to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_read_is_not_told_to_write_elsewhere() {
        let hint = |doing, kind: io::ErrorKind| {
            let error: Result<(), _> = Err(io::Error::from(kind));
            let error = error.at(doing, "a").unwrap_err();
            (error.is_unwritable(), error.hint().unwrap())
        };
        for doing in ["open the plan", "open", "read", "hash", "list", "examine"] {
            let (unwritable, hint) = hint(doing, io::ErrorKind::PermissionDenied);
            assert!(!unwritable && hint.contains("may not read"), "{doing}: {hint}");
        }
        for doing in ["write", "create a temporary file in", "open the lock", "sync the folder"] {
            let (unwritable, hint) = hint(doing, io::ErrorKind::PermissionDenied);
            assert!(unwritable && hint.contains("may write"), "{doing}: {hint}");
        }
        assert!(hint("create the folder", io::ErrorKind::NotFound).0);
        assert!(!hint("open", io::ErrorKind::NotFound).0);
    }
}
