//! From a plan to its stages: people declare candidates, the thirteen kinds follow.
//!
//! ```text
//! source ─ compat ─ lineage ─┬─ operator ─ candidate ─ smoke ─ eval ─ promotion ─ admission ─┬─ ledger
//!                            └─ ledger:plan (before any operator)                             ├─ recipe
//!          source ─ smoke ─ eval (parents, for comparison) ─────────── review ────────────────┴─ registry
//! ```

use std::collections::BTreeMap;

use petgraph::graph::DiGraph;
use serde::Serialize;
use serde_json::{Value, json};

use super::graph::{From, Input, Need, Node, StageGraph, StageIndex};
use crate::base::name::Name;
use crate::plan::{Candidate, Gate, GateRule, Objective, Origin, Plan, RESERVED_GATES, Role, Suite, Versus};
use crate::record::lineage::BoundOperator;
use crate::stage::Kind;

mod trials;

/// Compiles a plan. Stages depend only on stages made before them, so there are no circles.
pub fn compile(plan: &Plan) -> StageGraph {
    let mut compiler = Compiler {
        plan,
        graph: DiGraph::default(),
        origins: plan.parents.iter().map(|parent| (&parent.name, &parent.origin)).collect(),
        adapts: plan
            .parents
            .iter()
            .filter_map(|parent| Some((&parent.name, parent.adapts.as_ref()?)))
            .collect(),
        sources: BTreeMap::new(),
        smokes: BTreeMap::new(),
        evals: BTreeMap::new(),
        lineages: Vec::new(),
    };
    compiler.parents();
    let compats: Vec<StageIndex> = plan.candidates.iter().map(|candidate| compiler.bind(candidate)).collect();
    let registration = compiler.registration();
    let ends: Vec<Ends> = plan
        .candidates
        .iter()
        .enumerate()
        .map(|(i, candidate)| compiler.breed(candidate, compats[i], compiler.lineages[i], registration))
        .collect();
    compiler.conclude(registration, &ends);
    StageGraph::new(plan.cycle.name.clone(), compiler.graph)
}

struct Compiler<'p> {
    plan: &'p Plan,
    graph: DiGraph<Node, Need>,
    origins: BTreeMap<&'p Name, &'p Origin>,
    /// Adapters, and the parents they are added to.
    adapts: BTreeMap<&'p Name, &'p Name>,
    sources: BTreeMap<Name, StageIndex>,
    /// Of parents and candidates.
    smokes: BTreeMap<Name, StageIndex>,
    evals: BTreeMap<(Name, Name), StageIndex>,
    lineages: Vec<StageIndex>,
}

/// What must be bound before anything of a candidate is computed.
#[derive(Clone, Copy)]
struct Bound {
    lineage: StageIndex,
    registration: StageIndex,
}

/// Where a candidate's way ends.
struct Ends {
    operator: StageIndex,
    candidate: StageIndex,
    admission: StageIndex,
}

/// A stage being described.
struct Draft {
    node: Node,
    needs: Vec<(StageIndex, Need)>,
}

impl Draft {
    fn new(kind: Kind, label: &str, params: &impl Serialize) -> Self {
        let params: Value = serde_json::to_value(params).expect("parameters are plain values");
        let node = Node {
            id: format!("{}:{label}", kind.name()),
            kind,
            label: label.to_owned(),
            candidate: None,
            params,
            inputs: Vec::new(),
        };
        Self { node, needs: Vec::new() }
    }

    fn of(mut self, candidate: &Name) -> Self {
        self.node.candidate = Some(candidate.clone());
        self
    }

    fn input(mut self, name: impl Into<String>, from: From) -> Self {
        self.node.inputs.push(Input { name: name.into(), from });
        self
    }

    fn output_of(self, name: impl Into<String>, stage: StageIndex, output: &'static str, need: Need) -> Self {
        self.input(name, From::Stage(stage, output)).after(stage, need)
    }

    fn record_of(self, name: impl Into<String>, stage: StageIndex, need: Need) -> Self {
        self.output_of(name, stage, "record", need)
    }

    fn after(mut self, stage: StageIndex, need: Need) -> Self {
        self.needs.push((stage, need));
        self
    }
}

