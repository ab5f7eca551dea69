//! What another harness found, brought with `studbook attest`: its own files, as they were.

use serde::{Deserialize, Serialize};

use super::Record;
use crate::base::digest::Sha256;
use crate::base::name::Name;

/// Results and samples of lm-evaluation-harness for one model and one suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalEvidence {
    /// The suite.
    pub suite: Name,
    /// The candidate's manifest or the parent's source record: no other model is meant.
    pub manifest: Sha256,
    /// The results file.
    pub results: String,
    /// The samples file.
    pub samples: String,
    /// Who brought it. Unsigned: a name, not a proof.
    pub by: String,
}

impl Record for ExternalEvidence {
    const TYPE: &'static str = "urn:studbook:external-evidence:v1";
}
