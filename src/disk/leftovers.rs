//! Folders that were being made when their maker was killed: beside their place, under a temporary name that
//! says whose place it is.
//!
//! Whoever makes a folder holds a `flock` on it, and on what it replaces, for as long as it works; the system
//! takes it back however that ends. So a folder with such a name that nobody holds is of somebody dead. It is
//! removed by who makes the same output again, and not before that one is whole: of a replacement that was
//! interrupted in the middle, what is left may be all there is.
//!
//! Where the file system knows no locks, nothing is removed.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use tempfile::TempDir;

use super::fresh::folder_of;
use super::{DiskError, IoContext};
use crate::base::digest::Digest;

/// Random letters behind the part of a name that follows from the output's.
const RANDOM: usize = 6;

/// What a folder that was moved aside has behind its name.
const ASIDE: &str = ".old";

/// How often a folder is made anew that somebody took for a leftover before it was held.
const TRIES: usize = 8;

/// A new folder for `out`, and that we hold it; nothing holds it where the file system knows no locks.
pub(super) fn begin(out: &Path) -> Result<(TempDir, Option<File>), DiskError> {
    let (beside, prefix) = (folder_of(out), prefix(out));
    first_unclaimed(beside, || {
        let made = tempfile::Builder::new().prefix(&prefix).rand_bytes(RANDOM).tempdir_in(beside);
        made.at("create a folder in", beside)
    })
}

/// The first of the folders made that nobody else took before we held it.
fn first_unclaimed(
    beside: &Path,
    mut make: impl FnMut() -> Result<TempDir, DiskError>,
) -> Result<(TempDir, Option<File>), DiskError> {
    for _ in 0..TRIES {
        let folder = make()?;
        match claim(folder.path()) {
            Claim::Held(held) if folder.path().is_dir() => return Ok((folder, Some(held))),
            Claim::Unknown if folder.path().is_dir() => return Ok((folder, None)),
            // Somebody took it for a leftover and is about to remove it, or has.
            Claim::Held(_) | Claim::Unknown | Claim::Taken => {}
        }
    }
    let taken = format!(
        "{TRIES} new folders were each taken for a leftover by another process before they could be locked; try \
         again once nobody else makes the same output"
    );
    Err(io::Error::new(io::ErrorKind::WouldBlock, taken)).at("hold a folder in", beside)
}

/// What came of asking for a folder.
enum Claim {
    /// It is ours.
    Held(File),
    /// It is somebody else's.
    Taken,
    /// There is no telling: it is no folder, or its file system knows no locks.
    Unknown,
}

fn claim(folder: &Path) -> Claim {
    if !folder.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        return Claim::Unknown;
    }
    let Ok(file) = File::open(folder) else { return Claim::Unknown };
    match file.try_lock() {
        Ok(()) => Claim::Held(file),
        Err(TryLockError::WouldBlock) => Claim::Taken,
        Err(TryLockError::Error(_)) => Claim::Unknown,
    }
}

/// Holds a folder, if nobody else does.
pub(super) fn hold(folder: &Path) -> Option<File> {
    match claim(folder) {
        Claim::Held(file) => Some(file),
        Claim::Taken | Claim::Unknown => None,
    }
}

/// Removes what the dead left of the same output. What cannot be removed stays: the output is there.
pub(super) fn remove(out: &Path) {
    let Ok(entries) = std::fs::read_dir(folder_of(out)) else { return };
    let prefix = prefix(out);
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        let random = ours.map(|ours| ours.strip_suffix(ASIDE).unwrap_or(ours));
        let is_ours =
            |random: &str| random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if random.is_some_and(is_ours)
            && let Some(_held) = hold(&entry.path())
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// How the names begin of folders that become `out`; a name may be as long as one can be.
fn prefix(out: &Path) -> String {
    let name = out.file_name().unwrap_or_default();
    let digest = Digest::of(name.as_encoded_bytes()).to_hex();
    format!(".tmp-{}-", &digest[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_are_cleaned_up_after_and_the_living_are_not() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("out");
        let leave = |name: &str| {
            let path = place.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("model.safetensors"), b"half").unwrap();
            path
        };
        let own = prefix(&out);
        let dead = [leave(&format!("{own}abcDEF")), leave(&format!("{own}abcDE1.old"))];
        let others = [
            leave(&format!("{}abcDEF", prefix(&place.path().join("another")))),
            leave(".tmp-abcDEF"),
            leave(&format!("{own}longer-than-ours")),
            leave("out"),
        ];
        let link = place.path().join(format!("{own}aaaaaa"));
        std::os::unix::fs::symlink(&others[3], &link).unwrap();
        let (living, held) = begin(&out).unwrap();
        assert!(held.is_some());
        remove(&out);
        assert!(dead.iter().all(|path| !path.exists()));
        assert!(others.iter().all(|path| path.join("model.safetensors").exists()));
        assert!(living.path().is_dir() && link.symlink_metadata().is_ok());
    }

    /// Who is about to remove a folder holds it: that it is still there does not make it ours.
    #[test]
    fn a_folder_that_somebody_holds_is_not_worked_in() {
        let place = tempfile::tempdir().unwrap();
        let (mut made, mut locks) = (Vec::new(), Vec::new());
        let mut make = |lock: bool| {
            let folder = tempfile::tempdir_in(place.path()).unwrap();
            made.push(folder.path().to_owned());
            locks.extend(lock.then(|| hold(folder.path()).unwrap()));
            Ok(folder)
        };
        let mut others = [true, true, false].into_iter();
        let (folder, held) = first_unclaimed(place.path(), || make(others.next().unwrap())).unwrap();
        assert!(folder.path().is_dir() && held.is_some() && hold(folder.path()).is_none());
        let error = first_unclaimed(place.path(), || make(true)).unwrap_err().to_string();
        assert!(error.contains("8 new folders were each taken for a leftover"), "{error}");
        assert_eq!((folder.path(), made.len()), (made[2].as_path(), 3 + TRIES));
    }
}
