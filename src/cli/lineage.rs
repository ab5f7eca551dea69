//! `studbook lineage`: a candidate's pedigree.

use std::io::Write;

use super::args::{Args, Lineage, LineageFormat};
use super::context::{Terminal, existing_store, in_order};
use super::exit::{Exit, UsageError};
use crate::base::digest::Sha256;
use crate::base::nearest::nearest;
use crate::pedigree::{Pedigree, Revoked};

pub(super) fn run(args: &Args, command: &Lineage, terminal: &Terminal) -> anyhow::Result<Exit> {
    in_order("lineage", command.plan.as_deref(), &command.candidate, "CANDIDATE")?;
    let store = existing_store(args, command.plan.as_deref())?;
    let ledger = store.unsigned_ledger()?;
    ledger.refuse_led_back()?;
    let pedigree = Pedigree::load(&store)?;
    let mut ancestry = pedigree.ancestry(the_candidate(&pedigree, &command.candidate)?)?;
    ancestry.mark(&pedigree, &*Revoked::of(&ledger)?, &store);
    match command.format {
        LineageFormat::Text => write!(terminal.out(), "{}", ancestry.text())?,
        LineageFormat::Mermaid => write!(terminal.out(), "{}", ancestry.mermaid())?,
        LineageFormat::Json => terminal.json(&ancestry)?,
    }
    Ok(Exit::Complete)
}

/// The one candidate a person means. Of several made under one name, the one that was admitted.
pub(super) fn the_candidate(pedigree: &Pedigree, wanted: &str) -> anyhow::Result<Sha256> {
    let found = pedigree.find(wanted);
    let admitted = |manifest: &&Sha256| pedigree.verdict(**manifest) == "admitted";
    let chosen: Vec<Sha256> = if found.len() > 1 && found.iter().any(|found| admitted(&found)) {
        found.iter().filter(admitted).copied().collect()
    } else {
        found
    };
    match chosen.as_slice() {
        [one] => Ok(*one),
        [] => {
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
            Err(error.hint(format!("give the digest of one: {shown}")).into())
        }
    }
}
