//! A text cut into pieces that are encoded apart: the pre-tokenizer.

use std::borrow::Cow;
use std::ops::Range;

use fancy_regex::Regex;

use crate::model::tokenizer::TokenizerError;

/// Steps, one after the other, each on every piece of the one before.
#[derive(Debug, Clone, Default)]
pub struct Splitter(pub Vec<Cut>);

/// One step.
#[derive(Debug, Clone)]
pub enum Cut {
    /// At the matches of a pattern.
    Pattern {
        /// The pattern.
        pattern: Box<Regex>,
        /// What becomes of the matches.
        behavior: Behavior,
        /// Whether what lies between takes the part of the matches.
        invert: bool,
    },
    /// Spaces written as a character of their own, pieces beginning with it.
    Metaspace {
        /// The character.
        replacement: String,
        /// When one is put in front.
        prepend: Prepend,
        /// Whether to cut at all.
        split: bool,
    },
    /// A space put in front of every piece that has none.
    Space,
}

/// What becomes of what a pattern matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[expect(missing_docs, reason = "the names are those of the file")]
pub enum Behavior {
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

/// When a text gets a space in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are those of the file")]
pub enum Prepend {
    Always,
    First,
    Never,
}

/// Where a pattern matches, empty matches apart. A search that costs too much is given up, and with it the
/// text: cut at the matches until then it would have other ids than its own.
pub(super) fn matches(pattern: &Regex, text: &str) -> Result<Vec<Range<usize>>, TokenizerError> {
    let mut ranges = Vec::new();
    for found in pattern.find_iter(text) {
        let range = found
            .map_err(|error| TokenizerError::Search {
                pattern: pattern.as_str().to_owned(),
                bytes: text.len(),
                why: error.to_string(),
            })?
            .range();
        ranges.extend((!range.is_empty()).then_some(range));
    }
    Ok(ranges)
}

impl Splitter {
    /// Hands over every piece; `first` says whether the whole text begins here.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Search`] if a pattern took too long to be searched for; no piece was handed over then.
    pub fn for_each(
        &self,
        text: &str,
        first: bool,
        mut take: impl FnMut(&str),
    ) -> Result<(), TokenizerError> {
        let mut pieces = vec![Cow::Borrowed(text)];
        for cut in &self.0 {
            let mut finer = Vec::with_capacity(pieces.len());
            for (index, piece) in pieces.into_iter().enumerate() {
                cut.apply(piece, first && index == 0, &mut finer)?;
            }
            pieces = finer;
        }
        pieces.iter().filter(|piece| !piece.is_empty()).for_each(|piece| take(piece));
        Ok(())
    }
}

impl Cut {
    fn apply<'t>(
        &self,
        piece: Cow<'t, str>,
        first: bool,
        out: &mut Vec<Cow<'t, str>>,
    ) -> Result<(), TokenizerError> {
        match self {
            Self::Pattern { pattern, behavior, invert } => {
                let ranges = behavior.pieces(&piece, &matches(pattern, &piece)?, *invert);
                match piece {
                    Cow::Borrowed(text) => {
                        out.extend(ranges.into_iter().map(|range| Cow::Borrowed(&text[range])));
                    }
                    Cow::Owned(text) => {
                        out.extend(ranges.into_iter().map(|range| Cow::Owned(text[range].to_owned())));
                    }
                }
            }
            Self::Metaspace { replacement, prepend, split } => {
                let mut text = piece.replace(' ', replacement);
                let wanted = *prepend == Prepend::Always || *prepend == Prepend::First && first;
                if wanted && !text.starts_with(replacement.as_str()) {
                    text.insert_str(0, replacement);
                }
                if !split {
                    out.push(Cow::Owned(text));
                    return Ok(());
                }
                let mut start = 0;
                let borders = text.match_indices(replacement.as_str()).map(|(at, _)| at);
                for border in borders.filter(|at| *at != 0).chain([text.len()]) {
                    out.push(Cow::Owned(text[start..border].to_owned()));
                    start = border;
                }
            }
            Self::Space if piece.starts_with(' ') => out.push(piece),
            Self::Space => out.push(Cow::Owned(format!(" {piece}"))),
        }
        Ok(())
    }
}

