//! A registry is published, shown old, frozen, mixed and forged, and looked at.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::check::Published;
use super::document::{SPEC_VERSION, Snapshot, TargetFile, Targets, Timestamp, signed};
use super::publish::{documents, roots};
use super::*;
use crate::base::digest::Sha256;
use crate::ledger::{EntryKind, Ledger, NewEntry};
use crate::registry::paths::by_content;
use crate::registry::{RegistryError, build, snapshot};
use crate::trust::{Custody, SecretKey, Trust};

const EXPIRES: &str = "2027-06-30T00:00:00Z";
const NOW: &str = "2026-01-01T00:00:00Z";

/// The key that a seed gives, in a folder of keys.
fn key(folder: &Path, stem: &str, seed: u8) -> SecretKey {
    let key = SecretKey::from_seed(&[seed; 32]);
    let (secret, keys) = (folder.join(format!("keys/{stem}.pem")), folder.join("keys"));
    std::fs::create_dir_all(&keys).unwrap();
    std::fs::write(&secret, &*key.to_pem()).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(keys.join(format!("{stem}.pub.pem")), key.public().to_pem()).unwrap();
    key
}

struct Place {
    folder: tempfile::TempDir,
    roots: Vec<Vec<u8>>,
}

impl Place {
    /// One key for everything.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        key(folder.path(), "registry", 1);
        Self { folder, roots: Vec::new() }
    }

    fn registry(&self) -> PathBuf {
        self.folder.path().join("registry")
    }

    fn keys(&self) -> Keys {
        Keys::of(&Custody::of(self.folder.path(), None).unwrap()).unwrap().unwrap()
    }

    /// Publishes a registry without models, after one more entry of the ledger.
    fn publish(&mut self, expires: &str) -> u64 {
        let ledger = Ledger::open(self.folder.path().join("ledger")).unwrap();
        let entry = NewEntry {
            kind: EntryKind::Plan,
            cycle: "spring".parse().unwrap(),
            candidate: None,
            subject: None,
            record: Sha256::of(&ledger.head().unwrap().size.to_le_bytes()),
            predicate_type: "urn:x".to_owned(),
            registration: None,
        };
        ledger.append(vec![entry], &|| NOW.to_owned()).unwrap();
        let built = build(&self.registry(), Vec::new(), &|_| None).unwrap();
        let version = snapshot::write(&self.registry(), &ledger, &[], &built.selector).unwrap();
        self.roots = roots(std::mem::take(&mut self.roots), &self.keys(), expires).unwrap();
        let release = Release { version, expires, roots: &self.roots };
        publish(&self.registry(), &release, &self.keys()).unwrap();
        version
    }

    fn check(&self) -> Result<Option<Published>, RegistryError> {
        let selector = crate::registry::check(&self.registry())?.selector;
        let entries = snapshot::check(&self.registry(), &selector)?;
        check(&self.registry(), None, entries, NOW)
    }

    fn refused(&self) -> String {
        self.check().unwrap_err().to_string()
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        ["", "app", "metadata", "proofs"]
            .into_iter()
            .flat_map(|place| {
                let names = crate::registry::content::names_in(&self.registry(), place).unwrap();
                names
                    .into_iter()
                    .map(move |name| if place.is_empty() { name } else { format!("{place}/{name}") })
            })
            .map(|path| (path.clone(), std::fs::read(self.registry().join(path)).unwrap()))
            .collect()
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        std::fs::write(self.registry().join(path), bytes).unwrap();
    }
}

