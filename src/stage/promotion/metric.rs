//! The metric gate: a number of this candidate against limits, or against somebody else's.

use serde::Deserialize;

use super::limits::{Demand, limits, rounded};
use super::{Case, Found, MetricRule, Rule};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::evaluate::{self, Better};
use crate::record::Subject;
use crate::record::comparison::GateComparisons;
use crate::record::evaluation::EvaluationSidecar;
use crate::record::promotion::GateState;
use crate::record::source::SourceArtifact;
use crate::stage::StageError;
use crate::stage::comparison::rows_of;
use crate::stage::context::of;
use crate::stage::rival::{NOBODY, Rival, UNLIKE};

impl Case<'_> {
    pub(super) fn metric(&self, gate: &Name, rule: &MetricRule) -> Result<Found, StageError> {
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
        let (state, finding) = limits(rule, ours.value, 3);
        match &rule.versus {
            None => Ok((state, finding, ours.evidence)),
            Some(rival) => self.beside(rule, rival, ours, (state, finding)),
        }
    }

    /// The same number beside that of the best of some models; what is found adds to what limits found.
    fn beside(
        &self,
        rule: &MetricRule,
        rival: &Rival,
        ours: Mean,
        (state, finding): (GateState, String),
    ) -> Result<Found, StageError> {
        let models = rival.models(self.parents);
        if models.is_empty() {
            return Ok((GateState::Pending, NOBODY.to_owned(), ours.evidence));
        }
        let Some((name, theirs)) = self.best(rule, rival, &models)? else {
            let whose = models.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
            let finding = format!("waits for the evaluations of {whose}");
            return Ok((GateState::Pending, finding, ours.evidence));
        };
        if let Some(suite) = ours.unlike(&theirs, &rule.suites) {
            let finding = format!("{UNLIKE} `{}` and `{name}` on `{suite}` were not asked alike", self.name);
            return Ok((GateState::Pending, finding, ours.evidence));
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
        let finding = if finding.is_empty() { compared } else { format!("{finding}; {compared}") };
        let state = if passed { state } else { GateState::Failed };
        Ok((state, finding, [ours.evidence, theirs.evidence].concat()))
    }

    /// The verdict that was made of all gates together, if it is of this candidate and this very gate.
    fn compared(&self, gate: &Name, rule: &MetricRule, subject: &Subject) -> Result<Found, StageError> {
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
    pub(super) fn mean(
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
}

/// Which way the metric of a gate is better.
fn less_is_better(rule: &MetricRule) -> bool {
    evaluate::measured_by(&rule.metric).is_some_and(|(_, metric)| metric.better == Better::Lower)
}

pub(super) struct Mean {
    pub(super) value: f64,
    pub(super) evidence: Vec<Sha256>,
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
