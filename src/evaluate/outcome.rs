//! What happened to each case, as lines of canonical JSON, and the metrics that follow from them.
//!
//! The outcomes file is the evidence; a metric beside it is a convenience that anyone recomputes.
//! `stderr` of a share `p` of `n` cases is sqrt(p (1 - p) / n), the standard deviation of a
//! binomial share; it is 0 when all cases agree, which says little for small `n`: comparisons use
//! the exact tests and intervals of [`super::statistics`] instead.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::EvaluateError;
use super::suite::{MAX_CASES, MAX_TEXT, Suite};
use crate::base::canonical;
use crate::base::name::Name;

/// The largest outcomes file that is read.
pub const MAX_OUTCOMES: usize = 1 << 30;

/// What happened to one case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The case.
    pub id: Name,
    /// What the model answered.
    pub output: String,
    /// Whether that is right.
    pub correct: bool,
}

/// One number, what it was taken from, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// The number.
    pub value: f64,
    /// Cases it was taken from.
    pub n: u64,
    /// Its standard error.
    pub stderr: f64,
}

/// Metrics by name.
pub type Metrics = BTreeMap<String, Metric>;

impl Metric {
    /// The share `right / n`, with sqrt(p (1 - p) / n).
    pub fn share(right: u64, n: u64) -> Result<Self, EvaluateError> {
        if n == 0 {
            return Err(EvaluateError::NoOutcomes);
        }
        let value = right as f64 / n as f64;
        Ok(Self { value, n, stderr: (value * (1.0 - value) / n as f64).sqrt() })
    }
}

/// The bytes of an outcomes file.
pub fn to_jsonl(outcomes: &[Outcome]) -> Vec<u8> {
    let mut out = Vec::new();
    for outcome in outcomes {
        out.extend(canonical::to_vec(outcome).expect("an outcome is two texts and a flag"));
        out.push(b'\n');
    }
    out
}

/// Reads an outcomes file; refuses any spelling but [`to_jsonl`]'s, and a case that is there twice.
pub fn from_jsonl(bytes: &[u8]) -> Result<Vec<Outcome>, EvaluateError> {
    if bytes.is_empty() {
        return Err(EvaluateError::NoOutcomes);
    }
    too_many("the length of the outcomes in bytes", bytes.len(), MAX_OUTCOMES)?;
    let mut outcomes = Vec::new();
    let mut ids = HashSet::new();
    for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        too_many("the number of outcomes", number, MAX_CASES)?;
        let bad = |why: String| EvaluateError::Outcomes { line: number, why };
        let line = line.strip_suffix(b"\n").ok_or_else(|| bad("ends without a line break".to_owned()))?;
        let outcome: Outcome = canonical::from_slice(line).map_err(|error| bad(error.to_string()))?;
        if canonical::to_vec(&outcome).map_err(|error| bad(error.to_string()))? != line {
            return Err(bad("is not written canonically".to_owned()));
        }
        if outcome.output.len() > MAX_TEXT {
            return Err(bad(format!("has an output of more than {MAX_TEXT} bytes")));
        }
        if !ids.insert(outcome.id.clone()) {
            return Err(bad(format!("is about case {} again", outcome.id)));
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn too_many(what: &'static str, found: usize, most: usize) -> Result<(), EvaluateError> {
    if found > most {
        return Err(EvaluateError::Domain { what, found: found.to_string(), expected: "less" });
    }
    Ok(())
}

/// Refuses outcomes that are not of exactly the suite's cases, in the suite's order.
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
pub fn match_metrics(recorded: &Metrics, recomputed: &Metrics) -> Result<(), EvaluateError> {
    let names: std::collections::BTreeSet<&String> = recorded.keys().chain(recomputed.keys()).collect();
    for name in names {
        let (recorded, recomputed) = (recorded.get(name), recomputed.get(name));
        if recorded != recomputed {
            let text = |metric: Option<&Metric>| {
                metric.map_or_else(
                    || "absent".to_owned(),
                    |metric| format!("{} (n {}, stderr {})", metric.value, metric.n, metric.stderr),
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

/// The verdicts of two models on the same cases, paired by case id in the first one's order.
/// Refused unless both answered exactly the same cases.
pub fn pair_by_id(candidate: &[Outcome], other: &[Outcome]) -> Result<(Vec<bool>, Vec<bool>), EvaluateError> {
    let mut verdicts: HashMap<&str, bool> = HashMap::with_capacity(other.len());
    for outcome in other {
        if verdicts.insert(outcome.id.as_str(), outcome.correct).is_some() {
            return Err(EvaluateError::Pairing(format!("case {} is in the second list twice", outcome.id)));
        }
    }
    let mut pairs = (Vec::with_capacity(candidate.len()), Vec::with_capacity(candidate.len()));
    for outcome in candidate {
        let Some(verdict) = verdicts.remove(outcome.id.as_str()) else {
            return Err(EvaluateError::Pairing(format!(
                "case {} is in the first list twice, or not in the second",
                outcome.id
            )));
        };
        pairs.0.push(outcome.correct);
        pairs.1.push(verdict);
    }
    if let Some(id) = verdicts.keys().min() {
        return Err(EvaluateError::Pairing(format!("case {id} is not in the first list")));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(id: &str, correct: bool) -> Outcome {
        Outcome { id: id.parse().unwrap(), output: format!("out \"{id}\"\n"), correct }
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
            ("false", "0", "invalid type"),
            ("false", "false,\"x\":1", "unknown field"),
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
    fn pairs_follow_ids_not_positions() {
        let first = [outcome("a", true), outcome("b", false), outcome("c", true)];
        let second = [outcome("c", false), outcome("a", true), outcome("b", true)];
        assert_eq!(pair_by_id(&first, &second).unwrap(), (vec![true, false, true], vec![true, true, false]));
        for (first, second, why) in [
            (&first[..2], &second[..], "case c is not in the first"),
            (&first[..], &second[..2], "not in the second"),
            (&[outcome("a", true), outcome("a", true)][..], &second[1..2], "in the first list twice"),
            (&first[..1], &[outcome("a", true), outcome("a", false)][..], "in the second list twice"),
        ] {
            let error = pair_by_id(first, second).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn the_standard_error_is_the_binomial_one() {
        let metric = Metric::share(3, 12).unwrap();
        assert_eq!((metric.value, metric.n, metric.stderr), (0.25, 12, 0.125));
        assert_eq!(Metric::share(5, 5).unwrap().stderr, 0.0);
        assert!(matches!(Metric::share(0, 0), Err(EvaluateError::NoOutcomes)));
    }

    #[test]
    fn an_edited_metric_is_noticed() {
        let good: Metrics = [("exact_match".to_owned(), Metric::share(3, 12).unwrap())].into();
        match_metrics(&good, &good).unwrap();
        let mut edited = good.clone();
        edited.get_mut("exact_match").unwrap().value += f64::EPSILON;
        assert!(matches!(match_metrics(&edited, &good), Err(EvaluateError::Metric { .. })));
        edited = good.clone();
        edited.insert("extra".to_owned(), Metric::share(1, 1).unwrap());
        assert!(match_metrics(&edited, &good).unwrap_err().to_string().contains("absent"));
        assert!(match_metrics(&Metrics::new(), &good).is_err());
    }
}
