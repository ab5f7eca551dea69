//! What gives a tokenizer its ids, and nothing else: two files that say the same with other words have one
//! digest of it, whatever is between them.
//!
//! It is taken of what a file was read to, so the ids of types, the form for two texts, and what moves
//! offsets are no part of it. More is left away where that can be shown to change no id:
//!
//! * tokens of several characters are reached by merges, which name ids; their texts are asked for only where
//!   whole pieces are tokens (`ignore_merges`). Of those, an added token is always cut out before where no added
//!   token has a condition that could stand in its way: files list it in the vocabulary, or do not;
//! * without a normaliser, text before and after normalising is one, and it does not matter which of two tokens
//!   is looked for first if no text has both in one place;
//! * a cut at spaces where normalising leaves none is none;
//! * merges that no text is joined by ([`super::ways`]) are files' own matter: some list every way to make a token;
//! * where every byte has a token, nothing is unknown.
//!
//! Anything else that differs is a difference: it may change an id.

use std::collections::{BTreeMap, BTreeSet};

use super::HfTokenizer;
use super::added::AddedToken;
use super::bpe::{Bpe, LETTERS};
use super::normalize::Step;
use super::split::Cut;
use super::ways::Ways;
use crate::base::digest::Digest;

pub(super) fn digest(tokenizer: &HfTokenizer) -> Digest {
    let mut said = Said::default();
    added(tokenizer, &mut said);
    said.count(tokenizer.normalizer.0.len());
    tokenizer.normalizer.0.iter().for_each(|step| normal_step(step, &mut said));
    let cuts: Vec<&Cut> = tokenizer.splitter.0.iter().filter(|step| !is_idle(step, tokenizer)).collect();
    said.count(cuts.len());
    cuts.into_iter().for_each(|step| cut(step, &mut said));
    pairs(tokenizer, &mut said);
    for ids in &tokenizer.around {
        said.count(ids.len());
        ids.iter().for_each(|id| said.number(*id));
    }
    said.count(tokenizer.tokens.len());
    for (id, bytes) in (0..).zip(&tokenizer.tokens) {
        said.flags(&[bytes.is_some(), tokenizer.is_single(id)]);
        said.bytes(bytes.as_deref().unwrap_or_default());
    }
    said.flags(&[tokenizer.strips_space]);
    Digest::of(&said.0)
}

/// Words and numbers, each with its length, so that none runs into the next.
#[derive(Default)]
struct Said(Vec<u8>);

