//! A merge carried out: models opened, the child written whole or not at all, a receipt beside it.
//!
//! The child gets its name when it is whole, but nobody waits for the disk: it is the system's to write
//! it there, as with `cp` and as other tools for merging leave it. If the power fails within that half
//! minute, the receipt has the digests that tell, and the parents that it was made from are untouched.
//! (Artifacts of a breeding cycle are on the disk before any record names them: [`crate::disk::hashed`].)

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::assemble::{Assembly, Models, Step, assemble, named};
use super::config::Config;
use super::forget::{Forgetting, Reading};
use crate::base::canonical;
use crate::base::diagnostic::{Diagnostic, Findings};
use crate::base::digest::{Digest, Sha256};
use crate::disk::fresh::Durability;
use crate::disk::mmap::Mapped;
use crate::disk::small::read_small_text;
use crate::disk::{DiskError, IoContext, fresh, space, tree};
use crate::model::huggingface::{self, CONFIG, FolderLayout, FolderWriter, Written};
use crate::model::safetensors::{self, Metadata};
use crate::model::{Companion, ModelError, ModelWriter, Package, Planned, Weights, WriteError, open_package};
use crate::operator::{self, Application, OperatorError, TensorInputs, Tensors};
use crate::tensor::dtype::DType;
use crate::tensor::quantize;

/// Why a merge was not made.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The configuration has mistakes, or asks for what the models do not have.
    #[error("{} has {} mistakes", .0.path.display(), .0.errors())]
    Config(Findings),
    /// A model that cannot be opened.
    #[error("{0}")]
    Model(#[from] ModelError),
    /// Making tensors.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// The child.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Where it was to go.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The receipt.
    #[error("the receipt cannot be written: {0}")]
    Receipt(String),
}

/// How to carry a merge out.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most bytes of tensors in one file of a folder.
    pub shard_size: u64,
    /// All randomness derives from it.
    pub seed: String,
    /// Whether what is there already is replaced.
    pub replace: bool,
    /// Whether the inputs are hashed for the receipt, which reads them once more.
    pub input_digests: bool,
}

/// What was done, and how to do it again.
#[derive(Debug, Serialize)]
pub struct Receipt {
    /// Version of this record.
    pub schema: &'static str,
    /// SHA-256 of the configuration's text.
    pub config_sha256: Sha256,
    /// The configuration's text.
    pub config: String,
    /// The method as the configuration calls it.
    pub method: &'static str,
    /// The operator that it is, and its version.
    pub operator: String,
    /// The seed.
    pub seed: String,
    /// The models, by the last part of the names the configuration gives them.
    pub inputs: Vec<Input>,
    /// The child's files.
    pub outputs: Vec<Written>,
    /// What was found or drawn, and every tensor's digest and distance.
    pub application: Application,
}

/// A model that took part.
#[derive(Debug, Serialize)]
pub struct Input {
    /// The last part of its name.
    pub model: String,
    /// Its files.
    pub files: Vec<InputFile>,
}

/// A file of a model.
#[derive(Debug, Serialize)]
pub struct InputFile {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its content, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blake3: Option<Digest>,
}

/// The receipt's file in a folder; beside a file it is called after it.
pub const RECEIPT: &str = "studbook-receipt.json";

/// Configurations are written by people; a larger file is not one.
const MAX_CONFIG: u64 = 4 << 20;

/// When the child reaches the disk.
const LASTING: Durability = Durability::LeftToSystem;

const SCHEMA: &str = "studbook/merge-receipt/1";

/// A model that was opened.
struct Opened {
    is_folder: bool,
    companions: Vec<Companion>,
    files: Vec<(String, Arc<Mapped>)>,
}

/// Reads the configuration at `path` and carries it out.
pub fn merge(
    path: &Path,
    out: &Path,
    options: &Options,
    cancelled: &dyn Fn() -> bool,
) -> Result<Receipt, MergeError> {
    let text = read_small_text("read", path, MAX_CONFIG)?;
    let refuse = |diagnostics: Vec<Diagnostic>| {
        MergeError::Config(Findings { path: path.to_owned(), source: text.clone(), diagnostics })
    };
    let config = super::config::parse(&text).map_err(refuse)?;
    let (models, opened) = open(&config, path).map_err(|error| match error {
        OpenError::Mistakes(mistakes) => refuse(mistakes),
        OpenError::Model(error) => error.into(),
    })?;
    let assembly = assemble(&config, &models).map_err(|mistake| refuse(vec![mistake]))?;
    let planned = plan(&assembly, &models[&assembly.like], config.dtype);
    let inputs = tensors(&assembly, &planned, &models, &options.seed)?;
    let child = Child {
        config: &config,
        assembly: &assembly,
        planned: &planned,
        inputs: &inputs,
        options,
        models: &models,
        opened: &opened,
    };
    let like = &opened[&assembly.like];
    let (application, outputs) = if like.is_folder {
        return child.folder(like, out, &text, cancelled);
    } else {
        child.file(out, cancelled)?
    };
    let receipt = child.receipt(&text, application, outputs);
    let mut name = out.as_os_str().to_owned();
    name.push(".receipt.json");
    crate::disk::atomic::replace(Path::new(&name), &bytes_of(&receipt)?)?;
    Ok(receipt)
}

