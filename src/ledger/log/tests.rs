//! Ledgers that are extended, interrupted, shared and led back.

use super::super::EntryKind;
use super::super::check::tests::{entry, ledger, noon};
use super::*;
use std::collections::BTreeMap;

#[test]
fn appending_again_adds_nothing_and_returns_the_first_leaf() {
    let folder = tempfile::tempdir().unwrap();
    let log = ledger(folder.path(), 3);
    let head = log.head().unwrap();
    let never = || -> String { unreachable!("no time is needed for what is there") };
    let again = log.append(vec![entry(2), entry(0)], &never).unwrap();
    assert_eq!([again[0].index, again[1].index], [2, 0]);
    let fresh = Ledger::open(folder.path()).unwrap();
    assert_eq!(fresh.append(vec![entry(1)], &never).unwrap()[0].index, 1);
    assert_eq!(fresh.head().unwrap(), head);
    // Twice in one call is once; another kind, cycle or candidate is another entry.
    let other = NewEntry { candidate: None, ..entry(0) };
    let revoked = NewEntry { kind: EntryKind::Rollback, ..entry(0) };
    let later = NewEntry { cycle: "autumn".parse().unwrap(), ..entry(0) };
    let leaves = fresh.append(vec![other.clone(), revoked, later, other], &noon).unwrap();
    assert_eq!(leaves.iter().map(|leaf| leaf.index).collect::<Vec<_>>(), [3, 4, 5, 3]);
    assert_eq!(log.find_record(entry(0).record).unwrap().len(), 4);
    assert_eq!(log.find_record(Sha256::of(b"none")).unwrap(), []);
    assert_eq!(log.leaves().unwrap().iter().map(|leaf| leaf.index).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn one_record_cannot_mean_two_things() {
    let folder = tempfile::tempdir().unwrap();
    let log = ledger(folder.path(), 3);
    let changed = NewEntry { subject: None, ..entry(1) };
    let error = log.append(vec![changed], &noon).unwrap_err();
    assert!(matches!(error, LedgerError::Conflict { index: 1 }), "{error}");
    assert_eq!(log.check(None).unwrap().head.size, 3);
}

#[test]
fn a_bad_entry_stops_the_whole_batch() {
    let folder = tempfile::tempdir().unwrap();
    let log = ledger(folder.path(), 1);
    let bad = NewEntry { predicate_type: "x".repeat(513), ..entry(2) };
    let error = log.append(vec![entry(1), bad], &noon).unwrap_err();
    assert!(matches!(error, LedgerError::Malformed { index: 2, .. }), "{error}");
    let error = log.append(vec![entry(1)], &|| "yesterday".to_owned()).unwrap_err();
    assert!(error.to_string().contains("RFC 3339"), "{error}");
    assert_eq!(log.check(None).unwrap().head.size, 1);
}

#[test]
fn an_empty_ledger_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let log = Ledger::open(folder.path().join("none")).unwrap();
    assert_eq!(log.head().unwrap(), Head::empty(DEFAULT_ORIGIN));
    assert_eq!(log.leaves().unwrap(), []);
    assert_eq!(log.check(None).unwrap().head.size, 0);
    assert_eq!(log.append(Vec::new(), &noon).unwrap(), []);
    assert!(Ledger::open_as(folder.path(), "two words").is_err());
}

#[test]
fn the_origin_asked_for_is_the_origin_found() {
    let folder = tempfile::tempdir().unwrap();
    let log = Ledger::open_as(folder.path(), "example.org/a").unwrap();
    log.append(vec![entry(0)], &noon).unwrap();
    assert_eq!(Ledger::open(folder.path()).unwrap().head().unwrap().origin, "example.org/a");
    let error = Ledger::open_as(folder.path(), "example.org/b").unwrap_err();
    assert!(matches!(error, LedgerError::Origin { .. }), "{error}");
}

/// The states after a crash between the first entry byte and the checkpoint: some of the new files,
/// the last of them cut.
#[test]
fn what_an_interrupted_append_left_is_taken_away_by_the_next() {
    for before in [0, 3, 255, 256] {
        let undisturbed = tempfile::tempdir().unwrap();
        let log = ledger(undisturbed.path(), before);
        let old = snapshot(undisturbed.path());
        let old_head = log.head().unwrap();
        log.append((before..before + 300).map(entry).collect(), &noon).unwrap();
        let new = snapshot(undisturbed.path());
        let is_new = |path: &PathBuf| !old.contains_key(path) && !path.ends_with(CHECKPOINT_FILE);
        let added: Vec<_> = new.iter().filter(|(path, _)| is_new(path)).collect();
        for keep in 1..=added.len() {
            for cut in [0, 1, 500, usize::MAX] {
                let folder = tempfile::tempdir().unwrap();
                put(folder.path(), &old);
                if before == 0 {
                    let note = Note::unsigned(old_head.to_text()).to_text();
                    std::fs::write(folder.path().join(CHECKPOINT_FILE), note).unwrap();
                }
                for (at, (path, bytes)) in added.iter().take(keep).enumerate() {
                    let end = if at + 1 == keep { cut.min(bytes.len()) } else { bytes.len() };
                    put(folder.path(), &BTreeMap::from([((*path).clone(), bytes[..end].to_vec())]));
                }
                let hurt = Ledger::open(folder.path()).unwrap();
                let report = hurt.check(None).unwrap();
                assert_eq!((report.head, report.unfinished_files), (old_head.clone(), keep as u64));
                hurt.append((before..before + 300).map(entry).collect(), &noon).unwrap();
                assert_eq!(hurt.check(None).unwrap().unfinished_files, 0);
                assert!(snapshot(folder.path()) == new, "same bytes as an undisturbed run");
            }
        }
    }
}

/// Every file of a ledger but the lock.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(at).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("lock") {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                files.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    files
}

