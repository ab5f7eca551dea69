//! Why something cannot be evaluated, or an evaluation not be believed.

use crate::disk::DiskError;

/// What is wrong with a suite, with outcomes, or with the asking.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A line of a suite that is no case.
    #[error("line {line} of the suite {why}")]
    Suite {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// No case at all.
    #[error("the suite has no cases; nothing can be said about a model from it")]
    EmptySuite,
    /// More than a suite may have.
    #[error("the suite has {found} {what}, at most {most} are read")]
    SuiteTooLarge {
        /// Bytes or cases.
        what: &'static str,
        /// How many.
        found: usize,
        /// The limit.
        most: usize,
    },
    /// A line of an outcomes file that is no outcome.
    #[error("line {line} of the outcomes {why}")]
    Outcomes {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// No outcome at all.
    #[error("there are no outcomes; a metric of nothing is not zero, it does not exist")]
    NoOutcomes,
    /// Outcomes of other cases, or in another order, than the suite's.
    #[error("outcome {position} is about case {found}, the suite expects {expected} there")]
    OtherCase {
        /// From 0.
        position: usize,
        /// The suite's case, or "nothing".
        expected: String,
        /// The outcome's case, or "nothing".
        found: String,
    },
    /// An outcome whose verdict does not follow from what the model did.
    #[error("case {id} is recorded as {recorded}, but follows as {judged}; the outcomes were edited")]
    Verdict {
        /// Which case.
        id: String,
        /// As recorded.
        recorded: String,
        /// As judged again.
        judged: String,
    },
    /// Metrics that are not those of the outcomes.
    #[error("the metric {name} is recorded as {recorded}, the outcomes give {recomputed}")]
    Metric {
        /// Which.
        name: String,
        /// As recorded.
        recorded: String,
        /// As recomputed.
        recomputed: String,
    },
    /// The model could not be asked.
    #[error("the model failed on case {id}: {source}")]
    Model {
        /// The first case of the batch that failed.
        id: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A score that is no number.
    #[error("the score of case {id} is {value}; a metric of it would be none")]
    NotFinite {
        /// Which case.
        id: String,
        /// The number.
        value: f64,
    },
    /// An outcome that cannot be written down.
    #[error("the outcome of case {id} cannot be recorded: {why}")]
    Unwritable {
        /// Which case.
        id: String,
        /// Why.
        why: String,
    },
    /// An outcome that is none of its evaluator's.
    #[error("the outcome of case {id} is none of this evaluator: {why}")]
    Unreadable {
        /// Which case.
        id: String,
        /// Why.
        why: String,
    },
    /// A case of another evaluator.
    #[error("case {id} is none of `{kind}`: {why}")]
    OtherKind {
        /// Which case.
        id: String,
        /// The evaluator.
        kind: &'static str,
        /// Why.
        why: String,
    },
    /// Not one answer for each question.
    #[error("the model gave {found} answers to {expected} questions")]
    Answers {
        /// Questions.
        expected: usize,
        /// Answers.
        found: usize,
    },
    /// Another harness's files that cannot be believed.
    #[error("{0}")]
    Harness(String),
    /// Two lists that cannot be paired.
    #[error("results cannot be paired: {0}")]
    Pairing(String),
    /// A number outside its meaning.
    #[error("{what} is {found}, expected {expected}")]
    Domain {
        /// What.
        what: &'static str,
        /// The number.
        found: String,
        /// Its range.
        expected: &'static str,
    },
}
