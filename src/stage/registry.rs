//! Part 13: `registry`: a folder of admitted models that any static server can show to a browser.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::context::of;
use super::source::TRAINED;
use super::{Context, Kind, Made, Stage, StageError, Weight};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::model::slm1;
use crate::record::admission::AdmissionRecord;
use crate::record::candidate::CandidateManifest;
use crate::record::ledger::LedgerExtract;
use crate::record::registry::{RegistryRow, SelectorRegistry};
use crate::registry::selector::{manifest_path, record_path};
use crate::registry::{self, Claims, EvidenceKind, NewRegistryEntry, Selector, SourceKind, site, snapshot};
use crate::store::{ActionResult, Store, Verdict};

/// Whom to show, up to which size.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    pub(crate) cycle: Name,
    pub(crate) budget: u64,
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
        2
    }

    fn weight(&self) -> Weight {
        Weight::Heavy
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        let params: Params = context.params()?;
        let (ledger, _) = context.record::<LedgerExtract>("ledger")?;
        let log = context.store.ledger()?;
        let leaves = log.leaves()?;
        let (mut entries, mut rows, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        for candidate in &params.candidates {
            let Some((admission, subject)) =
                context.optional_record::<AdmissionRecord>(&of("admission", candidate))?
            else {
                continue;
            };
            if !admission.admitted {
                continue;
            }
            let (manifest, manifest_subject) =
                context.record::<CandidateManifest>(&of("candidate", candidate))?;
            if admission.manifest != Some(manifest_subject.sha256) {
                return Err(StageError::Refused(format!(
                    "the admission of `{candidate}` is of another manifest"
                )));
            }
            if let Some(entry) = context.retired(manifest_subject.sha256)? {
                left_out.push((candidate.clone(), format!("retired by ledger entry {entry}")));
                continue;
            }
            let logged = ledger.entries.iter().find(|place| place.record == subject.sha256);
            let Some(logged) = logged.filter(|place| place.kind == "admission") else {
                return Err(StageError::Refused(format!(
                    "the admission of `{candidate}` is not in the ledger"
                )));
            };
            if manifest.format != slm1::NAME {
                let why = format!("a browser loads .slm files; this is {}", manifest.format);
                left_out.push((candidate.clone(), why));
                continue;
            }
            let leaf = leaves.get(usize::try_from(logged.index).unwrap_or(usize::MAX));
            if let Some(later) = leaf.and_then(|leaf| registry::taken_back(leaf, &leaves)) {
                left_out.push((candidate.clone(), format!("taken back by ledger entry {}", later.index)));
                continue;
            }
            if manifest.artifact.bytes > params.budget {
                let why =
                    format!("{} bytes are over the budget of {}", manifest.artifact.bytes, params.budget);
                left_out.push((candidate.clone(), why));
                continue;
            }
            rows.push(RegistryRow {
                candidate: candidate.clone(),
                manifest: manifest_subject.sha256,
                admission: subject.sha256,
                artifact: manifest.artifact.sha256,
            });
            entries.push(NewRegistryEntry {
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
        }
        let folder = registry_folder(context.store, &params.cycle);
        let built = registry::build(&folder, entries)?;
        registry::check_admissions(&built.selector, &log)?;
        snapshot::write(&folder, &log)?;
        let summary = format!("{} admitted models", rows.len());
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
        let Some(blob) = result.outputs.get("record") else { return Ok(false) };
        let bytes = context.store.read(&blob.digest)?;
        let record: SelectorRegistry = crate::record::from_bytes(&bytes)
            .map_err(|source| StageError::Record { input: "record".to_owned(), source })?;
        for row in &record.entries {
            if context.retired(row.manifest)?.is_some() {
                return Ok(false);
            }
        }
        let folder = registry_folder(context.store, &params.cycle);
        if !site::is_current(&folder) || !snapshot::is_current(&folder, &context.store.ledger()?)? {
            return Ok(false);
        }
        let Ok(selector) = std::fs::read(folder.join("selector.json")) else { return Ok(false) };
        if Sha256::of(&selector) != record.selector {
            return Ok(false);
        }
        // Whole files are compared by their stamps; `verify` reads them again.
        for entry in Selector::from_bytes(&selector)?.entries {
            let model = context.store.hash_file(&folder.join(&entry.model.path));
            let manifest = std::fs::read(folder.join(manifest_path(entry.manifest)));
            let mut records = entry.evidence.iter().map(|evidence| evidence.sha256).chain([entry.admission]);
            let whole = model.is_ok_and(|blob| blob.digest == entry.model.blake3)
                && manifest.is_ok_and(|bytes| Sha256::of(&bytes) == entry.manifest)
                && records.all(|sha256| {
                    std::fs::read(folder.join(record_path(sha256))).is_ok_and(|it| Sha256::of(&it) == sha256)
                });
            if !whole {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The records a page shows, as they are in the store.
fn evidence(
    context: &Context<'_>,
    candidate: &Name,
    suites: &[Name],
) -> Result<Vec<(EvidenceKind, Vec<u8>)>, StageError> {
    let one = |kind: EvidenceKind, word: &str| (kind, of(word, candidate));
    let mut wanted = vec![
        one(EvidenceKind::Promotion, "promotion"),
        one(EvidenceKind::Lineage, "lineage"),
        one(EvidenceKind::Smoke, "smoke"),
    ];
    let measured = suites.iter().map(|suite| (EvidenceKind::Evaluation, format!("eval.{candidate}.{suite}")));
    wanted.extend(measured);
    let mut found = Vec::new();
    for (kind, input) in wanted {
        if let Some(digest) = context.optional(&input) {
            found.push((kind, context.store.read(&digest)?));
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
