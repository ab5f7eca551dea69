//! Part 5: `candidate`: holds what was made against what was promised, and binds both.

use serde::{Deserialize, Serialize};

use super::context::of;
use super::source::TRAINED;
use super::{Context, Kind, Made, Stage, StageError, Weight};
use crate::base::difference;
use crate::base::name::Name;
use crate::model::identity::Identity;
use crate::record::Subject;
use crate::record::candidate::{CandidateManifest, Claims};
use crate::record::lineage::{Ancestor, Expected, LineageTemplate};
use crate::record::receipt::{OperatorReceipt, Used};
use crate::record::source::SourceArtifact;
use crate::store::Verdict;

/// Which candidate.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    pub(crate) cycle: Name,
    pub(crate) candidate: Name,
    /// Everybody it descends from, base first.
    pub(crate) ancestors: Vec<Name>,
}

pub(super) struct CandidateStage;

impl Stage for CandidateStage {
    fn kind(&self) -> Kind {
        Kind::Candidate
    }

    fn version(&self) -> u32 {
        3
    }

    fn weight(&self) -> Weight {
        Weight::Heavy
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        let params: Params = context.params()?;
        let (lineage, lineage_subject) = context.record::<LineageTemplate>("lineage")?;
        let (receipt, receipt_subject) = context.record::<OperatorReceipt>("receipt")?;
        let opened = context.model("artifact")?;
        let artifact = context.artifact("artifact", &opened)?;
        let identity = Identity::of_package(&opened.package);
        if receipt.output.digest != artifact.blake3 {
            return Err(StageError::Refused("the receipt is of another artifact".to_owned()));
        }
        as_bound(&receipt, &lineage)?;
        as_promised(&lineage.expected, &artifact, &identity, opened.package.weights.format())?;

        let sources: Vec<SourceArtifact> = params
            .ancestors
            .iter()
            .map(|name| Ok(context.record::<SourceArtifact>(&of("source", name))?.0))
            .collect::<Result<_, StageError>>()?;
        let trained = sources.iter().all(|source| source.origin.source_kind == TRAINED);
        let manifest = CandidateManifest {
            cycle: params.cycle,
            candidate: params.candidate,
            artifact,
            format: lineage.expected.format.clone(),
            identity,
            lineage: lineage_subject.sha256,
            receipt: receipt_subject.sha256,
            licences: union(sources.iter().map(|source| &source.origin.licences)),
            data: union(sources.iter().map(|source| &source.origin.data)),
            claims: Claims::unevaluated(trained),
        };
        let summary = format!("artifact {}", artifact.sha256.short());
        context.made(&manifest, Verdict::Pass, summary)
    }
}

/// What the receipt says was done is what the lineage bound before.
fn as_bound(receipt: &OperatorReceipt, lineage: &LineageTemplate) -> Result<(), StageError> {
    fn used(ancestor: &Ancestor) -> Used {
        let adapts = ancestor.adapts.as_deref().map(|model| Box::new(used(model)));
        Used { name: ancestor.name.clone(), blake3: ancestor.blake3, adapts }
    }
    let bound = OperatorReceipt {
        candidate: lineage.candidate.clone(),
        operator: lineage.operator.clone(),
        seed: lineage.seed.clone(),
        base: lineage.base.as_ref().map(used),
        parents: lineage.parents.iter().map(used).collect(),
        format: lineage.expected.format.clone(),
        ..receipt.clone()
    };
    match difference::first(receipt, &bound) {
        None => Ok(()),
        Some(where_it_is) => {
            Err(StageError::Refused(format!("the receipt is not of what its lineage bound: {where_it_is}")))
        }
    }
}

fn as_promised(
    expected: &Expected,
    artifact: &Subject,
    identity: &Identity,
    format: &str,
) -> Result<(), StageError> {
    let rows = [
        ("format", expected.format.clone(), format.to_owned()),
        ("bytes", expected.bytes.to_string(), artifact.bytes.to_string()),
        ("tensors", expected.tensors.to_string(), identity.tensors.to_string()),
        ("parameters", expected.parameters.to_string(), identity.parameters.to_string()),
        ("layout", expected.layout.to_hex(), identity.layout.to_hex()),
        ("encoding", expected.dtype.clone(), identity.quantisation.name.clone()),
    ];
    match rows.into_iter().find(|(_, promised, made)| promised != made) {
        Some((what, promised, made)) => Err(StageError::Refused(format!(
            "the artifact is not what its lineage promised: {what} should be {promised} and are {made}"
        ))),
        None => Ok(()),
    }
}

fn union<'a>(lists: impl Iterator<Item = &'a Vec<String>>) -> Vec<String> {
    let all: std::collections::BTreeSet<String> = lists.flatten().cloned().collect();
    all.into_iter().collect()
}
