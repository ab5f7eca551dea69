//! The gates of a cycle that ask for a confidence, decided together from the outcomes of everybody.
//!
//! It is a stage of the kind `eval` of its own, called `comparisons`, because Holm's adjustment needs
//! the p values of all candidates and gates at once. What is missing counts as a test that proved
//! nothing: evidence that comes later can only make the others surer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::context::of;
use super::promotion::{MetricRule, Rule};
use super::rival::{NOBODY, UNLIKE};
use super::{Context, Made, StageError};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::evaluate::bootstrap::{Stratum, observed};
use crate::evaluate::decide::{self, Standing, Test};
use crate::evaluate::statistics::holm;
use crate::evaluate::{self, Better, Outcome, Score, outcome};
use crate::record::Subject;
use crate::record::candidate::CandidateManifest;
use crate::record::comparison::{Comparison, GateComparisons, Tested};
use crate::record::evaluation::EvaluationSidecar;
use crate::record::promotion::GateState;
use crate::record::source::SourceArtifact;
use crate::store::Verdict;

/// Every gate of every candidate that asks for a confidence.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    pub(crate) cycle: Name,
    /// What the random draws are named by, beside gate and candidate.
    pub(crate) seed: String,
    pub(crate) tests: Vec<Asked>,
}

/// One gate of one candidate.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    pub(crate) candidate: Name,
    pub(crate) gate: Name,
    pub(crate) rule: Rule,
    /// Its parents and base: who `best-parent` means.
    pub(crate) parents: Vec<Name>,
}

/// A test that was made, or why not.
struct Outlook<'p> {
    asked: &'p Asked,
    rule: &'p MetricRule,
    manifest: Option<Sha256>,
    made: Found,
    evidence: Vec<Sha256>,
}

/// What is said where the adjustment asks for more than a test can give.
pub(crate) const NO_CASES: &str = "no number of cases decides this among so many gates";

/// A test with its numbers in words, or what it waits for.
type Found = Result<(Test, String), String>;

pub(super) fn run(context: &Context<'_>, params: &Params) -> Result<Made, StageError> {
    let table = Tables { context, seed: &params.seed };
    let mut outlooks = Vec::new();
    for asked in &params.tests {
        context.go_on()?;
        let Rule::Metric(rule) = &asked.rule else {
            return Err(StageError::Refused(format!("the gate `{}` measures nothing", asked.gate)));
        };
        outlooks.push(table.outlook(asked, rule)?);
    }
    let p = |pick: fn(&Test) -> f64| -> Result<Vec<f64>, StageError> {
        let all: Vec<f64> = outlooks
            .iter()
            .map(|outlook| outlook.made.as_ref().map_or(1.0, |(test, _)| pick(test)))
            .collect();
        Ok(holm(&all)?)
    };
    let (meets, misses) = (p(|test| test.meets)?, p(|test| test.misses)?);
    let family = outlooks.len() as u64;
    let rows: Vec<Comparison> = outlooks
        .into_iter()
        .zip(meets.into_iter().zip(misses))
        .map(|(outlook, (meets, misses))| row(outlook, meets, misses, family))
        .collect::<Result<_, _>>()?;
    let count = |state| rows.iter().filter(|row| row.state == state).count();
    let summary = format!(
        "{family} tests: {} passed, {} failed, {} inconclusive, {} pending",
        count(GateState::Passed),
        count(GateState::Failed),
        count(GateState::Inconclusive),
        count(GateState::Pending)
    );
    let record = GateComparisons { cycle: params.cycle.clone(), family, rows };
    context.made(&record, Verdict::Pass, summary)
}

