//! A `tokenizer.json` as the tables of a GGUF file (`tokenizer.ggml.*`): the way back from
//! [`super::vocabulary`].
//!
//! Byte-level pairs can be said there, where text is cut in a way that has a name (`tokenizer.ggml.pre`)
//! and added tokens have no conditions; pieces of characters, where scores say how they are joined (`pieces`).
//! Everything else is refused, since a file with another cut gives other ids. What was written is read back, and must
//! come back the same.

use serde_json::{Map, Value};

use super::facts::{Fact, Facts};
use super::meaning::MeaningError;
use super::pieces;
use super::vocabulary::{self, CUTS, cut, kind};
use crate::model::tokenizer::{HfTokenizer, Tokenizer};

/// Why a tokenizer has no tables.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// It does something that the tables cannot say.
    #[error("{0}")]
    Unsaid(String),
    /// The tables cannot be read back.
    #[error(transparent)]
    Back(#[from] MeaningError),
}

pub(super) fn unsaid<T>(why: impl Into<String>) -> Result<T, TablesError> {
    Err(TablesError::Unsaid(why.into()))
}

/// Adds the tables of a tokenizer for a matrix of `rows` rows.
///
/// # Errors
///
/// [`TablesError::Unsaid`] of a tokenizer that does what the tables cannot say, also if what was written would
/// be read as another one; [`TablesError::Back`] if it could not be read. The facts are worthless then.
pub fn write(tokenizer: &HfTokenizer, rows: u32, facts: &mut Facts) -> Result<(), TablesError> {
    let Ok(file) = serde_json::from_slice::<Map<String, Value>>(tokenizer.section()) else {
        return unsaid("its file is no JSON object");
    };
    let file = Value::Object(file);
    let first = facts.iter().count();
    let of_characters = pieces::are_characters(&file);
    if of_characters {
        pieces::write_model(&file, facts)?;
    } else {
        facts.push("tokenizer.ggml.model", Fact::Text("gpt2".to_owned()));
        facts.push("tokenizer.ggml.pre", Fact::Text(name_of_cut(&file)?.to_owned()));
    }
    tokens(&file, tokenizer, rows, facts)?;
    if of_characters {
        pieces::write_scores(tokenizer, rows as usize, facts)?;
    } else {
        facts.push("tokenizer.ggml.merges", Fact::List(merges(&file)?));
    }
    ends(tokenizer, facts)?;
    let mut own = Facts::default();
    facts.iter().skip(first).for_each(|(name, fact)| own.push(name, fact.clone()));
    let Some(Tokenizer::HuggingFace(back)) = vocabulary::tokenizer(&own)? else {
        return unsaid("what was written would be read as no tokenizer");
    };
    if of_characters {
        pieces::check_back(&file, tokenizer, &back)?;
    }
    match is_same(tokenizer, rows, &back) {
        true => Ok(()),
        false => unsaid("what was written would be read as another tokenizer"),
    }
}

/// The same ids around texts, the same begin and ends, the same bytes for every id that the model has a row for.
fn is_same(tokenizer: &HfTokenizer, rows: u32, back: &HfTokenizer) -> bool {
    let bytes = |id| tokenizer.bytes(id) == back.bytes(id);
    let mut ends = [tokenizer.ends().to_vec(), back.ends().to_vec()];
    ends.iter_mut().for_each(|ends| ends.sort_unstable());
    tokenizer.around() == back.around()
        && tokenizer.strips_space() == back.strips_space()
        && tokenizer.begin() == back.begin()
        && ends[0] == ends[1]
        && (0..rows.max(back.vocab_size())).all(bytes)
}

/// The name of the way in which text is cut.
fn name_of_cut(file: &Value) -> Result<&'static str, TablesError> {
    let model = &file["model"];
    let whole = model["ignore_merges"] == true;
    let composed = match &file["normalizer"] {
        Value::Null => false,
        one if steps(one, "normalizers").iter().all(|step| step["type"] == "NFC") => true,
        _ => return unsaid("its normaliser has no name in GGUF"),
    };
    let found: Vec<Value> = steps(&file["pre_tokenizer"], "pretokenizers").into_iter().map(essence).collect();
    let is_it = |name: &&str| {
        cut(name).is_some_and(|cut| {
            let known: Vec<Value> = steps(&cut.steps, "").into_iter().map(essence).collect();
            known == found && cut.composed == composed && cut.whole == whole
        })
    };
    match CUTS.into_iter().find(is_it) {
        Some(name) => Ok(name),
        None => unsaid(format!(
            "the way in which it cuts text has no name that is known here ({})",
            CUTS.join(", ")
        )),
    }
}

