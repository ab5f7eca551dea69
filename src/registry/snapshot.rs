//! The ledger as the page gets it: every entry, the checkpoint over them, and a proof for each model.
//!
//! ```text
//! ledger.json               which log this is, and whose signatures its checkpoint needs
//! checkpoint                as in the ledger: a signed note, or an unsigned one if there is no log key
//! ledger.jsonl              every entry, a line each
//! proofs/<id>.tlog-proof    that the entry which admitted a model is under the checkpoint
//! ```
//!
//! A proof is enough to know that a model was admitted: a few hashes, whoever else is in the log. It cannot
//! show that nothing later takes it back; only all entries under the same root do, and they are small. They
//! lie beside the selector, not in it: the ledger knows the time, and grows with every cycle of the store.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::check::{check_admissions_in, open_plain};
use super::selector::Selector;
use super::{RegistryError, content};
use crate::base::digest::Sha256;
use crate::base::{base64, canonical};
use crate::disk::small::holds;
use crate::disk::{IoContext, atomic, plain};
use crate::ledger::leaf::{MAX_LEAF, NO_LEAF};
use crate::ledger::note::MAX_NOTE;
use crate::ledger::tree::{Tree, leaf_hash};
use crate::ledger::{DEFAULT_ORIGIN, Head, Leaf, Ledger, LedgerError, Note, Proof};
use crate::trust::PublicKey;

/// Which log, and its keys.
pub const LOG: &str = "ledger.json";
/// The entries.
pub const ENTRIES: &str = "ledger.jsonl";
/// The checkpoint.
pub const CHECKPOINT: &str = "checkpoint";
/// The folder of proofs.
pub const PROOFS: &str = "proofs";
/// How proofs end.
pub const PROOF: &str = ".tlog-proof";
/// Those with one name for ever.
pub const FILES: [&str; 3] = [LOG, ENTRIES, CHECKPOINT];

/// The version of [`LOG`].
const LOG_VERSION: u32 = 2;
/// Longest of those files that are read.
const MAX_LOG: u64 = 1 << 16;
/// All entries: two thirds of a million as long as they mostly are.
pub(super) const MAX_ENTRIES: u64 = 256 << 20;
/// Bytes an entry may take, its line break included.
const MAX_ENTRY: u64 = MAX_LEAF as u64 + 1;
const MAX_PROOF: u64 = 1 << 18;

/// Which log this is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    /// Ed25519, 32 bytes in base64. None demand no signature.
    keys: Vec<String>,
    origin: String,
    version: u32,
}

/// Every file's bytes, by path. The checkpoint carries the log's own signature and no witness's: one that
/// comes later would be another file under the same version.
fn files(
    ledger: &Ledger,
    keys: &[PublicKey],
    selector: &Selector,
) -> Result<BTreeMap<String, Vec<u8>>, RegistryError> {
    let (head, mut note) = ledger.checkpoint()?;
    let own = |note: &mut Note| note.signatures.retain(|line| line.name == head.origin);
    own(&mut note);
    let mut lines = Vec::new();
    for leaf in ledger.leaves()?.iter().take(usize::try_from(head.size).unwrap_or(usize::MAX)) {
        let index = leaf.index;
        lines.extend(leaf.to_bytes().map_err(|why| LedgerError::Malformed { index, why })?);
        lines.push(b'\n');
    }
    readable(lines.len() as u64)?;
    let keys = keys.iter().map(|key| base64::encode(&key.to_bytes())).collect();
    let log = Log { keys, origin: head.origin.clone(), version: LOG_VERSION };
    let log = canonical::to_vec(&log).expect("a log has only short texts and a number");
    let mut files = BTreeMap::from([
        (LOG.to_owned(), log),
        (ENTRIES.to_owned(), lines),
        (CHECKPOINT.to_owned(), note.to_text().into_bytes()),
    ]);
    for entry in &selector.entries {
        let mut proof = ledger.prove(entry.ledger_index)?;
        own(&mut proof.checkpoint);
        if proof.checkpoint != note {
            return Err(LedgerError::HeadMoved { expected: head.size, found: ledger.head()?.size }.into());
        }
        files.insert(format!("{PROOFS}/{}{PROOF}", entry.id), proof.to_text().into_bytes());
    }
    Ok(files)
}

/// What is written must be what [`check`] and the page read, or no later one could be shown either.
fn readable(bytes: u64) -> Result<(), RegistryError> {
    if bytes <= MAX_ENTRIES {
        return Ok(());
    }
    Err(RegistryError::LongLedger { bytes, most: MAX_ENTRIES })
}

/// The most bytes that the entries under a checkpoint have.
fn most_of(size: u64) -> u64 {
    size.saturating_mul(MAX_ENTRY).min(MAX_ENTRIES)
}

