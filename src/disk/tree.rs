//! BLAKE3 as the tree it is: subtrees of one MiB hashed apart, in any order, then joined.
//!
//! The result is the plain BLAKE3 digest; only the way there differs.

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use rayon::prelude::*;

use super::along::Along;
use super::mmap::Mapped;
use crate::base::digest::Digest;

/// One subtree: a power of two of BLAKE3's 1 KiB chunks.
pub const SUBTREE: usize = 1 << 20;

/// A hasher for the `index`-th subtree.
pub fn hasher(index: usize) -> blake3::Hasher {
    hasher_at(index as u64 * SUBTREE as u64)
}

/// A hasher for a subtree of any size, which begins at a multiple of that.
fn hasher_at(offset: u64) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(offset);
    hasher
}

/// The value of the `index`-th subtree; only the last one may be shorter than [`SUBTREE`].
pub fn subtree(bytes: &[u8], index: usize) -> ChainingValue {
    hasher(index).update(bytes).finalize_non_root()
}

/// The value of a subtree of any size, which begins at a multiple of that.
pub(super) fn subtree_at(bytes: &[u8], offset: usize) -> ChainingValue {
    hasher_at(offset as u64).update(bytes).finalize_non_root()
}

/// The digest of a file of two subtrees or more.
pub fn join(values: &[ChainingValue]) -> Digest {
    let (left, right) = split(values);
    Digest::from_bytes(*merge_subtrees_root(&join_values(left), &join_values(right), Mode::Hash).as_bytes())
}

/// The left side of a BLAKE3 parent is the largest power of two that leaves something to the right.
fn split(values: &[ChainingValue]) -> (&[ChainingValue], &[ChainingValue]) {
    values.split_at(values.len().next_power_of_two() / 2)
}

fn join_values(values: &[ChainingValue]) -> ChainingValue {
    if let [one] = values {
        return *one;
    }
    let (left, right) = split(values);
    merge_subtrees_non_root(&join_values(left), &join_values(right), Mode::Hash)
}

/// The digest of `bytes`, on all cores when there is enough of it.
pub fn digest(bytes: &[u8]) -> Digest {
    if bytes.len() <= SUBTREE {
        return Digest::of(bytes);
    }
    let values: Vec<_> = bytes.par_chunks(SUBTREE).enumerate().map(|(i, block)| subtree(block, i)).collect();
    join(&values)
}

/// The digest of a mapped file, on all cores, holding on to a few of its pages at a time.
pub fn digest_of(mapped: &Mapped) -> Digest {
    Along::new(mapped).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_plain_digest() {
        for length in [0, 1, SUBTREE, SUBTREE + 1, 2 * SUBTREE, 5 * SUBTREE + 3, 11 * SUBTREE] {
            let bytes: Vec<u8> = (0..length).map(|i| (i % 253) as u8).collect();
            assert_eq!(digest(&bytes), Digest::of(&bytes), "length {length}");
        }
    }

    #[test]
    fn of_a_mapped_file_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for length in [0, 77, SUBTREE, 64 * SUBTREE, 64 * SUBTREE + 1, 129 * SUBTREE + 5] {
            let bytes: Vec<u8> = (0..length).map(|i| (i % 253) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            let mapped = Mapped::open(&path).unwrap();
            assert_eq!(digest_of(&mapped), Digest::of(&bytes), "length {length}");
        }
    }
}
