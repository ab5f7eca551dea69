//! Mutants of a signed registry: of its metadata, its selector, records, models, ledger and page.
//!
//! The reader has the folder, a trust file, and remembers which publication it saw last; nothing else. One kind
//! of forger changes files; the other changes what they say, mends every digest, length and name that follows
//! from it up to the timestamp, and signs with the old signatures, with a key of his own, or with that key under
//! the trusted key's id.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use studbook::base::canonical;
use studbook::base::digest::{Digest, Sha256};
use studbook::registry::paths::{by_content, name_and_content};
use studbook::registry::{self, tuf};
use studbook::trust::{SecretKey, Trust};

use super::whole::with_changed;
use crate::space::Space;
use crate::{Dice, Tally, files, mutate, mutate_document};

const REGISTRY_MUTANTS: u64 = 500;
const FORGED_REGISTRIES: u64 = 150;
const NOW: &str = "2026-01-01T00:00:00Z";

type Tree = BTreeMap<String, Vec<u8>>;

/// A store whose registry was published twice; the first publication is kept in `old`.
fn published() -> Space {
    let space = Space::new();
    for role in ["log", "registry"] {
        space.studbook(&["keys", "new", role, "--trust", "trust.toml"]).exits(0);
    }
    let plan = space.read("plan.toml") + "\n[registry]\nexpires = \"2027-01-01\"\n";
    space.write("plan.toml", plan.as_bytes());
    for (date, out) in [("2027-01-01", "old"), ("2027-02-01", "new")] {
        space.edit("plan.toml", "2027-01-01", date);
        space.studbook(&["registry", "build", "plan.toml", "--out", out]).exits(3);
    }
    space
}

/// What a reader remembers.
struct Seen {
    version: u64,
    roots: Vec<Sha256>,
}

/// All a stranger can check, who remembers something.
fn verify(folder: &Path, trust: &Trust, seen: &Seen) -> Result<(), String> {
    let told = |error: registry::RegistryError| error.to_string();
    let found = registry::check(folder).map_err(told)?;
    let size = registry::snapshot::check(folder, &found.selector).map_err(told)?;
    match tuf::check(folder, Some(trust), size, NOW).map_err(told)? {
        None => Err("the metadata is gone".to_owned()),
        Some(published) if published.version < seen.version => {
            Err("an older publication than was seen".to_owned())
        }
        Some(published) if !published.roots.starts_with(&seen.roots) => {
            Err("other roots than were seen".to_owned())
        }
        Some(_) => Ok(()),
    }
}

/// What a reader remembers who accepted this registry.
fn seen(folder: &Path) -> Seen {
    let published = tuf::check::read(folder).unwrap().unwrap();
    Seen { version: published.version, roots: published.roots }
}

#[test]
fn no_mutant_of_a_signed_registry_is_accepted() {
    let space = published();
    let trust = Trust::load(&space.path("trust.toml")).unwrap();
    let (root, old) = (space.path("new"), space.path("old"));
    let seen = seen(&root);
    assert_eq!(seen.roots.len(), 2, "a root for each date");
    verify(&root, &trust, &seen).unwrap();
    let told = verify(&old, &trust, &seen).unwrap_err();
    assert_eq!(told, "an older publication than was seen");
    let all = files(&root);
    let mut tally = Tally::default();
    for mutant in 0..REGISTRY_MUTANTS {
        let mut dice = Dice::new("registry", mutant);
        let (path, other) = (&all[dice.below(all.len())], &all[dice.below(all.len())]);
        let (good, theirs) = (std::fs::read(path).unwrap(), std::fs::read(other).unwrap());
        let name = path.strip_prefix(&root).unwrap();
        let changed = match dice.below(8) {
            0 => None,
            1 => Some(theirs),
            // The same file of the publication before.
            2 => std::fs::read(old.join(name)).ok(),
            // What a document says, spelled canonically.
            3 | 4 => match canonical::value_from_slice(&good) {
                Ok(value) if value.is_object() => {
                    let other = std::fs::read(old.join(name)).ok();
                    let other = other.and_then(|bytes| canonical::value_from_slice(&bytes).ok());
                    let other = other.unwrap_or_else(|| value.clone());
                    canonical::to_vec(&mutate_document(&value, &other, &mut dice)).ok()
                }
                _ => Some(mutate(&good, &theirs, &mut dice)),
            },
            _ => Some(mutate(&good, &theirs, &mut dice)),
        };
        if changed.as_ref() == Some(&good) {
            tally.unchanged += 1;
            continue;
        }
        let verdict = with_changed(path, changed.as_deref(), || verify(&root, &trust, &seen));
        tally.note(|| format!("{mutant}: {}", name.display()), verdict);
    }
    verify(&root, &trust, &seen).unwrap();
    tally.none_accepted(REGISTRY_MUTANTS, 10);
}

