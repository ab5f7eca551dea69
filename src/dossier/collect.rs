//! What goes into a dossier, out of a store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::evidence::{Index, confident_gates, kin};
use super::{DossierError, derived, keys, layout};
use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;
use crate::engine::graph::StageGraph;
use crate::engine::resolve::{Resolver, Results};
use crate::engine::tried::{Others, registrations};
use crate::evaluate::outcome::MAX_OUTCOMES;
use crate::ledger::{Leaf, NoteKey, NoteKind};
use crate::pedigree::tried::{other_plans, same_cases};
use crate::record::admission::AdmissionRecord;
use crate::record::attest::bundle;
use crate::record::candidate::CandidateManifest;
use crate::record::comparison::GateComparisons;
use crate::record::lineage::LineageTemplate;
use crate::record::plan::PlanRegistration;
use crate::record::{self, Record};
use crate::stage::{Action, Kind};
use crate::store::Store;
use crate::trust::{PublicKey, Role, Trust};

/// Documents by path, and the files of the model with where they are.
#[derive(Debug, Default)]
pub struct Collected {
    /// Documents.
    pub documents: BTreeMap<String, Vec<u8>>,
    /// Name below `model/`, and where it lies.
    pub model: Vec<(String, PathBuf)>,
}

/// Collects everything of a candidate that was decided.
///
/// # Errors
///
/// [`DossierError::NotReady`] if the candidate is not decided yet or was taken back since; else if a record or file
/// of it cannot be read.
pub fn collect(
    graph: &StageGraph,
    store: &Store,
    results: &Results,
    candidate: &Name,
) -> Result<Collected, DossierError> {
    let resolver = Resolver::new(graph, store);
    let mut collector =
        Collector { graph, store, results, resolver, candidate, collected: Collected::default() };
    collector.all()?;
    Ok(collector.collected)
}

struct Collector<'a> {
    graph: &'a StageGraph,
    store: &'a Store,
    results: &'a Results,
    resolver: Resolver<'a>,
    candidate: &'a Name,
    collected: Collected,
}

fn not_ready<T>(why: String) -> Result<T, DossierError> {
    Err(DossierError::NotReady(why))
}

