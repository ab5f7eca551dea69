//! Byte-pair merging (Sennrich et al. 2016): of all pairs of neighbours the one that was learnt first is
//! joined first, the leftmost of several.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::LazyLock;

use super::ways::Way;
use crate::model::tokenizer::json::byte_char;

/// Pairs of ids: how early each was learnt, and what it becomes.
pub type Merges = HashMap<(u32, u32), (u32, u32)>;

/// The model. Its maps are only ever asked, never walked.
#[derive(Debug, Clone)]
pub struct Bpe {
    /// The ids of tokens, as the file writes them.
    pub vocab: HashMap<String, u32>,
    /// What two neighbours become, and how early that was learnt.
    pub merges: Merges,
    /// Whether a piece's bytes are written as characters of GPT-2's alphabet.
    pub byte_level: bool,
    /// Whether a piece that is a token is not merged at all.
    pub ignore_merges: bool,
    /// Ids of the 256 single bytes that stand for characters without a token, if all are there.
    pub fallback: Option<Vec<u32>>,
    /// The id of what has no token, and whether several in a row are one.
    pub unknown: Option<(u32, bool)>,
}

/// A token of a piece, in a list that shrinks as pairs are joined.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    id: u32,
    before: usize,
    after: usize,
}

/// GPT-2's alphabet, by byte.
pub(super) static LETTERS: LazyLock<[char; 256]> =
    LazyLock::new(|| std::array::from_fn(|byte| byte_char(byte as u8)));

/// No neighbour.
const NONE: usize = usize::MAX;
/// A symbol that was joined to its left neighbour.
const GONE: u32 = u32::MAX;

impl Bpe {
    /// Appends the ids of one piece.
    pub fn encode_into(&self, piece: &str, ids: &mut Vec<u32>) {
        let written: String;
        let piece = if self.byte_level {
            written = piece.bytes().map(|byte| LETTERS[usize::from(byte)]).collect();
            &written
        } else {
            piece
        };
        if self.ignore_merges
            && let Some(id) = self.vocab.get(piece)
        {
            ids.push(*id);
            return;
        }
        let mut symbols = self.symbols(piece);
        self.merge(&mut symbols);
        ids.extend(symbols.into_iter().map(|symbol| symbol.id).filter(|id| *id != GONE));
    }

    /// A token for every character, or for its bytes, or the one for what has none.
    fn symbols(&self, piece: &str) -> Vec<Symbol> {
        let mut ids = Vec::with_capacity(piece.len());
        let mut unknown = None;
        let mut buffer = [0; 4];
        for character in piece.chars() {
            let text = &*character.encode_utf8(&mut buffer);
            if let Some(id) = self.vocab.get(text) {
                ids.extend(unknown.take());
                ids.push(*id);
            } else if let Some(bytes) = &self.fallback {
                ids.extend(text.bytes().map(|byte| bytes[usize::from(byte)]));
            } else if let Some((id, fuse)) = self.unknown {
                // One that is pending is written before the next, or is the same one.
                ids.extend(unknown.filter(|_| !fuse));
                unknown = Some(id);
            }
        }
        ids.extend(unknown);
        let last = ids.len().saturating_sub(1);
        let symbol = |(at, id)| Symbol {
            id,
            before: if at == 0 { NONE } else { at - 1 },
            after: if at == last { NONE } else { at + 1 },
        };
        ids.into_iter().enumerate().map(symbol).collect()
    }

    /// The pair that a text's last two tokens are joined by, where it becomes one token.
    pub(super) fn last_merge(&self, text: &str) -> Option<Way> {
        let mut symbols = self.symbols(text);
        let last = self.merge(&mut symbols)?;
        let is_one = symbols.iter().skip(1).all(|symbol| symbol.id == GONE);
        is_one.then_some(last)
    }

    /// Joins pairs until none is left to join, and gives the last.
    fn merge(&self, symbols: &mut [Symbol]) -> Option<Way> {
        let mut last = None;
        // Rank, place and result of every pair that can be joined; smallest first.
        let mut queue = BinaryHeap::new();
        let pair = |symbols: &[Symbol], left: usize| {
            let right = symbols.get(left)?.after;
            let (rank, id) = *self.merges.get(&(symbols[left].id, symbols.get(right)?.id))?;
            Some(Reverse((rank, left, id)))
        };
        queue.extend((0..symbols.len()).filter_map(|left| pair(symbols, left)));
        while let Some(Reverse((rank, left, id))) = queue.pop() {
            // What was queued may have been joined to something else since.
            if pair(symbols, left) != Some(Reverse((rank, left, id))) {
                continue;
            }
            let right = symbols[left].after;
            let after = symbols[right].after;
            last = Some(Way { rank, left: symbols[left].id, right: symbols[right].id, whole: id });
            symbols[right].id = GONE;
            symbols[left] = Symbol { id, after, ..symbols[left] };
            if let Some(next) = symbols.get_mut(after) {
                next.before = left;
            }
            queue.extend(pair(symbols, symbols[left].before));
            queue.extend(pair(symbols, left));
        }
        last
    }
}
