//! Pending gates: which, of whom, and what would satisfy each.

use serde::Serialize;

use super::compile::rivals_of;
use super::graph::StageGraph;
use super::resolve::Results;
use super::schedule::End;
use crate::base::name::Name;
use crate::evaluate::harness::External;
use crate::evaluate::{self, Better, Measure};
use crate::plan::{Candidate, Gate, GateRule, MetricGate, Plan, Versus};
use crate::record;
use crate::record::approval::SignedApprovals;
use crate::record::promotion::{GateState, GateStatus, PromotionTemplate};
use crate::stage::{Kind, NO_CASES, UNLIKE};
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

/// Every gate that is pending, in plan order; `typed` is the plan in a command. A refused candidate has none: nothing waits for them.
///
/// # Errors
///
/// As [`promotion_of`], and if what was brought for a gate cannot be read.
pub fn pending(
    plan: &Plan,
    graph: &StageGraph,
    store: &Store,
    results: &Results,
    ends: &[Option<End>],
    typed: &str,
) -> Result<Vec<PendingGate>, StoreError> {
    let mut found = Vec::new();
    let waiting = Waiting { plan, graph, store, results, typed };
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
                    match status {
                        Some(status) if status.state == GateState::Inconclusive => {
                            more_cases(status, candidate, typed)
                        }
                        Some(status) if status.finding.starts_with(UNLIKE) => {
                            waiting.ask_alike(gate, candidate, status)
                        }
                        _ => waiting.describe(gate, candidate),
                    }
                }));
            }
            None if is_lost(graph, ends, &candidate.name) => {}
            None => {
                for gate in gates {
                    let brought = waiting.uncounted(gate, candidate)?;
                    found.push(brought.unwrap_or_else(|| waiting.describe(gate, candidate)));
                }
            }
        }
    }
    Ok(found)
}

/// A candidate's promotion template, if it was made. One that cannot be read is not none: what a gate found
/// would be forgotten.
///
/// # Errors
///
/// [`StoreError::Unreadable`] if the template is no promotion template; else if its bytes cannot be read.
pub fn promotion_of(
    graph: &StageGraph,
    store: &Store,
    results: &Results,
    candidate: &Name,
) -> Result<Option<PromotionTemplate>, StoreError> {
    let Some(index) = graph.find(&format!("{}:{candidate}", Kind::Promotion.name())) else { return Ok(None) };
    let Some(blob) = results[index.index()].as_ref().and_then(|result| result.record()) else {
        return Ok(None);
    };
    let template = record::from_bytes(&store.read(&blob.digest)?);
    template.map(Some).map_err(|error| StoreError::Unreadable {
        what: format!("the promotion template of `{candidate}`"),
        digest: blob.digest,
        why: error.to_string(),
    })
}

fn ends_refused(template: &PromotionTemplate) -> bool {
    template.gates.iter().any(|gate| gate.state == GateState::Failed)
}

/// Whether a failure upstream keeps the candidate from its gates.
fn is_lost(graph: &StageGraph, ends: &[Option<End>], candidate: &Name) -> bool {
    let index = graph.find(&format!("{}:{candidate}", Kind::Promotion.name()));
    index.is_some_and(|index| matches!(ends[index.index()], Some(End::Blocked | End::Failed)))
}

/// What a gate that waits is looked up in.
struct Waiting<'a> {
    plan: &'a Plan,
    graph: &'a StageGraph,
    store: &'a Store,
    results: &'a Results,
    typed: &'a str,
}

