//! The digest of a mapped file that somebody reads anyway: its parts are hashed while they lie in a core's
//! cache from that, instead of being fetched from memory once more.
//!
//! ```text
//! reader   ...| unit 6 | unit 7 |...     was_read: a unit ends there -> hashed at once, by whoever read it
//! finish   header, what nobody read      on all cores
//! ```
//!
//! Who says what was read only says when to hash: what is hashed are the file's own bytes, and the result is
//! its plain BLAKE3 digest, whatever was said.

use std::ops::Range;
use std::sync::OnceLock;

use blake3::hazmat::ChainingValue;
use rayon::prelude::*;

use super::mmap::Mapped;
use super::tree;
use crate::base::digest::Digest;

/// Bytes hashed together: a power of two of BLAKE3's chunks. Those of four files lie in a core's second cache.
pub(crate) const UNIT: usize = 128 << 10;

/// Bytes of what nobody read that are hashed before their pages are let go of.
const WINDOW: usize = 512 * UNIT;

/// A file that is being read and hashed.
#[derive(Debug)]
pub struct Along<'a> {
    mapped: &'a Mapped,
    /// Of every unit, once it is hashed; only the last one may be shorter.
    units: Vec<OnceLock<ChainingValue>>,
}

impl<'a> Along<'a> {
    /// Nothing of it was read yet.
    pub fn new(mapped: &'a Mapped) -> Self {
        let units = mapped.as_ref().len().div_ceil(UNIT);
        Self { mapped, units: (0..units).map(|_| OnceLock::new()).collect() }
    }

    /// Somebody read these bytes just now: units that end among them are hashed, unless they were before.
    pub fn was_read(&self, range: Range<usize>) {
        let bytes = self.mapped.as_ref().len();
        let ended = if range.end >= bytes { self.units.len() } else { range.end / UNIT };
        (range.start / UNIT..ended).for_each(|unit| self.hash(unit));
    }

    /// The digest of all of it.
    pub fn finish(&self) -> Digest {
        if self.units.len() < 2 {
            return Digest::of(self.mapped.as_ref());
        }
        for first in (0..self.units.len()).step_by(WINDOW / UNIT) {
            let window = first..self.units.len().min(first + WINDOW / UNIT);
            let left: Vec<usize> = window.clone().filter(|unit| self.units[*unit].get().is_none()).collect();
            if !left.is_empty() {
                left.into_par_iter().for_each(|unit| self.hash(unit));
                self.mapped.forget(window.start * UNIT..window.end * UNIT);
            }
        }
        let values: Vec<_> = self.units.iter().map(|unit| *unit.get().expect("all were hashed")).collect();
        tree::join(&values)
    }

    /// How many units are.
    #[cfg(test)]
    pub(crate) fn hashed(&self) -> usize {
        self.units.iter().filter(|unit| unit.get().is_some()).count()
    }

    /// Two who read the same at once may both hash it, to the same value.
    fn hash(&self, unit: usize) {
        if self.units[unit].get().is_none() {
            let bytes = self.mapped.as_ref();
            let place = unit * UNIT..bytes.len().min((unit + 1) * UNIT);
            let value = tree::subtree_at(&bytes[place.clone()], place.start);
            let _ = self.units[unit].set(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mapped(folder: &std::path::Path, bytes: &[u8]) -> Mapped {
        let path = folder.join("a");
        std::fs::write(&path, bytes).unwrap();
        Mapped::open(&path).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Whatever was said to be read, and in whatever order.
        #[test]
        fn is_the_plain_digest(
            length in prop_oneof![Just(0), Just(1), Just(UNIT), Just(UNIT + 1), 0..5 * UNIT],
            reads in prop::collection::vec((0..5 * UNIT, 0..2 * UNIT), 0..12),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let bytes: Vec<u8> = (0..length).map(|i| (i * 31 % 253) as u8).collect();
            let mapped = mapped(folder.path(), &bytes);
            let along = Along::new(&mapped);
            reads.into_par_iter().for_each(|(start, length)| along.was_read(start..start + length));
            prop_assert_eq!(along.finish(), Digest::of(&bytes));
        }
    }

    #[test]
    fn a_unit_is_hashed_when_its_end_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let mapped = mapped(folder.path(), &vec![3; 3 * UNIT + 5]);
        let along = Along::new(&mapped);
        let hashed = |along: &Along<'_>| -> Vec<bool> {
            along.units.iter().map(|unit| unit.get().is_some()).collect()
        };
        along.was_read(0..UNIT - 1);
        assert_eq!(hashed(&along), [false; 4]);
        along.was_read(UNIT - 1..UNIT);
        assert_eq!(hashed(&along), [true, false, false, false]);
        along.was_read(2 * UNIT + 1..3 * UNIT + 5);
        assert_eq!(hashed(&along), [true, false, true, true]);
    }
}
