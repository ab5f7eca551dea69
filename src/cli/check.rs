//! `studbook check`: every mistake in a plan with its place.

use std::io::Write;

use super::args::{Args, PlanOnly};
use super::context::{Terminal, load};
use super::exit::Exit;

pub(super) fn run(args: &Args, command: &PlanOnly, terminal: &Terminal) -> anyhow::Result<Exit> {
    let loaded = load(args, &command.plan)?;
    loaded.warn(terminal)?;
    if !terminal.is_quiet() {
        writeln!(
            terminal.out(),
            "{}: {} parents, {} candidates, {} suites, {} gates, {} stages",
            command.plan.display(),
            loaded.plan.parents.len(),
            loaded.plan.candidates.len(),
            loaded.plan.suites.len(),
            loaded.plan.gates.len(),
            loaded.graph.len()
        )?;
    }
    Ok(Exit::Complete)
}
