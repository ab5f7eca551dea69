//! A matrix times one input: what every generated token costs.
//!
//! Each weight is used once, so nothing is gained by putting it down widened: weights go from the file
//! through registers into the sums, several rows at a time: one row's additions wait for each other, and
//! a processor asks memory for more when it reads in more places.

use std::ops::Range;

use super::lanes::{LANES, Lanes, added_up, dot, dots, multiply_add};
#[cfg(target_arch = "wasm32")]
use super::quanta;
use super::{Matrix, Payload, nibbles};
use crate::base::wide::{FETCHES, fetch, wide};
use crate::tensor::dtype::DType;

/// Rows whose sums are in registers together: half of the sixteen that AVX2 has, and of the vectors of wasm
/// as many bytes. Four instead of eight read f32 from memory at half the speed (measured).
const TOGETHER: usize = if cfg!(target_arch = "wasm32") { 4 } else { 8 };

/// The same where making numbers of the weights needs registers of its own.
const TOGETHER_MADE: usize = 4;

/// Rows of so few bytes end before a processor has seen that it should read ahead: it is told. Longer ones
/// are better left to it (measured: twice as fast with 600 bytes, a third slower with 8,192).
const SHORT: usize = 2048;

wide! {
    /// The rows of `range` times the input.
    pub(super) fn multiply<'a>(
        matrix: &'a Matrix<'a>,
        range: Range<usize>,
        input: &'a [f32],
        out: &'a mut [f32],
    ) {
        let columns = matrix.columns;
        let elements = range.start * columns..range.end * columns;
        let unscaled = |_| 1.0;
        match matrix.payload {
            Payload::F32(numbers) if columns.is_multiple_of(LANES) => {
                let units = numbers[elements].as_chunks::<LANES>().0;
                in_flight::<_, _, 1, TOGETHER>(units, (), input, out, |unit: &Lanes, _| [*unit], unscaled);
            }
            Payload::Q8 { quanta, scales } if columns.is_multiple_of(16) => {
                let units = quanta[elements].as_chunks::<16>().0;
                let scale = |row: usize| f32::from_le_bytes(scales[range.start + row]);
                #[cfg(not(target_arch = "wasm32"))]
                in_flight::<_, _, 2, TOGETHER_MADE>(units, (), input, out, widen_q8, scale);
                #[cfg(target_arch = "wasm32")]
                match quanta::lowered(input) {
                    Some(low) => in_flight::<_, _, 2, 3>(units, (), &low, out, quanta::widen, scale),
                    None => by_rows(matrix, range, input, out),
                }
            }
            Payload::Q4 { pairs, scales, block: 32 } => {
                let units = pairs[elements.start / 2..elements.end / 2].as_chunks::<16>().0;
                let scales = &scales[elements.start / 32..elements.end / 32];
                in_flight::<_, _, 4, TOGETHER_MADE>(units, scales, input, out, widen_q4, unscaled);
            }
            // No `.slm` has these, and pages run nothing else: they need not load a loop for each.
            Payload::Other(view) if columns.is_multiple_of(32) && !cfg!(target_arch = "wasm32") => match view.dtype {
                DType::BF16 | DType::F16 => {
                    let bytes = view.data[2 * elements.start..2 * elements.end].as_chunks::<2>().0;
                    let units = bytes.as_chunks::<LANES>().0;
                    if view.dtype == DType::BF16 {
                        in_flight::<_, _, 1, TOGETHER>(units, (), input, out, widen_bf16, unscaled);
                    } else {
                        in_flight::<_, _, 1, TOGETHER_MADE>(units, (), input, out, widen_f16, unscaled);
                    }
                }
                DType::GgmlQ8_0 => {
                    let units = view.data.as_chunks::<34>().0;
                    let units = &units[elements.start / 32..elements.end / 32];
                    in_flight::<_, _, 4, TOGETHER_MADE>(units, (), input, out, widen_ggml, unscaled);
                }
                _ => by_rows(matrix, range, input, out),
            },
            _ => by_rows(matrix, range, input, out),
        }
    }
}

/// What belongs to a unit besides its quanta: nothing, or a scale from a list of its own.
trait Beside: Copy {
    type Item: Copy;
    fn row(self, row: usize, units: usize) -> Self;
    fn at(self, unit: usize) -> Self::Item;
}

impl Beside for () {
    type Item = ();
    #[inline(always)]
    fn row(self, _: usize, _: usize) -> Self {}
    #[inline(always)]
    fn at(self, _: usize) {}
}

impl Beside for &[[u8; 4]] {
    type Item = f32;
    #[inline(always)]
    fn row(self, row: usize, units: usize) -> Self {
        &self[row * units..(row + 1) * units]
    }
    #[inline(always)]
    fn at(self, unit: usize) -> f32 {
        f32::from_le_bytes(self[unit])
    }
}

/// Rows of units that `widen` makes `N` chunks of lanes from, `A` of them together.
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
#[cfg_attr(target_arch = "wasm32", inline(never))]
fn in_flight<U, B: Beside, const N: usize, const A: usize>(
    units: &[U],
    beside: B,
    input: &[f32],
    out: &mut [f32],
    widen: impl Fn(&U, B::Item) -> [Lanes; N],
    scale: impl Fn(usize) -> f32,
) {
    let chunks = input.as_chunks::<LANES>().0.as_chunks::<N>().0;
    let length = chunks.len();
    let row = |row: usize| (&units[row * length..(row + 1) * length], beside.row(row, length));
    let told = FETCHES && length * size_of::<U>() <= SHORT;
    let (groups, last) = out.as_chunks_mut::<A>();
    let done = groups.len() * A;
    for (group, out) in groups.iter_mut().enumerate() {
        let rows: [_; A] = std::array::from_fn(|place| row(group * A + place));
        let next = if told { units.get((group + 1) * A * length..).unwrap_or_default() } else { &[] };
        let sums = sum_rows(rows, chunks, &widen, next);
        for (place, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
            *out = sum * scale(group * A + place);
        }
    }
    for (place, out) in last.iter_mut().enumerate() {
        let [sum] = sum_rows([row(done + place)], chunks, &widen, &[]);
        *out = sum * scale(done + place);
    }
}