fn row(outlook: Outlook<'_>, meets: f64, misses: f64, family: u64) -> Result<Comparison, StageError> {
    let Outlook { asked, rule, manifest, made, evidence } = outlook;
    let confidence = rule.confidence.unwrap_or(0.95);
    let (state, finding, test) = match made {
        Err(why) => (GateState::Pending, why, None),
        Ok((test, said)) => {
            let standing = decide::standing(&test, meets, misses, confidence);
            let (state, rest, cases_needed) = match standing {
                Standing::Met => (GateState::Passed, String::new(), None),
                Standing::Missed => (GateState::Failed, String::new(), None),
                Standing::Undecided(Some(cases)) => {
                    (GateState::Inconclusive, format!("; about {cases} cases would decide"), Some(cases))
                }
                Standing::Undecided(None) => {
                    (GateState::Inconclusive, "; nothing seen points either way".to_owned(), None)
                }
                Standing::Undecidable => {
                    let why = format!("; {NO_CASES}: a bootstrap has no p below {:.2e}", test.least);
                    (GateState::Inconclusive, why, None)
                }
            };
            let (name, p) = if test.excess >= 0.0 { ("met", meets) } else { ("missed", misses) };
            let finding = format!(
                "{said}; {name} with p {p:.2e} of {:.2e} ({}, n {}, Holm over {family}){rest}",
                1.0 - confidence,
                test.method,
                test.n
            );
            let tested = Tested {
                method: test.method.to_owned(),
                n: test.n,
                excess: test.excess,
                meets: test.meets,
                meets_adjusted: meets,
                misses: test.misses,
                misses_adjusted: misses,
                cases_needed,
            };
            (state, finding, Some(tested))
        }
    };
    let rule = serde_json::to_value(&asked.rule).expect("rules are plain values");
    let (candidate, gate) = (asked.candidate.clone(), asked.gate.clone());
    Ok(Comparison { candidate, manifest, gate, rule, state, finding, test, evidence })
}

/// What a model did on the suites of a gate.
struct Measured {
    /// For each suite, every case.
    suites: Vec<Vec<Outcome>>,
    evidence: Vec<Sha256>,
}

struct Tables<'a> {
    context: &'a Context<'a>,
    seed: &'a str,
}

