//! Which entry is meant where nobody names one: what the ledger admitted last, unless it was rolled back.
//!
//! Only the ledger decides, so that a page can follow: an admission puts a candidate on top of a stack, a
//! rollback takes away whatever is above the one it names. What was rolled back from stays away, even if the
//! one gone back to is taken back later; then it is the next below. Whom the ledger refused is nowhere in it.

use std::collections::BTreeSet;

use super::selector::SelectorEntry;
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::ledger::{EntryKind, Leaf};

/// The manifests a cycle's registry may fall back on, the default last.
pub fn line_of(cycle: &Name, leaves: &[Leaf]) -> Vec<Sha256> {
    let refused = |leaf: &&Leaf| leaf.kind == EntryKind::Refusal;
    let refused: BTreeSet<_> = leaves.iter().filter(refused).filter_map(|leaf| leaf.subject).collect();
    let mut line = Vec::new();
    for leaf in leaves.iter().filter(|leaf| leaf.cycle == *cycle) {
        let Some(subject) = leaf.subject.filter(|subject| !refused.contains(subject)) else { continue };
        match leaf.kind {
            EntryKind::Admission => line.push(subject),
            EntryKind::Rollback => {
                let place = line.iter().rposition(|manifest| *manifest == subject);
                line.truncate(place.unwrap_or(line.len()));
                line.push(subject);
            }
            _ => {}
        }
    }
    line
}

/// The default among the entries of one registry; none if none of them was admitted and is left.
pub fn default_of(entries: &[SelectorEntry], leaves: &[Leaf]) -> Option<Name> {
    let line = line_of(&entries.first()?.cycle, leaves);
    let offered = |manifest: &Sha256| entries.iter().find(|entry| entry.manifest == *manifest);
    line.iter().rev().find_map(offered).map(|entry| entry.id.clone())
}

#[cfg(test)]
mod tests {
    use super::super::selector::tests::entry;
    use super::*;
    use crate::ledger::decision::tests::log;

    fn default(offered: &[&str], told: &[(EntryKind, &str)]) -> Option<String> {
        let entries: Vec<_> = offered
            .iter()
            .map(|id| SelectorEntry { manifest: Sha256::of(id.as_bytes()), ..entry(id) })
            .collect();
        default_of(&entries, &log(told)).map(|id| id.to_string())
    }

    #[test]
    fn the_newest_admission_is_the_default_until_it_is_rolled_back() {
        use EntryKind::{Admission, Refusal, Rollback};
        let told = [(Admission, "a"), (Admission, "b"), (Refusal, "d"), (Admission, "c")];
        assert_eq!(default(&["a", "b", "c"], &told).as_deref(), Some("c"));
        assert_eq!(default(&["a", "b"], &told).as_deref(), Some("b"), "c is not offered");
        assert_eq!(default(&["d"], &told), None, "a refusal is no admission");
        assert_eq!(default(&[], &told), None);
        let rejected = [&told[..], &[(Refusal, "c")]].concat();
        assert_eq!(default(&["a", "b", "c"], &rejected).as_deref(), Some("b"), "a refusal takes it back");
        let back = [&told[..], &[(Rollback, "b")]].concat();
        assert_eq!(default(&["a", "b", "c"], &back).as_deref(), Some("b"));
        assert_eq!(default(&["a", "c"], &back).as_deref(), Some("a"), "never forward to c again");
        assert_eq!(default(&["c"], &back), None);
        let again = [&back[..], &[(Rollback, "c")]].concat();
        assert_eq!(default(&["a", "b", "c"], &again).as_deref(), Some("c"), "unless somebody says so");
        let later = [&back[..], &[(Admission, "e")]].concat();
        assert_eq!(default(&["a", "b", "c", "e"], &later).as_deref(), Some("e"));
    }
}
