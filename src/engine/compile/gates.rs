//! Gates: what each needs to be decided, and what follows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::candidates::gates_of;
use super::draft::Draft;
use super::{Bred, Compiler, Ends, ancestors};
use crate::base::name::Name;
use crate::engine::graph::{From, Need, StageIndex};
use crate::evaluate::Measure;
use crate::evaluate::harness::External;
use crate::plan::{Candidate, GateRule, MetricGate, Plan, Versus};
use crate::record::comparison::GateComparisons;
use crate::stage::Kind;

impl Compiler<'_> {
    /// From the gates to the end.
    pub(super) fn judge(
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
    pub(super) fn comparisons(&mut self, bred: &[Bred]) -> Option<StageIndex> {
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
                let rivals = rivals_of(plan, rule, candidate);
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
        let mut draft = Draft::new(Kind::Eval, GateComparisons::LABEL, &params);
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

    pub(super) fn promotion(
        &mut self,
        candidate: &Candidate,
        compat: StageIndex,
        lineage: StageIndex,
        manifest: StageIndex,
        comparisons: Option<StageIndex>,
    ) -> StageIndex {
        let plan = self.plan;
        let name = &candidate.name;
        let mut params = json!({
            "cycle": plan.cycle.name,
            "candidate": name,
            "parents": ancestors(candidate),
            "gates": gates_of(plan, candidate),
        });
        let mut gates = plan.gates.iter().filter(|gate| gate.is_for(candidate));
        if gates.any(|gate| matches!(gate.rule, GateRule::BrowserSmoke)) {
            params["browser_runtime"] = json!(crate::registry::site::runtime_sha256());
        }
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
                    for rival in rivals_of(plan, rule, candidate) {
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
}

/// Whom a gate compares a candidate with.
pub(in crate::engine) fn rivals_of<'a>(
    plan: &'a Plan,
    rule: &'a MetricGate,
    candidate: &'a Candidate,
) -> Vec<&'a Name> {
    match rule.versus.as_ref().and_then(Versus::settled) {
        None => Vec::new(),
        Some(Versus::Champion { .. }) => plan.champion.iter().map(|champion| &champion.name).collect(),
        Some(Versus::BestParent) => ancestors(candidate),
        Some(Versus::Parent(parent) | Versus::NoOp(parent)) => vec![parent],
    }
}
