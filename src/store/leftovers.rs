//! What runs that were killed left half-written: never believed, but it takes room.
//!
//! Several runs may work in one store, and the temporary files of a living one look like those of a dead one.
//! So every writer says that it is at work ([`crate::disk::presence`]) before its first file, and only who
//! finds nobody else at work removes what lies there. The ledger and the registry have locks of their own and
//! see to their folders themselves.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::{Store, StoreError};
use crate::disk::presence::Presence;
use crate::disk::{DiskError, IoContext, atomic};

/// Where writers have temporary files, and whether those lie in folders of it.
const WRITTEN: [(&str, bool); 8] = [
    ("tmp", false),
    ("index", false),
    ("actions", true),
    ("builds", true),
    ("evidence", true),
    ("attestations", false),
    ("attestations/earlier", false),
    ("releases", true),
];

impl Store {
    /// Says that we write here, once; to be called before anything is written to those folders.
    pub(super) fn at_work(&self) -> Result<(), StoreError> {
        let mut presence = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        if presence.is_none() {
            let entered = Presence::enter(&self.root.join("at-work"), || {
                WRITTEN.iter().try_for_each(|(folder, deep)| clean(&self.root.join(folder), *deep))
            });
            *presence = Some(entered?);
        }
        Ok(())
    }
}

fn clean(folder: &Path, deep: bool) -> Result<(), DiskError> {
    if !folder.is_dir() {
        return Ok(());
    }
    if !deep {
        return atomic::remove_leftovers(folder);
    }
    folders_in(folder)?.iter().try_for_each(|folder| atomic::remove_leftovers(folder))
}

/// The folders in a folder, links to others left alone.
fn folders_in(folder: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).at("list", folder)? {
        let entry = entry.at("list", folder)?;
        if entry.file_type().at("examine", entry.path())?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_are_cleaned_up_after_and_the_living_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let all = [
            "tmp/.tmp-a",
            "actions/ab/.tmp-b",
            "builds/cd/.tmp-c",
            "evidence/ef/.tmp-d",
            "attestations/.tmp-e",
            "releases/tiny/.tmp-f",
            "index/.tmp-g",
        ];
        let leave = || {
            for path in all.map(|path| root.join(path)) {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, b"half").unwrap();
            }
        };
        drop(Store::create(root).unwrap());
        let left = || all.iter().filter(|path| root.join(path).exists()).count();
        leave();
        std::fs::write(root.join("actions/ab/whole"), b"whole").unwrap();
        let living = Store::open(root).unwrap();
        assert_eq!(left(), all.len(), "who only reads removes nothing");
        living.make().unwrap();
        assert_eq!(left(), 0);
        assert!(root.join("actions/ab/whole").exists());
        // These are the living one's.
        leave();
        let other = Store::create(root).unwrap();
        assert_eq!(left(), all.len());
        drop((living, other));
        Store::create(root).unwrap().put(b"a blob").unwrap();
        assert_eq!(left(), 0);
    }
}
