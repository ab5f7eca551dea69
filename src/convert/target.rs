//! The formats that can be written.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::child::{Child, Form};
use super::task::{ConvertError, Move, Task};
use crate::disk::fresh::{Durability, Judge};
use crate::disk::{fresh, space};
use crate::model::gguf::Architecture;
use crate::model::huggingface::InFolder;
use crate::model::naming::Naming;
use crate::model::tokenizer::Tokenizer;
use crate::model::trained::manifest::Manifest;
use crate::model::{
    ModelWriter, Package, Planned, gguf, huggingface, replaceable, safetensors, slm1, trained,
};
use crate::operator::source::rounded;
use crate::operator::{
    self, Application, Operator, OperatorError, Parameters, Source, TensorInputs, Tensors, Values,
};
use crate::tensor::dtype::DType;

/// A format to write. Plans and commands call it by [`Target::word`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// `.slm`
    #[serde(rename = "slm")]
    Slm1,
    /// `.gguf`
    Gguf,
    /// A Hugging Face folder: safetensors, `config.json`, `tokenizer.json`.
    HuggingFace,
    /// `.safetensors`: the tensors under the names they have, and nothing else.
    Safetensors,
    /// A folder with a manifest and raw f32 files.
    #[serde(rename = "trained-source")]
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
    /// Most bytes of tensors in one file of a folder.
    pub shard: Option<u64>,
    /// Another tokenizer than the model's own.
    pub tokenizer: Option<&'a Tokenizer>,
    /// Whether a file that can do without a tokenizer gets none.
    pub without_tokenizer: bool,
    /// Whether what is there already is replaced: a file, or a folder with a model and nothing else.
    pub replace: bool,
}

impl Options<'_> {
    /// What says whether a folder may be replaced.
    fn judge(&self) -> Option<Judge> {
        self.replace.then_some(replaceable::why_not)
    }
}

impl Target {
    /// The formats that children can have.
    pub const OF_CHILDREN: [Self; 4] = [Self::Slm1, Self::HuggingFace, Self::Safetensors, Self::Gguf];

