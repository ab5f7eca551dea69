//! What a stage sees while it runs, and what it hands back.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::Action;
use super::adapter::Whole;
use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;
use crate::convert::ConvertError;
use crate::disk::DiskError;
use crate::evaluate::EvaluateError;
use crate::ledger::LedgerError;
use crate::model::{ModelError, OpenedPackage, WriteError};
use crate::operator::OperatorError;
use crate::record::{self, Record, RecordError, Subject};
use crate::registry::RegistryError;
use crate::review::ReviewError;
use crate::runtime::RuntimeError;
use crate::store::{ActionResult, Blob, Store, StoreError, Verdict};

/// A stage's whole world.
pub struct Context<'a> {
    /// The store.
    pub store: &'a Store,
    /// What to do.
    pub action: &'a Action,
    /// RFC 3339 now, for the ledger alone.
    pub now: &'a (dyn Fn() -> String + Sync),
    /// Whether somebody asked to stop.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
    /// Told how many steps of how many are done, by stages that take many.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
    /// Whether everything is to be made anew, whatever is cached within a stage: by who looks for what was forged.
    /// Nothing is remembered of it either.
    pub fresh: bool,
    /// When what is looked into may have been made; none for now.
    pub past: Option<Past>,
}

impl<'a> Context<'a> {
    /// A stage that is looked into, without clock, haste or audience.
    pub fn looking(store: &'a Store, action: &'a Action) -> Self {
        Self {
            store,
            action,
            now: &String::new,
            cancelled: &|| false,
            progress: &|_, _| (),
            fresh: false,
            past: None,
        }
    }
}

/// The ledger as it was when something was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// How many entries it had.
    pub entries: u64,
    /// Whether it has by now what was decided then. Whose keys are at hand now says nothing of that.
    pub settled: bool,
}

/// What a stage made.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its blobs; one is the `record`.
    pub outputs: BTreeMap<String, Blob>,
    /// What it found.
    pub verdict: Verdict,
    /// One line for people.
    pub summary: String,
}

impl From<Made> for ActionResult {
    fn from(made: Made) -> Self {
        Self { outputs: made.outputs, verdict: made.verdict, summary: made.summary }
    }
}

/// Why a stage has no outcome.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// Somebody asked to stop.
    #[error("stopped")]
    Cancelled,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A record is not what it should be.
    #[error("the input `{input}`: {source}")]
    Record {
        /// Which input.
        input: String,
        /// Why.
        source: RecordError,
    },
    /// A model cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A child cannot be laid out.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// A child cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// An operator failed.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// The runtime failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A suite cannot be used.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The review is impossible.
    #[error(transparent)]
    Review(#[from] ReviewError),
    /// The registry refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A result in the store that does not follow from its inputs.
    #[error("{what}")]
    Forged {
        /// Which, and how so.
        what: String,
        /// The file that says so.
        result: std::path::PathBuf,
    },
    /// Evidence that was here and cannot be looked at: it says nothing for and nothing against anybody.
    #[error("{0}")]
    Lost(String),
    /// Something this stage itself found wrong.
    #[error("{0}")]
    Refused(String),
}

impl StageError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Disk(error) => error.hint().map(str::to_owned),
            Self::Operator(error) => error.hint().map(str::to_owned),
            Self::Convert(error) => error.hint().map(str::to_owned),
            Self::Write(error) => error.hint().map(str::to_owned),
            Self::Forged { result, .. } => Some(format!(
                "`studbook verify` says whether more was changed; without {} the next run makes it from its \
                 evidence",
                result.display()
            )),
            _ => None,
        }
    }
}

