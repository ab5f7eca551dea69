//! Statistics of a change, summed so that no machine and no block size can change them.
//!
//! A sum of squares is taken over one piece in eight fixed lanes; pieces depend on the shape alone
//! ([`super::pieces`]) and their sums are added up in order. Everything else is a count or a maximum.

use super::receipt::DeltaStatistics;
use super::reduce::{LANES, across};
use crate::base::wide::wide;

/// One piece, measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Measured {
    squares: f64,
    largest: f64,
    changed: usize,
    conflicts: usize,
}

/// The differences of one piece so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Differences {
    conflicts: usize,
    squares: [f64; LANES],
    /// The largest of the squares: they are there, and the magnitudes are not.
    largest: [f64; LANES],
    changed: [u32; LANES],
}

impl Differences {
    /// Goes on with the next elements of `child` and of its reference. All runs of a piece but the last are
    /// whole [`LANES`]: then it does not matter how it was cut.
    pub(super) fn add(&mut self, child: &[f32], reference: &[f32]) {
        add_differences(self, child, reference);
    }

    /// Counts the elements that one parent has above the reference and another below.
    pub(super) fn compare(&mut self, reference: &[f32], parents: &[&[f32]]) {
        self.conflicts += conflicts(reference, parents);
    }

    /// The piece is over.
    pub(super) fn finish(&self) -> Measured {
        Measured {
            squares: across(self.squares),
            // The root of a rounded square is the number again: in radix 2 always (Boldo, "Stupid is as stupid
            // does", 2015), and squares of differences of f32 neither vanish in f64 nor outgrow it.
            largest: self.largest.into_iter().fold(0.0, f64::max).sqrt(),
            changed: self.changed.iter().map(|count| *count as usize).sum(),
            conflicts: self.conflicts,
        }
    }
}

/// A tensor's pieces so far, in order.
#[derive(Debug, Default)]
pub(super) struct Totals {
    measured: Measured,
    elements: usize,
}

impl Totals {
    pub(super) fn add(&mut self, piece: Measured) {
        let total = &mut self.measured;
        total.squares += piece.squares;
        total.largest = total.largest.max(piece.largest);
        total.changed += piece.changed;
        total.conflicts += piece.conflicts;
    }

    pub(super) fn add_elements(&mut self, elements: usize) {
        self.elements += elements;
    }

    pub(super) fn finish(&self) -> DeltaStatistics {
        let share = |count: usize| count as f64 / self.elements as f64;
        DeltaStatistics {
            // A square root is exactly rounded everywhere.
            l2: self.measured.squares.sqrt(),
            max_abs: self.measured.largest,
            density: share(self.measured.changed),
            sign_conflict_rate: share(self.measured.conflicts),
        }
    }
}

