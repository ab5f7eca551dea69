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
use crate::disk::{IoContext, atomic};
use crate::ledger::leaf::NO_LEAF;
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
const MAX_ENTRIES: u64 = 16 << 20;
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
pub fn write(
    folder: &Path,
    ledger: &Ledger,
    keys: &[PublicKey],
    selector: &Selector,
) -> Result<u64, RegistryError> {
    let files = settled_files(ledger, keys, selector)?;
    let proofs = folder.join(PROOFS);
    std::fs::create_dir_all(&proofs).at("create the folder", &proofs)?;
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
pub fn check(folder: &Path, selector: &Selector) -> Result<u64, RegistryError> {
    Ok(checked(folder, selector)?.0.size)
}

/// The same on the machine that has the ledger: it must begin with what is shown, and keys that are named must be
/// among its own, which are `keys`. A snapshot of the days before there were any names none.
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
    for line in read(ENTRIES, MAX_ENTRIES)?.split_inclusive(|byte| *byte == b'\n') {
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
