//! Matrix multiplication whose bits do not depend on how it is cut up.
//!
//! Every element of the product is one sum over `k`, taken from first to last, in f32, each
//! product rounded before it is added. Tiles decide only which elements are worked on together:
//! lanes of a vector register are different elements, never parts of one sum. So the tile size
//! may follow the processor (wider registers, wider tile) and the result stays the same to the
//! last bit.

/// Rows of one tile. With the width below, eight vector registers hold the sums.
const TILE_ROWS: usize = 4;
/// Columns of one tile: two vector registers.
const TILE_COLUMNS: usize = if cfg!(target_feature = "avx") { 16 } else { 8 };

/// A matrix seen through strides, so that a transpose costs nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// `data` as rows of `columns` numbers.
    pub(crate) fn rows(data: &'a [f32], columns: usize) -> Self {
        assert_eq!(data.len() % columns, 0, "whole rows");
        Self { data, rows: data.len() / columns, columns, row_stride: columns, column_stride: 1 }
    }

    pub(crate) fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// The packed panels, kept between calls.
#[derive(Debug, Default)]
pub(crate) struct Gemm {
    left: Vec<[f32; TILE_ROWS]>,
    right: Vec<[f32; TILE_COLUMNS]>,
}

impl Gemm {
    /// `out += left * right`.
    pub(crate) fn add_product(&mut self, left: View<'_>, right: View<'_>, out: &mut [f32]) {
        assert_eq!(left.columns, right.rows, "inner sizes agree");
        assert_eq!(out.len(), left.rows * right.columns, "the product fits");
        let depth = left.columns;
        self.pack_right(right);
        for row in (0..left.rows).step_by(TILE_ROWS) {
            self.pack_left(left, row);
            for (panel, column) in (0..right.columns).step_by(TILE_COLUMNS).enumerate() {
                let tile = tile(&self.left, &self.right[panel * depth..(panel + 1) * depth]);
                let width = TILE_COLUMNS.min(right.columns - column);
                for (r, sums) in tile.iter().enumerate().take(left.rows - row) {
                    let start = (row + r) * right.columns + column;
                    for (o, sum) in out[start..start + width].iter_mut().zip(sums) {
                        *o += sum;
                    }
                }
            }
        }
    }

    /// `left * right` as a new matrix.
    pub(crate) fn product(&mut self, left: View<'_>, right: View<'_>) -> Vec<f32> {
        let mut out = vec![0.0; left.rows * right.columns];
        self.add_product(left, right, &mut out);
        out
    }

    fn pack_right(&mut self, b: View<'_>) {
        self.right.clear();
        for column in (0..b.columns).step_by(TILE_COLUMNS) {
            let width = TILE_COLUMNS.min(b.columns - column);
            for k in 0..b.rows {
                let start = k * b.row_stride + column * b.column_stride;
                let mut packed = [0.0; TILE_COLUMNS];
                if b.column_stride == 1 {
                    packed[..width].copy_from_slice(&b.data[start..start + width]);
                } else {
                    for (c, p) in packed[..width].iter_mut().enumerate() {
                        *p = b.data[start + c * b.column_stride];
                    }
                }
                self.right.push(packed);
            }
        }
    }

    fn pack_left(&mut self, a: View<'_>, row: usize) {
        self.left.clear();
        let height = TILE_ROWS.min(a.rows - row);
        for k in 0..a.columns {
            let start = row * a.row_stride + k * a.column_stride;
            let mut packed = [0.0; TILE_ROWS];
            for (r, p) in packed[..height].iter_mut().enumerate() {
                *p = a.data[start + r * a.row_stride];
            }
            self.left.push(packed);
        }
    }
}

#[inline]
fn tile(left: &[[f32; TILE_ROWS]], right: &[[f32; TILE_COLUMNS]]) -> [[f32; TILE_COLUMNS]; TILE_ROWS] {
    let mut sums = [[0.0_f32; TILE_COLUMNS]; TILE_ROWS];
    for (a, b) in left.iter().zip(right) {
        for r in 0..TILE_ROWS {
            for c in 0..TILE_COLUMNS {
                sums[r][c] += a[r] * b[c];
            }
        }
    }
    sums
}

/// A dot product in eight lanes and a fixed tree.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h)) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    /// The definition, element by element.
    fn naive(a: View<'_>, b: View<'_>) -> Vec<f32> {
        let at = |m: View<'_>, r: usize, c: usize| m.data[r * m.row_stride + c * m.column_stride];
        let mut out = Vec::new();
        for r in 0..a.rows {
            for c in 0..b.columns {
                out.push((0..a.columns).fold(0.0, |sum, k| sum + at(a, r, k) * at(b, k, c)));
            }
        }
        out
    }

    #[test]
    fn tiles_give_the_bits_of_the_definition() {
        for (m, k, n) in [(1, 1, 1), (6, 5, 16), (7, 33, 19), (13, 4, 40), (25, 17, 9)] {
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
            for (left, right) in [
                (View::rows(&a, k), View::rows(&b, n)),
                (View::rows(&a, m).transposed(), View::rows(&b, k).transposed()),
            ] {
                assert_eq!(Gemm::default().product(left, right), naive(left, right), "{m} {k} {n}");
            }
        }
    }

    #[test]
    fn dot_counts_every_element() {
        let a = vec![1.0; 19];
        let b: Vec<f32> = (1..=19_u8).map(f32::from).collect();
        assert_eq!(dot(&a, &b).to_bits(), 190.0_f32.to_bits());
    }
}
