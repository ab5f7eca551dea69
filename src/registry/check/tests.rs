//! A folder is built, damaged, and looked at again.

use std::path::PathBuf;

use super::super::paths::model_path;
use super::super::selector::{Claims, EvidenceKind, SourceKind};
use super::super::{NewEvidence, NewRegistryEntry, build, nothing_else};
use super::*;
use crate::base::digest::Digest;
use crate::disk::damage;
use crate::ledger::NewEntry;

/// The header of an SLM1 file and something behind it; the registry reads no further.
fn model_bytes(number: u8) -> Vec<u8> {
    let mut bytes = vec![number; 300];
    bytes[..4].copy_from_slice(b"SLM1");
    bytes[20..24].copy_from_slice(&260_u32.to_le_bytes());
    bytes[52..56].copy_from_slice(&(64 + u32::from(number)).to_le_bytes());
    bytes
}

fn new_entry(sources: &Path, number: u8) -> NewRegistryEntry {
    let bytes = model_bytes(number);
    let model = sources.join(format!("{number}.bin"));
    std::fs::write(&model, &bytes).unwrap();
    let model_sha256 = Sha256::of(&bytes);
    NewRegistryEntry {
        id: format!("c{number}").parse().unwrap(),
        model,
        model_sha256,
        manifest: format!("{{\"artifact\":{{\"digest\":[\"{model_sha256}\"]}}}}").into_bytes(),
        cycle: "spring".parse().unwrap(),
        admission: format!("admission {number}").into_bytes(),
        ledger_index: u64::from(number),
        evidence: vec![NewEvidence {
            kind: EvidenceKind::Promotion,
            suite: None,
            record: format!("gates of {number}").into_bytes(),
        }],
        claims: Claims::smoke_only(SourceKind::DeterministicSmoke),
        licence: "MIT".to_owned(),
        budget_bytes: SELECTOR_BUDGET,
    }
}

struct Place {
    _folder: tempfile::TempDir,
    sources: PathBuf,
    registry: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let [sources, registry] = ["sources", "registry"].map(|name| folder.path().join(name));
    std::fs::create_dir(&sources).unwrap();
    Place { _folder: folder, sources, registry }
}

impl Place {
    fn build(&self, numbers: impl IntoIterator<Item = u8>) -> super::super::Built {
        let entries = numbers.into_iter().map(|number| new_entry(&self.sources, number)).collect();
        build(&self.registry, entries, &|_| None).unwrap()
    }
}

#[test]
fn what_is_built_holds_and_is_the_same_every_time() {
    let place = place();
    let built = place.build([2, 0, 1]);
    let checked = check(&place.registry).unwrap();
    assert_eq!((checked.selector_sha256, &checked.selector), (built.selector_sha256, &built.selector));
    assert_eq!(checked.model_bytes, 900);
    assert_eq!(built.selector.entries[2].context, 66);
    let other = self::place();
    assert_eq!(other.build([0, 1, 2]), built, "neither order nor place matter");
    for file in &built.files {
        let bytes = std::fs::read(place.registry.join(&file.path)).unwrap();
        assert_eq!((file.bytes, file.sha256), (bytes.len() as u64, Sha256::of(&bytes)), "{}", file.path);
    }
    assert_eq!(built.files.len(), 13);
}

#[test]
fn what_is_no_longer_offered_is_removed() {
    let place = place();
    place.build([0, 1]);
    std::fs::write(place.registry.join("models/.tmp-left"), b"x").unwrap();
    std::fs::write(place.registry.join(".tmp-left"), b"x").unwrap();
    std::fs::write(place.registry.join("notes.txt"), b"a note").unwrap();
    place.build([1]);
    assert_eq!(content::named_by_content(&place.registry).unwrap().len(), 4);
    assert!(!place.registry.join(".tmp-left").exists());
    // Somebody's file is not ours to remove, and not the registry's to offer.
    let checked = check(&place.registry).unwrap();
    let error = nothing_else(&place.registry, &checked.selector, None).unwrap_err();
    assert!(matches!(&error, RegistryError::Stranger { path } if path == "notes.txt"), "{error}");
    std::fs::remove_file(place.registry.join("notes.txt")).unwrap();
    nothing_else(&place.registry, &checked.selector, None).unwrap();
    assert_eq!(checked.selector.entries.len(), 1);
    assert_eq!(place.build([]).files.len(), 1);
    assert_eq!(check(&place.registry).unwrap().model_bytes, 0);
}

