//! What an evaluator is, and which there are.
//!
//! An evaluator is written as a [`Measure`]: its own type of case, its own type of outcome, and how
//! one comes from the other. Everything else in the program sees the same thing as an [`Evaluator`],
//! whose cases and outcomes are JSON. What a measure says of an outcome must follow from the case
//! and the outcome alone, so that whoever holds both can judge again.
//!
//! Every metric is a ratio: each case gives a value and a weight, and the metric is the sum of the
//! values over the sum of the weights. A share has weights of 1; bits per byte has a text's bytes.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::EvaluateError;
use super::exact_match::ExactMatch;
use super::harness::External;
use super::multiple_choice::MultipleChoice;
use super::options::Options;
use super::outcome::{self, Metric, Metrics, Outcome};
use super::perplexity::Perplexity;
use super::quantization_delta::QuantizationDelta;
use super::resource::Resource;
use super::suite::{Case, Suite};
use crate::runtime::resources::Resources;
use crate::runtime::score::{Divergence, Likelihood, Question, Reading};

/// Why a model could not answer.
pub type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// What is examined: a model behind a runtime, or a test's table.
///
/// The same questions must give the same answers, whatever they are asked together with.
pub trait Examinee {
    /// One answer for each prompt, in order: at most `max_tokens` tokens, and none after a stop text.
    /// Output that is not UTF-8 is handed over with U+FFFD in its place: a model that breaks its text
    /// is wrong, not a reason to stop.
    ///
    /// # Errors
    ///
    /// If the model cannot be opened, if a prompt is empty or leaves no room for a token, or cannot be cut into
    /// tokens, or if a logit is no number. Then no prompt is answered.
    fn generate(&self, prompts: &[&str], options: &Options) -> Result<Vec<String>, Trouble>;

    /// How likely each continuation of each question is.
    ///
    /// # Errors
    ///
    /// If the model cannot be opened, if the longest continuation of a question does not fit behind its
    /// context, if one has no tokens, or if a logit is no number.
    fn likelihoods(&self, questions: &[Question]) -> Result<Vec<Vec<Likelihood>>, Trouble>;

    /// How likely each text is, read in the windows that the options say.
    ///
    /// # Errors
    ///
    /// If the model cannot be opened, if a window is longer than the model's context, if a text has no
    /// beginning or cannot be cut into tokens, or if a logit is no number.
    fn read(&self, texts: &[&str], options: &Options) -> Result<Vec<Reading>, Trouble>;

    /// How far its predictions for each text are from those of the model it is a rounding of.
    ///
    /// # Errors
    ///
    /// As [`Self::read`], of either model, if their tokenizers differ, or if there is no model that it is a
    /// rounding of.
    fn diverge(&self, texts: &[&str], options: &Options) -> Result<Vec<Divergence>, Trouble>;

    /// What it takes to make `new` tokens after a prompt of `prompt` tokens.
    ///
    /// # Errors
    ///
    /// If they are more than the model's context, or if it is a table: what that takes cannot be told.
    fn resources(&self, prompt: u64, new: u64) -> Result<Resources, Trouble> {
        Err(format!("no telling what {new} tokens after {prompt} take").into())
    }
}

/// One metric of an evaluator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricInfo {
    /// Its name.
    pub name: &'static str,
    /// Which way is better.
    pub better: Better,
    /// What a case can give.
    pub values: Values,
    /// The least and the greatest it can be.
    pub range: (f64, f64),
    /// What who knows nothing has, as far as that is the same for all cases: to be no worse is no quality.
    pub ignorance: f64,
}

impl MetricInfo {
    /// A share of cases that are right.
    pub const fn share(name: &'static str) -> Self {
        Self { name, better: Better::Higher, values: Values::Binary, range: (0.0, 1.0), ignorance: 0.0 }
    }

    /// Something of which less is better, and `least` is as good as can be.
    pub const fn cost(name: &'static str, values: Values, least: f64) -> Self {
        let range = (least, f64::INFINITY);
        Self { name, better: Better::Lower, values, range, ignorance: f64::INFINITY }
    }

