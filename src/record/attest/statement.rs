//! in-toto Statement v1: subjects by digest, and what is said of them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::digest::Sha256;

/// The type of every statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// A statement. Its members are those of the standard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// What it is about.
    pub subject: Vec<Descriptor>,
    /// What the predicate means.
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// What is said.
    pub predicate: Value,
}

/// A thing by name and digest. Only the digest decides what is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// What people call it.
    pub name: String,
    /// Its digest.
    pub digest: DigestSet,
}

/// SHA-256 only: what every in-toto tool and every browser knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigestSet {
    /// Lower-case hexadecimal.
    pub sha256: Sha256,
}

impl Descriptor {
    /// A named thing.
    pub fn new(name: impl Into<String>, sha256: Sha256) -> Self {
        Self { name: name.into(), digest: DigestSet { sha256 } }
    }
}

impl Statement {
    /// A statement about `subject`.
    pub fn new(subject: Vec<Descriptor>, predicate_type: &str, predicate: Value) -> Self {
        Self {
            kind: STATEMENT_TYPE.to_owned(),
            subject,
            predicate_type: predicate_type.to_owned(),
            predicate,
        }
    }
}

/// A thing by name and digest within a predicate.
pub(super) fn described(name: &str, sha256: Sha256) -> Value {
    json!({ "name": name, "digest": { "sha256": sha256 } })
}
