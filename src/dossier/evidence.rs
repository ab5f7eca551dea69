//! The records of a dossier, each read strictly as the kind that its place says.
//!
//! Reading takes documents one by one; what was not taken at the end does not belong here. Which places
//! there are follows from the candidate's lineage: its ancestors, whom its gates compare it with, its
//! suites; and, where gates were decided for many candidates together, those others.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::layout;
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::evaluate::Evaluator;
use crate::evaluate::harness::External;
use crate::ledger::Proof;
use crate::pedigree::tried::Elsewhere;
use crate::record::admission::AdmissionRecord;
use crate::record::candidate::CandidateManifest;
use crate::record::comparison::GateComparisons;
use crate::record::compat::CompatibilityReport;
use crate::record::evaluation::EvaluationSidecar;
use crate::record::lineage::{Ancestor, LineageTemplate};
use crate::record::plan::PlanRegistration;
use crate::record::promotion::PromotionTemplate;
use crate::record::receipt::OperatorReceipt;
use crate::record::smoke::RuntimeSmoke;
use crate::record::source::SourceArtifact;
use crate::record::{self, Record, Subject};
use crate::stage::Kind;
use crate::trust::Trust;

/// Whose dossier a folder is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// The cycle.
    pub cycle: Name,
    /// The candidate.
    pub candidate: Name,
    /// Its manifest.
    pub manifest: Sha256,
    /// The entries of other plans of the cycle that were in the log before it was decided; none if that was not
    /// asked when the dossier was made. See [`Evidence::other_plans`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_plans: Option<Vec<u64>>,
    /// The plans of other cycles before the decision whose gates asked cases that its gates ask, as the store had it:
    /// a ledger alone does not tell which cases a plan asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub same_cases: Vec<Elsewhere>,
}

impl Index {
    /// The other plans that a dossier with this registration names; none if it is older than the question. Plans are
    /// registered with what ranks since then, and the log binds the registration: under such a one a list that
    /// is not there is an empty one, so that taking it out gains nothing.
    fn other_plans_with(&self, registration: &PlanRegistration) -> Option<&[u64]> {
        let asked = registration.review.is_some().then_some([].as_slice());
        self.other_plans.as_deref().or(asked)
    }
}

impl Record for Index {
    const TYPE: &'static str = "urn:studbook:dossier:v1";
}

/// A record with where it lies.
#[derive(Debug, Clone)]
pub struct Kept<T> {
    /// Its path.
    pub path: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their digests.
    pub subject: Subject,
    /// What it says.
    pub body: T,
}

/// An evaluation with what it rests on.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The sidecar.
    pub sidecar: Kept<EvaluationSidecar>,
    /// Every outcome.
    pub outcomes: Vec<u8>,
    /// What another harness found, if it measured.
    pub external: Option<Vec<u8>>,
}

/// A dossier, read.
#[derive(Debug)]
pub struct Evidence {
    /// Whose.
    pub index: Index,
    /// Parents, base and rivals by name.
    pub sources: BTreeMap<Name, Kept<SourceArtifact>>,
    /// Whether its parents fit.
    pub compat: Kept<CompatibilityReport>,
    /// What was promised, of it and of those it was compared with.
    pub lineages: BTreeMap<Name, Kept<LineageTemplate>>,
    /// What was done.
    pub receipt: Kept<OperatorReceipt>,
    /// What came out, of it and of those it was compared with.
    pub manifests: BTreeMap<Name, Kept<CandidateManifest>>,
    /// That it runs.
    pub smoke: Kept<RuntimeSmoke>,
    /// Evaluations by model and suite.
    pub measured: BTreeMap<(Name, Name), Measured>,
    /// Gates decided together, if it had such.
    pub comparisons: Option<Kept<GateComparisons>>,
    /// Its gates.
    pub promotion: Kept<PromotionTemplate>,
    /// What became of it.
    pub admission: Kept<AdmissionRecord>,
    /// The plan as it was registered.
    pub registration: Kept<PlanRegistration>,
    /// Cases by suite.
    pub suites: BTreeMap<Name, Vec<u8>>,
    /// What was brought, by gate.
    pub brought: BTreeMap<Name, Vec<u8>>,
    /// Signed statements by the record's path.
    pub bundles: BTreeMap<String, Vec<u8>>,
    /// The keys that came along.
    pub keys: Trust,
    /// That its decision is logged.
    pub decision: Proof,
    /// That its plan is.
    pub plan: Proof,
    /// What both are proved against.
    pub checkpoint: String,
}

