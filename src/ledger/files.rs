//! What lies in a ledger's folder. Nothing else may.

use std::path::{Path, PathBuf};

use super::LedgerError;
use super::checkpoint::CHECKPOINT_FILE;
use super::tiles::TileFile;
use crate::disk::IoContext;

/// What there may be beside the tiles. Temporary files are those of a writer at work, or killed.
fn is_known(name: &str) -> bool {
    [CHECKPOINT_FILE, "lock", "tile"].contains(&name) || name.starts_with(".tmp-")
}

/// Every tile and bundle there is; anything that does not belong is refused.
pub(super) fn scan(folder: &Path) -> Result<Vec<TileFile>, LedgerError> {
    let mut found = Vec::new();
    for (path, _) in list(folder)? {
        if !path.file_name().and_then(|name| name.to_str()).is_some_and(is_known) {
            return Err(LedgerError::Stray { path });
        }
    }
    let mut folders = vec![folder.join("tile")];
    while let Some(inner) = folders.pop() {
        for (path, is_folder) in list(&inner)? {
            if is_folder {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(folder).expect("it was found below");
            match TileFile::from_path(relative) {
                Some(file) => found.push(file),
                None => return Err(LedgerError::Stray { path }),
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The paths in a folder and whether each is a folder; a link is none. No folder is an empty one.
fn list(folder: &Path) -> Result<Vec<(PathBuf, bool)>, LedgerError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.at("list", folder)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.at("list", folder)?;
        let kind = entry.file_type().at("examine", entry.path())?;
        paths.push((entry.path(), kind.is_dir()));
    }
    Ok(paths)
}
