//! The files of a dossier, opened once and without following a link, each step from the folder above.
//!
//! Documents are read whole, within bounds. The model comes after them and is mapped and hashed through the
//! handle that is used afterwards, if it is no longer than its receipt says: nobody hashes a disk for a lie.
//! Whatever is not a plain file with one name is refused, not skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags, openat};

use super::evidence::model_bytes;
use super::layout::{self, MODEL_FOLDER};
use crate::base::digest::{Digest, Sha256};
use crate::disk::mmap::Mapped;
use crate::disk::small::read_small_text;
use crate::disk::{DiskError, IoContext, strangers, tree};
use crate::evaluate::outcome::MAX_OUTCOMES;

/// The longest document, but for outcomes.
const MAX_DOCUMENT: u64 = 64 << 20;
/// All documents together: they are held in memory. Room for the longest outcomes and as much besides.
const MAX_DOCUMENTS: u64 = 2 * MAX_OUTCOMES;
/// Most files: a model's listing has its own bound.
const MAX_FILES: usize = 300_000;
/// Folders within folders.
const MAX_DEPTH: usize = 12;

/// A file of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// Its path in the model's folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// What every tool can check.
    pub sha256: Sha256,
    /// What the store and a list of files know it by.
    pub blake3: Digest,
    /// Where it lies.
    pub path: PathBuf,
}

/// Everything in a dossier's folder.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// Documents by path.
    pub documents: BTreeMap<String, Vec<u8>>,
    /// The files below `model/`, by name.
    pub model: Vec<ModelFile>,
}

/// Why a folder cannot be a dossier: trouble with the disk, or something in it.
#[derive(Debug)]
pub enum Unreadable {
    /// The machine.
    Disk(DiskError),
    /// The folder: a phrase with the path.
    Refused(String),
}

impl From<DiskError> for Unreadable {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// Reads a folder.
///
/// # Errors
///
/// [`Unreadable::Refused`] of what no dossier holds: links, second names, files that are too many or too large;
/// [`Unreadable::Disk`] if the disk fails.
pub fn read(root: &Path) -> Result<Files, Unreadable> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(root, flags, Mode::empty()).map_err(std::io::Error::from);
    let opened = opened.at("open the dossier", root)?;
    let mut reader =
        Reader { root, files: Files::default(), count: 0, bytes: 0, has_model: false, model_bytes: 0 };
    reader.walk(&opened, "", 0)?;
    // Without its receipt there is nothing to compare a model with; whoever reads the records says so.
    if reader.has_model
        && let Some(bytes) = model_bytes(&reader.files.documents)
    {
        reader.model_bytes = bytes;
        reader.take(opened.as_fd(), MODEL_FOLDER, MODEL_FOLDER, 0)?;
    }
    reader.files.model.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(reader.files)
}

/// Why a folder may not be replaced by a dossier, as the rest of a sentence that begins with "it": whatever is
/// in it and no file of a dossier by its own list. Nothing if it may.
///
/// # Errors
///
/// If the folder or its list cannot be read.
pub fn why_not(folder: &Path) -> Result<Option<String>, DiskError> {
    // Other people's folders have such a list, too.
    let sums = match folder.join(layout::INDEX).exists() {
        true => read_small_text("read", &folder.join(layout::SUMS), MAX_DOCUMENT)?,
        false => String::new(),
    };
    let listed = sums.lines().filter_map(|line| line.split_once("  ")).map(|(_, path)| path);
    let listed: BTreeSet<&str> = listed.collect();
    let unlisted = |path: &str| [layout::SUMS, layout::SIGNATURE].contains(&path) && !listed.is_empty();
    let stranger = strangers::first(folder, &|path| listed.contains(path) || unlisted(path))?;
    Ok(stranger.map(|stranger| format!("holds {stranger:?}, which is no file of a dossier by its list")))
}

struct Reader<'a> {
    root: &'a Path,
    files: Files,
    count: usize,
    bytes: u64,
    /// Whether there is something where the model should be; it is left for the end.
    has_model: bool,
    /// Bytes of the model that are still to come.
    model_bytes: u64,
}

fn refused<T>(path: &str, why: &str) -> Result<T, Unreadable> {
    Err(Unreadable::Refused(format!("{path:?} {why}")))
}