fn bytes_of(receipt: &Receipt) -> Result<Vec<u8>, MergeError> {
    canonical::to_vec(receipt).map_err(|error| MergeError::Receipt(error.to_string()))
}

enum OpenError {
    Mistakes(Vec<Diagnostic>),
    Model(ModelError),
}

/// Opens every model; all that are not there are told at once.
fn open(config: &Config, path: &Path) -> Result<(Models, BTreeMap<String, Opened>), OpenError> {
    let (mut models, mut opened, mut mistakes) = (Models::new(), BTreeMap::new(), Vec::new());
    for model in named(config) {
        let Some(place) = locate(&model.value, path) else {
            mistakes.push(
                Diagnostic::error(format!("`{}` is not here", model.value), model.span.clone())
                    .expected("expected a folder or a file on this machine")
                    .help("nothing is fetched; paths are relative to where you are, or to this file"),
            );
            continue;
        };
        let (weights, one) = open_one(&place).map_err(OpenError::Model)?;
        models.insert(model.value.clone(), weights);
        opened.insert(model.value.clone(), one);
    }
    if mistakes.is_empty() { Ok((models, opened)) } else { Err(OpenError::Mistakes(mistakes)) }
}

fn locate(model: &str, config: &Path) -> Option<PathBuf> {
    let beside = fresh::folder_of(config).join(model);
    [PathBuf::from(model), beside].into_iter().find(|path| path.exists())
}

fn open_one(path: &Path) -> Result<(Weights, Opened), ModelError> {
    if path.is_dir() && !path.join(crate::model::trained::MANIFEST).exists() {
        let folder = huggingface::open(path)
            .map_err(|error| ModelError::InFile { path: path.to_owned(), source: Box::new(error.into()) })?;
        let files = folder.shards.iter().map(|shard| (shard.name.clone(), shard.mapped.clone())).collect();
        let weights = folder.weights();
        return Ok((weights, Opened { is_folder: true, companions: folder.companions, files }));
    }
    let opened = open_package(path)?;
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let files = opened.mapped.into_iter().map(|mapped| (name.clone(), mapped)).collect();
    let Package { weights, companions, .. } = opened.package;
    Ok((weights, Opened { is_folder: false, companions, files }))
}

/// How every tensor is stored: as asked for, or as the model that the child is like has it.
fn plan(assembly: &Assembly, like: &Weights, dtype: Option<DType>) -> Vec<Planned> {
    let most_used = like.infos().first().map_or(DType::F32, |info| info.dtype);
    let stored = |step: &Step| like.tensor(&step.name).map_or(most_used, |view| view.dtype);
    let plan = |step: &Step| {
        let stored = dtype.unwrap_or_else(|| stored(step));
        let dtype = if safetensors::DTYPES.contains(&stored) { stored } else { DType::F32 };
        Planned { name: step.name.clone(), shape: step.shape.clone(), dtype, block_size: 0 }
    };
    assembly.steps.iter().map(plan).collect()
}

fn tensors<'a>(
    assembly: &'a Assembly,
    planned: &'a [Planned],
    models: &'a Models,
    seed: &'a str,
) -> Result<Vec<TensorInputs<'a>>, MergeError> {
    let source = |(model, tensor): &'a (String, String)| {
        Tensors::source(&models[model], tensor).ok_or_else(|| OperatorError::Missing {
            tensor: tensor.clone(),
            with: assembly.like.clone(),
            without: model.clone(),
        })
    };
    let inputs = |(step, planned): (&'a Step, &'a Planned)| {
        let values = operator::complete(assembly.operator, &step.parameters, step.parents.len())?;
        Ok(TensorInputs {
            name: &planned.name,
            shape: &planned.shape,
            base: step.base.as_ref().map(source).transpose()?,
            base_name: step.base.as_ref().map_or("", |(model, _)| model),
            parents: step.parents.iter().map(source).collect::<Result<_, _>>()?,
            parent_names: step.parents.iter().map(|(model, _)| model.as_str()).collect(),
            values,
            purpose: [seed, assembly.operator.name(), "merge"],
        })
    };
    assembly.steps.iter().zip(planned).map(inputs).collect()
}

/// Everything that the child is made from.
struct Child<'a> {
    config: &'a Config,
    assembly: &'a Assembly,
    planned: &'a [Planned],
    inputs: &'a [TensorInputs<'a>],
    options: &'a Options,
    models: &'a Models,
    opened: &'a BTreeMap<String, Opened>,
}

