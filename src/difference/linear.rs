//! The little linear algebra that a truncated singular value decomposition needs, in f64.
//!
//! Nothing but additions, products, quotients and square roots, all of them rounded the same way
//! everywhere, in an order that follows from the sizes alone.

use crate::tensor::blocks;

const LANES: usize = 8;

/// Rows that one core works on.
const ROWS: usize = 4096;

/// A column shorter than this share of what it was is nothing but rounding.
const DEPENDENT: f64 = 1e-13;

/// A tall matrix, column by column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Columns {
    pub(super) rows: usize,
    pub(super) columns: Vec<Vec<f64>>,
}

impl Columns {
    /// From rows of `width` numbers each.
    pub(super) fn from_rows(data: &[f64], width: usize) -> Self {
        let column = |i: usize| data.iter().skip(i).step_by(width).copied().collect();
        Self { rows: data.len() / width, columns: (0..width).map(column).collect() }
    }

    /// Row by row.
    pub(super) fn to_rows(&self) -> Vec<f64> {
        let width = self.columns.len();
        let mut data = vec![0.0; self.rows * width];
        for (i, column) in self.columns.iter().enumerate() {
            data.iter_mut().skip(i).step_by(width).zip(column).for_each(|(out, value)| *out = *value);
        }
        data
    }

    /// Makes the columns orthonormal and returns R, upper triangular and row by row, with
    /// `before = after * R`. A column that depends on those before it becomes zero.
    ///
    /// Gram-Schmidt, each column twice: once more makes it orthogonal to working precision (Giraud et
    /// al., "Rounding error analysis of the classical Gram-Schmidt orthogonalization process", 2005).
    pub(super) fn orthonormalise(&mut self) -> Square {
        let width = self.columns.len();
        let mut r = Square::zero(width);
        for k in 0..width {
            let (done, rest) = self.columns.split_at_mut(k);
            let column = &mut rest[0];
            let before = dot(column, column).sqrt();
            for _ in 0..2 {
                let shares = blocks::map(done, |_, other| dot(other, column));
                blocks::for_each_chunk(column, ROWS, |chunk, values| {
                    for (other, share) in done.iter().zip(&shares) {
                        let other = &other[chunk * ROWS..];
                        values.iter_mut().zip(other).for_each(|(value, other)| *value -= share * other);
                    }
                });
                shares.iter().enumerate().for_each(|(j, share)| *r.at(j, k) += share);
            }
            let norm = dot(column, column).sqrt();
            if norm > before * DEPENDENT {
                *r.at(k, k) = norm;
                column.iter_mut().for_each(|value| *value /= norm);
            } else {
                column.fill(0.0);
            }
        }
        r
    }

    /// This matrix times a small one, of whose columns the first `count` are wanted.
    pub(super) fn times(&self, small: &Square, count: usize) -> Self {
        let wanted: Vec<usize> = (0..count).collect();
        let columns = blocks::map(&wanted, |_, k| {
            let mut out = vec![0.0; self.rows];
            for (j, column) in self.columns.iter().enumerate() {
                let factor = small.get(j, *k);
                out.iter_mut().zip(column).for_each(|(out, value)| *out += factor * value);
            }
            out
        });
        Self { rows: self.rows, columns }
    }
}

/// A small square matrix, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Square {
    pub(super) size: usize,
    data: Vec<f64>,
}

/// A singular value decomposition: `left * diagonal(values) * right^T`, largest value first.
pub(super) struct Decomposed {
    pub(super) left: Square,
    pub(super) values: Vec<f64>,
    pub(super) right: Square,
}

impl Square {
    pub(super) fn zero(size: usize) -> Self {
        Self { size, data: vec![0.0; size * size] }
    }

    pub(super) fn get(&self, row: usize, column: usize) -> f64 {
        self.data[row * self.size + column]
    }

    fn at(&mut self, row: usize, column: usize) -> &mut f64 {
        &mut self.data[row * self.size + column]
    }

    fn from_columns(columns: &[Vec<f64>]) -> Self {
        let mut square = Self::zero(columns.len());
        for (i, column) in columns.iter().enumerate() {
            column.iter().enumerate().for_each(|(row, value)| *square.at(row, i) = *value);
        }
        square
    }

    /// Decomposes the matrix by rotating pairs of columns until all are orthogonal (Hestenes,
    /// "Inversion of matrices by biorthogonalization and related results", 1958): slow for large
    /// matrices, exact and simple for small ones. Left vectors of zero values are zero.
    pub(super) fn decompose(&self) -> Decomposed {
        let size = self.size;
        let mut columns: Vec<Vec<f64>> =
            (0..size).map(|column| (0..size).map(|row| self.get(row, column)).collect()).collect();
        let unit = |i: usize| (0..size).map(|row| if row == i { 1.0 } else { 0.0 }).collect();
        let mut right: Vec<Vec<f64>> = (0..size).map(unit).collect();
        // Convergence is quadratic; a few sweeps are enough, and rounding cannot go on for ever.
        for _ in 0..60 {
            let mut turned = false;
            for p in 0..size {
                for q in p + 1..size {
                    if let Some((cos, sin)) = rotation(&columns[p], &columns[q]) {
                        turned = true;
                        rotate(&mut columns, p, q, cos, sin);
                        rotate(&mut right, p, q, cos, sin);
                    }
                }
            }
            if !turned {
                break;
            }
        }
        let norms: Vec<f64> = columns.iter().map(|column| dot(column, column).sqrt()).collect();
        let mut order: Vec<usize> = (0..size).collect();
        // A stable sort: of equal values the earlier column stays first.
        order.sort_by(|a, b| norms[*b].total_cmp(&norms[*a]));
        let left: Vec<Vec<f64>> = order
            .iter()
            .map(|i| {
                columns[*i]
                    .iter()
                    .map(|value| if norms[*i] > 0.0 { value / norms[*i] } else { 0.0 })
                    .collect()
            })
            .collect();
        let right: Vec<Vec<f64>> = order.iter().map(|i| right[*i].clone()).collect();
        Decomposed {
            left: Self::from_columns(&left),
            values: order.iter().map(|i| norms[*i]).collect(),
            right: Self::from_columns(&right),
        }
    }

