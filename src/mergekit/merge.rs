//! A merge carried out: models opened, the child written whole or not at all, a receipt beside it.
//!
//! The child gets its name when it is whole, but nobody waits for the disk: it is the system's to write
//! it there, as with `cp` and as other tools for merging leave it. If the power fails within that half
//! minute, the receipt has the digests that tell, and the parents that it was made from are untouched.
//! (Artifacts of a breeding cycle are on the disk before any record names them: [`crate::disk::hashed`].)

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::assemble::{Assembly, Step, Views, assemble, like};
use super::config::Config;
use super::forget::{Forgetting, Reading};
use super::hashing::{InputDigests, Underway};
use super::models::{self, Models, OpenError, Opened};
use super::networks::{self, OtherConstant};
use super::receipt::{Done, Receipt};
use super::tokens;
use crate::base::canonical;
use crate::base::diagnostic::{Diagnostic, Findings};
use crate::base::digest::Digest;
use crate::convert::ConvertError;
use crate::disk::fresh::{Durability, Judge};
use crate::disk::mmap::Mapped;
use crate::disk::small::read_small_text;
use crate::disk::{DiskError, IoContext, fresh, space};
use crate::model::adapter::AdapterError;
use crate::model::buffer::{self, Buffer, BufferError};
use crate::model::huggingface::mend::{Changes, LayerOf, MendError};
use crate::model::huggingface::{CONFIG, FolderLayout, FolderWriter, SHARD, Written};
use crate::model::overwrite::{self, OverwriteError};
use crate::model::replaceable;
pub use crate::model::replaceable::RECEIPT;
use crate::model::safetensors::{self, Metadata};
use crate::model::{Companion, ModelError, ModelWriter, Planned, Weights, WriteError};
use crate::operator::depth::layer_of;
use crate::operator::{self, Application, OperatorError, Source, TensorInputs, Tensors};
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
    /// An adapter that cannot be opened, or is of another model.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// A model's tensors in the child's names.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The child would take the place of what it is made from.
    #[error(transparent)]
    Overwrite(#[from] OverwriteError),
    /// The child's name says that it is of a format it will not have.
    #[error(
        "{} is named like a file of another format; a merge makes a folder, or a .safetensors file of such files: \
         name it so, and let `studbook convert` make another format of it",
        .0.display()
    )]
    Named(PathBuf),
    /// A file of its own is one file, however large.
    #[error(
        "the models are bare files, so {} would be one file, which `--shard` does not divide; leave it out, or merge \
         folders",
        .0.display()
    )]
    Whole(PathBuf),
    /// Somebody wrote to an input meanwhile.
    #[error("{0} was changed while it was read; nothing is kept of the child: merge again")]
    Changed(PathBuf),
    /// A small file beside the weights.
    #[error("{0} of the child: {1}")]
    Companion(&'static str, MendError),
    /// The receipt.
    #[error("the receipt cannot be written: {0}")]
    Receipt(String),
}

/// How to carry a merge out.
#[derive(Debug)]
pub struct Options {
    /// Most bytes of tensors in one file of a folder, where somebody chose it.
    pub shard_size: Option<u64>,
    /// All randomness derives from it.
    pub seed: String,
    /// Whether what is there already is replaced: a file, or a folder with a model and nothing else.
    pub replace: bool,
    /// Whether rows are taken as they lie, whatever tokens they are of.
    pub rows_by_number: bool,
    /// How the receipt comes to the digests of the inputs.
    pub input_digests: InputDigests,
}

impl Options {
    /// What says whether a folder may be replaced.
    fn judge(&self) -> Option<Judge> {
        self.replace.then_some(replaceable::why_not)
    }
}

/// Configurations are written by people; a larger file is not one.
const MAX_CONFIG: u64 = 4 << 20;

/// When the child reaches the disk.
const LASTING: Durability = Durability::LeftToSystem;

