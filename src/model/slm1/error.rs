//! What can be wrong with an `.slm` file.

use crate::model::tokenizer::TokenizerError;
use crate::tensor::shape::{Shape, ShapeError};

/// Why a file is not a usable SLM1 model: what, where, and what was expected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Slm1Error {
    /// Not this format.
    #[error("the file begins with \"{found}\"; an SLM1 file begins with \"SLM1\"")]
    Magic {
        /// Its first bytes, at most four.
        found: String,
    },
    /// Shorter than a header.
    #[error("the file has {found} bytes; the SLM1 header alone has 108: it was cut short")]
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
    #[error(
        "{what} is {length} bytes at byte {start}, but the file has {file}: it was cut short, or the header is damaged"
    )]
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
    /// Bytes behind the last section.
    #[error("bytes {start} to {file}, the file's end, belong to nothing")]
    Trailing {
        /// The first such byte.
        start: u64,
        /// The file's length.
        file: u64,
    },
    /// The tokenizer section.
    #[error("tokenizer section (byte {at}): {source}")]
    Tokenizer {
        /// Where it begins.
        at: u64,
        /// What is wrong.
        source: TokenizerError,
    },
    /// A shape the header asks for that cannot be counted.
    #[error("the header's dimensions give a tensor that {0}")]
    Dimensions(#[from] ShapeError),
    /// A directory field that cannot have its value.
    #[error(
        "tensor {name}, directory entry {index}, field {field} (byte {at}) is {found}; expected {expected}"
    )]
    Entry {
        /// The tensor.
        name: String,
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
    /// A hash of no tensor this configuration has.
    #[error(
        "directory entry {index} (byte {at}) has name hash {hash:016x}, which is no tensor of this configuration; the first tensor without an entry is {first_missing}"
    )]
    UnknownTensor {
        /// Index of the entry.
        index: usize,
        /// Its offset.
        at: u64,
        /// The hash.
        hash: u64,
        /// A name that was expected and is not there.
        first_missing: String,
    },
    /// Two entries for one tensor.
    #[error("tensor {name} has two directory entries, {first} and {second}")]
    DuplicateTensor {
        /// The tensor.
        name: String,
        /// The first entry.
        first: usize,
        /// The second.
        second: usize,
    },
    /// A tensor without an entry.
    #[error("tensor {name} has no directory entry ({found} entries, this configuration needs {expected})")]
    MissingTensor {
        /// The tensor.
        name: String,
        /// Entries there.
        found: u64,
        /// Entries needed.
        expected: u64,
    },
    /// A tensor of another shape than the configuration gives it.
    #[error(
        "tensor {name}, directory entry {index}, has shape {found}; the header's dimensions give {expected}"
    )]
    Shape {
        /// The tensor.
        name: String,
        /// Index of the entry.
        index: usize,
        /// Its shape.
        found: Shape,
        /// The shape expected.
        expected: Shape,
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
}
