//! Which files hold a tree, and reading hashes from them (C2SP tlog-tiles).
//!
//! A file holds up to 256 things in a row: hashes of one level, or entries. A row's last file is partial
//! and has its width in its name, so that no file is ever changed: the next append writes a wider one
//! beside it. Numbers are spelled in groups of three digits, every group but the last marked by `x`.
//!
//! ```text
//! tile/0/x001/234       leaf hashes 316_160 .. 316_416, 32 bytes each
//! tile/1/004.p/210      hashes over 256 leaves each, 210 of them
//! tile/entries/x001/234 the leaves themselves
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::LedgerError;
use super::checkpoint::read_bounded;
use super::tree::{Hashes, Tree, node_hash};
use crate::base::digest::Sha256;

/// Things in a full file.
pub const TILE: u64 = 256;
/// Levels of the tree between two rows of tiles.
const HEIGHT: u32 = 8;
/// Bytes of a hash.
const HASH: usize = 32;

/// What a row of files holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Row {
    /// Hashes, each over `256^level` leaves.
    Level(u32),
    /// Leaves.
    Entries,
}

/// One file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileFile {
    /// Its row.
    pub row: Row,
    /// Its number in the row.
    pub number: u64,
    /// How many things are in it: 1 to 256.
    pub width: u64,
}

impl TileFile {
    /// Its path from the ledger's folder.
    pub fn path(&self) -> PathBuf {
        let mut path = PathBuf::from("tile");
        match self.row {
            Row::Level(level) => path.push(level.to_string()),
            Row::Entries => path.push("entries"),
        }
        let mut groups = vec![format!("{:03}", self.number % 1000)];
        let mut rest = self.number / 1000;
        while rest > 0 {
            groups.push(format!("x{:03}", rest % 1000));
            rest /= 1000;
        }
        path.extend(groups.iter().rev());
        if self.width < TILE {
            path.as_mut_os_string().push(format!(".p/{}", self.width));
        }
        path
    }

    /// The file with this path; none if it is the path of no such file.
    pub fn from_path(path: &Path) -> Option<Self> {
        let text = path.to_str()?;
        let mut parts: Vec<&str> = text.split('/').collect();
        let width = match parts.iter().rev().nth(1).and_then(|part| part.strip_suffix(".p")) {
            Some(_) => parts.pop()?.parse().ok()?,
            None => TILE,
        };
        let row = match *parts.get(1)? {
            "entries" => Row::Entries,
            level => Row::Level(level.parse().ok()?),
        };
        let mut number = 0_u64;
        for part in &parts[2..] {
            let digits = part.trim_start_matches('x').trim_end_matches(".p");
            number = number.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        }
        // Writing it again is the whole check of the spelling.
        let file = Self { row, number, width };
        (file.path() == path && width > 0).then_some(file)
    }

    /// Whether the file is full or its row goes on behind it in a tree of `size` leaves.
    pub(super) fn is_superseded(&self, size: u64) -> bool {
        self.width < TILE && self.number * TILE + self.width < row_length(self.row, size)
    }

    /// Whether a tree of `size` leaves has everything that is in this file.
    pub(super) fn is_within(&self, size: u64) -> bool {
        let end = self.number.checked_mul(TILE).and_then(|start| start.checked_add(self.width));
        end.is_some_and(|end| end <= row_length(self.row, size))
    }

    /// Its hashes as bytes, if it is a row of hashes of this tree.
    pub(super) fn hashes(&self, tree: &Tree) -> Vec<u8> {
        let Row::Level(level) = self.row else { return Vec::new() };
        let start = self.number * TILE;
        let hashes = tree.row(level * HEIGHT, start, start + self.width);
        hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
    }
}

/// How many things a row has in a tree of `size` leaves.
fn row_length(row: Row, size: u64) -> u64 {
    match row {
        Row::Entries => size,
        Row::Level(level) => size.checked_shr(level * HEIGHT).unwrap_or(0),
    }
}

/// The files of a row from the one that holds thing `from`.
pub(super) fn files_of(row: Row, from: u64, size: u64) -> impl Iterator<Item = TileFile> {
    let length = row_length(row, size);
    (from / TILE..length.div_ceil(TILE)).map(move |number| TileFile {
        row,
        number,
        width: (length - number * TILE).min(TILE),
    })
}

/// The files of hashes that a tree of `size` leaves has and one of `before` leaves has not.
pub(super) fn new_hash_files(before: u64, size: u64) -> impl Iterator<Item = TileFile> {
    let levels = (0..).map(Row::Level).take_while(move |row| row_length(*row, size) > 0);
    levels.flat_map(move |row| {
        let from = row_length(row, before);
        files_of(row, from, size).filter(move |file| file.number * TILE + file.width > from)
    })
}

/// The tree of a checkpoint as its tiles say. Nothing read here is trusted until it hashes to the root.
#[derive(Debug)]
pub struct TileReader<'a> {
    folder: &'a Path,
    size: u64,
    seen: RefCell<HashMap<(u32, u64), Vec<Sha256>>>,
}

impl<'a> TileReader<'a> {
    /// The tiles in `folder` of a tree of `size` leaves.
    pub fn new(folder: &'a Path, size: u64) -> Self {
        Self { folder, size, seen: RefCell::default() }
    }

