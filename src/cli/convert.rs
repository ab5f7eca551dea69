//! `studbook convert`: a model as another format.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::args::{Format, size};
use super::context::{Terminal, interruption, warn_of_missing_code};
use super::exit::{Exit, UsageError};
use super::extract::Extract;
use super::model::{Given, named, open_model};
use crate::base::wording::count;
use crate::convert::{ConvertError, Options, Target, convert};
use crate::disk::fresh::{self, Durability, Judge};
use crate::disk::{DiskError, IoContext};
use crate::model::adapter::package::{FAMILIES, LOW_RANK};
use crate::model::adapter::{self, peft};
use crate::model::gguf::chat::{self, TEMPLATE};
use crate::model::gguf::generation;
use crate::model::huggingface::folder::GENERATION;
use crate::model::huggingface::{CONFIG, HfConfig, TOKENIZER};
use crate::model::overwrite::{self, OverwriteError};
use crate::model::replaceable;
use crate::model::tokenizer::vocabulary::Vocabulary;
use crate::model::{Package, Tokenizer};
use crate::operator::{OperatorError, Tensors};
use crate::tensor::dtype::DType;

#[derive(Debug, clap::Args)]
pub(super) struct Convert {
    /// The model: a file, a folder, or MODEL+ADAPTER, the two as one; with `--base`, the adapter
    pub(super) model: PathBuf,
    /// What to write; its ending says the format
    pub(super) out: PathBuf,
    /// The model that an adapter is for: a PEFT folder becomes an .sbl package, a package a PEFT folder
    #[arg(
        long,
        value_name = "MODEL",
        conflicts_with_all = ["to", "dtype", "shard", "tokenizer", "without_tokenizer"]
    )]
    pub(super) base: Option<PathBuf>,
    /// The format, where the ending does not say it
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(super) to: Option<ConvertTo>,
    /// How matrices are stored; by default as they are, or as f32 where the format has no such encoding
    #[arg(long, value_name = "ENCODING")]
    pub(super) dtype: Option<String>,
    /// Most bytes of tensors in one file of a folder, such as "2 GiB"
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(super) shard: Option<u64>,
    /// A tokenizer.json, or a model whose tokenizer the new one gets
    #[arg(long, value_name = "FILE")]
    pub(super) tokenizer: Option<PathBuf>,
    /// Leave the tokenizer out of a GGUF file
    #[arg(long, conflicts_with = "tokenizer")]
    pub(super) without_tokenizer: bool,
    /// Replace what is there; a folder only if it holds a model and nothing else
    #[arg(long)]
    pub(super) force: bool,
}

/// A format to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ConvertTo {
    /// An SLM1 file
    Slm,
    /// A GGUF file
    Gguf,
    /// A folder with config.json, tokenizer.json and safetensors
    HuggingFace,
    /// A safetensors file: tensors under the names they have
    Safetensors,
    /// A folder with a manifest and raw f32 files
    TrainedSource,
}

pub(super) fn run(command: &Convert, terminal: &Terminal) -> anyhow::Result<Exit> {
    refuse_inputs(command)?;
    fresh::refuse_taken(&command.out, judge(command))?;
    if let Some(base) = &command.base {
        return adapter(command, base, terminal);
    }
    let target = target(command)?;
    if command.shard.is_some() && target != Target::HuggingFace {
        let message = format!("`--shard` goes with Hugging Face folders only, not with {}", target.name());
        return Err(UsageError::new(message).into());
    }
    let dtype = command.dtype.as_deref().map(|name| encoding(name, target)).transpose()?;
    let given = Given::open(&command.model)?;
    let adapted = given.adapted()?;
    given.doubt().iter().try_for_each(|doubt| terminal.warn(doubt))?;
    let opened = &given.opened;
    if command.without_tokenizer && target != Target::Gguf {
        return Err(UsageError::new("`--without-tokenizer` goes with GGUF files only").into());
    }
    let other = command.tokenizer.as_deref().map(super::generate::tokenizer).transpose()?;
    let options = Options {
        target,
        dtype,
        shard: command.shard,
        tokenizer: other.as_ref(),
        without_tokenizer: command.without_tokenizer,
        replace: command.force,
    };
    let cancelled = interruption()?;
    let tensors = adapted.as_ref().map_or(&opened.package.weights as &dyn Tensors, |adapted| adapted);
    let made = match convert(&opened.package, tensors, options, &command.out, &*cancelled) {
        Err(ConvertError::Operator(OperatorError::Cancelled)) => return Ok(Exit::Interrupted),
        Err(error) if error.is_of_model() => {
            return Err(UsageError::new(format!("{}: {error}", command.model.display())).into());
        }
        other => other?,
    };
    let left_out = opened.package.derived_buffers().count();
    if left_out > 0 {
        let buffers = count(left_out, "buffer");
        writeln!(
            terminal.err(),
            "left out: {buffers} that follow from the configuration (`studbook inspect` lists them)"
        )?;
    }
    if made.rounded > 0 {
        let tensors = count(made.rounded, "tensor");
        terminal.warn(&format!(
            "{tensors} stored as f64 have values between two f32: the nearest of these were taken"
        ))?;
    }
    if let Some(shortened) = shortened(&opened.package, target) {
        terminal.warn(&shortened)?;
    }
    for told in [left_behind, silenced, untemplated, rowless]
        .into_iter()
        .filter_map(|told| told(&opened.package, target, command))
    {
        terminal.warn(&told)?;
    }
    warn_of_missing_code(&command.out, terminal)?;
    // With an adapter, what is kept is the sum: it says nothing of the model that was given.
    let kept = match adapted {
        None => format!(", {} of them unchanged in value", made.unchanged),
        Some(_) => String::new(),
    };
    writeln!(
        terminal.out(),
        "{}: {} from {}{}, {}{kept}",
        command.out.display(),
        target.name(),
        opened.package.weights.format(),
        if adapted.is_some() { " and an adapter" } else { "" },
        count(made.tensors, "tensor"),
    )?;
    Ok(Exit::Complete)
}