/// The same, tried again if another run adds to the ledger meanwhile.
fn settled_files(
    ledger: &Ledger,
    keys: &[PublicKey],
    selector: &Selector,
) -> Result<BTreeMap<String, Vec<u8>>, RegistryError> {
    for _ in 0..9 {
        match files(ledger, keys, selector) {
            Err(RegistryError::Ledger(LedgerError::HeadMoved { .. })) => {}
            other => return other,
        }
    }
    files(ledger, keys, selector)
}

/// Writes the ledger as it is now; `keys` are those of which one must have signed its checkpoint. The number
/// of entries is the answer.
///
/// # Errors
///
/// [`RegistryError::Ledger`] if the ledger cannot be read, is not what it says, does not have the entry of a
/// model, or grew ten times meanwhile; [`RegistryError::LongLedger`] of entries of more than 256 MiB;
/// [`RegistryError::Disk`] if the folder cannot be written.
pub fn write(
    folder: &Path,
    ledger: &Ledger,
    keys: &[PublicKey],
    selector: &Selector,
) -> Result<u64, RegistryError> {
    let files = settled_files(ledger, keys, selector)?;
    let proofs = folder.join(PROOFS);
    plain::make(&proofs)?;
    atomic::replace_contents(folder, &files)?;
    atomic::sync_folder(&proofs)?;
    atomic::sync_folder(folder)?;
    for name in content::names_in(folder, PROOFS)? {
        let path = format!("{PROOFS}/{name}");
        // Copies named by content are the business of the metadata.
        if !files.contains_key(&path) && super::paths::name_and_content(&path).is_none() {
            std::fs::remove_file(folder.join(&path)).at("remove", folder.join(&path))?;
        }
    }
    let lines = &files[ENTRIES];
    Ok(lines.iter().filter(|byte| **byte == b'\n').count() as u64)
}

/// Whether the folder shows the ledger as it is now.
///
/// # Errors
///
/// [`RegistryError::Ledger`] or [`RegistryError::LongLedger`], as [`write()`] of the ledger. A file of the
/// folder that cannot be read is not current.
pub fn is_current(
    folder: &Path,
    ledger: &Ledger,
    keys: &[PublicKey],
    selector: &Selector,
) -> Result<bool, RegistryError> {
    let files = settled_files(ledger, keys, selector)?;
    Ok(files.iter().all(|(path, bytes)| holds(&folder.join(path), bytes)))
}

/// Checks the ledger that a registry shows, on a machine that has no other: the chain and the root of all
/// entries, the checkpoint's signature if it needs one, the proof of every model, and what the entries say
/// about it. The number of entries is the answer.
///
/// # Errors
///
/// [`RegistryError::File`] of a file that is missing or does not follow from the others;
/// [`RegistryError::Ledger`] of an entry or a proof that is malformed, or not proved; else as
/// [`check_admissions`](super::check_admissions).
pub fn check(folder: &Path, selector: &Selector) -> Result<u64, RegistryError> {
    Ok(checked(folder, selector)?.0.size)
}

/// The same on the machine that has the ledger: it must begin with what is shown, and keys that are named must be
/// among its own, which are `keys`. A snapshot of the days before there were any names none.
///
/// # Errors
///
/// As [`check`], [`RegistryError::File`] of a key that is none of `keys`, and [`RegistryError::Ledger`] if the
/// ledger does not begin so.
pub fn check_earlier(
    folder: &Path,
    ledger: &Ledger,
    keys: &[PublicKey],
    selector: &Selector,
) -> Result<u64, RegistryError> {
    let (head, named) = checked(folder, selector)?;
    if let Some(other) = named.iter().find(|key| !keys.contains(key)) {
        let why = format!("names the key {}, which is none of the log's", other.id().short());
        return Err(RegistryError::File { path: LOG.to_owned(), why });
    }
    ledger.check(Some(&head))?;
    Ok(head.size)
}

