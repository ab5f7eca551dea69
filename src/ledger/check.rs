//! Everything re-read, and if the log does not hold, what was done to it.
//!
//! A root that differs only says that something differs. A person needs to know what: so positions
//! are compared first (an entry knows its index: swapped, dropped, inserted, truncated), then the
//! chain and the root, with the tiles telling which entry was edited, then every tile by itself, then
//! what was remembered (rolled back, replaced). Partial files of earlier checkpoints must be right where they
//! are; that one is gone cannot be seen, since nothing says how large those were. Files for more entries
//! than the checkpoint counts are what a crash leaves; they are reported, and the next append takes them away.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rayon::prelude::*;

use super::bundle::{self, Found};
use super::checkpoint::{Head, read_bounded};
use super::leaf::{EntryKind, Leaf, NO_LEAF};
use super::tiles::{Row, TILE, TileFile, TileReader, files_of, new_hash_files};
use super::tree::{Hashes, Tree};
use super::{LedgerError, Memory, files};
use crate::base::digest::Sha256;
use crate::base::name::Name;

/// What the checked head was compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Nothing was remembered: trust on first use. A rewritten log would look the same.
    FirstUse,
    /// The log extends a head accepted before, of this many entries.
    Extends {
        /// Entries remembered.
        size: u64,
    },
}

/// A ledger that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// The head that was checked.
    pub head: Head,
    /// What it was compared with.
    pub trust: Trust,
    /// Whether the head that was checked is remembered now.
    pub remembered: bool,
    /// Whether a signature was demanded; if so, it was there.
    pub signed: bool,
    /// Names on the checkpoint's signature lines, checked or not.
    pub signatures: Vec<String>,
    /// Entries of each kind.
    pub kinds: BTreeMap<EntryKind, u64>,
    /// What its entries take back, each with the first that does.
    pub revoked: BTreeMap<Sha256, u64>,
    /// Entries that are dated before an earlier one: a clock was wrong, or a date was made up.
    pub backdated: Vec<u64>,
    /// Those earlier ones: the date that is wrong may as well be theirs.
    pub dated_ahead: Vec<u64>,
    /// Files for entries that the checkpoint does not count, left by an interrupted append.
    pub unfinished_files: u64,
}

impl CheckReport {
    /// What is to be told of dates that run backwards, if any do.
    pub fn told_backdated(&self) -> Option<String> {
        let (first, rest) = self.backdated.split_first()?;
        let entries = match rest {
            [] => format!("ledger entry {first} is"),
            more => format!("{} ledger entries, the first is {first}, are", more.len() + 1),
        };
        let earlier = self.dated_ahead.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        Some(format!(
            "{entries} dated before an earlier one (entry {earlier}), and either date may be wrong: go by the \
             order, the dates are not to be relied on"
        ))
    }
}

/// Checks the log in `folder` against its head, and that against a remembered one.
pub(super) fn check(
    folder: &Path,
    head: &Head,
    remembered: Option<&Head>,
) -> Result<CheckReport, LedgerError> {
    let there = files::scan(folder)?;
    let wanted: Vec<TileFile> = files_of(Row::Entries, 0, head.size).collect();
    let bundles: Vec<Vec<Found>> =
        wanted.par_iter().map(|file| bundle::read(folder, file)).collect::<Result<_, _>>()?;
    let counts: Vec<u64> = bundles.iter().map(|bundle| bundle.len() as u64).collect();
    let found: Vec<Found> = bundles.into_iter().flatten().collect();
    positions(&found, head.size)?;
    full(folder, &wanted, &counts)?;
    let mut tree = Tree::default();
    found.iter().for_each(|found| tree.push(found.tree_hash));
    chain(folder, &found, head)?;
    if tree.root() != head.root {
        edited(folder, &found, head)?;
        let (size, expected, found) = (head.size, head.root, tree.root());
        return Err(LedgerError::RootDisagrees { size, expected, found });
    }
    let unfinished_files = tiles(folder, &there, head.size, &tree)?;
    let plan = |at: u64| found.get(at as usize).map(|found| (found.leaf.kind, &found.leaf.cycle));
    for found in &found {
        registered(&found.leaf, found.leaf.registration.and_then(plan))?;
    }
    let trust = compare(&tree, head, remembered)?;
    let mut kinds = BTreeMap::new();
    found.iter().for_each(|found| *kinds.entry(found.leaf.kind).or_insert(0) += 1);
    let head = head.clone();
    let (remembered, signed, signatures) = (false, false, Vec::new());
    let leaves = || found.iter().map(|found| &found.leaf);
    let (revoked, (backdated, dated_ahead)) = (revoked(leaves()), backdated(leaves()));
    Ok(CheckReport {
        head,
        trust,
        remembered,
        signed,
        signatures,
        kinds,
        revoked,
        backdated,
        dated_ahead,
        unfinished_files,
    })
}

