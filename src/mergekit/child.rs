//! The child of a merge: how its tensors are stored and what they are made from, and its files written.
//!
//! The child gets its name when it is whole, but nobody waits for the disk: it is the system's to write
//! it there, as with `cp` and as other tools for merging leave it. If the power fails within that half
//! minute, the receipt has the digests that tell, and the parents that it was made from are untouched.
//! (Artifacts of a breeding cycle are on the disk before any record names them: [`crate::disk::hashed`].)

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::assemble::{Assembly, Step};
use super::config::Config;
use super::error::MergeError;
use super::forget::{Forgetting, Reading};
use super::hashing::Underway;
use super::merge::{Options, RECEIPT};
use super::models::{Models, Opened};
use super::networks::OtherConstant;
use super::receipt::{Done, Receipt};
use super::template::Chosen;
use super::union::Grown;
use crate::base::canonical;
use crate::base::digest::Digest;
use crate::convert::ConvertError;
use crate::disk::fresh::{self, Durability};
use crate::disk::mmap::Mapped;
use crate::disk::{IoContext, atomic, space};
use crate::model::buffer::{Buffer, BufferError};
use crate::model::huggingface::folder::{GENERATION, is_of_tokenizer};
use crate::model::huggingface::mend::{Changes, LayerOf};
use crate::model::huggingface::special_ids::SpecialIds;
use crate::model::huggingface::{CONFIG, FolderLayout, FolderWriter, SHARD, Written};
use crate::model::safetensors::{self, Metadata};
use crate::model::{Companion, ModelWriter, Package, Planned, Weights};
use crate::operator::depth::layer_of;
use crate::operator::{self, Application, OperatorError, Source, TensorInputs};
use crate::tensor::dtype::DType;
use crate::tensor::quantize;

/// When the child reaches the disk.
const LASTING: Durability = Durability::LeftToSystem;

/// Everything that the child is made from.
pub(super) struct Child<'a> {
    pub(super) buffers: Vec<Buffer>,
    pub(super) config: &'a Config,
    pub(super) assembly: &'a Assembly,
    pub(super) planned: &'a [Planned],
    pub(super) inputs: &'a [TensorInputs<'a>],
    pub(super) options: &'a Options,
    pub(super) models: &'a Models,
    pub(super) digests: &'a Underway<'a>,
    pub(super) constants: Vec<OtherConstant>,
    pub(super) changes: Changes,
    /// The tokenizer, where tokens were added.
    pub(super) tokenizer: Option<Grown>,
    /// The model whose tokenizer it has, where that is not the one that it is like.
    pub(super) speaker: Option<String>,
    /// Tokens of its tokenizer that have no row.
    pub(super) rowless: Vec<String>,
    /// Another chat template than that of the model it is like.
    pub(super) template: Option<Chosen>,
}

