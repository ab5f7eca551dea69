//! What is taken back, no longer offered, or gone back to, and why. The ledger entry that binds one makes it count.

use serde::{Deserialize, Serialize};

use super::Record;
use crate::base::digest::Sha256;

/// Something that was found to be bad: it, and all that descends from it, is not to be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// `candidate`, `source`, `artifact`, `suite`, `cases`, `key`, `dataset`, `admission`, or `unknown` to this store.
    pub what: String,
    /// Its digest: of a data set, the SHA-256 of its declared name; of a key, its id; of cases, what is asked in
    /// whatever order.
    pub subject: Sha256,
    /// The declared name, of a data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Why.
    pub reason: String,
}

impl Record for Revocation {
    const TYPE: &'static str = "urn:studbook:revocation:v1";
}

/// A candidate that is no longer offered, without blame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retirement {
    /// Its manifest.
    pub subject: Sha256,
    /// Why.
    pub reason: String,
}

impl Record for Retirement {
    const TYPE: &'static str = "urn:studbook:retirement:v1";
}

/// A registry's default goes back to an earlier admission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// The manifest of the candidate gone back to.
    pub subject: Sha256,
    /// The manifest of the default that is left.
    pub from: Sha256,
    /// The ledger entry of the decision that made that the default: going back twice is two decisions.
    pub follows: u64,
    /// Why.
    pub reason: String,
}

impl Record for Rollback {
    const TYPE: &'static str = "urn:studbook:rollback:v1";
}
