//! What happened to each case, as lines of canonical JSON, and the metrics that follow from them.
//!
//! The outcomes file is the evidence; a metric beside it is a convenience that anyone recomputes.
//! A metric is a ratio r of sums over n cases. The standard error of a share is sqrt(r (1 - r) / n), the
//! standard deviation of a binomial share; of any other ratio it is the linearised one, the root of
//! n / (n - 1) times the sum of (value - r weight)^2, over the sum of the weights (Cochran, "Sampling
//! Techniques", 1977, section 2.11). It is 0 when all cases agree, which says little for small n, and
//! there is none for a ratio of one case: gates use exact tests, intervals and resampling instead.

use std::collections::{BTreeMap, HashSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::EvaluateError;
use super::evaluator::{Score, Values};
use super::suite::{MAX_CASES, Suite};
use crate::base::canonical;
use crate::base::digest::Sha256;
use crate::base::name::Name;

/// The largest outcomes file that is made and read.
pub const MAX_OUTCOMES: u64 = 1 << 30;
/// The longest line of one.
const MAX_LINE: usize = 1 << 20;

/// What happened to one case.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The case.
    pub id: Name,
    /// Everything but the id, as the evaluator writes it: an object.
    pub body: Value,
}

impl Outcome {
    /// An evaluator's outcome of a case.
    ///
    /// # Errors
    ///
    /// [`EvaluateError::Unwritable`] of a number that is none or beyond 2^53 - 1, and of an outcome of about 1
    /// MiB or more.
    pub fn new(id: &Name, outcome: &impl Serialize) -> Result<Self, EvaluateError> {
        let unwritable = |why: String| EvaluateError::Unwritable { id: id.to_string(), why };
        let bytes = canonical::to_vec(outcome).map_err(|error| unwritable(error.to_string()))?;
        let body = canonical::value_from_slice(&bytes).map_err(|error| unwritable(error.to_string()))?;
        if bytes.len() + 128 > MAX_LINE {
            return Err(unwritable(format!("it has {} bytes", bytes.len())));
        }
        Ok(Self { id: id.clone(), body })
    }

    /// The outcome as its evaluator's own type.
    ///
    /// # Errors
    ///
    /// [`EvaluateError::Unreadable`] if it is of another evaluator, or of another version of it.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<T, EvaluateError> {
        T::deserialize(&self.body)
            .map_err(|error| EvaluateError::Unreadable { id: self.id.to_string(), why: error.to_string() })
    }

    /// What was asked, by its digest, where that is not a case of a suite of ours.
    fn asked(&self) -> Option<&str> {
        self.body["asked"].as_str()
    }

    fn line(&self) -> Vec<u8> {
        let mut whole = self.body.clone();
        whole["id"] = Value::String(self.id.to_string());
        canonical::to_vec(&whole).expect("it was read from canonical JSON")
    }
}

/// One number, what it was taken from, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// The number.
    pub value: f64,
    /// Cases it was taken from.
    pub n: u64,
    /// Its standard error; none if one case cannot tell.
    pub stderr: Option<f64>,
}

/// Metrics by name.
pub type Metrics = BTreeMap<String, Metric>;

impl Metric {
    /// What these scores come to.
    ///
    /// # Errors
    ///
    /// As [`ratio`].
    pub fn of(scores: &[Score], values: Values) -> Result<Self, EvaluateError> {
        let n = scores.len() as u64;
        let ratio = ratio(scores)?;
        let stderr = match values {
            Values::Binary => Some((ratio * (1.0 - ratio) / n as f64).sqrt()),
            Values::Ratio => linearised(scores, ratio),
            Values::Exponential => linearised(scores, ratio).map(|stderr| stderr * libm::exp(ratio)),
        };
        Ok(Self { value: values.read(ratio), n, stderr })
    }
}

impl Values {
    /// The metric that a ratio stands for.
    pub fn read(self, ratio: f64) -> f64 {
        if self == Self::Exponential { libm::exp(ratio) } else { ratio }
    }
}

/// The sum of the values over the sum of the weights.
///
/// # Errors
///
/// [`EvaluateError::NoOutcomes`] if there are no scores, or if their weights are 0 together.
pub fn ratio(scores: &[Score]) -> Result<f64, EvaluateError> {
    let value: f64 = scores.iter().map(|score| score.value).sum();
    let weight: f64 = scores.iter().map(|score| score.weight).sum();
    if scores.is_empty() || weight <= 0.0 {
        return Err(EvaluateError::NoOutcomes);
    }
    Ok(value / weight)
}

