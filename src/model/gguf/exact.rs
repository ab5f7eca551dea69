//! The vocabulary of a GGUF file as an SLM1 tokenizer, where both make the same ids of every text.
//!
//! Only byte-level pairs (`gpt2`) can be: the tokens 0 to 255 are the bytes, 256 to 259 BOS, EOS, PAD and
//! UNK, BOS stands in front of a text and EOS ends an answer. The runtimes of that world cut text by a
//! pattern before they merge, whatever `tokenizer.ggml.pre` says, so no merge may reach over the boundary
//! of two characters ([`json::read`] looks at that); then it does not matter which pattern it is, and a file
//! that names none will do. Everything else is refused with the reason.

use serde_json::Value;

use super::facts::{Fact, Facts};
use super::meaning::MeaningError;
use super::vocabulary::{self, Cut, cut};
use crate::model::tokenizer::json::{self, byte_char};
use crate::model::tokenizer::{BOS, EOS, Tokenizer};

/// What other models of a vocabulary are, so that a refusal can say what it met.
const OTHERS: [(&str, &str); 5] = [
    ("llama", "sentencepiece's pieces and scores, which join characters, not bytes"),
    ("bert", "WordPiece, which takes the longest piece of a word, not pairs of bytes"),
    ("t5", "sentencepiece's unigram model, which weighs whole cuts, not pairs of bytes"),
    ("rwkv", "the longest piece at every place, not pairs of bytes"),
    ("plamo2", "a table of suffixes, not pairs of bytes"),
];

/// The SLM1 tokenizer that says the same as a file's tables.
///
/// # Errors
///
/// Why there is none, as a phrase: another model than `gpt2`, bytes that are not the first 256 tokens, other
/// ids that begin and end a text, or what [`json::read`](mod@json::read) cannot take.
pub fn tokenizer(facts: &Facts) -> Result<Tokenizer, String> {
    match facts.text("tokenizer.ggml.model") {
        Some("gpt2") => {}
        None | Some("none") => return Err("the file has none (`tokenizer.ggml.model`)".to_owned()),
        Some(other) => {
            let known = OTHERS.iter().find(|(name, _)| *name == other);
            let what = known.map_or("not known here", |(_, what)| what);
            return Err(format!("its model `{other}` is {what}"));
        }
    }
    bytes_first(facts)?;
    ends(facts)?;
    let file = vocabulary::byte_level_with(facts, cutting(facts)?).map_err(why)?;
    let Value::Object(file) = file else { return Err("its tables are none".to_owned()) };
    let rows = vocabulary::list(facts, "tokens").map_or(0, <[Fact]>::len);
    let rows = u32::try_from(rows).map_err(|_| format!("it has {rows} tokens"))?;
    json::read::read(&file, rows).map_err(json::JsonTokenizerError::why)
}

/// The reason alone.
fn why(error: MeaningError) -> String {
    match error {
        MeaningError::Vocabulary(why) => why,
        other => other.to_string(),
    }
}

/// What is cheap to see: most vocabularies have their bytes elsewhere.
fn bytes_first(facts: &Facts) -> Result<(), String> {
    let tokens = vocabulary::list(facts, "tokens").map_err(why)?;
    for byte in 0..=255_u8 {
        let expected = byte_char(byte);
        match tokens.get(usize::from(byte)) {
            Some(Fact::Text(text)) if text.chars().eq([expected]) => {}
            Some(Fact::Text(text)) => {
                return Err(format!(
                    "its token {byte} is {text:?}; in .slm tokenizers the ids 0 to 255 are the bytes \
                     ({byte} would be {:?})",
                    expected.to_string()
                ));
            }
            _ => {
                return Err(format!(
                    "it has no token {byte}; in .slm tokenizers the ids 0 to 255 are the bytes"
                ));
            }
        }
    }
    Ok(())
}

/// BOS and EOS are those of SLM1, and no other id ends an answer.
fn ends(facts: &Facts) -> Result<(), String> {
    for (part, own, needed) in
        [("bos", BOS, true), ("eos", EOS, true), ("eot", EOS, false), ("eom", EOS, false)]
    {
        let name = format!("tokenizer.ggml.{part}_token_id");
        let said = match facts.unsigned(&name) {
            Some(said) if said == u64::from(own) => continue,
            Some(said) => said.to_string(),
            None if facts.get(&name).is_some() => "no id".to_owned(),
            None if needed => "missing".to_owned(),
            None => continue,
        };
        return Err(format!("`{name}` is {said}; in .slm tokenizers it is {own}"));
    }
    Ok(())
}