/// The entries that are dated before one that stands before them, and those: after one date that is far ahead all
/// honest ones are too early. Order is what the log proves, and dates only what its writer said; a log with a wrong
/// one is not refused, for it could never be mended.
fn backdated<'l>(leaves: impl IntoIterator<Item = &'l Leaf>) -> (Vec<u64>, Vec<u64>) {
    let mut latest: Option<(jiff::Timestamp, u64)> = None;
    let (mut found, mut ahead) = (Vec::new(), Vec::new());
    for leaf in leaves {
        let time = leaf.time.parse::<jiff::Timestamp>().ok();
        match latest {
            Some((before, index)) if time.is_none_or(|time| time < before) => {
                found.push(leaf.index);
                if ahead.last() != Some(&index) {
                    ahead.push(index);
                }
            }
            _ => latest = time.map(|time| (time, leaf.index)),
        }
    }
    (found, ahead)
}

/// What leaves take back, each with the first that does.
pub(super) fn revoked<'l>(leaves: impl IntoIterator<Item = &'l Leaf>) -> BTreeMap<Sha256, u64> {
    let mut revoked = BTreeMap::new();
    for leaf in leaves.into_iter().filter(|leaf| leaf.kind == EntryKind::Revocation) {
        if let Some(subject) = leaf.subject {
            revoked.entry(subject).or_insert(leaf.index);
        }
    }
    revoked
}

/// Every entry is where its index says.
fn positions(entries: &[Found], size: u64) -> Result<(), LedgerError> {
    for (position, entry) in entries.iter().enumerate() {
        let (index, found) = (position as u64, entry.leaf.index);
        if index == found {
            continue;
        }
        let later = |wanted: u64| entries[position + 1..].iter().any(|entry| entry.leaf.index == wanted);
        return Err(match (found > index, later(index), later(found)) {
            (true, true, false) => LedgerError::Swapped { index, found },
            (true, false, _) => LedgerError::Dropped { index, found },
            _ => LedgerError::Inserted { index, found },
        });
    }
    let found = entries.len() as u64;
    if found < size {
        return Err(LedgerError::Truncated { size, found });
    }
    if found > size {
        return Err(LedgerError::Inserted { index: size, found: size });
    }
    Ok(())
}

/// Every bundle holds as many entries as its name says.
fn full(folder: &Path, files: &[TileFile], counts: &[u64]) -> Result<(), LedgerError> {
    for (file, count) in files.iter().zip(counts) {
        if *count != file.width {
            let why = format!("holds {count} entries, expected {}", file.width);
            return Err(LedgerError::BadTile { path: folder.join(file.path()), why });
        }
    }
    Ok(())
}

/// Every entry carries the hash of the one before.
fn chain(folder: &Path, entries: &[Found], head: &Head) -> Result<(), LedgerError> {
    let mut before = NO_LEAF;
    for (position, entry) in entries.iter().enumerate() {
        if entry.leaf.prev != before {
            edited(folder, entries, head)?;
            let index = (position as u64).saturating_sub(1);
            return Err(LedgerError::Edited { index, expected: entry.leaf.prev, found: before });
        }
        before = entry.hash;
    }
    Ok(())
}

