//! How text becomes ids and ids become text.
//!
//! Both SLM1 tokenizers stand on the same 260 ids, so any UTF-8 text can be encoded by either:
//!
//! ```text
//!   0..=255   one byte each
//!   256 BOS   257 EOS   258 PAD   259 UNK
//!   260..     longer pieces of text (BPE1 only)
//! ```
//!
//! * [`btok`]: bytes and nothing else.
//! * [`bpe1`]: bytes, then merges of adjacent pairs.
//! * [`json`]: both as Hugging Face's `tokenizer.json`.
//! * [`vocabulary`]: which tokens a model has, and where two vocabularies differ.
//! * [`files`]: whether two models have the same, where their files are not read here.
//! * [`alike`]: whether those of two models at hand give the same ids, in whatever words.
//! * `huggingface`: other people's `tokenizer.json`, whose ids are their own. `runs`: the text of those that are single
//!   bytes beside characters.
//!
//! A tokenizer has one canonical section, the bytes [`Tokenizer::to_section`] writes. Its digest is
//! the tokenizer's identity: two models may only be mixed if their ids mean the same.

pub mod alike;
pub mod bpe1;
pub mod btok;
pub mod files;
#[cfg(feature = "engine")]
pub mod huggingface;
pub mod json;
#[cfg(feature = "engine")]
mod runs;
mod stream;
pub mod vocabulary;

use crate::base::digest::Digest;

pub use bpe1::{Bpe1, Merge};
#[cfg(feature = "engine")]
pub use huggingface::HfTokenizer;
pub use stream::TextStream;

/// Beginning of a sequence.
pub const BOS: u32 = 256;
/// End of a sequence.
pub const EOS: u32 = 257;
/// Filler that stands for nothing.
pub const PAD: u32 = 258;
/// Stands for something that cannot be said; decoded as `?`.
pub const UNK: u32 = 259;
/// First id after bytes and specials.
pub const FIRST_PIECE: u32 = 260;

/// The specials in the order in which sections store them. The published text names the four but
/// not their order; this is the likeliest one, and the only place that knows it.
const SPECIALS: [u32; 4] = [BOS, EOS, PAD, UNK];

/// Why a tokenizer section or a list of ids cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenizerError {
    /// Neither magic.
    #[error("the tokenizer section begins with {found:?}; expected `BTOK` or `BPE1`")]
    Magic {
        /// Its first bytes, at most four.
        found: String,
    },
    /// A length that is not what the section's own counts say.
    #[error("the tokenizer section has {found} bytes where {expected} are needed for {what}")]
    Length {
        /// What the bytes were needed for.
        what: &'static str,
        /// Bytes needed, from the start of the section.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// A version this reader does not know.
    #[error("tokenizer version {found} is not known; expected 1")]
    Version {
        /// The version found.
        found: u32,
    },
    /// A vocabulary size that cannot be.
    #[error("the tokenizer's vocabulary size is {found}; expected {expected}")]
    VocabSize {
        /// The size found.
        found: u32,
        /// What was possible.
        expected: &'static str,
    },
    /// Special ids that are not 256..=259.
    #[error("the tokenizer's special ids are {found:?}; expected the four ids 256, 257, 258, 259")]
    Specials {
        /// The ids found.
        found: [u32; 4],
    },
    /// A token record with an id outside the vocabulary, or with other bytes than its id stands for.
    #[error("token record {record} has id {id}; {expected}")]
    TokenId {
        /// Index of the record.
        record: u32,
        /// Its id.
        id: u32,
        /// What was expected.
        expected: &'static str,
    },
    /// The same id twice.
    #[error("token id {id} has two records")]
    DuplicateToken {
        /// The id.
        id: u32,
    },
    /// A token without bytes.
    #[error("token id {id} has no bytes")]
    EmptyToken {
        /// The id.
        id: u32,
    },
    /// A merge that names an id outside the vocabulary.
    #[error("merge {merge} names id {id}; the vocabulary ends at {vocab_size}")]
    MergeId {
        /// Index of the merge.
        merge: u32,
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        vocab_size: u32,
    },
    /// A merge whose output has no token.
    #[error("merge {merge} makes id {id}, which has no token record")]
    MergeOutput {
        /// Index of the merge.
        merge: u32,
        /// Its output.
        id: u32,
    },
    /// More tokens or merges, or longer ones, than a section can count.
    #[error("a tokenizer section cannot hold so many tokens or bytes")]
    TooLarge,
    /// An id that stands for nothing.
    #[error("id {id} stands for no text in this tokenizer")]
    UnknownId {
        /// The id.
        id: u32,
    },
    /// A text that a pattern of the tokenizer was not searched to the end of.
    #[error(
        "the text cannot be cut into tokens: searching its {bytes} bytes for the tokenizer's pattern {pattern:?} \
         was given up ({why}); shorten its longest word"
    )]
    Search {
        /// The pattern.
        pattern: String,
        /// Length of the text that it was searched for in.
        bytes: usize,
        /// What the search says.
        why: String,
    },
    /// Bytes that are no text.
    #[error("the ids decode to bytes that are not UTF-8, at byte {at}")]
    NotUtf8 {
        /// How many bytes before were good.
        at: usize,
    },
}

