//! Part 10: `ledger`: enters a plan before its operators run, and every admission and refusal after.
//!
//! The one kind of stage that acts on something shared. It is idempotent: an entry that is already
//! there for the same record is found, not made again, so resuming and running twice change nothing.

mod recheck;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::context::of;
use super::lineage::{SuiteParams, bound_suites};
use super::{Context, Kind, Made, Stage, StageError};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::evaluate;
use crate::ledger::{EntryKind, Leaf, NewEntry};
use crate::record::Record;
use crate::record::admission::AdmissionRecord;
use crate::record::ledger::{LedgerExtract, LedgerPlace};
use crate::record::lineage::{BoundBudget, LineageTemplate};
use crate::record::plan::{FinalUse, PlanRegistration};
use crate::record::{self, Subject};
use crate::store::{ActionResult, Blob, Verdict};

/// What to enter.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Params {
    /// A plan, before it runs.
    Plan(PlanParams),
    /// What became of its candidates.
    Admissions { cycle: Name, candidates: Vec<Name> },
}

/// A plan as it is registered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanParams {
    pub(crate) cycle: Name,
    pub(crate) seed: String,
    pub(crate) budget: BoundBudget,
    pub(crate) candidates: Vec<Name>,
    pub(crate) suites: Vec<SuiteParams>,
    pub(crate) gates: serde_json::Value,
    pub(crate) review: serde_json::Value,
    pub(crate) recipe: serde_json::Value,
}

fn leaf_digest(leaf: &Leaf) -> Result<Sha256, StageError> {
    leaf.to_bytes().map(|bytes| Sha256::of(&bytes)).map_err(StageError::Refused)
}

pub(super) struct LedgerStage;

impl Stage for LedgerStage {
    fn kind(&self) -> Kind {
        Kind::Ledger
    }

    fn version(&self) -> u32 {
        4
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        match context.params()? {
            Params::Plan(params) => register(context, params),
            Params::Admissions { cycle, candidates } => conclude(context, cycle, &candidates),
        }
    }