    /// Whether a number is better than what who knows nothing has.
    pub fn beats_ignorance(&self, value: f64) -> bool {
        match self.better {
            Better::Higher => value > self.ignorance,
            Better::Lower => value < self.ignorance,
        }
    }

    /// By how much two models can differ at most.
    pub fn spread(&self) -> f64 {
        self.range.1 - self.range.0
    }
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// More.
    Higher,
    /// Less.
    Lower,
}

/// What a case gives, and how the ratio is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Right or wrong, each of weight 1: a share.
    Binary,
    /// A value for its weight; the ratio itself.
    Ratio,
    /// A value for its weight; e to the ratio.
    Exponential,
}

/// What a case gives to a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Added above the line.
    pub value: f64,
    /// Added below it; above 0.
    pub weight: f64,
}

impl Score {
    /// Right or wrong.
    pub fn of(right: bool) -> Self {
        Self { value: f64::from(u8::from(right)), weight: 1.0 }
    }
}

/// What a model must have room for, to be asked a case.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Texts, each of which is read as one sequence.
    pub texts: Vec<String>,
    /// Tokens of the sequence besides: some that are made, or less one that is never fed.
    pub more: i64,
    /// A text that must fit into the tokens of an answer to be given at all.
    pub answer: Option<String>,
}

/// How an evaluator is written.
pub trait Measure: Sync {
    /// A case without its id.
    type Case: Serialize + DeserializeOwned;
    /// What happened to it, without its id.
    type Outcome: Serialize + DeserializeOwned + PartialEq;
    /// What plans and sidecars call it.
    const NAME: &'static str;
    /// Raised whenever the same model would get other outcomes.
    const VERSION: u32;
    /// One sentence for people.
    const ABOUT: &'static str;
    /// Whether a model that does well here is a good one. What it weighs, or how near it is to what it was
    /// rounded from, says nothing about that: only on gates of quality may claims of quality rest.
    const QUALITY: bool;
    /// Its metrics; the first is what it is for.
    const METRICS: &'static [MetricInfo];
    /// The options it takes.
    const OPTIONS: &'static [&'static str];

    /// Checks a case.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a phrase after "line N of the suite ".
    fn check(case: &Self::Case) -> Result<(), String>;

    /// What makes a case this one: two with the same would count twice.
    fn asks(case: &Self::Case) -> String;

    /// What it takes to be asked a case; nothing for texts, which are read in windows.
    fn room(_case: &Self::Case, _options: &Options) -> Room {
        Room::default()
    }

    /// Asks: one outcome for each case.
    ///
    /// # Errors
    ///
    /// What the model says of the first question that it cannot answer.
    fn ask(
        cases: &[Self::Case],
        model: &dyn Examinee,
        options: &Options,
    ) -> Result<Vec<Self::Outcome>, Trouble>;

    /// The outcome as it must be, given what it says the model did.
    fn judge(case: &Self::Case, outcome: &Self::Outcome, options: &Options) -> Self::Outcome;

    /// What it gives to each metric, in their order. Numbers that are no numbers are refused later.
    fn scores(outcome: &Self::Outcome) -> Vec<Score>;
}