impl Compiler<'_> {
    fn add(&mut self, draft: Draft) -> StageIndex {
        let index = self.graph.add_node(draft.node);
        for (needed, need) in each_once(draft.needs) {
            self.graph.add_edge(needed, index, need);
        }
        index
    }

    fn parents(&mut self) {
        for parent in &self.plan.parents {
            let pool = match &parent.origin {
                Origin::File { .. } => Value::Null,
                Origin::Pool { cycle, parent } => json!({
                    "cycle": cycle,
                    "manifest": parent.manifest,
                    "licences": parent.licences,
                    "data": parent.data,
                    "trained": parent.trained,
                }),
            };
            let role = if parent.role == Role::Base { "base" } else { "parent" };
            let mut params =
                json!({ "name": parent.name, "role": role, "licence": parent.licence, "pool": pool });
            if let Some(adapts) = &parent.adapts {
                params["adapts"] = json!(adapts);
            }
            let mut draft = Draft::new(Kind::Source, parent.name.as_str(), &params)
                .input("model", model_of(&parent.origin));
            if let Some(base) = parent.adapts.as_ref().filter(|_| parent.needs_model) {
                draft = draft.input("base", model_of(self.origins[base]));
            }
            if let Origin::File { manifest: Some(manifest), .. } = &parent.origin {
                draft = draft.input("manifest", From::File(manifest.clone()));
            }
            let source = self.add(draft);
            self.sources.insert(parent.name.clone(), source);
            self.test(&parent.name, None, "source", source, &model_of(&parent.origin), None);
        }
    }

    /// Smoke and evaluations of one model.
    fn test(
        &mut self,
        name: &Name,
        candidate: Option<&Name>,
        introduced_by: &str,
        introduction: StageIndex,
        artifact: &From,
        operator: Option<StageIndex>,
    ) {
        let plan = self.plan;
        let params = json!({
            "name": name,
            "introduced_by": introduced_by,
            "prompts": plan.smoke.prompts,
            "max_tokens": plan.smoke.max_tokens,
        });
        let base = self.adapts.get(name).map(|base| model_of(self.origins[base]));
        let common = |draft: Draft| {
            let draft =
                draft.record_of("introduction", introduction, Need::Pass).input("artifact", artifact.clone());
            let draft = match operator {
                Some(operator) => draft.after(operator, Need::Pass),
                None => draft,
            };
            let draft = match &base {
                Some(base) => draft.input("base", base.clone()),
                None => draft,
            };
            match candidate {
                Some(candidate) => draft.of(candidate),
                None => draft,
            }
        };
        let smoke = self.add(common(Draft::new(Kind::Smoke, name.as_str(), &params)));
        self.smokes.insert(name.clone(), smoke);
        for suite in &plan.suites {
            let params = eval_params(name, introduced_by, suite);
            let draft = common(Draft::new(Kind::Eval, &format!("{name}.{}", suite.name), &params))
                .input("suite", From::File(suite.cases.clone()))
                .after(smoke, Need::Pass);
            let eval = self.add(draft);
            self.evals.insert((name.clone(), suite.name.clone()), eval);
        }
    }

    /// Compatibility and lineage of a candidate.
    fn bind(&mut self, candidate: &Candidate) -> StageIndex {
        let plan = self.plan;
        let name = &candidate.name;
        let params = json!({
            "candidate": name,
            "operator": candidate.operator.name(),
            "parents": self.sources_of(candidate),
            "artifact_budget": plan.budget.artifact,
        });
        let params = self.with_form(params, candidate);
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
        let draft = self.with_suites(self.with_sources(draft, candidate));
        let lineage = self.add(draft);
        self.lineages.push(lineage);
        compat
    }

    fn with_sources(&self, draft: Draft, candidate: &Candidate) -> Draft {
        self.sources_of(candidate).into_iter().fold(draft, |draft, name| {
            draft.record_of(format!("source.{name}"), self.sources[name], Need::Pass)
        })
    }

    /// How a candidate is stored, and whom it is like: a model, never an adapter.
    fn with_form(&self, mut params: Value, candidate: &Candidate) -> Value {
        let like = candidate.like().expect("a candidate has a parent");
        let parent = self.plan.parents.iter().find(|parent| parent.name == *like);
        let like = self.adapts.get(like).copied().unwrap_or(like);
        params["like"] = json!(like);
        params["output"] = json!(parent.expect("parents are resolved").form);
        if candidate.tokens_of_base {
            params["tokens_of_base"] = json!(true);
        }
        params
    }

    /// Everybody whose bytes a candidate is made of: its ancestors, then the models that adapters among
    /// them are added to.
    fn sources_of<'a>(&'a self, candidate: &'a Candidate) -> Vec<&'a Name> {
        let mut all = ancestors(candidate);
        for base in ancestors(candidate).iter().filter_map(|name| self.adapts.get(name)) {
            if !all.contains(base) {
                all.push(base);
            }
        }
        all
    }

    fn with_suites(&self, draft: Draft) -> Draft {
        self.plan.suites.iter().fold(draft, |draft, suite| {
            draft.input(format!("suite.{}", suite.name), From::File(suite.cases.clone()))
        })
    }

    /// The plan enters the ledger before the first operator runs.
    fn registration(&mut self) -> StageIndex {
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
        }});
        let draft = self.with_suites(Draft::new(Kind::Ledger, "plan", &params));
        let draft = plan.candidates.iter().zip(&self.lineages).fold(draft, |draft, (candidate, lineage)| {
            draft.record_of(format!("lineage.{}", candidate.name), *lineage, Need::End)
        });
        self.add(draft)
    }

    /// From operator to admission.
    fn breed(
        &mut self,
        candidate: &Candidate,
        compat: StageIndex,
        lineage: StageIndex,
        registration: StageIndex,
    ) -> Ends {
        let plan = self.plan;
        let name = &candidate.name;
        let params = json!({
            "candidate": name,
            "operator": bound_operator(candidate),
            "seed": plan.cycle.seed,
            "base": candidate.base,
            "parents": candidate.parents,
        });
        let mut params = self.with_form(params, candidate);
        let adapters: BTreeMap<&Name, &Name> = ancestors(candidate)
            .into_iter()
            .filter_map(|name| Some((name, *self.adapts.get(name)?)))
            .collect();
        if !adapters.is_empty() {
            params["adapters"] = json!(adapters);
        }
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
        self.test(name, Some(name), "manifest", manifest, &From::Stage(operator, "artifact"), Some(operator));
        let promotion = self.promotion(candidate, compat, lineage, manifest);
        let params = json!({ "cycle": plan.cycle.name, "candidate": name });
        let draft = Draft::new(Kind::Admission, name.as_str(), &params).of(name).record_of(
            "promotion",
            promotion,
            Need::Verdict,
        );
        let admission = self.add(draft);
        Ends { operator, candidate: manifest, admission }
    }

    fn promotion(
        &mut self,
        candidate: &Candidate,
        compat: StageIndex,
        lineage: StageIndex,
        manifest: StageIndex,
    ) -> StageIndex {
        let plan = self.plan;
        let name = &candidate.name;
        let params = json!({
            "cycle": plan.cycle.name,
            "candidate": name,
            "parents": ancestors(candidate),
            "gates": gates_of(plan, candidate),
        });
        let mut draft = Draft::new(Kind::Promotion, name.as_str(), &params)
            .of(name)
            .record_of("compat", compat, Need::Verdict)
            .record_of("lineage", lineage, Need::Verdict)
            .record_of("candidate", manifest, Need::Verdict)
            .record_of("smoke", self.smokes[name], Need::Verdict);
        for suite in &plan.suites {
            let eval = self.evals[&(name.clone(), suite.name.clone())];
            draft = draft.record_of(format!("eval.{}", suite.name), eval, Need::Verdict);
        }
        let mut rivals: BTreeMap<&Name, Vec<&Name>> = BTreeMap::new();
        for gate in plan.gates.iter().filter(|gate| gate.is_for(candidate)) {
            match &gate.rule {
                GateRule::Approval(_) => {
                    draft = draft
                        .input(format!("approval.{}", gate.name), From::Brought(manifest, gate.name.clone()));
                }
                GateRule::Metric(rule) => {
                    let against = match &rule.versus {
                        None => Vec::new(),
                        Some(Versus::BestParent) => ancestors(candidate),
                        Some(Versus::Parent(parent)) => vec![parent],
                    };
                    for rival in against {
                        rivals.entry(rival).or_default().extend(&rule.suites);
                    }
                }
            }
        }
        for (rival, mut suites) in rivals {
            draft = draft.record_of(format!("source.{rival}"), self.sources[rival], Need::Verdict);
            suites.sort();
            suites.dedup();
            for suite in suites {
                let eval = self.evals[&(rival.clone(), suite.clone())];
                draft = draft.record_of(format!("eval-of.{rival}.{suite}"), eval, Need::Verdict);
            }
        }
        self.add(draft)
    }

    /// Ledger, review, recipe, registry: what a cycle leaves behind.
    fn conclude(&mut self, registration: StageIndex, ends: &[Ends]) {
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
            "objectives": plan.review.objectives.iter().map(Objective::name).collect::<Vec<_>>(),
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

        let params =
            json!({ "cycle": cycle, "size": plan.pool_size, "candidates": names, "parents": parents });
        let mut draft =
            Draft::new(Kind::Recipe, cycle.as_str(), &params).record_of("review", review, Need::Pass);
        for parent in &parents {
            draft = draft.record_of(format!("source.{parent}"), self.sources[*parent], Need::End);
        }
        for (name, end) in names.iter().zip(ends) {
            draft = draft.record_of(format!("admission.{name}"), end.admission, Need::End);
            draft = draft.record_of(format!("candidate.{name}"), end.candidate, Need::End);
        }
        self.add(draft);

        let params = json!({ "cycle": cycle, "budget": plan.registry_budget, "candidates": names });
        let mut draft =
            Draft::new(Kind::Registry, cycle.as_str(), &params).record_of("ledger", ledger, Need::Pass);
        for (name, end) in names.iter().zip(ends) {
            draft = draft.record_of(format!("admission.{name}"), end.admission, Need::End);
            draft = draft.record_of(format!("candidate.{name}"), end.candidate, Need::End);
            draft = draft.output_of(format!("artifact.{name}"), end.operator, "artifact", Need::End);
        }
        self.add(draft);
    }

    fn reviewed(&self, draft: Draft, name: &Name, introduction: StageIndex) -> Draft {
        let draft = draft.record_of(format!("introduction.{name}"), introduction, Need::End).record_of(
            format!("smoke.{name}"),
            self.smokes[name],
            Need::End,
        );
        self.plan.suites.iter().fold(draft, |draft, suite| {
            let eval = self.evals[&(name.clone(), suite.name.clone())];
            draft.record_of(format!("eval.{name}.{}", suite.name), eval, Need::End)
        })
    }
}

