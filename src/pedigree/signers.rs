//! Whose admissions a key signed for, as far as the store tells: also where that was signed anew since, or is lost.
//!
//! A [`Tracer`](super::Tracer) goes by the signatures of now, as a run does, which signs anew. Whoever takes a key back
//! asks more: an admission that was made on its signature is not made sound by another one that came later, and of a
//! record that must be signed and is not, nobody can tell that it was another key.

use std::collections::{BTreeMap, BTreeSet};

use super::{Pedigree, PedigreeError, Revoked};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::ledger::{EntryKind, Leaf};
use crate::record::attest::{Bundle, bundle};
use crate::record::candidate::CandidateManifest;
use crate::record::lineage::LineageTemplate;
use crate::record::promotion::{Decision, GateState, GateStatus};
use crate::store::{Earlier, Store, StoreError};
use crate::trust::Role;

/// A record that an admission rests on, and who signs it.
struct Rest {
    role: Role,
    what: &'static str,
    record: Sha256,
    /// Whether it is signed in whatever cycle has keys: its signature is missed.
    demanded: bool,
    /// Whether it is of this cycle alone: parents and what was measured of bytes are also other cycles'.
    own: bool,
}

/// Who a signature says it is by.
enum Told {
    Nobody,
    Unreadable,
    By(Sha256),
}

impl Told {
    fn of(found: Result<Option<Vec<u8>>, StoreError>) -> Self {
        match found {
            Ok(None) => Self::Nobody,
            Ok(Some(bytes)) => Bundle::parse(&bytes).map_or(Self::Unreadable, |it| Self::By(it.keyid())),
            Err(_) => Self::Unreadable,
        }
    }
}

/// Why a key's revocation reaches an admission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// In words.
    pub how: String,
    /// Whether nobody can tell.
    pub unknown: bool,
}

/// The signatures that admissions of a store rest on.
pub struct Signers<'a> {
    store: &'a Store,
    pedigree: &'a Pedigree,
    revoked: Revoked,
    admissions: BTreeMap<Sha256, Vec<Leaf>>,
    /// By record.
    earlier: BTreeMap<Sha256, Vec<Earlier>>,
    /// By manifest.
    rests: BTreeMap<Sha256, Vec<Rest>>,
}

impl<'a> Signers<'a> {
    /// Those of a store with these records.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be read, or the signatures that were made anew not be listed.
    pub fn of(store: &'a Store, pedigree: &'a Pedigree) -> Result<Self, PedigreeError> {
        let leaves = store.ledger()?.leaves()?;
        let revoked = Revoked::by(&leaves);
        let mut admissions = BTreeMap::<_, Vec<Leaf>>::new();
        for leaf in leaves.into_iter().filter(|leaf| leaf.kind == EntryKind::Admission) {
            admissions.extend(leaf.subject.filter(|it| !admissions.contains_key(it)).map(|it| (it, vec![])));
            let of = leaf.subject.and_then(|manifest| admissions.get_mut(&manifest));
            of.into_iter().for_each(|of| of.push(leaf.clone()));
        }
        let mut earlier = BTreeMap::<_, Vec<Earlier>>::new();
        for one in store.earlier_attestations(bundle::MAX_BUNDLE)? {
            earlier.entry(one.record).or_default().push(one);
        }
        let mut signers = Self { store, pedigree, revoked, admissions, earlier, rests: BTreeMap::new() };
        let admitted = pedigree.manifests.iter().filter(|(it, _)| signers.admissions.contains_key(*it));
        signers.rests = admitted.map(|(sha256, body)| (*sha256, signers.rests_on(*sha256, body))).collect();
        Ok(signers)
    }

    /// Whether a digest is of a key that signed, now or before, or that is known to.
    pub fn knows(&self, key: Sha256) -> bool {
        !self.roles_of(key).is_empty()
    }

    /// The admissions that a key's revocation reaches, by manifest. Those that are taken back already, and those that
    /// were made when the key counted no more, are not among them.
    pub fn reached_by(&self, key: Sha256) -> BTreeMap<Sha256, Reached> {
        let roles = self.roles_of(key);
        let signing = self.signing_cycles();
        let since = self.revoked.subjects.get(&key).copied().unwrap_or(u64::MAX);
        let mut found = BTreeMap::new();
        for (manifest, rests) in &self.rests {
            let stands = |leaf: &&Leaf| {
                leaf.index < since
                    && self.revoked.subjects.get(&leaf.record).is_none_or(|entry| *entry > since)
            };
            let Some(first) = self.admissions[manifest].iter().find(stands).map(|leaf| leaf.index) else {
                continue;
            };
            let cycle = &self.pedigree.manifests[manifest].cycle;
            let rests = rests.iter().filter(|rest| roles.contains(&rest.role));
            let reached = rests.filter_map(|rest| {
                self.by_earlier(rest, key, first).or_else(|| {
                    let demanded = signing.contains(cycle) || self.is_trusted(rest.role);
                    self.by_loss(rest).filter(|_| demanded)
                })
            });
            // What is known says more than what is not.
            found.extend(reached.min_by_key(|it| it.unknown).map(|it| (*manifest, it)));
        }
        found
    }

    /// A signature that was made anew after an admission.
    fn by_earlier(&self, rest: &Rest, key: Sha256, admission: u64) -> Option<Reached> {
        let earlier = self.earlier.get(&rest.record)?.iter().filter(|it| admission < it.entries);
        let (what, short) = (rest.what, rest.record.short());
        let reached = earlier.filter_map(|it| match Told::of(Ok(it.bytes.clone())) {
            Told::By(other) if other != key => None,
            Told::By(_) => Some(Reached {
                how: format!("its {what} {short} was signed by this key before it was signed anew"),
                unknown: false,
            }),
            Told::Nobody | Told::Unreadable => Some(Reached {
                how: format!(
                    "what its {what} {short} was signed with before it was signed anew cannot be read"
                ),
                unknown: true,
            }),
        });
        reached.min_by_key(|it| it.unknown)
    }

