//! The harness's metric once more, from what the model gave.
//!
//! Gates pair samples, so the value of each must be right and not only their mean. `acc` and `acc_norm` of
//! multiple choice follow from log-likelihoods, `acc` of one continuation from whether it was the greedy
//! one, a plain `exact_match` from the text. Other metrics are the harness's word, held to its mean.

use serde_json::Value;

use super::refuse;
use super::samples::Line;
use crate::evaluate::EvaluateError;

/// Refuses a sample whose value is not what the model's answer comes to under the task's settings.
pub(super) fn check(config: &Value, metric: &str, line: &Line, value: f64) -> Result<(), EvaluateError> {
    let Some(kind) = config["output_type"].as_str() else {
        return refuse("the results do not say how the task asks (`configs.TASK.output_type`)");
    };
    let right = match (kind, metric) {
        ("multiple_choice", "acc" | "acc_norm") => multiple_choice(config, metric, line)?,
        ("loglikelihood", "acc") => vec![is_greedy(line)?],
        ("generate_until", "exact_match") if is_plain(config) => match exact(line)? {
            Some(right) => vec![right],
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    if right.iter().any(|right| f64::from(u8::from(*right)) == value) {
        return Ok(());
    }
    refuse(format!(
        "line {} of the samples has the `{metric}` {value}, but what the model answered comes to {}",
        line.number,
        1.0 - value
    ))
}

fn missing<T>(line: &Line, what: &str) -> Result<T, EvaluateError> {
    refuse(format!("line {} of the samples has no {what} to judge it by", line.number))
}

/// The harness writes numbers of its lists as texts.
fn number(value: &Value) -> Option<f64> {
    let found = value.as_f64().or_else(|| value.as_str()?.parse().ok());
    found.filter(|found| found.is_finite())
}

/// Whether the likeliest choice is a right one; two readings where the target can be read in two ways.
fn multiple_choice(config: &Value, metric: &str, line: &Line) -> Result<Vec<bool>, EvaluateError> {
    let requests = line.arguments();
    let delimiter = config["target_delimiter"].as_str().unwrap_or(" ");
    let text = |request: &Vec<&Value>| request.get(1)?.as_str().map(str::to_owned);
    let Some(mut texts) = requests.iter().map(text).collect::<Option<Vec<String>>>() else {
        return missing(line, "choices in its `arguments`");
    };
    let found = line.value["filtered_resps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(mut likelihoods) = found.iter().map(|one| number(&one[0])).collect::<Option<Vec<f64>>>() else {
        return missing(line, "log-likelihoods in its `filtered_resps`");
    };
    if line.value["metrics"].as_array().is_some_and(|all| all.iter().any(|one| one == "acc_mutual_info")) {
        // The second half is of the choices alone.
        texts.truncate(texts.len() / 2);
        likelihoods.truncate(likelihoods.len() / 2);
    }
    if likelihoods.is_empty() || likelihoods.len() != texts.len() {
        return missing(line, "log-likelihood of each choice");
    }
    let choices: Vec<&str> = texts.iter().map(|text| text.strip_prefix(delimiter).unwrap_or(text)).collect();
    if metric == "acc_norm" {
        // Where the contexts are the choices and one text follows them all, lengths are not to be had.
        if choices.len() > 1 && choices.iter().all(|choice| *choice == choices[0]) {
            return missing(line, "lengths of its choices");
        }
        for (likelihood, choice) in likelihoods.iter_mut().zip(&choices) {
            *likelihood /= choice.chars().count() as f64;
        }
    }
    let chosen = (0..likelihoods.len()).fold(
        0,
        |best, at| {
            if likelihoods[at] > likelihoods[best] { at } else { best }
        },
    );
    targets(&line.value["target"], &choices, chosen).map_or_else(|| missing(line, "`target`"), Ok)
}

/// Whether a choice is meant by the target: its place, its text, or a list of places. Written as a text,
/// `1` may be either of the first two.
fn targets(target: &Value, choices: &[&str], chosen: usize) -> Option<Vec<bool>> {
    let is_at = |place: &Value| place.as_u64() == Some(chosen as u64);
    match target {
        Value::Number(_) => Some(vec![is_at(target)]),
        Value::Array(places) => Some(vec![places.iter().any(is_at)]),
        Value::String(text) => {
            let by_text = choices.iter().position(|choice| choice == text).map(|place| place == chosen);
            let read = serde_json::from_str::<Value>(text).ok().filter(|read| !read.is_string());
            let by_place = read.and_then(|read| targets(&read, choices, chosen));
            let all: Vec<bool> = by_text.into_iter().chain(by_place.into_iter().flatten()).collect();
            (!all.is_empty()).then_some(all)
        }
        _ => None,
    }
}

/// Whether the one continuation is what the model would have said.
fn is_greedy(line: &Line) -> Result<bool, EvaluateError> {
    let given = &line.value["filtered_resps"];
    let pair = if given[0].is_array() { &given[0] } else { given };
    match &pair[1] {
        Value::Bool(greedy) => Ok(*greedy),
        Value::String(text) if text == "True" || text == "False" => Ok(text == "True"),
        _ => missing(line, "greedy continuation in its `filtered_resps`"),
    }
}

/// Whether texts are compared as they are.
fn is_plain(config: &Value) -> bool {
    let metrics = config["metric_list"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut own = metrics.iter().filter(|metric| metric["metric"] == "exact_match");
    let settings = ["metric", "aggregation", "higher_is_better"];
    own.next()
        .and_then(Value::as_object)
        .is_some_and(|own| own.keys().all(|key| settings.contains(&key.as_str())))
}

/// Whether the answer is the target; nothing where one of them is no text. The harness compares them in
/// NumPy, which knows no NUL at the end of a text.
fn exact(line: &Line) -> Result<Option<bool>, EvaluateError> {
    let Some(answer) = line.value["filtered_resps"][0].as_str() else {
        return missing(line, "answer in its `filtered_resps`");
    };
    let even = |text: &str| text.trim_end_matches('\0').to_owned();
    Ok(line.value["target"].as_str().map(|target| even(target) == even(answer)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{as_written, options, refused, results, samples, take, take_with};
    use super::*;
    use crate::evaluate::Options;
    use serde_json::json;

    #[test]
    fn the_threat_of_a_right_and_a_wrong_sample_that_change_places() {
        let swap = |s: &mut Vec<Value>| {
            (s[1]["acc"], s[2]["acc"]) = (json!(0.0), json!(1.0));
        };
        refused(|_, s| swap(s), "line 2 of the samples has the `acc` 0, but");
        refused(
            |_, s| {
                *s = as_written(s);
                swap(s);
            },
            "line 2 of the samples has the `acc` 0, but",
        );
        refused(|_, s| drop(s[1].as_object_mut().unwrap().remove("filtered_resps")), "no log-likelihood");
        refused(|_, s| s[1]["filtered_resps"][0] = json!(["NaN", "False"]), "no log-likelihoods");
        refused(|r, _| drop(r.as_object_mut().unwrap().remove("configs")), "how the task asks");
    }

    #[test]
    fn lengths_are_made_up_for() {
        // The likeliest is the right one; for its length it is the other: -2 / 2 against -4 / 5.
        let with = |value: f64| {
            let (mut results, mut samples) = (results(), samples());
            results["results"]["arc_easy"] = json!({"acc_norm,none": value});
            for sample in &mut samples {
                sample["acc_norm"] = json!(value);
                sample["filtered_resps"] = json!([[-2.0, false], [-4.0, false]]);
            }
            let options = Options { task_metric: Some("acc_norm".to_owned()), ..options() };
            take_with(&results, &samples, &options)
        };
        assert!(with(0.0).is_ok());
        assert!(with(1.0).unwrap_err().to_string().contains("comes to 0"));
    }

    #[test]
    fn targets_are_places_texts_or_lists_of_places() {
        let choices = ["0", "1"];
        let read = |target: Value, chosen| targets(&target, &choices, chosen);
        assert_eq!(read(json!(1), 1), Some(vec![true]));
        assert_eq!(read(json!([0, 1]), 1), Some(vec![true]));
        assert_eq!(read(json!("[0]"), 1), Some(vec![false]));
        assert_eq!(read(json!("1"), 1), Some(vec![true, true]));
        assert_eq!(targets(&json!("1"), &["1", "0"], 0), Some(vec![true, false]), "the text or the place");
        assert_eq!(read(json!("no"), 1), None);
    }

    #[test]
    fn answers_and_greedy_continuations_are_judged_too() {
        let line =
            |value: Value| Line { number: 1, doc: 0, value, sha256: crate::base::digest::Sha256::of(b"") };
        let plain = json!({"output_type": "generate_until",
            "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": true}]});
        let said = |answer: &str, value| {
            let line = line(json!({"target": "42", "filtered_resps": [answer]}));
            check(&plain, "exact_match", &line, value)
        };
        assert!(said("42", 1.0).is_ok() && said("42\0", 1.0).is_ok() && said("43", 0.0).is_ok());
        assert!(said("42", 0.0).is_err() && said("43", 1.0).is_err());
        let mut folded = plain.clone();
        folded["metric_list"][0]["ignore_case"] = json!(true);
        let loud = line(json!({"target": "yes", "filtered_resps": ["YES"]}));
        assert!(check(&folded, "exact_match", &loud, 1.0).is_ok(), "not ours to judge");
        let greedy = json!({"output_type": "loglikelihood"});
        for given in [json!([[-1.5, true]]), json!([["-1.5", "True"]]), json!(["-1.5", "True"])] {
            let line = line(json!({"filtered_resps": given}));
            assert!(check(&greedy, "acc", &line, 1.0).is_ok() && check(&greedy, "acc", &line, 0.0).is_err());
        }
    }

    #[test]
    fn what_the_harness_wrote_holds() {
        assert!(take(&results(), &samples()).is_ok());
        assert!(take(&results(), &as_written(&samples())).is_ok());
    }
}
