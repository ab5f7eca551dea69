//! Numbers as an encoding of single elements has them, and the one next to each.

use half::{bf16, f16};

use super::dtype::DType;

/// `value` as it would be stored: rounded to nearest, ties to even. Nothing for encodings in which an
/// element is stored together with others, and for those that hold every f32.
pub fn stored(value: f32, dtype: DType) -> Option<f32> {
    match dtype {
        DType::F16 => Some(f16::from_f32(value).to_f32()),
        DType::BF16 => Some(bf16::from_f32(value).to_f32()),
        DType::F32 | DType::F64 | DType::Q8_0 | DType::Q4_0 | DType::GgmlQ8_0 => None,
    }
}

/// The number next to `value`, which an encoding has, on the way to `to`. `value` itself in encodings for
/// which [`stored`] says nothing.
pub fn next_towards(value: f32, to: f32, dtype: DType) -> f32 {
    match dtype {
        DType::F16 => f16::from_bits(next(f16::from_f32(value).to_bits(), value < to)).to_f32(),
        DType::BF16 => bf16::from_bits(next(bf16::from_f32(value).to_bits(), value < to)).to_f32(),
        DType::F32 | DType::F64 | DType::Q8_0 | DType::Q4_0 | DType::GgmlQ8_0 => value,
    }
}

/// The bits of the next number up or down: magnitudes count up from the bits of zero on both sides.
fn next(bits: u16, up: bool) -> u16 {
    const SIGN: u16 = 0x8000;
    match bits {
        0 | SIGN if up => 1,
        0 | SIGN => SIGN | 1,
        _ if (bits & SIGN == 0) == up => bits + 1,
        _ => bits - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_neighbours_and_on_the_right_side() {
        for dtype in [DType::F16, DType::BF16] {
            for value in [0.0_f32, -0.0, 1.0, -1.0, 0.1, -0.3, 1024.0, 1e-6] {
                let at = stored(value, dtype).unwrap();
                for to in [f32::NEG_INFINITY, f32::INFINITY] {
                    let there = next_towards(at, to, dtype);
                    assert_eq!(there > at, to > at, "{dtype} {value}");
                    assert_eq!(stored(there, dtype), Some(there));
                    let middle = ((f64::from(at) + f64::from(there)) / 2.0) as f32;
                    let near = stored(middle, dtype).unwrap();
                    assert!(near == at || near == there, "{dtype} {value}: nothing lies between");
                }
            }
        }
        assert_eq!(stored(1.0 + 1.0 / 512.0, DType::BF16), Some(1.0));
        assert_eq!((stored(0.1, DType::F32), next_towards(0.1, 9.0, DType::Q8_0)), (None, 0.1));
    }
}