    /// A signature that must be there and is not, or that cannot be read.
    fn by_loss(&self, rest: &Rest) -> Option<Reached> {
        let found = match self.now(rest) {
            Told::Nobody if rest.demanded => "is not",
            Told::Unreadable => "cannot be read",
            Told::Nobody | Told::By(_) => return None,
        };
        let (what, short) = (rest.what, rest.record.short());
        let how = format!(
            "the attestation of its {what} {short} {found} in this store, so nobody can tell whether this key signed it"
        );
        Some(Reached { how, unknown: true })
    }

    fn now(&self, rest: &Rest) -> Told {
        Told::of(self.store.attestation(rest.record, bundle::MAX_BUNDLE))
    }

    /// What a key signs: by the trust file or the folder of keys, and by what it signed.
    fn roles_of(&self, key: Sha256) -> BTreeSet<Role> {
        let known = self.store.custody().public_keys().unwrap_or_default();
        let mut roles: BTreeSet<Role> =
            known.keys().iter().filter(|it| it.public.id() == key).map(|it| it.role).collect();
        for rest in self.rests.values().flatten() {
            if roles.contains(&rest.role) {
                continue;
            }
            let earlier = self.earlier.get(&rest.record).into_iter().flatten();
            let earlier = earlier.map(|it| Told::of(Ok(it.bytes.clone())));
            if earlier.chain([self.now(rest)]).any(|told| matches!(told, Told::By(other) if other == key)) {
                roles.insert(rest.role);
            }
        }
        roles
    }

    /// Whether a record of this role is to be signed by the trust file.
    fn is_trusted(&self, role: Role) -> bool {
        let trust = self.store.custody().trust();
        trust.is_some_and(|trust| trust.keys().iter().any(|key| key.role == role))
    }

    /// The cycles in which somebody signed what an admission rests on.
    fn signing_cycles(&self) -> BTreeSet<&Name> {
        let signed = |rest: &Rest| {
            rest.own && (self.earlier.contains_key(&rest.record) || !matches!(self.now(rest), Told::Nobody))
        };
        let signing = self.rests.iter().filter(|(_, rests)| rests.iter().any(signed));
        signing.map(|(manifest, _)| &self.pedigree.manifests[manifest].cycle).collect()
    }

    /// The records that an admission rests on and that a run signs.
    fn rests_on(&self, manifest: Sha256, body: &CandidateManifest) -> Vec<Rest> {
        use Role::{Producer, Promoter};
        let own = |role, what, record, demanded| Rest { role, what, record, demanded, own: true };
        let parent = |what, record, demanded| Rest { role: Producer, what, record, demanded, own: false };
        let mut rests =
            vec![own(Producer, "manifest", manifest, true), own(Producer, "receipt", body.receipt, true)];
        let lineage = self.pedigree.lineages.get(&body.lineage);
        // Of one without parents nothing is claimed.
        rests.extend(lineage.map(|it| parent("compatibility report", it.compatibility, false)));
        for (_, source) in self.pedigree.parents(body) {
            rests.push(parent("parent's source record", source, true));
            rests.extend(
                self.passed_on(source)
                    .into_iter()
                    .map(|record| parent("parent's earlier source record", record, false)),
            );
        }
        let admissions = self.admissions.get(&manifest).into_iter().flatten();
        rests.extend(admissions.map(|leaf| own(Promoter, "admission record", leaf.record, true)));
        for (record, promotion) in &self.pedigree.promotions {
            if promotion.manifest == Some(manifest) && promotion.decision == Decision::Admit {
                // Of gates none of which was passed nothing is claimed.
                let passed = promotion.gates.iter().any(|gate| gate.state == GateState::Passed);
                rests.push(own(Promoter, "promotion template", *record, passed));
                rests.extend(promotion.gates.iter().flat_map(|gate| evidence(gate, lineage)));
            }
        }
        rests
    }

    /// The source records of earlier cycles that a source was passed on from; whom one was bred as is asked himself.
    fn passed_on(&self, source: Sha256) -> BTreeSet<Sha256> {
        let mut found = BTreeSet::new();
        let mut next = self.pedigree.sources.get(&source);
        while let Some(earlier) = next.and_then(|body| body.origin.manifest) {
            next = self.pedigree.sources.get(&earlier).filter(|_| found.insert(earlier));
        }
        found
    }
}

/// What a gate rests on of an evaluator's. What people or browsers brought they sign themselves or not at all, and
/// compatibility is a producer's.
fn evidence(gate: &GateStatus, lineage: Option<&LineageTemplate>) -> Vec<Rest> {
    if gate.gate.as_str() == "compatibility" {
        return Vec::new();
    }
    let bound = lineage.and_then(|lineage| lineage.gates.as_array()).into_iter().flatten();
    let own = |bound: &&serde_json::Value| bound["name"] == *gate.gate.as_str();
    let brought = bound.into_iter().find(own).is_some_and(|bound| bound.pointer("/rule/metric").is_none());
    let rest = |record: &Sha256| Rest {
        role: Role::Evaluator,
        what: "gate's evidence",
        record: *record,
        demanded: !brought,
        own: false,
    };
    gate.evidence.iter().map(rest).collect()
}
