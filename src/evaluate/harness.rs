//! What lm-evaluation-harness found, taken in: its results file with its samples file.
//!
//! Numbers of another program are evidence only as far as they can be held against something. So the
//! samples must add up to the results, be as many as the results say, hash to what the results say, be
//! of the task version the plan asks for, and of this very model: the path the harness loaded it from
//! must have the model's SHA-256 as one of its parts. What cannot be checked is refused.
//!
//! The evaluator `external` is these samples: one outcome for each document, the value being the
//! harness's own metric.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::EvaluateError;
use super::evaluator::{Better, Examinee, Measure, MetricInfo, Score, Trouble, Values};
use super::options::Options;
use super::outcome::Outcome;
use super::suite::MAX_CASES;
use crate::base::canonical;
use crate::base::digest::Sha256;

/// The largest results or samples file.
pub const MAX_FILE: usize = 7 << 20;
/// How far the mean of the samples may be from the result: sums of other orders differ by less.
const CLOSE: f64 = 1e-9;

/// The evaluator `external`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct External;

/// There are none: the cases are the harness's.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {}

/// One document.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// What the harness's metric was for it.
    pub value: f64,
    /// SHA-256 of the line of the samples file.
    pub line: Sha256,
}

impl Measure for External {
    type Case = Case;
    type Outcome = Sample;
    const NAME: &'static str = "external";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "a metric of lm-evaluation-harness, brought with its samples";
    const METRICS: &'static [MetricInfo] =
        &[MetricInfo { name: "external", better: Better::Higher, values: Values::Ratio }];
    const OPTIONS: &'static [&'static str] = &["task", "task_metric", "task_version", "harness_version"];

    fn check(_: &Case) -> Result<(), String> {
        Err("is none: the cases of `external` are the harness's".to_owned())
    }

    fn asks(_: &Case) -> String {
        String::new()
    }

    fn ask(_: &[Case], _: &dyn Examinee, _: &Options) -> Result<Vec<Sample>, Trouble> {
        Err("is asked by another program; its results are brought".into())
    }

    fn judge(_: &Case, outcome: &Sample, _: &Options) -> Sample {
        Sample { ..*outcome }
    }

    fn scores(outcome: &Sample) -> Vec<Score> {
        vec![Score { value: outcome.value, weight: 1.0 }]
    }
}

fn refuse<T>(why: impl Into<String>) -> Result<T, EvaluateError> {
    Err(EvaluateError::Harness(why.into()))
}

/// Reads and checks what was brought: one outcome for each document, in the order of the samples.
/// `artifact` is the model they must be of.
pub fn read(
    results: &[u8],
    samples: &[u8],
    options: &Options,
    artifact: &Sha256,
) -> Result<Vec<Outcome>, EvaluateError> {
    let Some(task) = options.task.as_deref() else { return refuse("the plan names no task") };
    let metric = options.task_metric.as_deref().unwrap_or("acc");
    for (what, bytes) in [("results", results), ("samples", samples)] {
        if bytes.len() > MAX_FILE {
            return refuse(format!("the {what} have {} bytes, at most {MAX_FILE} are read", bytes.len()));
        }
    }
    let results = canonical::value_from_slice(results)
        .or_else(|error| refuse(format!("the results are no results file: {error}")))?;
    same_model(&results, artifact)?;
    same_version(&results, task, options)?;
    let (filter, value) = result(&results, task, metric)?;
    let lines = lines(samples)?;
    same_hash(&results, task, &lines)?;
    let own: Vec<&Line> = lines.iter().filter(|line| line.filter() == filter).collect();
    let expected = results["n-samples"][task]["effective"].as_u64();
    if expected != Some(own.len() as u64) {
        let expected = expected.map_or_else(|| "nothing".to_owned(), |n| n.to_string());
        return refuse(format!("there are {} samples, the results say {expected}", own.len()));
    }
    let mut outcomes = Vec::with_capacity(own.len());
    let mut sum = 0.0;
    for line in &own {
        let found = line.value[metric].as_f64().filter(|found| found.is_finite());
        let Some(found) = found else {
            return refuse(format!("line {} of the samples has no number `{metric}`", line.number));
        };
        sum += found;
        let Ok(id) = format!("doc-{}", line.doc).parse() else {
            return refuse(format!("line {} of the samples has a strange `doc_id`", line.number));
        };
        outcomes.push(Outcome::new(&id, &Sample { value: found, line: line.sha256 })?);
    }
    let mean = sum / own.len().max(1) as f64;
    if (mean - value).abs() > CLOSE * value.abs().max(1.0) {
        return refuse(format!("the samples come to `{metric}` {mean}, the results say {value}"));
    }
    Ok(outcomes)
}