/// Reads the configuration at `path` and carries it out.
pub fn merge(
    path: &Path,
    out: &Path,
    options: &Options,
    cancelled: &dyn Fn() -> bool,
) -> Result<Receipt, MergeError> {
    refuse_name(out)?;
    overwrite::check(out, [path])?;
    let text = read_small_text("read", path, MAX_CONFIG)?;
    let refuse = |diagnostics: Vec<Diagnostic>| {
        MergeError::Config(Findings { path: path.to_owned(), source: text.clone(), diagnostics })
    };
    let config = super::config::parse(&text).map_err(refuse)?;
    let models = models::open(&config, path).map_err(|error| match error {
        OpenError::Mistakes(mistakes) => refuse(mistakes),
        OpenError::Model(error) => error.into(),
        OpenError::Adapter(error) => error.into(),
    })?;
    overwrite::check(out, places(&models))?;
    fresh::refuse_taken(out, options.judge())?;
    let like = like(&config).map_err(|mistake| refuse(vec![mistake]))?;
    if options.shard_size.is_some() && !models[like].is_folder {
        return Err(MergeError::Whole(out.to_owned()));
    }
    networks::configured(&config, &models, like).map_err(|mistake| refuse(vec![mistake]))?;
    for (name, opened) in &models {
        buffer::agree((like, &models[like].package), (name, &opened.package)).map_err(ConvertError::from)?;
    }
    let on_top = models::adapted(&models)?;
    let own_output = models::has_own_output(&models);
    let view = |name: &str| models[name].view(on_top.get(name), own_output);
    let of_like = view(like)?;
    let views = models.keys().map(|name| Ok((name.clone(), view(name)?)));
    let views = views.collect::<Result<Views<'_>, ConvertError>>()?;
    let rows = match &config.tokens_of_base {
        _ if options.rows_by_number => None,
        None => tokens::compare(&config, &models, like).map(|()| None).map_err(refuse)?,
        Some(place) => {
            let rows = tokens::by_token(&config, &models, like, &of_like, place);
            Some(rows.map_err(|mistake| refuse(vec![mistake]))?)
        }
    };
    let views = match &rows {
        None => views,
        Some(rows) => rows.applied(views, &of_like),
    };
    let assembly = assemble(&config, &views).map_err(|mistake| refuse(vec![mistake]))?;
    let constants = networks::compare(&config, &models, like).map_err(refuse)?;
    let planned = plan(&assembly, &models[like].package.weights, config.dtype);
    let digests = Underway::begin(&options.input_digests, &models);
    let source = |model: &str, tensor: &str| {
        let source = views[model].source(tensor)?;
        Some(match models[model].package.weights.info(tensor) {
            Some(info) => digests.hear(source, model, info),
            None => source,
        })
    };
    let inputs = tensors(&assembly, &planned, &options.seed, source)?;
    let child = Child {
        buffers: buffers(&models[like], &assembly)?,
        config: &config,
        assembly: &assembly,
        planned: &planned,
        inputs: &inputs,
        options,
        models: &models,
        digests: &digests,
        constants,
        changes: changes(&config, &assembly, &models, own_output, rows.and_then(|rows| rows.resized)),
    };
    let receipt_beside = beside(out);
    let (application, outputs) = if models[like].is_folder {
        return child.folder(&models[like], out, &text, cancelled);
    } else {
        overwrite::check(&receipt_beside, places(&models).chain([path]))?;
        child.file(out, cancelled)?
    };
    let receipt = child.receipt(&text, application, outputs);
    crate::disk::atomic::replace(&receipt_beside, &bytes_of(&receipt)?)?;
    Ok(receipt)
}

/// Where the receipt of a file goes.
fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".receipt.json");
    name.into()
}

fn bytes_of(receipt: &Receipt) -> Result<Vec<u8>, MergeError> {
    canonical::to_vec(receipt).map_err(|error| MergeError::Receipt(error.to_string()))
}

/// What of the child's configuration became another number.
fn changes(
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

/// The models and their adapters, by the places they were opened at.
fn places<'a>(models: &'a Models) -> impl Iterator<Item = &'a Path> {
    let of_one = |opened: &'a Opened| {
        let adapter = opened.adapter.as_ref().map(|added| added.path.as_path());
        [Some(opened.path.as_path()), adapter]
    };
    models.values().flat_map(of_one).flatten()
}

/// How files of formats end that no child has.
const OTHER_FORMATS: [&str; 5] = ["gguf", "slm", "bin", "pt", "pth"];

/// Whoever opens the child by its name finds what the name says.
fn refuse_name(out: &Path) -> Result<(), MergeError> {
    let ending = out.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    match ending.is_some_and(|ending| OTHER_FORMATS.contains(&ending.as_str())) {
        true => Err(MergeError::Named(out.to_owned())),
        false => Ok(()),
    }
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

/// What every tensor is made from; `source` has the tensors of the models.
fn tensors<'a>(
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
fn buffers(like: &Opened, assembly: &Assembly) -> Result<Vec<Buffer>, ConvertError> {
    let buffers = like.package.carried_buffers()?;
    let of_layer = |buffer: &&Buffer| layer_of(&buffer.name).is_some();
    match buffers.iter().find(of_layer).filter(|_| assembly.layers.is_some()) {
        None => Ok(buffers),
        Some(Buffer { name, kind, .. }) => Err(BufferError::OfLayer { name: name.clone(), kind }.into()),
    }
}

/// Everything that the child is made from.
struct Child<'a> {
    buffers: Vec<Buffer>,
    config: &'a Config,
    assembly: &'a Assembly,
    planned: &'a [Planned],
    inputs: &'a [TensorInputs<'a>],
    options: &'a Options,
    models: &'a Models,
    digests: &'a Underway<'a>,
    constants: Vec<OtherConstant>,
    changes: Changes,
}

impl Child<'_> {
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
        space::check(fresh::folder_of(out), layout.total_bytes())?;
        fresh::folder(out, self.options.judge(), LASTING, |folder| {
            let mut writer = FolderWriter::new(&layout, folder, LASTING);
            let application = self.apply(&mut writer, cancelled)?;
            let mut outputs = writer.written().to_vec();
            for companion in &like.package.companions {
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
        if companion.name != CONFIG || self.changes.are_none() {
            return Ok(companion.bytes.clone());
        }
        let mended = self.changes.mend(&companion.bytes);
        mended.map_err(|error| MergeError::Companion(CONFIG, error))
    }

    fn receipt(&self, text: &str, application: Application, outputs: Vec<Written>) -> Receipt {
        let done = Done {
            assembly: self.assembly,
            inputs: self.inputs,
            models: self.models,
            digests: self.digests,
            buffers: &self.buffers,
            constants: &self.constants,
        };
        done.receipt(text, self.config, self.options, application, outputs)
    }
}
