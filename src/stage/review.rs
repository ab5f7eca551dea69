//! Part 11: `review`: ranks candidates, parents and doing nothing by what was measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::context::of;
use super::significance::significance;
use super::{Context, Kind, Made, Stage, StageError, Weight};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::plan::NO_OP;
use crate::record::candidate::CandidateManifest;
use crate::record::evaluation::EvaluationSidecar;
use crate::record::review::{Member, PopulationReview};
use crate::record::significance::Significance;
use crate::record::smoke::RuntimeSmoke;
use crate::record::source::SourceArtifact;
use crate::review::{self, Descriptor, Direction, Entry, Objective};
use crate::store::Verdict;

/// Who is reviewed by what.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    pub(crate) cycle: Name,
    /// What the random draws of comparisons are named by.
    pub(crate) seed: String,
    /// Suites, and `artifact_bytes`.
    pub(crate) objectives: Vec<String>,
    /// Those of the suites whose main metric is better when lower.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) lower: Vec<String>,
    pub(crate) candidates: Vec<Name>,
    pub(crate) parents: Vec<Name>,
    pub(crate) no_op: Option<Name>,
}

/// How many neighbours novelty is measured against.
const NEIGHBOURS: usize = 3;
const ARTIFACT_BYTES: &str = "artifact_bytes";

pub(super) struct ReviewStage;

impl Stage for ReviewStage {
    fn kind(&self) -> Kind {
        Kind::Review
    }

    fn version(&self) -> u32 {
        2
    }

    fn weight(&self) -> Weight {
        // Bootstraps of every two use every core.
        Weight::Heavy
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        let params: Params = context.params()?;
        let (measured, unranked) = gather(context, &params)?;
        let objectives: Vec<Objective> =
            params.objectives.iter().map(|name| params.objective(name)).collect();
        let entries: Vec<Entry> = measured.iter().map(|row| row.entry(&params.objectives)).collect();
        // Of models that nobody could run none is better than another.
        let ranking = if entries.is_empty() { Vec::new() } else { review::rank(&objectives, &entries)? };
        let behaviour: Vec<Descriptor> = measured.iter().map(Row::descriptor).collect();
        let novelty =
            if behaviour.is_empty() { Vec::new() } else { review::novelty(&behaviour, NEIGHBOURS)? };
        let of = |id: &str| measured.iter().find(|row| row.name.as_str() == id);
        let order: Vec<&Row> = ranking.iter().filter_map(|placed| of(&placed.id)).collect();
        let significance = significance(context, &params.seed, &params.objectives, &order)?;
        let members: Vec<Member> = ranking
            .iter()
            .zip(&order)
            .map(|(placed, row)| {
                let novelty = novelty.iter().find(|novelty| novelty.id == placed.id);
                Member {
                    name: row.name.clone(),
                    kind: row.kind.to_owned(),
                    manifest: row.manifest,
                    vector: row.vector.clone(),
                    evidence: row.evidence.clone(),
                    rank: u64::from(placed.rank),
                    crowding: placed.crowding,
                    novelty: novelty.and_then(|novelty| novelty.novelty),
                }
            })
            .collect();
        let front = members.iter().filter(|member| member.rank == 0).map(|member| member.name.as_str());
        let summary = match front.collect::<Vec<_>>().join(", ") {
            nobody if nobody.is_empty() => "nobody could be ranked".to_owned(),
            front => format!("first front: {front}{}", sure(&significance)),
        };
        let record = PopulationReview { cycle: params.cycle, objectives, members, unranked, significance };
        context.made(&record, Verdict::Pass, summary)
    }
}

/// How many differences are more than chance, where any could be.
fn sure(significance: &Significance) -> String {
    let sure = significance.pairs.iter().filter(|pair| pair.is_sure()).count();
    match significance.family {
        0 => String::new(),
        all => format!("; {sure} of {all} differences are sure"),
    }
}

impl Params {
    fn objective(&self, name: &str) -> Objective {
        let lower = name == ARTIFACT_BYTES || self.lower.iter().any(|suite| suite == name);
        Objective { name: name.to_owned(), direction: if lower { Direction::Min } else { Direction::Max } }
    }
}

