//! GGUF, the container of the ggml family of runtimes (version 2 and 3, little-endian).
//!
//! ```text
//! "GGUF" | version u32 | tensors u64 | facts u64 | facts ... | tensor table ... | pad | payloads, aligned
//! ```
//!
//! A fact is a name, a type and a value (`general.architecture`, `llama.block_count`, the tokenizer's
//! tables). The tensor table gives names, dimensions (fastest first), encodings and offsets.
//!
//! Read here: F32, F16, BF16, F64 and Q8_0 tensors; other quantisations are refused by their names.
//! The same are written.
//!
//! The architectures `llama`, `qwen2`, `qwen3`, `olmo2` and `gemma3` are given a meaning.
//!
//! * [`architecture`]: what each of them can say, and how its rows lie.
//! * [`facts`]: the facts, parsed with every length checked against the bytes there are.
//! * [`mod@read`]: a whole file to tensors and facts.
//! * [`mod@write`]: every offset known before the first byte; then tensors in pieces.
//! * [`meaning`]: facts to a configuration and back. `vocabulary`: to a tokenizer; `exact`: to one of SLM1's;
//!   `tables`, and `pieces` of characters: from one. `chat`: templates and the names of special tokens;
//!   `generation`: how answers are drawn.
//!   [`rope_freqs`]: how rotary frequencies are scaled, from the tensor that says it and to it.
//!
//! Source: the GGUF specification in ggml's documentation, version 3.

pub mod architecture;
#[cfg(feature = "engine")]
pub mod chat;
#[cfg(feature = "engine")]
pub mod exact;
pub mod facts;
#[cfg(feature = "engine")]
pub mod generation;
pub mod meaning;
#[cfg(feature = "engine")]
mod pieces;
pub mod read;
pub mod rope_freqs;
#[cfg(feature = "engine")]
pub mod tables;
#[cfg(test)]
mod tests;
#[cfg(feature = "engine")]
pub mod vocabulary;
pub mod write;

pub use architecture::Architecture;
pub use facts::{Fact, Facts};
pub use read::{Gguf, GgufError, read};

use crate::tensor::dtype::DType;

/// How records name the format.
pub const NAME: &str = "gguf";

/// The first four bytes.
pub const MAGIC: [u8; 4] = *b"GGUF";

/// Payloads begin at multiples of this unless `general.alignment` says otherwise.
pub const DEFAULT_ALIGNMENT: u64 = 32;

/// The encodings that are read, by their code.
const ENCODINGS: [(u32, DType); 5] =
    [(0, DType::F32), (1, DType::F16), (8, DType::GgmlQ8_0), (28, DType::F64), (30, DType::BF16)];

/// The encodings that files hold.
pub const WRITTEN: [DType; 5] = [DType::F32, DType::F16, DType::GgmlQ8_0, DType::F64, DType::BF16];

/// Names of the other codes, so that a refusal can say what it met.
const OTHERS: [(u32, &str); 30] = [
    (2, "Q4_0"),
    (3, "Q4_1"),
    (6, "Q5_0"),
    (7, "Q5_1"),
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (12, "Q4_K"),
    (13, "Q5_K"),
    (14, "Q6_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (4, "Q4_2 (removed)"),
    (5, "Q4_3 (removed)"),
    (36, "IQ4_NL_4_4 (removed)"),
];

/// The code of an encoding, if GGUF has it.
pub fn code(dtype: DType) -> Option<u32> {
    ENCODINGS.iter().find(|(_, known)| *known == dtype).map(|(code, _)| *code)
}

fn encoding(code: u32) -> Option<DType> {
    ENCODINGS.iter().find(|(known, _)| *known == code).map(|(_, dtype)| *dtype)
}

fn name_of(code: u32) -> &'static str {
    OTHERS.iter().find(|(known, _)| *known == code).map_or("unknown", |(_, name)| name)
}
