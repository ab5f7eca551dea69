//! `studbook attest`: brings an approval for a pending gate.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::args::Args;
use super::context::{Loaded, Terminal, in_order, load_to_work};
use super::exit::{Exit, UsageError};
use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;
use crate::base::nearest::nearest;
use crate::engine::gates::promotion_of;
use crate::engine::preview::preview;
use crate::engine::resolve::Results;
use crate::ledger::refusal_of;
use crate::pedigree::signing::refuse_revoked;
use crate::plan::{Candidate, Gate, GateRule};
use crate::record;
use crate::record::approval::{Approval, SignedApprovals};
use crate::record::attest::Bundle;
use crate::record::promotion::Decision;
use crate::stage::Kind;
use crate::trust::Role;
use crate::trust::keyring::read_secret;

#[derive(Debug, clap::Args)]
pub(super) struct Attest {
    /// The plan file
    pub(super) plan: PathBuf,
    /// The candidate; for a suite, a parent too
    pub(super) candidate: String,
    /// The approval gate
    #[arg(long, required_unless_present = "suite", conflicts_with = "suite")]
    pub(super) gate: Option<String>,
    /// Instead of a gate: the external suite that results are brought for
    #[arg(long, requires = "results", requires = "samples")]
    pub(super) suite: Option<String>,
    /// The results file of lm-evaluation-harness
    #[arg(long, value_name = "JSON", requires = "suite")]
    pub(super) results: Option<PathBuf>,
    /// Its samples file
    #[arg(long, value_name = "JSONL", requires = "suite")]
    pub(super) samples: Option<PathBuf>,
    /// Who approves, or brings
    #[arg(long, value_name = "NAME")]
    pub(super) by: String,
    /// Why
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) reason: String,
    /// Sign it with this approver's key; a gate that names keys counts nothing else
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// Reject instead of approve
    #[arg(long)]
    pub(super) reject: bool,
}

pub(super) fn run(args: &Args, command: &Attest, terminal: &Terminal) -> anyhow::Result<Exit> {
    in_order("attest", Some(&command.plan), &command.candidate, "CANDIDATE")?;
    if let Some(suite) = &command.suite {
        return super::external::run(args, command, suite, terminal);
    }
    let loaded = load_to_work(args, &command.plan)?;
    let candidate = find_candidate(&loaded, &command.candidate)?;
    let gate = find_gate(&loaded, candidate, command.gate.as_deref().unwrap_or_default())?;
    if command.by.trim().is_empty() {
        return Err(UsageError::new("an approval needs a name").hint("give one with --by NAME").into());
    }
    let preview = preview(&loaded.graph, &loaded.store)?;
    let not_made = || {
        UsageError::new(format!("`{}` is not there to be approved yet", candidate.name))
            .hint(format!("run it first: studbook run {}", loaded.typed))
    };
    // After one approval of several the promotion is still to be decided again: that is no hindrance.
    not_refused(&loaded, &preview.results, &candidate.name, "no approval changes")?;
    let record = |kind| recorded(&loaded, &preview.results, kind, &candidate.name).ok_or_else(not_made);
    let (blake3, manifest) = record(Kind::Candidate)?;
    let (_, lineage) = record(Kind::Lineage)?;
    let approval = Approval {
        gate: gate.name.clone(),
        manifest,
        lineage,
        approve: !command.reject,
        by: command.by.clone(),
        reason: command.reason.clone(),
    };
    let document = match &command.key {
        None if demands_signature(gate) => {
            let error = UsageError::new(format!("the gate `{}` counts signed approvals only", gate.name));
            return Err(error.hint("sign it with --key KEY").into());
        }
        None => record::to_bytes(&approval)?,
        Some(key) => signed(&loaded, &blake3, gate, &approval, key)?,
    };
    loaded.store.bring(&blake3, &gate.name, &document)?;
    let verb = if command.reject { "rejected" } else { "approved" };
    writeln!(
        terminal.out(),
        "{}: {verb} at the gate {} by {}\nGo on with: studbook run {}",
        candidate.name,
        gate.name,
        command.by,
        loaded.typed
    )?;
    Ok(Exit::Complete)
}