/// The first entry whose hash is not the one in the tiles, if those can be read.
fn edited(folder: &Path, entries: &[Found], head: &Head) -> Result<(), LedgerError> {
    let tiles = TileReader::new(folder, head.size);
    for (position, entry) in entries.iter().enumerate() {
        let index = position as u64;
        match tiles.hash(0, index) {
            Ok(expected) if expected != entry.tree_hash => {
                return Err(LedgerError::Edited { index, expected, found: entry.tree_hash });
            }
            Ok(_) => {}
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

/// Every tile and bundle is there and is what the entries make of it, those of earlier checkpoints,
/// too. Says how many files there are for more entries.
fn tiles(folder: &Path, there: &[TileFile], size: u64, tree: &Tree) -> Result<u64, LedgerError> {
    let found: BTreeSet<&TileFile> = there.iter().collect();
    let needed = new_hash_files(0, size).chain(files_of(Row::Entries, 0, size));
    for file in needed {
        if !found.contains(&file) {
            return Err(LedgerError::TileMissing { path: folder.join(file.path()) });
        }
    }
    let (within, beyond): (Vec<&TileFile>, Vec<&TileFile>) =
        there.iter().partition(|file| file.is_within(size));
    within.par_iter().try_for_each(|file| match file.row {
        Row::Level(_) => same_bytes(folder, file, &file.hashes(tree)),
        Row::Entries if file.is_superseded(size) => {
            let width = (size - file.number * TILE).min(TILE);
            let now = bundle::read_bytes(folder, &TileFile { width, ..**file })?;
            same_bytes(folder, file, &bundle::write(&now[..file.width as usize]))
        }
        // Read and hashed to the root already.
        Row::Entries => Ok(()),
    })?;
    Ok(beyond.len() as u64)
}

fn same_bytes(folder: &Path, file: &TileFile, expected: &[u8]) -> Result<(), LedgerError> {
    let path = folder.join(file.path());
    let bad = |why: String| LedgerError::BadTile { path: path.clone(), why };
    match read_bounded(&path, expected.len() as u64)? {
        None => Err(LedgerError::TileMissing { path }),
        Some(read) => {
            let same = read.map_err(bad)? == expected;
            if same { Ok(()) } else { Err(bad("is not what the entries make of it".to_owned())) }
        }
    }
}

/// A decision names a plan of its own cycle that was registered before it; `plan` is the kind and
/// cycle of the entry it names.
pub(super) fn registered(leaf: &Leaf, plan: Option<(EntryKind, &Name)>) -> Result<(), LedgerError> {
    let Some(at) = leaf.registration else { return Ok(()) };
    let why = match plan {
        _ if at >= leaf.index => format!("names entry {at} as its plan, which is not before it"),
        None => format!("names entry {at} as its plan, which does not exist"),
        Some((kind, _)) if kind != EntryKind::Plan => {
            format!("names entry {at} as its plan, which is a {}", kind.word())
        }
        Some((_, cycle)) if *cycle != leaf.cycle => {
            format!("names entry {at} as its plan, which is of the cycle `{cycle}`")
        }
        Some(_) => return Ok(()),
    };
    Err(LedgerError::Unregistered { index: leaf.index, why })
}

/// The log has only grown since `remembered`.
fn compare(tree: &Tree, head: &Head, remembered: Option<&Head>) -> Result<Trust, LedgerError> {
    let Some(known) = remembered else { return Ok(Trust::FirstUse) };
    if known.origin != head.origin {
        return Err(LedgerError::Origin { expected: known.origin.clone(), found: head.origin.clone() });
    }
    if head.size < known.size {
        return Err(LedgerError::RolledBack { remembered: known.size, found: head.size });
    }
    let found = tree.root_at(known.size);
    if found != known.root {
        return Err(LedgerError::Replaced { size: known.size, expected: known.root, found });
    }
    Ok(Trust::Extends { size: known.size })
}

impl Memory {
    /// Checks `ledger` against what is remembered of it, and remembers its head if it holds. Whoever may only
    /// read can check, too; that nothing was remembered is reported.
    ///
    /// # Errors
    ///
    /// As [`super::Ledger::check`], and if the memory cannot be read, or not be written where it may be.
    pub fn check(&self, ledger: &super::Ledger) -> Result<CheckReport, LedgerError> {
        let remembered = self.recall(&ledger.head()?.origin)?;
        let mut report = ledger.check(remembered.as_ref())?;
        report.remembered = match self.remember(&report.head) {
            Err(LedgerError::Disk(error)) if error.is_read_only() => {
                remembered.as_ref() == Some(&report.head)
            }
            other => other.map(|()| true)?,
        };
        Ok(report)
    }
}

#[cfg(test)]
pub(super) mod tests;
