//! Writing: entries, tiles, sync, and the checkpoint by rename.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::checkpoint::CHECKPOINT_FILE;
use super::note::Note;
use super::tiles::{Row, TILE, TileFile, files_of, new_hash_files};
use super::tree::Tree;
use super::{LedgerError, bundle, files};
use crate::disk::{IoContext, atomic, fault};

/// Writes the leaves behind the first `before`, and the tiles of `tree`, which is over all of them.
/// Whatever an interrupted append left behind `before` is taken away first.
pub(super) fn entries_and_tiles(
    folder: &Path,
    before: u64,
    leaves: &[Vec<u8>],
    tree: &Tree,
) -> Result<(), LedgerError> {
    for file in files::scan(folder)? {
        if !file.is_within(before) {
            let path = folder.join(file.path());
            std::fs::remove_file(&path).at("remove", &path)?;
        }
    }
    let mut folders = BTreeSet::new();
    let mut rest = leaves;
    for file in files_of(Row::Entries, before, tree.size()) {
        let start = file.number * TILE;
        let kept = match before.saturating_sub(start) {
            0 => Vec::new(),
            width => bundle::read_bytes(folder, &TileFile { width, ..file })?,
        };
        let (now, later) = rest.split_at(file.width as usize - kept.len());
        rest = later;
        write_file(folder, &file, &bundle::write(kept.iter().chain(now)), &mut folders)?;
    }
    fault::point("ledger-entry-written").at("write", folder)?;
    for file in new_hash_files(before, tree.size()) {
        write_file(folder, &file, &file.hashes(tree), &mut folders)?;
    }
    // The names must survive a power cut as well as the bytes do.
    for folder in &folders {
        atomic::sync_folder(folder)?;
    }
    Ok(fault::point("ledger-tile-written").at("write", folder)?)
}

fn write_file(
    folder: &Path,
    file: &TileFile,
    bytes: &[u8],
    folders: &mut BTreeSet<PathBuf>,
) -> Result<(), LedgerError> {
    let path = folder.join(file.path());
    let parent = path.parent().expect("a tile lies in a folder");
    std::fs::create_dir_all(parent).at("create the folder", parent)?;
    folders.extend(parent.ancestors().take_while(|at| at.starts_with(folder)).map(Path::to_owned));
    let mut new = File::options().write(true).create_new(true).open(&path).at("create", &path)?;
    new.write_all(bytes).and_then(|()| new.sync_data()).at("write", &path)?;
    Ok(())
}

/// Renames a checkpoint into place.
pub(super) fn checkpoint(folder: &Path, note: &Note) -> Result<(), LedgerError> {
    let path = folder.join(CHECKPOINT_FILE);
    atomic::replace(&path, note.to_text().as_bytes())?;
    Ok(fault::point("ledger-head-written").at("write", &path)?)
}

/// Takes away the partial files of `before` that have a full one by now. Others stay: earlier
/// checkpoints need them.
pub(super) fn remove_superseded(folder: &Path, before: u64, size: u64) -> Result<(), LedgerError> {
    let old = new_hash_files(0, before).chain(files_of(Row::Entries, 0, before));
    for file in old.filter(|file| file.width < TILE) {
        let full = TileFile { width: TILE, ..file };
        let path = folder.join(file.path());
        let parent = path.parent().expect("a partial tile lies in a folder");
        if full.is_within(size) && parent.exists() {
            std::fs::remove_dir_all(parent).at("remove", parent)?;
        }
    }
    Ok(())
}
