//! Part 13: `registry`: a folder of admitted models that any static server can show to a browser.

mod earlier;
mod outgrown;
mod release;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::context::of;
use super::source::TRAINED;
use super::{Context, Kind, Made, Stage, StageError, Weight};
use crate::base::difference;
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::disk::small::read_small;
use crate::ledger::{Leaf, taken_back};
use crate::model::slm1;
use crate::record::admission::AdmissionRecord;
use crate::record::candidate::CandidateManifest;
use crate::record::ledger::LedgerExtract;
use crate::record::registry::{RegistryRow, SelectorRegistry};
use crate::registry::check::MAX_MANIFEST;
use crate::registry::selector::MAX_SELECTOR;
use crate::registry::{
    self, Claims, EvidenceKind, NewEvidence, NewRegistryEntry, Selector, SourceKind, site, snapshot,
};
use crate::store::{ActionResult, Store, Verdict};

/// Whom to show, up to which size.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    pub(crate) cycle: Name,
    pub(crate) budget: u64,
    /// Until when signed metadata holds, and its root.
    pub(crate) expires: Option<String>,
    pub(crate) root_expires: Option<String>,
    pub(crate) candidates: Vec<Name>,
    pub(crate) suites: Vec<Name>,
}

/// Where a store keeps a cycle's registry.
pub fn registry_folder(store: &Store, cycle: &Name) -> PathBuf {
    store.root().join("registry").join(cycle.as_str())
}

pub(super) struct RegistryStage;

impl Stage for RegistryStage {
    fn kind(&self) -> Kind {
        Kind::Registry
    }

    fn version(&self) -> u32 {
        4
    }

    fn weight(&self) -> Weight {
        Weight::Heavy
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        let params: Params = context.params()?;
        let log = context.store.ledger()?;
        let leaves = log.leaves()?;
        let Offer { entries, rows, left_out } = Offer::now(context, &params, &leaves)?;
        let folder = registry_folder(context.store, &params.cycle);
        let signing = release::signing(context, &params, &leaves)?;
        let built = registry::build(&folder, entries, &|entries| registry::default_of(entries, &leaves))?;
        registry::check_admissions(&built.selector, &log)?;
        let mut summary = format!("{} models for browsers", rows.len());
        match signing {
            Some(signing) => {
                let version = signing.publish(context, &folder, &built)?;
                summary += &format!(", metadata version {version} until {}", signing.expires());
            }
            None => drop(snapshot::write(&folder, &log, &release::log_keys(context), &built.selector)?),
        }
        let record = SelectorRegistry {
            cycle: params.cycle,
            selector: built.selector_sha256,
            budget_bytes: params.budget,
            entries: rows,
            left_out,
        };
        context.made(&record, Verdict::Pass, summary)
    }

    /// The folder must hold exactly what was built.
    fn still_holds(&self, context: &Context<'_>, result: &ActionResult) -> Result<bool, StageError> {
        let params: Params = context.params()?;
        let Some((record, _)) = context.record_of::<SelectorRegistry>(result)? else { return Ok(false) };
        let folder = registry_folder(context.store, &params.cycle);
        let Some(selector) = shown(context, &params, &record, &folder)? else { return Ok(false) };
        let log = context.store.ledger()?;
        let entries = log.leaves()?.len() as u64;
        Ok(snapshot::is_current(&folder, &log, &release::log_keys(context), &selector)?
            && release::still_holds(context, &params, &folder, &log, entries)?)
    }

    /// Another cycle adds to the ledger too, and so does who takes somebody else back.
    fn outgrown(&self, context: &Context<'_>, result: &ActionResult) -> Result<Option<String>, StageError> {
        outgrown::outgrown(context, result)
    }

    /// The folder is read again by itself; whom it shows follows from the admissions and the ledger.
    fn recheck(&self, context: &Context<'_>, result: &ActionResult) -> Result<(), StageError> {
        let Some((record, _)) = context.record_of::<SelectorRegistry>(result)? else {
            return Err(StageError::Refused("it made no record".to_owned()));
        };
        match not_as_offered(context, &context.params()?, &record)? {
            None => Ok(()),
            Some(where_it_is) => Err(StageError::Refused(format!(
                "the record is not what admissions and ledger say: {where_it_is}"
            ))),
        }
    }
}

