//! Evaluation: what a model gets right, case by case, and what that is worth.
//!
//! A number about quality is only evidence if somebody else can recompute it. So the primary
//! result is one outcome for each case of a suite that is identified by its bytes; metrics are a
//! function of the outcomes, and comparisons pair two models case by case.
//!
//! ```text
//! suite.jsonl -> Suite -> Evaluator (asks an Examinee) -> outcomes -> metrics
//!                                                          outcomes x outcomes -> verdict
//! ```
//!
//! How a model is run is not known here: an evaluator is handed something that answers.
//! Adding an evaluator is one file and one line in [`evaluator::EVALUATORS`].
//!
//! * [`suite`]: cases, read strictly. [`options`]: how they are asked.
//! * [`outcome`]: what happened to each case, and the metrics recomputed from it.
//! * [`evaluator`]: how an evaluator is written, how it is seen, and the table.
//! * [`exact_match`]: the answer is the expected text. [`multiple_choice`]: the likeliest continuation.
//!   [`perplexity`]: how likely texts are. [`quantization_delta`]: what rounding the weights did.
//!   [`resource`]: what it takes to run. [`harness`]: what lm-evaluation-harness found.
//! * `text`: the case that is one text. [`contamination`]: whether cases stand in training texts.
//! * [`statistics`], [`bootstrap`]: how sure one can be. [`decide`]: whether a demand is met.

pub mod bootstrap;
pub mod contamination;
pub mod decide;
mod error;
pub mod evaluator;
pub mod exact_match;
pub mod harness;
pub mod multiple_choice;
pub mod options;
pub mod outcome;
pub mod perplexity;
pub mod quantization_delta;
pub mod resource;
pub mod statistics;
pub mod suite;
#[cfg(test)]
mod testing;
mod text;

pub use error::EvaluateError;
pub use evaluator::{
    Better, EVALUATORS, Evaluator, Examinee, Measure, MetricInfo, Room, Score, Trouble, Values, find,
    measured_by,
};
pub use options::{Normalise, OPTION_NAMES, Options};
pub use outcome::{Metric, Metrics, Outcome};
pub use statistics::{PairedComparison, compare_paired};
pub use suite::{Case, Suite};
