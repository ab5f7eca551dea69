//! The fixtures of `tests/fixtures/tokenizers.py`, and files that are refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::HfTokenizer;
use crate::model::tokenizer::{TextStream, Tokenizer};

/// Files of eleven kinds, as the library wrote them.
const FILES: [(&str, &str); 11] = [
    ("gpt2", include_str!("../../../../tests/fixtures/tokenizers/gpt2.json")),
    ("prefix", include_str!("../../../../tests/fixtures/tokenizers/prefix.json")),
    ("llama3", include_str!("../../../../tests/fixtures/tokenizers/llama3.json")),
    ("qwen2", include_str!("../../../../tests/fixtures/tokenizers/qwen2.json")),
    ("smollm", include_str!("../../../../tests/fixtures/tokenizers/smollm.json")),
    ("llama2", include_str!("../../../../tests/fixtures/tokenizers/llama2.json")),
    ("mistral", include_str!("../../../../tests/fixtures/tokenizers/mistral.json")),
    ("gemma3", include_str!("../../../../tests/fixtures/tokenizers/gemma3.json")),
    ("gemma", include_str!("../../../../tests/fixtures/tokenizers/gemma.json")),
    ("gemma3-shipped", include_str!("../../../../tests/fixtures/tokenizers/gemma3-shipped.json")),
    ("metaspace", include_str!("../../../../tests/fixtures/tokenizers/metaspace.json")),
];

#[derive(serde::Deserialize)]
struct Encodings {
    known: Vec<Known>,
}

#[derive(serde::Deserialize)]
struct Known {
    name: String,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    decoded: String,
}

fn file(name: &str) -> &'static str {
    FILES.iter().find(|(known, _)| *known == name).unwrap().1
}

fn read(name: &str) -> Tokenizer {
    Tokenizer::HuggingFace(Arc::new(HfTokenizer::from_json(file(name).as_bytes()).unwrap()))
}

