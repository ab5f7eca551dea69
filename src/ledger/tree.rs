//! The Merkle tree over the leaves (RFC 6962, section 2), its proofs, and how they are checked.
//!
//! A proof needs the hashes of a few complete subtrees, wherever they are kept: [`Hashes`] is where.
//! Checking a proof needs nothing but the proof (RFC 9162, sections 2.1.3.2 and 2.1.4.2).

use sha2::Digest as _;

use super::LedgerError;
use crate::base::digest::Sha256;

/// The hash of a leaf: another prefix than a node's, so that neither passes for the other.
pub fn leaf_hash(leaf: &[u8]) -> Sha256 {
    let hasher = sha2::Sha256::new_with_prefix([0]).chain_update(leaf);
    Sha256::from_bytes(hasher.finalize().into())
}

/// The hash of a node over its two children.
pub fn node_hash(left: Sha256, right: Sha256) -> Sha256 {
    let hasher = sha2::Sha256::new_with_prefix([1]).chain_update(left.as_bytes());
    Sha256::from_bytes(hasher.chain_update(right.as_bytes()).finalize().into())
}

/// The root of no leaves.
pub fn empty_root() -> Sha256 {
    Sha256::of(b"")
}

/// Hashes of complete subtrees.
pub trait Hashes {
    /// The hash over leaves `index * 2^level .. (index + 1) * 2^level`.
    ///
    /// # Errors
    ///
    /// If the hash cannot be read.
    fn hash(&self, level: u32, index: u64) -> Result<Sha256, LedgerError>;
}

/// The largest power of two smaller than `n`, which is at least 2.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// The hash over leaves `start..end`.
fn range(hashes: &impl Hashes, start: u64, end: u64) -> Result<Sha256, LedgerError> {
    let n = end - start;
    if n == 0 {
        return Ok(empty_root());
    }
    if n.is_power_of_two() {
        // Ranges arise by splitting, so `start` is a multiple of `n`.
        return hashes.hash(n.ilog2(), start / n);
    }
    let middle = start + split(n);
    Ok(node_hash(range(hashes, start, middle)?, range(hashes, middle, end)?))
}

/// The root of the first `size` leaves.
///
/// # Errors
///
/// If a hash cannot be read.
pub fn root(hashes: &impl Hashes, size: u64) -> Result<Sha256, LedgerError> {
    range(hashes, 0, size)
}

/// The proof that leaf `index` is among the first `size`, from its sibling up.
///
/// # Errors
///
/// If a hash cannot be read.
pub fn prove_inclusion(hashes: &impl Hashes, index: u64, size: u64) -> Result<Vec<Sha256>, LedgerError> {
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(range(hashes, middle, end)?);
            end = middle;
        } else {
            path.push(range(hashes, start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the first `old` of `new` leaves are those that an earlier root was over.
///
/// # Errors
///
/// If a hash cannot be read.
pub fn prove_consistency(hashes: &impl Hashes, old: u64, new: u64) -> Result<Vec<Sha256>, LedgerError> {
    let (mut start, mut end) = (0, new);
    let mut path = Vec::new();
    if old == 0 || old == new {
        return Ok(path);
    }
    while end > old {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(range(hashes, middle, end)?);
            end = middle;
        } else {
            path.push(range(hashes, start, middle)?);
            start = middle;
        }
    }
    if start > 0 {
        // Otherwise the old root itself is this hash, and who checks has it.
        path.push(range(hashes, start, end)?);
    }
    path.reverse();
    Ok(path)
}

/// Whether `path` proves that `leaf` is leaf `index` of the tree with this size and root.
pub fn inclusion_holds(leaf: Sha256, index: u64, size: u64, path: &[Sha256], root: Sha256) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last) = (index, size - 1);
    let mut hash = leaf;
    for step in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(*step, hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node_hash(hash, *step);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && hash == root
}

/// Whether `path` proves that the tree `new` extends the tree `old`, each given as size and root.
pub fn consistency_holds(old: (u64, Sha256), new: (u64, Sha256), path: &[Sha256]) -> bool {
    if old.0 == 0 || old.0 == new.0 {
        let same = if old.0 == 0 { old.1 == empty_root() } else { old.1 == new.1 };
        return path.is_empty() && old.0 <= new.0 && same;
    }
    if old.0 > new.0 {
        return false;
    }
    let given: Vec<Sha256> = if old.0.is_power_of_two() {
        std::iter::once(old.1).chain(path.iter().copied()).collect()
    } else {
        path.to_vec()
    };
    let Some((first, steps)) = given.split_first() else { return false };
    let (mut at, mut last) = (old.0 - 1, new.0 - 1);
    while at & 1 == 1 {
        (at, last) = (at >> 1, last >> 1);
    }
    let (mut old_root, mut new_root) = (*first, *first);
    for step in steps {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            (old_root, new_root) = (node_hash(*step, old_root), node_hash(*step, new_root));
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            new_root = node_hash(new_root, *step);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && old_root == old.1 && new_root == new.1
}

/// A tree in memory: every complete subtree's hash, level by level. It takes 64 bytes a leaf.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    levels: Vec<Vec<Sha256>>,
}

impl Tree {
    /// Adds a leaf by its hash.
    pub fn push(&mut self, leaf: Sha256) {
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let row = &mut self.levels[level];
            row.push(hash);
            if row.len() % 2 == 1 {
                return;
            }
            hash = node_hash(row[row.len() - 2], hash);
        }
    }

    /// Takes away all but the first `size` leaves.
    pub(super) fn truncate(&mut self, size: u64) {
        for (level, row) in self.levels.iter_mut().enumerate() {
            row.truncate((size >> level) as usize);
        }
    }

    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |row| row.len() as u64)
    }

    /// The root of its first `size` leaves, which it has.
    pub fn root_at(&self, size: u64) -> Sha256 {
        root(self, size).expect("a tree has the hashes of its own leaves")
    }

    /// The root of all of it.
    pub fn root(&self) -> Sha256 {
        self.root_at(self.size())
    }

    /// The complete subtrees of one level, `start..end` of them.
    pub(super) fn row(&self, level: u32, start: u64, end: u64) -> &[Sha256] {
        let row = self.levels.get(level as usize).map_or(&[][..], Vec::as_slice);
        &row[(start as usize).min(row.len())..(end as usize).min(row.len())]
    }
}

