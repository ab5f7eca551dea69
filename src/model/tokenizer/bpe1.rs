//! `BPE1`: bytes, then merges of adjacent pairs.
//!
//! ```text
//!  0        4         8            12 .. 28            28            32            36
//! +--------+---------+------------+-------------------+-------------+-------------+
//! | "BPE1" | version | vocab_size | BOS EOS PAD UNK   | token_count | merge_count |
//! +--------+---------+------------+-------------------+-------------+-------------+
//! then token_count times  | id u32 | length u32 | bytes |
//! then merge_count times  | left u32 | right u32 | output u32 | rank u32 |
//! ```
//!
//! Encoding replaces, again and again, the adjacent pair whose merge has the lowest rank, the
//! leftmost of equals. Done literally that is quadratic; here the ids form a linked list and the
//! pairs wait in a heap ordered by (rank, place). A merge makes at most two new pairs, and a pair
//! taken from the heap counts only if both its ids are still where they were, so n bytes cost
//! O(n log n) and the result is that of the literal rule.
//!
//! Which ids have records is our reading: those from 260 on. Records for a byte with that byte, or
//! for a special id, say nothing new and are passed over.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::{FIRST_PIECE, SPECIALS, SectionReader, TokenizerError, check_specials};

/// How the section begins.
pub const MAGIC: [u8; 4] = *b"BPE1";

const VERSION: u32 = 1;
const RECORD_HEAD: usize = 8;
const MERGE: usize = 16;

/// A pair of ids that may be replaced by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Merge {
    /// First id.
    pub left: u32,
    /// Second id.
    pub right: u32,
    /// What replaces both.
    pub output: u32,
    /// Lower comes first.
    pub rank: u32,
}

/// An id and its bytes.
type Piece = (u32, Box<[u8]>);

/// A checked byte-pair tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bpe1 {
    vocab_size: u32,
    /// Sorted by id.
    pieces: Vec<Piece>,
    /// (left, right) to (rank, output).
    merges: HashMap<(u32, u32), (u32, u32)>,
}

impl Bpe1 {
    /// Checks pieces and merges. Of two merges for one pair only the lower rank can ever be used;
    /// the other is dropped.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::VocabSize`] of fewer than 260 ids; [`TokenizerError::TokenId`],
    /// [`TokenizerError::EmptyToken`] or [`TokenizerError::DuplicateToken`] of a piece,
    /// [`TokenizerError::MergeId`] or [`TokenizerError::MergeOutput`] of a merge that cannot be;
    /// [`TokenizerError::TooLarge`] of more than a section can count.
    pub fn new(
        vocab_size: u32,
        tokens: Vec<(u32, Vec<u8>)>,
        merges: Vec<Merge>,
    ) -> Result<Self, TokenizerError> {
        if vocab_size < FIRST_PIECE {
            return Err(TokenizerError::VocabSize { found: vocab_size, expected: "at least 260" });
        }
        if u32::try_from(tokens.len()).is_err() || u32::try_from(merges.len()).is_err() {
            return Err(TokenizerError::TooLarge);
        }
        let pieces = check_tokens(vocab_size, tokens)?;
        let mut table = HashMap::with_capacity(merges.len());
        for (index, merge) in merges.into_iter().enumerate() {
            check_merge(vocab_size, &pieces, index as u32, &merge)?;
            let candidate = (merge.rank, merge.output);
            let kept = table.entry((merge.left, merge.right)).or_insert(candidate);
            *kept = candidate.min(*kept);
        }
        Ok(Self { vocab_size, pieces, merges: table })
    }

    /// Number of ids.
    pub fn vocab_size(&self) -> u32 {
        self.vocab_size
    }

    /// The bytes of an id from 260 on.
    pub fn piece(&self, id: u32) -> Option<&[u8]> {
        find(&self.pieces, id)
    }

    /// Every id from 260 on that has bytes, in order.
    pub fn pieces(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.pieces.iter().map(|(id, bytes)| (*id, &**bytes))
    }