    /// What plans call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Slm1 => "slm",
            Self::Gguf => "gguf",
            Self::HuggingFace => "hugging-face",
            Self::Safetensors => "safetensors",
            Self::Trained => "trained-source",
        }
    }

    /// The format that plans call `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::OF_CHILDREN.into_iter().find(|target| target.word() == word)
    }

    /// The format that a child of a model of the format called `name` has, if nobody says. Trained
    /// sources are what a training leaves behind; their children are `.slm` files.
    pub fn of_children(name: &str) -> Self {
        Self::OF_CHILDREN.into_iter().find(|target| target.name() == name).unwrap_or(Self::Slm1)
    }

    /// How a file of it ends; nothing for a folder.
    pub fn extension(self) -> Option<&'static str> {
        match self {
            Self::Slm1 => Some("slm"),
            Self::Gguf => Some("gguf"),
            Self::Safetensors => Some("safetensors"),
            Self::HuggingFace | Self::Trained => None,
        }
    }

    /// The encodings that people can ask for.
    pub fn encodings(self) -> &'static [DType] {
        match self {
            Self::Slm1 => &slm1::DTYPES,
            Self::HuggingFace | Self::Safetensors => &[DType::F32, DType::F16, DType::BF16],
            // People say q8_0 and mean this format's.
            Self::Gguf => &[DType::F32, DType::F16, DType::BF16, DType::Q8_0],
            Self::Trained => &[DType::F32],
        }
    }

    /// What can be asked of a conversion to it, in people's words: what children can have, and what else its
    /// files can hold.
    pub fn words_of_encodings(self) -> Vec<&'static str> {
        let held: &[DType] = match self {
            Self::Slm1 | Self::Trained => &[],
            Self::HuggingFace | Self::Safetensors => &safetensors::DTYPES,
            Self::Gguf => &gguf::WRITTEN,
        };
        let more = held.iter().filter(|dtype| **dtype != DType::GgmlQ8_0);
        let mut words: Vec<_> = self.encodings().iter().chain(more).map(|dtype| dtype.name()).collect();
        let mut seen = std::collections::BTreeSet::new();
        words.retain(|word| seen.insert(*word));
        words
    }

    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Slm1 => slm1::NAME,
            Self::Gguf => gguf::NAME,
            Self::HuggingFace => huggingface::NAME,
            Self::Safetensors => safetensors::NAME,
            Self::Trained => trained::NAME,
        }
    }

    /// What tensors are called there if nothing is known of the network; none for a format that says nothing of
    /// what they mean. What a file really has is asked of [`Self::naming_like`].
    fn naming(self) -> Option<Naming> {
        match self {
            Self::Slm1 | Self::Trained => Some(Naming::Slm1),
            Self::Gguf => Some(Naming::Gguf),
            Self::HuggingFace => Some(Naming::HuggingFace),
            Self::Safetensors => None,
        }
    }

    /// What tensors are called in a file of it that is like `like`: GGUF has several families, and a format that
    /// says nothing of names keeps those of `like`.
    pub fn naming_like(self, like: &Package) -> Option<Naming> {
        let Some(naming) = self.naming() else { return like.naming };
        if self != Self::Gguf {
            return Some(naming);
        }
        let own = like.naming.filter(|naming| naming.is_gguf());
        let of_network = like.config.as_ref().map(|config| Architecture::of(config).naming());
        Some(own.or(of_network.ok()).unwrap_or(naming))
    }

    /// How a tensor is stored. Vectors stay f32 in GGUF, whose programs expect that.
    pub fn encoding(self, stored: DType, vector: bool, asked: Option<DType>) -> DType {
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

/// What became of a model's tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Converted {
    /// How many there are.
    pub tensors: usize,
    /// How many of them have the values they had.
    pub unchanged: usize,
    /// How many have an f64 that is no f32: the nearest one was read.
    pub rounded: usize,
}

impl Converted {
    fn of(task: &Task<'_>, tensors: &dyn Tensors, made: &Application) -> Self {
        let rounds = |step: &Move| {
            let source = tensors.source(&step.from);
            source.is_some_and(|source| rounded(&*source, step.shape.elements()) > 0)
        };
        let rounds: Vec<bool> = task.moves.iter().map(rounds).collect();
        let steps = task.moves.iter().zip(&rounds);
        let kept = made
            .tensors
            .iter()
            .zip(steps)
            .filter(|(made, (step, rounds))| made.delta.density == 0.0 && !**rounds && step.shift == 0);
        Self {
            tensors: made.tensors.len(),
            unchanged: kept.count(),
            rounded: rounds.iter().filter(|rounds| **rounds).count(),
        }
    }
}

/// Writes a model as another format, whole or not at all, and says what was written; `tensors` are its
/// weights, or those with an adapter on them.
///
/// # Errors
///
/// As [`Task::new`] and [`Child::of`], before anything is written; [`ConvertError::Disk`] if something is in
/// the place that may not be replaced, or the disk has no room; [`ConvertError::NotFinite`] of the first
/// element that is infinite or no number; [`ConvertError::Operator`] of a value that the encoding cannot hold,
/// if the disk fails while tensors are written, or if it was cancelled. Nothing half written stays.
pub fn convert(
    package: &Package,
    tensors: &dyn Tensors,
    options: Options<'_>,
    out: &Path,
    cancelled: &dyn Fn() -> bool,
) -> Result<Converted, ConvertError> {
    let form = Form {
        format: options.target,
        dtype: options.dtype,
        shard: options.shard,
        without_tokenizer: options.without_tokenizer,
    };
    let naming = options.target.naming().and(options.target.naming_like(package));
    // Of a folder that becomes a folder nothing need be known.
    let again = options.target == Target::HuggingFace && package.weights.format() == huggingface::NAME;
    let task = match naming {
        Some(_) if again && package.config.is_err() => Task::as_they_are(package),
        Some(naming) => Task::new(package, naming, options.target.name())?,
        None => Task::as_they_are(package),
    };
    if options.target == Target::Trained {
        return to_folder(&task, tensors, options, out, cancelled);
    }
    let child = Child::of(task, &form, options.tokenizer)?;
    space::check(fresh::folder_of(out), child.total_bytes())?;
    let make =
        |writer: &mut dyn ModelWriter| passthrough(&child.task, tensors, child.planned(), writer, cancelled);
    if child.is_folder() {
        fresh::folder(out, options.judge(), Durability::Synced, |folder| {
            child.write_folder(Box::new(InFolder(folder.to_owned())), make).map(|(made, _)| made)
        })
    } else {
        let written =
            fresh::file(out, options.replace, Durability::Synced, |file| child.write_file(file, make));
        written.map(|(made, ..)| made)
    }
}