/// The steps of a list, or of a sequence under `key`, or the one step there is.
pub(super) fn steps<'v>(value: &'v Value, key: &str) -> Vec<&'v Value> {
    match value.as_array().or_else(|| value[key].as_array()) {
        Some(steps) => steps.iter().collect(),
        None if value.is_null() => Vec::new(),
        None => vec![value],
    }
}

/// A step with what changes ids, defaults filled in.
fn essence(step: &Value) -> Value {
    let truth = |key: &str, usual: bool| step[key].as_bool().unwrap_or(usual);
    match step["type"].as_str() {
        Some("ByteLevel") => {
            serde_json::json!(["ByteLevel", truth("add_prefix_space", true), truth("use_regex", true)])
        }
        Some("Digits") => serde_json::json!(["Digits", truth("individual_digits", false)]),
        Some("Split") => {
            serde_json::json!(["Split", step["pattern"], step["behavior"], truth("invert", false)])
        }
        _ => step.clone(),
    }
}

/// Every token and its type; rows beyond them are no token's. Nor are special tokens beyond the rows, of which no
/// text that the model can be asked has one: gemma3 has one for images.
fn tokens(file: &Value, tokenizer: &HfTokenizer, rows: u32, facts: &mut Facts) -> Result<(), TablesError> {
    let mut table: Vec<Option<(String, u64)>> = vec![None; rows as usize];
    let needless = tokenizer.rows()..tokenizer.vocab_size();
    let is_needless = |id: &Value| {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        id.is_some_and(|id| id >= rows && needless.contains(&id))
    };
    let mut put = |id: &Value, text: &str, kind: u64| {
        match id.as_u64().and_then(|id| table.get_mut(usize::try_from(id).ok()?)) {
            Some(place) => *place = Some((text.to_owned(), kind)),
            None if is_needless(id) => {}
            None => return unsaid(format!("the id of the token {text:?} is none of the model's {rows}")),
        }
        Ok(())
    };
    for (text, id) in file["model"]["vocab"].as_object().into_iter().flatten() {
        let of_characters = pieces::are_characters(file);
        put(id, text, if of_characters { pieces::kind_of(file, text) } else { kind::NORMAL })?;
    }
    for token in steps(&file["added_tokens"], "") {
        let text = token["content"].as_str().unwrap_or_default();
        let on = |key: &str, usual: bool| token[key].as_bool().unwrap_or(usual);
        let conditions = ["single_word", "lstrip", "rstrip"].into_iter().find(|key| on(key, false));
        let conditions = conditions
            .or_else(|| (on("normalized", true) && !file["normalizer"].is_null()).then_some("normalized"));
        if let Some(condition) = conditions {
            return unsaid(format!("the added token {text:?} is `{condition}`, which GGUF cannot say"));
        }
        let is_unknown = pieces::are_characters(file) && file["model"]["unk_token"] == text;
        let kind = match on("special", false) {
            true if is_unknown => kind::UNKNOWN,
            true => kind::CONTROL,
            false => kind::USER_DEFINED,
        };
        put(&token["id"], text, kind)?;
    }
    let text = |(id, token): (usize, &Option<(String, u64)>)| {
        Fact::Text(token.as_ref().map_or_else(|| format!("[PAD{id}]"), |(text, _)| text.clone()))
    };
    let kind = |token: &Option<(String, u64)>| {
        Fact::Signed(token.as_ref().map_or(kind::UNUSED, |(_, kind)| *kind) as i64)
    };
    let texts: Vec<Fact> = table.iter().enumerate().map(text).collect();
    facts.push("tokenizer.ggml.tokens", Fact::List(texts));
    facts.push("tokenizer.ggml.token_type", Fact::List(table.iter().map(kind).collect()));
    Ok(())
}

fn merges(file: &Value) -> Result<Vec<Fact>, TablesError> {
    let merge = |merge: &Value| match merge {
        Value::String(joined) => Ok(Fact::Text(joined.clone())),
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(left), Value::String(right)] => Ok(Fact::Text(format!("{left} {right}"))),
            _ => unsaid("a merge is not two texts"),
        },
        _ => unsaid("a merge is not two texts"),
    };
    file["model"]["merges"].as_array().into_iter().flatten().map(merge).collect()
}

