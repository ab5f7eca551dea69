//! Part 7: `eval`: measures one model on one suite and keeps every outcome.
//!
//! Generating is the dear part and depends on the model's bytes and the suite alone, while the
//! sidecar also binds the candidate's manifest, which changes with every gate. So the outcomes are
//! cached under an action of their own: moving a gate makes new sidecars without a single token.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::smoke::IntroducedBy;
use super::{Action, Context, Kind, Made, Stage, StageError, Weight};
use crate::base::key::WriteKey;
use crate::base::name::Name;
use crate::evaluate::{self, EvaluateError, Evaluator, Generator, Metrics, Options, outcome};
use crate::record::Subject;
use crate::record::evaluation::{EvaluationSidecar, MeasuredSuite};
use crate::runtime::{GenerateOptions, Model, generate_batch};
use crate::store::{ActionResult, Blob, Verdict};

/// Whom to measure on what.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    pub(crate) name: Name,
    pub(crate) introduced_by: IntroducedBy,
    pub(crate) suite: Name,
    pub(crate) kind: String,
    pub(crate) max_tokens: u64,
}

pub(super) struct EvalStage;

impl Stage for EvalStage {
    fn kind(&self) -> Kind {
        Kind::Eval
    }

    fn version(&self) -> u32 {
        1
    }

    fn weight(&self) -> Weight {
        Weight::Heavy
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        let params: Params = context.params()?;
        let (subject, _) = params.introduced_by.subject(context, &params.name)?;
        let evaluator = evaluate::find(&params.kind)
            .ok_or_else(|| StageError::Refused(format!("this program has no evaluator `{}`", params.kind)))?;
        let cases = context.store.read(&context.input("suite")?)?;
        let suite = evaluate::Suite::parse(&cases)?;
        let outcomes = outcomes(context, &params, evaluator, &suite)?;
        let bytes = context.store.read(&outcomes.digest)?;
        let metrics = evaluator.recheck(&suite, &outcome::from_jsonl(&bytes)?)?;
        let summary = summary(&metrics);
        let sidecar = EvaluationSidecar {
            subject,
            suite: MeasuredSuite {
                name: params.suite,
                kind: params.kind,
                cases: Subject::of(&cases),
                n: suite.cases.len() as u64,
                max_tokens: params.max_tokens,
            },
            outcomes: Subject::of(&bytes),
            metrics,
            contamination: "unknown".to_owned(),
        };
        let outputs = BTreeMap::from([
            ("outcomes".to_owned(), outcomes),
            ("record".to_owned(), context.put_record(&sidecar)?),
        ]);
        Ok(Made { outputs, verdict: Verdict::Pass, summary })
    }
}

fn summary(metrics: &Metrics) -> String {
    let rows = metrics.iter();
    let rows = rows
        .map(|(name, metric)| format!("{name} {:.3} ± {:.3} (n {})", metric.value, metric.stderr, metric.n));
    rows.collect::<Vec<_>>().join(", ")
}

/// Cases asked between two looks at whether to stop.
const BATCH: usize = 256;

/// The outcomes file, from the cache or made now.
fn outcomes(
    context: &Context<'_>,
    params: &Params,
    evaluator: &dyn Evaluator,
    suite: &evaluate::Suite,
) -> Result<Blob, StageError> {
    let mut inputs = BTreeMap::new();
    for name in ["artifact", "suite"] {
        inputs.insert(name.to_owned(), context.input(name)?);
    }
    inputs.extend(context.optional("base").map(|base| ("base".to_owned(), base)));
    let action = Action {
        kind: "outcomes".to_owned(),
        version: evaluator.version(),
        params: serde_json::json!({ "kind": params.kind, "max_tokens": params.max_tokens }),
        inputs,
    };
    let key = action.action_key();
    if let Some(hit) = context.store.lookup(&key)?
        && let Some(outcomes) = hit.outputs.get("outcomes")
    {
        return Ok(*outcomes);
    }
    let runnable = context.tested()?.runnable(&params.name)?;
    let checkpoint = runnable
        .map_err(|why| StageError::Refused(format!("`{}` cannot be run here: {why}", params.name)))?;
    let model = Model::new(Arc::new(checkpoint))?;
    let speaker = Speaker { model, context };
    let options = Options { max_tokens: params.max_tokens as usize, batch: BATCH };
    let evaluation = evaluator.evaluate(suite, &speaker, options).map_err(|error| match error {
        EvaluateError::Generate { .. } if (context.cancelled)() => StageError::Cancelled,
        other => other.into(),
    })?;
    let blob = context.store.put(&outcome::to_jsonl(&evaluation.outcomes))?;
    let result = ActionResult {
        outputs: BTreeMap::from([("outcomes".to_owned(), blob)]),
        verdict: Verdict::Pass,
        summary: format!("{} cases", suite.cases.len()),
    };
    context.store.record_action(&key, &result)?;
    Ok(blob)
}

/// The model as an evaluator sees it.
struct Speaker<'a> {
    model: Model,
    context: &'a Context<'a>,
}

impl Generator for Speaker<'_> {
    fn generate(
        &self,
        prompts: &[&str],
        max_tokens: usize,
    ) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
        self.context.go_on()?;
        let options = GenerateOptions::greedy(max_tokens);
        let generations = generate_batch(&self.model, prompts, &options);
        generations.into_iter().map(|generation| Ok(generation?.text)).collect()
    }
}
