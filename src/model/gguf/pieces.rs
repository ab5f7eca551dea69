//! A `tokenizer.json` whose pieces are characters, as the pieces and scores of a GGUF file: the way back from what
//! [`super::vocabulary`] makes of those.
//!
//! A score says how early a piece is made, whatever its two halves are. So a tokenizer can be said if all ways to make
//! a piece stand together, and in the order in which they are read back; in any other one some texts would be joined
//! in another order, and it is refused.

use std::collections::HashMap;

use serde_json::Value;

use super::facts::{Fact, Facts};
use super::tables::{TablesError, steps, unsaid};
use super::vocabulary::kind;
use crate::model::tokenizer::HfTokenizer;

/// Stands for a space.
const SPACE: &str = "\u{2581}";

/// Larger than any rank that an f32 holds exactly.
const MOST: usize = 1 << 24;

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
pub(super) fn write_scores(file: &Value, tokens: &[Fact], facts: &mut Facts) -> Result<(), TablesError> {
    let merges = merges(file);
    if merges.len() >= MOST {
        return unsaid(format!("it has {} merges, of more than scores can tell apart", merges.len()));
    }
    let mut ranks: HashMap<String, usize> = HashMap::new();
    for (rank, [left, right]) in merges.iter().enumerate() {
        ranks.entry(format!("{left}{right}")).or_insert(rank);
    }
    let score = |token: &Fact| {
        let Fact::Text(text) = token else { return Fact::F32(0.0) };
        let rank = ranks.get(text).copied().unwrap_or(merges.len());
        Fact::F32(-(rank as f32))
    };
    facts.push("tokenizer.ggml.scores", Fact::List(tokens.iter().map(score).collect()));
    Ok(())
}

/// Whether what was read back joins the same pieces in the same order, and spells in bytes what it does not know.
pub(super) fn joins_alike(file: &Value, back: &HfTokenizer) -> bool {
    let Ok(back) = serde_json::from_slice::<Value>(back.section()) else { return false };
    are_characters(&back) && merges(file) == merges(&back) && specials(file) == specials(&back)
}

/// Pairs of pieces, the earliest first.
fn merges(file: &Value) -> Vec<[&str; 2]> {
    let listed = file["model"]["merges"].as_array().into_iter().flatten();
    let both = listed.filter_map(|merge| match merge {
        Value::String(text) => text.split_once(' ').map(|(left, right)| [left, right]),
        Value::Array(pair) => Some([pair.first()?.as_str()?, pair.get(1)?.as_str()?]),
        _ => None,
    });
    both.collect()
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

    #[test]
    fn what_scores_cannot_say_is_refused() {
        let refused = |change: &dyn Fn(&mut Value)| {
            let mut file: Value = serde_json::from_slice(hf(&gemma().0).section()).unwrap();
            change(&mut file);
            written(&HfTokenizer::from_json(&serde_json::to_vec(&file).unwrap()).unwrap()).unwrap_err()
        };
        let merges = |file: &mut Value| -> Vec<Value> { file["model"]["merges"].as_array().unwrap().clone() };
        // Two ways to make one piece, apart and in another order; one way less; a token of one that is no piece.
        let two = |merges: &[Value]| {
            let joined = |at: usize| -> String {
                merges[at].as_array().unwrap().iter().flat_map(Value::as_str).collect()
            };
            (1..merges.len()).find(|at| joined(at - 1) == joined(*at)).unwrap()
        };
        let apart = refused(&|file| {
            let mut other = merges(file);
            let way = other.remove(two(&other));
            other.push(way);
            file["model"]["merges"] = other.into();
        });
        let swapped = refused(&|file| {
            let mut other = merges(file);
            let at = two(&other);
            other.swap(at - 1, at);
            file["model"]["merges"] = other.into();
        });
        let fewer = refused(&|file| {
            let other = merges(file).split_off(1);
            file["model"]["merges"] = other.into();
        });
        let more = refused(&|file| {
            let mut other = merges(file);
            file["model"]["vocab"]["<sep>a"] = 441.into();
            other.push(json!(["<sep>", "a"]));
            file["model"]["merges"] = other.into();
        });
        for error in [apart, swapped, fewer, more] {
            assert!(error.contains("scores do not say the order in which it joins them"), "{error}");
        }
        let unknown =
            refused(&|file| file["added_tokens"].as_array_mut().unwrap().retain(|one| one["id"] != 3));
        assert!(unknown.contains("scores do not say"), "{unknown}");
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
