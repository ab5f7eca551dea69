//! The product of two narrow matrices that comes nearest to a difference of two tensors.
//!
//! A truncated singular value decomposition, found by repeated multiplication of a few random
//! vectors with the matrix and its transpose (subspace iteration; Halko, Martinsson and Tropp,
//! "Finding structure with randomness", 2011). The matrix is never stored: each multiplication reads
//! both tensors once more, rows or stripes of columns on any core, every sum in one fixed order.
//!
//! ```text
//! Y = D O, Q = orthonormal Y                       O random: Philox, keyed by the tensor's name
//! W = D^T Q = P R,  Y = D P, Q = orthonormal Y     until the values of R settle
//! D ~ Q W^T = Q R^T P^T,  R^T = U S V^T            small: Jacobi
//! B = Q U sqrt(S),  A = sqrt(S) (P V)^T            the first `rank` of them
//! ```

use std::ops::Range;

use super::error::DifferenceError;
use super::linear::{Columns, Decomposed};
use super::pair::{Pair, Scratch};
use crate::base::rng::Philox;
use crate::tensor::blocks;

/// Vectors beyond the rank: what they pick up does not spoil the last ones that count.
const EXTRA: usize = 10;

/// Rounds at most. A spectrum that falls at all settles sooner.
const ROUNDS: usize = 40;

/// The captured energy has settled when a round adds no more than this share of it.
const SETTLED: f64 = 1e-10;

/// Values below this share of the largest are below the rounding of f32 factors.
const NEGLIGIBLE: f64 = 1e-8;

/// Rows of the matrix that one core multiplies at a time.
const ROWS: usize = 16;

/// Columns of the matrix that one core multiplies at a time.
const STRIPE: usize = 128;

/// A difference as a product.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRank {
    /// Columns of `b`, rows of `a`: as asked for, or fewer where the difference has no more.
    pub rank: usize,
    /// rank x columns, row by row.
    pub a: Vec<f32>,
    /// rows x rank, row by row.
    pub b: Vec<f32>,
    /// The singular values kept, largest first.
    pub values: Vec<f64>,
}

/// Finds the factors of `second - first`, at most `rank` of them; none of a difference of zero.
pub(super) fn factor(pair: &Pair<'_>, rank: usize) -> Result<LowRank, DifferenceError> {
    let matrix = Matrix { pair, rows: pair.shape.rows(), columns: pair.shape.columns() };
    let width = rank.saturating_add(EXTRA).min(matrix.rows).min(matrix.columns);
    let mut left = Columns::from_rows(&matrix.times(&start(pair.name, matrix.columns, width), width)?, width);
    left.orthonormalise();
    let mut captured = 0.0;
    let mut round = 0;
    let (right, Decomposed { left: u, values, right: v }) = loop {
        let mut right = Columns::from_rows(&matrix.transposed_times(&left.to_rows(), width)?, width);
        let decomposed = right.orthonormalise().transposed().decompose();
        let energy: f64 = decomposed.values.iter().take(rank).map(|value| value * value).sum();
        round += 1;
        if round == ROUNDS || energy - captured <= SETTLED * energy {
            break (right, decomposed);
        }
        captured = energy;
        left = Columns::from_rows(&matrix.times(&right.to_rows(), width)?, width);
        left.orthonormalise();
    };
    let counts = |value: &&f64| **value > 0.0 && **value > values[0] * NEGLIGIBLE;
    let values: Vec<f64> = values.iter().take(rank).take_while(counts).copied().collect();
    let rank = values.len();
    let b = scaled(left.times(&u, rank), &values).to_rows();
    // The columns of the one factor are the rows of the other.
    let a = scaled(right.times(&v, rank), &values).columns.concat();
    let rounded = |numbers: &[f64]| numbers.iter().map(|number| *number as f32).collect();
    Ok(LowRank { rank, a: rounded(&a), b: rounded(&b), values })
}

/// Random numbers from -1 to 1: `width` for each of `rows` rows.
fn start(name: &str, rows: usize, width: usize) -> Vec<f64> {
    let random = Philox::for_purpose(&["low rank", name]);
    (0..(rows * width) as u64).map(|i| 2.0 * random.unit(i) - 1.0).collect()
}

/// Columns times the roots of the values.
fn scaled(mut columns: Columns, values: &[f64]) -> Columns {
    for (column, value) in columns.columns.iter_mut().zip(values) {
        let root = value.sqrt();
        column.iter_mut().for_each(|number| *number *= root);
    }
    columns
}

struct Matrix<'a> {
    pair: &'a Pair<'a>,
    rows: usize,
    columns: usize,
}

impl Matrix<'_> {
    /// The matrix times one of `columns` rows of `width` numbers.
    fn times(&self, other: &[f64], width: usize) -> Result<Vec<f64>, DifferenceError> {
        let rows = blocks::ranges(self.rows, ROWS);
        let done = blocks::try_map(&rows, |_, rows: &Range<usize>| {
            let (mut out, mut scratch) = (vec![0.0; rows.len() * width], Scratch::new());
            for (row, out) in rows.clone().zip(out.chunks_exact_mut(width)) {
                self.differences(&mut scratch, row, 0..self.columns, |column, difference| {
                    add(out, difference, &other[column * width..(column + 1) * width]);
                })?;
            }
            Ok::<_, DifferenceError>(out)
        })?;
        Ok(done.concat())
    }

    /// The transposed matrix times one of `rows` rows of `width` numbers.
    fn transposed_times(&self, other: &[f64], width: usize) -> Result<Vec<f64>, DifferenceError> {
        let stripes = blocks::ranges(self.columns, STRIPE);
        let done = blocks::try_map(&stripes, |_, stripe: &Range<usize>| {
            let (mut out, mut scratch) = (vec![0.0; stripe.len() * width], Scratch::new());
            for (row, other) in other.chunks_exact(width).enumerate() {
                self.differences(&mut scratch, row, stripe.clone(), |column, difference| {
                    let at = (column - stripe.start) * width;
                    add(&mut out[at..at + width], difference, other);
                })?;
            }
            Ok::<_, DifferenceError>(out)
        })?;
        Ok(done.concat())
    }

    /// The elements of part of a row, exactly, one by one.
    fn differences(
        &self,
        scratch: &mut Scratch,
        row: usize,
        columns: Range<usize>,
        mut take: impl FnMut(usize, f64),
    ) -> Result<(), DifferenceError> {
        let start = row * self.columns;
        self.pair.each_with(scratch, start + columns.start..start + columns.end, |first, a, b| {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                take(first + i - start, f64::from(*b) - f64::from(*a));
            }
            Ok(())
        })
    }
}

#[inline(always)]
fn add(sums: &mut [f64], factor: f64, numbers: &[f64]) {
    sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += factor * number);
}
