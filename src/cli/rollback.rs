//! `studbook rollback`: the registry's default goes back to an earlier admission.

use std::io::Write;

use super::args::Args;
use super::context::{Terminal, existing_store};
use super::exit::{Exit, UsageError};
use super::lineage::the_candidate;
use super::revoke::{Retire as Rollback, enter, reason};
use crate::base::digest::Sha256;
use crate::ledger::{EntryKind, Leaf, refusal_of};
use crate::pedigree::{Decided, Pedigree, Revoked, Tracer};
use crate::record::candidate::CandidateManifest;
use crate::record::revocation;
use crate::registry::line_of;
use crate::store::Store;

pub(super) fn run(args: &Args, command: &Rollback, terminal: &Terminal) -> anyhow::Result<Exit> {
    let store = existing_store(args, command.plan.as_deref())?;
    let pedigree = Pedigree::load(&store)?;
    let subject = the_candidate(&pedigree, &command.candidate, command.plan.as_deref())?;
    let body = &pedigree.manifests[&subject];
    let leaves = store.ledger()?.leaves()?;
    let shown = format!("{}/{} {}", body.cycle, body.candidate, subject.short());
    if let Some(why) = unfit(&store, &pedigree, (subject, body), &leaves)? {
        let error = UsageError::new(format!("nothing goes back to {shown}: {why}"));
        return Err(error.hint("name an earlier admission: studbook ledger log").into());
    }
    let line = line_of(&body.cycle, &leaves);
    let from = *line.last().expect("it was admitted, so it is in the line");
    if from == subject {
        return Err(UsageError::new(format!("{shown} is the last admission already")).into());
    }
    let decisions = [EntryKind::Admission, EntryKind::Rollback];
    let made = |leaf: &&Leaf| leaf.subject == Some(from) && decisions.contains(&leaf.kind);
    let follows = leaves.iter().rev().find(made).expect("something made it the default").index;
    let rollback = revocation::Rollback { subject, from, follows, reason: reason(&command.reason)? };
    let index = enter(&store, &pedigree, EntryKind::Rollback, subject, &rollback)?;
    let mut out = terminal.out();
    writeln!(out, "ledger entry {index}: the default of {} goes back to {shown}", body.cycle)?;
    writeln!(out, "the registry shows it when it is built again: studbook registry build PLAN")?;
    Ok(Exit::Complete)
}

/// Why nothing may go back to a candidate; none if it may.
fn unfit(
    store: &Store,
    pedigree: &Pedigree,
    (subject, body): (Sha256, &CandidateManifest),
    leaves: &[Leaf],
) -> anyhow::Result<Option<String>> {
    let admitted = |leaf: &Leaf| leaf.kind == EntryKind::Admission && leaf.subject == Some(subject);
    if !leaves.iter().any(admitted) {
        return Ok(Some("the ledger never admitted it".to_owned()));
    }
    if let Some(refusal) = refusal_of(subject, leaves) {
        return Ok(Some(format!("ledger entry {} refuses it", refusal.index)));
    }
    let revoked = Revoked::of(&store.ledger()?)?;
    let retired = Decided::of(store)?.retired(&body.cycle, body.artifact.sha256)?;
    if let Some(entry) = revoked.retired.get(&subject).copied().or(retired) {
        return Ok(Some(format!("ledger entry {entry} retires it")));
    }
    let mut tracer = Tracer::new(pedigree, &revoked, store);
    let taint = tracer.candidate(subject, body)?;
    Ok(taint.map(|taint| tracer.told(&taint)))
}
