//! Writing a model, whatever the format: what is to come is known before the first byte, then tensors
//! arrive in order and in pieces.
//!
//! ```text
//! for plan in planned {
//!     writer.payload(rows)?; writer.payload(more_rows)?;      // the whole payload, in order
//!     writer.finish_tensor(scales)?;                          // empty without separate scales
//! }
//! writer.finish()?;
//! ```

use std::io;

use crate::model::slm1::Slm1Error;
use crate::tensor::dtype::DType;
use crate::tensor::quantize::QuantizeError;
use crate::tensor::shape::Shape;

/// One tensor of a model to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub shape: Shape,
    /// How it is stored.
    pub dtype: DType,
    /// Elements per separate scale; 0 without.
    pub block_size: usize,
}

/// A model being written, tensor after tensor in the planned order.
pub trait ModelWriter {
    /// Writes the next bytes of the current tensor's payload.
    ///
    /// # Errors
    ///
    /// [`WriteError::Length`] of more than the tensor has, [`WriteError::Count`] if all tensors are finished,
    /// [`WriteError::Value`] of a number that the format does not take, [`WriteError::Io`] if the place fails.
    fn payload(&mut self, bytes: &[u8]) -> Result<(), WriteError>;

    /// Writes the current tensor's separate scales (empty if it has none) and goes on to the next.
    ///
    /// # Errors
    ///
    /// [`WriteError::Length`] of a payload or scales that are not those that the tensor has,
    /// [`WriteError::Count`] if all are finished, [`WriteError::Io`] if the place fails.
    fn finish_tensor(&mut self, scales: &[u8]) -> Result<(), WriteError>;

    /// Ends the model. What was written is one only after this.
    ///
    /// # Errors
    ///
    /// [`WriteError::Count`] if tensors are missing, [`WriteError::Io`] if the place fails.
    fn finish(&mut self) -> Result<(), WriteError>;
}

/// Why a model cannot be laid out or written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A configuration SLM1 cannot express.
    #[error("this model cannot be an SLM1 file: {0}")]
    Config(#[from] Slm1Error),
    /// A tokenizer with another number of ids.
    #[error("the configuration has vocab_size {config}, its tokenizer {tokenizer}; they must be equal")]
    Vocabulary {
        /// The configuration's.
        config: u32,
        /// The tokenizer's.
        tokenizer: u32,
    },
    /// A tokenizer SLM1 has no section for.
    #[error("a {0} cannot be an SLM1 tokenizer; BTOK and BPE1 can")]
    Tokenizer(&'static str),
    /// An encoding the format does not have.
    #[error("tensor {tensor}: {format} files cannot hold {dtype}; possible are {}", names(possible))]
    Encoding {
        /// The tensor.
        tensor: String,
        /// The encoding.
        dtype: DType,
        /// The format's name.
        format: &'static str,
        /// What it can hold.
        possible: &'static [DType],
    },
    /// A tensor that cannot be stored this way, or a value of it that cannot.
    #[error("tensor {tensor}: {source}")]
    Tensor {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        source: QuantizeError,
    },
    /// A name that cannot be a tensor's, or not once more.
    #[error("tensor {tensor:?} cannot be written: the name {reason}")]
    Name {
        /// The name.
        tensor: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A header that nobody would read.
    #[error("the tensors' names and the metadata need a header of {needed} bytes; at most {most} are read")]
    Header {
        /// Its length.
        needed: u64,
        /// The longest there is.
        most: u64,
    },
    /// A value that the format does not take.
    #[error("tensor {tensor}, element {element} is {value}; {expected}")]
    Value {
        /// The tensor.
        tensor: String,
        /// Index of the element.
        element: usize,
        /// Its value.
        value: f32,
        /// What is possible.
        expected: &'static str,
    },
    /// A file too large for its own offsets.
    #[error("the file would be larger than an offset can say")]
    TooLarge,
    /// Pieces that do not add up to a tensor.
    #[error("tensor {tensor}: {found} bytes of {part} were written where its shape needs {expected}")]
    Length {
        /// The tensor.
        tensor: String,
        /// Payload or scales.
        part: &'static str,
        /// Bytes needed.
        expected: u64,
        /// Bytes given.
        found: u64,
    },
    /// More tensors than planned, or fewer.
    #[error("{written} of {planned} tensors were written when {doing}")]
    Count {
        /// Tensors finished.
        written: usize,
        /// Tensors planned.
        planned: usize,
        /// What was tried.
        doing: &'static str,
    },
    /// The place written to.
    #[error("cannot write the model: {0}")]
    Io(#[from] io::Error),
}

#[cfg(feature = "engine")]
impl WriteError {
    /// What a person can do about a disk that failed.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io(error) => crate::disk::hint_of_writing(error),
            _ => None,
        }
    }
}

fn names(dtypes: &[DType]) -> String {
    dtypes.iter().map(|dtype| dtype.name()).collect::<Vec<_>>().join(", ")
}
