//! A model that is several files, as one small document: names, lengths, digests.
//!
//! The document's digest is the model's: whoever holds it holds every file, configuration, tokenizer
//! and generation settings included. It says nothing of where the files lie, and it names those that
//! make the model and no others: a README beside them is not part of it.
//!
//! ```text
//! {"_type":"urn:studbook:model-files:v1","files":[{"blake3":"..","bytes":654,"name":"config.json"}, ..]}
//! ```

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::base::canonical;
use crate::base::digest::Digest;

/// Most files a model has: a trained source of a deep network has one for each tensor.
const MOST_FILES: usize = 250_000;

/// The longest document that is read.
pub const MAX_BYTES: u64 = 64 << 20;

const TYPE: &str = "urn:studbook:model-files:v1";

/// How every such document begins; no model file does.
const HEAD: &[u8] = b"{\"_type\":\"urn:studbook:model-files:";

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedFile {
    /// Its path in the model's folder, parts joined by `/`.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its content.
    pub blake3: Digest,
}

/// The files of a model, sorted by name, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    files: Vec<ListedFile>,
}

/// Why a document is no listing.
#[derive(Debug, thiserror::Error)]
#[error("not a list of a model's files: {0}")]
pub struct ListingError(String);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "_type")]
    kind: String,
    files: Vec<ListedFile>,
}

impl Listing {
    /// A model of these files.
    ///
    /// # Errors
    ///
    /// If there are none or more than 250,000, if one is no path inside a folder, and if two are one name, also
    /// where case or composition of letters does not count.
    pub fn new(mut files: Vec<ListedFile>) -> Result<Self, ListingError> {
        files.sort_by(|a, b| a.name.cmp(&b.name));
        if files.is_empty() || files.len() > MOST_FILES {
            return Err(ListingError(format!("{} files", files.len())));
        }
        if let Some(file) = files.iter().find(|file| !is_inside(&file.name)) {
            return Err(ListingError(format!("{:?} is no path inside a folder", file.name)));
        }
        let mut names = BTreeMap::new();
        for ListedFile { name, .. } in &files {
            match names.insert(common(name), name) {
                Some(twin) if twin == name => {
                    return Err(ListingError(format!("{name:?} is listed twice")));
                }
                Some(twin) => {
                    let why = "are one name where case or composition of letters does not count";
                    return Err(ListingError(format!("{twin:?} and {name:?} {why}")));
                }
                None => {}
            }
        }
        Ok(Self { files })
    }

    /// Whether bytes begin like the document.
    pub fn sniff(head: &[u8]) -> bool {
        head.starts_with(HEAD)
    }

    /// The document.
    pub fn to_bytes(&self) -> Vec<u8> {
        let document = Document { kind: TYPE.to_owned(), files: self.files.clone() };
        canonical::to_vec(&document).expect("names, lengths and digests are plain values")
    }

    /// Reads the document, which has one spelling.
    ///
    /// # Errors
    ///
    /// If it is no such document, or not in its one spelling; else as [`Self::new`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ListingError> {
        let document: Document =
            canonical::from_slice(bytes).map_err(|error| ListingError(error.to_string()))?;
        if document.kind != TYPE {
            return Err(ListingError(format!("its type is {:?}, {TYPE} is known here", document.kind)));
        }
        let listing = Self::new(document.files)?;
        if listing.to_bytes() == bytes {
            Ok(listing)
        } else {
            Err(ListingError("it is not in its one spelling".to_owned()))
        }
    }

    /// The files.
    pub fn files(&self) -> &[ListedFile] {
        &self.files
    }

    /// Bytes of all files.
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// The file called `name`.
    pub fn file(&self, name: &str) -> Option<&ListedFile> {
        self.files.iter().find(|file| file.name == name)
    }
}

/// What file systems that fold case, or compose letters, take a name for.
fn common(name: &str) -> String {
    name.nfc().collect::<String>().to_lowercase().nfc().collect()
}

fn is_inside(name: &str) -> bool {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    let spelled = name.split('/').all(|part| !part.is_empty() && part != ".");
    plain && spelled && !name.contains(['\\', '\0', '\n'])
}

/// Where the files of a model are: in a folder, or each somewhere of its own.
#[derive(Debug, Clone)]
pub struct Place {
    folder: PathBuf,
    files: Option<BTreeMap<String, PathBuf>>,
}

impl Place {
    /// In a folder.
    pub fn folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), files: None }
    }

    /// Each where the map says, and no others; `name` is what errors call the folder that is not there.
    pub fn scattered(name: &Path, files: BTreeMap<String, PathBuf>) -> Self {
        Self { folder: name.to_owned(), files: Some(files) }
    }

    /// The folder, or what errors call it.
    pub fn root(&self) -> &Path {
        &self.folder
    }

    /// The files of a model that is no folder.
    pub fn files(&self) -> Option<&BTreeMap<String, PathBuf>> {
        self.files.as_ref()
    }

    /// Whether there is something called `name`. That it is a regular file is found out when it is opened.
    pub fn has(&self, name: &str) -> bool {
        match &self.files {
            Some(files) => files.contains_key(name),
            None => self.folder.join(name).symlink_metadata().is_ok(),
        }
    }

    /// Where the file called `name` is, or would be.
    pub fn path(&self, name: &str) -> PathBuf {
        let scattered = self.files.as_ref().and_then(|files| files.get(name));
        scattered.cloned().unwrap_or_else(|| self.folder.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> ListedFile {
        ListedFile { name: name.to_owned(), bytes: 3, blake3: Digest::of(name.as_bytes()) }
    }

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let listing = Listing::new(vec![file("b/c"), file("a")]).unwrap();
        let bytes = listing.to_bytes();
        assert!(Listing::sniff(&bytes));
        assert_eq!(Listing::from_bytes(&bytes).unwrap(), listing);
        assert_eq!(listing.files()[0].name, "a");
        assert_eq!(listing.total_bytes(), 6);
        let text = String::from_utf8(bytes).unwrap();
        for broken in [
            text.replace("\"a\"", "\"../a\""),
            text.replace("\"a\"", "\"/a\""),
            text.replace("\"a\"", "\"b/c\""),
            text.replace(":v1", ":v2"),
            text.replace(",\"name\"", ", \"name\""),
            text[..text.len() - 2].to_owned(),
        ] {
            assert!(Listing::from_bytes(broken.as_bytes()).is_err(), "{broken}");
        }
        assert!(Listing::new(Vec::new()).is_err());
    }

    #[test]
    fn twins_by_case_or_composition_are_refused() {
        for (one, other) in [
            ("a.bin", "A.bin"),
            ("caf\u{e9}", "cafe\u{301}"),
            ("CAF\u{c9}/x", "cafe\u{301}/x"),
            ("\u{1100}\u{1161}", "\u{ac00}"),
        ] {
            let error = Listing::new(vec![file(one), file(other)]).unwrap_err().to_string();
            assert!(error.contains("are one name where case or composition"), "{one} {other}: {error}");
        }
        assert!(
            Listing::new(vec![file("a"), file("a")]).unwrap_err().to_string().contains("is listed twice")
        );
        assert!(Listing::new(vec![file("cafe"), file("caf\u{e9}"), file("a-b"), file("a_b")]).is_ok());
    }

    #[test]
    fn names_stay_inside() {
        for name in ["", ".", "..", "a/../b", "a//b", "./a", "/a", "a/", "a\\b"] {
            assert!(!is_inside(name), "{name:?}");
        }
        assert!(is_inside("tensors/a.f32") && is_inside(".hidden"));
    }
}