/// The path the model was loaded from has its digest as a part.
fn same_model(results: &Value, artifact: &Sha256) -> Result<(), EvaluateError> {
    let arguments = &results["config"]["model_args"];
    let text = match arguments {
        Value::String(text) => text.clone(),
        Value::Object(members) => members["pretrained"].as_str().unwrap_or_default().to_owned(),
        _ => return refuse("the results do not say which model was loaded (`config.model_args`)"),
    };
    let wanted = artifact.to_string();
    let is_digest = |part: &&str| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut parts = text.split(['/', '\\', '=', ',', '.', ':']).filter(is_digest);
    match parts.next() {
        Some(found) if found == wanted && parts.next().is_none() => Ok(()),
        Some(found) if found != wanted => {
            refuse(format!("the results are of the model {found}, not of {wanted}"))
        }
        Some(_) => refuse("the results name several models"),
        None => refuse(format!(
            "nothing says that the results are of this model: load it from a path with {wanted} in it"
        )),
    }
}

/// Versions may be numbers or texts there; `1` and `1.0` are the same.
fn same_version(results: &Value, task: &str, options: &Options) -> Result<(), EvaluateError> {
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.as_f64().map_or_else(String::new, |number| number.to_string()),
    };
    let short = |text: &str| text.strip_suffix(".0").unwrap_or(text).to_owned();
    for (what, asked, found) in [
        ("the task", &options.task_version, plain(&results["versions"][task])),
        ("lm-evaluation-harness", &options.harness_version, plain(&results["lm_eval_version"])),
    ] {
        if let Some(asked) = asked
            && short(asked) != short(&found)
        {
            return refuse(format!(
                "the results are of version {found:?} of {what}, the plan asks for {asked:?}"
            ));
        }
    }
    Ok(())
}

/// The value of `metric`, and the filter it was taken after: keys are `acc,none`.
fn result(results: &Value, task: &str, metric: &str) -> Result<(String, f64), EvaluateError> {
    let Some(row) = results["results"][task].as_object() else {
        return refuse(format!("the results have no task `{task}`"));
    };
    if results["higher_is_better"][task][metric] == Value::Bool(false) {
        return refuse(format!("`{metric}` of `{task}` is better when lower, which a gate cannot read"));
    }
    let filters: Vec<(&str, &Value)> = row
        .iter()
        .filter_map(|(key, value)| {
            let (name, filter) = key.split_once(',')?;
            (name == metric).then_some((filter, value))
        })
        .collect();
    match filters.as_slice() {
        [(filter, value)] => match value.as_f64().filter(|value| value.is_finite()) {
            Some(value) => Ok(((*filter).to_owned(), value)),
            None => refuse(format!("`{metric}` of `{task}` is {value}, not a number")),
        },
        [] => refuse(format!("the results have no `{metric}` of `{task}`")),
        _ => refuse(format!("the results have `{metric}` of `{task}` after several filters")),
    }
}

/// One line of the samples file.
struct Line {
    number: usize,
    doc: u64,
    value: Value,
    sha256: Sha256,
}

impl Line {
    fn filter(&self) -> &str {
        self.value["filter"].as_str().unwrap_or("none")
    }
}

fn lines(samples: &[u8]) -> Result<Vec<Line>, EvaluateError> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let text = samples.strip_suffix(b"\n").unwrap_or(samples);
    if text.is_empty() {
        return refuse("there are no samples");
    }
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        if number > MAX_CASES {
            return refuse(format!("there are more than {MAX_CASES} samples"));
        }
        let value = canonical::value_from_slice(line)
            .or_else(|error| refuse(format!("line {number} of the samples {error}")))?;
        let Some(doc) = value["doc_id"].as_u64() else {
            return refuse(format!("line {number} of the samples has no `doc_id`"));
        };
        let line = Line { number, doc, value, sha256: Sha256::of(line) };
        if !seen.insert((doc, line.filter().to_owned())) {
            return refuse(format!("line {number} of the samples is about document {doc} again"));
        }
        found.push(line);
    }
    Ok(found)
}

