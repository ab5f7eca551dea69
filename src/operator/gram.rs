//! How parents lie to each other: the dot product of every pair, over a tensor, its rows or its
//! columns. Norms and angles follow from them without another look at the tensor.

use std::ops::Range;

use rayon::prelude::*;

use super::combine::subtract;
use super::contract::TensorInputs;
use super::reduce::{Product, sums_in_order, sums_of};
use super::source::{RUN, Source};
use crate::tensor::shape::Shape;

/// Neighbouring columns that are summed together: half a page of f32.
const STRIPE: usize = 512;

/// A parent's tensor, or its difference from a base, which is never stored.
pub(super) struct Vector<'a> {
    source: &'a dyn Source,
    base: Option<&'a dyn Source>,
}

impl<'a> Vector<'a> {
    /// The parents as they are.
    pub(super) fn parents(tensor: &'a TensorInputs<'_>) -> Vec<Self> {
        tensor.parents.iter().map(|parent| Self { source: &**parent, base: None }).collect()
    }

    /// The parents' differences from the base, if there is one.
    pub(super) fn differences(tensor: &'a TensorInputs<'_>) -> Vec<Self> {
        let base = tensor.base.as_deref();
        tensor
            .parents
            .iter()
            .map(|parent| Self { source: &**parent, base: base.map(|base| base as _) })
            .collect()
    }

    /// Elements `first..first + out.len()`, lent or put into `out`; [`RUN`] at most.
    pub(super) fn read<'s>(&'s self, first: usize, out: &'s mut [f32]) -> &'s [f32] {
        if self.base.is_none() {
            return self.source.read(first, out);
        }
        self.copy(first, out);
        out
    }

    /// Puts elements `first..first + out.len()` into `out`; [`RUN`] at most.
    pub(super) fn copy(&self, first: usize, out: &mut [f32]) {
        let (mut scratch, mut base_scratch) = ([0.0; RUN], [0.0; RUN]);
        let source = self.source.read(first, &mut scratch[..out.len()]);
        match self.base {
            Some(base) => subtract(source, base.read(first, &mut base_scratch[..out.len()]), out),
            None => out.copy_from_slice(source),
        }
    }
}

/// The dot product of every pair of vectors, each with itself too.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gram {
    count: usize,
    /// (0,0) (0,1) ... (1,1) (1,2) ...
    products: Vec<f64>,
}

impl Gram {
    /// How many vectors there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The dot product of the vectors `i` and `j`.
    pub(super) fn product(&self, i: usize, j: usize) -> f64 {
        let (i, j) = (i.min(j), i.max(j));
        self.products[i * (2 * self.count - i - 1) / 2 + j]
    }

    /// The length of the vector `i`.
    pub(super) fn norm(&self, i: usize) -> f64 {
        self.product(i, i).sqrt()
    }
}

fn pairs(count: usize) -> usize {
    count * (count + 1) / 2
}

