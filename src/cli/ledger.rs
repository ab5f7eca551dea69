//! `studbook ledger`: reads and checks the promotion ledger.

use std::io::Write;

use super::args::{Args, Format, Ledger as Command, LedgerCheck, LedgerCommand, LedgerOf};
use super::context::{Terminal, store_path};
use super::exit::{Exit, UsageError};
use crate::base::digest::Sha256;
use crate::ledger::{CheckReport, Head, Leaf, Ledger, Trust};
use crate::report::table::Table;
use crate::stage::{ledger_memory, open_ledger};
use crate::store::Store;

pub(super) fn run(args: &Args, command: &Command, terminal: &Terminal) -> anyhow::Result<Exit> {
    match &command.command {
        LedgerCommand::Log(of) => log(args, of, terminal),
        LedgerCommand::Head(of) => head(args, of, terminal),
        LedgerCommand::Check(command) => check(args, command, terminal),
    }
}

fn open(args: &Args, of: &LedgerOf) -> anyhow::Result<(Store, Ledger)> {
    let path = store_path(args, of.plan.as_deref());
    if !path.exists() {
        let error = UsageError::new(format!("there is no store at {}", path.display()));
        return Err(error.hint("name the plan, or the store with --store DIR").into());
    }
    let store = Store::open(&path)?;
    let ledger = open_ledger(&store)?;
    Ok((store, ledger))
}

fn log(args: &Args, of: &LedgerOf, terminal: &Terminal) -> anyhow::Result<Exit> {
    let (_, ledger) = open(args, of)?;
    let leaves: Vec<Leaf> = ledger.iter()?.collect::<Result<_, _>>()?;
    if of.format == Format::Json {
        terminal.json(&leaves)?;
        return Ok(Exit::Complete);
    }
    let mut table = Table::new(&["entry", "kind", "cycle", "candidate", "record", "time"]);
    for leaf in &leaves {
        let candidate = leaf.candidate.as_ref().map_or("-", |name| name.as_str());
        table.row(&[
            &leaf.index.to_string(),
            leaf.kind.word(),
            leaf.cycle.as_str(),
            candidate,
            &leaf.record.short(),
            &leaf.time,
        ]);
    }
    write!(terminal.out(), "{}", table.render())?;
    Ok(Exit::Complete)
}

fn head(args: &Args, of: &LedgerOf, terminal: &Terminal) -> anyhow::Result<Exit> {
    let (_, ledger) = open(args, of)?;
    let head = ledger.head()?;
    match of.format {
        Format::Json => terminal.json(&head)?,
        Format::Text => writeln!(terminal.out(), "{} {} {}", head.origin, head.size, head.head)?,
    }
    Ok(Exit::Complete)
}

fn check(args: &Args, command: &LedgerCheck, terminal: &Terminal) -> anyhow::Result<Exit> {
    let (store, ledger) = open(args, &command.of)?;
    let report = match expected(command, &ledger)? {
        Some(noted) => ledger.check(Some(&noted))?,
        None => ledger_memory(&store).check(&ledger)?,
    };
    match command.of.format {
        Format::Json => terminal.json(&serde_json::json!({
            "origin": report.head.origin,
            "size": report.head.size,
            "head": report.head.head,
            "trust": trust(&report),
        }))?,
        Format::Text => writeln!(terminal.out(), "{} entries hold; {}", report.head.size, trust(&report))?,
    }
    Ok(Exit::Complete)
}

/// The head a person noted, if they give one.
fn expected(command: &LedgerCheck, ledger: &Ledger) -> anyhow::Result<Option<Head>> {
    let Some([size, head]) = command.expect.as_deref() else { return Ok(None) };
    let wrong =
        |what: &str| UsageError::new(what.to_owned()).hint("give both as `studbook ledger head` prints them");
    let size: u64 = size.parse().map_err(|_| wrong("the size is a whole number"))?;
    let head: Sha256 = head.parse().map_err(|_| wrong("the head is a SHA-256 digest"))?;
    Ok(Some(Head { size, head, ..ledger.head()? }))
}

fn trust(report: &CheckReport) -> String {
    match report.trust {
        Trust::FirstUse => "nothing was remembered to compare with: trust on first use".to_owned(),
        Trust::Extends { size } => format!("they extend the remembered {size}"),
    }
}
