//! An artifact hashed while it is written, never read again for it.
//!
//! BLAKE3 is a tree over 1 KiB chunks. Each whole MiB of the file is one subtree, hashed as soon as
//! it is complete; the first one is kept in memory until the end, because model writers patch a
//! checksum into their header last ([`crate::base::sink`]). At the end the subtrees are joined; the
//! result is the plain BLAKE3 digest of the file.

use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use blake3::hazmat::{ChainingValue, HasherExt};
use tempfile::NamedTempFile;

use super::atomic::temporary_in;
use super::fresh::Durability;
use super::{DiskError, IoContext, fault, space, tree};
use crate::base::digest::Digest;
use crate::base::sink::{ArtifactSink, PATCHABLE, patch_slice};

/// One subtree: a power of two of chunks, and all of what may still be patched.
const SUBTREE: usize = tree::SUBTREE;
const _: () = assert!(SUBTREE == PATCHABLE);

/// Bytes given to the system at a time, always from a multiple of as many on: then it keeps them in one run
/// of memory, where the same bytes from any other place on took several runs, some of them cleared before,
/// and twice as long. Larger writes make it look for larger runs of free memory, which in a virtual machine
/// took five times as long as the copying itself; these also lie in a core's second cache still when they
/// are hashed.
const STEP: usize = 64 << 10;

/// A file being written, its digest growing along.
#[derive(Debug)]
pub struct HashedFile {
    file: NamedTempFile,
    folder: PathBuf,
    /// The first subtree, which may still change, and whether it did.
    head: Vec<u8>,
    patched: bool,
    /// What is hashed but waits for the rest of its step.
    waiting: Vec<u8>,
    /// The subtree that is being filled, and how many bytes it has.
    growing: blake3::Hasher,
    grown: usize,
    subtrees: Vec<ChainingValue>,
    bytes: u64,
    /// How many there will be, if somebody said so.
    announced: u64,
}

/// A finished temporary file that nobody can see yet.
#[derive(Debug)]
pub struct Unpublished {
    pub(crate) file: NamedTempFile,
    /// BLAKE3 of the content.
    pub digest: Digest,
    /// Length.
    pub bytes: u64,
}

impl Unpublished {
    /// Gives the file its name; one that is there already is replaced only if asked for.
    ///
    /// # Errors
    ///
    /// If something is there that is not to be replaced, or is a folder, or if the disk refuses the name. The
    /// temporary file is removed then.
    pub fn persist(self, path: &Path, replace: bool) -> Result<(), DiskError> {
        let persisted = if replace { self.file.persist(path) } else { self.file.persist_noclobber(path) };
        persisted.map(drop).map_err(|error| error.error).at("write", path)
    }
}

impl HashedFile {
    /// Starts a file in `folder` (which must be on the file system it is later renamed within).
    ///
    /// # Errors
    ///
    /// If the folder is not there, or no file can be made in it.
    pub fn create(folder: &Path) -> Result<Self, DiskError> {
        // Read-only once published: nobody edits a blob by mistake.
        Self::create_with_mode(folder, 0o444)
    }

    /// Starts a file that gets these permissions, less what the umask takes.
    ///
    /// # Errors
    ///
    /// As [`Self::create`].
    pub fn create_with_mode(folder: &Path, mode: u32) -> Result<Self, DiskError> {
        Ok(Self {
            file: temporary_in(folder, mode)?,
            folder: folder.to_owned(),
            head: Vec::new(),
            patched: false,
            waiting: Vec::new(),
            growing: blake3::Hasher::new(),
            grown: 0,
            subtrees: Vec::new(),
            bytes: 0,
            announced: 0,
        })
    }

    /// Starts a file with just these permissions, whatever the umask is.
    ///
    /// # Errors
    ///
    /// As [`Self::create`], or if the file system refuses the permissions.
    pub fn create_with_exact_mode(folder: &Path, mode: u32) -> Result<Self, DiskError> {
        let made = Self::create_with_mode(folder, mode)?;
        let permissions = std::fs::Permissions::from_mode(mode);
        made.file.as_file().set_permissions(permissions).at("open to others", folder)?;
        Ok(made)
    }

