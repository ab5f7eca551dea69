//! What a model is, apart from its weights: the part that must agree before two can be mixed.
//!
//! Same-index arithmetic between two models only means something if the index means the same in
//! both: the same network, the same ids, the same tensors of the same shapes. Each of these is a
//! field or a digest here, so a disagreement can be named. How the weights are *stored* is kept as a
//! difference of its own kind: operators widen every encoding to f32, so a caller may allow it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use super::config::ModelConfig;
use super::naming::Naming;
use super::package::Package;
use super::tokenizer::{alike, vocabulary};
use super::weights::Weights;
use super::writer::Planned;
use crate::base::digest::Digest;
use crate::tensor::dtype::DType;
use crate::tensor::shape::Shape;

/// The identity of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Dimensions and constants of the network, its tied flag among them; nothing if the model does not
    /// say them, or not in a way that is known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<ModelConfig>,
    /// Number of parameters.
    pub parameters: u64,
    /// Number of tensors.
    pub tensors: u64,
    /// How text becomes ids; nothing if the model does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<TokenizerIdentity>,
    /// Digest of the tensors' names and shapes: [`layout_digest`]. Where the network is known, the names
    /// are SLM1's, so that a format does not make another model.
    pub layout: Digest,
    /// How the weights are stored.
    pub quantisation: Quantisation,
}

/// A tokenizer without its tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerIdentity {
    /// Its kind, such as `BPE1`.
    pub kind: String,
    /// Digest of its canonical section.
    pub digest: Digest,
}

/// How the tensors of a model are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantisation {
    /// The encoding all tensors have, or `mixed`.
    pub name: String,
    /// Every encoding there is, with the number of its tensors; in the order of [`DType::ALL`].
    pub encodings: Vec<EncodingUse>,
}

/// One encoding and how often it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncodingUse {
    /// The encoding.
    pub dtype: DType,
    /// Elements per scale, for `q4_0`; else 0.
    pub block_size: usize,
    /// How many tensors have it.
    pub tensors: u64,
}

/// Something two models do not agree on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// What kind of disagreement.
    pub kind: DifferenceKind,
    /// The field, such as `architecture.hidden_size`.
    pub field: String,
    /// What this model says.
    pub ours: String,
    /// What the other one says.
    pub theirs: String,
}

/// What a difference is about, and so whether it can be lived with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DifferenceKind {
    /// Another network: same-index arithmetic means nothing.
    Architecture,
    /// Other ids: embeddings do not correspond.
    Tokenizer,
    /// Other tensors.
    Layout,
    /// The same weights could be stored either way; widening removes it.
    Quantisation,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} here, {} there", self.field, self.ours, self.theirs)
    }
}

impl Identity {
    /// The identity of a model.
    pub fn of(checkpoint: &Checkpoint) -> Self {
        Self {
            architecture: Some(checkpoint.config.clone()),
            parameters: checkpoint.parameters(),
            tensors: checkpoint.infos().len() as u64,
            tokenizer: Some(TokenizerIdentity {
                kind: checkpoint.tokenizer.kind().to_owned(),
                digest: checkpoint.tokenizer.digest(),
            }),
            layout: layout_as_slm1(
                Some(checkpoint.naming),
                checkpoint.infos().iter().map(|info| (info.name.as_str(), &info.shape)),
            ),
            quantisation: Quantisation::of(checkpoint),
        }
    }

    /// The identity of a model of any format.
    pub fn of_package(package: &Package) -> Self {
        let tensors: Vec<_> = package.own_tensors().collect();
        let naming = package.naming_of_known_network();
        Self {
            architecture: package.config.as_ref().ok().cloned(),
            parameters: tensors.iter().map(|info| info.shape.elements() as u64).sum(),
            tensors: tensors.len() as u64,
            tokenizer: TokenizerIdentity::of_package(package),
            layout: layout_as_slm1(naming, tensors.iter().map(|info| (info.name.as_str(), &info.shape))),
            quantisation: Quantisation::of(&package.weights),
        }
    }

    /// Every field on which `self` and `other` disagree, in a fixed order. What one of them does not say
    /// is no disagreement.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut found = Differences(Vec::new());
        if let (Some(ours), Some(theirs)) = (&self.architecture, &other.architecture) {
            found.architecture(ours, theirs);
        }
        if let (Some(ours), Some(theirs)) = (&self.tokenizer, &other.tokenizer) {
            let tokenizer = DifferenceKind::Tokenizer;
            found.note(tokenizer, "tokenizer.kind", &ours.kind, &theirs.kind);
            found.note(tokenizer, "tokenizer.digest", ours.digest, theirs.digest);
        }
        let layout = DifferenceKind::Layout;
        found.note(layout, "tensors", self.tensors, other.tensors);
        found.note(layout, "parameters", self.parameters, other.parameters);
        found.note(layout, "layout", self.layout, other.layout);
        let quantisation = DifferenceKind::Quantisation;
        found.note(quantisation, "quantisation", &self.quantisation, &other.quantisation);
        found.0
    }
}

