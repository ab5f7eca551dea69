//! Part 1: Source artifact: a model or an adapter that was opened, validated, and is now known by its
//! digests.

use serde::{Deserialize, Serialize};

use super::{Record, Subject};
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::model::ListedFile;
use crate::model::adapter::AdapterIdentity;
use crate::model::identity::Identity;

/// A parent as it entered the cycle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceArtifact {
    /// What the plan calls it.
    pub name: Name,
    /// `base` or `parent`.
    pub role: String,
    /// The file, or the list of the files of a folder.
    pub artifact: Subject,
    /// The files of a folder, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ListedFile>,
    /// The format it was read as.
    pub format: String,
    /// What decides whether a model fits others; an adapter has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// What decides whether an adapter fits its model; a model has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterFacts>,
    /// What its own checksum said.
    pub checksum: String,
    /// What is known of its making.
    pub origin: Origin,
}

/// What is known of an adapter by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterFacts {
    /// The parent whose model it is added to.
    pub adapts: Name,
    /// The five fields that model must have.
    pub identity: AdapterIdentity,
    /// Tensors it changes.
    pub deltas: u64,
    /// Numbers stored for them.
    pub numbers: u64,
}

/// Where a source comes from, as far as anybody declared it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// `converted-trained`, `deterministic-smoke`, `admitted-candidate` or `undeclared`.
    pub source_kind: String,
    /// Licences, sorted.
    pub licences: Vec<String>,
    /// Declared training data, sorted.
    pub data: Vec<String>,
    /// The trained-source manifest or the candidate manifest that says so.
    pub manifest: Option<Sha256>,
    /// The cycle a pool parent was bred in.
    pub cycle: Option<Name>,
}

impl Record for SourceArtifact {
    const TYPE: &'static str = "urn:studbook:source-artifact:v1";
}
