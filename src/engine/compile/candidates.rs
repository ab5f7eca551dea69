//! Candidates, from what binds them to their manifests.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::conclude::objectives;
use super::draft::Draft;
use super::{Bound, Bred, Compiler, ancestors};
use crate::base::name::Name;
use crate::convert::Form;
use crate::engine::graph::{From, Need, StageIndex};
use crate::operator::Slice;
use crate::plan::{Candidate, Gate, GateRule, Plan, RESERVED_GATES, Suite, Versus};
use crate::record::lineage::BoundOperator;
use crate::stage::Kind;

impl<'p> Compiler<'p> {
    /// Compatibility and lineage of a candidate.
    pub(super) fn bind(&mut self, candidate: &Candidate) -> StageIndex {
        let plan = self.plan;
        let name = &candidate.name;
        let params = json!({
            "candidate": name,
            "operator": candidate.operator.name(),
            "parents": self.sources_of(candidate),
            "artifact_budget": plan.budget.artifact,
        });
        let mut params = self.with_form(params, candidate);
        if let Some(licences) = &plan.licences {
            params["licences"] = json!(licences);
        }
        let draft = self.with_sources(Draft::new(Kind::Compat, name.as_str(), &params).of(name), candidate);
        let compat = self.add(draft);

        let params = json!({
            "cycle": plan.cycle.name,
            "candidate": name,
            "base": candidate.base,
            "parents": candidate.parents,
            "operator": bound_operator(candidate),
            "seed": plan.cycle.seed,
            "budget": plan.budget,
            "gates": gates_of(plan, candidate),
            "suites": plan.suites.iter().map(suite_params).collect::<Vec<_>>(),
            "smoke": plan.smoke,
        });
        let params = self.with_form(params, candidate);
        let draft = Draft::new(Kind::Lineage, name.as_str(), &params).of(name).record_of(
            "compat",
            compat,
            Need::Pass,
        );
        let draft = self.with_champion(self.with_suites(self.with_sources(draft, candidate)), candidate);
        let lineage = self.add(draft);
        self.lineages.push(lineage);
        compat
    }

    pub(super) fn with_sources(&self, draft: Draft, candidate: &Candidate) -> Draft {
        self.sources_of(candidate).into_iter().fold(draft, |draft, name| {
            draft.record_of(format!("source.{name}"), self.sources[name], Need::Pass)
        })
    }

    /// How a candidate is stored, and whom it is like: a model, never an adapter.
    pub(super) fn with_form(&self, mut params: Value, candidate: &Candidate) -> Value {
        let like = candidate.like().expect("a candidate has a parent");
        let like = self.adapts.get(like).copied().unwrap_or(like);
        params["like"] = json!(like);
        params["output"] = json!(self.form_of(candidate));
        if !candidate.slices.is_empty() {
            let of_models = candidate.slices.iter().map(|slice| {
                let parent = self.adapts.get(&slice.parent).copied().unwrap_or(&slice.parent);
                Slice { parent: parent.clone(), layers: slice.layers }
            });
            params["stack"] = json!(of_models.collect::<Vec<_>>());
        }
        if candidate.tokens_of_base {
            params["tokens_of_base"] = json!(true);
        }
        params
    }

    fn form_of(&self, candidate: &Candidate) -> Form {
        let like = candidate.like().expect("a candidate has a parent");
        let parent = self.plan.parents.iter().find(|parent| parent.name == *like);
        parent.expect("parents are resolved").form
    }

    /// Everybody whose bytes a candidate is made of: its ancestors, then the models that adapters among
    /// them are added to.
    pub(super) fn sources_of<'a>(&'a self, candidate: &'a Candidate) -> Vec<&'a Name> {
        let mut all = ancestors(candidate);
        for base in ancestors(candidate).iter().filter_map(|name| self.adapts.get(name)) {
            if !all.contains(base) {
                all.push(base);
            }
        }
        all
    }

    /// The champion, for a candidate with a gate that means it: bound before anything is computed.
    pub(super) fn with_champion(&self, mut draft: Draft, candidate: &Candidate) -> Draft {
        let Some(champion) = &self.plan.champion else { return draft };
        let gates = self.plan.gates.iter().filter(|gate| gate.is_for(candidate));
        let mut rules = gates.filter_map(|gate| match &gate.rule {
            GateRule::Metric(rule) => Some(rule),
            GateRule::Approval(_) | GateRule::BrowserSmoke => None,
        });
        if !rules.any(|rule| matches!(rule.versus, Some(Versus::Champion { .. }))) {
            return draft;
        }
        draft.node.params["champion"] = json!(champion.name);
        draft.record_of(format!("source.{}", champion.name), self.sources[&champion.name], Need::Pass)
    }

