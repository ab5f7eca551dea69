//! A merge carried out: models opened, the child written whole or not at all, a receipt beside it.

use std::path::Path;

use super::assemble::{Views, assemble, like};
use super::child::{self, Child};
use super::config::Config;
pub use super::error::MergeError;
use super::hashing::{InputDigests, Underway};
use super::models::{self, Models, OpenError, Opened};
use super::networks;
use super::receipt::Receipt;
use super::template;
use super::tokens::{self, Rows};
use crate::base::diagnostic::{Diagnostic, Findings};
use crate::convert::{ConvertError, View};
use crate::disk::fresh::{self, Judge};
use crate::disk::small::read_small_text;
pub use crate::model::replaceable::RECEIPT;
use crate::model::{buffer, overwrite, replaceable};
use crate::operator::Tensors;

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
    pub(super) fn judge(&self) -> Option<Judge> {
        self.replace.then_some(replaceable::why_not)
    }
}

/// Configurations are written by people; a larger file is not one.
const MAX_CONFIG: u64 = 4 << 20;

/// Reads the configuration at `path` and carries it out.
///
/// # Errors
///
/// [`MergeError::Config`] of mistakes in the configuration, or of models that do not go together as it says;
/// [`MergeError::Named`], [`MergeError::Whole`], [`MergeError::Overwrite`] or [`MergeError::Disk`] of a place
/// where the child cannot go; [`MergeError::Model`] or [`MergeError::Adapter`] of an input that cannot be
/// opened.
///
/// While tensors are made, [`MergeError::Operator`] of a value that is infinite or no number, or that the
/// encoding cannot hold, and if the disk fails or it was cancelled; then [`MergeError::Changed`] of an input
/// that is not what it was. Nothing half written stays.
pub fn merge(
    path: &Path,
    out: &Path,
    options: &Options,
    cancelled: &dyn Fn() -> bool,
) -> Result<Receipt, MergeError> {
    refuse_name(out)?;
    overwrite::check(out, [path])?;
    let text = read_small_text("read", path, MAX_CONFIG)?;
    Asked { path, text: &text, out, options }.carry_out(cancelled)
}

/// What somebody asked for.
struct Asked<'a> {
    path: &'a Path,
    text: &'a str,
    out: &'a Path,
    options: &'a Options,
}

impl Asked<'_> {
    fn carry_out(&self, cancelled: &dyn Fn() -> bool) -> Result<Receipt, MergeError> {
        let config = super::config::parse(self.text).map_err(|mistakes| self.refuse(mistakes))?;
        let models = self.open(&config)?;
        let like = self.allowed(&config, &models)?;
        // Before tensors are looked at: a tensor that one family alone has says less than their names.
        let constants =
            networks::compare(&config, &models, like).map_err(|mistakes| self.refuse(mistakes))?;
        let on_top = models::adapted(&models)?;
        let own_output = models::has_own_output(&models);
        let view = |name: &str| models[name].view(on_top.get(name), own_output);
        let views = || {
            let views = models.keys().map(|name| Ok((name.clone(), view(name)?)));
            views.collect::<Result<Views<'_>, ConvertError>>()
        };
        let there = views()?;
        let rows = self.rows(&config, &models, like, &there[like])?;
        let views = match &rows {
            None => views()?,
            Some(rows) => rows.applied(views()?, &there),
        };
        let speaks = rows.as_ref().and_then(|rows| rows.speaker.as_deref()).unwrap_or(like);
        let template =
            config.chat_template.as_ref().map(|asked| template::choose(asked, &config, &models, speaks));
        let template = template.transpose().map_err(|mistake| self.refuse(vec![mistake]))?.flatten();
        let assembly = assemble(&config, &views).map_err(|mistake| self.refuse(vec![mistake]))?;
        let planned = child::plan(&assembly, &models[like].package.weights, config.dtype);
        let digests = Underway::begin(&self.options.input_digests, &models);
        let source = |model: &str, tensor: &str| {
            let source = views[model].source(tensor)?;
            Some(match models[model].package.weights.info(tensor) {
                Some(info) => digests.hear(source, model, info),
                None => source,
            })
        };
        let inputs = child::tensors(&assembly, &planned, &self.options.seed, source)?;
        let rowless = rows.as_ref().map(|rows| rows.rowless.clone()).unwrap_or_default();
        let (vocab_size, tokenizer, speaker) =
            rows.map_or((None, None, None), |rows| (rows.resized, rows.tokenizer, rows.speaker));
        let child = Child {
            buffers: child::buffers(&models[like], &assembly)?,
            changes: child::changes(&config, &assembly, &models, own_output, vocab_size),
            tokenizer,
            speaker,
            rowless,
            template,
            config: &config,
            assembly: &assembly,
            planned: &planned,
            inputs: &inputs,
            options: self.options,
            models: &models,
            digests: &digests,
            constants,
        };
        child.write(self.out, self.text, cancelled)
    }

    fn refuse(&self, diagnostics: Vec<Diagnostic>) -> MergeError {
        let (path, source) = (self.path.to_owned(), self.text.to_owned());
        MergeError::Config(Findings { path, source, diagnostics })
    }

    fn open(&self, config: &Config) -> Result<Models, MergeError> {
        models::open(config, self.path).map_err(|error| match error {
            OpenError::Mistakes(mistakes) => self.refuse(mistakes),
            OpenError::Model(error) => error.into(),
            OpenError::Adapter(error) => error.into(),
        })
    }

    /// Whether there is a place for the child and the models go together, before a tensor is looked at; says
    /// whom the child is like.
    fn allowed<'c>(&self, config: &'c Config, models: &Models) -> Result<&'c str, MergeError> {
        overwrite::check(self.out, places(models))?;
        fresh::refuse_taken(self.out, self.options.judge())?;
        let like = like(config).map_err(|mistake| self.refuse(vec![mistake]))?;
        if !models[like].is_folder {
            overwrite::check(&child::beside(self.out), places(models).chain([self.path]))?;
            if self.options.shard_size.is_some() {
                return Err(MergeError::Whole(self.out.to_owned()));
            }
        }
        networks::configured(config, models, like).map_err(|mistake| self.refuse(vec![mistake]))?;
        for (name, opened) in models {
            buffer::agree((like, &models[like].package), (name, &opened.package))
                .map_err(ConvertError::from)?;
        }
        Ok(like)
    }

    /// Which rows are taken by token; absent if all are taken as they lie.
    fn rows(
        &self,
        config: &Config,
        models: &Models,
        like: &str,
        of_like: &View<'_>,
    ) -> Result<Option<Rows>, MergeError> {
        if self.options.rows_by_number {
            return Ok(None);
        }
        let Some(asked) = &config.by_token else {
            tokens::compare(config, models, like).map_err(|mistakes| self.refuse(mistakes))?;
            return Ok(None);
        };
        let rows = tokens::by_token(config, models, like, of_like, asked);
        Ok(Some(rows.map_err(|mistake| self.refuse(vec![mistake]))?))
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
