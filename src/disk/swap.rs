//! A new folder in the place of what is there, so that one of them is always whole.
//!
//! Where the system can exchange two names it does, at once. Elsewhere the old one gets a temporary name
//! beside its place first: whoever is killed between the two renames finds both there, as
//! `.tmp-...` (the new one) and `.tmp-....old`. Only then is the old one removed.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::fresh::{Durability, folder_of};
use super::{DiskError, IoContext, atomic, fault, leftovers};

/// Gives `new` the name `out`, which is that of something else, and removes the latter. If that fails,
/// what was there is there again.
pub(super) fn replace(new: TempDir, out: &Path, durability: Durability) -> Result<(), DiskError> {
    fault::point("folder-filled").at("replace", out)?;
    // What is there gets a name of ours, and is nobody's leftover as long as we live.
    let _held = leftovers::hold(out);
    let old = match exchange(new.path(), out) {
        Ok(()) => new.path().to_owned(),
        // Not every file system can.
        Err(_) => one_after_the_other(new.path(), out)?,
    };
    // It has another name now, and what has its own is removed here, where a failure is told.
    drop(new.keep());
    fault::point("folder-replaced").at("replace", out)?;
    if durability == Durability::Synced {
        atomic::sync_folder(folder_of(out))?;
    }
    let is_folder = old.symlink_metadata().is_ok_and(|found| found.is_dir());
    let removed = if is_folder { std::fs::remove_dir_all(&old) } else { std::fs::remove_file(&old) };
    removed.at("remove what was replaced, now called", &old)
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn exchange(new: &Path, out: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, new, CWD, out, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn exchange(_new: &Path, _out: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Two renames; says where the old one is.
fn one_after_the_other(new: &Path, out: &Path) -> Result<PathBuf, DiskError> {
    let aside = new.with_extension("old");
    std::fs::rename(out, &aside).at("move aside", out)?;
    match std::fs::rename(new, out) {
        Ok(()) => Ok(aside),
        Err(error) => {
            std::fs::rename(&aside, out).at("move back what was there, now called", &aside)?;
            Err(error).at("write", out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a new one and an old one in it, each with one file.
    fn two() -> (TempDir, TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let new = tempfile::Builder::new().prefix(".tmp-").tempdir_in(place.path()).unwrap();
        let out = place.path().join("out");
        std::fs::create_dir(&out).unwrap();
        std::fs::write(new.path().join("new"), "").unwrap();
        std::fs::write(out.join("old"), "").unwrap();
        (place, new, out)
    }

    #[test]
    fn the_new_one_is_there_and_nothing_else() {
        for durability in [Durability::Synced, Durability::LeftToSystem] {
            let (place, new, out) = two();
            replace(new, &out, durability).unwrap();
            assert!(out.join("new").exists() && !out.join("old").exists());
            assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn without_an_exchange_the_old_one_is_kept_aside_or_moved_back() {
        let (_place, new, out) = two();
        let aside = one_after_the_other(new.path(), &out).unwrap();
        assert!(out.join("new").exists() && aside.join("old").exists());
        let (place, new, out) = two();
        std::fs::remove_dir_all(new.path()).unwrap();
        assert!(one_after_the_other(new.path(), &out).is_err());
        assert!(out.join("old").exists());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn of_a_link_only_the_link_goes() {
        let (place, new, out) = two();
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&out, &link).unwrap();
        replace(new, &link, Durability::Synced).unwrap();
        assert!(link.join("new").exists() && out.join("old").exists());
    }
}