impl Child<'_> {
    fn metadata() -> Metadata {
        Metadata::from([("format".to_owned(), "pt".to_owned())])
    }

    fn apply(
        &self,
        writer: &mut dyn ModelWriter,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Application, OperatorError> {
        let places = |(step, planned): (&Step, &Planned)| {
            let read = step.base.iter().chain(&step.parents);
            Reading {
                bytes: quantize::lengths(planned.dtype, &planned.shape, planned.block_size)
                    .map_or(0, |lengths| lengths.payload as u64),
                places: read.filter_map(|(model, tensor)| self.place(model, tensor)).collect(),
            }
        };
        let readings = self.assembly.steps.iter().zip(self.planned).map(places).collect();
        let mut writer = Forgetting::new(writer, readings);
        operator::apply(self.assembly.operator, self.inputs, self.planned, &mut writer, cancelled)
    }

    /// Where a tensor of a model lies.
    fn place(&self, model: &str, tensor: &str) -> Option<(&Mapped, Range<usize>)> {
        let info = self.models.get(model)?.info(tensor)?;
        let (_, mapped) = self.opened.get(model)?.files.get(info.part)?;
        Some((mapped, info.data.clone()))
    }

    fn file(
        &self,
        out: &Path,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(Application, Vec<Written>), MergeError> {
        let layout = safetensors::Layout::new(self.planned.to_vec(), &Self::metadata())?;
        space::check(fresh::folder_of(out), layout.total_bytes())?;
        let (application, blake3, bytes) = fresh::file(out, self.options.replace, LASTING, |file| {
            let mut writer = safetensors::Writer::new(&layout, file)?;
            Ok::<_, MergeError>(self.apply(&mut writer, cancelled)?)
        })?;
        let name = out.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok((application, vec![Written { name, bytes, blake3 }]))
    }

    fn folder(
        &self,
        like: &Opened,
        out: &Path,
        text: &str,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Receipt, MergeError> {
        let layout = FolderLayout::new(self.planned, self.options.shard_size, &Self::metadata())?;
        space::check(fresh::folder_of(out), layout.total_bytes())?;
        fresh::folder(out, self.options.replace, LASTING, |folder| {
            let mut writer = FolderWriter::new(&layout, folder, LASTING);
            let application = self.apply(&mut writer, cancelled)?;
            let mut outputs = writer.written().to_vec();
            for companion in &like.companions {
                let bytes = self.companion(companion)?;
                let path = folder.join(&companion.name);
                std::fs::write(&path, &bytes).at("write", &path)?;
                let (name, blake3) = (companion.name.clone(), Digest::of(&bytes));
                outputs.push(Written { name, bytes: bytes.len() as u64, blake3 });
            }
            let receipt = self.receipt(text, application, outputs);
            let path = folder.join(RECEIPT);
            std::fs::write(&path, bytes_of(&receipt)?).at("write", &path)?;
            Ok(receipt)
        })
    }

    /// A companion as the child gets it: as it is, but for what became another number.
    fn companion(&self, companion: &Companion) -> Result<Vec<u8>, MergeError> {
        let changes = self.assembly.layers.is_some() || self.config.dtype.is_some();
        if companion.name != CONFIG || !changes {
            return Ok(companion.bytes.clone());
        }
        let refuse = |error: serde_json::Error| MergeError::Receipt(format!("{CONFIG}: {error}"));
        let mut config: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&companion.bytes).map_err(refuse)?;
        if let Some(layers) = self.assembly.layers {
            config.insert("num_hidden_layers".to_owned(), layers.into());
        }
        if let Some(dtype) = self.config.dtype {
            let key = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
            config.insert(key.to_owned(), huggingface::config::torch(dtype).into());
        }
        let mut bytes = serde_json::to_vec_pretty(&config).map_err(refuse)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn receipt(&self, text: &str, application: Application, outputs: Vec<Written>) -> Receipt {
        let operator = self.assembly.operator;
        Receipt {
            schema: SCHEMA,
            config_sha256: Sha256::of(text.as_bytes()),
            config: text.to_owned(),
            method: self.config.method.name,
            operator: format!("{} {}", operator.name(), operator.version()),
            seed: self.options.seed.clone(),
            inputs: self.opened.iter().map(|(name, opened)| self.input(name, opened)).collect(),
            outputs,
            application,
        }
    }

    fn input(&self, name: &str, opened: &Opened) -> Input {
        let hash = |(name, mapped): &(String, Arc<Mapped>)| InputFile {
            name: name.clone(),
            bytes: mapped.stamp().bytes,
            blake3: self.options.input_digests.then(|| tree::digest_of(mapped)),
        };
        // Where a model lies is this machine's business.
        let last = Path::new(name).file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        Input { model: last, files: opened.files.iter().map(hash).collect() }
    }
}
