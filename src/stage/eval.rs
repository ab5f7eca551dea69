//! Part 7: `eval`: measures one model on one suite and keeps every outcome.
//!
//! Asking is the dear part and depends on the model's bytes and the suite alone, while the sidecar
//! also binds the candidate's manifest, which changes with every gate. So the outcomes are cached
//! under an action of their own: moving a gate makes new sidecars without a single token. A long
//! suite is asked in batches, each cached as soon as it is answered: who stops loses the batch that
//! ran, and the rest is the same to the bit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::comparison;
use super::examinee::Model;
use super::external;
use super::smoke::IntroducedBy;
use super::{Action, Context, Kind, Made, Stage, StageError, Weight};
use crate::base::canonical;
use crate::base::digest::Sha256;
use crate::base::key::WriteKey;
use crate::base::name::Name;
use crate::evaluate::contamination::{self, Contamination};
use crate::evaluate::harness::External;
use crate::evaluate::{self, Case, EvaluateError, Evaluator, Measure, Metric, Metrics, Options, outcome};
use crate::record::Subject;
use crate::record::evaluation::{EvaluationSidecar, MeasuredSuite};
use crate::store::{ActionResult, Blob, Store, StoreError, Verdict};

/// Whom to measure on what.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    pub(crate) name: Name,
    pub(crate) introduced_by: IntroducedBy,
    pub(crate) suite: Name,
    pub(crate) kind: String,
    pub(crate) options: Options,
    /// How the model itself is made in f32, if it is to be held against that: the parameters of an
    /// operator stage whose models are inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) full: Option<Value>,
    /// Everybody whose bytes the model is made of, and the training texts that each declares.
    #[serde(default)]
    pub(crate) data: BTreeMap<Name, Vec<Sha256>>,
}

pub(super) struct EvalStage;

impl Stage for EvalStage {
    fn kind(&self) -> Kind {
        Kind::Eval
    }

    fn version(&self) -> u32 {
        8
    }

    fn weight(&self) -> Weight {
        Weight::Shared
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        if context.action.params.get("tests").is_some() {
            return comparison::run(context, &context.params()?);
        }
        let params: Params = context.params()?;
        let (subject, _) = params.introduced_by.subject(context, &params.name)?;
        let evaluator = evaluate::find(&params.kind)
            .ok_or_else(|| StageError::Refused(format!("this program has no evaluator `{}`", params.kind)))?;
        if params.kind == External::NAME {
            return external::run(context, params, subject);
        }
        let cases = context.store.read(&context.input("suite")?)?;
        let suite = evaluate::Suite::parse(evaluator, &cases)?;
        let outcomes = outcomes(context, &params, evaluator, &suite)?;
        let bytes = context.store.read_up_to(&outcomes.digest, outcome::MAX_OUTCOMES)?;
        let metrics = evaluator.recheck(&suite, &outcome::from_jsonl(&bytes)?, &params.options)?;
        let summary = summary(&metrics);
        let contamination = contamination(context, &params, &suite)?;
        let options = Model::new(context, &params).effective(evaluator)?;
        let sidecar = EvaluationSidecar {
            subject,
            suite: MeasuredSuite {
                name: params.suite,
                kind: params.kind,
                cases: Subject::of(&cases),
                asked: None,
                n: suite.cases.len() as u64,
                options,
            },
            outcomes: Subject::of(&bytes),
            metrics,
            contamination,
        };
        let outputs = BTreeMap::from([
            ("outcomes".to_owned(), outcomes),
            ("record".to_owned(), context.put_record(&sidecar)?),
        ]);
        Ok(Made { outputs, verdict: Verdict::Pass, summary })
    }

    /// What a sidecar says must be what its own outcomes come to. No model is asked: whether those are what it
    /// would answer, only asking again tells.
    fn recheck(&self, context: &Context<'_>, result: &ActionResult) -> Result<(), StageError> {
        if !is_asked(context.action) {
            return Ok(());
        }
        recheck(context, &context.params()?, result)
    }
}

