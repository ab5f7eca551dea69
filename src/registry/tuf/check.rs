//! A reader's whole way: from the first root to every file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::document::{
    Document, MAX_METADATA, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp, opened,
};
use super::publish::{METADATA, TIMESTAMP, superseded};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::disk::IoContext;
use crate::ledger::{EntryKind, Leaf};
use crate::registry::check::open_plain;
use crate::registry::paths::{by_content, is_plain};
use crate::registry::{RegistryError, SELECTOR_BUDGET, content};
use crate::trust::{Claim, PublicKey, Trust};

/// What the metadata of a registry says, every signature of it checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The version of all documents but the root.
    pub version: u64,
    /// When the first of them expires.
    pub expires: String,
    /// The root they hang on.
    pub root: Root,
    /// SHA-256 of every root there is, oldest first, that one being the last.
    pub roots: Vec<Sha256>,
    /// Every file by the name to ask for.
    pub targets: BTreeMap<String, TargetFile>,
}

impl Published {
    /// The keys the root names.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Metadata`] of a key that is not one of Ed25519.
    pub fn keys(&self) -> Result<Vec<PublicKey>, RegistryError> {
        let named = self.root.keys.values();
        named
            .map(|key| key.public().map_err(|why| bad("the root", format!("names a key that {why}"))))
            .collect()
    }

    /// Refuses a registry whose time is over at `now` (RFC 3339).
    ///
    /// # Errors
    ///
    /// [`RegistryError::Expired`], also if either is no time.
    pub fn unexpired(&self, now: &str) -> Result<(), RegistryError> {
        let time = |text: &str| text.parse::<jiff::Timestamp>().ok();
        match (time(&self.expires), time(now)) {
            (Some(until), Some(now)) if until > now => Ok(()),
            _ => Err(RegistryError::Expired { expires: self.expires.clone(), now: now.to_owned() }),
        }
    }

    /// Refuses a root that names a key which may not publish.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Trust`] if the trust file does not know the key, or not for releases; else as
    /// [`Self::keys`].
    pub fn trusted(&self, trust: &Trust) -> Result<(), RegistryError> {
        for key in self.keys()? {
            trust.allowed(key.id(), Claim::Release)?;
        }
        Ok(())
    }
}

fn bad(path: &str, why: impl Into<String>) -> RegistryError {
    RegistryError::Metadata { path: path.to_owned(), why: why.into() }
}

/// Reads the documents of the registry in `folder` and checks each by the one before it; none if it has no
/// metadata at all. Files are not looked at, and no time is asked.
///
/// # Errors
///
/// [`RegistryError::Metadata`] of a document that is malformed, not signed by the keys that the root names, not
/// the one that the document before it names, or of another version than the rest; [`RegistryError::File`] of
/// one that is missing or has more than 4 MiB; [`RegistryError::Unlisted`] of one that nothing names any more.
pub fn read(folder: &Path) -> Result<Option<Published>, RegistryError> {
    let metadata = folder.join(METADATA);
    match std::fs::symlink_metadata(&metadata) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => {
            if !other.at("examine", &metadata)?.is_dir() {
                return Err(bad(METADATA, "is not a plain folder"));
            }
        }
    }
    let (root, roots) = last_root(folder)?;
    let mut expires = vec![root.expires.clone()];
    let timestamp: Timestamp = document(folder, TIMESTAMP, &root, None)?;
    let named = only(&timestamp.meta, "snapshot.json", TIMESTAMP)?;
    let path = format!("{METADATA}/{}.snapshot.json", named.version);
    let snapshot: Snapshot = document(folder, &path, &root, Some(named))?;
    let named = only(&snapshot.meta, "targets.json", &path)?;
    let path = format!("{METADATA}/{}.targets.json", named.version);
    let targets: Targets = document(folder, &path, &root, Some(named))?;
    let versions = BTreeSet::from([timestamp.version, snapshot.version, targets.version]);
    if versions.len() > 1 {
        return Err(bad(METADATA, format!("mixes the versions {versions:?}")));
    }
    expires.extend([timestamp.expires, snapshot.expires, targets.expires]);
    if let Some(wrong) = expires.iter().find(|text| !is_date(text)) {
        return Err(bad(METADATA, format!("expires at {wrong:?}, which is no time")));
    }
    if let Some(name) = targets.targets.keys().find(|name| !is_plain(name)) {
        return Err(bad(&path, format!("lists {name:?}, which is no plain path inside the registry")));
    }
    let kept = (1..=roots.len()).map(|version| format!("{METADATA}/{version}.root.json"));
    let kept = kept.chain([TIMESTAMP.to_owned(), path.clone()]);
    let kept = kept.chain([format!("{METADATA}/{}.snapshot.json", snapshot.version)]);
    let kept = kept.chain(targets.targets.iter().map(|(name, file)| by_content(name, file.hashes.sha256)));
    if let Some(path) = superseded(folder, &kept.collect())?.into_iter().next() {
        return Err(RegistryError::Unlisted { path });
    }
    let expires = expires.into_iter().min().expect("there are four");
    let (version, targets) = (targets.version, targets.targets);
    Ok(Some(Published { version, expires, root, roots, targets }))
}

