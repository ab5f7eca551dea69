//! The five fields that say which model an adapter is for.
//!
//! Their names are those of the original runtime. How it computes the two checksums is not published;
//! ours are one function each, [`layout_checksum`] and [`tokenizer_checksum`].

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::digest::Digest;
use crate::model::identity::{Identity, layout_digest};
use crate::model::package::Package;
use crate::tensor::shape::Shape;

/// A 64-bit checksum: sixteen hexadecimal digits in records, because JSON numbers end at 53 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum(pub u64);

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match u64::from_str_radix(&text, 16) {
            Ok(value) if Self(value).to_string() == text => Ok(Self(value)),
            _ => Err(serde::de::Error::custom("expected 16 lower-case hexadecimal digits")),
        }
    }
}

/// Which model an adapter is for: everything but the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterIdentity {
    /// Tensors of the model.
    pub tensor_count: u64,
    /// The model's flags: bit 0 says that the output matrix is the embedding matrix.
    pub flags: u32,
    /// Parameters of the model.
    pub parameter_count: u64,
    /// Of the tensors' names and shapes.
    pub tensor_layout_checksum: Checksum,
    /// Of the tokenizer; 0 where none is known.
    pub tokenizer_checksum: Checksum,
}

/// A field that an adapter and a model do not agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The field.
    pub field: &'static str,
    /// What the adapter is for.
    pub adapter: String,
    /// What the model has.
    pub model: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} in the adapter and {} in the model", self.field, self.adapter, self.model)
    }
}

/// The tensor layout checksum: the first eight bytes of the [`layout_digest`], little-endian.
pub fn layout_checksum(layout: &Digest) -> Checksum {
    first_eight(layout)
}

/// The tokenizer checksum: the first eight bytes of the digest of its canonical section,
/// little-endian, and never 0; 0 where there is no tokenizer.
pub fn tokenizer_checksum(tokenizer: Option<&Digest>) -> Checksum {
    Checksum(tokenizer.map_or(0, |digest| first_eight(digest).0.max(1)))
}

fn first_eight(digest: &Digest) -> Checksum {
    let [first, ..] = digest.as_bytes().as_chunks::<8>().0 else { return Checksum(0) };
    Checksum(u64::from_le_bytes(*first))
}

const FLAG_TIED: u32 = 1;

/// The field of the tokenizer.
const TOKENIZER: &str = "tokenizer_checksum";

impl AdapterIdentity {
    /// The fields of a model that can be run.
    pub fn of(model: &Identity) -> Self {
        Self {
            tensor_count: model.tensors,
            flags: if model.architecture.as_ref().is_some_and(|a| a.tied_output) { FLAG_TIED } else { 0 },
            parameter_count: model.parameters,
            tensor_layout_checksum: layout_checksum(&model.layout),
            tokenizer_checksum: tokenizer_checksum(model.tokenizer.as_ref().map(|known| &known.digest)),
        }
    }

    /// The fields of a model of any format. What its file does not say is 0.
    pub fn of_package(model: &Package) -> Self {
        let infos = model.weights.infos().iter();
        Self::of_tensors(model, &infos.map(|info| (info.name.as_str(), &info.shape)).collect::<Vec<_>>())
    }

    /// Those of a model some of whose tensors have other names.
    pub fn of_tensors(model: &Package, tensors: &[(&str, &Shape)]) -> Self {
        let layout = layout_digest(tensors.iter().copied());
        let tied = model.config.as_ref().is_ok_and(|config| config.tied_output);
        let tokenizer = model.tokenizer.as_ref().ok().map(crate::model::Tokenizer::digest);
        Self {
            tensor_count: tensors.len() as u64,
            flags: if tied { FLAG_TIED } else { 0 },
            parameter_count: tensors.iter().map(|(_, shape)| shape.elements() as u64).sum(),
            tensor_layout_checksum: layout_checksum(&layout),
            tokenizer_checksum: tokenizer_checksum(tokenizer.as_ref()),
        }
    }

    /// What to do where the tokenizer is all that differs; nothing where more does.
    pub fn advice(mismatches: &[Mismatch]) -> Option<&'static str> {
        let [Mismatch { field: TOKENIZER, .. }] = mismatches else { return None };
        Some(
            "all else agrees, and whether two files of tokenizers give the same ids no checksum tells: put the \
             tokenizer.json that the adapter was made with beside the model if they do",
        )
    }

    /// Every field on which this and a model disagree, in the order of the fields.
    pub fn mismatches(&self, model: &Self) -> Vec<Mismatch> {
        // Taken apart by name, so that a new field cannot be forgotten here.
        let Self { tensor_count, flags, parameter_count, tensor_layout_checksum, tokenizer_checksum } = self;
        let mut found = Vec::new();
        let mut note = |field, adapter: &dyn fmt::Display, other: &dyn fmt::Display| {
            let (adapter, model) = (adapter.to_string(), other.to_string());
            if adapter != model {
                found.push(Mismatch { field, adapter, model });
            }
        };
        note("tensor_count", tensor_count, &model.tensor_count);
        note("flags", flags, &model.flags);
        note("parameter_count", parameter_count, &model.parameter_count);
        note("tensor_layout_checksum", tensor_layout_checksum, &model.tensor_layout_checksum);
        note(TOKENIZER, tokenizer_checksum, &model.tokenizer_checksum);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> AdapterIdentity {
        AdapterIdentity {
            tensor_count: 12,
            flags: 1,
            parameter_count: 4_824,
            tensor_layout_checksum: Checksum(0x0123_4567_89ab_cdef),
            tokenizer_checksum: Checksum(u64::MAX),
        }
    }

    #[test]
    fn checksums_are_the_first_bytes_of_digests() {
        // The BLAKE3 digest of nothing begins af 13 49 b9 f5 f9 a1 a6.
        assert_eq!(layout_checksum(&Digest::of(b"")).to_string(), "a6a1f9f5b94913af");
        assert_eq!(tokenizer_checksum(Some(&Digest::of(b""))).to_string(), "a6a1f9f5b94913af");
        assert_eq!(tokenizer_checksum(Some(&Digest::from_bytes([0; 32]))), Checksum(1));
        assert_eq!(tokenizer_checksum(None), Checksum(0));
    }

    #[test]
    fn every_field_is_compared_and_named() {
        assert_eq!(identity().mismatches(&identity()), []);
        let other = AdapterIdentity {
            tensor_count: 11,
            flags: 0,
            parameter_count: 4_823,
            tensor_layout_checksum: Checksum(0),
            tokenizer_checksum: Checksum(0),
        };
        let found = identity().mismatches(&other);
        let fields: Vec<_> = found.iter().map(|mismatch| mismatch.field).collect();
        assert_eq!(
            fields,
            ["tensor_count", "flags", "parameter_count", "tensor_layout_checksum", "tokenizer_checksum"]
        );
        assert_eq!(found[0].to_string(), "tensor_count is 12 in the adapter and 11 in the model");
    }

    #[test]
    fn survives_a_record() {
        let text = serde_json::to_string(&identity()).unwrap();
        assert!(text.contains("\"0123456789abcdef\"") && text.contains("\"ffffffffffffffff\""), "{text}");
        assert_eq!(serde_json::from_str::<AdapterIdentity>(&text).unwrap(), identity());
        assert!(serde_json::from_str::<Checksum>("\"123\"").is_err());
        assert!(serde_json::from_str::<Checksum>("\"0123456789ABCDEF\"").is_err());
    }
}
