//! Which other plans of a cycle were entered: a gate that one of several passes shows less than it says.
//!
//! The correction for many tests counts those of one plan. Who edits a plan until something passes makes as many
//! tests as before, each as if it were the first. Nobody is kept from that, since a plan may be edited for any
//! reason; but every plan is in the ledger before it runs, so their number can be told.
//!
//! A cycle under another name is no fresh start either, where it measures on the same cases. Which cases a plan asks is in
//! its registration and not in the ledger, so only who has the store can tell of those.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Pedigree, PedigreeError};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::base::wording::count;
use crate::ledger::{EntryKind, Leaf};
use crate::record::plan::PlanRegistration;
use crate::record::{self, Record};
use crate::store::Store;

/// The entries of other plans of a cycle before the entry `before`, as far as the ledger alone tells: all that are not
/// `own` and not of this very registration.
pub fn other_plans(leaves: &[Leaf], plan: &PlanRegistration, own: Option<u64>, before: u64) -> Vec<u64> {
    let same = spellings(plan);
    let others = plans(leaves, &plan.cycle).filter(|leaf| leaf.index < before && Some(leaf.index) != own);
    others.filter(|leaf| !same.contains(&leaf.record)).map(|leaf| leaf.index).collect()
}

/// The entries of a cycle's plans.
pub fn plans<'l>(leaves: &'l [Leaf], cycle: &Name) -> impl Iterator<Item = &'l Leaf> {
    every_plan(leaves).filter(move |leaf| leaf.cycle == *cycle)
}

/// The entries of plans of other cycles.
pub fn elsewhere<'l>(leaves: &'l [Leaf], cycle: &Name) -> impl Iterator<Item = &'l Leaf> {
    every_plan(leaves).filter(move |leaf| leaf.cycle != *cycle)
}

fn every_plan(leaves: &[Leaf]) -> impl Iterator<Item = &Leaf> {
    let is = |leaf: &&Leaf| leaf.kind == EntryKind::Plan && leaf.predicate_type == PlanRegistration::TYPE;
    leaves.iter().filter(is)
}

/// A plan of another cycle that measures on cases which this one's gates ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elsewhere {
    /// Its entry.
    pub entry: u64,
    /// The cycle.
    pub cycle: Name,
    /// How many cases of how many it asks, if not those of a whole suite: of the suite that shares the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<(usize, usize)>,
    /// Whether its registration cannot be read: then it may ask anything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

/// The plans of other cycles before the entry `before` that measure on cases which this one's gates ask, whatever they
/// measure for: who ranks by them has seen them, too; and that try something else. A suite of which a case was changed or
/// left out asks the others all the same. `known` are registrations by their digests: one that is gone might ask
/// anything.
///
/// # Errors
///
/// If records are needed and the store cannot be read.
pub fn same_cases(
    store: &Store,
    known: &BTreeMap<Sha256, PlanRegistration>,
    leaves: &[Leaf],
    plan: &PlanRegistration,
    before: u64,
) -> Result<Vec<Elsewhere>, PedigreeError> {
    let judging = judging(plan);
    let others: Vec<&Leaf> = elsewhere(leaves, &plan.cycle).filter(|leaf| leaf.index < before).collect();
    if judging.is_empty() || others.is_empty() {
        return Ok(Vec::new());
    }
    let pedigree = Pedigree::load(store)?;
    // Cases in another order or under other ids are the same; of a file that is not here, the file itself counts.
    let asked = |suite: Sha256| pedigree.asked_by(store, suite).unwrap_or(suite);
    let own: BTreeSet<Sha256> = judging.iter().copied().map(asked).collect();
    let shares = |suite: Sha256| {
        let shared = judging.iter().filter_map(|own| pedigree.shared_cases(store, *own, suite));
        shared.filter(|(cases, _)| *cases > 0).max()
    };
    let told = others.into_iter().filter_map(|leaf| {
        let found = Elsewhere { entry: leaf.index, cycle: leaf.cycle.clone(), shared: None, lost: false };
        let Some(other) = known.get(&leaf.record) else { return Some(Elsewhere { lost: true, ..found }) };
        let suites = || other.suites.iter().filter_map(|suite| suite.sha256);
        let shared = match suites().any(|suite| own.contains(&asked(suite))) {
            true => None,
            false => Some(suites().filter_map(shares).max()?),
        };
        differ(&pedigree, plan, other).then_some(Elsewhere { shared, ..found })
    });
    Ok(told.collect())
}

/// The files of cases that a plan's gates ask.
fn judging(plan: &PlanRegistration) -> Vec<Sha256> {
    let gates = plan.gates.as_array().into_iter().flatten();
    let suites = gates.filter_map(|gate| gate.pointer("/gate/rule/metric/suites")?.as_array()).flatten();
    let names: BTreeSet<&str> = suites.filter_map(Value::as_str).collect();
    let asked = plan.suites.iter().filter(|suite| names.contains(suite.name.as_str()));
    asked.filter_map(|suite| suite.sha256).collect()
}

