//! From a store to a folder: written beside its place, checked like anybody's, and only then named.

use std::fs::File;
use std::path::Path;

use super::collect::{Collected, collect};
use super::evidence::Evidence;
use super::folder::{self, Files, ModelFile};
use super::{DossierError, Options, derived, layout, model_signature, verify};
use crate::base::name::Name;
use crate::disk::fresh::{self, Durability, Judge};
use crate::disk::{IoContext, atomic};
use crate::engine::graph::StageGraph;
use crate::engine::resolve::Results;
use crate::pedigree::signing::refuse_revoked_key;
use crate::store::Store;
use crate::trust::{Role, SecretKey};

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Number of files.
    pub files: usize,
    /// Number of signed statements.
    pub signed: usize,
    /// Bytes of the model.
    pub model_bytes: u64,
}

/// Writes the dossier of a candidate that was decided; `replace` allows it to take the place of a dossier.
///
/// # Errors
///
/// If something is in the place that may not be replaced, as [`collect`] does, if the key of the model was revoked,
/// or if what was written would not pass its own check.
pub fn export(
    graph: &StageGraph,
    store: &Store,
    results: &Results,
    candidate: &Name,
    out: &Path,
    replace: bool,
) -> Result<Exported, DossierError> {
    let judge = replace.then_some(folder::why_not as Judge);
    fresh::refuse_taken(out, judge)?;
    let collected = collect(graph, store, results, candidate)?;
    refuse_revoked_key(store, Role::Model)?;
    let key = store.custody().signer(Role::Model)?;
    fresh::folder(out, judge, Durability::Synced, |folder| fill(collected, key.as_ref(), folder))
}

fn unsound(what: &str) -> impl Fn(String) -> DossierError {
    move |why| DossierError::Unsound { what: what.to_owned(), why }
}

fn fill(collected: Collected, key: Option<&SecretKey>, folder: &Path) -> Result<Exported, DossierError> {
    let Collected { documents, model } = collected;
    let mut files = Files { documents, model: Vec::new() };
    for (name, from) in model {
        files.model.push(copy(&from, folder, &name)?);
    }
    files.model.sort_by(|a, b| a.name.cmp(&b.name));
    let (evidence, _) = Evidence::read(&files.documents).map_err(unsound("records"))?;
    let signed = evidence.bundles.len() + usize::from(key.is_some());
    let derived = derived::documents(&evidence, &files).map_err(unsound("documents"))?;
    files.documents.extend(derived.into_iter().map(|(path, bytes)| (path.to_owned(), bytes)));
    if let Some(key) = key {
        let signature = model_signature::sign(&evidence, &files, key).map_err(unsound("model signature"))?;
        files.documents.insert(layout::SIGNATURE.to_owned(), signature);
    }
    for (path, bytes) in &files.documents {
        atomic::replace_view(&folder.join(path), bytes)?;
    }
    let findings = verify(folder, &Options::default(), &mut |_| {})?;
    if let Some(failed) = findings.into_iter().find(|checked| !checked.ok) {
        return Err(unsound(&failed.what)(failed.finding));
    }
    let model_bytes = files.model.iter().map(|file| file.bytes).sum();
    Ok(Exported { files: files.documents.len() + files.model.len(), signed, model_bytes })
}

/// Copies a file of the model; what arrived is what is hashed.
fn copy(from: &Path, folder: &Path, name: &str) -> Result<ModelFile, DossierError> {
    let to = folder.join(layout::MODEL).join(name);
    let parent = to.parent().expect("a file has a folder");
    std::fs::create_dir_all(parent).at("create the folder", parent)?;
    let mut source = File::open(from).at("open", from)?;
    let mut copied = File::create_new(&to).at("write", &to)?;
    std::io::copy(&mut source, &mut copied).at("write", &to)?;
    copied.sync_data().at("write", &to)?;
    let file = File::open(&to).at("open", &to)?;
    Ok(folder::hash(file, name, to)?)
}