impl Hashes for Tree {
    fn hash(&self, level: u32, index: u64) -> Result<Sha256, LedgerError> {
        let hash = self.levels.get(level as usize).and_then(|row| row.get(index as usize));
        hash.copied().ok_or(LedgerError::BeyondEnd { index: index << level, size: self.size() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Sha256 {
        text.parse().unwrap()
    }

    /// The eight leaves that Certificate Transparency implementations test with.
    fn known_leaves() -> Vec<Vec<u8>> {
        let digits = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"];
        let last = "606162636465666768696a6b6c6d6e6f";
        let bytes = |text: &str| {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        digits.into_iter().chain([last]).map(bytes).collect()
    }

    fn tree(leaves: impl IntoIterator<Item = Vec<u8>>) -> Tree {
        let mut tree = Tree::default();
        leaves.into_iter().for_each(|leaf| tree.push(leaf_hash(&leaf)));
        tree
    }

    #[test]
    fn rfc_6962_known_roots() {
        let tree = tree(known_leaves());
        assert_eq!(tree.root_at(0), hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
        for (size, root) in [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(tree.root_at(size as u64 + 1), hex(root), "{} leaves", size + 1);
        }
    }

    #[test]
    fn a_truncated_tree_is_the_shorter_tree() {
        let leaves = |n: u8| (0..n).map(|i| vec![i]).collect::<Vec<_>>();
        for size in 0..20 {
            let mut cut = tree(leaves(20));
            cut.truncate(u64::from(size));
            assert_eq!(cut.root(), tree(leaves(size)).root());
            cut.push(leaf_hash(&[size]));
            assert_eq!(cut.root(), tree(leaves(size + 1)).root());
        }
    }

    #[test]
    fn rfc_6962_known_proofs() {
        let tree = tree(known_leaves());
        let of_first = [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ]
        .map(hex);
        assert_eq!(prove_inclusion(&tree, 0, 8).unwrap(), of_first);
        let of_sixth = [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
        .map(hex);
        assert_eq!(prove_inclusion(&tree, 5, 8).unwrap(), of_sixth);
        let six_to_eight = [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
        .map(hex);
        assert_eq!(prove_consistency(&tree, 6, 8).unwrap(), six_to_eight);
    }

    /// Every proof of every size up to 40: it holds, as somebody else's code sees it, too, and with
    /// anything changed it does not.
    #[test]
    fn proofs_hold_and_only_they_do() {
        let leaves: Vec<Vec<u8>> = (0..40_u8).map(|i| vec![i]).collect();
        let tree = tree(leaves.clone());
        let theirs = |hash: &Sha256| tlog_tiles::Hash(*hash.as_bytes());
        for size in 1..=40 {
            let root = tree.root_at(size);
            for index in 0..size {
                let hash = leaf_hash(&leaves[index as usize]);
                let path = prove_inclusion(&tree, index, size).unwrap();
                assert!(inclusion_holds(hash, index, size, &path, root));
                let proof = path.iter().map(theirs).collect();
                tlog_tiles::check_record(&proof, size, theirs(&root), index, theirs(&hash)).unwrap();
                assert!(!inclusion_holds(hash, (index + 1) % size, size, &path, root) || size == 1);
                assert!(!inclusion_holds(root, index, size, &path, root) || size == 1);
                assert!(!inclusion_holds(hash, index, size, &[&path[..], &[hash]].concat(), root));
                for at in 0..path.len() {
                    let mut changed = path.clone();
                    changed[at] = Sha256::of(b"other");
                    assert!(!inclusion_holds(hash, index, size, &changed, root));
                    changed.remove(at);
                    assert!(!inclusion_holds(hash, index, size, &changed, root));
                }
            }
            for old in 1..=size {
                let (before, now) = ((old, tree.root_at(old)), (size, root));
                let path = prove_consistency(&tree, old, size).unwrap();
                assert!(consistency_holds(before, now, &path), "{old} {size}");
                let proof = path.iter().map(theirs).collect();
                tlog_tiles::check_tree(&proof, size, theirs(&root), old, theirs(&before.1)).unwrap();
                let other = Sha256::of(b"other");
                assert!(!consistency_holds((old, other), now, &path));
                assert!(!consistency_holds(before, (size, other), &path));
                assert!(!consistency_holds(before, now, &[&path[..], &[other]].concat()));
                for at in 0..path.len() {
                    let mut changed = path.clone();
                    changed[at] = other;
                    assert!(!consistency_holds(before, now, &changed));
                }
            }
        }
        assert!(consistency_holds((0, empty_root()), (3, tree.root_at(3)), &[]));
        assert!(!consistency_holds((3, tree.root_at(3)), (2, tree.root_at(2)), &[]));
    }
}
