//! What was taken back, and whom that reaches.
//!
//! A revocation names one digest. It reaches a candidate whose manifest or artifact that is, whose suites
//! or declared data it is among, one whose records were signed by that key, everybody who descends
//! from one it reaches, and whoever has the same bytes. Nothing is removed: what is tainted stays on record
//! as tainted. Whom it reaches is for [`super::tracer`] to find.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::PedigreeError;
use crate::base::digest::Sha256;
use crate::ledger::{EntryKind, Ledger};

/// What the ledger takes back: the digest, and the entry that says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revoked {
    /// For cause.
    pub subjects: BTreeMap<Sha256, u64>,
    /// Without blame: candidates that are no longer offered.
    pub retired: BTreeMap<Sha256, u64>,
    /// Every candidate that was ever admitted, with the records of its admissions: which these were is known
    /// even where they are gone.
    pub admitted: BTreeMap<Sha256, Vec<Sha256>>,
}

/// Why something is not to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// What was taken back.
    pub subject: Sha256,
    /// By which ledger entry.
    pub entry: u64,
    /// How it is related: `it is`, `it was measured on`, `it descends from`.
    pub how: String,
}

impl std::fmt::Display for Taint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}, which ledger entry {} revokes", self.how, self.subject.short(), self.entry)
    }
}

/// One log at one root always says the same, so it is read once for all stages of a run.
static READ: Mutex<Option<(PathBuf, Sha256, Arc<Revoked>)>> = Mutex::new(None);

impl Revoked {
    /// What a ledger takes back. The whole log is checked on the way.
    pub fn of(ledger: &Ledger) -> Result<Arc<Self>, PedigreeError> {
        let head = ledger.head()?;
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((folder, root, revoked)) = &*read
            && (folder.as_path(), *root) == (ledger.folder(), head.root)
        {
            return Ok(revoked.clone());
        }
        let mut revoked = Self::default();
        for leaf in ledger.leaves()? {
            let Some(subject) = leaf.subject else { continue };
            match leaf.kind {
                EntryKind::Revocation => revoked.subjects.entry(subject).or_insert(leaf.index),
                EntryKind::Retirement => revoked.retired.entry(subject).or_insert(leaf.index),
                EntryKind::Admission => {
                    revoked.admitted.entry(subject).or_default().push(leaf.record);
                    continue;
                }
                _ => continue,
            };
        }
        let revoked = Arc::new(revoked);
        *read = Some((ledger.folder().to_owned(), head.root, revoked.clone()));
        Ok(revoked)
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    pub(super) fn hit(&self, subject: Sha256, how: &str) -> Option<Taint> {
        let entry = *self.subjects.get(&subject)?;
        Some(Taint { subject, entry, how: how.to_owned() })
    }

    pub(super) fn data(&self, data: &[String]) -> Option<Taint> {
        data.iter().find_map(|name| self.hit(Sha256::of(name.as_bytes()), "it was trained on data set"))
    }
}
