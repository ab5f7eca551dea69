//! Whether the stored numbers are numbers.
//!
//! Opening a model looks at its structure only. This looks at every value: all must be finite,
//! scales positive. It reads the whole file once, in pieces, on all cores where there are any; the
//! error is always the first one in storage order.

use std::ops::Range;

use super::weights::{TensorInfo, Weights};
use crate::tensor::dtype::DType;
use crate::tensor::quantize;
use crate::tensor::view::TensorView;

/// A value that cannot be computed with.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// A weight that is NaN or infinite.
    #[error("tensor {tensor}, element {element} (byte {at}) is {value:e}; every weight must be a finite f32")]
    Weight {
        /// The tensor.
        tensor: String,
        /// Index of the element, row by row.
        element: usize,
        /// Where its bytes begin in the file.
        at: usize,
        /// Its value: not finite, or an f64 beyond the range of f32.
        value: f64,
    },
    /// A scale that is not positive and finite.
    #[error("tensor {tensor}, scale {scale} (byte {at}) is {value}; every scale must be positive and finite")]
    Scale {
        /// The tensor.
        tensor: String,
        /// Index of the scale.
        scale: usize,
        /// Where its bytes begin in the file.
        at: usize,
        /// Its value.
        value: f32,
    },
}

/// Elements looked at as one piece.
const PIECE: usize = 1 << 20;

/// Elements widened together: they stay in a core's first cache.
const TOGETHER: usize = 4096;

/// Checks every weight and scale of a model.
///
/// # Errors
///
/// [`ValueError`] of the first weight that is not finite, or scale that is not finite and more than 0.
pub fn validate_values(weights: &Weights) -> Result<(), ValueError> {
    let pieces: Vec<_> = weights
        .infos()
        .iter()
        .zip(weights.tensors())
        .flat_map(|(info, view)| cut(&view).map(move |range| (info, view, range)))
        .collect();
    first_error(&pieces).map_or(Ok(()), Err)
}

type Piece<'a> = (&'a TensorInfo, TensorView<'a>, Range<usize>);

