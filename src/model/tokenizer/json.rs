//! SLM1 tokenizers as Hugging Face's `tokenizer.json`, and back.
//!
//! Both of ours are byte-pair encodings over the 256 bytes, which that file can say exactly: a `BPE`
//! model whose vocabulary begins with the byte alphabet of GPT-2 (each byte as one printable
//! character), a `ByteLevel` pre-tokenizer that cuts nothing, four special tokens, and a template
//! that puts BOS in front of a prompt. Merges keep their order of ranks.
//!
//! The way back ([`mod@read`]) takes only what means the same here; most tokenizers of that world do not
//! (their bytes have other ids, or text is cut by patterns first), and are refused with the reason.

pub mod read;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{BOS, Bpe1, EOS, Merge, PAD, Tokenizer, TokenizerError, UNK};

/// Longest file that is read.
const MAX_BYTES: usize = 64 << 20;

/// How the specials are written.
const SPECIALS: [(u32, &str); 4] = [(BOS, "<bos>"), (EOS, "<eos>"), (PAD, "<pad>"), (UNK, "<unk>")];

/// Why one cannot become the other.
#[derive(Debug, thiserror::Error)]
pub enum JsonTokenizerError {
    /// Not readable as JSON.
    #[error("tokenizer.json: {0}")]
    Json(String),
    /// It means something that SLM1 tokenizers cannot.
    #[error("this tokenizer.json cannot be an SLM1 tokenizer: {0}")]
    Foreign(String),
    /// It means something that `tokenizer.json` cannot.
    #[error("this SLM1 tokenizer cannot be a tokenizer.json: {0}")]
    Inexpressible(String),
    /// The result is no tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl JsonTokenizerError {
    /// The reason alone, for whoever says himself what it is a reason for.
    pub fn why(self) -> String {
        match self {
            Self::Foreign(why) => why,
            other => other.to_string(),
        }
    }
}

/// The character that stands for a byte: itself if printable and no space, else one from U+0100 on.
pub(in crate::model) fn byte_char(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|other| !printable(*other)).count() as u32;
    char::from_u32(0x100 + before).expect("far below the surrogates")
}

fn text_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| byte_char(*byte)).collect()
}

/// The file.
///
/// # Errors
///
/// [`JsonTokenizerError::Inexpressible`] if two ids stand for the same bytes, or a merge makes other bytes than
/// those that it joins.
pub fn to_json(tokenizer: &Tokenizer) -> Result<Vec<u8>, JsonTokenizerError> {
    #[cfg(feature = "engine")]
    if let Tokenizer::HuggingFace(tokenizer) = tokenizer {
        return of_another(tokenizer.section());
    }
    let mut vocab: BTreeMap<String, u32> =
        (0..=255).map(|byte| (text_of(&[byte]), u32::from(byte))).collect();
    let mut merges = Vec::new();
    if let Tokenizer::Bpe1(bpe) = tokenizer {
        for (id, bytes) in bpe.pieces() {
            if let Some(other) = vocab.insert(text_of(bytes), id) {
                let why = format!("the ids {other} and {id} stand for the same bytes");
                return Err(JsonTokenizerError::Inexpressible(why));
            }
        }
        for merge in bpe.merges() {
            merges.push(pair(bpe, &merge)?);
        }
    }
    let special = |(id, content): (u32, &str)| {
        json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
    };
    let bos = json!({ "SpecialToken": { "id": "<bos>", "type_id": 0 } });
    let sequence = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
    let file = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": SPECIALS.map(special),
        "normalizer": null,
        "pre_tokenizer": byte_level(),
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, sequence("A")],
            "pair": [bos, sequence("A"), sequence("B")],
            "special_tokens": { "<bos>": { "id": "<bos>", "ids": [BOS], "tokens": ["<bos>"] } },
        },
        "decoder": byte_level(),
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": merges,
        },
    });
    let mut bytes = serde_json::to_vec_pretty(&file).expect("plain values");
    bytes.push(b'\n');
    Ok(bytes)
}

