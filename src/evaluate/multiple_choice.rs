//! Multiple choice: the model does not write, it finds one continuation more likely than the others.
//!
//! `accuracy` takes the choice of the highest log-likelihood; `accuracy_norm` that of the highest
//! log-likelihood for each character of the choice; the first of equals. These are `acc` and `acc_norm`
//! as lm-evaluation-harness defines them: the delimiter between question and choice is scored, but
//! is not part of a choice's length, and characters are Unicode scalar values.

use serde::{Deserialize, Serialize};

use super::evaluator::{Examinee, Measure, MetricInfo, Room, Score, Trouble};
use super::options::Options;
use super::suite::sound_text;
use crate::runtime::score::Question;

/// The evaluator `multiple_choice`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MultipleChoice;

/// `{"id": "q-1", "prompt": "The sky is", "choices": ["blue", "made of tin"], "answer": 0}`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What comes before each choice.
    pub prompt: String,
    /// At least two different texts.
    pub choices: Vec<String>,
    /// The right one, from 0.
    pub answer: usize,
}

/// How likely the choices were.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The log-likelihood of each choice, in nats.
    pub log_likelihoods: Vec<f64>,
    /// The likeliest.
    pub chosen: usize,
    /// The likeliest for its length.
    pub chosen_norm: usize,
    /// Whether `chosen` is right.
    pub correct: bool,
    /// Whether `chosen_norm` is right.
    pub correct_norm: bool,
}

/// Most choices of a case.
const MAX_CHOICES: usize = 64;

impl Measure for MultipleChoice {
    type Case = Case;
    type Outcome = Outcome;
    const NAME: &'static str = "multiple_choice";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "the share of cases whose right continuation is the likeliest";
    const QUALITY: bool = true;
    const METRICS: &'static [MetricInfo] =
        &[MetricInfo::share("accuracy"), MetricInfo::share("accuracy_norm")];
    const OPTIONS: &'static [&'static str] = &["delimiter"];

    fn check(case: &Case) -> Result<(), String> {
        sound_text("prompt", &case.prompt)?;
        if !(2..=MAX_CHOICES).contains(&case.choices.len()) {
            return Err(format!("has {} choices, expected 2 to {MAX_CHOICES}", case.choices.len()));
        }
        for (at, choice) in case.choices.iter().enumerate() {
            sound_text("choice", choice)?;
            if case.choices[..at].contains(choice) {
                return Err(format!("has the choice {choice:?} twice"));
            }
        }
        if case.answer >= case.choices.len() {
            return Err(format!("has {} choices and the answer {}", case.choices.len(), case.answer));
        }
        Ok(())
    }

    fn asks(case: &Case) -> String {
        serde_json::to_string(&(&case.prompt, &case.choices)).expect("texts are JSON")
    }

    /// The last token of a choice is predicted and never fed.
    fn room(case: &Case, options: &Options) -> Room {
        let delimiter = options.delimiter.as_deref().unwrap_or("");
        let whole = |choice: &String| format!("{}{delimiter}{choice}", case.prompt);
        Room { texts: case.choices.iter().map(whole).collect(), more: -1, answer: None }
    }

    fn ask(cases: &[Case], model: &dyn Examinee, options: &Options) -> Result<Vec<Outcome>, Trouble> {
        let delimiter = options.delimiter.as_deref().unwrap_or("");
        let question = |case: &Case| Question {
            context: case.prompt.clone(),
            continuations: case.choices.iter().map(|choice| format!("{delimiter}{choice}")).collect(),
        };
        let questions: Vec<Question> = cases.iter().map(question).collect();
        let found = model.likelihoods(&questions)?;
        Ok(found
            .into_iter()
            .map(|found| Outcome {
                log_likelihoods: found.iter().map(|one| one.log_likelihood).collect(),
                chosen: 0,
                chosen_norm: 0,
                correct: false,
                correct_norm: false,
            })
            .collect())
    }

    fn judge(case: &Case, outcome: &Outcome, _: &Options) -> Outcome {
        let found = &outcome.log_likelihoods;
        let lengths = case.choices.iter().map(|choice| choice.chars().count().max(1) as f64);
        let each: Vec<f64> = found.iter().zip(lengths).map(|(sum, length)| sum / length).collect();
        // As many log-likelihoods as choices, or nothing was right.
        let whole = found.len() == case.choices.len();
        let (chosen, chosen_norm) = (highest(found), highest(&each));
        Outcome {
            log_likelihoods: found.clone(),
            chosen,
            chosen_norm,
            correct: whole && chosen == case.answer,
            correct_norm: whole && chosen_norm == case.answer,
        }
    }

    fn scores(outcome: &Outcome) -> Vec<Score> {
        // A log-likelihood that is no number makes the score none, which is refused.
        let bad = outcome.log_likelihoods.iter().find(|value| !value.is_finite());
        let score = |right| bad.map_or(Score::of(right), |bad| Score { value: *bad, weight: 1.0 });
        vec![score(outcome.correct), score(outcome.correct_norm)]
    }
}