/// The harness hashes the hashes of every document, prompt and target in order.
fn same_hash(results: &Value, task: &str, lines: &[Line]) -> Result<(), EvaluateError> {
    let Some(expected) = results["task_hashes"][task].as_str() else { return Ok(()) };
    let mut all = String::new();
    for line in lines {
        for field in ["doc_hash", "prompt_hash", "target_hash"] {
            all += line.value[field].as_str().unwrap_or_default();
        }
    }
    let found = Sha256::of(all.as_bytes()).to_string();
    if found != expected {
        return refuse(format!("the samples hash to {found}, the results say {expected}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::evaluator::Evaluator;
    use super::*;
    use serde_json::json;

    fn artifact() -> Sha256 {
        Sha256::of(b"model")
    }

    fn options() -> Options {
        Options {
            task: Some("arc_easy".to_owned()),
            task_metric: Some("acc".to_owned()),
            task_version: Some("1.0".to_owned()),
            harness_version: Some("0.4.9".to_owned()),
            ..Options::default()
        }
    }

    fn samples() -> Vec<Value> {
        (0..4)
            .map(|i| {
                json!({
                    "doc_id": i, "doc": {"question": "q"}, "target": "0", "filter": "none", "metrics": ["acc"],
                    "doc_hash": format!("d{i}"), "prompt_hash": format!("p{i}"), "target_hash": format!("t{i}"),
                    "acc": f64::from(u8::from(i != 2)),
                })
            })
            .collect()
    }

    fn results() -> Value {
        let hash: String = (0..4).map(|i| format!("d{i}p{i}t{i}")).collect();
        json!({
            "results": {"arc_easy": {"alias": "arc_easy", "acc,none": 0.75, "acc_stderr,none": 0.25}},
            "versions": {"arc_easy": 1.0},
            "n-samples": {"arc_easy": {"original": 4, "effective": 4}},
            "higher_is_better": {"arc_easy": {"acc": true}},
            "config": {"model": "hf", "model_args": format!("pretrained=out/{}/hf,dtype=float32", artifact())},
            "task_hashes": {"arc_easy": Sha256::of(hash.as_bytes()).to_string()},
            "lm_eval_version": "0.4.9",
        })
    }

    fn take(results: &Value, samples: &[Value]) -> Result<Vec<Outcome>, EvaluateError> {
        let lines: String = samples.iter().map(|line| format!("{line}\n")).collect();
        read(results.to_string().as_bytes(), lines.as_bytes(), &options(), &artifact())
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Value, &mut Vec<Value>), why: &str) {
        let (mut results, mut samples) = (results(), samples());
        change(&mut results, &mut samples);
        let error = take(&results, &samples).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn what_adds_up_is_taken_in() {
        let outcomes = take(&results(), &samples()).unwrap();
        let metric = External.recompute(&outcomes).unwrap()["external"];
        assert_eq!(
            (metric.value, metric.n, metric.stderr),
            (0.75, 4, Some(0.25)),
            "the harness's own numbers"
        );
        let mut plain = results();
        plain["config"]["model_args"] =
            json!({"pretrained": format!("x/{}", artifact()), "dtype": "float32"});
        assert!(take(&plain, &samples()).is_ok());
    }

    #[test]
    fn the_threat_of_results_of_another_model() {
        let other = Sha256::of(b"other");
        refused(
            |r, _| r["config"]["model_args"] = json!(format!("pretrained=out/{other}")),
            "are of the model",
        );
        refused(|r, _| r["config"]["model_args"] = json!("pretrained=gpt2"), "nothing says");
        refused(|r, _| r["config"]["model_args"] = json!(null), "do not say which model");
        refused(
            |r, _| r["config"]["model_args"] = json!(format!("pretrained=out/{},peft={other}", artifact())),
            "several models",
        );
    }

    #[test]
    fn the_threat_of_results_of_another_version() {
        refused(|r, _| r["versions"]["arc_easy"] = json!(2.0), "version \"2\" of the task");
        refused(|r, _| r["lm_eval_version"] = json!("0.4.2"), "of lm-evaluation-harness");
        refused(|r, _| drop(r.as_object_mut().unwrap().remove("versions")), "version \"\"");
        refused(|r, _| r["results"] = json!({"arc_hard": {}}), "no task `arc_easy`");
    }

    #[test]
    fn the_threat_of_samples_that_do_not_add_up() {
        refused(|r, _| r["results"]["arc_easy"]["acc,none"] = json!(0.8), "come to `acc` 0.75");
        refused(|_, s| s[2]["acc"] = json!(1.0), "come to `acc` 1");
        refused(|_, s| drop(s.pop()), "hash to");
        refused(|_, s| s.swap(0, 1), "hash to");
        refused(|_, s| s[1]["doc_id"] = json!(0), "about document 0 again");
        refused(|_, s| s[1]["acc"] = json!("1"), "no number `acc`");
        refused(|_, s| s[1]["doc_hash"] = json!("swapped"), "hash to");
        refused(|r, _| r["n-samples"]["arc_easy"]["effective"] = json!(5), "the results say 5");
        refused(|r, _| r["results"]["arc_easy"]["acc,none"] = json!("N/A"), "not a number");
        refused(|r, _| r["higher_is_better"]["arc_easy"]["acc"] = json!(false), "better when lower");
        let nan = results().to_string().replace("0.75", "NaN");
        assert!(read(nan.as_bytes(), b"{}", &options(), &artifact()).is_err());
        assert!(read(results().to_string().as_bytes(), b"", &options(), &artifact()).is_err());
    }
}
