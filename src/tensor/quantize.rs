//! What a value becomes on disk, for every encoding, and what it is when it comes back.
//!
//! A quantised tensor of SLM1 keeps two things: small integers (the payload) and, apart from them,
//! f32 scales. A value is always `q * scale`, one multiplication, so reading is exact and the same
//! everywhere; only writing rounds, once.
//!
//! ```text
//! f32, f16, bf16, f64   each element by itself, little-endian             no scales
//! q8_0                  one i8 an element                                 one scale per ROW
//! q4_0                  two elements a byte, the low nibble first, -8..=7 one scale per BLOCK of a row
//! ggml_q8_0             blocks of 32 elements, their scale among them     no scales apart
//! ```
//!
//! A block never crosses a row, and a row always begins on a byte. Whole rows can therefore be
//! encoded by anybody, in any order, on any number of threads: a row's bytes depend on that row
//! alone.
//!
//! SLM1's published text does not say how its quantiser rounds. Everything that is our reading of it
//! is in `scale_for` and `quantum`. Plain numbers are in `cast`, GGML's blocks in `ggml`.

use std::ops::Range;

use super::dtype::DType;
use super::shape::Shape;
use super::{cast, ggml};
use crate::base::wide::wide;

/// Elements per scale in the `q4_0` files that are known.
pub const DEFAULT_BLOCK: usize = 32;

/// Why values cannot be encoded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum QuantizeError {
    /// A block length that does not fit the rows.
    #[error(
        "q4_0 needs an even block size that divides the row width {columns}; {block_size} does not: \
         choose another encoding, such as q8_0"
    )]
    BlockSize {
        /// The block length.
        block_size: usize,
        /// The row width.
        columns: usize,
    },
    /// Rows that cannot be cut into an encoding's fixed blocks.
    #[error(
        "{dtype} stores {block} elements together; rows of {columns} cannot be cut so: choose another encoding"
    )]
    Rows {
        /// The encoding.
        dtype: DType,
        /// Elements of its blocks.
        block: usize,
        /// The row width.
        columns: usize,
    },
    /// A NaN or an infinity.
    #[error("element {index} is {value}; only finite values can be stored")]
    NotFinite {
        /// Index among the values given.
        index: usize,
        /// What was found.
        value: f32,
    },
    /// A finite value that would become an infinity.
    #[error(
        "element {index} is {value:e}, beyond the largest value that {dtype} can hold, {:e}; \
         choose f32, or bf16",
        largest_value(*dtype)
    )]
    Range {
        /// Index among the values given.
        index: usize,
        /// The value.
        value: f32,
        /// The encoding.
        dtype: DType,
    },
    /// Buffers of other lengths than the rows need.
    #[error(
        "{values} values in rows of {columns} need {payload} payload and {scales} scale bytes; \
         the buffers have {found_payload} and {found_scales}"
    )]
    Buffers {
        /// Number of values.
        values: usize,
        /// Row width.
        columns: usize,
        /// Payload bytes needed.
        payload: usize,
        /// Scale bytes needed.
        scales: usize,
        /// Payload bytes given.
        found_payload: usize,
        /// Scale bytes given.
        found_scales: usize,
    },
}

impl QuantizeError {
    /// The same error, its index counted from `start` elements further back.
    #[must_use]
    pub fn at(self, start: usize) -> Self {
        match self {
            Self::NotFinite { index, value } => Self::NotFinite { index: start + index, value },
            Self::Range { index, value, dtype } => Self::Range { index: start + index, value, dtype },
            other => other,
        }
    }
}

/// Bytes of an encoded tensor, or of some of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedLengths {
    /// The payload.
    pub payload: usize,
    /// The scales; 0 where there are none apart.
    pub scales: usize,
}

