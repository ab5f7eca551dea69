//! A `tokenizer.json` whose pieces are characters, as the pieces and scores of a GGUF file: the way back from what
//! [`super::vocabulary`] makes of those.
//!
//! A score says how early a piece is made, whatever its two halves are, and any two pieces that make a third are
//! joined. A tokenizer has merges, and need not have all of these. What counts is which of them any text is joined by
//! ([`crate::model::tokenizer::huggingface::ways`]): where those are the same in the same order, so are the ids of
//! every text; else it is refused, with a piece that would be joined otherwise.
//!
//! A token that is found in a text as it is and is joined, too, has both in GGUF: files of gemma have such tokens for
//! several spaces, which are joined from single ones, and found where a text has [`SPACE`] itself.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::facts::{Fact, Facts};
use super::tables::{TablesError, steps, unsaid};
use super::vocabulary::{SPACE, kind};
use crate::model::tokenizer::HfTokenizer;
use crate::model::tokenizer::huggingface::ways::Ways;

/// Larger than any rank that an f32 holds exactly.
const MOST: u32 = 1 << 24;

/// Whether the pieces of a tokenizer are characters, which are spelled in bytes where they are no token.
pub(super) fn are_characters(file: &Value) -> bool {
    file["model"]["byte_fallback"] == true
}

/// Says of which model the vocabulary is, and whether a space is put in front.
pub(super) fn write_model(file: &Value, facts: &mut Facts) -> Result<(), TablesError> {
    let spaced = puts_space(file)?;
    let cuts = steps(&file["pre_tokenizer"], "pretokenizers");
    // No space is left to cut at.
    if cuts.iter().any(|cut| cut["type"] != "Split" || cut["pattern"]["String"] != " ") {
        return unsaid("its pieces are characters, and it cuts text before it joins them");
    }
    if file["model"]["ignore_merges"] == true {
        return unsaid(
            "its pieces are characters, and it takes words whole before it joins them (`ignore_merges`)",
        );
    }
    facts.push("tokenizer.ggml.model", Fact::Text("llama".to_owned()));
    facts.push("tokenizer.ggml.pre", Fact::Text("default".to_owned()));
    facts.push("tokenizer.ggml.add_space_prefix", Fact::Bool(spaced));
    Ok(())
}

/// Whether the normaliser puts a space in front of a text; it makes a character of its own of every space.
fn puts_space(file: &Value) -> Result<bool, TablesError> {
    let normal = steps(&file["normalizer"], "normalizers");
    let replaces = |step: &Value| {
        step["type"] == "Replace" && step["pattern"]["String"] == " " && step["content"] == SPACE
    };
    let prepends = |step: &Value| step["type"] == "Prepend" && step["prepend"] == SPACE;
    match normal.as_slice() {
        [one] if replaces(one) => Ok(false),
        [first, one] if prepends(first) && replaces(one) => Ok(true),
        _ => unsaid("its pieces are characters, and its normaliser is not that of sentencepiece's models"),
    }
}

/// The kind of a token of the vocabulary.
pub(super) fn kind_of(file: &Value, text: &str) -> u64 {
    let is_byte = |byte: u8| text == format!("<0x{byte:02X}>");
    if file["model"]["unk_token"] == text {
        kind::UNKNOWN
    } else if text.starts_with("<0x") && (0..=255).any(is_byte) {
        kind::BYTE
    } else {
        kind::NORMAL
    }
}

/// The score of every token: how early it is made of two others.
pub(super) fn write_scores(
    tokenizer: &HfTokenizer,
    tokens: usize,
    facts: &mut Facts,
) -> Result<(), TablesError> {
    let ranks = ways(tokenizer)?.ranks;
    let latest = ranks.values().max().map_or(0, |rank| rank + 1);
    if latest >= MOST {
        return unsaid(format!("it has {latest} merges, of more than scores can tell apart"));
    }
    let score = |id: usize| {
        let rank = u32::try_from(id).ok().and_then(|id| ranks.get(&id)).copied();
        Fact::F32(-(rank.unwrap_or(latest) as f32))
    };
    facts.push("tokenizer.ggml.scores", Fact::List((0..tokens).map(score).collect()));
    Ok(())
}

fn ways(tokenizer: &HfTokenizer) -> Result<Ways, TablesError> {
    match tokenizer.ways() {
        Some(ways) => Ok(ways),
        None => unsaid("its pieces are characters, and it joins single bytes or what it does not know"),
    }
}

