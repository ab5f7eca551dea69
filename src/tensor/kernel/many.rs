//! A matrix times many inputs: what a prompt or a batch costs.
//!
//! A block of rows is widened once and stays near the core while every input passes by; within it two
//! rows meet four inputs, and their eight sums stay in registers. Long rows are cut: the lanes of every sum
//! are put away and taken up again, which changes neither their order nor a bit.

use std::ops::Range;

use super::lanes::{LANES, Lanes, added_up, multiply_add, rest};
use super::{Matrix, Payload};

/// Rows of a block.
const ROWS: usize = 16;

/// Inputs that pass by together.
const INPUTS: usize = 32;

/// Chunks of [`LANES`] that a row is cut into: two rows and four inputs of this length fit the nearest cache.
const CHUNKS: usize = 64;

/// The rows of `range` times every input: `out` is rows of `range.len()` numbers.
#[cfg_attr(feature = "engine", multiversion::multiversion(targets("x86_64+avx+avx2")))]
pub(super) fn multiply(matrix: &Matrix<'_>, range: Range<usize>, inputs: &[f32], out: &mut [f32]) {
    let columns = matrix.columns;
    let in_place = matches!(matrix.payload, Payload::F32(_));
    let mut buffer = vec![0.0; if in_place { 0 } else { ROWS * columns }];
    let mut lanes = vec![[0.0; LANES]; ROWS * INPUTS];
    for first in range.clone().step_by(ROWS) {
        let rows = first..range.end.min(first + ROWS);
        let mut scales = [1.0; ROWS];
        let weights = match matrix.payload {
            Payload::F32(numbers) => &numbers[rows.start * columns..rows.end * columns],
            _ => {
                let buffers = buffer.chunks_exact_mut(columns);
                for ((row, buffer), scale) in rows.clone().zip(buffers).zip(&mut scales) {
                    *scale = matrix.widen(row, buffer);
                }
                &buffer[..rows.len() * columns]
            }
        };
        let panels = inputs.chunks(INPUTS * columns).zip(out.chunks_mut(INPUTS * range.len()));
        for (inputs, out) in panels {
            lanes.fill([0.0; LANES]);
            block(weights, inputs, columns, &mut lanes);
            let places = out.chunks_exact_mut(range.len()).enumerate();
            for (input, out) in places {
                for (row, scale) in scales.iter().enumerate().take(rows.len()) {
                    let [[sum]] = added_up(&[[lanes[row * INPUTS + input]]]);
                    out[rows.start - range.start + row] = sum * scale;
                }
            }
        }
    }
}

/// Adds every product of a block of rows with a panel of inputs to its lanes.
#[inline(always)]
fn block(weights: &[f32], inputs: &[f32], columns: usize, lanes: &mut [Lanes]) {
    let (rows, count, whole) = (weights.len() / columns, inputs.len() / columns, columns / LANES);
    for start in (0..whole).step_by(CHUNKS) {
        let cut = start * LANES..whole.min(start + CHUNKS) * LANES;
        let row = |row: usize| weights[row * columns..][cut.clone()].as_chunks::<LANES>().0;
        let input = |input: usize| inputs[input * columns..][cut.clone()].as_chunks::<LANES>().0;
        let mut at = 0;
        while at < count {
            let together = if count - at >= 4 { 4 } else { 1 };
            let mut first = 0;
            while first < rows {
                let lanes = &mut lanes[first * INPUTS + at..];
                match (together, rows - first) {
                    (4, 2..) => {
                        pair(row(first), row(first + 1), std::array::from_fn(|b| input(at + b)), lanes);
                    }
                    (4, _) => tile::<1, 4>([row(first)], std::array::from_fn(|b| input(at + b)), lanes),
                    (_, 2..) => tile([row(first), row(first + 1)], [input(at)], lanes),
                    _ => tile([row(first)], [input(at)], lanes),
                }
                first += 2;
            }
            at += together;
        }
    }
    if whole * LANES < columns {
        for (row, weights) in weights.chunks_exact(columns).enumerate() {
            for (input, inputs) in inputs.chunks_exact(columns).enumerate() {
                multiply_add(&mut lanes[row * INPUTS + input], &rest(weights), &rest(inputs));
            }
        }
    }
}

/// `A` rows times `B` inputs, their lanes in registers meanwhile.
#[inline(always)]
fn tile<const A: usize, const B: usize>(rows: [&[Lanes]; A], inputs: [&[Lanes]; B], lanes: &mut [Lanes]) {
    let mut sums = [[[0.0; LANES]; B]; A];
    for a in 0..A {
        for b in 0..B {
            sums[a][b] = lanes[a * INPUTS + b];
        }
    }
    // Said once, so that the loop below needs no bounds checks and stays in registers.
    let length = rows[0].len();
    let rows = rows.map(|row| &row[..length]);
    let inputs = inputs.map(|input| &input[..length]);
    for chunk in 0..length {
        for a in 0..A {
            for b in 0..B {
                multiply_add(&mut sums[a][b], &rows[a][chunk], &inputs[b][chunk]);
            }
        }
    }
    for a in 0..A {
        for b in 0..B {
            lanes[a * INPUTS + b] = sums[a][b];
        }
    }
}

/// Two rows times four inputs. Written out: as one array of eight sums they would not stay in registers
/// (measured with rustc 1.95).
#[inline(always)]
fn pair(upper: &[Lanes], lower: &[Lanes], inputs: [&[Lanes]; 4], lanes: &mut [Lanes]) {
    let (above, below) = lanes.split_at_mut(INPUTS);
    let (Some(above), Some(below)) = (above.first_chunk_mut::<4>(), below.first_chunk_mut::<4>()) else {
        return;
    };
    let (mut a, mut b) = (*above, *below);
    let length = upper.len();
    let lower = &lower[..length];
    let inputs = inputs.map(|input| &input[..length]);
    for chunk in 0..length {
        for (place, input) in inputs.iter().enumerate() {
            multiply_add(&mut a[place], &upper[chunk], &input[chunk]);
        }
        for (place, input) in inputs.iter().enumerate() {
            multiply_add(&mut b[place], &lower[chunk], &input[chunk]);
        }
    }
    (*above, *below) = (a, b);
}
