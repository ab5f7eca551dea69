//! Part 5: Candidate manifest: binds artifact, identity, lineage and receipt. Its SHA-256 is the
//! candidate's identity from here on.

use serde::{Deserialize, Serialize};

use super::{Record, Subject};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::model::identity::Identity;

/// A candidate, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CandidateManifest {
    /// The cycle.
    pub cycle: Name,
    /// Its name there.
    pub candidate: Name,
    /// The model's file, or the list of the files of a folder.
    pub artifact: Subject,
    /// Its format.
    pub format: String,
    /// What it is.
    pub identity: Identity,
    /// What was promised.
    pub lineage: Sha256,
    /// What was done.
    pub receipt: Sha256,
    /// Union of its ancestors' licences.
    pub licences: Vec<String>,
    /// Union of the data its ancestors declared.
    pub data: Vec<String>,
    /// What may be said of it.
    pub claims: Claims,
}

/// What may be said of an artifact, in the words of its first users' sidecars.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// `converted-trained` if every ancestor is, else `undeclared`.
    pub source_kind: String,
    /// What a runtime smoke may claim.
    pub quality_claim: String,
    /// What may be claimed of its training: nothing, here.
    pub trained_quality_claim: String,
}

impl Claims {
    /// The claims of an artifact that has not been evaluated.
    pub fn unevaluated(trained: bool) -> Self {
        Self {
            source_kind: if trained { "converted-trained" } else { "undeclared" }.to_owned(),
            quality_claim: "runtime-execution-smoke-only".to_owned(),
            trained_quality_claim: "not-claimed".to_owned(),
        }
    }
}

impl Record for CandidateManifest {
    const TYPE: &'static str = "urn:studbook:candidate-manifest:v2";
}