/// The ids around every text, and those that end an answer.
fn ends(tokenizer: &HfTokenizer, facts: &mut Facts) -> Result<(), TablesError> {
    let [before, after] = tokenizer.around();
    let mut ends = tokenizer.ends().to_vec();
    // The id behind every text is the one that ends an answer.
    ends.sort_by_key(|id| !after.contains(id));
    let begin = tokenizer.begin();
    let end = match (before, after) {
        ([] | [_], []) => ends.first(),
        ([] | [_], [end]) => Some(end),
        _ => return unsaid("it puts several tokens around a text"),
    };
    let mut others: Vec<&u32> = ends.iter().filter(|id| Some(*id) != end).collect();
    if others.len() > 2 {
        let why = "GGUF says three, of a text, of a turn and of a message";
        return unsaid(format!("{} ids end an answer; {why}", ends.len()));
    }
    // Llama's end of a message has the smaller id.
    others.sort_by_key(|id| tokenizer.bytes(**id) == Some(b"<|eom_id|>"));
    let other = |at: usize| others.get(at).map(|id| **id);
    let ids = [("bos", begin), ("eos", end.copied()), ("eot", other(0)), ("eom", other(1))];
    for (name, id) in ids.into_iter().filter_map(|(name, id)| Some((name, id?))) {
        facts.push(format!("tokenizer.ggml.{name}_token_id"), Fact::Unsigned(u64::from(id)));
    }
    facts.push("tokenizer.ggml.add_bos_token", Fact::Bool(!before.is_empty()));
    facts.push("tokenizer.ggml.add_eos_token", Fact::Bool(!after.is_empty()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(name: &str) -> Value {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizers");
        serde_json::from_slice(&std::fs::read(format!("{folder}/{name}.json")).unwrap()).unwrap()
    }

    fn tables(file: &Value, ends: Vec<u32>) -> Result<HfTokenizer, String> {
        let tokenizer = HfTokenizer::from_json(&serde_json::to_vec(file).unwrap()).unwrap();
        let tokenizer = tokenizer.with_ends(ends).with_begin(Some(420));
        let mut facts = Facts::default();
        write(&tokenizer, 430, &mut facts).map_err(|error| error.to_string())?;
        match vocabulary::tokenizer(&facts).unwrap() {
            Some(Tokenizer::HuggingFace(back)) => Ok((*back).clone()),
            other => panic!("{other:?}"),
        }
    }

    /// Without the two tokens that have conditions.
    fn plain(name: &str) -> Value {
        let mut file = file(name);
        file["added_tokens"].as_array_mut().unwrap().retain(|token| {
            token["lstrip"] == false && token["single_word"] == false && token["normalized"] == false
        });
        file
    }

    #[test]
    fn ids_are_the_same_when_read_back() {
        let known = file("encodings")["known"].as_array().unwrap().clone();
        for name in ["gpt2", "llama3", "qwen2", "smollm"] {
            let back = tables(&plain(name), vec![421]).unwrap_or_else(|why| panic!("{name}: {why}"));
            let own = known.iter().find(|known| known["name"] == name).unwrap();
            let mut compared = 0;
            for case in own["cases"].as_array().unwrap() {
                let text = case["text"].as_str().unwrap();
                if text.contains("fox") || text.contains("<tool>") {
                    continue;
                }
                let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
                assert_eq!(
                    Tokenizer::HuggingFace(back.clone().into()).encode(text).unwrap(),
                    ids,
                    "{name}: {text:?}"
                );
                compared += 1;
            }
            assert!(compared > 15, "{name}: {compared}");
            assert_eq!((back.ends(), back.begin()), (&[421][..], Some(420)), "{name}");
        }
    }

    #[test]
    fn what_the_tables_cannot_say_is_refused() {
        let refused = |file: &Value| tables(file, Vec::new()).unwrap_err();
        let error = refused(&file("gpt2"));
        assert!(error.contains("is `lstrip`") || error.contains("is `single_word`"), "{error}");
        assert!(refused(&file("mistral")).contains("and its normaliser is not that of sentencepiece's"));
        let mut other = plain("gpt2");
        other["pre_tokenizer"] = json!({ "type": "ByteLevel", "add_prefix_space": true, "use_regex": true });
        assert!(refused(&other).contains("cuts text has no name"));
        let mut other = plain("gpt2");
        other["normalizer"] = json!({ "type": "Lowercase" });
        assert!(refused(&other).contains("normaliser"));
        assert!(
            tables(&plain("gpt2"), vec![1, 2, 3, 4])
                .unwrap_err()
                .contains("4 ids end an answer; GGUF says three")
        );
        for ends in [vec![1], vec![1, 2], vec![1, 2, 3]] {
            assert_eq!(tables(&plain("gpt2"), ends.clone()).unwrap().ends(), ends);
        }
        let tokenizer = HfTokenizer::from_json(&serde_json::to_vec(&plain("gpt2")).unwrap()).unwrap();
        let error = write(&tokenizer, 100, &mut Facts::default()).unwrap_err().to_string();
        assert!(error.contains("is none of the model's 100"), "{error}");
    }
}
