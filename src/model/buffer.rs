//! Buffers: tensors beside the weights that hold none. Positions, masks, frequencies: integers most of them,
//! which no operator can mean anything by.
//!
//! | buffer | becomes |
//! |---|---|
//! | of a known network, and known to follow from its configuration | left out |
//! | of a known network, and anything else | refused: nobody knows whether it matters |
//! | of any other network, the same in all models a child is made of | carried as it is |
//! | of any other network, and not the same | refused: integers are not merged |
//!
//! Packed weights are integers, too; they are told by their names and are no buffers ([`is_packed`]).

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::package::Package;
use super::weights::SharedBytes;
use crate::base::digest::Digest;
use crate::tensor::shape::Shape;

/// A tensor that holds no weights.
#[derive(Clone)]
pub struct Buffer {
    /// Its name.
    pub name: String,
    /// Its type, in safetensors' words.
    pub kind: &'static str,
    /// Its dimensions.
    pub shape: Shape,
    /// What its bytes lie in.
    part: SharedBytes,
    /// And where.
    place: Range<usize>,
}

impl Buffer {
    /// A buffer of a file; the reader has checked the range.
    pub(crate) fn new(
        name: String,
        kind: &'static str,
        shape: Shape,
        part: SharedBytes,
        place: Range<usize>,
    ) -> Self {
        debug_assert!(place.end <= (*part).as_ref().len());
        Self { name, kind, shape, part, place }
    }

    /// Its bytes, as they are stored.
    pub fn data(&self) -> &[u8] {
        &(*self.part).as_ref()[self.place.clone()]
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.kind, &self.shape, self.data()) == (other.kind, &other.shape, other.data())
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} {} {})", self.name, self.kind, self.shape)
    }
}

/// A buffer that a child cannot get.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BufferError {
    /// One that no network known here has.
    #[error(
        "the tensor `{name}` is {kind}: no weight, and nothing that a llama-like network is known to have; \
         take it out of the file if the model runs without it"
    )]
    Unknown {
        /// The buffer.
        name: String,
        /// Its type.
        kind: &'static str,
    },
    /// Two models with two.
    #[error(
        "`{first}` and `{second}` have different numbers in `{name}`, which is {kind} and cannot be merged; \
         make them equal, or take it out of both"
    )]
    Different {
        /// The buffer.
        name: String,
        /// Its type.
        kind: &'static str,
        /// A model.
        first: String,
        /// And the other.
        second: String,
    },
    /// One model without.
    #[error(
        "`{with}` has the tensor `{name}`, which is {kind} and cannot be merged, and `{without}` has none; \
         add it there, or take it out of both"
    )]
    OnlyOne {
        /// The buffer.
        name: String,
        /// Its type.
        kind: &'static str,
        /// Who has it.
        with: String,
        /// Who has not.
        without: String,
    },
    /// A layer's, of layers that are stacked anew.
    #[error("the tensor `{name}` is {kind} and of a layer, so it cannot be stacked; take it out of the file")]
    OfLayer {
        /// The buffer.
        name: String,
        /// Its type.
        kind: &'static str,
    },
}

/// Whether a tensor's name is that of weights which are packed into integers.
pub fn is_packed(name: &str) -> bool {
    let mut parts = name.rsplit('.').take(2);
    parts.any(|part| part.contains("weight") || matches!(part, "qzeros" | "g_idx" | "SCB"))
}

/// Whether a tensor of floating numbers is no weight all the same: rotary frequencies follow from the
/// configuration, and some older files store them.
pub fn is_frequencies(name: &str) -> bool {
    name.ends_with("rotary_emb.inv_freq")
}

/// Whether a llama-like network's buffer of this name follows from its configuration.
fn is_derived(name: &str) -> bool {
    is_frequencies(name) || name.rsplit('.').next() == Some("position_ids")
}

impl Package {
    /// Buffers that its children do not get, because they follow from the configuration.
    pub fn derived_buffers(&self) -> impl Iterator<Item = &Buffer> {
        self.weights.buffers().iter().filter(|buffer| self.config.is_ok() && is_derived(&buffer.name))
    }

    /// Buffers that its children get as they are.
    ///
    /// # Errors
    ///
    /// [`BufferError::Unknown`] of the first buffer of a known network that does not follow from its
    /// configuration.
    pub fn carried_buffers(&self) -> Result<Vec<Buffer>, BufferError> {
        if self.config.is_err() {
            return Ok(self.weights.buffers().to_vec());
        }
        match self.weights.buffers().iter().find(|buffer| !is_derived(&buffer.name)) {
            None => Ok(Vec::new()),
            Some(Buffer { name, kind, .. }) => Err(BufferError::Unknown { name: name.clone(), kind }),
        }
    }
}

/// What became of a buffer, as records say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BufferReceipt {
    /// Its name.
    pub name: String,
    /// Its type, in safetensors' words.
    pub dtype: String,
    /// Its dimensions.
    pub shape: Shape,
    /// Whether the child has it.
    pub carried: bool,
    /// BLAKE3 of its bytes, if the child has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

impl BufferReceipt {
    fn of(buffer: &Buffer, carried: bool) -> Self {
        let Buffer { name, kind, shape, .. } = buffer;
        let digest = carried.then(|| Digest::of(buffer.data()));
        Self { name: name.clone(), dtype: (*kind).to_owned(), shape: shape.clone(), carried, digest }
    }
}

