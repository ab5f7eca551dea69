//! `studbook extract`: what a model has and its base has not, as an adapter.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::args::{AdapterForm, Extract, Format};
use super::context::{Terminal, stopped_by_ctrl_c};
use super::exit::{Exit, UsageError};
use crate::base::digest::Digest;
use crate::difference::{DifferenceError, Extracted, Form, extract};
use crate::disk::hashed::HashedFile;
use crate::model::open_package;
use crate::report::table::Table;

#[derive(Serialize)]
struct Output {
    adapter: String,
    bytes: u64,
    blake3: Digest,
    deltas: Vec<Extracted>,
}

pub(super) fn run(command: &Extract, terminal: &Terminal) -> anyhow::Result<Exit> {
    let form = form(command)?;
    if command.out.exists() && !command.force {
        return Err(UsageError::new(format!("{} is there already", command.out.display()))
            .hint("choose another name, or add `--force` to replace it")
            .into());
    }
    let (base, model) = (open_package(&command.base)?, open_package(&command.model)?);
    let cancelled = stopped_by_ctrl_c()?;
    let folder = command.out.parent().filter(|folder| !folder.as_os_str().is_empty());
    // Anybody may read it, as with any file a person makes.
    let mut file = HashedFile::create_with_mode(folder.unwrap_or(Path::new(".")), 0o666)?;
    let deltas = match extract(&base.package, &model.package, form, &mut file, &*cancelled) {
        Err(DifferenceError::Cancelled) => return Ok(Exit::Interrupted),
        other => other?,
    };
    let done = file.finish()?;
    let output =
        Output { adapter: command.out.display().to_string(), bytes: done.bytes, blake3: done.digest, deltas };
    done.persist(&command.out, command.force)?;
    match command.format {
        Format::Json => terminal.json(&output)?,
        Format::Text => print(&output, terminal)?,
    }
    Ok(Exit::Complete)
}

fn form(command: &Extract) -> Result<Form, UsageError> {
    let only = |option: &str, form: &str| UsageError::new(format!("`{option}` goes with `--as {form}` only"));
    if command.density.is_some() && command.form != AdapterForm::Sparse {
        return Err(only("--density", "sparse"));
    }
    if command.rank.is_some() && command.form != AdapterForm::LowRank {
        return Err(only("--rank", "low-rank"));
    }
    match command.form {
        AdapterForm::Dense => Ok(Form::Dense),
        AdapterForm::Sparse => match command.density {
            Some(density) if !(density > 0.0 && density <= 1.0) => {
                Err(UsageError::new(format!("a density is above 0 and at most 1, not {density}")))
            }
            density => Ok(Form::Sparse { density }),
        },
        AdapterForm::LowRank => match command.rank {
            Some(rank) => Ok(Form::LowRank { rank: rank.get() }),
            None => Err(UsageError::new("`--as low-rank` needs `--rank R`")
                .hint("8 is a usual rank; the report says how much each one captures")),
        },
    }
}

fn print(output: &Output, terminal: &Terminal) -> std::io::Result<()> {
    let mut out = terminal.out();
    let mut table = Table::new(&["tensor", "shape", "stored", "numbers", "L2", "captured"]);
    for delta in &output.deltas {
        table.row(&[
            &delta.tensor,
            &delta.shape.to_string(),
            delta.stored,
            &delta.numbers.to_string(),
            &format!("{:.3e}", delta.l2),
            &format!("{:.2}%", delta.captured * 100.0),
        ]);
    }
    write!(out, "{}", table.render())?;
    let Output { adapter, bytes, deltas, .. } = output;
    writeln!(out, "{adapter}: {} deltas, {bytes} bytes", deltas.len())
}
