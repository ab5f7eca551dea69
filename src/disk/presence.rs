//! Who is at work in a folder, so that what the dead left there can be removed and nothing of the living.
//!
//! Everybody who writes there holds a shared `flock` for as long as it works. Whoever comes while nobody
//! holds one has the folder alone for a moment, and cleans up:
//!
//! ```text
//! comes     alone?  yes: exclusive lock, remove leftovers, then shared like everybody
//!                   no:  shared at once; leftovers stay for another time
//! ends      however it ends, the system takes the lock back
//! ```
//!
//! Where the file system knows no locks nobody is ever alone, and nothing is removed.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use super::lock::{open_regular, patiently};
use super::{DiskError, IoContext};

/// That this process is at work, until it is dropped.
#[derive(Debug)]
pub struct Presence {
    _file: File,
}

impl Presence {
    /// Says so in the file `path`, creating it if needed. `clean` is called first if nobody else is at work.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened or locked, if another process that cleans holds it for 30 seconds, or if
    /// `clean` fails. A file system without locks is no error: nothing is cleaned there.
    pub fn enter(path: &Path, clean: impl FnOnce() -> Result<(), DiskError>) -> Result<Self, DiskError> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => {
                clean()?;
                file.unlock().at("unlock", path)?;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                return Ok(Self { _file: file });
            }
            Err(TryLockError::Error(error)) => return Err(error).at("lock", path),
        }
        patiently(path, || file.try_lock_shared())?;
        Ok(Self { _file: file })
    }
}

/// Somebody else's file is enough to lock it.
fn open(path: &Path) -> Result<File, DiskError> {
    let opened = match open_regular(File::options().read(true), path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            open_regular(File::options().create(true).truncate(false).write(true), path)
        }
        other => other,
    };
    opened.at("open the lock", path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Error;

    #[test]
    fn only_who_is_alone_cleans_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let mut cleaned = 0;
        let mut enter = || {
            let presence = Presence::enter(&path, || {
                cleaned += 1;
                Ok(())
            });
            (presence.unwrap(), cleaned)
        };
        let (first, after_first) = enter();
        let (second, after_second) = enter();
        drop(first);
        let (third, after_third) = enter();
        assert_eq!((after_first, after_second, after_third), (1, 1, 1), "the second one is still at work");
        drop((second, third));
        assert_eq!(enter().1, 2);
        let failed = Presence::enter(&path, || Err(Error::other("stuck")).at("remove", &path));
        assert!(failed.unwrap_err().to_string().contains("stuck"));
    }
}
