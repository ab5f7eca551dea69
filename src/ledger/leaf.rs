//! One ledger entry: a small object of digests, and the one way to spell it.
//!
//! A leaf says that a record exists and when it was entered; the record itself is in the store,
//! under the digest given here. It is canonical JSON, read strictly: bytes that are not exactly
//! what the writer would have written are not a leaf.

use serde::{Deserialize, Serialize};

use crate::base::canonical;
use crate::base::digest::Sha256;
use crate::base::name::Name;

/// The leaf format written here; no other is read.
pub const LEAF_VERSION: u32 = 2;
/// The longest leaf: what a tlog-tiles bundle can hold.
pub const MAX_LEAF: usize = 65_535;
/// The longest predicate type.
pub const MAX_PREDICATE_TYPE: usize = 512;
/// `prev` of the first leaf.
pub const NO_LEAF: Sha256 = Sha256::from_bytes([0; 32]);

/// What is being recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A cycle's plan, gates and suites, entered before it runs.
    Plan,
    /// A candidate was admitted.
    Admission,
    /// A candidate was refused.
    Refusal,
    /// Something is taken back for cause, and all that descends from it with it.
    Revocation,
    /// An admitted candidate is no longer offered, without blame.
    Retirement,
    /// The registry's default goes back to an earlier admission.
    Rollback,
    /// A selector registry was published.
    Registry,
}

impl EntryKind {
    /// Every kind, in the order of its declaration.
    pub const ALL: [Self; 7] = [
        Self::Plan,
        Self::Admission,
        Self::Refusal,
        Self::Revocation,
        Self::Retirement,
        Self::Rollback,
        Self::Registry,
    ];

    /// Its word in the leaf.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Admission => "admission",
            Self::Refusal => "refusal",
            Self::Revocation => "revocation",
            Self::Retirement => "retirement",
            Self::Rollback => "rollback",
            Self::Registry => "registry",
        }
    }

    /// Whether it is decided by a plan, which then must have been registered before.
    pub const fn is_decision(self) -> bool {
        matches!(self, Self::Admission | Self::Refusal)
    }
}

/// What a writer brings; index, chain and time are added when it is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// What is being recorded.
    pub kind: EntryKind,
    /// The cycle it belongs to.
    pub cycle: Name,
    /// The candidate, if it is about one.
    pub candidate: Option<Name>,
    /// SHA-256 of the candidate's manifest, if it is about one.
    pub subject: Option<Sha256>,
    /// SHA-256 of the record bound.
    pub record: Sha256,
    /// The record's type URI.
    pub predicate_type: String,
    /// The entry of the plan that an admission or refusal was decided by.
    pub registration: Option<u64>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// [`LEAF_VERSION`].
    pub version: u32,
    /// What is being recorded.
    pub kind: EntryKind,
    /// Its position, from 0.
    pub index: u64,
    /// SHA-256 of the leaf before it; 64 zeros for the first.
    pub prev: Sha256,
    /// The cycle it belongs to.
    pub cycle: Name,
    /// The candidate, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Name>,
    /// SHA-256 of the candidate's manifest, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Sha256>,
    /// SHA-256 of the record bound.
    pub record: Sha256,
    /// The record's type URI.
    pub predicate_type: String,
    /// The entry of the plan that an admission or refusal was decided by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<u64>,
    /// When it was entered: RFC 3339, UTC.
    pub time: String,
}

impl Leaf {
    /// Puts an entry in its place. The reason is a phrase that follows "ledger entry N ".
    ///
    /// # Errors
    ///
    /// If its predicate type is no URI, its time no RFC 3339 in UTC, or it names a plan where it must not, or none
    /// where it must.
    pub fn new(entry: NewEntry, index: u64, prev: Sha256, time: String) -> Result<Self, String> {
        let NewEntry { kind, cycle, candidate, subject, record, predicate_type, registration } = entry;
        let leaf = Self {
            version: LEAF_VERSION,
            kind,
            index,
            prev,
            cycle,
            candidate,
            subject,
            record,
            predicate_type,
            registration,
            time,
        };
        leaf.validate()?;
        Ok(leaf)
    }

    fn validate(&self) -> Result<(), String> {
        if self.version != LEAF_VERSION {
            return Err(format!("has version {}, expected {LEAF_VERSION}", self.version));
        }
        let uri = self.predicate_type.as_bytes();
        if uri.is_empty() || uri.len() > MAX_PREDICATE_TYPE || !uri.iter().all(u8::is_ascii_graphic) {
            return Err(format!(
                "has the predicate type {:?}, expected a URI of 1 to {MAX_PREDICATE_TYPE} printable ASCII characters",
                self.predicate_type.chars().take(80).collect::<String>()
            ));
        }
        if self.kind.is_decision() != self.registration.is_some() {
            return Err(format!("is a {} and names the plan {:?}", self.kind.word(), self.registration));
        }
        if !is_utc(&self.time) {
            return Err(format!(
                "has the time {:?}, expected RFC 3339 in UTC, such as 2026-01-31T12:00:00Z",
                self.time.chars().take(80).collect::<String>()
            ));
        }
        Ok(())
    }

