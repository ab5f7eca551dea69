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
    /// `runtime-execution-smoke-only`, or that gates on bound suites were passed.
    pub quality_claim: String,
    /// What may be claimed of its training: `not-claimed`, or which gates were passed.
    pub trained_quality_claim: String,
}

/// The source kind of weights that were trained.
pub const TRAINED: &str = "converted-trained";

impl Claims {
    /// The claims of an artifact that has not been evaluated.
    pub fn unevaluated(trained: bool) -> Self {
        Self {
            source_kind: if trained { TRAINED } else { "undeclared" }.to_owned(),
            quality_claim: "runtime-execution-smoke-only".to_owned(),
            trained_quality_claim: "not-claimed".to_owned(),
        }
    }

    /// Whether its weights were trained, as all its ancestors declare.
    pub fn is_trained(&self) -> bool {
        self.source_kind == TRAINED
    }

    /// The claims of an admitted candidate that passed these gates on suites its lineage bound. Without
    /// any it has only been run, and weights that nobody trained have no trained quality.
    pub fn passed(self, gates: &[&str]) -> Self {
        if gates.is_empty() {
            return self;
        }
        let trained = self.is_trained();
        Self {
            quality_claim: "passed-gates-on-bound-suites".to_owned(),
            trained_quality_claim: match trained {
                true => format!("passed-gates: {}", gates.join(", ")),
                false => self.trained_quality_claim,
            },
            source_kind: self.source_kind,
        }
    }
}

impl Record for CandidateManifest {
    const TYPE: &'static str = "urn:studbook:candidate-manifest:v2";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trained_quality_is_claimed_of_trained_weights_that_passed_gates_and_of_nothing_else() {
        let smoke = Claims::unevaluated(true);
        assert_eq!(smoke.quality_claim, "runtime-execution-smoke-only");
        assert_eq!(smoke.clone().passed(&[]), smoke, "no gate, no words");
        let passed = smoke.passed(&["better"]);
        assert_eq!(passed.trained_quality_claim, "passed-gates: better");
        let undeclared = Claims::unevaluated(false).passed(&["better"]);
        assert_eq!(undeclared.trained_quality_claim, "not-claimed", "nobody said that it was trained");
    }
}
