//! `studbook graph`: a plan's stages, drawn.

use std::io::Write;

use super::args::{Args, Graph, Notation};
use super::context::{Terminal, load};
use super::exit::Exit;
use crate::report::drawing;

pub(super) fn run(args: &Args, command: &Graph, terminal: &Terminal) -> anyhow::Result<Exit> {
    let loaded = load(args, &command.plan)?;
    let text = match command.format {
        Notation::Mermaid => drawing::mermaid(&loaded.graph),
        Notation::Dot => drawing::dot(&loaded.graph),
    };
    terminal.out().write_all(text.as_bytes())?;
    Ok(Exit::Complete)
}