#[test]
fn what_must_not_be_offered_is_refused_and_nothing_is_written() {
    let place = place();
    let good = place.build([0]);
    let refused = |change: &dyn Fn(&mut NewRegistryEntry)| {
        let mut entry = new_entry(&place.sources, 1);
        change(&mut entry);
        let entries = vec![new_entry(&place.sources, 0), entry];
        let error = build(&place.registry, entries, &|_| None).unwrap_err();
        assert_eq!(check(&place.registry).unwrap().selector_sha256, good.selector_sha256);
        error
    };
    let error = refused(&|entry| entry.id = "c0".parse().unwrap());
    assert!(matches!(error, RegistryError::DuplicateId(_)), "{error}");
    let error = refused(&|entry| {
        let mut bytes = model_bytes(1);
        bytes.resize(SELECTOR_BUDGET as usize + 1, 0);
        std::fs::write(&entry.model, bytes).unwrap();
    });
    assert!(
        matches!(&error, RegistryError::OverBudget { id, bytes: 33_554_433, .. } if id == "c1"),
        "{error}"
    );
    let error = refused(&|entry| entry.budget_bytes = 299);
    assert!(matches!(error, RegistryError::OverBudget { budget: 299, .. }), "{error}");
    let error = refused(&|entry| entry.budget_bytes = SELECTOR_BUDGET + 1);
    assert!(matches!(error, RegistryError::Drift { .. }), "{error}");
    let error = refused(&|entry| entry.model_sha256 = Sha256::of(b"other"));
    assert!(error.to_string().contains("SHA-256 of the model file"), "{error}");
    let error = refused(&|entry| entry.manifest = b"{\"artifact\":\"another\"}".to_vec());
    assert!(matches!(error, RegistryError::Manifest { .. }), "{error}");
    let error = refused(&|entry| entry.manifest = b"{".to_vec());
    assert!(matches!(error, RegistryError::Manifest { .. }), "{error}");
    let error = refused(&|entry| std::fs::write(&entry.model, b"GGUF").unwrap());
    assert!(matches!(error, RegistryError::Model { .. }), "{error}");
    let error = refused(&|entry| entry.licence = "<script>".to_owned());
    assert!(matches!(error, RegistryError::Drift { what: "the licence", .. }), "{error}");
}

/// Every byte of every file: flipped, removed, doubled.
#[test]
fn no_mutant_is_accepted() {
    let place = place();
    let built = place.build([0, 1]);
    for file in &built.files {
        // Ids, routes, licences, admissions and indices are right in themselves when changed; the ledger and
        // the selector's own digest tell.
        let same = |checked: CheckedRegistry| checked.selector_sha256 == built.selector_sha256;
        let accepts = || check(&place.registry).is_ok_and(same);
        assert_eq!(damage::accepted(&place.registry.join(&file.path), accepts), [], "{}", file.path);
    }
    check(&place.registry).unwrap();
}

#[test]
fn links_extras_and_swaps_are_refused() {
    let place = place();
    let built = place.build([0, 1]);
    let [first, second] = [0, 1].map(|at| place.registry.join(&built.selector.entries[at].model.path));
    let keep = place.sources.join("keep");

    std::fs::rename(&first, &keep).unwrap();
    let missing = check(&place.registry).unwrap_err();
    assert!(matches!(&missing, RegistryError::File { why, .. } if why == "is missing"), "{missing}");
    std::os::unix::fs::symlink(&keep, &first).unwrap();
    let link = check(&place.registry).unwrap_err();
    assert!(matches!(&link, RegistryError::File { why, .. } if why.contains("plain")), "{link}");
    std::fs::remove_file(&first).unwrap();
    std::fs::copy(&second, &first).unwrap();
    let swapped = check(&place.registry).unwrap_err();
    assert!(matches!(swapped, RegistryError::Drift { what: "the SHA-256 of the model", .. }), "{swapped}");
    place.build([0, 1]);
    check(&place.registry).expect("building again repairs it");

    let extra = place.registry.join(model_path(Sha256::of(b"extra"), &"x".parse().unwrap()));
    std::fs::write(&extra, b"x").unwrap();
    assert!(matches!(check(&place.registry), Err(RegistryError::Unlisted { .. })));
    std::fs::remove_file(&extra).unwrap();

    let models = place.registry.join("models");
    std::fs::rename(&models, place.sources.join("models")).unwrap();
    std::os::unix::fs::symlink(place.sources.join("models"), &models).unwrap();
    assert!(matches!(check(&place.registry), Err(RegistryError::File { .. })));
    assert!(build(&place.registry, Vec::new(), &|_| None).is_err(), "nothing is removed through a link");
    assert_eq!(std::fs::read_dir(place.sources.join("models")).unwrap().count(), 2);
}

#[test]
fn a_wrong_description_of_a_right_file_is_refused() {
    let place = place();
    let built = place.build([0, 1]);
    let path = place.registry.join("selector.json");
    let edited = |change: &dyn Fn(&mut Selector)| {
        let mut selector = built.selector.clone();
        change(&mut selector);
        std::fs::write(&path, selector.to_bytes().unwrap()).unwrap();
        check(&place.registry).unwrap_err().to_string()
    };
    assert!(
        edited(&|selector| selector.entries[0].context = 65).contains("c0: the context is 65, expected 64")
    );
    assert!(edited(&|selector| selector.entries[0].vocab = 261).contains("the vocabulary is 261"));
    assert!(edited(&|selector| selector.entries[0].model.bytes = 299).contains("length"));
    assert!(edited(&|selector| selector.entries[0].model.blake3 = Digest::of(b"x")).contains("BLAKE3"));
    // Mix and match: each file is right, together they are not.
    let other = built.selector.entries[1].manifest;
    assert!(edited(&|selector| selector.entries[0].manifest = other).contains("c0.json is missing"));
    assert!(edited(&|selector| drop(selector.entries.pop())).contains("not named by the selector"));
}

