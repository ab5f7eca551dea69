//! Which files a registry consists of.

use std::collections::BTreeSet;
use std::path::Path;

use super::check::{open_plain, record_paths};
use super::paths::{FOLDERS, by_content};
use super::selector::{MAX_SELECTOR, Selector};
use super::snapshot::{self, PROOFS};
use super::tuf::publish::{METADATA, TIMESTAMP};
use super::tuf::{self, Published};
use super::{RegistryError, site};
use crate::disk::{IoContext, atomic, strangers};

/// The selector.
pub(super) const SELECTOR: &str = "selector.json";

/// Every file of the registry in `folder`, as its selector and its metadata have them now: what may be
/// offered and copied. Whether each is what it says is for [`check`](super::check()) to see.
///
/// # Errors
///
/// As [`Selector::from_bytes`] and [`tuf::read`], and if the selector is missing, no plain file, or cannot be
/// read.
pub fn files(folder: &Path) -> Result<BTreeSet<String>, RegistryError> {
    let file = open_plain(folder, SELECTOR, MAX_SELECTOR)?;
    Ok(listed(&Selector::from_bytes(file.as_ref())?, tuf::read(folder)?.as_ref()))
}

/// The files of a registry with this selector and this metadata.
fn listed(selector: &Selector, published: Option<&Published>) -> BTreeSet<String> {
    let mut paths = BTreeSet::from([SELECTOR.to_owned()]);
    paths.extend(snapshot::FILES.map(str::to_owned));
    paths.extend(site::files().map(|(path, _)| path.to_owned()));
    for entry in &selector.entries {
        paths.insert(entry.model.path.clone());
        paths.insert(format!("{PROOFS}/{}{}", entry.id, snapshot::PROOF));
        paths.extend(record_paths(entry).map(|(path, _)| path));
    }
    if let Some(published) = published {
        let roots = (1..=published.roots.len()).map(|version| format!("{METADATA}/{version}.root.json"));
        paths.extend(roots);
        for document in ["snapshot", "targets"] {
            paths.insert(format!("{METADATA}/{}.{document}.json", published.version));
        }
        paths.insert(TIMESTAMP.to_owned());
        let targets = published.targets.iter();
        paths.extend(targets.map(|(name, file)| by_content(name, file.hashes.sha256)));
    }
    paths
}

/// Refuses what lies in a registry and is none of its files: a server would offer it in the registry's name.
/// What begins with a dot beside the selector is not offered, and what a build is writing is not yet there.
///
/// # Errors
///
/// [`RegistryError::Stranger`] with its path; [`RegistryError::Disk`] if the folder cannot be listed.
pub fn nothing_else(
    folder: &Path,
    selector: &Selector,
    published: Option<&Published>,
) -> Result<(), RegistryError> {
    let listed = listed(selector, published);
    let passing =
        |path: &str| path.starts_with('.') || path.rsplit('/').next().is_some_and(atomic::is_leftover);
    match strangers::first(folder, &|path| listed.contains(path) || passing(path))? {
        Some(path) => Err(RegistryError::Stranger { path }),
        None => Ok(()),
    }
}

/// Everything in the folders of what entries name, as paths inside the registry, in order.
pub(super) fn named_by_content(folder: &Path) -> Result<Vec<String>, RegistryError> {
    let mut paths = Vec::new();
    for name in FOLDERS {
        paths.extend(names_in(folder, name)?.into_iter().map(|file| format!("{name}/{file}")));
    }
    paths.sort();
    Ok(paths)
}

/// The files whose names say nothing of their content: the selector, the ledger's, the page.
pub(super) fn with_fixed_names(folder: &Path) -> Result<Vec<String>, RegistryError> {
    let mut paths = vec![SELECTOR.to_owned()];
    paths.extend(snapshot::FILES.map(str::to_owned));
    paths.extend(site::files().map(|(path, _)| path.to_owned()));
    let proofs = names_in(folder, PROOFS)?.into_iter().filter(|name| name.ends_with(snapshot::PROOF));
    paths.extend(proofs.filter(|name| !is_copy(name)).map(|name| format!("{PROOFS}/{name}")));
    Ok(paths)
}

fn is_copy(name: &str) -> bool {
    super::paths::name_and_content(name).is_some()
}

/// Whether a target is one of those: not among what entries name.
pub fn is_fixed(name: &str) -> bool {
    !FOLDERS.iter().any(|folder| name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
}

/// Where documents and copies named by content lie: the registry itself and these folders of it.
pub(super) fn folders_of_copies() -> [&'static str; 4] {
    ["", "app", PROOFS, METADATA]
}

/// The names in a folder of the registry, folders apart, sorted; none if there is no such folder.
pub(super) fn names_in(folder: &Path, place: &str) -> Result<Vec<String>, RegistryError> {
    let path = if place.is_empty() { folder.to_owned() } else { folder.join(place) };
    let mut names = Vec::new();
    let items = match std::fs::read_dir(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
        other => other.at("list", &path)?,
    };
    for item in items {
        let item = item.at("list", &path)?;
        if !item.file_type().at("examine", item.path())?.is_dir() {
            names.push(item.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
