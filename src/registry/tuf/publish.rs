//! Making the documents from a folder and a version, and putting them in their places.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::document::{Root, SPEC_VERSION, Snapshot, TargetFile, Targets, Timestamp, parsed, signed};
use super::{Duty, Keys};
use crate::disk::{IoContext, atomic, plain};
use crate::registry::paths::{by_content, is_plain, name_and_content};
use crate::registry::{RegistryError, content};
use crate::trust::SecretKey;

/// The folder of the documents.
pub const METADATA: &str = "metadata";
/// The document that is replaced.
pub const TIMESTAMP: &str = "metadata/timestamp.json";
/// As many roots as a reader follows.
const MAX_ROOTS: usize = 64;

/// What is published.
#[derive(Debug)]
pub struct Release<'a> {
    /// How many entries the ledger has that the registry shows.
    pub version: u64,
    /// Until when it holds: `2027-06-30T00:00:00Z`.
    pub expires: &'a str,
    /// Every root, oldest first; see [`roots`].
    pub roots: &'a [Vec<u8>],
}

/// The roots a registry needs: those it had, and one more if its keys are others now or if the last one would
/// expire before `expires`. A new root is signed by the keys of the one before, too.
///
/// # Errors
///
/// [`RegistryError::NoKey`] if a new root is needed and the secret half of its key is not at hand, or not that
/// of the key before; [`RegistryError::Metadata`] if the last root is none, or there would be more than 64.
pub fn roots(mut known: Vec<Vec<u8>>, keys: &Keys, expires: &str) -> Result<Vec<Vec<u8>>, RegistryError> {
    let last = known.last().map(|bytes| parsed::<Root>(bytes)).transpose();
    let last = last.map_err(|why| bad("the last root", why))?.map(|envelope| envelope.signed);
    let version = last.as_ref().map_or(0, |root| root.version) + 1;
    let next = keys.root(version, expires);
    let mut signers: Vec<&SecretKey> = keys.secret(Duty::Root).into_iter().collect();
    if let Some(last) = last {
        if keys.are_in(&last) && last.expires.as_str() >= expires {
            return Ok(known);
        }
        let rule = &last.roles[&Duty::Root];
        let before: Vec<_> = rule.keyids.iter().filter_map(|id| keys.secret_with_id(*id)).collect();
        if (before.len() as u64) < rule.threshold {
            return Err(RegistryError::NoKey {
                what: format!("root {version}"),
                why: "it must be signed by the key of the root before it".to_owned(),
            });
        }
        signers.extend(before);
    }
    if keys.secret(Duty::Root).is_none() {
        let why = "the secret half of the root's key is not in the folder of keys".to_owned();
        return Err(RegistryError::NoKey { what: format!("root {version}"), why });
    }
    if known.len() == MAX_ROOTS {
        let why = format!("is one more than the {MAX_ROOTS} a reader follows; begin another registry");
        return Err(bad(&format!("root {version}"), why));
    }
    known.push(signed(next, &signers));
    Ok(known)
}

fn bad(path: &str, why: String) -> RegistryError {
    RegistryError::Metadata { path: path.to_owned(), why }
}

/// Signs the registry in `folder` as it lies there, which [`build`](crate::registry::build()) and the ledger's
/// [`snapshot`](crate::registry::snapshot) have just made. The timestamp comes last; what is superseded is
/// removed after it.
///
/// # Errors
///
/// [`RegistryError::NoKey`] if the secret half of a duty's key is not at hand; [`RegistryError::Metadata`] if
/// two files would be listed under one name; [`RegistryError::Unlisted`] of a file that a registry has no name
/// for; [`RegistryError::Disk`] if it cannot be read or written. Until the timestamp is replaced, the release
/// of before holds.
pub fn publish(folder: &Path, release: &Release<'_>, keys: &Keys) -> Result<(), RegistryError> {
    let metadata = folder.join(METADATA);
    plain::make(&metadata)?;
    let mut kept = BTreeSet::new();
    let mut targets = BTreeMap::new();
    for (name, target, copied) in files(folder)? {
        if let Some(bytes) = copied {
            let path = by_content(&name, target.hashes.sha256);
            atomic::replace(&folder.join(&path), &bytes)?;
            kept.insert(path);
        }
        if targets.insert(name.clone(), target).is_some() {
            return Err(bad(
                &name,
                "would be the name of two files; rename a candidate or a suite".to_owned(),
            ));
        }
    }
    let (documents, timestamp) = documents(release, keys, targets)?;
    for (path, bytes) in documents {
        atomic::replace(&folder.join(&path), &bytes)?;
        kept.insert(path);
    }
    atomic::replace(&folder.join(TIMESTAMP), &timestamp)?;
    kept.insert(TIMESTAMP.to_owned());
    for path in superseded(folder, &kept)? {
        let path = folder.join(path);
        std::fs::remove_file(&path).at("remove", &path)?;
    }
    Ok(())
}