/// The selector of a folder that has every file as it was built, of whom the ledger still lets it show; none if
/// the folder is not that. How much of the ledger it shows is not asked.
fn shown(
    context: &Context<'_>,
    params: &Params,
    record: &SelectorRegistry,
    folder: &Path,
) -> Result<Option<Selector>, StageError> {
    for row in &record.entries {
        if context.retired(&params.cycle, row.manifest, row.artifact)?.is_some() {
            return Ok(None);
        }
    }
    // Why somebody is left out may change while everybody who is shown stays.
    if !record.left_out.is_empty() && not_as_offered(context, params, record)?.is_some() {
        return Ok(None);
    }
    let selector = read_small("read", &folder.join("selector.json"), MAX_SELECTOR);
    let Ok(bytes) = selector else { return Ok(None) };
    if !site::is_current(folder) || Sha256::of(&bytes) != record.selector {
        return Ok(None);
    }
    let selector = Selector::from_bytes(&bytes)?;
    if selector.default != registry::default_of(&selector.entries, &context.store.ledger()?.leaves()?) {
        return Ok(None);
    }
    // Whole files are compared by their stamps; `verify` reads them again.
    for entry in &selector.entries {
        let model = context.store.hash_file(&folder.join(&entry.model.path));
        let whole = model.is_ok_and(|blob| blob.digest == entry.model.blake3)
            && registry::record_paths(entry).all(|(path, sha256)| {
                read_small("read", &folder.join(path), MAX_MANIFEST).is_ok_and(|it| Sha256::of(&it) == sha256)
            });
        if !whole {
            return Ok(None);
        }
    }
    Ok(Some(selector))
}

/// Where a record is not of what is offered now; none if it is.
fn not_as_offered(
    context: &Context<'_>,
    params: &Params,
    record: &SelectorRegistry,
) -> Result<Option<String>, StageError> {
    let offer = Offer::now(context, params, &context.store.ledger()?.leaves()?)?;
    let expected = SelectorRegistry {
        cycle: params.cycle.clone(),
        selector: record.selector,
        budget_bytes: params.budget,
        entries: offer.rows,
        left_out: offer.left_out,
    };
    Ok(difference::first(record, &expected))
}

/// What is offered so far, and what is not.
#[derive(Default)]
struct Offer {
    entries: Vec<NewRegistryEntry>,
    rows: Vec<RegistryRow>,
    left_out: Vec<(Name, String)>,
}

impl Offer {
    /// What the plan's admissions and the ledger offer.
    fn now(context: &Context<'_>, params: &Params, leaves: &[Leaf]) -> Result<Self, StageError> {
        let (ledger, _) = context.record::<LedgerExtract>("ledger")?;
        let mut offer = Self::default();
        let line = registry::line_of(&params.cycle, leaves);
        for candidate in &params.candidates {
            offer.candidate(context, params, &ledger, leaves, candidate)?;
        }
        earlier::bring_back(context, params, leaves, &line, &mut offer)?;
        Ok(offer)
    }

    /// Says why a candidate is not offered: once, by the newest admission of its name.
    fn leave_out(&mut self, candidate: Name, why: String) {
        if self.left_out.iter().all(|(known, _)| *known != candidate) {
            self.left_out.push((candidate, why));
        }
    }

    /// Takes in a candidate of the plan if it was admitted and may be offered.
    fn candidate(
        &mut self,
        context: &Context<'_>,
        params: &Params,
        ledger: &LedgerExtract,
        leaves: &[Leaf],
        candidate: &Name,
    ) -> Result<(), StageError> {
        let Some((admission, subject)) =
            context.optional_record::<AdmissionRecord>(&of("admission", candidate))?
        else {
            return Ok(());
        };
        if !admission.admitted {
            return Ok(());
        }
        let (manifest, manifest_subject) =
            context.record::<CandidateManifest>(&of("candidate", candidate))?;
        if admission.manifest != Some(manifest_subject.sha256) {
            return Err(StageError::Refused(format!(
                "the admission of `{candidate}` is of another manifest"
            )));
        }
        let logged = ledger.entries.iter().find(|place| place.record == subject.sha256);
        let Some(logged) = logged.filter(|place| place.kind == "admission") else {
            return Err(StageError::Refused(format!("the admission of `{candidate}` is not in the ledger")));
        };
        let leaf = leaves.get(usize::try_from(logged.index).unwrap_or(usize::MAX));
        let manifest_sha256 = manifest_subject.sha256;
        if let Some(why) = unfit(context, params, &manifest, manifest_sha256, leaf.zip(Some(leaves)))? {
            self.leave_out(candidate.clone(), why);
            return Ok(());
        }
        self.rows.push(RegistryRow {
            candidate: candidate.clone(),
            manifest: manifest_sha256,
            admission: subject.sha256,
            artifact: manifest.artifact.sha256,
        });
        self.entries.push(NewRegistryEntry {
            id: candidate.clone(),
            model: context.store.locate(&context.input(&of("artifact", candidate))?)?,
            model_sha256: manifest.artifact.sha256,
            manifest: context.store.read(&context.input(&of("candidate", candidate))?)?,
            admission: context.store.read(&context.input(&of("admission", candidate))?)?,
            cycle: params.cycle.clone(),
            ledger_index: logged.index,
            evidence: evidence(context, candidate, &params.suites)?,
            claims: Claims::smoke_only(source_kind(&manifest.claims.source_kind)),
            licence: licence(&manifest.licences),
            budget_bytes: params.budget,
        });
        Ok(())
    }
}

