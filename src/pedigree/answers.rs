//! Answers about records, found once for all questions of a tracer.
//!
//! Records lead to each other, and by their bytes back to where one came from. Whoever is met again while its own
//! answer is looked for is left out, and so an answer below it may lack what is found there: that one is of this
//! question alone. All others are kept, so that a whole pedigree costs about as much as its youngest member.
//! As in Tarjan's search for components, an answer is whole if nothing that was left out is older than itself.

use std::collections::BTreeMap;

use super::PedigreeError;
use super::taint::Taint;
use crate::base::digest::Sha256;

/// What is asked of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asked {
    /// Whether it may be used.
    Use,
    /// Whether its bytes may be, whoever has them.
    Bytes,
}

/// What reaches a record; none if nothing does.
pub(super) type Answer = Result<Option<Taint>, PedigreeError>;

/// A record or artifact, and what is asked of it.
type Point = (Sha256, Asked);

/// Answers, and how one question came to where it is.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Answers that hold whoever asks.
    known: BTreeMap<Point, Answer>,
    /// Points of this question, each with its depth, or that of the earliest point that its answer left out.
    met: BTreeMap<Point, usize>,
    depth: usize,
    /// The depth of the earliest point that was left out since the last one was opened.
    left_out: Option<usize>,
    /// How many were opened, all in all.
    #[cfg(test)]
    opened: usize,
}

/// A point whose answer is looked for.
pub(super) struct Open {
    point: Point,
    depth: usize,
    left_out: Option<usize>,
}

impl Answers {
    /// Another question.
    pub(super) fn begin(&mut self) {
        self.met.clear();
        (self.depth, self.left_out) = (0, None);
    }

    /// The answer, where it is known or the point was met in this question: once is enough.
    pub(super) fn find(&mut self, point: Point) -> Option<Answer> {
        if let Some(known) = self.known.get(&point) {
            return again(known);
        }
        let met = *self.met.get(&point)?;
        self.leave_out(met);
        Some(Ok(None))
    }

    fn leave_out(&mut self, depth: usize) {
        self.left_out = Some(self.left_out.map_or(depth, |earlier| earlier.min(depth)));
    }

    /// Begins to look for an answer.
    pub(super) fn open(&mut self, point: Point) -> Open {
        #[cfg(test)]
        {
            self.opened += 1;
        }
        let depth = self.depth;
        self.depth += 1;
        self.met.insert(point, depth);
        // Whoever may be used has bytes that may be.
        self.met.entry((point.0, Asked::Bytes)).or_insert(depth);
        Open { point, depth, left_out: self.left_out.take() }
    }

    /// Keeps what was found, if it is whole.
    pub(super) fn close(&mut self, open: &Open, found: &Answer) {
        let Open { point, depth, left_out } = *open;
        self.depth = depth;
        let earlier = self.left_out.take().filter(|left_out| *left_out < depth);
        self.left_out = left_out;
        let bytes = (point.0, Asked::Bytes);
        if let Some(earlier) = earlier {
            self.met.extend([(point, earlier), (bytes, earlier)]);
            self.leave_out(earlier);
            return;
        }
        if let Ok(None) = found {
            self.known.insert(bytes, Ok(None));
        }
        self.known.extend(again(found).map(|found| (point, found)));
    }

    /// A question found nothing: nothing that was met has anything to find.
    pub(super) fn found_nothing(&mut self) {
        self.known.extend(std::mem::take(&mut self.met).into_keys().map(|point| (point, Ok(None))));
    }
}

