//! Part 8: Promotion template: the state of every gate.

use serde::{Deserialize, Serialize};

use super::Record;
use super::candidate::Claims;
use crate::base::digest::Sha256;
use crate::base::name::Name;

/// What stands between a candidate and its admission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromotionTemplate {
    /// The cycle.
    pub cycle: Name,
    /// The candidate.
    pub candidate: Name,
    /// Its manifest; none if it was refused before it was made.
    pub manifest: Option<Sha256>,
    /// Its lineage template, which bound these gates.
    pub lineage: Option<Sha256>,
    /// Every gate, built-in ones first.
    pub gates: Vec<GateStatus>,
    /// What follows from them.
    pub decision: Decision,
    /// What may be said of it; none if it was not made.
    pub claims: Option<Claims>,
}

/// The gates that are only there to be closed, by what the ledger says of now.
pub const CLOSING_GATES: [&str; 2] = [NOT_REVOKED, NOT_REFUSED];
/// Closed to what was taken back.
pub const NOT_REVOKED: &str = "not-revoked";
/// Closed to whom was refused.
pub const NOT_REFUSED: &str = "not-refused";

/// A gate's state with what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateStatus {
    /// Its name.
    pub gate: Name,
    /// `passed`, `failed`, `inconclusive` or `pending`.
    pub state: GateState,
    /// The number and the limit, the approver, or what is waited for.
    pub finding: String,
    /// The records it was decided by.
    pub evidence: Vec<Sha256>,
}

/// Where a gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
    /// Its demand is met.
    Passed,
    /// It is not.
    Failed,
    /// The evidence cannot tell.
    Inconclusive,
    /// The evidence is not there.
    Pending,
}

/// What all gates together say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// All passed.
    Admit,
    /// One failed: whatever is pending cannot change that.
    Refuse,
    /// None failed, not all passed.
    Wait,
}

impl Decision {
    /// The decision that follows from gates; no gates at all admit nobody.
    pub fn of(gates: &[GateStatus]) -> Self {
        let any = |state| gates.iter().any(|gate| gate.state == state);
        if any(GateState::Failed) {
            Self::Refuse
        } else if gates.is_empty() || any(GateState::Inconclusive) || any(GateState::Pending) {
            Self::Wait
        } else {
            Self::Admit
        }
    }
}

impl Record for PromotionTemplate {
    const TYPE: &'static str = "urn:studbook:promotion-template:v2";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_passed_admits() {
        use GateState::{Failed, Inconclusive, Passed, Pending};
        let decide = |states: &[GateState]| {
            let gates: Vec<_> = states
                .iter()
                .map(|state| GateStatus {
                    gate: "g".parse().unwrap(),
                    state: *state,
                    finding: String::new(),
                    evidence: vec![],
                })
                .collect();
            Decision::of(&gates)
        };
        assert_eq!(decide(&[]), Decision::Wait);
        assert_eq!(decide(&[Passed, Passed]), Decision::Admit);
        assert_eq!(decide(&[Passed, Pending]), Decision::Wait);
        assert_eq!(decide(&[Inconclusive, Passed]), Decision::Wait);
        assert_eq!(decide(&[Pending, Failed]), Decision::Refuse);
    }
}