#[test]
fn what_is_published_holds_and_is_the_same_every_time() {
    let (mut place, mut other) = (Place::new(), Place::new());
    assert_eq!((place.publish(EXPIRES), other.publish(EXPIRES)), (1, 1));
    assert_eq!(place.files(), other.files());
    let published = place.check().unwrap().unwrap();
    assert_eq!((published.version, published.expires.as_str(), published.roots.len()), (1, EXPIRES, 1));
    for file in ["selector.json", "checkpoint", "ledger.jsonl", "index.html", "app/main.js", "studbook.wasm"]
    {
        assert!(published.targets.contains_key(file), "{file}");
    }
    place.publish(EXPIRES);
    assert_eq!(place.check().unwrap().unwrap().version, 2);
    let old =
        place.files().into_keys().find(|path| path.starts_with("metadata/1.") && !path.contains("root"));
    assert_eq!(old, None, "what is superseded goes");
}

#[test]
fn a_rolled_back_registry_is_refused() {
    let mut place = Place::new();
    place.publish(EXPIRES);
    let old = place.files();
    let version = place.publish(EXPIRES);
    let published = |index: u64, subject: Option<Sha256>| {
        let new = NewEntry {
            kind: EntryKind::Registry,
            cycle: "spring".parse().unwrap(),
            candidate: None,
            subject,
            record: Sha256::of(b"release"),
            predicate_type: "urn:x".to_owned(),
            registration: None,
        };
        crate::ledger::Leaf::new(new, index, Sha256::of(b""), NOW.to_owned()).unwrap()
    };
    let cycle = "spring".parse().unwrap();
    let now = place.check().unwrap();
    let selector = now.as_ref().unwrap().targets["selector.json"].hashes.sha256;
    check_release(now.as_ref(), &cycle, &[published(version - 1, Some(selector))]).unwrap();
    // Every file of the old one is right; only the ledger knows better.
    for path in place.files().keys() {
        std::fs::remove_file(place.registry().join(path)).unwrap();
    }
    old.iter().for_each(|(path, bytes)| place.put(path, bytes));
    let found = place.check().unwrap();
    let told = |found: Option<&Published>, leaves: &[crate::ledger::Leaf]| {
        check_release(found, &cycle, leaves).unwrap_err().to_string()
    };
    let why = told(found.as_ref(), &[published(version - 1, Some(selector))]);
    assert!(why.contains("version 1, the ledger says at least 2: it was rolled back"), "{why}");
    let why = told(None, &[published(version - 1, Some(selector))]);
    assert!(why.contains("is missing, but ledger entry 1 published it"), "{why}");
    let why = told(now.as_ref(), &[published(0, Some(Sha256::of(b"other")))]);
    assert!(why.contains("selector.json is not the one"), "{why}");
}

#[test]
fn a_frozen_registry_is_refused() {
    let mut place = Place::new();
    place.publish(EXPIRES);
    let at = |now: &str| check(&place.registry(), None, 1, now);
    at("2027-06-29T23:59:59Z").unwrap();
    for now in [EXPIRES, "2030-01-01T00:00:00Z", "whenever"] {
        let error = at(now).unwrap_err();
        assert!(matches!(error, RegistryError::Expired { .. }), "{error}");
        assert!(error.to_string().contains("expired on 2027-06-30"), "{error}");
    }
}

#[test]
fn metadata_that_is_mixed_and_matched_is_refused() {
    let mut place = Place::new();
    place.publish(EXPIRES);
    let old = place.files();
    place.publish(EXPIRES);
    let new = place.files();
    for (from, to) in [
        ("metadata/1.targets.json", "metadata/2.targets.json"),
        ("metadata/1.snapshot.json", "metadata/2.snapshot.json"),
    ] {
        place.put(to, &old[from]);
        assert!(place.refused().contains("is not the one that the signed metadata names"), "{to}");
        place.put(to, &new[to]);
    }
    place.put("metadata/timestamp.json", &old["metadata/timestamp.json"]);
    assert!(place.refused().contains("metadata/1.snapshot.json is missing"));
    place.put("metadata/timestamp.json", &new["metadata/timestamp.json"]);
    place.check().unwrap();
    // An old ledger under new metadata, consistent in itself.
    for file in ["checkpoint", "ledger.jsonl"] {
        place.put(file, &old[file]);
    }
    assert!(
        place.refused().contains("has version 2, but shows a ledger of 1 entries"),
        "{}",
        place.refused()
    );
}