/// An evaluator as everybody else sees it.
pub trait Evaluator: Sync {
    /// What plans and sidecars call it.
    fn name(&self) -> &'static str;
    /// Raised whenever the same model would get other outcomes.
    fn version(&self) -> u32;
    /// One sentence for people.
    fn about(&self) -> &'static str;
    /// Whether a model that does well here is a good one, so that claims of quality may rest on it.
    fn measures_quality(&self) -> bool;
    /// Its metrics; the first is what it is for.
    fn metrics(&self) -> &'static [MetricInfo];
    /// The options it takes.
    fn options(&self) -> &'static [&'static str];
    /// Checks a case; what it asks.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a phrase after "line N of the suite ": a field is missing, unknown or of
    /// another type, or the evaluator makes nothing of it.
    fn check(&self, case: &Value) -> Result<String, String>;
    /// What it takes to be asked a case.
    ///
    /// # Errors
    ///
    /// [`EvaluateError::OtherKind`] of a case of another evaluator.
    fn room(&self, case: &Case, options: &Options) -> Result<Room, EvaluateError>;
    /// Asks and judges some cases.
    ///
    /// # Errors
    ///
    /// [`EvaluateError::Model`] if the model cannot answer, [`EvaluateError::Answers`] if there is not one
    /// answer for each case, [`EvaluateError::Unwritable`] of an outcome with a number that is none, or one
    /// that is longer than a line may be; [`EvaluateError::OtherKind`].
    fn ask(
        &self,
        cases: &[Case],
        model: &dyn Examinee,
        options: &Options,
    ) -> Result<Vec<Outcome>, EvaluateError>;
    /// Judges a recorded outcome again.
    ///
    /// # Errors
    ///
    /// [`EvaluateError::Verdict`] if it does not follow from what it says was done;
    /// [`EvaluateError::Unreadable`] or [`EvaluateError::OtherKind`] if it, or the case, is of another
    /// evaluator.
    fn rejudge(&self, case: &Case, outcome: &Outcome, options: &Options) -> Result<(), EvaluateError>;
    /// What an outcome gives to each metric.
    ///
    /// # Errors
    ///
    /// [`EvaluateError::NotFinite`] of a value or weight that is no number; [`EvaluateError::Unreadable`] of an
    /// outcome of another evaluator.
    fn scores(&self, outcome: &Outcome) -> Result<Vec<Score>, EvaluateError>;

    /// The metric called `name`, and its place.
    fn metric(&self, name: &str) -> Option<(usize, &'static MetricInfo)> {
        self.metrics().iter().enumerate().find(|(_, metric)| metric.name == name)
    }

    /// The metrics, from the outcomes alone.
    ///
    /// # Errors
    ///
    /// As [`Self::scores`], and [`EvaluateError::NoOutcomes`] if there are none, or if they weigh nothing.
    fn recompute(&self, outcomes: &[Outcome]) -> Result<Metrics, EvaluateError> {
        let scores: Vec<Vec<Score>> =
            outcomes.iter().map(|outcome| self.scores(outcome)).collect::<Result<_, _>>()?;
        let metric = |(at, info): (usize, &MetricInfo)| {
            let column: Vec<Score> = scores.iter().map(|row| row[at]).collect();
            Ok((info.name.to_owned(), Metric::of(&column, info.values)?))
        };
        self.metrics().iter().enumerate().map(metric).collect()
    }

    /// Judges recorded outcomes again and recomputes the metrics.
    ///
    /// # Errors
    ///
    /// [`EvaluateError::OtherCase`] of outcomes of other cases, cut, reordered or doubled;
    /// [`EvaluateError::Verdict`] of one that does not follow from what was done; else as [`Self::rejudge`] and
    /// [`Self::recompute`].
    fn recheck(
        &self,
        suite: &Suite,
        outcomes: &[Outcome],
        options: &Options,
    ) -> Result<Metrics, EvaluateError> {
        outcome::match_suite(suite, outcomes)?;
        for (case, outcome) in suite.cases.iter().zip(outcomes) {
            self.rejudge(case, outcome, options)?;
        }
        self.recompute(outcomes)
    }
}