fn recheck(context: &Context<'_>, params: &Params, result: &ActionResult) -> Result<(), StageError> {
    let refuse = |why: &str| Err(StageError::Refused(why.to_owned()));
    let (subject, _) = params.introduced_by.subject(context, &params.name)?;
    let evaluator = evaluate::find(&params.kind)
        .ok_or_else(|| StageError::Refused(format!("this program has no evaluator `{}`", params.kind)))?;
    let Some((sidecar, _)) = context.record_of::<EvaluationSidecar>(result)? else {
        return refuse("it made no sidecar");
    };
    let Some(outcomes) = result.outputs.get("outcomes") else { return refuse("it kept no outcomes") };
    let bytes = context.store.read_up_to(&outcomes.digest, outcome::MAX_OUTCOMES)?;
    if Subject::of(&bytes) != sidecar.outcomes {
        return refuse("the outcomes are not those that the sidecar binds");
    }
    let cases = context.store.read(&context.input("suite")?)?;
    let suite = evaluate::Suite::parse(evaluator, &cases)?;
    let asked = &sidecar.suite;
    let options = Model::new(context, params).effective(evaluator)?;
    if asked.options != options {
        return refuse("the sidecar says that its cases were asked with other options");
    }
    let is_ours = sidecar.subject == subject
        && (&asked.name, &asked.kind) == (&params.suite, &params.kind)
        && (asked.cases, asked.asked, asked.n) == (Subject::of(&cases), None, suite.cases.len() as u64);
    if !is_ours {
        return refuse("the sidecar is of another model or suite");
    }
    let metrics = evaluator.recheck(&suite, &outcome::from_jsonl(&bytes)?, &params.options)?;
    if metrics != sidecar.metrics || result.summary != summary(&metrics) {
        return refuse("the outcomes come to other metrics than the sidecar says");
    }
    // What was found once may have been put there, too: the texts are searched again.
    if contamination(&Context { fresh: true, ..*context }, params, &suite)? != sidecar.contamination {
        return refuse(
            "looked for in the training texts, its cases are found in other places than the sidecar says",
        );
    }
    Ok(())
}

pub(super) fn summary(metrics: &Metrics) -> String {
    let row = |(name, Metric { value, n, stderr }): (&String, &Metric)| match stderr {
        // A divergence may be far below what three digits show.
        Some(stderr) if *value > 0.0 && *value < 0.01 => {
            format!("{name} {value:.2e} ± {stderr:.2e} (n {n})")
        }
        Some(stderr) => format!("{name} {value:.3} ± {stderr:.3} (n {n})"),
        None => format!("{name} {value:.3} (n {n})"),
    };
    metrics.iter().map(row).collect::<Vec<_>>().join(", ")
}

/// Looks for the cases in the declared training texts. The search is cached by what it searches.
fn contamination(
    context: &Context<'_>,
    params: &Params,
    suite: &evaluate::Suite,
) -> Result<Contamination, StageError> {
    let undeclared = params.data.iter().filter(|(_, texts)| texts.is_empty()).map(|(name, _)| name.clone());
    let undeclared: Vec<Name> = undeclared.collect();
    let declared: Vec<(String, Sha256)> = params
        .data
        .iter()
        .flat_map(|(name, texts)| {
            texts.iter().enumerate().map(move |(at, sha256)| (format!("text.{name}.{at}"), *sha256))
        })
        .collect();
    let searched: Vec<Sha256> = declared.iter().map(|(_, sha256)| *sha256).collect();
    if declared.is_empty() {
        return Ok(Contamination::of(undeclared, searched, &[]));
    }
    let is_input = |name: &str| name == "suite" || name.starts_with("text.");
    let inputs = context.action.inputs.iter().filter(|(name, _)| is_input(name));
    let action = Action {
        kind: "contamination".to_owned(),
        version: 2,
        params: serde_json::json!({ "words": contamination::WORDS, "bytes": contamination::BYTES, "kind": params.kind }),
        inputs: inputs.map(|(name, digest)| (name.clone(), *digest)).collect(),
    };
    let found = cached(context, &action, "a search for cases", Store::put, || {
        let mut texts = Vec::new();
        for (input, sha256) in &declared {
            // As long as texts for training are: no document.
            let text = context.store.map(&context.input(input)?)?;
            if Sha256::of(text.as_ref().as_ref()) != *sha256 {
                let why = format!("the training text `{input}` is not the one its source manifest declares");
                return Err(StageError::Refused(why));
            }
            texts.push(text);
        }
        let searched: Vec<&[u8]> = texts.iter().map(|text| text.as_ref().as_ref()).collect();
        let names = contamination::overlapping(&suite.cases, &searched, &|| context.go_on())?;
        if texts.iter().any(|text| !text.unchanged()) {
            let why = "a training text changed while cases were looked for in it: run again";
            return Err(StageError::Refused(why.to_owned()));
        }
        Ok(serde_json::to_vec(&names).expect("names are texts"))
    })?;
    let names: Vec<Name> = canonical::from_slice(&context.store.read(&found.digest)?)
        .map_err(|error| StageError::Refused(format!("the overlapping cases: {error}")))?;
    Ok(Contamination::of(undeclared, searched, &names))
}

