//! Part 6: `smoke`: loads a model and runs it twice: finite numbers, the same ones both times.

mod possible;

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::adapter::Whole;
use super::{Context, Kind, Made, Stage, StageError, Weight};
use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;
use crate::model::{Checkpoint, ModelConfig};
use crate::record::candidate::CandidateManifest;
use crate::record::receipt::OperatorReceipt;
use crate::record::smoke::{Evaluated, PromptRun, RuntimeSmoke};
use crate::record::source::SourceArtifact;
use crate::runtime::{GenerateOptions, Model, RuntimeError, Session, generate};
use crate::store::{ActionResult, Verdict};

/// What to ask of whom.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    pub(crate) name: Name,
    /// Which record introduces it.
    pub(crate) introduced_by: IntroducedBy,
    pub(crate) prompts: Vec<String>,
    pub(crate) max_tokens: u64,
}

/// The record that introduces a model to its tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IntroducedBy {
    /// A candidate manifest.
    Manifest,
    /// A source record.
    Source,
    /// An operator receipt: a trial on the way to a candidate has no manifest.
    Receipt,
}

impl IntroducedBy {
    /// Who is tested, by the record given as the input `introduction`, and how long it is.
    pub(super) fn subject(self, context: &Context<'_>, name: &Name) -> Result<(Evaluated, u64), StageError> {
        let (manifest, artifact): (Sha256, _) = match self {
            Self::Manifest => {
                let (manifest, subject) = context.record::<CandidateManifest>("introduction")?;
                (subject.sha256, manifest.artifact)
            }
            Self::Source => {
                let (source, subject) = context.record::<SourceArtifact>("introduction")?;
                (subject.sha256, source.artifact)
            }
            Self::Receipt => {
                let (receipt, subject) = context.record::<OperatorReceipt>("introduction")?;
                if receipt.output.digest != context.input("artifact")? {
                    return Err(StageError::Refused(format!(
                        "the receipt of `{name}` is of another artifact"
                    )));
                }
                (subject.sha256, context.artifact("artifact", &context.model("artifact")?)?)
            }
        };
        if artifact.blake3 != context.input("artifact")? {
            return Err(StageError::Refused(format!("the record of `{name}` is about another artifact")));
        }
        let evaluated = Evaluated { name: name.clone(), manifest, artifact: artifact.sha256 };
        Ok((evaluated, artifact.bytes))
    }
}

pub(super) struct SmokeStage;

impl Stage for SmokeStage {
    fn kind(&self) -> Kind {
        Kind::Smoke
    }

    fn version(&self) -> u32 {
        5
    }

    fn weight(&self) -> Weight {
        Weight::Heavy
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        let params: Params = context.params()?;
        let (subject, artifact_bytes) = params.introduced_by.subject(context, &params.name)?;
        let checkpoint = match context.tested()?.runnable(&params.name)? {
            Ok(checkpoint) => checkpoint,
            Err(why) => return cannot_run(context, subject, artifact_bytes, &why),
        };
        let cache_bytes = cache_bytes(&checkpoint.config);
        let model = Model::new(Arc::new(checkpoint))?;
        let mut prompts = Vec::new();
        for prompt in &params.prompts {
            context.go_on()?;
            prompts.push(run_twice(&model, prompt, params.max_tokens));
        }
        let passed = prompts.iter().all(|run| run.complaint().is_none());
        let record = RuntimeSmoke {
            subject,
            runtime: runtime(),
            prompts,
            artifact_bytes,
            cache_bytes,
            quality_claim: RAN.to_owned(),
            cannot_run: None,
            passed,
        };
        let (verdict, summary) = concluded(&record);
        context.made(&record, verdict, summary)
    }

    /// Everything was asked that was to be asked, of this model, it could be answered so, and it came to what the record
    /// says. No model is run: whether it would answer so, only running it again tells. Who is about to be refused for
    /// good by it is run again.
    fn recheck(&self, context: &Context<'_>, result: &ActionResult) -> Result<(), StageError> {
        let refuse = |why: &str| Err(StageError::Refused(why.to_owned()));
        let Some((smoke, _)) = context.record_of::<RuntimeSmoke>(result)? else {
            return refuse("it made no record");
        };
        held(context, &smoke)?;
        if (&result.verdict, &result.summary) != (&concluded(&smoke).0, &concluded(&smoke).1) {
            return refuse("the result says something else than its record");
        }
        if context.fresh && matches!(result.verdict, Verdict::Reject(_)) {
            let again: ActionResult = self.run(context)?.into();
            let again = context.record_of::<RuntimeSmoke>(&again)?.map(|(record, _)| record);
            let said = |smoke: &RuntimeSmoke| (smoke.prompts.clone(), smoke.cannot_run.clone());
            if again.as_ref().map(said) != Some(said(&smoke)) {
                return refuse("run again, the model does otherwise than the record says");
            }
        }
        Ok(())
    }
}

/// Whether a record is of this model, of these prompts, and one that can be.
pub(crate) fn held(context: &Context<'_>, smoke: &RuntimeSmoke) -> Result<(), StageError> {
    let refuse = |why: &str| Err(StageError::Refused(why.to_owned()));
    let params: Params = context.params()?;
    let (subject, artifact_bytes) = params.introduced_by.subject(context, &params.name)?;
    if (&smoke.subject, smoke.artifact_bytes) != (&subject, artifact_bytes) {
        return refuse("the record is of another model");
    }
    let (claim, prompts) = match &smoke.cannot_run {
        Some(_) => (NOT_RUN, [].as_slice()),
        None => (RAN, params.prompts.as_slice()),
    };
    if !smoke.prompts.iter().map(|run| &run.prompt).eq(prompts) || smoke.quality_claim != claim {
        return refuse("the record is of other prompts");
    }
    let opened = opened(context, &params.name)?;
    if let Some(why) = opened_otherwise(context, &opened, smoke) {
        return refuse(&why);
    }
    if let Some(why) = possible::impossible(smoke, opened.as_ref().ok(), params.max_tokens) {
        return refuse(&why);
    }
    let clean = smoke.prompts.iter().all(|run| run.complaint().is_none());
    if smoke.passed != (clean && smoke.cannot_run.is_none()) {
        return refuse("the prompts come to something else than the record says");
    }
    Ok(())
}