    fn absorb(&mut self, bytes: &[u8]) {
        let into_head = bytes.len().min(SUBTREE - self.head.len());
        let (head, mut rest) = bytes.split_at(into_head);
        self.head.extend_from_slice(head);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(SUBTREE - self.grown));
            if self.grown == 0 {
                // A new one: a reset hasher keeps its old offset.
                self.growing = tree::hasher(self.subtrees.len() + 1);
            }
            self.growing.update(now);
            self.grown += now.len();
            if self.grown == SUBTREE {
                self.subtrees.push(self.growing.finalize_non_root());
                self.grown = 0;
            }
            rest = later;
        }
    }

    /// Joins the digest, makes the bytes durable.
    ///
    /// # Errors
    ///
    /// If the last bytes or a late patch cannot be written, or the disk fails to sync. The temporary file is
    /// removed then.
    pub fn finish(self) -> Result<Unpublished, DiskError> {
        self.end(true)
    }

    /// Joins the digest and leaves it to the system when the bytes reach the disk: for what is
    /// checked against its digest whenever it is read, and made again if a power cut took it.
    pub(crate) fn finish_unsynced(self) -> Result<Unpublished, DiskError> {
        self.end(false)
    }

    /// Ends as [`Self::finish`], or leaves it to the system when the bytes reach the disk.
    ///
    /// # Errors
    ///
    /// As [`Self::finish`]; without a sync, a disk that fails later is not noticed here.
    pub fn finish_as(self, durability: Durability) -> Result<Unpublished, DiskError> {
        self.end(durability == Durability::Synced)
    }

    fn end(mut self, sync: bool) -> Result<Unpublished, DiskError> {
        let path = self.folder.clone();
        let file = self.file.as_file_mut();
        file.write_all(&self.waiting).at("write in", &path)?;
        if self.bytes < self.announced {
            // Room that was kept for nothing is given back.
            file.set_len(self.bytes).at("write in", &path)?;
        }
        if self.patched {
            file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&self.head)).at("write in", &path)?;
        }
        fault::point("blob-written").at("write in", &path)?;
        if sync {
            self.file.as_file().sync_data().at("write in", &path)?;
            fault::point("blob-synced").at("write in", &path)?;
        }
        let digest = self.join();
        Ok(Unpublished { file: self.file, digest, bytes: self.bytes })
    }

    fn join(&mut self) -> Digest {
        if self.bytes <= SUBTREE as u64 {
            return Digest::of(&self.head);
        }
        let mut values = vec![tree::subtree(&self.head, 0)];
        values.append(&mut self.subtrees);
        if self.grown > 0 {
            values.push(self.growing.finalize_non_root());
        }
        tree::join(&values)
    }
}

impl ArtifactSink for HashedFile {
    fn announce(&mut self, bytes: u64) -> io::Result<()> {
        space::check(&self.folder, bytes).map_err(io::Error::other)?;
        self.announced = bytes;
        space::keep(self.file.as_file(), bytes).at("keep room in", &self.folder).map_err(io::Error::other)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        let mut rest = bytes;
        while self.waiting.len() + rest.len() >= STEP {
            let (now, later) = rest.split_at(STEP - self.waiting.len());
            if self.waiting.is_empty() {
                self.file.as_file_mut().write_all(now)?;
            } else {
                self.waiting.extend_from_slice(now);
                self.file.as_file_mut().write_all(&self.waiting)?;
                self.waiting.clear();
            }
            self.absorb(now);
            rest = later;
        }
        self.waiting.extend_from_slice(rest);
        self.absorb(rest);
        Ok(())
    }

    fn patch(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.patched = true;
        patch_slice(&mut self.head, offset, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths around every boundary, written in pieces of awkward sizes, patched at the end.
    #[test]
    fn is_the_plain_digest_for_any_length_and_any_split() {
        let folder = tempfile::tempdir().unwrap();
        for length in
            [0, 1, 1024, SUBTREE - 1, SUBTREE, SUBTREE + 1, 2 * SUBTREE, 3 * SUBTREE + 77, 7 * SUBTREE]
        {
            let mut expected: Vec<u8> = (0..length).map(|i| (i * 31 % 251) as u8).collect();
            for piece in [7_777, 900_001, SUBTREE, 3 * SUBTREE] {
                let mut file = HashedFile::create(folder.path()).unwrap();
                for bytes in expected.chunks(piece) {
                    file.write(bytes).unwrap();
                }
                if length > 10 {
                    expected[3] ^= 0x55;
                    file.patch(3, &[expected[3]]).unwrap();
                }
                let done = file.finish().unwrap();
                assert_eq!(done.digest, Digest::of(&expected), "length {length}, pieces of {piece}");
                assert_eq!(std::fs::read(done.file.path()).unwrap(), expected);
                assert_eq!(done.bytes, length as u64);
            }
        }
    }

    #[test]
    fn what_was_announced_does_not_show() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let content = vec![7; SUBTREE];
        for announced in [0, 10, SUBTREE, 8 * SUBTREE] {
            let mut file = HashedFile::create(folder.path()).unwrap();
            file.announce(announced as u64).unwrap();
            assert_eq!(file.file.as_file().metadata().unwrap().len(), 0);
            file.write(&content).unwrap();
            let done = file.finish().unwrap();
            let found = done.file.as_file().metadata().unwrap();
            assert_eq!((found.len(), done.digest), (SUBTREE as u64, Digest::of(&content)));
            assert!(found.blocks() * 512 < 2 * SUBTREE as u64, "room for {announced} is given back");
        }
        let error = HashedFile::create(folder.path()).unwrap().announce(1 << 62).unwrap_err().to_string();
        assert!(error.contains("are needed"), "{error}");
    }

    #[test]
    fn a_late_patch_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = HashedFile::create(folder.path()).unwrap();
        file.write(&vec![0; 2 * SUBTREE]).unwrap();
        assert!(file.patch(SUBTREE - 1, &[1, 2]).is_err());
        assert!(file.patch(usize::MAX, &[1]).is_err());
    }
}
