//! Part 8: `promotion`: the state of every gate, and what each pending one waits for.
//!
//! Closed by default: a gate passes only on evidence that is there, is about this candidate, and
//! says so. Absent evidence is pending, never passed.

mod approval;
mod claims;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::comparison::rows_of;
use super::context::of;
use super::rival::{NOBODY, Rival, UNLIKE};
use super::{Context, Kind, Made, Stage, StageError};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::evaluate::{self, Better};
use crate::record::browser_smoke::BrowserSmoke;
use crate::record::candidate::CandidateManifest;
use crate::record::comparison::GateComparisons;
use crate::record::compat::CompatibilityReport;
use crate::record::evaluation::EvaluationSidecar;
use crate::record::lineage::LineageTemplate;
use crate::record::promotion::{
    Decision, GateState, GateStatus, NOT_REFUSED, NOT_REVOKED, PromotionTemplate,
};
use crate::record::smoke::{PromptRun, RuntimeSmoke};
use crate::record::source::SourceArtifact;
use crate::record::{self, Record, Subject};
use crate::store::{ActionResult, Verdict};

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

/// A gate as the plan states it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GateParams {
    pub(crate) name: Name,
    pub(crate) rule: Rule,
}

/// What it asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Rule {
    Metric(MetricRule),
    Approval(ApprovalRule),
    BrowserSmoke,
}

/// Somebody who must agree, by name or by signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovalRule {
    pub(crate) statement: String,
    /// Whose signatures count: name and public key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) keys: Vec<ApprovalKey>,
    #[serde(default)]
    pub(crate) threshold: u64,
}

/// A key that may approve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovalKey {
    pub(crate) name: Name,
    pub(crate) public: String,
}