/// Why an admitted candidate is not offered; none if it is.
fn unfit(
    context: &Context<'_>,
    params: &Params,
    manifest: &CandidateManifest,
    sha256: Sha256,
    logged: Option<(&Leaf, &[Leaf])>,
) -> Result<Option<String>, StageError> {
    if let Some(entry) = context.retired(&params.cycle, sha256, manifest.artifact.sha256)? {
        return Ok(Some(format!("retired by ledger entry {entry}")));
    }
    if manifest.format != slm1::NAME {
        return Ok(Some(format!("a browser loads .slm files; this is {}", manifest.format)));
    }
    if let Some(later) = logged.and_then(|(leaf, leaves)| taken_back(leaf, leaves)) {
        return Ok(Some(format!("taken back by ledger entry {}", later.index)));
    }
    let bytes = manifest.artifact.bytes;
    Ok((bytes > params.budget).then(|| format!("{bytes} bytes are over the budget of {}", params.budget)))
}

/// The records a page shows, as they are in the store.
fn evidence(
    context: &Context<'_>,
    candidate: &Name,
    suites: &[Name],
) -> Result<Vec<NewEvidence>, StageError> {
    let one = |kind: EvidenceKind, word: &str| (kind, None, of(word, candidate));
    let mut wanted = vec![
        one(EvidenceKind::Promotion, "promotion"),
        one(EvidenceKind::Lineage, "lineage"),
        one(EvidenceKind::Smoke, "smoke"),
    ];
    let measured = suites
        .iter()
        .map(|suite| (EvidenceKind::Evaluation, Some(suite.clone()), format!("eval.{candidate}.{suite}")));
    wanted.extend(measured);
    let mut found = Vec::new();
    for (kind, suite, input) in wanted {
        if let Some(digest) = context.optional(&input) {
            found.push(NewEvidence { kind, suite, record: context.store.read(&digest)? });
        }
    }
    Ok(found)
}

fn source_kind(word: &str) -> SourceKind {
    match word {
        TRAINED => SourceKind::ConvertedTrained,
        "deterministic-smoke" => SourceKind::DeterministicSmoke,
        _ => SourceKind::Undeclared,
    }
}

/// All licences hold at once; without any, nothing is granted.
fn licence(licences: &[String]) -> String {
    match licences {
        [] => "NONE".to_owned(),
        [one] => one.clone(),
        several => several.iter().map(|licence| format!("({licence})")).collect::<Vec<_>>().join(" AND "),
    }
}

#[cfg(test)]
mod tests {
    use crate::record::Record as _;
    use crate::record::admission::AdmissionRecord;
    use crate::record::candidate::CandidateManifest;
    use crate::record::evaluation::EvaluationSidecar;
    use crate::record::lineage::LineageTemplate;
    use crate::record::promotion::PromotionTemplate;
    use crate::record::smoke::RuntimeSmoke;

    #[test]
    fn the_page_reads_the_records_that_are_written() {
        let script = include_str!("../registry/site/app/selector.js");
        for kind in [
            AdmissionRecord::TYPE,
            CandidateManifest::TYPE,
            PromotionTemplate::TYPE,
            LineageTemplate::TYPE,
            RuntimeSmoke::TYPE,
            EvaluationSidecar::TYPE,
        ] {
            let kind = kind.strip_prefix("urn:studbook:").unwrap();
            assert!(script.contains(&format!("\"{kind}\"")), "the page does not know {kind}");
        }
    }
}
