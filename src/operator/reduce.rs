//! Sums over a tensor that are the same on every machine: norms, dot products.
//!
//! Addition of floats is not associative, so the order is part of the result. Here it follows from
//! the number of elements alone:
//!
//! ```text
//! tensor  = stretch + stretch + ...      in order, every stretch on any core
//! stretch = piece + piece + ...          in order, TASK elements
//! piece   = eight lanes, then a tree     PIECE elements, for `dot`
//! ```
//!
//! Sums are f64 and elements are f32, so that a product is exact and a finite tensor cannot
//! overflow: a sum is not finite only where an element is not.

use std::ops::Range;

use rayon::prelude::*;

use super::source::PIECE;
use crate::base::wide::wide;

/// Elements one core sums before it takes the next stretch.
const TASK: usize = 64 * PIECE;

pub(super) const LANES: usize = 8;

/// `N` sums over a tensor of so many elements. `per_piece` gives the sums of one run of at most
/// [`PIECE`] elements; it is called on every core.
pub fn sums<const N: usize>(
    elements: usize,
    per_piece: impl Fn(Range<usize>) -> [f64; N] + Sync,
) -> [f64; N] {
    let total = sums_of(elements, N, |range, sums| add(sums, &per_piece(range)));
    std::array::from_fn(|i| total[i])
}

/// Like [`sums`] with `count` sums, for a count that is not known before; `add_piece` adds a piece
/// to the sums so far.
pub fn sums_of(
    elements: usize,
    count: usize,
    add_piece: impl Fn(Range<usize>, &mut [f64]) + Sync,
) -> Vec<f64> {
    let stretches: Vec<Vec<f64>> = (0..elements.div_ceil(TASK))
        .into_par_iter()
        .map(|task| sums_in_order(task * TASK..elements.min((task + 1) * TASK), count, &add_piece))
        .collect();
    let mut total = vec![0.0; count];
    stretches.iter().for_each(|stretch| add(&mut total, stretch));
    total
}

/// The sums over one stretch, on this core: for rows, which are many.
pub fn sums_in_order(
    stretch: Range<usize>,
    count: usize,
    add_piece: impl Fn(Range<usize>, &mut [f64]),
) -> Vec<f64> {
    let mut sums = vec![0.0; count];
    for first in stretch.clone().step_by(PIECE) {
        add_piece(first..stretch.end.min(first + PIECE), &mut sums);
    }
    sums
}

fn add(sums: &mut [f64], more: &[f64]) {
    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// The dot product of two equally long runs of at most a piece.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut product = Product::default();
    product.add(a, b);
    product.total()
}

/// The dot product of two pieces so far: lane `i % 8` sums element `i`; at the end neighbouring lanes are
/// added, then neighbouring pairs, then the halves.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Product([f64; LANES]);

impl Product {
    /// Goes on with the next elements. All runs of a piece but the last are whole lanes: then it does not
    /// matter how it was cut.
    pub(super) fn add(&mut self, a: &[f32], b: &[f32]) {
        add_products(&mut self.0, a, b);
    }

    /// Goes on with the products of `a` with itself, of `a` with `b` and of `b` with itself.
    pub(super) fn add_all([aa, ab, bb]: &mut [Self; 3], a: &[f32], b: &[f32]) {
        add_all_products([&mut aa.0, &mut ab.0, &mut bb.0], a, b);
    }

    /// The piece is over.
    pub(super) fn total(&self) -> f64 {
        across(self.0)
    }
}

/// The sum of all lanes: neighbours first, then neighbouring pairs, then the halves.
#[inline(always)]
pub(super) fn across([a, b, c, d, e, f, g, h]: [f64; LANES]) -> f64 {
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

wide! {
    fn add_products<'a>(sums: &'a mut [f64; LANES], a: &'a [f32], b: &'a [f32]) {
        // In registers: memory would be asked for them again at every step.
        let mut lanes = *sums;
        in_lanes(a, b, #[inline(always)] |lane, a, b| lanes[lane] += a * b);
        *sums = lanes;
    }

    fn add_all_products<'a>(sums: [&'a mut [f64; LANES]; 3], a: &'a [f32], b: &'a [f32]) {
        let [aa, ab, bb] = sums;
        let (mut squares, mut products, mut other_squares) = (*aa, *ab, *bb);
        in_lanes(a, b, #[inline(always)] |lane, a, b| {
            squares[lane] += a * a;
            products[lane] += a * b;
            other_squares[lane] += b * b;
        });
        (*aa, *ab, *bb) = (squares, products, other_squares);
    }
}

/// Gives every element of two runs, widened, to a lane.
#[inline(always)]
fn in_lanes(a: &[f32], b: &[f32], mut each: impl FnMut(usize, f64, f64)) {
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            each(lane, f64::from(a[lane]), f64::from(b[lane]));
        }
    }
    for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        each(lane % LANES, f64::from(*a), f64::from(*b));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn threads_do_not_change_a_sum() {
        // Powers from 2^-40 to 2^40: any other order gives other bits.
        let elements = 5 * TASK + 123;
        let value = |i: usize| libm::ldexpf(1.0 + (i % 97) as f32 / 97.0, (i * 31 % 81) as i32 - 40);
        let sum = |range: Range<usize>| {
            let piece: Vec<f32> = range.map(value).collect();
            [dot(&piece, &piece), piece.iter().map(|x| f64::from(*x)).sum()]
        };
        let expected = sums(elements, sum);
        for threads in [1, 2, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| sums(elements, sum)).map(f64::to_bits), expected.map(f64::to_bits));
        }
    }

    #[test]
    fn every_element_is_seen_once() {
        for elements in [0, 1, PIECE, PIECE + 1, TASK - 1, TASK, TASK + 1, 3 * TASK + 5] {
            let n = elements as f64;
            let [count, indices] = sums(elements, |range| {
                assert!(range.len() <= PIECE);
                [range.len() as f64, range.map(|i| i as f64).sum()]
            });
            assert_eq!((count, indices), (n, n * (n - 1.0).max(0.0) / 2.0));
        }
        let ends = sums_in_order(5..PIECE + 6, 1, |range, sums| sums[0] += range.end as f64);
        assert_eq!(ends, [(PIECE + 5 + PIECE + 6) as f64]);
    }

    proptest! {
        #[test]
        fn a_cut_piece_is_the_whole_one(
            pairs in prop::collection::vec((-1e3_f32..1e3, -1e3_f32..1e3), 0..200),
            lanes in 1_usize..9,
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let (mut one, mut all) = (Product::default(), [Product::default(); 3]);
            for (a, b) in a.chunks(lanes * LANES).zip(b.chunks(lanes * LANES)) {
                one.add(a, b);
                Product::add_all(&mut all, a, b);
            }
            prop_assert_eq!(one.total().to_bits(), dot(&a, &b).to_bits());
            let expected = [dot(&a, &a), dot(&a, &b), dot(&b, &b)];
            prop_assert_eq!(all.map(|product| product.total().to_bits()), expected.map(f64::to_bits));
        }

        #[test]
        fn small_integers_are_summed_exactly(pairs in prop::collection::vec((-99_i16..99, -99_i16..99), 0..99)) {
            let (a, b): (Vec<f32>, Vec<f32>) =
                pairs.iter().map(|(a, b)| (f32::from(*a), f32::from(*b))).unzip();
            let expected: i64 = pairs.iter().map(|(a, b)| i64::from(*a) * i64::from(*b)).sum();
            prop_assert_eq!(dot(&a, &b), expected as f64);
        }
    }
}
