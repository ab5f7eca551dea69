//! A greedy soup: which parents are in it, decided by evaluations that stages made before.
//!
//! Wortsman et al., "Model soups", 2022, recipe 1: parents in the order of a metric, best first; each is
//! added to the average if the average is then at least as good. Every step is two stages, a trial soup
//! and its evaluation, and their number is known before anything runs: one fewer than there are
//! parents. This file is the rule alone, a function of the evaluations' records, so a trial is cached and
//! recomputed like any other stage.
//!
//! Parents of the same score keep the plan's order.

use serde::{Deserialize, Serialize};

use super::context::of;
use super::{Action, StageError};
use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;
use crate::record::evaluation::EvaluationSidecar;
use crate::record::receipt::{Selection, Trial};
use crate::record::{self, Subject};
use crate::store::Store;

/// What decides, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Greedy {
    /// The metric; higher is better.
    pub(crate) metric: String,
    /// The suite it is measured on.
    pub(crate) suite: Name,
    /// How many trials were made before.
    pub(crate) trials: u64,
    /// Whether this is one more, or the soup that they led to.
    pub(crate) is_trial: bool,
}

/// The name of the evaluation of the `index`-th trial, from 0, among a stage's inputs.
pub(crate) fn trial(index: u64) -> String {
    format!("eval-of-trial.{}", index + 1)
}

/// What the soup is made of, and how that came about.
pub(super) struct Decision {
    /// The parents that are averaged.
    pub(super) ingredients: Vec<Name>,
    /// The trials so far, with their scores.
    pub(super) selection: Selection,
}

/// Reads the evaluations and decides.
pub(super) fn decide(
    store: &Store,
    action: &Action,
    greedy: &Greedy,
    parents: &[Name],
) -> Result<Decision, StageError> {
    let reader = Reader { store, action, greedy };
    let scored = parents
        .iter()
        .map(|parent| Ok((parent.clone(), reader.read(&of("eval", parent))?.value)))
        .collect::<Result<Vec<_>, StageError>>()?;
    let order = in_order(scored);
    let scores =
        (0..greedy.trials).map(|index| reader.read(&trial(index))).collect::<Result<Vec<_>, StageError>>()?;
    let cases = match parents.first() {
        Some(first) => reader.read(&of("eval", first))?.cases,
        None => return Err(StageError::Refused("a soup of nobody".to_owned())),
    };
    let (mut chosen, trials) = walk(&order, &scores);
    if greedy.is_trial {
        let next = order.get(trials.len() + 1);
        let (name, _) = next.ok_or_else(|| StageError::Refused("there is nobody left to try".to_owned()))?;
        chosen.push(name.clone());
    }
    let (metric, suite) = (greedy.metric.clone(), greedy.suite.clone());
    Ok(Decision { ingredients: chosen, selection: Selection { metric, suite, cases, order, trials } })
}

/// Best first; equals in the plan's order.
fn in_order(mut scored: Vec<(Name, f64)>) -> Vec<(Name, f64)> {
    scored.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    scored
}

/// Who is in after so many trials, and what each of them found.
fn walk(order: &[(Name, f64)], scores: &[Scored]) -> (Vec<Name>, Vec<Trial>) {
    let mut chosen: Vec<Name> = order.first().map(|(name, _)| name.clone()).into_iter().collect();
    let mut best = order.first().map_or(f64::NEG_INFINITY, |(_, score)| *score);
    let mut trials = Vec::new();
    for (scored, (name, _)) in scores.iter().zip(&order[1..]) {
        let kept = scored.value >= best;
        trials.push(Trial {
            added: name.clone(),
            to: chosen.clone(),
            score: scored.value,
            best_before: best,
            kept,
            evaluation: scored.evaluation,
        });
        if kept {
            chosen.push(name.clone());
            best = scored.value;
        }
    }
    (chosen, trials)
}

/// One measurement.
struct Scored {
    value: f64,
    evaluation: Sha256,
    cases: Sha256,
}

struct Reader<'a> {
    store: &'a Store,
    action: &'a Action,
    greedy: &'a Greedy,
}

impl Reader<'_> {
    fn read(&self, input: &str) -> Result<Scored, StageError> {
        let digest: &Digest = self
            .action
            .inputs
            .get(input)
            .ok_or_else(|| StageError::Refused(format!("the input `{input}` is missing")))?;
        let bytes = self.store.read(digest)?;
        let sidecar: EvaluationSidecar = record::from_bytes(&bytes)
            .map_err(|source| StageError::Record { input: input.to_owned(), source })?;
        if sidecar.suite.name != self.greedy.suite {
            let found = &sidecar.suite.name;
            return Err(StageError::Refused(format!("the input `{input}` is of the suite `{found}`")));
        }
        let metric = sidecar.metrics.get(&self.greedy.metric).ok_or_else(|| {
            StageError::Refused(format!("the input `{input}` does not measure `{}`", self.greedy.metric))
        })?;
        if !metric.value.is_finite() {
            return Err(StageError::Refused(format!("the input `{input}` measures {}", metric.value)));
        }
        let evaluation = Subject::of(&bytes).sha256;
        Ok(Scored { value: metric.value, evaluation, cases: sidecar.suite.cases.sha256 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn scored(value: f64) -> Scored {
        Scored { value, evaluation: Sha256::of(b"e"), cases: Sha256::of(b"c") }
    }

    /// The paper's recipe, walked by hand: a 0.7, c 0.6, b 0.5, d 0.5; a+c 0.72 is kept, a+c+b 0.71 is not,
    /// a+c+d 0.72 is, because it is no worse.
    #[test]
    fn the_papers_recipe() {
        let scores = [("a", 0.7), ("b", 0.5), ("c", 0.6), ("d", 0.5)].map(|(n, score)| (name(n), score));
        let order = in_order(scores.to_vec());
        let names: Vec<&str> = order.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "c", "b", "d"]);
        let (chosen, trials) = walk(&order, &[scored(0.72), scored(0.71), scored(0.72)]);
        assert_eq!(chosen, [name("a"), name("c"), name("d")]);
        assert_eq!(trials.iter().map(|trial| trial.kept).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(trials[2].to, [name("a"), name("c")]);
        assert_eq!((trials[1].best_before, trials[1].score), (0.72, 0.71));
        // Before the first trial there is the best parent, and nothing has been tried.
        let (chosen, trials) = walk(&order, &[]);
        assert_eq!((chosen, trials.len()), (vec![name("a")], 0));
    }
}