/// A tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tokenizer {
    /// Bytes and specials.
    Btok,
    /// Byte-pair merges on top; shared, so a clone costs nothing.
    Bpe1(std::sync::Arc<Bpe1>),
    /// Another model family's, as its `tokenizer.json` says.
    #[cfg(feature = "engine")]
    HuggingFace(std::sync::Arc<HfTokenizer>),
}

impl Tokenizer {
    /// The names of the tokenizers that are known.
    pub const KINDS: [&str; 3] = ["BTOK", "BPE1", "tokenizer.json"];

    /// Reads a tokenizer section.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Magic`] of what is neither BTOK nor BPE1; [`TokenizerError::Version`],
    /// [`TokenizerError::Length`] or [`TokenizerError::Specials`] of a section that is not as it says; else as
    /// [`Bpe1::new`].
    pub fn from_section(bytes: &[u8]) -> Result<Self, TokenizerError> {
        match bytes.first_chunk::<4>() {
            Some(&btok::MAGIC) => btok::check(bytes).map(|()| Self::Btok),
            Some(&bpe1::MAGIC) => Bpe1::from_section(bytes).map(|bpe| Self::Bpe1(bpe.into())),
            _ => Err(TokenizerError::Magic { found: bytes[..bytes.len().min(4)].escape_ascii().to_string() }),
        }
    }

    /// The canonical section. That of a `tokenizer.json` is its canonical JSON, which is no SLM1 section.
    pub fn to_section(&self) -> Vec<u8> {
        match self {
            Self::Btok => btok::section(),
            Self::Bpe1(bpe) => bpe.to_section(),
            #[cfg(feature = "engine")]
            Self::HuggingFace(tokenizer) => tokenizer.section().to_vec(),
        }
    }

    /// BLAKE3 of the canonical section.
    pub fn digest(&self) -> Digest {
        match self {
            #[cfg(feature = "engine")]
            Self::HuggingFace(tokenizer) => tokenizer.digest(),
            _ => Digest::of(&self.to_section()),
        }
    }

    /// A digest of what gives ids: that of the section, or of a `tokenizer.json` what is left of it without
    /// words that change no id. For [`alike`] alone: no record has it.
    pub(super) fn meaning(&self) -> Digest {
        match self {
            #[cfg(feature = "engine")]
            Self::HuggingFace(tokenizer) => tokenizer.meaning(),
            _ => self.digest(),
        }
    }

    /// Whether an `.slm` file can hold it.
    pub fn is_slm1(&self) -> bool {
        matches!(self, Self::Btok | Self::Bpe1(_))
    }

