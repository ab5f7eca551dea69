//! safetensors: named tensors in one file, and nothing that a program could run.
//!
//! ```text
//! file
//!        0                8                                8 + n
//!       +----------------+--------------------------------+------------------- ...
//!       | n, u64         | JSON, UTF-8, n bytes           | payloads
//!       | little-endian  | then spaces                    | end to end
//!       +----------------+--------------------------------+------------------- ...
//!
//! JSON
//!       {"__metadata__":{"format":"pt"},
//!        "a.weight":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}, ...}
//! ```
//!
//! Offsets count from the first payload. Every payload byte belongs to exactly one tensor, so two
//! programs that read a file cannot see different models in it. For the same reason this reader is
//! strict where JSON is not: one entry to a name, the three fields and no others.
//!
//! The format also knows integers and booleans. Tensors of such a type are no weights but
//! [buffers](crate::model::buffer); packed weights, and numbers of eight bits or less, are refused by name.
//!
//! * [`header`]: the JSON, parsed and checked against the file's length.
//! * [`mod@read`]: a whole file to [`Weights`](super::Weights).
//! * [`mod@write`]: every offset known before the first byte; then tensors in pieces.

mod error;
pub mod header;
pub mod read;
#[cfg(test)]
mod tests;
pub mod write;

use std::collections::BTreeMap;

use crate::tensor::dtype::DType;

pub use error::{Problem, SafetensorsError};
pub use read::{Contents, contents, read, read_weights};
pub use write::{Layout, Writer};

/// How records name the format.
pub const NAME: &str = "safetensors";

/// The encodings a file can hold.
pub const DTYPES: [DType; 4] = [DType::F32, DType::F16, DType::BF16, DType::F64];

/// The longest header anybody reads: what the format's own library allows.
pub const MAX_HEADER: u64 = 100_000_000;

/// Most tensors of a file: what is known of each takes memory, whatever it is.
pub const MAX_TENSORS: usize = 1 << 19;

/// The header's one entry that is no tensor.
const METADATA: &str = "__metadata__";

/// What a file says about itself, in words; `{"format": "pt"}` more often than not.
pub type Metadata = BTreeMap<String, String>;

/// Whether a file that begins like this is probably one.
pub fn sniff(head: &[u8]) -> bool {
    match head.split_first_chunk() {
        Some((length, json)) => {
            (2..=MAX_HEADER).contains(&u64::from_le_bytes(*length)) && json.starts_with(b"{")
        }
        None => false,
    }
}

/// The format's word for an encoding, if it has one.
const fn dtype_word(dtype: DType) -> Option<&'static str> {
    match dtype {
        DType::F32 => Some("F32"),
        DType::F16 => Some("F16"),
        DType::BF16 => Some("BF16"),
        DType::F64 => Some("F64"),
        DType::Q8_0 | DType::Q4_0 | DType::GgmlQ8_0 => None,
    }
}