    pub(super) fn with_suites(&self, draft: Draft) -> Draft {
        let cases = self.plan.suites.iter().filter_map(|suite| Some((&suite.name, suite.cases.as_ref()?)));
        cases.fold(draft, |draft, (name, cases)| {
            draft.input(format!("suite.{name}"), From::File(cases.clone()))
        })
    }

    /// The plan enters the ledger before the first operator runs.
    pub(super) fn registration(&mut self) -> StageIndex {
        let plan = self.plan;
        let params = json!({ "plan": {
            "cycle": plan.cycle.name,
            "seed": plan.cycle.seed,
            "budget": plan.budget,
            "candidates": plan.candidates.iter().map(|candidate| &candidate.name).collect::<Vec<_>>(),
            "suites": plan.suites.iter().map(suite_params).collect::<Vec<_>>(),
            "gates": plan.gates.iter().map(|gate| {
                let families: Vec<&Name> = gate.families.iter().collect();
                json!({ "gate": gate_params(gate), "candidates": families })
            }).collect::<Vec<_>>(),
            "review": { "objectives": objectives(plan), "no_op": plan.review.no_op },
            "recipe": { "parents": plan.pool_size },
        }});
        let draft = self.with_suites(Draft::new(Kind::Ledger, "plan", &params));
        let draft = plan.candidates.iter().zip(&self.lineages).fold(draft, |draft, (candidate, lineage)| {
            draft.record_of(format!("lineage.{}", candidate.name), *lineage, Need::End)
        });
        self.add(draft)
    }

    /// What an operator stage is told; `full` asks for the child in f32. All else stays, the format above
    /// all: what tensors are called and how their rows lie decides which rules meet them and which random
    /// numbers they get, and the tokenizer is the child's own.
    pub(super) fn operator_params(&self, candidate: &Candidate, full: bool) -> Value {
        let params = json!({
            "candidate": candidate.name,
            "operator": bound_operator(candidate),
            "seed": self.plan.cycle.seed,
            "base": candidate.base,
            "parents": candidate.parents,
        });
        let mut params = self.with_form(params, candidate);
        if full {
            params["output"] = json!(self.form_of(candidate).in_full());
        }
        let adapters: BTreeMap<&Name, &Name> = ancestors(candidate)
            .into_iter()
            .filter_map(|name| Some((name, *self.adapts.get(name)?)))
            .collect();
        if !adapters.is_empty() {
            params["adapters"] = json!(adapters);
        }
        params
    }

    /// From operator to evaluations.
    pub(super) fn breed(
        &mut self,
        candidate: &'p Candidate,
        lineage: StageIndex,
        registration: StageIndex,
    ) -> Bred {
        let plan = self.plan;
        let name = &candidate.name;
        let mut params = self.operator_params(candidate, false);
        let bound = Bound { lineage, registration };
        let trials = self.trials(candidate, &mut params, bound);
        let draft = self.operator(candidate, name.as_str(), &params, bound);
        let operator = self.add(self.with_trials(draft, candidate, &trials));

        let params =
            json!({ "cycle": plan.cycle.name, "candidate": name, "ancestors": self.sources_of(candidate) });
        let draft = Draft::new(Kind::Candidate, name.as_str(), &params)
            .of(name)
            .record_of("lineage", lineage, Need::Pass)
            .record_of("receipt", operator, Need::Pass)
            .input("artifact", From::Stage(operator, "artifact"));
        let draft = self.with_sources(draft, candidate);
        let manifest = self.add(draft);
        self.test(
            name,
            Some(candidate),
            "manifest",
            manifest,
            &From::Stage(operator, "artifact"),
            Some(operator),
        );
        Bred { operator, manifest }
    }
}

fn bound_operator(candidate: &Candidate) -> Value {
    let bound = BoundOperator {
        name: candidate.operator.name().to_owned(),
        version: candidate.operator.version(),
        parameters: candidate.parameters.clone(),
        rules: candidate.rules.clone(),
        slices: candidate.slices.clone(),
    };
    serde_json::to_value(bound).expect("operators are bound by plain values")
}

fn suite_params(suite: &Suite) -> Value {
    json!({ "name": suite.name, "kind": suite.kind, "options": suite.options, "use": suite.r#use })
}

fn gate_params(gate: &Gate) -> Value {
    debug_assert!(!RESERVED_GATES.contains(&gate.name.as_str()));
    serde_json::to_value(gate).expect("gates are plain values")
}

pub(super) fn gates_of(plan: &Plan, candidate: &Candidate) -> Vec<Value> {
    plan.gates.iter().filter(|gate| gate.is_for(candidate)).map(gate_params).collect()
}
