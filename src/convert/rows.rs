//! A tensor with its rows in another order, read without ever being stored so.

use crate::model::naming::Permutation;
use crate::operator::Source;

/// Rows of `source` in the order a permutation says.
pub struct Rows<'a> {
    /// The tensor as it lies there.
    pub source: Box<dyn Source + 'a>,
    /// Width of a row.
    pub columns: usize,
    /// Which row comes where.
    pub permutation: Permutation,
}

impl Source for Rows<'_> {
    fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        self.for_rows(first, scratch, |from, out| {
            // A source lends what it has; a copy is needed because rows come from different places.
            let mut row = vec![0.0; out.len()];
            out.copy_from_slice(self.source.read(from, &mut row));
        });
        scratch
    }

    fn is_wide(&self) -> bool {
        self.source.is_wide()
    }

    fn read_f64(&self, first: usize, out: &mut [f64]) {
        self.for_rows(first, out, |from, out| self.source.read_f64(from, out));
    }
}

impl Rows<'_> {
    /// Cuts elements at the ends of rows and says where each piece is in the source.
    fn for_rows<T>(&self, first: usize, out: &mut [T], mut read: impl FnMut(usize, &mut [T])) {
        let end = first + out.len();
        let mut at = first;
        while at < end {
            let (row, column) = (at / self.columns, at % self.columns);
            let length = (self.columns - column).min(end - at);
            let from = self.permutation.source_row(row) * self.columns + column;
            read(from, &mut out[at - first..at - first + length]);
            at += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::testing::Count;

    #[test]
    fn any_run_of_elements() {
        let permutation = Permutation { heads: 2, head_dim: 4, to_halves: true };
        let rows = Rows { source: Box::new(Count(0.0)), columns: 3, permutation };
        let all = rows.read(0, &mut [0.0; 24]).to_vec();
        assert_eq!(all[..12], [0.0, 1.0, 2.0, 6.0, 7.0, 8.0, 3.0, 4.0, 5.0, 9.0, 10.0, 11.0]);
        for first in 0..24 {
            for end in first..=24 {
                assert_eq!(rows.read(first, &mut vec![0.0; end - first]), &all[first..end]);
                let mut wide = vec![0.0; end - first];
                rows.read_f64(first, &mut wide);
                assert!(wide.iter().zip(&all[first..]).all(|(wide, value)| *wide == f64::from(*value)));
            }
        }
    }
}