/// How text is cut; of a file that does not say it, that it is.
fn cutting(facts: &Facts) -> Result<Cut, String> {
    let pre = facts.text("tokenizer.ggml.pre");
    let some = cut("gpt-2").ok_or("there is no cut")?;
    match pre {
        None | Some("default") => Ok(some),
        Some(pre) => match cut(pre) {
            Some(known) if known.composed => Err(format!(
                "`{pre}` (`tokenizer.ggml.pre`) composes characters, .slm tokenizers take bytes as they are"
            )),
            Some(known) => Ok(known),
            None => Err(format!("how `{pre}` (`tokenizer.ggml.pre`) cuts text is not known here")),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(texts: Vec<String>) -> Fact {
        Fact::List(texts.into_iter().map(Fact::Text).collect())
    }

    fn letters(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| byte_char(*byte)).collect()
    }

    /// The tables of a byte-level vocabulary with these pieces, each the join of two others.
    fn tables(pre: Option<&str>, merges: &[(Vec<u8>, Vec<u8>)]) -> Facts {
        let mut facts = Facts::default();
        let mut say = |name: &str, fact| facts.push(format!("tokenizer.ggml.{name}"), fact);
        let pieces = merges.iter().map(|(left, right)| letters(&[left.as_slice(), right].concat()));
        let specials = ["<s>", "</s>", "<pad>", "<unk>"].map(str::to_owned);
        let tokens: Vec<String> =
            (0..=255).map(|byte| letters(&[byte])).chain(specials).chain(pieces).collect();
        let kinds = (0..tokens.len()).map(|id| Fact::Signed(if (256..260).contains(&id) { 3 } else { 1 }));
        say("model", Fact::Text("gpt2".to_owned()));
        if let Some(pre) = pre {
            say("pre", Fact::Text(pre.to_owned()));
        }
        say("token_type", Fact::List(kinds.collect()));
        say("tokens", texts(tokens));
        let pair = |(left, right): &(Vec<u8>, Vec<u8>)| format!("{} {}", letters(left), letters(right));
        say("merges", texts(merges.iter().map(pair).collect()));
        say("bos_token_id", Fact::Unsigned(256));
        say("eos_token_id", Fact::Unsigned(257));
        say("add_bos_token", Fact::Bool(true));
        facts
    }

    #[test]
    fn bytes_are_the_byte_tokenizer_however_text_is_cut() {
        for pre in [None, Some("default"), Some("gpt-2"), Some("llama-bpe"), Some("smollm")] {
            assert_eq!(tokenizer(&tables(pre, &[])), Ok(Tokenizer::Btok), "{pre:?}");
        }
        assert!(tokenizer(&tables(Some("qwen2"), &[])).unwrap_err().contains("composes characters"));
        assert!(tokenizer(&Facts::default()).unwrap_err().contains("the file has none"));
    }

    proptest! {
        /// Whatever is taken makes the ids that the file's own steps make; so does every merge within a
        /// character, and no merge over two.
        #[test]
        fn ids_are_those_of_the_steps(
            pre in prop::sample::select(vec!["gpt-2", "llama-bpe", "smollm"]),
            drawn in prop::collection::vec((0_usize..40, 0_usize..40), 0..12),
            text in "[ab 0-3'sé€ü👍\n]{0,24}",
        ) {
            let mut pieces: Vec<Vec<u8>> = "ab's 0\u{e9}\u{20ac}\u{fc}\u{1f44d}".bytes().map(|byte| vec![byte]).collect();
            pieces.sort();
            pieces.dedup();
            let mut merges = Vec::new();
            for (left, right) in drawn {
                let pair = (pieces[left % pieces.len()].clone(), pieces[right % pieces.len()].clone());
                let made = [pair.0.as_slice(), &pair.1].concat();
                if !pieces.contains(&made) {
                    pieces.push(made);
                    merges.push(pair);
                }
            }
            let facts = tables(Some(pre), &merges);
            let begins = |byte: &u8| byte & 0xC0 != 0x80;
            let within = merges.iter().all(|(left, right)| !left[1..].iter().chain(right).any(begins));
            match (tokenizer(&facts), vocabulary::tokenizer(&facts).unwrap().unwrap()) {
                (Ok(ours), theirs) => {
                    prop_assert!(within);
                    prop_assert_eq!(ours.encode_prompt(&text).unwrap(), theirs.encode_prompt(&text).unwrap());
                }
                // A piece that is taken whole may be one that its merges do not make.
                (Err(why), _) => prop_assert!(!within || why.contains("ignore_merges"), "{}", why),
            }
        }
    }
}
