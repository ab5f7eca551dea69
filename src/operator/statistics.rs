//! Statistics of a change, summed so that no machine and no block size can change them.
//!
//! A sum of squares is taken over one piece in eight fixed lanes; pieces depend on the shape alone
//! ([`super::pieces`]) and their sums are added up in order. Everything else is a count or a maximum.

use super::receipt::DeltaStatistics;
use crate::base::wide::wide;

const LANES: usize = 8;

/// One piece, measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Measured {
    squares: f64,
    largest: f64,
    changed: usize,
    conflicts: usize,
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
    /// Measures the difference of `child` from `reference`.
    pub(super) fn difference<'a>(child: &'a [f32], reference: &'a [f32]) -> Measured {
        let mut squares = [0.0_f64; LANES];
        let mut largest = [0.0_f64; LANES];
        let mut changed = [0_u32; LANES];
        let (children, child_rest) = child.as_chunks::<LANES>();
        let (references, reference_rest) = reference.as_chunks::<LANES>();
        let mut padded = ([0.0; LANES], [0.0; LANES]);
        padded.0[..child_rest.len()].copy_from_slice(child_rest);
        padded.1[..reference_rest.len()].copy_from_slice(reference_rest);
        let rest = std::iter::once((&padded.0, &padded.1));
        for (child, reference) in children.iter().zip(references).chain(rest) {
            for lane in 0..LANES {
                let difference = f64::from(child[lane]) - f64::from(reference[lane]);
                squares[lane] += difference * difference;
                let magnitude = difference.abs();
                largest[lane] = if magnitude > largest[lane] { magnitude } else { largest[lane] };
                changed[lane] += u32::from(child[lane] != reference[lane]);
            }
        }
        let [a, b, c, d, e, f, g, h] = squares;
        Measured {
            squares: ((a + b) + (c + d)) + ((e + f) + (g + h)),
            largest: largest.into_iter().fold(0.0, f64::max),
            changed: changed.iter().map(|count| *count as usize).sum(),
            conflicts: 0,
        }
    }

    /// Counts the elements that one parent has above the reference and another below.
    pub(super) fn conflicts<'a>(reference: &'a [f32], parents: &'a [&'a [f32]]) -> Measured {
        let mut conflicts = 0;
        if parents.len() > 1 {
            const RUN: usize = 256;
            for first in (0..reference.len()).step_by(RUN) {
                let run = first..reference.len().min(first + RUN);
                let mut sides = [0_u32; RUN];
                let sides = &mut sides[..run.len()];
                for parent in parents {
                    let pairs = parent[run.clone()].iter().zip(&reference[run.clone()]);
                    for (side, (x, r)) in sides.iter_mut().zip(pairs) {
                        *side |= u32::from(x > r) | u32::from(x < r) << 1;
                    }
                }
                conflicts += sides.iter().map(|side| u32::from(*side == 3)).sum::<u32>() as usize;
            }
        }
        Measured { conflicts, ..Measured::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let reference = [0.0, 1.0, 2.0, -1.0, 0.0, 5.0, 5.0, 5.0, 5.0, 1.0];
        let child = [3.0, 1.0, 2.0, -1.0, 0.0, 5.0, 5.0, 5.0, 5.0, -3.0];
        let mut totals = Totals::default();
        totals.add(difference(&child, &reference));
        let up = [1.0, 2.0, 3.0, 0.0, 0.0, 5.0, 5.0, 5.0, 5.0, 1.0];
        let down = [-1.0, 1.0, 1.0, -2.0, 0.0, 5.0, 5.0, 5.0, 5.0, 0.0];
        totals.add(conflicts(&reference, &[&up, &down]));
        totals.add_elements(10);
        let expected = DeltaStatistics { l2: 5.0, max_abs: 4.0, density: 0.2, sign_conflict_rate: 0.3 };
        assert_eq!(totals.finish(), expected);
    }

    #[test]
    fn one_parent_cannot_disagree_with_itself() {
        assert_eq!(conflicts(&[0.0, 0.0], &[&[1.0, -1.0]]), Measured::default());
    }
}
