//! `studbook verify`: checks everything a cycle's records bind.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::args::{Args, Format};
use super::context::{Terminal, load_to_verify, now, plans_store, typed};
use super::exit::{Exit, UsageError};
use crate::base::diagnostic::Diagnostic;
use crate::base::digest::Digest;
use crate::base::name::Name;
use crate::dossier;
use crate::engine::verify::{Checked, Options, models_read, verify};
use crate::plan::{LoadError, cycle_of};
use crate::trust::Trust;

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// The plan file, or the folder of a dossier
    pub(super) plan: PathBuf,
    /// Run every operator again, ask every model again, and compare bytes; of a dossier, the model alone
    #[arg(long)]
    pub(super) recompute: bool,
    /// For a dossier: the trust file that says whose signatures count
    #[arg(long, value_name = "FILE")]
    pub(super) trust: Option<PathBuf>,
    /// For a dossier: your copy of the ledger's folder, which must extend the dossier's proofs
    #[arg(long, value_name = "FOLDER")]
    pub(super) ledger: Option<PathBuf>,
    /// Recompute only what is this candidate's
    #[arg(long, requires = "recompute", value_name = "NAME")]
    pub(super) candidate: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Serialize)]
struct Output<'a> {
    checked: usize,
    failed: usize,
    findings: &'a [Checked],
}

pub(super) fn run(args: &Args, command: &Verify, terminal: &Terminal) -> anyhow::Result<Exit> {
    let mut told = Told { command, terminal, written: Ok(()) };
    let findings = match command.plan.is_dir() {
        true => of_dossier(command, &mut told)?,
        false => of_plan(args, command, &mut told)?,
    };
    told.written?;
    let failed = findings.iter().filter(|checked| !checked.ok).count();
    if command.format == Format::Text {
        writeln!(terminal.out(), "\n{} checked, {failed} failed", findings.len())?;
    } else {
        terminal.json(&Output { checked: findings.len(), failed, findings: &findings })?;
    }
    if findings.is_empty() {
        let run = format!("run it first: studbook run {}", typed(args, &command.plan));
        return Err(UsageError::new("there is nothing to verify").hint(run).into());
    }
    Ok(if failed == 0 { Exit::Complete } else { Exit::Unverified })
}

/// Prints every finding as it is made.
struct Told<'a> {
    command: &'a Verify,
    terminal: &'a Terminal,
    written: std::io::Result<()>,
}

impl Told<'_> {
    fn tell(&mut self, checked: &Checked) {
        if self.command.format != Format::Text || (checked.ok && self.terminal.is_quiet()) {
            return;
        }
        let mark = match checked.ok {
            true => self.terminal.paint("  ok", Terminal::GREEN),
            false => self.terminal.paint("FAIL", Terminal::RED),
        };
        let line = writeln!(self.terminal.out(), "{mark}  {}: {}", checked.what, checked.finding);
        self.written = std::mem::replace(&mut self.written, Ok(())).and(line);
    }
}

fn of_dossier(command: &Verify, told: &mut Told<'_>) -> anyhow::Result<Vec<Checked>> {
    if command.candidate.is_some() {
        return Err(UsageError::new("a dossier is of one candidate: leave --candidate out").into());
    }
    let trust = command.trust.as_deref().map(Trust::load).transpose()?;
    let options = dossier::Options { trust, ledger: command.ledger.clone(), recompute: command.recompute };
    Ok(dossier::verify(&command.plan, &options, &mut |checked| told.tell(checked))?)
}

fn of_plan(args: &Args, command: &Verify, told: &mut Told<'_>) -> anyhow::Result<Vec<Checked>> {
    if command.trust.is_some() || command.ledger.is_some() {
        let error = UsageError::new("--trust and --ledger are for dossiers");
        return Err(error.hint("a plan's trust file and ledger lie beside it").into());
    }
    let loaded = match load_to_verify(args, &command.plan) {
        Ok(loaded) => loaded,
        Err(error) => return damaged(args, &error, told)?.ok_or(error),
    };
    let candidate = command.candidate.as_ref().map(|name| name.parse::<Name>()).transpose();
    let candidate = candidate.map_err(|error| UsageError::new(error.to_string()))?;
    if let Some(name) = &candidate
        && !loaded.plan.candidates.iter().any(|candidate| candidate.name == *name)
    {
        return Err(UsageError::new(format!("the plan has no candidate `{name}`")).into());
    }
    let options = Options { recompute: command.recompute, candidate, now: now() };
    Ok(verify(&loaded.graph, &loaded.store, &options, &mut |checked| told.tell(checked))?)
}

/// What is damaged, if a plan cannot be understood for nothing else: then nobody can tell what it makes. A file that
/// cannot be read any more is, once its stage has read it.
fn damaged(args: &Args, error: &anyhow::Error, told: &mut Told<'_>) -> anyhow::Result<Option<Vec<Checked>>> {
    let Some(LoadError::Plan(findings)) = error.downcast_ref::<LoadError>() else { return Ok(None) };
    let read = read_before(args, &findings.path)?;
    let bound = |found: &Diagnostic| found.read_by.as_deref().and_then(|stage| read.get(stage));
    let Some(mistakes) = findings.nothing_but(|found| found.damage || bound(found).is_some()) else {
        return Ok(None);
    };
    let rest = "nothing else was checked, for without it nobody can tell what the plan makes";
    let checked = |found: &&Diagnostic| match bound(found).filter(|_| !found.damage) {
        Some(bound) => Checked {
            what: found.read_by.as_deref().unwrap_or_default().to_owned(),
            ok: false,
            finding: format!(
                "{}; the record binds {bound}: put the file back from a copy; {rest}",
                found.message
            ),
        },
        None => {
            Checked { what: "parent".to_owned(), ok: false, finding: format!("{}; {rest}", found.message) }
        }
    };
    let all: Vec<Checked> = mistakes.iter().map(checked).collect();
    all.iter().for_each(|checked| told.tell(checked));
    Ok(Some(all))
}

/// The models that the sources of a plan's cycle are recorded to have read.
fn read_before(args: &Args, plan: &Path) -> anyhow::Result<BTreeMap<String, Digest>> {
    let Some(cycle) = cycle_of(plan)?.and_then(|cycle| cycle.parse::<Name>().ok()) else {
        return Ok(BTreeMap::new());
    };
    Ok(models_read(&plans_store(args, plan)?, &cycle)?)
}
