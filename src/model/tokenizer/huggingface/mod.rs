//! Tokenizers of other people's models: `tokenizer.json` with a byte-pair model.
//!
//! ```text
//! text -> added tokens cut out -> normalised -> added tokens cut out -> pieces -> merged pairs -> ids
//!         added                   normalize                             split     bpe
//! ```
//!
//! Both kinds that models of the llama family have are read: byte-level pairs (GPT-2, Llama 3, Qwen2,
//! SmolLM) and pairs of characters with single bytes to fall back on (Llama 2, Mistral). Every step and
//! every key of the file is either carried out as the library `tokenizers` does, which defines the
//! format, or refused by name; chat templates are no part of it.
//!
//! * [`read`]: the file. [`error`]: what it may be refused for.
//! * [`added`]: tokens that are found in the text as they are.
//! * [`normalize`], [`split`], [`bpe`]: the steps between.
//! * [`decode`]: the bytes each id stands for.
//! * `meaning`: what of all this gives ids. [`ways`]: which merges any text is joined by.

pub mod added;
pub mod bpe;
pub mod decode;
pub mod error;
mod meaning;
pub mod normalize;
pub mod read;
pub mod split;
#[cfg(test)]
mod tests;
pub mod ways;

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::TokenizerError;
use crate::base::digest::Digest;
use added::{Added, Part};
use bpe::Bpe;
use normalize::Normalizer;
use split::Splitter;

pub use error::JsonError;

/// A tokenizer as `tokenizer.json` describes it.
#[derive(Debug, Clone)]
pub struct HfTokenizer {
    /// The file without what changes no id, as canonical JSON.
    section: Vec<u8>,
    digest: Digest,
    /// Digest of what gives ids, once somebody asked.
    meaning: OnceLock<Digest>,
    added: Added,
    normalizer: Normalizer,
    splitter: Splitter,
    bpe: Bpe,
    /// Ids before and after those of a text.
    around: [Vec<u32>; 2],
    /// The bytes each id stands for; nothing for ids that are not there.
    tokens: Vec<Option<Box<[u8]>>>,
    /// The ids of single bytes, beside tokens that are characters.
    singles: BTreeSet<u32>,
    /// Whether the first token loses a space when ids become text.
    strips_space: bool,
    /// Ids that end an answer. The model's folder says them; they are no part of the tokenizer's identity.
    ends: Vec<u32>,
    /// The id that begins a sequence, as the model's folder says, whether or not it is put before a text.
    begins: Option<u32>,
}

impl PartialEq for HfTokenizer {
    fn eq(&self, other: &Self) -> bool {
        // An answer ends with any of them, whichever is said first.
        let ends = |it: &Self| it.ends.iter().copied().collect::<BTreeSet<u32>>();
        (self.digest, self.begins) == (other.digest, other.begins) && ends(self) == ends(other)
    }
}

impl Eq for HfTokenizer {}

impl HfTokenizer {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// [`JsonError::Long`] of more than 64 MiB; [`JsonError::Json`] of what is no such JSON;
    /// [`JsonError::Unsupported`] of a step that is not carried out here; [`JsonError::Wrong`] of what cannot
    /// be: a merge of tokens that are not there, say. Both say where.
    pub fn from_json(bytes: &[u8]) -> Result<Self, JsonError> {
        read::read(bytes)
    }

    /// The same tokenizer for a model that ends its answers with these ids.
    #[must_use]
    pub fn with_ends(self, ends: Vec<u32>) -> Self {
        Self { ends, ..self }
    }

    /// Ids that end an answer.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The same tokenizer for a model whose sequences begin with this id, if that is one of its tokens.
    #[must_use]
    pub fn with_begin(self, id: Option<u32>) -> Self {
        let begins = id.filter(|id| self.bytes(*id).is_some());
        Self { begins, ..self }
    }

    /// The id that begins a sequence: the one put before a text, or the one the model's folder says.
    pub fn begin(&self) -> Option<u32> {
        self.around[0].first().copied().or(self.begins)
    }

    /// What makes it what it is: the file as canonical JSON, without what changes no id.
    pub fn section(&self) -> &[u8] {
        &self.section
    }

    /// BLAKE3 of the section.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// A digest of what gives a text its ids and ids their text: the same of two files that only say it in
    /// other words.
    pub fn meaning(&self) -> Digest {
        *self.meaning.get_or_init(|| meaning::digest(self))
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> u32 {
        u32::try_from(self.tokens.len()).unwrap_or(u32::MAX)
    }

    /// One more than the largest id that is not of a special token alone: gemma3 has one for images behind all
    /// others, and its models without images have no row for it.
    pub fn rows(&self) -> u32 {
        let unknown = self.bpe.unknown.map(|(id, _)| id);
        let own = |id: u32| {
            self.around.iter().flatten().chain(&self.ends).any(|own| *own == id)
                || [unknown, self.begins].contains(&Some(id))
        };
        let needed = |id: &u32| own(*id) || self.bytes(*id).is_some_and(|bytes| !bytes.is_empty());
        (0..self.vocab_size()).rev().find(needed).map_or(0, |id| id + 1)
    }

    /// Ids put before those of a text, and after.
    pub fn around(&self) -> [&[u32]; 2] {
        [&self.around[0], &self.around[1]]
    }

    /// The ids of a text, nothing put around them.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Search`] if a pattern took too long to be searched for. What is in `ids` is worthless
    /// then.
    pub fn encode_into(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        for part in self.added.cut_raw(text) {
            match part {
                Part::Token(id) => ids.push(id),
                Part::Text { text, first } => {
                    let normalized = self.normalizer.apply(text)?;
                    let mut begins = first;
                    for part in self.added.cut_normalized(&normalized) {
                        match part {
                            Part::Token(id) => ids.push(id),
                            Part::Text { text, .. } => self.encode_plain(text, begins, ids)?,
                        }
                        begins = false;
                    }
                }
            }
        }
        Ok(())
    }

    /// A text without added tokens; `first` says whether the whole text begins with it.
    fn encode_plain(&self, text: &str, first: bool, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        self.splitter.for_each(text, first, |piece| self.bpe.encode_into(piece, ids))
    }

    /// The bytes an id stands for; none for special tokens.
    pub fn bytes(&self, id: u32) -> Option<&[u8]> {
        self.tokens.get(id as usize)?.as_deref()
    }

    /// Whether an id stands for a single byte, beside tokens that are characters.
    pub fn is_single(&self, id: u32) -> bool {
        self.singles.contains(&id)
    }

    /// Whether some ids are single bytes: then what bytes mean depends on those around them.
    pub fn has_singles(&self) -> bool {
        !self.singles.is_empty()
    }

    /// Whether a space at the very front is no part of a decoded text.
    pub fn strips_space(&self) -> bool {
        self.strips_space
    }
}
