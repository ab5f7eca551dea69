//! The checkpoint: how many leaves the log has and the root of the tree over them (C2SP tlog-checkpoint).
//!
//! It is the commit of every append: an entry that no checkpoint counts was never recorded.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::LedgerError;
use super::note::{MAX_NOTE, Note, is_key_name};
use super::tree::empty_root;
use crate::base::base64;
use crate::base::canonical::MAX_SAFE_INTEGER;
use crate::base::digest::Sha256;
use crate::disk::IoContext;

/// The origin of a ledger nobody named.
pub const DEFAULT_ORIGIN: &str = "studbook/ledger";
/// The longest origin.
pub const MAX_ORIGIN: usize = 256;
/// Its file in the ledger's folder.
pub const CHECKPOINT_FILE: &str = "checkpoint";

/// Where a log ends: the text of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Which log this is. Two logs need two origins, or readers cannot tell them apart.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Sha256,
}

impl Head {
    /// The head of a log without entries.
    pub fn empty(origin: &str) -> Self {
        Self { origin: origin.to_owned(), size: 0, root: empty_root() }
    }

    /// What is wrong with it, as a phrase that follows the file's name.
    pub(super) fn validate(&self) -> Result<(), String> {
        validate_origin(&self.origin)?;
        if self.size > MAX_SAFE_INTEGER {
            return Err(format!("counts {} entries, more than can be", self.size));
        }
        if self.size == 0 && self.root != empty_root() {
            return Err(format!("counts no entries but has the root {}", self.root));
        }
        Ok(())
    }

    /// The text that is signed.
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, base64::encode(self.root.as_bytes()))
    }

    /// Reads the text of a note; the reason is a phrase.
    ///
    /// # Errors
    ///
    /// If a line is missing, malformed, too many, or written otherwise than [`Self::to_text`] writes it.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let mut lines = text.split_terminator('\n');
        let mut line = |what: &str| lines.next().ok_or_else(|| format!("has no {what}"));
        let origin = line("origin")?.to_owned();
        let size = line("size")?;
        let size = size.parse().map_err(|_| format!("has the size {size:?}"))?;
        let root = base64::decode(line("root")?).and_then(|bytes| bytes.try_into().ok());
        let root = Sha256::from_bytes(root.ok_or("has a root that is not 32 bytes in base64")?);
        let head = Self { origin, size, root };
        head.validate()?;
        // No leading zeros, no extension lines: nothing that nobody checks.
        if head.to_text() == text { Ok(head) } else { Err("is not written as it must be".to_owned()) }
    }

    /// Reads a checkpoint file; none if there is no such file.
    pub(super) fn read(path: &Path) -> Result<Option<(Self, Note)>, LedgerError> {
        let Some(bytes) = read_bounded(path, MAX_NOTE as u64)? else { return Ok(None) };
        let bad = |why: String| LedgerError::BadHead { path: path.to_owned(), why };
        let file = String::from_utf8(bytes.map_err(bad)?).map_err(|_| bad("is not UTF-8".to_owned()))?;
        let note = Note::parse(&file).map_err(bad)?;
        let head = Self::from_text(&note.text).map_err(bad)?;
        Ok(Some((head, note)))
    }
}

/// An origin can be shown on one line and is a valid key name of a signed note.
pub(super) fn validate_origin(origin: &str) -> Result<(), String> {
    let plain = origin.bytes().all(|byte| byte.is_ascii_graphic());
    if origin.len() > MAX_ORIGIN || !plain || !is_key_name(origin) {
        return Err(format!(
            "has the origin {:?}, expected 1 to {MAX_ORIGIN} printable ASCII characters without spaces and `+`",
            origin.chars().take(80).collect::<String>()
        ));
    }
    Ok(())
}

/// The bytes of a plain file no longer than `most`: none if it is not there, and the reason as an
/// inner error if it is something else or longer.
pub(super) fn read_bounded(path: &Path, most: u64) -> Result<Option<Result<Vec<u8>, String>>, LedgerError> {
    use std::io::Read;
    // The link itself is examined: nothing of a ledger is ever a link.
    let metadata = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.at("examine", path)?,
    };
    if !metadata.is_file() {
        return Ok(Some(Err("is not a plain file".to_owned())));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).at("open", path)?;
    file.take(most + 1).read_to_end(&mut bytes).at("read", path)?;
    if bytes.len() as u64 > most {
        return Ok(Some(Err(format!("has more than {most} bytes"))));
    }
    Ok(Some(Ok(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_elses_code_reads_it() {
        let head = Head { origin: "example.com/log".to_owned(), size: 42, root: Sha256::of(b"root") };
        let theirs = tlog_tiles::Checkpoint::from_bytes(head.to_text().as_bytes()).unwrap();
        assert_eq!((theirs.origin(), theirs.size()), ("example.com/log", 42));
        assert_eq!(theirs.hash().0, *head.root.as_bytes());
        assert_eq!(theirs.to_bytes(), head.to_text().as_bytes());
        assert_eq!(Head::from_text(&head.to_text()).unwrap(), head);
    }

    #[test]
    fn a_damaged_checkpoint_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        assert!(Head::read(&path).unwrap().is_none());
        let good = Note::unsigned(Head::empty(DEFAULT_ORIGIN).to_text()).to_text();
        std::fs::write(&path, &good).unwrap();
        assert_eq!(Head::read(&path).unwrap().unwrap().0, Head::empty(DEFAULT_ORIGIN));
        let other = base64::encode(Sha256::of(b"other").as_bytes());
        let root = base64::encode(empty_root().as_bytes());
        for (from, to, why) in [
            ("\n0\n", "\n00\n", "not written as it must be"),
            ("\n0\n", "\n-1\n", "size"),
            ("\n0\n", "\n9007199254740992\n", "more than can be"),
            (root.as_str(), other.as_str(), "counts no entries but has the root"),
            (root.as_str(), "AAAA", "32 bytes"),
            ("studbook/ledger", "a b", "origin"),
            ("\n\n", "\nextension\n\n", "not written as it must be"),
            ("\n\n", "\n", "blank line"),
        ] {
            std::fs::write(&path, good.replacen(from, to, 1)).unwrap();
            let error = Head::read(&path).unwrap_err();
            assert!(matches!(error, LedgerError::BadHead { .. }), "{error}");
            assert!(error.to_string().contains(why), "{error}");
        }
        std::fs::write(&path, vec![b' '; MAX_NOTE + 1]).unwrap();
        assert!(matches!(Head::read(&path), Err(LedgerError::BadHead { .. })));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(matches!(Head::read(&path), Err(LedgerError::BadHead { .. })));
    }
}