/// Over the whole tensor.
pub(super) fn whole(vectors: &[Vector<'_>], elements: usize) -> Gram {
    let count = vectors.len();
    let products = sums_of(elements, pairs(count), |range, sums| add_piece(vectors, range, sums));
    Gram { count, products }
}

/// Over each row.
pub(super) fn rows(vectors: &[Vector<'_>], shape: &Shape) -> Vec<Gram> {
    let (count, columns) = (vectors.len(), shape.columns());
    (0..shape.rows())
        .into_par_iter()
        .map(|row| {
            let row = row * columns..(row + 1) * columns;
            let add_piece = |range: Range<usize>, sums: &mut [f64]| add_piece(vectors, range, sums);
            Gram { count, products: sums_in_order(row, pairs(count), add_piece) }
        })
        .collect()
}

/// Over each column: the elements that differ in the first dimension alone. They are summed from
/// the first row to the last.
pub(super) fn columns(vectors: &[Vector<'_>], shape: &Shape) -> Vec<Gram> {
    let stride = shape.elements() / shape.dims()[0];
    let stripes: Vec<Vec<Gram>> = (0..stride.div_ceil(STRIPE))
        .into_par_iter()
        .map(|stripe| {
            column_stripe(vectors, shape, stride, stripe * STRIPE..stride.min((stripe + 1) * STRIPE))
        })
        .collect();
    stripes.into_iter().flatten().collect()
}

fn column_stripe(vectors: &[Vector<'_>], shape: &Shape, stride: usize, stripe: Range<usize>) -> Vec<Gram> {
    let (count, width) = (vectors.len(), stripe.len());
    // One list of columns for each pair.
    let mut sums = vec![0.0_f64; pairs(count) * width];
    let mut scratch = vec![0.0; count * width];
    for row in 0..shape.dims()[0] {
        let runs = read_all(vectors, row * stride + stripe.start, width, &mut scratch);
        let mut sums = sums.chunks_exact_mut(width);
        for (i, a) in runs.iter().enumerate() {
            for (b, sums) in runs[i..].iter().zip(&mut sums) {
                for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(*b)) {
                    *sum += f64::from(*a) * f64::from(*b);
                }
            }
        }
    }
    let column = |column| sums.iter().skip(column).step_by(width).copied().collect();
    (0..width).map(|i| Gram { count, products: column(i) }).collect()
}

fn add_piece(vectors: &[Vector<'_>], range: Range<usize>, sums: &mut [f64]) {
    let mut products = vec![Product::default(); sums.len()];
    let mut scratch = vec![0.0; vectors.len() * RUN.min(range.len())];
    for first in range.clone().step_by(RUN) {
        let runs = read_all(vectors, first, RUN.min(range.end - first), &mut scratch);
        match (&runs[..], <&mut [_; 3]>::try_from(&mut products[..])) {
            ([a, b], Ok(products)) => Product::add_all(products, a, b),
            _ => add_run(&runs, &mut products),
        }
    }
    sums.iter_mut().zip(&products).for_each(|(sum, product)| *sum += product.total());
}

fn add_run(runs: &[&[f32]], products: &mut [Product]) {
    let mut products = products.iter_mut();
    for (i, a) in runs.iter().enumerate() {
        for (b, product) in runs[i..].iter().zip(&mut products) {
            product.add(a, b);
        }
    }
}

/// The same run of every vector.
fn read_all<'s>(
    vectors: &'s [Vector<'_>],
    first: usize,
    len: usize,
    scratch: &'s mut [f32],
) -> Vec<&'s [f32]> {
    vectors.iter().zip(scratch.chunks_exact_mut(len)).map(|(vector, out)| vector.read(first, out)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::source::Floats;
    use super::*;
    use proptest::prelude::*;

    fn floats(salt: i64, elements: usize) -> Floats {
        Floats((0..elements as i64).map(|i| ((i * (31 + salt) + salt) % 17 - 8) as f32).collect())
    }

    /// Small integers: every sum is exact and can be compared with any other order.
    fn expected(vectors: &[Vec<f32>], indices: &[usize]) -> Gram {
        let mut products = Vec::new();
        for (i, a) in vectors.iter().enumerate() {
            for b in &vectors[i..] {
                products.push(indices.iter().map(|at| f64::from(a[*at]) * f64::from(b[*at])).sum());
            }
        }
        Gram { count: vectors.len(), products }
    }

    proptest! {
        #[test]
        fn whole_rows_and_columns(
            dims in prop_oneof![
                (1_usize..40, 1_usize..40).prop_map(|(rows, columns)| vec![rows, columns]),
                (1_usize..4, 4000_usize..9000).prop_map(|(rows, columns)| vec![rows, columns]),
                (1_usize..5, 1_usize..6, 1_usize..7).prop_map(|(a, b, c)| vec![a, b, c]),
            ],
            count in 1_usize..5,
            with_base: bool,
        ) {
            let shape = Shape::new(dims.clone()).unwrap();
            let elements = shape.elements();
            let base = floats(90, elements);
            let sources: Vec<Floats> = (0..count).map(|i| floats(i as i64, elements)).collect();
            let used: Option<&dyn Source> = if with_base { Some(&base) } else { None };
            let vectors: Vec<Vector<'_>> =
                sources.iter().map(|source| Vector { source, base: used }).collect();
            let plain: Vec<Vec<f32>> = sources
                .iter()
                .map(|source| {
                    let pairs = source.0.iter().zip(&base.0);
                    pairs.map(|(x, b)| if with_base { x - b } else { *x }).collect()
                })
                .collect();
            let all: Vec<usize> = (0..elements).collect();
            prop_assert_eq!(whole(&vectors, elements), expected(&plain, &all));
            let found = rows(&vectors, &shape);
            let rows: Vec<Gram> = all.chunks(shape.columns()).map(|row| expected(&plain, row)).collect();
            prop_assert_eq!(found, rows);
            let stride = elements / dims[0];
            let column = |i| all.iter().copied().skip(i).step_by(stride).collect::<Vec<_>>();
            let by_column: Vec<Gram> = (0..stride).map(|i| expected(&plain, &column(i))).collect();
            prop_assert_eq!(columns(&vectors, &shape), by_column);
        }
    }

    #[test]
    fn products_are_found_in_either_order() {
        let gram = Gram { count: 3, products: vec![1.0, 2.0, 3.0, 16.0, 5.0, 6.0] };
        assert_eq!((gram.product(0, 2), gram.product(2, 0), gram.product(2, 1)), (3.0, 3.0, 5.0));
        assert_eq!(gram.norm(1), 4.0);
    }
}
