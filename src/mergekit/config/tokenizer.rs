//! What a configuration says of tokens: whose the child has, and how many rows.

use std::ops::Range;

use super::token_rows::TokenRow;
use super::{Entries, Reader, get};

/// What a configuration says of rows by token.
#[derive(Debug, Clone)]
pub struct ByToken {
    /// Where.
    pub place: Range<usize>,
    /// Whose tokens the child has.
    pub source: TokenSource,
    /// Of what the number of rows is a multiple.
    pub padded_to: Option<usize>,
    /// Tokens that the child has besides, and of which it is said where their rows come from.
    pub tokens: Vec<TokenRow>,
}

/// Whose tokens a child has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// Those of the base, or of the first model.
    Base,
    /// Those of all models.
    Union,
    /// Those of this one.
    Model(String),
}

const PADDED: &str = "pad_to_multiple_of";

/// Rows that anybody pads to.
const MOST_ROWS: usize = 1 << 20;

impl Reader {
    /// Rows by token, if the configuration asks for them. Without a word the child's tokenizer is the base's, or the
    /// first model's.
    pub(super) fn tokenizer(&mut self, entries: Entries<'_>) -> Option<ByToken> {
        let plain = get(entries, "tokenizer_source");
        let inner = get(entries, "tokenizer");
        if let (Some(_), Some(inner)) = (plain, inner) {
            let message = "there are `tokenizer_source` and `tokenizer`";
            self.mistake(message, &inner.span, "expected one of them");
        }
        let inner = inner.and_then(|node| self.map(node, "the tokenizer", &["source", "tokens", PADDED]));
        let tokens = inner.map(|inner| self.token_rows(inner)).unwrap_or_default();
        let padding = inner.and_then(|inner| get(inner, PADDED));
        let padded_to =
            padding.and_then(|node| node.whole().filter(|multiple| (1..=MOST_ROWS).contains(multiple)));
        if let (Some(node), None) = (padding, padded_to) {
            let expected = format!("expected a whole number from 1 to {MOST_ROWS}");
            self.mistake(format!("`{PADDED}` is {}", node.describe()), &node.span, expected);
        }
        let (place, source) = match (plain.or_else(|| get(inner?, "source")), inner) {
            (Some(node), _) => {
                let source = match node.text() {
                    Some("base") => TokenSource::Base,
                    Some("union") => TokenSource::Union,
                    _ => TokenSource::Model(self.model(node)?.value),
                };
                (node.span.clone(), source)
            }
            // What mergekit means by a tokenizer without a source.
            (None, Some(_)) => (get(entries, "tokenizer")?.span.clone(), TokenSource::Union),
            (None, None) => return None,
        };
        Some(ByToken { place, source, padded_to, tokens })
    }
}