    /// One of [`Self::KINDS`].
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Btok => Self::KINDS[0],
            Self::Bpe1(_) => Self::KINDS[1],
            #[cfg(feature = "engine")]
            Self::HuggingFace(_) => Self::KINDS[2],
        }
    }

    /// Number of ids.
    pub fn vocab_size(&self) -> u32 {
        match self {
            Self::Btok => btok::VOCAB_SIZE,
            Self::Bpe1(bpe) => bpe.vocab_size(),
            #[cfg(feature = "engine")]
            Self::HuggingFace(tokenizer) => tokenizer.vocab_size(),
        }
    }

    /// How many rows a matrix must have: one for each id, but for special tokens behind all others that stand
    /// for nothing the model says or is told of itself. A text that names one of those has an id without a row.
    pub fn rows(&self) -> u32 {
        match self {
            #[cfg(feature = "engine")]
            Self::HuggingFace(tokenizer) => tokenizer.rows(),
            _ => self.vocab_size(),
        }
    }

    /// The ids of `text` between those that open and close a sequence: BOS and EOS, or what a
    /// `tokenizer.json` puts around a text.
    ///
    /// # Errors
    ///
    /// As [`Self::encode_text`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = self.encode_prompt(text)?;
        match self {
            #[cfg(feature = "engine")]
            Self::HuggingFace(tokenizer) => ids.extend(tokenizer.around()[1]),
            _ => ids.push(EOS),
        }
        Ok(ids)
    }

    /// The ids a model continues: as [`Self::encode`], without those that close a sequence.
    ///
    /// # Errors
    ///
    /// As [`Self::encode_text`].
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = match self {
            #[cfg(feature = "engine")]
            Self::HuggingFace(tokenizer) => tokenizer.around()[0].to_vec(),
            _ => vec![BOS],
        };
        ids.extend(self.encode_text(text)?);
        Ok(ids)
    }

    /// The ids of `text` with one before them from which the first follows: where nothing is put before a
    /// text that is BOS, else EOS, as in lm-evaluation-harness. None if the model says neither.
    ///
    /// # Errors
    ///
    /// As [`Self::encode_text`].
    pub fn encode_whole(&self, text: &str) -> Result<Option<Vec<u32>>, TokenizerError> {
        let ids = self.encode_prompt(text)?;
        #[cfg(feature = "engine")]
        if let Self::HuggingFace(tokenizer) = self
            && tokenizer.around()[0].is_empty()
        {
            let before = tokenizer.begin().or(tokenizer.ends().first().copied());
            return Ok(before.map(|before| std::iter::once(before).chain(ids).collect()));
        }
        Ok(Some(ids))
    }

    /// The ids of `text` and nothing around them.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Search`] if a pattern of a `tokenizer.json` took too long to be searched for; of BTOK
    /// and BPE1 never.
    pub fn encode_text(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Vec::with_capacity(text.len());
        match self {
            Self::Btok => ids.extend(text.bytes().map(u32::from)),
            Self::Bpe1(bpe) => bpe.encode_into(text.as_bytes(), &mut ids),
            #[cfg(feature = "engine")]
            Self::HuggingFace(tokenizer) => tokenizer.encode_into(text, &mut ids)?,
        }
        Ok(ids)
    }

    /// Whether an answer ends where a model chooses this id.
    pub fn is_end(&self, id: u32) -> bool {
        match self {
            #[cfg(feature = "engine")]
            Self::HuggingFace(tokenizer) => tokenizer.ends().contains(&id),
            _ => id == EOS,
        }
    }

    /// The bytes an id stands for: none for BOS, EOS, PAD and other special ones, `?` for UNK.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::UnknownId`] of any other id.
    pub fn bytes(&self, id: u32) -> Result<&[u8], TokenizerError> {
        match (id, self) {
            #[cfg(feature = "engine")]
            (_, Self::HuggingFace(tokenizer)) => tokenizer.bytes(id).ok_or(TokenizerError::UnknownId { id }),
            (BOS | EOS | PAD, _) => Ok(b""),
            (UNK, _) => Ok(b"?"),
            (0..=255, _) => Ok(btok::byte(id as u8)),
            (_, Self::Bpe1(bpe)) => bpe.piece(id).ok_or(TokenizerError::UnknownId { id }),
            (_, Self::Btok) => Err(TokenizerError::UnknownId { id }),
        }
    }

    /// The text of `ids`.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::UnknownId`] of an id that stands for nothing; [`TokenizerError::NotUtf8`] if the bytes
    /// are not UTF-8 as a whole.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        let bytes = self.decode_bytes(ids)?;
        String::from_utf8(bytes)
            .map_err(|error| TokenizerError::NotUtf8 { at: error.utf8_error().valid_up_to() })
    }

    /// The text of `ids`, each malformed part replaced by U+FFFD.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::UnknownId`] of an id that stands for nothing: it cannot come from this tokenizer.
    pub fn decode_lossy(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        #[cfg(feature = "engine")]
        if let (Self::HuggingFace(tokenizer), Some(mut text)) = (self, self.text_of_runs(ids)?) {
            if tokenizer.strips_space() && text.starts_with(' ') {
                text.remove(0);
            }
            return Ok(text);
        }
        Ok(String::from_utf8_lossy(&self.decode_bytes(ids)?).into_owned())
    }

    fn decode_bytes(&self, ids: &[u32]) -> Result<Vec<u8>, TokenizerError> {
        let mut bytes = Vec::with_capacity(ids.len());
        for id in ids {
            bytes.extend_from_slice(self.bytes(*id)?);
        }
        #[cfg(feature = "engine")]
        if let Self::HuggingFace(tokenizer) = self
            && tokenizer.strips_space()
            && bytes.first() == Some(&b' ')
        {
            bytes.remove(0);
        }
        Ok(bytes)
    }
}

/// Checks the four special ids of a section. Any order is accepted, since the order is not
/// published; the ids themselves are.
fn check_specials(found: [u32; 4]) -> Result<(), TokenizerError> {
    let mut sorted = found;
    sorted.sort_unstable();
    if sorted == [BOS, EOS, PAD, UNK] { Ok(()) } else { Err(TokenizerError::Specials { found }) }
}

