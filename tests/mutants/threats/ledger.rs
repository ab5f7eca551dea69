//! Entries, checkpoints, proofs and tiles.

use super::*;

fn entry(number: u8) -> NewEntry {
    NewEntry {
        kind: EntryKind::Plan,
        cycle: "spring".parse().unwrap(),
        candidate: None,
        subject: None,
        record: Sha256::of(&[number]),
        predicate_type: "urn:studbook:plan-registration:v1".to_owned(),
        registration: None,
    }
}

/// A signed ledger of these entries in a folder.
fn ledger(folder: &Path, entries: &[u8]) -> Ledger {
    let ledger = Ledger::open(folder).unwrap().signing(SecretKey::from_seed(&[7; 32]));
    ledger
        .append(entries.iter().copied().map(entry).collect(), &|| "2026-01-01T00:00:00Z".to_owned())
        .unwrap();
    Ledger::open(folder).unwrap().trusting(vec![SecretKey::from_seed(&[7; 32]).public()])
}

fn row(folder: &Path, kind: &str) -> PathBuf {
    let all = crate::files(folder);
    all.into_iter().find(|path| path.to_string_lossy().contains(kind)).unwrap()
}

#[test]
fn ledger_entry_edited_swapped_dropped_or_inserted() {
    for change in 0..4 {
        let home = tempfile::tempdir().unwrap();
        let good = ledger(home.path(), &[1, 2, 3, 4]);
        let entries = row(home.path(), "tile/entries");
        let mut bytes = std::fs::read(&entries).unwrap();
        let half = bytes.len() / 2;
        match change {
            0 => bytes[half + 9] ^= 1,
            1 => bytes.rotate_left(half),
            2 => drop(bytes.drain(half..)),
            _ => bytes.extend_from_within(half..),
        }
        std::fs::write(&entries, bytes).unwrap();
        let error = Ledger::open(home.path()).unwrap().check(None).unwrap_err();
        assert!(error.is_tampering(), "{change}: {error}");
        drop(good);
    }
}

#[test]
fn ledger_truncated_replaced_forked_or_rolled_back() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let good = ledger(home.path(), &[1, 2, 3]);
    let seen = good.head().unwrap();
    let shorter = ledger(other.path(), &[1, 2]);
    let error = shorter.check(Some(&seen)).unwrap_err();
    assert!(matches!(error, LedgerError::RolledBack { .. }), "{error}");
    let fork = tempfile::tempdir().unwrap();
    let error = ledger(fork.path(), &[1, 2, 9, 10]).check(Some(&seen)).unwrap_err();
    assert!(matches!(error, LedgerError::Replaced { .. }), "{error}");
    std::fs::remove_file(home.path().join("checkpoint")).unwrap();
    let error = good.check(Some(&seen)).unwrap_err();
    assert!(matches!(error, LedgerError::HeadMissing { .. }), "{error}");
}

#[test]
fn ledger_of_another_origin_or_key() {
    let home = tempfile::tempdir().unwrap();
    ledger(home.path(), &[1]);
    let error = Ledger::open_as(home.path(), "example.com/log").err().unwrap();
    assert!(matches!(error, LedgerError::Origin { .. }), "{error}");
    let stranger = SecretKey::from_seed(&[8; 32]).public();
    let error = Ledger::open(home.path()).unwrap().trusting(vec![stranger]).check(None).unwrap_err();
    assert!(matches!(error, LedgerError::Unsigned { .. }), "{error}");
}

#[test]
fn ledger_proofs_that_prove_something_else() {
    let swapped = |all: &mut Documents| {
        let (plan, decision) = (all[layout::PLAN_PROOF].clone(), all[layout::DECISION_PROOF].clone());
        all.insert(layout::PLAN_PROOF.to_owned(), decision);
        all.insert(layout::DECISION_PROOF.to_owned(), plan);
    };
    refused(swapped, "ledger: the entry of the decision is about something else");
    refused(|all| drop(all.remove(layout::PLAN_PROOF)), "\"ledger/plan.tlog-proof\" is missing");
}

#[test]
fn ledger_tiles_of_a_wrong_width() {
    let home = tempfile::tempdir().unwrap();
    let good = ledger(home.path(), &[1, 2, 3]);
    let tile = row(home.path(), "tile/0/");
    let wrong = tile.with_file_name("2");
    std::fs::rename(&tile, wrong).unwrap();
    let error = good.check(None).unwrap_err();
    assert!(error.is_tampering(), "{error}");
}

#[test]
fn ledger_under_a_name_of_its_own() {
    let renamed = |all: &mut Documents| {
        for path in [layout::PLAN_PROOF, layout::DECISION_PROOF, layout::CHECKPOINT] {
            let text = std::str::from_utf8(&all[path]).unwrap().replace("studbook/ledger\n", "x/y\n");
            all.insert(path.to_owned(), text.into_bytes());
        }
    };
    refused(renamed, "the ledger's origin is \"x/y\", expected \"studbook/ledger\"");
}
