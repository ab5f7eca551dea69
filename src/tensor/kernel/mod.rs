//! Dot products that give the same bits on every CPU.
//!
//! A compiler may not reorder a float sum, so a plain loop is exact to repeat but slow, and a loop
//! written for one vector width gives other bits on another. Here the order is part of the
//! definition: element `i` goes to lane `i mod 8`, every lane adds its own products in order,
//! rounding the product and the sum (never a fused multiply-add), and the eight lanes are added
//! in one fixed tree. Any vector unit can follow that order: two SSE registers, one AVX register, two
//! of wasm, or none at all.
//!
//! ```text
//! lane l = 0 + w[l]*x[l] + w[l+8]*x[l+8] + ...            (short rows: the rest is zeros)
//! sum    = ((l0+l4) + (l2+l6)) + ((l1+l5) + (l3+l7))
//! ```
//!
//! A matrix product is the same dot product many times over. It holds several sums in registers at once,
//! three weight rows against three inputs (`many`) or some rows against one input (`one`), but each sum keeps
//! the order above: feeding tokens one by one, in a prompt, or beside other sequences cannot change a bit. Both
//! loops are compiled twice, for any x86-64 and for AVX2 (`base::wide`), and the processor's own is
//! taken at run time; wider vectors change how many lanes go together, not what is added to what.
//!
//! Quantised payloads stay where they lie. A row is widened when its turn comes and shared by all inputs.
//! For q8_0 the row's one scale multiplies the finished sum; for q4_0, whose rows have many, it multiplies
//! each weight, which makes the sum that of the dequantised row. Every other encoding is widened to f32 as
//! it is read everywhere else.

use std::cell::Cell;
use std::ops::Range;

mod exp;
mod lanes;
mod many;
mod one;
#[cfg(any(target_arch = "wasm32", test))]
mod quanta;

use super::blocks;
use super::dtype::DType;
use super::quantize;
use super::view::TensorView;

pub use exp::exp;
pub use lanes::{LANES, dot, dots};

use lanes::Lanes;
use many::Packed;

/// Multiplications worth handing to another thread: of many inputs, of few.
const PIECE: usize = 1 << 21;
const PIECE_OF_FEW: usize = 1 << 16;

/// So few inputs are not worth laying anything out for: rows are read again for each.
const FEW: usize = 2;

/// Rows that go together when there are few inputs.
const ROWS: usize = 16;