/// That a network which looks back over a window alone becomes one with the context of that window: as far as
/// it goes both compute the same, and the other formats have no word for more.
fn shortened(package: &Package, target: Target) -> Option<String> {
    if matches!(target, Target::HuggingFace | Target::Safetensors) {
        return None;
    }
    let said = HfConfig::of(package)?;
    let (window, positions) = (said.sliding_window?, said.max_position_embeddings);
    (window < positions).then(|| {
        format!(
            "the context becomes {window} of {positions} positions: the network looks back over a window of {window} \
             (sliding_window), which {} is not written with; up to there both compute the same",
            target.name()
        )
    })
}

/// That what a model says of its own tokenizer, and of answers by its ids, does not go along with another one or none.
fn left_behind(package: &Package, target: Target, command: &Convert) -> Option<String> {
    let option = match (&command.tokenizer, command.without_tokenizer) {
        (Some(_), _) => "--tokenizer",
        (None, true) => "--without-tokenizer",
        (None, false) => return None,
    };
    let own = |name: &&str| ![CONFIG, TOKENIZER].contains(name);
    let names = package.companions.iter().map(|companion| companion.name.as_str()).filter(own);
    let mut left: Vec<String> = names.map(str::to_owned).collect();
    let ends = match &package.tokenizer {
        Ok(Tokenizer::HuggingFace(tokenizer)) => !tokenizer.ends().is_empty(),
        _ => false,
    };
    // A folder's configuration has them, and goes along.
    let says_ids = target == Target::HuggingFace && package.companion(CONFIG).is_some();
    if ends && !says_ids {
        left.push("the ids that end an answer".to_owned());
    }
    if package.facts.as_ref().is_some_and(|facts| facts.get(TEMPLATE).is_some()) {
        left.push("the chat template".to_owned());
    }
    (!left.is_empty()).then(|| {
        format!("`{option}` leaves out what belongs to the model's own tokenizer: {}", left.join(", "))
    })
}

/// That a folder says more of how answers are made than a file of another format can.
fn silenced(package: &Package, target: Target, command: &Convert) -> Option<String> {
    let is_left_behind = command.without_tokenizer || command.tokenizer.is_some();
    let is_one_file = matches!(target, Target::Gguf | Target::Slm1) && !is_left_behind;
    let keys = if is_one_file { generation::left_out(package, target == Target::Gguf) } else { Vec::new() };
    let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    let (format, keys) = (target.name(), keys.join(", "));
    (!keys.is_empty()).then(|| format!("{GENERATION} says {keys}, for which {format} has no words: left out"))
}

/// That a model's chat templates do not go along to a format without words for them. With another tokenizer they stay
/// behind anyhow, and that is told.
fn untemplated(package: &Package, target: Target, command: &Convert) -> Option<String> {
    let is_wordless = matches!(target, Target::Slm1 | Target::Trained) && command.tokenizer.is_none();
    let templates = if is_wordless { chat::count(package) } else { 0 };
    (templates > 0).then(|| {
        let templates = count(templates, "chat template");
        format!("the model has {templates}, for which {} has no words: left out", target.name())
    })
}

