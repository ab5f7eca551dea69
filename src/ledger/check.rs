//! Everything re-read, and if the log does not hold, what was done to it.
//!
//! A root that differs only says that something differs. A person needs to know what: so positions
//! are compared first (an entry knows its index: swapped, dropped, inserted, truncated), then the
//! chain and the root, with the tiles telling which entry was edited, then every tile by itself, then
//! what was remembered (rolled back, replaced). Files for more entries than the checkpoint counts are
//! what a crash leaves; they are reported, and the next append takes them away.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rayon::prelude::*;

use super::bundle::{self, Found};
use super::checkpoint::{Head, read_bounded};
use super::leaf::{EntryKind, Leaf, NO_LEAF};
use super::tiles::{Row, TILE, TileFile, TileReader, files_of, new_hash_files};
use super::tree::{Hashes, Tree};
use super::{LedgerError, Memory, files};
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
    /// Whether a signature was demanded; if so, it was there.
    pub signed: bool,
    /// Names on the checkpoint's signature lines, checked or not.
    pub signatures: Vec<String>,
    /// Entries of each kind.
    pub kinds: BTreeMap<EntryKind, u64>,
    /// Files for entries that the checkpoint does not count, left by an interrupted append.
    pub unfinished_files: u64,
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
    Ok(CheckReport { head, trust, signed: false, signatures: Vec::new(), kinds, unfinished_files })
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
    /// Checks `ledger` against what is remembered of its origin, and remembers its head if it holds.
    pub fn check(&self, ledger: &super::Ledger) -> Result<CheckReport, LedgerError> {
        let remembered = self.recall(&ledger.head()?.origin)?;
        let report = ledger.check(remembered.as_ref())?;
        self.remember(&report.head)?;
        Ok(report)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Ledger, NewEntry};
    use super::*;
    use crate::base::digest::Sha256;

    pub(in crate::ledger) fn noon() -> String {
        "2026-01-31T12:00:00Z".to_owned()
    }

    /// A ledger of `count` entries.
    pub(in crate::ledger) fn ledger(folder: &Path, count: usize) -> Ledger {
        let ledger = Ledger::open(folder).unwrap();
        ledger.append((0..count).map(entry).collect(), &noon).unwrap();
        ledger
    }

    /// Entries of every kind that needs no plan.
    pub(in crate::ledger) fn entry(number: usize) -> NewEntry {
        let kinds = [EntryKind::Plan, EntryKind::Revocation, EntryKind::Retirement, EntryKind::Registry];
        NewEntry {
            kind: kinds[number % 4],
            cycle: "spring".parse().unwrap(),
            candidate: Some(format!("c{number}").parse().unwrap()),
            subject: Some(Sha256::of(format!("manifest {number}").as_bytes())),
            record: Sha256::of(format!("record {number}").as_bytes()),
            predicate_type: "https://slsa.dev/verification_summary/v1".to_owned(),
            registration: None,
        }
    }

    /// An admission by the plan at entry `plan`.
    fn admission(number: usize, plan: u64) -> NewEntry {
        NewEntry { kind: EntryKind::Admission, registration: Some(plan), ..entry(number) }
    }

    fn bundle_path(folder: &Path, number: u64, size: u64) -> std::path::PathBuf {
        folder.join(files_of(Row::Entries, number * TILE, size).next().unwrap().path())
    }

    /// Changes the entries of bundle 0 and checks the ledger again.
    fn tampered(count: usize, change: impl Fn(&mut Vec<String>)) -> Result<CheckReport, LedgerError> {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path(), count);
        let path = bundle_path(folder.path(), 0, count as u64);
        let bytes = std::fs::read(&path).unwrap();
        let text = |entry: &[u8]| String::from_utf8(entry.to_vec()).unwrap();
        let mut entries: Vec<String> = bundle::split(&bytes).unwrap().into_iter().map(text).collect();
        change(&mut entries);
        std::fs::write(&path, bundle::write(&entries)).unwrap();
        let result = ledger.check(None);
        // What a check refuses, no reader returns and no writer extends.
        let fresh = Ledger::open(folder.path()).unwrap();
        assert!(fresh.append(vec![entry(9999)], &noon).is_err());
        assert!(fresh.find_record(entry(0).record).is_err());
        assert!(fresh.leaves().is_err());
        result
    }

    /// The same leaf, chained anew after the one before it.
    fn rechain(entries: &mut [String], from: usize) {
        for at in from..entries.len() {
            let mut leaf = Leaf::from_bytes(entries[at].as_bytes()).unwrap();
            leaf.index = at as u64;
            leaf.prev = if at == 0 { NO_LEAF } else { Sha256::of(entries[at - 1].as_bytes()) };
            entries[at] = String::from_utf8(leaf.to_bytes().unwrap()).unwrap();
        }
    }

    #[test]
    fn a_good_ledger_is_counted_and_trusted_on_first_use() {
        let folder = tempfile::tempdir().unwrap();
        let report = ledger(folder.path(), 600).check(None).unwrap();
        assert_eq!((report.head.size, report.trust, report.unfinished_files), (600, Trust::FirstUse, 0));
        assert_eq!(report.kinds.len(), 4);
        assert!(report.kinds.values().all(|count| *count == 150));
        assert!(!report.signed && report.signatures.is_empty());
        for path in
            ["tile/entries/000", "tile/entries/002.p/88", "tile/0/001", "tile/1/000.p/2", "checkpoint"]
        {
            assert!(folder.path().join(path).is_file(), "{path}");
        }
    }

    #[test]
    fn an_edit_names_its_entry_wherever_it_is() {
        for at in [0, 1, 5, 9] {
            let result = tampered(10, |entries| entries[at] = entries[at].replace("12:00:00", "12:00:01"));
            assert!(
                matches!(&result, Err(LedgerError::Edited { index, .. }) if *index == at as u64),
                "{result:?}"
            );
            let result = tampered(10, |entries| {
                let prev = Leaf::from_bytes(entries[at].as_bytes()).unwrap().prev;
                entries[at] = entries[at].replace(&prev.to_hex(), &Sha256::of(b"else").to_hex());
            });
            assert!(
                matches!(&result, Err(LedgerError::Edited { index, .. }) if *index == at as u64),
                "{result:?}"
            );
        }
        let result = tampered(10, |entries| entries[4] = entries[4].replace("\"spring\"", "\"Spring\""));
        assert!(matches!(result, Err(LedgerError::Malformed { index: 4, .. })), "{result:?}");
    }

    #[test]
    fn swapped_dropped_inserted_truncated_are_told_apart() {
        let result = tampered(10, |entries| entries.swap(3, 7));
        assert!(matches!(result, Err(LedgerError::Swapped { index: 3, found: 7 })), "{result:?}");
        let result = tampered(10, |entries| drop(entries.remove(4)));
        assert!(matches!(result, Err(LedgerError::Dropped { index: 4, found: 5 })), "{result:?}");
        let result = tampered(10, |entries| entries.insert(4, entries[2].clone()));
        assert!(matches!(result, Err(LedgerError::Inserted { index: 4, found: 2 })), "{result:?}");
        let result = tampered(10, |entries| entries.insert(4, entries[6].clone()));
        assert!(matches!(result, Err(LedgerError::Inserted { index: 4, found: 6 })), "{result:?}");
        let result = tampered(10, |entries| drop(entries.pop()));
        assert!(matches!(result, Err(LedgerError::Truncated { size: 10, found: 9 })), "{result:?}");
        let result = tampered(10, Vec::clear);
        assert!(matches!(result, Err(LedgerError::Truncated { size: 10, found: 0 })), "{result:?}");
        // The last of a full bundle, with another bundle behind it.
        let result = tampered(300, |entries| drop(entries.pop()));
        assert!(matches!(result, Err(LedgerError::Dropped { index: 255, found: 256 })), "{result:?}");
    }

    #[test]
    fn a_forger_who_renumbers_is_caught_at_the_root() {
        let result = tampered(10, |entries| {
            entries.remove(4);
            rechain(entries, 4);
        });
        assert!(matches!(result, Err(LedgerError::Truncated { size: 10, found: 9 })), "{result:?}");
        let result = tampered(10, |entries| {
            entries[4] = entries[4].replace("\"c4\"", "\"c5\"");
            rechain(entries, 4);
        });
        assert!(matches!(result, Err(LedgerError::Edited { index: 4, .. })), "{result:?}");
        // With the tiles made anew as well, only the checkpoint is left to disagree.
        let folder = tempfile::tempdir().unwrap();
        let good = ledger(&folder.path().join("good"), 10);
        let forged = Ledger::open(folder.path().join("forged")).unwrap();
        forged.append((1..11).map(entry).collect(), &noon).unwrap();
        std::fs::copy(good.folder().join("checkpoint"), forged.folder().join("checkpoint")).unwrap();
        let error = forged.check(None).unwrap_err();
        assert!(matches!(error, LedgerError::RootDisagrees { size: 10, .. }), "{error}");
    }

    #[test]
    fn an_entry_moved_to_another_bundle_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path(), 300);
        let [first, second] = [0, 1].map(|number| bundle_path(folder.path(), number, 300));
        let (a, b) = (std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
        let (mut a, mut b) = (bundle::split(&a).unwrap(), bundle::split(&b).unwrap());
        a.push(b.remove(0));
        let (a, b) = (bundle::write(a), bundle::write(b));
        std::fs::write(&first, a).unwrap();
        std::fs::write(&second, b).unwrap();
        let error = ledger.check(None).unwrap_err();
        assert!(matches!(&error, LedgerError::BadTile { why, .. } if why.contains("257")), "{error}");
    }

    #[test]
    fn tiles_of_another_width_missing_or_stray_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let log = ledger(folder.path(), 300);
        let path = |name: &str| folder.path().join(name);
        for name in ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"] {
            let good = std::fs::read(path(name)).unwrap();
            for bad in [&good[1..], &good[32..], &[&good[..], &good[..32]].concat(), &vec![0; good.len()]] {
                std::fs::write(path(name), bad).unwrap();
                let error = log.check(None).unwrap_err();
                assert!(matches!(error, LedgerError::BadTile { .. }), "{name}: {error}");
            }
            std::fs::remove_file(path(name)).unwrap();
            let error = log.check(None).unwrap_err();
            assert!(matches!(error, LedgerError::TileMissing { .. }), "{name}: {error}");
            std::os::unix::fs::symlink("/dev/zero", path(name)).unwrap();
            assert!(log.check(None).is_err(), "{name}");
            std::fs::remove_file(path(name)).unwrap();
            std::fs::write(path(name), good).unwrap();
        }
        for stray in ["tile/0/1", "tile/7a", "tile/0/000.p/256", "notes.txt", ".hidden", "tile/entries/0000"]
        {
            std::fs::create_dir_all(path(stray).parent().unwrap()).unwrap();
            std::fs::write(path(stray), b"x").unwrap();
            let error = log.check(None).unwrap_err();
            assert!(matches!(error, LedgerError::Stray { .. }), "{stray}: {error}");
            std::fs::remove_file(path(stray)).unwrap();
        }
        log.check(None).unwrap();
    }

    #[test]
    fn a_partial_tile_of_an_earlier_checkpoint_must_agree() {
        let folder = tempfile::tempdir().unwrap();
        let log = ledger(folder.path(), 5);
        log.append((5..9).map(entry).collect(), &noon).unwrap();
        for name in ["tile/0/000.p/5", "tile/entries/000.p/5"] {
            let path = folder.path().join(name);
            let good = std::fs::read(&path).unwrap();
            let mut bad = good.clone();
            bad[40] ^= 1;
            std::fs::write(&path, bad).unwrap();
            let error = log.check(None).unwrap_err();
            assert!(matches!(error, LedgerError::BadTile { .. }), "{error}");
            std::fs::write(&path, good).unwrap();
        }
        log.check(None).unwrap();
        log.append((9..300).map(entry).collect(), &noon).unwrap();
        assert!(!folder.path().join("tile/0/000.p").exists() && folder.path().join("tile/0/000").exists());
    }

    #[test]
    fn an_admission_names_the_plan_registered_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = ledger(folder.path(), 2);
        log.append(vec![admission(50, 0)], &noon).unwrap();
        let refused = |entries: Vec<NewEntry>, why: &str| {
            let error = log.append(entries, &noon).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        };
        refused(vec![admission(51, 1)], "which is a revocation");
        refused(vec![admission(51, 3)], "which is not before it");
        refused(vec![admission(51, 9)], "which is not before it");
        let other = NewEntry { cycle: "autumn".parse().unwrap(), ..admission(51, 0) };
        refused(vec![other], "which is of the cycle `spring`");
        refused(vec![NewEntry { registration: None, ..admission(51, 0) }], "names the plan None");
        // A plan entered in the same call will do.
        log.append(vec![entry(4), admission(51, 3)], &noon).unwrap();
        assert_eq!(log.check(None).unwrap().kinds[&EntryKind::Admission], 2);
    }

    /// No byte of the log, its tiles or its checkpoint can be changed, removed or doubled unnoticed.
    #[test]
    fn no_mutant_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path(), 5);
        let head = ledger.head().unwrap();
        let mut accepted = Vec::new();
        for name in ["tile/entries/000.p/5", "tile/0/000.p/5", "checkpoint"] {
            let path = folder.path().join(name);
            let good = std::fs::read(&path).unwrap();
            for at in 0..good.len() {
                let mut flipped = good.clone();
                flipped[at] ^= 1;
                let mut shorter = good.clone();
                shorter.remove(at);
                let mut longer = good.clone();
                longer.insert(at, good[at]);
                for (how, bytes) in [("flipped", flipped), ("removed", shorter), ("doubled", longer)] {
                    std::fs::write(&path, &bytes).unwrap();
                    if bytes != good && ledger.check(Some(&head)).is_ok() {
                        accepted.push((name, at, how));
                    }
                }
            }
            std::fs::write(&path, good).unwrap();
        }
        assert_eq!(accepted, []);
        assert_eq!(ledger.check(Some(&head)).unwrap().trust, Trust::Extends { size: 5 });
    }

    #[test]
    fn what_was_remembered_stops_rollback_replacement_and_another_log() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::at(folder.path().join("memory/heads"));
        let good = ledger(&folder.path().join("good"), 10);
        assert_eq!(memory.check(&good).unwrap().trust, Trust::FirstUse);
        assert_eq!(memory.check(&good).unwrap().trust, Trust::Extends { size: 10 });

        let shorter = ledger(&folder.path().join("shorter"), 8);
        let error = memory.check(&shorter).unwrap_err();
        assert!(matches!(error, LedgerError::RolledBack { remembered: 10, found: 8 }), "{error}");

        let fork = Ledger::open(folder.path().join("fork")).unwrap();
        fork.append((1..20).map(entry).collect(), &noon).unwrap();
        fork.check(None).expect("it holds in itself");
        let error = memory.check(&fork).unwrap_err();
        assert!(matches!(error, LedgerError::Replaced { size: 10, .. }), "{error}");

        let other = Ledger::open_as(folder.path().join("other"), "example.org/ledger").unwrap();
        let error = other.check(Some(&good.head().unwrap())).unwrap_err();
        assert!(matches!(error, LedgerError::Origin { .. }), "{error}");
        assert_eq!(memory.check(&other).unwrap().trust, Trust::FirstUse);

        std::fs::remove_dir_all(good.folder()).unwrap();
        let error = memory.check(&good).unwrap_err();
        assert!(matches!(error, LedgerError::RolledBack { remembered: 10, found: 0 }), "{error}");
    }
}
