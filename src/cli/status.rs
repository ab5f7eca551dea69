//! `studbook status`: how far a cycle is, from what the store holds.

use std::io::Write;

use serde::Serialize;

use super::args::{Args, Format, Planned};
use super::context::{Terminal, load};
use super::exit::Exit;
use super::plan::print_gates;
use super::run::{candidate_table, other_plans, print_others};
use crate::base::wording::count;
use crate::engine::gates::{PendingGate, pending};
use crate::engine::outcome::{CandidateOutcome, outcomes};
use crate::engine::preview::{Outlook, preview};
use crate::engine::schedule::End;
use crate::pedigree::tried::Elsewhere;
use crate::report::table::Table;
use crate::stage::{KINDS, Kind};
use crate::store::Happened;

#[derive(Serialize)]
struct Output<'a> {
    cycle: &'a str,
    stages: usize,
    done: usize,
    /// Those that say no more than that evidence is missing.
    waits: usize,
    kinds: Vec<KindRow>,
    failed: Vec<(String, String)>,
    candidates: &'a [CandidateOutcome],
    pending_gates: &'a [PendingGate],
    /// Ledger entries of other plans of the cycle.
    other_plans: &'a [u64],
    /// Plans of other cycles that ask the same cases.
    same_cases: &'a [Elsewhere],
}

#[derive(Serialize)]
struct KindRow {
    kind: &'static str,
    done: usize,
    waits: usize,
    of: usize,
}

pub(super) fn run(args: &Args, command: &Planned, terminal: &Terminal) -> anyhow::Result<Exit> {
    let loaded = load(args, &command.plan)?;
    let preview = preview(&loaded.graph, &loaded.store)?;
    let candidates = outcomes(&loaded.plan, &loaded.graph, &loaded.store, &preview.results, &preview.ends)?;
    let gates =
        pending(&loaded.plan, &loaded.graph, &loaded.store, &preview.results, &preview.ends, &loaded.typed)?;
    let others = other_plans(&loaded, &preview.results)?;
    let settled =
        preview.count(|outlook| !matches!(outlook, Outlook::WouldRun { .. } | Outlook::Depends { .. }));
    let is_waiting = |end: Option<End>| matches!(end, Some(End::Waits | End::Pending));
    let kinds: Vec<KindRow> = KINDS
        .iter()
        .map(|stage| {
            let of_kind = |kind: Kind| loaded.graph.of_kind(kind);
            let ends: Vec<_> = of_kind(stage.kind()).map(|index| preview.ends[index.index()]).collect();
            let waits = ends.iter().filter(|end| is_waiting(**end)).count();
            let done = ends.iter().filter(|end| end.is_some()).count() - waits;
            KindRow { kind: stage.kind().name(), done, waits, of: ends.len() }
        })
        .collect();
    let waits = kinds.iter().map(|row| row.waits).sum();
    let done = settled - waits;
    let failed: Vec<(String, String)> = loaded
        .store
        .last_events(&loaded.plan.cycle.name)?
        .into_values()
        .filter(|event| {
            loaded.graph.find(&event.stage).is_some_and(|index| preview.results[index.index()].is_none())
        })
        .filter_map(|event| match event.happened {
            Happened::Failed(why) => Some((event.stage, why)),
            Happened::Executed | Happened::Hit => None,
        })
        .collect();
    let cycle = loaded.plan.cycle.name.as_str();
    if command.format == Format::Json {
        let stages = loaded.graph.len();
        let output = Output {
            cycle,
            stages,
            done,
            waits,
            kinds,
            failed,
            candidates: &candidates,
            pending_gates: &gates,
            other_plans: &others.here,
            same_cases: &others.elsewhere,
        };
        terminal.json(&output)?;
        return Ok(Exit::Complete);
    }
    let mut out = terminal.out();
    let waiting = if waits == 0 { String::new() } else { format!(", {waits} wait for evidence") };
    writeln!(out, "{cycle}: {done} of {} are done{waiting}\n", count(loaded.graph.len(), "stage"))?;
    let mut table = Table::new(&["kind", "done", "waits", "of"]);
    for row in &kinds {
        let waits = if row.waits == 0 { String::new() } else { row.waits.to_string() };
        table.row(&[row.kind, &row.done.to_string(), &waits, &row.of.to_string()]);
    }
    writeln!(out, "{}", table.render())?;
    for (stage, why) in &failed {
        writeln!(out, "{} {stage}: {why}", terminal.paint("failed last time:", Terminal::RED))?;
    }
    write!(out, "{}", candidate_table(&candidates))?;
    print_others(&mut out, &others)?;
    if settled < loaded.graph.len() {
        writeln!(out, "\nGo on with: studbook run {}", loaded.typed)?;
    }
    print_gates(&mut out, &gates)?;
    Ok(Exit::Complete)
}
