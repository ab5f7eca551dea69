//! Which other plans of a cycle were entered: a gate that one of several passes shows less than it says.
//!
//! The correction for many tests counts those of one plan. Who edits a plan until something passes makes as many
//! tests as before, each as if it were the first. Nobody is kept from that, since a plan may be edited for any
//! reason; but every plan is in the ledger before it runs, so their number can be told.

use crate::base::name::Name;
use crate::base::wording::count;
use crate::ledger::{EntryKind, Leaf};
use crate::record::Record;
use crate::record::plan::PlanRegistration;

/// The entries of a cycle's plans before the entry `before`, but for `own`.
pub fn other_plans(leaves: &[Leaf], cycle: &Name, own: Option<u64>, before: u64) -> Vec<u64> {
    let is_other = |leaf: &&Leaf| {
        leaf.kind == EntryKind::Plan
            && leaf.predicate_type == PlanRegistration::TYPE
            && leaf.cycle == *cycle
            && leaf.index < before
            && Some(leaf.index) != own
    };
    leaves.iter().filter(is_other).map(|leaf| leaf.index).collect()
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
    use super::*;
    use crate::base::digest::Sha256;
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
        let spring = "spring".parse().unwrap();
        assert_eq!(other_plans(&leaves, &spring, Some(4), u64::MAX), [0, 5]);
        assert_eq!(other_plans(&leaves, &spring, Some(4), 5), [0]);
        assert_eq!(other_plans(&leaves, &spring, None, u64::MAX), [0, 4, 5]);
        assert_eq!(told(&[]), None);
        assert!(told(&[0]).unwrap().starts_with("1 other plan of this cycle is in the ledger (by entry: 0)"));
        assert!(told(&[0, 5]).unwrap().starts_with("2 other plans of this cycle are in"));
    }
}
