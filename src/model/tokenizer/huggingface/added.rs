//! Added tokens: texts that are one id wherever they stand.
//!
//! Those that are not `normalized` are looked for in the text as it came, the others in what the
//! normaliser made of the text between. Of several that begin at one place the longest is taken.

use std::ops::Range;

use super::normalize::Normalizer;
use crate::model::tokenizer::TokenizerError;

/// One added token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedToken {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub content: String,
    /// Whether it must not touch a letter, digit or underscore.
    pub single_word: bool,
    /// Whether it takes the white space before it.
    pub lstrip: bool,
    /// Whether it takes the white space after it.
    pub rstrip: bool,
    /// Whether it is looked for in normalised text.
    pub normalized: bool,
    /// Whether it stands for no text.
    pub special: bool,
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'t> {
    /// An added token.
    Token(u32),
    /// What lies between; never empty.
    Text {
        /// The text.
        text: &'t str,
        /// Whether it is the beginning of the whole.
        first: bool,
    },
}

/// All added tokens of a tokenizer.
#[derive(Debug, Clone, Default)]
pub struct Added {
    raw: Table,
    normalized: Table,
}

impl Added {
    /// Sorts tokens into those looked for before and after normalising.
    ///
    /// # Errors
    ///
    /// As [`Normalizer::apply`], of the content of a token.
    pub fn new(tokens: Vec<AddedToken>, normalizer: &Normalizer) -> Result<Self, TokenizerError> {
        let (normalized, raw): (Vec<_>, Vec<_>) = tokens.into_iter().partition(|token| token.normalized);
        let normalized = normalized.into_iter().map(|token| {
            let content = normalizer.apply(&token.content)?.into_owned();
            Ok(AddedToken { content, ..token })
        });
        let normalized = normalized.collect::<Result<_, TokenizerError>>()?;
        Ok(Self { raw: Table::new(raw), normalized: Table::new(normalized) })
    }

    /// The tokens looked for before normalising, and those after.
    pub fn tables(&self) -> [&[AddedToken]; 2] {
        [&self.raw.tokens, &self.normalized.tokens]
    }

    /// Cuts a text as it came.
    pub fn cut_raw<'t>(&self, text: &'t str) -> Vec<Part<'t>> {
        self.raw.cut(text)
    }

    /// Cuts a normalised text.
    pub fn cut_normalized<'t>(&self, text: &'t str) -> Vec<Part<'t>> {
        self.normalized.cut(text)
    }
}

/// Tokens by their first byte, longest first.
#[derive(Debug, Clone, Default)]
struct Table {
    tokens: Vec<AddedToken>,
    by_first: Vec<Vec<usize>>,
}

impl Table {
    fn new(mut tokens: Vec<AddedToken>) -> Self {
        tokens.retain(|token| !token.content.is_empty());
        let mut by_first = vec![Vec::new(); if tokens.is_empty() { 0 } else { 256 }];
        for (index, token) in tokens.iter().enumerate() {
            by_first[usize::from(token.content.as_bytes()[0])].push(index);
        }
        for indices in &mut by_first {
            indices.sort_by_key(|index| std::cmp::Reverse(tokens[*index].content.len()));
        }
        Self { tokens, by_first }
    }

    fn cut<'t>(&self, text: &'t str) -> Vec<Part<'t>> {
        let mut parts = Vec::new();
        let mut between = |range: Range<usize>, token: Option<u32>| {
            if !range.is_empty() {
                parts.push(Part::Text { text: &text[range.clone()], first: range.start == 0 });
            }
            parts.extend(token.map(Part::Token));
        };
        let (mut done, mut at) = (0, 0);
        while let Some((token, start)) = self.next(text, at) {
            let end = start + token.content.len();
            at = end;
            if start < done || token.single_word && !stands_alone(text, start..end) {
                continue;
            }
            let start = if token.lstrip { text[..start].trim_end().len().max(done) } else { start };
            let end = if token.rstrip { text.len() - text[end..].trim_start().len() } else { end };
            between(done..start, Some(token.id));
            done = end;
        }
        between(done..text.len(), None);
        parts
    }

    /// The first token from `at` on.
    fn next(&self, text: &str, at: usize) -> Option<(&AddedToken, usize)> {
        if self.tokens.is_empty() {
            return None;
        }
        (at..text.len()).find_map(|start| {
            let rest = &text.as_bytes()[start..];
            let candidates = self.by_first[usize::from(rest[0])].iter().map(|index| &self.tokens[*index]);
            let mut candidates = candidates.into_iter();
            let token = candidates.find(|token| rest.starts_with(token.content.as_bytes()))?;
            Some((token, start))
        })
    }
}

fn stands_alone(text: &str, range: Range<usize>) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    !text[..range.start].ends_with(word) && !text[range.end..].starts_with(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u32, content: &str) -> AddedToken {
        AddedToken {
            id,
            content: content.to_owned(),
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
            special: true,
        }
    }

    fn shown(added: &Added, text: &str) -> String {
        let show = |part: Part<'_>| match part {
            Part::Token(id) => format!("<{id}>"),
            Part::Text { text, first } => format!("{}{text}", if first { "^" } else { "" }),
        };
        added.cut_raw(text).into_iter().map(show).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn the_longest_at_the_first_place_is_taken() {
        let added =
            Added::new(vec![token(1, "<s>"), token(2, "<s>x"), token(3, "é")], &Normalizer::default())
                .unwrap();
        assert_eq!(shown(&added, "a<s>xé<s>b"), "^a|<2>|<3>|<1>|b");
        assert_eq!(shown(&added, ""), "");
        assert_eq!(shown(&added, "<s"), "^<s");
    }

    #[test]
    fn white_space_and_words_beside_it() {
        let mut tokens = vec![token(1, "<m>"), token(2, "<w>")];
        tokens[0].lstrip = true;
        tokens[0].rstrip = true;
        tokens[1].single_word = true;
        let added = Added::new(tokens, &Normalizer::default()).unwrap();
        assert_eq!(shown(&added, "a  <m> \n b"), "^a|<1>|b");
        assert_eq!(shown(&added, "a<w> <w>b <w>."), "^a<w> <w>b |<2>|.");
        assert_eq!(shown(&added, "<m> <m>"), "<1>|<1>");
    }
}
