//! What an evaluator is, and which there are.

use super::EvaluateError;
use super::exact_match::ExactMatch;
use super::outcome::{self, Metrics, Outcome};
use super::suite::{Case, MAX_TEXT, Suite};

/// Something that answers prompts: a model behind a runtime, or a test's table.
///
/// The same prompts must give the same answers. Output that is not UTF-8 is handed over with
/// U+FFFD in its place: a model that breaks its text is wrong, not a reason to stop.
pub trait Generator {
    /// One answer for each prompt, in order, each of at most `max_tokens` tokens.
    fn generate(
        &self,
        prompts: &[&str],
        max_tokens: usize,
    ) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>>;
}

/// How cases are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// Prompts handed to the generator at once. Changes nothing but speed and memory.
    pub batch: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_tokens: 64, batch: 64 }
    }
}

/// What an evaluator found.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// One for each case, in the suite's order.
    pub outcomes: Vec<Outcome>,
    /// What follows from them.
    pub metrics: Metrics,
}

/// A way to judge answers.
pub trait Evaluator: Sync {
    /// What plans and sidecars call it.
    fn name(&self) -> &'static str;

    /// Raised whenever the same answers would be judged otherwise.
    fn version(&self) -> u32;

    /// One sentence for people.
    fn about(&self) -> &'static str;

    /// The metrics it gives; the first is what it is for.
    fn metrics(&self) -> &'static [&'static str];

    /// Whether `output` is right for `case`.
    fn judge(&self, case: &Case, output: &str) -> bool;

    /// The metrics, from the outcomes alone.
    fn recompute(&self, outcomes: &[Outcome]) -> Result<Metrics, EvaluateError>;

    /// Asks every case and judges every answer.
    fn evaluate(
        &self,
        suite: &Suite,
        generator: &dyn Generator,
        options: Options,
    ) -> Result<Evaluation, EvaluateError> {
        if options.max_tokens == 0 || options.batch == 0 {
            return Err(EvaluateError::Option("max_tokens and batch must be at least 1"));
        }
        let mut outcomes = Vec::with_capacity(suite.cases.len());
        for cases in suite.cases.chunks(options.batch) {
            let prompts: Vec<&str> = cases.iter().map(|case| case.prompt.as_str()).collect();
            let answers = generator
                .generate(&prompts, options.max_tokens)
                .map_err(|source| EvaluateError::Generate { id: cases[0].id.to_string(), source })?;
            if answers.len() != cases.len() {
                return Err(EvaluateError::Answers { expected: cases.len(), found: answers.len() });
            }
            for (case, output) in cases.iter().zip(answers) {
                if output.len() > MAX_TEXT {
                    let (id, found) = (case.id.to_string(), output.len());
                    return Err(EvaluateError::AnswerTooLong { id, found, most: MAX_TEXT });
                }
                let correct = self.judge(case, &output);
                outcomes.push(Outcome { id: case.id.clone(), output, correct });
            }
        }
        let metrics = self.recompute(&outcomes)?;
        Ok(Evaluation { outcomes, metrics })
    }

    /// Judges recorded outputs again and recomputes the metrics: refuses outcomes of other cases,
    /// cut, reordered or doubled, and verdicts that do not follow from the outputs.
    fn recheck(&self, suite: &Suite, outcomes: &[Outcome]) -> Result<Metrics, EvaluateError> {
        outcome::match_suite(suite, outcomes)?;
        for (case, outcome) in suite.cases.iter().zip(outcomes) {
            let judged = self.judge(case, &outcome.output);
            if judged != outcome.correct {
                let word = |correct| if correct { "right" } else { "wrong" };
                let id = case.id.to_string();
                return Err(EvaluateError::Verdict {
                    id,
                    recorded: word(outcome.correct),
                    judged: word(judged),
                });
            }
        }
        self.recompute(outcomes)
    }
}

/// Every evaluator that runs a model.
pub static EVALUATORS: &[&dyn Evaluator] = &[&ExactMatch];

/// The evaluator called `name`.
pub fn find(name: &str) -> Option<&'static dyn Evaluator> {
    EVALUATORS.iter().copied().find(|evaluator| evaluator.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for evaluator in EVALUATORS {
            assert_eq!(find(evaluator.name()).unwrap().about(), evaluator.about());
            assert!(evaluator.version() >= 1);
        }
        assert!(find("exact-match").is_none());
    }
}
