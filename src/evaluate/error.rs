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
    /// An outcome whose verdict does not follow from its output.
    #[error(
        "case {id} is recorded as {recorded}, but its output makes it {judged}; the outcomes were edited"
    )]
    Verdict {
        /// Which case.
        id: String,
        /// As recorded.
        recorded: &'static str,
        /// As judged again.
        judged: &'static str,
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
    Generate {
        /// The first case of the batch that failed.
        id: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Not one answer for each prompt.
    #[error("the generator gave {found} answers to {expected} prompts")]
    Answers {
        /// Prompts.
        expected: usize,
        /// Answers.
        found: usize,
    },
    /// An answer longer than any runtime may give.
    #[error("the answer to case {id} has {found} bytes, at most {most} are allowed")]
    AnswerTooLong {
        /// Which case.
        id: String,
        /// Its length.
        found: usize,
        /// The limit.
        most: usize,
    },
    /// An option that makes no sense.
    #[error("{0}")]
    Option(&'static str),
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
