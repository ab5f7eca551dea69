//! Whether cases stand in texts that a model's ancestors were trained on.
//!
//! A case of 13 words or more overlaps if any 13 of its words in a row stand in a text, in lower case and
//! whatever is between them: the length that GPT-3's authors chose (Brown et al., "Language Models are
//! Few-Shot Learners", 2020, appendix C). A shorter case overlaps if any 8 bytes in a row of its longest
//! text do, or all of it if that has fewer. That finds too much rather than too little: an overlap is a
//! reason to look, and nothing found is not "clean", since only declared texts were searched.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::suite::Case;
use crate::base::digest::Sha256;
use crate::base::name::Name;

/// Words that make a long case recognisable.
pub const WORDS: usize = 13;
/// Bytes that make a short one recognisable.
pub const BYTES: usize = 8;

/// What is known of a suite and a model's training.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contamination {
    /// `unknown` if any ancestor declares no training texts; else `searched`. There is no word for clean.
    pub status: String,
    /// Words in a row that were searched for.
    pub words: u64,
    /// Bytes in a row that were searched for in cases of fewer words.
    pub bytes: u64,
    /// Ancestors without declared texts.
    pub undeclared: Vec<Name>,
    /// The texts that were searched.
    pub texts: Vec<Sha256>,
    /// How many cases overlap with them.
    pub overlapping: u64,
    /// The first of those cases.
    pub first: Option<Name>,
}

impl Contamination {
    /// What follows from what was declared and searched.
    pub fn of(undeclared: Vec<Name>, texts: Vec<Sha256>, overlapping: &[Name]) -> Self {
        let whole = undeclared.is_empty() && !texts.is_empty();
        Self {
            status: if whole { "searched" } else { "unknown" }.to_owned(),
            words: WORDS as u64,
            bytes: BYTES as u64,
            undeclared,
            texts,
            overlapping: overlapping.len() as u64,
            first: overlapping.first().cloned(),
        }
    }
}

/// The words of a text in lower case.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// The cases that overlap with any of the texts, in their order.
pub fn overlapping(cases: &[Case], texts: &[&[u8]]) -> Vec<Name> {
    let mut long: HashMap<String, Vec<usize>> = HashMap::new();
    let mut short: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (at, case) in cases.iter().enumerate() {
        let own = case.texts();
        let all: Vec<String> = own.iter().flat_map(|text| words(text)).collect();
        if all.len() >= WORDS {
            all.windows(WORDS).for_each(|gram| long.entry(gram.join(" ")).or_default().push(at));
        } else if let Some(longest) = own.into_iter().max_by_key(|text| text.len()) {
            let bytes = longest.as_bytes();
            let length = bytes.len().min(BYTES);
            bytes.windows(length.max(1)).for_each(|gram| short.entry(gram).or_default().push(at));
        }
    }
    let lengths: HashSet<usize> = short.keys().map(|gram| gram.len()).collect();
    let mut found = vec![false; cases.len()];
    for text in texts {
        for length in &lengths {
            for gram in text.windows(*length) {
                short.get(gram).into_iter().flatten().for_each(|at| found[*at] = true);
            }
        }
        if !long.is_empty() {
            for gram in words(&String::from_utf8_lossy(text)).windows(WORDS) {
                long.get(&gram.join(" ")).into_iter().flatten().for_each(|at| found[*at] = true);
            }
        }
    }
    cases.iter().zip(found).filter(|(_, found)| *found).map(|(case, _)| case.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn case(id: &str, text: &str) -> Case {
        Case { id: id.parse().unwrap(), body: json!({ "text": text }) }
    }

    fn found(cases: &[Case], text: &str) -> Vec<String> {
        overlapping(cases, &[text.as_bytes()]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn thirteen_words_in_a_row_are_an_overlap_and_twelve_are_not() {
        let all = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen";
        let cases = [case("a", all)];
        let thirteen = "x ONE, two; three four\nfive six seven eight nine ten eleven twelve THIRTEEN x";
        assert_eq!(found(&cases, thirteen), ["a"], "case and what is between words do not matter");
        let twelve = "x two three four five six seven eight nine ten eleven twelve thirteen x";
        assert_eq!(found(&cases, twelve), [""; 0]);
    }

    #[test]
    fn short_cases_are_found_by_their_bytes() {
        let cases = [case("sum", "16+48="), case("rev", "rev zkazqrhl="), case("other", "99+99=")];
        assert_eq!(found(&cases, "12+30=42\n16+48=64\n"), ["sum"]);
        assert_eq!(found(&cases, "rev zkazq, and 16+4"), ["rev"], "eight bytes are enough");
        assert_eq!(found(&cases, "rev zka and 16+4"), [""; 0]);
        assert_eq!(found(&cases, ""), [""; 0]);
    }

    #[test]
    fn nothing_is_ever_clean() {
        let name = |name: &str| name.parse::<Name>().unwrap();
        let text = Sha256::of(b"text");
        assert_eq!(Contamination::of(vec![name("base")], vec![text], &[]).status, "unknown");
        assert_eq!(Contamination::of(vec![], vec![], &[]).status, "unknown", "nothing was searched");
        let searched = Contamination::of(vec![], vec![text], &[name("c1"), name("c2")]);
        assert_eq!((searched.status.as_str(), searched.overlapping), ("searched", 2));
        assert_eq!(searched.first, Some(name("c1")));
    }
}