    /// Rows for columns.
    pub(super) fn transposed(&self) -> Self {
        let mut other = Self::zero(self.size);
        for row in 0..self.size {
            for column in 0..self.size {
                *other.at(column, row) = self.get(row, column);
            }
        }
        other
    }
}

/// Cosine and sine of the angle that makes two columns orthogonal; none if they are.
fn rotation(p: &[f64], q: &[f64]) -> Option<(f64, f64)> {
    let (pp, qq, pq) = (dot(p, p), dot(q, q), dot(p, q));
    if pq.abs() <= 1e-15 * (pp * qq).sqrt() {
        return None;
    }
    let zeta = (qq - pp) / (2.0 * pq);
    let tangent = 1.0_f64.copysign(zeta) / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
    let cos = 1.0 / (1.0 + tangent * tangent).sqrt();
    Some((cos, cos * tangent))
}

fn rotate(columns: &mut [Vec<f64>], p: usize, q: usize, cos: f64, sin: f64) {
    let (before, after) = columns.split_at_mut(q);
    for (x, y) in before[p].iter_mut().zip(&mut after[0]) {
        (*x, *y) = (cos * *x - sin * *y, sin * *x + cos * *y);
    }
}

/// The sum of products: lane `i % 8` sums element `i`, then a tree.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane += a * b;
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Philox;
    use proptest::prelude::*;

    fn random(count: usize, label: &str) -> Vec<f64> {
        let random = Philox::for_purpose(&[label]);
        (0..count as u64).map(|i| random.unit(i) - 0.5).collect()
    }

    #[test]
    fn orthonormal_and_back() {
        for (rows, width) in [(1, 1), (7, 3), (9000, 12), (20, 20)] {
            let data = random(rows * width, "q");
            let mut q = Columns::from_rows(&data, width);
            assert_eq!(q.to_rows(), data);
            let r = q.orthonormalise();
            for i in 0..width {
                for j in 0..width {
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!((dot(&q.columns[i], &q.columns[j]) - expected).abs() < 1e-14);
                    assert!(i <= j || r.get(i, j) == 0.0);
                }
            }
            let back = q.times(&r, width).to_rows();
            assert!(back.iter().zip(&data).all(|(back, data)| (back - data).abs() < 1e-13));
        }
    }

    #[test]
    fn dependent_columns_become_zero() {
        let one = random(50, "one");
        let other = random(50, "other");
        let sum: Vec<f64> = one.iter().zip(&other).map(|(a, b)| 0.3 * a - 0.7 * b).collect();
        let mut q = Columns { rows: 50, columns: vec![one, vec![0.0; 50], other, sum] };
        q.orthonormalise();
        let norms: Vec<f64> = q.columns.iter().map(|column| dot(column, column)).collect();
        assert!(
            norms.iter().zip([1.0, 0.0, 1.0, 0.0]).all(|(norm, expected)| (norm - expected).abs() < 1e-12)
        );
    }

    fn square(size: usize, data: Vec<f64>) -> Square {
        Square { size, data }
    }

    fn product(decomposed: &Decomposed) -> Vec<f64> {
        let size = decomposed.values.len();
        let mut data = Vec::new();
        for row in 0..size {
            for column in 0..size {
                let term =
                    |k| decomposed.left.get(row, k) * decomposed.values[k] * decomposed.right.get(column, k);
                data.push((0..size).map(term).sum());
            }
        }
        data
    }

    /// [3 0; 4 5] has the singular values 3 sqrt 5 and sqrt 5.
    #[test]
    fn singular_values_by_hand() {
        let found = square(2, vec![3.0, 0.0, 4.0, 5.0]).decompose();
        let root = 5.0_f64.sqrt();
        assert!((found.values[0] - 3.0 * root).abs() < 1e-14 && (found.values[1] - root).abs() < 1e-14);
        let flat = square(3, vec![0.0, 0.0, 0.0, 0.0, 0.0, -2.0, 0.0, 0.0, 0.0]).decompose();
        assert_eq!(flat.values, [2.0, 0.0, 0.0]);
        assert_eq!(product(&flat), [0.0, 0.0, 0.0, 0.0, 0.0, -2.0, 0.0, 0.0, 0.0]);
    }

    proptest! {
        #[test]
        fn a_decomposition_multiplies_back(size in 1_usize..9, seed in any::<u16>()) {
            let data = random(size * size, &seed.to_string());
            let matrix = square(size, data.clone());
            let found = matrix.decompose();
            prop_assert!(product(&found).iter().zip(&data).all(|(a, b)| (a - b).abs() < 1e-13));
            prop_assert!(found.values.windows(2).all(|pair| pair[0] >= pair[1]));
            let energy: f64 = data.iter().map(|value| value * value).sum();
            let values: f64 = found.values.iter().map(|value| value * value).sum();
            prop_assert!((energy - values).abs() < 1e-13 * energy);
            let transposed = matrix.transposed().decompose();
            prop_assert!(transposed.values.iter().zip(&found.values).all(|(a, b)| (a - b).abs() < 1e-13));
        }
    }
}
