//! Rescaling: a factor on a sparse difference that gives it back the norm of the whole one.
//!
//! The factor is the norm before over the norm after, or one where either is almost nothing. Norms
//! are sums in f64: eight lanes for each piece, pieces in order, tasks in order. Where pieces and
//! tasks begin depends on the shape alone, so no thread can change a bit.

use std::ops::Range;

use rayon::prelude::*;

use super::combine::subtract;
use super::contract::TensorInputs;
use super::magnitudes::TASK;
use super::pieces::{blocks, pieces};
use super::source::PIECE;
use crate::base::wide::wide;
use crate::tensor::dtype::DType;

/// Norms nearer to zero than this make no factor.
const ALMOST_NOTHING: f64 = 1e-7;
const LANES: usize = 8;

/// Which norm is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Norm {
    /// The sum of magnitudes.
    L1,
    /// The root of the sum of squares.
    L2,
}

impl Norm {
    /// The norm a plan names, if it names one.
    pub(super) fn named(word: &str) -> Option<Self> {
        match word {
            "l1" => Some(Self::L1),
            "l2" => Some(Self::L2),
            _ => None,
        }
    }

    fn finish(self, sum: f64) -> f64 {
        match self {
            Self::L1 => sum,
            Self::L2 => sum.sqrt(),
        }
    }

    /// The sum of magnitudes or of squares of one piece.
    fn sum(self, values: &[f32]) -> f64 {
        match self {
            Self::L1 => magnitudes(values),
            Self::L2 => squares(values),
        }
    }
}

#[inline(always)]
fn lanes(values: &[f32], term: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0_f64; LANES];
    let (groups, rest) = values.as_chunks::<LANES>();
    let mut padded = [0.0; LANES];
    padded[..rest.len()].copy_from_slice(rest);
    for group in groups.iter().chain(std::iter::once(&padded)) {
        for (sum, value) in sums.iter_mut().zip(group) {
            *sum += term(f64::from(*value));
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

wide! {
    fn magnitudes<'a>(values: &'a [f32]) -> f64 {
        lanes(values, f64::abs)
    }

    fn squares<'a>(values: &'a [f32]) -> f64 {
        lanes(values, |value| value * value)
    }
}

/// The factor for each parent's difference; `sparsify(parent, first, x, base, out)` writes differences,
/// zero in the place of what is dropped ([`super::combine::Sparsify`]).
pub(super) fn factors(
    norm: Norm,
    tensor: &TensorInputs<'_>,
    sparsify: impl Fn(usize, usize, &[f32], &[f32], &mut [f32]) + Sync,
) -> Vec<f32> {
    let parents = 0..tensor.parents.len();
    parents
        .map(|parent| {
            factor(norm, tensor, parent, &|first, x: &[f32], base: &[f32], out: &mut [f32]| {
                sparsify(parent, first, x, base, out);
            })
        })
        .collect()
}

fn factor(
    norm: Norm,
    tensor: &TensorInputs<'_>,
    parent: usize,
    sparsify: &(impl Fn(usize, &[f32], &[f32], &mut [f32]) + Sync),
) -> f32 {
    let tasks: Vec<Range<usize>> = blocks(tensor.shape, DType::F32, TASK).collect();
    let sums: Vec<(f64, f64)> =
        tasks.into_par_iter().map(|task| sums(norm, tensor, parent, task, sparsify)).collect();
    let total = |sum: fn(&(f64, f64)) -> f64| norm.finish(sums.iter().map(sum).fold(0.0, |a, b| a + b));
    let (before, after) = (total(|(before, _)| *before), total(|(_, after)| *after));
    if before < ALMOST_NOTHING || after < ALMOST_NOTHING { 1.0 } else { (before / after) as f32 }
}

/// The sums of one task, before and after.
fn sums(
    norm: Norm,
    tensor: &TensorInputs<'_>,
    parent: usize,
    task: Range<usize>,
    sparsify: &impl Fn(usize, &[f32], &[f32], &mut [f32]),
) -> (f64, f64) {
    let mut scratch = [[0.0; PIECE]; 3];
    let (mut before, mut after) = (0.0, 0.0);
    for piece in pieces(tensor.shape.columns(), task) {
        let [x, b, differences] = scratch.each_mut().map(|scratch| &mut scratch[..piece.len()]);
        let x = tensor.parents[parent].read(piece.start, x);
        let b = tensor.base().read(piece.start, b);
        subtract(x, b, differences);
        before += norm.sum(differences);
        sparsify(piece.start, x, b, differences);
        after += norm.sum(differences);
    }
    (before, after)
}
