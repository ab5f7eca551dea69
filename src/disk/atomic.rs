//! A small file replaced whole: written under a temporary name, synced, renamed.

use std::io::Write;
use std::path::Path;

use rayon::prelude::*;
use tempfile::{Builder, NamedTempFile};

use super::{DiskError, IoContext, fault};

/// How temporary files begin.
const PREFIX: &str = ".tmp-";

/// A temporary file in `folder`, with the permissions a plain new file would get.
///
/// `tempfile` itself makes files that only their owner may read, which would follow an artifact
/// for ever.
pub(crate) fn temporary_in(folder: &Path, mode: u32) -> Result<NamedTempFile, DiskError> {
    use std::os::unix::fs::PermissionsExt;
    Builder::new()
        .prefix(PREFIX)
        .permissions(std::fs::Permissions::from_mode(mode))
        .tempfile_in(folder)
        .at("create a temporary file in", folder)
}

/// Replaces `path` with `bytes`, creating its folder if needed.
///
/// # Errors
///
/// If the folder cannot be made, or the disk does not take the bytes, the name or the sync. What was there
/// before stays as it was, unless only the folder could not be synced at the end.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    write_new(path, bytes, Wait::Name)
}

/// Like [`replace`], for a file that can be made again from others: it is renamed into place whole,
/// but not waited for until it is on the disk.
///
/// # Errors
///
/// As [`replace`], less what comes of the syncs: a disk that fails later is not noticed here.
pub fn replace_view(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    write_new(path, bytes, Wait::Nothing)
}

/// Like [`replace`], but the caller syncs the folder, once for many files: until then a power cut may
/// take the name back, never leave it with half a file behind it.
pub(crate) fn replace_content(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    write_new(path, bytes, Wait::Content)
}

/// [`replace_content`] of many files of one folder, which wait for the disk beside each other; of several
/// failures the first file's is reported.
pub(crate) fn replace_contents<'a, P, B>(
    folder: &Path,
    files: impl IntoParallelIterator<Item = (&'a P, &'a B)>,
) -> Result<(), DiskError>
where
    P: AsRef<Path> + Sync + ?Sized + 'a,
    B: AsRef<[u8]> + Sync + ?Sized + 'a,
{
    let write = |(path, bytes): (&P, &B)| replace_content(&folder.join(path), bytes.as_ref());
    files.into_par_iter().map(write).collect::<Vec<_>>().into_iter().collect()
}

/// What must be on the disk before a write is over.
#[derive(Clone, Copy, PartialEq)]
enum Wait {
    Name,
    Content,
    Nothing,
}

fn write_new(path: &Path, bytes: &[u8], wait: Wait) -> Result<(), DiskError> {
    let folder = match path.parent().expect("a file has a folder") {
        // A bare name is in the current folder, which has no empty name to be opened by.
        folder if folder.as_os_str().is_empty() => Path::new("."),
        folder => folder,
    };
    let mut file = match temporary_in(folder, 0o666) {
        Err(error) if error.is_not_found() => {
            std::fs::create_dir_all(folder).at("create the folder", folder)?;
            temporary_in(folder, 0o666)?
        }
        other => other?,
    };
    file.write_all(bytes).at("write", path)?;
    fault::point("file-written").at("write", path)?;
    if wait != Wait::Nothing {
        file.as_file().sync_data().at("write", path)?;
    }
    file.persist(path).map_err(|error| error.error).at("write", path)?;
    fault::point("file-renamed").at("write", path)?;
    if wait == Wait::Name { sync_folder(folder) } else { Ok(()) }
}

/// Removes what writers that were killed left half-written in `folder`. Only for who holds the lock
/// on all writing there: another writer's temporary file looks the same.
pub(crate) fn remove_leftovers(folder: &Path) -> Result<(), DiskError> {
    for entry in std::fs::read_dir(folder).at("list", folder)? {
        let entry = entry.at("list", folder)?;
        if is_leftover(&entry.file_name().to_string_lossy()) {
            std::fs::remove_file(entry.path()).at("remove", entry.path())?;
        }
    }
    Ok(())
}

/// Whether a file has the name of one that a writer had not finished.
pub(crate) fn is_leftover(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Makes renames inside `folder` survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), DiskError> {
    std::fs::File::open(folder).and_then(|file| file.sync_all()).at("sync the folder", folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_leftovers_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".tmp-a1", "head", "tmp-b"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        remove_leftovers(folder.path()).unwrap();
        assert!(!folder.path().join(".tmp-a1").exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn replaces_whole_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/a.json");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o600, 0o600);
        assert_ne!(mode & 0o044, 0, "others may read what the umask lets them read");
    }
}
