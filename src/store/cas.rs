//! Blobs under their digest.
//!
//! How long a writer waits for the disk follows from what a power cut would cost. Nothing half
//! written is ever believed, since every blob is checked against its name; so what is at stake is
//! work, not truth:
//!
//! ```text
//! artifact   hours of work     its bytes, then its name, are on the disk before anything goes on
//! record     seconds           its bytes before its name; names are settled together, before the
//!                              ledger speaks of them and when a run ends
//! memo       the last seconds  not waited for: explanations, batches of outcomes, results of actions inside
//!                              a stage
//! ```

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::base::digest::Digest;
use crate::base::sink::ArtifactSink;
use crate::disk::atomic::sync_folder;
use crate::disk::hashed::{HashedFile, Unpublished};
use crate::disk::mmap::{Mapped, Stamp};
use crate::disk::stamps::now;
use crate::disk::{DiskError, IoContext, fault, tree};

/// A blob: what it hashes to and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// BLAKE3 of its bytes.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
}

/// Documents are read whole; nothing that is one is longer, but for outcomes of many cases.
const MAX_DOCUMENT: u64 = 64 << 20;

/// Files up to here are read, not mapped.
pub(super) const SMALL: u64 = 64 << 10;

fn changed() -> std::io::Error {
    std::io::Error::other("the file changed while it was being read")
}

