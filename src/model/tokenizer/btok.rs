//! `BTOK`: every byte is an id, and there are no others but the four specials.
//!
//! ```text
//!  0        4         8            12     16     20     24     28
//! +--------+---------+------------+------+------+------+------+
//! | "BTOK" | version | vocab_size | BOS  | EOS  | PAD  | UNK  |
//! |        |  u32 1  |  u32 260   | u32  | u32  | u32  | u32  |
//! +--------+---------+------------+------+------+------+------+
//! ```
//!
//! The version number and the order of the specials are our reading.

use super::{FIRST_PIECE, SPECIALS, SectionReader, TokenizerError, check_specials};

/// How the section begins.
pub const MAGIC: [u8; 4] = *b"BTOK";

/// Bytes and specials.
pub const VOCAB_SIZE: u32 = FIRST_PIECE;

const VERSION: u32 = 1;

/// All 256 bytes in order, so that one of them can be borrowed.
static BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut i = 0;
    while i < 256 {
        bytes[i] = i as u8;
        i += 1;
    }
    bytes
};

/// The text of a byte's id.
pub(super) fn byte(id: u8) -> &'static [u8] {
    std::slice::from_ref(&BYTES[usize::from(id)])
}

/// Checks a section; there is nothing in it to keep.
pub(super) fn check(bytes: &[u8]) -> Result<(), TokenizerError> {
    let mut section = SectionReader::new(bytes);
    section.take(4, "the magic")?;
    let [version, vocab_size] = section.u32s("the version and vocabulary size")?;
    if version != VERSION {
        return Err(TokenizerError::Version { found: version });
    }
    if vocab_size != VOCAB_SIZE {
        return Err(TokenizerError::VocabSize { found: vocab_size, expected: "260, as for every BTOK" });
    }
    check_specials(section.u32s("the special ids")?)?;
    section.end()
}

/// The one section there is.
pub(super) fn section() -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for word in [VERSION, VOCAB_SIZE].iter().chain(&SPECIALS) {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes
}
