//! `SBL1`: a product of two narrow matrices for each changed tensor; dense numbers for vectors.
//!
//! Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021: `delta = scale * B A`. A
//! tensor of more dimensions counts as the matrix of its rows.

use super::delta::Factors;
use super::deltas::{Factor, Stored};
use super::error::AdapterError;
use super::package::{Family, Kind, RawEntry};
use crate::tensor::shape::Shape;

/// The family.
pub(super) static FAMILY: Family =
    Family { name: "sbl1", magic: *b"SBL1", extension: "sbl", kinds: &[Kind::LowRank, Kind::Dense] };

/// The shapes of A and B, if they can be counted.
pub(super) fn shapes(shape: &Shape, rank: u64) -> Option<[Shape; 2]> {
    let rank = usize::try_from(rank).ok()?;
    let factor = |rows, columns| Shape::new(vec![rows, columns]).ok();
    Some([factor(rank, shape.columns())?, factor(shape.rows(), rank)?])
}

pub(super) fn stored(entry: &RawEntry<'_>, shape: &Shape) -> Result<Stored, AdapterError> {
    let rank = entry.long(24);
    let expected = format_args!("a rank of 1 or more whose factors of a {shape} tensor can be counted");
    let Some([a, b]) = shapes(shape, rank) else { return Err(entry.error("count", 24, rank, expected)) };
    entry.expect(entry.word(20) == 0, "bytes of an index", 20, entry.word(20), 0)?;
    let scale = f32::from_bits(entry.word(48));
    entry.expect(scale.is_finite(), "scale", 48, scale, "a finite number")?;
    let factor = |field, at, shape: Shape| {
        let data = entry.part(field, at, Some(super::dense::length(&shape)))?;
        Ok::<_, AdapterError>(Factor { shape, data })
    };
    Ok(Stored::LowRank { a: factor("A", 32, a)?, b: factor("B", 40, b)?, scale })
}

pub(super) fn validate(tensor: &str, factors: &Factors<'_>) -> Result<(), AdapterError> {
    for (part, values) in [("element of A", &factors.a), ("element of B", &factors.b)] {
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let (tensor, value) = (tensor.to_owned(), values[index]);
            return Err(AdapterError::NotFinite { tensor, part, index, value });
        }
    }
    Ok(())
}
