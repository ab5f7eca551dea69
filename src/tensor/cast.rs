//! Numbers of other widths: f16, bf16 and f64 read as f32 and made from it.
//!
//! ```text
//!          reading                              writing
//! f16      exact                                nearest, ties to even; from 65520 on: an error
//! bf16     exact                                nearest, ties to even; from 3.396e38 on: an error
//! f64      nearest f32, ties to even, ONCE      exact
//! ```
//!
//! f64 is the only encoding whose reading rounds, and a number beyond the range of f32 is read as
//! an infinity. Operators and [`validate_values`](crate::model::validate_values) refuse it then.
//!
//! f16 goes through the crate `half`, which asks the processor for its own instructions when it runs;
//! both ways round alike (tests compare all of f16 with NumPy). The loops for bf16 and f64 are plain
//! enough to become vector code anywhere.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::dtype::DType;
use crate::base::wide::{fetch, wide};

/// f16 elements converted together, in a buffer: bytes of a file may lie at any address.
const TOGETHER: usize = 256;

/// 16-bit elements in a cache line.
const LINE: usize = 32;

/// How far ahead of what is read lines are asked for, in 16-bit elements: half a page. The processor foresees
/// how reading goes on, but not into the next page, and not where tensors take turns after a few lines each.
const AHEAD: usize = 1024;

/// Magnitudes whose bits are these or more have no finite value in an encoding of single elements.
pub(super) const fn first_beyond(dtype: DType) -> u32 {
    match dtype {
        // Half a step above the largest finite value, where a tie would go to infinity.
        DType::F16 => 0x477f_f000,
        DType::BF16 => 0x7f7f_8000,
        DType::F32 | DType::F64 | DType::Q8_0 | DType::Q4_0 | DType::GgmlQ8_0 => 0x7f80_0000,
    }
}

/// f16 to f32, from element `first` on. NaNs stay NaNs.
pub(super) fn widen_f16(elements: &[[u8; 2]], first: usize, out: &mut [f32]) {
    let mut buffer = [f16::ZERO; TOGETHER];
    let later = &elements[elements.len().min(first + AHEAD)..];
    let elements = &elements[first..first + out.len()];
    let groups = out.chunks_mut(TOGETHER).zip(elements.chunks(TOGETHER));
    for ((out, elements), start) in groups.zip((0..).step_by(TOGETHER)) {
        (start..start + TOGETHER).step_by(LINE).for_each(|line| look_ahead(later, line));
        let numbers = &mut buffer[..out.len()];
        for (number, bytes) in numbers.iter_mut().zip(elements) {
            *number = f16::from_le_bytes(*bytes);
        }
        numbers.convert_to_f32_slice(out);
    }
}

wide! {
    /// bf16 to f32, from element `first` on.
    pub(super) fn widen_bf16<'a>(elements: &'a [[u8; 2]], first: usize, out: &'a mut [f32]) {
        let later = &elements[elements.len().min(first + AHEAD)..];
        let (lines, rest) = elements[first..first + out.len()].as_chunks::<LINE>();
        let (outs, out_rest) = out.as_chunks_mut::<LINE>();
        for (i, (out, line)) in outs.iter_mut().zip(lines).enumerate() {
            look_ahead(later, i * LINE);
            // All of a line before any of it is put down: what might lie in the way makes no vector code.
            let mut widened = [0.0; LINE];
            for lane in 0..LINE {
                widened[lane] = bf16(line[lane]);
            }
            *out = widened;
        }
        out_rest.iter_mut().zip(rest).for_each(|(out, bytes)| *out = bf16(*bytes));
    }
}

#[inline(always)]
const fn bf16(bytes: [u8; 2]) -> f32 {
    f32::from_bits((u16::from_le_bytes(bytes) as u32) << 16)
}

/// Asks for the line that an element is in.
#[inline(always)]
fn look_ahead(elements: &[[u8; 2]], element: usize) {
    if let Some(element) = elements.get(element) {
        fetch(element);
    }
}