impl Store {
    /// Where a blob lies if it is here.
    pub fn object_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_hex();
        self.root.join("objects").join(&hex[..2]).join(&hex[2..])
    }

    /// Stores a document. Its name is durable after [`Store::settle`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if it cannot be written, or if what has its name cannot be read.
    pub fn put(&self, bytes: &[u8]) -> Result<Blob, StoreError> {
        self.put_as(bytes, HashedFile::finish)
    }

    /// Stores a document that anybody can do without: one that only explains, or is soon part of another.
    ///
    /// # Errors
    ///
    /// As [`Self::put`].
    pub fn put_memo(&self, bytes: &[u8]) -> Result<Blob, StoreError> {
        self.put_as(bytes, HashedFile::finish_unsynced)
    }

    fn put_as(
        &self,
        bytes: &[u8],
        finish: fn(HashedFile) -> Result<Unpublished, DiskError>,
    ) -> Result<Blob, StoreError> {
        let blob = Blob { digest: Digest::of(bytes), bytes: bytes.len() as u64 };
        if self.holds(&blob)? {
            return Ok(blob);
        }
        let mut file = self.artifact()?;
        file.write(bytes).at("write a blob in", &self.root)?;
        let (blob, folder) = self.rename(finish(file)?)?;
        self.unsettled(folder);
        Ok(blob)
    }

    /// Starts an artifact that will become a blob.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if no file can be made in the store's `tmp`.
    pub fn artifact(&self) -> Result<HashedFile, StoreError> {
        let folder = self.root.join("tmp");
        std::fs::create_dir_all(&folder).at("create the folder", &folder)?;
        self.at_work()?;
        Ok(HashedFile::create(&folder)?)
    }

    /// Makes a finished artifact a blob, for good.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if the file cannot be given its name, or the name not be synced.
    pub fn publish(&self, artifact: Unpublished) -> Result<Blob, StoreError> {
        let (blob, folder) = self.rename(artifact)?;
        sync_folder(&folder)?;
        Ok(blob)
    }

    /// Makes everything durable that was written so far: each folder once, however many files went
    /// there. Whoever settles meanwhile waits: what it wrote may be among it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if a folder cannot be synced: that one and those behind it stay unsettled.
    pub fn settle(&self) -> Result<(), StoreError> {
        let mut folders = self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(folder) = folders.first() {
            sync_folder(folder)?;
            folders.pop_first();
        }
        Ok(())
    }

    /// A name was made in this folder that must be settled.
    pub(super) fn unsettled(&self, folder: PathBuf) {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner).insert(folder);
    }

    fn rename(&self, artifact: Unpublished) -> Result<(Blob, PathBuf), StoreError> {
        let blob = Blob { digest: artifact.digest, bytes: artifact.bytes };
        let path = self.object_path(&blob.digest);
        let folder = path.parent().expect("objects lie in folders");
        std::fs::create_dir_all(folder).at("create the folder", folder)?;
        artifact.file.persist(&path).map_err(|error| error.error).at("write", &path)?;
        fault::point("blob-renamed").at("write", &path)?;
        let stamp = std::fs::metadata(&path).at("examine", &path)?;
        self.stamps.remember(&path, Stamp::of(&stamp), blob.digest, now());
        Ok((blob, folder.to_owned()))
    }

    /// Whether a blob is here, whole. Its bytes are read only if the file changed since they were.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] if there is a file and it cannot be read, or changes meanwhile. One that is
    /// missing, another or no plain file is no error.
    pub fn holds(&self, blob: &Blob) -> Result<bool, StoreError> {
        let path = self.object_path(&blob.digest);
        let metadata = match std::fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).at("examine", &path)?,
        };
        if !metadata.is_file() || metadata.len() != blob.bytes {
            return Ok(false);
        }
        if self.stamps.recall(&path, &Stamp::of(&metadata)) == Some(blob.digest) {
            return Ok(true);
        }
        Ok(self.hash_file(&path)?.digest == blob.digest)
    }

    /// The digest of a file of anybody's, read only if it changed since it was last hashed.
    ///
    /// # Errors
    ///
    /// If there is no such file, it is no regular file or cannot be read, or it changes meanwhile.
    pub fn hash_file(&self, path: &Path) -> Result<Blob, DiskError> {
        let path = &std::path::absolute(path).at("find", path)?;
        let metadata = std::fs::metadata(path).at("open", path)?;
        if metadata.is_file()
            && let Some(digest) = self.stamps.recall(path, &Stamp::of(&metadata))
        {
            return Ok(Blob { digest, bytes: metadata.len() });
        }
        if metadata.is_file() && metadata.len() <= SMALL {
            return self.hash_small(path);
        }
        let (began, mapped) = (now(), Mapped::open(path)?);
        let digest = tree::digest(mapped.as_ref());
        if !mapped.unchanged() {
            return Err(changed()).at("hash", path);
        }
        self.stamps.remember(path, mapped.stamp(), digest, began);
        Ok(Blob { digest, bytes: mapped.stamp().bytes })
    }

    /// Reading costs less than mapping where there is little to read.
    fn hash_small(&self, path: &Path) -> Result<Blob, DiskError> {
        let (began, mut file) = (now(), File::open(path).at("open", path)?);
        let stamp = Stamp::of(&file.metadata().at("examine", path)?);
        let mut bytes = Vec::with_capacity(stamp.bytes.min(2 * SMALL) as usize);
        file.read_to_end(&mut bytes).at("read", path)?;
        if !stamp.holds(&file.metadata().at("examine", path)?) {
            return Err(changed()).at("hash", path);
        }
        let digest = Digest::of(&bytes);
        self.stamps.remember(path, stamp, digest, began);
        Ok(Blob { digest, bytes: stamp.bytes })
    }

    /// Maps a blob, or a source file known to have this digest.
    ///
    /// # Errors
    ///
    /// As [`Self::locate`], and if the file cannot be mapped.
    pub fn map(&self, digest: &Digest) -> Result<Arc<Mapped>, StoreError> {
        Ok(Arc::new(Mapped::open(&self.locate(digest)?)?))
    }

    /// A file that has this digest: a blob of ours, or a person's file. Its bytes are read only if it changed
    /// since they were: a name in the store is a claim, and another file may have been put under it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if a blob is not what its name says, even where there is a good copy elsewhere:
    /// somebody should know. [`StoreError::Missing`] if nothing has the digest; [`StoreError::Changed`] with
    /// the file that had it; [`StoreError::Disk`] if the blob cannot be read.
    pub fn locate(&self, digest: &Digest) -> Result<PathBuf, StoreError> {
        let object = self.object_path(digest);
        if !object.is_file() {
            return self.elsewhere(digest);
        }
        match self.found_in(&object)? {
            found if found == *digest => Ok(object),
            found => Err(StoreError::Damaged { expected: *digest, found }),
        }
    }

    /// Like [`Store::locate`], for those who check the bytes of a blob themselves.
    pub(super) fn find(&self, digest: &Digest) -> Result<PathBuf, StoreError> {
        let object = self.object_path(digest);
        if object.is_file() { Ok(object) } else { self.elsewhere(digest) }
    }

    /// What a blob's bytes are. Another run may put the same blob there just now, which is no change of it.
    fn found_in(&self, object: &Path) -> Result<Digest, DiskError> {
        Ok(self.hash_file(object).or_else(|_| self.hash_file(object))?.digest)
    }

    /// A person's file that was hashed and has not changed since.
    fn elsewhere(&self, digest: &Digest) -> Result<PathBuf, StoreError> {
        let known = self.stamps.paths_of(digest);
        let still = known.iter().find(|path| self.hash_file(path).is_ok_and(|blob| blob.digest == *digest));
        still.cloned().ok_or_else(|| self.lost(digest, known))
    }

    /// Why a digest is not found, though these files had it.
    fn lost(&self, digest: &Digest, known: Vec<PathBuf>) -> StoreError {
        let object = self.object_path(digest);
        let ours =
            |path: &PathBuf| *path == object || std::path::absolute(&object).is_ok_and(|own| own == *path);
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        // Hashed anew, a file is known by what it is now; whoever asks next is told the same.
        if let Some(path) = known.into_iter().find(|path| !ours(path)) {
            changed.insert(*digest, path);
        }
        match changed.get(digest) {
            Some(path) => StoreError::Changed { path: path.clone(), digest: *digest },
            None => StoreError::Missing(*digest),
        }
    }

    /// Reads a document, checking its bytes against its name.
    ///
    /// # Errors
    ///
    /// As [`Self::read_up_to`], of more than 64 MiB.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        self.read_up_to(digest, MAX_DOCUMENT)
    }

    /// Reads a document of a kind that may have so many bytes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`] or [`StoreError::Changed`] if nothing has the digest; [`StoreError::Damaged`] if
    /// the bytes have another one; [`StoreError::Disk`] if they are more than `most`, or cannot be read.
    pub fn read_up_to(&self, digest: &Digest, most: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.find(digest)?;
        let bytes = std::fs::metadata(&path).at("examine", &path)?.len();
        if bytes > most {
            let error = format!("{bytes} bytes are too many for a document, at most {most} are read");
            return Err(std::io::Error::other(error)).at("read", &path)?;
        }
        let bytes = std::fs::read(&path).at("read", &path)?;
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(StoreError::Damaged { expected: *digest, found });
        }
        Ok(bytes)
    }

    /// Re-hashes a blob, whatever its stamp says.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`] or [`StoreError::Changed`] if nothing has the digest; [`StoreError::Damaged`] if
    /// the bytes have another one, or another length; [`StoreError::Disk`] if they cannot be read.
    pub fn rehash(&self, blob: &Blob) -> Result<(), StoreError> {
        let mapped = match Mapped::open(&self.find(&blob.digest)?) {
            Ok(mapped) => mapped,
            Err(error) if error.is_not_found() => return Err(StoreError::Missing(blob.digest)),
            Err(error) => return Err(error.into()),
        };
        let found = tree::digest(mapped.as_ref());
        if found != blob.digest || mapped.stamp().bytes != blob.bytes {
            return Err(StoreError::Damaged { expected: blob.digest, found });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_blob_is_not_held() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let blob = store.put(b"twelve bytes").unwrap();
        assert!(store.holds(&blob).unwrap());
        let path = store.object_path(&blob.digest);
        // Same length, other bytes: only the changed stamp tells.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"twelve bytez").unwrap();
        assert!(!store.holds(&blob).unwrap());
        assert!(matches!(store.read(&blob.digest), Err(StoreError::Damaged { .. })));
        // Stored again, it is whole again.
        assert_eq!(store.put(b"twelve bytes").unwrap(), blob);
        assert!(store.holds(&blob).unwrap());
    }

    /// A second stage that settles may not go on where the first one failed.
    #[test]
    fn what_could_not_be_settled_stays_unsettled() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        store.put(b"settled").unwrap();
        let gone = folder.path().join("gone");
        store.unsettled(gone.clone());
        for _ in 0..2 {
            assert!(store.settle().unwrap_err().to_string().contains("gone"));
        }
        std::fs::create_dir(&gone).unwrap();
        store.settle().unwrap();
        assert!(store.unsettled.lock().unwrap().is_empty());
    }

    #[test]
    fn files_of_many_subtrees_hash_as_ever() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(&folder.path().join("s")).unwrap();
        let bytes: Vec<u8> = (0..(11 << 20) + 5_u32).map(|i| (i % 253) as u8).collect();
        let path = folder.path().join("big");
        std::fs::write(&path, &bytes).unwrap();
        let blob = store.hash_file(&path).unwrap();
        assert_eq!(blob.digest, Digest::of(&bytes));
        assert_eq!(store.locate(&blob.digest).unwrap(), path);
        std::fs::write(&path, b"changed").unwrap();
        for _ in 0..2 {
            let error = store.locate(&blob.digest).unwrap_err();
            assert!(matches!(&error, StoreError::Changed { path: named, .. } if *named == path), "{error}");
        }
        // Other bytes under the name of a blob are not that blob.
        let (one, two) = (store.put(b"one model").unwrap(), store.put(b"two model").unwrap());
        let place = store.object_path(&one.digest);
        std::fs::remove_file(&place).unwrap();
        std::fs::copy(store.object_path(&two.digest), &place).unwrap();
        let error = store.locate(&one.digest).unwrap_err();
        assert!(
            matches!(error, StoreError::Damaged { expected, found } if (expected, found) == (one.digest, two.digest))
        );
        // What was the store's alone is nobody's file.
        let own = store.put(b"a blob").unwrap();
        std::fs::remove_file(store.object_path(&own.digest)).unwrap();
        assert!(matches!(store.locate(&own.digest), Err(StoreError::Missing(_))));
    }

    #[test]
    fn a_document_is_as_long_as_its_kind_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let bytes = vec![b'x'; MAX_DOCUMENT as usize + 1];
        let blob = store.put(&bytes).unwrap();
        let error = store.read(&blob.digest).unwrap_err().to_string();
        assert!(error.contains("67108865 bytes are too many for a document, at most 67108864"), "{error}");
        assert_eq!(store.read_up_to(&blob.digest, blob.bytes).unwrap(), bytes);
        assert!(store.read_up_to(&blob.digest, blob.bytes - 1).is_err());
    }

    #[test]
    fn a_newer_store_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("version"), "studbook-store 2\n").unwrap();
        assert!(matches!(Store::create(folder.path()), Err(StoreError::Newer { found: 2, .. })));
        std::fs::write(folder.path().join("version"), "hello").unwrap();
        assert!(matches!(Store::open(folder.path()), Err(StoreError::NotAStore { .. })));
    }
}
