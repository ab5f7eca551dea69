//! Part 9: Admission record: written only when every gate passed; otherwise a refusal with its reasons.

use serde::{Deserialize, Serialize};

use super::Record;
use super::candidate::Claims;
use crate::base::digest::Sha256;
use crate::base::name::Name;

/// The end of a candidate's way through the gates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmissionRecord {
    /// The cycle.
    pub cycle: Name,
    /// The candidate.
    pub candidate: Name,
    /// Its manifest; none if it was refused before it was made.
    pub manifest: Option<Sha256>,
    /// The promotion template that was decided on.
    pub promotion: Sha256,
    /// Admitted or refused.
    pub admitted: bool,
    /// The gates that failed and what they found; empty for an admission.
    pub reasons: Vec<String>,
    /// What may be said of it; none if it was not made.
    pub claims: Option<Claims>,
}

impl Record for AdmissionRecord {
    const TYPE: &'static str = "urn:studbook:admission-record:v2";
}
