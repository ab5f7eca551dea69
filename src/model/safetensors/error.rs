//! What can be wrong with a safetensors file.

use crate::tensor::shape::{Shape, ShapeError};

use super::{MAX_HEADER, MAX_TENSORS};

/// Why a file is not a usable safetensors file: what, where, and what was expected.
///
/// Offsets are bytes of the file. Names in messages are cut to a readable length.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SafetensorsError {
    /// No room for the header's length.
    #[error("the file has {found} bytes; a safetensors file begins with the 8 bytes of its header's length")]
    Short {
        /// Its length.
        found: u64,
    },
    /// A header longer than anybody writes.
    #[error("the header's length (byte 0) is {found}; at most {MAX_HEADER} is read")]
    HeaderLength {
        /// The length claimed.
        found: u64,
    },
    /// What git keeps in the place of a large file.
    #[error("the file is a pointer of Git LFS, not the tensors; fetch them with `git lfs pull`")]
    Pointer,
    /// A header that reaches beyond the end of the file.
    #[error(
        "the header is {length} bytes at byte 8, but the file has {file}: it was cut short, or is no safetensors file"
    )]
    HeaderOutside {
        /// The length claimed.
        length: u64,
        /// The file's length.
        file: u64,
    },
    /// A header that is no text.
    #[error("the header is not UTF-8 (byte {at})")]
    NotUtf8 {
        /// The first byte that is none.
        at: u64,
    },
    /// A header that is something else.
    #[error("the header begins with \"{found}\" (byte 8); expected an opening brace")]
    NotAnObject {
        /// Its first bytes, at most eight.
        found: String,
    },
    /// A header that is not JSON, or not this JSON.
    #[error("the header cannot be read at byte {at}: {message}")]
    Json {
        /// About where.
        at: u64,
        /// What is wrong.
        message: String,
    },
    /// An entry of the header that cannot be what it is.
    #[error("header, before byte {at}: {problem}")]
    Header {
        /// Where the reader stood when it noticed.
        at: u64,
        /// What is wrong.
        problem: Problem,
    },
    /// Two entries with one name.
    #[error("tensor {tensor} has two entries in the header, {first} and {second} (counted from 0)")]
    DuplicateTensor {
        /// The tensor.
        tensor: String,
        /// Index of the first entry.
        first: usize,
        /// Index of the second.
        second: usize,
    },
    /// Two tensors that share bytes.
    #[error("tensor {second} begins at byte {at}, inside tensor {first}")]
    Overlap {
        /// The one that lies first.
        first: String,
        /// The one that begins inside it.
        second: String,
        /// Where.
        at: u64,
    },
    /// Bytes before or between tensors that are no tensor's.
    #[error("bytes {start} to {end} belong to no tensor; tensor {next} begins behind them")]
    Hole {
        /// The first such byte.
        start: u64,
        /// The first byte behind them.
        end: u64,
        /// The tensor behind them.
        next: String,
    },
    /// A tensor that reaches beyond the end of the file.
    #[error(
        "tensor {tensor} ends at byte {end}, but the file has {file}: it was cut short, or the header is damaged"
    )]
    Outside {
        /// The tensor.
        tensor: String,
        /// Where it ends.
        end: u64,
        /// The file's length.
        file: u64,
    },
    /// A tensor that holds no weights, in a file that may have nothing else.
    #[error("tensor {tensor} is {dtype}; only F64, F32, F16 and BF16 tensors can be used as weights here")]
    NoWeights {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: &'static str,
    },
    /// Bytes behind the last tensor.
    #[error("bytes {start} to {file}, the file's end, belong to no tensor")]
    Trailing {
        /// The first such byte.
        start: u64,
        /// The file's length.
        file: u64,
    },
}

/// What can be wrong with one entry of the header.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    /// More tensors than anybody stores.
    #[error("there are more than {MAX_TENSORS} tensors, the most that are read")]
    Many,
    /// A second `__metadata__`.
    #[error("__metadata__ comes twice")]
    MetadataTwice,
    /// A key of the metadata that comes twice.
    #[error("__metadata__ has the key {key} twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A field that comes twice.
    #[error("tensor {tensor} has the field {field} twice")]
    DuplicateField {
        /// The tensor.
        tensor: String,
        /// The field.
        field: &'static str,
    },
    /// A field the format does not have.
    #[error("tensor {tensor} has the field {field}; there are only dtype, shape and data_offsets")]
    UnknownField {
        /// The tensor.
        tensor: String,
        /// The field.
        field: String,
    },
    /// A field that is not there.
    #[error("tensor {tensor} has no {field}")]
    MissingField {
        /// The tensor.
        tensor: String,
        /// The field.
        field: &'static str,
    },
    /// A dtype the format does not have.
    #[error("tensor {tensor} has the dtype {dtype}, which the format does not know")]
    UnknownDtype {
        /// The tensor.
        tensor: String,
        /// Its dtype.
        dtype: String,
    },
    /// A dtype the format has, but that weights here have not.
    #[error("tensor {tensor} is {dtype}; only F64, F32, F16 and BF16 tensors can be used as weights here")]
    UnusableDtype {
        /// The tensor.
        tensor: String,
        /// Its dtype.
        dtype: String,
    },
    /// A shape that is none: a dimension of zero, too many dimensions or elements.
    #[error("tensor {tensor} {source}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        source: ShapeError,
    },
    /// Offsets the wrong way round.
    #[error("tensor {tensor} has data_offsets that begin at {begin} and end at {end}")]
    Backwards {
        /// The tensor.
        tensor: String,
        /// Its first byte.
        begin: u64,
        /// The first byte behind it.
        end: u64,
    },
    /// Offsets that do not fit the shape.
    #[error(
        "tensor {tensor}, {dtype} of shape {shape}, needs {expected} bytes; its data_offsets give it {found}"
    )]
    Length {
        /// The tensor.
        tensor: String,
        /// Its dtype.
        dtype: &'static str,
        /// Its shape.
        shape: Shape,
        /// Bytes needed.
        expected: u64,
        /// Bytes given.
        found: u64,
    },
}

/// A name from a file as a message can show it: quoted, control characters escaped, not too long.
pub(super) fn shown(name: &str) -> String {
    const MOST: usize = 120;
    match name.char_indices().nth(MOST) {
        Some((cut, _)) => format!("{:?}...", &name[..cut]),
        None => format!("{name:?}"),
    }
}