/// Elements per separate scale as directories and views state it: a row for `q8_0`, `q4_block` for
/// `q4_0`, 0 for all others.
pub fn block_size(dtype: DType, columns: usize, q4_block: usize) -> usize {
    match dtype {
        DType::Q8_0 => columns,
        DType::Q4_0 => q4_block,
        DType::F32 | DType::F16 | DType::BF16 | DType::F64 | DType::GgmlQ8_0 => 0,
    }
}

/// Payload and scale bytes of a tensor. `block_size` matters for `q4_0` only.
///
/// # Errors
///
/// As [`check_block`], for the columns of this shape.
pub fn lengths(dtype: DType, shape: &Shape, block_size: usize) -> Result<EncodedLengths, QuantizeError> {
    check_block(dtype, shape.columns(), block_size)?;
    Ok(row_lengths(dtype, shape.rows(), shape.columns(), block_size))
}

/// Whether rows of this width can be encoded so.
///
/// # Errors
///
/// [`QuantizeError::BlockSize`] if `block_size` is not even and more than 0, or does not divide the width of
/// rows in `q4_0`; [`QuantizeError::Rows`] if 32 does not divide that of rows in `ggml_q8_0`. All others take
/// any width.
pub fn check_block(dtype: DType, columns: usize, block_size: usize) -> Result<(), QuantizeError> {
    let fits = block_size != 0 && block_size.is_multiple_of(2) && columns.is_multiple_of(block_size);
    if dtype == DType::Q4_0 && !fits {
        return Err(QuantizeError::BlockSize { block_size, columns });
    }
    let block = ggml::BLOCK;
    if dtype == DType::GgmlQ8_0 && !columns.is_multiple_of(block) {
        return Err(QuantizeError::Rows { dtype, block, columns });
    }
    Ok(())
}

/// Where the byte that holds an element lies in a payload, counted from its first byte.
pub fn byte_of(dtype: DType, element: usize) -> usize {
    match dtype {
        DType::F16 | DType::BF16 => element * 2,
        DType::F32 => element * 4,
        DType::F64 => element * 8,
        DType::Q8_0 => element,
        DType::Q4_0 => element / 2,
        DType::GgmlQ8_0 => {
            element / ggml::BLOCK * ggml::BLOCK_BYTES + ggml::BLOCK_BYTES - ggml::BLOCK
                + element % ggml::BLOCK
        }
    }
}

/// Bytes of `rows` rows. Cannot overflow for the rows of a [`Shape`], which leaves room for 16
/// bytes an element.
fn row_lengths(dtype: DType, rows: usize, columns: usize, block_size: usize) -> EncodedLengths {
    let plain = |bytes: usize| EncodedLengths { payload: rows * columns * bytes, scales: 0 };
    match dtype {
        DType::F16 | DType::BF16 => plain(2),
        DType::F32 => plain(4),
        DType::F64 => plain(8),
        DType::Q8_0 => EncodedLengths { payload: rows * columns, scales: rows * 4 },
        DType::Q4_0 => {
            EncodedLengths { payload: rows * columns / 2, scales: rows * (columns / block_size) * 4 }
        }
        DType::GgmlQ8_0 => {
            EncodedLengths { payload: rows * (columns / ggml::BLOCK) * ggml::BLOCK_BYTES, scales: 0 }
        }
    }
}

