//! What commands share: the terminal, the store of a plan, the clock.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use super::args::{Args, Color};
use super::exit::UsageError;
use crate::base::shell;
use crate::engine::compile::compile;
use crate::engine::graph::StageGraph;
use crate::engine::interrupt::Interrupts;
use crate::model::huggingface::code;
use crate::plan::{self, Findings, Plan};
use crate::store::{self, Store};
use crate::trust::Custody;

/// Standard output and error, in colour or not.
pub(super) struct Terminal {
    choice: ColorChoice,
    quiet: bool,
}

/// A child that names programs it does not have would fail to load without a word.
pub(super) fn warn_of_missing_code(folder: &Path, terminal: &Terminal) -> std::io::Result<()> {
    let missing = code::missing(folder);
    if missing.is_empty() {
        return Ok(());
    }
    let (files, out) = (missing.join(", "), folder.display());
    let what = "programs are not carried; look at them and copy them from the model you trust";
    terminal.warn(&format!("{out} names code of its own, {files}, which is not in it: {what}"))
}

impl Terminal {
    pub(super) const RED: &'static str = "\x1b[1;31m";
    pub(super) const GREEN: &'static str = "\x1b[32m";
    pub(super) const YELLOW: &'static str = "\x1b[33m";
    pub(super) const CYAN: &'static str = "\x1b[36m";
    pub(super) const DIM: &'static str = "\x1b[2m";

    pub(super) fn new(color: Color, quiet: bool) -> Self {
        let choice = match color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        Self { choice, quiet }
    }

    /// Where data goes. Escapes are removed if it is not a terminal.
    pub(super) fn out(&self) -> impl Write {
        AutoStream::new(std::io::stdout(), self.choice)
    }

    /// Where talk goes.
    pub(super) fn err(&self) -> impl Write {
        AutoStream::new(std::io::stderr(), self.choice)
    }

    /// What a person should know though the command succeeds.
    pub(super) fn warn(&self, message: &str) -> std::io::Result<()> {
        writeln!(self.err(), "{} {message}", self.paint("warning:", Self::YELLOW))
    }

    pub(super) fn paint(&self, text: &str, colour: &str) -> String {
        format!("{colour}{text}\x1b[0m")
    }

    /// Whether diagnostics may be coloured.
    pub(super) fn colour(&self) -> bool {
        match self.choice {
            ColorChoice::Auto => AutoStream::choice(&std::io::stderr()) != ColorChoice::Never,
            choice => choice != ColorChoice::Never,
        }
    }

    /// Whether a moving progress bar makes sense.
    pub(super) fn is_live(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal() && std::env::var_os("STUDBOOK_NO_PROGRESS").is_none()
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Prints a value as JSON.
    pub(super) fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        let mut out = self.out();
        writeln!(out, "{}", serde_json::to_string_pretty(value)?)?;
        Ok(())
    }
}

/// Where the results of a plan are kept.
pub(super) fn store_path(args: &Args, plan: Option<&Path>) -> PathBuf {
    if let Some(store) = &args.store {
        return store.clone();
    }
    let folder = plan.and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).join(".studbook")
}

/// A plan in a command that is printed. A folder that a variable names, it will name again.
pub(super) fn typed(args: &Args, plan: &Path) -> String {
    let mut typed = shell::path(plan);
    let folders = [("--store", "STUDBOOK_STORE", &args.store), ("--keys", "STUDBOOK_KEYS", &args.keys)];
    for (flag, variable, folder) in folders {
        let Some(folder) = folder else { continue };
        if std::env::var_os(variable).is_none_or(|named| named != folder.as_os_str()) {
            typed += &format!(" {flag} {}", shell::path(folder));
        }
    }
    typed
}

/// The keys and the trust file of a plan: those in its folder, unless another folder of keys is named.
pub(super) fn custody(args: &Args, plan: Option<&Path>) -> anyhow::Result<Custody> {
    let folder = plan.and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
    Ok(Custody::of(folder.unwrap_or(Path::new(".")), args.keys.as_deref())?)
}

/// The store of a plan, or the one here, which must be there.
pub(super) fn existing_store(args: &Args, plan: Option<&Path>) -> anyhow::Result<Store> {
    let path = store_path(args, plan);
    // A folder of somebody else is none: nothing is kept in it.
    if !store::is_there(&path) {
        let error = UsageError::new(format!("there is no store at {}", path.display()));
        return Err(error.hint("name the plan, or the store with --store DIR").into());
    }
    Ok(Store::open(&path)?.kept_by(custody(args, plan)?))
}

