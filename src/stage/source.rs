//! Part 1: `source`: opens a parent, validates all of it, and says what it is.
//!
//! An adapter is validated by itself alone. Whether it fits its model is for the compatibility report.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::context::sha256_of;
use super::revoked::stage_error;
use super::{Context, Kind, Made, Stage, StageError, Weight};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::model::adapter::{AdapterIdentity, OpenedAdapter};
use crate::model::identity::Identity;
use crate::model::source::{SourceKind, SourceManifest};
use crate::model::{Package, Weights, slm1, trained, validate_values};
use crate::pedigree::shared;
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
    /// What its bytes carry, if it is a copy of a model that was bred here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inherited: Option<Inherited>,
}

/// What a file has from the candidate that it is a copy of.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inherited {
    pub(crate) licences: Vec<String>,
    pub(crate) data: Vec<String>,
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

pub(super) use crate::record::candidate::TRAINED;

pub(super) struct SourceStage;

impl Stage for SourceStage {
    fn kind(&self) -> Kind {
        Kind::Source
    }

    fn version(&self) -> u32 {
        8
    }

    fn weight(&self) -> Weight {
        Weight::Heavy
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        let params: Params = context.params()?;
        let listing = context.store.listing(&context.input("model")?)?;
        let seen = match &params.adapts {
            None => model(context)?,
            Some(adapts) => adapter(context, adapts)?,
        };
        let mut origin = origin(context, &params, &seen.artifact)?;
        if let Some(inherited) = &params.inherited {
            add(&mut origin.licences, &inherited.licences);
            add(&mut origin.data, &inherited.data);
        }
        expect_licence(&params, &origin)?;
        if let Some(path) = &seen.edited {
            return Err(StageError::Refused(format!("{} changed while it was being read", path.display())));
        }
        let summary = format!("{}, {}", seen.summary, origin.source_kind);
        let record = SourceArtifact {
            name: params.name,
            role: params.role,
            artifact: seen.artifact,
            files: listing.as_ref().map(|listing| listing.files().to_vec()).unwrap_or_default(),
            format: seen.format.to_owned(),
            identity: seen.identity,
            adapter: seen.adapter,
            checksum: seen.checksum,
            origin,
        };
        let bytes = crate::record::to_bytes(&record)
            .map_err(|source| StageError::Record { input: "record".to_owned(), source })?;
        if let Some(taint) = context.taint_of_source(Sha256::of(&bytes), &record)? {
            let why = context.told(&taint)?;
            return Err(StageError::Refused(format!("`{}` cannot be a parent: {why}", record.name)));
        }
        let mut made = context.made(&record, Verdict::Pass, summary)?;
        // Later stages and later cycles find the files of a folder by this list.
        if let Some(listing) = listing {
            made.outputs.insert("files".to_owned(), context.store.put(&listing.to_bytes())?);
        }
        Ok(made)
    }

    /// A parent that was good may have been taken back since.
    fn still_holds(&self, context: &Context<'_>, result: &ActionResult) -> Result<bool, StageError> {
        let Some((body, subject)) = context.record_of(result)? else { return Ok(false) };
        Ok(context.taint_of_source(subject.sha256, &body)?.is_none())
    }

    fn lapsed(&self, context: &Context<'_>, result: &ActionResult) -> Result<String, StageError> {
        let taint = match context.record_of(result)? {
            Some((body, subject)) => context.taint_of_source(subject.sha256, &body)?,
            None => None,
        };
        let why = match taint {
            Some(taint) => format!(": {}", context.told(&taint)?),
            None => String::new(),
        };
        Ok(format!("it was taken back since and cannot be a parent any more{why}"))
    }
}

/// What a file or a folder turned out to be.
struct Seen {
    artifact: Subject,
    /// A file that is not what it was when it was opened.
    edited: Option<PathBuf>,
    format: &'static str,
    identity: Option<Identity>,
    adapter: Option<AdapterFacts>,
    checksum: String,
    summary: String,
}

const BLAKE3_ALONE: &str = "none of its own; its BLAKE3 is checked";

fn model(context: &Context<'_>) -> Result<Seen, StageError> {
    let opened = context.model("model")?;
    let package = &opened.package;
    validate_values(&package.weights).map_err(|error| {
        let path = opened.files.first().map(|(_, file)| file.path().display().to_string());
        StageError::Refused(format!("{}: {error}", path.unwrap_or_default()))
    })?;
    let identity = Identity::of_package(package);
    let format = package.weights.format();
    let artifact = context.artifact("model", &opened)?;
    let checksum = match opened.single() {
        Some(file) if format == slm1::NAME => slm1::checksum_verdict((**file).as_ref()).to_string(),
        _ => BLAKE3_ALONE.to_owned(),
    };
    let summary = if format == slm1::NAME {
        format!("{} parameters, {}", identity.parameters, identity.quantisation.name)
    } else {
        format!("{} parameters, {}, {format}", identity.parameters, identity.quantisation.name)
    };
    Ok(Seen {
        artifact,
        edited: opened.edited().map(Path::to_owned),
        format,
        checksum,
        summary,
        identity: Some(identity),
        adapter: None,
    })
}

