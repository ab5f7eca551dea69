//! A source for tests.

use crate::operator::Source;

/// Each element is its flat index, and this number more.
pub(super) struct Count(pub(super) f32);

impl Source for Count {
    fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        scratch.iter_mut().enumerate().for_each(|(i, value)| *value = self.0 + (first + i) as f32);
        scratch
    }
}
