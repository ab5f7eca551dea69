//! Models by their digest, whether they are one file or several.
//!
//! A folder's digest is that of the list of its files ([`Listing`]). Each file is remembered by its own
//! stamp, so a changed configuration does not cost reading the weights again. The list of a person's
//! folder is kept in memory until the stage that opens the folder stores it: looking writes nothing.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::{Blob, Store, StoreError};
use crate::base::digest::Digest;
use crate::disk::mmap::Mapped;
use crate::disk::{DiskError, IoContext, tree};
use crate::model::adapter::{self, AdapterError, OpenedAdapter, peft};
use crate::model::listing::{self, ListedFile, Listing, Place};
use crate::model::opened::names_in;
use crate::model::{ModelError, OpenedPackage, Package, open_listed, open_package};

impl Store {
    /// The digest of a person's model, a file or a folder; only what changed since it was last hashed is
    /// read.
    ///
    /// # Errors
    ///
    /// [`StoreError::Model`] of a folder that is no model or adapter, by the names in it; [`StoreError::Disk`]
    /// if a file of it cannot be read, or changes meanwhile. Whether the files are a model is not asked.
    pub fn hash_model(&self, path: &Path) -> Result<Blob, StoreError> {
        if !path.is_dir() {
            return Ok(self.hash_file(path)?);
        }
        let listing = list(path, |file| self.hash_file(file))?;
        let bytes = listing.to_bytes();
        let blob = Blob { digest: Digest::of(&bytes), bytes: bytes.len() as u64 };
        self.listings.lock().unwrap_or_else(PoisonError::into_inner).insert(blob.digest, listing);
        Ok(blob)
    }

    /// The names and lengths of the files of a model that is a folder, by name; nothing is read.
    ///
    /// # Errors
    ///
    /// As [`Self::hash_model`], but the files need not be readable.
    pub fn lengths(&self, folder: &Path) -> Result<Vec<(String, u64)>, StoreError> {
        let length = |name: String| {
            let path = folder.join(&name);
            let bytes = path.metadata().at("examine", &path)?.len();
            Ok((name, bytes))
        };
        let mut lengths =
            names_in(folder)?.into_iter().map(length).collect::<Result<Vec<_>, StoreError>>()?;
        lengths.sort_unstable();
        Ok(lengths)
    }

    /// The digest of a person's model, every byte read.
    ///
    /// # Errors
    ///
    /// As [`Self::hash_model`].
    pub fn rehash_model(&self, path: &Path) -> Result<Digest, StoreError> {
        let whole = |path: &Path| {
            let mapped = Mapped::open(path)?;
            Ok(Blob { digest: tree::digest(mapped.as_ref()), bytes: mapped.stamp().bytes })
        };
        if !path.is_dir() {
            return Ok(whole(path)?.digest);
        }
        Ok(Digest::of(&list(path, whole)?.to_bytes()))
    }

    /// Whether a model is here, whole: the file it is, or each of its files.
    ///
    /// # Errors
    ///
    /// As [`Self::locate`] and [`Self::listing`], and of the first of its files.
    pub fn has_model(&self, digest: &Digest) -> Result<PathBuf, StoreError> {
        let path = self.locate(digest)?;
        if let Some(listing) = self.listing(digest)? {
            self.places(&listing)?;
        }
        Ok(path)
    }

    /// Re-hashes a model that is known by its digest, whatever stamps say.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] of the first of its files that is not what it was; else as [`Self::listing`].
    pub fn rehash_known(&self, digest: &Digest) -> Result<(), StoreError> {
        let whole = |digest: &Digest| {
            let found = tree::digest(Mapped::open(&self.find(digest)?)?.as_ref());
            if found == *digest { Ok(()) } else { Err(StoreError::Damaged { expected: *digest, found }) }
        };
        whole(digest)?;
        let listing = self.listing(digest)?;
        listing.iter().flat_map(Listing::files).try_for_each(|file| whole(&file.blake3))
    }

    /// The files of a model that is several; nothing if it is one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`] or [`StoreError::Changed`] if nothing has the digest; [`StoreError::Model`] of
    /// what begins as a list and is none; [`StoreError::Damaged`] of one with another digest;
    /// [`StoreError::Disk`] if it cannot be read.
    pub fn listing(&self, digest: &Digest) -> Result<Option<Listing>, StoreError> {
        let seen = self.listings.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned();
        if seen.is_some() {
            return Ok(seen);
        }
        // The list itself is checked where it is read, and what is none where it is opened.
        let path = self.find(digest)?;
        let mut head = Vec::new();
        let file = std::fs::File::open(&path).at("open", &path)?;
        let bytes = file.metadata().at("examine", &path)?.len();
        file.take(64).read_to_end(&mut head).at("read", &path)?;
        if bytes > listing::MAX_BYTES || !Listing::sniff(&head) {
            return Ok(None);
        }
        Ok(Some(Listing::from_bytes(&self.read(digest)?).map_err(ModelError::from)?))
    }

