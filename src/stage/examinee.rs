//! A model as evaluators see it: opened when the first question comes, run by the runtime.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::adapter::Whole;
use super::eval::Params;
use super::{Action, Context, Kind, StageError, stage};
use crate::base::key::WriteKey;
use crate::base::name::Name;
use crate::evaluate::{Evaluator, Examinee, Options, Trouble};
use crate::runtime::resources::{Resources, resources};
use crate::runtime::score::{self, Divergence, Likelihood, Question, Reading, Windows};
use crate::runtime::{self, GenerateOptions, generate_batch};
use crate::store::ActionResult;

/// The model under test, and itself in f32 where that is asked for.
pub(super) struct Model<'a> {
    context: &'a Context<'a>,
    params: &'a Params,
    model: OnceCell<runtime::Model>,
    full: OnceCell<runtime::Model>,
}

impl<'a> Model<'a> {
    pub(super) fn new(context: &'a Context<'a>, params: &'a Params) -> Self {
        Self { context, params, model: OnceCell::new(), full: OnceCell::new() }
    }

    fn model(&self) -> Result<&runtime::Model, StageError> {
        if let Some(model) = self.model.get() {
            return Ok(model);
        }
        let name = &self.params.name;
        let checkpoint = self.context.tested()?.runnable(name)?;
        let checkpoint = checkpoint.map_err(|why| cannot_run(name, &why))?;
        let model = runtime::Model::new(Arc::new(checkpoint))?;
        Ok(self.model.get_or_init(|| model))
    }

    /// How its cases are asked, with what a plan leaves unsaid.
    pub(super) fn effective(&self, evaluator: &dyn Evaluator) -> Result<Options, StageError> {
        self.params.options.effective(evaluator.options(), || {
            let name = &self.params.name;
            let checkpoint = self.context.tested()?.runnable(name)?;
            let checkpoint = checkpoint.map_err(|why| cannot_run(name, &why))?;
            Ok(u64::from(checkpoint.config.max_context))
        })
    }

    /// The model in f32: made as an operator stage of a plan with that output would make it, and
    /// cached as such. It has the model's own format, so nothing differs but how numbers are stored.
    fn full(&self) -> Result<&runtime::Model, StageError> {
        if let Some(model) = self.full.get() {
            return Ok(model);
        }
        let name = &self.params.name;
        let checkpoint = self.make_full()?.runnable(name)?;
        let checkpoint = checkpoint.map_err(|why| cannot_run(name, &why))?;
        let model = runtime::Model::new(Arc::new(checkpoint))?;
        Ok(self.full.get_or_init(|| model))
    }

    fn make_full(&self) -> Result<Whole, StageError> {
        let context = self.context;
        let Some(params) = &self.params.full else {
            let why = format!("`{}` was not made by an operator; it has no self in f32", self.params.name);
            return Err(StageError::Refused(why));
        };
        let models: BTreeMap<_, _> = context
            .action
            .inputs
            .iter()
            .filter(|(name, _)| name.starts_with("model."))
            .map(|(name, digest)| (name.clone(), *digest))
            .collect();
        let operator = stage(Kind::Operator);
        let action = Action {
            kind: Kind::Operator.name().to_owned(),
            version: operator.version(),
            params: params.clone(),
            inputs: models,
        };
        let key = action.action_key();
        let known = if context.fresh { None } else { context.store.lookup(&key)? };
        let made = match known {
            Some(made) => made,
            None => {
                let made = ActionResult::from(operator.run(&Context { action: &action, ..*context })?);
                if !context.fresh {
                    context.store.record_action(&key, &made)?;
                }
                made
            }
        };
        let artifact = made.outputs.get("artifact");
        let artifact = artifact.ok_or_else(|| StageError::Refused("an operator made nothing".to_owned()))?;
        Ok(Whole { model: context.store.open_model(&artifact.digest)?, adapter: None })
    }
}

fn cannot_run(name: &Name, why: &dyn std::fmt::Display) -> StageError {
    StageError::Refused(format!("`{name}` cannot be run here: {why}"))
}

/// The windows that a plan says, or those that follow from the model.
fn windows(options: &Options, model: &runtime::Model) -> Windows {
    let context = model.dimensions().context as u64;
    let Ok(all) = options.effective(&["window"], || Ok::<_, std::convert::Infallible>(context));
    Windows { window: all.window.unwrap_or(context) as usize, stride: all.stride.unwrap_or(context) as usize }
}

impl Examinee for Model<'_> {
    fn generate(&self, prompts: &[&str], options: &Options) -> Result<Vec<String>, Trouble> {
        // The runtime knows one stop text; of several, the answer is cut afterwards.
        let stop = match options.stop.as_deref() {
            Some([one]) => Some(one.clone()),
            _ => None,
        };
        let options = GenerateOptions { stop, ..GenerateOptions::greedy(options.max_tokens()) };
        let generations = generate_batch(self.model()?, prompts, &options);
        generations.into_iter().map(|generation| Ok(generation?.text)).collect()
    }

    fn likelihoods(&self, questions: &[Question]) -> Result<Vec<Vec<Likelihood>>, Trouble> {
        let found = score::likelihoods(self.model()?, questions);
        found.into_iter().map(|found| Ok(found?)).collect()
    }

    fn read(&self, texts: &[&str], options: &Options) -> Result<Vec<Reading>, Trouble> {
        let model = self.model()?;
        Ok(score::read(model, texts, windows(options, model))?)
    }

    fn diverge(&self, texts: &[&str], options: &Options) -> Result<Vec<Divergence>, Trouble> {
        let model = self.model()?;
        Ok(score::divergences(model, self.full()?, texts, windows(options, model))?)
    }

    fn resources(&self, prompt: u64, new: u64) -> Result<Resources, Trouble> {
        Ok(resources(self.model()?, prompt, new)?)
    }
}
