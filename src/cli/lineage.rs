//! `studbook lineage`: a candidate's pedigree.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::args::Args;
use super::context::{Terminal, existing_store, in_order};
use super::exit::{Exit, UsageError};
use crate::base::digest::Sha256;
use crate::base::nearest::nearest;
use crate::pedigree::{Pedigree, Revoked};
use crate::plan::cycle_of;

#[derive(Debug, clap::Args)]
#[command(allow_missing_positional = true)]
pub(super) struct Lineage {
    /// A plan whose store holds it; `.studbook` here by default
    pub(super) plan: Option<PathBuf>,
    /// The candidate: its name, CYCLE/NAME, or the beginning of its manifest's or artifact's digest
    pub(super) candidate: String,
    /// How to print
    #[arg(long, value_enum, default_value_t = LineageFormat::Text)]
    pub(super) format: LineageFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LineageFormat {
    /// A tree for people
    Text,
    /// For Markdown pages
    Mermaid,
    /// For programs
    Json,
}

pub(super) fn run(args: &Args, command: &Lineage, terminal: &Terminal) -> anyhow::Result<Exit> {
    in_order("lineage", command.plan.as_deref(), &command.candidate, "CANDIDATE")?;
    let store = existing_store(args, command.plan.as_deref())?;
    let ledger = store.unsigned_ledger()?;
    ledger.refuse_led_back()?;
    let pedigree = Pedigree::load(&store)?;
    let mut ancestry =
        pedigree.ancestry(the_candidate(&pedigree, &command.candidate, command.plan.as_deref())?)?;
    ancestry.mark(&pedigree, &*Revoked::of(&ledger)?, &store);
    match command.format {
        LineageFormat::Text => write!(terminal.out(), "{}", ancestry.text())?,
        LineageFormat::Mermaid => write!(terminal.out(), "{}", ancestry.mermaid())?,
        LineageFormat::Json => terminal.json(&ancestry)?,
    }
    Ok(Exit::Complete)
}

/// The one candidate a person means: with a plan, one of its cycle. Of several that a cycle made under one name,
/// the one that was admitted.
pub(super) fn the_candidate(
    pedigree: &Pedigree,
    wanted: &str,
    plan: Option<&Path>,
) -> anyhow::Result<Sha256> {
    let mut found = pedigree.find(wanted);
    let cycle = |manifest: &Sha256| pedigree.manifests[manifest].cycle.as_str();
    let by_name = found.iter().any(|found| pedigree.manifests[found].candidate.as_str() == wanted);
    if by_name && let Some(plan) = plan.map(cycle_of).transpose()?.flatten() {
        if !found.iter().any(|manifest| cycle(manifest) == plan) {
            if let Some(lost) = pedigree.lost(wanted, Some(&plan)) {
                return Err(lost.into());
            }
            let others = found.iter().map(|manifest| format!("{}/{wanted}", cycle(manifest)));
            let others: BTreeSet<String> = others.collect();
            let error = UsageError::new(format!("the cycle `{plan}` has no candidate {wanted:?}"));
            let others = others.into_iter().collect::<Vec<_>>().join(", ");
            return Err(error.hint(format!("the store has {others}")).into());
        }
        found.retain(|manifest| cycle(manifest) == plan);
    }
    // Names are told apart by their cycles, never by what became of somebody.
    let of_one_cycle = found.windows(2).all(|pair| cycle(&pair[0]) == cycle(&pair[1]));
    let admitted = |manifest: &&Sha256| pedigree.verdict(**manifest) == "admitted";
    let chosen: Vec<Sha256> = if of_one_cycle && found.iter().any(|found| admitted(&found)) {
        found.iter().filter(admitted).copied().collect()
    } else {
        found
    };
    match chosen.as_slice() {
        [one] => Ok(*one),
        [] => {
            let cycle = plan.map(cycle_of).transpose()?.flatten();
            if let Some(lost) = pedigree.lost(wanted, cycle.as_deref()) {
                return Err(lost.into());
            }
            let error = UsageError::new(format!("the store has no candidate {wanted:?}"));
            let names = pedigree.manifests.values().map(|body| body.candidate.as_str());
            Err(match nearest(wanted, names) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint("give a name, CYCLE/NAME, or eight or more digits of a digest"),
            }
            .into())
        }
        several => {
            let shown = several.iter().map(|manifest| {
                let body = &pedigree.manifests[manifest];
                format!("{}/{} {}", body.cycle, body.candidate, manifest.short())
            });
            let error = UsageError::new(format!("{wanted:?} is the name of {} candidates", several.len()));
            let shown = shown.collect::<Vec<_>>().join(", ");
            let what = if of_one_cycle { "the digest of one" } else { "CYCLE/NAME, or the digest of one" };
            Err(error.hint(format!("give {what}: {shown}")).into())
        }
    }
}
