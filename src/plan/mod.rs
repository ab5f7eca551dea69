//! Plans: what a person declares, checked until nothing in it can surprise a run.
//!
//! ```text
//! text --syntax--> tables with spans --parse--> PlanFile --resolve--> Plan
//! ```
//!
//! * [`syntax`]: one walker over TOML tables; every key is asked for, what is left over is unknown.
//! * [`mod@file`]: the sections as declared, each value with its place.
//! * [`parse`]: tables to sections; wrong kinds of value and missing keys.
//! * [`mod@resolve`]: names, parameters, sweeps, files and budgets; the result refers only to things that exist.
//! * [`resolved`]: that result. [`pool`]: what one cycle hands to the next.
//! * `wording`: how mistakes are put.
//!
//! Mistakes are collected, not thrown: a person sees all of them at once, each with its place, what
//! was expected and the nearest known name. Plans know nothing of stages; those are derived from
//! them by the engine.

pub mod file;
pub mod parse;
pub mod pool;
pub mod resolve;
pub mod resolved;
pub mod syntax;
#[cfg(test)]
mod tests;
mod wording;

use std::path::Path;
use std::string::FromUtf8Error;

use crate::base::diagnostic::Diagnostic;
pub use crate::base::diagnostic::Findings;
use crate::base::digest::Sha256;
use crate::disk::DiskError;
use crate::store::Store;

pub use resolved::{
    ARTIFACT_BYTES, Approval, ApprovalKey, Budget, CHAMPION, Candidate, Champion, Cycle, DeclaredText, Gate,
    GateRule, MetricGate, NO_OP, Objective, Origin, Parent, Plan, RESERVED_GATES, Review, Role, Smoke, Suite,
    SuiteUse, Versus,
};

/// Plans are written by people; a larger file is not one.
const MAX_PLAN: u64 = 4 << 20;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file has mistakes.
    #[error("{} has {}", .0.path.display(), wording::count(.0.errors(), "error"))]
    Plan(Findings),
}

/// Reads and checks a plan; what comes with it are warnings. `store` is where recipes of earlier
/// cycles are looked up.
///
/// # Errors
///
/// [`LoadError::Disk`] if the file cannot be read, or has more than 4 MiB; [`LoadError::Plan`] with all its
/// mistakes, each with its place.
pub fn load(path: &Path, store: &Store) -> Result<(Plan, Findings), LoadError> {
    let bytes = crate::disk::small::read_small("open the plan", path, MAX_PLAN)?;
    let source = String::from_utf8(bytes).map_err(|error| LoadError::Plan(no_text(path, &error)))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let (plan, diagnostics) = check(&source, folder, store);
    let findings = Findings { path: path.to_owned(), source, diagnostics };
    match plan {
        Some(plan) => Ok((plan, findings)),
        None => Err(LoadError::Plan(findings)),
    }
}

/// The cycle that a plan declares, whatever else is wrong with it; none if it does not say.
///
/// # Errors
///
/// If the file cannot be read, or has more than 4 MiB.
pub fn cycle_of(path: &Path) -> Result<Option<String>, DiskError> {
    let bytes = crate::disk::small::read_small("open the plan", path, MAX_PLAN)?;
    let table: Option<toml::Table> = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
    let name = table.as_ref().and_then(|table| table.get("cycle")?.get("name")?.as_str());
    Ok(name.map(str::to_owned))
}

/// Checks a plan's text; `folder` is what its paths are relative to. There is a plan if, and only if,
/// there is no error.
pub fn check(source: &str, folder: &Path, store: &Store) -> (Option<Plan>, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let plan = parse::parse(source, &mut diagnostics).and_then(|file| {
        resolve::resolve(&file, folder, Sha256::of(source.as_bytes()), store, &mut diagnostics)
    });
    (plan, diagnostics)
}

/// A file that is no text: where that shows, and what to do.
fn no_text(path: &Path, error: &FromUtf8Error) -> Findings {
    let (bytes, at) = (error.as_bytes(), error.utf8_error().valid_up_to());
    let wide = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    // Up to the place in question the text is the file's own; of the rest its line is shown, as far as it goes.
    let source = String::from_utf8_lossy(bytes).replace(if wide { "\0" } else { "" }, "");
    let message = match wide {
        true => "the plan is UTF-16, not UTF-8".to_owned(),
        false => format!("the byte {:#04x} is no UTF-8, as a plan is", bytes[at]),
    };
    let diagnostic = Diagnostic::error(message, at..at + char::REPLACEMENT_CHARACTER.len_utf8())
        .expected("expected UTF-8")
        .help("save the file as UTF-8 with your editor");
    Findings { path: path.to_owned(), source, diagnostics: vec![diagnostic] }
}
