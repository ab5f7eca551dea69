//! A `tokenizer.json` as an SLM1 tokenizer, where both make the same ids of every text.
//!
//! What must be so:
//!
//! * the ids 0 to 255 are the bytes, 256 to 259 the only special tokens, BOS stands in front of a text;
//! * nothing is normalised, no token but the special ones is looked for in the text as it stands;
//! * pairs are merged by rank over the whole text. A file that cuts text first says the same only if no
//!   merge could reach over a cut. Cuts lie between characters, so merges within one character are safe
//!   under every one of them, and without merges it does not matter how text is cut;
//! * a piece that is taken whole because it is a token (`ignore_merges`) is what its merges make.
//!
//! A text that spells a special token out is the one exception: here it is text.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{JsonTokenizerError, SPECIALS, byte_char, text_of};
use crate::model::tokenizer::{BOS, Bpe1, EOS, FIRST_PIECE, Merge, Tokenizer};

fn foreign(why: impl Into<String>) -> JsonTokenizerError {
    JsonTokenizerError::Foreign(why.into())
}

/// The tokenizer that a file describes, for a matrix of at least `rows` rows.
///
/// # Errors
///
/// [`JsonTokenizerError::Foreign`] of what SLM1 tokenizers cannot do, with what that is;
/// [`JsonTokenizerError::Tokenizer`] as [`Bpe1::new`].
pub fn read(file: &Map<String, Value>, rows: u32) -> Result<Tokenizer, JsonTokenizerError> {
    let at = |key: &str| file.get(key).filter(|value| !value.is_null());
    let model = |key: &str| file.get("model").and_then(|model| model.get(key));
    if model("type").and_then(Value::as_str) != Some("BPE") {
        return Err(foreign("its model is not `BPE`"));
    }
    if at("normalizer").is_some() {
        return Err(foreign("it normalizes text"));
    }
    let cut = cuts(at("pre_tokenizer"))?;
    for flag in ["byte_fallback", "fuse_unk"] {
        if model(flag).and_then(Value::as_bool) == Some(true) {
            return Err(foreign(format!("its model has `{flag}`")));
        }
    }
    for mark in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if model(mark).and_then(Value::as_str).is_some_and(|mark| !mark.is_empty()) {
            return Err(foreign(format!("its model has `{mark}`")));
        }
    }
    let names = specials(at("added_tokens"))?;
    let ids = vocabulary(model("vocab"), &names)?;
    around(at("post_processor"))?;
    let tokens: Vec<(u32, Vec<u8>)> =
        ids.iter().filter(|(_, id)| **id >= FIRST_PIECE).map(|(bytes, id)| (*id, bytes.clone())).collect();
    let merges = merges(model("merges"), &ids)?;
    if cut {
        within_characters(&tokens, &merges)?;
    }
    let size = tokens.iter().map(|(id, _)| id.saturating_add(1)).fold(rows.max(FIRST_PIECE), u32::max);
    if size == FIRST_PIECE && merges.is_empty() {
        return Ok(Tokenizer::Btok);
    }
    let bpe = Bpe1::new(size, tokens, merges)?;
    if model("ignore_merges").and_then(Value::as_bool) == Some(true) {
        made_by_merges(&bpe)?;
    }
    Ok(Tokenizer::Bpe1(Arc::new(bpe)))
}

/// The steps of a list under `key`, or the one step there is.
fn steps<'v>(value: Option<&'v Value>, key: &str) -> Vec<&'v Value> {
    match value.map(|value| value.get(key).and_then(Value::as_array).ok_or(value)) {
        Some(Ok(steps)) => steps.iter().collect(),
        Some(Err(one)) => vec![one],
        None => Vec::new(),
    }
}

fn kind(step: &Value) -> &str {
    step.get("type").and_then(Value::as_str).unwrap_or("of no type")
}

/// Whether text is cut before pairs are merged.
fn cuts(pre_tokenizer: Option<&Value>) -> Result<bool, JsonTokenizerError> {
    let steps = steps(pre_tokenizer, "pretokenizers");
    let Some((last, before)) = steps.split_last().filter(|(last, _)| kind(last) == "ByteLevel") else {
        return Err(foreign("its pre-tokenizer does not end with `ByteLevel`"));
    };
    for step in before {
        // A cut that throws something away is more than a cut.
        let behavior = step.get("behavior").and_then(Value::as_str);
        let keeps = ["Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"];
        if kind(step) != "Digits" && !(kind(step) == "Split" && behavior.is_some_and(|b| keeps.contains(&b)))
        {
            return Err(foreign(format!("its pre-tokenizer has the step `{}`", kind(step))));
        }
    }
    if last.get("add_prefix_space").and_then(Value::as_bool) != Some(false) {
        return Err(foreign("its pre-tokenizer adds a space"));
    }
    Ok(!before.is_empty() || last.get("use_regex").and_then(Value::as_bool) != Some(false))
}

