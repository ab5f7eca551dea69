//! Second eyes on a ledger: remembering it elsewhere, and signing what was seen.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::{LedgerOf, existing_store, now, open};
use crate::base::wording::count;
use crate::cli::args::{Args, Format};
use crate::cli::context::Terminal;
use crate::cli::exit::{Exit, UsageError};
use crate::ledger::note::is_key_name;
use crate::ledger::{Head, Memory, Note};
use crate::trust::keyring::read_secret;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct LedgerWitness {
    #[command(flatten)]
    pub(in crate::cli) of: LedgerOf,
    /// Where you remember what you saw; keep it where the log's owner cannot write
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) memory: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct LedgerCosign {
    #[command(flatten)]
    pub(in crate::cli) of: LedgerOf,
    /// Your secret key
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) key: PathBuf,
    /// Your name; the key file's by default
    #[arg(long)]
    pub(in crate::cli) name: Option<String>,
    /// Where you remember what you saw; beside the key by default
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) memory: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct LedgerSign {
    #[command(flatten)]
    pub(in crate::cli) of: LedgerOf,
    /// The log's secret key
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) key: PathBuf,
}

/// What a witness needs is a few hashes, not the log: the tiles prove that it only grew.
pub(super) fn witness(args: &Args, command: &LedgerWitness, terminal: &Terminal) -> anyhow::Result<Exit> {
    let (_, ledger) = open(args, &command.of)?;
    let memory = Memory::at(&command.memory);
    let head = ledger.head()?;
    let before = memory.recall(&head.origin)?;
    if let Some(before) = &before {
        ledger.prove_extends(before)?;
    }
    memory.remember(&head)?;
    match command.of.format {
        Format::Json => terminal.json(&serde_json::json!({
            "origin": head.origin,
            "size": head.size,
            "root": head.root,
            "before": before.map(|before| before.size),
        }))?,
        Format::Text => {
            let how = match before {
                Some(before) => {
                    format!("proved to extend the {} seen before", count(before.size as usize, "entry"))
                }
                None => "seen for the first time".to_owned(),
            };
            writeln!(terminal.out(), "{} {} {}: {how}", head.origin, head.size, head.root)?;
        }
    }
    Ok(Exit::Complete)
}

pub(super) fn cosign(args: &Args, command: &LedgerCosign, terminal: &Terminal) -> anyhow::Result<Exit> {
    let (_, ledger) = open(args, &command.of)?;
    let key = read_secret(&command.key)?;
    let name = command.name.clone().unwrap_or_else(|| stem(&command.key));
    if !is_key_name(&name) {
        return Err(UsageError::new(format!("{name:?} cannot be a witness's name"))
            .hint("give one without spaces and `+` with --name NAME")
            .into());
    }
    let time = now().parse::<jiff::Timestamp>()?.as_second();
    let time = u64::try_from(time).map_err(|_| UsageError::new("the clock is before 1970"))?;
    let beside = command.key.with_extension("seen");
    let memory = Memory::at(command.memory.as_deref().unwrap_or(&beside));
    let remembered = memory.recall(&ledger.head()?.origin)?;
    let sign = |_: &Head, note: &mut Note| note.cosign(&name, &key, time);
    let (report, note) = ledger.endorse(remembered.as_ref(), &sign)?;
    // Signed only what was checked; remembered before anybody else sees another.
    memory.remember(&report.head)?;
    show(&report.head, &note, command.of.format, terminal)
}

pub(super) fn sign(args: &Args, command: &LedgerSign, terminal: &Terminal) -> anyhow::Result<Exit> {
    let store = existing_store(args, command.of.plan.as_deref())?;
    let key = read_secret(&command.key)?;
    // `Store::ledger` demands the very signature that is missing.
    let memory = store.ledger_memory();
    let ledger = store.unsigned_ledger()?;
    let remembered = memory.recall(&ledger.head()?.origin)?;
    let sign = |head: &Head, note: &mut Note| note.sign(&head.origin, &key);
    let (report, note) = ledger.endorse(remembered.as_ref(), &sign)?;
    memory.remember(&report.head)?;
    show(&report.head, &note, command.of.format, terminal)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn show(head: &Head, note: &Note, format: Format, terminal: &Terminal) -> anyhow::Result<Exit> {
    match format {
        Format::Json => terminal.json(&serde_json::json!({
            "origin": head.origin,
            "size": head.size,
            "root": head.root,
            "signatures": note.signatures.iter().map(|line| line.name.as_str()).collect::<Vec<_>>(),
        }))?,
        Format::Text => write!(terminal.out(), "{}", note.to_text())?,
    }
    Ok(Exit::Complete)
}
