//! `studbook registry`: makes the folder for browsers, and serves it here.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;

use super::args::{Args, Format};
use super::context::{Loaded, Terminal, interruption, load, now};
use super::exit::{Exit, UsageError};
use super::run::Run;
use crate::base::name::Name;
use crate::base::wording::count;
use crate::disk::IoContext;
use crate::engine::preview::preview;
use crate::ledger;
use crate::pedigree::{Pedigree, Revoked, Tracer};
use crate::record::{self, registry::SelectorRegistry};
use crate::registry::paths::FOLDERS;
use crate::registry::serve::{Folder, Serving};
use crate::registry::tuf::{Keys, Published};
use crate::registry::{self, CheckedRegistry, RegistryError, Selector};
use crate::stage::{Kind, registry_folder};
use crate::store::Store;
use crate::trust::Trust;

#[derive(Debug, clap::Args)]
pub(super) struct Command {
    #[command(subcommand)]
    pub(super) command: RegistryCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum RegistryCommand {
    /// Run a plan as far as its registry and say where it is
    Build(RegistryOf),
    /// Serve a plan's registry on 127.0.0.1, until Ctrl-C
    Serve(RegistryServe),
}

#[derive(Debug, clap::Args)]
pub(super) struct RegistryOf {
    /// The plan file
    pub(super) plan: PathBuf,
    /// Copy the folder here, for a web server
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct RegistryServe {
    /// The plan file, or the folder of a registry
    pub(super) plan: PathBuf,
    /// The port; 0 takes a free one
    #[arg(long, default_value_t = 8320, value_name = "PORT")]
    pub(super) port: u16,
}

pub(super) fn run(args: &Args, command: &Command, terminal: &Terminal) -> anyhow::Result<Exit> {
    match &command.command {
        RegistryCommand::Build(of) => build(args, of, terminal),
        RegistryCommand::Serve(command) => serve(args, command, terminal),
    }
}

/// The registry is the last stage of a plan: what is there already is not made again.
fn build(args: &Args, of: &RegistryOf, terminal: &Terminal) -> anyhow::Result<Exit> {
    let run = Run { plan: of.plan.clone(), fail_fast: false, format: Format::Text };
    let exit = super::run::run(args, &run, terminal)?;
    let loaded = load(args, &of.plan)?;
    let folder = folder_of(&loaded)?;
    let custody = loaded.store.custody();
    let (checked, published) = whole(&folder, custody.trust())?;
    let place = match &of.out {
        Some(out) => {
            copy(&folder, out)?;
            whole(out, custody.trust())?;
            out
        }
        None => &folder,
    };
    let mut out = terminal.out();
    let models = count(checked.selector.entries.len(), "model");
    writeln!(out, "registry: {models}, {} bytes, {}", checked.model_bytes, place.display())?;
    for (name, why) in left_out(&loaded)? {
        writeln!(out, "left out: {name}, {why}")?;
    }
    if let Some(default) = &checked.selector.default {
        writeln!(out, "default: {default}")?;
    }
    let why = match (published, Keys::of(custody)?, &loaded.plan.registry.expires) {
        (Some(published), ..) => {
            let (version, expires) = (published.version, &published.expires);
            writeln!(out, "signed metadata: version {version}, until {expires}")?;
            return Ok(exit);
        }
        (None, None, _) => "there is no registry key (studbook keys new registry)",
        (None, Some(_), None) => "the plan has no `expires` under [registry]",
        (None, Some(_), Some(_)) => "it was built before there was a key",
    };
    writeln!(out, "signed metadata: none, {why}; nothing tells how old this registry may be")?;
    Ok(exit)
}

/// Who was admitted and is not in the registry, and why.
fn left_out(loaded: &Loaded) -> anyhow::Result<Vec<(Name, String)>> {
    let preview = preview(&loaded.graph, &loaded.store)?;
    let stage = loaded.graph.find(&format!("{}:{}", Kind::Registry.name(), loaded.plan.cycle.name));
    let made = stage.and_then(|index| preview.results[index.index()].as_ref());
    let Some(blob) = made.and_then(|made| made.record()) else { return Ok(Vec::new()) };
    let record: SelectorRegistry = record::from_bytes(&loaded.store.read(&blob.digest)?)?;
    Ok(record.left_out)
}

/// Everything a folder must be to be offered, and that nothing lies beside it.
fn whole(
    folder: &Path,
    trust: Option<&Trust>,
) -> Result<(CheckedRegistry, Option<Published>), RegistryError> {
    let checked = registry::check(folder)?;
    let entries = registry::snapshot::check(folder, &checked.selector)?;
    let published = registry::tuf::check(folder, trust, entries, &now())?;
    registry::nothing_else(folder, &checked.selector, published.as_ref())?;
    Ok((checked, published))
}

fn folder_of(loaded: &Loaded) -> anyhow::Result<PathBuf> {
    let folder = registry_folder(&loaded.store, &loaded.plan.cycle.name);
    if folder.join("selector.json").is_file() {
        return Ok(folder);
    }
    let error = UsageError::new(format!("the cycle `{}` has no registry yet", loaded.plan.cycle.name));
    Err(error.hint(format!("make it first: studbook registry build {}", loaded.typed)).into())
}

/// Copies the files of a registry, which was checked, into a new folder or an empty one.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).at("create the folder", to)?;
    if std::fs::read_dir(to).at("list", to)?.next().is_some() {
        let error = UsageError::new(format!("{} is not empty", to.display()));
        return Err(error.hint("name a new folder").into());
    }
    for folder in FOLDERS {
        let folder = to.join(folder);
        std::fs::create_dir_all(&folder).at("create the folder", &folder)?;
    }
    for path in registry::files(from)? {
        let target = to.join(&path);
        let folder = target.parent().expect("it is inside of the folder");
        std::fs::create_dir_all(folder).at("create the folder", folder)?;
        std::fs::copy(from.join(&path), &target).at("copy to", &target)?;
    }
    Ok(())
}

/// What the ledger has taken back since the registry was built, itself or something that it descends from.
fn taken_back(store: &Store, selector: &Selector) -> anyhow::Result<Vec<(Name, String)>> {
    let log = store.ledger()?;
    let (leaves, pedigree, revoked) = (log.leaves()?, Pedigree::load(store)?, Revoked::of(&log)?);
    let mut tracer = Tracer::new(&pedigree, &revoked, store);
    let mut found = Vec::new();
    for entry in &selector.entries {
        let leaf = usize::try_from(entry.ledger_index).ok().and_then(|at| leaves.get(at));
        let own = leaf.and_then(|leaf| ledger::taken_back(leaf, &leaves));
        let why = match (own, pedigree.manifests.get(&entry.manifest)) {
            (Some(own), _) => Some(format!("ledger entry {} took it back", own.index)),
            (None, Some(body)) => {
                let taint = tracer.candidate(entry.manifest, body)?;
                taint.map(|taint| tracer.told(&taint))
            }
            (None, None) if revoked.is_empty() => None,
            (None, None) => Some(
                "its manifest cannot be read in this store, so nobody can tell whether what the ledger takes \
                 back reaches it"
                    .to_owned(),
            ),
        };
        found.extend(why.map(|why| (entry.id.clone(), why)));
    }
    Ok(found)
}

fn serve(args: &Args, command: &RegistryServe, terminal: &Terminal) -> anyhow::Result<Exit> {
    // What is not what it says is not offered.
    let (folder, (checked, _)) = if command.plan.is_dir() {
        if !command.plan.join("selector.json").is_file() {
            let error = UsageError::new(format!("{} is no registry", command.plan.display()));
            return Err(error.hint("make one: studbook registry build PLAN --out FOLDER").into());
        }
        (command.plan.clone(), whole(&command.plan, None)?)
    } else {
        let loaded = load(args, &command.plan)?;
        let folder = folder_of(&loaded)?;
        let found = whole(&folder, loaded.store.custody().trust())?;
        for (name, why) in taken_back(&loaded.store, &found.0.selector)? {
            let again = format!("studbook registry build {}", loaded.typed);
            terminal.warn(&format!("`{name}` is offered, but {why}; build the registry again: {again}"))?;
        }
        (folder, found)
    };
    let stop = interruption()?;
    let content = Folder::of_registry(&folder)?;
    let serving = Serving::start(Arc::new(content), command.port)?;
    let mut out = terminal.out();
    let models = count(checked.selector.entries.len(), "model");
    writeln!(out, "{models} at {} until Ctrl-C", serving.url())?;
    out.flush()?;
    serving.wait(&*stop);
    Ok(Exit::Complete)
}