/// Encodes whole rows of width `columns` into buffers of exactly the bytes they need.
///
/// `block_size` matters for `q4_0` only.
///
/// # Errors
///
/// As [`check_block`], and [`QuantizeError::Buffers`] if the values are no whole rows or the buffers have other
/// lengths.
///
/// A value that is not finite is an error, and one that f16, bf16 or the f16 scales of `ggml_q8_0` cannot hold
/// is another, both with its index; they leave the buffers half written.
pub fn encode(
    dtype: DType,
    block_size: usize,
    columns: usize,
    values: &[f32],
    payload: &mut [u8],
    scales: &mut [u8],
) -> Result<(), QuantizeError> {
    check_block(dtype, columns, block_size)?;
    let rows = values.len().checked_div(columns).unwrap_or(0);
    let needed = row_lengths(dtype, rows, columns, block_size);
    let whole = rows * columns == values.len();
    if !whole || payload.len() != needed.payload || scales.len() != needed.scales {
        return Err(QuantizeError::Buffers {
            values: values.len(),
            columns,
            payload: needed.payload,
            scales: needed.scales,
            found_payload: payload.len(),
            found_scales: scales.len(),
        });
    }
    if values.is_empty() {
        return Ok(());
    }
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 | DType::F64 => encode_plain(dtype, values, payload),
        DType::Q8_0 => encode_blocks(values, columns, 127.0, scales, |block, scale, at| {
            put_bytes(block, scale, &mut payload[at]);
        }),
        DType::Q4_0 => encode_blocks(values, block_size, 7.0, scales, |block, scale, at| {
            put_nibbles(block, scale, &mut payload[at.start / 2..at.end / 2]);
        }),
        DType::GgmlQ8_0 => ggml::encode(values, payload),
    }
}

/// Like [`encode`], appending to growing buffers.
///
/// # Errors
///
/// As [`encode`], but buffers have the lengths they need; after an error what was appended is worthless.
pub fn encode_into(
    dtype: DType,
    block_size: usize,
    columns: usize,
    values: &[f32],
    payload: &mut Vec<u8>,
    scales: &mut Vec<u8>,
) -> Result<(), QuantizeError> {
    check_block(dtype, columns, block_size)?;
    let rows = values.len().checked_div(columns).unwrap_or(0);
    let needed = row_lengths(dtype, rows, columns, block_size);
    let (payload_start, scales_start) = (payload.len(), scales.len());
    payload.resize(payload_start + needed.payload, 0);
    scales.resize(scales_start + needed.scales, 0);
    encode(dtype, block_size, columns, values, &mut payload[payload_start..], &mut scales[scales_start..])
}

/// The bits of +infinity: among the bits of magnitudes, everything from here on is not finite.
const INFINITY_BITS: i32 = 0x7f80_0000;

/// The bits of the largest magnitude. For magnitudes the order of the bits is the order of the
/// values, NaN above all, so one integer maximum both finds the scale and proves finiteness.
fn largest_bits(values: &[f32]) -> i32 {
    // A block of a row is not worth a call.
    if values.len() < 256 { largest_of(values) } else { largest_of_many(values) }
}

#[inline(always)]
fn largest_of(values: &[f32]) -> i32 {
    values.iter().fold(0, |largest, value| largest.max((value.to_bits() & 0x7fff_ffff) as i32))
}

wide! {
    fn largest_of_many<'a>(values: &'a [f32]) -> i32 {
        largest_of(values)
    }
}

fn not_finite(values: &[f32], start: usize) -> QuantizeError {
    let found = values.iter().position(|value| !value.is_finite()).unwrap_or(0);
    QuantizeError::NotFinite { index: start + found, value: values[found] }
}

/// The largest magnitude; an error counts its index from `start`.
pub(super) fn largest_finite(values: &[f32], start: usize) -> Result<f32, QuantizeError> {
    let largest = largest_bits(values);
    if largest >= INFINITY_BITS {
        return Err(not_finite(values, start));
    }
    Ok(f32::from_bits(largest as u32))
}

/// That the first value from the magnitude `first` on is too large; its index is counted from `start`.
pub(super) fn out_of_range(dtype: DType, values: &[f32], start: usize, first: f32) -> QuantizeError {
    let found = values.iter().position(|value| value.abs() >= first).unwrap_or(0);
    QuantizeError::Range { index: start + found, value: values[found], dtype }
}

/// The largest finite value an encoding can hold.
fn largest_value(dtype: DType) -> f32 {
    match dtype {
        DType::F16 => half::f16::MAX.to_f32(),
        DType::BF16 => half::bf16::MAX.to_f32(),
        DType::GgmlQ8_0 => half::f16::MAX.to_f32() * 127.0,
        DType::F32 | DType::F64 | DType::Q8_0 | DType::Q4_0 => f32::MAX,
    }
}

