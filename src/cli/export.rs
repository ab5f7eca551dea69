//! `studbook export`: a candidate's whole dossier as one folder.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::args::Args;
use super::attest::find_candidate;
use super::context::{Loaded, Terminal, in_order, load};
use super::exit::Exit;
use crate::base::shell;
use crate::base::wording::count;
use crate::dossier;
use crate::engine::preview::preview;
use crate::model::overwrite;
use crate::plan::resolved::Origin;

#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// The plan file
    pub(super) plan: PathBuf,
    /// The candidate, admitted or refused
    pub(super) candidate: String,
    /// The folder to write
    #[arg(long, value_name = "FOLDER")]
    pub(super) out: PathBuf,
    /// Replace the dossier that is there
    #[arg(long)]
    pub(super) force: bool,
}

pub(super) fn run(args: &Args, command: &Export, terminal: &Terminal) -> anyhow::Result<Exit> {
    in_order("export", Some(&command.plan), &command.candidate, "CANDIDATE")?;
    let loaded = load(args, &command.plan)?;
    overwrite::check(&command.out, read_for(&loaded, &command.plan))?;
    let candidate = &find_candidate(&loaded, &command.candidate)?.name;
    let results = preview(&loaded.graph, &loaded.store)?.results;
    let (graph, store, out) = (&loaded.graph, &loaded.store, &command.out);
    let exported = dossier::export(graph, store, &results, candidate, out, command.force)?;
    let signed = match exported.signed {
        0 => "nothing is signed".to_owned(),
        n => count(n, "signed statement"),
    };
    writeln!(
        terminal.out(),
        "{}: {}, {} bytes of model, {signed}\nCheck it with: studbook verify {}",
        out.display(),
        count(exported.files as usize, "file"),
        exported.model_bytes,
        shell::path(out)
    )?;
    Ok(Exit::Complete)
}

/// The plan, its store, and what it names: a dossier that was exported earlier may hold a parent of today.
fn read_for<'a>(loaded: &'a Loaded, plan: &'a Path) -> Vec<&'a Path> {
    let models = loaded.plan.parents.iter().filter_map(|parent| match &parent.origin {
        Origin::File { model, .. } => Some(model.as_path()),
        Origin::Pool { .. } => None,
    });
    let cases = loaded.plan.suites.iter().filter_map(|suite| suite.cases.as_deref());
    [plan, loaded.store.root()].into_iter().chain(models).chain(cases).collect()
}
