//! Resource: what it takes to run a model, as far as that is a fact about it.
//!
//! A case is a workload, so many tokens of prompt and so many new ones. `memory_bytes` is the mean over
//! the cases of what is held at the end: weights as they are stored, keys and values, one row of logits.
//! `bytes_per_token` is what is read for each new token. On processors that wait for memory, which is all
//! that models of this kind are run on, models rank in tokens per second as they do in this, the other way
//! round. The speed itself depends on machine and day and is in no record: whoever measures it twice gets
//! two numbers, and same inputs must give the same bytes.

use serde::{Deserialize, Serialize};

use super::evaluator::{Examinee, Measure, MetricInfo, Room, Score, Trouble, Values};
use super::options::Options;

/// The evaluator `resource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource;

/// `{"id": "chat", "prompt_tokens": 48, "new_tokens": 16}`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Tokens that are there; at least 1.
    pub prompt_tokens: u64,
    /// Tokens that are made, one at a time; at least 1.
    pub new_tokens: u64,
}

/// What they take.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Bytes held at the end.
    pub memory: u64,
    /// Bytes read to make all new tokens.
    pub read: u64,
    /// New tokens.
    pub tokens: u64,
}

/// Most tokens of a case.
const MOST: u64 = 1 << 20;

impl Measure for Resource {
    type Case = Case;
    type Outcome = Outcome;
    const NAME: &'static str = "resource";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "bytes held and bytes read for a token, computed and not measured";
    const QUALITY: bool = false;
    const METRICS: &'static [MetricInfo] = &[
        MetricInfo::cost("memory_bytes", Values::Ratio, 0.0),
        MetricInfo::cost("bytes_per_token", Values::Ratio, 0.0),
    ];
    const OPTIONS: &'static [&'static str] = &[];

    fn check(case: &Case) -> Result<(), String> {
        for (what, tokens) in [("prompt_tokens", case.prompt_tokens), ("new_tokens", case.new_tokens)] {
            if !(1..=MOST).contains(&tokens) {
                return Err(format!("has {tokens} `{what}`, expected 1 to {MOST}"));
            }
        }
        Ok(())
    }

    fn asks(case: &Case) -> String {
        format!("{} {}", case.prompt_tokens, case.new_tokens)
    }

    fn room(case: &Case, _: &Options) -> Room {
        Room { more: (case.prompt_tokens + case.new_tokens) as i64, ..Room::default() }
    }

    fn ask(cases: &[Case], model: &dyn Examinee, _: &Options) -> Result<Vec<Outcome>, Trouble> {
        let of = |case: &Case| {
            let taken = model.resources(case.prompt_tokens, case.new_tokens)?;
            Ok(Outcome { memory: taken.memory, read: taken.read, tokens: case.new_tokens })
        };
        cases.iter().map(of).collect()
    }

    fn judge(case: &Case, outcome: &Outcome, _: &Options) -> Outcome {
        Outcome { tokens: case.new_tokens, ..*outcome }
    }

    fn scores(outcome: &Outcome) -> Vec<Score> {
        vec![
            Score { value: outcome.memory as f64, weight: 1.0 },
            Score { value: outcome.read as f64, weight: outcome.tokens as f64 },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluator::Evaluator;
    use super::super::suite::Suite;
    use super::super::testing::suite;
    use super::*;
    use crate::runtime::resources::Resources;
    use crate::runtime::score::{Divergence, Likelihood, Question, Reading};
    use serde_json::json;

    /// Takes a byte for each token held and ten for each made.
    struct Small;

    impl Examinee for Small {
        fn generate(&self, _: &[&str], _: &Options) -> Result<Vec<String>, Trouble> {
            unreachable!("nothing is generated")
        }
        fn likelihoods(&self, _: &[Question]) -> Result<Vec<Vec<Likelihood>>, Trouble> {
            unreachable!("nothing is scored")
        }
        fn read(&self, _: &[&str], _: &Options) -> Result<Vec<Reading>, Trouble> {
            unreachable!("nothing is read")
        }
        fn diverge(&self, _: &[&str], _: &Options) -> Result<Vec<Divergence>, Trouble> {
            unreachable!("nothing is compared")
        }
        fn resources(&self, prompt: u64, new: u64) -> Result<Resources, Trouble> {
            Ok(Resources { memory: prompt + new, read: 10 * new })
        }
    }

    #[test]
    fn memory_is_a_mean_of_cases_and_reading_one_of_tokens() {
        let cases = [
            json!({"id": "a", "prompt_tokens": 10, "new_tokens": 2}),
            json!({"id": "b", "prompt_tokens": 20, "new_tokens": 8}),
        ];
        let suite = suite(&Resource, cases.into_iter());
        let options = Options::default();
        let found = Resource.ask(&suite.cases, &Small, &options).unwrap();
        let metrics = Resource.recheck(&suite, &found, &options).unwrap();
        assert_eq!((metrics["memory_bytes"].value, metrics["bytes_per_token"].value), (20.0, 10.0));
        let mut edited = found;
        edited[0].body["tokens"] = json!(9);
        assert!(Resource.recheck(&suite, &edited, &options).is_err(), "more tokens would look better");
    }

    #[test]
    fn workloads_that_are_none_are_refused() {
        for (case, why) in [
            (r#"{"id":"a","prompt_tokens":0,"new_tokens":1}"#, "0 `prompt_tokens`"),
            (r#"{"id":"a","prompt_tokens":1,"new_tokens":1048577}"#, "1048577 `new_tokens`"),
            (r#"{"id":"a","prompt_tokens":1}"#, "missing field"),
        ] {
            let error = Suite::parse(&Resource, case.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("line 1") && error.contains(why), "{error}");
        }
    }
}