#[test]
fn only_what_the_ledger_admits_is_served() {
    let place = place();
    let built = place.build([0, 1]);
    let ledger = Ledger::open(place.sources.join("ledger")).unwrap();
    let now = || "2026-01-31T12:00:00Z".to_owned();
    let entry = |at: usize, kind: EntryKind| NewEntry {
        kind,
        cycle: "spring".parse().unwrap(),
        candidate: Some(built.selector.entries[at].id.clone()),
        subject: Some(built.selector.entries[at].manifest),
        record: built.selector.entries[at].admission,
        predicate_type: "https://slsa.dev/verification_summary/v1".to_owned(),
        registration: kind.is_decision().then_some(0),
    };
    let plan = NewEntry { candidate: None, subject: None, ..entry(0, EntryKind::Plan) };
    ledger.append(vec![plan.clone()], &now).unwrap();
    let mut later = built.selector.clone();
    later.entries.iter_mut().for_each(|entry| entry.ledger_index += 1);
    let refused = |selector: &Selector| check_admissions(selector, &ledger).unwrap_err().to_string();
    assert!(refused(&later).contains("c0 has no admission: ledger entry 1 does not exist"));
    ledger.append(vec![entry(0, EntryKind::Admission), entry(1, EntryKind::Refusal)], &now).unwrap();
    assert!(refused(&later).contains("ledger entry 2 is a refusal"));
    let mut selector = later.clone();
    ledger.append(vec![entry(1, EntryKind::Admission)], &now).unwrap();
    selector.entries[1].ledger_index = 3;
    assert!(refused(&selector).contains("c1 was taken back by ledger entry 2"), "a refusal is the last word");

    // Another log, which never refused it.
    let ledger = Ledger::open(place.sources.join("other")).unwrap();
    ledger.append(vec![plan, entry(0, EntryKind::Admission)], &now).unwrap();
    ledger.append(vec![entry(0, EntryKind::Plan), entry(1, EntryKind::Admission)], &now).unwrap();
    let refused = |selector: &Selector| check_admissions(selector, &ledger).unwrap_err().to_string();
    assert!(refused(&selector).contains("has the default nobody, the ledger says c1"));
    selector.default = Some(selector.entries[1].id.clone());
    check_admissions(&selector, &ledger).unwrap();

    let mut other = selector.clone();
    other.entries[1].admission = Sha256::of(b"replayed");
    assert!(refused(&other).contains("another admission record"));
    let mut other = selector.clone();
    other.entries[1].manifest = selector.entries[0].manifest;
    assert!(refused(&other).contains("another manifest"));

    let taken_back =
        NewEntry { subject: None, record: Sha256::of(b"why"), ..entry(1, EntryKind::Revocation) };
    ledger.append(vec![taken_back], &now).unwrap();
    assert!(refused(&selector).contains("c1 was taken back by ledger entry 4"));
    selector.entries.pop();
    selector.default = Some(selector.entries[0].id.clone());
    check_admissions(&selector, &ledger).unwrap();
}

const CHILD: &str = "STUDBOOK_TEST_REGISTRY";

/// Not a test of its own: what the process started by the test below does.
#[test]
#[ignore = "run by another test in a process of its own"]
fn child_process() {
    let Ok(root) = std::env::var(CHILD) else { return };
    let root = PathBuf::from(root);
    let entries = [1, 2].map(|number| new_entry(&root.join("sources"), number)).to_vec();
    build(&root.join("registry"), entries, &|_| None).unwrap();
}

#[test]
fn killed_while_building_it_is_the_old_registry_or_the_new_one() {
    let reference = place();
    let new = reference.build([1, 2]);
    for (fault, finished) in [
        ("registry-file-written:1", false),
        ("registry-file-written:4", false),
        ("file-written:5", false),
        ("registry-selector-written:1", true),
    ] {
        for how in ["kill", "full"] {
            let place = place();
            let old = place.build([0]);
            let status = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "registry::check::tests::child_process", "--ignored", "--quiet"])
                .env(CHILD, place.registry.parent().unwrap())
                .env("STUDBOOK_FAULT", format!("{fault}:{how}"))
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .status()
                .unwrap();
            assert!(!status.success(), "{fault}");
            let bytes = std::fs::read(place.registry.join("selector.json")).unwrap();
            let served = if finished { &new } else { &old };
            assert_eq!(Sha256::of(&bytes), served.selector_sha256, "{fault}");
            for entry in &served.selector.entries {
                check_entry(&place.registry, entry).expect("whatever the selector names is there");
            }
            assert_eq!(place.build([1, 2]), new);
            check(&place.registry).unwrap();
        }
    }
}
