//! Proofs that stand by themselves: an entry is in a log, one log extends another.
//!
//! An inclusion proof is a file of its own (C2SP tlog-proof, version 1). The entry rides along as the
//! extra data, which nothing authenticates but the proof itself: hashed, it must be the leaf.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra eyJjYW5kaWRhdGUiOiJ0...      the entry
//! index 17
//! gSKyXoYZUgZ6jduWYrkDOARi...       from the leaf's sibling up
//!
//! studbook/ledger                   the checkpoint, signatures and all
//! ```

use std::io::Read;
use std::path::Path;

use super::LedgerError;
use super::checkpoint::{Head, read_bounded};
use super::leaf::{Leaf, MAX_LEAF};
use super::log::log_key;
use super::note::{MAX_NOTE, Note};
use super::tree::{consistency_holds, inclusion_holds, leaf_hash};
use crate::base::base64;
use crate::base::digest::Sha256;
use crate::disk::IoContext;
use crate::trust::PublicKey;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// The longest proof file: an entry in base64, 64 hashes, a checkpoint.
const MAX_PROOF: usize = MAX_LEAF * 2 + 64 * 45 + MAX_NOTE + 256;

/// An entry and the proof that it is in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The leaf's bytes.
    pub entry: Vec<u8>,
    /// Its position.
    pub index: u64,
    /// The hashes from its sibling to the root's child.
    pub path: Vec<Sha256>,
    /// The checkpoint it is proved against.
    pub checkpoint: Note,
}

/// The proof that a log extends an earlier head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consistency {
    /// The hashes of RFC 6962, section 2.1.2.
    pub path: Vec<Sha256>,
    /// The later checkpoint.
    pub checkpoint: Note,
}

/// Whether a file says of itself that it is a proof of an entry.
pub fn is_one(path: &Path) -> bool {
    let mut start = [0; FIRST_LINE.len()];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *FIRST_LINE.as_bytes()
}

impl Consistency {
    /// Whether it proves that `new` extends `old`.
    pub fn holds_between(&self, old: &Head, new: &Head) -> bool {
        old.origin == new.origin && consistency_holds((old.size, old.root), (new.size, new.root), &self.path)
    }
}

fn bad(why: impl Into<String>) -> LedgerError {
    LedgerError::BadProof { why: why.into() }
}

impl Proof {
    /// Checks everything: the entry, its path to the root, the checkpoint's signature by one of `keys`
    /// (none at all demand none), and the origin, if one is expected.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Origin`] of another log, [`LedgerError::Unsigned`] if none of the keys signed,
    /// [`LedgerError::BadSignature`] or [`LedgerError::BadProof`] if something in it does not hold.
    pub fn verify(&self, origin: Option<&str>, keys: &[PublicKey]) -> Result<(Head, Leaf), LedgerError> {
        let head = Head::from_text(&self.checkpoint.text)
            .map_err(|why| bad(format!("has a checkpoint that {why}")))?;
        if let Some(expected) = origin.filter(|expected| *expected != head.origin) {
            return Err(LedgerError::Origin { expected: expected.to_owned(), found: head.origin });
        }
        let mut signed = keys.is_empty();
        for key in keys {
            signed |= log_key(&head, key).signed(&self.checkpoint)?;
        }
        if !signed {
            return Err(LedgerError::Unsigned { size: head.size });
        }
        let leaf =
            Leaf::from_bytes(&self.entry).map_err(|why| LedgerError::Malformed { index: self.index, why })?;
        if leaf.index != self.index {
            return Err(bad(format!("is for entry {} and holds entry {}", self.index, leaf.index)));
        }
        self.holds_for(&head, leaf_hash(&self.entry))?;
        Ok((head, leaf))
    }

    pub(super) fn holds_for(&self, head: &Head, leaf: Sha256) -> Result<(), LedgerError> {
        if inclusion_holds(leaf, self.index, head.size, &self.path, head.root) {
            return Ok(());
        }
        Err(bad(format!("does not lead from entry {} to the root of {} entries", self.index, head.size)))
    }

