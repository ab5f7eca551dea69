//! What a browser answered: evidence for a `browser_smoke` gate, brought with `studbook smoke --browser`.
//!
//! It says what was seen, not whether that is right: the gate compares it with the native smoke itself.

use serde::{Deserialize, Serialize};

use super::Record;
use super::smoke::Evaluated;
use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;

/// One run in one browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrowserSmoke {
    /// The gate.
    pub gate: Name,
    /// Who ran.
    pub subject: Evaluated,
    /// Its lineage template, which bound the gates: no other policy is meant.
    pub lineage: Sha256,
    /// Name and version of the browser.
    pub browser: String,
    /// SHA-256 of the WebAssembly module.
    pub runtime: Sha256,
    /// Every prompt.
    pub prompts: Vec<BrowserPrompt>,
}

/// One prompt, run once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrowserPrompt {
    /// What was asked.
    pub prompt: String,
    /// The greedy tokens.
    pub tokens: Vec<u32>,
    /// Their text.
    pub text: String,
    /// Digest of the logits after the prompt, little-endian f32; none if no token followed.
    pub logits: Option<Digest>,
}

impl Record for BrowserSmoke {
    const TYPE: &'static str = "urn:studbook:browser-smoke:v1";
}