    /// The entries must be in the ledger that is there now.
    fn still_holds(&self, context: &Context<'_>, result: &ActionResult) -> Result<bool, StageError> {
        let Some((extract, _)) = context.record_of::<LedgerExtract>(result)? else { return Ok(false) };
        let records: Vec<Sha256> = extract.entries.iter().map(|place| place.record).collect();
        let found = context.store.ledger()?.find_records(&records)?;
        for (place, leaves) in extract.entries.iter().zip(found) {
            let there = leaves.iter().any(|leaf| {
                leaf.index == place.index && leaf_digest(leaf).is_ok_and(|digest| digest == place.leaf)
            });
            if !there {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Running it again would enter what is missing; this only looks.
    fn recheck(&self, context: &Context<'_>, result: &ActionResult) -> Result<(), StageError> {
        recheck::recheck(context, result)
    }

    fn lapsed(&self, _: &Context<'_>, _: &ActionResult) -> Result<String, StageError> {
        Ok("the ledger does not have the entries that it made, where it made them".to_owned())
    }
}

fn register(context: &Context<'_>, params: PlanParams) -> Result<Made, StageError> {
    let cycle = params.cycle.clone();
    let Registering { entries, registration, finals } = registering(context, params)?;
    let leaves = append(context, entries)?;
    let mut made = extract(context, cycle, Vec::new(), &leaves)?;
    made.outputs.insert("registration".to_owned(), registration);
    made.summary = format!("plan registered as entry {}", leaves[0].index);
    for (suite, cases) in &finals {
        let uses = uses_of(context, *cases)?;
        made.summary += &format!("; use {uses} of the final suite `{suite}`");
    }
    Ok(made)
}

/// What a plan is to be entered as.
struct Registering {
    entries: Vec<NewEntry>,
    registration: Blob,
    /// Its final suites with what they ask.
    finals: Vec<(Name, Sha256)>,
}

fn registering(context: &Context<'_>, params: PlanParams) -> Result<Registering, StageError> {
    let mut lineages = Vec::new();
    for candidate in &params.candidates {
        let lineage = context.optional_record::<LineageTemplate>(&of("lineage", candidate))?;
        lineages.push(lineage.map(|(_, subject)| subject.sha256));
    }
    let registration = PlanRegistration {
        cycle: params.cycle.clone(),
        seed: params.seed,
        budget: params.budget,
        candidates: params.candidates,
        lineages,
        suites: bound_suites(context, &params.suites)?,
        gates: params.gates,
        review: Some(params.review),
        recipe: Some(params.recipe),
    };
    let bytes = record::to_bytes(&registration)
        .map_err(|source| StageError::Record { input: "registration".to_owned(), source })?;
    let blob = context.store.put(&bytes)?;
    let entry = NewEntry {
        kind: EntryKind::Plan,
        cycle: params.cycle,
        candidate: None,
        subject: None,
        record: Subject::of(&bytes).sha256,
        predicate_type: PlanRegistration::TYPE.to_owned(),
        registration: None,
    };
    let finals = finals(context, &registration)?;
    let uses = final_uses(context, &registration, &finals, Subject::of(&bytes).sha256)?;
    Ok(Registering { entries: [vec![entry], uses].concat(), registration: blob, finals })
}

/// The use of a suite whose every use counts.
const FINAL: &str = "final";

/// The final suites of a plan with what they ask: cases in another order or under other ids are the same.
fn finals(context: &Context<'_>, registration: &PlanRegistration) -> Result<Vec<(Name, Sha256)>, StageError> {
    let mut found = Vec::new();
    for suite in registration.suites.iter().filter(|suite| suite.r#use == FINAL) {
        let evaluator = evaluate::find(&suite.kind);
        let (Some(evaluator), Some(cases)) = (evaluator, context.optional(&of("suite", &suite.name))) else {
            continue;
        };
        let cases = evaluate::Suite::parse(evaluator, &context.store.read(&cases)?)?;
        found.push((suite.name.clone(), cases.asked()));
    }
    Ok(found)
}

/// An entry for every final suite of a plan.
fn final_uses(
    context: &Context<'_>,
    registration: &PlanRegistration,
    finals: &[(Name, Sha256)],
    sha256: Sha256,
) -> Result<Vec<NewEntry>, StageError> {
    let mut entries = Vec::new();
    for (name, cases) in finals {
        let (cycle, name, cases) = (registration.cycle.clone(), name.clone(), *cases);
        let used = FinalUse { cycle: cycle.clone(), suite: name, cases, registration: sha256 };
        let bytes = record::to_bytes(&used)
            .map_err(|source| StageError::Record { input: "final-use".to_owned(), source })?;
        context.store.put(&bytes)?;
        entries.push(NewEntry {
            kind: EntryKind::Plan,
            cycle,
            candidate: None,
            subject: Some(cases),
            record: Subject::of(&bytes).sha256,
            predicate_type: FinalUse::TYPE.to_owned(),
            registration: None,
        });
    }
    Ok(entries)
}

/// How often the ledger says that these cases were used as a final suite.
fn uses_of(context: &Context<'_>, cases: Sha256) -> Result<usize, StageError> {
    let mut uses = 0;
    for leaf in context.store.ledger()?.leaves()? {
        uses += usize::from(leaf.predicate_type == FinalUse::TYPE && leaf.subject == Some(cases));
    }
    Ok(uses)
}

fn conclude(context: &Context<'_>, cycle: Name, candidates: &[Name]) -> Result<Made, StageError> {
    let (plan, entries) = concluding(context, &cycle, candidates)?;
    let leaves = append(context, entries)?;
    let proofs = prove(context, &leaves)?;
    let mut made = extract(context, cycle, plan.entries, &leaves)?;
    made.outputs.extend(proofs);
    Ok(made)
}

/// Where the plan stands, and what became of its candidates.
fn concluding(
    context: &Context<'_>,
    cycle: &Name,
    candidates: &[Name],
) -> Result<(LedgerExtract, Vec<NewEntry>), StageError> {
    let (plan, _) = context.record::<LedgerExtract>("plan")?;
    let registration = plan.entries.iter().find(|place| place.kind == EntryKind::Plan.word());
    let registration = registration.map(|place| place.index);
    let mut entries = Vec::new();
    for candidate in candidates {
        let Some((admission, subject)) =
            context.optional_record::<AdmissionRecord>(&of("admission", candidate))?
        else {
            continue;
        };
        entries.push(NewEntry {
            kind: if admission.admitted { EntryKind::Admission } else { EntryKind::Refusal },
            cycle: cycle.clone(),
            candidate: Some(candidate.clone()),
            subject: admission.manifest,
            record: subject.sha256,
            predicate_type: AdmissionRecord::TYPE.to_owned(),
            registration,
        });
    }
    Ok((plan, entries))
}

/// How the outputs that are proofs are called, before the candidate's name.
pub(crate) const PROOF: &str = "proof.";

/// A proof for every decision, against the checkpoint of now: it can be checked without this ledger.
fn prove(context: &Context<'_>, leaves: &[Leaf]) -> Result<BTreeMap<String, Blob>, StageError> {
    let ledger = context.store.ledger()?;
    let mut proofs = BTreeMap::new();
    for leaf in leaves {
        let Some(candidate) = &leaf.candidate else { continue };
        let text = ledger.prove(leaf.index)?.to_text();
        proofs.insert(format!("{PROOF}{candidate}"), context.store.put(text.as_bytes())?);
    }
    Ok(proofs)
}

fn append(context: &Context<'_>, entries: Vec<NewEntry>) -> Result<Vec<Leaf>, StageError> {
    // The ledger never names a record that a power cut could still take.
    context.store.settle()?;
    Ok(context.store.ledger()?.append(entries, context.now)?)
}

fn extract(
    context: &Context<'_>,
    cycle: Name,
    entries: Vec<LedgerPlace>,
    leaves: &[Leaf],
) -> Result<Made, StageError> {
    let record = extracted(cycle, entries, leaves)?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in &record.entries {
        *counts.entry(entry.kind.as_str()).or_default() += 1;
    }
    let summary = counts.iter().map(|(kind, n)| format!("{n} {kind}")).collect::<Vec<_>>().join(", ");
    context.made(&record, Verdict::Pass, summary)
}

fn extracted(
    cycle: Name,
    mut entries: Vec<LedgerPlace>,
    leaves: &[Leaf],
) -> Result<LedgerExtract, StageError> {
    for leaf in leaves {
        entries.push(LedgerPlace {
            kind: FinalUse::word(leaf.kind.word(), &leaf.predicate_type).to_owned(),
            candidate: leaf.candidate.clone(),
            record: leaf.record,
            index: leaf.index,
            leaf: leaf_digest(leaf)?,
        });
    }
    Ok(LedgerExtract { cycle, entries })
}
