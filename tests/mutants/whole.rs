//! Mutants of whole stores, registries and dossiers, signed by a key for every role.
//!
//! A file of it is changed, removed, swapped with another or given another's bytes, and everything is
//! verified in this process. For dossiers there is a better forger, too: one who changes what a record says,
//! then mends every digest that names it, in all records, and writes page, card, bill of materials, crate
//! and sums again. What is left to find that forger are signatures and the log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use studbook::base::canonical;
use studbook::base::digest::{Digest, Sha256};
use studbook::base::key::WriteKey;
use studbook::dossier::{self, Evidence, folder, layout};
use studbook::engine::compile::compile;
use studbook::engine::verify::{self, Checked};
use studbook::stage::Action;
use studbook::store::Store;
use studbook::trust::{Custody, Trust};

use crate::space::Space;
use crate::{Dice, Tally, files, mutate, mutate_document};

const STORE_MUTANTS: u64 = 160;
const REMEMBERED_MUTANTS: u64 = 60;
const DOSSIER_MUTANTS: u64 = 700;
const FORGED_DOSSIERS: u64 = 120;

/// A cycle that was run with a key for every role, everything in it decided.
pub(crate) fn signed() -> Space {
    let space = Space::new();
    let plan = space.read("plan.toml") + "\n[registry]\nexpires = \"2027-06-30T00:00:00Z\"\n";
    space.write("plan.toml", plan.as_bytes());
    for role in ["producer", "evaluator", "promoter", "log", "registry", "model"] {
        space.studbook(&["keys", "new", role, "--trust", "trust.toml"]).exits(0);
    }
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space.studbook(&["attest", "plan.toml", "ties", "--gate", "release", "--by", "ada"]).exits(0);
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(0);
    space
}

fn verdict(findings: &[Checked]) -> Result<(), String> {
    match findings.iter().find(|checked| !checked.ok) {
        Some(failed) => Err(format!("{}: {}", failed.what.split(':').next().unwrap(), failed.finding)),
        None => Ok(()),
    }
}

fn verify_plan(space: &Space) -> Result<(), String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let store = Store::open(&space.path(".studbook")).map_err(|error| told(&error))?;
    let custody = Custody::of(&space.path("."), None).map_err(|error| told(&error))?;
    let store = Arc::new(store.kept_by(custody));
    let (plan, _) = studbook::plan::load(&space.path("plan.toml"), &store).map_err(|error| told(&error))?;
    let graph = compile(&plan);
    let options = verify::Options { now: "2026-01-01T00:00:00Z".to_owned(), ..verify::Options::default() };
    verdict(&verify::verify(&graph, &store, &options, &mut |_| {}).map_err(|error| told(&error))?)
}

/// The files of a store that something rests on: the results of the cycle's stages with all their blobs,
/// what was brought, what was signed, the ledger, what is remembered of it, the registry, and what that was
/// published as. Views, the log of runs, stamps and explanations are made again from these.
fn load_bearing(space: &Space) -> Vec<PathBuf> {
    let store = Store::open(&space.path(".studbook")).unwrap();
    let mut found = BTreeSet::new();
    for event in store.last_events(&"tiny".parse().unwrap()).unwrap().values() {
        let action: Action = canonical::from_slice(&store.read(&event.action).unwrap()).unwrap();
        let key = action.action_key();
        let Some(result) = store.recorded(&key).unwrap() else { continue };
        let hex = key.to_hex();
        found.insert(space.path(&format!(".studbook/actions/{}/{}", &hex[..2], &hex[2..])));
        found.extend(result.outputs.values().map(|blob| store.object_path(&blob.digest)));
    }
    // What was signed of an earlier run's records is nothing that this one rests on.
    let blobs: Vec<PathBuf> = found.iter().cloned().collect();
    let signed = |blob: &PathBuf| {
        let record = Sha256::of(&std::fs::read(blob).unwrap());
        space.path(&format!(".studbook/attestations/{record}.json"))
    };
    found.extend(blobs.iter().map(signed));
    for folder in ["evidence", "ledger", "registry"] {
        found.extend(files(&space.path(&format!(".studbook/{folder}"))));
    }
    found.extend(remembered(space));
    // A lock says nothing.
    let is_lock = |path: &PathBuf| path.ends_with("lock") || path.ends_with(".lock");
    found.into_iter().filter(|path| path.is_file() && !is_lock(path)).collect()
}