    /// Every merge, by rank, then by its ids.
    pub fn merges(&self) -> Vec<Merge> {
        let mut merges: Vec<_> = self
            .merges
            .iter()
            .map(|(&(left, right), &(rank, output))| Merge { left, right, output, rank })
            .collect();
        merges.sort_unstable_by_key(|merge| (merge.rank, merge.left, merge.right));
        merges
    }

    pub(super) fn from_section(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let mut section = SectionReader::new(bytes);
        section.take(4, "the magic")?;
        let [version, vocab_size] = section.u32s("the version and vocabulary size")?;
        if version != VERSION {
            return Err(TokenizerError::Version { found: version });
        }
        check_specials(section.u32s("the special ids")?)?;
        let [token_count, merge_count] = section.u32s("the counts")?;
        let tokens = read_tokens(&mut section, token_count)?;
        let merges = read_merges(&mut section, merge_count)?;
        section.end()?;
        Self::new(vocab_size, tokens, merges)
    }

    pub(super) fn to_section(&self) -> Vec<u8> {
        let merges = self.merges();
        let mut bytes = MAGIC.to_vec();
        let mut put = |word: u32| bytes.extend_from_slice(&word.to_le_bytes());
        put(VERSION);
        put(self.vocab_size);
        SPECIALS.into_iter().for_each(&mut put);
        // Both counts and every length fit: `new` refuses what does not.
        put(self.pieces.len() as u32);
        put(merges.len() as u32);
        for (id, piece) in &self.pieces {
            bytes.extend_from_slice(&id.to_le_bytes());
            bytes.extend_from_slice(&(piece.len() as u32).to_le_bytes());
            bytes.extend_from_slice(piece);
        }
        for merge in merges {
            for word in [merge.left, merge.right, merge.output, merge.rank] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
        bytes
    }

    /// Appends the ids of `text`.
    pub(super) fn encode_into(&self, text: &[u8], ids: &mut Vec<u32>) {
        let mut chain = Chain::new(text);
        let mut waiting = BinaryHeap::new();
        for left in 0..text.len().saturating_sub(1) {
            waiting.extend(self.candidate(&chain, left));
        }
        while let Some(Reverse(pair)) = waiting.pop() {
            // Other merges may have taken one of its ids since it was queued.
            if chain.pair(pair.left) != Some(pair.ids) {
                continue;
            }
            chain.replace(pair.left, pair.output);
            waiting.extend(self.candidate(&chain, pair.left));
            if let Some(before) = chain.before(pair.left) {
                waiting.extend(self.candidate(&chain, before));
            }
        }
        chain.collect_into(ids);
    }

    fn candidate(&self, chain: &Chain, left: usize) -> Option<Reverse<Candidate>> {
        let ids = chain.pair(left)?;
        let &(rank, output) = self.merges.get(&ids)?;
        Some(Reverse(Candidate { rank, left, ids, output }))
    }
}

/// A pair that may be merged; ordered by rank, then by place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    left: usize,
    ids: (u32, u32),
    output: u32,
}

/// Ids as a linked list over the places of the text's bytes.
struct Chain {
    links: Vec<Link>,
}

struct Link {
    id: u32,
    before: usize,
    after: usize,
}

/// No place, and the id of a place that has been merged into the one before it.
const NOWHERE: usize = usize::MAX;
const TAKEN: u32 = u32::MAX;

impl Chain {
    fn new(text: &[u8]) -> Self {
        let last = text.len().wrapping_sub(1);
        let link = |(i, byte): (usize, &u8)| Link {
            id: u32::from(*byte),
            before: i.wrapping_sub(1),
            after: if i == last { NOWHERE } else { i + 1 },
        };
        Self { links: text.iter().enumerate().map(link).collect() }
    }

    /// The id at a place and the one after it.
    fn pair(&self, left: usize) -> Option<(u32, u32)> {
        let link = &self.links[left];
        let after = self.links.get(link.after)?;
        (link.id != TAKEN).then_some((link.id, after.id))
    }