fn put(folder: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for (path, bytes) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_shorter_append_removes_the_files_of_a_longer_interrupted_one() {
    let folder = tempfile::tempdir().unwrap();
    let log = ledger(folder.path(), 2);
    let old = snapshot(folder.path());
    log.append((2..700).map(entry).collect(), &noon).unwrap();
    put(folder.path(), &old);
    let fresh = Ledger::open(folder.path()).unwrap();
    assert!(fresh.check(None).unwrap().unfinished_files >= 6);
    fresh.append(vec![entry(2)], &noon).unwrap();
    assert_eq!(fresh.check(None).unwrap().unfinished_files, 0);
    assert!(!folder.path().join("tile/entries/000").exists());
    // The one that saw the longer log does not take the shorter one for its own.
    let error = log.append(vec![entry(900)], &noon).unwrap_err();
    assert!(matches!(error, LedgerError::RolledBack { remembered: 700, found: 3 }), "{error}");
}

#[test]
fn a_checkpoint_is_signed_where_there_is_a_key_and_must_be_where_one_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let key = || SecretKey::from_seed(&[1; 32]);
    ledger(folder.path(), 2);
    let strict = || Ledger::open(folder.path()).unwrap().trusting(vec![key().public()]);
    for error in [
        strict().check(None).unwrap_err(),
        strict().leaves().unwrap_err(),
        strict().signing(key()).append(vec![entry(5)], &noon).unwrap_err(),
    ] {
        assert!(matches!(error, LedgerError::Unsigned { size: 2 }), "{error}");
    }
    // Somebody looks, and signs what they found.
    let sign = |head: &Head, note: &mut Note| note.sign(&head.origin, &key());
    Ledger::open(folder.path()).unwrap().endorse(None, &sign).unwrap();
    let report = strict().check(None).unwrap();
    assert!(report.signed);
    assert_eq!(report.signatures, [DEFAULT_ORIGIN]);
    strict().signing(key()).append(vec![entry(5)], &noon).unwrap();
    assert!(strict().check(None).unwrap().signed);
    // Another key's signature is none, and a changed one is worse.
    let stranger =
        Ledger::open(folder.path()).unwrap().trusting(vec![SecretKey::from_seed(&[2; 32]).public()]);
    assert!(matches!(stranger.check(None), Err(LedgerError::Unsigned { .. })));
    ledger(&folder.path().join("other"), 3);
    let path = folder.path().join(CHECKPOINT_FILE);
    let signed = std::fs::read_to_string(&path).unwrap();
    let text = std::fs::read_to_string(folder.path().join("other").join(CHECKPOINT_FILE)).unwrap();
    std::fs::remove_dir_all(folder.path().join("other")).unwrap();
    let forged = format!(
        "{}{}",
        text.trim_end_matches('\n').to_owned() + "\n\n",
        signed.split_once("\n\n").unwrap().1
    );
    std::fs::write(&path, forged).unwrap();
    assert!(matches!(strict().check(None), Err(LedgerError::BadSignature { .. })));
}

