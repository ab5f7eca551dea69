//! Counting what is kept while blocks are made on every core, where it is not known before.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::parameter::{Parameters, Value};

/// How many elements of each parent were kept so far.
pub(super) struct Counters(Vec<AtomicUsize>);

impl Counters {
    /// One for each parent.
    pub(super) fn new(parents: usize) -> Self {
        Self((0..parents).map(|_| AtomicUsize::new(0)).collect())
    }

    /// Counts; sums of integers do not depend on order.
    pub(super) fn add(&self, parent: usize, kept: usize) {
        self.0[parent].fetch_add(kept, Ordering::Relaxed);
    }

    /// For the receipt.
    pub(super) fn realised(&self) -> Parameters {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed) as f64).collect();
        Parameters::from([("kept".to_owned(), Value::PerParent(counts))])
    }
}