/// No merge reaches over the boundary of two characters: no byte but the first of what it makes begins a
/// character.
fn within_characters(tokens: &[(u32, Vec<u8>)], merges: &[Merge]) -> Result<(), JsonTokenizerError> {
    let by_id: BTreeMap<u32, &[u8]> = tokens.iter().map(|(id, bytes)| (*id, bytes.as_slice())).collect();
    let begins = |byte: &u8| byte & 0xC0 != 0x80;
    let made = merges.iter().filter_map(|merge| by_id.get(&merge.output));
    match made.copied().find(|bytes| bytes.iter().skip(1).any(begins)) {
        None => Ok(()),
        Some(bytes) => Err(foreign(format!(
            "text is cut by a pattern before pairs are merged, and the token {:?} could lie across a cut; \
             .slm tokenizers merge without cutting",
            text_of(bytes)
        ))),
    }
}

/// Whoever takes a piece whole that is a token must take what its merges make.
fn made_by_merges(bpe: &Bpe1) -> Result<(), JsonTokenizerError> {
    // Pieces are texts: bytes that are none are never one.
    let texts = bpe.pieces().filter(|(_, bytes)| std::str::from_utf8(bytes).is_ok());
    for (id, bytes) in texts {
        let mut made = Vec::new();
        bpe.encode_into(bytes, &mut made);
        if made != [id] {
            let text = text_of(bytes);
            return Err(foreign(format!(
                "its model has `ignore_merges`, and the token {text:?} is not what its merges make"
            )));
        }
    }
    Ok(())
}

type Ids = BTreeMap<Vec<u8>, u32>;

/// The id of every run of bytes; `names` are what the special tokens are called.
fn vocabulary(vocab: Option<&Value>, names: &[(u32, String)]) -> Result<Ids, JsonTokenizerError> {
    let alphabet: BTreeMap<char, u8> = (0..=255).map(|byte| (byte_char(byte), byte)).collect();
    let entries = vocab.and_then(Value::as_object).ok_or_else(|| foreign("its model has no vocabulary"))?;
    let mut ids = Ids::new();
    for (text, id) in entries {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| foreign(format!("the token {text:?} has no id")))?;
        if let Some((_, name)) = names.iter().find(|(special, _)| *special == id) {
            if name == text {
                continue;
            }
            return Err(foreign(format!("the special token {name:?} and {text:?} both have the id {id}")));
        }
        let bytes: Option<Vec<u8>> = text.chars().map(|c| alphabet.get(&c).copied()).collect();
        let bytes = bytes.ok_or_else(|| foreign(format!("the token {text:?} is not made of bytes")))?;
        if let [byte] = bytes[..]
            && u32::from(byte) != id
        {
            return Err(foreign(format!("the byte {byte} has the id {id}, not its own value")));
        }
        ids.insert(bytes, id);
    }
    match (0..=255_u8).find(|byte| !ids.contains_key([*byte].as_slice())) {
        Some(byte) => Err(foreign(format!("the byte {byte} has no id"))),
        None => Ok(ids),
    }
}

/// What the four special tokens are called; no other is looked for in the text.
fn specials(added: Option<&Value>) -> Result<Vec<(u32, String)>, JsonTokenizerError> {
    let mut names = Vec::new();
    for token in added.and_then(Value::as_array).into_iter().flatten() {
        let name = token.get("content").and_then(Value::as_str).unwrap_or_default().to_owned();
        let id = token.get("id").and_then(Value::as_u64);
        let Some((own, _)) = SPECIALS.iter().find(|(own, _)| id == Some(u64::from(*own))) else {
            return Err(foreign(format!(
                "besides pieces of text it has the token {name:?}; \
                 the special tokens of .slm tokenizers are the four ids from 256 to 259"
            )));
        };
        if token.get("special").and_then(Value::as_bool) != Some(true) {
            return Err(foreign(format!("the token {name:?} is looked for in the text as it stands")));
        }
        names.push((*own, name));
    }
    match SPECIALS.iter().find(|(own, _)| names.iter().all(|(id, _)| id != own)) {
        None => Ok(names),
        Some((own, _)) => Err(foreign(format!(
            "no special token has the id {own}; those of .slm tokenizers are the four ids from 256 to 259"
        ))),
    }
}