/// Encodes elements that stand alone, and says what a reader of `payload` will see of each. Errors as of
/// [`encode`].
#[cfg(feature = "operators")]
pub(crate) fn round(
    dtype: DType,
    values: &[f32],
    payload: &mut [u8],
    rounded: &mut [f32],
) -> Result<(), QuantizeError> {
    match dtype {
        DType::BF16 => return check_range(dtype, values, cast::round_bf16(values, payload, rounded)),
        _ => encode_plain(dtype, values, payload)?,
    }
    match dtype {
        DType::F16 => cast::widen_f16(payload.as_chunks().0, 0, rounded),
        DType::F64 => cast::round_f64(payload, rounded),
        _ => rounded.copy_from_slice(values),
    }
    Ok(())
}

/// Whether an encoding of single elements can hold these, the largest magnitude of which has these bits.
fn check_range(dtype: DType, values: &[f32], largest: u32) -> Result<(), QuantizeError> {
    let first_beyond = cast::first_beyond(dtype);
    if largest < first_beyond {
        return Ok(());
    }
    largest_finite(values, 0)?;
    Err(out_of_range(dtype, values, 0, f32::from_bits(first_beyond)))
}

/// Encodes elements that stand alone.
fn encode_plain(dtype: DType, values: &[f32], payload: &mut [u8]) -> Result<(), QuantizeError> {
    check_range(dtype, values, largest_bits(values).cast_unsigned())?;
    match dtype {
        DType::F16 => cast::put_f16(values, payload),
        DType::BF16 => cast::put_bf16(values, payload),
        DType::F64 => cast::put_f64(values, payload),
        DType::F32 | DType::Q8_0 | DType::Q4_0 | DType::GgmlQ8_0 => put_f32(values, payload),
    }
    Ok(())
}

fn put_f32(values: &[f32], payload: &mut [u8]) {
    for (bytes, value) in payload.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        *bytes = value.to_le_bytes();
    }
}

/// Finds each block's scale, stores it and lets `put` store the block.
fn encode_blocks(
    values: &[f32],
    block_size: usize,
    steps: f32,
    scales: &mut [u8],
    mut put: impl FnMut(&[f32], f32, Range<usize>),
) -> Result<(), QuantizeError> {
    for (i, (block, bytes)) in values.chunks_exact(block_size).zip(scales.as_chunks_mut::<4>().0).enumerate()
    {
        let start = i * block_size;
        let scale = scale_for(largest_finite(block, start)?, steps);
        *bytes = scale.to_le_bytes();
        put(block, scale, start..start + block_size);
    }
    Ok(())
}

/// The scale of a block: its largest magnitude over the number of steps on one side; 1 for zeros.
///
/// Two corners the plain quotient does not survive: a magnitude so small that the quotient is zero
/// takes the smallest scale there is, and one so large that the way back would overflow takes the
/// next scale below.
fn scale_for(largest: f32, steps: f32) -> f32 {
    if largest == 0.0 {
        return 1.0;
    }
    let scale = (largest / steps).max(f32::from_bits(1));
    if (scale * steps).is_finite() { scale } else { scale.next_down() }
}

/// A value in steps of the scale: clamped to whole limits, then rounded half away from zero.
#[inline(always)]
fn quantum(value: f32, scale: f32, low: f32, high: f32) -> i32 {
    nearest((value / scale).clamp(low, high))
}