/// The heads that were accepted, and what the registry was published as.
fn remembered(space: &Space) -> Vec<PathBuf> {
    let mut found = files(&space.path(".studbook/releases"));
    assert!(found.len() > 1, "a record and a root");
    found.push(space.path(HEADS));
    found
}

/// What is remembered of the ledger. It may be gone: that is a first look, and said to be one.
const HEADS: &str = ".studbook/heads";

/// Whether this is a partial file of the ledger beside a wider one. It must be right, but it may be gone:
/// nothing says how large earlier checkpoints were, so nobody can know that there was one.
fn is_superseded(path: &Path) -> bool {
    let width = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let folder = path.parent().unwrap();
    folder.extension().is_some_and(|name| name == "p")
        && files(folder).iter().any(|other| width(other) > width(path))
}

/// Puts one file in another state and back.
pub(crate) fn with_changed<T>(path: &Path, bytes: Option<&[u8]>, look: impl FnOnce() -> T) -> T {
    let before = std::fs::read(path).unwrap();
    std::fs::remove_file(path).unwrap();
    if let Some(bytes) = bytes {
        std::fs::write(path, bytes).unwrap();
    }
    let seen = look();
    if bytes.is_some() {
        std::fs::remove_file(path).unwrap();
    }
    std::fs::write(path, before).unwrap();
    seen
}

#[test]
fn no_mutant_of_a_store_is_accepted() {
    let space = signed();
    verify_plan(&space).unwrap();
    let all = load_bearing(&space);
    let mut tally = Tally::default();
    for mutant in 0..STORE_MUTANTS {
        let mut dice = Dice::new("store", mutant);
        let path = &all[dice.below(all.len())];
        let other = &all[dice.below(all.len())];
        let good = std::fs::read(path).unwrap();
        let changed = match dice.below(6) {
            0 if !is_superseded(path) && !path.ends_with(HEADS) => None,
            1 => Some(std::fs::read(other).unwrap()),
            _ => Some(mutate(&good, &std::fs::read(other).unwrap(), &mut dice)),
        };
        if changed.as_ref() == Some(&good) {
            tally.unchanged += 1;
            continue;
        }
        let verdict = with_changed(path, changed.as_deref(), || verify_plan(&space));
        tally.note(|| format!("{mutant}: {}", path.display()), verdict);
    }
    verify_plan(&space).unwrap();
    tally.none_accepted(STORE_MUTANTS, 6);
}

#[test]
fn no_mutant_of_what_is_remembered_is_accepted() {
    let space = signed();
    let mut tally = Tally::default();
    let all = remembered(&space);
    for mutant in 0..REMEMBERED_MUTANTS {
        let mut dice = Dice::new("remembered", mutant);
        let path = &all[mutant as usize % all.len()];
        let good = std::fs::read(path).unwrap();
        let other = std::fs::read(&all[dice.below(all.len())]).unwrap();
        let changed = match dice.below(6) {
            0 if !path.ends_with(HEADS) => None,
            1 => Some(other),
            _ => Some(mutate(&good, &other, &mut dice)),
        };
        if changed.as_ref() == Some(&good) {
            tally.unchanged += 1;
            continue;
        }
        let verdict = with_changed(path, changed.as_deref(), || verify_plan(&space));
        tally.note(|| format!("{mutant}: {}", path.display()), verdict);
    }
    verify_plan(&space).unwrap();
    tally.none_accepted(REMEMBERED_MUTANTS, 4);
}

fn options(space: &Space) -> dossier::Options {
    let trust = Some(Trust::load(&space.path("trust.toml")).unwrap());
    dossier::Options { trust, ..dossier::Options::default() }
}

fn verify_dossier(folder: &Path, options: &dossier::Options) -> Result<(), String> {
    verdict(&dossier::verify(folder, options, &mut |_| {}).map_err(|error| error.to_string())?)
}