impl Evidence {
    /// The candidate's manifest.
    pub fn manifest(&self) -> &Kept<CandidateManifest> {
        &self.manifests[&self.index.candidate]
    }

    /// The candidate's lineage.
    pub fn lineage(&self) -> &Kept<LineageTemplate> {
        &self.lineages[&self.index.candidate]
    }

    /// The other plans of the cycle that the dossier names; none if it is older than the question.
    pub fn other_plans(&self) -> Option<&[u64]> {
        self.index.other_plans_with(&self.registration.body)
    }

    /// Reads all documents but those that are derived. Gives back the places it took, too. The reason is
    /// a sentence.
    ///
    /// # Errors
    ///
    /// If a document is missing, is not what its place asks for, or names others that are not there.
    pub fn read(documents: &BTreeMap<String, Vec<u8>>) -> Result<(Self, BTreeSet<String>), String> {
        let desk = Desk { documents, taken: RefCell::default() };
        let evidence = desk.evidence()?;
        Ok((evidence, desk.taken.into_inner()))
    }
}

/// How many bytes the model has by its receipt; none if that cannot be read, which [`Evidence::read`] will
/// say.
pub(super) fn model_bytes(documents: &BTreeMap<String, Vec<u8>>) -> Option<u64> {
    let index: Index = record::from_bytes(documents.get(layout::INDEX)?).ok()?;
    let receipt = layout::record(Kind::Operator, index.candidate.as_str());
    let receipt: OperatorReceipt = record::from_bytes(documents.get(&receipt)?).ok()?;
    Some(receipt.bytes())
}

/// The names in a chain of adapters.
fn chain(ancestor: &Ancestor, all: &mut Vec<Name>) {
    all.push(ancestor.name.clone());
    ancestor.adapts.iter().for_each(|base| chain(base, all));
}

/// Base and parents by the names that the plan gives them, each once, base first.
pub fn ancestors(lineage: &LineageTemplate) -> Vec<&Name> {
    let mut all: Vec<&Name> = Vec::new();
    for ancestor in lineage.base.iter().chain(&lineage.parents) {
        if !all.contains(&&ancestor.name) {
            all.push(&ancestor.name);
        }
    }
    all
}

/// Everybody whose records a candidate's verdict may rest on: its ancestors, the models adapters among
/// them are added to, and whom its gates compare it with.
pub fn kin(lineage: &LineageTemplate) -> BTreeSet<Name> {
    let mut all = Vec::new();
    let bound = lineage.base.iter().chain(&lineage.parents).chain(&lineage.champion);
    bound.for_each(|ancestor| chain(ancestor, &mut all));
    for gate in lineage.gates.as_array().into_iter().flatten() {
        let mut versus = gate.pointer("/rule/metric/versus");
        while let Some(rival) = versus {
            let named = ["parent", "no_op"].into_iter().find_map(|word| rival.get(word)?.as_str());
            all.extend(named.and_then(|name| name.parse::<Name>().ok()));
            // Whom to compare with where there is no champion.
            versus = rival.pointer("/champion/otherwise");
        }
    }
    all.into_iter().collect()
}

/// The gates of a lineage that ask for a confidence, as `(name, rule)`.
pub fn confident_gates(lineage: &LineageTemplate) -> Vec<(&Value, &Value)> {
    let gates = lineage.gates.as_array().into_iter().flatten();
    let asks = gates.filter(|gate| gate.pointer("/rule/metric/confidence").is_some_and(|it| !it.is_null()));
    asks.filter_map(|gate| Some((gate.get("name")?, gate.get("rule")?))).collect()
}

/// Hands out documents and remembers which.
struct Desk<'a> {
    documents: &'a BTreeMap<String, Vec<u8>>,
    taken: RefCell<BTreeSet<String>>,
}

