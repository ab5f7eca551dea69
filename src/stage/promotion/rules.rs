//! What gates ask, as the plan states it.

use serde::{Deserialize, Serialize};

use crate::base::name::Name;
use crate::stage::rival::Rival;

/// A gate as the plan states it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GateParams {
    pub(crate) name: Name,
    pub(crate) rule: Rule,
}

/// What it asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Rule {
    Metric(MetricRule),
    Approval(ApprovalRule),
    BrowserSmoke,
}

/// Somebody who must agree, by name or by signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovalRule {
    pub(crate) statement: String,
    /// Whose signatures count: name and public key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) keys: Vec<ApprovalKey>,
    #[serde(default)]
    pub(crate) threshold: u64,
}

/// A key that may approve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovalKey {
    pub(crate) name: Name,
    pub(crate) public: String,
}

/// A number that must lie somewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetricRule {
    pub(crate) metric: String,
    pub(crate) suites: Vec<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) versus: Option<Rival>,
    pub(crate) margin: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) confidence: Option<f64>,
}
