//! `studbook why`: exactly what differs from a stage's last key.

use std::io::Write;
use std::path::PathBuf;

use super::args::{Args, Format};
use super::context::{Terminal, find_stage, in_order, load};
use super::exit::Exit;
use crate::engine::preview::{Outlook, why};

#[derive(Debug, clap::Args)]
pub(super) struct Why {
    /// The plan file
    pub(super) plan: PathBuf,
    /// The stage, such as operator:ties
    pub(super) stage: String,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

pub(super) fn run(args: &Args, command: &Why, terminal: &Terminal) -> anyhow::Result<Exit> {
    in_order("why", Some(&command.plan), &command.stage, "STAGE")?;
    let loaded = load(args, &command.plan)?;
    let index = find_stage(&loaded.graph, &command.stage)?;
    let why = why(&loaded.graph, &loaded.store, index)?;
    if command.format == Format::Json {
        terminal.json(&why)?;
        return Ok(Exit::Complete);
    }
    let mut out = terminal.out();
    let words = match &why.outlook {
        Outlook::Cached { .. } => "is cached".to_owned(),
        Outlook::WouldRun { reason } => format!("would run: {reason}"),
        Outlook::Depends { on } => format!("depends on what these make: {}", on.join(", ")),
        Outlook::Pending { on } => format!("waits for {}", on.join(", ")),
        Outlook::Skipped { by } => format!("is skipped, refused by {}", by.join(", ")),
        Outlook::Blocked { by } => format!("is blocked by {}", by.join(", ")),
    };
    writeln!(out, "{} {words}", why.stage)?;
    if let Some(key) = &why.key {
        writeln!(out, "  key      {key}")?;
    }
    if let Some(key) = &why.last_key {
        writeln!(out, "  last key {key}")?;
    }
    if !why.differences.is_empty() {
        writeln!(out, "  changed:")?;
        for difference in &why.differences {
            writeln!(out, "    {}", difference.to_line())?;
        }
    } else if why.last_key.is_none() && !why.fields.is_empty() {
        writeln!(out, "  its key is made of:")?;
        for (field, value) in &why.fields {
            writeln!(out, "    {field}: {value}")?;
        }
    }
    Ok(Exit::Complete)
}
