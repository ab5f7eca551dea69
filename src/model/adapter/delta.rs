//! What is added to one tensor, and the adding.
//!
//! Each element of a delta is a function of its own place alone, computed in one fixed order in f32
//! and added to the model's element with one more rounding. So it does not matter in which runs a
//! tensor is read.

use std::borrow::Cow;

use crate::tensor::view::TensorView;

/// Elements worked on at a time: a few KiB beside what the caller has.
const RUN: usize = 1024;

/// A delta ready to be added.
#[derive(Debug, Clone)]
pub enum Delta<'a> {
    /// A number for every element.
    Dense(TensorView<'a>),
    /// Numbers for some elements.
    Sparse(Pairs<'a>),
    /// A product of two narrow matrices.
    LowRank(Factors<'a>),
}

impl Delta<'_> {
    /// Adds the delta of elements `first..first + values.len()` to them.
    ///
    /// # Panics
    /// If that range reaches beyond the tensor, as a slice would.
    pub fn add_to(&self, first: usize, values: &mut [f32]) {
        match self {
            Self::Dense(view) => add_dense(view, first, values),
            Self::Sparse(pairs) => pairs.add_to(first, values),
            Self::LowRank(factors) => factors.add_to(first, values),
        }
    }
}

fn add_dense(view: &TensorView<'_>, first: usize, values: &mut [f32]) {
    let mut run = [0.0; RUN];
    for (values, first) in values.chunks_mut(RUN).zip((first..).step_by(RUN)) {
        let delta = match view.as_f32() {
            Some(stored) => &stored[first..first + values.len()],
            None => {
                view.read_f32(first, &mut run[..values.len()]);
                &run[..values.len()]
            }
        };
        values.iter_mut().zip(delta).for_each(|(value, delta)| *value += delta);
    }
}

/// Pairs of index and delta as they lie in a file, indices increasing.
#[derive(Debug, Clone, Copy)]
pub enum Pairs<'a> {
    /// u32, f32
    Narrow(&'a [[u8; 8]]),
    /// u64, f32
    Wide(&'a [[u8; 12]]),
}

impl Pairs<'_> {
    /// Number of pairs.
    pub fn len(&self) -> usize {
        match self {
            Self::Narrow(pairs) => pairs.len(),
            Self::Wide(pairs) => pairs.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pair `i`.
    ///
    /// # Panics
    /// If there is none.
    pub fn get(&self, i: usize) -> (u64, f32) {
        match self {
            Self::Narrow(pairs) => narrow(&pairs[i]),
            Self::Wide(pairs) => wide(&pairs[i]),
        }
    }

    fn add_to(&self, first: usize, values: &mut [f32]) {
        let first = first as u64;
        match self {
            Self::Narrow(pairs) => add_pairs(pairs, narrow, first, values),
            Self::Wide(pairs) => add_pairs(pairs, wide, first, values),
        }
    }
}

fn narrow(pair: &[u8; 8]) -> (u64, f32) {
    let [a, b, c, d, w, x, y, z] = *pair;
    (u32::from_le_bytes([a, b, c, d]).into(), f32::from_le_bytes([w, x, y, z]))
}

fn wide(pair: &[u8; 12]) -> (u64, f32) {
    let [a, b, c, d, e, f, g, h, w, x, y, z] = *pair;
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]), f32::from_le_bytes([w, x, y, z]))
}

fn add_pairs<P>(pairs: &[P], read: fn(&P) -> (u64, f32), first: u64, values: &mut [f32]) {
    let begin = pairs.partition_point(|pair| read(pair).0 < first);
    for (index, delta) in pairs[begin..].iter().map(read) {
        match values.get_mut((index - first) as usize) {
            Some(value) => *value += delta,
            None => return,
        }
    }
}

/// `delta = scale * B A`, row by row: the products over the rank are summed in f32 from the first to
/// the last, the sum is scaled, the result added.
#[derive(Debug, Clone)]
pub struct Factors<'a> {
    /// rank x columns, row by row.
    pub a: Cow<'a, [f32]>,
    /// rows x rank, row by row.
    pub b: Cow<'a, [f32]>,
    /// Width of a row of the tensor.
    pub columns: usize,
    /// Columns of B, rows of A; at least 1.
    pub rank: usize,
    /// Factor on the product.
    pub scale: f32,
}

