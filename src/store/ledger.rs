//! A store's ledger, opened as this store's keeper demands.

use super::Store;
use crate::ledger::{DEFAULT_ORIGIN, Ledger, LedgerError, Memory};
use crate::trust::Role;

impl Store {
    /// The ledger. It never extends a log that is older or other than the one last seen here, signs if
    /// there is a log key, and demands a signature if the trust file names one.
    ///
    /// # Errors
    ///
    /// As [`Self::unsigned_ledger`]; [`LedgerError::Trust`] if the log key cannot be read, others can read it,
    /// or the trust file does not have it.
    pub fn ledger(&self) -> Result<Ledger, LedgerError> {
        let custody = self.custody();
        let ledger = self.unsigned_ledger()?.trusting(custody.log_keys());
        Ok(match custody.signer(Role::Log)? {
            Some(key) => ledger.signing(key),
            None => ledger,
        })
    }

    /// The ledger whoever signed it, for those who check it and then sign.
    ///
    /// It has the one origin that every store's has: heads are remembered by origin, so a log that
    /// could name itself would name itself out of what is remembered.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Origin`] or [`LedgerError::OtherLog`] of a log with another origin; else as
    /// [`Ledger::open_as`].
    pub fn unsigned_ledger(&self) -> Result<Ledger, LedgerError> {
        let memory = self.ledger_memory();
        match Ledger::open_as(self.root().join("ledger"), DEFAULT_ORIGIN) {
            Ok(ledger) => Ok(ledger.remembering(memory)),
            Err(LedgerError::Origin { expected, found }) => {
                memory.knows_no_other_than(&found)?;
                Err(LedgerError::Origin { expected, found })
            }
            Err(error) => Err(error),
        }
    }

    /// Where the last accepted head is remembered: beside the ledger, not in it.
    pub fn ledger_memory(&self) -> Memory {
        Memory::at(self.root().join("heads"))
    }
}
