//! What lm-evaluation-harness found, taken in: its results file with its samples file.
//!
//! Numbers of another program are evidence only as far as they can be held against something. So the
//! samples must add up to the results, be as many as the results say, hash to what the results say, be
//! of the task version and the number of shots the plan asks for, and of this very model. What cannot be
//! checked is refused.
//!
//! The evaluator `external` is these samples: one outcome for each document, the value being the
//! harness's own metric.
//!
//! * `model`: which model was loaded, and that nothing made another one of it.
//! * `samples`: the lines, that they are what the results say, and what was asked in each.
//! * `rescore`: the metric again, from the log-likelihoods or the text that the model gave.

mod model;
mod rescore;
mod samples;
#[cfg(test)]
mod testing;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::samples::Line;
use super::EvaluateError;
use super::evaluator::{Better, Examinee, Measure, MetricInfo, Score, Trouble, Values};
use super::options::{DEFAULT_TASK_METRIC, Options};
use super::outcome::Outcome;
use crate::base::canonical;
use crate::base::digest::Sha256;
use crate::base::name::Name;

/// The largest results or samples file.
pub const MAX_FILE: usize = 7 << 20;
/// What evidence for a suite is kept under, which no gate before the same candidate may be called.
pub(crate) fn evidence_name(suite: &Name) -> Name {
    let long = format!("external.{suite}");
    // A suite's name may be as long as a name can be.
    long.parse().unwrap_or_else(|_| suite.clone())
}

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
    /// SHA-256 of what was asked, and how: document, prompt, target, shots, settings. Only outcomes of which
    /// it is the same are of the same case.
    pub asked: Sha256,
    /// SHA-256 of the line of the samples file.
    pub line: Sha256,
}

