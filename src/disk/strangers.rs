//! What is in a folder and does not belong there.

use std::path::Path;

use super::{DiskError, IoContext};

/// The first file below `folder`, by its path from there, that is not one of those that `belongs` knows.
/// Links are files here, not followed; a path that is no text belongs nowhere.
///
/// # Errors
///
/// If the folder, or one below it, cannot be listed.
pub fn first(folder: &Path, belongs: &dyn Fn(&str) -> bool) -> Result<Option<String>, DiskError> {
    below(folder, "", belongs)
}

fn below(folder: &Path, prefix: &str, belongs: &dyn Fn(&str) -> bool) -> Result<Option<String>, DiskError> {
    let listed = std::fs::read_dir(folder).at("list", folder)?;
    let mut entries = listed.collect::<Result<Vec<_>, _>>().at("list", folder)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let path = format!("{prefix}{}", name.to_string_lossy());
        let stranger = if entry.file_type().at("examine", entry.path())?.is_dir() {
            below(&entry.path(), &format!("{path}/"), belongs)?
        } else {
            Some(path).filter(|path| name.to_str().is_none() || !belongs(path))
        };
        if stranger.is_some() {
            return Ok(stranger);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_by_name_is_named_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let strangers = || first(folder.path(), &|path| path == "a" || path == "b/c").unwrap();
        assert_eq!(strangers(), None);
        std::fs::create_dir_all(folder.path().join("b/empty")).unwrap();
        for path in ["a", "b/c"] {
            std::fs::write(folder.path().join(path), "").unwrap();
        }
        assert_eq!(strangers(), None);
        std::os::unix::fs::symlink("..", folder.path().join("z")).unwrap();
        assert_eq!(strangers().as_deref(), Some("z"));
        std::fs::write(folder.path().join("b/d"), "").unwrap();
        assert_eq!(strangers().as_deref(), Some("b/d"));
    }
}