impl<M: Measure> Evaluator for M {
    fn name(&self) -> &'static str {
        M::NAME
    }

    fn version(&self) -> u32 {
        M::VERSION
    }

    fn about(&self) -> &'static str {
        M::ABOUT
    }

    fn measures_quality(&self) -> bool {
        M::QUALITY
    }

    fn metrics(&self) -> &'static [MetricInfo] {
        M::METRICS
    }

    fn options(&self) -> &'static [&'static str] {
        M::OPTIONS
    }

    fn check(&self, case: &Value) -> Result<String, String> {
        let case = M::Case::deserialize(case).map_err(|error| format!("cannot be read: {error}"))?;
        M::check(&case)?;
        Ok(M::asks(&case))
    }

    fn room(&self, case: &Case, options: &Options) -> Result<Room, EvaluateError> {
        Ok(M::room(&typed::<M>(case)?, options))
    }

    fn ask(
        &self,
        cases: &[Case],
        model: &dyn Examinee,
        options: &Options,
    ) -> Result<Vec<Outcome>, EvaluateError> {
        let Some(first) = cases.first() else { return Ok(Vec::new()) };
        let typed: Vec<M::Case> = cases.iter().map(typed::<M>).collect::<Result<_, _>>()?;
        let found = M::ask(&typed, model, options)
            .map_err(|source| EvaluateError::Model { id: first.id.to_string(), source })?;
        if found.len() != cases.len() {
            return Err(EvaluateError::Answers { expected: cases.len(), found: found.len() });
        }
        let judged = cases.iter().zip(&typed).zip(&found);
        judged
            .map(|((case, typed), outcome)| Outcome::new(&case.id, &M::judge(typed, outcome, options)))
            .collect()
    }

    fn rejudge(&self, case: &Case, outcome: &Outcome, options: &Options) -> Result<(), EvaluateError> {
        let typed = typed::<M>(case)?;
        let recorded: M::Outcome = outcome.typed()?;
        let judged = M::judge(&typed, &recorded, options);
        if judged == recorded {
            return Ok(());
        }
        let text = |outcome: &M::Outcome| serde_json::to_string(outcome).unwrap_or_default();
        Err(EvaluateError::Verdict {
            id: case.id.to_string(),
            recorded: text(&recorded),
            judged: text(&judged),
        })
    }

    fn scores(&self, outcome: &Outcome) -> Result<Vec<Score>, EvaluateError> {
        let scores = M::scores(&outcome.typed()?);
        debug_assert_eq!(scores.len(), M::METRICS.len());
        match scores.iter().find(|score| !score.value.is_finite() || !score.weight.is_finite()) {
            Some(score) => Err(EvaluateError::NotFinite {
                id: outcome.id.to_string(),
                value: if score.value.is_finite() { score.weight } else { score.value },
            }),
            None => Ok(scores),
        }
    }
}

fn typed<M: Measure>(case: &Case) -> Result<M::Case, EvaluateError> {
    M::Case::deserialize(&case.body).map_err(|error| EvaluateError::OtherKind {
        id: case.id.to_string(),
        kind: M::NAME,
        why: error.to_string(),
    })
}

/// Every evaluator there is.
pub static EVALUATORS: &[&dyn Evaluator] =
    &[&ExactMatch, &MultipleChoice, &Perplexity, &QuantizationDelta, &Resource, &External];

/// The evaluator called `name`.
pub fn find(name: &str) -> Option<&'static dyn Evaluator> {
    EVALUATORS.iter().copied().find(|evaluator| evaluator.name() == name)
}

/// The evaluator that measures the metric `name`, and that metric: no two have one of the same name.
pub fn measured_by(name: &str) -> Option<(&'static dyn Evaluator, &'static MetricInfo)> {
    EVALUATORS.iter().find_map(|evaluator| Some((*evaluator, evaluator.metric(name)?.1)))
}

#[cfg(test)]
mod tests {
    use super::super::options::OPTION_NAMES;
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for evaluator in EVALUATORS {
            assert_eq!(find(evaluator.name()).unwrap().about(), evaluator.about());
            assert!(evaluator.version() >= 1 && !evaluator.metrics().is_empty());
            assert!(evaluator.options().iter().all(|option| OPTION_NAMES.contains(option)));
        }
        assert!(find("exact-match").is_none());
    }

    #[test]
    fn a_metric_has_one_meaning() {
        // Gates name metrics, not evaluators: of two with one name nobody would know the direction.
        let all: Vec<&MetricInfo> = EVALUATORS.iter().flat_map(|evaluator| evaluator.metrics()).collect();
        for (at, metric) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| other.name != metric.name), "{}", metric.name);
            assert!(metric.range.0 < metric.range.1 && measured_by(metric.name).unwrap().1 == *metric);
        }
    }
}
