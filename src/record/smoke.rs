//! Part 6: Runtime smoke: the artifact was loaded and run. It proves that it executes, not that it is good.

use serde::{Deserialize, Serialize};

use super::Record;
use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;

/// One native run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeSmoke {
    /// Who ran.
    pub subject: Evaluated,
    /// What ran it.
    pub runtime: String,
    /// Every prompt.
    pub prompts: Vec<PromptRun>,
    /// Length of the model.
    pub artifact_bytes: u64,
    /// Bytes of key and value cache for one full context.
    pub cache_bytes: u64,
    /// What a passed smoke may claim.
    pub quality_claim: String,
    /// Why the model was not run at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot_run: Option<String>,
    /// Whether all went well.
    pub passed: bool,
}

/// A model under test: the record that introduced it and its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluated {
    /// Its name in the cycle.
    pub name: Name,
    /// SHA-256 of its candidate manifest or source record; of a trial on the way to a candidate, of its
    /// receipt.
    pub manifest: Sha256,
    /// SHA-256 of its bytes.
    pub artifact: Sha256,
}

/// One prompt, run twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptRun {
    /// What was asked.
    pub prompt: String,
    /// Whether all logits were finite.
    pub finite: bool,
    /// Whether the second run gave the same tokens and the same bits.
    pub deterministic: bool,
    /// The greedy tokens.
    pub tokens: Vec<u32>,
    /// Their text.
    pub text: String,
    /// Digest of the logits after the prompt, little-endian f32.
    pub logits: Option<Digest>,
    /// What went wrong, if anything.
    pub error: Option<String>,
}

/// Characters of a prompt in a complaint.
const SHOWN: usize = 24;

impl PromptRun {
    /// What is wrong with the run; nothing if all went well.
    pub fn complaint(&self) -> Option<String> {
        let what = if let Some(error) = &self.error {
            error.as_str()
        } else if !self.finite {
            "logits that are not finite"
        } else if !self.deterministic {
            "other logits the second time"
        } else {
            return None;
        };
        // A long prompt would hide what is wrong behind it.
        let shown: String = self.prompt.chars().take(SHOWN).collect();
        let cut = if shown.len() < self.prompt.len() { "..." } else { "" };
        Some(format!("the prompt {shown:?}{cut}: {what}"))
    }
}

impl Record for RuntimeSmoke {
    const TYPE: &'static str = "urn:studbook:runtime-smoke:v1";
}