/// BOS stands in front of a text; EOS may stand behind it, as SLM1 has it.
fn around(post_processor: Option<&Value>) -> Result<(), JsonTokenizerError> {
    let mut around = [Vec::new(), Vec::new()];
    for step in steps(post_processor, "processors") {
        match kind(step) {
            // It moves offsets and changes no id.
            "ByteLevel" => {}
            "TemplateProcessing" => {
                let mut texts = 0;
                for piece in step.get("single").and_then(Value::as_array).into_iter().flatten() {
                    let name = piece.pointer("/SpecialToken/id").and_then(Value::as_str);
                    match name.map(|name| &step["special_tokens"][name]["ids"]).and_then(Value::as_array) {
                        Some(ids) => around[usize::from(texts > 0)].extend(ids.iter().map(Value::as_u64)),
                        None => texts += 1,
                    }
                }
                if texts != 1 {
                    return Err(foreign("its template does not have the text once"));
                }
            }
            other => return Err(foreign(format!("its post-processor has the step `{other}`"))),
        }
    }
    let [bos, eos] = [BOS, EOS].map(|id| Some(u64::from(id)));
    if around[0] == [bos] && (around[1].is_empty() || around[1] == [eos]) {
        return Ok(());
    }
    Err(foreign(
        "it does not put BOS, the id 256, in front of a text and nothing but EOS, 257, behind it, \
         as .slm tokenizers do",
    ))
}

