//! Re-hashing everything before it is served, and asking the ledger whether it may be.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::RegistryError;
use super::build::FOLDERS;
use super::selector::{
    MAX_SELECTOR, ModelFile, SELECTOR_BUDGET, Selector, SelectorEntry, manifest_path, record_path,
};
use super::site;
use crate::base::canonical;
use crate::base::digest::Sha256;
use crate::disk::IoContext;
use crate::disk::mmap::{Mapped, Stamp};
use crate::ledger::{EntryKind, Leaf, Ledger};

/// Largest manifest that is read.
pub const MAX_MANIFEST: u64 = 4 << 20;

/// A registry that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedRegistry {
    /// SHA-256 of `selector.json`.
    pub selector_sha256: Sha256,
    /// The selector.
    pub selector: Selector,
    /// Bytes of all distinct model files.
    pub model_bytes: u64,
}

/// Re-reads the registry in `folder`: every file the selector names is there, plain, and exactly
/// what it says; nothing else lies beside them.
pub fn check(folder: &Path) -> Result<CheckedRegistry, RegistryError> {
    for name in FOLDERS {
        let path = folder.join(name);
        if !std::fs::symlink_metadata(&path).at("examine", &path)?.is_dir() {
            let why = "is not a plain folder".to_owned();
            return Err(RegistryError::File { path: name.to_owned(), why });
        }
    }
    let file = open_plain(folder, "selector.json", MAX_SELECTOR)?;
    let selector = Selector::from_bytes(file.as_ref())?;
    let mut listed = BTreeSet::new();
    let mut model_bytes = 0;
    for entry in &selector.entries {
        check_entry(folder, entry)?;
        listed.insert(manifest_path(entry.manifest));
        listed.insert(record_path(entry.admission));
        listed.extend(entry.evidence.iter().map(|evidence| record_path(evidence.sha256)));
        if listed.insert(entry.model.path.clone()) {
            model_bytes += entry.model.bytes;
        }
    }
    if let Some(path) = files_in(folder)?.into_iter().find(|path| !listed.contains(path)) {
        return Err(RegistryError::Unlisted { path });
    }
    for (path, bytes) in site::files() {
        if open_plain(folder, path, bytes.len() as u64)?.as_ref() != bytes {
            let why = "is not the page of this version of studbook".to_owned();
            return Err(RegistryError::File { path: path.to_owned(), why });
        }
    }
    Ok(CheckedRegistry { selector_sha256: Sha256::of(file.as_ref()), selector, model_bytes })
}

fn check_entry(folder: &Path, entry: &SelectorEntry) -> Result<(), RegistryError> {
    let id = || entry.id.to_string();
    let model = &entry.model;
    let file = open_plain(folder, &model.path, SELECTOR_BUDGET)?;
    let bytes = file.as_ref();
    let found = ModelFile::of(bytes);
    entry.expect("the length of the model", model.bytes, found.bytes)?;
    entry.expect("the SHA-256 of the model", model.sha256, found.sha256)?;
    entry.expect("the BLAKE3 of the model", model.blake3, found.blake3)?;
    if let Some(at) = model.pieces.iter().zip(&found.pieces).position(|(named, found)| named != found) {
        entry.expect("the SHA-256 of a piece", model.pieces[at], found.pieces[at])?;
    }
    let (context, vocab) = describe_model(bytes).map_err(|why| RegistryError::Model { id: id(), why })?;
    entry.expect("the context", entry.context, context)?;
    entry.expect("the vocabulary", entry.vocab, vocab)?;

    let manifest = open_plain(folder, &manifest_path(entry.manifest), MAX_MANIFEST)?;
    entry.expect("the SHA-256 of the manifest", entry.manifest, Sha256::of(manifest.as_ref()))?;
    manifest_names(manifest.as_ref(), model).map_err(|why| RegistryError::Manifest { id: id(), why })?;
    let records = entry.evidence.iter().map(|evidence| evidence.sha256);
    for sha256 in std::iter::once(entry.admission).chain(records) {
        let record = open_plain(folder, &record_path(sha256), MAX_MANIFEST)?;
        entry.expect("the SHA-256 of a record", sha256, Sha256::of(record.as_ref()))?;
    }
    Ok(())
}