impl Waiting<'_> {
    /// A gate whose approvals were brought, as many as it asks for, and which no run has counted yet.
    fn uncounted(&self, gate: &Gate, candidate: &Candidate) -> Result<Option<PendingGate>, StoreError> {
        let GateRule::Approval(approval) = &gate.rule else { return Ok(None) };
        let index = self.graph.find(&format!("{}:{}", Kind::Candidate.name(), candidate.name));
        let result = index.and_then(|index| self.results[index.index()].as_ref());
        let Some(manifest) = result.and_then(|result| result.record()) else { return Ok(None) };
        let Some(brought) = self.store.brought(&manifest.digest, &gate.name)? else { return Ok(None) };
        let signed = record::from_bytes::<SignedApprovals>(&brought.bytes).map_or(1, |all| all.bundles.len());
        Ok((approval.keys.is_empty() || signed as u64 >= approval.threshold).then(|| PendingGate {
            candidate: candidate.name.clone(),
            gate: gate.name.clone(),
            satisfied_by: "what was brought, which the next run looks at".to_owned(),
            command: format!("studbook run {}", self.typed),
        }))
    }

    fn describe(&self, gate: &Gate, candidate: &Candidate) -> PendingGate {
        let plan = self.typed;
        let name = &candidate.name;
        let (satisfied_by, command) = match &gate.rule {
            GateRule::Metric(rule) => match self.missing(rule, candidate) {
                Some((model, suite)) => {
                    (format!("{}; missing: `{model}` on `{suite}`", metric(rule)), self.bring(model, suite))
                }
                None => (metric(rule), format!("studbook run {plan}")),
            },
            GateRule::Approval(approval) if approval.keys.is_empty() => (
                format!("an approval: {}", approval.statement),
                format!("studbook attest {plan} {name} --gate {} --by NAME", gate.name),
            ),
            GateRule::Approval(approval) => {
                let names: Vec<&str> = approval.keys.iter().map(|key| key.name.as_str()).collect();
                let (threshold, names) = (approval.threshold, names.join(", "));
                (
                    format!("{threshold} signed approval of {names}: {}", approval.statement),
                    format!("studbook attest {plan} {name} --gate {} --by NAME --key KEY", gate.name),
                )
            }
            GateRule::BrowserSmoke => (
                "the smoke prompts run in a browser, with the native tokens and logits".to_owned(),
                format!("studbook smoke --browser {plan}"),
            ),
        };
        PendingGate { candidate: name.clone(), gate: gate.name.clone(), satisfied_by, command }
    }

    /// What to type to bring the results of another harness.
    fn bring(&self, model: &Name, suite: &Name) -> String {
        let plan = self.typed;
        format!("studbook attest {plan} {model} --suite {suite} --results FILE --samples FILE --by NAME")
    }

    /// All results are there, but not of the same questions: the candidate is asked again.
    fn ask_alike(&self, gate: &Gate, candidate: &Candidate, status: &GateStatus) -> PendingGate {
        let described = self.describe(gate, candidate);
        let suite = match &gate.rule {
            GateRule::Metric(rule) => rule.suites.iter().find(|suite| self.is_external(suite)),
            GateRule::Approval(_) | GateRule::BrowserSmoke => None,
        };
        let command = suite.map_or(described.command, |suite| self.bring(&candidate.name, suite));
        PendingGate {
            candidate: described.candidate,
            gate: described.gate,
            satisfied_by: status.finding.clone(),
            command,
        }
    }

    fn is_external(&self, name: &Name) -> bool {
        self.plan.suites.iter().any(|suite| suite.name == *name && suite.kind == External::NAME)
    }

    /// The first model, the candidate before those it is compared with, whose results of another harness a
    /// gate still needs, and the suite.
    fn missing<'n>(&'n self, rule: &'n MetricGate, candidate: &'n Candidate) -> Option<(&'n Name, &'n Name)> {
        let suites: Vec<&Name> = rule.suites.iter().filter(|name| self.is_external(name)).collect();
        let models: Vec<&Name> =
            [&candidate.name].into_iter().chain(rivals_of(self.plan, rule, candidate)).collect();
        let mut pairs = models.iter().flat_map(|model| suites.iter().map(move |suite| (*model, *suite)));
        pairs.find(|(model, suite)| !self.is_there(model, suite))
    }

    fn is_there(&self, model: &Name, suite: &Name) -> bool {
        let index = self.graph.find(&format!("{}:{model}.{suite}", Kind::Eval.name()));
        let result = index.and_then(|index| self.results[index.index()].as_ref());
        result.is_some_and(|result| result.outputs.contains_key("record"))
    }
}

/// What was measured does not decide; only other cases, or more of them, can.
fn more_cases(status: &GateStatus, candidate: &Candidate, typed: &str) -> PendingGate {
    let says = |what: &str| status.finding.split("; ").find(|part| part.contains(what));
    let satisfied_by = match says(NO_CASES) {
        Some(why) => format!("a lower `confidence`, or fewer gates with one: {why}"),
        None => {
            let cases = says("cases would decide").unwrap_or("nothing seen points either way");
            format!("a larger suite: {cases}")
        }
    };
    PendingGate {
        candidate: candidate.name.clone(),
        gate: status.gate.clone(),
        satisfied_by,
        command: format!("studbook run {typed}"),
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
        match evaluate::measured_by(&rule.metric).map(|(_, metric)| metric.better) {
            Some(Better::Lower) => format!("<= {rival} - {}", rule.margin),
            _ => format!(">= {rival} + {}", rule.margin),
        }
    }));
    format!("{what} {}", demands.join(" and "))
}
