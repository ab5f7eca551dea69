//! Roles, and the kinds of record each may sign.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Algorithm;

/// What a key is for. Each has its own key: separate duties need separate secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Makes artifacts, and says from what and how.
    Producer,
    /// Runs and measures models.
    Evaluator,
    /// Judges by the declared gates; admits and refuses.
    Promoter,
    /// A person who approves.
    Approver,
    /// Signs the ledger's checkpoints.
    Log,
    /// Publishes the registry.
    Registry,
    /// Co-signs checkpoints it found consistent with what it saw before.
    Witness,
    /// Signs exported folders as the OpenSSF model signature asks for: with ECDSA P-256.
    Model,
}

/// A kind of thing that is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Claim {
    /// A source artifact record.
    Source,
    /// A compatibility report.
    Compatibility,
    /// An operator receipt.
    Receipt,
    /// A candidate manifest.
    Candidate,
    /// A runtime smoke.
    Smoke,
    /// An evaluation sidecar.
    Evaluation,
    /// A promotion template.
    Promotion,
    /// An admission record.
    Admission,
    /// A person's approval.
    Approval,
    /// A population review.
    Review,
    /// A parent-pool recipe.
    Pool,
    /// A built registry.
    Release,
    /// A ledger checkpoint.
    Checkpoint,
    /// A witness's signature on a checkpoint.
    Cosignature,
    /// A signature over every file of a dossier.
    Model,
}

impl Role {
    /// Every role, in the order of its declaration.
    pub const ALL: [Self; 8] = [
        Self::Producer,
        Self::Evaluator,
        Self::Promoter,
        Self::Approver,
        Self::Log,
        Self::Registry,
        Self::Witness,
        Self::Model,
    ];

    /// Its word in files and commands.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Evaluator => "evaluator",
            Self::Promoter => "promoter",
            Self::Approver => "approver",
            Self::Log => "log",
            Self::Registry => "registry",
            Self::Witness => "witness",
            Self::Model => "model",
        }
    }

    /// The role with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }

    /// How its keys sign.
    pub const fn algorithm(self) -> Algorithm {
        match self {
            Self::Model => Algorithm::P256,
            _ => Algorithm::Ed25519,
        }
    }

    /// What it may sign.
    pub const fn claims(self) -> &'static [Claim] {
        match self {
            Self::Producer => &[Claim::Source, Claim::Compatibility, Claim::Receipt, Claim::Candidate],
            Self::Evaluator => &[Claim::Smoke, Claim::Evaluation],
            Self::Promoter => &[Claim::Promotion, Claim::Admission, Claim::Review, Claim::Pool],
            Self::Approver => &[Claim::Approval],
            Self::Log => &[Claim::Checkpoint],
            Self::Registry => &[Claim::Release],
            Self::Witness => &[Claim::Cosignature],
            Self::Model => &[Claim::Model],
        }
    }
}

impl Claim {
    /// Its word in the trust file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Compatibility => "compatibility",
            Self::Receipt => "receipt",
            Self::Candidate => "candidate",
            Self::Smoke => "smoke",
            Self::Evaluation => "evaluation",
            Self::Promotion => "promotion",
            Self::Admission => "admission",
            Self::Approval => "approval",
            Self::Review => "review",
            Self::Pool => "pool",
            Self::Release => "release",
            Self::Checkpoint => "checkpoint",
            Self::Cosignature => "cosignature",
            Self::Model => "model",
        }
    }

    /// The one role that signs it.
    pub fn role(self) -> Role {
        let signs = |role: &Role| role.claims().contains(&self);
        Role::ALL.into_iter().find(signs).expect("every claim is some role's")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_claim_is_signed_by_two_roles() {
        let mut all: Vec<Claim> = Role::ALL.iter().flat_map(|role| role.claims()).copied().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        for claim in all {
            assert!(claim.role().claims().contains(&claim));
        }
    }

    #[test]
    fn words_are_what_serde_writes() {
        for role in Role::ALL {
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
            assert_eq!(Role::from_word(role.word()), Some(role));
            for claim in role.claims() {
                assert_eq!(serde_json::to_string(claim).unwrap(), format!("\"{}\"", claim.word()));
            }
        }
    }
}
