//! Models that are tables, for tests of evaluators.

use serde_json::Value;

use super::evaluator::{Evaluator, Examinee, Trouble};
use super::options::Options;
use super::suite::Suite;
use crate::runtime::score::{Divergence, Likelihood, Question, Reading};

/// A suite of these cases.
pub(crate) fn suite(evaluator: &dyn Evaluator, cases: impl Iterator<Item = Value>) -> Suite {
    let lines: String = cases.map(|case| format!("{case}\n")).collect();
    Suite::parse(evaluator, lines.as_bytes()).unwrap()
}

fn cannot<T>() -> Result<T, Trouble> {
    Err("this table cannot do that".into())
}

/// Answers prompts by a rule.
pub(crate) struct Answers<F> {
    rule: F,
    most: usize,
}

impl<F: Fn(&str) -> Result<String, Trouble>> Answers<F> {
    pub(crate) fn new(rule: F) -> Self {
        Self { rule, most: usize::MAX }
    }

    /// Stops answering after so many.
    pub(crate) fn only(self, most: usize) -> Self {
        Self { most, ..self }
    }
}

impl<F: Fn(&str) -> Result<String, Trouble>> Examinee for Answers<F> {
    fn generate(&self, prompts: &[&str], _: &Options) -> Result<Vec<String>, Trouble> {
        prompts.iter().take(self.most).map(|prompt| (self.rule)(prompt)).collect()
    }
    fn likelihoods(&self, _: &[Question]) -> Result<Vec<Vec<Likelihood>>, Trouble> {
        cannot()
    }
    fn read(&self, _: &[&str], _: &Options) -> Result<Vec<Reading>, Trouble> {
        cannot()
    }
    fn diverge(&self, _: &[&str], _: &Options) -> Result<Vec<Divergence>, Trouble> {
        cannot()
    }
}

/// Finds continuations likely by a rule.
pub(crate) struct Likely(pub(crate) fn(&str, &str) -> f64);

impl Examinee for Likely {
    fn generate(&self, _: &[&str], _: &Options) -> Result<Vec<String>, Trouble> {
        cannot()
    }
    fn likelihoods(&self, questions: &[Question]) -> Result<Vec<Vec<Likelihood>>, Trouble> {
        let of = |question: &Question| {
            let rule = |continuation: &String| Likelihood {
                log_likelihood: (self.0)(&question.context, continuation),
                tokens: continuation.len(),
                greedy: false,
            };
            question.continuations.iter().map(rule).collect()
        };
        Ok(questions.iter().map(of).collect())
    }
    fn read(&self, _: &[&str], _: &Options) -> Result<Vec<Reading>, Trouble> {
        cannot()
    }
    fn diverge(&self, _: &[&str], _: &Options) -> Result<Vec<Divergence>, Trouble> {
        cannot()
    }
}

/// Finds texts likely by a rule; every byte is a token.
pub(crate) struct Reader(pub(crate) fn(&str) -> f64);

impl Examinee for Reader {
    fn generate(&self, _: &[&str], _: &Options) -> Result<Vec<String>, Trouble> {
        cannot()
    }
    fn likelihoods(&self, _: &[Question]) -> Result<Vec<Vec<Likelihood>>, Trouble> {
        cannot()
    }
    fn read(&self, texts: &[&str], _: &Options) -> Result<Vec<Reading>, Trouble> {
        let of = |text: &&str| Reading { log_likelihood: (self.0)(text), tokens: text.len() };
        Ok(texts.iter().map(of).collect())
    }
    fn diverge(&self, texts: &[&str], _: &Options) -> Result<Vec<Divergence>, Trouble> {
        let of = |text: &&str| Divergence { kl: (self.0)(text), agreed: text.len() - 1, tokens: text.len() };
        Ok(texts.iter().map(of).collect())
    }
}