/// Bytes of keys and values for one full context, in f32.
fn cache_bytes(config: &ModelConfig) -> u64 {
    let numbers = 2 * u64::from(config.layer_count) * u64::from(config.max_context);
    4 * numbers * u64::from(config.kv_head_count) * u64::from(config.head_dim)
}

/// The model as its file says, which is opened for that and not run. An adapter changes neither dimensions nor tokens,
/// so the model it is added to is enough; whether the two can be run together is not asked.
fn opened(context: &Context<'_>, name: &Name) -> Result<Result<Checkpoint, String>, StageError> {
    let adapted = context.optional("base").is_some();
    let model = context.model(if adapted { "base" } else { "artifact" })?;
    Whole { model, adapter: None }.runnable(name)
}

/// What a record says of a model otherwise than its file.
fn opened_otherwise(
    context: &Context<'_>,
    opened: &Result<Checkpoint, String>,
    smoke: &RuntimeSmoke,
) -> Option<String> {
    let (cache, as_said) = match (opened, &smoke.cannot_run) {
        (Ok(checkpoint), None) => (cache_bytes(&checkpoint.config), true),
        (Ok(_), Some(_)) => (0, context.optional("base").is_some()),
        (Err(_), said) => (0, said.is_some()),
    };
    if !as_said {
        Some("whether the model can be run here is not what the record says".to_owned())
    } else if smoke.cache_bytes != cache {
        let found = smoke.cache_bytes;
        Some(format!("the model's keys and values take {cache} bytes, the record says {found}"))
    } else {
        None
    }
}

/// What may be claimed of a model that ran, and of one that did not.
const RAN: &str = "runtime-execution-smoke-only";
const NOT_RUN: &str = "not-run";
/// What ran it, around the version.
const PROGRAM: &str = "studbook ";
const NATIVE: &str = " native";

fn runtime() -> String {
    format!("{PROGRAM}{}{NATIVE}", env!("CARGO_PKG_VERSION"))
}

/// A model that this runtime does not run is no failure of the cycle; it is refused, with the reason.
fn cannot_run(
    context: &Context<'_>,
    subject: Evaluated,
    artifact_bytes: u64,
    why: &str,
) -> Result<Made, StageError> {
    let record = RuntimeSmoke {
        subject,
        runtime: runtime(),
        prompts: Vec::new(),
        artifact_bytes,
        cache_bytes: 0,
        quality_claim: NOT_RUN.to_owned(),
        cannot_run: Some(why.to_owned()),
        passed: false,
    };
    let (verdict, summary) = concluded(&record);
    context.made(&record, verdict, summary)
}

/// What follows from a record.
fn concluded(record: &RuntimeSmoke) -> (Verdict, String) {
    if let Some(why) = &record.cannot_run {
        let reason = format!("cannot be run here: {why}");
        return (Verdict::Reject(vec![reason.clone()]), reason);
    }
    let reasons: Vec<String> = record.prompts.iter().filter_map(PromptRun::complaint).collect();
    let summary = match (reasons.first(), record.prompts.first()) {
        (Some(reason), _) => format!("does not run cleanly: {reason}"),
        (None, Some(run)) => format!("{} -> {}", run.prompt, run.text),
        (None, None) => "no prompts".to_owned(),
    };
    (if reasons.is_empty() { Verdict::Pass } else { Verdict::Reject(reasons) }, summary)
}

fn run_twice(model: &Model, prompt: &str, max_tokens: u64) -> PromptRun {
    let failed = |error: &RuntimeError| PromptRun {
        prompt: prompt.to_owned(),
        finite: false,
        deterministic: false,
        tokens: Vec::new(),
        text: String::new(),
        logits: None,
        error: Some(error.to_string()),
    };
    let runs =
        run_once(model, prompt, max_tokens).and_then(|one| Ok((one, run_once(model, prompt, max_tokens)?)));
    let ((logits, tokens, text), again) = match runs {
        Ok(runs) => runs,
        Err(error) => return failed(&error),
    };
    let bits = |logits: &[f32]| -> Vec<u8> { logits.iter().flat_map(|logit| logit.to_le_bytes()).collect() };
    let finite = logits.iter().all(|logit| logit.is_finite());
    PromptRun {
        prompt: prompt.to_owned(),
        finite,
        deterministic: bits(&logits) == bits(&again.0) && tokens == again.1,
        logits: finite.then(|| Digest::of(&bits(&logits))),
        tokens,
        text,
        error: None,
    }
}

type Run = (Vec<f32>, Vec<u32>, String);

fn run_once(model: &Model, prompt: &str, max_tokens: u64) -> Result<Run, RuntimeError> {
    let tokens = model.checkpoint().tokenizer.encode_prompt(prompt).map_err(RuntimeError::Text)?;
    let mut session = Session::new(model, tokens.len())?;
    let logits = session.feed(&tokens)?.to_vec();
    let options = GenerateOptions::greedy(max_tokens as usize);
    let generation = generate(model, prompt, &options, &mut |_, _| ControlFlow::Continue(()))?;
    Ok((logits, generation.tokens, generation.text))
}
