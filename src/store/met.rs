//! The records that were met through an open store: of results that were looked up or written.
//!
//! Whoever has read everything that a store holds keeps up with what this process makes of it by asking for
//! these, instead of reading everything again at every stage.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{ActionResult, Store};
use crate::base::digest::Digest;

static OPENED: AtomicU64 = AtomicU64::new(0);

/// Records in the order in which they were met, each once.
#[derive(Debug)]
pub(super) struct Met {
    /// Which opening of a store in this process it was.
    opening: u64,
    records: Mutex<(BTreeSet<Digest>, Vec<Digest>)>,
}

impl Met {
    pub(super) fn new() -> Self {
        Self { opening: OPENED.fetch_add(1, Ordering::Relaxed), records: Mutex::default() }
    }
}

impl Store {
    /// A number that no other open store of this process has.
    pub fn opening(&self) -> u64 {
        self.met.opening
    }

    pub(super) fn meet(&self, result: &ActionResult) {
        let Some(record) = result.record() else { return };
        let mut records = self.met.records.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, order) = &mut *records;
        if known.insert(record.digest) {
            order.push(record.digest);
        }
    }

    /// All records that were met after the first `count`.
    pub fn met_since(&self, count: usize) -> Vec<Digest> {
        let records = self.met.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.1.get(count..).unwrap_or_default().to_vec()
    }
}
