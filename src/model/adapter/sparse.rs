//! `SBS1`: numbers for some elements of each changed tensor, as pairs of index and number.
//!
//! Indices count elements row by row and strictly increase, so the pairs of any run of elements are
//! found by halving. An index has four bytes, or eight for a tensor of more than 2^32 elements.

use super::delta::Pairs;
use super::deltas::{DeltaInfo, Stored};
use super::error::AdapterError;
use super::package::{Family, Kind, RawEntry};
use crate::tensor::shape::Shape;

/// The family.
pub(super) static FAMILY: Family =
    Family { name: "sbs1", magic: *b"SBS1", extension: "sbs", kinds: &[Kind::Sparse] };

/// Bytes of a pair.
pub(super) const fn pair_bytes(wide: bool) -> usize {
    if wide { 12 } else { 8 }
}

/// Whether a tensor needs indices of eight bytes.
pub fn needs_wide(shape: &Shape) -> bool {
    shape.elements() as u64 > 1 << 32
}

/// Bytes of so many pairs, if that can be counted.
pub(super) fn length(pairs: u64, wide: bool) -> Option<u64> {
    pairs.checked_mul(pair_bytes(wide) as u64)
}

/// Appends a pair as it is stored.
pub fn encode(wide: bool, index: u64, delta: f32, out: &mut Vec<u8>) {
    let index = index.to_le_bytes();
    out.extend_from_slice(if wide { &index } else { &index[..4] });
    out.extend_from_slice(&delta.to_le_bytes());
}

pub(super) fn stored(entry: &RawEntry<'_>, shape: &Shape) -> Result<Stored, AdapterError> {
    let (pairs, elements) = (entry.long(24), shape.elements() as u64);
    let most = format_args!("at most the tensor's {elements} elements");
    entry.expect(pairs <= elements, "count", 24, pairs, most)?;
    let bytes = entry.word(20);
    let wide = bytes == 8;
    entry.expect(wide || bytes == 4, "bytes of an index", 20, bytes, "4 or 8")?;
    entry.expect(wide || !needs_wide(shape), "bytes of an index", 20, bytes, "8 for so large a tensor")?;
    entry.expect(entry.long(40) == 0, "B at", 40, entry.long(40), 0)?;
    entry.expect(entry.word(48) == 0, "scale", 48, f32::from_bits(entry.word(48)), 0)?;
    Ok(Stored::Sparse { pairs: entry.part("pairs", 32, length(pairs, wide))?, wide })
}

pub(super) fn validate(info: &DeltaInfo, pairs: &Pairs<'_>) -> Result<(), AdapterError> {
    let elements = info.shape.elements() as u64;
    let mut least = 0;
    for pair in 0..pairs.len() {
        let (index, value) = pairs.get(pair);
        let tensor = || info.name.clone();
        if index < least || index >= elements {
            let expected = if index < elements {
                format!("{least} or more: indices increase")
            } else {
                format!("less than the tensor's {elements} elements")
            };
            return Err(AdapterError::Index { tensor: tensor(), pair, index, expected });
        }
        if !value.is_finite() {
            return Err(AdapterError::NotFinite { tensor: tensor(), part: "pair", index: pair, value });
        }
        least = index + 1;
    }
    Ok(())
}