/// How the forger signs.
#[derive(Clone, Copy)]
enum Hand {
    /// As it was signed before.
    Old,
    /// By a key that the root does not name.
    Own,
    /// By that key, under the id of the one that the root names.
    OwnAsTrusted,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One document of the metadata, signed by the forger.
fn sign(document: &mut Value, hand: Hand) -> Vec<u8> {
    let key = SecretKey::from_seed(&[77; 32]);
    let message = canonical::to_vec(&document["signed"]).unwrap();
    let own = tuf::document::Key::of(&key.public()).id().to_hex();
    let trusted = document["signatures"][0]["keyid"].as_str().unwrap().to_owned();
    let signature = hex(&key.sign(&message));
    match hand {
        Hand::Old => {}
        Hand::Own => document["signatures"] = json!([{ "keyid": own, "sig": signature }]),
        Hand::OwnAsTrusted => document["signatures"] = json!([{ "keyid": trusted, "sig": signature }]),
    }
    canonical::to_vec(document).unwrap()
}

/// Puts `bytes` in the place of a target and mends whatever follows, first in what the selector and records
/// name, then in the metadata.
fn forge(good: &Tree, target: &str, bytes: Vec<u8>, hand: Hand) -> Tree {
    let parse = |tree: &Tree, path: &str| -> Value { serde_json::from_slice(&tree[path]).unwrap() };
    let mut timestamp = parse(good, "metadata/timestamp.json");
    let version = timestamp["signed"]["version"].as_u64().unwrap();
    let paths = ["targets", "snapshot"].map(|name| format!("metadata/{version}.{name}.json"));
    let (mut targets, mut snapshot) = (parse(good, &paths[0]), parse(good, &paths[1]));
    // What every target is now, by name.
    let listed = targets["signed"]["targets"].as_object().unwrap().clone();
    let sha256 = |entry: &Value| -> Sha256 { entry["hashes"]["sha256"].as_str().unwrap().parse().unwrap() };
    let mut contents: Tree = listed
        .iter()
        .map(|(name, entry)| (name.clone(), good[&by_content(name, sha256(entry))].clone()))
        .collect();
    let mut changed = vec![(target.to_owned(), bytes)];
    for _ in 0..50 {
        let Some((name, bytes)) = changed.pop() else { break };
        let before = contents.insert(name.clone(), bytes.clone()).unwrap_or_default();
        let names = [
            (Sha256::of(&before).to_hex(), Sha256::of(&bytes).to_hex()),
            (Digest::of(&before).to_hex(), Digest::of(&bytes).to_hex()),
        ];
        for (other, content) in &contents {
            let Ok(text) = std::str::from_utf8(content) else { continue };
            let mended = names.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
            if *other != name && mended != text && !changed.iter().any(|(known, _)| known == other) {
                changed.push((other.clone(), mended.into_bytes()));
            }
        }
    }
    let mut tree: Tree = good
        .iter()
        .filter(|(path, _)| path.starts_with("metadata/") && path.contains("root"))
        .map(|(path, bytes)| (path.clone(), bytes.clone()))
        .collect();
    for (name, bytes) in &contents {
        let entry = json!({ "hashes": { "sha256": Sha256::of(bytes) }, "length": bytes.len() });
        targets["signed"]["targets"][name] = entry;
        tree.insert(by_content(name, Sha256::of(bytes)), bytes.clone());
        if good.contains_key(name) {
            tree.insert(name.clone(), bytes.clone());
        }
    }
    let described = |bytes: &[u8]| json!({ "hashes": { "sha256": Sha256::of(bytes) }, "length": bytes.len(), "version": version });
    let bytes = sign(&mut targets, hand);
    snapshot["signed"]["meta"]["targets.json"] = described(&bytes);
    tree.insert(paths[0].clone(), bytes);
    let bytes = sign(&mut snapshot, hand);
    timestamp["signed"]["meta"]["snapshot.json"] = described(&bytes);
    tree.insert(paths[1].clone(), bytes);
    let bytes = sign(&mut timestamp, hand);
    tree.insert("metadata/timestamp.json".to_owned(), bytes);
    tree
}

#[test]
fn no_forged_registry_is_accepted() {
    let space = published();
    let trust = Trust::load(&space.path("trust.toml")).unwrap();
    let good: Tree = space.files("new");
    let seen = seen(&space.path("new"));
    // What there is to ask for, each once: those named by content, and those with a name for ever.
    let is_copy = |path: &str| name_and_content(path).is_some_and(|(name, _)| good.contains_key(&name));
    let targets: Vec<String> = good
        .keys()
        .filter(|path| !path.starts_with("metadata/") && !is_copy(path))
        .map(|path| name_and_content(path).map_or(path.clone(), |(name, _)| name))
        .collect();
    let content = |name: &String| {
        let found = good.iter().find(|(path, _)| {
            *path == name || name_and_content(path).is_some_and(|(target, _)| target == *name)
        });
        found.unwrap().1.clone()
    };
    // Mended without any change it is the good one: the forger's tools are not what is refused.
    let same = forge(&good, "selector.json", good["selector.json"].clone(), Hand::Old);
    assert!(same == good, "{:?}", good.keys().filter(|path| !same.contains_key(*path)).collect::<Vec<_>>());
    let mut tally = Tally::default();
    for mutant in 0..FORGED_REGISTRIES {
        let mut dice = Dice::new("forged registry", mutant);
        let name = &targets[dice.below(targets.len())];
        let hand = [Hand::Old, Hand::Own, Hand::OwnAsTrusted][dice.below(3)];
        let own = content(name);
        let changed = match canonical::value_from_slice(&own) {
            Ok(value) if value.is_object() => {
                canonical::to_vec(&mutate_document(&value, &value, &mut dice)).unwrap_or_default()
            }
            _ => mutate(&own, &content(&targets[dice.below(targets.len())]), &mut dice),
        };
        if changed == own {
            tally.unchanged += 1;
            continue;
        }
        let place = format!("forged{mutant}");
        for (path, bytes) in forge(&good, name, changed, hand) {
            space.write(&format!("{place}/{path}"), &bytes);
        }
        let folder = space.path(&place);
        tally.note(|| format!("{mutant}: {name}"), verify(&folder, &trust, &seen));
        std::fs::remove_dir_all(folder).unwrap();
    }
    tally.none_accepted(FORGED_REGISTRIES, 4);
}
