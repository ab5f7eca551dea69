//! Holding what a cycle decided against what it was decided by, before the ledger has it for good.
//!
//! A run believes the results it finds in its store, so that nothing is made twice. A decision goes further than
//! the store: it is entered, signed and published, by whoever has the keys. So who may only write to the store
//! must not be able to put one in place. Admission, promotion, comparisons and compatibility are made again from the
//! records below them, unless this very run made them. What was measured is counted again from its outcomes, and its
//! cases are looked for again in the training texts; of a smoke run it is held that all it was to ask was asked, that
//! it came to what it says, that the model's file, opened, says the same of whether it runs and of its cache, and that
//! its tokens can be such an answer. No model is run for that, unless a smoke run would refuse it for good; and so it
//! is not held here whether outcomes, and what a smoke run found of each prompt, are what the model would do: `verify
//! --recompute` asks it again. Nor is it what this run made out of answers that were
//! cached. What the ledger has already is settled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::graph::{StageGraph, StageIndex};
use super::resolve::{Resolver, Results};
use super::verify::again::{Wrong, rederived};
use crate::base::digest::{Digest, Sha256};
use crate::base::key::WriteKey;
use crate::base::name::Name;
use crate::stage::{Action, Context, Kind, StageError, is_asked, stage};
use crate::store::{ActionResult, Store, StoreError};

/// A decision that is about to be entered.
pub(super) struct Decision {
    cycle: Name,
    candidate: Name,
    record: Digest,
    /// What it is.
    rests_on: Arc<Standing>,
}

/// A stage that a decision rests on. All candidates that were compared rest on the same measurements.
struct Standing {
    stage: StageIndex,
    /// None if this run made it.
    believed: Option<Believed>,
    below: Vec<Arc<Standing>>,
}

/// A result that was found and not made.
struct Believed {
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
        let mut known = BTreeMap::new();
        self.needed(ledger, |kind| kind == Kind::Admission)
            .filter_map(|admission| self.decision(admission, &mut known).transpose())
            .collect()
    }

    fn decision(&self, admission: StageIndex, known: &mut Known) -> Result<Option<Decision>, StoreError> {
        let node = self.graph.node(admission);
        let record = self.results[admission.index()].as_ref().and_then(|result| result.record());
        let (Some(record), Some(candidate)) = (record, &node.candidate) else { return Ok(None) };
        Ok(Some(Decision {
            cycle: self.graph.cycle.clone(),
            candidate: candidate.clone(),
            record: record.digest,
            rests_on: self.standing(admission, known)?,
        }))
    }

    fn needed(&self, stage: StageIndex, is: impl Fn(Kind) -> bool) -> impl Iterator<Item = StageIndex> {
        let all = self.graph.needs(stage).map(|(needed, _)| needed);
        all.filter(move |needed| is(self.graph.node(*needed).kind))
    }

    /// A stage with everything that it needs and gates ask about.
    fn standing(&self, stage: StageIndex, known: &mut Known) -> Result<Arc<Standing>, StoreError> {
        if let Some(standing) = known.get(&stage) {
            return Ok(standing.clone());
        }
        let mut below = Vec::new();
        let asked = |kind| matches!(kind, Kind::Promotion | Kind::Eval | Kind::Compat | Kind::Smoke);
        for needed in self.needed(stage, asked) {
            below.push(self.standing(needed, known)?);
        }
        let standing = Arc::new(Standing { stage, believed: self.believed(stage)?, below });
        known.insert(stage, standing.clone());
        Ok(standing)
    }

    fn believed(&self, stage: StageIndex) -> Result<Option<Believed>, StoreError> {
        let result = self.results[stage.index()].as_ref().filter(|_| !self.made.contains(&stage));
        let Some(result) = result else { return Ok(None) };
        let (id, action) = (self.graph.node(stage).id.clone(), self.resolver.action(stage, self.results)?);
        Ok(Some(Believed { id, action, result: result.clone() }))
    }
}

/// What was looked at already.
type Known = BTreeMap<StageIndex, Arc<Standing>>;

/// Refuses a decision that does not follow from what it rests on.
pub(super) fn hold(store: &Store, decisions: &[Decision]) -> Result<(), StageError> {
    let mut held = BTreeSet::new();
    for decision in decisions {
        if !is_entered(store, decision)? {
            decision.rests_on.hold(store, &decision.candidate, &mut held)?;
        }
    }
    Ok(())
}

impl Standing {
    /// From the bottom up: what is named is where the difference begins.
    fn hold(
        &self,
        store: &Store,
        candidate: &Name,
        held: &mut BTreeSet<StageIndex>,
    ) -> Result<(), StageError> {
        if !held.insert(self.stage) {
            return Ok(());
        }
        for standing in &self.below {
            standing.hold(store, candidate, held)?;
        }
        let Some(believed) = &self.believed else { return Ok(()) };
        believed.holds(store).map_err(|wrong| match wrong {
            Wrong::Differs(why) => believed.refused(store, candidate, &why),
            Wrong::NoPlace(error) => error.into(),
        })
    }
}

fn is_entered(store: &Store, decision: &Decision) -> Result<bool, StageError> {
    let record = Sha256::of(&store.read(&decision.record)?);
    let leaves = store.ledger()?.find_record(record)?;
    Ok(leaves
        .iter()
        .any(|leaf| leaf.cycle == decision.cycle && leaf.candidate.as_ref() == Some(&decision.candidate)))
}

impl Believed {
    /// What asks a model is not run again, whatever of its answers is no longer there; what they come to is.
    fn holds(&self, store: &Store) -> Result<(), Wrong> {
        let kind = match Kind::from_name(&self.action.kind) {
            // Whom it refuses it refuses for good.
            Some(Kind::Smoke) => {
                let context = Context { fresh: true, ..Context::looking(store, &self.action) };
                return self.rechecked(Kind::Smoke, &context);
            }
            _ if is_asked(&self.action) => Kind::Eval,
            _ => return rederived(store, &self.action, &self.result).map(drop),
        };
        self.rechecked(kind, &Context::looking(store, &self.action))
    }

    fn rechecked(&self, kind: Kind, context: &Context<'_>) -> Result<(), Wrong> {
        stage(kind).recheck(context, &self.result).map_err(|error| error.to_string().into())
    }

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
