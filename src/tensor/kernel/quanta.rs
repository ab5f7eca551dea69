//! Signed bytes as f32 in wasm, where a conversion is worth two instructions and no more.
//!
//! Wasm has no way from bytes to floats but over 16 and 32 bits, and extending the upper half of a vector takes
//! two instructions each time. Interleaving with zeros takes one: it leaves a byte at the top of its word, which
//! is 2^24 times the number. So every input is made 2^24 times smaller first, and the products are the very
//! ones of the definition: powers of two change no digit, as long as the small inputs are exact.

#[cfg(target_arch = "wasm32")]
use std::arch::wasm32::{f32x4_convert_i32x4, f32x4_extract_lane, i8x16, i8x16_shuffle, i16x8_shuffle, v128};

#[cfg(target_arch = "wasm32")]
use super::lanes::Lanes;

const DOWN: f32 = 1.0 / UP;
const UP: f32 = (1 << 24) as f32;

/// The input for [`widen`], or nothing if a number of it is too small (below 2^-102) to be made smaller exactly.
pub(super) fn lowered(input: &[f32]) -> Option<Vec<f32>> {
    let low: Vec<f32> = input.iter().map(|number| number * DOWN).collect();
    low.iter().zip(input).all(|(low, number)| low * UP == *number).then_some(low)
}

/// 2^24 times each of sixteen quanta.
#[cfg(target_arch = "wasm32")]
#[inline(always)]
pub(super) fn widen(unit: &[i8; 16], (): ()) -> [Lanes; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *unit;
    let bytes = i8x16(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p);
    let zero = i8x16(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    [
        i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(zero, bytes),
        i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(zero, bytes),
    ]
    .map(|pairs| {
        let low = numbers(i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(zero, pairs));
        let high = numbers(i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(zero, pairs));
        [low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3]]
    })
}

#[cfg(target_arch = "wasm32")]
#[inline(always)]
fn numbers(words: v128) -> [f32; 4] {
    let numbers = f32x4_convert_i32x4(words);
    [
        f32x4_extract_lane::<0>(numbers),
        f32x4_extract_lane::<1>(numbers),
        f32x4_extract_lane::<2>(numbers),
        f32x4_extract_lane::<3>(numbers),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_with_lowered_inputs_are_the_very_ones() {
        let input = [0.0, -0.0, 1.0, -1.0 / 3.0, 1e-30, f32::MAX, f32::INFINITY];
        let low = lowered(&input).unwrap();
        for quantum in i8::MIN..=i8::MAX {
            for (low, number) in low.iter().zip(input) {
                let (ours, theirs) = ((i32::from(quantum) << 24) as f32 * low, f32::from(quantum) * number);
                assert!(ours.to_bits() == theirs.to_bits() || theirs.is_nan(), "{quantum} x {number:e}");
            }
        }
    }

    #[test]
    fn what_cannot_be_lowered_exactly_is_not() {
        for number in [1e-31 / 3.0, f32::MIN_POSITIVE * 1.1, f32::from_bits(1), f32::NAN] {
            assert_eq!(lowered(&[1.0, number]), None, "{number:e}");
        }
    }
}
