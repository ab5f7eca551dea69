//! Re-hashing everything before it is served, and asking the ledger whether it may be.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::paths::{FOLDERS, admission_path, evidence_path, manifest_path};
use super::selector::{MAX_SELECTOR, ModelFile, SELECTOR_BUDGET, Selector, SelectorEntry};
use super::{RegistryError, content, default_of, site};
use crate::base::canonical;
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::disk::IoContext;
use crate::disk::mmap::{Mapped, Stamp};
use crate::ledger::{EntryKind, Leaf, Ledger, taken_back};

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
/// what it says, and its folders hold no others. What lies beside them, [`nothing_else`](super::nothing_else)
/// says.
///
/// # Errors
///
/// [`RegistryError::File`] of one that is missing, a link, too long or not our page; [`RegistryError::Drift`],
/// [`RegistryError::Model`] or [`RegistryError::Manifest`] of one that is not what its entry says;
/// [`RegistryError::Unlisted`] of one too many; what [`Selector::from_bytes`] says; [`RegistryError::Disk`] if
/// it cannot be read.
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
        listed.extend(record_paths(entry).map(|(path, _)| path));
        if listed.insert(entry.model.path.clone()) {
            model_bytes += entry.model.bytes;
        }
    }
    if let Some(path) = content::named_by_content(folder)?.into_iter().find(|path| !listed.contains(path)) {
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
    let found = ModelFile::of(bytes, &entry.id);
    entry.expect("the length of the model", model.bytes, found.bytes)?;
    entry.expect("the SHA-256 of the model", model.sha256, found.sha256)?;
    entry.expect("the BLAKE3 of the model", model.blake3, found.blake3)?;
    if let Some(at) = model.pieces.iter().zip(&found.pieces).position(|(named, found)| named != found) {
        entry.expect("the SHA-256 of a piece", model.pieces[at], found.pieces[at])?;
    }
    let (context, vocab) = describe_model(bytes).map_err(|why| RegistryError::Model { id: id(), why })?;
    entry.expect("the context", entry.context, context)?;
    entry.expect("the vocabulary", entry.vocab, vocab)?;

    for (path, sha256) in record_paths(entry) {
        let record = open_plain(folder, &path, MAX_MANIFEST)?;
        entry.expect("the SHA-256 of a record", sha256, Sha256::of(record.as_ref()))?;
    }
    let manifest = open_plain(folder, &manifest_path(entry.manifest, &entry.id), MAX_MANIFEST)?;
    manifest_names(manifest.as_ref(), model).map_err(|why| RegistryError::Manifest { id: id(), why })
}

/// Every record of an entry: the manifest, the admission, the evidence.
pub fn record_paths(entry: &SelectorEntry) -> impl Iterator<Item = (String, Sha256)> {
    let own = [
        (manifest_path(entry.manifest, &entry.id), entry.manifest),
        (admission_path(entry.admission, &entry.id), entry.admission),
    ];
    own.into_iter().chain(entry.evidence.iter().map(|one| (evidence_path(one, &entry.id), one.sha256)))
}

/// Maps a file that is no link, and is the one that was examined.
pub(super) fn open_plain(folder: &Path, path: &str, most: u64) -> Result<Mapped, RegistryError> {
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

/// Refuses entries that the ledger did not admit at the index they name, for the manifest they
/// name, or whose admission was taken back later. The ledger itself is checked while it is read.
///
/// # Errors
///
/// [`RegistryError::NotAdmitted`], [`RegistryError::Revoked`], or [`RegistryError::Selector`] if its default is
/// not the one that follows from the ledger; [`RegistryError::Ledger`] if that cannot be read, or is not what
/// it says.
pub fn check_admissions(selector: &Selector, ledger: &Ledger) -> Result<(), RegistryError> {
    check_admissions_in(selector, &ledger.leaves()?)
}

/// The same of entries that were checked already.
pub(super) fn check_admissions_in(selector: &Selector, leaves: &[Leaf]) -> Result<(), RegistryError> {
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
        if let Some(later) = taken_back(leaf, leaves) {
            return Err(RegistryError::Revoked { id: id(), index: later.index });
        }
    }
    let default = default_of(&selector.entries, leaves);
    if selector.default != default {
        let shown = |id: &Option<Name>| id.as_ref().map_or("nobody".to_owned(), ToString::to_string);
        let (found, expected) = (shown(&selector.default), shown(&default));
        return Err(RegistryError::Selector(format!("has the default {found}, the ledger says {expected}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