/// f64 to the nearest f32.
pub(super) fn round_f64(bytes: &[u8], out: &mut [f32]) {
    for (value, bytes) in out.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *value = f64::from_le_bytes(*bytes) as f32;
    }
}

/// f32 to the nearest f16.
pub(super) fn put_f16(values: &[f32], bytes: &mut [u8]) {
    let mut buffer = [f16::ZERO; TOGETHER];
    for (values, bytes) in values.chunks(TOGETHER).zip(bytes.chunks_mut(TOGETHER * 2)) {
        let numbers = &mut buffer[..values.len()];
        numbers.convert_from_f32_slice(values);
        for (bytes, number) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(numbers) {
            *bytes = number.to_le_bytes();
        }
    }
}

wide! {
    /// f32 to the nearest bf16; finite values only.
    pub(super) fn put_bf16<'a>(values: &'a [f32], bytes: &'a mut [u8]) {
        for (bytes, value) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(values) {
            *bytes = upper_half(rounded_to_bf16(*value));
        }
    }

    /// The same, with what each becomes as f32, and the bits of the largest magnitude there was. If that is
    /// beyond what bf16 holds, what was made means nothing.
    #[cfg(feature = "operators")]
    pub(super) fn round_bf16<'a>(values: &'a [f32], bytes: &'a mut [u8], rounded: &'a mut [f32]) -> u32 {
        let mut largest = 0;
        for ((bytes, rounded), value) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(rounded).zip(values) {
            largest = largest.max((value.to_bits() & 0x7fff_ffff).cast_signed());
            let bits = rounded_to_bf16(*value);
            *rounded = f32::from_bits(bits & 0xffff_0000);
            *bytes = upper_half(bits);
        }
        largest.cast_unsigned()
    }
}

/// Half a step is added to the bits, less one where the last bit that stays is even; the carry is the
/// rounding. The lower half is then of no more interest.
#[inline(always)]
const fn rounded_to_bf16(value: f32) -> u32 {
    let bits = value.to_bits();
    bits.wrapping_add(0x7fff).wrapping_add(bits >> 16 & 1)
}

/// By an arithmetic shift, because only signed halves are narrowed in one instruction.
#[inline(always)]
const fn upper_half(bits: u32) -> [u8; 2] {
    ((bits.cast_signed() >> 16) as i16).to_le_bytes()
}

