//! How far a row of one tensor is from the same row of another, both as distributions: the
//! Kullback-Leibler divergence of their softmaxes.
//!
//! ```text
//! p = softmax(x) + 1e-8        q = softmax(b) + 1e-8        D = sum of p ln(p / q)
//! ```
//!
//! Rows of weights are nearly alike and their softmaxes nearly flat, so what is summed is thousands of
//! times as large as the sum: in f32 little of it would be right. Here all of it is f64, in eight lanes
//! that the row's length alone decides ([`super::reduce`]).
//!
//! Exponentials and logarithms are computed here, by arithmetic alone: the same bits on every machine,
//! and several at a time, which a function with branches cannot be. Their error is below 1e-15 of the
//! result.

use std::ops::Range;

use rayon::prelude::*;

use super::reduce::{LANES, across};
use super::source::{RUN, Source};
use crate::base::wide::wide;
use crate::tensor::shape::Shape;

/// What every probability is raised by: the field's way around zeros.
const LIFT: f64 = 1e-8;

/// The divergence of every row of `x` from that of `base`. Rounding may not make one negative.
pub(super) fn of_rows(x: &dyn Source, base: &dyn Source, shape: &Shape) -> Vec<f32> {
    let columns = shape.columns();
    let row = |row: usize| Row { x, base, elements: row * columns..(row + 1) * columns };
    (0..shape.rows()).into_par_iter().map(|i| row(i).divergence().max(0.0) as f32).collect()
}

/// The same row of two tensors.
struct Row<'a> {
    x: &'a dyn Source,
    base: &'a dyn Source,
    elements: Range<usize>,
}

impl Row<'_> {
    fn divergence(&self) -> f64 {
        let (mut of_x, mut of_base) = (Softmax::start(), Softmax::start());
        self.runs(|x, base| {
            of_x.most = largest(of_x.most, x);
            of_base.most = largest(of_base.most, base);
        });
        self.runs(|x, base| {
            of_x.add(x);
            of_base.add(base);
        });
        let (of_x, of_base) = (of_x.scale(), of_base.scale());
        let mut sums = [0.0; LANES];
        self.runs(|x, base| add_divergences(&mut sums, of_x, of_base, x, base));
        across(sums)
    }

    /// Gives the row to `take` in runs of whole lanes, but for the last.
    fn runs(&self, mut take: impl FnMut(&[f32], &[f32])) {
        let (mut scratch, mut base_scratch) = ([0.0; RUN], [0.0; RUN]);
        for first in self.elements.clone().step_by(RUN) {
            let run = RUN.min(self.elements.end - first);
            take(self.x.read(first, &mut scratch[..run]), self.base.read(first, &mut base_scratch[..run]));
        }
    }
}

/// What makes probabilities of a row: its largest number, and the exponentials of the others less it.
#[derive(Clone, Copy)]
struct Softmax {
    most: f32,
    sums: [f64; LANES],
}

/// What a probability is: the exponential of a number less the largest, times this.
#[derive(Clone, Copy)]
struct Scale {
    most: f64,
    factor: f64,
}

impl Softmax {
    fn start() -> Self {
        Self { most: f32::NEG_INFINITY, sums: [0.0; LANES] }
    }

    fn add(&mut self, values: &[f32]) {
        add_exponentials(&mut self.sums, f64::from(self.most), values);
    }

    fn scale(self) -> Scale {
        Scale { most: f64::from(self.most), factor: 1.0 / across(self.sums) }
    }
}

fn largest(most: f32, values: &[f32]) -> f32 {
    values.iter().fold(most, |most, value| most.max(*value))
}

wide! {
    fn add_exponentials<'a>(sums: &'a mut [f64; LANES], most: f64, values: &'a [f32]) {
        let mut lanes = *sums;
        let (whole, rest) = values.as_chunks::<LANES>();
        for values in whole {
            for lane in 0..LANES {
                lanes[lane] += exp(f64::from(values[lane]) - most);
            }
        }
        for (lane, value) in lanes.iter_mut().zip(rest) {
            *lane += exp(f64::from(*value) - most);
        }
        *sums = lanes;
    }

    fn add_divergences<'a>(
        sums: &'a mut [f64; LANES], of_x: Scale, of_base: Scale, x: &'a [f32], base: &'a [f32],
    ) {
        let mut lanes = *sums;
        let (whole, rest) = x.as_chunks::<LANES>();
        let (base_whole, base_rest) = base.as_chunks::<LANES>();
        for (x, base) in whole.iter().zip(base_whole) {
            for lane in 0..LANES {
                lanes[lane] += part(of_x, of_base, x[lane], base[lane]);
            }
        }
        for (lane, (x, base)) in lanes.iter_mut().zip(rest.iter().zip(base_rest)) {
            *lane += part(of_x, of_base, *x, *base);
        }
        *sums = lanes;
    }
}

/// What one element adds to the divergence.
#[inline(always)]
fn part(of_x: Scale, of_base: Scale, x: f32, base: f32) -> f64 {
    let p = exp(f64::from(x) - of_x.most) * of_x.factor + LIFT;
    let q = exp(f64::from(base) - of_base.most) * of_base.factor + LIFT;
    p * ln(p / q)
}

/// ln 2 in two parts: the first has so few digits that small multiples of it are exact.
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// Added to a number and taken away again, it leaves the nearest whole one; while it is there, the lowest
/// bits are that one.
const WHOLE: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52

