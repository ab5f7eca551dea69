//! The formats that can be written.

use std::path::Path;

use crate::disk::fresh::Durability;
use crate::disk::hashed::HashedFile;
use crate::disk::{IoContext, fresh};
use crate::model::naming::Naming;
use crate::model::tokenizer::{Tokenizer, json};
use crate::model::trained::manifest::Manifest;
use crate::model::{
    Companion, ModelWriter, Package, Planned, WriteError, gguf, huggingface, safetensors, slm1, trained,
};
use crate::operator::{self, Application, Operator, Parameters, Source, TensorInputs, Values};
use crate::tensor::dtype::DType;
use crate::tensor::quantize;

use super::task::{ConvertError, Move, Task};

/// A format to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `.slm`
    Slm1,
    /// `.gguf`
    Gguf,
    /// A Hugging Face folder: safetensors, `config.json`, `tokenizer.json`.
    HuggingFace,
    /// `.safetensors`: the tensors under the names they have, and nothing else.
    Safetensors,
    /// A folder with a manifest and raw f32 files.
    Trained,
}

/// How to write.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The format.
    pub target: Target,
    /// One encoding for all matrices; none keeps each tensor's own where the format has it, and takes
    /// f32 where it has not.
    pub dtype: Option<DType>,
    /// Another tokenizer than the model's own.
    pub tokenizer: Option<&'a Tokenizer>,
    /// Whether a file that is there already is replaced.
    pub replace: bool,
}

impl Target {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Slm1 => slm1::NAME,
            Self::Gguf => gguf::NAME,
            Self::HuggingFace => huggingface::NAME,
            Self::Safetensors => safetensors::NAME,
            Self::Trained => trained::NAME,
        }
    }

    /// What tensors are called there; none for a format that says nothing of what they mean.
    fn naming(self) -> Option<Naming> {
        match self {
            Self::Slm1 | Self::Trained => Some(Naming::Slm1),
            Self::Gguf => Some(Naming::Gguf),
            Self::HuggingFace => Some(Naming::HuggingFace),
            Self::Safetensors => None,
        }
    }

    /// How a tensor is stored. Vectors stay f32 in GGUF, whose programs expect that.
    fn encoding(self, stored: DType, vector: bool, asked: Option<DType>) -> DType {
        let keep = |kept: &[DType]| if kept.contains(&stored) { stored } else { DType::F32 };
        match self {
            Self::Trained => DType::F32,
            Self::Slm1 => asked.unwrap_or_else(|| keep(&[DType::F32, DType::Q8_0, DType::Q4_0])),
            Self::HuggingFace | Self::Safetensors => asked.unwrap_or_else(|| keep(&safetensors::DTYPES)),
            Self::Gguf if vector => DType::F32,
            Self::Gguf => match asked {
                // People say q8_0 and mean this format's.
                Some(DType::Q8_0) => DType::GgmlQ8_0,
                Some(dtype) => dtype,
                None => keep(&[DType::F32, DType::F16, DType::BF16, DType::GgmlQ8_0]),
            },
        }
    }
}

/// Writes a model as another format, whole or not at all, and says what was written.
pub fn convert(
    package: &Package,
    options: Options<'_>,
    out: &Path,
    cancelled: &dyn Fn() -> bool,
) -> Result<Application, ConvertError> {
    let task = match options.target.naming() {
        Some(naming) => Task::new(package, naming, options.target.name())?,
        None => Task::as_they_are(package),
    };
    let planned: Vec<Planned> = task.moves.iter().map(|step| plan(&task, step, options)).collect();
    // The numbers are nearly all of it; a disk that is too small for them is told before the work.
    crate::disk::space::check(fresh::folder_of(out), numbers(&planned)?)?;
    match options.target {
        Target::Slm1 => to_slm1(&task, &planned, options, out, cancelled),
        Target::Gguf => to_gguf(&task, &planned, options, out, cancelled),
        Target::Safetensors => {
            to_file(out, options.replace, |file| tensors(&task, &planned, file, cancelled))
        }
        Target::HuggingFace => to_huggingface(&task, &planned, options, out, cancelled),
        Target::Trained => to_folder(&task, &planned, options, out, cancelled),
    }
}

/// Bytes of all payloads and scales.
fn numbers(planned: &[Planned]) -> Result<u64, ConvertError> {
    let mut total = 0_u64;
    for tensor in planned {
        let refuse = |source| WriteError::Tensor { tensor: tensor.name.clone(), source };
        let lengths = quantize::lengths(tensor.dtype, &tensor.shape, tensor.block_size).map_err(refuse)?;
        total = total.saturating_add(lengths.payload as u64).saturating_add(lengths.scales as u64);
    }
    Ok(total)
}

fn plan(task: &Task<'_>, step: &Move, options: Options<'_>) -> Planned {
    let stored = task.package.weights.tensor(&step.from).map_or(DType::F32, |view| view.dtype);
    let vector = step.shape.dims().len() == 1;
    let dtype = options.target.encoding(stored, vector, options.dtype);
    let block_size = quantize::block_size(dtype, step.shape.columns(), quantize::DEFAULT_BLOCK);
    Planned { name: step.to.clone(), shape: step.shape.clone(), dtype, block_size }
}

/// A safetensors file of all tensors.
fn tensors(
    task: &Task<'_>,
    planned: &[Planned],
    file: &mut HashedFile,
    cancelled: &dyn Fn() -> bool,
) -> Result<Application, ConvertError> {
    // What every program of that world writes, and some insist on.
    let metadata = safetensors::Metadata::from([("format".to_owned(), "pt".to_owned())]);
    let layout = safetensors::Layout::new(planned.to_vec(), &metadata)?;
    let mut writer = safetensors::Writer::new(&layout, file)?;
    passthrough(task, planned, &mut writer, cancelled)
}

