//! Operator stages, and the trials of greedy soups that come before theirs.

use serde_json::{Value, json};

use super::draft::Draft;
use super::models::eval_params;
use super::{Bound, Compiler, model_of};
use crate::engine::graph::{From, Need, StageIndex};
use crate::plan::Candidate;
use crate::stage::{Greedy, Kind, trial};

impl<'p> Compiler<'p> {
    /// An operator stage. What binds it comes first, but is not hashed: a moved gate does not change what is
    /// computed.
    pub(super) fn operator(&self, candidate: &Candidate, label: &str, params: &Value, bound: Bound) -> Draft {
        let mut draft = Draft::new(Kind::Operator, label, params)
            .of(&candidate.name)
            .after(bound.lineage, Need::Pass)
            .after(bound.registration, Need::Pass);
        for ancestor in self.sources_of(candidate) {
            draft = draft.input(format!("model.{ancestor}"), model_of(self.origins[ancestor]));
            draft = draft.after(self.sources[ancestor], Need::Pass);
        }
        draft
    }

    /// The steps of a greedy soup: a soup with one parent more, and its evaluation, once for each parent
    /// but the best. Which parent that is, a step learns from the evaluations before it.
    pub(super) fn trials(
        &mut self,
        candidate: &'p Candidate,
        params: &mut Value,
        bound: Bound,
    ) -> Vec<StageIndex> {
        let Some((metric, suite)) = candidate.selection() else { return Vec::new() };
        let plan = self.plan;
        let suite = plan.suites.iter().find(|declared| declared.name.as_str() == suite);
        let suite = suite.expect("suites are resolved");
        let step = |trials: usize, is_trial: bool| {
            json!(Greedy {
                metric: metric.to_owned(),
                suite: suite.name.clone(),
                trials: trials as u64,
                is_trial
            })
        };
        let mut evals: Vec<StageIndex> = Vec::new();
        for number in 1..candidate.parents.len() {
            let label = format!("{}+trial-{number}", candidate.name);
            params["greedy"] = step(evals.len(), true);
            let draft = self.operator(candidate, &label, params, bound);
            let soup = self.add(self.with_trials(draft, candidate, &evals));
            let mut params = eval_params(&candidate.name, "receipt", suite);
            let texts = self.training(&candidate.name, Some(candidate), &mut params);
            let mut draft = Draft::new(Kind::Eval, &format!("{label}.{}", suite.name), &params)
                .of(&candidate.name)
                .record_of("introduction", soup, Need::Pass)
                .output_of("artifact", soup, "artifact", Need::Pass);
            if let Some(cases) = &suite.cases {
                draft = draft.input("suite", From::File(cases.clone()));
            }
            for (ancestor, at, text) in texts {
                draft = draft.input(format!("text.{ancestor}.{at}"), From::File(text.path.clone()));
            }
            evals.push(self.add(draft));
        }
        params["greedy"] = step(evals.len(), false);
        evals
    }

    /// With the evaluations that choose the parents of a greedy soup: the parents' own, and the trials'.
    pub(super) fn with_trials(
        &self,
        mut draft: Draft,
        candidate: &Candidate,
        trials: &[StageIndex],
    ) -> Draft {
        let Some((_, suite)) = candidate.selection() else { return draft };
        for parent in &candidate.parents {
            let eval = self.evals.iter().find(|((model, of), _)| model == parent && of.as_str() == suite);
            draft = draft.record_of(
                format!("eval.{parent}"),
                *eval.expect("parents are evaluated").1,
                Need::Pass,
            );
        }
        for (index, eval) in trials.iter().enumerate() {
            draft = draft.record_of(trial(index as u64), *eval, Need::Pass);
        }
        draft
    }
}
