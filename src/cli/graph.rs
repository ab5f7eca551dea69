//! `studbook graph`: a plan's stages, drawn.

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;

use super::args::Args;
use super::context::{Terminal, load};
use super::exit::Exit;
use crate::report::drawing;

#[derive(Debug, clap::Args)]
pub(super) struct Graph {
    /// The plan file
    pub(super) plan: PathBuf,
    /// The notation
    #[arg(long, value_enum, default_value_t = Notation::Mermaid)]
    pub(super) format: Notation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Notation {
    /// For Markdown pages
    Mermaid,
    /// For Graphviz
    Dot,
}

pub(super) fn run(args: &Args, command: &Graph, terminal: &Terminal) -> anyhow::Result<Exit> {
    let loaded = load(args, &command.plan)?;
    let text = match command.format {
        Notation::Mermaid => drawing::mermaid(&loaded.graph),
        Notation::Dot => drawing::dot(&loaded.graph),
    };
    terminal.out().write_all(text.as_bytes())?;
    Ok(Exit::Complete)
}