wide! {
    fn add_differences<'a>(sums: &'a mut Differences, child: &'a [f32], reference: &'a [f32]) {
        // In registers: memory would be asked for them again at every step.
        let Differences { mut squares, mut largest, mut changed, conflicts } = *sums;
        let (children, child_rest) = child.as_chunks::<LANES>();
        let (references, reference_rest) = reference.as_chunks::<LANES>();
        let mut padded = ([0.0; LANES], [0.0; LANES]);
        // One loop for all, the rest too: where there are two, compilers make slower code of both.
        let rest = (!child_rest.is_empty()).then(|| {
            padded.0[..child_rest.len()].copy_from_slice(child_rest);
            padded.1[..reference_rest.len()].copy_from_slice(reference_rest);
            (&padded.0, &padded.1)
        });
        for (child, reference) in children.iter().zip(references).chain(rest) {
            for lane in 0..LANES {
                let difference = f64::from(child[lane]) - f64::from(reference[lane]);
                let square = difference * difference;
                squares[lane] += square;
                largest[lane] = if square > largest[lane] { square } else { largest[lane] };
                changed[lane] += u32::from(child[lane] != reference[lane]);
            }
        }
        *sums = Differences { squares, largest, changed, conflicts };
    }

    fn conflicts<'a>(reference: &'a [f32], parents: &'a [&'a [f32]]) -> usize {
        const TOGETHER: usize = 32;
        if parents.len() < 2 {
            return 0;
        }
        let (chunks, rest) = reference.as_chunks::<TOGETHER>();
        let mut conflicts = [0_u32; TOGETHER];
        for (i, reference) in chunks.iter().enumerate() {
            let (mut highest, mut lowest) = (*reference, *reference);
            for parent in parents {
                let x: &[f32; TOGETHER] = parent[i * TOGETHER..][..TOGETHER].try_into().expect("as many");
                for lane in 0..TOGETHER {
                    highest[lane] = if x[lane] > highest[lane] { x[lane] } else { highest[lane] };
                    lowest[lane] = if x[lane] < lowest[lane] { x[lane] } else { lowest[lane] };
                }
            }
            for lane in 0..TOGETHER {
                let both = (highest[lane] > reference[lane]) & (lowest[lane] < reference[lane]);
                conflicts[lane] += u32::from(both);
            }
        }
        let first = reference.len() - rest.len();
        let in_rest = rest.iter().enumerate().filter(|(i, r)| {
            let has = |on_side: fn(&f32, &f32) -> bool| parents.iter().any(|x| on_side(&x[first + i], r));
            has(f32::gt) && has(f32::lt)
        });
        conflicts.iter().map(|count| *count as usize).sum::<usize>() + in_rest.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn by_hand() {
        let reference = [0.0, 1.0, 2.0, -1.0, 0.0, 5.0, 5.0, 5.0, 5.0, 1.0];
        let child = [3.0, 1.0, 2.0, -1.0, 0.0, 5.0, 5.0, 5.0, 5.0, -3.0];
        let mut totals = Totals::default();
        let mut differences = Differences::default();
        differences.add(&child, &reference);
        let up = [1.0, 2.0, 3.0, 0.0, 0.0, 5.0, 5.0, 5.0, 5.0, 1.0];
        let down = [-1.0, 1.0, 1.0, -2.0, 0.0, 5.0, 5.0, 5.0, 5.0, 0.0];
        differences.compare(&reference, &[&up, &down]);
        totals.add(differences.finish());
        totals.add_elements(10);
        let expected = DeltaStatistics { l2: 5.0, max_abs: 4.0, density: 0.2, sign_conflict_rate: 0.3 };
        assert_eq!(totals.finish(), expected);
    }

    #[test]
    fn one_parent_cannot_disagree_with_itself() {
        assert_eq!(conflicts(&[0.0, 0.0], &[&[1.0, -1.0]]), 0);
    }

    proptest! {
        #[test]
        fn the_largest_is_a_magnitude_to_the_last_bit(x in any::<f32>(), b in any::<f32>()) {
            prop_assume!(x.is_finite() && b.is_finite());
            let mut differences = Differences::default();
            differences.add(&[x], &[b]);
            let expected = (f64::from(x) - f64::from(b)).abs();
            prop_assert_eq!(differences.finish().largest.to_bits(), expected.to_bits());
        }

        #[test]
        fn runs_are_the_whole(
            pairs in proptest::collection::vec((-2_i8..3, -2_i8..3, -2_i8..3), 0..200),
            runs in 1_usize..5,
        ) {
            let column = |pick: fn(&(i8, i8, i8)) -> i8| -> Vec<f32> {
                pairs.iter().map(|row| f32::from(pick(row)) * 0.3).collect()
            };
            let [x, y, reference] = [column(|row| row.0), column(|row| row.1), column(|row| row.2)];
            let (mut whole, mut cut) = (Differences::default(), Differences::default());
            whole.add(&x, &reference);
            for (x, reference) in x.chunks(runs * LANES).zip(reference.chunks(runs * LANES)) {
                cut.add(x, reference);
            }
            prop_assert_eq!(whole.finish(), cut.finish());
            let sides = |r: &f32, x: &f32, y: &f32| (x > r && y < r) || (x < r && y > r);
            let expected = reference.iter().zip(&x).zip(&y).filter(|((r, x), y)| sides(r, x, y)).count();
            prop_assert_eq!(conflicts(&reference, &[&x, &y]), expected);
        }
    }
}