/// Cases asked between two looks at whether to stop, and cached together.
const BATCH: usize = 64;

/// The outcomes file, from the cache or made now.
fn outcomes(
    context: &Context<'_>,
    params: &Params,
    evaluator: &dyn Evaluator,
    suite: &evaluate::Suite,
) -> Result<Blob, StageError> {
    let whole = action(context, params, evaluator, "outcomes", None);
    cached(context, &whole, "outcomes", Store::put, || {
        let model = Model::new(context, params);
        let mut all = Vec::new();
        for (number, cases) in suite.cases.chunks(BATCH).enumerate() {
            context.go_on()?;
            if suite.cases.len() <= BATCH {
                all.extend(ask(context, evaluator, cases, &model, &params.options)?);
                continue;
            }
            let first = number * BATCH;
            (context.progress)(first as u64, suite.cases.len() as u64);
            let batch = action(context, params, evaluator, "outcomes-batch", Some((first, cases.len())));
            let what = format!("outcomes from case {}", first + 1);
            // All batches follow as one document: only who pulls the plug loses those of the last seconds.
            let blob = cached(context, &batch, &what, Store::put_memo, || {
                ask(context, evaluator, cases, &model, &params.options)
            })?;
            all.extend(context.store.read_up_to(&blob.digest, outcome::MAX_OUTCOMES)?);
            can_be_kept(all.len() as u64, first + cases.len(), suite.cases.len())?;
        }
        Ok(all)
    })
}

/// What could not be read again is not worth asking for to the end.
fn can_be_kept(bytes: u64, asked: usize, cases: usize) -> Result<(), StageError> {
    if bytes <= outcome::MAX_OUTCOMES {
        return Ok(());
    }
    Err(StageError::Refused(format!(
        "the outcomes of {asked} of {cases} cases have {bytes} bytes already, at most {} are kept for a suite: \
         divide it into several, or ask for shorter answers",
        outcome::MAX_OUTCOMES
    )))
}

/// Whether an evaluation asks a model here: its outcomes are not brought, and not compared.
pub fn is_asked(action: &Action) -> bool {
    action.params.get("tests").is_none()
        && action.params.get("kind").and_then(Value::as_str).is_some_and(|kind| kind != External::NAME)
}

/// What decides the outcomes of a suite, or of `(first, count)` of its cases.
fn action(
    context: &Context<'_>,
    params: &Params,
    evaluator: &dyn Evaluator,
    kind: &str,
    range: Option<(usize, usize)>,
) -> Action {
    let is_model = |name: &str| matches!(name, "artifact" | "base" | "suite") || name.starts_with("model.");
    let inputs = context.action.inputs.iter().filter(|(name, _)| is_model(name));
    let mut decides = serde_json::json!({ "kind": params.kind, "options": params.options });
    if let Some(full) = &params.full {
        decides["full"] = full.clone();
    }
    if let Some((first, count)) = range {
        decides["first"] = first.into();
        decides["count"] = count.into();
    }
    Action {
        kind: kind.to_owned(),
        version: evaluator.version(),
        params: decides,
        inputs: inputs.map(|(name, digest)| (name.clone(), *digest)).collect(),
    }
}

/// The bytes of an action that makes one document, from the cache or made now.
fn cached(
    context: &Context<'_>,
    action: &Action,
    what: &str,
    keep: fn(&Store, &[u8]) -> Result<Blob, StoreError>,
    make: impl FnOnce() -> Result<Vec<u8>, StageError>,
) -> Result<Blob, StageError> {
    let key = action.action_key();
    if !context.fresh
        && let Some(hit) = context.store.lookup(&key)?
        && let Some(outcomes) = hit.outputs.get("outcomes")
    {
        return Ok(*outcomes);
    }
    let bytes = make()?;
    let blob = keep(context.store, &bytes)?;
    if context.fresh {
        return Ok(blob);
    }
    let result = ActionResult {
        outputs: BTreeMap::from([("outcomes".to_owned(), blob)]),
        verdict: Verdict::Pass,
        summary: format!("{what}, {} bytes", bytes.len()),
    };
    context.store.remember_action(&key, &result)?;
    Ok(blob)
}

fn ask(
    context: &Context<'_>,
    evaluator: &dyn Evaluator,
    cases: &[Case],
    model: &Model<'_>,
    options: &Options,
) -> Result<Vec<u8>, StageError> {
    let found = evaluator.ask(cases, model, options).map_err(|error| match error {
        EvaluateError::Model { .. } if (context.cancelled)() => StageError::Cancelled,
        other => other.into(),
    })?;
    Ok(outcome::to_jsonl(&found))
}
