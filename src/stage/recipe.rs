//! Part 12: `recipe`: selects whom a later cycle starts from, and writes the fragment that names them.
//!
//! Selected are admitted candidates and parents, never what was refused or still waits.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::context::of;
use super::source::TRAINED;
use super::{Context, Kind, Made, Stage, StageError};
use crate::base::name::Name;
use crate::plan::pool::{ChosenBy, ParentPool, PoolParent};
use crate::record::Subject;
use crate::record::admission::AdmissionRecord;
use crate::record::candidate::CandidateManifest;
use crate::record::recipe::ParentPoolRecipe;
use crate::record::review::{Member, PopulationReview};
use crate::record::source::SourceArtifact;
use crate::store::Verdict;

/// How many, out of whom.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    pub(crate) cycle: Name,
    pub(crate) size: u64,
    pub(crate) candidates: Vec<Name>,
    pub(crate) parents: Vec<Name>,
    /// The suites that chose, with their evaluators.
    pub(crate) chosen_by: Vec<(Name, String)>,
    /// What chose ancestors in earlier cycles.
    pub(crate) inherited: Vec<ChosenBy>,
}

pub(super) struct RecipeStage;

impl Stage for RecipeStage {
    fn kind(&self) -> Kind {
        Kind::Recipe
    }

    fn version(&self) -> u32 {
        2
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        let params: Params = context.params()?;
        let (review, review_subject) = context.record::<PopulationReview>("review")?;
        let (mut selected, mut passed_over) = (Vec::new(), Vec::new());
        // Children are what a cycle is for; the parents behind them fill the pool up.
        let of_kind = |kind: &'static str| review.members.iter().filter(move |member| member.kind == kind);
        for member in of_kind("candidate").chain(of_kind("parent")) {
            if selected.len() as u64 == params.size {
                break;
            }
            match eligible(context, member)? {
                Ok(parent) => selected.push(parent),
                Err(why) => passed_over.push((member.name.clone(), why)),
            }
        }
        let pool = ParentPool {
            cycle: params.cycle.clone(),
            review: review_subject.sha256,
            parents: selected,
            chosen_by: chosen_by(context, &params),
        };
        let fragment = pool.to_toml();
        let blob = context.store.put(fragment.as_bytes())?;
        let names: Vec<&str> = pool.parents.iter().map(|parent| parent.name.as_str()).collect();
        let summary = format!("pool: {}", names.join(", "));
        let record = ParentPoolRecipe {
            cycle: params.cycle,
            review: review_subject.sha256,
            rule: format!(
                "{}: admitted candidates, then parents, each in the order of the review",
                params.size
            ),
            selected: pool.parents.iter().map(|parent| (parent.name.clone(), parent.manifest)).collect(),
            passed_over,
            fragment: Subject::of(fragment.as_bytes()),
        };
        let outputs =
            BTreeMap::from([("pool".to_owned(), blob), ("record".to_owned(), context.put_record(&record)?)]);
        Ok(Made { outputs, verdict: Verdict::Pass, summary })
    }
}

/// What chose these parents, and what chose their ancestors. What another harness asked is in no file here.
fn chosen_by(context: &Context<'_>, params: &Params) -> Vec<ChosenBy> {
    let own = params.chosen_by.iter().filter_map(|(suite, kind)| {
        let cases = context.optional(&of("suite", suite))?;
        Some(ChosenBy { cycle: params.cycle.clone(), suite: suite.clone(), kind: kind.clone(), cases })
    });
    let all: BTreeSet<ChosenBy> = params.inherited.iter().cloned().chain(own).collect();
    all.into_iter().collect()
}

fn eligible(context: &Context<'_>, member: &Member) -> Result<Result<PoolParent, String>, StageError> {
    let parent = |artifact: Subject, licences, data, trained| PoolParent {
        name: member.name.clone(),
        artifact: artifact.blake3,
        bytes: artifact.bytes,
        manifest: member.manifest,
        rank: member.rank,
        licences,
        data,
        trained,
    };
    if member.kind == "parent" {
        let (source, _) = context.record::<SourceArtifact>(&of("source", &member.name))?;
        if source.adapter.is_some() {
            return Ok(Err("an adapter; a pool holds whole models".to_owned()));
        }
        let trained = source.origin.source_kind == TRAINED;
        return Ok(Ok(parent(source.artifact, source.origin.licences, source.origin.data, trained)));
    }
    let Some((admission, _)) = context.optional_record::<AdmissionRecord>(&of("admission", &member.name))?
    else {
        return Ok(Err("not admitted yet".to_owned()));
    };
    if !admission.admitted || admission.manifest != Some(member.manifest) {
        return Ok(Err("refused".to_owned()));
    }
    let (manifest, _) = context.record::<CandidateManifest>(&of("candidate", &member.name))?;
    let trained = manifest.claims.is_trained();
    Ok(Ok(parent(manifest.artifact, manifest.licences, manifest.data, trained)))
}