/// The sum of the terms times powers of `x`, the highest first. Even and odd powers are summed apart: a sum that
/// waits for the one before would take twice as long.
#[inline(always)]
fn polynomial<const N: usize>(terms: &[f64; N], x: f64) -> f64 {
    let square = x * x;
    let mut sums = [0.0; 2];
    for (i, term) in terms.iter().enumerate() {
        let sum = &mut sums[(N - 1 - i) % 2];
        *sum = *sum * square + term;
    }
    sums[0] + sums[1] * x
}

/// `e` to the power of a number that is not above zero; of one below -708, as of -708.
#[inline(always)]
fn exp(x: f64) -> f64 {
    // 1 / n!, from the 13th on: the next would be below 1e-17 of the result.
    const TERMS: [f64; 13] = [
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
    ];
    let x = if x > -708.0 { x } else { -708.0 };
    let shifted = x * std::f64::consts::LOG2_E + WHOLE;
    let times = shifted - WHOLE;
    let reduced = x - times * LN2_HIGH - times * LN2_LOW;
    let sum = polynomial(&TERMS, reduced);
    // Two to the power of `times`: its bits, raised by the bias of exponents, are the exponent.
    let power = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    (sum * reduced + 1.0) * power
}

/// The natural logarithm of a normal number above zero.
#[inline(always)]
fn ln(x: f64) -> f64 {
    // 2 / (2 n + 1), from the 10th on, of the series of the inverse hyperbolic tangent.
    const TERMS: [f64; 10] = [
        2.0 / 21.0,
        2.0 / 19.0,
        2.0 / 17.0,
        2.0 / 15.0,
        2.0 / 13.0,
        2.0 / 11.0,
        2.0 / 9.0,
        2.0 / 7.0,
        2.0 / 5.0,
        2.0 / 3.0,
    ];
    /// The root of one half: fractions are from here to twice as much.
    const ROOT: u64 = 0x3fe6_a09e_667f_3bcd;
    const ONE: u64 = 0x3ff0_0000_0000_0000;
    /// 2^52, below which the lowest bits of a number are a whole one.
    const BITS: f64 = 4_503_599_627_370_496.0;
    let bits = x.to_bits().wrapping_add(ONE - ROOT);
    let exponent = f64::from_bits(bits >> 52 | BITS.to_bits()) - (BITS + 1023.0);
    let fraction = f64::from_bits((bits & (u64::MAX >> 12)).wrapping_add(ROOT)) - 1.0;
    let ratio = fraction / (2.0 + fraction);
    let square = ratio * ratio;
    let sum = polynomial(&TERMS, square);
    // From the smallest part to the largest.
    let small = exponent * LN2_LOW + ratio * square * sum;
    exponent * LN2_HIGH + (2.0 * ratio + small)
}

#[cfg(test)]
mod tests {
    use super::super::source::Floats;
    use super::*;
    use proptest::prelude::*;

    fn near(found: f64, expected: f64, what: &str) {
        assert!((found - expected).abs() <= 1e-15 * expected.abs(), "{what}: {found:e}, not {expected:e}");
    }

    #[test]
    fn exponentials_and_logarithms_are_those_of_libm() {
        for i in 0..200_000 {
            let x = -708.0 * (f64::from(i) / 200_000.0).powi(3);
            near(exp(x), libm::exp(x), &format!("exp {x}"));
            let (far, close) = (libm::exp(x / 10.0), 1.0 + x / 7080.0);
            for y in [far, 1.0 / far, close, 1.0 / close] {
                near(ln(y), libm::log(y), &format!("ln {y}"));
            }
        }
        assert_eq!((exp(0.0), ln(1.0), exp(-1e9)), (1.0, 0.0, exp(-708.0)));
    }

    #[test]
    fn a_row_is_nothing_from_itself_and_its_neighbours_do_not_matter() {
        let shape = Shape::new(vec![2, 3]).unwrap();
        let base = Floats(vec![0.0, 0.0, 0.0, 9.0, -3.0, 1.0]);
        let x = Floats(vec![1.0, 0.0, 0.0, 9.0, -3.0, 1.0]);
        // Softmax of (1, 0, 0) against thirds.
        let e = std::f64::consts::E;
        let p = [e / (e + 2.0), 1.0 / (e + 2.0), 1.0 / (e + 2.0)].map(|p| p + 1e-8);
        let expected: f64 = p.iter().map(|p| p * (p / (1.0 / 3.0 + 1e-8)).ln()).sum();
        let found = of_rows(&x, &base, &shape);
        assert!((f64::from(found[0]) - expected).abs() < 1e-7 * expected, "{found:?}, not {expected}");
        assert_eq!(found[1], 0.0);
    }

    proptest! {
        /// By the formula, for rows of any length and however far apart.
        #[test]
        fn a_divergence_is_that_of_the_formula(
            rows in prop::collection::vec((-40.0_f32..40.0, -40.0_f32..40.0), 1..3000),
        ) {
            let (x, base): (Vec<f32>, Vec<f32>) = rows.into_iter().unzip();
            let softmax = |values: &[f32]| -> Vec<f64> {
                let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let exponentials: Vec<f64> =
                    values.iter().map(|x| libm::exp(f64::from(*x) - f64::from(most))).collect();
                let sum: f64 = exponentials.iter().sum();
                exponentials.iter().map(|e| e / sum + LIFT).collect()
            };
            let (p, q) = (softmax(&x), softmax(&base));
            let expected: f64 = p.iter().zip(&q).map(|(p, q)| p * libm::log(p / q)).sum();
            let shape = Shape::new(vec![x.len()]).unwrap();
            let found = f64::from(of_rows(&Floats(x), &Floats(base), &shape)[0]);
            prop_assert!((found - expected).abs() <= 1e-7 * expected.abs() + 1e-12, "{found}, not {expected}");
        }
    }
}
