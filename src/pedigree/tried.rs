//! Which other plans of a cycle were entered: a gate that one of several passes shows less than it says.
//!
//! The correction for many tests counts those of one plan. Who edits a plan until something passes makes as many
//! tests as before, each as if it were the first. Nobody is kept from that, since a plan may be edited for any
//! reason; but every plan is in the ledger before it runs, so their number can be told.

use serde_json::Value;

use super::Pedigree;
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::base::wording::count;
use crate::ledger::{EntryKind, Leaf};
use crate::record::plan::PlanRegistration;
use crate::record::{self, Record};

/// The entries of other plans of a cycle before the entry `before`, as far as the ledger alone tells: all that are not
/// `own` and not of this very registration.
pub fn other_plans(leaves: &[Leaf], plan: &PlanRegistration, own: Option<u64>, before: u64) -> Vec<u64> {
    let same = spellings(plan);
    let others = plans(leaves, &plan.cycle).filter(|leaf| leaf.index < before && Some(leaf.index) != own);
    others.filter(|leaf| !same.contains(&leaf.record)).map(|leaf| leaf.index).collect()
}

/// The entries of a cycle's plans.
pub fn plans<'l>(leaves: &'l [Leaf], cycle: &Name) -> impl Iterator<Item = &'l Leaf> {
    leaves.iter().filter(move |leaf| {
        leaf.kind == EntryKind::Plan && leaf.predicate_type == PlanRegistration::TYPE && leaf.cycle == *cycle
    })
}

/// The digests that a registration has, and had before what ranks and how many are chosen was registered: a plan
/// that was not changed is registered again since.
pub fn spellings(plan: &PlanRegistration) -> Vec<Sha256> {
    let before = PlanRegistration { review: None, recipe: None, ..plan.clone() };
    [plan, &before].into_iter().filter_map(|plan| Some(Sha256::of(&record::to_bytes(plan).ok()?))).collect()
}

/// Whether a plan could pass where another fails: it differs in what is made, from what or by which seed, or in what
/// is asked. Limits that no candidate is held to, what an approver reads and what ranks afterwards are not that. What
/// cannot be read is taken for another plan.
pub fn differ(pedigree: &Pedigree, one: &PlanRegistration, other: &PlanRegistration) -> bool {
    let (one, other) = (tries(pedigree, one), tries(pedigree, other));
    one.is_none() || one != other
}

/// What a plan tries; none if one of its lineages cannot be read.
fn tries(pedigree: &Pedigree, plan: &PlanRegistration) -> Option<Value> {
    let mut lineages = Vec::new();
    for lineage in &plan.lineages {
        lineages.push(match lineage {
            Some(lineage) => serde_json::to_value(pedigree.lineages.get(lineage)?).ok()?,
            None => Value::Null,
        });
    }
    let mut plan = serde_json::to_value(plan).ok()?;
    for ranks in ["review", "recipe"] {
        plan.as_object_mut()?.remove(ranks);
    }
    plan["lineages"] = lineages.into();
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
            if let Some(Value::Object(budget)) = members.get_mut("budget") {
                budget.retain(|limit, _| limit == "artifact");
            }
            if let Some(Value::Object(approval)) = members.get_mut("approval") {
                approval.remove("statement");
            }
            members.values_mut().for_each(blank);
        }
        _ => {}
    }
}

/// What other plans mean for a gate, as a sentence; none if there are none.
pub fn told(others: &[u64]) -> Option<String> {
    if others.is_empty() {
        return None;
    }
    let entries = others.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let (plans, are) = (count(others.len(), "other plan"), if others.len() == 1 { "is" } else { "are" });
    Some(format!(
        "{plans} of this cycle {are} in the ledger (by entry: {entries}); a gate's correction for many tests counts \
         those of its own plan alone"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ledger::NewEntry;
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
        assert!(change(&|plan| plan.candidates = vec!["tasks".parse().unwrap()]));
        let lost = PlanRegistration { lineages: vec![Some(Sha256::of(b""))], ..plan.clone() };
        assert!(differ(&pedigree, &lost, &lost), "what cannot be read is not the same");
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
        assert_eq!(told(&[]), None);
        assert!(told(&[0]).unwrap().starts_with("1 other plan of this cycle is in the ledger (by entry: 0)"));
        assert!(told(&[0, 5]).unwrap().starts_with("2 other plans of this cycle are in"));
    }
}
