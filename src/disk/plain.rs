//! Folders of our own, in which files are replaced and removed: never a link to a folder of somebody's.

use std::io::{Error, ErrorKind};
use std::path::Path;

use super::{DiskError, IoContext};

/// Makes the folder, if it is not there.
///
/// # Errors
///
/// If a link or a file is in its place, or it cannot be made.
pub fn make(folder: &Path) -> Result<(), DiskError> {
    match std::fs::symlink_metadata(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            std::fs::create_dir_all(folder).at("create the folder", folder)
        }
        _ => check(folder),
    }
}

/// That it is one.
fn check(folder: &Path) -> Result<(), DiskError> {
    if std::fs::symlink_metadata(folder).at("examine", folder)?.is_dir() {
        return Ok(());
    }
    let why = "it is a link or a file, and files are replaced and removed there; take it away";
    Err(Error::new(ErrorKind::InvalidInput, why)).at("use the folder", folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_files_are_no_folders() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        make(&path("new/inside")).unwrap();
        make(&path("new")).unwrap();
        std::os::unix::fs::symlink(path("new"), path("link")).unwrap();
        std::os::unix::fs::symlink(path("nowhere"), path("dangling")).unwrap();
        std::fs::write(path("file"), b"").unwrap();
        for name in ["link", "dangling", "file"] {
            let why = make(&path(name)).unwrap_err().to_string();
            let expected = format!("cannot use the folder {}: it is a link", path(name).display());
            assert!(why.starts_with(&expected), "{why}");
        }
        assert!(check(&path("none")).unwrap_err().is_not_found());
    }
}