/// Maps a file that is no link, and is the one that was examined.
fn open_plain(folder: &Path, path: &str, most: u64) -> Result<Mapped, RegistryError> {
    let bad = |why: String| RegistryError::File { path: path.to_owned(), why };
    let full = folder.join(path);
    let metadata = match std::fs::symlink_metadata(&full) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(bad("is missing".to_owned()));
        }
        other => other.at("examine", &full)?,
    };
    if !metadata.is_file() {
        return Err(bad("is not a plain file".to_owned()));
    }
    if metadata.len() > most {
        return Err(bad(format!("has {} bytes, at most {most} are read", metadata.len())));
    }
    let mapped = Mapped::open(&full)?;
    if mapped.stamp() != Stamp::of(&metadata) {
        return Err(bad("changed while it was opened".to_owned()));
    }
    Ok(mapped)
}

/// Everything in the folders, as paths inside the registry, in order.
pub(super) fn files_in(folder: &Path) -> Result<Vec<String>, RegistryError> {
    let mut paths = Vec::new();
    for name in FOLDERS {
        let path = folder.join(name);
        for item in std::fs::read_dir(&path).at("list", &path)? {
            let item = item.at("list", &path)?;
            paths.push(format!("{name}/{}", item.file_name().to_string_lossy()));
        }
    }
    paths.sort();
    Ok(paths)
}

/// Context and vocabulary from the header of an SLM1 file, at the offsets its description gives.
/// The reason of a refusal is a phrase that follows "the model of X ".
pub(super) fn describe_model(bytes: &[u8]) -> Result<(u32, u32), String> {
    const HEADER: usize = 108;
    const VOCABULARY: usize = 20;
    const CONTEXT: usize = 52;
    if bytes.len() < HEADER || !bytes.starts_with(b"SLM1") {
        return Err("is not an SLM1 file".to_owned());
    }
    let field = |at: usize| {
        let word = bytes[at..].first_chunk::<4>().expect("inside the header");
        u32::from_le_bytes(*word)
    };
    let (context, vocab) = (field(CONTEXT), field(VOCABULARY));
    if context == 0 || vocab == 0 {
        return Err(format!("has a context of {context} and a vocabulary of {vocab}, expected more than 0"));
    }
    Ok((context, vocab))
}

/// Whether a manifest names the model by a digest: otherwise it is the manifest of another one.
/// The reason of a refusal is a phrase that follows "the manifest of X ".
pub(super) fn manifest_names(manifest: &[u8], model: &ModelFile) -> Result<(), String> {
    if manifest.len() as u64 > MAX_MANIFEST {
        return Err(format!("has more than {MAX_MANIFEST} bytes"));
    }
    let value = canonical::value_from_slice(manifest).map_err(|error| error.to_string())?;
    if !value.is_object() {
        return Err("is not a JSON object".to_owned());
    }
    let digests = [model.sha256.to_hex(), model.blake3.to_hex()];
    if names(&value, &digests) {
        Ok(())
    } else {
        Err(format!("names neither the SHA-256 nor the BLAKE3 of the model {}", model.sha256.short()))
    }
}

fn names(value: &Value, digests: &[String; 2]) -> bool {
    match value {
        Value::String(text) => digests.contains(text),
        Value::Array(items) => items.iter().any(|item| names(item, digests)),
        Value::Object(members) => members.values().any(|member| names(member, digests)),
        _ => false,
    }
}

/// The entry that took an admission back, if one did.
pub fn taken_back<'l>(leaf: &Leaf, leaves: &'l [Leaf]) -> Option<&'l Leaf> {
    leaves.iter().filter(|later| later.index > leaf.index).find(|later| {
        let about = later.subject == leaf.subject
            || (later.candidate.is_some()
                && (&later.cycle, &later.candidate) == (&leaf.cycle, &leaf.candidate));
        matches!(later.kind, EntryKind::Revocation | EntryKind::Retirement) && about
    })
}