fn adapter(context: &Context<'_>, adapts: &Name) -> Result<Seen, StageError> {
    let digest = context.input("model")?;
    let base = context.optional("base").map(|_| context.model("base")).transpose()?;
    let nothing = Package::of_weights(Weights::none());
    let beside = base.as_ref().map_or(&nothing, |base| &base.package);
    let OpenedAdapter { adapter, mapped } = context.store.open_adapter(&digest, beside)?;
    let refused =
        |why: &dyn std::fmt::Display| StageError::Refused(format!("{}: {why}", mapped.path().display()));
    adapter.validate().map_err(|error| refused(&error))?;
    // A LoRA folder is for whatever model it was read beside.
    let of_base = base.as_ref().map(|base| AdapterIdentity::of_package(&base.package));
    let identity = adapter.identity().copied().or(of_base);
    let identity = identity.ok_or_else(|| refused(&"the adapter does not say which model it is for"))?;
    let (deltas, numbers) = (adapter.infos().len() as u64, adapter.numbers());
    let artifact = match context.store.listing(&digest)? {
        Some(listing) => {
            Subject { sha256: Sha256::of(&listing.to_bytes()), blake3: digest, bytes: listing.total_bytes() }
        }
        None => Subject { sha256: sha256_of(&mapped), blake3: digest, bytes: mapped.stamp().bytes },
    };
    Ok(Seen {
        artifact,
        edited: (!mapped.unchanged()).then(|| mapped.path().to_owned()),
        format: adapter.format(),
        checksum: if base.is_some() { BLAKE3_ALONE } else { "matches its BLAKE3" }.to_owned(),
        summary: format!("adapter for `{adapts}`, {deltas} deltas"),
        identity: None,
        adapter: Some(AdapterFacts { adapts: adapts.clone(), identity, deltas, numbers }),
    })
}

/// What the manifest of a trained source says of it.
fn declared(context: &Context<'_>) -> Result<Option<Origin>, StageError> {
    let listing = context.store.listing(&context.input("model")?)?;
    let Some(file) = listing.as_ref().and_then(|listing| listing.file(trained::MANIFEST)) else {
        return Ok(None);
    };
    let bytes = context.store.read(&file.blake3)?;
    let refuse = |why: String| StageError::Refused(format!("{}: {why}", trained::MANIFEST));
    let text = std::str::from_utf8(&bytes).map_err(|error| refuse(error.to_string()))?;
    let manifest = trained::Manifest::parse(text).map_err(|error| refuse(error.to_string()))?;
    let mut data = manifest.datasets;
    data.sort();
    data.dedup();
    Ok(Some(Origin {
        source_kind: manifest.source_kind,
        licences: vec![manifest.licence],
        data,
        manifest: Some(Sha256::of(&bytes)),
        cycle: None,
    }))
}

fn origin(context: &Context<'_>, params: &Params, artifact: &Subject) -> Result<Origin, StageError> {
    if let Some(pool) = &params.pool {
        as_offered(context, params, pool, artifact)?;
        return Ok(Origin {
            source_kind: if pool.trained { TRAINED } else { "undeclared" }.to_owned(),
            licences: pool.licences.clone(),
            data: pool.data.clone(),
            manifest: Some(pool.manifest),
            cycle: Some(pool.cycle.clone()),
        });
    }
    let Some(digest) = context.optional("manifest") else {
        if let Some(origin) = declared(context)? {
            return Ok(origin);
        }
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

fn add(list: &mut Vec<String>, more: &[String]) {
    list.extend_from_slice(more);
    list.sort();
    list.dedup();
}

/// A pool names a parent by one digest; the record that offers it binds another as well, and both must be of
/// the bytes that are here.
fn as_offered(
    context: &Context<'_>,
    params: &Params,
    pool: &Pool,
    artifact: &Subject,
) -> Result<(), StageError> {
    let offered = shared(context.store, |pedigree| {
        let bred = pedigree.manifests.get(&pool.manifest).map(|body| body.artifact);
        bred.or_else(|| pedigree.sources.get(&pool.manifest).map(|body| body.artifact))
    });
    let offered = offered.map_err(stage_error)?;
    let refuse =
        |why: String| Err(StageError::Refused(format!("`{}` cannot be a parent: {why}", params.name)));
    match offered {
        Some(offered) if offered == *artifact => Ok(()),
        Some(offered) => refuse(format!(
            "the record {} of the cycle `{}` offers a model with the SHA-256 {}, the one that is here has {}",
            pool.manifest.short(),
            pool.cycle,
            offered.sha256,
            artifact.sha256
        )),
        None => refuse(format!(
            "its record {} of the cycle `{}` is no longer in the store; run that cycle's plan again",
            pool.manifest.short(),
            pool.cycle
        )),
    }
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
