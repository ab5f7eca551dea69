//! `studbook export`: a candidate's whole dossier as one folder.

use std::io::Write;

use super::args::{Args, Export};
use super::attest::find_candidate;
use super::context::{Terminal, in_order, load};
use super::exit::Exit;
use crate::dossier;
use crate::engine::preview::preview;

pub(super) fn run(args: &Args, command: &Export, terminal: &Terminal) -> anyhow::Result<Exit> {
    in_order("export", Some(&command.plan), &command.candidate, "CANDIDATE")?;
    let loaded = load(args, &command.plan)?;
    let candidate = &find_candidate(&loaded, &command.candidate)?.name;
    let results = preview(&loaded.graph, &loaded.store)?.results;
    let (graph, store, out) = (&loaded.graph, &loaded.store, &command.out);
    let exported = dossier::export(graph, store, &results, candidate, out, command.force)?;
    let signed = match exported.signed {
        0 => "nothing is signed".to_owned(),
        n => format!("{n} signed statements"),
    };
    writeln!(
        terminal.out(),
        "{}: {} files, {} bytes of model, {signed}\nCheck it with: studbook verify {}",
        out.display(),
        exported.files,
        exported.model_bytes,
        out.display()
    )?;
    Ok(Exit::Complete)
}
