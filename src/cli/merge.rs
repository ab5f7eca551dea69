//! `studbook merge`: a mergekit configuration, carried out without a plan.

use std::io::Write;
use std::path::PathBuf;

use super::args::size;
use super::context::{Terminal, interruption, warn_of_missing_code};
use super::exit::Exit;
use crate::base::wording::count;
use crate::mergekit::filters::UnmatchedFilter;
use crate::mergekit::hashing::{InputDigests, Memory};
use crate::mergekit::merge::{MergeError, Options, RECEIPT, merge};
use crate::mergekit::networks::OtherConstant;
use crate::mergekit::receipt::{Receipt, SomeTokens};
use crate::model::huggingface::CONFIG;
use crate::operator::OperatorError;

#[derive(Debug, clap::Args)]
pub(super) struct Merge {
    /// The configuration, a YAML file
    pub(super) config: PathBuf,
    /// What to write: a folder where the models are folders, else a safetensors file
    pub(super) out: PathBuf,
    /// What all randomness derives from
    #[arg(long, default_value = "0", value_name = "TEXT")]
    pub(super) seed: String,
    /// Most bytes of tensors in one file of a folder, such as "2 GiB"; by default 5 GB
    #[arg(long, alias = "shard-size", value_name = "SIZE", value_parser = size)]
    pub(super) shard: Option<u64>,
    /// Take rows as they lie where the models' tokens differ
    #[arg(long)]
    pub(super) rows_by_number: bool,
    /// Leave the inputs' digests out of the receipt: saves hashing them
    #[arg(long)]
    pub(super) no_input_digests: bool,
    /// Hash the inputs, also those that did not change since an earlier merge hashed them
    #[arg(long, conflicts_with = "no_input_digests")]
    pub(super) rehash: bool,
    /// Replace what is there; a folder only if it holds a model and nothing else
    #[arg(long)]
    pub(super) force: bool,
}

pub(super) fn run(command: &Merge, terminal: &Terminal) -> anyhow::Result<Exit> {
    let options = Options {
        shard_size: command.shard,
        seed: command.seed.clone(),
        replace: command.force,
        rows_by_number: command.rows_by_number,
        input_digests: input_digests(command),
    };
    let cancelled = interruption()?;
    let receipt = match merge(&command.config, &command.out, &options, &*cancelled) {
        Ok(receipt) => receipt,
        Err(MergeError::Operator(OperatorError::Cancelled)) => return Ok(Exit::Interrupted),
        Err(MergeError::Config(findings)) => {
            writeln!(terminal.err(), "{}", findings.render(terminal.colour()))?;
            let (path, errors) = (findings.path.display(), findings.errors());
            writeln!(terminal.err(), "{path} has {}", count(errors, "error"))?;
            return Ok(Exit::Usage);
        }
        Err(other) => return Err(other.into()),
    };
    if let InputDigests::Hashed(memory) = &options.input_digests {
        // Whoever has no place to remember things hashes them again.
        let _ = memory.save();
    }
    warn(command, &receipt, terminal)?;
    let bytes: u64 = receipt.outputs.iter().map(|written| written.bytes).sum();
    let place = if command.out.is_dir() {
        command.out.join(RECEIPT).display().to_string()
    } else {
        format!("{}.receipt.json", command.out.display())
    };
    writeln!(
        terminal.out(),
        "{}: {} by {}, {}, {bytes} bytes\nreceipt: {place}",
        command.out.display(),
        receipt.method,
        receipt.operator,
        count(receipt.application.tensors.len(), "tensor"),
    )?;
    Ok(Exit::Complete)
}

/// What became otherwise than somebody may think.
fn warn(command: &Merge, receipt: &Receipt, terminal: &Terminal) -> anyhow::Result<()> {
    for OtherConstant { model, field, there, child } in &receipt.told.constants {
        terminal.warn(&format!(
            "{field} is {there} in `{model}` and {child} in the child; the receipt says so, too"
        ))?;
    }
    for UnmatchedFilter { parameter, filter } in &receipt.unmatched_filters {
        terminal.warn(&format!(
            "no tensor's name contains `{filter}`, so that filter of `{parameter}` changes nothing"
        ))?;
    }
    if let Some(tokens) = &receipt.added_tokens {
        writeln!(terminal.err(), "added to the tokenizer: {}", named(tokens))?;
    }
    if let Some(tokens) = &receipt.rowless_tokens {
        terminal.warn(&format!(
            "the child's tokenizer has ids of no row of its model's: {}; a text with such a token cannot be \
             computed, or gets a row of padding",
            named(tokens)
        ))?;
    }
    receipt.told.doubts.iter().try_for_each(|doubt| terminal.warn(doubt))?;
    if let [model, others @ ..] = &receipt.told.chat_template[..] {
        let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
        writeln!(terminal.err(), "chat template: that of `{model}`{more}")?;
    }
    let said = |carried: bool, fate: &str| {
        let names = receipt.buffers.iter().filter(|buffer| buffer.carried == carried);
        let names: Vec<&str> = names.map(|buffer| buffer.name.as_str()).collect();
        match names.first() {
            None => Ok(()),
            Some(first) => {
                let buffers = count(names.len(), "buffer");
                writeln!(terminal.err(), "{fate}: {buffers}, such as {first}; the receipt lists them")
            }
        }
    };
    said(true, "carried as they are")?;
    said(false, "left out")?;
    if command.out.is_dir() && !command.out.join(CONFIG).exists() {
        terminal.warn(&format!(
            "no model has a {CONFIG}, so {} has none: nothing says of which network it is",
            command.out.display()
        ))?;
    }
    warn_of_missing_code(&command.out, terminal)?;
    Ok(())
}

fn named(SomeTokens { count: all, first }: &SomeTokens) -> String {
    let named: Vec<String> = first.iter().map(|token| format!("{token:?}")).collect();
    let more = if *all > named.len() { format!(" and {} more", all - named.len()) } else { String::new() };
    format!("{}, {}{more}", count(*all, "token"), named.join(", "))
}

fn input_digests(command: &Merge) -> InputDigests {
    if command.no_input_digests {
        InputDigests::LeftOut
    } else {
        InputDigests::Hashed(Memory::open(cache_folder().as_deref(), !command.rehash))
    }
}

/// The user's own, by the XDG base directory specification: relative paths count for nothing.
fn cache_folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(caches.join("studbook"))
}