/// The checkpoint of what is shown, and the keys that are named.
fn checked(folder: &Path, selector: &Selector) -> Result<(Head, Vec<PublicKey>), RegistryError> {
    let read = |path: &str, most: u64| open_plain(folder, path, most).map(|file| file.as_ref().to_vec());
    let bad = |path: &str, why: String| RegistryError::File { path: path.to_owned(), why };
    let log: Log =
        canonical::from_slice(&read(LOG, MAX_LOG)?).map_err(|error| bad(LOG, error.to_string()))?;
    let text = |path: &str, most: u64| {
        String::from_utf8(read(path, most)?).map_err(|_| bad(path, "is not UTF-8".to_owned()))
    };
    let note = Note::parse(&text(CHECKPOINT, MAX_NOTE as u64)?).map_err(|why| bad(CHECKPOINT, why))?;
    let head = Head::from_text(&note.text).map_err(|why| bad(CHECKPOINT, why))?;
    let keys = log.keys()?;
    if log.version != LOG_VERSION || log.origin != head.origin || log.origin != DEFAULT_ORIGIN {
        return Err(bad(LOG, format!("is of version {} and of the log {}", log.version, log.origin)));
    }
    let (mut tree, mut leaves, mut last) = (Tree::default(), Vec::new(), NO_LEAF);
    for line in read(ENTRIES, most_of(head.size))?.split_inclusive(|byte| *byte == b'\n') {
        let index = tree.size();
        let line = line.strip_suffix(b"\n").ok_or_else(|| bad(ENTRIES, "ends within an entry".to_owned()))?;
        let leaf = Leaf::from_bytes(line).map_err(|why| LedgerError::Malformed { index, why })?;
        if (leaf.index, leaf.prev) != (index, last) {
            return Err(bad(ENTRIES, format!("has an entry {index} that does not follow the one before")));
        }
        last = Sha256::of(line);
        tree.push(leaf_hash(line));
        leaves.push(leaf);
    }
    if (tree.size(), tree.root()) != (head.size, head.root) {
        return Err(bad(ENTRIES, format!("does not have the {} entries of its checkpoint", head.size)));
    }
    for entry in &selector.entries {
        let path = format!("{PROOFS}/{}{PROOF}", entry.id);
        let proof = Proof::parse(&text(&path, MAX_PROOF)?)?;
        let (proved, leaf) = proof.verify(Some(&log.origin), &keys)?;
        if proved != head || leaf.record != entry.admission || leaf.index != entry.ledger_index {
            return Err(bad(
                &path,
                format!("is no proof of the admission of {} under the checkpoint", entry.id),
            ));
        }
    }
    check_admissions_in(selector, &leaves)?;
    Ok((head, keys))
}

impl Log {
    fn keys(&self) -> Result<Vec<PublicKey>, RegistryError> {
        let key = |text: &String| {
            let bytes = base64::decode(text).and_then(|bytes| bytes.try_into().ok());
            bytes.and_then(|bytes: [u8; 32]| PublicKey::from_bytes(&bytes).ok())
        };
        let keys = self.keys.iter().map(key).collect::<Option<Vec<_>>>();
        let why = "names a key that is none".to_owned();
        keys.ok_or_else(|| RegistryError::File { path: LOG.to_owned(), why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::leaf::{EntryKind, MAX_PREDICATE_TYPE, NewEntry};
    use crate::registry::selector::SELECTOR_VERSION;
    use crate::registry::site;

    /// More than 16 MiB of entries, as a registry shows them.
    #[test]
    fn a_long_ledger_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        let (mut tree, mut lines, mut last) = (Tree::default(), Vec::new(), NO_LEAF);
        while lines.len() <= 16 << 20 {
            let entry = NewEntry {
                kind: EntryKind::Plan,
                cycle: "c".parse().unwrap(),
                candidate: None,
                subject: None,
                record: last,
                predicate_type: "u".repeat(MAX_PREDICATE_TYPE),
                registration: None,
            };
            let leaf = Leaf::new(entry, tree.size(), last, "2026-01-01T00:00:00Z".to_owned()).unwrap();
            let line = leaf.to_bytes().unwrap();
            last = Sha256::of(&line);
            tree.push(leaf_hash(&line));
            lines.extend(line);
            lines.push(b'\n');
        }
        let head = Head { origin: DEFAULT_ORIGIN.to_owned(), size: tree.size(), root: tree.root() };
        let log = Log { keys: Vec::new(), origin: head.origin.clone(), version: LOG_VERSION };
        write(LOG, &canonical::to_vec(&log).unwrap());
        write(CHECKPOINT, Note::unsigned(head.to_text()).to_text().as_bytes());
        write(ENTRIES, &lines);
        readable(lines.len() as u64).unwrap();
        let selector = Selector { version: SELECTOR_VERSION, default: None, entries: Vec::new() };
        assert_eq!(check(folder.path(), &selector).unwrap(), head.size);
    }

    #[test]
    fn what_nobody_could_read_is_not_written() {
        readable(MAX_ENTRIES).unwrap();
        let error = readable(MAX_ENTRIES + 1).unwrap_err().to_string();
        assert!(error.contains("268435457 bytes") && error.contains("start a store of its own"), "{error}");
        assert_eq!([most_of(0), most_of(3), most_of(u64::MAX)], [0, 3 << 16, MAX_ENTRIES]);
    }

    /// The page reads as much as is written.
    #[test]
    fn the_page_has_the_same_bounds() {
        let script = site::files().find(|(path, _)| path.ends_with("ledger.js")).unwrap().1;
        let script = std::str::from_utf8(script).unwrap();
        assert_eq!((MAX_ENTRIES, MAX_ENTRY), (256 << 20, 1 << 16));
        assert!(script.contains("const MOST = 256 << 20;") && script.contains("const ENTRY = 1 << 16;"));
        assert!(script.contains("Math.min(head.size * ENTRY, MOST)"));
    }
}
