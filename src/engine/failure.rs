//! A stage that failed, and whose fault it is.

use crate::model::WriteError;
use crate::registry::RegistryError;
use crate::stage::StageError;
use crate::store::StoreError;

/// A stage that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Its id.
    pub stage: String,
    /// Why.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Whose fault it is.
    pub fault: Fault,
}

/// Whose fault a failure is; the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Something the person gave us.
    Input,
    /// Whoever lost evidence that a decision rests on: of others it says nothing.
    Loss,
    /// Disk, permissions, store.
    Environment,
    /// Whoever changed the ledger, or what is to be entered in it.
    Tampering,
    /// Ours.
    Bug,
}

impl Fault {
    pub(super) fn of(error: &StageError) -> Self {
        match error {
            StageError::Ledger(error) | StageError::Registry(RegistryError::Ledger(error))
                if error.is_tampering() =>
            {
                Self::Tampering
            }
            StageError::Forged { .. } => Self::Tampering,
            StageError::Lost(_) => Self::Loss,
            StageError::Store(StoreError::Model(_) | StoreError::Adapter(_)) => Self::Input,
            StageError::Store(_) | StageError::Disk(_) | StageError::Ledger(_) => Self::Environment,
            StageError::Operator(error) if error.is_environment() => Self::Environment,
            StageError::Convert(error) if error.is_environment() => Self::Environment,
            StageError::Write(WriteError::Io(_)) => Self::Environment,
            StageError::Registry(error) if error.is_environment() => Self::Environment,
            _ => Self::Input,
        }
    }
}
