//! `studbook check`: every mistake in a plan with its place.

use std::io::Write;
use std::path::PathBuf;

use super::args::Args;
use super::context::{Terminal, load};
use super::exit::Exit;

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// The plan file
    pub(super) plan: PathBuf,
}

pub(super) fn run(args: &Args, command: &Check, terminal: &Terminal) -> anyhow::Result<Exit> {
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