#[test]
fn ids_and_texts_are_those_of_the_library() {
    let text = include_str!("../../../../tests/fixtures/tokenizers/encodings.json");
    let Encodings { known } = serde_json::from_str(text).unwrap();
    assert_eq!(known.len(), FILES.len());
    let mut wrong = Vec::new();
    for Known { name, cases } in known {
        let tokenizer = read(&name);
        assert!(cases.len() > 25);
        for Case { text, ids, decoded } in cases {
            let ours = tokenizer.encode(&text).unwrap();
            if ours != ids {
                wrong.push(format!("{name}: {text:?} is {ours:?}, should be {ids:?}"));
            }
            let ours = tokenizer.decode_lossy(&ids).unwrap();
            if ours != decoded {
                wrong.push(format!("{name}: {ids:?} is {ours:?}, should be {decoded:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Ids that no text has: a byte that is no text makes all single bytes next to it none.
#[test]
fn texts_of_any_ids_are_those_of_the_library() {
    let text = include_str!("../../../../tests/fixtures/tokenizers/decodings.json");
    let known: BTreeMap<String, Vec<(Vec<u32>, String)>> = serde_json::from_str(text).unwrap();
    assert_eq!(known.len(), FILES.len());
    let (mut wrong, mut late) = (Vec::new(), 0);
    for (name, cases) in known {
        let tokenizer = read(&name);
        assert!(cases.len() > 100);
        for (ids, expected) in cases {
            let ours = tokenizer.decode_lossy(&ids).unwrap();
            if ours != expected {
                wrong.push(format!("{name}: {ids:?} is {ours:?}, should be {expected:?}"));
            }
            assert_eq!(tokenizer.decode(&ids).is_ok_and(|text| text == expected), !ours.contains('\u{fffd}'));
            // As it comes it is the same, but for what was handed out before the byte that makes it no text.
            let mut stream = TextStream::new();
            let text: String = ids.iter().map(|id| stream.push(&tokenizer, *id).unwrap()).collect();
            let text = text + &stream.finish();
            let whole = tokenizer.text_of_runs(&ids).unwrap().unwrap_or_else(|| text.clone());
            assert!(whole == text || whole.contains('\u{fffd}'), "{name}: {ids:?}");
            late += usize::from(whole != text);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(late > 10, "{late}");
}

/// A continuation keeps the space that separates it from its prompt.
#[test]
fn a_stream_loses_no_space() {
    let tokenizer = read("mistral");
    let ids = tokenizer.encode_text("the fox").unwrap();
    let mut stream = TextStream::new();
    let text: String = ids.iter().map(|id| stream.push(&tokenizer, *id).unwrap()).collect();
    assert_eq!(text + &stream.finish(), " the fox");
    assert_eq!(tokenizer.decode(&ids).unwrap(), "the fox");
}

#[test]
fn prompts_open_a_sequence_and_ends_are_the_models_own() {
    let tokenizer = HfTokenizer::from_json(file("llama3").as_bytes()).unwrap();
    let begin = tokenizer.around()[0].to_vec();
    assert_eq!(begin.len(), 1);
    let other = Tokenizer::HuggingFace(Arc::new(tokenizer.clone().with_ends(vec![7, 9])));
    let tokenizer = Tokenizer::HuggingFace(Arc::new(tokenizer));
    assert!(tokenizer.encode_prompt("x").unwrap().starts_with(&begin));
    assert!(!tokenizer.encode_text("x").unwrap().starts_with(&begin));
    assert!(other.is_end(9) && !other.is_end(8) && !tokenizer.is_end(9));
    // The same ids mean the same text, whatever ends an answer.
    assert_eq!(other.digest(), tokenizer.digest());
}

#[test]
fn a_special_token_behind_all_others_needs_no_row() {
    let with = |special: bool| {
        let mut value: Value = serde_json::from_str(file("gemma3")).unwrap();
        let token =
            serde_json::json!({ "id": 420, "content": "<image>", "special": special, "normalized": false });
        value["added_tokens"].as_array_mut().unwrap().push(token);
        HfTokenizer::from_json(value.to_string().as_bytes()).unwrap()
    };
    let rows = |tokenizer: &HfTokenizer| (tokenizer.vocab_size(), tokenizer.rows());
    assert_eq!(rows(&HfTokenizer::from_json(file("gemma3").as_bytes()).unwrap()), (420, 420));
    assert_eq!(rows(&with(true)), (421, 420));
    assert_eq!(rows(&with(false)), (421, 421));
    assert_eq!(rows(&with(true).with_ends(vec![420])), (421, 421));
    assert_eq!(rows(&with(true).with_begin(Some(420))), (421, 421));
}

#[test]
fn the_digest_sees_meaning_and_not_layout() {
    let digest = |text: &str| HfTokenizer::from_json(text.as_bytes()).unwrap().digest();
    let mut value: Value = serde_json::from_str(file("gpt2")).unwrap();
    let plain = digest(file("gpt2"));
    assert_eq!(digest(&serde_json::to_string_pretty(&value).unwrap()), plain);
    value["truncation"] = serde_json::json!({ "max_length": 4 });
    assert_eq!(digest(&value.to_string()), plain);
    value["pre_tokenizer"]["add_prefix_space"] = Value::Bool(true);
    assert_ne!(digest(&value.to_string()), plain);
}

/// A file changed, and whether it means the same.
fn means_the_same(name: &str, change: impl Fn(&mut Value)) -> bool {
    let mut value: Value = serde_json::from_str(file(name)).unwrap();
    // Conditions are what most files have none of.
    for key in ["lstrip", "rstrip", "single_word", "normalized"] {
        value["added_tokens"].as_array_mut().unwrap().iter_mut().for_each(|token| token[key] = false.into());
    }
    let plain = HfTokenizer::from_json(value.to_string().as_bytes()).unwrap();
    change(&mut value);
    let changed = HfTokenizer::from_json(value.to_string().as_bytes()).unwrap();
    assert_ne!(changed.digest(), plain.digest(), "{name}: nothing was changed");
    changed.meaning() == plain.meaning()
}

#[test]
fn words_that_change_no_id_do_not_count() {
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    // A post-processor's ids of types and its form for two texts; offsets; what nothing is unknown to.
    assert!(means_the_same("llama3", |file| {
        file["post_processor"]["note"] = Value::Bool(false);
        file["decoder"]["trim_offsets"] = Value::Bool(false);
    }));
    assert!(means_the_same("gpt2", |file| file["pre_tokenizer"]["trim_offsets"] = json("null")));
    // An added token in the vocabulary, or only beside it.
    for name in ["gpt2", "llama3", "qwen2"] {
        let listed = |file: &mut Value| {
            let token = file["added_tokens"][0].clone();
            let text = token["content"].as_str().unwrap().to_owned();
            let vocab = file["model"]["vocab"].as_object_mut().unwrap();
            if vocab.remove(&text).is_none() {
                vocab.insert(text, token["id"].clone());
            }
        };
        assert!(means_the_same(name, listed), "{name}");
    }
    // Without a normaliser all are looked for in one text, and none of these lies over another.
    let normalized = |file: &mut Value| file["added_tokens"][1]["normalized"] = Value::Bool(true);
    assert!(means_the_same("llama3", normalized));
    let over = |file: &mut Value| file["added_tokens"][1]["content"] = json("\"end|><|begin\"");
    assert!(!means_the_same("llama3", |file| {
        over(file);
        normalized(file);
    }));
    assert!(!means_the_same("llama3", |file| {
        normalized(file);
        file["added_tokens"][0]["lstrip"] = Value::Bool(true);
    }));
    assert!(!means_the_same("qwen2", normalized));
    // What may change an id is another meaning.
    assert!(!means_the_same("gpt2", |file| file["pre_tokenizer"]["use_regex"] = Value::Bool(false)));
    assert!(!means_the_same("gpt2", |file| {
        file["model"]["merges"].as_array_mut().unwrap().swap(0, 1);
    }));
    assert!(!means_the_same("qwen2", |file| file["normalizer"] = Value::Null));
    assert!(!means_the_same("gpt2", |file| {
        file["added_tokens"].as_array_mut().unwrap().pop();
    }));
    assert!(!means_the_same("llama3", |file| file["added_tokens"][0]["lstrip"] = Value::Bool(true)));
    assert!(!means_the_same("llama3", |file| file["post_processor"] = Value::Null));
}

/// A token that is listed in the vocabulary of one file alone changes no id only where it is always cut out
/// before: a condition on another one can leave it standing.
#[test]
fn a_condition_on_another_token_shields_one() {
    let of = |file: &Value| HfTokenizer::from_json(file.to_string().as_bytes()).unwrap();
    let ids = |tokenizer: &HfTokenizer, text: &str| {
        let mut ids = Vec::new();
        tokenizer.encode_into(text, &mut ids).unwrap();
        ids
    };
    // The first is taken with the white space behind it, or is not taken beside a letter.
    for (first, second, condition, text) in
        [("x<|>", "y<|>", "single_word", "zx<|>"), ("<r>", "\n<|>", "rstrip", "<r>\n<|>")]
    {
        let mut plain: Value = serde_json::from_str(file("llama3")).unwrap();
        let mut token = plain["added_tokens"][0].clone();
        let mut next = plain["added_tokens"].as_array().unwrap().len() as u64;
        next += plain["model"]["vocab"].as_object().unwrap().len() as u64;
        for (content, id) in [("<|>", next), (first, next + 1), (second, next + 2)] {
            (token["content"], token["id"]) = (content.into(), id.into());
            token[condition] = (content == first).into();
            plain["added_tokens"].as_array_mut().unwrap().push(token.clone());
        }
        let mut listed = plain.clone();
        listed["model"]["vocab"]["<|>"] = next.into();
        let [without, with] = [&plain, &listed].map(of);
        assert_ne!(ids(&without, text), ids(&with, text), "{text:?} shields nothing");
        assert_ne!(without.meaning(), with.meaning(), "{condition}");
    }
}

/// Tokens whose places cannot be compared in short are taken for ones that may touch.
#[test]
fn tokens_as_long_as_files_are_not_held_against_each_other() {
    let meaning = |length: usize, normalized: bool| {
        let mut value: Value = serde_json::from_str(file("llama3")).unwrap();
        for (index, letter) in ["(", ")"].into_iter().enumerate() {
            value["added_tokens"][index]["content"] = letter.repeat(length).into();
        }
        for key in ["lstrip", "rstrip", "single_word", "normalized"] {
            value["added_tokens"]
                .as_array_mut()
                .unwrap()
                .iter_mut()
                .for_each(|token| token[key] = false.into());
        }
        value["added_tokens"][1]["normalized"] = normalized.into();
        HfTokenizer::from_json(value.to_string().as_bytes()).unwrap().meaning()
    };
    assert_eq!(meaning(3, false), meaning(3, true));
    assert_ne!(meaning(5000, false), meaning(5000, true));
}

#[test]
fn what_is_not_carried_out_is_named() {
    let refused = |name: &str, pointer: &str, put: Value| {
        let mut value: Value = serde_json::from_str(file(name)).unwrap();
        *value.pointer_mut(pointer).unwrap() = put;
        HfTokenizer::from_json(value.to_string().as_bytes()).unwrap_err().to_string()
    };
    let kind = |kind: &str| serde_json::json!({ "type": kind });
    let cases = [
        (refused("gpt2", "/model/type", "Unigram".into()), "`/model` is Unigram"),
        (refused("gpt2", "/normalizer", kind("Precompiled")), "`/normalizer` is Precompiled"),
        (refused("gpt2", "/pre_tokenizer", kind("UnicodeScripts")), "`/pre_tokenizer` is UnicodeScripts"),
        (refused("gpt2", "/post_processor", kind("RobertaProcessing")), "RobertaProcessing"),
        (refused("gpt2", "/decoder", Value::Null), "`/decoder`"),
        (refused("gpt2", "/decoder", kind("CTC")), "`/decoder` is CTC"),
        (refused("gpt2", "/model/dropout", 0.1.into()), "`/model/dropout` is 0.1"),
        (refused("gpt2", "/model/end_of_word_suffix", "</w>".into()), "end_of_word_suffix"),
        (refused("gpt2", "/model/merges/0", "ab".into()), "`/model/merges/0`: should be two texts"),
        (refused("gpt2", "/model/merges/0", serde_json::json!(["a", "qqq"])), "\"qqq\" is not in"),
        (refused("gpt2", "/model/vocab/a", (1_u64 << 40).into()), "`/model/vocab/a`: should be an id"),
        (refused("gpt2", "/model/vocab/a", 5.into()), "the id 5 has two tokens"),
        (refused("llama2", "/model/vocab/<0xC3>", 419.into()), "the id 419 has two tokens"),
        (refused("llama2", "/model/unk_token", "<no>".into()), "\"<no>\" is no token"),
        (refused("llama3", "/pre_tokenizer/pretokenizers/0/pattern/Regex", "(".into()), "/pattern`"),
        (refused("llama3", "/pre_tokenizer/pretokenizers/0/behavior", "Odd".into()), "behavior`"),
        (refused("llama3", "/added_tokens/0/id", Value::Null), "`/added_tokens/0/id`"),
    ];
    for (error, expected) in cases {
        assert!(error.starts_with("tokenizer.json: ") && error.contains(expected), "{error}");
    }
    for damaged in ["", "[]", "{}", "{\"model\": 3}"] {
        assert!(HfTokenizer::from_json(damaged.as_bytes()).is_err(), "{damaged}");
    }
}
