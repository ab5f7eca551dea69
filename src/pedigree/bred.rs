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
use crate::store::{Store, StoreError};

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
    for result in store.every_result()? {
        let Some(blob) = result.outputs.get("artifact") else { continue };
        made.entry(blob.bytes).or_default().insert(blob.digest);
    }
    let folders = match files.iter().any(|file| file.is_dir()) {
        true => folders(store, made.values().flatten())?,
        false => BTreeMap::new(),
    };
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

/// The models that are folders, by the names and lengths of their files. What is no longer here has no copy that
/// could be told from another model.
fn folders<'d>(store: &Store, made: impl Iterator<Item = &'d Digest>) -> Result<Folders, StoreError> {
    let mut found = Folders::new();
    for digest in made {
        let listing = match store.listing(digest) {
            Err(StoreError::Missing(_)) => continue,
            other => other?,
        };
        let Some(listing) = listing else { continue };
        let lengths = listing.files().iter().map(|file| (file.name.clone(), file.bytes)).collect();
        found.entry(lengths).or_default().insert(*digest);
    }
    Ok(found)
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