impl Collector<'_> {
    fn all(&mut self) -> Result<(), DossierError> {
        let name = self.candidate;
        let Some((admission, sha256)) = self.record::<AdmissionRecord>(Kind::Admission, name.as_str())?
        else {
            return not_ready(format!("`{name}` is neither admitted nor refused yet"));
        };
        let Some(made) = admission.manifest else {
            return not_ready(format!("`{name}` was refused before it was made: there is nothing to export"));
        };
        for kind in
            [Kind::Compat, Kind::Lineage, Kind::Operator, Kind::Candidate, Kind::Smoke, Kind::Promotion]
        {
            if !self.take(kind, name.as_str())? {
                return not_ready(format!("the {} record of `{name}` is not there", kind.name()));
            }
        }
        let (lineage, _) = self.needed::<LineageTemplate>(Kind::Lineage, name.as_str())?;
        self.relatives(&lineage)?;
        self.inputs(&lineage)?;
        self.model()?;
        let others = self.ledger(sha256)?;
        let index = Index {
            cycle: self.graph.cycle.clone(),
            candidate: name.clone(),
            manifest: made,
            other_plans: Some(others.here),
            same_cases: others.elsewhere,
        };
        self.put(layout::INDEX.to_owned(), record::to_bytes(&index)?);
        self.keys()
    }

    fn put(&mut self, path: String, bytes: Vec<u8>) {
        self.collected.documents.insert(path, bytes);
    }

    fn output(&self, kind: Kind, label: &str, output: &str) -> Option<Digest> {
        let index = self.graph.find(&format!("{}:{label}", kind.name()))?;
        Some(self.results[index.index()].as_ref()?.outputs.get(output)?.digest)
    }

    fn record<T: Record>(&self, kind: Kind, label: &str) -> Result<Option<(T, Sha256)>, DossierError> {
        let Some(digest) = self.output(kind, label, "record") else { return Ok(None) };
        let bytes = self.store.read(&digest)?;
        Ok(Some((record::from_bytes(&bytes)?, Sha256::of(&bytes))))
    }

    fn needed<T: Record>(&self, kind: Kind, label: &str) -> Result<(T, Sha256), DossierError> {
        let missing =
            || DossierError::NotReady(format!("the record of {}:{label} is not there", kind.name()));
        self.record(kind, label)?.ok_or_else(missing)
    }

    /// Takes a stage's record with its attestation, and its outcomes if it has any. Whether it was there.
    fn take(&mut self, kind: Kind, label: &str) -> Result<bool, DossierError> {
        let Some(digest) = self.output(kind, label, "record") else { return Ok(false) };
        let bytes = self.store.read(&digest)?;
        let path = layout::record(kind, label);
        if let Some(signed) = self.store.attestation(Sha256::of(&bytes), bundle::MAX_BUNDLE)? {
            self.put(layout::bundle_of(&path), signed);
        }
        if let Some(outcomes) = self.output(kind, label, "outcomes") {
            let outcomes = self.store.read_up_to(&outcomes, MAX_OUTCOMES)?;
            self.put(path.replace(".json", ".outcomes.jsonl"), outcomes);
        }
        self.put(path, bytes);
        Ok(true)
    }

    fn action(&self, kind: Kind, label: &str) -> Result<Option<Action>, DossierError> {
        let Some(index) = self.graph.find(&format!("{}:{label}", kind.name())) else { return Ok(None) };
        Ok(Some(self.resolver.action(index, self.results)?))
    }

    /// Parents, rivals, and where gates were decided together everybody they were decided with.
    fn relatives(&mut self, lineage: &LineageTemplate) -> Result<(), DossierError> {
        let mut models = kin(lineage);
        let mut family = BTreeSet::from([self.candidate.clone()]);
        if !confident_gates(lineage).is_empty() && self.take(Kind::Eval, GateComparisons::LABEL)? {
            let (comparisons, _) = self.needed::<GateComparisons>(Kind::Eval, GateComparisons::LABEL)?;
            family.extend(comparisons.rows.into_iter().map(|row| row.candidate));
        }
        let candidate = self.candidate;
        for other in family.iter().filter(|other| *other != candidate) {
            self.take(Kind::Candidate, other.as_str())?;
            if self.take(Kind::Lineage, other.as_str())? {
                models.extend(kin(&self.needed::<LineageTemplate>(Kind::Lineage, other.as_str())?.0));
            }
        }
        for model in &models {
            self.take(Kind::Source, model.as_str())?;
        }
        models.extend(family);
        for (model, suite) in
            models.iter().flat_map(|model| lineage.suites.iter().map(move |suite| (model, &suite.name)))
        {
            let label = format!("{model}.{suite}");
            if !self.take(Kind::Eval, &label)? {
                continue;
            }
            let brought =
                self.action(Kind::Eval, &label)?.and_then(|action| action.inputs.get("brought").copied());
            if let Some(brought) = brought {
                let bytes = self.store.read(&brought)?;
                self.put(layout::external(model, suite), bytes);
            }
        }
        Ok(())
    }

    /// What people gave: cases, and what was brought for gates.
    fn inputs(&mut self, lineage: &LineageTemplate) -> Result<(), DossierError> {
        let name = self.candidate.as_str();
        let bound = self.action(Kind::Lineage, name)?.map(|action| action.inputs).unwrap_or_default();
        for suite in &lineage.suites {
            if let Some(digest) = bound.get(&format!("suite.{}", suite.name)) {
                let bytes = self.store.read(digest)?;
                self.put(layout::suite(&suite.name), bytes);
            }
        }
        let decided = self.action(Kind::Promotion, name)?.map(|action| action.inputs).unwrap_or_default();
        for (input, digest) in decided {
            let gate = ["approval.", "browser."].into_iter().find_map(|word| input.strip_prefix(word));
            let Some(gate) = gate.and_then(|gate| gate.parse::<Name>().ok()) else { continue };
            let bytes = self.store.read(&digest)?;
            self.put(layout::brought(&gate), bytes);
        }
        Ok(())
    }

    fn model(&mut self) -> Result<(), DossierError> {
        let (manifest, _) = self.needed::<CandidateManifest>(Kind::Candidate, self.candidate.as_str())?;
        let artifact = manifest.artifact.blake3;
        self.collected.model = match self.store.listing(&artifact)? {
            None => vec![(derived::model_name(&manifest), self.store.locate(&artifact)?)],
            Some(listing) => {
                let place = |file: &crate::model::ListedFile| {
                    Ok((file.name.clone(), self.store.locate(&file.blake3)?))
                };
                listing.files().iter().map(place).collect::<Result<_, DossierError>>()?
            }
        };
        Ok(())
    }

    /// The registered plan, and both proofs against the checkpoint of now; gives back the other plans before the
    /// decision. What was taken back has no dossier.
    fn ledger(&mut self, admission: Sha256) -> Result<Others, DossierError> {
        let ledger = self.store.ledger()?;
        self.take(Kind::Admission, self.candidate.as_str())?;
        let found = ledger.find_record(admission)?;
        let Some(decision) = found.into_iter().find(|leaf| leaf.kind.is_decision()) else {
            return not_ready(format!("the decision on `{}` is not in the ledger yet", self.candidate));
        };
        let leaves = ledger.leaves()?;
        if let Some(later) = crate::ledger::taken_back(&decision, &leaves) {
            let word = later.kind.word();
            return not_ready(format!(
                "`{}` was taken back: ledger entry {} is its {word}",
                self.candidate, later.index
            ));
        }
        let plan = decision.registration.and_then(|at| leaves.get(usize::try_from(at).ok()?));
        let Some(plan) = plan else {
            return not_ready("the entry of its plan is not in the ledger".to_owned());
        };
        let registration = self.registration(plan)?;
        let body: PlanRegistration = record::from_bytes(&registration)?;
        let known = registrations(self.store)?;
        let others = Others {
            here: other_plans(&leaves, &body, Some(plan.index), decision.index),
            elsewhere: same_cases(self.store, &known, &leaves, &body, decision.index)?,
        };
        self.put(layout::REGISTRATION.to_owned(), registration);
        let (decision, plan) = (ledger.prove(decision.index)?, ledger.prove(plan.index)?);
        self.put(layout::CHECKPOINT.to_owned(), decision.checkpoint.to_text().into_bytes());
        self.put(layout::DECISION_PROOF.to_owned(), decision.to_text().into_bytes());
        self.put(layout::PLAN_PROOF.to_owned(), plan.to_text().into_bytes());
        Ok(others)
    }

    /// The registration that an entry binds: this plan's, or that of the plan as it was then.
    fn registration(&self, plan: &Leaf) -> Result<Vec<u8>, DossierError> {
        let now = self.output(Kind::Ledger, "plan", "registration");
        let before = self.store.every_result()?.into_iter();
        let before = before.filter_map(|result| Some(result.outputs.get("registration")?.digest));
        for digest in now.into_iter().chain(before) {
            let Ok(bytes) = self.store.read(&digest) else { continue };
            if Sha256::of(&bytes) == plan.record {
                return Ok(bytes);
            }
        }
        Err(DossierError::Lost(format!(
            "the plan that ledger entry {} registered is no longer in the store: put it back from a copy of the \
             store, or run that plan again",
            plan.index
        )))
    }

    /// The public keys that anything here was signed with. Without a trust file those of the folder of
    /// keys are named: whoever reads them must know them from elsewhere in any case.
    fn keys(&mut self) -> Result<(), DossierError> {
        let known = self.store.custody().public_keys()?;
        let mut used: BTreeSet<Sha256> = BTreeSet::new();
        for (path, bytes) in &self.collected.documents {
            if path.starts_with("bundles/") {
                used.extend(bundle::Bundle::parse(bytes).ok().map(|bundle| bundle.keyid()));
            }
        }
        let (head, checkpoint) = self.store.ledger()?.checkpoint()?;
        let logged = |public: &PublicKey| {
            let key =
                NoteKey { name: head.origin.clone(), kind: NoteKind::Signature, public: public.clone() };
            key.signed(&checkpoint).unwrap_or(false)
        };
        used.extend(self.store.custody().signer(Role::Model)?.map(|key| key.public().id()));
        let wanted = known.keys().iter().filter(|key| used.contains(&key.public.id()) || logged(&key.public));
        let chosen: Trust = Trust::of(wanted.cloned());
        if chosen.keys().is_empty() {
            return Ok(());
        }
        self.put(layout::KEYS.to_owned(), keys::to_text(&chosen).into_bytes());
        for (name, pem) in keys::pems(&chosen) {
            self.put(layout::public_key(&name), pem.into_bytes());
        }
        Ok(())
    }
}
