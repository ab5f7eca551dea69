//! `studbook verify`: checks everything a cycle's records bind.

use std::io::Write;

use serde::Serialize;

use super::args::{Args, Format, Verify};
use super::context::{Terminal, load, now};
use super::exit::{Exit, UsageError};
use crate::base::name::Name;
use crate::engine::verify::{Checked, Options, verify};

#[derive(Serialize)]
struct Output<'a> {
    checked: usize,
    failed: usize,
    findings: &'a [Checked],
}

pub(super) fn run(args: &Args, command: &Verify, terminal: &Terminal) -> anyhow::Result<Exit> {
    let loaded = load(args, &command.plan)?;
    let candidate = command.candidate.as_ref().map(|name| name.parse::<Name>()).transpose();
    let candidate = candidate.map_err(|error| UsageError::new(error.to_string()))?;
    if let Some(name) = &candidate
        && !loaded.plan.candidates.iter().any(|candidate| candidate.name == *name)
    {
        return Err(UsageError::new(format!("the plan has no candidate `{name}`")).into());
    }
    let options = Options { recompute: command.recompute, candidate, now: now() };
    let mut told = Vec::new();
    let text = command.format == Format::Text;
    let mut tell = |checked: &Checked| {
        if text && (!checked.ok || !terminal.is_quiet()) {
            let mark = if checked.ok {
                terminal.paint("  ok", Terminal::GREEN)
            } else {
                terminal.paint("FAIL", Terminal::RED)
            };
            told.push(writeln!(terminal.out(), "{mark}  {}: {}", checked.what, checked.finding));
        }
    };
    let findings = verify(&loaded.graph, &loaded.store, &options, &mut tell)?;
    told.into_iter().collect::<Result<(), _>>()?;
    let failed = findings.iter().filter(|checked| !checked.ok).count();
    if text {
        writeln!(terminal.out(), "\n{} checked, {failed} failed", findings.len())?;
    } else {
        terminal.json(&Output { checked: findings.len(), failed, findings: &findings })?;
    }
    if findings.is_empty() {
        let run = format!("run it first: studbook run {}", command.plan.display());
        return Err(UsageError::new("there is nothing to verify").hint(run).into());
    }
    Ok(if failed == 0 { Exit::Complete } else { Exit::Unverified })
}
