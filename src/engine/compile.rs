//! From a plan to its stages: people declare candidates, the thirteen kinds follow.
//!
//! ```text
//! source ─ compat ─ lineage ─┬─ operator ─ candidate ─ smoke ─ eval ─ promotion ─ admission ─┬─ ledger
//!                            └─ ledger:plan (before any operator)                             ├─ recipe
//!          source ─ smoke ─ eval (parents, for comparison) ─────────── review ────────────────┴─ registry
//! ```

use std::collections::{BTreeMap, BTreeSet};

use petgraph::graph::DiGraph;
use serde::Serialize;
use serde_json::{Value, json};

use super::graph::{From, Input, Need, Node, StageGraph, StageIndex};
use crate::base::name::Name;
use crate::convert::{Form, Target};
use crate::evaluate::harness::External;
use crate::evaluate::quantization_delta::QuantizationDelta;
use crate::evaluate::{self, Better, Measure};
use crate::plan::{
    Candidate, DeclaredText, Gate, GateRule, MetricGate, Objective, Origin, Plan, RESERVED_GATES, Role,
    Suite, Versus,
};
use crate::record::lineage::BoundOperator;
use crate::stage::{Kind, evidence_name};
use crate::tensor::dtype::DType;

/// The evaluator that holds a child against itself in f32.
const QUANTIZATION_DELTA: &str = QuantizationDelta::NAME;

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
    let bred: Vec<Bred> = plan
        .candidates
        .iter()
        .enumerate()
        .map(|(i, candidate)| compiler.breed(candidate, compiler.lineages[i], registration))
        .collect();
    let comparisons = compiler.comparisons(&bred);
    let ends: Vec<Ends> = plan
        .candidates
        .iter()
        .zip(bred)
        .enumerate()
        .map(|(i, (candidate, bred))| {
            compiler.judge(candidate, compats[i], compiler.lineages[i], bred, comparisons)
        })
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

/// A candidate that was made and tested.
#[derive(Clone, Copy)]
struct Bred {
    operator: StageIndex,
    manifest: StageIndex,
}

