//! `studbook plan`: the dry run. Writes nothing.

use std::io::Write;

use serde::Serialize;

use super::args::{Args, Format, Planned};
use super::context::{Terminal, load};
use super::exit::Exit;
use crate::base::wording::count;
use crate::engine::gates::{PendingGate, pending};
use crate::engine::preview::{Outlook, StageOutlook, preview};
use crate::report::table::Table;

#[derive(Serialize)]
struct Output<'a> {
    cycle: &'a str,
    stages: &'a [StageOutlook],
    pending_gates: &'a [PendingGate],
}

pub(super) fn run(args: &Args, command: &Planned, terminal: &Terminal) -> anyhow::Result<Exit> {
    let loaded = load(args, &command.plan)?;
    loaded.warn(terminal)?;
    let preview = preview(&loaded.graph, &loaded.store)?;
    let gates =
        pending(&loaded.plan, &loaded.graph, &loaded.store, &preview.results, &preview.ends, &loaded.typed)?;
    let cycle = loaded.plan.cycle.name.as_str();
    if command.format == Format::Json {
        terminal.json(&Output { cycle, stages: &preview.stages, pending_gates: &gates })?;
        return Ok(Exit::Complete);
    }
    let mut out = terminal.out();
    let mut table = Table::new(&["stage", "state", "because"]);
    for stage in &preview.stages {
        let (state, because) = words(&stage.outlook);
        table.row(&[&stage.stage, state, &because]);
    }
    write!(out, "{}", table.render())?;
    let cached = preview.count(|outlook| matches!(outlook, Outlook::Cached { .. }));
    let run = preview.count(|outlook| matches!(outlook, Outlook::WouldRun { .. }));
    let depend = preview.count(|outlook| matches!(outlook, Outlook::Depends { .. }));
    writeln!(
        out,
        "\n{cycle}: {}, {cached} cached, {run} would run, {depend} depend on those",
        count(loaded.graph.len(), "stage")
    )?;
    print_gates(&mut out, &gates)?;
    Ok(Exit::Complete)
}

fn words(outlook: &Outlook) -> (&'static str, String) {
    match outlook {
        Outlook::Cached { summary } => ("cached", summary.clone()),
        Outlook::WouldRun { reason } => ("would run", reason.clone()),
        Outlook::Depends { on } => ("depends", format!("on {}", shortened(on))),
        Outlook::Pending { on } => ("pending", format!("waits for {}", shortened(on))),
        Outlook::Skipped { by } => ("skipped", format!("refused by {}", shortened(by))),
        Outlook::Blocked { by } => ("blocked", format!("by {}", shortened(by))),
    }
}

fn shortened(stages: &[String]) -> String {
    match stages {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one}, {two}"),
        [first, second, rest @ ..] => format!("{first}, {second} and {} more", rest.len()),
    }
}

/// The gates that wait, and what to do about each.
pub(super) fn print_gates(out: &mut impl Write, gates: &[PendingGate]) -> std::io::Result<()> {
    if gates.is_empty() {
        return writeln!(out, "\nNo gate is pending.");
    }
    writeln!(out, "\nPending gates:")?;
    let mut table = Table::new(&["candidate", "gate", "satisfied by", "command"]);
    for gate in gates {
        table.row(&[gate.candidate.as_str(), gate.gate.as_str(), &gate.satisfied_by, &gate.command]);
    }
    write!(out, "{}", table.render())
}