/// Another family's file, with the keys that say nothing of ids.
#[cfg(feature = "engine")]
fn of_another(section: &[u8]) -> Result<Vec<u8>, JsonTokenizerError> {
    let json = |error: serde_json::Error| JsonTokenizerError::Json(error.to_string());
    let mut file: Map<String, Value> = serde_json::from_slice(section).map_err(json)?;
    file.insert("version".to_owned(), json!("1.0"));
    for key in ["truncation", "padding"] {
        file.insert(key.to_owned(), Value::Null);
    }
    let mut bytes = serde_json::to_vec_pretty(&file).map_err(json)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn byte_level() -> Value {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false })
}

/// A merge as two texts; it must make just what both say together.
fn pair(bpe: &Bpe1, merge: &Merge) -> Result<[String; 2], JsonTokenizerError> {
    let bytes = |id: u32| match u8::try_from(id) {
        Ok(byte) => Some(vec![byte]),
        Err(_) => bpe.piece(id).map(<[u8]>::to_vec),
    };
    let (left, right, output) = (bytes(merge.left), bytes(merge.right), bytes(merge.output));
    match (left, right, output) {
        (Some(left), Some(right), Some(output)) if [left.as_slice(), &right].concat() == output => {
            Ok([text_of(&left), text_of(&right)])
        }
        _ => Err(JsonTokenizerError::Inexpressible(format!(
            "the merge of {} and {} into {} does not join their bytes",
            merge.left, merge.right, merge.output
        ))),
    }
}

/// The tokenizer that a file describes, if it can be one of ours.
///
/// # Errors
///
/// [`JsonTokenizerError::Json`] of more than 64 MiB or no JSON object; else as [`read::read`].
pub fn from_json(bytes: &[u8]) -> Result<Tokenizer, JsonTokenizerError> {
    if bytes.len() > MAX_BYTES {
        return Err(JsonTokenizerError::Json(format!("{} bytes are too many", bytes.len())));
    }
    let file: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| JsonTokenizerError::Json(error.to_string()))?;
    read::read(&file, 0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_alphabet_is_gpt2s() {
        // Known points of that table: space, newline, tab, NUL, DEL, soft hyphen.
        let known =
            [(b' ', 'Ġ'), (b'\n', 'Ċ'), (b'\t', 'ĉ'), (0, 'Ā'), (0x7F, 'ġ'), (0xAD, 'Ń'), (b'a', 'a')];
        for (byte, character) in known {
            assert_eq!(byte_char(byte), character, "{byte}");
        }
        let all: std::collections::BTreeSet<char> = (0..=255).map(byte_char).collect();
        assert_eq!(all.len(), 256);
    }

    fn the() -> Tokenizer {
        let merges = vec![
            Merge { left: u32::from(b't'), right: u32::from(b'h'), output: 260, rank: 0 },
            Merge { left: 260, right: u32::from(b'e'), output: 261, rank: 1 },
        ];
        let tokens = vec![(260, b"th".to_vec()), (261, b"the".to_vec())];
        Tokenizer::Bpe1(Arc::new(Bpe1::new(262, tokens, merges).unwrap()))
    }

    #[test]
    fn both_come_back_as_they_were() {
        for tokenizer in [Tokenizer::Btok, the()] {
            let file = to_json(&tokenizer).unwrap();
            assert_eq!(from_json(&file).unwrap(), tokenizer);
        }
    }

    #[test]
    fn merges_that_do_not_join_are_inexpressible() {
        let merges = vec![Merge { left: 97, right: 98, output: 260, rank: 0 }];
        let bpe = Bpe1::new(261, vec![(260, b"xy".to_vec())], merges).unwrap();
        let tokenizer = Tokenizer::Bpe1(Arc::new(bpe));
        assert!(to_json(&tokenizer).unwrap_err().to_string().contains("does not join"));
    }
}
