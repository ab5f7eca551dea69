//! Whether two models have the same tokens, where only files that are not read here could tell.
//!
//! A sentencepiece model, a `vocab.json` or a `vocab.txt` says which row is of which token as well as a
//! `tokenizer.json` does. It is not taken apart: the same bytes are the same tokens, other bytes are taken
//! for other tokens.

use std::fmt;

use crate::model::package::{Companion, Package};

/// Files that say which token has which id.
pub const FILES: [&str; 7] = [
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
];

/// Why two models cannot be taken for models with the same tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlike {
    /// A file that both have, with other bytes.
    Bytes(&'static str),
    /// The first file of each; no file is in both.
    Apart(&'static str, &'static str),
}

impl fmt::Display for Unlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(name) => write!(f, "their {name} differ"),
            Self::Apart(here, there) => {
                write!(f, "{here} here and {there} there, which cannot be held against each other")
            }
        }
    }
}

/// What speaks against the same tokens; nothing if a file that both have is the same, or one has none at all.
pub fn unlike(ours: &Package, theirs: &Package) -> Option<Unlike> {
    let both =
        FILES.into_iter().filter_map(|name| Some((name, ours.companion(name)?, theirs.companion(name)?)));
    let both: Vec<(&str, &Companion, &Companion)> = both.collect();
    if let Some((name, ..)) = both.iter().find(|(_, here, there)| here.bytes != there.bytes) {
        return Some(Unlike::Bytes(name));
    }
    let first = |package: &Package| FILES.into_iter().find(|name| package.companion(name).is_some());
    match (first(ours), first(theirs)) {
        (Some(here), Some(there)) if both.is_empty() => Some(Unlike::Apart(here, there)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::weights::Weights;

    fn package(files: &[(&str, &str)]) -> Package {
        let mut package = Package::of_weights(Weights::none());
        package.companions = files
            .iter()
            .map(|(name, text)| Companion { name: (*name).to_owned(), bytes: (*text).into() })
            .collect();
        package
    }

    #[test]
    fn the_same_bytes_are_the_same_tokens() {
        let told = |ours: &[(&str, &str)], theirs: &[(&str, &str)]| unlike(&package(ours), &package(theirs));
        let (model, other) = (("tokenizer.model", "a"), ("tokenizer.model", "b"));
        assert_eq!(told(&[model], &[model]), None);
        assert_eq!(told(&[model], &[other]), Some(Unlike::Bytes("tokenizer.model")));
        assert_eq!(told(&[model], &[]), None);
        assert_eq!(told(&[model], &[("config.json", "b")]), None);
        assert_eq!(
            told(&[model], &[("vocab.txt", "a")]),
            Some(Unlike::Apart("tokenizer.model", "vocab.txt"))
        );
        // Of one that has more than the other, what both have decides.
        assert_eq!(told(&[("tokenizer.json", "{}"), model], &[model]), None);
        assert_eq!(
            told(&[("tokenizer.json", "{}"), model], &[other]),
            Some(Unlike::Bytes("tokenizer.model"))
        );
    }
}
