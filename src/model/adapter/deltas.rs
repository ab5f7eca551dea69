//! An adapter as it lies in memory or in a mapped file.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use super::delta::{Delta, Factors, Pairs};
use super::error::AdapterError;
use super::identity::AdapterIdentity;
use super::{dense, low_rank, sparse};
use crate::base::digest::Digest;
use crate::model::weights::SharedBytes;
use crate::tensor::blocks;
use crate::tensor::dtype::DType;
use crate::tensor::shape::Shape;
use crate::tensor::view::TensorView;

/// A matrix of f32 in an adapter's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Factor {
    /// Its dimensions.
    pub shape: Shape,
    /// Its bytes.
    pub data: Range<usize>,
}

/// How a delta is stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Stored {
    /// An f32 for every element.
    Dense {
        /// Their bytes.
        values: Range<usize>,
    },
    /// Pairs of index and f32.
    Sparse {
        /// Their bytes.
        pairs: Range<usize>,
        /// Whether an index has eight bytes and not four.
        wide: bool,
    },
    /// `scale * B A`.
    LowRank {
        /// rank x columns.
        a: Factor,
        /// rows x rank.
        b: Factor,
        /// Factor on the product.
        scale: f32,
    },
}

/// Where one delta lies.
#[derive(Debug, Clone, PartialEq)]
pub struct DeltaInfo {
    /// The tensor it is for.
    pub name: String,
    /// That tensor's dimensions.
    pub shape: Shape,
    /// How it is stored.
    pub stored: Stored,
}

/// Deltas for some of a model's tensors, in storage order.
pub struct Adapter {
    format: &'static str,
    identity: Option<AdapterIdentity>,
    deltas: Vec<DeltaInfo>,
    /// Only ever asked, never walked: a map has no order.
    by_name: HashMap<String, usize>,
    bytes: SharedBytes,
    /// What the file says its digest is, and where it says so.
    digest: Option<(Digest, Range<usize>)>,
    /// What speaks against its being for the model it was read for.
    doubt: Option<String>,
}

impl Adapter {
    /// Puts deltas together; the reader has checked every range, and that no name comes twice.
    pub(super) fn new(
        format: &'static str,
        identity: Option<AdapterIdentity>,
        deltas: Vec<DeltaInfo>,
        bytes: SharedBytes,
        digest: Option<(Digest, Range<usize>)>,
    ) -> Self {
        let by_name = deltas.iter().enumerate().map(|(i, delta)| (delta.name.clone(), i)).collect();
        Self { format, identity, deltas, by_name, bytes, digest, doubt: None }
    }

    /// The same adapter, with what speaks against its being for its model.
    #[cfg(feature = "engine")]
    #[must_use]
    pub(super) fn with_doubt(self, doubt: Option<String>) -> Self {
        Self { doubt, ..self }
    }