impl Desk<'_> {
    fn optional(&self, path: &str) -> Option<&[u8]> {
        let bytes = self.documents.get(path)?;
        self.taken.borrow_mut().insert(path.to_owned());
        Some(bytes)
    }

    fn bytes(&self, path: &str) -> Result<&[u8], String> {
        self.optional(path).ok_or_else(|| format!("{path:?} is missing"))
    }

    fn text(&self, path: &str) -> Result<&str, String> {
        std::str::from_utf8(self.bytes(path)?).map_err(|_| format!("{path:?} is not text"))
    }

    fn kept<T: Record>(&self, path: String) -> Result<Kept<T>, String> {
        let bytes = self.bytes(&path)?.to_vec();
        let body = record::from_bytes(&bytes).map_err(|error| format!("{path:?}: {error}"))?;
        Ok(Kept { subject: Subject::of(&bytes), bytes, body, path })
    }

    fn record<T: Record>(&self, kind: Kind, label: &str) -> Result<Kept<T>, String> {
        self.kept(layout::record(kind, label))
    }

    fn optional_record<T: Record>(&self, kind: Kind, label: &str) -> Result<Option<Kept<T>>, String> {
        let there = self.documents.contains_key(&layout::record(kind, label));
        if there { self.record(kind, label).map(Some) } else { Ok(None) }
    }

    fn evidence(&self) -> Result<Evidence, String> {
        let index: Index = self.kept(layout::INDEX.to_owned())?.body;
        let name = index.candidate.clone();
        let lineage: Kept<LineageTemplate> = self.record(Kind::Lineage, name.as_str())?;
        let registration: Kept<PlanRegistration> = self.kept(layout::REGISTRATION.to_owned())?;
        let together = !confident_gates(&lineage.body).is_empty();
        let comparisons = match together {
            true => self.optional_record::<GateComparisons>(Kind::Eval, GateComparisons::LABEL)?,
            false => None,
        };
        let mut family: BTreeSet<Name> = BTreeSet::from([name.clone()]);
        family
            .extend(comparisons.iter().flat_map(|all| all.body.rows.iter().map(|row| row.candidate.clone())));

        let mut lineages = BTreeMap::from([(name.clone(), lineage)]);
        let mut manifests = BTreeMap::from([(name.clone(), self.record(Kind::Candidate, name.as_str())?)]);
        for other in family.iter().filter(|other| **other != name) {
            let found = self.optional_record(Kind::Lineage, other.as_str())?;
            lineages.extend(found.map(|found| (other.clone(), found)));
            let found = self.optional_record(Kind::Candidate, other.as_str())?;
            manifests.extend(found.map(|found| (other.clone(), found)));
        }
        let mut models: BTreeSet<Name> = lineages.values().flat_map(|lineage| kin(&lineage.body)).collect();
        let sources = self.sources(&models)?;
        models.extend(family);
        let suites: Vec<Name> = registration.body.suites.iter().map(|suite| suite.name.clone()).collect();
        let decided = &lineages[&name].body;
        let brought = self.brought(decided)?;
        let cases = self.cases(decided)?;
        let mut evidence = Evidence {
            compat: self.record(Kind::Compat, name.as_str())?,
            receipt: self.record(Kind::Operator, name.as_str())?,
            smoke: self.record(Kind::Smoke, name.as_str())?,
            measured: self.measured(&models, &suites)?,
            promotion: self.record(Kind::Promotion, name.as_str())?,
            admission: self.record(Kind::Admission, name.as_str())?,
            decision: self.proof(layout::DECISION_PROOF)?,
            plan: self.proof(layout::PLAN_PROOF)?,
            checkpoint: self.text(layout::CHECKPOINT)?.to_owned(),
            keys: self.keys()?,
            suites: cases,
            bundles: BTreeMap::new(),
            index,
            sources,
            lineages,
            manifests,
            comparisons,
            registration,
            brought,
        };
        for path in evidence.claiming() {
            if let Some(bytes) = self.optional(&layout::bundle_of(&path)) {
                evidence.bundles.insert(path, bytes.to_vec());
            }
        }
        Ok(evidence)
    }

    fn sources(&self, names: &BTreeSet<Name>) -> Result<BTreeMap<Name, Kept<SourceArtifact>>, String> {
        let mut sources = BTreeMap::new();
        for name in names {
            let found = self.optional_record(Kind::Source, name.as_str())?;
            sources.extend(found.map(|found| (name.clone(), found)));
        }
        Ok(sources)
    }

    fn measured(
        &self,
        models: &BTreeSet<Name>,
        suites: &[Name],
    ) -> Result<BTreeMap<(Name, Name), Measured>, String> {
        let mut all = BTreeMap::new();
        for (model, suite) in models.iter().flat_map(|model| suites.iter().map(move |suite| (model, suite))) {
            let label = format!("{model}.{suite}");
            let Some(sidecar) = self.optional_record::<EvaluationSidecar>(Kind::Eval, &label)? else {
                continue;
            };
            let outcomes = self.bytes(&layout::outcomes(model, suite))?.to_vec();
            let external = match sidecar.body.suite.kind == External.name() {
                true => Some(self.bytes(&layout::external(model, suite))?.to_vec()),
                false => None,
            };
            all.insert((model.clone(), suite.clone()), Measured { sidecar, outcomes, external });
        }
        Ok(all)
    }

    fn cases(&self, lineage: &LineageTemplate) -> Result<BTreeMap<Name, Vec<u8>>, String> {
        let ours = lineage.suites.iter().filter(|suite| suite.sha256.is_some());
        ours.map(|suite| Ok((suite.name.clone(), self.bytes(&layout::suite(&suite.name))?.to_vec())))
            .collect()
    }

    fn brought(&self, lineage: &LineageTemplate) -> Result<BTreeMap<Name, Vec<u8>>, String> {
        let mut all = BTreeMap::new();
        for gate in lineage.gates.as_array().into_iter().flatten() {
            let name = gate.get("name").and_then(Value::as_str).unwrap_or_default();
            let name: Name = name.parse().map_err(|error| format!("a gate of the lineage: {error}"))?;
            let found = self.optional(&layout::brought(&name)).map(<[u8]>::to_vec);
            all.extend(found.map(|found| (name, found)));
        }
        Ok(all)
    }

    fn proof(&self, path: &str) -> Result<Proof, String> {
        Proof::parse(self.text(path)?).map_err(|error| format!("{path:?}: {error}"))
    }

    /// The keys, and that their PEM files are the same keys.
    fn keys(&self) -> Result<Trust, String> {
        let Some(bytes) = self.optional(layout::KEYS) else { return Ok(Trust::default()) };
        let text = std::str::from_utf8(bytes).map_err(|_| format!("{:?} is not text", layout::KEYS))?;
        let keys = Trust::parse(text, layout::KEYS.as_ref()).map_err(|error| error.to_string())?;
        if super::keys::to_text(&keys) != text {
            return Err(format!("{:?} is not in its one spelling", layout::KEYS));
        }
        for (name, pem) in super::keys::pems(&keys) {
            let path = layout::public_key(&name);
            if self.text(&path)? != pem {
                return Err(format!("{path:?} is not the key `{name}` of {:?}", layout::KEYS));
            }
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The registration is in the log, the list only in the folder.
    #[test]
    fn a_list_of_other_plans_is_only_missed_where_it_was_asked_for() {
        let read = |more: &str| {
            let index =
                format!("{{\"cycle\":\"c\",\"candidate\":\"a\",\"manifest\":\"{}\"{more}}}", "ab".repeat(32));
            serde_json::from_str::<Index>(&index).unwrap()
        };
        let registration = |review: Option<Value>| PlanRegistration {
            cycle: "c".parse().unwrap(),
            seed: String::new(),
            budget: crate::record::lineage::BoundBudget { candidates: 1, artifact: 1, disk: 1, seconds: 1 },
            candidates: vec![],
            lineages: vec![],
            suites: vec![],
            gates: Value::Null,
            recipe: review.clone(),
            review,
        };
        let (old, new) = (registration(None), registration(Some(Value::Null)));
        assert_eq!(read("").other_plans_with(&old), None);
        assert_eq!(read("").other_plans_with(&new), Some([].as_slice()));
        assert_eq!(read(",\"other_plans\":[4]").other_plans_with(&old), Some([4].as_slice()));
        assert_eq!(read(",\"other_plans\":[4]").other_plans_with(&new), Some([4].as_slice()));
    }
}