#[test]
fn a_signed_log_does_not_go_on_unsigned() {
    let folder = tempfile::tempdir().unwrap();
    let log = || Ledger::open(folder.path()).unwrap();
    let key = || SecretKey::from_seed(&[1; 32]);
    ledger(folder.path(), 1);
    log().endorse(None, &|_, note| note.cosign("witness", &key(), 1)).unwrap();
    log().append(vec![entry(1)], &noon).unwrap();
    log().signing(key()).append(vec![entry(2)], &noon).unwrap();
    let before = snapshot(folder.path());
    let error = log().append(vec![entry(3)], &noon).unwrap_err();
    assert!(matches!(error, LedgerError::NoSigner { size: 3 }), "{error}");
    assert!(snapshot(folder.path()) == before);
    // What is there already needs no signature.
    assert_eq!(log().append(vec![entry(2)], &noon).unwrap()[0].index, 2);
    log().signing(key()).append(vec![entry(3)], &noon).unwrap();
}

#[test]
fn a_lost_head_stops_everything() {
    let folder = tempfile::tempdir().unwrap();
    let log = ledger(folder.path(), 2);
    std::fs::remove_file(folder.path().join(CHECKPOINT_FILE)).unwrap();
    assert!(matches!(log.check(None), Err(LedgerError::HeadMissing { .. })));
    assert!(matches!(Ledger::open(folder.path()), Err(LedgerError::HeadMissing { .. })));
    assert!(matches!(log.append(vec![entry(5)], &noon), Err(LedgerError::HeadMissing { .. })));
}

#[test]
fn a_writer_with_a_memory_does_not_extend_an_older_log() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("log");
    let memory = || Memory::at(folder.path().join("heads"));
    let log = Ledger::open(&place).unwrap().remembering(memory());
    log.append((0..5).map(entry).collect(), &noon).unwrap();
    let old = std::fs::read(place.join(CHECKPOINT_FILE)).unwrap();
    log.append((5..9).map(entry).collect(), &noon).unwrap();
    std::fs::write(place.join(CHECKPOINT_FILE), old).unwrap();
    let fresh = Ledger::open(&place).unwrap().remembering(memory());
    let error = fresh.append(vec![entry(20)], &noon).unwrap_err();
    assert!(matches!(error, LedgerError::RolledBack { remembered: 9, found: 5 }), "{error}");
    // The entries are still there, for whoever puts the head back.
    assert!(place.join("tile/entries/000.p/9").exists());

    std::fs::remove_dir_all(&place).unwrap();
    ledger(&place, 0).append((1..30).map(entry).collect(), &noon).unwrap();
    let fresh = Ledger::open(&place).unwrap().remembering(memory());
    let error = fresh.append(vec![entry(50)], &noon).unwrap_err();
    assert!(matches!(error, LedgerError::Replaced { size: 9, .. }), "{error}");
}

