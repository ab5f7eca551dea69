//! Read-only memory maps: `unsafe`, because they are a promise about other processes.
//!
//! # The contract
//!
//! The bytes of a map must not change while it lives. Studbook's own blobs are written once, under
//! a temporary name, and renamed: nobody writes to them again. A person's own files (parents) are
//! theirs; whoever edits a parent in place while a cycle reads it gets a digest mismatch from
//! [`Mapped::unchanged`] and the stage fails, but, as with every program that maps files, a file
//! cut short under our hands ends the process with SIGBUS; nothing is published by then.

use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{DiskError, IoContext};

/// A file's bytes in memory, with the stamp of the file they came from.
#[derive(Debug)]
pub struct Mapped {
    map: Option<memmap2::Mmap>,
    file: File,
    path: PathBuf,
    stamp: Stamp,
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// Last change of the content, nanoseconds since 1970.
    pub modified: i128,
    /// Last change of the inode, nanoseconds since 1970.
    pub changed: i128,
}

impl Stamp {
    /// The stamp in `metadata`.
    pub fn of(metadata: &Metadata) -> Self {
        let nanoseconds = |seconds: i64, part: i64| i128::from(seconds) * 1_000_000_000 + i128::from(part);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether an open file still has the content it had at this stamp.
    ///
    /// Losing its last name changes an inode and not its content: that is what happens to a blob
    /// when another process publishes the same bytes over it.
    pub fn holds(&self, metadata: &Metadata) -> bool {
        let mut now = Self::of(metadata);
        if metadata.nlink() == 0 {
            now.changed = self.changed;
        }
        now == *self
    }
}

impl Mapped {
    /// Maps a regular file.
    ///
    /// # Errors
    ///
    /// If there is no such file, or it may not be read or mapped. Folders, pipes and devices are refused before
    /// they are opened.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        // Asked before opening: opening a pipe would wait for a writer.
        let kind = std::fs::metadata(path).at("open", path)?;
        if !kind.is_file() {
            let (kind, message) = if kind.is_dir() {
                (std::io::ErrorKind::IsADirectory, "is a folder, a file was expected")
            } else {
                (std::io::ErrorKind::InvalidInput, "is not a regular file")
            };
            return Err(std::io::Error::new(kind, message)).at("open", path);
        }
        Self::of_file(File::open(path).at("open", path)?, path)
    }

    /// Maps a file that was opened already; `path` is for messages.
    ///
    /// # Errors
    ///
    /// If the system cannot examine or map it.
    pub fn of_file(file: File, path: &Path) -> Result<Self, DiskError> {
        let stamp = Stamp::of(&file.metadata().at("examine", path)?);
        // An empty file cannot be mapped, and has nothing to map.
        let map = if stamp.bytes == 0 { None } else { Some(map(&file).at("map", path)?) };
        Ok(Self { map, file, path: path.to_owned(), stamp })
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The stamp it had when it was mapped.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Whether the file still has the stamp it was mapped with: checked after use, so that an edit
    /// under our hands is noticed before anything made from it is published.
    pub fn unchanged(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| self.stamp.holds(&metadata))
    }
}

impl Mapped {
    /// Lets go of bytes that will not be needed soon: their pages leave this process and stay in the
    /// system's cache as long as it has room. Reading them again costs a little and gives the same.
    pub fn forget(&self, range: Range<usize>) {
        let bytes = self.as_ref().len();
        let range = range.start.min(bytes)..range.end.min(bytes);
        if let Some(map) = self.map.as_ref().filter(|_| !range.is_empty()) {
            forget(map, range);
        }
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

#[expect(unsafe_code, reason = "mapping a file is a promise about other processes; see the module")]
fn map(file: &File) -> std::io::Result<memmap2::Mmap> {
    // SAFETY: the map is read-only and private to us; the module's contract says who may write.
    unsafe { memmap2::MmapOptions::new().map(file) }
}

#[expect(unsafe_code, reason = "some advice changes what memory holds; this one does not here")]
fn forget(map: &memmap2::Mmap, range: Range<usize>) {
    // SAFETY: pages dropped from a shared, read-only map of a file are read from that file again, and
    // the module's contract says that it holds what it held. It is advice: failing changes nothing.
    let _ =
        unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_files_and_refuses_folders() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"abc").unwrap();
        let mapped = Mapped::open(&path).unwrap();
        assert_eq!(mapped.as_ref(), b"abc");
        assert!(mapped.unchanged());
        std::fs::write(&path, b"abcd").unwrap();
        assert!(!mapped.unchanged());
        let error = Mapped::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("a file was expected"), "{error}");
        assert!(Mapped::open(&folder.path().join("none")).unwrap_err().is_not_found());
    }

    #[test]
    fn a_file_replaced_by_another_is_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&path, b"abc").unwrap();
        std::fs::write(&other, b"abc").unwrap();
        let mapped = Mapped::open(&path).unwrap();
        // Long enough for a file system with a coarse clock to give the inode another time.
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::fs::rename(&other, &path).unwrap();
        assert!(mapped.unchanged());
        assert_eq!(mapped.as_ref(), b"abc");
    }

    #[test]
    fn what_was_forgotten_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let bytes: Vec<u8> = (0..100_000).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let mapped = Mapped::open(&path).unwrap();
        assert_eq!(mapped.as_ref(), bytes);
        for range in [0..0, 1..2, 5000..70_000, 99_999..usize::MAX, 0..usize::MAX, usize::MAX..usize::MAX] {
            mapped.forget(range);
            assert_eq!(mapped.as_ref(), bytes);
        }
    }

    #[test]
    fn an_empty_file_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty");
        std::fs::write(&path, b"").unwrap();
        assert!(Mapped::open(&path).unwrap().as_ref().is_empty());
    }
}