impl Tables<'_> {
    fn outlook<'p>(&self, asked: &'p Asked, rule: &'p MetricRule) -> Result<Outlook<'p>, StageError> {
        let introduced =
            self.context.optional_record::<CandidateManifest>(&of("candidate", &asked.candidate))?;
        let manifest = introduced.map(|(_, subject)| subject.sha256);
        let (made, evidence) = match manifest {
            None => (Err("waits for an artifact to measure".to_owned()), Vec::new()),
            Some(manifest) => self.tests(asked, rule, manifest)?,
        };
        Ok(Outlook { asked, rule, manifest, made, evidence })
    }

    fn tests(
        &self,
        asked: &Asked,
        rule: &MetricRule,
        manifest: Sha256,
    ) -> Result<(Found, Vec<Sha256>), StageError> {
        let Some(ours) = self.measured(&asked.candidate, rule, manifest)? else {
            return Ok((Err("waits for evaluations".to_owned()), Vec::new()));
        };
        let mut evidence = ours.evidence.clone();
        let (mut tests, mut said) = (Vec::new(), Vec::new());
        let purpose = |what: &str| -> Vec<String> {
            ["gate", self.seed, asked.gate.as_str(), asked.candidate.as_str(), what].map(str::to_owned).into()
        };
        let alone = self.strata(rule, &ours, None)?;
        let value = observed(&alone);
        for (limit, sign, words) in [(rule.min, 1.0, ">="), (rule.max, -1.0, "<=")] {
            let Some(limit) = limit else { continue };
            let purpose = purpose(words);
            let purpose: Vec<&str> = purpose.iter().map(String::as_str).collect();
            tests.push(decide::test(&alone, limit, sign, &purpose)?);
            said.push(format!("{} {value:.4}, demanded {words} {limit}", rule.metric));
        }
        let models = rule.versus.as_ref().map(|rival| (rival, rival.models(&asked.parents)));
        if models.as_ref().is_some_and(|(_, models)| models.is_empty()) {
            return Ok((Err(NOBODY.to_owned()), evidence));
        }
        for (versus, rival) in
            models.iter().flat_map(|(versus, models)| models.iter().map(move |model| (versus, model)))
        {
            let introduced = self.context.optional_record::<SourceArtifact>(&of("source", rival))?;
            let theirs = match introduced {
                Some((source, subject)) => {
                    versus.is(rival, &source)?;
                    self.measured(rival, rule, subject.sha256)?
                }
                None => None,
            };
            let Some(theirs) = theirs else {
                return Ok((Err(format!("waits for the evaluations of `{rival}`")), evidence));
            };
            if let Some(why) = unlike(&ours, &theirs) {
                let why = format!("{UNLIKE} `{}` and `{rival}`: {why}", asked.candidate);
                return Ok((Err(why), evidence));
            }
            let sign = self.sign(rule)?;
            let strata = self.strata(rule, &ours, Some(&theirs))?;
            let purpose = purpose(rival.as_str());
            let purpose: Vec<&str> = purpose.iter().map(String::as_str).collect();
            tests.push(decide::test(&strata, sign * rule.margin, sign, &purpose)?);
            let other = value - observed(&strata);
            said.push(format!(
                "{} {value:.4}, `{rival}` {other:.4}, better by {:.4}, demanded {}",
                rule.metric,
                sign * (value - other),
                rule.margin
            ));
            evidence.extend(theirs.evidence);
        }
        let one = decide::all_of(&tests)
            .ok_or_else(|| StageError::Refused(format!("the gate `{}` compares with nobody", asked.gate)))?;
        Ok((Ok((one, said.join("; "))), evidence))
    }

    fn sign(&self, rule: &MetricRule) -> Result<f64, StageError> {
        let found = evaluate::measured_by(&rule.metric);
        match found.map(|(_, metric)| metric.better) {
            Some(Better::Higher) => Ok(1.0),
            Some(Better::Lower) => Ok(-1.0),
            None => Err(StageError::Refused(format!("nothing measures `{}`", rule.metric))),
        }
    }

    /// A model's outcomes on every suite of a gate, each held against its sidecar; none if one of them
    /// was not made.
    fn measured(
        &self,
        model: &Name,
        rule: &MetricRule,
        manifest: Sha256,
    ) -> Result<Option<Measured>, StageError> {
        let (mut suites, mut evidence) = (Vec::new(), Vec::new());
        for suite in &rule.suites {
            let input = format!("eval.{model}.{suite}");
            let Some((sidecar, record)) = self.context.optional_record::<EvaluationSidecar>(&input)? else {
                return Ok(None);
            };
            if sidecar.subject.manifest != manifest || sidecar.suite.name != *suite {
                return Err(StageError::Refused(format!(
                    "the evaluation `{input}` is about another model or suite"
                )));
            }
            let outcomes = self.context.input(&format!("outcomes.{model}.{suite}"))?;
            let bytes = self.context.store.read_up_to(&outcomes, outcome::MAX_OUTCOMES)?;
            if Subject::of(&bytes) != sidecar.outcomes {
                return Err(StageError::Refused(format!("the outcomes of `{input}` are not those it binds")));
            }
            suites.push(outcome::from_jsonl(&bytes)?);
            evidence.push(record.sha256);
        }
        Ok(Some(Measured { suites, evidence }))
    }

    fn strata(
        &self,
        rule: &MetricRule,
        ours: &Measured,
        theirs: Option<&Measured>,
    ) -> Result<Vec<Stratum>, StageError> {
        let evaluator = evaluate::EVALUATORS.iter().find(|one| one.metric(&rule.metric).is_some());
        let evaluator =
            evaluator.ok_or_else(|| StageError::Refused(format!("nothing measures `{}`", rule.metric)))?;
        let Some((place, metric)) = evaluator.metric(&rule.metric) else {
            return Err(StageError::Refused(format!("nothing measures `{}`", rule.metric)));
        };
        let scores = |outcomes: &[Outcome]| -> Result<Vec<Score>, StageError> {
            outcomes.iter().map(|outcome| Ok(evaluator.scores(outcome)?[place])).collect()
        };
        let mut strata = Vec::new();
        for (at, own) in ours.suites.iter().enumerate() {
            let other = theirs.map(|theirs| &theirs.suites[at]);
            if let Some(other) = other {
                outcome::match_pair(own, other)?;
            }
            strata.push(Stratum {
                ours: scores(own)?,
                theirs: other.map(|other| scores(other)).transpose()?.unwrap_or_default(),
                values: metric.values,
            });
        }
        Ok(strata)
    }
}

/// Why two models cannot be compared case by case: another harness may have asked them different things.
fn unlike(ours: &Measured, theirs: &Measured) -> Option<String> {
    let pairs = ours.suites.iter().zip(&theirs.suites);
    pairs.filter_map(|(one, other)| outcome::match_pair(one, other).err()).map(|why| why.to_string()).next()
}

/// The rows of a candidate, by gate.
pub(super) fn rows_of<'r>(
    record: &'r GateComparisons,
    candidate: &Name,
) -> BTreeMap<&'r Name, &'r Comparison> {
    let own = record.rows.iter().filter(|row| row.candidate == *candidate);
    own.map(|row| (&row.gate, row)).collect()
}