/// Where a candidate's way ends.
struct Ends {
    operator: StageIndex,
    candidate: StageIndex,
    lineage: StageIndex,
    promotion: StageIndex,
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

impl<'p> Compiler<'p> {
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
        name: &'p Name,
        candidate: Option<&'p Candidate>,
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
                Some(candidate) => draft.of(&candidate.name),
                None => draft,
            }
        };
        let smoke = self.add(common(Draft::new(Kind::Smoke, name.as_str(), &params)));
        self.smokes.insert(name.clone(), smoke);
        for suite in &plan.suites {
            let mut params = eval_params(name, introduced_by, suite);
            let label = format!("{name}.{}", suite.name);
            let mut models = Vec::new();
            if suite.kind == QUANTIZATION_DELTA {
                // A parent is as it is: only what an operator makes has a self in f32.
                let Some(candidate) = candidate else { continue };
                params["full"] = self.operator_params(candidate, true);
                models = self.sources_of(candidate);
            }
            let texts = self.training(name, candidate, &mut params);
            let mut draft = common(Draft::new(Kind::Eval, &label, &params)).after(smoke, Need::Pass);
            if let Some(cases) = &suite.cases {
                draft = draft.input("suite", From::File(cases.clone()));
            }
            if suite.kind == External::NAME {
                draft = draft.input("brought", From::Brought(introduction, evidence_name(&suite.name)));
            }
            for (ancestor, at, text) in texts {
                draft = draft.input(format!("text.{ancestor}.{at}"), From::File(text.path.clone()));
            }
            for model in models {
                draft = draft.input(format!("model.{model}"), model_of(self.origins[model]));
            }
            let eval = self.add(draft);
            self.evals.insert((name.clone(), suite.name.clone()), eval);
        }
    }

    /// The texts that a model's ancestors declare; who they are goes to the parameters.
    fn training(
        &self,
        name: &'p Name,
        candidate: Option<&'p Candidate>,
        params: &mut Value,
    ) -> Vec<(&'p Name, usize, &'p DeclaredText)> {
        let plan = self.plan;
        let mut everybody: Vec<&'p Name> = match candidate {
            Some(candidate) => ancestors(candidate),
            None => vec![name],
        };
        let bases: Vec<&'p Name> =
            everybody.iter().filter_map(|name| self.adapts.get(name).copied()).collect();
        everybody.extend(bases);
        everybody.sort();
        everybody.dedup();
        let of = |name: &Name| plan.texts.get(name).map(Vec::as_slice).unwrap_or_default();
        let digests = |name: &Name| of(name).iter().map(|text| text.sha256).collect::<Vec<_>>();
        let data: BTreeMap<&Name, _> = everybody.iter().map(|name| (*name, digests(name))).collect();
        params["data"] = json!(data);
        let texts = everybody.into_iter().flat_map(|name| {
            let texts = plan.texts.get(name).map(Vec::as_slice).unwrap_or_default();
            texts.iter().enumerate().map(move |(at, text)| (name, at, text))
        });
        texts.collect()
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
        let cases = self.plan.suites.iter().filter_map(|suite| Some((&suite.name, suite.cases.as_ref()?)));
        cases.fold(draft, |draft, (name, cases)| {
            draft.input(format!("suite.{name}"), From::File(cases.clone()))
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

    /// What an operator stage is told; `full` asks for the child in f32, as an `.slm` file.
    fn operator_params(&self, candidate: &Candidate, full: bool) -> Value {
        let params = json!({
            "candidate": candidate.name,
            "operator": bound_operator(candidate),
            "seed": self.plan.cycle.seed,
            "base": candidate.base,
            "parents": candidate.parents,
        });
        let mut params = self.with_form(params, candidate);
        if full {
            params["output"] = json!(Form { format: Target::Slm1, dtype: Some(DType::F32), shard: None });
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
    fn breed(&mut self, candidate: &'p Candidate, lineage: StageIndex, registration: StageIndex) -> Bred {
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

    /// From the gates to the end.
    fn judge(
        &mut self,
        candidate: &Candidate,
        compat: StageIndex,
        lineage: StageIndex,
        bred: Bred,
        comparisons: Option<StageIndex>,
    ) -> Ends {
        let name = &candidate.name;
        let promotion = self.promotion(candidate, compat, lineage, bred.manifest, comparisons);
        let params = json!({ "cycle": self.plan.cycle.name, "candidate": name });
        let draft = Draft::new(Kind::Admission, name.as_str(), &params).of(name).record_of(
            "promotion",
            promotion,
            Need::Verdict,
        );
        let admission = self.add(draft);
        Ends { operator: bred.operator, candidate: bred.manifest, lineage, promotion, admission }
    }

    /// The gates that ask for a confidence, of all candidates: they are decided together.
    fn comparisons(&mut self, bred: &[Bred]) -> Option<StageIndex> {
        let plan = self.plan;
        let (mut tests, mut wanted) = (Vec::new(), BTreeSet::new());
        let mut introduced: BTreeMap<String, StageIndex> = BTreeMap::new();
        for (candidate, bred) in plan.candidates.iter().zip(bred) {
            for gate in plan.gates.iter().filter(|gate| gate.is_for(candidate)) {
                let GateRule::Metric(rule) = &gate.rule else { continue };
                if rule.confidence.is_none() {
                    continue;
                }
                tests.push(json!({
                    "candidate": candidate.name,
                    "gate": gate.name,
                    "rule": gate.rule,
                    "parents": ancestors(candidate),
                }));
                introduced.insert(format!("candidate.{}", candidate.name), bred.manifest);
                let rivals = rivals_of(rule, candidate);
                for rival in &rivals {
                    introduced.insert(format!("source.{rival}"), self.sources[*rival]);
                }
                for model in rivals.into_iter().chain([&candidate.name]) {
                    wanted.extend(rule.suites.iter().map(|suite| (model.clone(), suite.clone())));
                }
            }
        }
        if tests.is_empty() {
            return None;
        }
        let params = json!({ "cycle": plan.cycle.name, "seed": plan.cycle.seed, "tests": tests });
        let mut draft = Draft::new(Kind::Eval, "comparisons", &params);
        for (name, stage) in introduced {
            draft = draft.record_of(name, stage, Need::End);
        }
        for (model, suite) in wanted {
            let Some(eval) = self.evals.get(&(model.clone(), suite.clone())).copied() else { continue };
            draft = draft.record_of(format!("eval.{model}.{suite}"), eval, Need::End);
            draft = draft.output_of(format!("outcomes.{model}.{suite}"), eval, "outcomes", Need::End);
        }
        Some(self.add(draft))
    }

    fn promotion(
        &mut self,
        candidate: &Candidate,
        compat: StageIndex,
        lineage: StageIndex,
        manifest: StageIndex,
        comparisons: Option<StageIndex>,
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
            // What another harness has not measured yet must not keep the other gates from deciding.
            let need = if suite.kind == External::NAME { Need::End } else { Need::Verdict };
            draft = draft.record_of(format!("eval.{}", suite.name), eval, need);
        }
        let mut rivals: BTreeMap<&Name, Vec<&Name>> = BTreeMap::new();
        let mut compared = false;
        for gate in plan.gates.iter().filter(|gate| gate.is_for(candidate)) {
            match &gate.rule {
                GateRule::Approval(_) => {
                    draft = draft
                        .input(format!("approval.{}", gate.name), From::Brought(manifest, gate.name.clone()));
                }
                GateRule::BrowserSmoke => {
                    draft = draft
                        .input(format!("browser.{}", gate.name), From::Brought(manifest, gate.name.clone()));
                }
                GateRule::Metric(rule) => {
                    if rule.confidence.is_some() {
                        compared = true;
                        continue;
                    }
                    for rival in rivals_of(rule, candidate) {
                        rivals.entry(rival).or_default().extend(&rule.suites);
                    }
                }
            }
        }
        if let Some(comparisons) = comparisons.filter(|_| compared) {
            draft = draft.record_of("comparisons", comparisons, Need::Verdict);
        }
        for (rival, mut suites) in rivals {
            draft = draft.record_of(format!("source.{rival}"), self.sources[rival], Need::Verdict);
            suites.sort();
            suites.dedup();
            for suite in suites {
                let Some(eval) = self.evals.get(&(rival.clone(), suite.clone())).copied() else { continue };
                draft = draft.record_of(format!("eval-of.{rival}.{suite}"), eval, Need::End);
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

    fn reviewed(&self, draft: Draft, name: &Name, introduction: StageIndex) -> Draft {
        let draft = draft.record_of(format!("introduction.{name}"), introduction, Need::End).record_of(
            format!("smoke.{name}"),
            self.smokes[name],
            Need::End,
        );
        self.plan.suites.iter().fold(draft, |draft, suite| {
            match self.evals.get(&(name.clone(), suite.name.clone())) {
                Some(eval) => draft.record_of(format!("eval.{name}.{}", suite.name), *eval, Need::End),
                None => draft,
            }
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

/// Whom a gate compares a candidate with.
fn rivals_of<'a>(rule: &'a MetricGate, candidate: &'a Candidate) -> Vec<&'a Name> {
    match &rule.versus {
        None => Vec::new(),
        Some(Versus::BestParent) => ancestors(candidate),
        Some(Versus::Parent(parent) | Versus::NoOp(parent)) => vec![parent],
    }
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
        "options": suite.options,
    })
}

/// The suites whose main metric is better when lower.
fn lower_is_better(plan: &Plan) -> Vec<&Name> {
    let lower = |suite: &&Suite| {
        let main = evaluate::find(suite.kind).and_then(|evaluator| evaluator.metrics().first());
        main.is_some_and(|metric| metric.better == Better::Lower)
    };
    plan.suites.iter().filter(lower).map(|suite| &suite.name).collect()
}

fn suite_params(suite: &Suite) -> Value {
    json!({ "name": suite.name, "kind": suite.kind, "options": suite.options, "use": suite.r#use })
}

fn gate_params(gate: &Gate) -> Value {
    debug_assert!(!RESERVED_GATES.contains(&gate.name.as_str()));
    serde_json::to_value(gate).expect("gates are plain values")
}

fn gates_of(plan: &Plan, candidate: &Candidate) -> Vec<Value> {
    plan.gates.iter().filter(|gate| gate.is_for(candidate)).map(gate_params).collect()
}