    /// What its own files say against its being for the model it was read for: worth a warning, and no more.
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// Name of the format it was read from.
    pub fn format(&self) -> &'static str {
        self.format
    }

    /// Which model it is for, where its format says so.
    pub fn identity(&self) -> Option<&AdapterIdentity> {
        self.identity.as_ref()
    }

    /// Where every delta lies, in storage order.
    pub fn infos(&self) -> &[DeltaInfo] {
        &self.deltas
    }

    /// Numbers stored for all deltas together.
    pub fn numbers(&self) -> u64 {
        let count = |stored: &Stored| match stored {
            Stored::Dense { values } => values.len() / 4,
            Stored::Sparse { pairs, wide } => pairs.len() / sparse::pair_bytes(*wide),
            Stored::LowRank { a, b, .. } => a.shape.elements() + b.shape.elements(),
        };
        self.deltas.iter().map(|delta| count(&delta.stored) as u64).sum()
    }

    /// The delta for the tensor called `name`; none if the adapter leaves it as it is.
    pub fn delta(&self, name: &str) -> Option<Delta<'_>> {
        self.by_name.get(name).map(|index| self.view(&self.deltas[*index]))
    }

    fn view<'a>(&'a self, info: &'a DeltaInfo) -> Delta<'a> {
        let file = (*self.bytes).as_ref();
        let plain = |shape: &'a Shape, data: &Range<usize>| TensorView {
            name: &info.name,
            dtype: DType::F32,
            shape,
            data: &file[data.clone()],
            scales: &[],
            block_size: 0,
        };
        match &info.stored {
            Stored::Dense { values } => Delta::Dense(plain(&info.shape, values)),
            Stored::Sparse { pairs, wide: false } => {
                Delta::Sparse(Pairs::Narrow(file[pairs.clone()].as_chunks().0))
            }
            Stored::Sparse { pairs, wide: true } => {
                Delta::Sparse(Pairs::Wide(file[pairs.clone()].as_chunks().0))
            }
            Stored::LowRank { a, b, scale } => Delta::LowRank(Factors {
                a: plain(&a.shape, &a.data).f32s(),
                b: plain(&b.shape, &b.data).f32s(),
                columns: info.shape.columns(),
                rank: a.shape.rows(),
                scale: *scale,
            }),
        }
    }

    /// Looks at every byte: the digest first, if the format has one, then that all numbers are finite
    /// and all indices increase and are inside their tensor.
    ///
    /// # Errors
    ///
    /// [`AdapterError::Damaged`] if the bytes are not those that were written; else [`AdapterError::NotFinite`]
    /// or [`AdapterError::Index`], of the first tensor that has such a number.
    pub fn validate(&self) -> Result<(), AdapterError> {
        if let Some((stated, at)) = &self.digest {
            let found = digest_without((*self.bytes).as_ref(), at);
            if found != *stated {
                return Err(AdapterError::Damaged { stated: *stated, found });
            }
        }
        blocks::try_map(&self.deltas, |_, info| match self.view(info) {
            Delta::Dense(view) => dense::validate(&info.name, &view),
            Delta::Sparse(pairs) => sparse::validate(info, &pairs),
            Delta::LowRank(factors) => low_rank::validate(&info.name, &factors),
        })
        .map(drop)
    }

    /// Refuses a model that this adapter is not for: `model` has the five fields of the model, `shape` knows
    /// its tensors.
    ///
    /// # Errors
    ///
    /// [`AdapterError::OtherModel`] with all fields that disagree; else [`AdapterError::UnknownTensor`] or
    /// [`AdapterError::OtherShape`] of the first tensor that does not fit.
    pub fn check_fits<'s>(
        &self,
        model: &AdapterIdentity,
        shape: impl Fn(&str) -> Option<&'s Shape>,
    ) -> Result<(), AdapterError> {
        let mismatches = self.identity.as_ref().map(|own| own.mismatches(model)).unwrap_or_default();
        if !mismatches.is_empty() {
            return Err(AdapterError::OtherModel(mismatches));
        }
        for delta in &self.deltas {
            let tensor = || delta.name.clone();
            let found = shape(&delta.name).ok_or_else(|| AdapterError::UnknownTensor { tensor: tensor() })?;
            if *found != delta.shape {
                return Err(AdapterError::OtherShape {
                    tensor: tensor(),
                    adapter: Box::new(delta.shape.clone()),
                    model: Box::new(found.clone()),
                });
            }
        }
        Ok(())
    }
}

/// BLAKE3 of bytes with some of them counted as zero.
fn digest_without(bytes: &[u8], zeros: &Range<usize>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..zeros.start]);
    hasher.update(&vec![0; zeros.len()]);
    hasher.update(&bytes[zeros.end..]);
    Digest::from_bytes(*hasher.finalize().as_bytes())
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter")
            .field("format", &self.format)
            .field("identity", &self.identity)
            .field("deltas", &self.deltas.len())
            .finish_non_exhaustive()
    }
}
