//! Signed approvals, counted: one for each key that a gate names, none for a key that was taken back.

use serde::Deserialize;
use serde_json::Value;

use super::taint::{Revoked, Taint};
use super::{Pedigree, PedigreeError};
use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;
use crate::record::approval::{Approval, SignedApprovals};
use crate::record::candidate::CandidateManifest;
use crate::record::{self, Record};
use crate::store::Store;
use crate::trust::{Claim, PublicKey, Trust};

/// What approvers said at a gate.
#[derive(Debug, Default)]
pub struct Counted {
    /// The keys that agreed, each once.
    pub agreed: Vec<String>,
    /// The first that did not, and why.
    pub rejected: Option<(String, String)>,
    /// What does not count, and why.
    pub refused: Vec<String>,
}

/// Counts keys, not signatures: whoever signed twice agreed once. One that rejects ends the count.
pub fn counted(
    brought: &SignedApprovals,
    trust: &Trust,
    revoked: &Revoked,
    is_ours: &dyn Fn(&Approval) -> bool,
) -> Counted {
    let mut counted = Counted::default();
    for bundle in &brought.bundles {
        let (statement, key) = match bundle.verify(trust, Claim::Approval, Approval::TYPE) {
            Ok(found) => found,
            Err(error) => {
                counted.refused.push(error.to_string());
                continue;
            }
        };
        let name = key.name.to_string();
        if let Some(entry) = revoked.subjects.get(&key.public.id()) {
            counted.refused.push(format!("the key `{name}` was revoked by ledger entry {entry}"));
            continue;
        }
        let said = serde_json::from_value::<Approval>(statement.predicate.clone()).ok();
        let said =
            said.filter(|said| said.statement().is_ok_and(|again| again == statement) && is_ours(said));
        match said {
            None => counted.refused.push(format!("`{name}` signed for another candidate, gate or lineage")),
            Some(said) if !said.approve => {
                counted.rejected = Some((name, said.reason));
                break;
            }
            Some(_) if counted.agreed.contains(&name) => {
                counted.refused.push(format!("`{name}` is there twice"));
            }
            Some(_) => counted.agreed.push(name),
        }
    }
    counted
}

/// A gate that counts signatures, as a lineage binds it.
#[derive(Deserialize)]
struct Bound {
    name: Name,
    keys: Vec<Key>,
    threshold: u64,
}

#[derive(Deserialize)]
struct Key {
    name: Name,
    public: String,
}

/// The gates of a lineage that count signatures; others have no keys.
fn bound(gates: &Value) -> impl Iterator<Item = Bound> {
    gates.as_array().into_iter().flatten().filter_map(|gate| {
        let mut rule = gate.pointer("/rule/approval")?.clone();
        rule.as_object_mut()?.insert("name".to_owned(), gate.get("name")?.clone());
        serde_json::from_value(rule).ok()
    })
}

/// The key that was taken back and without which a candidate would not have passed an approval gate. Where
/// what was brought is gone, too, nobody can show that an admitted one would.
pub(super) fn unapproved(
    pedigree: &Pedigree,
    revoked: &Revoked,
    store: &Store,
    sha256: Sha256,
    body: &CandidateManifest,
) -> Result<Option<Taint>, PedigreeError> {
    let Some(lineage) = pedigree.lineages.get(&body.lineage) else { return Ok(None) };
    for gate in bound(&lineage.gates) {
        let id = |key: &Key| PublicKey::from_base64(&key.public).ok().map(|public| public.id());
        let how = format!("it was approved at the gate `{}` by key", gate.name);
        let Some(taint) = gate.keys.iter().filter_map(id).find_map(|id| revoked.hit(id, &how)) else {
            continue;
        };
        let keys = gate.keys.into_iter().map(|key| (key.name, key.public));
        // What cannot be counted was not approved by anybody else.
        let (Ok(trust), Ok(manifest)) = (Trust::in_approvers(keys), record::to_bytes(body)) else {
            return Ok(Some(taint));
        };
        let brought = store.brought(&Digest::of(&manifest), &gate.name)?;
        let brought = brought.and_then(|brought| record::from_bytes::<SignedApprovals>(&brought.bytes).ok());
        let brought = brought.unwrap_or_default();
        let is_ours = |said: &Approval| {
            said.gate == gate.name && said.manifest == sha256 && said.lineage == body.lineage
        };
        let enough = |revoked: &Revoked| {
            counted(&brought, &trust, revoked, &is_ours).agreed.len() as u64 >= gate.threshold
        };
        if !enough(revoked) && (revoked.admitted.contains_key(&sha256) || enough(&Revoked::default())) {
            return Ok(Some(taint));
        }
    }
    Ok(None)
}
