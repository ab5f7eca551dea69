//! Part 2: `compat`: names every way in which a candidate's parents do not fit.

use serde::{Deserialize, Serialize};

use super::context::of;
use super::{Context, Kind, Made, Stage, StageError};
use crate::base::name::Name;
use crate::model::adapter::{AdapterIdentity, Mismatch};
use crate::model::identity::{Difference, DifferenceKind, Identity};
use crate::operator;
use crate::record::compat::{Check, CompatibilityReport};
use crate::record::source::SourceArtifact;
use crate::store::Verdict;
use crate::tensor::dtype::DType;

/// Whose parents, for which operator, within which limits.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    pub(crate) candidate: Name,
    pub(crate) operator: String,
    /// Base first if there is one.
    pub(crate) parents: Vec<Name>,
    pub(crate) output: DType,
    /// Largest artifact the plan's budget allows.
    pub(crate) artifact_budget: u64,
}

pub(super) struct CompatStage;

impl Stage for CompatStage {
    fn kind(&self) -> Kind {
        Kind::Compat
    }

    fn version(&self) -> u32 {
        1
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        let params: Params = context.params()?;
        let mut sources = Vec::new();
        for name in &params.parents {
            sources.push(context.record::<SourceArtifact>(&of("source", name))?);
        }
        let records: Vec<&SourceArtifact> = sources.iter().map(|(source, _)| source).collect();
        let models: Vec<Model<'_>> =
            records.iter().filter_map(|source| Some((*source, source.identity.as_ref()?))).collect();
        let (first, _) = *models.first().ok_or_else(|| {
            StageError::Refused(format!(
                "the candidate `{}` has no model among its parents",
                params.candidate
            ))
        })?;
        let mut checks = identity_checks(&models);
        checks.extend(adapter_check(&records, &models));
        checks.push(envelope(context, &params, first)?);
        let compatible = checks.iter().all(|check| check.passed);
        let reasons: Vec<String> =
            checks.iter().filter(|check| !check.passed).flat_map(|check| check.findings.clone()).collect();
        let report = CompatibilityReport {
            candidate: params.candidate,
            operator: params.operator,
            parents: params
                .parents
                .into_iter()
                .zip(sources.iter().map(|(_, subject)| subject.sha256))
                .collect(),
            checks,
            compatible,
        };
        if compatible {
            let summary = format!("{} models fit", report.parents.len());
            context.made(&report, Verdict::Pass, summary)
        } else {
            let summary = reasons.join("; ");
            context.made(&report, Verdict::Reject(reasons), summary)
        }
    }
}

/// A source that is a model.
type Model<'a> = (&'a SourceArtifact, &'a Identity);

/// One check for each aspect, comparing every model with the first.
fn identity_checks(models: &[Model<'_>]) -> Vec<Check> {
    let (first, identity) = models[0];
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for (other, theirs) in &models[1..] {
        for Difference { kind, field, ours, theirs } in identity.differences(theirs) {
            let finding = format!("{field}: `{}` has {ours}, `{}` has {theirs}", first.name, other.name);
            found.push((aspect(kind), finding));
        }
    }
    ["tokenizer", "layout", "shape", "quantisation"]
        .into_iter()
        .map(|aspect| {
            let findings: Vec<_> =
                found.iter().filter(|(of, _)| *of == aspect).map(|(_, finding)| finding.clone()).collect();
            // Every encoding is widened exactly, so mixed encodings are worth naming, not refusing.
            let passed = findings.is_empty() || aspect == "quantisation";
            Check { check: aspect.to_owned(), passed, findings }
        })
        .collect()
}

/// Every adapter against the model it is added to, field by field; nothing without adapters.
fn adapter_check(sources: &[&SourceArtifact], models: &[Model<'_>]) -> Option<Check> {
    let mut found = Vec::new();
    let mut adapters = 0;
    for source in sources {
        let Some(adapter) = &source.adapter else { continue };
        adapters += 1;
        let Some((base, identity)) = models.iter().find(|(model, _)| model.name == adapter.adapts) else {
            found.push(format!("`{}` is added to `{}`, which is no model", source.name, adapter.adapts));
            continue;
        };
        for Mismatch { field, adapter, model } in adapter.identity.mismatches(&AdapterIdentity::of(identity))
        {
            found.push(format!("{field}: `{}` is for {adapter}, `{}` has {model}", source.name, base.name));
        }
    }
    let passed = found.is_empty();
    (adapters > 0).then(|| Check { check: "adapter".to_owned(), passed, findings: found })
}

/// The check a difference fails.
fn aspect(kind: DifferenceKind) -> &'static str {
    match kind {
        DifferenceKind::Tokenizer => "tokenizer",
        DifferenceKind::Layout => "layout",
        DifferenceKind::Architecture => "shape",
        DifferenceKind::Quantisation => "quantisation",
    }
}

fn envelope(context: &Context<'_>, params: &Params, first: &SourceArtifact) -> Result<Check, StageError> {
    let opened = context.store.locate(&first.artifact.blake3)?;
    let model = crate::model::open(&opened)?;
    let bytes = operator::output_bytes(&model.checkpoint.config, &model.checkpoint.tokenizer, params.output)?;
    let passed = bytes <= params.artifact_budget;
    let verb = if passed { "fits" } else { "exceeds" };
    let finding = format!("the child's {bytes} bytes: {verb} the budget of {}", params.artifact_budget);
    Ok(Check { check: "resource-envelope".to_owned(), passed, findings: vec![finding] })
}