/// A number that must lie somewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetricRule {
    pub(crate) metric: String,
    pub(crate) suites: Vec<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) versus: Option<Rival>,
    pub(crate) margin: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) confidence: Option<f64>,
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

    fn metric(&self, gate: &Name, rule: &MetricRule) -> Result<(GateState, String, Vec<Sha256>), StageError> {
        let Some((manifest, subject)) = &self.candidate else {
            return Ok((GateState::Pending, "waits for an artifact to measure".to_owned(), vec![]));
        };
        if rule.confidence.is_some() {
            return self.compared(gate, rule, subject);
        }
        if rule.suites.is_empty() {
            let value = manifest.artifact.bytes as f64;
            let (state, finding) = limits(rule, value, 0);
            return Ok((state, finding, vec![subject.sha256]));
        }
        let Some(ours) = self.mean(rule, |suite| of("eval", suite), Some(subject))? else {
            return Ok((GateState::Pending, "waits for evaluations".to_owned(), vec![]));
        };
        let (mut state, mut finding) = limits(rule, ours.value, 3);
        let mut evidence = ours.evidence.clone();
        if let Some(rival) = &rule.versus {
            let models = rival.models(self.parents);
            if models.is_empty() {
                return Ok((GateState::Pending, NOBODY.to_owned(), evidence));
            }
            let Some((name, theirs)) = self.best(rule, rival, &models)? else {
                let whose = models.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
                return Ok((GateState::Pending, format!("waits for the evaluations of {whose}"), evidence));
            };
            if let Some(suite) = ours.unlike(&theirs, &rule.suites) {
                let finding =
                    format!("{UNLIKE} `{}` and `{name}` on `{suite}` were not asked alike", self.name);
                return Ok((GateState::Pending, finding, evidence));
            }
            let lower = less_is_better(rule);
            let needed = if lower { theirs.value - rule.margin } else { theirs.value + rule.margin };
            let demand = if lower { Demand::AtMost } else { Demand::AtLeast };
            let passed = demand.met(ours.value, needed);
            let digits = demand.digits(ours.value, 3, |digits| rounded(needed, digits), passed);
            let compared = format!(
                "{} {:.digits$} {} {needed:.digits$}, `{name}` {:.digits$} {} {}",
                rule.metric,
                ours.value,
                demand.sign(passed),
                theirs.value,
                if lower { '-' } else { '+' },
                rule.margin
            );
            finding = if finding.is_empty() { compared } else { format!("{finding}; {compared}") };
            state = if passed { state } else { GateState::Failed };
            evidence.extend(theirs.evidence);
        }
        Ok((state, finding, evidence))
    }

    /// The verdict that was made of all gates together, if it is of this candidate and this very gate.
    fn compared(
        &self,
        gate: &Name,
        rule: &MetricRule,
        subject: &Subject,
    ) -> Result<(GateState, String, Vec<Sha256>), StageError> {
        let waits = |why: &str| Ok((GateState::Pending, why.to_owned(), vec![]));
        let Some((record, _)) = self.context.optional_record::<GateComparisons>("comparisons")? else {
            return waits("waits for evaluations");
        };
        let rows = rows_of(&record, self.name);
        let Some(row) = rows.get(gate) else { return waits("was not among the gates that were compared") };
        // Compared as rules: in canonical JSON the number 0.0 is written as 0.
        let same = Rule::deserialize(&row.rule).is_ok_and(|bound| bound == Rule::Metric(rule.clone()));
        if !same || row.manifest != Some(subject.sha256) {
            return Err(StageError::Refused(format!(
                "the comparison at the gate `{gate}` is of another candidate or another rule"
            )));
        }
        Ok((row.state, row.finding.clone(), row.evidence.clone()))
    }

    /// The best of some models; none if one of them was not measured.
    fn best(
        &self,
        rule: &MetricRule,
        rival: &Rival,
        models: &[Name],
    ) -> Result<Option<(Name, Mean)>, StageError> {
        let lower = less_is_better(rule);
        let mut best: Option<(Name, Mean)> = None;
        for name in models {
            let introduced = self.context.optional_record::<SourceArtifact>(&of("source", name))?;
            let subject = match &introduced {
                Some((source, subject)) => {
                    rival.is(name, source)?;
                    Some(subject)
                }
                None => None,
            };
            let input = |suite: &Name| format!("eval-of.{name}.{suite}");
            let Some(mean) = self.mean(rule, input, subject)? else { return Ok(None) };
            let better = |best: &Mean| if lower { mean.value < best.value } else { mean.value > best.value };
            if best.as_ref().is_none_or(|(_, best)| better(best)) {
                best = Some((name.clone(), mean));
            }
        }
        Ok(best)
    }

    /// The mean of a metric over the gate's suites; none if one of them was not measured.
    fn mean(
        &self,
        rule: &MetricRule,
        input: impl Fn(&Name) -> String,
        subject: Option<&Subject>,
    ) -> Result<Option<Mean>, StageError> {
        let (mut sum, mut evidence, mut asked) = (0.0, Vec::new(), Vec::new());
        for suite in &rule.suites {
            let Some((sidecar, record)) = self.context.optional_record::<EvaluationSidecar>(&input(suite))?
            else {
                return Ok(None);
            };
            if subject.is_none_or(|subject| subject.sha256 != sidecar.subject.manifest)
                || sidecar.suite.name != *suite
            {
                return Err(StageError::Refused(format!(
                    "the evaluation `{}` is about another model or suite",
                    input(suite)
                )));
            }
            let Some(metric) = sidecar.metrics.get(&rule.metric) else {
                return Err(StageError::Refused(format!(
                    "the suite `{suite}` has no metric `{}`",
                    rule.metric
                )));
            };
            sum += metric.value;
            evidence.push(record.sha256);
            asked.push(sidecar.suite.asked);
        }
        Ok(Some(Mean { value: sum / rule.suites.len() as f64, evidence, asked }))
    }

    /// A browser's answers are evidence only beside the native ones.
    fn browser_smoke(&self, gate: &Name) -> Result<(GateState, String, Vec<Sha256>), StageError> {
        let wait = |why: &str| Ok((GateState::Pending, why.to_owned(), vec![]));
        let Some(digest) = self.context.optional(&of("browser", gate)) else {
            return wait("waits for the smoke prompts to be run in a browser");
        };
        let (Some((_, manifest)), Some((_, lineage)), Some((native, native_subject))) =
            (&self.candidate, &self.lineage, self.context.optional_record::<RuntimeSmoke>("smoke")?)
        else {
            return wait("waits for an artifact and its native smoke");
        };
        let Some((brought, sha256)) = self.read_brought::<BrowserSmoke>(gate, &digest)? else {
            return wait("the browser run that was brought cannot be read");
        };
        let about = (&brought.gate, brought.subject.manifest, brought.lineage);
        if about != (gate, manifest.sha256, lineage.sha256) || brought.subject != native.subject {
            return wait("the browser run that was brought is of another candidate, gate or lineage");
        }
        // A page that is published now carries the runtime of now.
        if Some(brought.runtime) != self.browser_runtime {
            return wait(
                "the browser run that was brought is of another runtime than pages get now; run it again",
            );
        }
        let (state, finding) = super::browser_gate::compare(&brought, &native);
        Ok((state, finding, vec![sha256, native_subject.sha256]))
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

/// Which way the metric of a gate is better.
fn less_is_better(rule: &MetricRule) -> bool {
    evaluate::measured_by(&rule.metric).is_some_and(|(_, metric)| metric.better == Better::Lower)
}

/// Means of decimal fractions are not exact: 0.664 + 0.02 must not lose against 0.684, nor the mean of three
/// times 0.7 against 0.7.
const ROUNDING: f64 = 1e-12;
/// The most digits after the point that a number is told with.
const MOST_DIGITS: usize = 17;

/// On which side of a number a metric must be.
#[derive(Clone, Copy)]
enum Demand {
    AtLeast,
    AtMost,
}

impl Demand {
    fn met(self, value: f64, limit: f64) -> bool {
        match self {
            Self::AtLeast => value >= limit - ROUNDING,
            Self::AtMost => value <= limit + ROUNDING,
        }
    }

    fn sign(self, met: bool) -> &'static str {
        match (self, met) {
            (Self::AtLeast, true) => ">=",
            (Self::AtLeast, false) => "<",
            (Self::AtMost, true) => "<=",
            (Self::AtMost, false) => ">",
        }
    }

    /// With how many digits a value must be told so that a reader, who sees the limit as `limit` says it for so
    /// many, sees what was decided: 0.6999 is not "0.700 < 0.7".
    fn digits(self, value: f64, least: usize, limit: impl Fn(usize) -> f64, met: bool) -> usize {
        let seen = |digits: &usize| self.met(rounded(value, *digits), limit(*digits)) == met;
        (least..=MOST_DIGITS).find(seen).unwrap_or(MOST_DIGITS)
    }
}

