//! Part 1: `source`: opens a parent, validates all of it, and says what it is.
//!
//! An adapter is validated by itself alone. Whether it fits its model is for the compatibility report.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::context::sha256_of;
use super::{Context, Kind, Made, Stage, StageError, Weight};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::disk::mmap::Mapped;
use crate::model::adapter::OpenedAdapter;
use crate::model::identity::Identity;
use crate::model::source::{SourceKind, SourceManifest};
use crate::model::{slm1, validate_values};
use crate::record::Subject;
use crate::record::source::{AdapterFacts, Origin, SourceArtifact};
use crate::store::{ActionResult, Verdict};

/// What the plan says of a parent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    pub(crate) name: Name,
    pub(crate) role: String,
    pub(crate) licence: Option<String>,
    pub(crate) pool: Option<Pool>,
    /// The parent whose model it is added to, if it is an adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) adapts: Option<Name>,
}

/// What an earlier cycle's pool says of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pool {
    pub(crate) cycle: Name,
    pub(crate) manifest: Sha256,
    pub(crate) licences: Vec<String>,
    pub(crate) data: Vec<String>,
    pub(crate) trained: bool,
}

/// The source kind of weights that were trained.
pub(super) const TRAINED: &str = "converted-trained";

pub(super) struct SourceStage;

impl Stage for SourceStage {
    fn kind(&self) -> Kind {
        Kind::Source
    }

    fn version(&self) -> u32 {
        1
    }

    fn weight(&self) -> Weight {
        Weight::Heavy
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        let params: Params = context.params()?;
        let seen = match &params.adapts {
            None => model(context)?,
            Some(adapts) => adapter(context, adapts)?,
        };
        let mapped = &seen.mapped;
        let blake3 = context.input("model")?;
        let artifact = Subject { sha256: sha256_of(mapped), blake3, bytes: mapped.stamp().bytes };
        let origin = origin(context, &params, &artifact)?;
        expect_licence(&params, &origin)?;
        still_the_same(mapped)?;
        let summary = format!("{}, {}", seen.summary, origin.source_kind);
        let record = SourceArtifact {
            name: params.name,
            role: params.role,
            artifact,
            format: seen.format.to_owned(),
            identity: seen.identity,
            adapter: seen.adapter,
            checksum: seen.checksum,
            origin,
        };
        let bytes = crate::record::to_bytes(&record)
            .map_err(|source| StageError::Record { input: "record".to_owned(), source })?;
        if let Some(taint) = context.taint_of_source(Sha256::of(&bytes), &record)? {
            return Err(StageError::Refused(format!("`{}` cannot be a parent: {taint}", record.name)));
        }
        context.made(&record, Verdict::Pass, summary)
    }

    /// A parent that was good may have been taken back since.
    fn still_holds(&self, context: &Context<'_>, result: &ActionResult) -> Result<bool, StageError> {
        let Some(blob) = result.outputs.get("record") else { return Ok(false) };
        let bytes = context.store.read(&blob.digest)?;
        let record: SourceArtifact = crate::record::from_bytes(&bytes)
            .map_err(|source| StageError::Record { input: "record".to_owned(), source })?;
        Ok(context.taint_of_source(Sha256::of(&bytes), &record)?.is_none())
    }
}

/// What a file turned out to be.
struct Seen {
    mapped: Arc<Mapped>,
    format: &'static str,
    identity: Option<Identity>,
    adapter: Option<AdapterFacts>,
    checksum: String,
    summary: String,
}

fn refused(mapped: &Mapped, why: &dyn std::fmt::Display) -> StageError {
    StageError::Refused(format!("{}: {why}", mapped.path().display()))
}

fn model(context: &Context<'_>) -> Result<Seen, StageError> {
    let opened = context.model("model")?;
    validate_values(&opened.checkpoint).map_err(|error| refused(&opened.mapped, &error))?;
    let identity = Identity::of(&opened.checkpoint);
    Ok(Seen {
        format: opened.checkpoint.format(),
        checksum: slm1::checksum_verdict((*opened.mapped).as_ref()).to_string(),
        summary: format!("{} parameters, {}", identity.parameters, identity.quantisation.name),
        identity: Some(identity),
        adapter: None,
        mapped: opened.mapped,
    })
}

fn adapter(context: &Context<'_>, adapts: &Name) -> Result<Seen, StageError> {
    let OpenedAdapter { adapter, mapped } = super::adapter::open(context.store, &context.input("model")?)?;
    adapter.validate().map_err(|error| refused(&mapped, &error))?;
    let identity = *adapter
        .identity()
        .ok_or_else(|| refused(&mapped, &"the adapter does not say which model it is for"))?;
    let (deltas, numbers) = (adapter.infos().len() as u64, adapter.numbers());
    Ok(Seen {
        format: adapter.format(),
        checksum: "matches its BLAKE3".to_owned(),
        summary: format!("adapter for `{adapts}`, {deltas} deltas"),
        identity: None,
        adapter: Some(AdapterFacts { adapts: adapts.clone(), identity, deltas, numbers }),
        mapped,
    })
}

/// A file edited while we read it would be bound by a digest of other bytes.
fn still_the_same(mapped: &Mapped) -> Result<(), StageError> {
    if mapped.unchanged() {
        return Ok(());
    }
    Err(StageError::Refused(format!("{} changed while it was being read", mapped.path().display())))
}

fn origin(context: &Context<'_>, params: &Params, artifact: &Subject) -> Result<Origin, StageError> {
    if let Some(pool) = &params.pool {
        return Ok(Origin {
            source_kind: if pool.trained { TRAINED } else { "undeclared" }.to_owned(),
            licences: pool.licences.clone(),
            data: pool.data.clone(),
            manifest: Some(pool.manifest),
            cycle: Some(pool.cycle.clone()),
        });
    }
    let Some(digest) = context.optional("manifest") else {
        let licences = params.licence.iter().cloned().collect();
        let source_kind = "undeclared".to_owned();
        return Ok(Origin { source_kind, licences, data: Vec::new(), manifest: None, cycle: None });
    };
    let bytes = context.store.read(&digest)?;
    let refuse =
        |why: String| StageError::Refused(format!("the source manifest of `{}`: {why}", params.name));
    let manifest = SourceManifest::parse(&bytes, Path::new("its source manifest"))
        .map_err(|error| refuse(error.to_string()))?;
    manifest
        .check(artifact.bytes, &artifact.sha256, &artifact.blake3)
        .map_err(|error| refuse(error.to_string()))?;
    let mut data = manifest.training.data.clone();
    data.sort();
    data.dedup();
    Ok(Origin {
        source_kind: source_kind(manifest.source_kind).to_owned(),
        licences: vec![manifest.licence],
        data,
        manifest: Some(Sha256::of(&bytes)),
        cycle: None,
    })
}

/// The word of the original sidecars.
fn source_kind(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::ConvertedTrained => TRAINED,
        SourceKind::DeterministicSmoke => "deterministic-smoke",
    }
}

fn expect_licence(params: &Params, origin: &Origin) -> Result<(), StageError> {
    match &params.licence {
        Some(expected) if !origin.licences.contains(expected) => Err(StageError::Refused(format!(
            "`{}` has the licence {:?}, the plan expects {expected:?}",
            params.name,
            origin.licences.join(", ")
        ))),
        _ => Ok(()),
    }
}
