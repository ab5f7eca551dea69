//! The ledger as the page gets it: every entry, a line each, and the head.
//!
//! A page cannot ask this machine's ledger, so it gets all of it: entries are small, and only the whole
//! chain shows that an admission was not taken back. It lies beside the selector, not in it: it knows the
//! time, and grows with every cycle of the store.

use std::path::Path;

use super::RegistryError;
use crate::base::canonical;
use crate::base::digest::Sha256;
use crate::disk::{IoContext, atomic};
use crate::ledger::leaf::NO_LEAF;
use crate::ledger::{Ledger, LedgerError};

/// The head.
pub const HEAD: &str = "ledger.json";
/// The entries.
pub const ENTRIES: &str = "ledger.jsonl";

/// The head of the chain: the page walks that, not the tree.
#[derive(serde::Serialize)]
struct ChainHead {
    head: Sha256,
    origin: String,
    size: u64,
    version: u32,
}

/// Both files' bytes.
fn bytes(ledger: &Ledger) -> Result<(Vec<u8>, Vec<u8>), RegistryError> {
    let mut lines = Vec::new();
    let (mut last, mut size) = (NO_LEAF, 0);
    for leaf in ledger.leaves()? {
        let index = leaf.index;
        let bytes = leaf.to_bytes().map_err(|why| LedgerError::Malformed { index, why })?;
        (last, size) = (Sha256::of(&bytes), size + 1);
        lines.extend(bytes);
        lines.push(b'\n');
    }
    let head = ChainHead { head: last, origin: ledger.head()?.origin, size, version: 1 };
    Ok((canonical::to_vec(&head).expect("a head has only short texts and a count"), lines))
}

/// Writes the ledger as it is now.
pub fn write(folder: &Path, ledger: &Ledger) -> Result<(), RegistryError> {
    let (head, lines) = bytes(ledger)?;
    atomic::replace(&folder.join(ENTRIES), &lines)?;
    atomic::replace(&folder.join(HEAD), &head)?;
    Ok(())
}

/// Whether the folder shows the ledger as it is now.
pub fn is_current(folder: &Path, ledger: &Ledger) -> Result<bool, RegistryError> {
    let path = folder.join(HEAD);
    match std::fs::read(&path) {
        Ok(head) => Ok(head == bytes(ledger)?.0 && folder.join(ENTRIES).is_file()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("read", &path)?,
    }
}
