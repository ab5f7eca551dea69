//! What suites ask, in whatever order and under whatever ids.
//!
//! A suite is known by the digest of its file, and a file whose lines are in another order has another one. So with a
//! suite what it asks is taken back, too, under a digest of its own, and whoever is measured on a file of the same cases
//! is reached by that. Which file a suite was, the sidecars tell; the cases themselves are a person's file.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Pedigree;
use crate::base::digest::{Digest, Sha256};
use crate::evaluate::{self, Suite, suite::MAX_SUITE};
use crate::record::evaluation::MeasuredSuite;
use crate::store::Store;

/// How the cases of a suite are read.
#[derive(Debug)]
pub(super) struct Cases {
    kind: String,
    file: Digest,
}

/// One file always asks the same: each is read once.
static ASKED: Mutex<BTreeMap<Sha256, Sha256>> = Mutex::new(BTreeMap::new());

impl Pedigree {
    /// Takes note of a suite that somebody was measured on; what another harness asked is no file of cases.
    pub(super) fn note(&mut self, suite: &MeasuredSuite) {
        if suite.asked.is_none() {
            let cases = Cases { kind: suite.kind.clone(), file: suite.cases.blake3 };
            self.suites.insert(suite.cases.sha256, cases);
        }
    }

    /// What the suite with this digest asks; none if nobody was measured on it here, or its file is not what it was.
    pub fn asked_by(&self, store: &Store, suite: Sha256) -> Option<Sha256> {
        let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = asked.get(&suite) {
            return Some(*asked);
        }
        let Cases { kind, file } = self.suites.get(&suite)?;
        let bytes = store.read_up_to(file, MAX_SUITE as u64).ok()?;
        let found = Suite::parse(evaluate::find(kind)?, &bytes).ok().filter(|found| found.sha256 == suite)?;
        Some(*asked.entry(suite).or_insert(found.asked()))
    }

    /// The other suites that ask what this one asks.
    pub fn suites_asking(&self, store: &Store, asked: Sha256) -> Vec<Sha256> {
        let all = self.suites.keys().copied();
        all.filter(|suite| self.asked_by(store, *suite) == Some(asked)).collect()
    }
}
