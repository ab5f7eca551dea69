//! Text as it is generated: ids arrive one by one, and a character may need several of them.

use super::{Tokenizer, TokenizerError};

/// Collects the bytes of ids and hands out text as soon as it is whole.
#[derive(Debug, Clone, Default)]
pub struct TextStream {
    pending: Vec<u8>,
}

impl TextStream {
    /// An empty stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an id, returns the text that is now whole (often nothing). Bytes that can no longer
    /// become a character are replaced by U+FFFD.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::UnknownId`] of an id that stands for nothing; it changes nothing.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> Result<String, TokenizerError> {
        self.pending.extend_from_slice(tokenizer.bytes(id)?);
        let keep = unfinished(&self.pending);
        let whole: Vec<u8> = self.pending.drain(..self.pending.len() - keep).collect();
        Ok(String::from_utf8_lossy(&whole).into_owned())
    }

    /// What is left at the end; a character cut short is replaced by U+FFFD.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

/// How many bytes at the end may still become a character.
fn unfinished(bytes: &[u8]) -> usize {
    bytes
        .utf8_chunks()
        .last()
        .map(|chunk| chunk.invalid())
        .filter(|invalid| bytes.ends_with(invalid) && could_continue(invalid))
        .map_or(0, <[u8]>::len)
}

/// Whether more bytes can make these one character: an error of unknown length means the input
/// ended too early, not that it is wrong.
fn could_continue(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn characters_come_out_whole() {
        let mut stream = TextStream::new();
        let mut push = |id| stream.push(&Tokenizer::Btok, id).unwrap();
        assert_eq!(push(u32::from(b'a')), "a");
        assert_eq!(push(0xe2), "");
        assert_eq!(push(0x82), "");
        assert_eq!(push(0xac), "€");
        assert_eq!(push(0xff), "\u{fffd}");
        assert_eq!(push(0xc3), "");
        assert_eq!(stream.finish(), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn is_the_lossy_text_of_all_bytes(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut stream = TextStream::new();
            let mut text = String::new();
            for byte in &bytes {
                text += &stream.push(&Tokenizer::Btok, u32::from(*byte)).unwrap();
            }
            text += &stream.finish();
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }
    }
}
