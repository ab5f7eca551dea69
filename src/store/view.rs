//! `runs/CYCLE/`: every record of a cycle by name, for people.
//!
//! A view of the store, not the truth: it is made again whenever it is missing or different, and
//! what no longer belongs to the cycle is removed. Documents are copies, artifacts are links.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;

use super::{Blob, Store, StoreError};
use crate::base::digest::Digest;
use crate::base::name::Name;
use crate::disk::lock::Lock;
use crate::disk::small::holds;
use crate::disk::{DiskError, IoContext, atomic, fault};

/// One file of the view.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ViewEntry {
    /// Path below the cycle's folder, such as `04-operator/ties.slm`.
    pub path: String,
    /// What it shows.
    pub digest: Digest,
    /// Linked rather than copied.
    pub link: bool,
}

const MANIFEST: &str = ".view";
const LOCK: &str = ".lock";

impl Store {
    /// Where a cycle's records are shown.
    pub fn view_folder(&self, cycle: &Name) -> PathBuf {
        self.root.join("runs").join(cycle.as_str())
    }

    /// Makes the view show exactly `entries`.
    pub fn show(&self, cycle: &Name, mut entries: Vec<ViewEntry>) -> Result<(), StoreError> {
        entries.sort();
        let folder = self.view_folder(cycle);
        let manifest = manifest_text(&entries);
        if holds(&folder.join(MANIFEST), manifest.as_bytes())
            && present(&folder).is_ok_and(|present| present == wanted(&entries))
        {
            return Ok(());
        }
        // Two runs of one cycle would pull the files from under each other.
        std::fs::create_dir_all(&folder).at("create the folder", &folder)?;
        let _held = Lock::exclusive(&folder.join(LOCK))?;
        // Without a manifest the view counts as unfinished.
        remove_file(&folder.join(MANIFEST))?;
        for stale in present(&folder)?.difference(&wanted(&entries)) {
            remove_file(&folder.join(stale))?;
        }
        // Each a file of its own, most of whose time goes into making it.
        let shown: Vec<_> = entries.par_iter().map(|entry| self.show_one(&folder, entry)).collect();
        shown.into_iter().collect::<Result<(), _>>()?;
        fault::point("view-written").at("write", &folder)?;
        Ok(atomic::replace_view(&folder.join(MANIFEST), manifest.as_bytes())?)
    }

    fn show_one(&self, folder: &Path, entry: &ViewEntry) -> Result<(), StoreError> {
        let path = folder.join(&entry.path);
        if entry.link {
            let parent = path.parent().expect("a view entry lies in a folder");
            std::fs::create_dir_all(parent).at("create the folder", parent)?;
            let target = relative_object(&entry.path, &entry.digest);
            if std::fs::read_link(&path).is_ok_and(|old| old == target) {
                return Ok(());
            }
            remove_file(&path)?;
            std::os::unix::fs::symlink(&target, &path).at("link", &path)?;
            return Ok(());
        }
        let bytes = self.read(&entry.digest)?;
        if holds(&path, &bytes) {
            return Ok(());
        }
        Ok(atomic::replace_view(&path, &bytes)?)
    }

    /// Shows a blob that is an artifact as a link.
    pub fn linked(path: String, blob: &Blob) -> ViewEntry {
        ViewEntry { path, digest: blob.digest, link: true }
    }

    /// Shows a document as a copy.
    pub fn copied(path: String, blob: &Blob) -> ViewEntry {
        ViewEntry { path, digest: blob.digest, link: false }
    }
}

/// From `runs/CYCLE/<path>` up to the store and down to the object.
fn relative_object(path: &str, digest: &Digest) -> PathBuf {
    let depth = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_))).count();
    let hex = digest.to_hex();
    let up: PathBuf = std::iter::repeat_n("..", depth + 1).collect();
    up.join("objects").join(&hex[..2]).join(&hex[2..])
}

fn manifest_text(entries: &[ViewEntry]) -> String {
    entries.iter().map(|entry| format!("{} {} {}\n", entry.digest, entry.link, entry.path)).collect()
}

fn wanted(entries: &[ViewEntry]) -> BTreeSet<String> {
    entries.iter().map(|entry| entry.path.clone()).collect()
}

/// The files, folders within folders included, as `folder/file`.
fn present(folder: &Path) -> Result<BTreeSet<String>, DiskError> {
    let mut found = BTreeSet::new();
    let mut open = vec![String::new()];
    while let Some(inside) = open.pop() {
        for (name, is_folder) in list(&folder.join(&inside))? {
            let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            if is_folder {
                open.push(path);
            } else if path != MANIFEST && path != LOCK {
                found.insert(path);
            }
        }
    }
    Ok(found)
}

fn list(folder: &Path) -> Result<Vec<(String, bool)>, DiskError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).at("list", folder),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.at("list", folder)?;
        let is_folder = entry.file_type().at("list", folder)?.is_dir();
        names.push((entry.file_name().to_string_lossy().into_owned(), is_folder));
    }
    Ok(names)
}

fn remove_file(path: &Path) -> Result<(), DiskError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_exactly_what_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let cycle: Name = "c".parse().unwrap();
        let (a, b) = (store.put(b"{}").unwrap(), store.put(b"model").unwrap());
        let entries = vec![
            Store::copied("01-source/a.json".to_owned(), &a),
            Store::linked("04-operator/b.slm".to_owned(), &b),
        ];
        store.show(&cycle, entries.clone()).unwrap();
        let root = store.view_folder(&cycle);
        assert_eq!(std::fs::read(root.join("04-operator/b.slm")).unwrap(), b"model");
        assert_eq!(std::fs::read(root.join("01-source/a.json")).unwrap(), b"{}");
        std::fs::remove_file(root.join("01-source/a.json")).unwrap();
        store.show(&cycle, entries[..1].to_vec()).unwrap();
        assert_eq!(std::fs::read(root.join("01-source/a.json")).unwrap(), b"{}");
        assert!(!root.join("04-operator/b.slm").exists());
    }
}
