//! Advisory locks between processes, by `flock`.
//!
//! Held only where order matters: the ledger, the garbage collector. Waiting is bounded, so a
//! forgotten process shows up as an error that names the file, not as a hang. On network file
//! systems `flock` may not reach other machines: keep a store on a local or POSIX-locking disk.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

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
    pub fn exclusive(path: &Path) -> Result<Self, DiskError> {
        let file =
            File::options().create(true).truncate(false).write(true).open(path).at("open the lock", path)?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => std::thread::sleep(RETRY),
                Err(error) => return Err(std::io::Error::from(error)).at("lock", path),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