/// The digests that a registration has, and had before what ranks and how many are chosen was registered: a plan
/// that was not changed is registered again since.
pub fn spellings(plan: &PlanRegistration) -> Vec<Sha256> {
    let before = PlanRegistration { review: None, recipe: None, ..plan.clone() };
    [plan, &before].into_iter().filter_map(|plan| Some(Sha256::of(&record::to_bytes(plan).ok()?))).collect()
}

/// Whether a plan could pass where `one` fails: it differs in what is made, from what or by which seed, or in what
/// is asked. What its cycle is called, limits that no candidate is held to, what an approver reads, what ranks
/// afterwards and in which order its sections stand are not that; nor is a candidate of which nothing was bound, for
/// nothing was tried of it. What cannot be read is taken for another plan.
pub fn differ(pedigree: &Pedigree, one: &PlanRegistration, other: &PlanRegistration) -> bool {
    let unbound = unbound(other);
    let (one, other) = (tries(pedigree, one, &unbound), tries(pedigree, other, &unbound));
    one.is_none() || one != other
}

/// The candidates of which nothing was bound.
fn unbound(plan: &PlanRegistration) -> BTreeSet<&Name> {
    let all = plan.candidates.iter().zip(&plan.lineages);
    all.filter(|(_, lineage)| lineage.is_none()).map(|(name, _)| name).collect()
}

/// What a plan tries with all but these candidates; none if one of its lineages cannot be read.
fn tries(pedigree: &Pedigree, plan: &PlanRegistration, without: &BTreeSet<&Name>) -> Option<Value> {
    let mut candidates = Map::new();
    let bound = plan.candidates.iter().zip(&plan.lineages).filter(|(name, _)| !without.contains(name));
    for (name, lineage) in bound {
        let lineage = match lineage {
            Some(lineage) => serde_json::to_value(pedigree.lineages.get(lineage)?).ok()?,
            None => Value::Null,
        };
        candidates.insert(name.to_string(), lineage);
    }
    let mut plan = serde_json::to_value(plan).ok()?;
    for ranks in ["review", "recipe", "lineages"] {
        plan.as_object_mut()?.remove(ranks);
    }
    plan["candidates"] = candidates.into();
    blank(&mut plan);
    Some(plan)
}

/// Takes out what nothing passes or fails by.
fn blank(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(blank),
        Value::Object(members) => {
            // Digests of records that have the rest of it.
            members.remove("compatibility");
            members.remove("source");
            // Nothing is drawn by it.
            members.remove("cycle");
            if let Some(Value::Object(budget)) = members.get_mut("budget") {
                budget.retain(|limit, _| limit == "artifact");
            }
            if let Some(Value::Object(approval)) = members.get_mut("approval") {
                approval.remove("statement");
            }
            members.values_mut().for_each(blank);
            for sections in ["suites", "gates"] {
                if let Some(Value::Array(all)) = members.get_mut(sections) {
                    all.sort_by_key(Value::to_string);
                }
            }
        }
        _ => {}
    }
}