impl Measure for External {
    type Case = Case;
    type Outcome = Sample;
    const NAME: &'static str = "external";
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "a metric of lm-evaluation-harness, brought with its samples";
    const QUALITY: bool = true;
    const METRICS: &'static [MetricInfo] = &[MetricInfo {
        name: "external",
        better: Better::Higher,
        values: Values::Ratio,
        range: (0.0, f64::INFINITY),
        ignorance: 0.0,
    }];
    const OPTIONS: &'static [&'static str] =
        &["task", "task_metric", "task_version", "harness_version", "num_fewshot"];

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
///
/// # Errors
///
/// [`EvaluateError::Harness`] if the plan names no task, if a file has more than [`MAX_FILE`] bytes or is none
/// of the harness's, if the results are of another model, task version or number of shots, if the samples are
/// not as many, or not those, that the results say, or if the results do not follow from them.
pub fn read(
    results: &[u8],
    samples: &[u8],
    options: &Options,
    artifact: &Sha256,
) -> Result<Vec<Outcome>, EvaluateError> {
    let Some(task) = options.task.as_deref() else { return refuse("the plan names no task") };
    let metric = options.task_metric.as_deref().unwrap_or(DEFAULT_TASK_METRIC);
    for (what, bytes) in [("results", results), ("samples", samples)] {
        if bytes.len() > MAX_FILE {
            return refuse(format!("the {what} have {} bytes, at most {MAX_FILE} are read", bytes.len()));
        }
    }
    let results = canonical::value_from_slice(results)
        .or_else(|error| refuse(format!("the results are no results file: {error}")))?;
    let settings = model::settings(&results, artifact)?;
    same_version(&results, task, options)?;
    let shots = shots(&results, task, options)?;
    let found = result(&results, task, metric)?;
    let lines = samples::lines(samples)?;
    samples::same_hash(&results, task, &lines)?;
    let own: Vec<&Line> = lines.iter().filter(|line| line.filter() == found.filter).collect();
    let expected = results["n-samples"][task]["effective"].as_u64();
    if expected != Some(own.len() as u64) {
        let expected = expected.map_or_else(|| "nothing".to_owned(), |n| n.to_string());
        return refuse(format!("there are {} samples, the results say {expected}", own.len()));
    }
    let mut outcomes = Vec::with_capacity(own.len());
    let mut values = Vec::with_capacity(own.len());
    for line in &own {
        let value = line.number_called(metric)?;
        if value < 0.0 {
            return refuse(format!(
                "line {} of the samples has the `{metric}` {value}, below 0",
                line.number
            ));
        }
        rescore::check(&results["configs"][task], metric, line, value)?;
        let Ok(id) = format!("doc-{}", line.doc).parse() else {
            return refuse(format!("line {} of the samples has a strange `doc_id`", line.number));
        };
        values.push(value);
        let asked = line.asked(&shots, &settings)?;
        outcomes.push(Outcome::new(&id, &Sample { value, asked, line: line.sha256 })?);
    }
    found.follows_from(metric, &values)?;
    Ok(outcomes)
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

/// How many examples stood before each question: as many as the plan asks for, if it does.
fn shots(results: &Value, task: &str, options: &Options) -> Result<Value, EvaluateError> {
    let found = &results["n-shot"][task];
    match options.num_fewshot {
        Some(asked) if found.as_u64() != Some(asked) => {
            refuse(format!("the results are of {found} shots of `{task}`, the plan asks for {asked}"))
        }
        _ => Ok(found.clone()),
    }
}

/// A metric in the results.
struct Found {
    value: f64,
    /// Its standard error, where one is given.
    stderr: Option<f64>,
    /// The filter it was taken after: keys are `acc,none`.
    filter: String,
}

impl Found {
    /// Refuses samples that do not come to it. Standard errors of a mean are the harness's: those of the
    /// sample, with n - 1.
    fn follows_from(&self, metric: &str, values: &[f64]) -> Result<(), EvaluateError> {
        let close = |one: f64, other: f64| (one - other).abs() <= CLOSE * other.abs().max(1.0);
        let n = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / n;
        if !close(mean, self.value) {
            return refuse(format!("the samples come to `{metric}` {mean}, the results say {}", self.value));
        }
        let Some(given) = self.stderr.filter(|_| values.len() > 1) else { return Ok(()) };
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let stderr = (squares / (n - 1.0) / n).sqrt();
        if !close(stderr, given) {
            return refuse(format!(
                "the samples come to a standard error of {stderr} of `{metric}`, the results say {given}"
            ));
        }
        Ok(())
    }
}

fn result(results: &Value, task: &str, metric: &str) -> Result<Found, EvaluateError> {
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
            Some(value) => {
                let stderr = row.get(&format!("{metric}_stderr,{filter}")).and_then(Value::as_f64);
                Ok(Found { value, stderr, filter: (*filter).to_owned() })
            }
            None => refuse(format!("`{metric}` of `{task}` is {value}, not a number")),
        },
        [] => refuse(format!("the results have no `{metric}` of `{task}`")),
        _ => refuse(format!("the results have `{metric}` of `{task}` after several filters")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluator::Evaluator;
    use super::testing::{artifact, options, refused, results, samples, take};
    use super::*;
    use serde_json::json;

    #[test]
    fn what_adds_up_is_taken_in() {
        let outcomes = take(&results(), &samples()).unwrap();
        let metric = External.recompute(&outcomes).unwrap()["external"];
        assert_eq!(
            (metric.value, metric.n, metric.stderr),
            (0.75, 4, Some(0.25)),
            "the harness's own numbers"
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
    fn the_threat_of_other_shots_than_were_asked_for() {
        refused(|r, _| r["n-shot"]["arc_easy"] = json!(25), "of 25 shots of `arc_easy`, the plan asks for 0");
        refused(|r, _| drop(r.as_object_mut().unwrap().remove("n-shot")), "of null shots");
    }

    #[test]
    fn the_threat_of_samples_that_do_not_add_up() {
        refused(|r, _| r["results"]["arc_easy"]["acc,none"] = json!(0.8), "come to `acc` 0.75");
        refused(|r, _| r["results"]["arc_easy"]["acc_stderr,none"] = json!(0.1), "a standard error of 0.25");
        refused(|_, s| drop(s.pop()), "hash to");
        refused(|_, s| s.swap(0, 1), "hash to");
        refused(|_, s| s[1]["doc_id"] = json!(0), "about document 0 again");
        refused(|_, s| s[1]["acc"] = json!("1"), "no number `acc`");
        refused(|_, s| s[1]["acc"] = json!(-1.0), "below 0");
        refused(|r, _| r["n-samples"]["arc_easy"]["effective"] = json!(5), "the results say 5");
        refused(|r, _| r["results"]["arc_easy"]["acc,none"] = json!("N/A"), "not a number");
        refused(|r, _| r["higher_is_better"]["arc_easy"]["acc"] = json!(false), "better when lower");
        let nan = results().to_string().replace("0.75", "NaN");
        assert!(read(nan.as_bytes(), b"{}", &options(), &artifact()).is_err());
        assert!(read(results().to_string().as_bytes(), b"", &options(), &artifact()).is_err());
    }
}