#[test]
fn a_reader_with_a_memory_does_not_read_an_older_or_other_log() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("log");
    let reader = || Ledger::open(&place).unwrap().remembering(Memory::at(folder.path().join("heads")));
    let answers = |log: &Ledger| {
        [
            log.leaves().map(drop),
            log.find_records(&[entry(0).record]).map(drop),
            log.prove(0).map(drop),
            log.refuse_led_back(),
        ]
    };
    reader().append((0..300).map(entry).collect(), &noon).unwrap();
    let old = snapshot(&place);
    reader().append((300..700).map(entry).collect(), &noon).unwrap();
    let new = snapshot(&place);
    // Whoever has seen less has nothing against a log that only grew.
    Memory::at(folder.path().join("early")).remember(&head_of(&old)).unwrap();
    let early = Ledger::open(&place).unwrap().remembering(Memory::at(folder.path().join("early")));
    answers(&early).into_iter().for_each(Result::unwrap);
    answers(&reader()).into_iter().for_each(Result::unwrap);

    std::fs::remove_dir_all(&place).unwrap();
    put(&place, &old);
    for answer in answers(&reader()) {
        let error = answer.unwrap_err();
        assert!(matches!(error, LedgerError::RolledBack { remembered: 700, found: 300 }), "{error}");
    }
    std::fs::remove_dir_all(&place).unwrap();
    for answer in answers(&reader()) {
        let error = answer.unwrap_err();
        assert!(matches!(error, LedgerError::RolledBack { remembered: 700, found: 0 }), "{error}");
    }
    for numbers in [1..701, 1..900] {
        std::fs::remove_dir_all(&place).ok();
        ledger(&place, 0).append(numbers.map(entry).collect(), &noon).unwrap();
        for answer in answers(&reader()) {
            let error = answer.unwrap_err();
            assert!(matches!(error, LedgerError::Replaced { size: 700, .. }), "{error}");
        }
    }
    std::fs::remove_dir_all(&place).unwrap();
    put(&place, &new);
    answers(&reader()).into_iter().for_each(Result::unwrap);
}

/// The head of a snapshot.
fn head_of(files: &BTreeMap<PathBuf, Vec<u8>>) -> Head {
    let note = std::str::from_utf8(&files[Path::new(CHECKPOINT_FILE)]).unwrap();
    Head::from_text(&Note::parse(note).unwrap().text).unwrap()
}

#[test]
fn threads_with_their_own_handles_share_one_log() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let place = folder.path();
            scope.spawn(move || {
                let log = Ledger::open(place).unwrap();
                for number in 0..10 {
                    // Half of what each appends is appended by every other, too.
                    let own = entry(1000 * (thread + 1) + number);
                    let leaves = log.append(vec![entry(number), own], &noon).unwrap();
                    assert_eq!(leaves.len(), 2);
                }
            });
        }
    });
    assert_eq!(Ledger::open(folder.path()).unwrap().check(None).unwrap().head.size, 50);
}

const CHILD: &str = "STUDBOOK_TEST_LEDGER";

/// Not a test of its own: what the processes started by the tests below do.
#[test]
#[ignore = "run by other tests in a process of its own"]
fn child_process() {
    let Ok(value) = std::env::var(CHILD) else { return };
    let (first, place) = value.split_once(':').unwrap();
    let first: usize = first.parse().unwrap();
    let log = Ledger::open(place).unwrap();
    for number in first..first + 10 {
        log.append(vec![entry(number)], &noon).unwrap();
    }
}

fn child(place: &Path, first: usize, fault: Option<&str>) -> std::process::Child {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "ledger::log::tests::child_process", "--ignored", "--quiet"]);
    command.env(CHILD, format!("{first}:{}", place.display()));
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    match fault {
        Some(fault) => command.env("STUDBOOK_FAULT", fault),
        None => command.env_remove("STUDBOOK_FAULT"),
    };
    command.spawn().unwrap()
}

#[test]
fn processes_share_one_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut children = [0, 5, 100].map(|first| child(folder.path(), first, None));
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    // 0..10 and 5..15 overlap by five.
    assert_eq!(Ledger::open(folder.path()).unwrap().check(None).unwrap().head.size, 25);
}

#[test]
fn killed_at_any_fault_point_it_ends_with_the_same_bytes() {
    let undisturbed = tempfile::tempdir().unwrap();
    assert!(child(undisturbed.path(), 0, None).wait().unwrap().success());
    for point in
        ["ledger-entry-written", "ledger-tile-written", "ledger-head-written", "file-written", "file-renamed"]
    {
        for (time, how) in [(1, "kill"), (4, "kill"), (1, "full"), (4, "full")] {
            let folder = tempfile::tempdir().unwrap();
            let fault = format!("{point}:{time}:{how}");
            assert!(!child(folder.path(), 0, Some(&fault)).wait().unwrap().success(), "{fault}");
            Ledger::open(folder.path()).unwrap().check(None).unwrap();
            assert!(child(folder.path(), 0, None).wait().unwrap().success());
            assert!(snapshot(folder.path()) == snapshot(undisturbed.path()), "{fault}");
        }
    }
}
