//! Exact match: the answer is right if it is the expected text, byte for byte.
//!
//! Nothing is trimmed, folded or normalised: a suite says exactly what it wants, and a model that
//! should stop must stop. That makes the verdict a comparison anyone can repeat in any language.

use super::EvaluateError;
use super::evaluator::Evaluator;
use super::outcome::{Metric, Metrics, Outcome};
use super::suite::Case;

/// The evaluator `exact_match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExactMatch;

impl Evaluator for ExactMatch {
    fn name(&self) -> &'static str {
        "exact_match"
    }

    fn version(&self) -> u32 {
        1
    }

    fn about(&self) -> &'static str {
        "the share of cases answered with exactly the expected text"
    }

    fn metrics(&self) -> &'static [&'static str] {
        &["exact_match"]
    }

    fn judge(&self, case: &Case, output: &str) -> bool {
        case.expected == output
    }

    fn recompute(&self, outcomes: &[Outcome]) -> Result<Metrics, EvaluateError> {
        let right = outcomes.iter().filter(|outcome| outcome.correct).count();
        let metric = Metric::share(right as u64, outcomes.len() as u64)?;
        Ok([(self.name().to_owned(), metric)].into())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::evaluator::{Generator, Options};
    use super::super::{Suite, outcome};
    use super::*;

    /// Adds, but cannot carry: right for small sums only.
    struct NoCarry {
        calls: Cell<usize>,
    }

    impl Generator for NoCarry {
        fn generate(
            &self,
            prompts: &[&str],
            max_tokens: usize,
        ) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
            self.calls.set(self.calls.get() + 1);
            let answer = |prompt: &&str| -> Result<String, std::num::ParseIntError> {
                let (a, b) = prompt.trim_end_matches('=').split_once('+').unwrap_or(("", ""));
                let sum = (a.parse::<u32>()? + b.parse::<u32>()?) % 10;
                Ok(sum.to_string().chars().take(max_tokens).collect())
            };
            Ok(prompts.iter().map(answer).collect::<Result<_, _>>()?)
        }
    }

    fn suite() -> Suite {
        let lines: String = (0..10)
            .map(|i| format!("{{\"id\":\"c{i}\",\"prompt\":\"{i}+4=\",\"expected\":\"{}\"}}\n", i + 4))
            .collect();
        Suite::parse(lines.as_bytes()).unwrap()
    }

    fn options(batch: usize) -> Options {
        Options { max_tokens: 4, batch }
    }

    #[test]
    fn counts_what_is_exactly_right() {
        let model = NoCarry { calls: Cell::new(0) };
        let result = ExactMatch.evaluate(&suite(), &model, options(3)).unwrap();
        assert_eq!(model.calls.get(), 4, "ten cases in batches of three");
        assert_eq!(result.outcomes.iter().filter(|outcome| outcome.correct).count(), 6);
        let metric = result.metrics["exact_match"];
        assert_eq!((metric.value, metric.n), (0.6, 10));
        assert!((metric.stderr - 0.154_919_333_848_296_7).abs() < 1e-15);
        let at_once = ExactMatch.evaluate(&suite(), &model, options(100)).unwrap();
        assert_eq!(at_once, result, "batches change nothing");
        let read = outcome::from_jsonl(&outcome::to_jsonl(&result.outcomes)).unwrap();
        assert_eq!(ExactMatch.recheck(&suite(), &read).unwrap(), result.metrics);
        let case = &suite().cases[0];
        assert!(ExactMatch.judge(case, "4") && !ExactMatch.judge(case, "4 ") && !ExactMatch.judge(case, ""));
    }

    #[test]
    fn edited_outcomes_are_refused() {
        let model = NoCarry { calls: Cell::new(0) };
        let good = ExactMatch.evaluate(&suite(), &model, options(4)).unwrap().outcomes;
        let with = |change: &dyn Fn(&mut Vec<Outcome>)| {
            let mut outcomes = good.clone();
            change(&mut outcomes);
            ExactMatch.recheck(&suite(), &outcomes).unwrap_err().to_string()
        };
        assert!(with(&|o| o[9].correct = true).contains("c9 is recorded as right"));
        assert!(with(&|o| o[0].output.push('x')).contains("c0 is recorded as right"));
        assert!(with(&|o| drop(o.pop())).contains("about case nothing, the suite expects c9"));
        assert!(with(&|o| o.swap(1, 2)).contains("outcome 1 is about case c2"));
        assert!(with(&|o| o.insert(3, o[3].clone())).contains("outcome 4 is about case c3"));
        assert!(matches!(ExactMatch.recompute(&[]), Err(EvaluateError::NoOutcomes)));
    }

    struct Broken(Vec<String>);

    impl Generator for Broken {
        fn generate(
            &self,
            _: &[&str],
            _: usize,
        ) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
            if self.0.is_empty() { Err("logits are not finite".into()) } else { Ok(self.0.clone()) }
        }
    }

    #[test]
    fn a_generator_that_misbehaves_is_an_error_not_a_score() {
        let run = |answers: &[String], options| {
            ExactMatch.evaluate(&suite(), &Broken(answers.to_vec()), options).unwrap_err().to_string()
        };
        assert!(run(&[], options(5)).contains("case c0: logits are not finite"));
        assert!(run(&["4".to_owned()], options(5)).contains("1 answers to 5 prompts"));
        assert!(run(&["x".repeat(65_537)], options(1)).contains("c0 has 65537 bytes"));
        assert!(run(&["4".to_owned()], options(0)).contains("at least 1"));
    }
}
