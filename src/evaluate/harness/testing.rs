//! Small results and samples as the harness writes them, for tests that make them wrong.

use serde_json::{Value, json};

use super::read;
use crate::base::digest::Sha256;
use crate::evaluate::{EvaluateError, Options, Outcome};

pub(super) fn artifact() -> Sha256 {
    Sha256::of(b"model")
}

pub(super) fn options() -> Options {
    Options {
        task: Some("arc_easy".to_owned()),
        task_metric: Some("acc".to_owned()),
        task_version: Some("1.0".to_owned()),
        harness_version: Some("0.4.9".to_owned()),
        num_fewshot: Some(0),
        ..Options::default()
    }
}

fn hash(text: &str) -> Value {
    json!(Sha256::of(text.as_bytes()).to_string())
}

/// Four questions with the choices "no" and "maybe", of which the first is right; the third is answered
/// wrongly.
pub(super) fn samples() -> Vec<Value> {
    (0..4)
        .map(|i| {
            let (right, prompt) = (i != 2, format!("question {i}"));
            let (no, maybe) = if right { (-1.0, -9.0) } else { (-9.0, -1.0) };
            json!({
                "doc_id": i, "doc": {"question": "q"}, "target": 0, "filter": "none", "metrics": ["acc"],
                "arguments": [[prompt, " no"], [prompt, " maybe"]],
                "filtered_resps": [[no, false], [maybe, false]],
                "doc_hash": format!("d{i}"), "prompt_hash": hash(&prompt), "target_hash": hash("0"),
                "acc": f64::from(u8::from(right)),
            })
        })
        .collect()
}

/// The samples as they are written to a file: arguments under names, numbers in lists as texts.
pub(super) fn as_written(samples: &[Value]) -> Vec<Value> {
    let written = |sample: &Value| {
        let mut sample = sample.clone();
        let requests = sample["arguments"].as_array().unwrap().iter().enumerate();
        let named = |(at, request): (usize, &Value)| {
            (format!("gen_args_{at}"), json!({"arg_0": request[0], "arg_1": request[1]}))
        };
        sample["arguments"] = Value::Object(requests.map(named).collect());
        let texts = |pair: &Value| json!([pair[0].to_string(), "False"]);
        sample["filtered_resps"] = sample["filtered_resps"].as_array().unwrap().iter().map(texts).collect();
        sample["target"] = json!(sample["target"].to_string());
        sample
    };
    samples.iter().map(written).collect()
}

pub(super) fn results() -> Value {
    let mut results = json!({
        "results": {"arc_easy": {"alias": "arc_easy", "acc,none": 0.75, "acc_stderr,none": 0.25}},
        "configs": {"arc_easy": {"output_type": "multiple_choice", "target_delimiter": " "}},
        "versions": {"arc_easy": 1.0},
        "n-shot": {"arc_easy": 0},
        "n-samples": {"arc_easy": {"original": 4, "effective": 4}},
        "higher_is_better": {"arc_easy": {"acc": true}},
        "config": {"model": "hf", "model_args": format!("pretrained=out/{}/hf,dtype=float32", artifact())},
        "lm_eval_version": "0.4.9",
    });
    rehash(&mut results, &samples());
    results
}

/// Makes the results say what these samples hash to.
pub(super) fn rehash(results: &mut Value, samples: &[Value]) {
    let fields = ["doc_hash", "prompt_hash", "target_hash"];
    let all = samples.iter().flat_map(|line| fields.map(|field| line[field].as_str().unwrap()));
    results["task_hashes"]["arc_easy"] = hash(&all.collect::<String>());
}

pub(super) fn take_with(
    results: &Value,
    samples: &[Value],
    options: &Options,
) -> Result<Vec<Outcome>, EvaluateError> {
    let lines: String = samples.iter().map(|line| format!("{line}\n")).collect();
    read(results.to_string().as_bytes(), lines.as_bytes(), options, &artifact())
}

pub(super) fn take(results: &Value, samples: &[Value]) -> Result<Vec<Outcome>, EvaluateError> {
    take_with(results, samples, &options())
}

#[track_caller]
pub(super) fn refused(change: impl FnOnce(&mut Value, &mut Vec<Value>), why: &str) {
    let (mut results, mut samples) = (results(), samples());
    change(&mut results, &mut samples);
    let error = take(&results, &samples).unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
}
