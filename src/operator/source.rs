//! Where an operator's numbers come from: a parent's tensor, piece by piece, as exact f32.
//!
//! A source is asked for any run of elements. Stored f32 in a mapped file is lent as it lies
//! there; everything else is widened into the asker's scratch, a few KiB at a time. A parent that
//! is an adapter is one more implementation, adding its delta to the pieces of its model.

use crate::base::wide::fetch;
use crate::model::Weights;
use crate::tensor::dtype::DType;
use crate::tensor::quantize::byte_of;
use crate::tensor::shape::Shape;
use crate::tensor::view::TensorView;

/// Elements an operator sees at a time: several pieces fit a core's first cache.
pub const PIECE: usize = 4096;

/// Elements handled together where each stands alone: a run of four inputs, of the child and of what is
/// stored lies in the first cache, a piece of them does not.
pub(super) const RUN: usize = 1024;

/// A tensor that can be read in runs.
pub trait Source: Sync {
    /// Elements `first..first + scratch.len()`, lent or widened into `scratch`.
    fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32];

    /// Says that element `first`, if there is such a one, is read soon. It changes nothing but the time.
    fn expect(&self, _first: usize) {}

    /// Whether elements are stored as f64. Operators see the nearest f32 of each.
    fn is_wide(&self) -> bool {
        false
    }

    /// Elements from `first` on without rounding: for those who compare, and who compute nothing with it.
    fn read_f64(&self, first: usize, out: &mut [f64]) {
        widened(self, first, out);
    }
}

fn widened<S: Source + ?Sized>(source: &S, first: usize, out: &mut [f64]) {
    let mut scratch = [0.0; PIECE];
    for (i, out) in out.chunks_mut(PIECE).enumerate() {
        let values = source.read(first + i * PIECE, &mut scratch[..out.len()]);
        out.iter_mut().zip(values).for_each(|(out, value)| *out = f64::from(*value));
    }
}

/// How many of so many elements are no f32.
pub fn rounded(source: &dyn Source, elements: usize) -> usize {
    if !source.is_wide() {
        return 0;
    }
    let mut wide = [0.0; PIECE];
    let pieces = (0..elements).step_by(PIECE).map(|first| {
        let wide = &mut wide[..PIECE.min(elements - first)];
        source.read_f64(first, wide);
        wide.iter().filter(|value| f64::from(**value as f32) != **value).count()
    });
    pieces.sum()
}

/// A model whose tensors can be read: stored ones, or something computed on the way.
pub trait Tensors: Sync {
    /// Every tensor's name and dimensions, in storage order.
    fn shapes(&self) -> Box<dyn Iterator<Item = (&str, &Shape)> + '_>;

    /// The dimensions of the tensor called `name`.
    fn shape(&self, name: &str) -> Option<&Shape>;

    /// The tensor called `name`.
    fn source(&self, name: &str) -> Option<Box<dyn Source + '_>>;
}

impl Tensors for Weights {
    fn shapes(&self) -> Box<dyn Iterator<Item = (&str, &Shape)> + '_> {
        Box::new(self.infos().iter().map(|info| (info.name.as_str(), &info.shape)))
    }

    fn shape(&self, name: &str) -> Option<&Shape> {
        self.tensor(name).map(|view| view.shape)
    }

    fn source(&self, name: &str) -> Option<Box<dyn Source + '_>> {
        self.tensor(name).map(|view| Box::new(view) as Box<dyn Source + '_>)
    }
}

impl Source for TensorView<'_> {
    fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        if let Some(stored) = self.as_f32() {
            return &stored[first..first + scratch.len()];
        }
        self.read_f32(first, scratch);
        scratch
    }

    fn expect(&self, first: usize) {
        if let Some(byte) = self.data.get(byte_of(self.dtype, first)) {
            fetch(byte);
        }
    }

    fn is_wide(&self) -> bool {
        self.dtype == DType::F64
    }

    fn read_f64(&self, first: usize, out: &mut [f64]) {
        if !self.is_wide() {
            return widened(self, first, out);
        }
        let stored = &self.data.as_chunks::<8>().0[first..];
        out.iter_mut().zip(stored).for_each(|(out, bytes)| *out = f64::from_le_bytes(*bytes));
    }
}

/// Numbers in memory, for tests.
#[cfg(test)]
pub(super) struct Floats(pub(super) Vec<f32>);

#[cfg(test)]
impl Source for Floats {
    fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        &self.0[first..first + scratch.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::shape::Shape;

    fn read(view: &TensorView<'_>, first: usize, len: usize) -> Vec<f32> {
        view.read(first, &mut vec![0.0; len]).to_vec()
    }

    #[test]
    fn any_run_of_any_encoding() {
        let floats: Vec<f32> = (0..12).map(|i| i as f32 - 5.5).collect();
        let bytes: Vec<u8> = floats.iter().flat_map(|value| value.to_le_bytes()).collect();
        let scales: Vec<u8> = [0.5_f32, 2.0, 0.25].iter().flat_map(|value| value.to_le_bytes()).collect();
        let shape = Shape::new(vec![3, 4]).unwrap();
        let f32s = TensorView {
            name: "t",
            dtype: DType::F32,
            shape: &shape,
            data: &bytes,
            scales: &[],
            block_size: 0,
        };
        assert_eq!(read(&f32s, 3, 6), floats[3..9]);

        let integers: [i8; 12] = [1, -2, 127, -127, 4, 5, 6, 7, -8, -9, -10, -11];
        let data: Vec<u8> = integers.iter().map(|q| *q as u8).collect();
        let q8 = TensorView {
            name: "t",
            dtype: DType::Q8_0,
            shape: &shape,
            data: &data,
            scales: &scales,
            block_size: 4,
        };
        assert_eq!(read(&q8, 2, 7), [63.5, -63.5, 8.0, 10.0, 12.0, 14.0, -2.0]);

        // Nibbles 1 -2 7 -8 | 0 3 -1 2 | 4 -4 5 -5, two to a byte.
        let data = [0xE1, 0x87, 0x30, 0x2F, 0xC4, 0xB5];
        let q4 = TensorView {
            name: "t",
            dtype: DType::Q4_0,
            shape: &shape,
            data: &data,
            scales: &scales,
            block_size: 4,
        };
        assert_eq!(read(&q4, 1, 9), [-1.0, 3.5, -4.0, 0.0, 6.0, -2.0, 4.0, 1.0, -1.0]);
    }

    #[test]
    fn unaligned_bytes_are_widened_instead_of_lent() {
        let mut bytes = [0_u8; 9];
        bytes[1..5].copy_from_slice(&1.5_f32.to_le_bytes());
        bytes[5..9].copy_from_slice(&(-2.0_f32).to_le_bytes());
        let shape = Shape::new(vec![2]).unwrap();
        for skip in 0..2 {
            let data = &bytes[skip..skip + 8];
            let view =
                TensorView { name: "t", dtype: DType::F32, shape: &shape, data, scales: &[], block_size: 0 };
            let expected: Vec<f32> =
                data.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
            assert_eq!(read(&view, 0, 2), expected);
        }
    }
}
