//! The records that follow from others, made again by the stages that make them.
//!
//! The stages see a store of their own, filled with the dossier's documents. What they are told is taken
//! from the lineage and the registration, never from anything that says it was what they were told.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::evidence::{Evidence, ancestors, kin};
use super::folder::ModelFile;
use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;
use crate::disk::IoContext;
use crate::model::{ListedFile, Listing};
use crate::record;
use crate::record::browser_smoke::BrowserSmoke;
use crate::record::promotion::{CLOSING_GATES, Decision, GateState, GateStatus, PromotionTemplate};
use crate::stage::{Action, Context, Kind, StageError, held, stage};
use crate::store::{Blob, Store, StoreError};

/// A store that lasts as long as a check.
pub(super) struct Workshop {
    store: Arc<Store>,
    _folder: tempfile::TempDir,
}

/// The reason is a sentence.
type Rederived = Result<String, String>;

impl Workshop {
    /// A workshop with everything of a dossier in it.
    pub(super) fn of(evidence: &Evidence, model: &[ModelFile]) -> Result<Self, StoreError> {
        let folder = tempfile::Builder::new().prefix("studbook-verify-").tempdir();
        let folder = folder.at("create a folder in", std::env::temp_dir())?;
        let store = Store::create(folder.path())?;
        let workshop = Self { store: Arc::new(store), _folder: folder };
        for bytes in evidence.records() {
            workshop.store.put_memo(bytes)?;
        }
        for (gate, bytes) in &evidence.brought {
            workshop.store.bring(&evidence.manifest().subject.blake3, gate, bytes)?;
        }
        for bytes in evidence.suites.values() {
            workshop.store.put_memo(bytes)?;
        }
        for file in model {
            workshop.link(file)?;
        }
        if let Ok(listing) = listing(model) {
            workshop.store.put_memo(&listing.to_bytes())?;
        }
        Ok(workshop)
    }

