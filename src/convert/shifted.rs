//! A tensor with the same number added to all of its own, read without ever being stored so. Sums are rounded to
//! f32, as whoever computes with such gains rounds them, for those who compare, too.

use crate::operator::Source;

/// The numbers of `source`, each and `by`.
pub struct Shifted<'a> {
    /// The tensor as it lies there.
    pub source: Box<dyn Source + 'a>,
    /// What is added.
    pub by: f32,
}

impl Source for Shifted<'_> {
    fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        let mut lent = vec![0.0; scratch.len()];
        for (out, value) in scratch.iter_mut().zip(self.source.read(first, &mut lent)) {
            *out = value + self.by;
        }
        scratch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::testing::Count;

    #[test]
    fn every_number_is_shifted_once() {
        let source = Shifted { source: Box::new(Count(0.0)), by: -1.0 };
        assert_eq!(source.read(3, &mut [0.0; 3]), [2.0, 3.0, 4.0]);
        let mut compared = [0.0; 2];
        source.read_f64(0, &mut compared);
        assert_eq!(compared, [-1.0, 0.0]);
    }
}