/// f32 to f64.
pub(super) fn put_f64(values: &[f32], bytes: &mut [u8]) {
    for (bytes, value) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(values) {
        *bytes = f64::from(*value).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::Sha256;

    #[derive(serde::Deserialize)]
    struct Known {
        f16_widened: String,
        bf16_widened: String,
        f16_rounded: String,
        bf16_rounded: String,
        f64_rounded: String,
        f64_widened: String,
    }

    /// What NumPy and ml_dtypes make of the same numbers: `tests/fixtures/encodings.py`.
    fn known() -> Known {
        serde_json::from_str(include_str!("../../tests/fixtures/encodings.json")).unwrap()
    }

    fn digest(values: &[f32]) -> String {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Sha256::of(&bytes).to_hex()
    }

    /// Bits spread over all exponents and both signs.
    fn spread() -> impl Iterator<Item = f32> {
        (0..1_u32 << 18).map(|i| f32::from_bits(i.wrapping_mul(2_654_435_761) ^ i >> 9))
    }

    #[test]
    fn every_half_is_widened_as_by_numpy() {
        let all = |infinity: u16| (0..=u16::MAX).filter(move |bits| bits & 0x7fff < infinity);
        let elements: Vec<[u8; 2]> = all(0x7c00).map(u16::to_le_bytes).collect();
        let mut out = vec![0.0; elements.len()];
        widen_f16(&elements, 0, &mut out);
        assert_eq!(digest(&out), known().f16_widened);
        let elements: Vec<[u8; 2]> = all(0x7f80).map(u16::to_le_bytes).collect();
        let mut out = vec![0.0; elements.len()];
        widen_bf16(&elements, 0, &mut out);
        assert_eq!(digest(&out), known().bf16_widened);
    }

    #[test]
    fn halves_are_rounded_as_by_numpy() {
        type Put = fn(&[f32], &mut [u8]);
        let cases: [(DType, Put, String); 2] =
            [(DType::F16, put_f16, known().f16_rounded), (DType::BF16, put_bf16, known().bf16_rounded)];
        for (dtype, put, expected) in cases {
            let below = |value: &f32| value.to_bits() & 0x7fff_ffff < first_beyond(dtype);
            let values: Vec<f32> = spread().filter(below).collect();
            let mut bytes = vec![0; values.len() * 2];
            put(&values, &mut bytes);
            assert_eq!(Sha256::of(&bytes).to_hex(), expected, "{dtype}");
        }
    }

    /// What is rounded and seen at once is what is put down and read again.
    #[cfg(feature = "operators")]
    #[test]
    fn rounding_says_what_a_reader_sees() {
        let all: Vec<f32> = spread().filter(|value| value.to_bits() & 0x7fff_ffff < 0x7f7f_8000).collect();
        for len in [0, 1, 15, 16, 17, 1024, all.len()] {
            let values = &all[..len];
            let (mut put, mut bytes) = (vec![[0; 2]; len], vec![[0; 2]; len]);
            let (mut read, mut rounded) = (vec![0.0; len], vec![0.0; len]);
            put_bf16(values, put.as_flattened_mut());
            widen_bf16(&put, 0, &mut read);
            let largest = round_bf16(values, bytes.as_flattened_mut(), &mut rounded);
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!((bytes, bits(&rounded)), (put, bits(&read)), "{len}");
            assert_eq!(f32::from_bits(largest), values.iter().fold(0.0, |largest, x| x.abs().max(largest)));
        }
        for beyond in [f32::NEG_INFINITY, f32::NAN, f32::from_bits(first_beyond(DType::BF16))] {
            let values = [1.0, -2.0, beyond, 3.0];
            assert!(round_bf16(&values, &mut [0; 8], &mut [0.0; 4]) >= first_beyond(DType::BF16), "{beyond}");
        }
    }

    /// Around every tie between two f32, and into the subnormal ones.
    #[test]
    fn doubles_are_rounded_as_by_numpy() {
        let finite: Vec<f32> = spread().filter(|value| value.is_finite()).collect();
        let ties = finite.iter().enumerate().map(|(i, value)| {
            let half_a_step = 1_u64 << 28;
            f64::from_bits(f64::from(*value).to_bits() + half_a_step + i as u64 % 3 - 1)
        });
        let bytes: Vec<u8> = ties.flat_map(f64::to_le_bytes).collect();
        let mut out = vec![0.0; finite.len()];
        round_f64(&bytes, &mut out);
        assert_eq!(digest(&out), known().f64_rounded);
        let mut bytes = vec![0; finite.len() * 8];
        put_f64(&finite, &mut bytes);
        assert_eq!(Sha256::of(&bytes).to_hex(), known().f64_widened);
    }

    #[test]
    fn the_borders_of_the_range() {
        let f16 = |value: f32| {
            let mut bytes = [0; 2];
            put_f16(&[value], &mut bytes);
            u16::from_le_bytes(bytes)
        };
        let bf16 = |value: f32| {
            let mut bytes = [0; 2];
            put_bf16(&[value], &mut bytes);
            u16::from_le_bytes(bytes)
        };
        let beyond = |dtype| f32::from_bits(first_beyond(dtype));
        assert_eq!((beyond(DType::F16), f16(65_520_f32.next_down())), (65_520.0, 0x7bff));
        assert_eq!(f16(65_520.0), 0x7c00, "the first to become infinite");
        assert_eq!((bf16(beyond(DType::BF16).next_down()), bf16(beyond(DType::BF16))), (0x7f7f, 0x7f80));
        let mut out = [0.0];
        round_f64(&1e39_f64.to_le_bytes(), &mut out);
        assert_eq!(out, [f32::INFINITY]);
    }
}
