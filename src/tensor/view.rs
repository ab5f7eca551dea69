//! The bytes of one tensor, borrowed from a mapped file, read as f32.
//!
//! Widening is exact: an f32, f16 or bf16 is itself, a quantised value is one product `q * scale`.
//! Only an f64 is rounded, once, to the nearest f32. Whoever reads the same elements gets the same
//! bits, however the reads are cut.

use std::borrow::Cow;

use super::dtype::DType;
use super::shape::Shape;
use super::{cast, ggml, quantize};

/// A borrowed tensor whose lengths have been checked against its shape by the reader that made it.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its encoding.
    pub dtype: DType,
    /// Its dimensions.
    pub shape: &'a Shape,
    /// The payload.
    pub data: &'a [u8],
    /// Little-endian f32 scales; empty for encodings without separate scales.
    pub scales: &'a [u8],
    /// Elements per separate scale; divides the row width. 0 without separate scales.
    pub block_size: usize,
}

impl<'a> TensorView<'a> {
    /// Widens elements `[start, start + out.len())`, counted row by row.
    ///
    /// # Panics
    /// If that range reaches beyond the tensor, as a slice would.
    pub fn read_f32(&self, start: usize, out: &mut [f32]) {
        let plain = |bytes: usize| &self.data[start * bytes..(start + out.len()) * bytes];
        match self.dtype {
            DType::F32 => read_plain(plain(4), out),
            DType::F16 => cast::widen_f16(self.data.as_chunks().0, start, out),
            DType::BF16 => cast::widen_bf16(self.data.as_chunks().0, start, out),
            DType::F64 => cast::round_f64(plain(8), out),
            DType::GgmlQ8_0 => ggml::widen(self.data, start, out),
            DType::Q8_0 => self.for_blocks(start, out, |first, scale, out| {
                quantize::widen_bytes(&self.data[first..first + out.len()], scale, out);
            }),
            DType::Q4_0 => self.for_blocks(start, out, |first, scale, out| {
                quantize::widen_nibbles(self.data, first, scale, out);
            }),
        }
    }

    /// All elements widened.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.shape.elements()];
        self.read_f32(0, &mut values);
        values
    }

    /// All elements without a copy: f32, on a little-endian machine, at an aligned address.
    pub fn as_f32(&self) -> Option<&'a [f32]> {
        if self.dtype == DType::F32 { borrow_plain(self.data) } else { None }
    }

    /// All elements, borrowed where [`Self::as_f32`] can, else widened.
    pub fn f32s(&self) -> Cow<'a, [f32]> {
        self.as_f32().map_or_else(|| Cow::Owned(self.to_f32()), Cow::Borrowed)
    }

    /// The scale of block `index`.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn scale(&self, index: usize) -> f32 {
        f32::from_le_bytes(self.scales.as_chunks::<4>().0[index])
    }

    /// Cuts a range of elements at block borders and hands over each piece with its scale.
    fn for_blocks(&self, start: usize, out: &mut [f32], mut widen: impl FnMut(usize, f32, &mut [f32])) {
        let mut next = start;
        let mut rest = out;
        while !rest.is_empty() {
            let left_in_block = self.block_size - next % self.block_size;
            let (piece, after) = rest.split_at_mut(left_in_block.min(rest.len()));
            widen(next, self.scale(next / self.block_size), piece);
            next += piece.len();
            rest = after;
        }
    }
}

fn borrow_plain(bytes: &[u8]) -> Option<&[f32]> {
    if cfg!(target_endian = "little") { bytemuck::try_cast_slice(bytes).ok() } else { None }
}

fn read_plain(bytes: &[u8], out: &mut [f32]) {
    if let Some(values) = borrow_plain(bytes) {
        out.copy_from_slice(values);
        return;
    }
    for (value, bytes) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *value = f32::from_le_bytes(*bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any cut of the elements, at any alignment of the bytes, gives the same bits.
    #[test]
    fn every_range_reads_the_same_elements() {
        let shape = Shape::new(vec![2, 32]).unwrap();
        let values: Vec<f32> = (0..64).map(|i| (i as f32 - 11.3) * 0.37).collect();
        for dtype in DType::ALL {
            let (mut data, mut scales) = (Vec::new(), Vec::new());
            quantize::encode_into(dtype, 4, 32, &values, &mut data, &mut scales).unwrap();
            let block_size = quantize::block_size(dtype, 32, 4);
            for shift in 0..4 {
                let mut moved = vec![0xee; shift];
                moved.extend_from_slice(&data);
                let view = TensorView {
                    name: "t",
                    dtype,
                    shape: &shape,
                    data: &moved[shift..],
                    scales: &scales,
                    block_size,
                };
                let all = view.to_f32();
                assert_eq!(view.f32s().as_ref(), all);
                for start in 0..64 {
                    for end in start..=64 {
                        let mut part = vec![f32::NAN; end - start];
                        view.read_f32(start, &mut part);
                        assert_eq!(part, all[start..end], "{dtype} {start}..{end} shifted by {shift}");
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "range")]
    fn beyond_the_end_is_a_panic() {
        let shape = Shape::new(vec![2]).unwrap();
        let view = TensorView {
            name: "t",
            dtype: DType::F32,
            shape: &shape,
            data: &[0; 8],
            scales: &[],
            block_size: 0,
        };
        view.read_f32(1, &mut [0.0; 2]);
    }
}
