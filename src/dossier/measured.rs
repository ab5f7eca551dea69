//! Whether every metric is what its outcomes come to, on the cases that were bound, of the model it says.

use super::evidence::{Evidence, Measured};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::evaluate::contamination::{BYTES, Contamination, WORDS};
use crate::evaluate::harness::{self, External};
use crate::evaluate::{self, Evaluator, Metrics, Suite, outcome};
use crate::record;
use crate::record::external::ExternalEvidence;
use crate::record::lineage::BoundSuite;

/// Checks one evaluation. The reason is a sentence.
pub(super) fn check(
    evidence: &Evidence,
    (model, suite): (&Name, &Name),
    measured: &Measured,
) -> Result<String, String> {
    let sidecar = &measured.sidecar.body;
    let bound = evidence.lineage().body.suites.iter().find(|bound| bound.name == *suite);
    let bound = bound.ok_or("the lineage binds no such suite")?;
    subject(evidence, model, measured)?;
    if Sha256::of(&measured.outcomes) != sidecar.outcomes.sha256 {
        return Err("the outcomes are not the bytes that the sidecar binds".to_owned());
    }
    asked(evidence, model, bound, measured)?;
    let metrics = metrics(evidence, bound, measured)?;
    if metrics != sidecar.metrics {
        return Err("the outcomes come to other metrics than the sidecar says".to_owned());
    }
    plausible(&sidecar.contamination, sidecar.suite.n)?;
    Ok(format!("{} outcomes come to the same metrics", sidecar.suite.n))
}

fn subject(evidence: &Evidence, model: &Name, measured: &Measured) -> Result<(), String> {
    let subject = &measured.sidecar.body.subject;
    let known = match (evidence.manifests.get(model), evidence.sources.get(model)) {
        (Some(manifest), _) => Some((manifest.subject.sha256, manifest.body.artifact.sha256)),
        (None, Some(source)) => Some((source.subject.sha256, source.body.artifact.sha256)),
        (None, None) => None,
    };
    let known = known.ok_or_else(|| format!("the record that introduces `{model}` is missing"))?;
    if subject.name == *model && (subject.manifest, subject.artifact) == known {
        return Ok(());
    }
    Err(format!("the sidecar is of another model than `{model}`"))
}

fn asked(evidence: &Evidence, model: &Name, bound: &BoundSuite, measured: &Measured) -> Result<(), String> {
    let suite = &measured.sidecar.body.suite;
    // What the plan left unsaid follows from the evaluator and, for windows, from the model's context.
    let takes = evaluate::find(&bound.kind).map(Evaluator::options).unwrap_or_default();
    let context = || context(evidence, model).ok_or_else(|| format!("nothing says the context of `{model}`"));
    let options = bound.options.effective(takes, context)?;
    if (&suite.name, &suite.kind, &suite.options) != (&bound.name, &bound.kind, &options) {
        return Err("the suite was asked in another way than its lineage binds".to_owned());
    }
    let cases = match (&measured.external, bound.sha256) {
        (Some(brought), None) => Sha256::of(brought),
        (None, Some(sha256)) => sha256,
        _ => return Err("the lineage and the sidecar do not agree on who measured".to_owned()),
    };
    let outcomes = outcome::from_jsonl(&measured.outcomes).map_err(|error| error.to_string())?;
    if suite.cases.sha256 != cases || suite.asked != outcome::asked(&outcomes) {
        return Err("the sidecar is about other cases".to_owned());
    }
    Ok(())
}

/// The longest sequence of a model; of an adapter, that of the model it is added to.
fn context(evidence: &Evidence, model: &Name) -> Option<u64> {
    let identity = match (evidence.manifests.get(model), evidence.sources.get(model)) {
        (Some(manifest), _) => Some(&manifest.body.identity),
        (None, Some(source)) => match &source.body.adapter {
            Some(adapter) => evidence.sources.get(&adapter.adapts)?.body.identity.as_ref(),
            None => source.body.identity.as_ref(),
        },
        (None, None) => None,
    };
    Some(u64::from(identity?.architecture.as_ref()?.max_context))
}

fn metrics(evidence: &Evidence, bound: &BoundSuite, measured: &Measured) -> Result<Metrics, String> {
    let sidecar = &measured.sidecar.body;
    let told = |error: evaluate::EvaluateError| error.to_string();
    if let Some(brought) = &measured.external {
        let brought: ExternalEvidence = record::from_bytes(brought).map_err(|error| error.to_string())?;
        if brought.suite != bound.name || brought.manifest != sidecar.subject.manifest {
            return Err("what another harness found is of another model or suite".to_owned());
        }
        let (results, samples) = (brought.results.as_bytes(), brought.samples.as_bytes());
        let outcomes =
            harness::read(results, samples, &bound.options, &sidecar.subject.artifact).map_err(told)?;
        if outcome::to_jsonl(&outcomes) != measured.outcomes {
            return Err("the outcomes are not those of the samples that were brought".to_owned());
        }
        return External.recompute(&outcomes).map_err(told);
    }
    let evaluator = evaluate::find(&bound.kind)
        .ok_or_else(|| format!("this program has no evaluator `{}`", bound.kind))?;
    let cases = evidence.suites.get(&bound.name).ok_or("the cases are missing")?;
    let suite = Suite::parse(evaluator, cases).map_err(told)?;
    if suite.cases.len() as u64 != sidecar.suite.n {
        return Err(format!(
            "the suite has {} cases, the sidecar says {}",
            suite.cases.len(),
            sidecar.suite.n
        ));
    }
    let outcomes = outcome::from_jsonl(&measured.outcomes).map_err(told)?;
    evaluator.recheck(&suite, &outcomes, &bound.options).map_err(told)
}

/// The texts are elsewhere; that the status follows from what is declared can be seen here.
fn plausible(found: &Contamination, n: u64) -> Result<(), String> {
    let again = Contamination::of(found.undeclared.clone(), found.texts.clone(), &[]);
    let lengths = (found.words, found.bytes) == (WORDS as u64, BYTES as u64);
    let counted = found.overlapping <= n && (found.overlapping > 0) == found.first.is_some();
    let searched = !found.texts.is_empty() || found.overlapping == 0;
    if again.status == found.status && lengths && counted && searched {
        return Ok(());
    }
    Err("what the sidecar says of contamination does not follow from what was declared".to_owned())
}