/// One edge for each stage, the last word counts. The graph's own `update_edge` would look through all
/// edges of the needed stage, and a parent has as many as there are candidates.
fn each_once(needs: Vec<(StageIndex, Need)>) -> Vec<(StageIndex, Need)> {
    let mut places: BTreeMap<StageIndex, usize> = BTreeMap::new();
    let mut once: Vec<(StageIndex, Need)> = Vec::with_capacity(needs.len());
    for (stage, need) in needs {
        let place = *places.entry(stage).or_insert(once.len());
        match once.get_mut(place) {
            Some(known) => known.1 = need,
            None => once.push((stage, need)),
        }
    }
    once
}

fn model_of(origin: &Origin) -> From {
    match origin {
        Origin::File { model, .. } => From::File(model.clone()),
        Origin::Pool { parent, .. } => From::Blob(parent.artifact),
    }
}

/// Everybody a candidate descends from, base first, each once.
fn ancestors(candidate: &Candidate) -> Vec<&Name> {
    let mut all: Vec<&Name> = candidate.base.iter().collect();
    for parent in &candidate.parents {
        if !all.contains(&parent) {
            all.push(parent);
        }
    }
    all
}

fn bound_operator(candidate: &Candidate) -> Value {
    let bound = BoundOperator {
        name: candidate.operator.name().to_owned(),
        version: candidate.operator.version(),
        parameters: candidate.parameters.clone(),
        rules: candidate.rules.clone(),
    };
    serde_json::to_value(bound).expect("operators are bound by plain values")
}

fn eval_params(name: &Name, introduced_by: &str, suite: &Suite) -> Value {
    json!({
        "name": name,
        "introduced_by": introduced_by,
        "suite": suite.name,
        "kind": suite.kind,
        "max_tokens": suite.max_tokens,
    })
}

fn suite_params(suite: &Suite) -> Value {
    json!({ "name": suite.name, "kind": suite.kind, "max_tokens": suite.max_tokens })
}

fn gate_params(gate: &Gate) -> Value {
    debug_assert!(!RESERVED_GATES.contains(&gate.name.as_str()));
    serde_json::to_value(gate).expect("gates are plain values")
}

fn gates_of(plan: &Plan, candidate: &Candidate) -> Vec<Value> {
    plan.gates.iter().filter(|gate| gate.is_for(candidate)).map(gate_params).collect()
}