fn linearised(scores: &[Score], ratio: f64) -> Option<f64> {
    let n = scores.len() as f64;
    let weight: f64 = scores.iter().map(|score| score.weight).sum();
    let squares = scores.iter().map(|score| {
        let residual = score.value - ratio * score.weight;
        residual * residual
    });
    (scores.len() > 1).then(|| (n / (n - 1.0) * squares.sum::<f64>()).sqrt() / weight)
}

/// The bytes of an outcomes file.
pub fn to_jsonl(outcomes: &[Outcome]) -> Vec<u8> {
    let mut out = Vec::new();
    for outcome in outcomes {
        out.extend(outcome.line());
        out.push(b'\n');
    }
    out
}

/// Reads an outcomes file.
///
/// # Errors
///
/// [`EvaluateError::NoOutcomes`] of an empty file; [`EvaluateError::Domain`] of more than [`MAX_OUTCOMES`]
/// bytes or [`MAX_CASES`] lines; [`EvaluateError::Outcomes`] of the first line that is no outcome, has more
/// than 1 MiB, is spelled otherwise than by [`to_jsonl`], or is about a case that was there.
pub fn from_jsonl(bytes: &[u8]) -> Result<Vec<Outcome>, EvaluateError> {
    if bytes.is_empty() {
        return Err(EvaluateError::NoOutcomes);
    }
    too_many("the length of the outcomes in bytes", bytes.len(), MAX_OUTCOMES as usize)?;
    let mut outcomes = Vec::new();
    let mut ids = HashSet::new();
    for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        too_many("the number of outcomes", number, MAX_CASES)?;
        let bad = |why: String| EvaluateError::Outcomes { line: number, why };
        let line = line.strip_suffix(b"\n").ok_or_else(|| bad("ends without a line break".to_owned()))?;
        let outcome = read_line(line).map_err(bad)?;
        if outcome.line() != line {
            return Err(bad("is not written canonically".to_owned()));
        }
        if !ids.insert(outcome.id.clone()) {
            return Err(bad(format!("is about case {} again", outcome.id)));
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn read_line(line: &[u8]) -> Result<Outcome, String> {
    if line.len() > MAX_LINE {
        return Err(format!("has {} bytes, at most {MAX_LINE} are read", line.len()));
    }
    let mut body = canonical::value_from_slice(line).map_err(|error| error.to_string())?;
    let members = body.as_object_mut().ok_or("is no JSON object")?;
    let id = members.remove("id").ok_or("has no `id`")?;
    let id = id.as_str().ok_or("has an `id` that is no text")?;
    Ok(Outcome { id: id.parse().map_err(|error| format!("has a bad `id`: {error}"))?, body })
}

fn too_many(what: &'static str, found: usize, most: usize) -> Result<(), EvaluateError> {
    if found > most {
        return Err(EvaluateError::Domain { what, found: found.to_string(), expected: "less" });
    }
    Ok(())
}

/// Refuses outcomes that are not of exactly the suite's cases, in the suite's order.
///
/// # Errors
///
/// [`EvaluateError::OtherCase`] of the first place where they differ.
pub fn match_suite(suite: &Suite, outcomes: &[Outcome]) -> Result<(), EvaluateError> {
    for position in 0..suite.cases.len().max(outcomes.len()) {
        let expected = suite.cases.get(position).map(|case| &case.id);
        let found = outcomes.get(position).map(|outcome| &outcome.id);
        if expected != found {
            let text = |id: Option<&Name>| id.map_or_else(|| "nothing".to_owned(), ToString::to_string);
            return Err(EvaluateError::OtherCase { position, expected: text(expected), found: text(found) });
        }
    }
    Ok(())
}

/// Refuses metrics that are not, to the last bit, those recomputed.
///
/// # Errors
///
/// [`EvaluateError::Metric`] of the first by name that differs, or that only one of them has.
pub fn match_metrics(recorded: &Metrics, recomputed: &Metrics) -> Result<(), EvaluateError> {
    let names: std::collections::BTreeSet<&String> = recorded.keys().chain(recomputed.keys()).collect();
    for name in names {
        let (recorded, recomputed) = (recorded.get(name), recomputed.get(name));
        if recorded != recomputed {
            let text = |metric: Option<&Metric>| {
                metric.map_or_else(
                    || "absent".to_owned(),
                    |metric| format!("{} (n {}, stderr {:?})", metric.value, metric.n, metric.stderr),
                )
            };
            return Err(EvaluateError::Metric {
                name: name.clone(),
                recorded: text(recorded),
                recomputed: text(recomputed),
            });
        }
    }
    Ok(())
}

/// SHA-256 of all that was asked elsewhere, in any order; none for outcomes of our own suites.
pub fn asked(outcomes: &[Outcome]) -> Option<Sha256> {
    let mut all: Vec<String> = outcomes
        .iter()
        .map(|outcome| Some(format!("{} {}\n", outcome.id, outcome.asked()?)))
        .collect::<Option<_>>()?;
    all.sort();
    Some(Sha256::of(all.concat().as_bytes()))
}

/// Refuses outcomes of two models that are not of the same cases in the same order, asked alike.
///
/// # Errors
///
/// [`EvaluateError::Pairing`], with the first case that differs, or with both numbers if one has more.
pub fn match_pair(one: &[Outcome], other: &[Outcome]) -> Result<(), EvaluateError> {
    if one.len() != other.len() {
        return Err(EvaluateError::Pairing(format!("{} outcomes against {}", one.len(), other.len())));
    }
    for (one, other) in one.iter().zip(other) {
        if one.id != other.id {
            return Err(EvaluateError::Pairing(format!("case {} against case {}", one.id, other.id)));
        }
        if one.asked() != other.asked() {
            let why = format!(
                "case {} was asked otherwise: another document, prompt, number of shots or setting",
                one.id
            );
            return Err(EvaluateError::Pairing(why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(id: &str, correct: bool) -> Outcome {
        let body = json!({"output": format!("out \"{id}\"\n"), "correct": correct});
        Outcome { id: id.parse().unwrap(), body }
    }

    fn share(right: usize, n: usize) -> Result<Metric, EvaluateError> {
        let scores: Vec<Score> = (0..n).map(|at| Score::of(at < right)).collect();
        Metric::of(&scores, Values::Binary)
    }

    #[test]
    fn outcomes_have_one_spelling() {
        let outcomes = [outcome("a", true), outcome("b", false)];
        let bytes = to_jsonl(&outcomes);
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert_eq!(text.lines().next().unwrap(), r#"{"correct":true,"id":"a","output":"out \"a\"\n"}"#);
        assert_eq!(from_jsonl(&bytes).unwrap(), outcomes);
        for (from, to, why) in [
            ("\"id\":\"b\"", "\"id\":\"a\"", "case a again"),
            ("\"id\":\"b\"", "\"id\": \"b\"", "canonically"),
            ("\"id\":\"b\"", "\"ib\":\"b\"", "no `id`"),
            ("false", "NaN", "line 2"),
        ] {
            let changed = text.replacen(from, to, 1);
            let error = from_jsonl(changed.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("line 2") && error.contains(why), "{error}");
        }
        assert!(from_jsonl(text.trim_end().as_bytes()).unwrap_err().to_string().contains("line break"));
        assert!(matches!(from_jsonl(b""), Err(EvaluateError::NoOutcomes)));
        assert!(from_jsonl(b"\n").is_err());
    }

    #[test]
    fn only_the_same_cases_are_paired() {
        let first = [outcome("a", true), outcome("b", false)];
        match_pair(&first, &[outcome("a", false), outcome("b", false)]).unwrap();
        let swapped = [first[1].clone(), first[0].clone()];
        assert!(match_pair(&first, &swapped).unwrap_err().to_string().contains("case a against case b"));
        assert!(match_pair(&first, &first[..1]).is_err());
    }

    #[test]
    fn standard_errors_are_the_stated_ones() {
        let metric = share(3, 12).unwrap();
        assert_eq!((metric.value, metric.n, metric.stderr), (0.25, 12, Some(0.125)));
        assert_eq!(share(5, 5).unwrap().stderr, Some(0.0));
        assert!(matches!(share(0, 0), Err(EvaluateError::NoOutcomes)));
        // Weights of 1 make the linearised error that of a mean: standard deviation over root n.
        let scores = [1.0, 2.0, 4.0, 9.0].map(|value| Score { value, weight: 1.0 });
        let mean = Metric::of(&scores, Values::Ratio).unwrap();
        assert_eq!(mean.value, 4.0);
        assert!((mean.stderr.unwrap() - (38.0_f64 / 3.0).sqrt() / 2.0).abs() < 1e-15);
        assert_eq!(Metric::of(&scores[..1], Values::Ratio).unwrap().stderr, None);
        let exponential = Metric::of(&scores, Values::Exponential).unwrap();
        assert!((exponential.value - 4.0_f64.exp()).abs() < 1e-12);
    }

    #[test]
    fn the_threat_of_an_edited_metric() {
        let good: Metrics = [("exact_match".to_owned(), share(3, 12).unwrap())].into();
        match_metrics(&good, &good).unwrap();
        let mut edited = good.clone();
        edited.get_mut("exact_match").unwrap().value += f64::EPSILON;
        assert!(matches!(match_metrics(&edited, &good), Err(EvaluateError::Metric { .. })));
        edited = good.clone();
        edited.insert("extra".to_owned(), share(1, 1).unwrap());
        assert!(match_metrics(&edited, &good).unwrap_err().to_string().contains("absent"));
        assert!(match_metrics(&Metrics::new(), &good).is_err());
    }
}