    /// The proof as a file.
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\nextra {}\nindex {}\n", base64::encode(&self.entry), self.index);
        for hash in &self.path {
            text += &base64::encode(hash.as_bytes());
            text.push('\n');
        }
        text + "\n" + &self.checkpoint.to_text()
    }

    /// Reads a proof from a file, as [`Self::parse`] does.
    ///
    /// # Errors
    ///
    /// If there is no such file, it is too large or no text, and as [`Self::parse`].
    pub fn read(path: &Path) -> Result<Self, LedgerError> {
        match read_bounded(path, MAX_PROOF as u64)? {
            None => Err(std::io::Error::from(std::io::ErrorKind::NotFound)).at("read the proof", path)?,
            Some(Err(why)) => Err(bad(why)),
            Some(Ok(bytes)) => Self::parse(std::str::from_utf8(&bytes).map_err(|_| bad("is not text"))?),
        }
    }

    /// Reads a proof file. Nothing is checked yet but its form.
    ///
    /// # Errors
    ///
    /// [`LedgerError::BadProof`] with what is wrong with its form.
    pub fn parse(file: &str) -> Result<Self, LedgerError> {
        if file.len() > MAX_PROOF {
            return Err(bad(format!("has more than {MAX_PROOF} bytes")));
        }
        let (proof, checkpoint) =
            file.split_once("\n\n").ok_or_else(|| bad("has no blank line before its checkpoint"))?;
        let checkpoint =
            Note::parse(checkpoint).map_err(|why| bad(format!("has a checkpoint that {why}")))?;
        let mut lines = proof.split('\n');
        let mut line = |start: &str| {
            let found = lines.next().and_then(|line| line.strip_prefix(start));
            found.ok_or_else(|| bad(format!("has no line {:?}", start.trim_end())))
        };
        if !line(FIRST_LINE)?.is_empty() {
            return Err(bad("is of another version"));
        }
        let entry =
            base64::decode(line("extra ")?).ok_or_else(|| bad("holds an entry that is not base64"))?;
        let index = line("index ")?;
        let number: u64 = index.parse().map_err(|_| bad(format!("has the index {index:?}")))?;
        if number.to_string() != index {
            return Err(bad(format!("has the index {index:?}")));
        }
        let hash = |line: &str| base64::decode(line)?.try_into().ok().map(Sha256::from_bytes);
        let path: Option<Vec<Sha256>> = lines.map(hash).collect();
        let path =
            path.filter(|path| path.len() <= 64).ok_or_else(|| bad("has a path that is not of hashes"))?;
        Ok(Self { entry, index: number, path, checkpoint })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Ledger;
    use super::super::check::tests::{entry, ledger};
    use super::*;
    use crate::trust::SecretKey;

    #[test]
    fn a_proof_holds_for_its_entry_log_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let key = SecretKey::from_seed(&[5; 32]);
        let log = Ledger::open(folder.path()).unwrap().signing(SecretKey::from_seed(&[5; 32]));
        log.append((0..300).map(entry).collect(), &|| "2026-01-31T12:00:00Z".to_owned()).unwrap();
        let keys = [key.public()];
        for index in [0, 255, 256, 299] {
            let proof = log.prove(index).unwrap();
            let text = proof.to_text();
            let read = Proof::parse(&text).unwrap();
            assert_eq!(read, proof);
            let (head, leaf) = read.verify(Some("studbook/ledger"), &keys).unwrap();
            assert_eq!((head, leaf.index), (log.head().unwrap(), index));
        }
        let good = log.prove(7).unwrap();
        let refused = |proof: &Proof, why: &str| {
            let error = proof.verify(Some("studbook/ledger"), &keys).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        };
        refused(&Proof { index: 8, ..good.clone() }, "is for entry 8 and holds entry 7");
        refused(&Proof { entry: log.prove(8).unwrap().entry, index: 8, ..good.clone() }, "does not lead");
        refused(
            &Proof { checkpoint: Note::unsigned(good.checkpoint.text.clone()), ..good.clone() },
            "not signed",
        );
        let mut longer = good.clone();
        longer.path.push(Sha256::of(b"more"));
        refused(&longer, "does not lead");
        let mut other = good.clone();
        other.checkpoint.text = other.checkpoint.text.replace("300", "301");
        refused(&other, "does not match");
        assert!(matches!(good.verify(Some("other/log"), &keys), Err(LedgerError::Origin { .. })));
        let stranger = [SecretKey::from_seed(&[6; 32]).public()];
        assert!(matches!(good.verify(None, &stranger), Err(LedgerError::Unsigned { .. })));
        assert!(matches!(log.prove(300), Err(LedgerError::BeyondEnd { index: 300, size: 300 })));
    }

    /// No byte of a proof file can be changed, removed or doubled unnoticed.
    #[test]
    fn no_mutant_of_a_proof_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let key = SecretKey::from_seed(&[5; 32]);
        let keys = [key.public()];
        let log = Ledger::open(folder.path()).unwrap().signing(key);
        log.append((0..5).map(entry).collect(), &|| "2026-01-31T12:00:00Z".to_owned()).unwrap();
        let good = log.prove(3).unwrap().to_text().into_bytes();
        let accepted = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).ok()?;
            Proof::parse(text).ok()?.verify(Some("studbook/ledger"), &keys).ok()
        };
        assert!(accepted(&good).is_some());
        for at in 0..good.len() {
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            let mut shorter = good.clone();
            shorter.remove(at);
            let mut longer = good.clone();
            longer.insert(at, good[at]);
            for bytes in [flipped, shorter, longer] {
                assert!(bytes == good || accepted(&bytes).is_none(), "byte {at}");
            }
        }
    }

    #[test]
    fn consistency_is_proved_from_tiles() {
        let folder = tempfile::tempdir().unwrap();
        let log = ledger(folder.path(), 3);
        let old = log.head().unwrap();
        log.append((3..700).map(entry).collect(), &|| "2026-01-31T12:00:00Z".to_owned()).unwrap();
        let proof = log.prove_extends(&old).unwrap();
        assert!(proof.holds_between(&old, &log.head().unwrap()));
        let fork = Head { root: Sha256::of(b"fork"), ..old.clone() };
        assert!(matches!(log.prove_extends(&fork), Err(LedgerError::Replaced { size: 3, .. })));
        let longer = Head { size: 701, ..old.clone() };
        assert!(matches!(log.prove_extends(&longer), Err(LedgerError::RolledBack { .. })));
        let other = Head { origin: "other".to_owned(), ..old };
        assert!(matches!(log.prove_extends(&other), Err(LedgerError::Origin { .. })));
    }
}