    /// Opens a model by its digest.
    ///
    /// # Errors
    ///
    /// As [`Self::has_model`]; [`StoreError::Model`] if the files are not a model of a format that is read.
    pub fn open_model(&self, digest: &Digest) -> Result<OpenedPackage, StoreError> {
        match self.listing(digest)? {
            None => Ok(open_package(&self.locate(digest)?)?),
            Some(listing) => Ok(open_listed(&name_of(digest), &listing, self.places(&listing)?)?),
        }
    }

    /// Opens an adapter by its digest, for the model it is added to.
    ///
    /// # Errors
    ///
    /// As [`Self::has_model`]; [`StoreError::Adapter`] if the files are not an adapter of a format that is
    /// read, or one of PEFT for another base.
    pub fn open_adapter(&self, digest: &Digest, base: &Package) -> Result<OpenedAdapter, StoreError> {
        let Some(listing) = self.listing(digest)? else {
            return Ok(adapter::open(&self.locate(digest)?)?);
        };
        let place = Place::scattered(&name_of(digest), self.places(&listing)?);
        let (adapter, mapped) = peft::open_at(&place, base).map_err(AdapterError::from)?;
        Ok(OpenedAdapter { adapter, mapped })
    }

    /// Where each file of a list is.
    fn places(&self, listing: &Listing) -> Result<BTreeMap<String, PathBuf>, StoreError> {
        let place = |file: &ListedFile| Ok((file.name.clone(), self.locate(&file.blake3)?));
        listing.files().iter().map(place).collect()
    }
}

/// What errors call a model that has no path of its own.
fn name_of(digest: &Digest) -> PathBuf {
    PathBuf::from(format!("the model {}", digest.short()))
}

fn list(folder: &Path, hash: impl Fn(&Path) -> Result<Blob, DiskError>) -> Result<Listing, StoreError> {
    let file = |name: String| {
        let Blob { digest, bytes } = hash(&folder.join(&name))?;
        Ok(ListedFile { name, bytes, blake3: digest })
    };
    let files = names_in(folder)?.into_iter().map(file).collect::<Result<Vec<_>, StoreError>>()?;
    Ok(Listing::new(files).map_err(ModelError::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trained source would need tensors; two files of a PEFT adapter are enough to be listed.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("adapter_config.json"), "{}").unwrap();
        std::fs::write(folder.path().join("adapter_model.safetensors"), "weights").unwrap();
        std::fs::write(folder.path().join("README.md"), "no part of it").unwrap();
        folder
    }

    #[test]
    fn a_folder_is_known_by_the_files_that_make_it() {
        let (folder, home) = (folder(), tempfile::tempdir().unwrap());
        let store = Store::create(home.path()).unwrap();
        let first = store.hash_model(folder.path()).unwrap();
        assert_eq!(store.rehash_model(folder.path()).unwrap(), first.digest);
        let listing = store.listing(&first.digest).unwrap().unwrap();
        assert_eq!((listing.files().len(), listing.total_bytes()), (2, 9));
        let listed: Vec<_> = listing.files().iter().map(|file| (file.name.clone(), file.bytes)).collect();
        assert_eq!(store.lengths(folder.path()).unwrap(), listed);
        std::fs::write(folder.path().join("README.md"), "changed").unwrap();
        assert_eq!(store.hash_model(folder.path()).unwrap(), first);
        std::fs::write(folder.path().join("adapter_config.json"), "{ }").unwrap();
        assert_ne!(store.hash_model(folder.path()).unwrap(), first);
    }

    #[test]
    fn a_list_in_the_store_finds_files_wherever_they_are() {
        let (folder, home) = (folder(), tempfile::tempdir().unwrap());
        let store = Store::create(home.path()).unwrap();
        let listing = {
            let blob = store.hash_model(folder.path()).unwrap();
            store.listing(&blob.digest).unwrap().unwrap()
        };
        let blob = store.put(&listing.to_bytes()).unwrap();
        let other = Store::create(home.path()).unwrap();
        assert_eq!(other.listing(&blob.digest).unwrap(), Some(listing.clone()));
        assert!(other.places(&listing).is_err(), "this store has never seen the files");
        assert_eq!(store.places(&listing).unwrap().len(), 2);
        let model = store.put(b"SLM1 and so on").unwrap();
        assert_eq!(store.listing(&model.digest).unwrap(), None);
    }
}