/// One model with everything measured of it.
pub(super) struct Row {
    pub(super) name: Name,
    kind: &'static str,
    pub(super) manifest: Sha256,
    /// Whose evaluations are its own: those of the parent that stays are also those of doing nothing.
    pub(super) measured_as: Name,
    vector: BTreeMap<String, f64>,
    evidence: Vec<Sha256>,
    /// What it answered to the smoke prompts.
    answers: Vec<String>,
}

impl Row {
    pub(super) fn is_no_op(&self) -> bool {
        self.kind == NO_OP
    }

    pub(super) fn is_parent(&self) -> bool {
        self.kind == "parent"
    }

    fn descriptor(&self) -> Descriptor {
        Descriptor { id: self.name.to_string(), outputs: self.answers.clone() }
    }

    fn entry(&self, objectives: &[String]) -> Entry {
        Entry { id: self.name.to_string(), vector: objectives.iter().map(|name| self.vector[name]).collect() }
    }
}

/// Who was measured, and who was not, with the reason.
type Gathered = (Vec<Row>, Vec<(Name, String)>);

fn gather(context: &Context<'_>, params: &Params) -> Result<Gathered, StageError> {
    let (mut rows, mut unranked) = (Vec::new(), Vec::new());
    let everybody = params.candidates.iter().map(|name| (name, "candidate"));
    for (name, kind) in everybody.chain(params.parents.iter().map(|name| (name, "parent"))) {
        match row(context, params, name, kind)? {
            Ok(row) => rows.push(row),
            Err(why) => unranked.push((name.clone(), why)),
        }
    }
    let stays = params.no_op.as_ref().and_then(|no_op| rows.iter().find(|row| row.name == *no_op));
    if let Some(stays) = stays {
        let name = NO_OP.parse().expect("a proper name");
        let no_op = Row {
            name,
            kind: NO_OP,
            manifest: stays.manifest,
            measured_as: stays.name.clone(),
            vector: stays.vector.clone(),
            evidence: stays.evidence.clone(),
            answers: stays.answers.clone(),
        };
        rows.push(no_op);
    }
    Ok((rows, unranked))
}

fn row(
    context: &Context<'_>,
    params: &Params,
    name: &Name,
    kind: &'static str,
) -> Result<Result<Row, String>, StageError> {
    let introduction = of("introduction", name);
    let introduced = if kind == "parent" {
        context
            .optional_record::<SourceArtifact>(&introduction)?
            .map(|(source, record)| (source.artifact, record))
    } else {
        context
            .optional_record::<CandidateManifest>(&introduction)?
            .map(|(manifest, record)| (manifest.artifact, record))
    };
    let Some((artifact, manifest)) = introduced else { return Ok(Err("was not made".to_owned())) };
    let Some((smoke, _)) = context.optional_record::<RuntimeSmoke>(&of("smoke", name))? else {
        return Ok(Err("did not run".to_owned()));
    };
    if let Some(why) = smoke.cannot_run {
        return Ok(Err(format!("cannot be run: {why}")));
    }
    let (mut vector, mut evidence) = (BTreeMap::new(), Vec::new());
    for objective in &params.objectives {
        if objective == ARTIFACT_BYTES {
            vector.insert(objective.clone(), artifact.bytes as f64);
            continue;
        }
        let input = format!("eval.{name}.{objective}");
        let Some((sidecar, record)) = context.optional_record::<EvaluationSidecar>(&input)? else {
            return Ok(Err(format!("was not measured on `{objective}`")));
        };
        if sidecar.subject.manifest != manifest.sha256 {
            return Err(StageError::Refused(format!("the evaluation `{input}` is about another model")));
        }
        let Some(value) = main_metric(&sidecar) else {
            return Ok(Err(format!("has no metric on `{objective}`")));
        };
        vector.insert(objective.clone(), value);
        evidence.push(record.sha256);
    }
    let answers = smoke.prompts.iter().map(|run| run.text.clone()).collect();
    let (own, manifest) = (name.clone(), manifest.sha256);
    Ok(Ok(Row { name: own.clone(), kind, manifest, measured_as: own, vector, evidence, answers }))
}

/// The evaluator's first metric is what it is for.
fn main_metric(sidecar: &EvaluationSidecar) -> Option<f64> {
    let evaluator = crate::evaluate::find(&sidecar.suite.kind)?;
    let metric = evaluator.metrics().first()?;
    sidecar.metrics.get(metric.name).map(|metric| metric.value)
}
