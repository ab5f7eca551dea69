//! The documents for readers. Each is a function of the records and of what the files hash to.

use std::collections::BTreeMap;

use super::evidence::Evidence;
use super::folder::Files;
use super::{bom, card, crate_metadata, layout, page};
use crate::base::digest::Sha256;
use crate::model::slm1;
use crate::record::candidate::CandidateManifest;

/// Where they lie, in the order in which they are written: each may name those before it.
pub(super) const PATHS: [&str; 5] = [layout::CARD, layout::BOM, layout::PAGE, layout::CRATE, layout::SUMS];

/// What the file of a model that is one file is called.
pub(super) fn model_name(manifest: &CandidateManifest) -> String {
    let ending = match manifest.format.as_str() {
        slm1::NAME => "slm",
        other => other,
    };
    format!("{}.{ending}", manifest.candidate)
}

/// A file by its path in the dossier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listed {
    /// The path.
    pub(super) path: String,
    /// Its length.
    pub(super) bytes: u64,
    /// Its SHA-256.
    pub(super) sha256: Sha256,
}

/// Every file but those that are derived and the signature over all, by path.
pub(super) fn listed(files: &Files) -> Vec<Listed> {
    let given = |path: &str| !PATHS.contains(&path) && path != layout::SIGNATURE;
    let documents = files.documents.iter().filter(|(path, _)| given(path));
    let mut all: Vec<Listed> = documents
        .map(|(path, bytes)| Listed {
            path: path.clone(),
            bytes: bytes.len() as u64,
            sha256: Sha256::of(bytes),
        })
        .collect();
    all.extend(files.model.iter().map(|file| Listed {
        path: format!("{}{}", layout::MODEL, file.name),
        bytes: file.bytes,
        sha256: file.sha256,
    }));
    all.sort();
    all
}

/// Writes all of them. The reason is a sentence.
///
/// # Errors
///
/// If the evidence has no time of its decision, or a document cannot be written as JSON.
pub fn documents(evidence: &Evidence, files: &Files) -> Result<BTreeMap<&'static str, Vec<u8>>, String> {
    let time = super::check::decided_at(evidence)?;
    let mut listed = listed(files);
    let mut all = BTreeMap::new();
    for path in PATHS {
        let bytes = match path {
            layout::CARD => card::write(evidence).into_bytes(),
            layout::BOM => bom::write(evidence)?,
            layout::PAGE => page::write(evidence, &listed, &time).into_bytes(),
            layout::CRATE => crate_metadata::write(evidence, &listed, &time)?,
            _ => sums(&listed).into_bytes(),
        };
        listed.push(Listed { path: path.to_owned(), bytes: bytes.len() as u64, sha256: Sha256::of(&bytes) });
        listed.sort();
        all.insert(path, bytes);
    }
    Ok(all)
}

/// As `sha256sum --check` reads it. Names are of letters, digits, `.`, `_`, `-` and `/`, or of a model's
/// files, which have no line breaks.
fn sums(listed: &[Listed]) -> String {
    listed.iter().map(|file| format!("{}  {}\n", file.sha256, file.path)).collect()
}
