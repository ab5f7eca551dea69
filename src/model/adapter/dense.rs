//! `SBD1`: a number for every element of each changed tensor.

use super::deltas::Stored;
use super::error::AdapterError;
use super::package::{Family, Kind, RawEntry};
use crate::tensor::shape::Shape;
use crate::tensor::view::TensorView;

/// The family.
pub(super) static FAMILY: Family =
    Family { name: "sbd1", magic: *b"SBD1", extension: "sbd", kinds: &[Kind::Dense] };

/// Bytes of all values.
pub(super) fn length(shape: &Shape) -> u64 {
    // A shape leaves room for 16 bytes an element.
    shape.elements() as u64 * 4
}

pub(super) fn stored(entry: &RawEntry<'_>, shape: &Shape) -> Result<Stored, AdapterError> {
    let elements = shape.elements() as u64;
    entry.expect(entry.long(24) == elements, "count", 24, entry.long(24), elements)?;
    entry.expect(entry.word(20) == 0, "bytes of an index", 20, entry.word(20), 0)?;
    entry.expect(entry.long(40) == 0, "B at", 40, entry.long(40), 0)?;
    entry.expect(entry.word(48) == 0, "scale", 48, f32::from_bits(entry.word(48)), 0)?;
    Ok(Stored::Dense { values: entry.part("values", 32, Some(length(shape)))? })
}

pub(super) fn validate(tensor: &str, values: &TensorView<'_>) -> Result<(), AdapterError> {
    all_finite(tensor, "value", values.data)
}

/// Names the first number that is none.
pub(super) fn all_finite(tensor: &str, part: &'static str, bytes: &[u8]) -> Result<(), AdapterError> {
    let words = bytes.as_chunks::<4>().0;
    match words.iter().position(|word| !f32::from_le_bytes(*word).is_finite()) {
        None => Ok(()),
        Some(index) => {
            let (tensor, value) = (tensor.to_owned(), f32::from_le_bytes(words[index]));
            Err(AdapterError::NotFinite { tensor, part, index, value })
        }
    }
}
