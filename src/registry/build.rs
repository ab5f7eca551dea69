//! Writing the folder: everything is checked before anything is written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::RegistryError;
use super::check::{describe_model, manifest_names};
use super::paths::{FOLDERS, admission_path, evidence_path, manifest_path};
use super::selector::{
    Claims, Evidence, EvidenceKind, FORMAT, ModelFile, SELECTOR_BUDGET, SELECTOR_VERSION, Selector,
    SelectorEntry,
};
use super::site;
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::disk::lock::Lock;
use crate::disk::mmap::Mapped;
use crate::disk::{IoContext, atomic, fault, plain};

/// What to offer: an admitted candidate and where its parts are.
#[derive(Debug, Clone)]
pub struct NewRegistryEntry {
    /// Unique in the registry.
    pub id: Name,
    /// The cycle that made it.
    pub cycle: Name,
    /// The model file to copy.
    pub model: PathBuf,
    /// The SHA-256 it was admitted under.
    pub model_sha256: Sha256,
    /// The candidate manifest's bytes. Somewhere it must name the model's SHA-256 or BLAKE3.
    pub manifest: Vec<u8>,
    /// The admission record's bytes.
    pub admission: Vec<u8>,
    /// Where the ledger says so.
    pub ledger_index: u64,
    /// The records to show with it.
    pub evidence: Vec<NewEvidence>,
    /// What is claimed about it.
    pub claims: Claims,
    /// SPDX licence expression.
    pub licence: String,
    /// Most bytes its model may have; at most [`SELECTOR_BUDGET`].
    pub budget_bytes: u64,
}

/// A record to show with an entry.
#[derive(Debug, Clone)]
pub struct NewEvidence {
    /// What it is.
    pub kind: EvidenceKind,
    /// What an evaluation measured on.
    pub suite: Option<Name>,
    /// Its bytes.
    pub record: Vec<u8>,
}

impl NewEvidence {
    fn described(&self) -> Evidence {
        Evidence { kind: self.kind, suite: self.suite.clone(), sha256: Sha256::of(&self.record) }
    }
}

/// A registry as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// SHA-256 of `selector.json`.
    pub selector_sha256: Sha256,
    /// The selector.
    pub selector: Selector,
    /// Every file the registry consists of, by path.
    pub files: Vec<BuiltFile>,
}

/// One file of a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BuiltFile {
    /// Inside the registry.
    pub path: String,
    /// Length.
    pub bytes: u64,
    /// SHA-256.
    pub sha256: Sha256,
}

/// Makes `folder` the registry of exactly these entries, with the page that shows them. The ledger that
/// admitted them is put beside them by [`snapshot::write`](super::snapshot::write).
///
/// `default` chooses among the entries; see [`default_of`](super::default_of).
///
/// # Errors
///
/// [`RegistryError::OverBudget`], [`RegistryError::Model`], [`RegistryError::Manifest`],
/// [`RegistryError::Drift`] or what else [`SelectorEntry::validate`] says of the first entry that cannot be
/// offered, or [`RegistryError::DuplicateId`]: before anything is written.
///
/// [`RegistryError::Disk`] if a model cannot be read or the folder not be written, or another build holds it
/// for 30 seconds. Until the selector is replaced, the registry of before is whole.
pub fn build(
    folder: &Path,
    mut entries: Vec<NewRegistryEntry>,
    default: &dyn Fn(&[SelectorEntry]) -> Option<Name>,
) -> Result<Built, RegistryError> {
    entries.sort_by(|a, b| a.id.cmp(&b.id));
    // Side by side, but of several mistakes the first one is told.
    let described: Vec<_> = entries.par_iter().map(describe).collect();
    let described = described.into_iter().collect::<Result<Vec<_>, _>>()?;
    let selector = Selector { version: SELECTOR_VERSION, default: default(&described), entries: described };
    selector.validate()?;
    let selector_bytes = selector.to_bytes()?;

    plain::make(folder)?;
    for name in FOLDERS {
        plain::make(&folder.join(name))?;
    }
    let _held = Lock::exclusive(&folder.join(".lock"))?;
    let written = entries.par_iter().zip(&selector.entries).map(|(new, entry)| put_entry(folder, new, entry));
    let mut files = BTreeSet::new();
    for written in written.collect::<Vec<_>>() {
        files.extend(written?);
    }
    site::write(folder)?;
    // The selector makes them a registry: what it names is on the disk before it.
    for name in FOLDERS {
        atomic::sync_folder(&folder.join(name))?;
    }
    let path = folder.join("selector.json");
    atomic::replace(&path, &selector_bytes)?;
    fault::point("registry-selector-written").at("write", &path)?;
    remove_unlisted(folder, &files)?;

    let selector_sha256 = Sha256::of(&selector_bytes);
    let bytes = selector_bytes.len() as u64;
    files.insert(BuiltFile { path: "selector.json".to_owned(), bytes, sha256: selector_sha256 });
    Ok(Built { selector_sha256, selector, files: files.into_iter().collect() })
}

