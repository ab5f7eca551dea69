//! Pending gates: which, of whom, and what would satisfy each.

use std::path::Path;

use serde::Serialize;

use super::graph::StageGraph;
use super::resolve::Results;
use super::schedule::End;
use crate::base::name::Name;
use crate::evaluate::Measure;
use crate::evaluate::harness::External;
use crate::plan::{Candidate, Gate, GateRule, MetricGate, Plan, Versus};
use crate::record;
use crate::record::promotion::{GateState, GateStatus, PromotionTemplate};
use crate::stage::Kind;
use crate::store::{Store, StoreError};

/// A gate that nothing has decided yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PendingGate {
    /// The candidate before it.
    pub candidate: Name,
    /// The gate.
    pub gate: Name,
    /// What would satisfy it.
    pub satisfied_by: String,
    /// What to type.
    pub command: String,
}

/// Every gate that is pending, in plan order. A refused candidate has none: nothing waits for them.
pub fn pending(
    plan: &Plan,
    graph: &StageGraph,
    store: &Store,
    results: &Results,
    ends: &[Option<End>],
    path: &Path,
) -> Result<Vec<PendingGate>, StoreError> {
    let mut found = Vec::new();
    for candidate in &plan.candidates {
        let gates = plan.gates.iter().filter(|gate| gate.is_for(candidate));
        match promotion_of(graph, store, results, &candidate.name)? {
            Some(template) => {
                if ends_refused(&template) {
                    continue;
                }
                let open = |gate: &&Gate| {
                    let status = template.gates.iter().find(|status| status.gate == gate.name);
                    status.is_none_or(|status| status.state != GateState::Passed)
                };
                found.extend(gates.filter(open).map(|gate| {
                    let status = template.gates.iter().find(|status| status.gate == gate.name);
                    match status.filter(|status| status.state == GateState::Inconclusive) {
                        Some(status) => more_cases(status, candidate, path),
                        None => describe(plan, gate, candidate, path),
                    }
                }));
            }
            None if is_lost(graph, ends, &candidate.name) => {}
            None => found.extend(gates.map(|gate| describe(plan, gate, candidate, path))),
        }
    }
    Ok(found)
}

/// A candidate's promotion template, if it is known.
pub fn promotion_of(
    graph: &StageGraph,
    store: &Store,
    results: &Results,
    candidate: &Name,
) -> Result<Option<PromotionTemplate>, StoreError> {
    let Some(index) = graph.find(&format!("{}:{candidate}", Kind::Promotion.name())) else { return Ok(None) };
    let Some(blob) = results[index.index()].as_ref().and_then(|result| result.outputs.get("record")) else {
        return Ok(None);
    };
    Ok(record::from_bytes(&store.read(&blob.digest)?).ok())
}

fn ends_refused(template: &PromotionTemplate) -> bool {
    template.gates.iter().any(|gate| gate.state == GateState::Failed)
}

/// Whether a failure upstream keeps the candidate from its gates.
fn is_lost(graph: &StageGraph, ends: &[Option<End>], candidate: &Name) -> bool {
    let index = graph.find(&format!("{}:{candidate}", Kind::Promotion.name()));
    index.is_some_and(|index| matches!(ends[index.index()], Some(End::Blocked | End::Failed)))
}

fn describe(plan: &Plan, gate: &Gate, candidate: &Candidate, path: &Path) -> PendingGate {
    let path = path.display();
    let (satisfied_by, command) = match &gate.rule {
        GateRule::Metric(rule) => match external(plan, rule) {
            Some(suite) => (
                metric(rule),
                format!(
                    "studbook attest {path} {} --suite {suite} --results FILE --samples FILE --by NAME",
                    candidate.name
                ),
            ),
            None => (metric(rule), format!("studbook run {path}")),
        },
        GateRule::Approval(approval) if approval.keys.is_empty() => (
            format!("an approval: {}", approval.statement),
            format!("studbook attest {path} {} --gate {} --by NAME", candidate.name, gate.name),
        ),
        GateRule::Approval(approval) => {
            let names: Vec<&str> = approval.keys.iter().map(|key| key.name.as_str()).collect();
            let (threshold, names) = (approval.threshold, names.join(", "));
            (
                format!("{threshold} signed approval of {names}: {}", approval.statement),
                format!("studbook attest {path} {} --gate {} --by NAME --key KEY", candidate.name, gate.name),
            )
        }
        GateRule::BrowserSmoke => (
            "the smoke prompts run in a browser, with the native tokens and logits".to_owned(),
            format!("studbook smoke --browser {path}"),
        ),
    };
    PendingGate { candidate: candidate.name.clone(), gate: gate.name.clone(), satisfied_by, command }
}

/// The first suite of a gate that another harness measures.
fn external<'p>(plan: &'p Plan, rule: &MetricGate) -> Option<&'p Name> {
    let suites = plan.suites.iter().filter(|suite| suite.kind == External::NAME);
    suites.map(|suite| &suite.name).find(|name| rule.suites.contains(name))
}

/// What was measured does not decide; only other cases, or more of them, can.
fn more_cases(status: &GateStatus, candidate: &Candidate, path: &Path) -> PendingGate {
    let cases = status.finding.split("; ").find(|part| part.contains("cases would decide"));
    PendingGate {
        candidate: candidate.name.clone(),
        gate: status.gate.clone(),
        satisfied_by: format!("a larger suite: {}", cases.unwrap_or("nothing seen points either way")),
        command: format!("studbook run {}", path.display()),
    }
}

fn metric(rule: &MetricGate) -> String {
    let what = match rule.suites.as_slice() {
        [] => rule.metric.clone(),
        [suite] => format!("{} on {suite}", rule.metric),
        suites => {
            let names: Vec<&str> = suites.iter().map(Name::as_str).collect();
            format!("mean {} on {}", rule.metric, names.join(", "))
        }
    };
    let mut demands = Vec::new();
    demands.extend(rule.min.map(|min| format!(">= {min}")));
    demands.extend(rule.max.map(|max| format!("<= {max}")));
    demands.extend(rule.versus.as_ref().map(|versus| {
        let rival = match versus.settled() {
            Some(Versus::BestParent) => "its best parent",
            Some(Versus::Parent(name) | Versus::NoOp(name)) => name.as_str(),
            Some(Versus::Champion { .. }) => "the champion",
            None => "a champion that is not there: name one, or say whom else in `[champion]`",
        };
        format!(">= {rival} + {}", rule.margin)
    }));
    format!("{what} {}", demands.join(" and "))
}