/// Every file there is to ask for: its name, what it is, and its bytes if it needs a copy named by content.
#[expect(clippy::type_complexity, reason = "three words for one file")]
fn files(folder: &Path) -> Result<Vec<(String, TargetFile, Option<Vec<u8>>)>, RegistryError> {
    let mut found = Vec::new();
    for path in content::named_by_content(folder)? {
        let Some((name, sha256)) = name_and_content(&path).filter(|_| is_plain(&path)) else {
            return Err(RegistryError::Unlisted { path });
        };
        let full = folder.join(&path);
        let length = std::fs::symlink_metadata(&full).at("examine", &full)?.len();
        let hashes = super::document::Hashes { sha256 };
        found.push((name, TargetFile { hashes, length }, None));
    }
    for name in content::with_fixed_names(folder)? {
        let full = folder.join(&name);
        let bytes = std::fs::read(&full).at("read", &full)?;
        found.push((name, TargetFile::of(&bytes), Some(bytes)));
    }
    Ok(found)
}

/// All documents by path, and the timestamp.
#[expect(clippy::type_complexity, reason = "two results of one job")]
pub(super) fn documents(
    release: &Release<'_>,
    keys: &Keys,
    targets: BTreeMap<String, TargetFile>,
) -> Result<(Vec<(String, Vec<u8>)>, Vec<u8>), RegistryError> {
    let version = release.version;
    let key = |duty: Duty| {
        keys.secret(duty).ok_or_else(|| RegistryError::NoKey {
            what: format!("{duty}.json"),
            why: "the secret half of its key is not in the folder of keys".to_owned(),
        })
    };
    let (kind, expires, spec_version) =
        (Duty::Targets.word().to_owned(), release.expires.to_owned(), SPEC_VERSION.to_owned());
    let targets = Targets { kind, expires, spec_version, targets, version };
    let targets = signed(targets, &[key(Duty::Targets)?]);
    let snapshot = Snapshot::of("targets.json", &targets, version, release.expires);
    let snapshot = signed(snapshot, &[key(Duty::Snapshot)?]);
    let timestamp = Timestamp::of("snapshot.json", &snapshot, version, release.expires);
    let timestamp = signed(timestamp, &[key(Duty::Timestamp)?]);
    let mut documents: Vec<(String, Vec<u8>)> = Vec::new();
    for (at, root) in release.roots.iter().enumerate() {
        documents.push((format!("{METADATA}/{}.root.json", at + 1), root.clone()));
    }
    documents.push((format!("{METADATA}/{version}.targets.json"), targets));
    documents.push((format!("{METADATA}/{version}.snapshot.json"), snapshot));
    Ok((documents, timestamp))
}

/// Documents and copies that nothing names any more. Other files of the folder are not ours.
pub(super) fn superseded(folder: &Path, kept: &BTreeSet<String>) -> Result<Vec<String>, RegistryError> {
    let mut found = Vec::new();
    for place in content::folders_of_copies() {
        for name in content::names_in(folder, place)? {
            let path = if place.is_empty() { name } else { format!("{place}/{name}") };
            let ours = place == METADATA || name_and_content(&path).is_some();
            if ours && !kept.contains(&path) {
                found.push(path);
            }
        }
    }
    Ok(found)
}
