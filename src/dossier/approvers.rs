//! Who approved: the keys whose signatures open a gate, held against those that the reader trusts.
//!
//! The plan named its approvers, and the lineage binds their keys. That enough of them signed is derived again with
//! the promotion; whose keys they are, only the reader's trust file tells, and what became of them since, only the
//! ledger.

use serde::Deserialize;
use serde_json::Value;

use super::evidence::Evidence;
use crate::base::name::Name;
use crate::ledger::{EntryKind, Leaf};
use crate::pedigree::Revoked;
use crate::pedigree::approvals::counted;
use crate::record;
use crate::record::approval::{Approval, SignedApprovals};
use crate::trust::{Claim, PublicKey, Trust};

/// What a lineage binds of a gate that somebody opens.
#[derive(Deserialize)]
struct Rule {
    #[serde(default)]
    keys: Vec<Key>,
    #[serde(default)]
    threshold: u64,
}

#[derive(Deserialize)]
struct Key {
    name: Name,
    public: String,
}

/// The gates of the candidate that somebody opens, by name.
fn gates(evidence: &Evidence) -> Result<Vec<(Name, Rule)>, String> {
    let mut found = Vec::new();
    for gate in evidence.lineage().body.gates.as_array().into_iter().flatten() {
        let Some(rule) = gate.pointer("/rule/approval") else { continue };
        let name = gate.get("name").and_then(Value::as_str).unwrap_or_default();
        let name: Name = name.parse().map_err(|error| format!("a gate of the lineage: {error}"))?;
        let rule = Rule::deserialize(rule).map_err(|error| format!("the gate `{name}`: {error}"))?;
        found.push((name, rule));
    }
    Ok(found)
}

/// A finding for every gate that somebody opens; `trust` is what the reader brought. The reason is a sentence.
pub(super) fn check(evidence: &Evidence, trust: Option<&Trust>) -> Vec<(String, Result<String, String>)> {
    let gates = match gates(evidence) {
        Ok(gates) => gates,
        Err(why) => return vec![("approvers".to_owned(), Err(why))],
    };
    let found = gates.iter().filter_map(|(gate, rule)| {
        let found = match trust {
            Some(trust) => believed(gate, rule, trust).transpose()?,
            None if rule.keys.is_empty() => return None,
            None => Ok(format!("{}, as the plan says of them (--trust)", counts(rule, &names(rule)))),
        };
        Some((format!("approvers of {gate}"), found))
    });
    found.collect()
}

fn names(rule: &Rule) -> Vec<String> {
    rule.keys.iter().map(|key| format!("`{}`", key.name)).collect()
}

fn counts(rule: &Rule, names: &[String]) -> String {
    format!("{} of the signatures of {}", rule.threshold, names.join(", "))
}

/// Every key that the gate counts is an approver's whom the reader knows, by whatever name. Where the reader knows
/// approvers, a gate that takes anybody's word is not theirs.
fn believed(gate: &Name, rule: &Rule, trust: &Trust) -> Result<Option<String>, String> {
    if rule.keys.is_empty() {
        if trust.for_claim(Claim::Approval).next().is_none() {
            return Ok(None);
        }
        return Err(format!(
            "a key for approval records is trusted, but the gate `{gate}` takes approvals that nobody signed"
        ));
    }
    let mut names = Vec::with_capacity(rule.keys.len());
    for Key { name, public } in &rule.keys {
        let wrong = |why: String| format!("the gate `{gate}` counts the signature of `{name}`: {why}");
        let public = PublicKey::from_base64(public).map_err(|why| wrong(format!("its key {why}")))?;
        let known = trust.allowed(public.id(), Claim::Approval).map_err(|error| wrong(error.to_string()))?;
        names.push(format!("`{}`", known.name));
    }
    Ok(Some(format!("{}, all in the trust file", counts(rule, &names))))
}

/// Why a candidate that was admitted would not be any more: too few approvals are left at a gate without the keys
/// that the ledger takes back. The reason is a sentence.
pub(super) fn lost(evidence: &Evidence, leaves: &[Leaf]) -> Result<Option<String>, String> {
    if !evidence.admission.body.admitted {
        return Ok(None);
    }
    let revoking = leaves.iter().filter(|leaf| leaf.kind == EntryKind::Revocation);
    let subjects = revoking.filter_map(|leaf| Some((leaf.subject?, leaf.index))).collect();
    let revoked = Revoked { subjects, ..Revoked::default() };
    for (gate, rule) in gates(evidence)? {
        let hit = rule.keys.iter().find_map(|key| {
            let id = PublicKey::from_base64(&key.public).ok()?.id();
            Some((&key.name, revoked.subjects.get(&id)?))
        });
        if let Some((name, entry)) = hit
            && agreed(evidence, &gate, &rule, &revoked)? < rule.threshold
        {
            return Ok(Some(format!(
                "ledger entry {entry} revokes the key `{name}`, and without it the gate `{gate}` has too few approvals"
            )));
        }
    }
    Ok(None)
}

/// How many keys agreed at a gate that were not taken back.
fn agreed(evidence: &Evidence, gate: &Name, rule: &Rule, revoked: &Revoked) -> Result<u64, String> {
    let keys = rule.keys.iter().map(|key| (key.name.clone(), key.public.clone()));
    let trust = Trust::in_approvers(keys).map_err(|why| format!("the gate `{gate}`: {why}"))?;
    let brought =
        evidence.brought.get(gate).and_then(|bytes| record::from_bytes::<SignedApprovals>(bytes).ok());
    let (manifest, lineage) = (evidence.manifest().subject.sha256, evidence.lineage().subject.sha256);
    let is_ours =
        |said: &Approval| said.gate == *gate && said.manifest == manifest && said.lineage == lineage;
    Ok(counted(&brought.unwrap_or_default(), &trust, revoked, &is_ours).agreed.len() as u64)
}