    fn before(&self, place: usize) -> Option<usize> {
        Some(self.links[place].before).filter(|before| *before != NOWHERE)
    }

    /// Puts `id` where a pair was.
    fn replace(&mut self, left: usize, id: u32) {
        let right = self.links[left].after;
        let after = self.links[right].after;
        self.links[left].id = id;
        self.links[left].after = after;
        self.links[right].id = TAKEN;
        if let Some(next) = self.links.get_mut(after) {
            next.before = left;
        }
    }

    fn collect_into(&self, ids: &mut Vec<u32>) {
        let mut place = 0;
        while let Some(link) = self.links.get(place) {
            ids.push(link.id);
            place = link.after;
        }
    }
}

fn find(pieces: &[Piece], id: u32) -> Option<&[u8]> {
    let at = pieces.binary_search_by_key(&id, |(id, _)| *id).ok()?;
    Some(&pieces[at].1)
}

/// Sorts the pieces and refuses what cannot be one.
fn check_tokens(vocab_size: u32, tokens: Vec<(u32, Vec<u8>)>) -> Result<Vec<Piece>, TokenizerError> {
    let mut pieces = Vec::with_capacity(tokens.len());
    for (record, (id, bytes)) in tokens.into_iter().enumerate() {
        let record = record as u32;
        if id >= vocab_size {
            let expected = "ids are below the vocabulary size";
            return Err(TokenizerError::TokenId { record, id, expected });
        }
        if bytes.is_empty() {
            return Err(TokenizerError::EmptyToken { id });
        }
        if u32::try_from(bytes.len()).is_err() {
            return Err(TokenizerError::TooLarge);
        }
        if id < 256 && bytes != [id as u8] {
            let expected = "the ids 0 to 255 stand for that one byte";
            return Err(TokenizerError::TokenId { record, id, expected });
        }
        pieces.push((id, bytes.into_boxed_slice()));
    }
    pieces.sort_unstable_by_key(|(id, _)| *id);
    if let Some(pair) = pieces.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(TokenizerError::DuplicateToken { id: pair[0].0 });
    }
    pieces.retain(|(id, _)| *id >= FIRST_PIECE);
    Ok(pieces)
}

fn check_merge(vocab_size: u32, pieces: &[Piece], index: u32, merge: &Merge) -> Result<(), TokenizerError> {
    if let Some(&id) = [merge.left, merge.right, merge.output].iter().find(|id| **id >= vocab_size) {
        return Err(TokenizerError::MergeId { merge: index, id, vocab_size });
    }
    if find(pieces, merge.output).is_none() {
        return Err(TokenizerError::MergeOutput { merge: index, id: merge.output });
    }
    Ok(())
}

fn read_tokens(section: &mut SectionReader<'_>, count: u32) -> Result<Vec<(u32, Vec<u8>)>, TokenizerError> {
    // The count is only a claim: what the section can hold bounds what is reserved.
    let mut tokens = Vec::with_capacity((count as usize).min(section.left() / RECORD_HEAD));
    for _ in 0..count {
        let [id, length] = section.u32s("a token record")?;
        tokens.push((id, section.take(length as usize, "a token's bytes")?.to_vec()));
    }
    Ok(tokens)
}

