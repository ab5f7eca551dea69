//! Whether there is room, asked before the work and not found out after it.

use std::path::Path;

use super::{DiskError, IoContext, fault};

/// Files smaller than this are written in a step or two.
#[cfg(target_os = "linux")]
const WORTH_KEEPING: u64 = 1 << 20;

/// Bytes that a file of ours may still take up on the file system of `folder`.
///
/// # Errors
///
/// If there is no such folder, or it may not be asked.
pub fn available(folder: &Path) -> Result<u64, DiskError> {
    let system =
        rustix::fs::statvfs(folder).map_err(std::io::Error::from).at("ask for the room in", folder)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

/// Checks that `needed` bytes fit into `folder`.
///
/// # Errors
///
/// [`DiskError::is_full`] if fewer are free, with both numbers; else if there is no such folder, or its file
/// system cannot be asked.
pub fn check(folder: &Path, needed: u64) -> Result<(), DiskError> {
    if !folder.is_dir() {
        let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such folder");
        return Err(missing).at("write to", folder);
    }
    let free = match fault::point("room-asked") {
        Ok(()) => available(folder)?,
        // A test's full disk.
        Err(_) => 0,
    };
    if needed <= free {
        return Ok(());
    }
    let message = format!("{needed} bytes are needed, {free} are free");
    Err(std::io::Error::new(std::io::ErrorKind::StorageFull, message)).at("write to", folder)
}

/// Keeps room on the disk for a file that will have so many bytes: without it every page that is written
/// asks for its own, which is a third of writing. A system that cannot is left to it.
pub(super) fn keep(file: &std::fs::File, bytes: u64) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    if bytes >= WORTH_KEEPING {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        return match fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes) {
            Err(full @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(full.into()),
            Ok(()) | Err(_) => Ok(()),
        };
    }
    let _ = (file, bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_fits_and_everything_does_not() {
        let folder = tempfile::tempdir().unwrap();
        assert!(available(folder.path()).unwrap() > 0);
        check(folder.path(), 1).unwrap();
        let error = check(folder.path(), u64::MAX).unwrap_err().to_string();
        assert!(error.contains("are needed"), "{error}");
        assert!(check(&folder.path().join("none"), 1).unwrap_err().is_not_found());
    }
}
