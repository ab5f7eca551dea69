//! The samples file: a line for each document and filter.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::refuse;
use crate::base::canonical;
use crate::base::digest::Sha256;
use crate::evaluate::EvaluateError;
use crate::evaluate::suite::MAX_CASES;

/// One line.
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) doc: u64,
    pub(super) value: Value,
    pub(super) sha256: Sha256,
}

impl Line {
    pub(super) fn filter(&self) -> &str {
        self.value["filter"].as_str().unwrap_or("none")
    }

    /// A finite number of the line.
    pub(super) fn number_called(&self, name: &str) -> Result<f64, EvaluateError> {
        match self.value[name].as_f64().filter(|found| found.is_finite()) {
            Some(found) => Ok(found),
            None => refuse(format!("line {} of the samples has no number `{name}`", self.number)),
        }
    }

    /// The requests that were made of the document, each as a list: the harness hands them on as lists and
    /// writes them as `{"gen_args_0": {"arg_0": .., "arg_1": ..}, ..}`.
    pub(super) fn arguments(&self) -> Vec<Vec<&Value>> {
        items(&self.value["arguments"], "gen_args_")
            .into_iter()
            .map(|request| items(request, "arg_"))
            .collect()
    }

    /// SHA-256 of what was asked: the document, the prompt, the right answer, the requests, how many
    /// examples stood before it and how the model was asked.
    pub(super) fn asked(&self, shots: &Value, settings: &Value) -> Result<Sha256, EvaluateError> {
        let field = |name: &str| self.value[name].clone();
        let asked = json!({
            "doc": field("doc_hash"),
            "prompt": field("prompt_hash"),
            "target": field("target_hash"),
            "arguments": self.arguments(),
            "shots": shots,
            "settings": settings,
        });
        match canonical::to_vec(&asked) {
            Ok(bytes) => Ok(Sha256::of(&bytes)),
            Err(error) => refuse(format!("line {} of the samples: {error}", self.number)),
        }
    }

    /// The prompt is the one that is hashed, and so is the right answer where it is plain text.
    fn hashes_itself(&self) -> Result<(), EvaluateError> {
        let prompt = self.arguments().first().and_then(|request| request.first()?.as_str());
        let target = match &self.value["target"] {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
            // Lists are hashed as Python prints them.
            _ => None,
        };
        for (what, text) in [("prompt_hash", prompt), ("target_hash", target.as_deref())] {
            let Some(text) = text else { continue };
            if self.value[what].as_str() != Some(Sha256::of(text.as_bytes()).to_string().as_str()) {
                let number = self.number;
                return refuse(format!("line {number} of the samples does not hash to its `{what}`"));
            }
        }
        Ok(())
    }
}

/// The items of a list, or of an object with numbered keys.
fn items<'v>(value: &'v Value, key: &str) -> Vec<&'v Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(members) => (0..).map_while(|at: usize| members.get(&format!("{key}{at}"))).collect(),
        _ => Vec::new(),
    }
}

pub(super) fn lines(samples: &[u8]) -> Result<Vec<Line>, EvaluateError> {
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
        line.hashes_itself()?;
        found.push(line);
    }
    Ok(found)
}

/// The harness hashes the hashes of every document, prompt and target in order.
pub(super) fn same_hash(results: &Value, task: &str, lines: &[Line]) -> Result<(), EvaluateError> {
    let Some(expected) = results["task_hashes"][task].as_str() else {
        return refuse(format!(
            "the results have no `task_hashes` of `{task}`: have the harness write them with `--log_samples`"
        ));
    };
    let mut all = String::new();
    for line in lines {
        for field in ["doc_hash", "prompt_hash", "target_hash"] {
            let Some(hash) = line.value[field].as_str() else {
                return refuse(format!("line {} of the samples has no `{field}`", line.number));
            };
            all += hash;
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
    use super::super::testing::{as_written, refused, rehash, results, samples, take};
    use super::*;
    use crate::evaluate::{Outcome, outcome};

    #[test]
    fn the_threat_of_samples_with_other_hashes() {
        refused(|_, s| s[1]["doc_hash"] = json!("swapped"), "hash to");
        refused(|_, s| s[1]["arguments"][0][0] = json!("another prompt"), "to its `prompt_hash`");
        refused(|_, s| s[1]["target"] = json!(1), "to its `target_hash`");
        refused(|_, s| drop(s[1].as_object_mut().unwrap().remove("doc_hash")), "no `doc_hash`");
        refused(|r, _| drop(r.as_object_mut().unwrap().remove("task_hashes")), "no `task_hashes`");
    }

    fn taken(change: impl FnOnce(&mut Value, &mut Vec<Value>)) -> Vec<Outcome> {
        let (mut results, mut samples) = (results(), samples());
        change(&mut results, &mut samples);
        rehash(&mut results, &samples);
        take(&results, &samples).unwrap()
    }

    #[test]
    fn the_threat_of_a_comparison_of_unlike_cases() {
        let ours = taken(|_, _| {});
        outcome::match_pair(&ours, &taken(|_, _| {})).unwrap();
        outcome::match_pair(
            &ours,
            &taken(|r, _| {
                r["config"]["model_args"] =
                    json!(format!("{},batch_size=8", r["config"]["model_args"].as_str().unwrap()));
            }),
        )
        .unwrap();
        outcome::match_pair(&ours, &taken(|_, s| *s = as_written(s))).unwrap();
        let differs = |theirs: Vec<Outcome>, what: &str| {
            let error = outcome::match_pair(&ours, &theirs).unwrap_err().to_string();
            assert!(error.contains("was asked otherwise"), "{what}: {error}");
        };
        differs(taken(|_, s| s[2]["doc_hash"] = json!("another document")), "document");
        differs(taken(|_, s| s[2]["arguments"][1][1] = json!(" something")), "choice");
        differs(
            taken(|_, s| {
                s[2]["prompt_hash"] = json!(Sha256::of(b"an example, then q").to_string());
                s[2]["arguments"][0][0] = json!("an example, then q");
            }),
            "prompt",
        );
        differs(
            taken(|r, _| {
                let given = r["config"]["model_args"].as_str().unwrap().replace("float32", "bfloat16");
                r["config"]["model_args"] = json!(given);
            }),
            "dtype",
        );
        differs(taken(|r, _| r["config"]["gen_kwargs"] = json!({"temperature": 1})), "generation");
    }
}