/// Every field on which two models at hand disagree: what their identities say, but tokenizers that give the
/// same ids in other words are one.
pub fn disagreements(
    (ours, first): (&Identity, &Package),
    (theirs, second): (&Identity, &Package),
) -> Vec<Difference> {
    let mut found = ours.differences(theirs);
    if found.iter().any(is_of_tokens) && alike::give_same_ids(first, second) {
        found.retain(|found| !is_of_tokens(found));
    }
    found
}

fn is_of_tokens(found: &Difference) -> bool {
    found.field == "tokenizer.digest"
}

/// Every field on which two networks disagree, in a fixed order.
pub fn architecture_differences(ours: &ModelConfig, theirs: &ModelConfig) -> Vec<Difference> {
    let mut found = Differences(Vec::new());
    found.architecture(ours, theirs);
    found.0
}

/// The [`layout_digest`] of tensors under SLM1's names where the network is known, `naming` being the
/// family of the names they have.
pub fn layout_as_slm1<'a>(
    naming: Option<Naming>,
    tensors: impl IntoIterator<Item = (&'a str, &'a Shape)>,
) -> Digest {
    let named = |(name, shape): (&str, &'a Shape)| {
        let translated = naming.and_then(|naming| Naming::Slm1.translate(naming, name));
        (translated.unwrap_or_else(|| name.to_owned()), shape)
    };
    let named: Vec<(String, &Shape)> = tensors.into_iter().map(named).collect();
    layout_digest(named.iter().map(|(name, shape)| (name.as_str(), *shape)))
}

impl TokenizerIdentity {
    /// That of a tokenizer known here, else that of the file which describes it.
    fn of_package(package: &Package) -> Option<Self> {
        if let Ok(tokenizer) = &package.tokenizer {
            return Some(Self { kind: tokenizer.kind().to_owned(), digest: tokenizer.digest() });
        }
        let files = ["tokenizer.json", "tokenizer.model", "vocab.json"];
        let file = files.iter().find_map(|name| package.companion(name))?;
        let digest = vocabulary::digest(&file.bytes).unwrap_or_else(|| Digest::of(&file.bytes));
        Some(Self { kind: file.name.clone(), digest })
    }
}

/// BLAKE3 over the tensors' names and shapes, sorted by name: neither the order in which a file
/// happens to store them nor their encoding matters.
///
/// The bytes: per tensor the name's length, the name, the number of dimensions and each dimension;
/// every number a u64, little-endian.
pub fn layout_digest<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a Shape)>) -> Digest {
    let mut tensors: Vec<_> = tensors.into_iter().collect();
    tensors.sort_unstable();
    let mut bytes = Vec::new();
    let mut put = |part: &[u8], number: Option<u64>| {
        bytes.extend_from_slice(&number.unwrap_or(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    };
    for (name, shape) in tensors {
        put(name.as_bytes(), None);
        put(&[], Some(shape.dims().len() as u64));
        for dim in shape.dims() {
            put(&[], Some(*dim as u64));
        }
    }
    Digest::of(&bytes)
}

impl Quantisation {
    fn of(weights: &Weights) -> Self {
        Self::of_all(weights.infos().iter().map(|info| (info.dtype, info.block_size)))
    }

    /// How the tensors of a model that is to be written are stored.
    pub fn of_planned(planned: &[Planned]) -> Self {
        Self::of_all(planned.iter().map(|tensor| (tensor.dtype, tensor.block_size)))
    }

    fn of_all(tensors: impl Iterator<Item = (DType, usize)>) -> Self {
        let mut encodings: Vec<EncodingUse> = Vec::new();
        for (dtype, block_size) in tensors {
            let block_size = if dtype == DType::Q4_0 { block_size } else { 0 };
            match encodings.iter_mut().find(|used| (used.dtype, used.block_size) == (dtype, block_size)) {
                Some(used) => used.tensors += 1,
                None => encodings.push(EncodingUse { dtype, block_size, tensors: 1 }),
            }
        }
        encodings.sort_unstable_by_key(|used| (used.dtype, used.block_size));
        let one = encodings.iter().all(|used| used.dtype == encodings[0].dtype);
        let name = if one { encodings.first().map_or("mixed", |used| used.dtype.name()) } else { "mixed" };
        Self { name: name.to_owned(), encodings }
    }
}

impl fmt::Display for Quantisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.name)?;
        for (i, used) in self.encodings.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{} x {}", used.tensors, used.dtype)?;
            if used.block_size != 0 {
                write!(f, " in blocks of {}", used.block_size)?;
            }
        }
        f.write_str(")")
    }
}

struct Differences(Vec<Difference>);

impl Differences {
    fn note<T: PartialEq + fmt::Display + Copy>(
        &mut self,
        kind: DifferenceKind,
        field: &str,
        ours: T,
        theirs: T,
    ) {
        if ours != theirs {
            let (ours, theirs) = (ours.to_string(), theirs.to_string());
            self.0.push(Difference { kind, field: field.to_owned(), ours, theirs });
        }
    }