#[test]
fn every_changed_or_added_file_is_refused() {
    let mut place = Place::new();
    place.publish(EXPIRES);
    for (path, bytes) in
        place.files().iter().filter(|(path, bytes)| !bytes.is_empty() && !path.starts_with('.'))
    {
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 2] ^= 1;
        place.put(path, &damaged);
        place.refused();
        std::fs::remove_file(place.registry().join(path)).unwrap();
        place.refused();
        place.put(path, bytes);
    }
    place.check().unwrap();
    for path in ["metadata/3.root.json", "metadata/x", &by_content("selector.json", Sha256::of(b"x"))] {
        place.put(path, b"{}");
        assert!(place.refused().contains("is not named"), "{path}: {}", place.refused());
        std::fs::remove_file(place.registry().join(path)).unwrap();
    }
}

/// Puts documents with these targets in place of the right ones, every signature right.
fn forge(place: &Place, signer: &SecretKey, targets: BTreeMap<String, TargetFile>, kind: &str) {
    let (kind, expires, spec_version) = (kind.to_owned(), EXPIRES.to_owned(), SPEC_VERSION.to_owned());
    let targets = signed(Targets { kind, expires, spec_version, targets, version: 1 }, &[signer]);
    let snapshot = signed(Snapshot::of("targets.json", &targets, 1, EXPIRES), &[signer]);
    let timestamp = signed(Timestamp::of("snapshot.json", &snapshot, 1, EXPIRES), &[signer]);
    place.put("metadata/1.targets.json", &targets);
    place.put("metadata/1.snapshot.json", &snapshot);
    place.put("metadata/timestamp.json", &timestamp);
}

#[test]
fn a_target_that_leaves_the_registry_is_refused() {
    let mut place = Place::new();
    place.publish(EXPIRES);
    let right = place.check().unwrap().unwrap().targets;
    let own = SecretKey::from_seed(&[1; 32]);
    for path in ["../secret", "%2e%2e/secret", "/etc/passwd", "app/../../secret", "models\\x"] {
        let mut targets = right.clone();
        targets.insert(path.to_owned(), TargetFile::of(b"x"));
        forge(&place, &own, targets, "targets");
        assert!(
            place.refused().contains("is no plain path inside the registry"),
            "{path}: {}",
            place.refused()
        );
    }
    let mut targets = right.clone();
    targets.remove("selector.json");
    forge(&place, &own, targets, "targets");
    assert!(place.refused().contains("selector.json"), "{}", place.refused());
    forge(&place, &own, right.clone(), "snapshot");
    assert!(place.refused().contains("is a snapshot, expected a targets"));
    forge(&place, &SecretKey::from_seed(&[2; 32]), right.clone(), "targets");
    assert!(place.refused().contains("0 of the 1 signatures"));
    forge(&place, &own, right, "targets");
    place.check().unwrap();
}

