//! Evaluations by another harness: pending until somebody brings them, and then checked again here.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::eval::{Params, summary};
use super::{Context, Made, StageError};
use crate::evaluate::contamination::Contamination;
use crate::evaluate::harness::{self, External, evidence_name};
use crate::evaluate::{Evaluator, outcome};
use crate::record::evaluation::{EvaluationSidecar, MeasuredSuite};
use crate::record::external::ExternalEvidence;
use crate::record::smoke::Evaluated;
use crate::record::{self, Subject};
use crate::store::Verdict;

pub(super) fn run(context: &Context<'_>, params: Params, subject: Evaluated) -> Result<Made, StageError> {
    let Some(digest) = context.optional("brought") else {
        let why =
            format!("waits for the results of `{}`", params.options.task.as_deref().unwrap_or("a task"));
        return Ok(Made {
            outputs: BTreeMap::new(),
            verdict: Verdict::Wait(vec![why.clone()]),
            summary: why,
        });
    };
    let introduction = context.input("introduction")?;
    let brought = context.store.brought(&introduction, &evidence_name(&params.suite))?;
    let Some(brought) = brought.filter(|brought| brought.digest == digest) else {
        return Err(StageError::Refused(format!(
            "the evidence for `{}` changed while it was used",
            params.suite
        )));
    };
    // It stays in the store: the sidecar rests on it.
    context.store.put(&brought.bytes)?;
    let evidence: ExternalEvidence = record::from_bytes(&brought.bytes)
        .map_err(|source| StageError::Record { input: "brought".to_owned(), source })?;
    if evidence.suite != params.suite || evidence.manifest != subject.manifest {
        return Err(StageError::Refused(format!(
            "the evidence for `{}` is of another model or suite",
            params.suite
        )));
    }
    let (results, samples) = (evidence.results.as_bytes(), evidence.samples.as_bytes());
    let outcomes = harness::read(results, samples, &params.options, &subject.artifact)?;
    let metrics = External.recompute(&outcomes)?;
    let asked = outcome::asked(&outcomes);
    let Ok(options) = params.options.effective(External.options(), || Ok::<_, Infallible>(0));
    let bytes = outcome::to_jsonl(&outcomes);
    let outcomes = context.store.put(&bytes)?;
    let summary = summary(&metrics);
    let sidecar = EvaluationSidecar {
        subject,
        suite: MeasuredSuite {
            name: params.suite,
            kind: params.kind,
            cases: Subject::of(&brought.bytes),
            asked,
            n: metrics.values().map(|metric| metric.n).max().unwrap_or(0),
            options,
        },
        outcomes: Subject::of(&bytes),
        metrics,
        contamination: Contamination::of(params.data.into_keys().collect(), Vec::new(), &[]),
    };
    let outputs = BTreeMap::from([
        ("outcomes".to_owned(), outcomes),
        ("record".to_owned(), context.put_record(&sidecar)?),
    ]);
    Ok(Made { outputs, verdict: Verdict::Pass, summary })
}
