//! Advisory locks between processes, by `flock`.
//!
//! Held only where order matters: the ledger, the view of a cycle, a registry, the memory of logs. Waiting is
//! bounded, so a forgotten process shows up as an error that names the file, not as a hang. On network file
//! systems `flock` may not reach other machines: keep a store on a local or POSIX-locking disk.
//!
//! Opening waits, too, if what lies there is a pipe, and nothing bounds that. So only regular files are
//! locks, and they are opened in a way that waits for nobody.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Error, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::{DiskError, IoContext};

const RETRY: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(30);

/// A lock that ends when this is dropped, or when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the only lock on `path`, creating the file if needed.
    ///
    /// # Errors
    ///
    /// If what lies there is no regular file or may not be written, if another process held the lock for 30
    /// seconds, or if the file system knows no locks.
    pub fn exclusive(path: &Path) -> Result<Self, DiskError> {
        let file = open(path)?;
        patiently(path, || file.try_lock())?;
        Ok(Self { _file: file })
    }
}

/// Tries until it locks, for a time.
pub(super) fn patiently(
    path: &Path,
    try_lock: impl Fn() -> Result<(), TryLockError>,
) -> Result<(), DiskError> {
    let start = Instant::now();
    loop {
        match try_lock() {
            Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => std::thread::sleep(RETRY),
            other => return other.map_err(Error::from).at("lock", path),
        }
    }
}

/// Opens the file of a lock, creating it if needed.
fn open(path: &Path) -> Result<File, DiskError> {
    open_regular(File::options().create(true).truncate(false).write(true), path).at("open the lock", path)
}

/// Opens what is to be locked. Looked at before it is opened, for the name of what is wrong, and after, for
/// what came between.
pub(super) fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let regular = |found: &fs::Metadata| {
        let why = "is not a regular file; take it away, and a lock is made there";
        if found.is_file() { Ok(()) } else { Err(Error::new(ErrorKind::InvalidInput, why)) }
    };
    if let Ok(found) = fs::metadata(path) {
        regular(&found)?;
    }
    let file = options.custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    file.metadata().and_then(|found| regular(&found))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_is_a_lock() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [&pipe, folder.path(), Path::new("/dev/null")] {
            let error = Lock::exclusive(path).unwrap_err().to_string();
            let named = format!("cannot open the lock {}: is not a regular file", path.display());
            assert!(error.starts_with(&named), "{error}");
        }
    }

    #[test]
    fn only_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("lock");
        let counter = folder.path().join("counter");
        std::fs::write(&counter, "0").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _held = Lock::exclusive(&lock).unwrap();
                        let n: u32 = std::fs::read_to_string(&counter).unwrap().parse().unwrap();
                        std::fs::write(&counter, (n + 1).to_string()).unwrap();
                    }
                });
            }
        });
        assert_eq!(std::fs::read_to_string(&counter).unwrap(), "80");
    }
}
