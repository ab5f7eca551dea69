//! `studbook completions`: a script for the shell.

use clap::CommandFactory;

use super::args::{Args, Completions};
use super::context::Terminal;
use super::exit::Exit;

pub(super) fn run(command: &Completions, terminal: &Terminal) -> anyhow::Result<Exit> {
    clap_complete::generate(command.shell, &mut Args::command(), "studbook", &mut terminal.out());
    Ok(Exit::Complete)
}
