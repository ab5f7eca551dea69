//! Which of the merges of a tokenizer any text is ever joined by.
//!
//! Merging always takes the earliest pair, the leftmost of several. So what it does between two boundaries that it
//! has not joined over is what it does with that piece of the text alone: it comes to one state of two tokens, and
//! joins those or none. A token is therefore made of one pair in every text, if it is made at all, and merging the
//! token's own text tells of which. Two tokenizers whose pairs of that kind are the same, in the same order, give
//! every text the same ids, whatever else their files list.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::HfTokenizer;
use super::added::Part;

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
    ///
    /// A text in which an added token stands is cut there, so nothing is made of it if normalising moves none
    /// of its characters; `moved` are those that normalising takes away or makes.
    pub fn ways(&self, moved: &[char]) -> Option<Ways> {
        let texts: HashMap<u32, &str> =
            self.bpe.vocab.iter().map(|(text, id)| (*id, text.as_str())).collect();
        let [raw, _] = self.added.tables();
        let firm: BTreeSet<u32> =
            raw.iter().filter(|token| !token.content.contains(moved)).map(|token| token.id).collect();
        let is_cut = |text: &str| {
            let parts = self.added.cut_raw(text);
            parts.iter().any(|part| matches!(part, Part::Token(id) if firm.contains(id)))
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
}
