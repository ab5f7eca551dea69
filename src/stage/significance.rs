//! Which differences between the reviewed are more than chance: every two of them, case by case.
//!
//! A ranking takes numbers as they are; with few cases the order within it may be luck. Two models are
//! compared on a suite as a gate would compare them, without a margin and two-sided, and all p values are
//! adjusted together. Doing nothing is compared under its own name, and the parent it stands for is not a
//! second time.

use super::review::Row;
use super::{Context, StageError};
use crate::base::name::Name;
use crate::evaluate::bootstrap::Stratum;
use crate::evaluate::decide;
use crate::evaluate::statistics::holm;
use crate::evaluate::{self, Better, Evaluator, Outcome, Score, outcome};
use crate::record::Subject;
use crate::record::evaluation::EvaluationSidecar;
use crate::record::significance::{PairedTest, Significance};

/// Most models that are compared, each with each: the first of the review. Of more, nobody reads the
/// table, and the adjustment leaves nothing to see.
const MOST: usize = 24;

/// Compares the first of the reviewed. `order` is that of the review.
pub(super) fn significance(
    context: &Context<'_>,
    seed: &str,
    objectives: &[String],
    order: &[&Row],
) -> Result<Significance, StageError> {
    let stays = order.iter().find(|row| row.is_no_op()).map(|row| row.manifest);
    let stands_in = |row: &&&Row| row.is_parent() && Some(row.manifest) == stays;
    let compared: Vec<&Row> = order.iter().filter(|row| !stands_in(row)).take(MOST).copied().collect();
    let mut pairs = Vec::new();
    for objective in objectives {
        let mut measured = Vec::new();
        for row in &compared {
            measured.extend(Measured::of(context, row, objective)?.map(|found| (&row.name, found)));
        }
        for (at, (one, ours)) in measured.iter().enumerate() {
            for (other, theirs) in &measured[at + 1..] {
                context.go_on()?;
                pairs.extend(compare(seed, objective, (one, ours), (other, theirs))?);
            }
        }
    }
    let raw: Vec<f64> = pairs.iter().map(|pair| pair.p).collect();
    for (pair, adjusted) in pairs.iter_mut().zip(holm(&raw)?) {
        pair.p_adjusted = adjusted;
    }
    let compared = compared.iter().map(|row| row.name.clone()).collect();
    Ok(Significance { compared, family: pairs.len() as u64, pairs })
}

/// What one model did on one suite.
struct Measured {
    outcomes: Vec<Outcome>,
    /// On the evaluator's main metric, read once for all comparisons.
    scores: Vec<Score>,
    evaluator: &'static dyn Evaluator,
}

impl Measured {
    /// None for what has no cases.
    fn of(context: &Context<'_>, row: &Row, objective: &str) -> Result<Option<Self>, StageError> {
        let input = |what: &str| format!("{what}.{}.{objective}", row.measured_as);
        let Some((sidecar, _)) = context.optional_record::<EvaluationSidecar>(&input("eval"))? else {
            return Ok(None);
        };
        let bytes = context.store.read_up_to(&context.input(&input("outcomes"))?, outcome::MAX_OUTCOMES)?;
        if sidecar.subject.manifest != row.manifest || Subject::of(&bytes) != sidecar.outcomes {
            let why = format!("the outcomes of `{}` are not those it binds", input("eval"));
            return Err(StageError::Refused(why));
        }
        let Some(evaluator) = evaluate::find(&sidecar.suite.kind) else { return Ok(None) };
        let outcomes = outcome::from_jsonl(&bytes)?;
        let score = |outcome: &Outcome| -> Result<Score, StageError> { Ok(evaluator.scores(outcome)?[0]) };
        let scores = outcomes.iter().map(score).collect::<Result<_, _>>()?;
        Ok(Some(Self { outcomes, scores, evaluator }))
    }
}

/// None if the two were not asked the same cases, as another harness may have done.
fn compare(
    seed: &str,
    objective: &str,
    (one, ours): (&Name, &Measured),
    (other, theirs): (&Name, &Measured),
) -> Result<Option<PairedTest>, StageError> {
    if outcome::match_pair(&ours.outcomes, &theirs.outcomes).is_err() {
        return Ok(None);
    }
    let metric = ours.evaluator.metrics()[0];
    let sign = if metric.better == Better::Higher { 1.0 } else { -1.0 };
    let stratum = Stratum { ours: ours.scores.clone(), theirs: theirs.scores.clone(), values: metric.values };
    let purpose = ["review", seed, objective, one.as_str(), other.as_str()];
    let test = decide::test(&[stratum], 0.0, sign, &purpose)?;
    let p = (2.0 * test.meets.min(test.misses)).min(1.0);
    Ok(Some(PairedTest {
        objective: objective.to_owned(),
        one: one.clone(),
        other: other.clone(),
        effect: test.excess,
        p,
        p_adjusted: p,
        n: test.n,
        method: test.method.to_owned(),
    }))
}
