//! What was decided of a candidate: one reading of the log for everybody who asks.
//!
//! A refusal is the last word on a manifest, wherever it stands. The manifest binds the plan's gates and suites, so
//! whoever was refused and is brought again with other evidence is the same candidate before the same gates: what
//! was found or said of it once is not undone by finding something else. An admission, on the other hand, holds until
//! it is taken back: by a revocation, a retirement, or a refusal.

use super::leaf::{EntryKind, Leaf};
use crate::base::digest::Sha256;

/// The first entry that refuses the candidate with this manifest.
pub fn refusal_of(manifest: Sha256, leaves: &[Leaf]) -> Option<&Leaf> {
    leaves.iter().find(|leaf| refuses(leaf, manifest))
}

fn refuses(leaf: &Leaf, manifest: Sha256) -> bool {
    leaf.kind == EntryKind::Refusal && leaf.subject == Some(manifest)
}

/// The first entry that takes an admission back, if one does. An entry without a manifest is about whatever has
/// its candidate's name.
pub fn taken_back<'l>(admission: &Leaf, leaves: &'l [Leaf]) -> Option<&'l Leaf> {
    leaves.iter().find(|other| match other.kind {
        EntryKind::Refusal => {
            admission.kind == EntryKind::Admission
                && admission.subject.is_some_and(|manifest| refuses(other, manifest))
        }
        EntryKind::Revocation | EntryKind::Retirement => {
            other.index > admission.index && is_about(other, admission)
        }
        _ => false,
    })
}

fn is_about(other: &Leaf, admission: &Leaf) -> bool {
    match other.subject {
        // An admission can be taken back by its own record: what it rested on was.
        Some(subject) => Some(subject) == admission.subject || subject == admission.record,
        None => {
            other.candidate.is_some()
                && (&other.cycle, &other.candidate) == (&admission.cycle, &admission.candidate)
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ledger::NewEntry;

    /// A log of these entries about candidates of one cycle.
    pub(crate) fn log(told: &[(EntryKind, &str)]) -> Vec<Leaf> {
        let leaf = |(index, (kind, id)): (usize, &(EntryKind, &str))| {
            let new = NewEntry {
                kind: *kind,
                cycle: "cycle".parse().unwrap(),
                candidate: Some(id.parse().unwrap()),
                subject: Some(Sha256::of(id.as_bytes())),
                record: Sha256::of(&[index as u8]),
                predicate_type: "urn:x".to_owned(),
                registration: kind.is_decision().then_some(0),
            };
            Leaf::new(new, index as u64, Sha256::of(b""), "2026-01-01T00:00:00Z".to_owned()).unwrap()
        };
        told.iter().enumerate().map(leaf).collect()
    }

    /// Which entry takes entry `at` back.
    fn back(told: &[(EntryKind, &str)], at: usize) -> Option<u64> {
        let leaves = log(told);
        taken_back(&leaves[at], &leaves).map(|leaf| leaf.index)
    }

    #[test]
    fn a_refusal_is_the_last_word_wherever_it_stands() {
        use EntryKind::{Admission, Refusal, Retirement, Revocation};
        assert_eq!(back(&[(Admission, "a"), (Refusal, "b")], 0), None, "somebody else");
        assert_eq!(back(&[(Admission, "a"), (Refusal, "a")], 0), Some(1));
        assert_eq!(back(&[(Refusal, "a"), (Admission, "a")], 1), Some(0));
        assert_eq!(back(&[(Admission, "a"), (Refusal, "a"), (Admission, "a")], 2), Some(1));
        assert_eq!(back(&[(Refusal, "a")], 0), None, "it is no admission");
        assert_eq!(back(&[(Retirement, "a"), (Admission, "a")], 1), None, "it was admitted after that");
        assert_eq!(back(&[(Admission, "a"), (Revocation, "a"), (Refusal, "a")], 0), Some(1));
        let leaves = log(&[(Admission, "a"), (Refusal, "b"), (Refusal, "b")]);
        assert_eq!(refusal_of(Sha256::of(b"b"), &leaves).map(|leaf| leaf.index), Some(1));
        assert_eq!(refusal_of(Sha256::of(b"a"), &leaves), None);
    }
}
