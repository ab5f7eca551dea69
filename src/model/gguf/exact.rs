//! The vocabulary of a GGUF file as an SLM1 tokenizer, where both make the same ids of every text.
//!
//! Only byte-level pairs (`gpt2`) can be: the tokens 0 to 255 are the bytes, 256 to 259 BOS, EOS, PAD and
//! UNK, BOS stands in front of a text and EOS ends an answer. The runtimes of that world cut text by a
//! pattern before they merge, whatever `tokenizer.ggml.pre` says, so no merge may reach over the boundary
//! of two characters ([`json::read`] looks at that); then it does not matter which pattern it is, and a file
//! that names none will do. Everything else is refused with the reason.

use serde_json::Value;

use super::facts::{Fact, Facts};
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

/// The SLM1 tokenizer that says the same as a file's tables, or why there is none.
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
    let file = vocabulary::byte_level_with(facts, cutting(facts)?).map_err(|error| error.to_string())?;
    let Value::Object(file) = file else { return Err("its tables are none".to_owned()) };
    let rows = vocabulary::list(facts, "tokens").map_or(0, <[Fact]>::len);
    let rows = u32::try_from(rows).map_err(|_| format!("it has {rows} tokens"))?;
    json::read::read(&file, rows).map_err(json::JsonTokenizerError::why)
}

/// What is cheap to see: most vocabularies have their bytes elsewhere.
fn bytes_first(facts: &Facts) -> Result<(), String> {
    let tokens = vocabulary::list(facts, "tokens").map_err(|error| error.to_string())?;
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
            _ => return Err(format!("it has no token {byte}; in .slm tokenizers the ids 0 to 255 are the bytes")),
        }
    }
    Ok(())
}

/// BOS and EOS are those of SLM1, and no other id ends an answer.
fn ends(facts: &Facts) -> Result<(), String> {
    for (part, own, needed) in [("bos", BOS, true), ("eos", EOS, true), ("eot", EOS, false), ("eom", EOS, false)] {
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
            Some(known) if known.composed => {
                Err(format!("`{pre}` (`tokenizer.ggml.pre`) composes characters, .slm tokenizers take bytes as they are"))
            }
            Some(known) => Ok(known),
            None => Err(format!("how `{pre}` (`tokenizer.ggml.pre`) cuts text is not known here")),
        },
    }
}
