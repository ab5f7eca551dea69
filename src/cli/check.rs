//! `studbook check`: every mistake in a plan with its place.

use std::io::Write;
use std::path::PathBuf;

use super::args::Args;
use super::context::{Terminal, load};
use super::exit::Exit;
use crate::base::wording::count;

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