impl Child<'_> {
    /// Writes it, whole or not at all, and its receipt: in the folder, or beside the file.
    pub(super) fn write(
        &self,
        out: &Path,
        text: &str,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Receipt, MergeError> {
        let like = &self.models[&self.assembly.like];
        if like.is_folder {
            return self.folder(like, out, text, cancelled);
        }
        let (application, outputs) = self.file(out, cancelled)?;
        let receipt = self.receipt(text, application, outputs);
        atomic::replace(&beside(out), &bytes_of(&receipt)?)?;
        Ok(receipt)
    }

    fn metadata() -> Metadata {
        Metadata::from([("format".to_owned(), "pt".to_owned())])
    }

    fn apply(
        &self,
        writer: &mut dyn ModelWriter,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Application, MergeError> {
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
        let application =
            operator::apply(self.assembly.operator, self.inputs, self.planned, &mut writer, cancelled)?;
        self.digests.finish();
        self.refuse_changed()?;
        Ok(application)
    }

    /// A child of two states of a file is a child of nobody.
    fn refuse_changed(&self) -> Result<(), MergeError> {
        let mut files = self.models.values().flat_map(|opened| &opened.files);
        match files.find(|(_, mapped)| !mapped.unchanged()) {
            Some((_, mapped)) => Err(MergeError::Changed(mapped.path().to_owned())),
            None => Ok(()),
        }
    }

    /// Where a tensor of a model lies.
    fn place(&self, model: &str, tensor: &str) -> Option<(&Mapped, Range<usize>)> {
        let opened = self.models.get(model)?;
        let info = opened.package.weights.info(tensor)?;
        let (_, mapped) = opened.files.get(info.part)?;
        Some((mapped, info.data.clone()))
    }

    fn file(
        &self,
        out: &Path,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(Application, Vec<Written>), MergeError> {
        let layout = safetensors::Layout::with_buffers(
            self.planned.to_vec(),
            self.buffers.clone(),
            &Self::metadata(),
        )?;
        space::check(fresh::folder_of(out), layout.total_bytes())?;
        let (application, blake3, bytes) = fresh::file(out, self.options.replace, LASTING, |file| {
            let mut writer = safetensors::Writer::new(&layout, file)?;
            self.apply(&mut writer, cancelled)
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
        let limit = self.options.shard_size.unwrap_or(SHARD);
        let layout = FolderLayout::with_buffers(self.planned, &self.buffers, limit, &Self::metadata())?;
        let companions = self.companions(like)?;
        let beside: u64 = companions.iter().map(|companion| companion.bytes.len() as u64).sum();
        space::check(fresh::folder_of(out), layout.total_bytes().saturating_add(beside))?;
        fresh::folder(out, self.options.judge(), LASTING, |folder| {
            let mut writer = FolderWriter::new(&layout, folder, LASTING);
            let application = self.apply(&mut writer, cancelled)?;
            let mut outputs = writer.written().to_vec();
            for Companion { name, bytes } in &companions {
                let path = folder.join(name);
                fresh::folder_for(&path)?;
                std::fs::write(&path, bytes).at("write", &path)?;
                let (name, blake3) = (name.clone(), Digest::of(bytes));
                outputs.push(Written { name, bytes: bytes.len() as u64, blake3 });
            }
            let receipt = self.receipt(text, application, outputs);
            let path = folder.join(RECEIPT);
            std::fs::write(&path, bytes_of(&receipt)?).at("write", &path)?;
            Ok(receipt)
        })
    }

    /// The small files that the child gets: of the model that it is like, but those of a tokenizer of the model
    /// whose tokenizer it has.
    fn companions(&self, like: &Opened) -> Result<Vec<Companion>, MergeError> {
        let speaker = self.speaker();
        let own = like.package.companions.iter();
        let own = own.filter(|companion| speaker.is_none() || !is_of_tokenizer(&companion.name));
        let of_speaker = speaker.iter().flat_map(|speaker| &speaker.companions);
        let all = own.chain(of_speaker.filter(|companion| is_of_tokenizer(&companion.name)));
        let given = |companion: &Companion| {
            Ok(Companion { name: companion.name.clone(), bytes: self.companion(companion)? })
        };
        let mut companions = all.map(given).collect::<Result<Vec<_>, MergeError>>()?;
        if let Some(template) = &self.template {
            template.put(&mut companions);
        }
        Ok(companions)
    }

    fn speaker(&self) -> Option<&Package> {
        self.speaker.as_ref().map(|name| &self.models[name].package)
    }

    /// A companion as the child gets it: as it is, but for what became another number.
    fn companion(&self, companion: &Companion) -> Result<Vec<u8>, MergeError> {
        let grown = self.tokenizer.as_ref();
        if let Some(file) = grown.and_then(|grown| grown.companion(&companion.name, &companion.bytes)) {
            return Ok(file);
        }
        let mut bytes = companion.bytes.clone();
        if companion.name == CONFIG && !self.changes.are_none() {
            let mended = self.changes.mend(&bytes);
            bytes = mended.map_err(|error| MergeError::Companion(CONFIG, error))?;
        }
        if let Some(speaker) = self.speaker() {
            let name = if companion.name == CONFIG { CONFIG } else { GENERATION };
            let mended = SpecialIds::of(speaker).put(&companion.name, &bytes);
            bytes = mended.map_err(|error| MergeError::Companion(name, error.into()))?.unwrap_or(bytes);
        }
        Ok(bytes)
    }

    fn receipt(&self, text: &str, application: Application, outputs: Vec<Written>) -> Receipt {
        let done = Done {
            assembly: self.assembly,
            inputs: self.inputs,
            models: self.models,
            digests: self.digests,
            buffers: &self.buffers,
            constants: &self.constants,
            speaker: self.speaker.as_deref(),
            rowless: &self.rowless,
            template: self.template.as_ref(),
            added_tokens: self.tokenizer.as_ref().map(|grown| grown.tokens.as_slice()),
        };
        done.receipt(text, self.config, self.options, application, outputs)
    }
}

/// Where the receipt of a file goes.
pub(super) fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".receipt.json");
    name.into()
}

fn bytes_of(receipt: &Receipt) -> Result<Vec<u8>, MergeError> {
    canonical::to_vec(receipt).map_err(|error| MergeError::Receipt(error.to_string()))
}

/// How every tensor is stored: as asked for, or as the model that the child is like has it.
pub(super) fn plan(assembly: &Assembly, like: &Weights, dtype: Option<DType>) -> Vec<Planned> {
    let most_used = like.infos().first().map_or(DType::F32, |info| info.dtype);
    let stored = |step: &Step| like.tensor(&step.name).map_or(most_used, |view| view.dtype);
    let plan = |step: &Step| {
        let stored = dtype.unwrap_or_else(|| stored(step));
        let dtype = if safetensors::DTYPES.contains(&stored) { stored } else { DType::F32 };
        Planned { name: step.name.clone(), shape: step.shape.clone(), dtype, block_size: 0 }
    };
    assembly.steps.iter().map(plan).collect()
}

/// What every tensor is made from; `source` has the tensors of the models.
pub(super) fn tensors<'a>(
    assembly: &'a Assembly,
    planned: &'a [Planned],
    seed: &'a str,
    source: impl Fn(&str, &str) -> Option<Box<dyn Source + 'a>>,
) -> Result<Vec<TensorInputs<'a>>, MergeError> {
    let source = |(model, tensor): &'a (String, String)| {
        source(model, tensor).ok_or_else(|| OperatorError::Missing {
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
            dtype: planned.dtype,
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

/// What the child gets as it is, beside its tensors.
pub(super) fn buffers(like: &Opened, assembly: &Assembly) -> Result<Vec<Buffer>, ConvertError> {
    let buffers = like.package.carried_buffers()?;
    let of_layer = |buffer: &&Buffer| layer_of(&buffer.name).is_some();
    match buffers.iter().find(of_layer).filter(|_| assembly.layers.is_some()) {
        None => Ok(buffers),
        Some(Buffer { name, kind, .. }) => Err(BufferError::OfLayer { name: name.clone(), kind }.into()),
    }
}

/// What of the child's configuration became another number.
pub(super) fn changes(
    config: &Config,
    assembly: &Assembly,
    models: &Models,
    own_output: bool,
    vocab_size: Option<usize>,
) -> Changes {
    let of = |(model, layer): &(String, usize)| LayerOf::new(model, &models[model].package, *layer);
    Changes {
        dtype: config.dtype,
        layers: assembly.layers.as_ref().map(|layers| layers.iter().map(of).collect()),
        vocab_size,
        untied: models[&assembly.like].becomes_untied(own_output),
    }
}
