//! Part 12: Parent-pool recipe: whom a later cycle may start from.

use serde::{Deserialize, Serialize};

use super::{Record, Subject};
use crate::base::digest::Sha256;
use crate::base::name::Name;

/// The selection behind a pool fragment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParentPoolRecipe {
    /// The cycle that selected.
    pub cycle: Name,
    /// The review it selected by.
    pub review: Sha256,
    /// How it selected.
    pub rule: String,
    /// The selected, best first: name and manifest.
    pub selected: Vec<(Name, Sha256)>,
    /// Who was passed over, and why.
    pub passed_over: Vec<(Name, String)>,
    /// The TOML fragment that the next plan names.
    pub fragment: Subject,
}

impl Record for ParentPoolRecipe {
    const TYPE: &'static str = "urn:studbook:parent-pool-recipe:v1";
}