    fn read(&self, level: u32, number: u64) -> Result<Vec<Sha256>, LedgerError> {
        let length = row_length(Row::Level(level), self.size);
        let width = length.saturating_sub(number * TILE).min(TILE);
        let file = TileFile { row: Row::Level(level), number, width };
        let bytes = read_file(self.folder, &file, TILE * HASH as u64)?;
        let hashes = bytes.as_chunks::<HASH>().0;
        let hashes: Vec<_> =
            hashes.iter().take(width as usize).map(|hash| Sha256::from_bytes(*hash)).collect();
        if hashes.len() as u64 == width && bytes.len() % HASH == 0 {
            return Ok(hashes);
        }
        let why = format!("has {} bytes, expected {}", bytes.len(), width * HASH as u64);
        Err(LedgerError::BadTile { path: self.folder.join(file.path()), why })
    }
}

/// A file's bytes; where a partial file is gone, those of the full one, which begin with them.
pub(super) fn read_file(folder: &Path, file: &TileFile, most: u64) -> Result<Vec<u8>, LedgerError> {
    for width in [file.width, TILE] {
        let path = folder.join(TileFile { width, ..*file }.path());
        if let Some(read) = read_bounded(&path, most)? {
            return read.map_err(|why| LedgerError::BadTile { path, why });
        }
    }
    Err(LedgerError::TileMissing { path: folder.join(file.path()) })
}

impl Hashes for TileReader<'_> {
    fn hash(&self, level: u32, index: u64) -> Result<Sha256, LedgerError> {
        let (row, within) = (level / HEIGHT, level % HEIGHT);
        let first = index << within;
        let (number, at) = (first / TILE, (first % TILE) as usize);
        let beyond = || LedgerError::BeyondEnd { index: index << level, size: self.size };
        if (index + 1).checked_shl(level).is_none_or(|end| end > self.size) {
            return Err(beyond());
        }
        if !self.seen.borrow().contains_key(&(row, number)) {
            let hashes = self.read(row, number)?;
            self.seen.borrow_mut().insert((row, number), hashes);
        }
        let seen = self.seen.borrow();
        let mut hashes = seen[&(row, number)].get(at..at + (1 << within)).ok_or_else(beyond)?.to_vec();
        while hashes.len() > 1 {
            hashes = hashes.as_chunks::<2>().0.iter().map(|[l, r]| node_hash(*l, *r)).collect();
        }
        Ok(hashes[0])
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::{leaf_hash, prove_inclusion, root};
    use super::*;

    #[test]
    fn paths_are_those_of_tlog_tiles() {
        for (row, number, width, expected) in [
            (Row::Level(0), 0, 256, "tile/0/000"),
            (Row::Level(1), 67, 3, "tile/1/067.p/3"),
            (Row::Entries, 1_234_067, 256, "tile/entries/x001/x234/067"),
            (Row::Entries, 1000, 255, "tile/entries/x001/000.p/255"),
        ] {
            let file = TileFile { row, number, width };
            assert_eq!(file.path(), Path::new(expected));
            assert_eq!(TileFile::from_path(Path::new(expected)), Some(file));
            let theirs = tlog_tiles::Tile::from_path(
                &expected.replacen("tile/", "tile/8/", 1).replace("entries", "data"),
            );
            let theirs = theirs.unwrap();
            assert_eq!((theirs.level_index(), u64::from(theirs.width())), (number, width));
        }
        for bad in [
            "tile/0/0000",
            "tile/0/00",
            "tile/00/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/03",
            "tile/0/x000/001",
            "tile/0/001/000",
            "tile/0/../000",
            "tile/data/000",
            "tile/0",
            "checkpoint",
        ] {
            assert_eq!(TileFile::from_path(Path::new(bad)), None, "{bad}");
        }
    }

    #[test]
    fn the_files_of_the_specifications_example() {
        let widths: Vec<_> = new_hash_files(0, 70_000).map(|file| (file.row, file.width)).collect();
        let full = |level| widths.iter().filter(|found| **found == (Row::Level(level), 256)).count();
        assert_eq!([full(0), full(1), full(2)], [273, 1, 0]);
        let partial: Vec<_> = widths.iter().filter(|(_, width)| *width < 256).copied().collect();
        assert_eq!(partial, [(Row::Level(0), 112), (Row::Level(1), 17), (Row::Level(2), 1)]);
        let of_256: Vec<_> = new_hash_files(0, 256).map(|file| (file.row, file.width)).collect();
        assert_eq!(of_256, [(Row::Level(0), 256), (Row::Level(1), 1)]);
        let grown: Vec<_> = new_hash_files(256, 257).collect();
        assert_eq!(grown, [TileFile { row: Row::Level(0), number: 1, width: 1 }]);
    }

    #[test]
    fn tiles_give_the_roots_and_proofs_of_the_tree() {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = Tree::default();
        (0..70_000_u32).for_each(|i| tree.push(leaf_hash(&i.to_le_bytes())));
        for file in new_hash_files(0, 70_000) {
            let path = folder.path().join(file.path());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file.hashes(&tree)).unwrap();
        }
        let reader = TileReader::new(folder.path(), 70_000);
        for size in [1, 255, 256, 257, 65_536, 65_537, 70_000] {
            assert_eq!(root(&reader, size).unwrap(), tree.root_at(size), "{size}");
        }
        for index in [0, 300, 65_535, 65_536, 69_999] {
            let path = prove_inclusion(&reader, index, 70_000).unwrap();
            assert_eq!(path, prove_inclusion(&tree, index, 70_000).unwrap());
        }
        assert!(matches!(reader.hash(0, 70_000), Err(LedgerError::BeyondEnd { .. })));
        assert!(matches!(root(&reader, 70_001), Err(LedgerError::BeyondEnd { .. })));
        std::fs::write(folder.path().join("tile/1/001.p/17"), [0; 33]).unwrap();
        let error = root(&TileReader::new(folder.path(), 70_000), 70_000).unwrap_err();
        assert!(matches!(error, LedgerError::BadTile { .. }), "{error}");
    }
}
