//! A child before it is written: like which model, in which format and encoding; every offset known, so
//! its exact length is, too.
//!
//! | format | tensors are called | encodings | beside the tensors |
//! |---|---|---|---|
//! | `slm` | as SLM1 has them | f32, q8_0, q4_0 | configuration and tokenizer in the file |
//! | `hugging-face` | as Hugging Face has them, or as they are | f32, f16, bf16 | the companions of the model it is like |
//! | `safetensors` | as in the model it is like | f32, f16, bf16 | nothing |
//! | `gguf` | as GGUF has them | f32, f16, bf16, q8_0; vectors f32 | the facts of the model it is like |

use serde::{Deserialize, Serialize};

use super::target::Target;
use super::task::{ConvertError, Move, Task};
use crate::base::sink::ArtifactSink;
use crate::model::buffer::Buffer;
use crate::model::gguf::Architecture;
use crate::model::gguf::write::Given;
use crate::model::huggingface::{self, FolderLayout, FolderWriter, Shelf, Written};
use crate::model::naming::Naming;
use crate::model::tokenizer::{Tokenizer, json};
use crate::model::{Companion, ModelWriter, Package, Planned, gguf, safetensors, slm1};
use crate::tensor::dtype::DType;
use crate::tensor::quantize;

/// How a child is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    /// Its format.
    pub format: Target,
    /// One encoding for all matrices; none keeps each tensor's own where the format has it, and takes
    /// f32 where it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<DType>,
    /// Most bytes of tensors in one file of a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<u64>,
    /// Whether a format that can do without a tokenizer has none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_tokenizer: bool,
}

impl Form {
    /// The same with every number in f32, which every format has: what a child would be if it were not
    /// rounded.
    #[must_use]
    pub fn in_full(self) -> Self {
        Self { dtype: Some(DType::F32), ..self }
    }

    /// What the child's encoding is called.
    pub fn encoding(&self) -> &'static str {
        self.dtype.map_or("as stored", DType::name)
    }

    /// Whether the format can have the encoding.
    ///
    /// # Errors
    ///
    /// [`ConvertError::Encoding`] with those it can have.
    pub fn check(&self) -> Result<(), ConvertError> {
        let possible = self.format.encodings();
        match self.dtype.filter(|dtype| !possible.contains(dtype)) {
            None => Ok(()),
            Some(dtype) => {
                let possible = possible.iter().map(|dtype| dtype.name()).collect::<Vec<_>>().join(", ");
                Err(ConvertError::Encoding { format: self.format.word(), dtype, possible })
            }
        }
    }
}

/// A child laid out.
pub struct Child<'a> {
    /// The model that it is like, and what its tensors are called there.
    pub task: Task<'a>,
    planned: Vec<Planned>,
    laid: Laid,
    buffers: Vec<Buffer>,
}

enum Laid {
    Slm1(Box<slm1::Layout>),
    Gguf(gguf::write::Layout),
    Safetensors(safetensors::Layout),
    Folder(FolderLayout, Vec<Companion>),
}

