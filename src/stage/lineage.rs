//! Part 3: `lineage`: binds parents, operator, seed, budget, gates and suites before anything is computed.

use serde::{Deserialize, Serialize};

use super::context::of;
use super::{Context, Kind, Made, Stage, StageError};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::evaluate::Options;
use crate::operator;
use crate::record::compat::CompatibilityReport;
use crate::record::lineage::{Ancestor, BoundBudget, BoundOperator, BoundSuite, Expected, LineageTemplate};
use crate::record::source::SourceArtifact;
use crate::store::Verdict;
use crate::tensor::dtype::DType;

/// Everything the plan says that decides a candidate.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    pub(crate) cycle: Name,
    pub(crate) candidate: Name,
    pub(crate) base: Option<Name>,
    pub(crate) parents: Vec<Name>,
    pub(crate) operator: BoundOperator,
    pub(crate) seed: String,
    pub(crate) output: DType,
    pub(crate) budget: BoundBudget,
    pub(crate) gates: serde_json::Value,
    pub(crate) suites: Vec<SuiteParams>,
    pub(crate) smoke: serde_json::Value,
}

/// A suite as the plan declares it; its cases are an input.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SuiteParams {
    pub(crate) name: Name,
    pub(crate) kind: String,
    pub(crate) options: Options,
    pub(crate) r#use: String,
}

pub(super) struct LineageStage;

impl Stage for LineageStage {
    fn kind(&self) -> Kind {
        Kind::Lineage
    }

    fn version(&self) -> u32 {
        2
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        let params: Params = context.params()?;
        let (_, compatibility) = context.record::<CompatibilityReport>("compat")?;
        let base = params.base.as_ref().map(|name| ancestor(context, name)).transpose()?;
        let parents: Vec<Ancestor> =
            params.parents.iter().map(|name| ancestor(context, name)).collect::<Result<_, _>>()?;
        let expected = expected(context, &params)?;
        let template = LineageTemplate {
            cycle: params.cycle,
            candidate: params.candidate,
            base,
            parents,
            operator: params.operator,
            seed: params.seed,
            budget: params.budget,
            expected,
            gates: params.gates,
            suites: bound_suites(context, &params.suites)?,
            smoke: params.smoke,
            compatibility: compatibility.sha256,
        };
        let summary = format!("{} of {} models", template.operator.name, template.parents.len());
        context.made(&template, Verdict::Pass, summary)
    }
}

fn ancestor(context: &Context<'_>, name: &Name) -> Result<Ancestor, StageError> {
    let (source, record) = context.record::<SourceArtifact>(&of("source", name))?;
    let adapts = source.adapter.map(|adapter| ancestor(context, &adapter.adapts)).transpose()?;
    Ok(Ancestor {
        adapts: adapts.map(Box::new),
        name: name.clone(),
        source: record.sha256,
        sha256: source.artifact.sha256,
        blake3: source.artifact.blake3,
    })
}

/// Suites with the digests of their cases.
pub(super) fn bound_suites(
    context: &Context<'_>,
    suites: &[SuiteParams],
) -> Result<Vec<BoundSuite>, StageError> {
    let bind = |suite: &SuiteParams| {
        let cases = context.optional(&of("suite", &suite.name));
        let cases = cases.map(|digest| context.store.read(&digest)).transpose()?;
        Ok(BoundSuite {
            name: suite.name.clone(),
            kind: suite.kind.clone(),
            sha256: cases.map(|cases| Sha256::of(&cases)),
            options: suite.options.clone(),
            r#use: suite.r#use.clone(),
        })
    };
    suites.iter().map(bind).collect()
}

fn expected(context: &Context<'_>, params: &Params) -> Result<Expected, StageError> {
    let first = &params.parents[0];
    let (mut source, _) = context.record::<SourceArtifact>(&of("source", first))?;
    if let Some(adapter) = &source.adapter {
        (source, _) = context.record::<SourceArtifact>(&of("source", &adapter.adapts))?;
    }
    let identity = source
        .identity
        .ok_or_else(|| StageError::Refused(format!("the parent `{first}` stands on no model")))?;
    let model = crate::model::open(&context.store.locate(&source.artifact.blake3)?)?;
    Ok(Expected {
        format: source.format,
        dtype: params.output.name().to_owned(),
        bytes: operator::output_bytes(&model.checkpoint.config, &model.checkpoint.tokenizer, params.output)?,
        tensors: identity.tensors,
        parameters: identity.parameters,
        layout: identity.layout,
    })
}