#[test]
fn another_key_needs_the_one_before() {
    let mut place = Place::new();
    place.publish(EXPIRES);
    // A registry key that is simply another one is somebody else's.
    key(place.folder.path(), "registry", 9);
    let error = roots(place.roots.clone(), &place.keys(), EXPIRES).unwrap_err();
    assert!(matches!(error, RegistryError::NoKey { .. }), "{error}");
    // The old one signs the change; then each duty has its own, and the root's can be kept elsewhere.
    key(place.folder.path(), "registry.old", 1);
    for (stem, seed) in [("registry.root", 2), ("registry.timestamp", 3)] {
        key(place.folder.path(), stem, seed);
    }
    place.publish(EXPIRES);
    let published = place.check().unwrap().unwrap();
    assert_eq!((published.roots.len(), published.root.keys.len()), (2, 3));
    for stem in ["registry.old", "registry.root"] {
        std::fs::remove_file(place.folder.path().join(format!("keys/{stem}.pem"))).unwrap();
    }
    place.publish("2027-06-01T00:00:00Z");
    assert_eq!(place.check().unwrap().unwrap().roots.len(), 2);
    let error = roots(place.roots.clone(), &place.keys(), "2028-01-01T00:00:00Z").unwrap_err();
    assert!(error.to_string().contains("root 3 cannot be signed"), "{error}");
    // The first root alone does not lead to the second without the old key's signature.
    place.put(
        "metadata/2.root.json",
        &signed(place.keys().root(2, EXPIRES), &[&SecretKey::from_seed(&[2; 32])]),
    );
    assert!(place.refused().contains("metadata/2.root.json has 0 of the 1 signatures"));
}

#[test]
fn keys_that_nobody_vouched_for_publish_nothing() {
    let mut place = Place::new();
    place.publish(EXPIRES);
    let stranger =
        Trust::entry("other", crate::trust::Role::Registry, &SecretKey::from_seed(&[7; 32]).public());
    let trust = |text: &str| Trust::parse(text, Path::new("trust.toml")).unwrap();
    let error = check(&place.registry(), Some(&trust(&stranger)), 1, NOW).unwrap_err();
    assert!(error.to_string().contains("is not in the trust file"), "{error}");
    let own = SecretKey::from_seed(&[1; 32]).public();
    let entry = Trust::entry("own", crate::trust::Role::Registry, &own);
    check(&place.registry(), Some(&trust(&entry)), 1, NOW).unwrap();
    let entry = Trust::entry("own", crate::trust::Role::Producer, &own);
    assert!(check(&place.registry(), Some(&trust(&entry)), 1, NOW).is_err(), "another role's key");
    std::fs::write(place.folder.path().join("trust.toml"), stranger).unwrap();
    assert!(Keys::of(&Custody::of(place.folder.path(), None).unwrap()).is_err());
    std::fs::remove_dir_all(place.folder.path().join("keys")).unwrap();
    assert!(Keys::of(&Custody::of(place.folder.path(), None).unwrap()).unwrap().is_none());
}

/// The bytes of `tests/fixtures/tuf_metadata.json`, which `tuf_accepts.py` beside it gives to python-tuf.
#[test]
fn python_tuf_accepts_these_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for (stem, seed) in [("registry", 1), ("registry.root", 2), ("registry.timestamp", 3)] {
        key(folder.path(), stem, seed);
    }
    let keys = Keys::of(&Custody::of(folder.path(), None).unwrap()).unwrap().unwrap();
    let files = [
        ("selector.json", &b"{\"entries\":[],\"version\":3}"[..]),
        ("models/average.slm", b"SLM1 and so on"),
    ];
    let targets = files.iter().map(|(name, bytes)| ((*name).to_owned(), TargetFile::of(bytes))).collect();
    // A root, and a second one that holds longer.
    let known =
        roots(roots(Vec::new(), &keys, "2099-01-01T00:00:00Z").unwrap(), &keys, "2100-01-01T00:00:00Z");
    let release = Release { version: 7, expires: "2100-01-01T00:00:00Z", roots: &known.unwrap() };
    let (documents, timestamp) = documents(&release, &keys, targets).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut made: BTreeMap<String, String> =
        documents.iter().map(|(path, bytes)| (path.clone(), text(bytes))).collect();
    made.insert(publish::TIMESTAMP.to_owned(), text(&timestamp));
    made.extend(files.iter().map(|(name, bytes)| (by_content(name, Sha256::of(bytes)), text(bytes))));
    let made = serde_json::to_string_pretty(&made).unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tuf_metadata.json");
    if std::env::var_os("STUDBOOK_BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    assert_eq!(made, std::fs::read_to_string(path).unwrap());
}