/// A loop of at most eight rounds, written out: a compiler that does not do so keeps the sums in memory,
/// because only constants can choose among registers.
macro_rules! unrolled {
    ($round:ident < $rounds:ident, $body:expr) => {
        unrolled!(@ $round $rounds $body, 0 1 2 3 4 5 6 7)
    };
    (@ $round:ident $rounds:ident $body:expr, $($number:literal)*) => {$(
        if $number < $rounds {
            let $round = $number;
            $body;
        }
    )*};
}

#[inline(always)]
fn sum_rows<U, B: Beside, const N: usize, const A: usize>(
    rows: [(&[U], B); A],
    chunks: &[[Lanes; N]],
    widen: &impl Fn(&U, B::Item) -> [Lanes; N],
    next: &[U],
) -> [f32; A] {
    let mut lanes = [[0.0_f32; LANES]; A];
    let units = rows.map(|(units, _)| &units[..chunks.len()]);
    let mut next = next.chunks(A);
    for (unit, chunks) in chunks.iter().enumerate() {
        if FETCHES {
            for unit in next.next().unwrap_or_default().iter().step_by(64_usize.div_ceil(size_of::<U>())) {
                fetch(unit);
            }
        }
        unrolled!(a < A, {
            let weights = widen(&units[a][unit], rows[a].1.at(unit));
            unrolled!(n < N, multiply_add(&mut lanes[a], &weights[n], &chunks[n]));
        });
    }
    added_up(&lanes)
}

/// Any encoding in rows of any width: widened into a buffer first.
#[inline(always)]
fn by_rows(matrix: &Matrix<'_>, range: Range<usize>, input: &[f32], out: &mut [f32]) {
    let mut buffers = vec![0.0; TOGETHER_MADE * matrix.columns];
    let mut rows = range;
    let (groups, last) = out.as_chunks_mut::<TOGETHER_MADE>();
    for group in groups {
        let mut scales = [1.0; TOGETHER_MADE];
        let mut buffers = buffers.chunks_exact_mut(matrix.columns);
        let weights: [&[f32]; TOGETHER_MADE] = std::array::from_fn(|place| {
            let (Some(row), Some(buffer)) = (rows.next(), buffers.next()) else { return &[][..] };
            let (weights, scale) = matrix.row(row, buffer);
            scales[place] = scale;
            weights
        });
        for ((value, sum), scale) in group.iter_mut().zip(dots(weights, input)).zip(scales) {
            *value = sum * scale;
        }
    }
    for (value, row) in last.iter_mut().zip(rows) {
        let (weights, scale) = matrix.row(row, &mut buffers[..matrix.columns]);
        *value = dot(weights, input) * scale;
    }
}

/// Two chunks at once: of one, the compiler makes single numbers, five times slower (rustc 1.95).
#[cfg(not(target_arch = "wasm32"))]
#[inline(always)]
fn widen_q8(unit: &[i8; 16], (): ()) -> [Lanes; 2] {
    std::array::from_fn(|n| std::array::from_fn(|lane| f32::from(unit[n * LANES + lane])))
}

#[inline(always)]
fn widen_bf16(unit: &[[u8; 2]; LANES], (): ()) -> [Lanes; 1] {
    [numbers(unit).map(|bits| f32::from_bits(u32::from(bits) << 16))]
}

#[inline(always)]
fn widen_f16(unit: &[[u8; 2]; LANES], (): ()) -> [Lanes; 1] {
    [numbers(unit).map(f16)]
}

/// Sixteen bytes, taken at once: one by one they would not become a vector.
#[inline(always)]
fn numbers(unit: &[[u8; 2]; LANES]) -> [u16; LANES] {
    let numbers: [u16; LANES] = bytemuck::cast(*unit);
    numbers.map(u16::from_le)
}

#[inline(always)]
fn widen_q4(unit: &[u8; 16], scale: f32) -> [Lanes; 4] {
    let words = unit.as_chunks::<4>().0;
    std::array::from_fn(|n| nibbles(words[n], scale))
}

/// An f16 scale, then 32 signed bytes.
#[inline(always)]
fn widen_ggml(unit: &[u8; 34], (): ()) -> [Lanes; 4] {
    let scale = f16(u16::from_le_bytes([unit[0], unit[1]]));
    std::array::from_fn(|n| std::array::from_fn(|lane| f32::from(unit[2 + n * LANES + lane] as i8) * scale))
}

/// IEEE 754 binary16, in whole numbers and one exact product, so that eight go together on any processor.
#[inline(always)]
fn f16(bits: u16) -> f32 {
    let bits = u32::from(bits);
    // The exponent's bias is 112 less; the product mends it, subnormal numbers included.
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((112 + 127) << 23);
    let beyond = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(magnitude.to_bits() | beyond | (bits & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_is_widened_as_everywhere() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (f16(bits), half::f16::from_bits(bits).to_f32());
            assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(), "{bits:#x}");
        }
    }
}