impl Behavior {
    /// The pieces of a text, empty ones apart.
    fn pieces(self, text: &str, matches: &[Range<usize>], invert: bool) -> Vec<Range<usize>> {
        let mut parts: Vec<(Range<usize>, bool)> = Vec::with_capacity(2 * matches.len() + 1);
        let mut done = 0;
        for found in matches {
            parts.push((done..found.start, invert));
            parts.push((found.clone(), !invert));
            done = found.end;
        }
        parts.push((done..text.len(), invert));
        parts.retain(|(range, _)| !range.is_empty());
        match self {
            Self::Isolated => parts.into_iter().map(|(range, _)| range).collect(),
            Self::Removed => parts.into_iter().filter(|(_, hit)| !hit).map(|(range, _)| range).collect(),
            Self::Contiguous => joined(parts, |before, hit| before == hit),
            Self::MergedWithPrevious => joined(parts, |before, hit| hit && !before),
            Self::MergedWithNext => {
                let mirrored = parts.into_iter().rev().collect();
                let mut ranges = joined(mirrored, |before, hit| hit && !before);
                ranges.reverse();
                ranges
            }
        }
    }
}

/// Joins each part with the one before it where `join(before, this)` says so.
fn joined(parts: Vec<(Range<usize>, bool)>, join: impl Fn(bool, bool) -> bool) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut before = None;
    for (range, hit) in parts {
        match ranges.last_mut() {
            Some(last) if before.is_some_and(|before| join(before, hit)) => {
                *last = last.start.min(range.start)..last.end.max(range.end);
            }
            _ => ranges.push(range),
        }
        before = Some(hit);
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tokenizer::huggingface::normalize::{Normalizer, Step};

    fn pieces(cut: Cut, text: &str) -> Vec<String> {
        let mut pieces = Vec::new();
        Splitter(vec![cut]).for_each(text, true, |piece| pieces.push(piece.to_owned())).unwrap();
        pieces
    }

    /// The table in the library's own documentation of the behaviours.
    #[test]
    fn the_five_behaviours() {
        let cut = |behavior| {
            let pattern = Box::new(Regex::new("-").unwrap());
            pieces(Cut::Pattern { pattern, behavior, invert: false }, "the-final--countdown")
        };
        assert_eq!(cut(Behavior::Removed), ["the", "final", "countdown"]);
        assert_eq!(cut(Behavior::Isolated), ["the", "-", "final", "-", "-", "countdown"]);
        assert_eq!(cut(Behavior::MergedWithPrevious), ["the-", "final-", "-", "countdown"]);
        assert_eq!(cut(Behavior::MergedWithNext), ["the", "-final", "-", "-countdown"]);
        assert_eq!(cut(Behavior::Contiguous), ["the", "-", "final", "--", "countdown"]);
    }

    /// Cut where the search got to, the rest would be one piece and have other ids.
    #[test]
    fn a_search_that_is_given_up_is_no_cut() {
        let pattern = || Box::new(Regex::new(r"(?:a|a)*(?=(a))\1c|-").unwrap());
        let split =
            Splitter(vec![Cut::Pattern { pattern: pattern(), behavior: Behavior::Isolated, invert: false }]);
        let error = split.for_each(&format!("-{}-b-b", "a".repeat(60)), true, |_| ()).unwrap_err();
        assert!(matches!(error, TokenizerError::Search { bytes: 65, .. }), "{error}");
        let replaced = Normalizer(vec![Step::Replace(pattern(), "x".to_owned())]);
        let error = replaced.apply(&"a".repeat(60)).unwrap_err().to_string();
        assert!(error.contains("its 60 bytes") && error.contains("shorten its longest word"), "{error}");
    }

    #[test]
    fn spaces_of_their_own() {
        let cut = |prepend, split| Cut::Metaspace { replacement: "▁".to_owned(), prepend, split };
        assert_eq!(pieces(cut(Prepend::First, true), "a  bc "), ["▁a", "▁", "▁bc", "▁"]);
        assert_eq!(pieces(cut(Prepend::Never, false), "a b"), ["a▁b"]);
        assert_eq!(pieces(cut(Prepend::Always, true), " a"), ["▁a"]);
    }
}
