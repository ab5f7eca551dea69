//! `studbook generate`: text from a model, as it comes.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::context::Terminal;
use super::exit::{Exit, UsageError};
use super::model::Given;
use crate::base::wording::count;
use crate::convert::{RunError, checkpoint};
use crate::disk::small::read_small;
use crate::model::context::bounded_by;
use crate::model::huggingface::folder::MAX_COMPANION;
use crate::model::huggingface::ids::Ids;
use crate::model::tokenizer::HfTokenizer;
use crate::model::{Tokenizer, Unrunnable};
use crate::operator::Tensors;
use crate::runtime::{GenerateOptions, Model, RuntimeError, Sampling, StopReason, generate};

#[derive(Debug, clap::Args)]
pub(super) struct Generate {
    /// The model: a file, a Hugging Face folder, or MODEL+ADAPTER
    pub(super) model: PathBuf,
    /// Another tokenizer than the model's own: a tokenizer.json, or a model that has one
    #[arg(long, value_name = "FILE")]
    pub(super) tokenizer: Option<PathBuf>,
    /// What to go on from
    #[arg(long, short)]
    pub(super) prompt: String,
    /// Most tokens to generate
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub(super) max_tokens: usize,
    /// 0 always takes the likeliest token
    #[arg(long, default_value_t = 0.0, value_name = "T", allow_hyphen_values = true)]
    pub(super) temperature: f32,
    /// Choose among the K likeliest tokens, 1 to 1024
    #[arg(long, default_value_t = 40, value_name = "K", allow_hyphen_values = true)]
    pub(super) top_k: u32,
    /// Choose among the likeliest tokens that together have this probability
    #[arg(long, default_value_t = 1.0, value_name = "P", allow_hyphen_values = true)]
    pub(super) top_p: f32,
    /// Seed of the choices
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(super) seed: u64,
}

pub(super) fn run(command: &Generate, terminal: &Terminal) -> anyhow::Result<Exit> {
    let given = Given::open(&command.model)?;
    given.doubt().iter().try_for_each(|doubt| terminal.warn(doubt))?;
    let mut package = given.opened.package.clone();
    if let Some(path) = &command.tokenizer {
        // What ends its answers are the model's own words, whoever turns them into text.
        let ids = Ids::of_package(&package)?;
        package.tokenizer = Ok(ids.on(tokenizer(path)?)?);
    }
    let adapted = given.adapted()?;
    let adapted = adapted.as_ref().map(|adapted| adapted as &dyn Tensors);
    let checkpoint = checkpoint(&package, adapted, "the model").map_err(|error| {
        let message = UsageError::new(format!("{} cannot be run: {error}", command.model.display()));
        match error {
            RunError::Unrunnable(Unrunnable::Tokenizer(_)) => {
                message.hint("`--tokenizer FILE` takes a tokenizer.json or another model's")
            }
            _ => message,
        }
    })?;
    let model = Model::new(Arc::new(checkpoint))?;
    let sampling = Sampling {
        temperature: command.temperature,
        top_k: command.top_k,
        top_p: command.top_p,
        seed: command.seed,
    };
    // At temperature 0 nothing is drawn; numbers that mean nothing are refused all the same.
    sampling.check().map_err(|error| UsageError::new(error.to_string()))?;
    let sampling = if command.temperature == 0.0 { Sampling::GREEDY } else { sampling };
    let options = GenerateOptions { sampling, ..GenerateOptions::greedy(command.max_tokens) };
    let mut out = std::io::stdout();
    let shown = out.is_terminal();
    let mut lost = None;
    let generation = generate(&model, &command.prompt, &options, &mut |_, text| {
        let text = if shown { harmless(text) } else { Cow::Borrowed(text) };
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        lost = written.err();
        if lost.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .map_err(|error| {
        let is_long = matches!(error, RuntimeError::LongPrompt { .. });
        let message = UsageError::new(format!("{}: {error}", command.model.display()));
        match bounded_by(&package).filter(|_| is_long) {
            Some(key) => message.hint(format!("its context is that of {key}")),
            None => message,
        }
    })?;
    if let Some(error) = lost {
        return Err(error.into());
    }
    writeln!(out)?;
    if !terminal.is_quiet() {
        let why = match generation.stop_reason {
            StopReason::EndOfSequence => "the model ended",
            StopReason::MaxTokens => "as many as asked for",
            StopReason::ContextEnd => "the context is full",
            StopReason::StopText => "the stop text appeared",
            StopReason::OutputLimit => "the output limit is reached",
            StopReason::Cancelled => "stopped",
        };
        writeln!(terminal.err(), "{}: {why}", count(generation.tokens.len(), "token"))?;
    }
    Ok(Exit::Complete)
}

/// A model's words for a terminal, which must not obey them. Files and other programs get every byte.
fn harmless(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(obeyed) { Cow::Owned(text.replace(obeyed, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// The tokenizer of a `tokenizer.json`, or of another model.
pub(super) fn tokenizer(path: &Path) -> anyhow::Result<Tokenizer> {
    if path.extension().is_some_and(|extension| extension == "json") {
        let bytes = read_small("read", path, MAX_COMPANION)?;
        return match crate::model::tokenizer::json::from_json(&bytes) {
            Ok(tokenizer) => Ok(tokenizer),
            Err(_) => Ok(Tokenizer::HuggingFace(Arc::new(HfTokenizer::from_json(&bytes)?))),
        };
    }
    let package = super::model::open_model(path)?.package;
    package.tokenizer.map_err(|why| UsageError::new(format!("{}: {why}", path.display())).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_obey_no_model() {
        assert_eq!(harmless("a\tb\nc"), "a\tb\nc");
        assert_eq!(harmless("a\u{1b}[2Jb\r\u{7}\u{9b}c"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}\u{fffd}c");
    }
}
