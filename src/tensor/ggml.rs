//! GGML's Q8_0, as GGUF files store it.
//!
//! ```text
//! block of 32 elements, 34 bytes     | scale f16 | q0 q1 q2 ... q31, i8 |
//! element                            q * scale: eight bits times eleven, exact in f32
//! ```
//!
//! Blocks follow each other without gaps, never across rows: a row is a multiple of 32 wide.
//!
//! Writing follows the reference quantiser of GGML step by step, in f32: `d = largest / 127`,
//! `q = round(x * (1 / d))` with halves away from zero, and only then is `d` rounded to the f16 that
//! is stored. So `q` fits the unrounded scale; files agree with those of GGML's own tools.

use half::f16;

use super::dtype::DType;
use super::quantize::{self, QuantizeError};

/// Elements of a block.
pub(super) const BLOCK: usize = 32;

/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = 2 + BLOCK;

/// Widens elements `[start, start + out.len())` of a payload that begins at element 0.
pub(super) fn widen(payload: &[u8], start: usize, out: &mut [f32]) {
    let (mut next, mut rest) = (start, out);
    while !rest.is_empty() {
        let within = next % BLOCK;
        let (piece, after) = rest.split_at_mut((BLOCK - within).min(rest.len()));
        let block = &payload[next / BLOCK * BLOCK_BYTES..][..BLOCK_BYTES];
        let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
        quantize::widen_bytes(&block[2 + within..2 + within + piece.len()], scale, piece);
        next += piece.len();
        rest = after;
    }
}

/// Encodes whole blocks.
pub(super) fn encode(values: &[f32], payload: &mut [u8]) -> Result<(), QuantizeError> {
    let blocks = values.as_chunks::<BLOCK>().0.iter().zip(payload.as_chunks_mut::<BLOCK_BYTES>().0);
    for (i, (block, bytes)) in blocks.enumerate() {
        let largest = quantize::largest_finite(block, i * BLOCK)?;
        let scale = largest / 127.0;
        let stored = f16::from_f32(scale);
        if stored.is_infinite() {
            return Err(quantize::out_of_range(DType::GgmlQ8_0, block, i * BLOCK, largest));
        }
        // Where the inverse overflows, the stored scale is zero and so is every element.
        let inverse = Some(1.0 / scale).filter(|inverse| inverse.is_finite()).unwrap_or(0.0);
        bytes[..2].copy_from_slice(&stored.to_le_bytes());
        for (byte, value) in bytes[2..].iter_mut().zip(block) {
            *byte = quantize::nearest(value * inverse) as u8;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Known {
        ggml_q8_0: Vec<Case>,
    }

    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        values: Vec<u32>,
        payload: Vec<u8>,
        widened: Vec<u32>,
    }

    /// What the `gguf` package of the GGML project makes of the same numbers.
    #[test]
    fn known_answers() {
        let text = include_str!("../../tests/fixtures/encodings.json");
        let known: Known = serde_json::from_str(text).unwrap();
        assert_eq!(known.ggml_q8_0.len(), 6);
        for case in known.ggml_q8_0 {
            let values: Vec<f32> = case.values.iter().copied().map(f32::from_bits).collect();
            let mut payload = vec![0; values.len() / BLOCK * BLOCK_BYTES];
            encode(&values, &mut payload).unwrap();
            assert_eq!(payload, case.payload, "{}", case.name);
            let mut back = vec![0.0; values.len()];
            widen(&payload, 0, &mut back);
            let back: Vec<u32> = back.into_iter().map(f32::to_bits).collect();
            assert_eq!(back, case.widened, "{}", case.name);
        }
    }

    #[test]
    fn scales_that_f16_cannot_hold_are_an_error() {
        let mut values = [1.0_f32; 64];
        values[40] = -65_504.0 * 127.0;
        let mut payload = [0; 68];
        encode(&values, &mut payload).unwrap();
        values[41] = 65_520.0 * 127.0;
        let error = encode(&values, &mut payload).unwrap_err();
        assert!(matches!(error, QuantizeError::Range { index: 41, dtype: DType::GgmlQ8_0, .. }), "{error}");
    }

    /// Far below the smallest f16, where the reference would divide by zero or convert an infinity.
    #[test]
    fn values_too_small_for_any_scale_become_zero() {
        for tiny in [f32::from_bits(1), 1e-40, 1e-38, 1e-9] {
            let mut payload = [0xee; BLOCK_BYTES];
            encode(&[tiny; BLOCK], &mut payload).unwrap();
            let mut back = [1.0; BLOCK];
            widen(&payload, 0, &mut back);
            assert_eq!(back, [0.0; BLOCK], "{tiny:e}");
        }
    }
}