fn merges(merges: Option<&Value>, ids: &Ids) -> Result<Vec<Merge>, JsonTokenizerError> {
    let alphabet: BTreeMap<char, u8> = (0..=255).map(|byte| (byte_char(byte), byte)).collect();
    let bytes = |text: &str| text.chars().map(|c| alphabet.get(&c).copied()).collect::<Option<Vec<u8>>>();
    let listed = merges.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut found = Vec::with_capacity(listed.len());
    for (rank, merge) in listed.iter().enumerate() {
        // Older files join the two by a space.
        let (left, right) = match merge {
            Value::String(text) => text.split_once(' '),
            Value::Array(pair) => {
                pair.first().and_then(Value::as_str).zip(pair.get(1).and_then(Value::as_str))
            }
            _ => None,
        }
        .ok_or_else(|| foreign(format!("merge {rank} is not two texts")))?;
        let known = || {
            let (left, right) = (bytes(left)?, bytes(right)?);
            let output = ids.get(&[left.as_slice(), &right].concat())?;
            let rank = u32::try_from(rank).ok()?;
            Some(Merge { left: *ids.get(&left)?, right: *ids.get(&right)?, output: *output, rank })
        };
        found.push(known().ok_or_else(|| foreign(format!("merge {rank} names a token that is not there")))?);
    }
    let mut pairs: Vec<(u32, u32)> = found.iter().map(|merge| (merge.left, merge.right)).collect();
    pairs.sort_unstable();
    match pairs.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(found),
        Some(pair) => Err(foreign(format!("the ids {} and {} are merged twice", pair[0].0, pair[0].1))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{from_json, to_json};
    use super::*;

    fn bpe(pieces: &[&[u8]], merges: &[(u32, u32)]) -> Tokenizer {
        let tokens = (FIRST_PIECE..).zip(pieces).map(|(id, bytes)| (id, bytes.to_vec())).collect();
        let merge = |(rank, (left, right)): (u32, &(u32, u32))| Merge {
            left: *left,
            right: *right,
            output: FIRST_PIECE + rank,
            rank,
        };
        let size = FIRST_PIECE + pieces.len() as u32;
        Tokenizer::Bpe1(Arc::new(Bpe1::new(size, tokens, (0..).zip(merges).map(merge).collect()).unwrap()))
    }

    fn the() -> Tokenizer {
        bpe(&[b"th", b"the"], &[(116, 104), (260, 101)])
    }

    /// The file of a tokenizer, changed.
    fn changed(tokenizer: &Tokenizer, change: impl Fn(&mut Value)) -> Result<Tokenizer, String> {
        let mut file: Value = serde_json::from_slice(&to_json(tokenizer).unwrap()).unwrap();
        let before = file.clone();
        change(&mut file);
        assert_ne!(file, before);
        from_json(&serde_json::to_vec(&file).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_means_something_else_is_refused_with_the_reason() {
        let file = String::from_utf8(to_json(&the()).unwrap()).unwrap();
        let refused = |from: &str, to: &str| {
            let changed = file.replace(from, to);
            assert_ne!(changed, file, "{from}");
            from_json(changed.as_bytes()).unwrap_err().to_string()
        };
        assert!(refused("\"BPE\"", "\"Unigram\"").contains("not `BPE`"));
        assert!(
            refused("\"use_regex\": false", "\"use_regex\": true").contains("the token \"th\" could lie")
        );
        assert!(
            refused("\"add_prefix_space\": false", "\"add_prefix_space\": true").contains("adds a space")
        );
        assert!(refused("\"a\": 97", "\"a\": 300").contains("the byte 97 has the id 300"));
        assert!(refused("\"a\": 97,", "").contains("the byte 97 has no id"));
        assert!(
            refused("\"id\": 256", "\"id\": 300")
                .contains("besides pieces of text it has the token \"<bos>\"")
        );
        assert!(refused("\"special\": true", "\"special\": false").contains("\"<bos>\" is looked for"));
        assert!(refused("\"normalizer\": null", "\"normalizer\": {}").contains("normalizes"));
        assert!(refused("\"th\": 260,", "").contains("merge 0"));
        assert!(refused("\"th\": 260", "\"th\": 258").contains("\"<pad>\" and \"th\" both have the id 258"));
        assert!(
            refused("\"end_of_word_suffix\": null", "\"end_of_word_suffix\": \"/\"").contains("end_of_word")
        );
        assert!(from_json(b"[]").is_err());
    }

    #[test]
    fn what_stands_around_a_text_must_be_the_same() {
        let template =
            |single: Value| changed(&the(), |file| file["post_processor"]["single"] = single.clone());
        let (bos, text) =
            (json!({ "SpecialToken": { "id": "<bos>" } }), json!({ "Sequence": { "id": "A" } }));
        for (single, why) in [
            (json!([text]), "does not put BOS"),
            (json!([bos, bos, text]), "does not put BOS"),
            (json!([bos, text, bos]), "nothing but EOS"),
            (json!([bos, text, text]), "the text once"),
        ] {
            let error = template(single.clone()).unwrap_err();
            assert!(error.contains(why), "{single}: {error}");
        }
        assert!(changed(&the(), |file| file["post_processor"] = Value::Null).unwrap_err().contains("BOS"));
        let with_eos = changed(&the(), |file| {
            file["post_processor"]["single"] = json!([bos, text, { "SpecialToken": { "id": "<eos>" } }]);
            file["post_processor"]["special_tokens"]["<eos>"] = json!({ "id": "<eos>", "ids": [257] });
        });
        assert_eq!(with_eos, Ok(the()));
        let other = changed(&the(), |file| file["post_processor"]["type"] = json!("BertProcessing"));
        assert!(other.unwrap_err().contains("`BertProcessing`"));
    }

    /// However text is cut, it is cut between characters.
    #[test]
    fn a_cut_that_no_merge_can_reach_over_changes_nothing() {
        let digits = json!({ "type": "Digits", "individual_digits": true });
        let split =
            |behavior: &str| json!({ "type": "Split", "pattern": { "String": "x" }, "behavior": behavior });
        let level = json!({ "type": "ByteLevel", "add_prefix_space": false, "use_regex": true });
        let cut = |tokenizer: &Tokenizer, step: &Value| {
            changed(tokenizer, |file| {
                file["pre_tokenizer"] = json!({ "type": "Sequence", "pretokenizers": [step, level] });
            })
        };
        // Two bytes of a character, three of them, the middle of some.
        let pieces: [&[u8]; 3] = ["é".as_bytes(), &[0xE2, 0x82], "€".as_bytes()];
        let characters = bpe(&pieces, &[(0xC3, 0xA9), (0xE2, 0x82), (261, 0xAC)]);
        for tokenizer in [Tokenizer::Btok, characters.clone()] {
            for step in [&digits, &split("Isolated"), &split("MergedWithNext")] {
                assert_eq!(cut(&tokenizer, step).as_ref(), Ok(&tokenizer), "{step}");
            }
        }
        assert!(cut(&Tokenizer::Btok, &split("Removed")).unwrap_err().contains("has the step `Split`"));
        assert!(cut(&the(), &digits).unwrap_err().contains("could lie across a cut"));
        let over = bpe(&[&[0xA9, 0xC3]], &[(0xA9, 0xC3)]);
        assert!(cut(&over, &digits).unwrap_err().contains("could lie across a cut"));
        // A piece that is taken whole is what merges make of it, or not.
        let whole =
            |tokenizer: &Tokenizer| changed(tokenizer, |file| file["model"]["ignore_merges"] = json!(true));
        assert_eq!(whole(&characters), Ok(characters));
        let unmade = bpe(&["é".as_bytes(), b"ab"], &[(0xC3, 0xA9)]);
        assert!(whole(&unmade).unwrap_err().contains("\"ab\" is not what its merges make"));
        let twice = changed(&the(), |file| file["model"]["merges"] = json!(["t h", "th e", "t h"]));
        assert!(twice.unwrap_err().contains("merged twice"));
    }
}
