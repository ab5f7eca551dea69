//! How a command ends, and how errors are told.

use std::io::Write;
use std::process::ExitCode;

use super::context::Terminal;
use crate::browser::chromium::BrowserError;
use crate::convert::ConvertError;
use crate::difference::DifferenceError;
use crate::disk::DiskError;
use crate::dossier::DossierError;
use crate::evaluate::EvaluateError;
use crate::ledger::LedgerError;
use crate::mergekit::merge::MergeError;
use crate::model::adapter::AdapterError;
use crate::model::overwrite::OverwriteError;
use crate::model::{ModelError, WriteError};
use crate::pedigree::PedigreeError;
use crate::plan::LoadError;
use crate::registry::RegistryError;
use crate::registry::drive::DriveError;
use crate::runtime::RuntimeError;
use crate::store::StoreError;
use crate::trust::TrustError;

/// Exit codes, each with one meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done. Refused candidates are results, not errors.
    Complete,
    /// A stage failed.
    StageFailed,
    /// `diff --exit-code` found a difference.
    Different,
    /// The plan or the command line has a mistake.
    Usage,
    /// Done, but for pending gates.
    Pending,
    /// A record, blob or ledger entry is not what it should be.
    Unverified,
    /// Disk, permissions, store.
    Environment,
    /// Our own mistake.
    Bug,
    /// Somebody stopped it.
    Interrupted,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::StageFailed | Self::Different => 1,
            Self::Usage => 2,
            Self::Pending => 3,
            Self::Unverified => 4,
            Self::Environment => 5,
            Self::Bug => 70,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A mistake on the command line that the argument parser cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct UsageError {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl UsageError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Prints an error with its causes and what to do about it; says how to exit.
pub(super) fn tell(error: &anyhow::Error, terminal: &Terminal) -> Exit {
    if is_broken_pipe(error) {
        // Whoever read our output has enough.
        return Exit::Complete;
    }
    let mut err = terminal.err();
    if let Some(LoadError::Plan(findings)) = error.downcast_ref::<LoadError>() {
        let _ = writeln!(err, "{}", findings.render(terminal.colour()));
        let _ = writeln!(err, "{error}");
        // What was lost since is no mistake of whoever wrote the plan.
        return if findings.damage().is_some() { Exit::Unverified } else { Exit::Usage };
    }
    let _ = writeln!(err, "{} {error}", terminal.paint("error:", Terminal::RED));
    let mut told = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        if !told.contains(&text) {
            let _ = writeln!(err, "  because: {text}");
        }
        told = text;
    }
    if let Some(hint) = hint(error) {
        let _ = writeln!(err, "\n{} {hint}", terminal.paint("hint:", Terminal::CYAN));
    }
    exit_of(error)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(broken))
}

fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(usage) = cause.downcast_ref::<UsageError>() {
            return usage.hint.clone();
        }
        if let Some(disk) = cause.downcast_ref::<DiskError>() {
            return disk.hint().map(str::to_owned);
        }
        if let Some(store) = cause.downcast_ref::<StoreError>() {
            return store.hint();
        }
        // These say themselves what the disk said, so it is not a cause of its own.
        if let Some(LoadError::Disk(disk)) = cause.downcast_ref::<LoadError>() {
            return disk.hint().map(str::to_owned);
        }
        if let Some(EvaluateError::Disk(disk)) = cause.downcast_ref::<EvaluateError>() {
            return disk.hint().map(str::to_owned);
        }
        let merge = || cause.downcast_ref::<MergeError>().and_then(MergeError::hint);
        let convert = || cause.downcast_ref::<ConvertError>().and_then(ConvertError::hint);
        let difference = || cause.downcast_ref::<DifferenceError>().and_then(DifferenceError::hint);
        merge().or_else(convert).or_else(difference).map(str::to_owned)
    })
}

fn exit_of(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        if cause.is::<UsageError>()
            || cause.is::<ModelError>()
            || cause.is::<AdapterError>()
            || cause.downcast_ref::<DifferenceError>().is_some_and(|error| !error.is_environment())
            || cause.downcast_ref::<ConvertError>().is_some_and(|error| !error.is_environment())
            || cause.is::<EvaluateError>()
            || cause.is::<OverwriteError>()
            || cause.is::<RuntimeError>()
        {
            return Exit::Usage;
        }
        if let Some(LoadError::Disk(disk)) = cause.downcast_ref::<LoadError>() {
            return of_path(disk);
        }
        if let Some(merge) = cause.downcast_ref::<MergeError>() {
            return match merge {
                MergeError::Disk(disk) => of_path(disk),
                MergeError::Write(WriteError::Io(_)) => Exit::Environment,
                MergeError::Operator(error) if error.is_environment() => Exit::Environment,
                MergeError::Convert(error) if error.is_environment() => Exit::Environment,
                _ => Exit::Usage,
            };
        }
        if let Some(convert) = cause.downcast_ref::<ConvertError>() {
            return match convert {
                ConvertError::Disk(disk) => of_path(disk),
                _ => Exit::Environment,
            };
        }
        if cause.is::<BrowserError>() || cause.is::<DriveError>() {
            return Exit::Environment;
        }
        if let Some(dossier) = cause.downcast_ref::<DossierError>() {
            return match dossier {
                DossierError::NotReady(_) => Exit::Usage,
                DossierError::Unsound { .. } | DossierError::Record(_) | DossierError::Lost(_) => {
                    Exit::Unverified
                }
                DossierError::Pedigree(PedigreeError::Unreadable { .. }) => Exit::Unverified,
                DossierError::Ledger(error) if error.is_tampering() => Exit::Unverified,
                DossierError::Trust(error) if error.is_tampering() => Exit::Unverified,
                DossierError::Disk(disk) => of_path(disk),
                _ => Exit::Environment,
            };
        }
        if let Some(registry) = cause.downcast_ref::<RegistryError>() {
            return if registry.is_environment() { Exit::Environment } else { Exit::Unverified };
        }
        if let Some(ledger) = cause.downcast_ref::<LedgerError>() {
            return if ledger.is_tampering() { Exit::Unverified } else { Exit::Environment };
        }
        if let Some(pedigree) = cause.downcast_ref::<PedigreeError>() {
            return if pedigree.is_damage() { Exit::Unverified } else { Exit::Environment };
        }
        if let Some(trust) = cause.downcast_ref::<TrustError>() {
            return match trust {
                TrustError::Disk(disk) => of_path(disk),
                other if other.is_tampering() => Exit::Unverified,
                _ => Exit::Usage,
            };
        }
        if let Some(disk) = cause.downcast_ref::<DiskError>() {
            return if disk.is_taken() { Exit::Usage } else { Exit::Environment };
        }
        if let Some(store) = cause.downcast_ref::<StoreError>() {
            return match store {
                StoreError::Unreadable { .. } => Exit::Unverified,
                _ => Exit::Environment,
            };
        }
    }
    Exit::Environment
}

/// A plan that is not there is a mistake of whoever named it, and so is a place that is taken; a disk that
/// fails is not.
fn of_path(error: &DiskError) -> Exit {
    use std::io::ErrorKind::{
        AlreadyExists, InvalidData, InvalidInput, IsADirectory, NotADirectory, NotFound,
    };
    match error.source.kind() {
        AlreadyExists | NotFound | IsADirectory | NotADirectory | InvalidData | InvalidInput => Exit::Usage,
        _ => Exit::Environment,
    }
}
