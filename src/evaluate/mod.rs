//! Evaluation: what a model gets right, case by case, and what that is worth.
//!
//! A number about quality is only evidence if somebody else can recompute it. So the primary
//! result is one outcome for each case of a suite that is identified by its bytes; metrics are a
//! function of the outcomes, and comparisons pair two models case by case.
//!
//! ```text
//! suite.jsonl -> Suite -> Evaluator (asks a Generator) -> outcomes -> metrics
//!                                                          outcomes x outcomes -> comparison
//! ```
//!
//! The runtime is not known here: an evaluator is handed something that answers prompts.
//! Adding an evaluator is one file and one line in [`evaluator::EVALUATORS`].
//!
//! * [`suite`]: cases, read strictly.
//! * [`outcome`]: what happened to each case, and the metrics recomputed from it.
//! * [`evaluator`]: the trait and the table.
//! * [`exact_match`]: the answer is right if it is the expected text, byte for byte.
//! * [`statistics`]: how sure one can be.

mod error;
pub mod evaluator;
pub mod exact_match;
pub mod outcome;
pub mod statistics;
pub mod suite;

pub use error::EvaluateError;
pub use evaluator::{EVALUATORS, Evaluation, Evaluator, Generator, Options, find};
pub use outcome::{Metric, Metrics, Outcome};
pub use statistics::{PairedComparison, compare_paired};
pub use suite::{Case, Suite};
