//! Whether the stored numbers are numbers.
//!
//! Opening a model looks at its structure only. This looks at every value: all must be finite,
//! scales positive. It reads the whole file once, in pieces, on all cores where there are any; the
//! error is always the first one in storage order.

use std::ops::Range;

use super::weights::{TensorInfo, Weights};
use crate::tensor::dtype::DType;
use crate::tensor::view::TensorView;

/// A value that cannot be computed with.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// A weight that is NaN or infinite.
    #[error("tensor {tensor}, element {element} (byte {at}) is {value}; every weight must be finite")]
    Weight {
        /// The tensor.
        tensor: String,
        /// Index of the element, row by row.
        element: usize,
        /// Where its bytes begin in the file.
        at: usize,
        /// Its value.
        value: f32,
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

/// Checks every weight and scale of a model.
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
    weights
        .tensors()
        .filter(|view| {
            // -0.0 is zero too: only f32 has it, in the sign bit.
            let mask = if view.dtype == DType::F32 { [0xff, 0xff, 0xff, 0x7f] } else { [0xff; 4] };
            view.data.iter().zip(mask.iter().cycle()).all(|(byte, mask)| byte & mask == 0)
        })
        .map(|view| view.name)
        .collect()
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
        DType::F32 => check_weights(info, view, range),
        DType::Q8_0 | DType::Q4_0 => check_scales(info, view, range),
    }
}

fn check_weights(info: &TensorInfo, view: &TensorView<'_>, range: &Range<usize>) -> Option<ValueError> {
    let words = &view.data.as_chunks::<4>().0[range.clone()];
    // The largest magnitude as bits: everything from infinity on is not finite.
    let magnitude = |word: &[u8; 4]| u32::from_le_bytes(*word) & 0x7fff_ffff;
    let infinity = f32::INFINITY.to_bits();
    if words.iter().map(magnitude).fold(0, u32::max) < infinity {
        return None;
    }
    let found = words.iter().position(|word| magnitude(word) >= infinity)?;
    let element = range.start + found;
    Some(ValueError::Weight {
        tensor: info.name.clone(),
        element,
        at: info.data.start + element * 4,
        value: f32::from_le_bytes(words[found]),
    })
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
    let found = values.iter().position(|value| !value.is_finite())?;
    let element = start + found;
    let byte = if info.dtype == DType::Q4_0 { element / 2 } else { element };
    Some(ValueError::Weight {
        tensor: info.name.clone(),
        element,
        at: info.data.start + byte,
        value: values[found],
    })
}
