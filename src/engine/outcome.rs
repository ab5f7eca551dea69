//! What became of every candidate, in words.

use serde::Serialize;

use super::gates::promotion_of;
use super::graph::StageGraph;
use super::resolve::Results;
use super::retired::{self, retired};
use super::schedule::End;
use crate::base::name::Name;
use crate::pedigree::shared;
use crate::plan::{Plan, RESERVED_GATES};
use crate::record::promotion::{GateState, NOT_REVOKED};
use crate::stage::Kind;
use crate::store::{Store, StoreError, Verdict};

/// Where a candidate's way ended so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every gate passed.
    Admitted,
    /// A gate failed.
    Refused,
    /// A gate waits for evidence.
    Pending,
    /// All the evidence is there, and does not decide some gate.
    Inconclusive,
    /// Something failed that is not the candidate's fault.
    Failed,
    /// Its stages have not run yet.
    Unfinished,
}

impl Outcome {
    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Refused => "refused",
            Self::Pending => "pending",
            Self::Inconclusive => "inconclusive",
            Self::Failed => "failed",
            Self::Unfinished => "unfinished",
        }
    }
}

/// One candidate's outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CandidateOutcome {
    /// The candidate.
    pub candidate: Name,
    /// What became of it.
    pub outcome: Outcome,
    /// Why: gates passed, numbers, what is waited for.
    pub because: String,
}

/// Every candidate's outcome, in plan order.
///
/// # Errors
///
/// If the promotion template of a candidate cannot be read.
pub fn outcomes(
    plan: &Plan,
    graph: &StageGraph,
    store: &Store,
    results: &Results,
    ends: &[Option<End>],
) -> Result<Vec<CandidateOutcome>, StoreError> {
    plan.candidates
        .iter()
        .map(|candidate| {
            let (outcome, because) = outcome(graph, store, results, ends, &candidate.name)?;
            Ok(CandidateOutcome { candidate: candidate.name.clone(), outcome, because })
        })
        .collect()
}

fn outcome(
    graph: &StageGraph,
    store: &Store,
    results: &Results,
    ends: &[Option<End>],
    candidate: &Name,
) -> Result<(Outcome, String), StoreError> {
    let admission =
        graph.find(&format!("{}:{candidate}", Kind::Admission.name())).expect("every candidate has one");
    if let Some(result) = &results[admission.index()] {
        return Ok(match &result.verdict {
            Verdict::Pass => {
                let passed = passed(graph, store, results, candidate)?;
                let retired = retired(graph, store, results, candidate).map(retired::told);
                (Outcome::Admitted, retired.into_iter().chain([passed]).collect::<Vec<_>>().join("; "))
            }
            Verdict::Reject(reasons) => {
                let known = revoked(graph, store, results, candidate)?;
                (Outcome::Refused, told(reasons.iter().map(String::as_str)) + &known)
            }
            Verdict::Wait(reasons) => (Outcome::Pending, reasons.join("; ")),
        });
    }
    match ends[admission.index()] {
        Some(End::Pending) => {
            let promotion = graph.find(&format!("{}:{candidate}", Kind::Promotion.name()));
            let result = promotion.and_then(|index| results[index.index()].as_ref());
            let because = result.map(|result| result.summary.clone()).unwrap_or_default();
            let template = promotion_of(graph, store, results, candidate)?;
            let waits = template
                .is_none_or(|template| template.gates.iter().any(|gate| gate.state == GateState::Pending));
            Ok((if waits { Outcome::Pending } else { Outcome::Inconclusive }, because))
        }
        Some(_) => {
            let mut own = graph.of_candidate(candidate).iter();
            let failed = own.find(|index| ends[index.index()] == Some(End::Failed));
            let because = failed.map_or("a stage it needs failed".to_owned(), |index| {
                format!("{} failed", graph.node(*index).id)
            });
            Ok((Outcome::Failed, because))
        }
        None => {
            let own = graph.of_candidate(candidate).iter();
            let done = own.filter(|index| ends[index.index()].is_some());
            Ok((Outcome::Unfinished, format!("{} of its stages are done", done.count())))
        }
    }
}

/// What people call that which closed the gate of what was taken back: the record has its SHA-256 alone. Where ledger
/// and store cannot be read nobody is kept from the reason for want of a name.
fn revoked(
    graph: &StageGraph,
    store: &Store,
    results: &Results,
    candidate: &Name,
) -> Result<String, StoreError> {
    let Some(template) = promotion_of(graph, store, results, candidate)? else { return Ok(String::new()) };
    let mut closed = template.gates.iter().filter(|gate| gate.gate.as_str() == NOT_REVOKED);
    let subject = closed.find_map(|gate| gate.evidence.first());
    let known =
        subject.and_then(|subject| shared(store, |pedigree| pedigree.known_as(store, *subject)).ok()?);
    Ok(known.map_or_else(String::new, |known| format!(" ({known})")))
}

/// What the plan's own gates found.
fn passed(
    graph: &StageGraph,
    store: &Store,
    results: &Results,
    candidate: &Name,
) -> Result<String, StoreError> {
    let Some(template) = promotion_of(graph, store, results, candidate)? else { return Ok(String::new()) };
    let own = template
        .gates
        .iter()
        .filter(|gate| gate.state == GateState::Passed && !RESERVED_GATES.contains(&gate.gate.as_str()));
    let own: Vec<String> = own.map(|gate| format!("{}: {}", gate.gate, gate.finding)).collect();
    Ok(told(own.iter().map(String::as_str)))
}

/// Findings as a line. Records have a colon before the reason that nobody gave, which readers of it would miss.
fn told<'f>(findings: impl Iterator<Item = &'f str>) -> String {
    findings.map(|finding| finding.strip_suffix(": ").unwrap_or(finding)).collect::<Vec<_>>().join("; ")
}
