//! Part 12: `recipe`: selects whom a later cycle starts from, and writes the fragment that names them.
//!
//! Selected are admitted candidates and parents, never what was refused or still waits, and nobody where all
//! fitness is zero: an order that says nothing is no reason to breed from anybody. Whom somebody retired is left
//! out, too; a pool that was made before goes on offering it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::context::of;
use super::source::TRAINED;
use super::{Context, Kind, Made, Stage, StageError};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::plan::pool::{ChosenBy, ParentPool, PoolParent};
use crate::record::Subject;
use crate::record::admission::AdmissionRecord;
use crate::record::candidate::CandidateManifest;
use crate::record::recipe::ParentPoolRecipe;
use crate::record::review::{Member, PopulationReview};
use crate::record::source::SourceArtifact;
use crate::review::{self, Distinct, Objective, Ranked, ReviewError};
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
    /// Candidates that are no longer offered, by manifest or bytes, with the ledger entry that says so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) retired: BTreeMap<Sha256, u64>,
}

/// How it begins that somebody is not selected because of a person.
const RETIRED: &str = "retired";

pub(super) struct RecipeStage;

impl Stage for RecipeStage {
    fn kind(&self) -> Kind {
        Kind::Recipe
    }

    fn version(&self) -> u32 {
        3
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        let params: Params = context.params()?;
        let (review, review_subject) = context.record::<PopulationReview>("review")?;
        let mut choice = Choice { room: params.size, ..Choice::default() };
        // Children are what a cycle is for; the parents behind them fill the pool up.
        for kind in ["candidate", "parent"] {
            let members: Vec<&Member> = review.members.iter().filter(|member| member.kind == kind).collect();
            choice.among(context, &params.retired, &members, &review.objectives)?;
        }
        let Choice { selected, passed_over, .. } = choice;
        let pool = ParentPool {
            cycle: params.cycle.clone(),
            review: review_subject.sha256,
            parents: selected,
            chosen_by: chosen_by(context, &params),
        };
        let fragment = pool.to_toml();
        let blob = context.store.put(fragment.as_bytes())?;
        let names: Vec<&str> = pool.parents.iter().map(|parent| parent.name.as_str()).collect();
        let mut summary = match names.is_empty() {
            true => "pool: nobody".to_owned(),
            false => format!("pool: {}", names.join(", ")),
        };
        for (name, why) in passed_over.iter().filter(|(_, why)| why.starts_with(RETIRED)) {
            summary += &format!("; without {name}, {why}");
        }
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

/// A pool in the making.
#[derive(Default)]
struct Choice {
    room: u64,
    selected: Vec<PoolParent>,
    passed_over: Vec<(Name, String)>,
}

impl Choice {
    /// Takes whom there is room for out of those that may be parents, in the order of the review. Where
    /// nothing that was measured tells anybody from a model that does nothing, nobody is taken.
    fn among(
        &mut self,
        context: &Context<'_>,
        retired: &BTreeMap<Sha256, u64>,
        members: &[&Member],
        objectives: &[Objective],
    ) -> Result<(), StageError> {
        if self.room == 0 {
            return Ok(());
        }
        let (mut ranked, mut offered) = (Vec::new(), BTreeMap::new());
        for member in members {
            match eligible(context, retired, member)? {
                Ok(parent) => drop(offered.insert(member.name.to_string(), parent)),
                Err(why) => self.passed_over.push((member.name.clone(), why)),
            }
            ranked.push(placed(member, objectives)?);
        }
        let k = offered.len().min(usize::try_from(self.room).unwrap_or(usize::MAX));
        if k == 0 {
            return Ok(());
        }
        let allowed = offered.keys().cloned().collect();
        match review::select(&ranked, &allowed, k, Distinct::No) {
            Ok(chosen) => {
                self.room -= chosen.len() as u64;
                self.selected.extend(chosen.iter().filter_map(|one| offered.remove(&one.id)));
            }
            Err(why @ ReviewError::AllZero) => {
                let names = offered.into_values().map(|parent| parent.name);
                self.passed_over.extend(names.map(|name| (name, why.to_string())));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// A member as the review placed it.
fn placed(member: &Member, objectives: &[Objective]) -> Result<Ranked, StageError> {
    let value = |objective: &Objective| {
        let missing = || format!("the review has no {:?} of `{}`", objective.name, member.name);
        member.vector.get(&objective.name).copied().ok_or_else(|| StageError::Refused(missing()))
    };
    Ok(Ranked {
        id: member.name.to_string(),
        vector: objectives.iter().map(value).collect::<Result<_, _>>()?,
        rank: u32::try_from(member.rank).unwrap_or(u32::MAX),
        crowding: member.crowding,
    })
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

fn eligible(
    context: &Context<'_>,
    retired: &BTreeMap<Sha256, u64>,
    member: &Member,
) -> Result<Result<PoolParent, String>, StageError> {
    let gone =
        |manifest: Sha256| retired.get(&manifest).map(|entry| format!("{RETIRED} by ledger entry {entry}"));
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
        if let Some(why) = source.origin.manifest.and_then(gone) {
            return Ok(Err(why));
        }
        if source.adapter.is_some() {
            return Ok(Err("an adapter; a pool holds whole models".to_owned()));
        }
        let trained = source.origin.source_kind == TRAINED;
        return Ok(Ok(parent(source.artifact, source.origin.licences, source.origin.data, trained)));
    }
    if let Some(why) = gone(member.manifest) {
        return Ok(Err(why));
    }
    let Some((admission, _)) = context.optional_record::<AdmissionRecord>(&of("admission", &member.name))?
    else {
        return Ok(Err("not admitted yet".to_owned()));
    };
    if !admission.admitted || admission.manifest != Some(member.manifest) {
        return Ok(Err("refused".to_owned()));
    }
    let (manifest, _) = context.record::<CandidateManifest>(&of("candidate", &member.name))?;
    if let Some(why) = gone(manifest.artifact.sha256) {
        return Ok(Err(why));
    }
    let trained = manifest.claims.is_trained();
    Ok(Ok(parent(manifest.artifact, manifest.licences, manifest.data, trained)))
}
