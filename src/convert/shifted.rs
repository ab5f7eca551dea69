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

/// The numbers of `own`, or those of `base` where both are the same once something is added to them.
pub struct Unshifted<'a> {
    /// The tensor of which a number was taken away.
    pub own: Box<dyn Source + 'a>,
    /// The one that never had it.
    pub base: Box<dyn Source + 'a>,
    /// What was taken away.
    pub by: f32,
}

impl Source for Unshifted<'_> {
    fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        let (mut lent, mut lent_too) = (vec![0.0; scratch.len()], vec![0.0; scratch.len()]);
        let own = self.own.read(first, &mut lent);
        let base = self.base.read(first, &mut lent_too);
        for ((out, own), base) in scratch.iter_mut().zip(own).zip(base) {
            *out = if own + self.by == base + self.by { *base } else { *own };
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

    /// Beside one, a number of ten bits below the last is none.
    #[test]
    fn a_number_that_is_the_same_with_another_added_is_that_of_the_base() {
        let shifted = |by| Box::new(Shifted { source: Box::new(Count(0.0)), by });
        let unshifted = |base| Unshifted { own: shifted(0.0), base: shifted(base), by: 1.0 };
        assert_eq!(unshifted(1e-9).read(0, &mut [0.0; 2]), [1e-9, 1.0]);
        assert_eq!(unshifted(1e-6).read(0, &mut [0.0; 2]), [0.0, 1.0]);
    }
}
