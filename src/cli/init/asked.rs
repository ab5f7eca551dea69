//! Which evaluator asks the cases of a file: its first case says, by the fields it has.

use std::path::Path;

use serde_json::Value;

use crate::cli::exit::UsageError;
use crate::disk::mmap::Mapped;
use crate::evaluate::exact_match::ExactMatch;
use crate::evaluate::multiple_choice::MultipleChoice;
use crate::evaluate::perplexity::Perplexity;
use crate::evaluate::{Evaluator, Suite};

/// The evaluators whose cases have a field that the others' lack, with what such a case is.
const KINDS: [(&str, &dyn Evaluator, &str); 3] = [
    ("expected", &ExactMatch, r#"{"id": "add-1", "prompt": "1+2=", "expected": "3"}"#),
    (
        "choices",
        &MultipleChoice,
        r#"{"id": "q-1", "prompt": "The sky is", "choices": ["blue", "tin"], "answer": 0}"#,
    ),
    ("text", &Perplexity, r#"{"id": "doc-1", "text": "..."}"#),
];

/// The evaluator of a suite, every case of which it can ask.
pub(super) fn evaluator(path: &Path) -> anyhow::Result<&'static dyn Evaluator> {
    let of_suite = |error: anyhow::Error| error.context(format!("the suite {}", path.display()));
    let mapped = Mapped::open(path).map_err(|error| of_suite(error.into()))?;
    let line = mapped.as_ref().split(|byte| *byte == b'\n').next().unwrap_or_default();
    let first: Option<Value> = serde_json::from_slice(line).ok();
    let has = |field: &str| first.as_ref().is_some_and(|case| case.get(field).is_some());
    let found = KINDS.into_iter().find(|(field, ..)| has(field));
    // What cannot be read at all is told by whoever reads it.
    if let (None, Some(Value::Object(_))) = (found, &first) {
        let message = format!("the first case of the suite {} is of no kind that init knows", path.display());
        let known: Vec<String> =
            KINDS.iter().map(|(_, kind, case)| format!("    {:<16} {case}", kind.name())).collect();
        let hint = format!(
            "expected one of these; other suites are added to the plan by hand (plans/README.md)\n{}",
            known.join("\n")
        );
        return Err(UsageError::new(message).hint(hint).into());
    }
    let (_, evaluator, _) = found.unwrap_or(KINDS[0]);
    Suite::read(evaluator, path).map_err(|error| of_suite(error.into()))?;
    Ok(evaluator)
}
