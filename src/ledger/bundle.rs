//! Where leaves lie: files of 256, each leaf after its length in two bytes, most significant first.

#![expect(clippy::big_endian_bytes, reason = "the C2SP formats put the most significant byte first")]

use std::path::Path;

use super::LedgerError;
use super::leaf::{Leaf, MAX_LEAF};
use super::tiles::{TILE, TileFile, read_file};
use super::tree::leaf_hash;
use crate::base::digest::Sha256;

/// The longest bundle: every leaf as long as allowed.
const MAX_BUNDLE: u64 = TILE * (MAX_LEAF as u64 + 2);

/// One leaf as it was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) leaf: Leaf,
    /// SHA-256 of its bytes: what the chain is made of.
    pub(super) hash: Sha256,
    /// Its hash in the tree.
    pub(super) tree_hash: Sha256,
}

/// The bytes of a bundle of these leaves.
pub(super) fn write(leaves: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for leaf in leaves {
        let leaf = leaf.as_ref();
        let length = u16::try_from(leaf.len()).expect("a leaf is at most MAX_LEAF bytes");
        bytes.extend_from_slice(&[(length >> 8) as u8, length as u8]);
        bytes.extend_from_slice(leaf);
    }
    bytes
}

/// The leaves in the bytes of a bundle; none if they do not end where a leaf does.
pub(super) fn split(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut leaves = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        let (leaf, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        leaves.push(leaf);
        rest = behind;
    }
    Some(leaves)
}

/// Reads a bundle: the leaves its name promises, and any more that are in it.
pub(super) fn read(folder: &Path, file: &TileFile) -> Result<Vec<Found>, LedgerError> {
    let bytes = read_file(folder, file, MAX_BUNDLE)?;
    let torn = || LedgerError::BadTile {
        path: folder.join(file.path()),
        why: "ends in the middle of an entry".to_owned(),
    };
    let first = file.number * TILE;
    let read = |(at, bytes): (usize, &[u8])| -> Result<Found, LedgerError> {
        let leaf = Leaf::from_bytes(bytes)
            .map_err(|why| LedgerError::Malformed { index: first + at as u64, why })?;
        Ok(Found { leaf, hash: Sha256::of(bytes), tree_hash: leaf_hash(bytes) })
    };
    split(&bytes).ok_or_else(torn)?.into_iter().enumerate().map(read).collect()
}

/// The bytes of the first `count` leaves of a bundle.
pub(super) fn read_bytes(folder: &Path, file: &TileFile) -> Result<Vec<Vec<u8>>, LedgerError> {
    let bytes = read_file(folder, file, MAX_BUNDLE)?;
    let leaves = split(&bytes).filter(|leaves| leaves.len() as u64 >= file.width).ok_or_else(|| {
        let why = format!("does not hold {} entries", file.width);
        LedgerError::BadTile { path: folder.join(file.path()), why }
    })?;
    Ok(leaves.into_iter().take(file.width as usize).map(<[u8]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_framed_by_their_length() {
        let bytes = write([&b"ab"[..], b"", &[7; 300]]);
        assert_eq!(bytes[..4], [0, 2, b'a', b'b']);
        assert_eq!(bytes[4..8], [0, 0, 1, 44]);
        assert_eq!(split(&bytes).unwrap(), [&b"ab"[..], b"", &[7; 300]]);
        assert_eq!(split(b"").unwrap(), [&b""[..]; 0]);
        for cut in [1, 3, 7, bytes.len() - 1] {
            assert_eq!(split(&bytes[..cut]), None, "{cut}");
        }
    }
}