    /// Stages find the model by its digest. What they read they hash again.
    fn link(&self, file: &ModelFile) -> Result<(), StoreError> {
        let object = self.store.object_path(&file.blake3);
        let parent = object.parent().expect("objects lie in folders");
        std::fs::create_dir_all(parent).at("create the folder", parent)?;
        let target = std::path::absolute(&file.path).at("find", &file.path)?;
        match std::os::unix::fs::symlink(target, &object) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            other => Ok(other.at("link", &object)?),
        }
    }

    fn run(
        &self,
        kind: Kind,
        params: Value,
        inputs: BTreeMap<String, Digest>,
    ) -> Result<BTreeMap<String, Blob>, String> {
        self.in_context(kind, params, inputs, |context| Ok(stage(kind).run(context)?.outputs))
    }

    fn in_context<T>(
        &self,
        kind: Kind,
        params: Value,
        inputs: BTreeMap<String, Digest>,
        ask: impl FnOnce(&Context<'_>) -> Result<T, StageError>,
    ) -> Result<T, String> {
        let action = Action { kind: kind.name().to_owned(), version: stage(kind).version(), params, inputs };
        let context = Context { fresh: true, ..Context::looking(&self.store, &action) };
        ask(&context).map_err(|error| error.to_string())
    }

    /// Runs a stage and compares its record.
    fn again(
        &self,
        kind: Kind,
        params: Value,
        inputs: BTreeMap<String, Digest>,
        bound: &Digest,
    ) -> Rederived {
        let outputs = self.run(kind, params, inputs)?;
        compare("record", &outputs, bound)
    }

    /// The candidate manifest, from what was promised, done and made.
    pub(super) fn manifest(&self, evidence: &Evidence) -> Rederived {
        let (lineage, index) = (evidence.lineage(), &evidence.index);
        let mut names: Vec<_> = ancestors(&lineage.body).into_iter().cloned().collect();
        let own = kin_of_bytes(evidence);
        names.extend(own.into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
        let mut inputs = BTreeMap::from([
            ("lineage".to_owned(), lineage.subject.blake3),
            ("receipt".to_owned(), evidence.receipt.subject.blake3),
            ("artifact".to_owned(), evidence.manifest().body.artifact.blake3),
        ]);
        for name in &names {
            let source = evidence
                .sources
                .get(name)
                .ok_or_else(|| format!("the source record of `{name}` is missing"))?;
            inputs.insert(format!("source.{name}"), source.subject.blake3);
        }
        let params = json!({ "cycle": index.cycle, "candidate": index.candidate, "ancestors": names });
        self.again(Kind::Candidate, params, inputs, &evidence.manifest().subject.blake3)
    }

    /// The comparisons, from everybody's outcomes.
    pub(super) fn comparisons(&self, evidence: &Evidence) -> Option<Rederived> {
        let record = evidence.comparisons.as_ref()?;
        let row = |row: &crate::record::comparison::Comparison| {
            let lineage = evidence.lineages.get(&row.candidate);
            let parents = lineage.map(|lineage| ancestors(&lineage.body)).unwrap_or_default();
            json!({ "candidate": row.candidate, "gate": row.gate, "rule": bound_rule(evidence, row), "parents": parents })
        };
        let tests: Vec<Value> = record.body.rows.iter().map(row).collect();
        let plan = &evidence.registration.body;
        let params = json!({ "cycle": plan.cycle, "seed": plan.seed, "tests": tests });
        let mut inputs = evidence_of_models(evidence);
        for (name, manifest) in &evidence.manifests {
            inputs.insert(format!("candidate.{name}"), manifest.subject.blake3);
        }
        Some(self.again(Kind::Eval, params, inputs, &record.subject.blake3))
    }

    /// The promotion template, from the gates that the lineage bound and the evidence for each.
    pub(super) fn promotion(&self, evidence: &Evidence) -> Rederived {
        let (lineage, index) = (evidence.lineage(), &evidence.index);
        let mut inputs = BTreeMap::from([
            ("compat".to_owned(), evidence.compat.subject.blake3),
            ("lineage".to_owned(), lineage.subject.blake3),
            ("candidate".to_owned(), evidence.manifest().subject.blake3),
            ("smoke".to_owned(), evidence.smoke.subject.blake3),
        ]);
        for ((model, suite), measured) in &evidence.measured {
            let input = match *model == index.candidate {
                true => format!("eval.{suite}"),
                false => format!("eval-of.{model}.{suite}"),
            };
            inputs.insert(input, measured.sidecar.subject.blake3);
        }
        for name in kin(&lineage.body) {
            if let Some(source) = evidence.sources.get(&name) {
                inputs.insert(format!("source.{name}"), source.subject.blake3);
            }
        }
        for (gate, bytes) in &evidence.brought {
            for word in ["approval", "browser"] {
                inputs.insert(format!("{word}.{gate}"), Digest::of(bytes));
            }
        }
        if let Some(comparisons) = &evidence.comparisons {
            inputs.insert("comparisons".to_owned(), comparisons.subject.blake3);
        }
        let mut params = json!({
            "cycle": index.cycle,
            "candidate": index.candidate,
            "parents": ancestors(&lineage.body),
            "gates": lineage.body.gates,
        });
        let runtime = browser_runtime(evidence);
        if let Some(runtime) = runtime {
            params["browser_runtime"] = json!(runtime);
        }
        let outputs = self.run(Kind::Promotion, params, inputs)?;
        let found = match evidence.promotion.body.gates.last().filter(|gate| is_closing(gate)) {
            None => compare("record", &outputs, &evidence.promotion.subject.blake3),
            Some(closing) => self.closed(evidence, closing, &outputs),
        }?;
        let rests_on = runtime.map(|runtime| format!("; it ran in a browser with the runtime {runtime}"));
        Ok(found + &rests_on.unwrap_or_default())
    }

    /// The promotion of a candidate that its ledger closed a gate to: all of it but that gate, for which a ledger
    /// is needed that is not here. It can only refuse.
    fn closed(
        &self,
        evidence: &Evidence,
        closing: &GateStatus,
        outputs: &BTreeMap<String, Blob>,
    ) -> Rederived {
        let made = outputs.get("record").ok_or("derived again, there is no promotion template")?;
        let bytes = self.store.read(&made.digest).map_err(|error| error.to_string())?;
        let mut open: PromotionTemplate = record::from_bytes(&bytes).map_err(|error| error.to_string())?;
        if open.decision == Decision::Refuse {
            return Err(format!("`{}` is there, and without it the candidate is refused, too", closing.gate));
        }
        open.gates.push(closing.clone());
        open.decision = Decision::of(&open.gates);
        open.claims = Some(evidence.manifest().body.claims.clone().passed(&[]));
        let closed = record::to_bytes(&open).map_err(|error| error.to_string())?;
        if Digest::of(&closed) != evidence.promotion.subject.blake3 {
            return Err(DIFFERENTLY.to_owned());
        }
        Ok(format!("derived again: same bytes but for `{}`, which only its ledger can tell", closing.gate))
    }

    /// The admission, from the promotion template.
    pub(super) fn admission(&self, evidence: &Evidence) -> Rederived {
        let params = json!({ "cycle": evidence.index.cycle, "candidate": evidence.index.candidate });
        let inputs = BTreeMap::from([("promotion".to_owned(), evidence.promotion.subject.blake3)]);
        self.again(Kind::Admission, params, inputs, &evidence.admission.subject.blake3)
    }

    /// Whether the runtime smoke can have been, as far as the model's file tells without running it.
    pub(super) fn smoke_held(&self, evidence: &Evidence) -> Rederived {
        let (params, inputs) = (smoke_params(evidence), self.tested(evidence));
        self.in_context(Kind::Smoke, params, inputs, |context| held(context, &evidence.smoke.body))?;
        Ok("of this model, and what it says can be; run again it was not".to_owned())
    }

    /// The runtime smoke, run again.
    pub(super) fn smoke(&self, evidence: &Evidence) -> Rederived {
        let params = smoke_params(evidence);
        self.again(Kind::Smoke, params, self.tested(evidence), &evidence.smoke.subject.blake3)
    }

    /// An evaluation of the candidate, every case asked again.
    pub(super) fn outcomes(
        &self,
        evidence: &Evidence,
        suite: &crate::record::lineage::BoundSuite,
    ) -> Option<Rederived> {
        let measured = evidence.measured.get(&(evidence.index.candidate.clone(), suite.name.clone()))?;
        let cases = evidence.suites.get(&suite.name)?;
        let params = json!({
            "name": evidence.index.candidate,
            "introduced_by": "manifest",
            "suite": suite.name,
            "kind": suite.kind,
            "options": suite.options,
        });
        let mut inputs = self.tested(evidence);
        inputs.insert("suite".to_owned(), Digest::of(cases));
        let ran = self.run(Kind::Eval, params, inputs);
        Some(ran.and_then(|outputs| compare("outcomes", &outputs, &measured.sidecar.body.outcomes.blake3)))
    }

    fn tested(&self, evidence: &Evidence) -> BTreeMap<String, Digest> {
        let manifest = evidence.manifest();
        BTreeMap::from([
            ("introduction".to_owned(), manifest.subject.blake3),
            ("artifact".to_owned(), manifest.body.artifact.blake3),
        ])
    }
}

fn compare(name: &str, outputs: &BTreeMap<String, Blob>, bound: &Digest) -> Rederived {
    match outputs.get(name) {
        Some(found) if found.digest == *bound => Ok("derived again: same bytes".to_owned()),
        _ => Err(DIFFERENTLY.to_owned()),
    }
}

const DIFFERENTLY: &str = "derived again from what it rests on, it comes out differently";

/// Whether a gate is there only to be closed, by what a ledger says.
fn is_closing(gate: &GateStatus) -> bool {
    gate.state == GateState::Failed && CLOSING_GATES.contains(&gate.gate.as_str())
}

/// The list of the files of a model that is a folder. The reason is a sentence.
pub(super) fn listing(model: &[ModelFile]) -> Result<Listing, String> {
    let listed =
        |file: &ModelFile| ListedFile { name: file.name.clone(), bytes: file.bytes, blake3: file.blake3 };
    Listing::new(model.iter().map(listed).collect()).map_err(|error| error.to_string())
}

/// Everybody whose bytes the candidate is made of.
fn kin_of_bytes(evidence: &Evidence) -> Vec<Name> {
    let lineage = &evidence.lineage().body;
    let mut all = Vec::new();
    for ancestor in lineage.base.iter().chain(&lineage.parents) {
        let mut next = Some(ancestor);
        while let Some(one) = next {
            all.push(one.name.clone());
            next = one.adapts.as_deref();
        }
    }
    all.dedup();
    all
}

fn smoke_params(evidence: &Evidence) -> Value {
    let smoke = &evidence.lineage().body.smoke;
    json!({
        "name": evidence.index.candidate,
        "introduced_by": "manifest",
        "prompts": smoke.get("prompts"),
        "max_tokens": smoke.get("max_tokens"),
    })
}

/// The runtime that pages got when a `browser_smoke` gate was decided, as the run that was brought names it:
/// this program's own would let a dossier hold only until the next release. A gate that is still pending was
/// not decided by its run.
fn browser_runtime(evidence: &Evidence) -> Option<Sha256> {
    let decided = |gate: &Name| {
        let mut gates = evidence.promotion.body.gates.iter().filter(|status| status.gate == *gate);
        gates.any(|status| status.state != GateState::Pending)
    };
    let gates = evidence.lineage().body.gates.as_array().into_iter().flatten();
    let names = gates.filter(|gate| gate.get("rule") == Some(&json!("browser_smoke")));
    let mut names = names.filter_map(|gate| gate.get("name")?.as_str()?.parse::<Name>().ok());
    names.find_map(|name| {
        let brought = evidence.brought.get(&name).filter(|_| decided(&name))?;
        Some(record::from_bytes::<BrowserSmoke>(brought).ok()?.runtime)
    })
}

/// The rule of a comparison as the candidate's lineage bound it, where that is here.
fn bound_rule(evidence: &Evidence, row: &crate::record::comparison::Comparison) -> Value {
    let lineage = evidence.lineages.get(&row.candidate);
    let gates = lineage.and_then(|lineage| lineage.body.gates.as_array());
    let gate = gates.into_iter().flatten().find(|gate| gate.get("name") == Some(&json!(row.gate)));
    gate.and_then(|gate| gate.get("rule")).unwrap_or(&row.rule).clone()
}

/// Sidecars, outcomes and introductions by the names that comparisons know them by.
fn evidence_of_models(evidence: &Evidence) -> BTreeMap<String, Digest> {
    let mut inputs = BTreeMap::new();
    for (name, source) in &evidence.sources {
        inputs.insert(format!("source.{name}"), source.subject.blake3);
    }
    for ((model, suite), measured) in &evidence.measured {
        inputs.insert(format!("eval.{model}.{suite}"), measured.sidecar.subject.blake3);
        inputs.insert(format!("outcomes.{model}.{suite}"), Digest::of(&measured.outcomes));
    }
    inputs
}