/// Refuses what was read back if it joins other pieces, or in another order, or finds other tokens in a text as
/// they are.
pub(super) fn check_back(file: &Value, own: &HfTokenizer, back: &HfTokenizer) -> Result<(), TablesError> {
    let Ok(read) = serde_json::from_slice::<Value>(back.section()) else {
        return unsaid("what was written would be read as no JSON");
    };
    if !are_characters(&read) {
        return unsaid(
            "its pieces are characters, and not every byte has a token for characters without one",
        );
    }
    if let Some(unknown) = file["model"]["unk_token"].as_str() {
        let is_found = |(_, text, _): &(u64, &str, bool)| *text == unknown;
        if !specials(file).iter().any(is_found) {
            return unsaid(format!(
                "its token {unknown:?} for what it does not know is not found where a text names it \
                 (`added_tokens`), as it is in GGUF"
            ));
        }
    }
    let rows = u64::from(back.vocab_size());
    let mut there = specials(file);
    there.retain(|(id, ..)| *id < rows);
    if there != specials(&read) {
        return unsaid(
            "its pieces are characters, and GGUF cannot say which tokens stand in a text as they are",
        );
    }
    same_ways(file, own, back)
}

/// Refuses pieces that are joined in another way, and names the first.
fn same_ways(file: &Value, own: &HfTokenizer, back: &HfTokenizer) -> Result<(), TablesError> {
    let made = |tokenizer| -> Result<Vec<[u32; 3]>, TablesError> {
        let live = ways(tokenizer)?.live;
        Ok(live.into_iter().map(|way| [way.left, way.right, way.whole]).collect())
    };
    let (ours, theirs) = (made(own)?, made(back)?);
    if ours == theirs {
        return Ok(());
    }
    let vocabulary = file["model"]["vocab"].as_object().into_iter().flatten();
    let texts: HashMap<u64, &str> =
        vocabulary.filter_map(|(text, id)| Some((id.as_u64()?, text.as_str()))).collect();
    let text = |id: u32| texts.get(&u64::from(id)).copied().unwrap_or_default();
    let pair = |[left, right, _]: [u32; 3]| format!("{:?} and {:?}", text(left), text(right));
    let known: BTreeSet<[u32; 3]> = ours.iter().copied().collect();
    // The shortest, of which longer ones are made.
    let more = theirs.iter().filter(|way| !known.contains(*way)).min_by_key(|way| text(way[2]).len());
    if let Some(more) = more {
        let instead = ours.iter().find(|way| way[2] == more[2]);
        let instead = instead.map_or_else(|| "never does".to_owned(), |way| format!("joins {}", pair(*way)));
        return unsaid(format!(
            "GGUF joins any two pieces that make a third, by a score of that one: {} would become {:?}, for which \
             this tokenizer {instead}",
            pair(*more),
            text(more[2])
        ));
    }
    let there: BTreeSet<[u32; 3]> = theirs.iter().copied().collect();
    match ours.iter().find(|way| !there.contains(*way)) {
        Some(lost) => unsaid(format!(
            "it joins {} to {:?}, which in GGUF is no piece that anything is joined to",
            pair(*lost),
            text(lost[2])
        )),
        None => unsaid("its pieces are characters, and scores do not say the order in which it joins them"),
    }
}