/// The nearest integer to a magnitude of 255 at most, halves away from zero.
///
/// Written without `f32::round` and without a float-to-integer cast, because neither becomes vector
/// code on every target: adding 2^23 rounds a small magnitude to the nearest integer and leaves that
/// integer in the low bits; a half that went to the even integer below is moved up, to the odd one.
#[inline(always)]
pub(super) fn nearest(steps: f32) -> i32 {
    const TWO_TO_23: f32 = 8_388_608.0;
    let magnitude = steps.abs();
    let shifted = magnitude + TWO_TO_23;
    let half_was_dropped = i32::from(magnitude - (shifted - TWO_TO_23) >= 0.5);
    let nearest = (shifted.to_bits() & 0xff) as i32 | half_was_dropped;
    if steps.is_sign_negative() { nearest.wrapping_neg() } else { nearest }
}

fn put_bytes(block: &[f32], scale: f32, payload: &mut [u8]) {
    for (byte, value) in payload.iter_mut().zip(block) {
        *byte = quantum(*value, scale, -127.0, 127.0) as u8;
    }
}

fn put_nibbles(block: &[f32], scale: f32, payload: &mut [u8]) {
    for (byte, [low, high]) in payload.iter_mut().zip(block.as_chunks::<2>().0) {
        let nibble = |value: f32| quantum(value, scale, -8.0, 7.0) as u8 & 15;
        *byte = nibble(*low) | nibble(*high) << 4;
    }
}

/// Widens bytes: `out[i] = payload[i] * scale`.
pub(crate) fn widen_bytes(payload: &[u8], scale: f32, out: &mut [f32]) {
    for (value, byte) in out.iter_mut().zip(payload) {
        *value = f32::from(byte.cast_signed()) * scale;
    }
}

/// Widens nibbles: elements `[start, start + out.len())` of a payload that begins at element 0.
pub(crate) fn widen_nibbles(payload: &[u8], start: usize, scale: f32, out: &mut [f32]) {
    // An odd start is the high nibble of its byte; from there on, whole bytes.
    let (odd, out) = out.split_at_mut((start % 2).min(out.len()));
    if let [value] = odd {
        *value = high_nibble(payload[start / 2]) * scale;
    }
    let bytes = &payload[start.div_ceil(2)..];
    let (pairs, last) = out.as_chunks_mut::<2>();
    for ([low, high], byte) in pairs.iter_mut().zip(bytes) {
        *low = low_nibble(*byte) * scale;
        *high = high_nibble(*byte) * scale;
    }
    if let [value] = last {
        *value = low_nibble(bytes[pairs.len()]) * scale;
    }
}

fn low_nibble(byte: u8) -> f32 {
    f32::from((byte << 4).cast_signed() >> 4)
}

