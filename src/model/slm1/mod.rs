//! SLM1, the `.slm` container, as documented by its authors in prose.
//!
//! There is no genuine file and no reference code to compare with. What the prose states is checked
//! strictly; what it leaves open is accepted in any form and written in the likeliest one, each
//! choice in one place that says so. Two published file sizes come out to the byte, which settles
//! most of the layout (`write`, tests).
//!
//! Everything is little-endian.
//!
//! ```text
//! header, 108 bytes
//!        0       4       8          12          16      20          24                 28
//!       +-------+-------+----------+-----------+-------+-----------+------------------+
//!    0  | SLM1  | ver 1 | hdr len  | model 1   | flags | vocab     | special tokens   |
//!       +-------+-------+----------+-----------+-------+-----------+------------------+
//!        28      32      36         40          44      48          52                 56
//!       +-------+-------+----------+-----------+-------+-----------+------------------+
//!   28  | width | layer | heads    | kv heads  | hdim  | ffn       | max context      |
//!       +-------+-------+----------+-----------+-------+-----------+------------------+
//!        56              60                     64                  72                 80
//!       +---------------+----------------------+-------------------+------------------+
//!   56  | rope theta f32 | rms epsilon f32     | tokenizer off u64 | tokenizer len u64|
//!       +---------------+----------------------+-------------------+------------------+
//!        80              88                     92                  100               108
//!       +---------------+----------------------+-------------------+------------------+
//!   80  | directory u64 | tensor count u32     | tensor data u64   | checksum u64     |
//!       +---------------+----------------------+-------------------+------------------+
//!
//! directory entry, 64 bytes, one per tensor
//!        0            8       12     16    20    24    28    32
//!       +------------+-------+------+-----+-----+-----+-----+
//!       | name hash  | dtype | rank | dim | dim | dim | dim |
//!       | u64 FNV-1a | u32   | u32  | u32 | u32 | u32 | u32 |
//!       +------------+-------+------+-----+-----+-----+-----+
//!        32           40            48             56           60         64
//!       +------------+-------------+--------------+------------+----------+
//!       | payload at | payload len | scales at    | block size | 0        |
//!       | u64        | u64         | u64, f32: 0  | u32        | u32      |
//!       +------------+-------------+--------------+------------+----------+
//!
//! file
//!       +--------+-----------+---+-----------+---+---------+---+--------+---+--- ...
//!       | header | tokenizer | 0 | directory | 0 | payload | 0 | scales | 0 |
//!       +--------+-----------+---+-----------+---+---------+---+--------+---+--- ...
//!       0        108             64-aligned      64-aligned    64-aligned
//! ```
//!
//! Tensor names are not stored: the header's dimensions say which tensors there must be
//! ([`tensor_table`](super::config::tensor_table)), the directory says by hash which entry is which.
//!
//! * [`header`], [`directory`]: the two tables, parsed and encoded.
//! * [`read`]: a whole file to a [`Checkpoint`](super::Checkpoint).
//! * [`mod@write`]: every offset known before the first byte; then tensors in pieces.
//! * [`checksum`]: our reading of the header's last field.

pub mod checksum;
pub mod directory;
mod error;
pub mod header;
pub mod read;
#[cfg(test)]
mod tests;
pub mod write;

use crate::tensor::dtype::DType;

pub use checksum::{ChecksumScheme, ChecksumVerdict, checksum_verdict};
pub use error::Slm1Error;
pub use write::{Encoding, Layout, TensorPlan, Writer};

/// The encodings there are.
pub const DTYPES: [DType; 3] = [DType::F32, DType::Q8_0, DType::Q4_0];

/// How records name the format.
pub const NAME: &str = "slm1";

/// Directory, payloads and scales begin at multiples of this.
pub const ALIGNMENT: u64 = 64;

/// The next multiple of [`ALIGNMENT`], if there is one.
pub(crate) fn align(offset: u64) -> Option<u64> {
    offset.checked_next_multiple_of(ALIGNMENT)
}