/// A section read from front to back; every shortfall says what was being read.
struct SectionReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> SectionReader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], TokenizerError> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..count) else {
            let (expected, found) = (self.at as u64 + count as u64, self.bytes.len() as u64);
            return Err(TokenizerError::Length { what, expected, found });
        };
        self.at += count;
        Ok(taken)
    }

    fn u32s<const N: usize>(&mut self, what: &'static str) -> Result<[u32; N], TokenizerError> {
        let bytes = self.take(4 * N, what)?.as_chunks::<4>().0;
        Ok(std::array::from_fn(|i| u32::from_le_bytes(bytes[i])))
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn end(&self) -> Result<(), TokenizerError> {
        if self.left() == 0 {
            return Ok(());
        }
        let (expected, found) = (self.at as u64, self.bytes.len() as u64);
        Err(TokenizerError::Length { what: "the whole tokenizer, and nothing after it", expected, found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn the() -> Tokenizer {
        let tokens = vec![(260, b"th".to_vec()), (261, b"the".to_vec())];
        let merges = vec![
            Merge { left: 116, right: 104, output: 260, rank: 0 },
            Merge { left: 260, right: 101, output: 261, rank: 1 },
        ];
        Tokenizer::Bpe1(Bpe1::new(262, tokens, merges).unwrap().into())
    }

    #[test]
    fn the_published_vector() {
        assert_eq!(the().vocab_size(), 262);
        assert_eq!(the().encode_prompt("the").unwrap(), [256, 261]);
        assert_eq!(the().encode("the").unwrap(), [256, 261, 257]);
    }

    #[test]
    fn bytes_become_ids_one_by_one() {
        let tokenizer = Tokenizer::Btok;
        assert_eq!(tokenizer.encode("hé").unwrap(), [256, 0x68, 0xc3, 0xa9, 257]);
        assert_eq!(tokenizer.encode_prompt("").unwrap(), [256]);
        assert_eq!(tokenizer.decode(&[256, 0x68, 258, 259, 257]).unwrap(), "h?");
        assert_eq!(tokenizer.decode(&[0x68, 0xc3]), Err(TokenizerError::NotUtf8 { at: 1 }));
        assert_eq!(tokenizer.decode_lossy(&[0x68, 0xc3]).unwrap(), "h\u{fffd}");
        assert_eq!(tokenizer.decode(&[260]), Err(TokenizerError::UnknownId { id: 260 }));
    }

    #[test]
    fn the_canonical_section_is_the_identity() {
        assert_eq!(Tokenizer::Btok.to_section().len(), 28);
        for tokenizer in [Tokenizer::Btok, the()] {
            let section = tokenizer.to_section();
            let again = Tokenizer::from_section(&section).unwrap();
            assert_eq!(again, tokenizer);
            assert_eq!(again.to_section(), section);
            assert_eq!(again.digest(), Digest::of(&section));
        }
        assert_ne!(Tokenizer::Btok.digest(), the().digest());
    }

    #[test]
    fn any_order_of_the_specials_is_read_and_one_is_written() {
        let mut section = Tokenizer::Btok.to_section();
        section[12..28].rotate_left(4);
        let read = Tokenizer::from_section(&section).unwrap();
        assert_eq!(read, Tokenizer::Btok);
        assert_eq!(read.to_section(), Tokenizer::Btok.to_section());
    }

    /// Every prefix and every flipped byte of both sections is read or refused, never a panic.
    #[test]
    fn damaged_sections_are_read_or_refused() {
        for tokenizer in [Tokenizer::Btok, the()] {
            let section = tokenizer.to_section();
            for end in 0..section.len() {
                assert!(Tokenizer::from_section(&section[..end]).is_err(), "cut at {end}");
            }
            let mut longer = section.clone();
            longer.push(0);
            assert!(matches!(Tokenizer::from_section(&longer), Err(TokenizerError::Length { .. })));
            for at in 0..section.len() {
                for flip in [1, 0x80, 0xff] {
                    let mut damaged = section.clone();
                    damaged[at] ^= flip;
                    if let Ok(read) = Tokenizer::from_section(&damaged) {
                        let _ = read.decode(&read.encode("the other").unwrap()).unwrap_or_default();
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn text_survives(text in ".*") {
            for tokenizer in [Tokenizer::Btok, the()] {
                prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text).unwrap()).unwrap(), text.clone());
            }
        }

        #[test]
        fn arbitrary_sections_are_read_or_refused(
            magic in prop::sample::select(vec![btok::MAGIC, bpe1::MAGIC]),
            words in prop::collection::vec(prop_oneof![0_u32..300, any::<u32>()], 0..20),
        ) {
            let mut section = magic.to_vec();
            section.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            let _ = Tokenizer::from_section(&section);
        }
    }
}
