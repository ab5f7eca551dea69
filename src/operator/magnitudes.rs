//! Exact order statistics of magnitudes, without sorting or copying.
//!
//! Magnitudes of floats order like their bits without the sign. Two passes over the inputs count
//! the upper and then the lower half of those bits in fixed histograms, which gives the magnitude
//! of the k-th largest element of one tensor or of many. Where elements of just that magnitude are
//! too many, further passes find the flat index from which they are cut.
//!
//! Counts are integers, so cores may add them up in any order.

use std::ops::Range;

use rayon::prelude::*;

use super::source::{PIECE, Source};
use crate::base::wide::wide;

/// Bits of a magnitude that the second pass counts.
const LOW_BITS: u32 = 15;
/// Bits that the first pass counts: all others but the sign.
const HIGH_BITS: u32 = 31 - LOW_BITS;
/// Elements one task counts: enough to be worth a histogram.
pub(super) const TASK: usize = 1 << 20;
/// Magnitudes looked at together.
const GROUP: usize = 16;

/// The magnitude of a float as an integer of the same order.
#[inline]
pub fn magnitude(value: f32) -> u32 {
    value.to_bits() & 0x7FFF_FFFF
}

/// The ranges of so many elements that tasks look at, in order.
pub(super) fn tasks(elements: usize) -> impl Iterator<Item = Range<usize>> {
    (0..elements.div_ceil(TASK)).map(move |task| task * TASK..elements.min((task + 1) * TASK))
}

/// The magnitudes of a tensor's elements, or of its differences from a base: never stored.
#[derive(Clone, Copy)]
pub(super) struct Magnitudes<'a> {
    pub(super) base: Option<&'a dyn Source>,
    pub(super) source: &'a dyn Source,
    pub(super) elements: usize,
}

/// Where the k-th largest magnitude stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The magnitude.
    pub(super) magnitude: u32,
    /// How many are larger.
    pub(super) above: u64,
    /// How many are just as large, itself included.
    pub(super) equal: u64,
}

/// The places of some ranks, from 1 for the largest, among all magnitudes together; a rank is at
/// most their number.
pub(super) fn places<const N: usize>(all: &[Magnitudes<'_>], ranks: [u64; N]) -> [Place; N] {
    let high = histogram(all, HIGH_BITS, |magnitude| Some(magnitude >> LOW_BITS));
    ranks.map(|rank| {
        let (top, above) = bucket(&high, rank);
        let mask = (1 << LOW_BITS) - 1;
        let low =
            histogram(all, LOW_BITS, |magnitude| (magnitude >> LOW_BITS == top).then_some(magnitude & mask));
        let (bottom, above_too) = bucket(&low, rank - above);
        Place { magnitude: top << LOW_BITS | bottom, above: above + above_too, equal: low[bottom as usize] }
    })
}

/// The bucket that holds the `rank`-th largest (from 1), and how many lie above that bucket.
fn bucket(histogram: &[u64], rank: u64) -> (u32, u64) {
    let mut above = 0;
    for (i, count) in histogram.iter().enumerate().rev() {
        if above + count >= rank {
            return (i as u32, above);
        }
        above += count;
    }
    unreachable!("a rank is at most the number of elements")
}

/// Counts magnitudes in `1 << bits` buckets, by their key if they have one.
fn histogram(all: &[Magnitudes<'_>], bits: u32, key: impl Fn(u32) -> Option<u32> + Sync) -> Vec<u64> {
    let empty = || vec![0_u64; 1 << bits];
    let tasks: Vec<_> =
        all.iter().flat_map(|magnitudes| magnitudes.tasks().map(move |range| (magnitudes, range))).collect();
    tasks
        .into_par_iter()
        .fold(empty, |mut counts, (magnitudes, range)| {
            magnitudes.scan(range, |_, magnitudes| count(magnitudes, &key, &mut counts));
            counts
        })
        .reduce(empty, |mut sum, counts| {
            for (sum, count) in sum.iter_mut().zip(&counts) {
                *sum += count;
            }
            sum
        })
}

/// Counts by groups, because two kinds of them are common and need no look at each element: those
/// without a key, and zeros where a parent is as its base.
fn count(magnitudes: &[u32], key: &impl Fn(u32) -> Option<u32>, counts: &mut [u64]) {
    let mut zeros = 0;
    for group in magnitudes.chunks(GROUP) {
        if group.iter().fold(0, |bits, magnitude| bits | magnitude) == 0 {
            zeros += group.len() as u64;
        } else if group.iter().fold(false, |any, magnitude| any | key(*magnitude).is_some()) {
            for key in group.iter().filter_map(|magnitude| key(*magnitude)) {
                counts[key as usize] += 1;
            }
        }
    }
    if let Some(key) = key(0) {
        counts[key as usize] += zeros;
    }
}

wide! {
    fn of_differences<'a>(values: &'a [f32], base: &'a [f32], out: &'a mut [u32]) {
        for ((out, x), b) in out.iter_mut().zip(values).zip(base) {
            *out = magnitude(x - b);
        }
    }

    fn of_values<'a>(values: &'a [f32], out: &'a mut [u32]) {
        for (out, x) in out.iter_mut().zip(values) {
            *out = magnitude(*x);
        }
    }
}