#[test]
fn no_mutant_of_a_dossier_is_accepted() {
    let space = signed();
    for candidate in ["ties", "average"] {
        space.studbook(&["export", "plan.toml", candidate, "--out", candidate]).exits(0);
    }
    let options = options(&space);
    let (root, another) = (space.path("ties"), space.path("average"));
    verify_dossier(&root, &options).unwrap();
    let (all, others) = (files(&root), files(&another));
    let mut tally = Tally::default();
    for mutant in 0..DOSSIER_MUTANTS {
        let mut dice = Dice::new("dossier", mutant);
        let path = &all[dice.below(all.len())];
        let other = match dice.below(2) {
            0 => &all[dice.below(all.len())],
            _ => &others[dice.below(others.len())],
        };
        let (good, theirs) = (std::fs::read(path).unwrap(), std::fs::read(other).unwrap());
        let changed = match dice.below(8) {
            0 => None,
            1 => Some(theirs),
            // The same file of another candidate's dossier.
            2 => std::fs::read(another.join(path.strip_prefix(&root).unwrap())).ok(),
            _ => Some(mutate(&good, &theirs, &mut dice)),
        };
        if changed.as_ref() == Some(&good) {
            tally.unchanged += 1;
            continue;
        }
        let verdict = with_changed(path, changed.as_deref(), || verify_dossier(&root, &options));
        tally.note(|| format!("{mutant}: {}", path.display()), verdict);
    }
    verify_dossier(&root, &options).unwrap();
    // A file more, whatever it is.
    let extra = root.join("records/05-candidate/other.json");
    std::fs::copy(&all[0], &extra).unwrap();
    assert!(verify_dossier(&root, &options).unwrap_err().contains("does not belong"));
    tally.none_accepted(DOSSIER_MUTANTS, 10);
}

/// Replaces digests in every document but the signed ones until nothing changes any more.
pub(crate) fn mend(documents: &mut BTreeMap<String, Vec<u8>>, first: &str, bytes: Vec<u8>) {
    let mut changed = vec![(first.to_owned(), bytes)];
    // Records name each other in one direction only, so this ends; the bound is for a forger's circles.
    for _ in 0..200 {
        let Some((path, bytes)) = changed.pop() else { return };
        let old = documents.insert(path.clone(), bytes.clone()).unwrap_or_default();
        let names = [
            (Sha256::of(&old).to_hex(), Sha256::of(&bytes).to_hex()),
            (Digest::of(&old).to_hex(), Digest::of(&bytes).to_hex()),
        ];
        for (other, content) in documents.iter() {
            let mendable = other.ends_with(".json") && !other.starts_with("bundles/") && *other != path;
            let Ok(text) = std::str::from_utf8(content) else { continue };
            if !mendable || changed.iter().any(|(known, _)| known == other) {
                continue;
            }
            let mended = names.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
            if mended != text {
                changed.push((other.clone(), mended.into_bytes()));
            }
        }
    }
}

#[test]
fn no_forged_dossier_is_accepted() {
    let space = signed();
    for candidate in ["ties", "average"] {
        space.studbook(&["export", "plan.toml", candidate, "--out", candidate]).exits(0);
    }
    let options = options(&space);
    let good = folder::read(&space.path("ties")).unwrap();
    let others = folder::read(&space.path("average")).unwrap().documents;
    let records: Vec<&String> = good
        .documents
        .keys()
        .filter(|path| path.starts_with("records/") && path.ends_with(".json"))
        .collect();
    let mut tally = Tally::default();
    for mutant in 0..FORGED_DOSSIERS {
        let mut dice = Dice::new("forged dossier", mutant);
        let path = records[dice.below(records.len())];
        let own: Value = canonical::value_from_slice(&good.documents[path]).unwrap();
        let theirs = others.get(&path.replace("ties", "average")).unwrap_or(&good.documents[path]);
        let theirs: Value = canonical::value_from_slice(theirs).unwrap();
        let Ok(bytes) = canonical::to_vec(&mutate_document(&own, &theirs, &mut dice)) else {
            tally.unchanged += 1;
            continue;
        };
        if bytes == good.documents[path] {
            tally.unchanged += 1;
            continue;
        }
        let mut forged = good.clone();
        mend(&mut forged.documents, path, bytes);
        if let Ok((evidence, _)) = Evidence::read(&forged.documents)
            && let Ok(again) = dossier::documents(&evidence, &forged)
        {
            forged.documents.extend(again.into_iter().map(|(path, bytes)| (path.to_owned(), bytes)));
        }
        let place = space.path(&format!("forged{mutant}"));
        for (path, bytes) in &forged.documents {
            space.write(&format!("forged{mutant}/{path}"), bytes);
        }
        for file in &forged.model {
            let bytes = std::fs::read(&file.path).unwrap();
            space.write(&format!("forged{mutant}/{}{}", layout::MODEL, file.name), &bytes);
        }
        tally.note(|| format!("{mutant}: {path}"), verify_dossier(&place, &options));
        std::fs::remove_dir_all(&place).unwrap();
    }
    tally.none_accepted(FORGED_DOSSIERS, 4);
}
