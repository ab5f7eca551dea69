//! Holding what a cycle decided against what it was decided by, before the ledger has it for good.
//!
//! A run believes the results it finds in its store, so that nothing is made twice. A decision goes further than
//! the store: it is entered, signed and published, by whoever has the keys. So who may only write to the store
//! must not be able to put one in place. Admission, promotion and comparisons are made again from the records
//! below them, which takes no model, unless this very run made them. What the ledger has already is settled.

use std::collections::BTreeSet;

use super::graph::{StageGraph, StageIndex};
use super::resolve::{Resolver, Results};
use super::verify::again::rederived;
use crate::base::digest::{Digest, Sha256};
use crate::base::key::WriteKey;
use crate::base::name::Name;
use crate::record::comparison::GateComparisons;
use crate::stage::{Action, Kind, StageError};
use crate::store::{ActionResult, Store, StoreError};

/// A decision that is about to be entered.
pub(super) struct Decision {
    cycle: Name,
    candidate: Name,
    record: Digest,
    /// What it is and rests on, as far as the store alone says so.
    believed: Vec<Believed>,
}

/// A result that was found and not made.
struct Believed {
    stage: StageIndex,
    id: String,
    action: Action,
    result: ActionResult,
}

/// What a stage decides with: the results that it needs, and what those need.
pub(super) struct Below<'a> {
    pub(super) graph: &'a StageGraph,
    pub(super) resolver: &'a Resolver<'a>,
    pub(super) results: &'a Results,
    /// Those that this run made.
    pub(super) made: &'a BTreeSet<StageIndex>,
}

impl Below<'_> {
    /// The decisions that a stage of the ledger is given.
    pub(super) fn decisions(&self, ledger: StageIndex) -> Result<Vec<Decision>, StoreError> {
        self.needed(ledger, |kind, _| kind == Kind::Admission)
            .filter_map(|admission| self.decision(admission).transpose())
            .collect()
    }

    fn decision(&self, admission: StageIndex) -> Result<Option<Decision>, StoreError> {
        let node = self.graph.node(admission);
        let record = self.results[admission.index()].as_ref().and_then(|result| result.outputs.get("record"));
        let (Some(record), Some(candidate)) = (record, &node.candidate) else { return Ok(None) };
        let mut stages = vec![admission];
        for promotion in self.needed(admission, |kind, _| kind == Kind::Promotion) {
            let compared = |kind, label: &str| kind == Kind::Eval && label == GateComparisons::LABEL;
            stages.extend(self.needed(promotion, compared));
            stages.push(promotion);
        }
        // From the bottom up: what is named is where the difference begins.
        stages.rotate_left(1);
        let believed = stages.into_iter().filter_map(|stage| self.believed(stage).transpose());
        Ok(Some(Decision {
            cycle: self.graph.cycle.clone(),
            candidate: candidate.clone(),
            record: record.digest,
            believed: believed.collect::<Result<_, _>>()?,
        }))
    }

    fn needed(&self, stage: StageIndex, is: impl Fn(Kind, &str) -> bool) -> impl Iterator<Item = StageIndex> {
        let all = self.graph.needs(stage).map(|(needed, _)| needed);
        all.filter(move |needed| is(self.graph.node(*needed).kind, &self.graph.node(*needed).label))
    }

    fn believed(&self, stage: StageIndex) -> Result<Option<Believed>, StoreError> {
        let result = self.results[stage.index()].as_ref().filter(|_| !self.made.contains(&stage));
        let Some(result) = result else { return Ok(None) };
        let (id, action) = (self.graph.node(stage).id.clone(), self.resolver.action(stage, self.results)?);
        Ok(Some(Believed { stage, id, action, result: result.clone() }))
    }
}

/// Refuses a decision that does not follow from what it rests on.
pub(super) fn hold(store: &Store, decisions: &[Decision]) -> Result<(), StageError> {
    let mut held = BTreeSet::new();
    for decision in decisions {
        if is_entered(store, decision)? {
            continue;
        }
        for believed in decision.believed.iter().filter(|believed| !held.contains(&believed.stage)) {
            rederived(store, &believed.action, &believed.result)
                .map_err(|why| believed.refused(store, &decision.candidate, &why))?;
        }
        held.extend(decision.believed.iter().map(|believed| believed.stage));
    }
    Ok(())
}

fn is_entered(store: &Store, decision: &Decision) -> Result<bool, StageError> {
    let record = Sha256::of(&store.read(&decision.record)?);
    let leaves = store.ledger()?.find_record(record)?;
    Ok(leaves
        .iter()
        .any(|leaf| leaf.cycle == decision.cycle && leaf.candidate.as_ref() == Some(&decision.candidate)))
}

impl Believed {
    fn refused(&self, store: &Store, candidate: &Name, why: &str) -> StageError {
        StageError::Forged {
            what: format!(
                "the decision on `{candidate}` is not entered: what the store has of {} does not follow from its \
                 evidence: {why}",
                self.id
            ),
            result: store.action_path(&self.action.action_key()),
        }
    }
}
