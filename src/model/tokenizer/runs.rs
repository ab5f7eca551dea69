//! Text of ids of which some are single bytes and all others are characters, with the [`Tokenizer`] whole.

use super::{Tokenizer, TokenizerError};

/// Text that is made of ids, where some tokens are single bytes and all others are characters. The library reads the
/// bytes between two characters together: where they are no text, each of them becomes U+FFFD, those of whole
/// characters among them.
#[derive(Debug, Default)]
struct Runs {
    text: String,
    run: Vec<u8>,
}

impl Runs {
    /// Takes a token; one without bytes is special, and skipped.
    fn push(&mut self, bytes: &[u8], is_single: bool) {
        if !is_single && !bytes.is_empty() {
            self.end_run();
            self.text.push_str(&String::from_utf8_lossy(bytes));
        } else {
            self.run.extend_from_slice(bytes);
        }
    }

    fn end_run(&mut self) {
        match std::str::from_utf8(&self.run) {
            Ok(text) => self.text.push_str(text),
            Err(_) => self.text.push_str(&unreadable(self.run.len())),
        }
        self.run.clear();
    }

    /// The text of all.
    fn finish(mut self) -> String {
        self.end_run();
        self.text
    }
}

/// What stands for single bytes that are no text.
pub(super) fn unreadable(bytes: usize) -> String {
    "\u{fffd}".repeat(bytes)
}

impl Tokenizer {
    /// The text of ids behind others, where some of this tokenizer's are single bytes beside characters; nothing of
    /// other tokenizers, whose text a [`super::TextStream`] gives as it comes.
    ///
    /// # Errors
    ///
    /// If an id is none of the tokenizer's.
    pub fn text_of_runs(&self, ids: &[u32]) -> Result<Option<String>, TokenizerError> {
        let Self::HuggingFace(tokenizer) = self else { return Ok(None) };
        if !tokenizer.has_singles() {
            return Ok(None);
        }
        let mut runs = Runs::default();
        for id in ids {
            runs.push(self.bytes(*id)?, tokenizer.is_single(*id));
        }
        Ok(Some(runs.finish()))
    }

    /// Whether an id is a single byte, beside tokens that are characters.
    pub(super) fn is_single(&self, id: u32) -> bool {
        matches!(self, Self::HuggingFace(tokenizer) if tokenizer.is_single(id))
    }
}
