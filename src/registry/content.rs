//! Which files a registry consists of.

use std::path::Path;

use super::paths::FOLDERS;
use super::snapshot::{self, PROOFS};
use super::tuf::publish::METADATA;
use super::{RegistryError, site};
use crate::disk::IoContext;

/// The selector.
pub(super) const SELECTOR: &str = "selector.json";

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
