//! Exact match: the answer is right if it is the expected text.
//!
//! Unless the plan says otherwise nothing is trimmed, folded or normalised: a suite says exactly
//! what it wants, and a model that should stop must stop. `stop` ends an answer before a text;
//! `normalise` evens out both sides before they are compared. The answer is recorded as it was
//! given, up to the stop text, so the verdict is a comparison anyone can repeat in any language.

use serde::{Deserialize, Serialize};

use super::evaluator::{Examinee, Measure, MetricInfo, Room, Score, Trouble};
use super::options::Options;
use super::suite::sound_text;

/// The evaluator `exact_match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExactMatch;

/// `{"id": "add-1", "prompt": "1+2=", "expected": "3"}`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the model is asked.
    pub prompt: String,
    /// What it should answer.
    pub expected: String,
}

/// What it answered.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The text.
    pub output: String,
    /// Whether that is right.
    pub correct: bool,
}

impl Measure for ExactMatch {
    type Case = Case;
    type Outcome = Outcome;
    const NAME: &'static str = "exact_match";
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "the share of cases answered with exactly the expected text";
    const QUALITY: bool = true;
    const METRICS: &'static [MetricInfo] = &[MetricInfo::share("exact_match")];
    const OPTIONS: &'static [&'static str] = &["max_tokens", "stop", "normalise"];

    fn check(case: &Case) -> Result<(), String> {
        sound_text("prompt", &case.prompt)?;
        sound_text("expected answer", &case.expected)?;
        if case.expected.contains(char::REPLACEMENT_CHARACTER) {
            // Output that is not UTF-8 is shown with this character; it must never count as right.
            return Err("expects the replacement character U+FFFD, which stands for broken output".to_owned());
        }
        Ok(())
    }

    fn asks(case: &Case) -> String {
        case.prompt.clone()
    }

    /// A prompt must leave room for a token of the answer.
    fn room(case: &Case, options: &Options) -> Room {
        let answer = Some(options.normalise().apply(&case.expected));
        Room { texts: vec![case.prompt.clone()], more: 1, answer }
    }

    fn ask(cases: &[Case], model: &dyn Examinee, options: &Options) -> Result<Vec<Outcome>, Trouble> {
        let prompts: Vec<&str> = cases.iter().map(|case| case.prompt.as_str()).collect();
        let answers = model.generate(&prompts, options)?;
        Ok(answers
            .into_iter()
            .map(|answer| Outcome { output: options.cut(&answer).to_owned(), correct: false })
            .collect())
    }

    fn judge(case: &Case, outcome: &Outcome, options: &Options) -> Outcome {
        let even = |text: &str| options.normalise().apply(text);
        Outcome { output: outcome.output.clone(), correct: even(&case.expected) == even(&outcome.output) }
    }

    fn scores(outcome: &Outcome) -> Vec<Score> {
        vec![Score::of(outcome.correct)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluator::Evaluator;
    use super::super::options::Normalise;
    use super::super::testing::{Answers, suite};
    use super::super::{EvaluateError, Outcome, Suite, outcome};
    use super::*;
    use serde_json::json;

    /// Adds, but cannot carry: right for small sums only.
    fn no_carry(prompt: &str) -> Result<String, Trouble> {
        let (a, b) = prompt.trim_end_matches('=').split_once('+').unwrap_or(("", ""));
        let sum = (a.parse::<u32>()? + b.parse::<u32>()?) % 10;
        Ok(sum.to_string())
    }

    fn sums() -> Suite {
        let cases = (0..10).map(
            |i| json!({"id": format!("c{i}"), "prompt": format!("{i}+4="), "expected": (i + 4).to_string()}),
        );
        suite(&ExactMatch, cases)
    }

    fn outcomes() -> Vec<Outcome> {
        ExactMatch.ask(&sums().cases, &Answers::new(no_carry), &Options::default()).unwrap()
    }

    #[test]
    fn counts_what_is_exactly_right() {
        let found = outcomes();
        let metrics = ExactMatch.recompute(&found).unwrap();
        let metric = metrics["exact_match"];
        assert_eq!((metric.value, metric.n), (0.6, 10));
        assert!((metric.stderr.unwrap() - 0.154_919_333_848_296_7).abs() < 1e-15);
        let read = outcome::from_jsonl(&outcome::to_jsonl(&found)).unwrap();
        assert_eq!(ExactMatch.recheck(&sums(), &read, &Options::default()).unwrap(), metrics);
    }

    #[test]
    fn the_threat_of_edited_outcomes() {
        let good = outcomes();
        let with = |change: &dyn Fn(&mut Vec<Outcome>)| {
            let mut outcomes = good.clone();
            change(&mut outcomes);
            ExactMatch.recheck(&sums(), &outcomes, &Options::default()).unwrap_err().to_string()
        };
        assert!(with(&|o| o[9].body["correct"] = json!(true)).contains("case c9 is recorded as"));
        assert!(with(&|o| o[0].body["output"] = json!("4x")).contains("case c0 is recorded as"));
        assert!(with(&|o| drop(o.pop())).contains("about case nothing, the suite expects c9"));
        assert!(with(&|o| o.swap(1, 2)).contains("outcome 1 is about case c2"));
        assert!(with(&|o| o.insert(3, o[3].clone())).contains("outcome 4 is about case c3"));
        assert!(matches!(ExactMatch.recompute(&[]), Err(EvaluateError::NoOutcomes)));
    }

    #[test]
    fn stops_and_evens_out_as_told() {
        let suite =
            suite(&ExactMatch, [json!({"id": "a", "prompt": "p", "expected": "Yes sir"})].into_iter());
        let run = |answer: &'static str, options: &Options| {
            let model = Answers::new(move |_| Ok(answer.to_owned()));
            let found = ExactMatch.ask(&suite.cases, &model, options).unwrap();
            ExactMatch.recheck(&suite, &found, options).unwrap()["exact_match"].value
        };
        let none = Options::default();
        let spaces = Options { normalise: Some(Normalise::Whitespace), ..none.clone() };
        let lower = Options { normalise: Some(Normalise::Lowercase), ..none.clone() };
        let line = Options { stop: Some(vec!["\n".to_owned()]), ..none.clone() };
        assert_eq!(run("Yes sir", &none), 1.0);
        assert_eq!((run(" Yes  sir", &none), run(" Yes  sir", &spaces)), (0.0, 1.0));
        assert_eq!((run("yes sir", &spaces), run("yes sir", &lower)), (0.0, 1.0));
        assert_eq!((run("Yes sir\nand more", &none), run("Yes sir\nand more", &line)), (0.0, 1.0));
    }

    #[test]
    fn a_model_that_misbehaves_is_an_error_not_a_score() {
        let model = Answers::new(|_| Err("logits are not finite".into()));
        let error = ExactMatch.ask(&sums().cases, &model, &Options::default()).unwrap_err().to_string();
        assert!(error.contains("case c0: logits are not finite"), "{error}");
        let few = Answers::new(no_carry).only(1);
        let error = ExactMatch.ask(&sums().cases, &few, &Options::default()).unwrap_err().to_string();
        assert!(error.contains("1 answers to 10"), "{error}");
    }
}