/// What other plans mean for a gate, as a sentence; none if there are none.
pub fn told(others: &[u64], elsewhere: &[Elsewhere]) -> Option<String> {
    let listed = |entries: Vec<String>| entries.join(", ");
    let mut parts = Vec::new();
    if !others.is_empty() {
        let (plans, are) = (count(others.len(), "other plan"), if others.len() == 1 { "is" } else { "are" });
        let entries = listed(others.iter().map(u64::to_string).collect());
        parts.push(format!("{plans} of this cycle {are} in the ledger (by entry: {entries})"));
    }
    let some = |plans: Vec<&Elsewhere>, asks: [&str; 2]| {
        let entry = |plan: &&Elsewhere| {
            let shared =
                plan.shared.map_or_else(String::new, |(some, all)| format!(": {some} of {all} cases"));
            format!("{} of `{}`{shared}", plan.entry, plan.cycle)
        };
        let asks = asks[usize::from(plans.len() > 1)];
        let entries = listed(plans.iter().map(entry).collect());
        let plans = count(plans.len(), "plan");
        format!("{plans} of other cycles {asks} (by entry: {entries})")
    };
    let (lost, known): (Vec<_>, Vec<_>) = elsewhere.iter().partition(|plan| plan.lost);
    let (partly, whole): (Vec<_>, Vec<_>) = known.into_iter().partition(|plan| plan.shared.is_some());
    let kinds = [
        (whole, ["asks the same cases", "ask the same cases"]),
        (partly, ["asks some of the same cases", "ask some of the same cases"]),
        (lost, ["cannot be read and may ask the same cases"; 2]),
    ];
    parts.extend(
        kinds.into_iter().filter(|(plans, _)| !plans.is_empty()).map(|(plans, asks)| some(plans, asks)),
    );
    if parts.is_empty() {
        return None;
    }
    let parts = parts.join("; ");
    Some(format!("{parts}; a gate's correction for many tests counts those of its own plan alone"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::evaluate::Options;
    use crate::ledger::NewEntry;
    use crate::record::lineage::BoundSuite;
    use crate::record::plan::FinalUse;

    fn leaf(index: u64, kind: EntryKind, cycle: &str, predicate_type: &str) -> Leaf {
        let entry = NewEntry {
            kind,
            cycle: cycle.parse().unwrap(),
            candidate: None,
            subject: None,
            record: Sha256::of(&[index as u8]),
            predicate_type: predicate_type.to_owned(),
            registration: None,
        };
        Leaf::new(entry, index, Sha256::of(b""), "2026-01-01T00:00:00Z".to_owned()).unwrap()
    }

    fn registration() -> PlanRegistration {
        PlanRegistration {
            cycle: "spring".parse().unwrap(),
            seed: "seed".to_owned(),
            budget: crate::record::lineage::BoundBudget { candidates: 1, artifact: 2, disk: 3, seconds: 4 },
            candidates: vec!["ties".parse().unwrap()],
            lineages: vec![None],
            suites: vec![],
            gates: json!([{ "name": "release", "rule": { "approval": { "statement": "good" } } }]),
            review: Some(json!({ "objectives": [] })),
            recipe: Some(json!(2)),
        }
    }

    #[test]
    fn a_plan_is_another_by_what_it_makes_and_asks() {
        let (pedigree, plan) = (Pedigree::default(), registration());
        let change = |change: &dyn Fn(&mut PlanRegistration)| {
            let mut other = plan.clone();
            change(&mut other);
            differ(&pedigree, &plan, &other)
        };
        assert!(!change(&|_| {}));
        assert!(!change(&|plan| plan.budget.seconds = 5));
        assert!(!change(&|plan| (plan.review, plan.recipe) = (None, None)));
        assert!(!change(&|plan| plan.gates[0]["rule"]["approval"]["statement"] = json!("fine")));
        assert!(change(&|plan| plan.gates[0]["name"] = json!("other")));
        assert!(change(&|plan| plan.budget.artifact = 5));
        assert!(change(&|plan| plan.seed.push('s')));
        let lost = PlanRegistration { lineages: vec![Some(Sha256::of(b""))], ..plan.clone() };
        assert!(differ(&pedigree, &lost, &lost), "what cannot be read is not the same");
    }

    #[test]
    fn a_plan_is_not_another_by_the_order_of_its_sections_or_by_whom_nothing_was_tried_of() {
        let mut pedigree = Pedigree::default();
        let mut bound = |name: &str| {
            let mut body = super::super::tree::tests::lineage(Sha256::of(b"source"));
            body.candidate = name.parse().unwrap();
            let bytes = record::to_bytes(&body).unwrap();
            pedigree.take(&bytes);
            Some(Sha256::of(&bytes))
        };
        let lineages = [bound("ties"), bound("tasks")];
        let plan = |candidates: &[&str], lineages: &[Option<Sha256>]| PlanRegistration {
            candidates: candidates.iter().map(|name| name.parse().unwrap()).collect(),
            lineages: lineages.to_vec(),
            gates: json!([{ "gate": { "name": "a" } }, { "gate": { "name": "b" } }]),
            ..registration()
        };
        let (both, [ties, tasks]) = (plan(&["ties", "tasks"], &lineages), lineages);
        let mut turned = plan(&["tasks", "ties"], &[tasks, ties]);
        turned.gates.as_array_mut().unwrap().reverse();
        assert!(!differ(&pedigree, &both, &turned));
        let failed = plan(&["ties", "tasks"], &[ties, None]);
        assert!(!differ(&pedigree, &both, &failed), "nothing was tried of `tasks`");
        assert!(differ(&pedigree, &failed, &both), "`tasks` was tried there");
        assert!(differ(&pedigree, &both, &plan(&["ties", "tasks"], &[tasks, ties])));
    }

    #[test]
    fn a_cycle_under_another_name_asks_the_same_cases() {
        let plan = |cycle: &str, cases: &str, asks: bool| {
            let suites: &[&str] = if asks { &["sums"] } else { &[] };
            PlanRegistration {
                cycle: cycle.parse().unwrap(),
                suites: vec![BoundSuite {
                    name: "sums".parse().unwrap(),
                    kind: "exact_match".to_owned(),
                    sha256: Some(Sha256::of(cases.as_bytes())),
                    options: Options::default(),
                    r#use: "both".to_owned(),
                }],
                gates: json!([{ "candidates": [], "gate": { "rule": { "metric": { "suites": suites } } } }]),
                ..registration()
            }
        };
        let spring = plan("spring", "cases", true);
        let others = [
            plan("spring", "cases", true),
            PlanRegistration { seed: "another".to_owned(), ..plan("autumn", "cases", true) },
            plan("renamed", "cases", true),
            PlanRegistration { seed: "another".to_owned(), ..plan("other-cases", "others", true) },
            PlanRegistration { seed: "another".to_owned(), ..plan("ranks", "cases", false) },
        ];
        let digest = |plan: &PlanRegistration| Sha256::of(&record::to_bytes(plan).unwrap());
        let mut leaves: Vec<Leaf> = Vec::new();
        for (index, other) in (0..).zip(&others) {
            let leaf = leaf(index, EntryKind::Plan, other.cycle.as_str(), PlanRegistration::TYPE);
            leaves.push(Leaf { record: digest(other), ..leaf });
        }
        leaves.push(leaf(5, EntryKind::Plan, "lost", PlanRegistration::TYPE));
        leaves.push(leaf(6, EntryKind::Plan, "lost", FinalUse::TYPE));
        let known: BTreeMap<_, _> = others.iter().map(|other| (digest(other), other.clone())).collect();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let found = |plan: &PlanRegistration, before| {
            let found = same_cases(&store, &known, &leaves, plan, before).unwrap();
            let lost = |plan: &Elsewhere| if plan.lost { ", lost" } else { "" };
            found
                .iter()
                .map(|plan| format!("{} {}{}", plan.entry, plan.cycle, lost(plan)))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            found(&spring, u64::MAX),
            ["1 autumn", "4 ranks", "5 lost, lost"],
            "nothing else tries another thing on these"
        );
        assert_eq!(found(&spring, 5), ["1 autumn", "4 ranks"]);
        assert!(found(&plan("spring", "cases", false), u64::MAX).is_empty(), "whose gates ask no cases");
    }

    #[test]
    fn only_plans_of_the_cycle_that_were_entered_before_count() {
        let plan = PlanRegistration::TYPE;
        let leaves = [
            leaf(0, EntryKind::Plan, "spring", plan),
            leaf(1, EntryKind::Plan, "spring", FinalUse::TYPE),
            leaf(2, EntryKind::Plan, "autumn", plan),
            leaf(3, EntryKind::Revocation, "spring", "urn:x"),
            leaf(4, EntryKind::Plan, "spring", plan),
            leaf(5, EntryKind::Plan, "spring", plan),
        ];
        let spring = registration();
        assert_eq!(other_plans(&leaves, &spring, Some(4), u64::MAX), [0, 5]);
        assert_eq!(other_plans(&leaves, &spring, Some(4), 5), [0]);
        assert_eq!(other_plans(&leaves, &spring, None, u64::MAX), [0, 4, 5]);
        // The same plan, registered when less was.
        let old = PlanRegistration { review: None, recipe: None, ..spring.clone() };
        let record = Sha256::of(&record::to_bytes(&old).unwrap());
        let again = [&leaves[..5], &[Leaf { record, ..leaves[5].clone() }]].concat();
        assert_eq!(other_plans(&again, &spring, Some(4), u64::MAX), [0]);
        assert_eq!(told(&[], &[]), None);
        let alone = told(&[0], &[]).unwrap();
        assert!(alone.starts_with("1 other plan of this cycle is in the ledger (by entry: 0); a gate's"));
        assert!(told(&[0, 5], &[]).unwrap().starts_with("2 other plans of this cycle are in"));
        let there = Elsewhere { entry: 2, cycle: "autumn".parse().unwrap(), shared: None, lost: false };
        let both = told(&[0], std::slice::from_ref(&there)).unwrap();
        assert!(
            both.contains("; 1 plan of other cycles asks the same cases (by entry: 2 of `autumn`); a"),
            "{both}"
        );
        assert!(told(&[], std::slice::from_ref(&there)).unwrap().starts_with("1 plan of other cycles asks"));
        let partly = Elsewhere { entry: 3, shared: Some((7, 8)), ..there.clone() };
        let lost = Elsewhere { entry: 4, lost: true, ..there.clone() };
        let all = told(&[], &[there, partly, lost]).unwrap();
        assert!(
            all.starts_with(
                "1 plan of other cycles asks the same cases (by entry: 2 of `autumn`); 1 plan of other cycles asks \
                 some of the same cases (by entry: 3 of `autumn`: 7 of 8 cases); 1 plan of other cycles cannot be \
                 read and may ask the same cases (by entry: 4 of `autumn`); a gate's"
            ),
            "{all}"
        );
    }
}