/// The newest root: each is signed by its own keys and by those of the one before.
fn last_root(folder: &Path) -> Result<(Root, Vec<Sha256>), RegistryError> {
    let (mut last, mut roots): (Option<Root>, Vec<Sha256>) = (None, Vec::new());
    let mut version = 1;
    loop {
        let path = format!("{METADATA}/{version}.root.json");
        if let Some(last) = last.take_if(|_| folder.join(&path).symlink_metadata().is_err()) {
            return Ok((last, roots));
        }
        let file = open_plain(folder, &path, MAX_METADATA)?;
        let envelope = super::document::parsed::<Root>(file.as_ref()).map_err(|why| bad(&path, why))?;
        for root in last.iter().chain([&envelope.signed]) {
            opened::<Root>(file.as_ref(), root).map_err(|why| bad(&path, why))?;
        }
        let root = envelope.signed;
        if root.version != version || !root.consistent_snapshot {
            return Err(bad(&path, format!("is root {} or has no consistent snapshots", root.version)));
        }
        let wrong = root.keys.iter().find(|(id, key)| key.id() != **id);
        if let Some((id, _)) = wrong {
            return Err(bad(&path, format!("calls a key {}, which is not its id", id.short())));
        }
        last = Some(root);
        roots.push(Sha256::of(file.as_ref()));
        version += 1;
    }
}

/// A document, as the one before it names it.
fn document<T: Document>(
    folder: &Path,
    path: &str,
    root: &Root,
    named: Option<&MetaFile>,
) -> Result<T, RegistryError> {
    let file = open_plain(folder, path, MAX_METADATA)?;
    let bytes = file.as_ref();
    if let Some(MetaFile { hashes, length, .. }) = named
        && (Sha256::of(bytes), bytes.len() as u64) != (hashes.sha256, *length)
    {
        return Err(bad(path, "is not the one that the signed metadata names"));
    }
    let document: T = opened(bytes, root).map_err(|why| bad(path, why))?;
    match named {
        Some(named) if named.version != document.version() => {
            let (found, expected) = (document.version(), named.version);
            Err(bad(path, format!("has version {found}, expected {expected}")))
        }
        _ => Ok(document),
    }
}

fn only<'m>(
    meta: &'m BTreeMap<String, MetaFile>,
    name: &str,
    path: &str,
) -> Result<&'m MetaFile, RegistryError> {
    match meta.get(name) {
        Some(named) if meta.len() == 1 => Ok(named),
        _ => Err(bad(path, format!("names something else than {name}"))),
    }
}

/// The one spelling of a time that expires: `2027-06-30T00:00:00Z`.
pub fn is_date(text: &str) -> bool {
    text.len() == 20
        && text.as_bytes()[10] == b'T'
        && text.ends_with('Z')
        && text.parse::<jiff::Timestamp>().is_ok()
}

/// Reads the documents and then every file: each is listed, and is what it is listed as, under both its
/// names. `trust` says whose keys count, `entries` how many the ledger has that is shown, `now` what time it is.
///
/// # Errors
///
/// As [`read`], [`Published::trusted`] and [`Published::unexpired`]; [`RegistryError::Metadata`] if its version
/// is not `entries`, and of the first file that it does not list, or lists as another one;
/// [`RegistryError::File`] of one that is missing.
pub fn check(
    folder: &Path,
    trust: Option<&Trust>,
    entries: u64,
    now: &str,
) -> Result<Option<Published>, RegistryError> {
    let Some(published) = read(folder)? else { return Ok(None) };
    if published.version != entries {
        let why = format!("has version {}, but shows a ledger of {entries} entries", published.version);
        return Err(bad(METADATA, why));
    }
    if let Some(trust) = trust {
        published.trusted(trust)?;
    }
    published.unexpired(now)?;
    let mut expected: BTreeSet<String> = content::with_fixed_names(folder)?.into_iter().collect();
    let fixed = expected.clone();
    for path in content::named_by_content(folder)? {
        let name = crate::registry::paths::name_and_content(&path);
        expected.insert(name.map_or(path, |(name, _)| name));
    }
    let listed: BTreeSet<String> = published.targets.keys().cloned().collect();
    if let Some(path) = expected.difference(&listed).next() {
        return Err(bad(path, "is not among the files that the metadata lists"));
    }
    for (name, file) in &published.targets {
        let by_content = by_content(name, file.hashes.sha256);
        let plain = fixed.contains(name).then(|| name.clone());
        if plain.is_none() && content::is_fixed(name) {
            return Err(bad(name, "is listed by the metadata and no part of a registry"));
        }
        for path in plain.iter().chain([&by_content]) {
            let found = TargetFile::of(open_plain(folder, path, SELECTOR_BUDGET)?.as_ref());
            if found != *file {
                return Err(bad(path, "is not the file that the metadata lists"));
            }
        }
    }
    Ok(Some(published))
}

/// The entry of a cycle's last publication.
pub fn last_release<'l>(cycle: &Name, leaves: &'l [Leaf]) -> Option<&'l Leaf> {
    leaves.iter().rev().find(|leaf| leaf.kind == EntryKind::Registry && leaf.cycle == *cycle)
}

/// Refuses a registry that is older than the ledger says, or that lost its metadata.
///
/// # Errors
///
/// [`RegistryError::RolledBack`], or [`RegistryError::Metadata`] if there is none or its selector is not the
/// one that was published.
pub fn check_release(
    published: Option<&Published>,
    cycle: &Name,
    leaves: &[Leaf],
) -> Result<(), RegistryError> {
    let Some(last) = last_release(cycle, leaves) else { return Ok(()) };
    let Some(published) = published else {
        return Err(bad(METADATA, format!("is missing, but ledger entry {} published it", last.index)));
    };
    let (found, least) = (published.version, last.index + 1);
    if found < least {
        return Err(RegistryError::RolledBack { found, least });
    }
    let selector = published.targets.get(content::SELECTOR).map(|file| file.hashes.sha256);
    if selector != last.subject {
        return Err(bad(
            content::SELECTOR,
            format!("is not the one that ledger entry {} published", last.index),
        ));
    }
    Ok(())
}