impl Context<'_> {
    /// The parameters as this stage's own type.
    ///
    /// # Errors
    ///
    /// [`StageError::Refused`] if they are not those of such a stage: a field is missing, unknown or of another
    /// type.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, StageError> {
        T::deserialize(&self.action.params).map_err(|error| {
            StageError::Refused(format!("the parameters of a {} stage: {error}", self.action.kind))
        })
    }

    /// An input that must be there.
    ///
    /// # Errors
    ///
    /// [`StageError::Refused`] if it is missing.
    pub fn input(&self, name: &str) -> Result<Digest, StageError> {
        self.optional(name).ok_or_else(|| StageError::Refused(format!("the input `{name}` is missing")))
    }

    /// An input that may be absent.
    pub fn optional(&self, name: &str) -> Option<Digest> {
        self.action.inputs.get(name).copied()
    }

    /// A record that must be there.
    ///
    /// # Errors
    ///
    /// As [`Self::input`]; [`StageError::Store`] if the store does not have it whole; [`StageError::Record`] if
    /// it is no such record.
    pub fn record<T: Record>(&self, name: &str) -> Result<(T, Subject), StageError> {
        let bytes = self.store.read(&self.input(name)?)?;
        let body = record::from_bytes(&bytes)
            .map_err(|source| StageError::Record { input: name.to_owned(), source })?;
        Ok((body, Subject::of(&bytes)))
    }

    /// A record that may be absent.
    ///
    /// # Errors
    ///
    /// As [`Self::record`], if there is such an input.
    pub fn optional_record<T: Record>(&self, name: &str) -> Result<Option<(T, Subject)>, StageError> {
        if self.optional(name).is_some() { self.record(name).map(Some) } else { Ok(None) }
    }

    /// The record that a stage made earlier, if it made one.
    ///
    /// # Errors
    ///
    /// [`StageError::Store`] if the store does not have it whole; [`StageError::Record`] if it is no such
    /// record.
    pub fn record_of<T: Record>(&self, result: &ActionResult) -> Result<Option<(T, Subject)>, StageError> {
        let Some(blob) = result.record() else { return Ok(None) };
        let bytes = self.store.read(&blob.digest)?;
        let body = record::from_bytes(&bytes)
            .map_err(|source| StageError::Record { input: "record".to_owned(), source })?;
        Ok(Some((body, Subject::of(&bytes))))
    }

    /// Opens a model by an input's digest.
    ///
    /// # Errors
    ///
    /// As [`Self::input`]; [`StageError::Store`] as [`Store::open_model`].
    pub fn model(&self, input: &str) -> Result<OpenedPackage, StageError> {
        Ok(self.store.open_model(&self.input(input)?)?)
    }

    /// A model's bytes by their digests. Those of a model of several files are the list of them; its
    /// length is that of all files.
    ///
    /// # Errors
    ///
    /// As [`Self::input`]; [`StageError::Store`] as [`Store::listing`]; [`StageError::Refused`] of several
    /// files that are no list.
    pub fn artifact(&self, input: &str, opened: &OpenedPackage) -> Result<Subject, StageError> {
        let blake3 = self.input(input)?;
        Ok(match self.store.listing(&blake3)? {
            Some(listing) => {
                Subject { sha256: Sha256::of(&listing.to_bytes()), blake3, bytes: listing.total_bytes() }
            }
            None => {
                let file = opened.single().ok_or_else(|| {
                    StageError::Refused(format!("the input `{input}` is several files and no list of them"))
                })?;
                Subject { sha256: sha256_of(file), blake3, bytes: file.stamp().bytes }
            }
        })
    }

    /// Opens the model of a test by the input `artifact`. That is an adapter if there is an input `base`,
    /// the model it is added to.
    pub(super) fn tested(&self) -> Result<Whole, StageError> {
        match self.optional("base") {
            None => Ok(Whole { model: self.model("artifact")?, adapter: None }),
            Some(_) => {
                let model = self.model("base")?;
                let adapter = self.store.open_adapter(&self.input("artifact")?, &model.package)?;
                Ok(Whole { model, adapter: Some(adapter) })
            }
        }
    }

    /// Asked between steps of long work.
    ///
    /// # Errors
    ///
    /// [`StageError::Cancelled`] if somebody asked to stop.
    pub fn go_on(&self) -> Result<(), StageError> {
        if (self.cancelled)() { Err(StageError::Cancelled) } else { Ok(()) }
    }

    /// The result of a stage whose only blob is its record.
    ///
    /// # Errors
    ///
    /// As [`Self::put_record`].
    pub fn made<T: Record>(&self, body: &T, verdict: Verdict, summary: String) -> Result<Made, StageError> {
        let record = self.put_record(body)?;
        Ok(Made { outputs: BTreeMap::from([("record".to_owned(), record)]), verdict, summary })
    }

    /// Stores a record.
    ///
    /// # Errors
    ///
    /// [`StageError::Record`] of a number that JSON would not keep; [`StageError::Store`] if it cannot be
    /// written.
    pub fn put_record<T: Record>(&self, body: &T) -> Result<Blob, StageError> {
        let bytes = record::to_bytes(body)
            .map_err(|source| StageError::Record { input: "record".to_owned(), source })?;
        Ok(self.store.put(&bytes)?)
    }
}

/// The SHA-256 of a file, computed while nothing else needs its bytes.
pub(super) fn sha256_of(mapped: &crate::disk::mmap::Mapped) -> Sha256 {
    Sha256::of(mapped.as_ref())
}

/// `source.add`, `eval.add.reverse`: inputs are named by what they are of.
pub(crate) fn of(kind: &str, name: &Name) -> String {
    format!("{kind}.{name}")
}