impl Magnitudes<'_> {
    fn tasks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        tasks(self.elements)
    }

    /// Gives the magnitudes in `range` to `take`, piece by piece.
    pub(super) fn scan(&self, range: Range<usize>, take: impl FnMut(usize, &[u32])) {
        self.scan_by::<PIECE>(range, take);
    }

    /// Like [`Self::scan`], in pieces of this many elements: clearing room for many would cost more
    /// than looking at a few.
    pub(super) fn scan_by<const N: usize>(&self, range: Range<usize>, mut take: impl FnMut(usize, &[u32])) {
        let mut scratch = [0.0; N];
        let mut base_scratch = [0.0; N];
        let mut magnitudes = [0; N];
        for first in range.clone().step_by(N) {
            let len = N.min(range.end - first);
            let source = self.source.read(first, &mut scratch[..len]);
            let magnitudes = &mut magnitudes[..len];
            match self.base {
                Some(base) => {
                    let base = base.read(first, &mut base_scratch[..len]);
                    of_differences(source, base, magnitudes);
                }
                None => of_values(source, magnitudes),
            }
            take(first, magnitudes);
        }
    }

    /// How many elements have this magnitude, task by task.
    pub(super) fn counts(&self, wanted: u32) -> Vec<u64> {
        let tasks: Vec<_> = self.tasks().collect();
        tasks
            .into_par_iter()
            .map(|range| {
                let mut count = 0;
                self.scan(range, |_, magnitudes| {
                    count += magnitudes.iter().filter(|magnitude| **magnitude == wanted).count() as u64;
                });
                count
            })
            .collect()
    }

    /// The flat index just after the `nth` element (from 1) of this magnitude, of which every `step`
    /// elements have so many; 0 for none of them.
    pub(super) fn after_nth(&self, wanted: u32, nth: u64, step: usize, counts: &[u64]) -> usize {
        if nth == 0 {
            return 0;
        }
        let mut left = nth;
        for (start, count) in (0..self.elements).step_by(step).zip(counts) {
            let range = start..self.elements.min(start + step);
            if left > *count {
                left -= count;
                continue;
            }
            let mut found = self.elements;
            self.scan(range, |first, magnitudes| {
                for (i, _) in magnitudes.iter().enumerate().filter(|(_, magnitude)| **magnitude == wanted) {
                    if left == 1 {
                        found = first + i + 1;
                    }
                    left = left.wrapping_sub(1);
                }
            });
            return found;
        }
        self.elements
    }
}
