//! Whether a file or folder that somebody names is a model that was bred here.
//!
//! A pool says of what it offers which cases chose it and which licences and data it carries. A child that is copied
//! out of the store and named as a file of somebody's own has the same history, and it is found by its bytes. Of a
//! child with the bytes of one of its own parents nothing is found: whoever starts from that parent did not choose
//! the child.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Pedigree, PedigreeError};
use crate::base::digest::Digest;
use crate::base::name::Name;
use crate::record::candidate::CandidateManifest;
use crate::store::{ActionResult, PART, Store};

/// What comes with bytes that were bred here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Licences they carry.
    pub licences: BTreeSet<String>,
    /// Data their ancestors declared.
    pub data: BTreeSet<String>,
    /// The cycles that bred them: what chose others there, chose them.
    pub cycles: BTreeSet<Name>,
}

/// The history of each of these models, files or folders; an empty one of whom this store did not breed, or cannot
/// be looked at. They are only read where a model of the store is as long, file by file.
///
/// # Errors
///
/// If the store cannot be read.
pub fn histories(store: &Store, files: &[&Path]) -> Result<Vec<History>, PedigreeError> {
    let mut made: BTreeMap<u64, BTreeSet<Digest>> = BTreeMap::new();
    let mut folders = Folders::new();
    for result in store.every_result()? {
        let Some(blob) = result.outputs.get("artifact") else { continue };
        made.entry(blob.bytes).or_default().insert(blob.digest);
        let lengths = lengths(&result);
        if !lengths.is_empty() {
            folders.entry(lengths).or_default().insert(blob.digest);
        }
    }
    let mut found = vec![History::default(); files.len()];
    let mut pedigree = None;
    for (file, history) in files.iter().zip(&mut found) {
        let made = match file.is_dir() {
            true => store.lengths(file).ok().and_then(|lengths| folders.get(&lengths)),
            false => {
                let length = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|found| found.len());
                length.and_then(|length| made.get(&length))
            }
        };
        let Some(made) = made else { continue };
        let digest = store.hash_model(file)?.digest;
        if !made.contains(&digest) {
            continue;
        }
        let pedigree = match &mut pedigree {
            Some(pedigree) => pedigree,
            none => none.insert(Pedigree::load(store)?),
        };
        *history = history_of(pedigree, digest);
    }
    Ok(found)
}

/// Digests by the names and lengths of files.
type Folders = BTreeMap<Vec<(String, u64)>, BTreeSet<Digest>>;

/// The names and lengths of the files of a model that is a folder, as the result that made it has them: its list is
/// a blob that may be gone or damaged, and a copy of the model is told all the same.
fn lengths(result: &ActionResult) -> Vec<(String, u64)> {
    let files = result.outputs.iter();
    files.filter_map(|(name, blob)| Some((name.strip_prefix(PART)?.to_owned(), blob.bytes))).collect()
}

fn history_of(pedigree: &Pedigree, artifact: Digest) -> History {
    let mut history = History::default();
    for body in pedigree.manifests.values().filter(|body| body.artifact.blake3 == artifact) {
        if is_copy(pedigree, body) {
            continue;
        }
        history.licences.extend(body.licences.iter().cloned());
        history.data.extend(body.data.iter().cloned());
        history.cycles.insert(body.cycle.clone());
    }
    history
}

/// Whether a child has the bytes of one of its parents.
fn is_copy(pedigree: &Pedigree, body: &CandidateManifest) -> bool {
    let parents = pedigree.parents(body);
    let mut sources = parents.iter().filter_map(|(_, source)| pedigree.sources.get(source));
    sources.any(|parent| parent.artifact.sha256 == body.artifact.sha256)
}
