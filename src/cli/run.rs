//! `studbook run`: runs a plan and closes with what became of every candidate.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::args::{Args, Format};
use super::context::{Loaded, Terminal, load_to_work, now};
use super::exit::Exit;
use super::plan::print_gates;
use super::reporter::Reporter;
use crate::base::wording::count;
use crate::engine::execute::{Options, Report, Stopped, execute};
use crate::engine::failure::Fault;
use crate::engine::gates::{PendingGate, pending};
use crate::engine::outcome::{CandidateOutcome, Outcome, outcomes};
use crate::engine::resolve::Results;
use crate::engine::tried::{self as registered, Others};
use crate::pedigree::signing::refuse_revoked_keys;
use crate::pedigree::tried::{self, Elsewhere};
use crate::report::table::Table;

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// The plan file
    pub(super) plan: PathBuf,
    /// Start nothing new after the first failure; by default other candidates go on
    #[arg(long)]
    pub(super) fail_fast: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Serialize)]
struct Output<'a> {
    cycle: &'a str,
    stages: usize,
    executed: usize,
    cached: usize,
    failed: Vec<Failed<'a>>,
    stopped: Option<&'static str>,
    candidates: &'a [CandidateOutcome],
    pending_gates: &'a [PendingGate],
    /// Ledger entries of other plans of the cycle.
    other_plans: &'a [u64],
    /// Plans of other cycles that ask the same cases.
    same_cases: &'a [Elsewhere],
    records: String,
}

#[derive(Serialize)]
struct Failed<'a> {
    stage: &'a str,
    message: &'a str,
}

pub(super) fn run(args: &Args, command: &Run, terminal: &Terminal) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let loaded = load_to_work(args, &command.plan)?;
    loaded.warn(terminal)?;
    refuse_revoked_keys(&loaded.store)?;
    let options = Options {
        cores: args.threads.map_or_else(rayon::current_num_threads, std::num::NonZero::get),
        fail_fast: command.fail_fast,
        limit: Duration::from_secs(loaded.plan.budget.seconds),
        now,
    };
    let mut reporter = Reporter::new(&loaded.graph, terminal);
    let report = execute(&loaded.graph, &loaded.store, &options, &mut |progress| reporter.hear(&progress));
    reporter.finish();
    let report = report?;
    let candidates = outcomes(&loaded.plan, &loaded.graph, &loaded.store, &report.results, &report.ends)?;
    let gates =
        pending(&loaded.plan, &loaded.graph, &loaded.store, &report.results, &report.ends, &loaded.typed)?;
    let others = other_plans(&loaded, &report.results)?;
    let ended =
        Ended { loaded: &loaded, report: &report, candidates: &candidates, gates: &gates, others: &others };
    match command.format {
        Format::Json => json(&ended, terminal)?,
        Format::Text => text(&ended, start.elapsed(), terminal)?,
    }
    Ok(exit(&report, &candidates))
}

fn exit(report: &Report, candidates: &[CandidateOutcome]) -> Exit {
    let worst = report.failures.iter().map(|failure| failure.fault).max();
    match worst {
        Some(Fault::Bug) => Exit::Bug,
        Some(Fault::Tampering) => Exit::Unverified,
        _ if report.stopped == Some(Stopped::Interrupted) => Exit::Interrupted,
        Some(Fault::Environment) => Exit::Environment,
        Some(Fault::Loss) => Exit::Unverified,
        Some(Fault::Input) => Exit::StageFailed,
        None if report.stopped.is_some() => Exit::StageFailed,
        None if candidates.iter().any(undecided) => Exit::Pending,
        None => Exit::Complete,
    }
}

fn undecided(candidate: &CandidateOutcome) -> bool {
    matches!(candidate.outcome, Outcome::Pending | Outcome::Inconclusive)
}

fn stopped_word(stopped: Stopped) -> &'static str {
    match stopped {
        Stopped::Interrupted => "interrupted",
        Stopped::OutOfTime => "out of time",
    }
}

/// How it ended.
struct Ended<'a> {
    loaded: &'a Loaded,
    report: &'a Report,
    candidates: &'a [CandidateOutcome],
    gates: &'a [PendingGate],
    others: &'a Others,
}

fn json(ended: &Ended<'_>, terminal: &Terminal) -> anyhow::Result<()> {
    let Ended { loaded, report, candidates, gates, others } = *ended;
    let failed = report.failures.iter().map(|f| Failed { stage: &f.stage, message: &f.message }).collect();
    terminal.json(&Output {
        cycle: loaded.plan.cycle.name.as_str(),
        stages: loaded.graph.len(),
        executed: report.executed,
        cached: report.cached,
        failed,
        stopped: report.stopped.map(stopped_word),
        candidates,
        pending_gates: gates,
        other_plans: &others.here,
        same_cases: &others.elsewhere,
        records: loaded.store.view_folder(&loaded.plan.cycle.name).display().to_string(),
    })
}

fn text(ended: &Ended<'_>, took: Duration, terminal: &Terminal) -> anyhow::Result<()> {
    let Ended { loaded, report, candidates, gates, others } = *ended;
    let mut out = terminal.out();
    let cycle = &loaded.plan.cycle.name;
    writeln!(
        out,
        "{cycle}: {}, {} executed, {} cached, {} failed, {:.2} s",
        count(loaded.graph.len(), "stage"),
        report.executed,
        report.cached,
        report.failures.len(),
        took.as_secs_f64()
    )?;
    if let Some(stopped) = report.stopped {
        let why = match stopped {
            Stopped::Interrupted => "Interrupted.",
            Stopped::OutOfTime => "The budget's time is used up.",
        };
        writeln!(out, "{why} Finished stages are kept; run the same command to go on.")?;
    }
    writeln!(out)?;
    write!(out, "{}", candidate_table(candidates))?;
    print_others(&mut out, others)?;
    writeln!(out, "\nRecords: {}", loaded.store.view_folder(cycle).display())?;
    if !gates.is_empty() && report.stopped.is_none() {
        print_gates(&mut out, gates)?;
    }
    Ok(())
}

/// Other plans in the ledger, if gates ask what those may have asked.
pub(super) fn other_plans(loaded: &Loaded, results: &Results) -> anyhow::Result<Others> {
    if !registered::asks(&loaded.plan) {
        return Ok(Others::default());
    }
    let leaves = loaded.store.ledger()?.leaves()?;
    Ok(registered::others(&loaded.graph, &loaded.store, results, &leaves)?)
}

/// What the gates' corrections do not count, if there is anything.
pub(super) fn print_others(out: &mut impl Write, others: &Others) -> std::io::Result<()> {
    tried::told(&others.here, &others.elsewhere).map_or(Ok(()), |told| writeln!(out, "\n{told}."))
}

/// What became of every candidate.
pub(super) fn candidate_table(candidates: &[CandidateOutcome]) -> String {
    let mut table = Table::new(&["candidate", "outcome", "because"]);
    for candidate in candidates {
        table.row(&[candidate.candidate.as_str(), candidate.outcome.word(), &candidate.because]);
    }
    table.render()
}
