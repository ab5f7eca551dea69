//! `studbook check`: every mistake in a plan with its place.

use std::io::Write;

use super::args::{Args, PlanOnly};
use super::context::{Terminal, load};
use super::exit::Exit;
use crate::base::wording::count;

pub(super) fn run(args: &Args, command: &PlanOnly, terminal: &Terminal) -> anyhow::Result<Exit> {
    let loaded = load(args, &command.plan)?;
    loaded.warn(terminal)?;
    if !terminal.is_quiet() {
        writeln!(
            terminal.out(),
            "{}: {}, {}, {}, {}, {}",
            command.plan.display(),
            count(loaded.plan.parents.len(), "parent"),
            count(loaded.plan.candidates.len(), "candidate"),
            count(loaded.plan.suites.len(), "suite"),
            count(loaded.plan.gates.len(), "gate"),
            count(loaded.graph.len(), "stage")
        )?;
    }
    Ok(Exit::Complete)
}