fn to_folder(
    task: &Task<'_>,
    tensors: &dyn Tensors,
    options: Options<'_>,
    out: &Path,
    cancelled: &dyn Fn() -> bool,
) -> Result<Converted, ConvertError> {
    task.package.carried_buffers()?;
    let plan = |step: &Move| Planned {
        name: step.to.clone(),
        shape: step.shape.clone(),
        dtype: DType::F32,
        block_size: 0,
    };
    let planned: Vec<Planned> = task.moves.iter().map(plan).collect();
    let bytes =
        planned.iter().fold(0_u64, |sum, tensor| sum.saturating_add(tensor.shape.elements() as u64 * 4));
    space::check(fresh::folder_of(out), bytes)?;
    let tokenizer = task.slm1_tokenizer(options.tokenizer, trained::NAME)?;
    let manifest = Manifest {
        source_kind: "converted-trained".to_owned(),
        licence: "not stated".to_owned(),
        datasets: Vec::new(),
        training: format!("converted from {}", task.package.weights.format()),
        config: task.config(trained::NAME)?.clone(),
        tokenizer: String::new(),
        tensors: trained::write::files(&planned),
    };
    fresh::folder(out, options.judge(), Durability::Synced, |folder| {
        let mut writer = trained::write::Writer::new(folder, manifest, &tokenizer)?;
        passthrough(task, tensors, &planned, &mut writer, cancelled)
    })
}

/// Every tensor through the operators' machine: on all cores, rounded once, measured.
fn passthrough(
    task: &Task<'_>,
    tensors: &dyn Tensors,
    planned: &[Planned],
    writer: &mut dyn ModelWriter,
    cancelled: &dyn Fn() -> bool,
) -> Result<Converted, ConvertError> {
    let operator: &'static dyn Operator = &operator::passthrough::Passthrough;
    let values = Values::complete(operator.parameters(), &Parameters::new(), 1)
        .map_err(|source| OperatorError::Parameter { operator: operator.name(), source })?;
    let inputs = task
        .moves
        .iter()
        .zip(planned)
        .map(|(step, planned)| {
            let source: Box<dyn Source> =
                step.source(tensors).ok_or_else(|| ConvertError::Missing(step.from.clone()))?;
            Ok(TensorInputs {
                name: &planned.name,
                shape: &planned.shape,
                dtype: planned.dtype,
                base: None,
                base_name: "",
                parents: vec![source],
                parent_names: vec!["the model"],
                values: values.clone(),
                purpose: ["", operator.name(), ""],
            })
        })
        .collect::<Result<Vec<_>, ConvertError>>()?;
    let from = |name: &str| task.moves.iter().find(|step| step.to == name).map(|step| step.from.clone());
    let made =
        operator::apply(operator, &inputs, planned, writer, cancelled).map_err(|error| match error {
            // Nobody asked for an operator.
            OperatorError::InputNotFinite { tensor, index, value, .. } => {
                ConvertError::NotFinite { tensor: from(&tensor).unwrap_or(tensor), index, value }
            }
            other => other.into(),
        })?;
    Ok(Converted::of(task, tensors, &made))
}