impl Said {
    fn number(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn count(&mut self, count: usize) {
        self.0.extend_from_slice(&(count as u64).to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn texts(&mut self, texts: &[&str]) {
        texts.iter().for_each(|text| self.text(text));
    }

    fn flags(&mut self, flags: &[bool]) {
        self.0.extend(flags.iter().map(|flag| u8::from(*flag)));
    }
}

/// Tokens that are found in a text as they are, by their texts; of two of one text the first is found.
fn added(tokenizer: &HfTokenizer, said: &mut Said) {
    let [raw, normalized] = tokenizer.added.tables();
    let at_once = tokenizer.normalizer.0.is_empty() && are_apart(raw, normalized);
    let tables =
        if at_once { [[raw, normalized].concat(), Vec::new()] } else { [raw.to_vec(), normalized.to_vec()] };
    for tokens in &tables {
        let mut by_text: BTreeMap<&str, &AddedToken> = BTreeMap::new();
        for token in tokens {
            by_text.entry(&token.content).or_insert(token);
        }
        said.count(by_text.len());
        for (text, token) in by_text {
            said.text(text);
            said.number(token.id);
            said.flags(&[token.single_word, token.lstrip, token.rstrip]);
        }
    }
}

/// Most work in holding tokens against each other: the bytes of the ones times those of the others. Pairs and
/// their lengths both count, as two tokens of a megabyte are no less to compare than a thousand of a kilobyte.
const WORK: usize = 1 << 24;

/// Whether it makes no difference that some are looked for before the others, in one and the same text: no
/// text has two of them in one place.
fn are_apart(first: &[AddedToken], then: &[AddedToken]) -> bool {
    let is_plain = |token: &AddedToken| !(token.single_word || token.lstrip || token.rstrip);
    let touch = |a: &str, b: &str| {
        let meets = |a: &str, b: &str| a.char_indices().any(|(at, _)| b.starts_with(&a[at..]));
        a.contains(b) || b.contains(a) || meets(a, b) || meets(b, a)
    };
    let bytes = |tokens: &[AddedToken]| tokens.iter().map(|token| token.content.len()).sum::<usize>();
    first.is_empty()
        || then.is_empty()
        || bytes(first).saturating_mul(bytes(then)) <= WORK
            && first.iter().chain(then).all(is_plain)
            && first.iter().all(|one| then.iter().all(|other| !touch(&one.content, &other.content)))
}

fn normal_step(step: &Step, said: &mut Said) {
    match step {
        Step::Nfc => said.text("nfc"),
        Step::Nfd => said.text("nfd"),
        Step::Nfkc => said.text("nfkc"),
        Step::Nfkd => said.text("nfkd"),
        Step::Lowercase => said.text("lowercase"),
        Step::Prepend(front) => said.texts(&["prepend", front]),
        Step::Replace(pattern, with) => said.texts(&["replace", pattern.as_str(), with]),
        Step::Strip(left, right) => {
            said.text("strip");
            said.flags(&[*left, *right]);
        }
    }
}

/// Whether a step cuts at spaces of which normalising leaves none.
fn is_idle(step: &Cut, tokenizer: &HfTokenizer) -> bool {
    let at_spaces = matches!(step, Cut::Pattern { pattern, invert: false, .. } if pattern.as_str() == " ");
    let last = tokenizer.normalizer.0.last();
    at_spaces
        && tokenizer.splitter.0.len() == 1
        && matches!(last, Some(Step::Replace(pattern, with)) if pattern.as_str() == " " && !with.contains(' '))
}

fn cut(step: &Cut, said: &mut Said) {
    match step {
        Cut::Pattern { pattern, behavior, invert } => {
            said.texts(&["pattern", pattern.as_str(), &format!("{behavior:?}")]);
            said.flags(&[*invert]);
        }
        Cut::Metaspace { replacement, prepend, split } => {
            said.texts(&["metaspace", replacement, &format!("{prepend:?}")]);
            said.flags(&[*split]);
        }
        Cut::Space => said.text("space"),
    }
}

fn pairs(tokenizer: &HfTokenizer, said: &mut Said) {
    let bpe = &tokenizer.bpe;
    said.flags(&[bpe.byte_level, bpe.ignore_merges]);
    let mut asked: Vec<(&str, u32)> = bpe.vocab.iter().map(|(text, id)| (text.as_str(), *id)).collect();
    let cut_out = cut_out(tokenizer);
    asked.retain(|(text, id)| {
        text.chars().nth(1).is_none() || bpe.ignore_merges && !cut_out.contains(&(*text, *id))
    });
    asked.sort_unstable();
    said.count(asked.len());
    for (text, id) in asked {
        said.text(text);
        said.number(id);
    }
    let all =
        || bpe.merges.iter().map(|((left, right), (rank, made))| [*rank, *left, *right, *made]).collect();
    let used =
        |ways: Ways| ways.live.into_iter().map(|way| [way.rank, way.left, way.right, way.whole]).collect();
    let mut merges: Vec<[u32; 4]> = tokenizer.ways().map_or_else(all, used);
    merges.sort_unstable();
    said.count(merges.len());
    // The order of the ranks counts, and not their numbers.
    merges.iter().flat_map(|merge| &merge[1..]).for_each(|id| said.number(*id));
    let every = has_every_byte(bpe);
    let fallback = bpe.fallback.as_deref().filter(|_| !every).unwrap_or_default();
    said.count(fallback.len());
    fallback.iter().for_each(|id| said.number(*id));
    let unknown = bpe.unknown.filter(|_| !every && bpe.fallback.is_none());
    said.flags(&[unknown.is_some()]);
    if let Some((id, fuse)) = unknown {
        said.number(id);
        said.flags(&[fuse]);
    }
}

/// The texts that never reach the vocabulary, since they are added tokens wherever they stand, and the ids of
/// those. Nothing makes such a text of another one, as normalising or a space in front could.
///
/// A condition on any token shields others: where a longer one is not taken because of what stands beside it, or
/// white space is already another's, all that lies within is passed over.
fn cut_out(tokenizer: &HfTokenizer) -> BTreeSet<(&str, u32)> {
    let tokens = || tokenizer.added.tables().into_iter().flatten();
    let shields = |token: &AddedToken| token.single_word || token.rstrip;
    if !tokenizer.normalizer.0.is_empty() || tokens().any(shields) {
        return BTreeSet::new();
    }
    let written_by = |step: &Cut, text: &str| match step {
        Cut::Metaspace { replacement, .. } => text.contains(replacement.as_str()),
        Cut::Pattern { .. } | Cut::Space => false,
    };
    let is_as_it_came = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_graphic())
            && !tokenizer.splitter.0.iter().any(|step| written_by(step, text))
    };
    let texts = tokens().map(|token| (token.content.as_str(), token.id));
    texts.filter(|(text, _)| is_as_it_came(text)).collect()
}

/// Whether each byte of a text has a token of its own.
fn has_every_byte(bpe: &Bpe) -> bool {
    bpe.byte_level && LETTERS.iter().all(|letter| bpe.vocab.contains_key(letter.encode_utf8(&mut [0; 4])))
}
