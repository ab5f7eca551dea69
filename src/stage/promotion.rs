//! Part 8: `promotion`: the state of every gate, and what each pending one waits for.
//!
//! Closed by default: a gate passes only on evidence that is there, is about this candidate, and
//! says so. Absent evidence is pending, never passed.

mod approval;
mod browser;
mod claims;
mod limits;
mod metric;
mod past;
mod rules;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Context, Kind, Made, Past, Stage, StageError};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::record::candidate::CandidateManifest;
use crate::record::compat::CompatibilityReport;
use crate::record::lineage::LineageTemplate;
use crate::record::promotion::{
    Decision, GateState, GateStatus, NOT_REFUSED, NOT_REVOKED, PromotionTemplate,
};
use crate::record::smoke::{PromptRun, RuntimeSmoke};
use crate::record::{self, Record, Subject};
use crate::store::{ActionResult, Verdict};

use rules::{ApprovalRule, GateParams};
pub(crate) use rules::{MetricRule, Rule};

/// Whose gates.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    pub(crate) cycle: Name,
    pub(crate) candidate: Name,
    /// Its parents and base: who `best-parent` is chosen from.
    pub(crate) parents: Vec<Name>,
    pub(crate) gates: Vec<GateParams>,
    /// The runtime for browsers that this program publishes, where a gate asks for a run in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) browser_runtime: Option<Sha256>,
}

pub(super) struct PromotionStage;

impl Stage for PromotionStage {
    fn kind(&self) -> Kind {
        Kind::Promotion
    }

    fn version(&self) -> u32 {
        6
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        let params: Params = context.params()?;
        let case = Case {
            context,
            name: &params.candidate,
            parents: &params.parents,
            candidate: context.optional_record("candidate")?,
            lineage: context.optional_record("lineage")?,
            browser_runtime: params.browser_runtime,
        };
        case.bound()?;
        let mut gates = vec![case.compatibility()?, case.smoke()?];
        for gate in &params.gates {
            gates.push(case.gate(gate)?);
        }
        // A candidate that is refused anyway stays refused by what it was measured to be, whatever is taken back
        // later: the record of a refusal is for good.
        if Decision::of(&gates) != Decision::Refuse {
            let closed = case.closed(&params.gates, &gates)?;
            gates.extend(closed);
        }
        let decision = Decision::of(&gates);
        let (verdict, summary) = conclude(&gates, decision);
        let claims = case.claims(&params.gates, &gates, decision)?;
        let template = PromotionTemplate {
            cycle: params.cycle,
            candidate: params.candidate.clone(),
            manifest: case.candidate.as_ref().map(|(_, subject)| subject.sha256),
            lineage: case.lineage.as_ref().map(|(_, subject)| subject.sha256),
            gates,
            decision,
            claims,
        };
        context.made(&template, verdict, summary)
    }

    /// Whatever was found before, a candidate that was taken back or rejected since is refused.
    fn still_holds(&self, context: &Context<'_>, result: &ActionResult) -> Result<bool, StageError> {
        if matches!(result.verdict, Verdict::Reject(_)) {
            return Ok(true);
        }
        Ok(taken_back_since(context)?.is_none())
    }

    fn made_before(&self, context: &Context<'_>, result: &ActionResult) -> Result<Vec<Past>, StageError> {
        past::made_before(context, result)
    }

    fn settled(&self, context: &Context<'_>, result: &ActionResult) -> Result<bool, StageError> {
        past::settled(context, result)
    }

    fn lapsed(&self, context: &Context<'_>, _: &ActionResult) -> Result<String, StageError> {
        let why = taken_back_since(context)?.map_or_else(String::new, |why| format!(": {why}"));
        Ok(format!("the candidate was taken back since{why}; the next run refuses it"))
    }
}

/// What the ledger of now says against the candidate.
fn taken_back_since(context: &Context<'_>) -> Result<Option<String>, StageError> {
    let Some((manifest, subject)) = context.optional_record::<CandidateManifest>("candidate")? else {
        return Ok(None);
    };
    if let Some(taint) = context.taint_of_candidate(subject.sha256, &manifest)? {
        return Ok(Some(context.told(&taint)?));
    }
    let params: Params = context.params()?;
    let refused = context.refused((subject.sha256, &manifest), &asking_somebody(&params.gates))?;
    Ok(refused.map(|(.., why)| why))
}

/// The gates that are passed by somebody's word.
fn asking_somebody(gates: &[GateParams]) -> BTreeSet<&Name> {
    let asks = |gate: &&GateParams| matches!(gate.rule, Rule::Approval(_));
    gates.iter().filter(asks).map(|gate| &gate.name).collect()
}

fn conclude(gates: &[GateStatus], decision: Decision) -> (Verdict, String) {
    let told = |states: &[GateState]| -> Vec<String> {
        let rows = gates.iter().filter(|gate| states.contains(&gate.state));
        rows.map(|gate| format!("{}: {}", gate.gate, gate.finding)).collect()
    };
    match decision {
        Decision::Admit => (Verdict::Pass, format!("all {} gates passed", gates.len())),
        Decision::Refuse => {
            let failed = told(&[GateState::Failed]);
            let summary = failed.join("; ");
            (Verdict::Reject(failed), summary)
        }
        Decision::Wait => {
            let waiting = told(&[GateState::Pending, GateState::Inconclusive]);
            let summary = waiting.join("; ");
            (Verdict::Wait(waiting), summary)
        }
    }
}

