//! Models and their tests: parents, the champion, and what is asked of everybody.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::draft::Draft;
use super::{Compiler, ancestors, model_of};
use crate::base::name::Name;
use crate::engine::graph::{From, Need, StageIndex};
use crate::evaluate::Measure;
use crate::evaluate::harness::{External, evidence_name};
use crate::evaluate::quantization_delta::QuantizationDelta;
use crate::plan::{CHAMPION, Candidate, DeclaredText, Origin, Role, Suite};
use crate::stage::Kind;

/// The evaluator that holds a child against itself in f32.
const QUANTIZATION_DELTA: &str = QuantizationDelta::NAME;

impl<'p> Compiler<'p> {
    pub(super) fn parents(&mut self) {
        for parent in &self.plan.parents {
            let role = if parent.role == Role::Base { "base" } else { "parent" };
            let mut params = source_params(&parent.name, role, &parent.origin);
            params["licence"] = json!(parent.licence);
            if let Some(adapts) = &parent.adapts {
                params["adapts"] = json!(adapts);
            }
            if let Origin::File { history, .. } = &parent.origin
                && !(history.licences.is_empty() && history.data.is_empty())
            {
                params["inherited"] = json!({ "licences": history.licences, "data": history.data });
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

    /// The champion is measured like a parent; nothing is made of it.
    pub(super) fn champion(&mut self) {
        let Some(champion) = &self.plan.champion else { return };
        let params = source_params(&champion.name, CHAMPION, &champion.origin);
        let model = model_of(&champion.origin);
        let draft = Draft::new(Kind::Source, champion.name.as_str(), &params).input("model", model.clone());
        let source = self.add(draft);
        self.sources.insert(champion.name.clone(), source);
        self.test(&champion.name, None, "source", source, &model, None);
    }

    /// Smoke and evaluations of one model.
    pub(super) fn test(
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
    pub(super) fn training(
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
}

fn source_params(name: &Name, role: &str, origin: &Origin) -> Value {
    let pool = match origin {
        Origin::File { .. } => Value::Null,
        Origin::Pool { cycle, parent } => json!({
            "cycle": cycle,
            "manifest": parent.manifest,
            "licences": parent.licences,
            "data": parent.data,
            "trained": parent.trained,
        }),
    };
    json!({ "name": name, "role": role, "licence": null, "pool": pool })
}

pub(super) fn eval_params(name: &Name, introduced_by: &str, suite: &Suite) -> Value {
    json!({
        "name": name,
        "introduced_by": introduced_by,
        "suite": suite.name,
        "kind": suite.kind,
        "options": suite.options,
    })
}