/// A number as it is told with so many digits after the point.
fn rounded(value: f64, digits: usize) -> f64 {
    format!("{value:.digits$}").parse().unwrap_or(value)
}

struct Mean {
    value: f64,
    evidence: Vec<Sha256>,
    /// What another harness asked, for each suite.
    asked: Vec<Option<Sha256>>,
}

impl Mean {
    /// The first suite on which another one was asked something else.
    fn unlike<'s>(&self, other: &Self, suites: &'s [Name]) -> Option<&'s Name> {
        let pairs = self.asked.iter().zip(&other.asked).zip(suites);
        pairs.filter(|((one, other), _)| one != other).map(|(_, suite)| suite).next()
    }
}

fn limits(rule: &MetricRule, value: f64, digits: usize) -> (GateState, String) {
    let mut findings = BTreeMap::new();
    let mut passed = value.is_finite();
    for (name, limit, demand) in [("min", rule.min, Demand::AtLeast), ("max", rule.max, Demand::AtMost)] {
        let Some(limit) = limit else { continue };
        let met = demand.met(value, limit);
        passed &= met;
        let digits = demand.digits(value, digits, |_| limit, met);
        let sign = demand.sign(met);
        findings.insert(name, format!("{} {value:.digits$} {sign} {limit}", rule.metric));
    }
    let finding = findings.into_values().collect::<Vec<_>>().join("; ");
    (if passed { GateState::Passed } else { GateState::Failed }, finding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(min: Option<f64>, max: Option<f64>) -> MetricRule {
        MetricRule {
            metric: "m".into(),
            suites: vec![],
            min,
            max,
            versus: None,
            margin: 0.0,
            confidence: None,
        }
    }

    #[test]
    fn limits_hold_or_fail_and_say_the_numbers() {
        assert_eq!(limits(&rule(Some(0.5), None), 0.5, 3), (GateState::Passed, "m 0.500 >= 0.5".into()));
        assert_eq!(limits(&rule(Some(0.5), None), 0.4, 3), (GateState::Failed, "m 0.400 < 0.5".into()));
        assert_eq!(limits(&rule(None, Some(9.0)), 10.0, 0), (GateState::Failed, "m 10 > 9".into()));
        assert_eq!(limits(&rule(None, None), f64::NAN, 3).0, GateState::Failed);
    }

    #[test]
    fn a_mean_that_is_the_limit_but_for_rounding_is_within() {
        // What three suites of 0.7 come to.
        let mean = (0.7 + 0.7 + 0.7) / 3.0;
        assert!(mean < 0.7);
        assert_eq!(limits(&rule(Some(0.7), None), mean, 3), (GateState::Passed, "m 0.700 >= 0.7".into()));
        let mean = (0.1 + 0.2) / 2.0;
        assert!(mean > 0.15);
        assert_eq!(limits(&rule(None, Some(0.15)), mean, 3), (GateState::Passed, "m 0.150 <= 0.15".into()));
        assert_eq!(limits(&rule(Some(0.7), None), 0.7 - 1e-9, 3).0, GateState::Failed);
    }

    #[test]
    fn a_finding_does_not_contradict_itself() {
        let said = |min, max, value| limits(&rule(min, max), value, 3).1;
        assert_eq!(said(Some(0.7), None, 0.6999), "m 0.6999 < 0.7");
        assert_eq!(said(None, Some(0.7), 0.70004), "m 0.70004 > 0.7");
        assert_eq!(said(Some(0.7004), None, 0.70043), "m 0.7004 >= 0.7004");
        assert_eq!(said(None, Some(1e-4), 2e-4), "m 0.0002 > 0.0001");
        let mistaken = Demand::AtMost.digits(0.70004, 3, |digits| rounded(0.70001, digits), false);
        assert_eq!(mistaken, 5, "0.70004 > 0.70001, where both are rounded");
    }
}
