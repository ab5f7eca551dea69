//! What can be wrong with an adapter, by itself or for a model.

use super::identity::{AdapterIdentity, Mismatch};
use crate::base::digest::Digest;
use crate::tensor::shape::{Shape, ShapeError};

/// Why an adapter cannot be used: what, where, and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    /// Not an adapter.
    #[error(
        "the file begins with \"{found}\"; an adapter package begins with \"SBD1\", \"SBS1\" or \"SBL1\""
    )]
    Magic {
        /// Its first bytes, at most four.
        found: String,
    },
    /// Shorter than a header.
    #[error("the file has {found} bytes; an adapter's header alone has 128: it was cut short")]
    Short {
        /// Its length.
        found: u64,
    },
    /// A header field that cannot have its value.
    #[error("header field {field} (byte {at}) is {found}; expected {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// Its offset.
        at: usize,
        /// Its value.
        found: String,
        /// What was possible.
        expected: String,
    },
    /// Something that reaches beyond the end of the file.
    #[error("{what} is {length} bytes at byte {start}, but the file has {file}; the header is damaged")]
    Outside {
        /// What.
        what: String,
        /// Where it begins.
        start: u64,
        /// Its length.
        length: u64,
        /// The file's length.
        file: u64,
    },
    /// A directory field that cannot have its value.
    #[error("directory entry {index}, field {field} (byte {at}) is {found}; expected {expected}")]
    Entry {
        /// Index of the entry.
        index: usize,
        /// The field.
        field: &'static str,
        /// Its offset.
        at: u64,
        /// Its value.
        found: String,
        /// What was possible.
        expected: String,
    },
    /// Dimensions that are no shape.
    #[error("directory entry {index}, tensor {tensor}, {source}")]
    Dimensions {
        /// Index of the entry.
        index: usize,
        /// The tensor.
        tensor: String,
        /// What is wrong.
        source: ShapeError,
    },
    /// Two deltas for one tensor.
    #[error("tensor {tensor} has two directory entries, {first} and {second}")]
    DuplicateTensor {
        /// The tensor.
        tensor: String,
        /// The first entry.
        first: usize,
        /// The second.
        second: usize,
    },
    /// Two parts of the file that share bytes.
    #[error("{second} begins at byte {at}, inside {first}")]
    Overlap {
        /// What lies first.
        first: String,
        /// What begins inside it.
        second: String,
        /// Where.
        at: u64,
    },
    /// Bytes that are not those that were written.
    #[error("the adapter is damaged: its header says {stated}, its bytes give {found}")]
    Damaged {
        /// The digest in the header.
        stated: Digest,
        /// That of the bytes.
        found: Digest,
    },
    /// A number that cannot be added.
    #[error("tensor {tensor}, {part} {index} is {value}; every number of an adapter must be finite")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Of what: `value`, `pair`, `element of A`, ...
        part: &'static str,
        /// Which, from 0.
        index: usize,
        /// The number.
        value: f32,
    },
    /// An index that points nowhere, or not behind the one before it.
    #[error("tensor {tensor}, pair {pair} is for element {index}; expected {expected}")]
    Index {
        /// The tensor.
        tensor: String,
        /// Which pair, from 0.
        pair: usize,
        /// Its index.
        index: u64,
        /// What was possible.
        expected: String,
    },
    /// An adapter for another model.
    #[error("the adapter is for another model: {}", in_one_line(.0))]
    OtherModel(Vec<Mismatch>),
    /// A delta for a tensor that the model does not have.
    #[error("the adapter changes tensor {tensor}, which the model does not have")]
    UnknownTensor {
        /// The tensor.
        tensor: String,
    },
    /// A delta of another shape than the tensor's.
    #[error("the adapter's delta for tensor {tensor} is {adapter}; the tensor is {model}")]
    OtherShape {
        /// The tensor.
        tensor: String,
        /// The delta's shape.
        adapter: Box<Shape>,
        /// The tensor's.
        model: Box<Shape>,
    },
    /// A delta for a tensor that is another one again.
    #[error(
        "the adapter changes tensor {tensor}, which in this model follows from other tensors (an output \
         matrix tied to the embeddings, rotary frequencies), so the change has no place"
    )]
    Follows {
        /// The tensor.
        tensor: String,
    },
    /// The file itself.
    #[cfg(feature = "engine")]
    #[error(transparent)]
    Disk(#[from] crate::disk::DiskError),
    /// A PEFT folder.
    #[cfg(feature = "engine")]
    #[error(transparent)]
    Peft(#[from] super::peft::PeftError),
    /// Any of these, in a file.
    #[cfg(feature = "engine")]
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        source: Box<AdapterError>,
    },
}

fn in_one_line(mismatches: &[Mismatch]) -> String {
    let mut line = mismatches.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if let Some(advice) = AdapterIdentity::advice(mismatches) {
        line += &format!("; {advice}");
    }
    line
}
