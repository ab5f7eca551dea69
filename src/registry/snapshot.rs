//! The ledger as the page gets it: every entry, a line each, and the head.
//!
//! A page cannot ask this machine's ledger, so it gets all of it: entries are small, and only the whole
//! chain shows that an admission was not taken back. It lies beside the selector, not in it: it knows the
//! time, and grows with every cycle of the store.

use std::path::Path;

use super::RegistryError;
use crate::disk::{IoContext, atomic};
use crate::ledger::{Ledger, LedgerError};

/// The head.
pub const HEAD: &str = "ledger.json";
/// The entries.
pub const ENTRIES: &str = "ledger.jsonl";

/// Both files' bytes.
fn bytes(ledger: &Ledger) -> Result<(Vec<u8>, Vec<u8>), RegistryError> {
    let mut lines = Vec::new();
    for leaf in ledger.iter()? {
        let leaf = leaf?;
        let index = leaf.index;
        lines.extend(leaf.to_bytes().map_err(|why| LedgerError::Malformed { index, why })?);
        lines.push(b'\n');
    }
    Ok((ledger.head()?.to_bytes(), lines))
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
        Ok(head) => Ok(head == ledger.head()?.to_bytes() && folder.join(ENTRIES).is_file()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("read", &path)?,
    }
}
