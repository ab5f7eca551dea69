//! Text as it is generated: ids arrive one by one, and a character may need several of them.
//!
//! Where single bytes stand beside tokens that are characters, a byte that is no text makes all of those next to it
//! none ([`Tokenizer::text_of_runs`]). What was handed out before it stays; the text of the whole answer is made anew
//! once it is there.

#[cfg(feature = "engine")]
use super::runs::unreadable;
use super::{Tokenizer, TokenizerError};

/// Collects the bytes of ids and hands out text as soon as it is whole.
#[derive(Debug, Clone, Default)]
pub struct TextStream {
    pending: Vec<u8>,
    /// Of single bytes beside characters.
    #[cfg(feature = "engine")]
    run: Run,
}

/// Where in a run of single bytes a stream is.
#[cfg(feature = "engine")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Run {
    /// In none.
    #[default]
    None,
    /// What came of it may be text.
    Open,
    /// It is none.
    Broken,
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
        let bytes = tokenizer.bytes(id)?;
        #[cfg(feature = "engine")]
        let ended = match (tokenizer.is_single(id), bytes) {
            (true, _) => return Ok(self.push_single(bytes)),
            // Special tokens are no part of the text.
            (false, []) => return Ok(String::new()),
            (false, _) => self.end_run(),
        };
        self.pending.extend_from_slice(bytes);
        let keep = unfinished(&self.pending);
        let whole: Vec<u8> = self.pending.drain(..self.pending.len() - keep).collect();
        let text = String::from_utf8_lossy(&whole).into_owned();
        #[cfg(feature = "engine")]
        let text = ended + &text;
        Ok(text)
    }

    /// Takes a single byte that stands beside characters.
    #[cfg(feature = "engine")]
    fn push_single(&mut self, byte: &[u8]) -> String {
        if self.run == Run::Broken {
            return unreadable(byte.len());
        }
        self.run = Run::Open;
        self.pending.extend_from_slice(byte);
        let pending = std::mem::take(&mut self.pending);
        match String::from_utf8(pending) {
            Ok(text) => text,
            Err(error) if could_continue(error.as_bytes()) => {
                self.pending = error.into_bytes();
                String::new()
            }
            Err(error) => {
                self.run = Run::Broken;
                unreadable(error.as_bytes().len())
            }
        }
    }

    /// Ends a run of single bytes, and says what is left of it.
    #[cfg(feature = "engine")]
    fn end_run(&mut self) -> String {
        match std::mem::take(&mut self.run) {
            Run::None => String::new(),
            Run::Open | Run::Broken => unreadable(std::mem::take(&mut self.pending).len()),
        }
    }

    /// What is left at the end; a character cut short is replaced by U+FFFD.
    pub fn finish(self) -> String {
        #[cfg(feature = "engine")]
        if self.run != Run::None {
            return unreadable(self.pending.len());
        }
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