/// The tokens that are found in a text as they are, by id.
fn specials(file: &Value) -> Vec<(u64, &str, bool)> {
    let added = steps(&file["added_tokens"], "");
    let mut found: Vec<_> = added
        .into_iter()
        .map(|token| {
            let content = token["content"].as_str().unwrap_or_default();
            (token["id"].as_u64().unwrap_or_default(), content, token["special"] == true)
        })
        .collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tables;
    use super::super::vocabulary::tests::{gemma, hf, llama};
    use super::*;
    use crate::model::tokenizer::Tokenizer;

    fn written(tokenizer: &HfTokenizer) -> Result<Facts, String> {
        let mut facts = Facts::default();
        tables::write(tokenizer, 445, &mut facts).map_err(|error| error.to_string())?;
        Ok(facts)
    }

    #[test]
    fn what_sentencepiece_made_goes_to_a_folder_and_back() {
        for (facts, cases) in [llama(), gemma()] {
            let own = hf(&facts);
            let back = written(&own).unwrap();
            for name in ["model", "tokens", "token_type", "bos_token_id", "eos_token_id"] {
                let said = |facts: &Facts| facts.get(&format!("tokenizer.ggml.{name}")).cloned();
                let (Some(Fact::List(ours)), Some(Fact::List(theirs))) = (said(&back), said(&facts)) else {
                    assert_eq!(said(&back), said(&facts), "{name}");
                    continue;
                };
                assert_eq!(ours[..440], theirs, "{name}");
            }
            let back = hf(&back);
            assert!(cases.len() > 20);
            for case in cases {
                let [ids, expected] = [&back, &own]
                    .map(|tokenizer| Tokenizer::HuggingFace(tokenizer.clone()).encode(&case.text).unwrap());
                assert_eq!(ids, expected, "{:?}", case.text);
            }
        }
    }

    fn changed(change: &dyn Fn(&mut Value)) -> HfTokenizer {
        let mut file: Value = serde_json::from_slice(hf(&gemma().0).section()).unwrap();
        change(&mut file);
        HfTokenizer::from_json(&serde_json::to_vec(&file).unwrap()).unwrap()
    }

    fn merges(file: &Value) -> Vec<[String; 2]> {
        serde_json::from_value(file["model"]["merges"].clone()).unwrap()
    }

    /// The texts of fixtures, and ids of them as they are read back.
    fn same_ids(own: &HfTokenizer, rows: u32) {
        let mut facts = Facts::default();
        tables::write(own, rows, &mut facts).unwrap();
        let back = hf(&facts);
        // A token without a row is one that the file does not have.
        assert_eq!(own.meaning() == back.meaning(), own.vocab_size() <= rows);
        let [own, back] = [own.clone().into(), back].map(Tokenizer::HuggingFace);
        let file = include_str!("../../../tests/fixtures/tokenizers/encodings.json");
        let file: Value = serde_json::from_str(file).unwrap();
        for case in file["known"][0]["cases"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let ids = own.encode(text).unwrap();
            assert_eq!(back.encode(text), Ok(ids.clone()), "{text:?}");
            assert_eq!(back.decode(&ids), own.decode(&ids), "{text:?}");
        }
    }

    /// Files of the library: their merges are not every way to make a piece, or they are, with pieces among them that
    /// stand in a text as they are.
    #[test]
    fn files_of_gemma_go_there_and_back() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizers");
        for (name, rows) in [("gemma3", 420), ("gemma", 420), ("gemma3-shipped", 425), ("llama2", 420)] {
            let file = std::fs::read(format!("{folder}/{name}.json")).unwrap();
            let own = HfTokenizer::from_json(&file).unwrap();
            assert!(own.ways().expect(name).live.len() > 90, "{name}");
            // Some have a token for images, and no row for it.
            same_ids(&own, rows);
            same_ids(&own, 426);
        }
    }

    /// A merge that no text is joined by says nothing, wherever it stands.
    #[test]
    fn merges_that_are_never_used_may_be_listed_or_not() {
        let own = changed(&|_| {});
        let live = own.ways().unwrap().live;
        let text = |id| String::from_utf8(own.bytes(id).unwrap().to_vec()).unwrap().replace(' ', SPACE);
        let used: Vec<[String; 2]> = live.iter().map(|way| [way.left, way.right].map(text)).collect();
        let all = merges(&serde_json::from_slice(own.section()).unwrap());
        assert!(used.len() > 100 && all.len() > used.len(), "{} of {}", used.len(), all.len());
        same_ids(&changed(&|file| file["model"]["merges"] = json!(used)), 445);
        let unused = all.iter().filter(|way| !used.contains(way));
        let behind: Vec<_> = used.iter().chain(unused.clone()).collect();
        same_ids(&changed(&|file| file["model"]["merges"] = json!(behind)), 445);
        let cut = changed(&|file| {
            file["model"]["vocab"]["<sep>a"] = 441.into();
            file["model"]["merges"].as_array_mut().unwrap().push(json!(["<sep>", "a"]));
        });
        same_ids(&cut, 445);
    }

    #[test]
    fn what_scores_cannot_say_is_refused() {
        let refused = |change: &dyn Fn(&mut Value)| written(&changed(change)).unwrap_err();
        let fewer = refused(&|file| {
            let other = merges(file).split_off(1);
            file["model"]["merges"] = json!(other);
        });
        let [left, right] = &merges(&serde_json::from_slice(hf(&gemma().0).section()).unwrap())[0];
        let expected = format!(
            "GGUF joins any two pieces that make a third, by a score of that one: {left:?} and {right:?} would \
             become \"{left}{right}\", for which this tokenizer never does"
        );
        assert_eq!(fewer, expected);
        let special = refused(&|file| {
            let [left, right] = &merges(file)[1];
            let text = format!("{left}{right}");
            let token = json!({ "id": file["model"]["vocab"][&text], "content": text, "special": true,
                                "normalized": false });
            file["added_tokens"].as_array_mut().unwrap().push(token);
        });
        assert!(special.ends_with("this tokenizer joins \"▁th\" and \"e\""), "{special}");
        let unknown =
            refused(&|file| file["added_tokens"].as_array_mut().unwrap().retain(|one| one["id"] != 3));
        assert!(unknown.contains("`added_tokens`"), "{unknown}");
        let bytes = refused(&|file| {
            file["model"]["merges"].as_array_mut().unwrap().push(json!(["<0x41>", "<0x42>"]));
            file["model"]["vocab"]["<0x41><0x42>"] = 441.into();
        });
        assert!(bytes.contains("joins single bytes"), "{bytes}");
        let cut = refused(&|file| file["pre_tokenizer"] = json!({ "type": "WhitespaceSplit" }));
        assert!(cut.contains("cuts text before"), "{cut}");
        let whole = refused(&|file| file["model"]["ignore_merges"] = true.into());
        assert!(whole.contains("`ignore_merges`"), "{whole}");
        let other = refused(&|file| file["normalizer"] = Value::Null);
        assert!(other.contains("its normaliser is not"), "{other}");
        let kept = refused(&|file| {
            let decoders = file["decoder"]["decoders"].as_array_mut().unwrap();
            decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
        });
        assert!(kept.contains("read as another tokenizer"), "{kept}");
    }
}