/// An answer once more; none of errors that are not of a record.
fn again(answer: &Answer) -> Option<Answer> {
    match answer {
        Ok(found) => Some(Ok(found.clone())),
        Err(PedigreeError::Unreadable { what, record, whose }) => {
            Some(Err(PedigreeError::Unreadable { what, record: *record, whose: whose.clone() }))
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tree::tests::{digest, lineage, manifest, source};
    use super::super::{Pedigree, Revoked, Tracer};
    use super::*;
    use crate::record::Subject;
    use crate::record::lineage::Ancestor;
    use crate::store::Store;

    /// A candidate of each of these: whom it descends from, by number, and whose bytes it has. Parents come from pools.
    fn bred(all: &[(Vec<usize>, usize)]) -> (Pedigree, Vec<Sha256>) {
        let (mut pedigree, mut manifests) = (Pedigree::default(), Vec::new());
        let mut take = |bytes: Vec<u8>| {
            pedigree.take(&bytes);
            Sha256::of(&bytes)
        };
        let artifact = |bytes: usize| Subject::of(&bytes.to_le_bytes());
        for (at, (parents, bytes)) in all.iter().enumerate() {
            let mut body = lineage(digest("nobody"));
            (body.candidate, body.parents) = (format!("c{at}").parse().unwrap(), Vec::new());
            for parent in parents {
                let mut offered = source(manifests[*parent]);
                (offered.name, offered.artifact) =
                    (format!("p{parent}").parse().unwrap(), artifact(all[*parent].1));
                let (sha256, blake3) = (offered.artifact.sha256, offered.artifact.blake3);
                let name = offered.name.clone();
                let source = take(crate::record::to_bytes(&offered).unwrap());
                body.parents.push(Ancestor { name, source, sha256, blake3, adapts: None });
            }
            let mut made = manifest(take(crate::record::to_bytes(&body).unwrap()));
            (made.candidate, made.artifact) = (body.candidate, artifact(*bytes));
            manifests.push(take(crate::record::to_bytes(&made).unwrap()));
        }
        (pedigree, manifests)
    }

    /// What an answer says, but for the way there: of several with the same bytes, whom it names first follows from
    /// who was asked before.
    fn said(answer: Answer) -> Result<Option<(u64, Sha256)>, ()> {
        answer.map(|found| found.map(|taint| (taint.entry, taint.subject))).map_err(drop)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        /// One tracer finds of everybody what a new one finds, whoever was asked before.
        #[test]
        fn what_is_known_is_what_would_be_found(
            picks in prop::collection::vec((prop::collection::vec(0_usize..9, 0..3), 0_usize..12), 2..9),
            (taken, lost, turned) in (0_usize..9, prop::option::of(0_usize..9), any::<bool>()),
        ) {
            let parents = |at: usize, of: &[usize]| of.iter().filter(|parent| **parent < at).copied().collect();
            let all: Vec<_> =
                picks.iter().enumerate().map(|(at, (of, bytes))| (parents(at, of), *bytes)).collect();
            let (mut pedigree, mut manifests) = bred(&all);
            let taken = manifests[taken % manifests.len()];
            if let Some(lost) = lost.map(|lost| manifests[lost % manifests.len()]).filter(|lost| *lost != taken) {
                let gone = pedigree.manifests[&lost].lineage;
                pedigree.lineages.remove(&gone);
            }
            let revoked = Revoked { subjects: [(taken, 7)].into(), ..Revoked::default() };
            let folder = tempfile::tempdir().unwrap();
            let store = Store::create(folder.path()).unwrap();
            if turned {
                manifests.reverse();
            }
            let mut one = Tracer::new(&pedigree, &revoked, &store);
            for manifest in manifests {
                let body = &pedigree.manifests[&manifest];
                let fresh = Tracer::new(&pedigree, &revoked, &store).candidate(manifest, body);
                let known = one.candidate(manifest, body);
                prop_assert_eq!(said(known), said(fresh));
            }
        }
    }

    /// Each is the only parent of the next.
    #[test]
    fn a_long_pedigree_is_walked_once() {
        const LONG: usize = 60;
        let all: Vec<_> = (0..LONG).map(|at| (at.checked_sub(1).into_iter().collect(), at)).collect();
        let (mut pedigree, manifests) = bred(&all);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        for (taken, lost) in [(manifests[0], false), (digest("another"), false), (digest("another"), true)] {
            if lost {
                let gone = pedigree.manifests[&manifests[0]].lineage;
                pedigree.lineages.remove(&gone);
            }
            let revoked = Revoked { subjects: [(taken, 7)].into(), ..Revoked::default() };
            let mut tracer = Tracer::new(&pedigree, &revoked, &store);
            for manifest in manifests.iter().rev() {
                let found = tracer.candidate(*manifest, &pedigree.manifests[manifest]);
                assert_eq!(matches!(found, Ok(Some(_))), taken == manifests[0]);
                assert_eq!(found.is_err(), lost);
            }
            let opened = tracer.answers().opened;
            assert!(opened <= 5 * LONG, "{opened} for {LONG}");
        }
    }
}
