//! Part 13: Selector registry: the admitted models a browser may be offered.

use serde::{Deserialize, Serialize};

use super::Record;
use crate::base::digest::Sha256;
use crate::base::name::Name;

/// What the registry folder was built to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectorRegistry {
    /// The cycle.
    pub cycle: Name,
    /// SHA-256 of `selector.json`.
    pub selector: Sha256,
    /// Largest model it takes.
    pub budget_bytes: u64,
    /// Who is in it: name, manifest, admission.
    pub entries: Vec<RegistryRow>,
    /// Admitted candidates that do not fit, and why.
    pub left_out: Vec<(Name, String)>,
}

/// One admitted candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryRow {
    /// Its name.
    pub candidate: Name,
    /// Its manifest.
    pub manifest: Sha256,
    /// Its admission.
    pub admission: Sha256,
    /// SHA-256 of the model file.
    pub artifact: Sha256,
}

impl Record for SelectorRegistry {
    const TYPE: &'static str = "urn:studbook:selector-registry:v1";
}

/// A registry as it was published with signed metadata: what, with the ledger, determines every byte of it.
/// It is entered in the ledger, so that nobody's older registry can pass for the newest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryRelease {
    /// The cycle.
    pub cycle: Name,
    /// The ledger entry of the publication before, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<u64>,
    /// SHA-256 of `selector.json`.
    pub selector: Sha256,
    /// The digest of the page.
    pub page: Sha256,
    /// The keys of which one must have signed the ledger's checkpoint.
    pub log_keys: Vec<Sha256>,
    /// The key that signs it, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_signer: Option<Sha256>,
    /// Until when the metadata holds.
    pub expires: String,
    /// SHA-256 of every root of the metadata, oldest first.
    pub roots: Vec<Sha256>,
}

impl Record for RegistryRelease {
    const TYPE: &'static str = "urn:studbook:registry-release:v1";
}
