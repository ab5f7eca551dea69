//! `studbook ledger`: reads, checks, proves and signs the promotion ledger.

mod witness;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use self::witness::{LedgerCosign, LedgerSign, LedgerWitness};
use super::args::{Args, Format};
use super::context::{Terminal, custody, existing_store, in_order, now, store_path};
use super::exit::{Exit, UsageError};
use crate::base::digest::Sha256;
use crate::base::wording::count;
use crate::disk::atomic;
use crate::ledger::{CheckReport, Head, Leaf, Ledger, Proof, Trust, proof};
use crate::model::overwrite;
use crate::record::plan::FinalUse;
use crate::report::table::Table;
use crate::store::{self, Store};

#[derive(Debug, clap::Args)]
pub(super) struct Command {
    #[command(subcommand)]
    pub(super) command: LedgerCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum LedgerCommand {
    /// Print the entries
    Log(LedgerOf),
    /// Print the head: what to remember to notice any change
    Head(LedgerOf),
    /// Check every entry, tile and signature, and that the log extends the remembered head
    Check(LedgerCheck),
    /// Write the proof that an entry is in the log
    Prove(LedgerProve),
    /// Check by a proof that the log extends what you remember of it, and remember it
    Witness(LedgerWitness),
    /// Witness the log, and sign its checkpoint with a key of your own
    Cosign(LedgerCosign),
    /// Check an unsigned ledger and sign its checkpoint with the log's key
    Sign(LedgerSign),
}

#[derive(Debug, clap::Args)]
pub(super) struct LedgerOf {
    /// A plan whose store holds the ledger; `.studbook` here by default
    pub(super) plan: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct LedgerCheck {
    #[command(flatten)]
    pub(super) of: LedgerOf,
    /// A head you noted yourself, as `ledger head` prints it
    #[arg(long, value_names = ["SIZE", "SHA256"], num_args = 2)]
    pub(super) expect: Option<Vec<String>>,
    /// Check this proof; the ledger need not be there, but is asked if it is
    #[arg(long, value_name = "FILE", conflicts_with = "expect")]
    pub(super) proof: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(allow_missing_positional = true)]
pub(super) struct LedgerProve {
    #[command(flatten)]
    pub(super) of: LedgerOf,
    /// The entry's number, a candidate, or the SHA-256 of a record
    pub(super) entry: String,
    /// The file to write; standard output by default
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

pub(super) fn run(args: &Args, command: &Command, terminal: &Terminal) -> anyhow::Result<Exit> {
    match &command.command {
        LedgerCommand::Log(of) => log(args, of, terminal),
        LedgerCommand::Head(of) => head(args, of, terminal),
        LedgerCommand::Check(command) => check(args, command, terminal),
        LedgerCommand::Prove(command) => prove(args, command, terminal),
        LedgerCommand::Witness(command) => witness::witness(args, command, terminal),
        LedgerCommand::Cosign(command) => witness::cosign(args, command, terminal),
        LedgerCommand::Sign(command) => witness::sign(args, command, terminal),
    }
}

fn open(args: &Args, of: &LedgerOf) -> anyhow::Result<(Store, Ledger)> {
    let store = existing_store(args, of.plan.as_deref())?;
    let ledger = store.ledger()?;
    Ok((store, ledger))
}

fn log(args: &Args, of: &LedgerOf, terminal: &Terminal) -> anyhow::Result<Exit> {
    let (_, ledger) = open(args, of)?;
    let leaves = ledger.leaves()?;
    if of.format == Format::Json {
        terminal.json(&leaves)?;
        return Ok(Exit::Complete);
    }
    let mut table = Table::new(&["entry", "kind", "cycle", "candidate", "record", "by plan", "time"]);
    for leaf in &leaves {
        let candidate = leaf.candidate.as_ref().map_or("-", |name| name.as_str());
        table.row(&[
            &leaf.index.to_string(),
            FinalUse::word(leaf.kind.word(), &leaf.predicate_type),
            leaf.cycle.as_str(),
            candidate,
            &leaf.record.short(),
            &leaf.registration.map_or("-".to_owned(), |plan| plan.to_string()),
            &leaf.time,
        ]);
    }
    write!(terminal.out(), "{}", table.render())?;
    Ok(Exit::Complete)
}

#[derive(Serialize)]
struct ShownHead<'a> {
    #[serde(flatten)]
    head: &'a Head,
    /// Names on the signature lines; empty if nobody signed.
    signatures: Vec<String>,
    checkpoint: String,
}

fn head(args: &Args, of: &LedgerOf, terminal: &Terminal) -> anyhow::Result<Exit> {
    let (_, ledger) = open(args, of)?;
    let (head, note) = ledger.checkpoint()?;
    match of.format {
        Format::Json => terminal.json(&ShownHead {
            head: &head,
            signatures: note.signatures.iter().map(|line| line.name.clone()).collect(),
            checkpoint: note.to_text(),
        })?,
        Format::Text => writeln!(terminal.out(), "{} {} {}", head.origin, head.size, head.root)?,
    }
    Ok(Exit::Complete)
}

fn check(args: &Args, command: &LedgerCheck, terminal: &Terminal) -> anyhow::Result<Exit> {
    if let Some(proof) = &command.proof {
        return check_proof(args, command, proof, terminal);
    }
    let (store, ledger) = open(args, &command.of)?;
    let noted = expected(command, &ledger)?;
    let report = match &noted {
        Some(noted) => ledger.check(Some(noted))?,
        None => store.ledger_memory().check(&ledger)?,
    };
    if noted.is_none() && !report.remembered {
        terminal.warn("the store cannot be written here: what was found is not remembered")?;
    }
    if let Some(told) = report.told_backdated() {
        terminal.warn(&told)?;
    }
    match command.of.format {
        Format::Json => terminal.json(&serde_json::json!({
            "origin": report.head.origin,
            "size": report.head.size,
            "root": report.head.root,
            "backdated": report.backdated,
            "dated_ahead": report.dated_ahead,
            "trust": trust(&report),
            "remembered": report.remembered,
            "signed": report.signed,
            "signatures": report.signatures,
        }))?,
        Format::Text => writeln!(
            terminal.out(),
            "{} {}; {}; {}",
            count(report.head.size as usize, "entry"),
            if report.head.size == 1 { "holds" } else { "hold" },
            trust(&report),
            signed(&report)
        )?,
    }
    Ok(Exit::Complete)
}

/// The head a person noted, if they give one.
fn expected(command: &LedgerCheck, ledger: &Ledger) -> anyhow::Result<Option<Head>> {
    let Some([size, root]) = command.expect.as_deref() else { return Ok(None) };
    let wrong =
        |what: &str| UsageError::new(what.to_owned()).hint("give both as `studbook ledger head` prints them");
    let size: u64 = size.parse().map_err(|_| wrong("the size is a whole number"))?;
    let root: Sha256 = root.parse().map_err(|_| wrong("the root is a SHA-256 digest"))?;
    Ok(Some(Head { size, root, ..ledger.head()? }))
}

fn trust(report: &CheckReport) -> String {
    match report.trust {
        Trust::FirstUse => "nothing was remembered to compare with: trust on first use".to_owned(),
        Trust::Extends { size } => format!("they extend the remembered {size}"),
    }
}

fn signed(report: &CheckReport) -> String {
    match (report.signed, report.signatures.as_slice()) {
        (_, []) => "the checkpoint is unsigned".to_owned(),
        (true, names) => format!("signed by {}", names.join(", ")),
        (false, names) => {
            format!("signed by {}, not checked: no trust file names a log key", names.join(", "))
        }
    }
}

/// The ledger of a plan, if it has one.
fn own(args: &Args, plan: Option<&Path>) -> anyhow::Result<Option<Ledger>> {
    if !store::is_there(&store_path(args, plan)) {
        return Ok(None);
    }
    let ledger = existing_store(args, plan)?.ledger()?;
    ledger.refuse_led_back()?;
    let size = ledger.head()?.size;
    Ok(Some(ledger).filter(|_| size > 0))
}

/// A proof needs no ledger: the entry, the checkpoint and the log's key are enough. Where there is one, it tells
/// whether the proof is of it: all logs have one name, and two may have one key.
fn check_proof(args: &Args, command: &LedgerCheck, path: &Path, terminal: &Terminal) -> anyhow::Result<Exit> {
    let proof = Proof::read(path)?;
    let keys = custody(args, command.of.plan.as_deref())?.log_keys();
    let (head, leaf) = proof.verify(None, &keys)?;
    let own = own(args, command.of.plan.as_deref())?;
    own.as_ref().map(|ledger| ledger.confirm(&proof)).transpose()?;
    match command.of.format {
        Format::Json => terminal.json(&serde_json::json!({
            "origin": head.origin,
            "size": head.size,
            "root": head.root,
            "signed": !keys.is_empty(),
            "extended": own.is_some(),
            "entry": leaf,
        }))?,
        Format::Text => {
            let asked = match own {
                Some(ledger) => format!("the ledger {} extends it", ledger.folder().display()),
                None => "whether it is the one you mean was not asked: there is no ledger here".to_owned(),
            };
            let by = if keys.is_empty() { "an unchecked" } else { "the signed" };
            writeln!(
                terminal.out(),
                "entry {} ({}) is in {by} log {} of {}; {asked}",
                leaf.index,
                leaf.kind.word(),
                head.origin,
                count(head.size as usize, "entry")
            )?;
        }
    }
    Ok(Exit::Complete)
}

fn prove(args: &Args, command: &LedgerProve, terminal: &Terminal) -> anyhow::Result<Exit> {
    in_order("ledger prove", command.of.plan.as_deref(), &command.entry, "ENTRY")?;
    let (_, ledger) = open(args, &command.of)?;
    let index = find_entry(&ledger, &command.entry)?;
    let text = ledger.prove(index)?.to_text();
    match &command.out {
        Some(path) => {
            overwrite::check(path, command.of.plan.as_deref())?;
            refuse_other_files(path)?;
            atomic::replace(path, text.as_bytes())?;
        }
        None => write!(terminal.out(), "{text}")?,
    }
    Ok(Exit::Complete)
}

/// A proof is asked for again whenever the log has grown; anything else in its place is somebody's.
fn refuse_other_files(out: &Path) -> Result<(), UsageError> {
    if !out.exists() || proof::is_one(out) {
        return Ok(());
    }
    let error = UsageError::new(format!("{} is already there and is no earlier proof", out.display()));
    Err(error.hint("choose another place, or remove it first"))
}

/// By number, by record, or the last entry about a candidate.
fn find_entry(ledger: &Ledger, wanted: &str) -> anyhow::Result<u64> {
    let by_number = wanted.parse::<u64>().ok();
    let found = match (by_number, wanted.parse::<Sha256>()) {
        (Some(index), _) => Some(index).filter(|index| ledger.head().is_ok_and(|head| *index < head.size)),
        (None, Ok(record)) => ledger.find_record(record)?.last().map(|leaf| leaf.index),
        (None, Err(_)) => {
            let about = |leaf: &&Leaf| leaf.candidate.as_ref().is_some_and(|name| name.as_str() == wanted);
            ledger.leaves()?.iter().rfind(about).map(|leaf| leaf.index)
        }
    };
    found.ok_or_else(|| {
        let error = UsageError::new(format!("the ledger has no entry {wanted:?}"));
        error.hint("`studbook ledger log` lists every entry, candidate and record").into()
    })
}
