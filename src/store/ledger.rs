//! A store's ledger, opened as this store's keeper demands.

use super::Store;
use crate::ledger::{Ledger, LedgerError, Memory};
use crate::trust::Role;

impl Store {
    /// The ledger. It never extends a log that is older or other than the one last seen here, signs if
    /// there is a log key, and demands a signature if the trust file names one.
    pub fn ledger(&self) -> Result<Ledger, LedgerError> {
        let custody = self.custody();
        let ledger = Ledger::open(self.root().join("ledger"))?
            .remembering(self.ledger_memory())
            .trusting(custody.log_keys());
        Ok(match custody.signer(Role::Log)? {
            Some(key) => ledger.signing(key),
            None => ledger,
        })
    }

    /// Where the last accepted head is remembered: beside the ledger, not in it.
    pub fn ledger_memory(&self) -> Memory {
        Memory::at(self.root().join("heads"))
    }
}