fn to_huggingface(
    task: &Task<'_>,
    planned: &[Planned],
    options: Options<'_>,
    out: &Path,
    cancelled: &dyn Fn() -> bool,
) -> Result<Application, ConvertError> {
    let config = task.config(huggingface::NAME)?;
    let mut companions = task.package.companions.clone();
    if companions.is_empty() || options.tokenizer.is_some() {
        let tokenizer = task.tokenizer(options.tokenizer, huggingface::NAME)?;
        companions.retain(|companion| companion.name == huggingface::CONFIG);
        let bytes = json::to_json(&tokenizer)?;
        companions.push(Companion { name: huggingface::TOKENIZER.to_owned(), bytes });
    }
    if companions.iter().all(|companion| companion.name != huggingface::CONFIG) {
        let dtype = planned.first().map_or(DType::F32, |tensor| tensor.dtype);
        let bytes = huggingface::config::write(config, dtype);
        companions.push(Companion { name: huggingface::CONFIG.to_owned(), bytes });
    }
    fresh::folder(out, options.replace, Durability::Synced, |folder| {
        for companion in &companions {
            let path = folder.join(&companion.name);
            std::fs::write(&path, &companion.bytes).at("write", &path)?;
        }
        to_file(&folder.join(huggingface::SINGLE), false, |file| tensors(task, planned, file, cancelled))
    })
}

fn to_slm1(
    task: &Task<'_>,
    planned: &[Planned],
    options: Options<'_>,
    out: &Path,
    cancelled: &dyn Fn() -> bool,
) -> Result<Application, ConvertError> {
    let tokenizer = task.tokenizer(options.tokenizer, slm1::NAME)?;
    let dtype_of = |name: &str| planned.iter().find(|tensor| tensor.name == name).map(|tensor| tensor.dtype);
    let layout = slm1::Layout::mixed(task.config(slm1::NAME)?, &tokenizer, |spec| {
        slm1::Encoding::new(dtype_of(&spec.name).unwrap_or(DType::F32))
    })?;
    to_file(out, options.replace, |file| {
        let mut writer = slm1::Writer::new(&layout, file)?;
        passthrough(task, planned, &mut writer, cancelled)
    })
}

fn to_gguf(
    task: &Task<'_>,
    planned: &[Planned],
    options: Options<'_>,
    out: &Path,
    cancelled: &dyn Fn() -> bool,
) -> Result<Application, ConvertError> {
    // A vocabulary can be left out there, so a tokenizer that is not known here stops nothing.
    let tokenizer = match (options.tokenizer, &task.package.tokenizer) {
        (None, Err(_)) => None,
        (None, Ok(own)) if !own.is_slm1() => None,
        _ => Some(task.tokenizer(options.tokenizer, gguf::NAME)?),
    };
    let facts = gguf::meaning::facts(task.config(gguf::NAME)?, tokenizer.as_ref());
    let layout = gguf::write::Layout::new(&facts, planned)?;
    to_file(out, options.replace, |file| {
        let mut writer = gguf::write::Writer::new(&layout, file)?;
        passthrough(task, planned, &mut writer, cancelled)
    })
}

fn to_folder(
    task: &Task<'_>,
    planned: &[Planned],
    options: Options<'_>,
    out: &Path,
    cancelled: &dyn Fn() -> bool,
) -> Result<Application, ConvertError> {
    let tokenizer = task.tokenizer(options.tokenizer, trained::NAME)?;
    let manifest = Manifest {
        source_kind: "converted-trained".to_owned(),
        licence: "not stated".to_owned(),
        datasets: Vec::new(),
        training: format!("converted from {}", task.package.weights.format()),
        config: task.config(trained::NAME)?.clone(),
        tokenizer: String::new(),
        tensors: trained::write::files(planned),
    };
    fresh::folder(out, options.replace, Durability::Synced, |folder| {
        let mut writer = trained::write::Writer::new(folder, manifest, &tokenizer)?;
        passthrough(task, planned, &mut writer, cancelled)
    })
}

/// Every tensor through the operators' machine: on all cores, rounded once, measured.
fn passthrough(
    task: &Task<'_>,
    planned: &[Planned],
    writer: &mut dyn ModelWriter,
    cancelled: &dyn Fn() -> bool,
) -> Result<Application, ConvertError> {
    let operator: &'static dyn Operator = &operator::passthrough::Passthrough;
    let values = Values::complete(operator.parameters(), &Parameters::new(), 1)
        .map_err(|source| operator::OperatorError::Parameter { operator: operator.name(), source })?;
    let inputs = task
        .moves
        .iter()
        .zip(planned)
        .map(|(step, planned)| {
            let source: Box<dyn Source> =
                task.source(step).ok_or_else(|| ConvertError::Missing(step.from.clone()))?;
            Ok(TensorInputs {
                name: &planned.name,
                shape: &planned.shape,
                base: None,
                base_name: "",
                parents: vec![source],
                parent_names: vec!["the model"],
                values: values.clone(),
                purpose: ["", operator.name(), ""],
            })
        })
        .collect::<Result<Vec<_>, ConvertError>>()?;
    Ok(operator::apply(operator, &inputs, planned, writer, cancelled)?)
}

fn to_file<T>(
    out: &Path,
    replace: bool,
    write: impl FnOnce(&mut HashedFile) -> Result<T, ConvertError>,
) -> Result<T, ConvertError> {
    fresh::file(out, replace, Durability::Synced, write).map(|(done, ..)| done)
}
