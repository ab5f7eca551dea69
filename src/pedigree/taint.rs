//! What was taken back, and whom that reaches.
//!
//! A revocation names one digest; that of a candidate comes with one of its bytes right behind it, so that they are
//! known even where the manifest is gone, and that of a suite with one of what it asks. It reaches a candidate whose manifest or artifact that is, whose suites
//! or declared data it is among, one whose records were signed by that key, everybody who descends
//! from one it reaches, and whoever has the same bytes. Nothing is removed: what is tainted stays on record
//! as tainted. Whom it reaches is for [`super::tracer`] to find.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::PedigreeError;
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::ledger::{EntryKind, Leaf, Ledger};

/// What the ledger takes back: the digest, and the entry that says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revoked {
    /// For cause.
    pub subjects: BTreeMap<Sha256, u64>,
    /// Of the revoked, the artifacts of candidates, with the names of these.
    pub artifacts: BTreeMap<Sha256, String>,
    /// Of the revoked, candidates whose bytes only their manifests tell.
    pub by_manifest: BTreeMap<Sha256, Leaf>,
    /// Without blame: candidates that are no longer offered.
    pub retired: BTreeMap<Sha256, u64>,
    /// Candidates that were refused, by manifest: the first entry that says so, which is the last word.
    pub refused: BTreeMap<Sha256, u64>,
    /// Every candidate that was ever admitted, with the records of its admissions: which these were is known
    /// even where they are gone.
    pub admitted: BTreeMap<Sha256, Vec<Sha256>>,
}

/// Why something is not to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// What was taken back.
    pub subject: Sha256,
    /// By which ledger entry.
    pub entry: u64,
    /// How it is related: `it is`, `it was measured on`, `it descends from`.
    pub how: String,
}

impl std::fmt::Display for Taint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}, which ledger entry {} revokes", self.how, self.subject.short(), self.entry)
    }
}

impl Taint {
    /// For people: of a way over many generations its ends. Records have all of it.
    pub fn brief(&self) -> Self {
        let steps: Vec<&str> = self.how.split(": ").collect();
        let how = match steps.as_slice() {
            [first, second, between @ .., last] if between.len() > 1 => {
                format!("{first}: {second}: and {} steps on: {last}", between.len())
            }
            _ => self.how.clone(),
        };
        Self { how, ..self.clone() }
    }
}

/// One log at one root always says the same, so it is read once for all stages of a run.
static READ: Mutex<Option<(PathBuf, Sha256, Arc<Revoked>)>> = Mutex::new(None);

impl Revoked {
    /// What a ledger takes back. The whole log is checked on the way.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be read or does not hold.
    pub fn of(ledger: &Ledger) -> Result<Arc<Self>, PedigreeError> {
        let head = ledger.head()?;
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((folder, root, revoked)) = &*read
            && (folder.as_path(), *root) == (ledger.folder(), head.root)
        {
            return Ok(revoked.clone());
        }
        let revoked = Arc::new(Self::by(&ledger.leaves()?));
        *read = Some((ledger.folder().to_owned(), head.root, revoked.clone()));
        Ok(revoked)
    }

    /// What a ledger of these leaves takes back.
    pub fn by(leaves: &[Leaf]) -> Self {
        let mut revoked = Self::default();
        revoked.bytes_of_candidates(leaves);
        for leaf in leaves {
            let Some(subject) = leaf.subject else { continue };
            match leaf.kind {
                EntryKind::Revocation => revoked.subjects.entry(subject).or_insert(leaf.index),
                EntryKind::Retirement => revoked.retired.entry(subject).or_insert(leaf.index),
                EntryKind::Refusal => revoked.refused.entry(subject).or_insert(leaf.index),
                EntryKind::Admission => {
                    revoked.admitted.entry(subject).or_default().push(leaf.record);
                    continue;
                }
                _ => continue,
            };
        }
        revoked
    }