/// What became of the buffers of all models that a child was made of: those it has, then those it has not,
/// each once.
pub fn receipts<'p>(carried: &[Buffer], models: impl IntoIterator<Item = &'p Package>) -> Vec<BufferReceipt> {
    let mut all: Vec<BufferReceipt> = carried.iter().map(|buffer| BufferReceipt::of(buffer, true)).collect();
    for buffer in models.into_iter().flat_map(|model| model.weights.buffers()) {
        if all.iter().all(|known| known.name != buffer.name) {
            all.push(BufferReceipt::of(buffer, false));
        }
    }
    all
}

/// Whether a child like `first` can be made of `second`, too, as far as buffers go.
///
/// # Errors
///
/// As [`Package::carried_buffers`] of either, and as [`same`].
pub fn agree(first: (&str, &Package), second: (&str, &Package)) -> Result<(), BufferError> {
    first.1.carried_buffers()?;
    second.1.carried_buffers()?;
    same(first, second)
}

/// Whether two models have the same buffers; those that follow from a configuration are no difference.
///
/// # Errors
///
/// [`BufferError::Different`] or [`BufferError::OnlyOne`] of the first that is not the same in both.
pub fn same(first: (&str, &Package), second: (&str, &Package)) -> Result<(), BufferError> {
    let known = first.1.config.is_ok() || second.1.config.is_ok();
    let matter = |package: &'_ Package| -> Vec<Buffer> {
        let all = package.weights.buffers().iter();
        all.filter(|buffer| !(known && is_derived(&buffer.name))).cloned().collect()
    };
    let (ours, theirs) = (matter(first.1), matter(second.1));
    for buffer in &ours {
        let Buffer { name, kind, .. } = buffer;
        let (name, kind) = (name.clone(), *kind);
        match theirs.iter().find(|other| other.name == buffer.name) {
            Some(other) if other.is_same(buffer) => {}
            Some(_) => {
                let (first, second) = (first.0.to_owned(), second.0.to_owned());
                return Err(BufferError::Different { name, kind, first, second });
            }
            None => return Err(only_one(buffer, first.0, second.0)),
        }
    }
    let lone = theirs.iter().find(|buffer| ours.iter().all(|other| other.name != buffer.name));
    lone.map_or(Ok(()), |buffer| Err(only_one(buffer, second.0, first.0)))
}

fn only_one(buffer: &Buffer, with: &str, without: &str) -> BufferError {
    let (name, kind) = (buffer.name.clone(), buffer.kind);
    BufferError::OnlyOne { name, kind, with: with.to_owned(), without: without.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::config::tests::tiny;
    use crate::model::weights::Weights;

    fn package(known: bool, buffers: &[(&str, i64)]) -> Package {
        let buffer = |(name, value): &(&str, i64)| {
            let bytes = value.to_le_bytes().to_vec();
            Buffer::new((*name).to_owned(), "I64", Shape::new(vec![1]).unwrap(), Arc::new(bytes), 0..8)
        };
        let weights = Weights::none().with_buffers(buffers.iter().map(buffer).collect());
        let config = if known { Ok(tiny()) } else { Err("nobody said".to_owned()) };
        Package { config, ..Package::of_weights(weights) }
    }

    const POSITIONS: (&str, i64) = ("embeddings.position_ids", 1);

    fn refused(first: &Package, second: &Package) -> String {
        agree(("one", first), ("two", second)).unwrap_err().to_string()
    }

    #[test]
    fn a_known_network_leaves_out_what_follows_and_refuses_the_rest() {
        let older = package(true, &[POSITIONS, ("model.layers.0.self_attn.rotary_emb.inv_freq", 2)]);
        assert!(older.carried_buffers().unwrap().is_empty());
        assert_eq!(older.derived_buffers().count(), 2);
        assert_eq!(agree(("one", &older), ("two", &package(true, &[]))), Ok(()));
        let told = receipts(&[], [&older]);
        assert!(told.iter().all(|receipt| !receipt.carried && receipt.digest.is_none()), "{told:?}");
        let strange = package(true, &[("routing.table", 1)]);
        assert!(
            refused(&package(true, &[]), &strange)
                .starts_with("the tensor `routing.table` is I64: no weight")
        );
    }

    #[test]
    fn any_other_network_carries_what_all_have() {
        let (one, same) = (package(false, &[POSITIONS, ("x", 3)]), package(false, &[("x", 3), POSITIONS]));
        assert_eq!(agree(("one", &one), ("two", &same)), Ok(()));
        let carried = one.carried_buffers().unwrap();
        let told = receipts(&carried, [&one, &same]);
        assert_eq!(told.len(), 2);
        assert_eq!(told[1].digest, Some(Digest::of(&3_i64.to_le_bytes())));
        let other = package(false, &[POSITIONS, ("x", 4)]);
        assert!(
            refused(&one, &other).starts_with("`one` and `two` have different numbers in `x`, which is I64")
        );
        let fewer = package(false, &[POSITIONS]);
        assert!(refused(&one, &fewer).starts_with("`one` has the tensor `x`, which is I64"));
        assert!(refused(&fewer, &one).starts_with("`two` has the tensor `x`, which is I64"));
    }

    #[test]
    fn packed_weights_are_told_by_name() {
        for name in ["a.qweight", "a.weight", "a.weight.absmax", "a.qzeros", "a.g_idx", "a.weight_packed"] {
            assert!(is_packed(name), "{name}");
        }
        for name in ["embeddings.position_ids", "attn.bias", "weights.of.nothing"] {
            assert!(!is_packed(name), "{name}");
        }
    }
}
