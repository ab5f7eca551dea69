//! Counting what is kept while blocks are made on every core, where it is not known before.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::parameter::{Parameters, Value};

/// Counts that lie in one cache line.
const IN_LINE: usize = 64 / size_of::<usize>();

/// Lines for each of so many threads; of more, some share them.
const THREADS: usize = 16;

/// How many elements of each parent were kept so far: counted on every thread apart, because a line that two
/// cores write goes to and fro between them, once for every few hundred elements.
pub(super) struct Counters {
    parents: usize,
    lines: Vec<Line>,
}

#[derive(Default)]
#[repr(align(64))]
struct Line([AtomicUsize; IN_LINE]);

impl Counters {
    /// One for each parent.
    pub(super) fn new(parents: usize) -> Self {
        let lines = THREADS * parents.div_ceil(IN_LINE);
        Self { parents, lines: std::iter::repeat_with(Line::default).take(lines).collect() }
    }

    /// Counts; sums of integers do not depend on order.
    pub(super) fn add(&self, parent: usize, kept: usize) {
        let thread = rayon::current_thread_index().unwrap_or(0) % THREADS;
        self.count(thread, parent).fetch_add(kept, Ordering::Relaxed);
    }

    fn count(&self, thread: usize, parent: usize) -> &AtomicUsize {
        let lines = self.lines.len() / THREADS;
        &self.lines[thread * lines + parent / IN_LINE].0[parent % IN_LINE]
    }

    /// For the receipt.
    pub(super) fn realised(&self) -> Parameters {
        let of = |parent| {
            let counts = (0..THREADS).map(|thread| self.count(thread, parent).load(Ordering::Relaxed));
            counts.sum::<usize>() as f64
        };
        let counts = (0..self.parents).map(of).collect();
        Parameters::from([("kept".to_owned(), Value::PerParent(counts))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_counts() {
        for parents in [1, 3, 8, 9] {
            let counters = Counters::new(parents);
            for threads in [1, 2, 2 * THREADS] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.broadcast(|_| (0..parents).for_each(|parent| counters.add(parent, parent + 1)));
            }
            // From outside any pool, too.
            counters.add(0, 1000);
            let pooled = 1 + 2 + 2 * THREADS;
            let expected = (0..parents).map(|i| ((i + 1) * pooled + if i == 0 { 1000 } else { 0 }) as f64);
            let expected = Value::PerParent(expected.collect());
            assert_eq!(counters.realised(), Parameters::from([("kept".to_owned(), expected)]));
        }
    }
}