    fn architecture(&mut self, ours: &ModelConfig, theirs: &ModelConfig) {
        // Taken apart by name, so that a new field cannot be forgotten here.
        let ModelConfig {
            vocab_size,
            special_token_count,
            hidden_size,
            layer_count,
            head_count,
            kv_head_count,
            head_dim,
            ffn_size,
            max_context,
            rope_theta,
            rms_norm_epsilon,
            tied_output,
            variant,
        } = ours;
        let sizes = [
            ("architecture.vocab_size", vocab_size, &theirs.vocab_size),
            ("architecture.special_token_count", special_token_count, &theirs.special_token_count),
            ("architecture.hidden_size", hidden_size, &theirs.hidden_size),
            ("architecture.layer_count", layer_count, &theirs.layer_count),
            ("architecture.head_count", head_count, &theirs.head_count),
            ("architecture.kv_head_count", kv_head_count, &theirs.kv_head_count),
            ("architecture.head_dim", head_dim, &theirs.head_dim),
            ("architecture.ffn_size", ffn_size, &theirs.ffn_size),
            ("architecture.max_context", max_context, &theirs.max_context),
        ];
        let kind = DifferenceKind::Architecture;
        for (field, ours, theirs) in sizes {
            self.note(kind, field, ours, theirs);
        }
        self.note(kind, "architecture.rope_theta", rope_theta, &theirs.rope_theta);
        self.note(kind, "architecture.rms_norm_epsilon", rms_norm_epsilon, &theirs.rms_norm_epsilon);
        self.note(kind, "architecture.tied_output", tied_output, &theirs.tied_output);
        for (field, ours, theirs) in variant.differences(&theirs.variant) {
            self.note(kind, &format!("architecture.{field}"), &ours, &theirs);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::canonical;
    use crate::model::WriteError;
    use crate::model::config::tests::tiny;
    use crate::model::slm1::write::write_values;
    use crate::model::slm1::{Encoding, Layout};
    use crate::model::tokenizer::Tokenizer;

    fn identity(config: &ModelConfig, encoding: Encoding) -> Identity {
        let layout = Layout::mixed(config, &Tokenizer::Btok, |spec| {
            if spec.shape.dims().len() == 1 && encoding.q4_block == 4 {
                Encoding::new(DType::F32)
            } else {
                encoding
            }
        })
        .unwrap();
        let mut file = Vec::new();
        write_values::<WriteError>(&layout, &mut file, |_, _, out| {
            out.fill(0.5);
            Ok(())
        })
        .unwrap();
        Identity::of(&crate::model::open_bytes(Arc::new(file)).unwrap())
    }

    #[test]
    fn storage_is_a_difference_of_its_own_kind() {
        let f32 = identity(&tiny(), Encoding::new(DType::F32));
        let q8 = identity(&tiny(), Encoding::new(DType::Q8_0));
        let mixed = identity(&tiny(), Encoding::q4(4));
        assert_eq!(f32.layout, q8.layout);
        assert_eq!((f32.parameters, f32.tensors), (4_824, 12));
        assert_eq!(f32.differences(&f32), []);
        let differences = f32.differences(&q8);
        assert_eq!(differences.len(), 1);
        assert_eq!(differences[0].kind, DifferenceKind::Quantisation);
        assert_eq!(differences[0].to_string(), "quantisation: f32 (12 x f32) here, q8_0 (12 x q8_0) there");
        assert_eq!(mixed.quantisation.to_string(), "mixed (3 x f32, 9 x q4_0 in blocks of 4)");
    }

    #[test]
    fn every_mismatch_is_named() {
        let ours = identity(&tiny(), Encoding::new(DType::F32));
        let other = ModelConfig { ffn_size: 24, rope_theta: 5e5, tied_output: true, ..tiny() };
        let theirs = identity(&other, Encoding::new(DType::F32));
        let fields: Vec<_> = ours.differences(&theirs).into_iter().map(|found| found.field).collect();
        assert_eq!(
            fields,
            [
                "architecture.ffn_size",
                "architecture.rope_theta",
                "architecture.tied_output",
                "tensors",
                "parameters",
                "layout",
                "quantisation",
            ]
        );
    }

    #[test]
    fn survives_a_record() {
        let identity = identity(&tiny(), Encoding::q4(4));
        let text = canonical::to_vec(&identity).unwrap();
        assert_eq!(canonical::from_slice::<Identity>(&text).unwrap(), identity);
    }

    #[test]
    fn the_layout_digest_sees_names_and_shapes_and_not_their_order() {
        let shape = |dims: &[usize]| Shape::new(dims.to_vec()).unwrap();
        let (a, b) = (shape(&[2, 3]), shape(&[6]));
        let digest = layout_digest([("x", &a), ("y", &b)]);
        assert_eq!(layout_digest([("y", &b), ("x", &a)]), digest);
        assert_ne!(layout_digest([("x", &b), ("y", &a)]), digest);
        assert_ne!(layout_digest([("x", &a)]), digest);
    }
}