impl<'a> Child<'a> {
    /// A child like `package`; `tokenizer` is another one than the model's own.
    ///
    /// # Errors
    ///
    /// As [`Form::check`], [`Task::named`] and [`Self::of`].
    pub fn like(
        package: &'a Package,
        form: &Form,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Self, ConvertError> {
        form.check()?;
        let task = Task::named(package, form.format.naming_like(package), form.format.name())?;
        Self::of(task, form, tokenizer)
    }

    /// A child of the tensors of a task.
    ///
    /// # Errors
    ///
    /// [`ConvertError::NoChild`] of a format that children do not have; [`ConvertError::Stranger`] or
    /// [`ConvertError::Buffer`] of tensors beside the weights that it has no place for;
    /// [`ConvertError::Config`], [`ConvertError::Tokenizer`], [`ConvertError::Tables`],
    /// [`ConvertError::JsonTokenizer`] or [`ConvertError::Vocabulary`] if what the format must say is not
    /// known, does not fit, or has no words there; [`ConvertError::Write`] if it cannot be laid out;
    /// [`ConvertError::Companion`] of a `config.json` that cannot be mended.
    pub fn of(task: Task<'a>, form: &Form, tokenizer: Option<&Tokenizer>) -> Result<Self, ConvertError> {
        let planned: Vec<Planned> = task.moves.iter().map(|step| plan(&task, step, form)).collect();
        let buffers = task.package.carried_buffers()?;
        if let (Some(buffer), Target::Slm1 | Target::Gguf) = (buffers.first(), form.format) {
            return Err(ConvertError::Stranger(buffer.name.clone(), form.format.name()));
        }
        let (laid, planned) = match form.format {
            Target::Slm1 => {
                let layout = slm1_layout(&task, &planned, tokenizer)?;
                let planned = layout.planned();
                (Laid::Slm1(Box::new(layout)), planned)
            }
            Target::Gguf => {
                (Laid::Gguf(gguf_layout(&task, &planned, tokenizer, form.without_tokenizer)?), planned)
            }
            Target::Safetensors => {
                let layout =
                    safetensors::Layout::with_buffers(planned.clone(), buffers.clone(), &metadata())?;
                (Laid::Safetensors(layout), planned)
            }
            Target::HuggingFace => {
                let limit = form.shard.unwrap_or(huggingface::SHARD);
                let layout = FolderLayout::with_buffers(&planned, &buffers, limit, &metadata())?;
                let companions = companions(&task, &planned, form, tokenizer)?;
                (Laid::Folder(layout, companions), planned)
            }
            Target::Trained => return Err(ConvertError::NoChild(Target::Trained.name())),
        };
        Ok(Self { task, planned, laid, buffers })
    }

    /// Its tensors, in storage order.
    pub fn planned(&self) -> &[Planned] {
        &self.planned
    }

    /// What it gets as it is, beside its tensors.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// Its exact length; of a folder, that of all its files.
    pub fn total_bytes(&self) -> u64 {
        match &self.laid {
            Laid::Slm1(layout) => layout.total_bytes(),
            Laid::Gguf(layout) => layout.total_bytes(),
            Laid::Safetensors(layout) => layout.total_bytes(),
            Laid::Folder(layout, companions) => {
                layout.total_bytes() + companions.iter().map(|file| file.bytes.len() as u64).sum::<u64>()
            }
        }
    }

    /// Writes a child that is one file; `make` brings the tensors.
    ///
    /// # Errors
    ///
    /// That of `make`, or that of the sink.
    ///
    /// # Panics
    /// If the child is a folder.
    pub fn write_file<T, E: From<crate::model::WriteError>>(
        &self,
        sink: &mut dyn ArtifactSink,
        make: impl FnOnce(&mut dyn ModelWriter) -> Result<T, E>,
    ) -> Result<T, E> {
        match &self.laid {
            Laid::Slm1(layout) => make(&mut slm1::Writer::new(layout, sink)?),
            Laid::Gguf(layout) => make(&mut gguf::write::Writer::new(layout, sink)?),
            Laid::Safetensors(layout) => make(&mut safetensors::Writer::new(layout, sink)?),
            Laid::Folder(..) => panic!("a folder is not one file"),
        }
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        matches!(self.laid, Laid::Folder(..))
    }

    /// Writes a child that is a folder and says which files it has; `make` brings the tensors.
    ///
    /// # Errors
    ///
    /// That of `make`, or that of the shelf, if a small file cannot be put on it.
    ///
    /// # Panics
    /// If the child is one file.
    pub fn write_folder<T, E: From<crate::model::WriteError>>(
        &self,
        shelf: Box<dyn Shelf + '_>,
        make: impl FnOnce(&mut dyn ModelWriter) -> Result<T, E>,
    ) -> Result<(T, Vec<Written>), E> {
        let Laid::Folder(layout, companions) = &self.laid else { panic!("a file is no folder") };
        let mut writer = FolderWriter::on(layout, shelf);
        let made = make(&mut writer)?;
        for companion in companions {
            writer.companion(&companion.name, &companion.bytes)?;
        }
        Ok((made, writer.written().to_vec()))
    }

    /// What its tensors are called, if they belong to a family.
    pub fn naming(&self, form: &Form) -> Option<Naming> {
        form.format.naming_like(self.task.package)
    }

    /// The matrices with a row for each token, in the child's names.
    pub fn token_matrices(&self, form: &Form) -> Vec<String> {
        self.naming(form).map_or_else(Vec::new, |naming| naming.token_matrices().to_vec())
    }
}

/// What every program of that world writes, and some insist on.
fn metadata() -> safetensors::Metadata {
    safetensors::Metadata::from([("format".to_owned(), "pt".to_owned())])
}

fn plan(task: &Task<'_>, step: &Move, form: &Form) -> Planned {
    let stored = task.package.weights.tensor(&step.from).map_or(DType::F32, |view| view.dtype);
    let vector = step.shape.dims().len() == 1;
    let dtype = form.format.encoding(stored, vector, form.dtype);
    let block_size = quantize::block_size(dtype, step.shape.columns(), quantize::DEFAULT_BLOCK);
    Planned { name: step.to.clone(), shape: step.shape.clone(), dtype, block_size }
}

fn slm1_layout(
    task: &Task<'_>,
    planned: &[Planned],
    tokenizer: Option<&Tokenizer>,
) -> Result<slm1::Layout, ConvertError> {
    let tokenizer = task.slm1_tokenizer(tokenizer, slm1::NAME)?;
    let dtype_of = |name: &str| planned.iter().find(|tensor| tensor.name == name).map(|tensor| tensor.dtype);
    Ok(slm1::Layout::mixed(task.config(slm1::NAME)?, &tokenizer, |spec| {
        slm1::Encoding::new(dtype_of(&spec.name).unwrap_or(DType::F32))
    })?)
}

/// A file that came from GGUF says what it said, a tokenizer that is not known here included. Any other
/// tokenizer is written or refused; nothing is left out where nobody says so.
fn gguf_layout(
    task: &Task<'_>,
    planned: &[Planned],
    tokenizer: Option<&Tokenizer>,
    silent: bool,
) -> Result<gguf::write::Layout, ConvertError> {
    let new = |tokenizer: Option<&Tokenizer>| {
        let config = task.config(gguf::NAME)?;
        let own = task.package.naming.and_then(|naming| Architecture::with_rows(naming, config));
        let architecture = own.unwrap_or_else(|| Architecture::of(config));
        Ok::<_, ConvertError>(gguf::meaning::facts(architecture, config, tokenizer))
    };
    let facts = match (&task.package.facts, tokenizer) {
        _ if silent => new(None)?,
        (Some(facts), None) => gguf::meaning::carried(facts),
        _ => {
            let own = tokenizer.is_none();
            let tokenizer = task.tokenizer(tokenizer, gguf::NAME).map_err(|error| match error {
                ConvertError::Tokenizer { why, .. } => ConvertError::Tables(why),
                other => other,
            })?;
            let mut facts = new(Some(&tokenizer).filter(|one| one.is_slm1()))?;
            if let Tokenizer::HuggingFace(tokenizer) = &tokenizer {
                gguf::tables::write(tokenizer, task.config(gguf::NAME)?.vocab_size, &mut facts)
                    .map_err(|error| ConvertError::Tables(error.to_string()))?;
            }
            if own {
                gguf::chat::write(task.package, &mut facts);
                gguf::generation::write(task.package, &mut facts);
            }
            facts
        }
    };
    Ok(gguf::write::Layout::new(&facts, &frequencies(task.package), planned)?)
}

/// What rotary frequencies are divided by: as the model's own tensor says, or as its configuration does.
fn frequencies(package: &Package) -> Vec<Given> {
    let name = gguf::rope_freqs::TENSOR;
    let own = package.weights.tensor(name).filter(|_| package.is_of_frequencies(name));
    let numbers = match (own, &package.config) {
        (Some(own), _) => Some(own.to_f32()),
        (None, Ok(config)) => gguf::rope_freqs::numbers(config),
        (None, Err(_)) => None,
    };
    numbers.map(|numbers| Given { name: name.to_owned(), numbers }).into_iter().collect()
}

/// The small files of a folder: those of the model it is like, or new ones where that has none.
fn companions(
    task: &Task<'_>,
    planned: &[Planned],
    form: &Form,
    tokenizer: Option<&Tokenizer>,
) -> Result<Vec<Companion>, ConvertError> {
    let mut companions = task.package.companions.clone();
    let is_one = task.package.weights.format() == huggingface::NAME;
    let facts = task.package.facts.as_ref().filter(|_| tokenizer.is_none());
    if !is_one || tokenizer.is_some() {
        let mut found = task.tokenizer(tokenizer, huggingface::NAME)?;
        // A file's own names for its special tokens, where it has any.
        if let Some(Ok(Some(own))) = facts.map(|facts| gguf::vocabulary::tokenizer(facts)) {
            found = own;
        }
        companions.retain(|companion| companion.name == huggingface::CONFIG);
        let bytes = json::to_json(&found)?;
        companions.push(Companion { name: huggingface::TOKENIZER.to_owned(), bytes });
        companions.extend(facts.and_then(|facts| gguf::chat::settings(facts)));
    }
    let config = companions.iter_mut().find(|companion| companion.name == huggingface::CONFIG);
    match (config, form.dtype) {
        (Some(config), Some(dtype)) => {
            let refuse = |error: huggingface::mend::MendError| {
                ConvertError::Companion(huggingface::CONFIG.to_owned(), error.to_string())
            };
            let changes = huggingface::mend::Changes { dtype: Some(dtype), ..Default::default() };
            config.bytes = changes.mend(&config.bytes).map_err(refuse)?;
        }
        (Some(_), None) => {}
        (None, _) if is_one => {}
        (None, _) => {
            let dtype = planned.first().map_or(DType::F32, |tensor| tensor.dtype);
            let tokenizer = tokenizer.or(task.package.tokenizer.as_ref().ok());
            let ids =
                huggingface::settings::ids(tokenizer, facts.and_then(|facts| gguf::generation::pad(facts)));
            let bytes = huggingface::settings::write_with(task.config(huggingface::NAME)?, dtype, &ids);
            companions.push(Companion { name: huggingface::CONFIG.to_owned(), bytes });
            companions.extend(facts.and_then(|facts| gguf::generation::settings(facts, &ids)));
        }
    }
    Ok(companions)
}

/// Whether a model's tensors can be read in the names of a child of this form, like `like`: what can be
/// known of two models before their bytes are compared.
///
/// # Errors
///
/// As [`Task::named`].
pub fn names_fit(package: &Package, like: &Package, form: &Form) -> Result<(), ConvertError> {
    let naming = form.format.naming_like(like);
    super::view::View::new(package, &package.weights, naming, form.format.name()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_child_has_a_self_in_full() {
        for format in Target::OF_CHILDREN {
            let form = Form { format, dtype: None, shard: Some(7), without_tokenizer: false };
            assert_eq!(form.in_full(), Form { dtype: Some(DType::F32), ..form });
            form.in_full().check().unwrap();
        }
    }
}
