//! `studbook completions`: a script for the shell.

use std::io::Write;

use clap::CommandFactory;

use super::args::Args;
use super::context::Terminal;
use super::exit::Exit;

#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}

pub(super) fn run(command: &Completions, terminal: &Terminal) -> anyhow::Result<Exit> {
    // Into memory first: what makes scripts panics where the reader hangs up.
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Args::command(), "studbook", &mut script);
    terminal.out().write_all(&script)?;
    Ok(Exit::Complete)
}
