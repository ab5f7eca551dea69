//! What suites ask, in whatever order and under whatever ids.
//!
//! A suite is known by the digest of its file, and a file whose lines are in another order has another one. So with a
//! suite what it asks is taken back, too, under a digest of its own, and whoever is measured on a file of the same cases
//! is reached by that. Which file a suite was, the sidecars tell; the cases themselves are a person's file.

use std::collections::BTreeSet;
use std::sync::OnceLock;

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
    /// What they ask: a file always asks the same, so it is read once.
    asks: OnceLock<Asks>,
}

/// What a suite asks.
#[derive(Debug)]
struct Asks {
    all: Sha256,
    each: BTreeSet<Digest>,
}

impl Cases {
    fn asks(&self, store: &Store, suite: Sha256) -> Option<&Asks> {
        if self.asks.get().is_none() {
            let bytes = store.read_up_to(&self.file, MAX_SUITE as u64).ok()?;
            let found = Suite::parse(evaluate::find(&self.kind)?, &bytes).ok();
            let found = found.filter(|found| found.sha256 == suite)?;
            let each = found.cases.iter().map(evaluate::Case::digest).collect();
            // Who was faster read the same.
            let _ = self.asks.set(Asks { all: found.asked(), each });
        }
        self.asks.get()
    }
}

impl Pedigree {
    /// Takes note of a suite that somebody was measured on; what another harness asked is no file of cases.
    pub(super) fn note(&mut self, suite: &MeasuredSuite) {
        if suite.asked.is_none() {
            let (kind, file) = (suite.kind.clone(), suite.cases.blake3);
            self.suites.entry(suite.cases.sha256).or_insert(Cases { kind, file, asks: OnceLock::new() });
        }
    }

    fn asks(&self, store: &Store, suite: Sha256) -> Option<&Asks> {
        self.suites.get(&suite)?.asks(store, suite)
    }

    /// What the suite with this digest asks; none if nobody was measured on it here, or its file is not what it was.
    pub fn asked_by(&self, store: &Store, suite: Sha256) -> Option<Sha256> {
        self.asks(store, suite).map(|asks| asks.all)
    }

    /// How many cases of one suite another one asks, too, and how many the first has; none if nobody can tell.
    pub fn shared_cases(&self, store: &Store, one: Sha256, other: Sha256) -> Option<(usize, usize)> {
        let (one, other) = (self.asks(store, one)?, self.asks(store, other)?);
        Some((one.each.intersection(&other.each).count(), one.each.len()))
    }

    /// The other suites that ask what this one asks.
    pub fn suites_asking(&self, store: &Store, asked: Sha256) -> Vec<Sha256> {
        let all = self.suites.keys().copied();
        all.filter(|suite| self.asked_by(store, *suite) == Some(asked)).collect()
    }
}
