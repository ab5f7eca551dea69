//! The head: how many leaves the log has and what the last one hashes to.
//!
//! It is the commit of every append: an entry that no head counts was never recorded. It becomes
//! the signed checkpoint of a tlog when a tree stands beside the chain.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::LedgerError;
use super::leaf::NO_LEAF;
use crate::base::canonical;
use crate::base::digest::Sha256;
use crate::disk::IoContext;

/// The head format written here; no other is read.
pub const HEAD_VERSION: u32 = 1;
/// The origin of a ledger nobody named.
pub const DEFAULT_ORIGIN: &str = "studbook/ledger";
/// The longest origin.
pub const MAX_ORIGIN: usize = 256;
/// The longest head file that is read.
const MAX_HEAD_FILE: u64 = 4096;

/// Where a log ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// [`HEAD_VERSION`].
    pub version: u32,
    /// Which log this is. Two logs need two origins, or readers cannot tell them apart.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// SHA-256 of the last leaf; zeros for an empty log.
    pub head: Sha256,
}

impl Head {
    /// The head of a log without entries.
    pub fn empty(origin: &str) -> Self {
        Self { version: HEAD_VERSION, origin: origin.to_owned(), size: 0, head: NO_LEAF }
    }

    /// What is wrong with it, as a phrase that follows the file's name.
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.version != HEAD_VERSION {
            return Err(format!("has version {}, expected {HEAD_VERSION}", self.version));
        }
        validate_origin(&self.origin)?;
        if (self.size == 0) != (self.head == NO_LEAF) {
            return Err(format!("counts {} entries but ends with {}", self.size, self.head));
        }
        Ok(())
    }

    /// The bytes of the head file.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::to_vec(self).expect("a head has only short texts and a count of files")
    }

    /// Reads the head file; none if there is no such file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, LedgerError> {
        let Some(bytes) = read_bounded(path, MAX_HEAD_FILE)? else { return Ok(None) };
        let bad = |why: String| LedgerError::BadHead { path: path.to_owned(), why };
        let bytes = bytes.map_err(bad)?;
        let head: Self = canonical::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        head.validate().map_err(bad)?;
        if head.to_bytes() != bytes {
            return Err(bad("is not written canonically".to_owned()));
        }
        Ok(Some(head))
    }
}

/// An origin can be shown on one line and is a valid key name of a signed note.
pub(super) fn validate_origin(origin: &str) -> Result<(), String> {
    let plain = origin.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+');
    if origin.is_empty() || origin.len() > MAX_ORIGIN || !plain {
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
    fn a_damaged_head_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("head");
        assert!(Head::read(&path).unwrap().is_none());
        let good = String::from_utf8(Head::empty(DEFAULT_ORIGIN).to_bytes()).unwrap();
        std::fs::write(&path, &good).unwrap();
        assert_eq!(Head::read(&path).unwrap(), Some(Head::empty(DEFAULT_ORIGIN)));
        for (from, to, why) in [
            ("\"size\":0", "\"size\":1", "counts 1 entries but ends with"),
            ("\"version\":1", "\"version\":9", "version 9"),
            ("studbook/ledger", "a b", "origin"),
            ("{", " {", "canonically"),
            ("\"size\":0", "\"size\":-1", "invalid value"),
        ] {
            std::fs::write(&path, good.replacen(from, to, 1)).unwrap();
            let error = Head::read(&path).unwrap_err();
            assert!(matches!(error, LedgerError::BadHead { .. }), "{error}");
            assert!(error.to_string().contains(why), "{error}");
        }
        std::fs::write(&path, vec![b' '; 5000]).unwrap();
        assert!(matches!(Head::read(&path), Err(LedgerError::BadHead { .. })));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(matches!(Head::read(&path), Err(LedgerError::BadHead { .. })));
    }
}