    /// Sorts out which revocations of candidates are followed by one of their bytes.
    fn bytes_of_candidates(&mut self, leaves: &[Leaf]) {
        let revokes = |leaf: &&Leaf| leaf.kind == EntryKind::Revocation && leaf.subject.is_some();
        let decisions = leaves.iter().filter(|leaf| leaf.kind.is_decision());
        let manifests: BTreeSet<_> = decisions.filter_map(|leaf| leaf.subject).collect();
        let is_candidate = |leaf: &Leaf| {
            leaf.candidate.is_some() || leaf.subject.is_some_and(|subject| manifests.contains(&subject))
        };
        let (mut of_bytes, mut with_bytes) = (None, BTreeSet::new());
        for leaf in leaves.iter().filter(revokes).filter(|leaf| is_candidate(leaf)) {
            let (Some(subject), false) = (leaf.subject, of_bytes == Some(leaf.index)) else { continue };
            let next = leaves.get(leaf.index as usize + 1).filter(revokes);
            let next = next.filter(|next| {
                next.candidate.is_some() && (&next.cycle, &next.candidate) == (&leaf.cycle, &leaf.candidate)
            });
            let next = next.and_then(|next| Some((next.index, next.subject?)));
            match next.filter(|(_, artifact)| !manifests.contains(artifact)) {
                Some((index, artifact)) => {
                    let name = leaf.candidate.as_ref().map_or("?", Name::as_str);
                    self.artifacts.entry(artifact).or_insert_with(|| format!("{}/{name}", leaf.cycle));
                    of_bytes = Some(index);
                    with_bytes.insert(subject);
                }
                None => drop(self.by_manifest.insert(subject, leaf.clone())),
            }
        }
        self.by_manifest.retain(|manifest, _| !with_bytes.contains(manifest));
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    pub(super) fn hit(&self, subject: Sha256, how: &str) -> Option<Taint> {
        let entry = *self.subjects.get(&subject)?;
        Some(Taint { subject, entry, how: how.to_owned() })
    }

    /// Whether these bytes were taken back, as such or with a candidate.
    pub(super) fn bytes(&self, artifact: Sha256) -> Option<Taint> {
        match self.artifacts.get(&artifact) {
            Some(whose) => self.hit(artifact, &format!("its bytes are those of {whose}: it is the artifact")),
            None => self.hit(artifact, "it is the artifact"),
        }
    }

    pub(super) fn data(&self, data: &[String]) -> Option<Taint> {
        data.iter().find_map(|name| self.hit(Sha256::of(name.as_bytes()), "it was trained on data set"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::NewEntry;

    fn leaf(index: u64, kind: EntryKind, candidate: Option<&str>, subject: &str) -> Leaf {
        let new = NewEntry {
            kind,
            cycle: "spring".parse().unwrap(),
            candidate: candidate.map(|name| name.parse().unwrap()),
            subject: Some(Sha256::of(subject.as_bytes())),
            record: Sha256::of(&index.to_le_bytes()),
            predicate_type: "urn:x".to_owned(),
            registration: kind.is_decision().then_some(0),
        };
        Leaf::new(new, index, Sha256::of(b""), "2026-01-01T00:00:00Z".to_owned()).unwrap()
    }

    #[test]
    fn a_way_over_many_generations_is_told_by_its_ends() {
        let told = |parents: usize| {
            let how = (0..parents).map(|at| format!("its parent `p{at}` is tainted: ")).collect::<String>();
            let taint = Taint { subject: Sha256::of(b""), entry: 3, how: how + "it is the artifact" };
            let told = taint.brief().to_string();
            assert!(
                told.ends_with("it is the artifact e3b0c44298fc, which ledger entry 3 revokes"),
                "{told}"
            );
            (told == taint.to_string(), told.len())
        };
        assert_eq!([0, 1, 2, 3].map(|parents| told(parents).0), [true; 4]);
        let (whole, long) = told(30);
        assert!(!whole && long < 150, "{long}");
    }

    #[test]
    fn the_bytes_of_a_candidate_are_in_the_entry_behind_it_or_only_in_its_manifest() {
        use EntryKind::{Admission, Revocation};
        let leaves = [
            leaf(0, Admission, Some("kid"), "m0"),
            leaf(1, Admission, Some("kid"), "m1"),
            leaf(2, Admission, Some("kid"), "m2"),
            // Two in a row under one name, as they were entered before bytes were.
            leaf(3, Revocation, Some("kid"), "m0"),
            leaf(4, Revocation, Some("kid"), "m1"),
            leaf(5, Revocation, None, "a suite"),
            leaf(6, Revocation, Some("kid"), "m2"),
            leaf(7, Revocation, Some("kid"), "bytes of m2"),
            // Once more, by its digest, when its manifest could not be read.
            leaf(8, Revocation, None, "m2"),
        ];
        let mut revoked = Revoked::default();
        revoked.bytes_of_candidates(&leaves[..8]);
        let of = |text: &str| Sha256::of(text.as_bytes());
        assert_eq!(revoked.artifacts, [(of("bytes of m2"), "spring/kid".to_owned())].into());
        let lacks: Vec<_> = revoked.by_manifest.values().map(|leaf| leaf.index).collect();
        assert_eq!(lacks.len(), 2);
        assert!(revoked.by_manifest.contains_key(&of("m0")) && revoked.by_manifest.contains_key(&of("m1")));
        revoked.bytes_of_candidates(&leaves);
        assert!(!revoked.by_manifest.contains_key(&of("m2")), "its bytes were entered before");
    }
}