impl Factors<'_> {
    /// Adds the product's elements `first..first + values.len()` to them.
    ///
    /// # Panics
    /// If that range reaches beyond the tensor, as a slice would.
    pub fn add_to(&self, first: usize, values: &mut [f32]) {
        let mut next = first;
        let mut rest = values;
        while !rest.is_empty() {
            let (row, column) = (next / self.columns, next % self.columns);
            let (run, after) = rest.split_at_mut(rest.len().min(self.columns - column).min(RUN));
            self.add_to_row(row, column, run);
            next += run.len();
            rest = after;
        }
    }

    fn add_to_row(&self, row: usize, column: usize, values: &mut [f32]) {
        let mut sums = [0.0_f32; RUN];
        let sums = &mut sums[..values.len()];
        let weights = &self.b[row * self.rank..(row + 1) * self.rank];
        for (weight, a) in weights.iter().zip(self.a.chunks_exact(self.columns)) {
            let a = &a[column..column + values.len()];
            sums.iter_mut().zip(a).for_each(|(sum, a)| *sum += weight * a);
        }
        values.iter_mut().zip(sums).for_each(|(value, sum)| *value += self.scale * *sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::dtype::DType;
    use crate::tensor::shape::Shape;
    use proptest::prelude::*;

    fn value(i: usize) -> f32 {
        ((i * 2_654_435_761) >> 5 & 0xFFFF) as f32 / 1000.0 - 30.0
    }

    /// Every cut of a read gives the bits of one read of everything.
    fn any_cut(delta: &Delta<'_>, elements: usize) {
        let mut whole: Vec<f32> = (0..elements).map(value).collect();
        delta.add_to(0, &mut whole);
        for size in [1, 7, RUN - 1, RUN + 1, 2 * RUN + 5] {
            let mut parts: Vec<f32> = (0..elements).map(value).collect();
            for (i, part) in parts.chunks_mut(size).enumerate() {
                delta.add_to(i * size, part);
            }
            let same = parts.iter().zip(&whole).all(|(part, whole)| part.to_bits() == whole.to_bits());
            assert!(same, "reads of {size}");
        }
    }

    #[test]
    fn cuts_do_not_matter() {
        let (rows, columns, rank) = (5, RUN + 300, 3);
        let elements = rows * columns;
        let shape = Shape::new(vec![rows, columns]).unwrap();
        let bytes: Vec<u8> = (7..7 + elements).flat_map(|i| value(i).to_le_bytes()).collect();
        // Aligned or not.
        for shift in [0, 1] {
            let data: Vec<u8> = std::iter::repeat_n(0, shift).chain(bytes.iter().copied()).collect();
            let view = TensorView {
                name: "t",
                dtype: DType::F32,
                shape: &shape,
                data: &data[shift..],
                scales: &[],
                block_size: 0,
            };
            any_cut(&Delta::Dense(view), elements);
        }
        let floats = |from: usize, len: usize| Cow::Owned((from..from + len).map(value).collect());
        let factors =
            Factors { a: floats(3, rank * columns), b: floats(99, rows * rank), columns, rank, scale: 0.3 };
        any_cut(&Delta::LowRank(factors), elements);

        let indices: Vec<usize> = (0..elements).filter(|i| i % 13 == 2 || i % RUN == 0).collect();
        let narrow: Vec<[u8; 8]> = indices.iter().map(|i| narrow_pair(*i as u32, value(i + 1))).collect();
        let wide: Vec<[u8; 12]> = indices.iter().map(|i| wide_pair(*i as u64, value(i + 1))).collect();
        any_cut(&Delta::Sparse(Pairs::Narrow(&narrow)), elements);
        any_cut(&Delta::Sparse(Pairs::Wide(&wide)), elements);
        let add = |pairs: Pairs<'_>| {
            let mut values = vec![0.0; elements];
            Delta::Sparse(pairs).add_to(0, &mut values);
            values
        };
        assert_eq!(add(Pairs::Narrow(&narrow)), add(Pairs::Wide(&wide)));
        assert_eq!(add(Pairs::Narrow(&narrow)).iter().filter(|value| **value != 0.0).count(), indices.len());
    }

    fn narrow_pair(index: u32, delta: f32) -> [u8; 8] {
        let bytes: Vec<u8> = index.to_le_bytes().into_iter().chain(delta.to_le_bytes()).collect();
        bytes.try_into().unwrap()
    }

    fn wide_pair(index: u64, delta: f32) -> [u8; 12] {
        let bytes: Vec<u8> = index.to_le_bytes().into_iter().chain(delta.to_le_bytes()).collect();
        bytes.try_into().unwrap()
    }

    /// By hand: B = [1 2; 3 4; 0 -1], A = [1 0 2; 0 1 1], scale 1/2.
    #[test]
    fn low_rank_by_hand() {
        let factors = Factors {
            a: Cow::Borrowed(&[1.0, 0.0, 2.0, 0.0, 1.0, 1.0]),
            b: Cow::Borrowed(&[1.0, 2.0, 3.0, 4.0, 0.0, -1.0]),
            columns: 3,
            rank: 2,
            scale: 0.5,
        };
        let mut values = [10.0; 9];
        Delta::LowRank(factors).add_to(0, &mut values);
        assert_eq!(values, [10.5, 11.0, 12.0, 11.5, 12.0, 15.0, 10.0, 9.5, 9.5]);
    }

    proptest! {
        /// A sparse delta is the dense one with zeros in it.
        #[test]
        fn sparse_is_dense_with_zeros(
            deltas in prop::collection::vec(prop_oneof![Just(0.0_f32), -9.0_f32..9.0], 1..60),
            first in 0_usize..60,
            len in 0_usize..60,
        ) {
            let first = first.min(deltas.len());
            let range = first..deltas.len().min(first + len);
            let pairs: Vec<[u8; 8]> = deltas
                .iter()
                .enumerate()
                .filter(|(_, delta)| **delta != 0.0)
                .map(|(i, delta)| narrow_pair(i as u32, *delta))
                .collect();
            let mut values = vec![1.5; range.len()];
            Delta::Sparse(Pairs::Narrow(&pairs)).add_to(first, &mut values);
            let expected: Vec<f32> = deltas[range].iter().map(|delta| 1.5 + delta).collect();
            prop_assert_eq!(values, expected);
        }
    }
}