/// Refuses entries that the ledger did not admit at the index they name, for the manifest they
/// name, or whose admission was taken back later. The ledger itself is checked while it is read.
pub fn check_admissions(selector: &Selector, ledger: &Ledger) -> Result<(), RegistryError> {
    let leaves = ledger.leaves()?;
    for entry in &selector.entries {
        let id = || entry.id.to_string();
        let not_admitted = |why: &str| RegistryError::NotAdmitted {
            id: id(),
            why: format!("ledger entry {} {why}", entry.ledger_index),
        };
        let at = usize::try_from(entry.ledger_index).ok();
        let leaf = at.and_then(|at| leaves.get(at)).ok_or_else(|| not_admitted("does not exist"))?;
        if leaf.kind != EntryKind::Admission {
            return Err(not_admitted(&format!("is a {}", leaf.kind.word())));
        }
        if leaf.record != entry.admission {
            return Err(not_admitted("binds another admission record"));
        }
        if leaf.subject != Some(entry.manifest) {
            return Err(not_admitted("admits another manifest"));
        }
        if let Some(later) = taken_back(leaf, &leaves) {
            return Err(RegistryError::Revoked { id: id(), index: later.index });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::selector::{Claims, EvidenceKind, SourceKind, model_path};
    use super::super::{NewRegistryEntry, build};
    use super::*;
    use crate::base::digest::Digest;
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
            evidence: vec![(EvidenceKind::Promotion, format!("gates of {number}").into_bytes())],
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
            build(&self.registry, entries).unwrap()
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
        assert_eq!(files_in(&place.registry).unwrap().len(), 4);
        assert!(!place.registry.join(".tmp-left").exists());
        assert!(place.registry.join("notes.txt").exists(), "the rest of the site is not ours");
        assert_eq!(check(&place.registry).unwrap().selector.entries.len(), 1);
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
            let error = build(&place.registry, entries).unwrap_err();
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
        let mut accepted = Vec::new();
        for file in &built.files {
            let path = place.registry.join(&file.path);
            let good = std::fs::read(&path).unwrap();
            for at in 0..good.len() {
                let mut flipped = good.clone();
                flipped[at] ^= 1;
                let mut shorter = good.clone();
                shorter.remove(at);
                let mut longer = good.clone();
                longer.insert(at, good[at]);
                for (how, bytes) in [("flipped", flipped), ("removed", shorter), ("doubled", longer)] {
                    std::fs::write(&path, bytes).unwrap();
                    // Ids, routes, licences, admissions and indices are right in themselves when
                    // changed; the ledger and the selector's own digest tell.
                    if check(&place.registry)
                        .is_ok_and(|checked| checked.selector_sha256 == built.selector_sha256)
                    {
                        accepted.push((file.path.clone(), at, how));
                    }
                }
            }
            std::fs::write(&path, good).unwrap();
        }
        assert_eq!(accepted, []);
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
        assert!(
            matches!(swapped, RegistryError::Drift { what: "the SHA-256 of the model", .. }),
            "{swapped}"
        );
        place.build([0, 1]);
        check(&place.registry).expect("building again repairs it");

        let extra = place.registry.join(model_path(Sha256::of(b"extra")));
        std::fs::write(&extra, b"x").unwrap();
        assert!(matches!(check(&place.registry), Err(RegistryError::Unlisted { .. })));
        std::fs::remove_file(&extra).unwrap();

        let models = place.registry.join("models");
        std::fs::rename(&models, place.sources.join("models")).unwrap();
        std::os::unix::fs::symlink(place.sources.join("models"), &models).unwrap();
        assert!(matches!(check(&place.registry), Err(RegistryError::File { .. })));
        assert!(build(&place.registry, Vec::new()).is_err(), "nothing is removed through a link");
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
            edited(&|selector| selector.entries[0].context = 65)
                .contains("c0: the context is 65, expected 64")
        );
        assert!(edited(&|selector| selector.entries[0].vocab = 261).contains("the vocabulary is 261"));
        assert!(edited(&|selector| selector.entries[0].model.bytes = 299).contains("length"));
        assert!(edited(&|selector| selector.entries[0].model.blake3 = Digest::of(b"x")).contains("BLAKE3"));
        // Mix and match: each file is right, together they are not.
        let other = built.selector.entries[1].manifest;
        assert!(edited(&|selector| selector.entries[0].manifest = other).contains("names neither"));
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
        ledger.append(vec![plan], &now).unwrap();
        let mut later = built.selector.clone();
        later.entries.iter_mut().for_each(|entry| entry.ledger_index += 1);
        let refused = |selector: &Selector| check_admissions(selector, &ledger).unwrap_err().to_string();
        assert!(refused(&later).contains("c0 has no admission: ledger entry 1 does not exist"));
        ledger.append(vec![entry(0, EntryKind::Admission), entry(1, EntryKind::Refusal)], &now).unwrap();
        assert!(refused(&later).contains("ledger entry 2 is a refusal"));
        let mut selector = later.clone();
        ledger.append(vec![entry(1, EntryKind::Admission)], &now).unwrap();
        selector.entries[1].ledger_index = 3;
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
        build(&root.join("registry"), entries).unwrap();
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
}
