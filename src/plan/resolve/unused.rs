//! What a plan declares and does not use.
//!
//! A parent no candidate has, or a suite nothing asks about, is computed all the same: it costs time
//! and decides nothing. That may be meant, so it is a warning. Only plans without mistakes get one,
//! because a mistake is often just why something is unused.

use crate::base::name::Name;
use std::collections::BTreeSet;

use crate::base::diagnostic::Diagnostic;
use crate::plan::file::PlanFile;
use crate::plan::resolved::{GateRule, MetricGate, Objective, Plan, Versus};

pub(super) fn unused(file: &PlanFile, plan: &Plan) -> Vec<Diagnostic> {
    let (parents, suites) = (used_parents(plan), used_suites(plan));
    let parents =
        file.parents.iter().map(|section| &section.name).filter(|n| !parents.contains(n.value.as_str()));
    let parents = parents.map(|name| {
        Diagnostic::warning(format!("nothing uses the parent `{}`", name.value), name.span.clone())
            .expected("expected it in a candidate, in a gate's `versus`, or as `no_op`")
            .help("it would be opened, smoke-tested and evaluated all the same")
    });
    let suites_named = file.evals.iter().filter_map(|section| section.name.as_ref());
    let suites = suites_named.filter(|name| !suites.contains(name.value.as_str())).map(|name| {
        Diagnostic::warning(format!("nothing depends on the suite `{}`", name.value), name.span.clone())
            .expected("expected it in a gate or among the review's `objectives`")
            .help("every model would be evaluated on it all the same")
    });
    parents.chain(suites).collect()
}

fn metric_gates(plan: &Plan) -> impl Iterator<Item = &MetricGate> {
    plan.gates.iter().filter_map(|gate| match &gate.rule {
        GateRule::Metric(rule) => Some(rule),
        GateRule::Approval(_) | GateRule::BrowserSmoke => None,
    })
}

fn used_parents(plan: &Plan) -> BTreeSet<&str> {
    let of_candidates = plan.candidates.iter().flat_map(|c| c.parents.iter().chain(&c.base));
    let rivals = metric_gates(plan).filter_map(|rule| match rule.versus.as_ref()?.settled() {
        Some(Versus::Parent(parent) | Versus::NoOp(parent)) => Some(parent),
        _ => None,
    });
    let adapted = plan.parents.iter().filter_map(|parent| parent.adapts.as_ref());
    of_candidates.chain(adapted).chain(rivals).chain(&plan.review.no_op).map(Name::as_str).collect()
}

fn used_suites(plan: &Plan) -> BTreeSet<&str> {
    let objectives = plan.review.objectives.iter().filter_map(|objective| match objective {
        Objective::Suite(name) => Some(name),
        Objective::ArtifactBytes => None,
    });
    let chosen = plan.candidates.iter().filter_map(|candidate| Some(candidate.selection()?.1));
    metric_gates(plan)
        .flat_map(|rule| &rule.suites)
        .chain(objectives)
        .map(Name::as_str)
        .chain(chosen)
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::base::diagnostic::Severity;
    use crate::plan::resolve::testing::{Folder, GOOD};

    #[test]
    fn unused_parents_and_suites_are_warned_of() {
        let folder = Folder::new();
        let more = "[parents.idle]\nsource = \"one.slm\"\n\n\
                    [[eval]]\nname = \"spare\"\nkind = \"exact_match\"\ncases = \"suite.jsonl\"\n\n\
                    [review]\nobjectives = [\"digits\"]";
        let (plan, found) = folder.check(&GOOD.replace("[review]", more));
        assert!(plan.is_some(), "a warning does not take the plan away");
        assert!(found.iter().all(|found| found.severity == Severity::Warning), "{found:?}");
        let messages: Vec<_> = found.iter().map(|found| found.message.as_str()).collect();
        assert_eq!(messages, ["nothing uses the parent `idle`", "nothing depends on the suite `spare`"]);
    }

    #[test]
    fn what_is_used_in_any_way_is_used() {
        let folder = Folder::new();
        assert_eq!(folder.check(GOOD).1, []);
        let rival = "[parents.rival]\nsource = \"one.slm\"\n\n[review]";
        let plan = GOOD.replace("[review]", rival).replace("versus = \"best-parent\"", "versus = \"rival\"");
        assert_eq!(folder.check(&plan).1, []);
    }
}
