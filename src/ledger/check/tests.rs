//! Ledgers that are damaged in one place after another, and looked at again.

use super::super::{Ledger, NewEntry};
use super::*;
use crate::base::digest::Sha256;
use crate::disk::damage;

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
    for path in ["tile/entries/000", "tile/entries/002.p/88", "tile/0/001", "tile/1/000.p/2", "checkpoint"] {
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
    for stray in ["tile/0/1", "tile/7a", "tile/0/000.p/256", "notes.txt", ".hidden", "tile/entries/0000"] {
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
    for name in ["tile/entries/000.p/5", "tile/0/000.p/5", "checkpoint"] {
        let accepted = damage::accepted(&folder.path().join(name), || ledger.check(Some(&head)).is_ok());
        assert_eq!(accepted, [], "{name}");
    }
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
    let error = memory.check(&other).unwrap_err();
    assert!(matches!(error, LedgerError::OtherLog { .. }), "{error}");
    assert_eq!(Memory::at(folder.path().join("own")).check(&other).unwrap().trust, Trust::FirstUse);

    std::fs::remove_dir_all(good.folder()).unwrap();
    let error = memory.check(&good).unwrap_err();
    assert!(matches!(error, LedgerError::RolledBack { remembered: 10, found: 0 }), "{error}");
}