    /// The canonical bytes: what is hashed.
    ///
    /// # Errors
    ///
    /// If they are too many.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let bytes = canonical::to_vec(self).map_err(|error| error.to_string())?;
        if bytes.len() > MAX_LEAF {
            return Err(format!("has {} bytes, at most {MAX_LEAF} are allowed", bytes.len()));
        }
        Ok(bytes)
    }

    /// Reads a leaf; refuses any spelling but the canonical one.
    ///
    /// # Errors
    ///
    /// If they are too many, no canonical JSON of a leaf, or of one that [`Self::new`] would refuse.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_LEAF {
            return Err(format!("has {} bytes, at most {MAX_LEAF} are allowed", bytes.len()));
        }
        let leaf: Self = canonical::from_slice(bytes).map_err(|error| error.to_string())?;
        leaf.validate()?;
        if leaf.to_bytes()? != bytes {
            return Err("is not written canonically".to_owned());
        }
        Ok(leaf)
    }

    /// Whether this leaf and a new entry say the same thing about the same candidate.
    pub(super) fn is_same_as(&self, entry: &NewEntry) -> bool {
        self.kind == entry.kind
            && self.record == entry.record
            && self.cycle == entry.cycle
            && self.candidate == entry.candidate
    }
}

/// RFC 3339 with a capital `T` and `Z`: one offset, one spelling of it.
fn is_utc(time: &str) -> bool {
    let bytes = time.as_bytes();
    (20..=30).contains(&bytes.len())
        && bytes[10] == b'T'
        && time.ends_with('Z')
        && time.parse::<jiff::Timestamp>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaf() -> Leaf {
        let entry = NewEntry {
            kind: EntryKind::Admission,
            cycle: "spring".parse().unwrap(),
            candidate: Some("ties-0.5".parse().unwrap()),
            subject: Some(Sha256::of(b"manifest")),
            record: Sha256::of(b"record"),
            predicate_type: "https://slsa.dev/verification_summary/v1".to_owned(),
            registration: Some(3),
        };
        Leaf::new(entry, 7, Sha256::of(b"before"), "2026-01-31T12:00:00Z".to_owned()).unwrap()
    }

    #[test]
    fn one_meaning_has_one_spelling() {
        let bytes = leaf().to_bytes().unwrap();
        assert_eq!(Leaf::from_bytes(&bytes).unwrap(), leaf());
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            text.starts_with(r#"{"candidate":"ties-0.5","cycle":"spring","index":7,"kind":"admission","#)
        );
        for (from, to, why) in [
            ("\"index\":7", "\"index\": 7", "not written canonically"),
            ("\"index\":7", "\"index\":7,\"index\":7", "duplicate key"),
            ("\"index\":7", "\"index\":7,\"extra\":1", "unknown field"),
            ("\"index\":7", "\"index\":9007199254740993", "2^53"),
            ("\"index\":7", "\"index\":9007199254740992", "expected u64"),
            ("\"version\":2", "\"version\":1", "version 1"),
            ("\"registration\":3,", "", "names the plan None"),
            ("admission", "promotion", "unknown variant"),
            ("12:00:00Z", "12:00:00+00:00", "RFC 3339"),
            ("2026-01-31", "2026-02-31", "RFC 3339"),
            ("https://slsa", "https://sl sa", "predicate type"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            let error = Leaf::from_bytes(changed.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{changed}: {error}");
        }
    }

    #[test]
    fn a_leaf_without_a_candidate_has_no_null() {
        let mut plan = leaf();
        (plan.kind, plan.candidate, plan.subject, plan.registration) = (EntryKind::Plan, None, None, None);
        let text = String::from_utf8(plan.to_bytes().unwrap()).unwrap();
        assert!(!text.contains("null") && !text.contains("candidate"), "{text}");
        let with_null = text.replacen("{", "{\"candidate\":null,", 1);
        assert!(Leaf::from_bytes(with_null.as_bytes()).is_err());
    }

    #[test]
    fn every_kind_is_written_as_its_word() {
        for kind in EntryKind::ALL {
            assert_eq!(canonical::to_string(&kind).unwrap(), format!("\"{}\"", kind.word()));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Leaf::from_bytes(&bytes).is_err());
        }

        #[test]
        fn a_changed_byte_never_gives_the_same_leaf(at in 0_usize..400, value in any::<u8>()) {
            let mut bytes = leaf().to_bytes().unwrap();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != value);
            bytes[at] = value;
            if let Ok(read) = Leaf::from_bytes(&bytes) {
                prop_assert_ne!(read, leaf());
            }
        }
    }
}