fn high_nibble(byte: u8) -> f32 {
    f32::from(byte.cast_signed() >> 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::view::TensorView;
    use proptest::prelude::*;

    fn round_trip(
        dtype: DType,
        block: usize,
        dims: &[usize],
        values: &[f32],
    ) -> (Vec<u8>, Vec<f32>, Vec<f32>) {
        let shape = Shape::new(dims.to_vec()).unwrap();
        let (mut data, mut scales) = (Vec::new(), Vec::new());
        encode_into(dtype, block, shape.columns(), values, &mut data, &mut scales).unwrap();
        let sizes = lengths(dtype, &shape, block).unwrap();
        assert_eq!((data.len(), scales.len()), (sizes.payload, sizes.scales));
        let block_size = block_size(dtype, shape.columns(), block);
        let view = TensorView { name: "t", dtype, shape: &shape, data: &data, scales: &scales, block_size };
        let mut back = vec![0.0; values.len()];
        view.read_f32(0, &mut back);
        let scales = scales.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        (data, scales, back)
    }

    #[test]
    fn q8_by_hand() {
        // Row 0: scale 127/127 = 1; halves go away from zero. Row 1: zeros keep scale 1.
        let (data, scales, back) =
            round_trip(DType::Q8_0, 0, &[2, 4], &[127.0, -2.5, 2.5, 0.49, 0.0, 0.0, -0.0, 0.0]);
        assert_eq!(data, [127, 0xfd, 3, 0, 0, 0, 0, 0]);
        assert_eq!(scales, [1.0, 1.0]);
        assert_eq!(back, [127.0, -3.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn q4_by_hand() {
        // Two blocks of a row with scales 1 and 2; the low nibble is the even element.
        let (data, scales, back) =
            round_trip(DType::Q4_0, 4, &[8], &[7.0, -7.0, 1.5, -1.0, 14.0, 2.0, -3.0, 0.0]);
        assert_eq!(data, [0x97, 0xf2, 0x17, 0x0e]);
        assert_eq!(scales, [1.0, 2.0]);
        assert_eq!(back, [7.0, -7.0, 2.0, -1.0, 14.0, 2.0, -4.0, 0.0]);
    }

    #[test]
    fn nibbles_are_twos_complement() {
        let mut out = [0.0; 4];
        widen_nibbles(&[0x87, 0xf8], 0, 0.5, &mut out);
        assert_eq!(out, [3.5, -4.0, -4.0, -0.5]);
    }

    #[test]
    fn the_ends_of_the_range_survive() {
        for value in [f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1)] {
            for dtype in [DType::Q8_0, DType::Q4_0] {
                let (_, scales, back) = round_trip(dtype, 2, &[2], &[value, -value]);
                assert!(scales.iter().all(|scale| scale.is_finite() && *scale > 0.0));
                assert!(back.iter().all(|value| value.is_finite()), "{value:e} as {dtype}: {back:?}");
                assert!((back[0] - value).abs() <= value * 1e-2, "{value:e} as {dtype}: {back:?}");
            }
        }
    }

    #[test]
    fn refuses_what_is_not_finite_and_says_where() {
        for dtype in DType::ALL {
            let mut values = [1.0; 64];
            values[43] = f32::NAN;
            let error = encode_into(dtype, 4, 32, &values, &mut Vec::new(), &mut Vec::new()).unwrap_err();
            assert!(matches!(error, QuantizeError::NotFinite { index: 43, .. }), "{dtype}: {error}");
        }
    }

    #[test]
    fn refuses_what_would_overflow_and_says_where() {
        // Half a step above the largest value: 2^16 - 2^4, 2^128 - 2^119, and 127 times the first.
        for (dtype, first) in
            [(DType::F16, 65_520.0), (DType::BF16, 3.396_177_5e38), (DType::GgmlQ8_0, 8_321_040.0_f32)]
        {
            let mut values = [1.0; 64];
            values[50] = -first.next_down();
            encode_into(dtype, 0, 32, &values, &mut Vec::new(), &mut Vec::new()).unwrap();
            values[50] = -first;
            let error = encode_into(dtype, 0, 32, &values, &mut Vec::new(), &mut Vec::new()).unwrap_err();
            assert_eq!(error, QuantizeError::Range { index: 50, value: -first, dtype });
            assert_eq!(error.at(100), QuantizeError::Range { index: 150, value: -first, dtype });
        }
        let error = encode_into(DType::F16, 0, 1, &[70_000.0], &mut Vec::new(), &mut Vec::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "element 0 is 7e4, beyond the largest value that f16 can hold, 6.5504e4; choose f32, or bf16"
        );
        for dtype in [DType::F32, DType::F64] {
            let (_, _, back) = round_trip(dtype, 0, &[2], &[f32::MAX, f32::MIN]);
            assert_eq!(back, [f32::MAX, f32::MIN]);
        }
    }

    #[test]
    fn every_element_has_its_byte() {
        for dtype in DType::ALL {
            let values: Vec<f32> = (0..96).map(|i| if i == 37 { 1.0 } else { 0.0 }).collect();
            let (zeros, ..) = round_trip(dtype, 4, &[96], &[0.0; 96]);
            let (data, ..) = round_trip(dtype, 4, &[96], &values);
            // The element's own byte, or the last of them, differs; a scale before it may differ too.
            let changed = (0..data.len()).rev().find(|at| data[*at] != zeros[*at]).unwrap();
            let bytes = dtype.element_bytes().unwrap_or(1);
            assert!((0..bytes).any(|i| byte_of(dtype, 37) + i == changed), "{dtype}: byte {changed}");
        }
    }

    #[test]
    fn refuses_blocks_and_buffers_that_do_not_fit() {
        let shape = Shape::new(vec![2, 8]).unwrap();
        for block in [0, 1, 3, 6, 16, 32] {
            assert!(lengths(DType::Q4_0, &shape, block).is_err(), "block {block}");
        }
        assert_eq!(lengths(DType::Q4_0, &shape, 4), Ok(EncodedLengths { payload: 8, scales: 16 }));
        let error = encode(DType::Q8_0, 0, 8, &[0.0; 16], &mut [0; 16], &mut [0; 4]).unwrap_err();
        assert!(matches!(error, QuantizeError::Buffers { scales: 8, found_scales: 4, .. }), "{error}");
        assert!(encode(DType::F32, 0, 8, &[0.0; 12], &mut [0; 48], &mut []).is_err());
        let error = lengths(DType::GgmlQ8_0, &shape, 0).unwrap_err().to_string();
        assert!(error.contains("32 elements together; rows of 8"), "{error}");
        let shape = Shape::new(vec![3, 64]).unwrap();
        assert_eq!(lengths(DType::GgmlQ8_0, &shape, 0), Ok(EncodedLengths { payload: 204, scales: 0 }));
        assert_eq!(lengths(DType::BF16, &shape, 0), Ok(EncodedLengths { payload: 384, scales: 0 }));
        let odd = check_block(DType::Q4_0, 7, 7).unwrap_err().to_string();
        assert!(odd.ends_with("choose another encoding, such as q8_0"), "{odd}");
    }

    /// Every tie, its two neighbours, and a sweep of bit patterns, against the standard library.
    #[test]
    fn quantum_is_round_half_away_then_clamp() {
        let check = |value: f32| {
            assert_eq!(
                quantum(value, 1.0, -127.0, 127.0),
                value.round().clamp(-127.0, 127.0) as i32,
                "{value}"
            );
        };
        for half in -300..=300 {
            let tie = half as f32 / 2.0;
            check(tie);
            check(tie.next_up());
            check(tie.next_down());
        }
        for bits in (0..0x7f80_0000_u32).step_by(4999) {
            check(f32::from_bits(bits));
            check(-f32::from_bits(bits));
        }
    }

    proptest! {
        #[test]
        fn the_error_is_at_most_half_a_step(
            values in prop::collection::vec(-1e6_f32..1e6, 32), exponent in -30_i32..6,
        ) {
            let values: Vec<f32> = values.iter().map(|value| value * 2_f32.powi(exponent)).collect();
            for (dtype, steps) in [(DType::Q8_0, 127.0), (DType::Q4_0, 7.0)] {
                let (_, _, back) = round_trip(dtype, 16, &[2, 16], &values);
                for (row, back) in values.chunks(16).zip(back.chunks(16)) {
                    let largest = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
                    for (value, back) in row.iter().zip(back) {
                        prop_assert!((value - back).abs() <= largest / steps * 0.50001);
                    }
                }
            }
        }

        #[test]
        fn encoding_what_was_decoded_changes_nothing(
            values in prop::collection::vec(-1e6_f32..1e6, 32),
        ) {
            for dtype in [DType::Q8_0, DType::Q4_0, DType::BF16, DType::F64] {
                let (data, _, back) = round_trip(dtype, 8, &[4, 8], &values);
                let (again, _, _) = round_trip(dtype, 8, &[4, 8], &back);
                prop_assert_eq!(data, again);
            }
            let values: Vec<f32> = values.iter().map(|value| value / 16.0).collect();
            let (data, _, back) = round_trip(DType::F16, 0, &[4, 8], &values);
            let (again, _, _) = round_trip(DType::F16, 0, &[4, 8], &back);
            prop_assert_eq!(data, again);
        }
    }
}