fn read_merges(section: &mut SectionReader<'_>, count: u32) -> Result<Vec<Merge>, TokenizerError> {
    let mut merges = Vec::with_capacity((count as usize).min(section.left() / MERGE));
    for _ in 0..count {
        let [left, right, output, rank] = section.u32s("a merge")?;
        merges.push(Merge { left, right, output, rank });
    }
    Ok(merges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule as it is written down: look at every pair, merge one, begin again.
    fn literal(bpe: &Bpe1, text: &[u8]) -> Vec<u32> {
        let mut ids: Vec<u32> = text.iter().map(|byte| u32::from(*byte)).collect();
        loop {
            let best = (0..ids.len().saturating_sub(1))
                .filter_map(|i| {
                    bpe.merges.get(&(ids[i], ids[i + 1])).map(|&(rank, output)| (rank, i, output))
                })
                .min();
            let Some((_, at, output)) = best else { return ids };
            ids.splice(at..at + 2, [output]);
        }
    }

    fn merge(left: u32, right: u32, output: u32, rank: u32) -> Merge {
        Merge { left, right, output, rank }
    }

    fn tokens(ids: std::ops::Range<u32>) -> Vec<(u32, Vec<u8>)> {
        ids.map(|id| (id, vec![b'x'])).collect()
    }

    #[test]
    fn equal_pairs_merge_from_the_left() {
        let bpe = Bpe1::new(261, tokens(260..261), vec![merge(97, 97, 260, 0)]).unwrap();
        let mut ids = Vec::new();
        bpe.encode_into(b"aaaaa", &mut ids);
        assert_eq!(ids, [260, 260, 97]);
    }

    #[test]
    fn refusals() {
        let new = |vocab, tokens: Vec<(u32, Vec<u8>)>, merges| Bpe1::new(vocab, tokens, merges).unwrap_err();
        assert!(matches!(new(259, vec![], vec![]), TokenizerError::VocabSize { found: 259, .. }));
        assert!(matches!(
            new(261, tokens(261..262), vec![]),
            TokenizerError::TokenId { record: 0, id: 261, .. }
        ));
        assert!(matches!(new(261, vec![(97, vec![98])], vec![]), TokenizerError::TokenId { id: 97, .. }));
        assert!(matches!(new(261, vec![(260, vec![])], vec![]), TokenizerError::EmptyToken { id: 260 }));
        let twice = [tokens(260..261), tokens(260..261)].concat();
        assert!(matches!(new(261, twice, vec![]), TokenizerError::DuplicateToken { id: 260 }));
        let outside = vec![merge(97, 300, 260, 0)];
        assert!(matches!(
            new(261, tokens(260..261), outside),
            TokenizerError::MergeId { id: 300, vocab_size: 261, .. }
        ));
        let no_token = vec![merge(97, 97, 260, 0), merge(97, 98, 261, 1)];
        assert!(matches!(
            new(262, tokens(260..261), no_token),
            TokenizerError::MergeOutput { merge: 1, id: 261 }
        ));
    }

    #[test]
    fn a_huge_claim_reserves_nothing() {
        let mut section = Bpe1::new(260, vec![], vec![]).unwrap().to_section();
        section[28..36].fill(0xff);
        assert!(matches!(Bpe1::from_section(&section), Err(TokenizerError::Length { .. })));
    }

    #[test]
    fn long_text_is_not_quadratic() {
        let merges = vec![merge(97, 97, 260, 0), merge(260, 260, 261, 1), merge(261, 261, 262, 2)];
        let bpe = Bpe1::new(263, tokens(260..263), merges).unwrap();
        let mut ids = Vec::new();
        // The literal rule would look at 10^12 pairs.
        bpe.encode_into(&vec![97; 1 << 20], &mut ids);
        assert_eq!(ids, vec![262; 1 << 17]);
    }

    proptest! {
        #[test]
        fn is_the_literal_rule(
            text in prop::collection::vec(97_u8..101, 0..60),
            merges in prop::collection::vec((0_u32..12, 0_u32..12, 0_u32..8, 0_u32..6), 0..24),
        ) {
            let id = |i: u32| if i < 4 { 97 + i } else { 256 + i };
            let merges = merges.into_iter().map(|(l, r, o, rank)| merge(id(l), id(r), 260 + o, rank)).collect();
            let bpe = Bpe1::new(268, tokens(260..268), merges).unwrap();
            let mut ids = Vec::new();
            bpe.encode_into(&text, &mut ids);
            prop_assert_eq!(ids, literal(&bpe, &text));
        }
    }
}