/// The state of a gate, why, and the records that say so.
type Found = (GateState, String, Vec<Sha256>);

/// One candidate before its gates.
struct Case<'a> {
    context: &'a Context<'a>,
    name: &'a Name,
    parents: &'a [Name],
    candidate: Option<(CandidateManifest, Subject)>,
    lineage: Option<(LineageTemplate, Subject)>,
    browser_runtime: Option<Sha256>,
}

fn status(name: &str, state: GateState, finding: String, evidence: Vec<Sha256>) -> GateStatus {
    GateStatus { gate: name.parse().expect("built-in gates have proper names"), state, finding, evidence }
}

impl Case<'_> {
    /// The manifest must be of the lineage it stands beside.
    fn bound(&self) -> Result<(), StageError> {
        match (&self.candidate, &self.lineage) {
            (Some((manifest, _)), Some((_, lineage))) if manifest.lineage != lineage.sha256 => {
                Err(StageError::Refused("the candidate manifest binds another lineage".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn compatibility(&self) -> Result<GateStatus, StageError> {
        let name = "compatibility";
        let Some((report, subject)) = self.context.optional_record::<CompatibilityReport>("compat")? else {
            return Ok(status(name, GateState::Pending, "no report".to_owned(), vec![]));
        };
        let failed: Vec<_> = report
            .checks
            .iter()
            .filter(|check| !check.passed)
            .flat_map(|check| check.findings.clone())
            .collect();
        Ok(if report.compatible && failed.is_empty() {
            status(name, GateState::Passed, "the parents fit".to_owned(), vec![subject.sha256])
        } else {
            status(name, GateState::Failed, failed.join("; "), vec![subject.sha256])
        })
    }

    fn smoke(&self) -> Result<GateStatus, StageError> {
        let name = "runtime-smoke";
        let Some((smoke, subject)) = self.context.optional_record::<RuntimeSmoke>("smoke")? else {
            return Ok(status(name, GateState::Pending, "waits for an artifact to run".to_owned(), vec![]));
        };
        self.about_us(&smoke.subject.manifest, "the runtime smoke")?;
        let clean = smoke.prompts.iter().all(|run| run.finite && run.deterministic && run.error.is_none());
        Ok(if smoke.passed && clean && !smoke.prompts.is_empty() {
            let finding = format!("{} prompts ran, finite and deterministic", smoke.prompts.len());
            status(name, GateState::Passed, finding, vec![subject.sha256])
        } else {
            let complaint = smoke.prompts.iter().find_map(PromptRun::complaint);
            let finding = match (&smoke.cannot_run, complaint) {
                (Some(why), _) => format!("the model cannot be run here: {why}"),
                (None, Some(why)) => format!("the model does not run cleanly: {why}"),
                (None, None) => "the model does not run cleanly".to_owned(),
            };
            status(name, GateState::Failed, finding, vec![subject.sha256])
        })
    }

    /// A gate that is only there to be closed: for a candidate that the ledger takes back, or whose
    /// ancestors, bytes, data, suites or keys it does, or a key that its evidence was signed by; and for one
    /// that it refused.
    fn closed(&self, rules: &[GateParams], gates: &[GateStatus]) -> Result<Option<GateStatus>, StageError> {
        let Some((manifest, subject)) = &self.candidate else { return Ok(None) };
        let mut taint = self.context.taint_of_candidate(subject.sha256, manifest)?;
        if taint.is_none() {
            taint = self.context.taint_of_evidence(gates)?;
        }
        let refused = self.context.refused((subject.sha256, manifest), &asking_somebody(rules))?;
        let failed = |name, why, record| status(name, GateState::Failed, why, vec![record]);
        // The refusal that comes of a revocation is entered after it, and says nothing new.
        Ok(match (taint, refused) {
            (Some(taint), Some((entry, ..))) if taint.entry < entry => {
                Some(failed(NOT_REVOKED, taint.to_string(), taint.subject))
            }
            (_, Some((_, record, why))) => Some(failed(NOT_REFUSED, why, record)),
            (Some(taint), None) => Some(failed(NOT_REVOKED, taint.to_string(), taint.subject)),
            (None, None) => None,
        })
    }

    /// Evidence about anybody else is not evidence.
    fn about_us(&self, manifest: &Sha256, what: &str) -> Result<(), StageError> {
        match &self.candidate {
            Some((_, subject)) if subject.sha256 == *manifest => Ok(()),
            _ => Err(StageError::Refused(format!("{what} is about another candidate"))),
        }
    }

    fn gate(&self, gate: &GateParams) -> Result<GateStatus, StageError> {
        let (state, finding, evidence) = match &gate.rule {
            Rule::Metric(rule) => self.metric(&gate.name, rule)?,
            Rule::Approval(rule) => self.approval(&gate.name, rule)?,
            Rule::BrowserSmoke => self.browser_smoke(&gate.name)?,
        };
        Ok(GateStatus { gate: gate.name.clone(), state, finding, evidence })
    }

    fn read_brought<T: Record>(
        &self,
        gate: &Name,
        digest: &crate::base::digest::Digest,
    ) -> Result<Option<(T, Sha256)>, StageError> {
        let Some(bytes) = self.brought_bytes(gate, digest)? else { return Ok(None) };
        Ok(record::from_bytes::<T>(&bytes).ok().map(|record| (record, Sha256::of(&bytes))))
    }
}
