//! Ledger, review, recipe, registry: what a cycle leaves behind.

use serde_json::json;

use super::draft::Draft;
use super::{Compiler, Ends};
use crate::base::name::Name;
use crate::engine::graph::{From, Need, StageIndex};
use crate::evaluate::{self, Better};
use crate::plan::{Objective, Plan, Suite};
use crate::stage::Kind;

impl Compiler<'_> {
    /// Ledger, review, recipe, registry: what a cycle leaves behind.
    pub(super) fn conclude(&mut self, registration: StageIndex, ends: &[Ends]) {
        let plan = self.plan;
        let cycle = &plan.cycle.name;
        let names: Vec<&Name> = plan.candidates.iter().map(|candidate| &candidate.name).collect();

        let mut draft = Draft::new(
            Kind::Ledger,
            "admissions",
            &json!({ "admissions": { "cycle": cycle, "candidates": names } }),
        )
        .record_of("plan", registration, Need::Pass);
        for (name, end) in names.iter().zip(ends) {
            draft = draft.record_of(format!("admission.{name}"), end.admission, Need::End);
        }
        let ledger = self.add(draft);

        let parents: Vec<&Name> = plan.parents.iter().map(|parent| &parent.name).collect();
        let params = json!({
            "cycle": cycle,
            "seed": plan.cycle.seed,
            "objectives": objectives(plan),
            "lower": lower_is_better(plan),
            "candidates": names,
            "parents": parents,
            "no_op": plan.review.no_op,
        });
        let mut draft = Draft::new(Kind::Review, cycle.as_str(), &params);
        for parent in &parents {
            draft = self.reviewed(draft, parent, self.sources[*parent]);
        }
        for (name, end) in names.iter().zip(ends) {
            draft = self.reviewed(draft, name, end.candidate);
        }
        let review = self.add(draft);

        let choosing: Vec<&Suite> = choosing(plan);
        let chosen_by: Vec<(&Name, &str)> = choosing.iter().map(|suite| (&suite.name, suite.kind)).collect();
        let mut params = json!({
            "cycle": cycle,
            "size": plan.pool_size,
            "candidates": names,
            "parents": parents,
            "chosen_by": chosen_by,
            "inherited": plan.chosen_by,
        });
        if !plan.retired.is_empty() {
            params["retired"] = json!(plan.retired);
        }
        let mut draft =
            Draft::new(Kind::Recipe, cycle.as_str(), &params).record_of("review", review, Need::Pass);
        for suite in &choosing {
            let Some(cases) = &suite.cases else { continue };
            draft = draft.input(format!("suite.{}", suite.name), From::File(cases.clone()));
        }
        for parent in &parents {
            draft = draft.record_of(format!("source.{parent}"), self.sources[*parent], Need::End);
        }
        for (name, end) in names.iter().zip(ends) {
            draft = draft.record_of(format!("admission.{name}"), end.admission, Need::End);
            draft = draft.record_of(format!("candidate.{name}"), end.candidate, Need::End);
        }
        self.add(draft);

        let suites: Vec<&Name> = plan.suites.iter().map(|suite| &suite.name).collect();
        let params = json!({
            "cycle": cycle,
            "budget": plan.registry.budget,
            "expires": plan.registry.expires,
            "root_expires": plan.registry.root_expires,
            "candidates": names,
            "suites": suites,
        });
        let mut draft =
            Draft::new(Kind::Registry, cycle.as_str(), &params).record_of("ledger", ledger, Need::Pass);
        for (name, end) in names.iter().zip(ends) {
            draft = draft.record_of(format!("admission.{name}"), end.admission, Need::End);
            draft = draft.record_of(format!("candidate.{name}"), end.candidate, Need::End);
            draft = draft.output_of(format!("artifact.{name}"), end.operator, "artifact", Need::End);
            draft = draft.record_of(format!("promotion.{name}"), end.promotion, Need::End);
            draft = draft.record_of(format!("lineage.{name}"), end.lineage, Need::End);
            draft = draft.record_of(format!("smoke.{name}"), self.smokes[*name], Need::End);
            for suite in &suites {
                let eval = self.evals[&((*name).clone(), (*suite).clone())];
                draft = draft.record_of(format!("eval.{name}.{suite}"), eval, Need::End);
            }
        }
        self.add(draft);
    }

    pub(super) fn reviewed(&self, draft: Draft, name: &Name, introduction: StageIndex) -> Draft {
        let draft = draft.record_of(format!("introduction.{name}"), introduction, Need::End).record_of(
            format!("smoke.{name}"),
            self.smokes[name],
            Need::End,
        );
        self.plan.suites.iter().fold(draft, |draft, suite| {
            match self.evals.get(&(name.clone(), suite.name.clone())) {
                Some(eval) => {
                    let label = format!("{name}.{}", suite.name);
                    let draft = draft.record_of(format!("eval.{label}"), *eval, Need::End);
                    draft.output_of(format!("outcomes.{label}"), *eval, "outcomes", Need::End)
                }
                None => draft,
            }
        })
    }
}

/// What the review ranks by.
pub(super) fn objectives(plan: &Plan) -> Vec<&str> {
    plan.review.objectives.iter().map(Objective::name).collect()
}

/// The suites that choose: whom the review puts first, and who is in a greedy soup.
fn choosing(plan: &Plan) -> Vec<&Suite> {
    let ranked = |suite: &Suite| {
        plan.review.objectives.iter().any(|objective| match objective {
            Objective::Suite(name) => *name == suite.name,
            Objective::ArtifactBytes => false,
        })
    };
    let picked = |suite: &Suite| {
        plan.candidates.iter().any(|one| one.selection().is_some_and(|(_, name)| name == suite.name.as_str()))
    };
    plan.suites.iter().filter(|suite| ranked(suite) || picked(suite)).collect()
}

/// The suites whose main metric is better when lower.
fn lower_is_better(plan: &Plan) -> Vec<&Name> {
    let lower = |suite: &&Suite| {
        let main = evaluate::find(suite.kind).and_then(|evaluator| evaluator.metrics().first());
        main.is_some_and(|metric| metric.better == Better::Lower)
    };
    plan.suites.iter().filter(lower).map(|suite| &suite.name).collect()
}