/// The place of the highest number, the first of equals.
fn highest(numbers: &[f64]) -> usize {
    (0..numbers.len()).fold(0, |best, at| if numbers[at] > numbers[best] { at } else { best })
}

#[cfg(test)]
mod tests {
    use super::super::evaluator::Evaluator;
    use super::super::suite::Suite;
    use super::super::testing::{Likely, suite};
    use super::*;
    use serde_json::json;

    fn case(choices: &[&str], answer: usize) -> Case {
        let choices = choices.iter().map(|choice| (*choice).to_owned()).collect();
        Case { prompt: "p".to_owned(), choices, answer }
    }

    fn judged(choices: &[&str], answer: usize, found: &[f64]) -> Outcome {
        let outcome = Outcome {
            log_likelihoods: found.to_vec(),
            chosen: 9,
            chosen_norm: 9,
            correct: true,
            correct_norm: true,
        };
        MultipleChoice::judge(&case(choices, answer), &outcome, &Options::default())
    }

    #[test]
    fn a_long_choice_is_less_likely_and_length_makes_up_for_it() {
        // The numbers of the definition: -6 / 2 = -3 against -10 / 5 = -2.
        let found = judged(&["no", "maybe"], 1, &[-6.0, -10.0]);
        assert_eq!((found.chosen, found.chosen_norm), (0, 1));
        assert_eq!((found.correct, found.correct_norm), (false, true));
        // Characters, not bytes: "éé" has two.
        let found = judged(&["éé", "abc"], 0, &[-4.0, -6.3]);
        assert_eq!(found.chosen_norm, 0, "-2 against -2.1; by bytes it would be the other");
        assert_eq!(judged(&["a", "b"], 1, &[-1.0, -1.0]).chosen, 0, "the first of equals");
    }

    #[test]
    fn the_model_is_asked_for_the_delimiter_too() {
        let cases = [json!({"id": "a", "prompt": "q", "choices": ["x", "yy"], "answer": 1})];
        let suite = suite(&MultipleChoice, cases.into_iter());
        let options = Options { delimiter: Some(" ".to_owned()), ..Options::default() };
        let model = Likely(|context, continuation| {
            assert_eq!((context, &continuation[..1]), ("q", " "));
            -(continuation.len() as f64)
        });
        let found = MultipleChoice.ask(&suite.cases, &model, &options).unwrap();
        let metrics = MultipleChoice.recheck(&suite, &found, &options).unwrap();
        assert_eq!((metrics["accuracy"].value, metrics["accuracy_norm"].value), (0.0, 1.0));
    }

    #[test]
    fn edited_choices_and_scores_that_are_no_numbers_are_refused() {
        let cases = [json!({"id": "a", "prompt": "q", "choices": ["x", "y"], "answer": 1})];
        let suite = suite(&MultipleChoice, cases.into_iter());
        let options = Options::default();
        let model = Likely(|_, continuation| if continuation == "x" { -1.0 } else { -2.0 });
        let good = MultipleChoice.ask(&suite.cases, &model, &options).unwrap();
        for (field, value) in
            [("correct", json!(true)), ("chosen", json!(1)), ("log_likelihoods", json!([-3, -2]))]
        {
            let mut edited = good.clone();
            edited[0].body[field] = value;
            assert!(MultipleChoice.recheck(&suite, &edited, &options).is_err(), "{field}");
        }
        let broken = Likely(|_, _| f64::NAN);
        let found = MultipleChoice.ask(&suite.cases, &broken, &options);
        let error = found.and_then(|found| MultipleChoice.recompute(&found)).unwrap_err().to_string();
        assert!(error.contains("case a") && error.contains("NaN"), "{error}");
    }

    #[test]
    fn cases_that_cannot_be_asked_are_refused() {
        let bad = |case: &str| Suite::parse(&MultipleChoice, case.as_bytes()).unwrap_err().to_string();
        for (case, why) in [
            (r#"{"id":"a","prompt":"p","choices":["x"],"answer":0}"#, "1 choices"),
            (r#"{"id":"a","prompt":"p","choices":["x","x"],"answer":0}"#, "twice"),
            (r#"{"id":"a","prompt":"p","choices":["x",""],"answer":0}"#, "empty choice"),
            (r#"{"id":"a","prompt":"p","choices":["x","y"],"answer":2}"#, "the answer 2"),
            (r#"{"id":"a","prompt":"p","choices":["x","y"],"answer":-1}"#, "cannot be read"),
        ] {
            let error = bad(case);
            assert!(error.starts_with("line 1") && error.contains(why), "{error}");
        }
    }
}
