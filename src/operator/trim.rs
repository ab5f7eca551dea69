//! The cut by magnitude: which elements are the k largest, exactly, without sorting or copying.
//!
//! Magnitudes of floats order like their bits without the sign. Two passes over the inputs count
//! the upper and then the lower half of those bits in fixed histograms, which gives the magnitude
//! of the k-th largest element. If more elements have just that magnitude than may be kept, a third
//! pass finds the flat index from which they are cut: on a tie the lower index stays.
//!
//! Counts are integers, so cores may add them up in any order.

use std::ops::Range;

use rayon::prelude::*;

use super::source::{PIECE, Source};

/// Bits of a magnitude that the second pass counts.
const LOW_BITS: u32 = 15;
/// Bits that the first pass counts: all others but the sign.
const HIGH_BITS: u32 = 31 - LOW_BITS;
/// Elements one task counts: enough to be worth a histogram.
const TASK: usize = 1 << 20;

/// Which elements of a difference are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Magnitudes above this are kept.
    threshold: u32,
    /// Elements with just that magnitude are kept below this flat index.
    ties_end: usize,
    /// How many elements are kept.
    pub kept: usize,
}

/// How many of `elements` a density keeps: at least one, but none for zero.
pub fn kept(density: f64, elements: usize) -> usize {
    if density <= 0.0 {
        0
    } else if density >= 1.0 {
        elements
    } else {
        ((density * elements as f64).floor() as usize).clamp(1, elements)
    }
}

/// The magnitude of a float as an integer of the same order.
pub fn magnitude(value: f32) -> u32 {
    value.to_bits() & 0x7FFF_FFFF
}

impl Cut {
    const ALL: u32 = 0;
    /// Above every magnitude, that of not-a-numbers too.
    const NONE: u32 = 0x8000_0000;

    /// Splits the elements `first..first + len` into runs (relative to `first`), each with the
    /// least magnitude that is kept in it: an inner loop then has one comparison and no ties.
    pub fn least_kept(&self, first: usize, len: usize) -> [(Range<usize>, u32); 2] {
        let ties = self.ties_end.saturating_sub(first).min(len);
        [(0..ties, self.threshold), (ties..len, self.threshold.saturating_add(1))]
    }

    /// Whether the element at `index` with this difference is kept.
    pub fn keeps(&self, index: usize, difference: f32) -> bool {
        let magnitude = magnitude(difference);
        magnitude > self.threshold || (magnitude == self.threshold && index < self.ties_end)
    }
}

/// The cut that keeps the `keep` largest of `elements` magnitudes of `source - base`.
pub fn cut(base: Option<&dyn Source>, source: &dyn Source, elements: usize, keep: usize) -> Cut {
    if keep >= elements {
        return Cut { threshold: Cut::ALL, ties_end: usize::MAX, kept: elements };
    }
    if keep == 0 {
        return Cut { threshold: Cut::NONE, ties_end: 0, kept: 0 };
    }
    let difference = Difference { base, source, elements };
    let high = difference.histogram(HIGH_BITS, |magnitude| Some(magnitude >> LOW_BITS));
    let (top, above) = bucket(&high, keep as u64);
    let mask = (1 << LOW_BITS) - 1;
    let low = difference
        .histogram(LOW_BITS, |magnitude| (magnitude >> LOW_BITS == top).then_some(magnitude & mask));
    let (bottom, above_too) = bucket(&low, keep as u64 - above);
    let threshold = top << LOW_BITS | bottom;
    let ties = keep as u64 - above - above_too;
    let ties_end = if ties == low[bottom as usize] || threshold == 0 {
        // All of them are kept; or they are zeros, and cutting a zero changes nothing.
        usize::MAX
    } else {
        difference.after_nth(threshold, ties)
    };
    Cut { threshold, ties_end, kept: keep }
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

/// A difference that is never stored.
struct Difference<'a> {
    base: Option<&'a dyn Source>,
    source: &'a dyn Source,
    elements: usize,
}