impl Reader<'_> {
    fn walk(&mut self, folder: &OwnedFd, prefix: &str, depth: usize) -> Result<(), Unreadable> {
        if depth > MAX_DEPTH {
            return refused(prefix, "is a folder within too many folders");
        }
        let here = self.root.join(prefix);
        let entries = Dir::read_from(folder).map_err(std::io::Error::from).at("list", &here)?;
        let mut found = false;
        for entry in entries {
            let entry = entry.map_err(std::io::Error::from).at("list", &here)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            found = true;
            if depth == 0 && name.to_bytes() == MODEL_FOLDER.as_bytes() {
                self.has_model = true;
                continue;
            }
            let Ok(text) = name.to_str() else {
                return refused(
                    &format!("{prefix}{}", name.to_string_lossy()),
                    "has a name that is not text",
                );
            };
            self.take(folder.as_fd(), &format!("{prefix}{text}"), text, depth)?;
        }
        if found || depth == 0 { Ok(()) } else { refused(prefix, "is an empty folder") }
    }

    fn take(
        &mut self,
        folder: BorrowedFd<'_>,
        path: &str,
        name: &str,
        depth: usize,
    ) -> Result<(), Unreadable> {
        self.count += 1;
        if self.count > MAX_FILES {
            return refused(path, &format!("is one of more than {MAX_FILES} files"));
        }
        let place = self.root.join(path);
        // A pipe would wait for a writer if it were opened to be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = match openat(folder, name, flags, Mode::empty()) {
            Ok(opened) => opened,
            Err(rustix::io::Errno::LOOP) => return refused(path, "is a symbolic link"),
            Err(rustix::io::Errno::NXIO) => return refused(path, "is not a plain file"),
            Err(error) => return Err(std::io::Error::from(error)).at("open", &place)?,
        };
        let file = File::from(opened);
        let metadata = file.metadata().at("examine", &place)?;
        if metadata.is_dir() {
            return self.walk(&OwnedFd::from(file), &format!("{path}/"), depth + 1);
        }
        if !metadata.is_file() {
            return refused(path, "is not a plain file");
        }
        if metadata.nlink() > 1 {
            return refused(path, "has another name elsewhere (a hard link)");
        }
        match path.strip_prefix(layout::MODEL) {
            Some(inner) => {
                let bytes = metadata.len();
                let Some(left) = self.model_bytes.checked_sub(bytes) else {
                    return refused(path, &format!("has {bytes} bytes, more than the receipt of the model"));
                };
                self.model_bytes = left;
                let model = hash(file, inner, place)?;
                self.files.model.push(model);
            }
            None => self.document(file, path, &place, metadata.len())?,
        }
        Ok(())
    }

    fn document(&mut self, file: File, path: &str, place: &Path, bytes: u64) -> Result<(), Unreadable> {
        self.bytes = self.bytes.saturating_add(bytes);
        let most = if layout::is_outcomes(path) { MAX_OUTCOMES } else { MAX_DOCUMENT };
        if bytes > most {
            let why = format!("has {bytes} bytes, too many for a document of a dossier: at most {most}");
            return refused(path, &why);
        }
        if self.bytes > MAX_DOCUMENTS {
            let why =
                format!("is one of documents of more than {MAX_DOCUMENTS} bytes, too many for a dossier");
            return refused(path, &why);
        }
        let mut content = Vec::with_capacity(bytes as usize);
        file.take(bytes + 1).read_to_end(&mut content).at("read", place)?;
        if content.len() as u64 != bytes {
            return refused(path, "changed while it was being read");
        }
        self.files.documents.insert(path.to_owned(), content);
        Ok(())
    }
}

/// Hashes a file of a model through the handle it was opened by.
///
/// # Errors
///
/// If the file cannot be mapped, or changes meanwhile.
pub fn hash(file: File, name: &str, path: PathBuf) -> Result<ModelFile, DiskError> {
    let mapped = Mapped::of_file(file, &path)?;
    let (sha256, blake3) = (Sha256::of(mapped.as_ref()), tree::digest_of(&mapped));
    if !mapped.unchanged() {
        let changed = std::io::Error::other("the file changed while it was being read");
        return Err(changed).at("hash", &path);
    }
    Ok(ModelFile { name: name.to_owned(), bytes: mapped.stamp().bytes, sha256, blake3, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_may_be_longer_than_other_documents() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, bytes: u64| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            File::create(path).unwrap().set_len(bytes).unwrap();
        };
        let outcomes = "records/07-eval/one.digits.outcomes.jsonl";
        put(outcomes, MAX_DOCUMENT + 1);
        let files = read(folder.path()).unwrap();
        assert_eq!(files.documents[outcomes].len() as u64, MAX_DOCUMENT + 1);
        let refused = || match read(folder.path()).unwrap_err() {
            Unreadable::Refused(why) => why,
            Unreadable::Disk(error) => panic!("{error}"),
        };
        put(outcomes, MAX_OUTCOMES + 1);
        assert!(refused().contains("outcomes.jsonl\" has 1073741825 bytes, too many"), "{}", refused());
        put(outcomes, 1);
        put("records/07-eval/one.digits.json", MAX_DOCUMENT + 1);
        assert!(refused().contains("has 67108865 bytes, too many for a document"), "{}", refused());
    }
}
