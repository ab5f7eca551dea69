//! Which tokens a model has, and where two vocabularies differ.
//!
//! Two models can be mixed row by row only if a row means the same token in both. So vocabularies are
//! compared token by token, whatever the tokenizer does with text: the ids of a `tokenizer.json`'s
//! `model.vocab` and `added_tokens`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

use super::json::to_json;
use crate::base::canonical;
use crate::base::digest::Digest;
use crate::model::package::Package;

/// Tokens and their ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vocabulary {
    ids: BTreeMap<String, u32>,
}

/// Where two vocabularies differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VocabularyDifference {
    /// Tokens that only the first has.
    pub only_here: Vec<String>,
    /// Tokens that only the second has.
    pub only_there: Vec<String>,
    /// Tokens with another id: the token, its id in the first, in the second.
    pub moved: Vec<(String, u32, u32)>,
}

impl Vocabulary {
    /// The vocabulary of a model; nothing if it says none.
    pub fn of_package(package: &Package) -> Option<Self> {
        if let Some(file) = package.companion("tokenizer.json") {
            return Self::from_json(&file.bytes);
        }
        Self::from_json(&to_json(package.tokenizer.as_ref().ok()?).ok()?)
    }

    /// The vocabulary of a `tokenizer.json`; nothing if it cannot be read as one.
    pub fn from_json(bytes: &[u8]) -> Option<Self> {
        let file: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let mut ids = BTreeMap::new();
        match file.get("model")?.get("vocab")? {
            Value::Object(vocab) => {
                for (token, value) in vocab {
                    ids.insert(token.clone(), id(value)?);
                }
            }
            // A Unigram model lists [token, score]; the place is the id.
            Value::Array(pieces) => {
                for (place, piece) in pieces.iter().enumerate() {
                    let token = piece.get(0)?.as_str()?;
                    ids.insert(token.to_owned(), u32::try_from(place).ok()?);
                }
            }
            _ => return None,
        }
        for token in file.get("added_tokens").and_then(Value::as_array).into_iter().flatten() {
            ids.insert(token.get("content")?.as_str()?.to_owned(), id(token.get("id")?)?);
        }
        Some(Self { ids })
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The row of a token in a matrix of `rows` rows, if it has one there.
    pub fn row(&self, token: &str, rows: usize) -> Option<usize> {
        self.ids.get(token).map(|id| *id as usize).filter(|row| *row < rows)
    }

    /// The tokens that have a row in a matrix of `rows` rows, by their ids.
    pub fn tokens(&self, rows: usize) -> Vec<&str> {
        self.by_id(|id| id < rows)
    }

    /// The tokens that have none.
    pub fn beyond(&self, rows: usize) -> Vec<&str> {
        self.by_id(|id| id >= rows)
    }

    fn by_id(&self, is_meant: impl Fn(usize) -> bool) -> Vec<&str> {
        let mut found: Vec<(u32, &str)> = self.ids.iter().map(|(token, id)| (*id, token.as_str())).collect();
        found.retain(|(id, _)| is_meant(*id as usize));
        found.sort_unstable();
        found.into_iter().map(|(_, token)| token).collect()
    }

    /// How many tokens lie in a matrix of `rows` rows; nothing if some of the rows before the last of
    /// them are of no token.
    pub fn dense(&self, rows: usize) -> Option<usize> {
        let ids: BTreeSet<usize> = self.ids.values().map(|id| *id as usize).filter(|id| *id < rows).collect();
        ids.iter().copied().eq(0..ids.len()).then_some(ids.len())
    }

    /// Where `self` and `other` differ; nothing if they do not.
    pub fn difference(&self, other: &Self) -> Option<VocabularyDifference> {
        let missing = |from: &Self, to: &Self| -> Vec<String> {
            from.ids.keys().filter(|token| !to.ids.contains_key(*token)).cloned().collect()
        };
        let moved = self.ids.iter().filter_map(|(token, id)| {
            let there = other.ids.get(token).filter(|there| *there != id)?;
            Some((token.clone(), *id, *there))
        });
        let found = VocabularyDifference {
            only_here: missing(self, other),
            only_there: missing(other, self),
            moved: moved.collect(),
        };
        (found.only_here.len() + found.only_there.len() + found.moved.len() > 0).then_some(found)
    }

    /// For each of `rows` rows of this vocabulary, the row of the same token in `other`, if it has the
    /// token. Rows without a token (some matrices have more rows than tokens) stay where they are.
    pub fn rows_in(&self, rows: usize, other: &Self, other_rows: usize) -> Vec<Option<usize>> {
        let mut found: Vec<Option<usize>> = (0..rows).map(|row| (row < other_rows).then_some(row)).collect();
        for (token, id) in &self.ids {
            if let Some(row) = found.get_mut(*id as usize) {
                let there = other.ids.get(token).map(|id| *id as usize);
                *row = there.filter(|there| *there < other_rows);
            }
        }
        found
    }
}

/// Tokens a message names before it counts the rest.
const NAMED: usize = 5;

impl fmt::Display for VocabularyDifference {
    /// `3 tokens only here ("<a>", "<b>", "<c>"), 1 token with another id ("<pad>": 258 and 0)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |tokens: &[String]| tokens.iter().map(|token| format!("{token:?}")).collect::<Vec<_>>();
        let moved = self.moved.iter().map(|(token, here, there)| format!("{token:?}: {here} and {there}"));
        let groups = [
            ("only here", quoted(&self.only_here)),
            ("only there", quoted(&self.only_there)),
            ("with another id", moved.collect()),
        ];
        let mut separator = "";
        for (what, tokens) in groups.iter().filter(|(_, tokens)| !tokens.is_empty()) {
            let count = tokens.len();
            let plural = if count == 1 { "" } else { "s" };
            let named = tokens[..count.min(NAMED)].join(", ");
            let more = if count > NAMED { ", ..." } else { "" };
            write!(f, "{separator}{count} token{plural} {what} ({named}{more})")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// The digest of what a `tokenizer.json` says: how it is written, and what it says of padding and cut texts,
/// does not count. Nothing if it is none.
pub fn digest(bytes: &[u8]) -> Option<Digest> {
    digest_of(&stated(bytes)?)
}

fn stated(bytes: &[u8]) -> Option<Map<String, Value>> {
    let mut file: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    file.get("model")?.get("vocab")?;
    file.retain(|key, _| !["version", "truncation", "padding"].contains(&key.as_str()));
    Some(file)
}

fn digest_of(file: &Map<String, Value>) -> Option<Digest> {
    canonical::to_vec(file).ok().map(|bytes| Digest::of(&bytes))
}

/// The same without what it says of offsets, pairs of texts and ids of types: two models at hand are compared
/// by it, and no record has it.
pub fn meaning(bytes: &[u8]) -> Option<Digest> {
    let mut file = stated(bytes)?;
    for part in ["pre_tokenizer", "post_processor", "decoder"] {
        file.get_mut(part).into_iter().for_each(without_offsets);
    }
    digest_of(&file)
}

/// Takes out of a part, and all its steps, what changes no id of a text.
fn without_offsets(part: &mut Value) {
    match part {
        Value::Array(steps) => steps.iter_mut().for_each(without_offsets),
        Value::Object(step) => {
            if step.get("type").and_then(Value::as_str) == Some("TemplateProcessing") {
                step.remove("pair");
            }
            step.retain(|key, _| !["trim_offsets", "type_id"].contains(&key.as_str()));
            step.values_mut().for_each(without_offsets);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tokenizer::Tokenizer;

    fn vocabulary(model: &str, added: &str) -> Vocabulary {
        let text = format!("{{\"model\": {{\"vocab\": {model}}}, \"added_tokens\": {added}}}");
        Vocabulary::from_json(text.as_bytes()).unwrap()
    }

    #[test]
    fn differences_are_counted_and_named() {
        let here = vocabulary("{\"a\": 0, \"b\": 1}", "[{\"id\": 2, \"content\": \"<s>\"}]");
        let there = vocabulary("[[\"b\", -1.5], [\"a\", -2.0]]", "[{\"id\": 2, \"content\": \"<x>\"}]");
        assert_eq!((here.difference(&here), here.len()), (None, 3));
        let found = here.difference(&there).unwrap();
        assert_eq!(
            found.to_string(),
            "1 token only here (\"<s>\"), 1 token only there (\"<x>\"), \
             2 tokens with another id (\"a\": 0 and 1, \"b\": 1 and 0)"
        );
        assert_eq!(here.rows_in(5, &there, 4), [Some(1), Some(0), None, Some(3), None]);
        assert_eq!((here.tokens(2).get(1), here.tokens(9).get(3)), (Some(&"b"), None));
        assert_eq!((here.row("b", 2), here.row("b", 1), here.row("?", 9)), (Some(1), None, None));
        assert_eq!((here.dense(2), here.dense(9)), (Some(2), Some(3)));
        assert_eq!(vocabulary("{\"a\": 0, \"b\": 2}", "[]").dense(9), None);
        let many: Vec<String> = (0..9).map(|i| format!("\"t{i}\": {}", i + 3)).collect();
        let many = vocabulary(&format!("{{\"a\": 0, \"b\": 1, {}}}", many.join(", ")), "[]");
        let text = here.difference(&many).unwrap().to_string();
        assert!(text.contains("9 tokens only there (\"t0\", \"t1\", \"t2\", \"t3\", \"t4\", ...)"), "{text}");
    }

    #[test]
    fn our_own_tokenizers_have_one_and_nonsense_has_none() {
        let json = to_json(&Tokenizer::Btok).unwrap();
        assert_eq!(Vocabulary::from_json(&json).unwrap().len(), 260);
        for text in ["", "[]", "{\"model\": {}}", "{\"model\": {\"vocab\": {\"a\": -1}}}"] {
            assert_eq!(Vocabulary::from_json(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn padding_and_spelling_do_not_count() {
        let one = b"{\"model\": {\"vocab\": {\"a\": 0}}, \"padding\": null}";
        let other = b"{\"padding\": {\"length\": 3}, \"model\":{\"vocab\":{\"a\":0}}}";
        for digest in [digest, meaning] {
            assert_eq!(digest(one), digest(other));
            assert_ne!(digest(one), digest(b"{\"model\": {\"vocab\": {\"b\": 0}}}"));
            assert_eq!(digest(b"not json"), None);
        }
        let template = |of: fn(&[u8]) -> Option<Digest>, id: u32, single: &str| {
            let step = format!(
                "{{\"type\": \"TemplateProcessing\", \"pair\": [{id}], \"single\": [{{\"{single}\": {{\"type_id\": {id}}}}}]}}"
            );
            of(format!("{{\"model\": {{\"vocab\": {{}}}}, \"post_processor\": {step}}}").as_bytes())
        };
        assert_eq!(template(meaning, 0, "Sequence"), template(meaning, 1, "Sequence"));
        assert_ne!(template(meaning, 0, "Sequence"), template(meaning, 0, "SpecialToken"));
        // What a record has is what the file says.
        assert_ne!(template(digest, 0, "Sequence"), template(digest, 1, "Sequence"));
    }
}
