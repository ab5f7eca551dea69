//! The bytes each id stands for.
//!
//! Every decoder that is read works on one token at a time, but for one thing: some take a space away from
//! the front of the whole text. That is kept apart, so that ids can become text as they come.

use std::collections::HashMap;

use crate::model::tokenizer::json::byte_char;

/// How tokens become bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoder {
    /// Characters of GPT-2's alphabet are bytes.
    ByteLevel,
    /// Texts are replaced, then `<0xAB>` is a byte.
    Pieces {
        /// What is replaced by what.
        replace: Vec<(String, String)>,
        /// Whether single bytes are known.
        bytes: bool,
    },
}

impl Decoder {
    /// The bytes of a token.
    pub fn bytes(&self, token: &str, alphabet: &HashMap<char, u8>) -> Vec<u8> {
        match self {
            Self::ByteLevel => {
                let bytes = token.chars().map(|character| alphabet.get(&character).copied());
                bytes.collect::<Option<_>>().unwrap_or_else(|| token.as_bytes().to_vec())
            }
            Self::Pieces { replace, .. } => match self.single(token) {
                Some(byte) => vec![byte],
                None => replaced(token, replace).into_bytes(),
            },
        }
    }

    /// The byte of a token that stands for a single one.
    pub fn single(&self, token: &str) -> Option<u8> {
        match self {
            Self::Pieces { replace, bytes: true } => single_byte(&replaced(token, replace)),
            _ => None,
        }
    }
}

fn replaced(token: &str, replace: &[(String, String)]) -> String {
    replace.iter().fold(token.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// GPT-2's alphabet, read.
pub fn alphabet() -> HashMap<char, u8> {
    (0..=255).map(|byte| (byte_char(byte), byte)).collect()
}

/// The byte that `<0xAB>` means.
fn single_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}
