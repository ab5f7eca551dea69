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