/// A weight matrix where it lies: rows of outputs, columns of inputs.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    rows: usize,
    columns: usize,
    payload: Payload<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Payload<'a> {
    F32(&'a [f32]),
    Q8 { quanta: &'a [i8], scales: &'a [[u8; 4]] },
    Q4 { pairs: &'a [u8], scales: &'a [[u8; 4]], block: usize },
    Other(TensorView<'a>),
}

impl<'a> Matrix<'a> {
    /// The tensor as a matrix; `copy` holds the numbers of an f32 payload that cannot be read in place.
    ///
    /// `None` if lengths contradict the shape, or if an f32 payload needs a copy and has none.
    pub fn new(view: TensorView<'a>, copy: Option<&'a [f32]>) -> Option<Self> {
        let (rows, columns) = (view.shape.rows(), view.shape.columns());
        let elements = view.shape.elements();
        let (scales, rest) = view.scales.as_chunks::<4>();
        let payload = match view.dtype {
            DType::F32 => {
                let numbers = copy.or_else(|| view.as_f32())?;
                (numbers.len() == elements).then_some(Payload::F32(numbers))?
            }
            DType::Q8_0 => {
                let fits = view.data.len() == elements && scales.len() == rows && rest.is_empty();
                fits.then_some(Payload::Q8 { quanta: bytemuck::cast_slice(view.data), scales })?
            }
            DType::Q4_0 => {
                let block = view.block_size;
                let fits = block != 0
                    && block.is_multiple_of(2)
                    && columns.is_multiple_of(block)
                    && view.data.len() == elements / 2
                    && scales.len() == elements / block
                    && rest.is_empty();
                fits.then_some(Payload::Q4 { pairs: view.data, scales, block })?
            }
            DType::F16 | DType::BF16 | DType::F64 | DType::GgmlQ8_0 => {
                let needed = quantize::lengths(view.dtype, view.shape, 0).ok()?;
                let fits = view.data.len() == needed.payload && view.scales.is_empty();
                fits.then_some(Payload::Other(view))?
            }
        };
        Some(Self { rows, columns, payload })
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Writes the weights of one row.
    pub fn copy_row(&self, row: usize, out: &mut [f32]) {
        let scale = self.widen(row, out);
        if let Payload::Q8 { .. } = self.payload {
            for weight in out {
                *weight *= scale;
            }
        }
    }

    /// The matrix times every input; `inputs` and `out` are rows of [`Self::columns`] and [`Self::rows`]
    /// numbers. `spread` allows other threads to help; it never changes a bit.
    pub fn multiply(&self, inputs: &[f32], out: &mut [f32], spread: bool) {
        multiply([(*self, out)], inputs, spread);
    }

    /// A row's weights, in place or widened into `buffer`, and what its sums are multiplied by.
    #[inline(always)]
    fn row<'s>(&'s self, row: usize, buffer: &'s mut [f32]) -> (&'s [f32], f32) {
        if let Payload::F32(numbers) = self.payload {
            return (&numbers[row * self.columns..(row + 1) * self.columns], 1.0);
        }
        let scale = self.widen(row, buffer);
        (buffer, scale)
    }

    /// Widens a row into `out` and returns what its sums are multiplied by.
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    fn widen(&self, row: usize, out: &mut [f32]) -> f32 {
        let range = row * self.columns..(row + 1) * self.columns;
        match self.payload {
            Payload::F32(numbers) => {
                out.copy_from_slice(&numbers[range]);
                1.0
            }
            Payload::Q8 { quanta, scales } => {
                for (weight, quantum) in out.iter_mut().zip(&quanta[range]) {
                    *weight = f32::from(*quantum);
                }
                f32::from_le_bytes(scales[row])
            }
            Payload::Q4 { pairs, scales, block } => {
                let pairs = &pairs[range.start / 2..range.end / 2];
                let scales = &scales[range.start / block..range.end / block];
                let blocks = out.chunks_exact_mut(block).zip(pairs.chunks_exact(block / 2));
                for ((weights, pairs), scale) in blocks.zip(scales) {
                    widen_block(pairs, f32::from_le_bytes(*scale), weights);
                }
                1.0
            }
            Payload::Other(view) => {
                view.read_f32(range.start, out);
                1.0
            }
        }
    }
}

/// Several matrices times the same inputs, each as [`Matrix::multiply`] does it: threads meet once for all.
pub fn multiply<const N: usize>(products: [(Matrix<'_>, &mut [f32]); N], inputs: &[f32], spread: bool) {
    let columns = products.first().map_or(1, |(matrix, _)| matrix.columns);
    let count = inputs.len() / columns;
    for (matrix, out) in &products {
        debug_assert_eq!((inputs.len(), out.len()), (count * matrix.columns, count * matrix.rows));
    }
    let spread = spread && blocks::workers() > 1;
    if count <= FEW {
        multiply_few(products, inputs, columns, spread);
    } else {
        multiply_many(products, inputs, columns, spread);
    }
}

fn multiply_few<const N: usize>(
    products: [(Matrix<'_>, &mut [f32]); N],
    inputs: &[f32],
    columns: usize,
    spread: bool,
) {
    // Whole groups of rows, or their last ones would be alone.
    let piece = (PIECE_OF_FEW / columns).next_multiple_of(ROWS);
    let mut pieces = Vec::new();
    for (matrix, out) in products {
        let piece = if spread { piece } else { matrix.rows };
        for (input, out) in inputs.chunks_exact(columns).zip(out.chunks_exact_mut(matrix.rows)) {
            let outs = out.chunks_mut(piece).enumerate();
            pieces.extend(outs.map(|(index, out)| (matrix, index * piece, input, out)));
        }
    }
    blocks::for_each(&mut pieces, spread, |(matrix, first, input, out)| {
        one::multiply(matrix, *first..*first + out.len(), input, out);
    });
}

/// Some rows of a matrix, and where their products go: a slice for every input.
type PieceOfMany<'a> = (Matrix<'a>, Range<usize>, Vec<&'a mut [f32]>);

fn multiply_many<const N: usize>(
    products: [(Matrix<'_>, &mut [f32]); N],
    inputs: &[f32],
    columns: usize,
    spread: bool,
) {
    let count = inputs.len() / columns;
    let piece = (PIECE / (columns * count)).next_multiple_of(many::ROWS);
    let mut packed = PACKED.take();
    packed.pack(inputs, columns, spread);
    // Pieces of rows lie scattered in `out`: each has a slice for every input.
    let mut pieces: Vec<PieceOfMany<'_>> = Vec::new();
    for (matrix, out) in products {
        let before = pieces.len();
        let ranges = blocks::ranges(matrix.rows, if spread { piece } else { matrix.rows });
        pieces.extend(ranges.into_iter().map(|range| (matrix, range, Vec::with_capacity(count))));
        for mut row in out.chunks_exact_mut(matrix.rows) {
            for (_, range, outs) in &mut pieces[before..] {
                let (out, rest) = row.split_at_mut(range.len());
                outs.push(out);
                row = rest;
            }
        }
    }
    blocks::for_each(&mut pieces, spread, |(matrix, range, out)| {
        many::multiply(matrix, range.clone(), &packed, out);
    });
    PACKED.set(packed);
}

thread_local! {
    /// Room for inputs, kept: see [`many`].
    static PACKED: Cell<Packed> = Cell::default();
}

/// Signed nibbles, the low one first.
fn widen_block(pairs: &[u8], scale: f32, out: &mut [f32]) {
    let (words, pair_rest) = pairs.as_chunks::<{ LANES / 2 }>();
    let (chunks, rest) = out.as_chunks_mut::<LANES>();
    for (weights, word) in chunks.iter_mut().zip(words) {
        *weights = nibbles(*word, scale);
    }
    let mut word = [0; LANES / 2];
    word[..pair_rest.len()].copy_from_slice(pair_rest);
    rest.copy_from_slice(&nibbles(word, scale)[..rest.len()]);
}

/// Each nibble is shifted up into the sign bit of a word of its own, then down again: two's complement of
/// four bits, one lane each.
#[inline(always)]
fn nibbles(word: [u8; LANES / 2], scale: f32) -> Lanes {
    let word = u32::from_le_bytes(word);
    let mut weights = [0.0; LANES];
    for (lane, weight) in weights.iter_mut().enumerate() {
        let quantum = (word << (28 - 4 * lane)).cast_signed() >> 28;
        *weight = quantum as f32 * scale;
    }
    weights
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::shape::Shape;

    /// Numbers of mixed size and sign from a formula, so that orders of summation show.
    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| (((i + seed) * 7919 % 1009) as f32 - 504.0) / 37.0).collect()
    }

    /// The definition, word for word: slow, and without any chunk.
    fn plain(left: &[f32], right: &[f32]) -> f32 {
        let mut l = [0.0_f32; 8];
        for (i, (a, b)) in left.iter().zip(right).enumerate() {
            let product = a * b;
            l[i % 8] += product;
        }
        ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
    }

    struct Tensor {
        dtype: DType,
        shape: Shape,
        data: Vec<u8>,
        scales: Vec<u8>,
        block_size: usize,
    }

    impl Tensor {
        fn of(dtype: DType, rows: usize, columns: usize) -> Self {
            let shape = Shape::new(vec![rows, columns]).unwrap();
            let bytes = |count: usize| (0..count).map(|i| (i * 37 + i / 11 % 7) as u8).collect();
            let scales = |count| numbers(count, 3).iter().flat_map(|x| x.abs().to_le_bytes()).collect();
            let (data, scales, block_size) = match dtype {
                DType::F32 => {
                    (numbers(rows * columns, 1).iter().flat_map(|x| x.to_le_bytes()).collect(), Vec::new(), 0)
                }
                DType::Q8_0 => (bytes(rows * columns), scales(rows), columns),
                DType::Q4_0 => {
                    // Several blocks a row where the width allows it, of all lengths.
                    let halves = (1..=columns / 4).map(|half| 2 * half);
                    let usual = columns.is_multiple_of(32).then_some(32);
                    let block = usual
                        .or_else(|| halves.rev().find(|size| columns.is_multiple_of(*size)))
                        .unwrap_or(columns);
                    (bytes(rows * columns / 2), scales(rows * columns / block), block)
                }
                DType::F16 | DType::BF16 | DType::F64 | DType::GgmlQ8_0 => {
                    let (mut data, mut none) = (Vec::new(), Vec::new());
                    let values = numbers(rows * columns, 1);
                    quantize::encode_into(dtype, 0, columns, &values, &mut data, &mut none).unwrap();
                    (data, none, 0)
                }
            };
            Self { dtype, shape, data, scales, block_size }
        }

        fn view(&self) -> TensorView<'_> {
            TensorView {
                name: "t",
                dtype: self.dtype,
                shape: &self.shape,
                data: &self.data,
                scales: &self.scales,
                block_size: self.block_size,
            }
        }
    }

    #[test]
    fn dot_follows_its_definition_at_every_length() {
        for length in 0..70 {
            let (left, right) = (numbers(length, 5), numbers(length, 600));
            assert_eq!(dot(&left, &right).to_bits(), plain(&left, &right).to_bits(), "length {length}");
        }
    }

    #[test]
    fn small_whole_numbers_are_summed_exactly() {
        let left: Vec<f32> = (1..=100).map(|i| i as f32).collect();
        assert_eq!(dot(&left, &left), 338_350.0);
    }

    #[test]
    fn q8_rows_are_signed_bytes_times_one_scale() {
        let tensor = Tensor {
            dtype: DType::Q8_0,
            shape: Shape::new(vec![2, 3]).unwrap(),
            data: vec![1, 0xff, 0x81, 127, 0x80, 2],
            scales: [0.5_f32, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect(),
            block_size: 3,
        };
        let matrix = Matrix::new(tensor.view(), None).unwrap();
        let mut row = [0.0; 3];
        matrix.copy_row(0, &mut row);
        assert_eq!(row, [0.5, -0.5, -63.5]);
        let mut out = [0.0; 2];
        matrix.multiply(&[1.0, 10.0, 100.0], &mut out, false);
        assert_eq!(out, [0.5 * (1.0 - 10.0 - 12_700.0), 2.0 * (127.0 - 1280.0 + 200.0)]);
    }

    #[test]
    fn q4_rows_are_signed_nibbles_low_first_with_a_scale_per_block() {
        let tensor = Tensor {
            dtype: DType::Q4_0,
            shape: Shape::new(vec![1, 8]).unwrap(),
            data: vec![0x71, 0x8f, 0x23, 0x01],
            scales: [0.5_f32, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect(),
            block_size: 4,
        };
        let matrix = Matrix::new(tensor.view(), None).unwrap();
        let mut row = [0.0; 8];
        matrix.copy_row(0, &mut row);
        assert_eq!(row, [0.5, 3.5, -0.5, -4.0, 6.0, 4.0, 2.0, 0.0]);
        let mut out = [0.0];
        matrix.multiply(&[1.0; 8], &mut out, false);
        assert_eq!(out, [11.5]);
    }

    #[test]
    fn lengths_that_contradict_the_shape_make_no_matrix() {
        for dtype in DType::ALL {
            let mut tensor = Tensor::of(dtype, 3, 32);
            tensor.data.pop();
            assert!(Matrix::new(tensor.view(), None).is_none(), "{dtype}: payload too short");
            let mut tensor = Tensor::of(dtype, 3, 32);
            tensor.scales.push(0);
            assert_eq!(Matrix::new(tensor.view(), None).is_none(), dtype != DType::F32, "{dtype}: scales");
        }
        let mut tensor = Tensor::of(DType::Q4_0, 3, 4);
        tensor.block_size = 3;
        assert!(Matrix::new(tensor.view(), None).is_none(), "odd block");
    }

    #[test]
    fn unaligned_numbers_are_read_from_a_copy() {
        let tensor = Tensor::of(DType::F32, 3, 5);
        let mut shifted = vec![0; tensor.data.len() + 4];
        let start = 1 + usize::from(bytemuck::try_cast_slice::<u8, f32>(&shifted[1..5]).is_ok());
        shifted[start..start + tensor.data.len()].copy_from_slice(&tensor.data);
        let mut view = tensor.view();
        view.data = &shifted[start..start + tensor.data.len()];
        assert!(Matrix::new(view, None).is_none());
        let copy = view.to_f32();
        let matrix = Matrix::new(view, Some(&copy)).unwrap();
        let mut row = [0.0; 5];
        matrix.copy_row(2, &mut row);
        assert_eq!(row.as_slice(), &numbers(15, 1)[10..]);
    }

    proptest! {
        /// Together or alone, spread over threads or not: the bits of the plain definition.
        #[test]
        fn a_product_is_its_dot_products(
            dtype in prop::sample::select(DType::ALL.to_vec()),
            rows in 1_usize..90, half in 1_usize..50, count in 1_usize..70, spread: bool, whole: bool,
        ) {
            let columns = if whole || dtype == DType::GgmlQ8_0 { half.div_ceil(16) * 32 } else { half * 2 };
            let tensor = Tensor::of(dtype, rows, columns);
            let matrix = Matrix::new(tensor.view(), None).unwrap();
            let inputs = numbers(count * columns, 77);
            let mut out = vec![f32::NAN; count * rows];
            matrix.multiply(&inputs, &mut out, spread);
            let mut weights = vec![0.0; columns];
            let whole = tensor.view().to_f32();
            for row in 0..rows {
                matrix.copy_row(row, &mut weights);
                prop_assert_eq!(&weights, &whole[row * columns..(row + 1) * columns]);
                let scale = matrix.widen(row, &mut weights);
                for (input, out) in inputs.chunks(columns).zip(out.chunks(rows)) {
                    prop_assert_eq!(out[row].to_bits(), (plain(&weights, input) * scale).to_bits());
                }
            }
        }
    }

    /// What processors without AVX2 run.
    #[test]
    fn narrow_vectors_give_the_same_bits() {
        use crate::base::wide::with_lanes;
        for dtype in DType::ALL {
            let tensor = Tensor::of(dtype, 50, 288);
            let matrix = Matrix::new(tensor.view(), None).unwrap();
            for count in [1, 2, 3, 10] {
                let inputs = numbers(count * 288, 9);
                let products = [16, 4].map(|lanes| {
                    let mut out = vec![f32::NAN; count * 50];
                    with_lanes(lanes, || matrix.multiply(&inputs, &mut out, false));
                    out.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>()
                });
                assert_eq!(products[0], products[1], "{dtype}, {count} inputs");
            }
        }
    }

    /// Rows that are cut, in blocks of either height, and rows and inputs that fill no block.
    #[test]
    fn long_rows_have_the_bits_of_the_definition() {
        const ROWS: usize = 31;
        let odd = [(DType::F32, 1051), (DType::F32, 1000)];
        for (dtype, columns) in DType::ALL.map(|dtype| (dtype, 1056)).into_iter().chain(odd) {
            let tensor = Tensor::of(dtype, ROWS, columns);
            let matrix = Matrix::new(tensor.view(), None).unwrap();
            for count in [1, 2, 4, 37] {
                let inputs = numbers(count * columns, 5);
                let mut out = vec![f32::NAN; count * ROWS];
                matrix.multiply(&inputs, &mut out, false);
                let mut weights = vec![0.0; columns];
                for row in 0..ROWS {
                    let scale = matrix.widen(row, &mut weights);
                    for (input, out) in inputs.chunks(columns).zip(out.chunks(ROWS)) {
                        let expected = plain(&weights, input) * scale;
                        assert_eq!(
                            out[row].to_bits(),
                            expected.to_bits(),
                            "{dtype}, {count} inputs, row {row}"
                        );
                    }
                }
            }
        }
    }

    #[cfg(feature = "engine")]
    #[test]
    fn many_threads_give_the_bits_of_one() {
        for dtype in DType::ALL {
            let tensor = Tensor::of(dtype, 1500, 416);
            let matrix = Matrix::new(tensor.view(), None).unwrap();
            for count in [1, 2, 9] {
                let inputs = numbers(count * 416, 8);
                let mut alone = vec![0.0; count * 1500];
                matrix.multiply(&inputs, &mut alone, false);
                for threads in [1, 2, 7] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let mut spread = vec![0.0; count * 1500];
                    pool.install(|| matrix.multiply(&inputs, &mut spread, true));
                    let same = alone.iter().zip(&spread).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{dtype}: {threads} threads");
                }
            }
        }
    }
}
