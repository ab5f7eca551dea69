//! Which of the merges of a tokenizer any text is ever joined by.
//!
//! Merging always takes the earliest pair, the leftmost of several. So what it does between two boundaries that it
//! has not joined over is what it does with that piece of the text alone: it comes to one state of two tokens, and
//! joins those or none. A token is therefore made of one pair in every text, if it is made at all, and merging the
//! token's own text tells of which. Two tokenizers whose pairs of that kind are the same, in the same order, give
//! every text the same ids, whatever else their files list.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::HfTokenizer;
use super::added::{AddedToken, Part};
use super::split::Cut;

/// A pair that is joined in some text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// How early it was learnt.
    pub rank: u32,
    /// The left token.
    pub left: u32,
    /// The right one.
    pub right: u32,
    /// What they become.
    pub whole: u32,
}

/// What a tokenizer's merges come to.
#[derive(Debug)]
pub struct Ways {
    /// Every pair that is joined in some text, in the order in which they were learnt.
    pub live: Vec<Way>,
    /// For each token that a merge makes the rank that counts: that of its live pair, else of its first.
    pub ranks: HashMap<u32, u32>,
}

impl HfTokenizer {
    /// The ways in which tokens are joined; nothing where a single byte is, since no text says which.
    pub fn ways(&self) -> Option<Ways> {
        let texts: HashMap<u32, &str> =
            self.bpe.vocab.iter().map(|(text, id)| (*id, text.as_str())).collect();
        let firm = self.firm();
        let is_cut = |text: &str| {
            let parts = [self.added.cut_raw(text), self.added.cut_normalized(text)];
            parts.iter().flatten().any(|part| matches!(part, Part::Token(id) if firm.contains(id)))
        };
        // A byte that is a character has its own text.
        let is_byte = |id: &&u32| texts.get(*id).is_some_and(|text| text.chars().nth(1).is_some());
        let bytes = self.bpe.fallback.iter().flatten().filter(is_byte).copied();
        let unspoken: BTreeSet<u32> = bytes.chain(self.bpe.unknown.map(|(id, _)| id)).collect();
        let mut firsts: BTreeMap<u32, u32> = BTreeMap::new();
        for ((left, right), (rank, whole)) in &self.bpe.merges {
            if [left, right, whole].into_iter().any(|id| unspoken.contains(id)) {
                return None;
            }
            let first = firsts.entry(*whole).or_insert(*rank);
            *first = (*first).min(*rank);
        }
        let mut found = Ways { live: Vec::new(), ranks: HashMap::new() };
        for (whole, first) in firsts {
            let text = texts.get(&whole)?;
            let way = self.bpe.last_merge(text).filter(|_| !is_cut(text));
            found.ranks.insert(whole, way.map_or(first, |way| way.rank));
            found.live.extend(way);
        }
        found.live.sort_unstable();
        Some(found)
    }

    /// Added tokens that are cut out wherever they stand, so that nothing is ever joined to a text with one in it:
    /// none has a condition, and no character of theirs is taken away or made once they were looked for.
    fn firm(&self) -> BTreeSet<u32> {
        let [raw, normalized] = self.added.tables();
        let has_condition = |token: &AddedToken| token.single_word || token.lstrip || token.rstrip;
        if raw.iter().chain(normalized).any(has_condition) {
            return BTreeSet::new();
        }
        let mut late = Vec::new();
        for step in &self.splitter.0 {
            if let Cut::Metaspace { replacement, .. } = step {
                late.push(' ');
                late.extend(replacement.chars());
            }
        }
        let mut early = self.normalizer.moved();
        early.iter_mut().for_each(|moved| moved.extend(&late));
        // Bytes are written as other characters, but for these.
        let is_written =
            |text: &str| !self.bpe.byte_level || text.bytes().all(|byte| byte.is_ascii_graphic());
        let stay = |token: &&AddedToken, moved: &Option<Vec<char>>| {
            let text = &token.content;
            is_written(text) && moved.as_ref().is_some_and(|moved| !text.contains(&moved[..]))
        };
        let late = Some(late);
        let first = raw.iter().filter(|token| stay(token, &early));
        first.chain(normalized.iter().filter(|token| stay(token, &late))).map(|token| token.id).collect()
    }
}