/// That a plan and something of it came in this order, the plan first. `command` is what was called, such
/// as `why`; `what` is what comes after the plan.
pub(super) fn in_order(command: &str, plan: Option<&Path>, other: &str, what: &str) -> anyhow::Result<()> {
    let is_plan = |path: &Path| path.extension().is_some_and(|end| end == "toml") && path.is_file();
    if !is_plan(Path::new(other)) || plan.is_some_and(is_plan) {
        return Ok(());
    }
    let error = match plan {
        Some(plan) => UsageError::new(format!("{other} is a plan and {} is none", plan.display()))
            .hint(format!("the plan comes first: studbook {command} {other} {}", plan.display())),
        None => UsageError::new(format!("{other} is a plan, and no {what} is named"))
            .hint(format!("studbook {command} {other} {what}")),
    };
    Err(error.into())
}

/// A plan with its graph and its store.
pub(super) struct Loaded {
    pub(super) plan: Plan,
    /// Nothing but warnings.
    pub(super) findings: Findings,
    pub(super) graph: StageGraph,
    pub(super) store: Arc<Store>,
    /// The plan, and the folders that were named with it, as a person types them again.
    pub(super) typed: String,
}

/// Loads a plan to look at it. Writes nothing. A ledger that was led back is refused: decisions are missing
/// from it, and what was taken back since would stand again.
pub(super) fn load(args: &Args, path: &Path) -> anyhow::Result<Loaded> {
    let store = plans_store(args, path)?;
    store.unsigned_ledger()?.refuse_led_back()?;
    loaded(args, path, store)
}

/// Loads a plan for whoever finds out what is wrong with its ledger. If the plan cannot be understood because
/// it asks that ledger, this is what is wrong.
pub(super) fn load_to_verify(args: &Args, path: &Path) -> anyhow::Result<Loaded> {
    loaded(args, path, plans_store(args, path)?).or_else(|_| load(args, path))
}

pub(super) fn plans_store(args: &Args, path: &Path) -> anyhow::Result<Store> {
    Ok(Store::open(&store_path(args, Some(path)))?.kept_by(custody(args, Some(path))?))
}

fn loaded(args: &Args, path: &Path, store: Store) -> anyhow::Result<Loaded> {
    let (plan, findings) = plan::load(path, &store)?;
    let graph = compile(&plan);
    Ok(Loaded { plan, findings, graph, store: Arc::new(store), typed: typed(args, path) })
}

impl Loaded {
    /// Says what the plan probably does not mean. Commands that judge or run a plan do; those that
    /// only look something up do not.
    pub(super) fn warn(&self, terminal: &Terminal) -> anyhow::Result<()> {
        if !self.findings.diagnostics.is_empty() && !terminal.is_quiet() {
            writeln!(terminal.err(), "{}", self.findings.render(terminal.colour()))?;
        }
        Ok(())
    }
}

/// Like [`load`], and makes the store if there is none, once the plan is known to be right.
pub(super) fn load_to_work(args: &Args, path: &Path) -> anyhow::Result<Loaded> {
    let loaded = load(args, path)?;
    loaded.store.make()?;
    Ok(loaded)
}

/// The stage a person names; an unknown one gets the nearest known.
pub(super) fn find_stage(graph: &StageGraph, id: &str) -> anyhow::Result<crate::engine::graph::StageIndex> {
    if let Some(index) = graph.find(id) {
        return Ok(index);
    }
    let known = graph.order.iter().map(|index| graph.node(*index).id.as_str());
    let near = crate::base::nearest::nearest(id, known);
    let error = UsageError::new(format!("the plan has no stage `{id}`"));
    Err(match near {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("`studbook plan PLAN` lists every stage"),
    }
    .into())
}

/// Listens for Ctrl-C and SIGTERM from now on: what it gives back says whether one came.
pub(super) fn interruption() -> anyhow::Result<Box<dyn Fn() -> bool + Send + Sync>> {
    use std::sync::atomic::{AtomicBool, Ordering};
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Not on the thread: it may begin after the caller has told people that it is ready.
    let interrupts = {
        let _on_it = runtime.enter();
        Interrupts::listen()?
    };
    let heard = stop.clone();
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || runtime.block_on(interrupts.tell(|| heard.store(true, Ordering::Relaxed))))?;
    Ok(Box::new(move || stop.load(Ordering::Relaxed)))
}

/// RFC 3339 now, in whole seconds. `STUDBOOK_NOW` sets it, for runs that must give the same ledger.
pub(super) fn now() -> String {
    if let Ok(given) = std::env::var("STUDBOOK_NOW")
        && let Ok(time) = given.parse::<jiff::Timestamp>()
    {
        return time.to_string();
    }
    jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).expect("now is a time").to_string()
}