/// Nothing is brought for a candidate that was refused, by what is there now or by the ledger.
pub(super) fn not_refused(
    loaded: &Loaded,
    results: &Results,
    candidate: &Name,
    nothing_changes: &str,
) -> anyhow::Result<()> {
    let refused = |why: &str| {
        let error = UsageError::new(format!("`{candidate}` was refused{why}; {nothing_changes} that"));
        Err(error.hint("what is made by another plan is another candidate").into())
    };
    let promotion = promotion_of(&loaded.graph, &loaded.store, results, candidate)?;
    if promotion.is_some_and(|promotion| promotion.decision == Decision::Refuse) {
        return refused("");
    }
    let manifest = recorded(loaded, results, Kind::Candidate, candidate).map(|(_, manifest)| manifest);
    let leaves = loaded.store.ledger()?.leaves()?;
    match manifest.and_then(|manifest| refusal_of(manifest, &leaves)) {
        Some(refusal) => refused(&format!(" by ledger entry {}", refusal.index)),
        None => Ok(()),
    }
}

fn demands_signature(gate: &Gate) -> bool {
    matches!(&gate.rule, GateRule::Approval(approval) if !approval.keys.is_empty())
}

/// The approval beside those that others signed for this gate, if its key is one of the gate's.
fn signed(
    loaded: &Loaded,
    manifest: &Digest,
    gate: &Gate,
    approval: &Approval,
    key: &Path,
) -> anyhow::Result<Vec<u8>> {
    let key = read_secret(key)?;
    let public = key.public().to_base64();
    let keys: &[_] = match &gate.rule {
        GateRule::Approval(rule) => &rule.keys,
        GateRule::Metric(_) | GateRule::BrowserSmoke => &[],
    };
    if !keys.iter().any(|trusted| trusted.public == public) {
        let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        let error = UsageError::new(format!("the gate `{}` does not name that key", gate.name));
        return Err(match names.as_slice() {
            [] => error.hint("it counts anybody's word: leave --key out"),
            _ => error.hint(format!("it counts the keys of {}", names.join(", "))),
        }
        .into());
    }
    refuse_revoked(&loaded.store, Role::Approver, key.public().id())?;
    let brought = loaded.store.brought(manifest, &gate.name)?;
    let brought = brought.and_then(|brought| record::from_bytes::<SignedApprovals>(&brought.bytes).ok());
    let mut all = brought.unwrap_or_default();
    all.add(Bundle::sign(&approval.statement()?, &key)?);
    Ok(record::to_bytes(&all)?)
}

pub(super) fn find_candidate<'a>(loaded: &'a Loaded, name: &str) -> anyhow::Result<&'a Candidate> {
    let known = || loaded.plan.candidates.iter();
    known().find(|candidate| candidate.name.as_str() == name).ok_or_else(|| {
        let error = UsageError::new(format!("the plan has no candidate `{name}`"));
        let near = nearest(name, known().map(|candidate| candidate.name.as_str()));
        match near {
            Some(near) => error.hint(format!("did you mean `{near}`?")).into(),
            None => error.into(),
        }
    })
}

fn find_gate<'a>(loaded: &'a Loaded, candidate: &Candidate, name: &str) -> anyhow::Result<&'a Gate> {
    let approvals: Vec<&Gate> = loaded
        .plan
        .gates
        .iter()
        .filter(|gate| gate.is_for(candidate) && matches!(gate.rule, GateRule::Approval(_)))
        .collect();
    if let Some(gate) = approvals.iter().find(|gate| gate.name.as_str() == name) {
        return Ok(gate);
    }
    let names: Vec<&str> = approvals.iter().map(|gate| gate.name.as_str()).collect();
    let error = UsageError::new(format!("`{}` has no approval gate `{name}`", candidate.name));
    let hint = if names.is_empty() {
        "it has no approval gates; measured gates are satisfied by running".to_owned()
    } else {
        format!("its approval gates: {}", names.join(", "))
    };
    Err(error.hint(hint).into())
}

/// The record of a candidate's stage: its digest in the store and in evidence.
fn recorded(loaded: &Loaded, results: &Results, kind: Kind, candidate: &Name) -> Option<(Digest, Sha256)> {
    let index = loaded.graph.find(&format!("{}:{candidate}", kind.name()))?;
    let blob = results[index.index()].as_ref()?.record()?;
    let bytes = loaded.store.read(&blob.digest).ok()?;
    Some((blob.digest, Sha256::of(&bytes)))
}