impl Difference<'_> {
    fn tasks(&self) -> impl IndexedParallelIterator<Item = Range<usize>> {
        let elements = self.elements;
        (0..elements.div_ceil(TASK))
            .into_par_iter()
            .map(move |task| task * TASK..elements.min((task + 1) * TASK))
    }

    /// Gives the magnitudes in `range` to `take`, piece by piece.
    fn scan(&self, range: Range<usize>, mut take: impl FnMut(usize, &[u32])) {
        let mut scratch = [0.0; PIECE];
        let mut base_scratch = [0.0; PIECE];
        let mut magnitudes = [0; PIECE];
        for first in range.clone().step_by(PIECE) {
            let len = PIECE.min(range.end - first);
            let source = self.source.read(first, &mut scratch[..len]);
            let magnitudes = &mut magnitudes[..len];
            match self.base {
                Some(base) => {
                    let base = base.read(first, &mut base_scratch[..len]);
                    for ((out, x), b) in magnitudes.iter_mut().zip(source).zip(base) {
                        *out = magnitude(x - b);
                    }
                }
                None => {
                    for (out, x) in magnitudes.iter_mut().zip(source) {
                        *out = magnitude(*x);
                    }
                }
            }
            take(first, magnitudes);
        }
    }

    /// Counts what `key` makes of each magnitude.
    fn histogram(&self, bits: u32, key: impl Fn(u32) -> Option<u32> + Sync) -> Vec<u64> {
        let empty = || vec![0_u64; 1 << bits];
        self.tasks()
            .fold(empty, |mut counts, range| {
                self.scan(range, |_, magnitudes| {
                    for magnitude in magnitudes {
                        if let Some(key) = key(*magnitude) {
                            counts[key as usize] += 1;
                        }
                    }
                });
                counts
            })
            .reduce(empty, |mut sum, counts| {
                for (sum, count) in sum.iter_mut().zip(&counts) {
                    *sum += count;
                }
                sum
            })
    }

    /// The flat index just after the `nth` element (from 1) of this magnitude.
    fn after_nth(&self, wanted: u32, nth: u64) -> usize {
        let counts: Vec<u64> = self
            .tasks()
            .map(|range| {
                let mut count = 0;
                self.scan(range, |_, magnitudes| {
                    count += magnitudes.iter().filter(|magnitude| **magnitude == wanted).count() as u64;
                });
                count
            })
            .collect();
        let mut left = nth;
        for (task, count) in counts.iter().enumerate() {
            if left > *count {
                left -= count;
                continue;
            }
            let mut found = self.elements;
            self.scan(task * TASK..self.elements.min((task + 1) * TASK), |first, magnitudes| {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Floats(Vec<f32>);
    impl Source for Floats {
        fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32] {
            &self.0[first..first + scratch.len()]
        }
    }

    /// By a stable sort: largest magnitude first, lower index first among equals.
    fn sorted(values: &[f32], keep: usize) -> Vec<bool> {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| values[*b].abs().total_cmp(&values[*a].abs()));
        let mut keeps = vec![false; values.len()];
        order[..keep].iter().for_each(|i| keeps[*i] = true);
        keeps
    }

    fn check(values: &[f32], keep: usize) {
        let cut = cut(None, &Floats(values.to_vec()), values.len(), keep);
        assert_eq!(cut.kept, keep);
        for (i, keeps) in sorted(values, keep).into_iter().enumerate() {
            // Which zeros are kept is of no consequence and not looked for.
            if values[i] != 0.0 {
                assert_eq!(cut.keeps(i, values[i]), keeps, "element {i}, {}, keep {keep}", values[i]);
            }
        }
        for (range, least) in cut.least_kept(3, values.len().saturating_sub(3)) {
            for i in range.map(|i| i + 3) {
                assert_eq!(magnitude(values[i]) >= least, cut.keeps(i, values[i]));
            }
        }
    }

    #[test]
    fn density_keeps_at_least_one_and_zero_keeps_none() {
        assert_eq!(kept(0.5, 7), 3);
        assert_eq!(kept(0.01, 7), 1);
        assert_eq!(kept(0.0, 7), 0);
        assert_eq!(kept(1.0, 7), 7);
        // 0.29 * 100 is 28.999999999999996 in f64: floor of the product, as the field has it.
        assert_eq!(kept(0.29, 100), 28);
    }

    #[test]
    fn ties_keep_the_lower_index_across_tasks() {
        let mut values = vec![0.5_f32; 2 * TASK + 100];
        values.iter_mut().skip(1).step_by(3).for_each(|value| *value = -1.0);
        values[TASK + 7] = 2.0;
        for keep in [1, 2, 1000, TASK / 2, TASK, 2 * TASK + 50] {
            check(&values, keep);
        }
    }

    #[test]
    fn neighbours_in_the_last_bit_are_told_apart() {
        let values: Vec<f32> = (0..5000).map(|i| f32::from_bits(0x3F80_0000 + (i * 37) % 5000)).collect();
        for keep in [1, 17, 2500, 4999] {
            check(&values, keep);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_stable_sort(
            values in prop::collection::vec(
                prop_oneof![
                    (-4_i8..4).prop_map(f32::from),
                    any::<f32>().prop_filter("finite", |value| value.is_finite()),
                ],
                1..300,
            ),
            share in 0.0_f64..=1.0,
        ) {
            check(&values, kept(share, values.len()));
        }

        #[test]
        fn differences_are_cut_by_their_own_magnitude(
            pairs in prop::collection::vec((-9_i8..9, -9_i8..9), 1..200),
            share in 0.0_f64..=1.0,
        ) {
            let (x, b): (Vec<f32>, Vec<f32>) =
                pairs.iter().map(|(x, b)| (f32::from(*x), f32::from(*b))).unzip();
            let differences: Vec<f32> = x.iter().zip(&b).map(|(x, b)| x - b).collect();
            let keep = kept(share, x.len());
            let of_pair = cut(Some(&Floats(b)), &Floats(x), pairs.len(), keep);
            prop_assert_eq!(of_pair, cut(None, &Floats(differences), pairs.len(), keep));
        }
    }
}