#[cfg(feature = "engine")]
fn first_error(pieces: &[Piece<'_>]) -> Option<ValueError> {
    use rayon::prelude::*;
    pieces.par_iter().find_map_first(check)
}

#[cfg(not(feature = "engine"))]
fn first_error(pieces: &[Piece<'_>]) -> Option<ValueError> {
    pieces.iter().find_map(check)
}

/// Names of the tensors that hold nothing but zeros. Stops at the first other value of each, so it
/// costs next to nothing on a model that has been trained.
pub fn all_zero_tensors(weights: &Weights) -> Vec<&str> {
    weights.tensors().filter(all_zero).map(|view| view.name).collect()
}

fn all_zero(view: &TensorView<'_>) -> bool {
    let mut buffer = [0.0; TOGETHER];
    runs(0..view.shape.elements()).all(|run| {
        let values = &mut buffer[..run.len()];
        view.read_f32(run.start, values);
        values.iter().all(|value| *value == 0.0)
    })
}

/// What is widened together.
fn runs(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(TOGETHER).map(move |start| start..end.min(start + TOGETHER))
}

/// Pieces of a tensor: whole blocks where it has blocks.
fn cut(view: &TensorView<'_>) -> impl Iterator<Item = Range<usize>> + use<> {
    let block = view.block_size.max(1);
    let piece = (PIECE / block).max(1) * block;
    let elements = view.shape.elements();
    (0..elements).step_by(piece).map(move |start| start..elements.min(start + piece))
}

fn check((info, view, range): &Piece<'_>) -> Option<ValueError> {
    match info.dtype {
        DType::Q8_0 | DType::Q4_0 => check_scales(info, view, range),
        DType::F32 | DType::F16 | DType::BF16 | DType::F64 | DType::GgmlQ8_0 => {
            check_weights(info, view, range)
        }
    }
}

/// Looks at the weights as they are read. A block of GGML's with a scale that is no number has no
/// weight that is one.
fn check_weights(info: &TensorInfo, view: &TensorView<'_>, range: &Range<usize>) -> Option<ValueError> {
    let mut buffer = [0.0; TOGETHER];
    runs(range.clone()).find_map(|run| {
        let values = &mut buffer[..run.len()];
        view.read_f32(run.start, values);
        first_not_finite(values).map(|found| weight_error(info, view, run.start + found, values[found]))
    })
}

/// Index of the first infinity or NaN.
fn first_not_finite(values: &[f32]) -> Option<usize> {
    // The largest magnitude as bits: everything from infinity on is not finite.
    let magnitude = |value: &f32| (value.to_bits() & 0x7fff_ffff).cast_signed();
    let largest = values.iter().map(magnitude).fold(0, i32::max);
    if largest < f32::INFINITY.to_bits().cast_signed() {
        None
    } else {
        values.iter().position(|value| !value.is_finite())
    }
}

fn weight_error(info: &TensorInfo, view: &TensorView<'_>, element: usize, value: f32) -> ValueError {
    let byte = quantize::byte_of(info.dtype, element);
    let value = match (info.dtype, view.data[byte..].first_chunk()) {
        (DType::F64, Some(bytes)) => f64::from_le_bytes(*bytes),
        _ => f64::from(value),
    };
    ValueError::Weight { tensor: info.name.clone(), element, at: info.data.start + byte, value }
}

fn check_scales(info: &TensorInfo, view: &TensorView<'_>, range: &Range<usize>) -> Option<ValueError> {
    (range.start / info.block_size..range.end / info.block_size).find_map(|index| {
        let value = view.scale(index);
        if !(value.is_finite() && value > 0.0) {
            let at = info.scales.start + index * 4;
            return Some(ValueError::Scale { tensor: info.name.clone(), scale: index, at, value });
        }
        // Only a scale near the end of the range can take a product beyond it.
        if (value * 128.0).is_finite() { None } else { check_products(info, view, index) }
    })
}

fn check_products(info: &TensorInfo, view: &TensorView<'_>, block: usize) -> Option<ValueError> {
    let mut values = vec![0.0; info.block_size];
    let start = block * info.block_size;
    view.read_f32(start, &mut values);
    first_not_finite(&values).map(|found| weight_error(info, view, start + found, values[found]))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tensor::shape::Shape;

    /// A tensor of some rows of 64 after 3 other bytes; all ones but for one stored byte string.
    fn weights(dtype: DType, rows: usize, at: usize, stored: &[u8]) -> Weights {
        let shape = Shape::new(vec![rows, 64]).unwrap();
        let (mut data, mut scales) = (vec![0; 3], Vec::new());
        quantize::encode_into(dtype, 0, 64, &vec![1.0; rows * 64], &mut data, &mut scales).unwrap();
        data[3 + at..3 + at + stored.len()].copy_from_slice(stored);
        let info = TensorInfo {
            name: "t".to_owned(),
            dtype,
            shape,
            part: 0,
            data: 3..data.len(),
            scales: 0..0,
            block_size: 0,
        };
        Weights::new("memory", vec![info], vec![Arc::new(data)])
    }

    #[test]
    fn what_is_not_finite_is_found_in_every_encoding() {
        let check = |dtype, at: usize, stored: &[u8], element: usize, offset: usize| {
            let error = validate_values(&weights(dtype, 100, at, stored)).unwrap_err();
            let ValueError::Weight { element: found, at, value, .. } = error else { panic!("{error}") };
            assert_eq!((found, at), (element, 3 + offset), "{dtype}");
            value
        };
        assert!(validate_values(&weights(DType::F16, 100, 0, &[])).is_ok());
        assert!(check(DType::F16, 10_000, &[0, 0x7e], 5000, 10_000).is_nan());
        assert_eq!(check(DType::BF16, 10_000, &[0x80, 0xff], 5000, 10_000), f64::NEG_INFINITY);
        assert_eq!(check(DType::F32, 20_000, &[0, 0, 0x80, 0x7f], 5000, 20_000), f64::INFINITY);
        assert_eq!(check(DType::F64, 40_000, &1e300_f64.to_le_bytes(), 5000, 40_000), 1e300);
        // The scale of block 150 is infinite, so its first element is the first that is no number.
        assert!(check(DType::GgmlQ8_0, 5100, &[0, 0x7c], 4800, 5102).is_infinite());
    }

    #[test]
    fn zeros_are_found_in_every_encoding() {
        for (dtype, zeros) in [(DType::F16, 12_800), (DType::F64, 51_200), (DType::GgmlQ8_0, 6800)] {
            let mut stored = vec![0; zeros];
            assert_eq!(all_zero_tensors(&weights(dtype, 100, 0, &stored)), ["t"]);
            if dtype != DType::GgmlQ8_0 {
                stored[zeros - 1] = 0x80;
                assert_eq!(all_zero_tensors(&weights(dtype, 100, 0, &stored)), ["t"], "-0.0 is zero");
            }
            assert!(all_zero_tensors(&weights(dtype, 100, 0, &stored[..zeros - 34])).is_empty());
        }
    }
}