/// The selector entry of a new entry, from the bytes themselves.
fn describe(new: &NewRegistryEntry) -> Result<SelectorEntry, RegistryError> {
    let id = || new.id.to_string();
    let mapped = Mapped::open(&new.model)?;
    let bytes = mapped.stamp().bytes;
    let budget = new.budget_bytes.min(SELECTOR_BUDGET);
    if bytes > budget {
        return Err(RegistryError::OverBudget { id: id(), bytes, budget });
    }
    let (context, vocab) =
        describe_model(mapped.as_ref()).map_err(|why| RegistryError::Model { id: id(), why })?;
    let model = ModelFile::of(mapped.as_ref(), &new.id);
    let sha256 = model.sha256;
    manifest_names(&new.manifest, &model).map_err(|why| RegistryError::Manifest { id: id(), why })?;
    let entry = SelectorEntry {
        id: new.id.clone(),
        cycle: new.cycle.clone(),
        model,
        manifest: Sha256::of(&new.manifest),
        admission: Sha256::of(&new.admission),
        ledger_index: new.ledger_index,
        evidence: new.evidence.iter().map(NewEvidence::described).collect(),
        format: FORMAT.to_owned(),
        context,
        vocab,
        claims: new.claims,
        licence: new.licence.clone(),
        route: new.id.clone(),
        budget_bytes: new.budget_bytes,
    };
    entry.expect("the SHA-256 of the model file", sha256, new.model_sha256)?;
    Ok(entry)
}

/// Makes sure that the files of an entry are there, and says which those are.
fn put_entry(
    folder: &Path,
    new: &NewRegistryEntry,
    entry: &SelectorEntry,
) -> Result<Vec<BuiltFile>, RegistryError> {
    let model = &entry.model;
    // Read again from here on: what is written is what was just compared with its digest.
    put(folder, &model.path, model.sha256, &|| Ok(Mapped::open(&new.model)?.as_ref().to_vec()))?;
    let mut records = vec![
        (manifest_path(entry.manifest, &entry.id), &new.manifest),
        (admission_path(entry.admission, &entry.id), &new.admission),
    ];
    let evidence = new.evidence.iter().zip(&entry.evidence);
    records.extend(evidence.map(|(new, named)| (evidence_path(named, &entry.id), &new.record)));
    let mut files = vec![BuiltFile { path: model.path.clone(), bytes: model.bytes, sha256: model.sha256 }];
    for (path, record) in records {
        let sha256 = Sha256::of(record);
        put(folder, &path, sha256, &|| Ok(record.clone()))?;
        files.push(BuiltFile { path, bytes: record.len() as u64, sha256 });
    }
    Ok(files)
}

/// Makes sure the file at `path` has the content with this digest.
fn put(
    folder: &Path,
    path: &str,
    sha256: Sha256,
    content: &dyn Fn() -> Result<Vec<u8>, RegistryError>,
) -> Result<(), RegistryError> {
    let target = folder.join(path);
    let plain = std::fs::symlink_metadata(&target).is_ok_and(|metadata| metadata.is_file());
    if plain && Sha256::of(Mapped::open(&target)?.as_ref()) == sha256 {
        return Ok(());
    }
    let bytes = content()?;
    if Sha256::of(&bytes) != sha256 {
        let why = "was to be copied, but its source changed while it was read".to_owned();
        return Err(RegistryError::File { path: path.to_owned(), why });
    }
    atomic::replace_content(&target, &bytes)?;
    fault::point("registry-file-written").at("write", &target)?;
    Ok(())
}

/// Removes what the selector does not name: artifacts no longer offered, and leftovers.
fn remove_unlisted(folder: &Path, files: &BTreeSet<BuiltFile>) -> Result<(), RegistryError> {
    let listed: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    for path in super::content::named_by_content(folder)? {
        if !listed.contains(path.as_str()) {
            let path = folder.join(path);
            std::fs::remove_file(&path).at("remove", &path)?;
        }
    }
    atomic::remove_leftovers(folder)?;
    for name in ["app", "metadata", "proofs"] {
        let folder = folder.join(name);
        if std::fs::symlink_metadata(&folder).is_ok_and(|metadata| metadata.is_dir()) {
            atomic::remove_leftovers(&folder)?;
        }
    }
    Ok(())
}
