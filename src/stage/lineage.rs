//! Part 3: `lineage`: binds parents, operator, seed, budget, gates and suites before anything is computed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::context::of;
use super::{Context, Kind, Made, Stage, StageError};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::convert::{Child, Form, Target, laid_out};
use crate::evaluate::Options;
use crate::model::identity::{Quantisation, layout_as_slm1};
use crate::operator::Slice;
use crate::record::compat::CompatibilityReport;
use crate::record::lineage::{Ancestor, BoundBudget, BoundOperator, BoundSuite, Expected, LineageTemplate};
use crate::record::source::SourceArtifact;
use crate::store::Verdict;

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
    /// Whom the child is like.
    pub(crate) like: Name,
    /// The layers the child is stacked of, by the models they are of; none if it has its parents' own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) stack: Vec<Slice>,
    /// Whether the child has that model's tokens, where its parents' differ.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tokens_of_base: bool,
    pub(crate) output: Form,
    pub(crate) budget: BoundBudget,
    pub(crate) gates: serde_json::Value,
    pub(crate) suites: Vec<SuiteParams>,
    pub(crate) smoke: serde_json::Value,
    /// Whom gates mean by the champion, if this candidate has such a gate and there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) champion: Option<Name>,
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
            vocabulary: params.tokens_of_base.then_some(params.like),
            seed: params.seed,
            budget: params.budget,
            expected,
            gates: params.gates,
            suites: bound_suites(context, &params.suites)?,
            smoke: params.smoke,
            champion: params.champion.as_ref().map(|name| ancestor(context, name)).transpose()?,
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

/// The child as it must come out, from the model that it is like.
fn expected(context: &Context<'_>, params: &Params) -> Result<Expected, StageError> {
    let (source, _) = context.record::<SourceArtifact>(&of("source", &params.like))?;
    let opened = context.store.open_model(&source.artifact.blake3)?;
    let mut stacked = BTreeMap::new();
    for Slice { parent, .. } in &params.stack {
        let (source, _) = context.record::<SourceArtifact>(&of("source", parent))?;
        stacked.insert(parent, context.store.open_model(&source.artifact.blake3)?.package);
    }
    let like = laid_out(&opened.package, &params.stack, params.tokens_of_base, &|name| stacked.get(name))?;
    let child = Child::like(&like, &params.output, None)?;
    let planned = child.planned();
    // A bare file of tensors will not say what network they are of.
    let network = opened.package.naming_of_known_network();
    let naming = network.filter(|_| params.output.format != Target::Safetensors);
    let naming = naming.and(params.output.format.naming_like(&like));
    Ok(Expected {
        format: params.output.format.name().to_owned(),
        dtype: Quantisation::of_planned(planned).name,
        bytes: child.total_bytes(),
        tensors: planned.len() as u64,
        parameters: planned.iter().map(|tensor| tensor.shape.elements() as u64).sum(),
        layout: layout_as_slm1(naming, planned.iter().map(|tensor| (tensor.name.as_str(), &tensor.shape))),
    })
}
