//! `runs/CYCLE/`: every record of a cycle by name, for people.
//!
//! A view of the store, not the truth: it is made again whenever it is missing or different, to the last
//! byte, and what no longer belongs to the cycle is removed. Documents are copies, artifacts are links.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;

use super::cas::SMALL;
use super::{Blob, Store, StoreError};
use crate::base::digest::Digest;
use crate::base::name::Name;
use crate::disk::lock::Lock;
use crate::disk::mmap::Mapped;
use crate::disk::small::{holds, read_small_text};
use crate::disk::{DiskError, IoContext, atomic, fault, plain, tree};

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
/// A line for each file.
const MAX_MANIFEST: u64 = 256 << 20;
const LOCK: &str = ".lock";

impl Store {
    /// Where a cycle's records are shown.
    pub fn view_folder(&self, cycle: &Name) -> PathBuf {
        self.root.join("runs").join(cycle.as_str())
    }

    /// Makes the view show exactly `entries`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if the folder cannot be written, is a link, or another run holds it for 30 seconds;
    /// as [`Self::read`] of a document that is copied. Until it is shown, the view counts as unfinished.
    pub fn show(&self, cycle: &Name, mut entries: Vec<ViewEntry>) -> Result<(), StoreError> {
        entries.sort();
        let folder = self.view_folder(cycle);
        let manifest = manifest_text(&entries);
        if holds(&folder.join(MANIFEST), manifest.as_bytes())
            && present(&folder).is_ok_and(|present| present == wanted(&entries))
            && entries.par_iter().all(|entry| self.is_shown(&folder, entry))
        {
            return Ok(());
        }
        // Two runs of one cycle would pull the files from under each other.
        plain::make(&folder)?;
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
            clear_folder(&path)?;
            remove_file(&path)?;
            std::os::unix::fs::symlink(&target, &path).at("link", &path)?;
            return Ok(());
        }
        if self.is_shown(folder, entry) {
            return Ok(());
        }
        clear_folder(&path)?;
        Ok(atomic::replace_view(&path, &self.read(&entry.digest)?)?)
    }

    /// Whether a file of the view is as it should be. Small ones are read; of others, the stamp is believed.
    fn is_shown(&self, folder: &Path, entry: &ViewEntry) -> bool {
        is_as(folder, entry, &|path| Ok(self.hash_file(path)?.digest))
    }

    /// Holds the view against what it should show, every byte read. What it should not is of an earlier run if
    /// its own list says so and the store has it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if the folder cannot be listed. A file that cannot be read is a finding.
    pub fn check_view(&self, cycle: &Name, entries: &[ViewEntry]) -> Result<ViewFindings, StoreError> {
        let folder = self.view_folder(cycle);
        let listed = listed(&folder);
        let listed: BTreeMap<&str, &ViewEntry> =
            listed.iter().map(|entry| (entry.path.as_str(), entry)).collect();
        let expected: BTreeMap<&str, &ViewEntry> =
            entries.iter().map(|entry| (entry.path.as_str(), entry)).collect();
        let mut found = ViewFindings::default();
        let present = present(&folder)?;
        for path in &present {
            let path = path.as_str();
            let is = |entry: &&&ViewEntry| is_as(&folder, entry, &whole);
            if expected.get(path).filter(is).is_some() {
                found.shown += 1;
            } else if listed.get(path).filter(is).is_some_and(|entry| self.locate(&entry.digest).is_ok()) {
                found.earlier += 1;
            } else {
                found.wrong.push(format!("{path} is not what the store has"));
            }
        }
        let gone = listed.keys().filter(|path| !present.contains(**path));
        found.wrong.extend(gone.map(|path| format!("{path} is gone")));
        Ok(found)
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

/// What a view is, beside what it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ViewFindings {
    /// Files that are as they should be.
    pub shown: usize,
    /// Files that an earlier run shows.
    pub earlier: usize,
    /// What is wrong with others, each a phrase that names one.
    pub wrong: Vec<String>,
}

/// Whether a file is as it should be; `hash` is asked about large ones.
fn is_as(folder: &Path, entry: &ViewEntry, hash: &dyn Fn(&Path) -> Result<Digest, DiskError>) -> bool {
    if entry.link {
        let target = relative_object(&entry.path, &entry.digest);
        return std::fs::read_link(folder.join(&entry.path)).is_ok_and(|found| found == target);
    }
    let path = folder.join(&entry.path);
    let found = match std::fs::symlink_metadata(&path) {
        Ok(found) if found.is_file() && found.len() <= SMALL => {
            std::fs::read(&path).ok().map(|bytes| Digest::of(&bytes))
        }
        Ok(found) if found.is_file() => hash(&path).ok(),
        _ => None,
    };
    found == Some(entry.digest)
}

fn whole(path: &Path) -> Result<Digest, DiskError> {
    Ok(tree::digest(Mapped::open(path)?.as_ref()))
}

/// What the view's own list says; nothing of a view that is not finished.
fn listed(folder: &Path) -> Vec<ViewEntry> {
    let text = read_small_text("read", &folder.join(MANIFEST), MAX_MANIFEST).unwrap_or_default();
    let entry = |line: &str| {
        let mut fields = line.splitn(3, ' ');
        let (digest, link) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(ViewEntry { path: fields.next()?.to_owned(), digest, link })
    };
    text.lines().filter_map(entry).collect()
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

/// Takes away a folder where a file belongs; what was in it is gone by then.
fn clear_folder(path: &Path) -> Result<(), DiskError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path).at("remove", path),
        _ => Ok(()),
    }
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
        // Whatever was done to it, it is made again, and named before.
        store.show(&cycle, entries.clone()).unwrap();
        let (copy, link) = (root.join("01-source/a.json"), root.join("04-operator/b.slm"));
        let wrong = || store.check_view(&cycle, &entries).unwrap().wrong;
        assert_eq!(store.check_view(&cycle, &entries).unwrap().shown, 2);
        std::fs::write(&copy, b"[]").unwrap();
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(relative_object("04-operator/b.slm", &a.digest), &link).unwrap();
        let not = |path: &str| format!("{path} is not what the store has");
        assert_eq!(wrong(), [not("01-source/a.json"), not("04-operator/b.slm")]);
        store.show(&cycle, entries.clone()).unwrap();
        assert_eq!(wrong(), Vec::<String>::new());
        std::fs::remove_file(&copy).unwrap();
        std::fs::create_dir(&copy).unwrap();
        assert_eq!(wrong(), ["01-source/a.json is gone"]);
        store.show(&cycle, entries.clone()).unwrap();
        assert_eq!(std::fs::read(&copy).unwrap(), b"{}");
        // What this run does not show, an earlier one may.
        assert_eq!(store.check_view(&cycle, &entries[..1]).unwrap().earlier, 1);
    }
}