/// That tokens without a row are none in a file that has one for each.
fn rowless(package: &Package, target: Target, command: &Convert) -> Option<String> {
    if target != Target::Gguf || command.tokenizer.is_some() || command.without_tokenizer {
        return None;
    }
    let rows = package.config.as_ref().ok()?.vocab_size as usize;
    let vocabulary = Vocabulary::of_package(package)?;
    let tokens = vocabulary.beyond(rows);
    let first = tokens.first()?;
    let tokens = count(tokens.len(), "token");
    Some(format!(
        "without a row of the model's, such as {first:?}, nothing is a token in GGUF: {tokens} left out"
    ))
}

/// Nothing that is read for it is replaced.
fn refuse_inputs(command: &Convert) -> Result<(), OverwriteError> {
    let beside = [&command.base, &command.tokenizer].into_iter().flatten();
    let inputs: Vec<PathBuf> = named(&command.model).into_iter().chain(beside.cloned()).collect();
    overwrite::check(&command.out, inputs.iter().map(PathBuf::as_path))
}

/// What says whether a folder may be replaced.
fn judge(command: &Convert) -> Option<Judge> {
    command.force.then_some(replaceable::why_not)
}

/// A PEFT folder becomes a package, a package a PEFT folder.
fn adapter(command: &Convert, base: &Path, terminal: &Terminal) -> anyhow::Result<Exit> {
    let out = &command.out;
    let ending = out.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let is_package = FAMILIES.iter().any(|family| family.extension == ending);
    if peft::is_one(&command.model) {
        if ending != LOW_RANK.extension {
            let message = format!("a LoRA is products of matrices, and {} does not say so", out.display());
            return Err(UsageError::new(message).hint("end it in .sbl").into());
        }
        let extract = Extract {
            base: base.to_owned(),
            model: command.model.clone(),
            out: out.clone(),
            form: None,
            density: None,
            rank: None,
            only: Vec::new(),
            skip: Vec::new(),
            linear_only: false,
            force: command.force,
            format: Format::Text,
        };
        return super::extract::run(&extract, terminal);
    }
    if is_package {
        let message = format!("{} is a package already", command.model.display());
        return Err(UsageError::new(message).hint("name a folder to make a PEFT adapter of it").into());
    }
    let package = open_model(base)?.package;
    let opened = adapter::open(&command.model)?;
    let files = peft::write::files(&package, &opened.adapter)?;
    fresh::folder(out, judge(command), Durability::Synced, |folder| {
        for (name, bytes) in &files {
            let path = folder.join(name);
            std::fs::write(&path, bytes).at("write", &path)?;
        }
        Ok::<_, DiskError>(())
    })?;
    let modules = count(opened.adapter.infos().len(), "module");
    writeln!(terminal.out(), "{}: a PEFT LoRA of {modules}", out.display())?;
    Ok(Exit::Complete)
}

fn target(command: &Convert) -> Result<Target, UsageError> {
    if let Some(to) = command.to {
        return Ok(match to {
            ConvertTo::Slm => Target::Slm1,
            ConvertTo::Gguf => Target::Gguf,
            ConvertTo::HuggingFace => Target::HuggingFace,
            ConvertTo::Safetensors => Target::Safetensors,
            ConvertTo::TrainedSource => Target::Trained,
        });
    }
    match Path::new(&command.out).extension().and_then(|extension| extension.to_str()) {
        Some("slm") => Ok(Target::Slm1),
        Some("gguf") => Ok(Target::Gguf),
        Some("safetensors") => Ok(Target::Safetensors),
        _ => Err(UsageError::new(format!("{} does not say which format is meant", command.out.display()))
            .hint("end it in .slm, .gguf or .safetensors, or add `--to hugging-face` for a folder")),
    }
}

/// An encoding that a format can hold, in the words that people ask with.
fn encoding(name: &str, target: Target) -> Result<DType, UsageError> {
    let possible = target.words_of_encodings();
    let found = DType::from_name(name).filter(|dtype| possible.contains(&dtype.name()));
    found.ok_or_else(|| {
        let why = match DType::from_name(name) {
            Some(_) => format!("{} files cannot hold {name}", target.name()),
            None => format!("unknown encoding {name:?}"),
        };
        UsageError::new(why).hint(format!("`--dtype` is one of {}", possible.join(", ")))
    })
}
