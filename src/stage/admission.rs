//! Part 9: `admission`: admits a candidate whose every gate passed, refuses one with a failed gate.
//!
//! A candidate that waits has no admission stage run at all, so "pending" is never cached.

use serde::{Deserialize, Serialize};

use super::{Context, Kind, Made, Stage, StageError};
use crate::base::name::Name;
use crate::record::admission::AdmissionRecord;
use crate::record::promotion::{Decision, GateState, PromotionTemplate};
use crate::store::Verdict;

/// Whose.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    pub(crate) cycle: Name,
    pub(crate) candidate: Name,
}

pub(super) struct AdmissionStage;

impl Stage for AdmissionStage {
    fn kind(&self) -> Kind {
        Kind::Admission
    }

    fn version(&self) -> u32 {
        2
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        let params: Params = context.params()?;
        let (promotion, subject) = context.record::<PromotionTemplate>("promotion")?;
        if promotion.candidate != params.candidate || promotion.cycle != params.cycle {
            return Err(StageError::Refused("the promotion template is of another candidate".to_owned()));
        }
        let decision = Decision::of(&promotion.gates);
        if decision != promotion.decision {
            return Err(StageError::Refused(
                "the promotion template's decision does not follow from its gates".to_owned(),
            ));
        }
        if decision == Decision::Wait {
            return Err(StageError::Refused("gates are still pending".to_owned()));
        }
        let failed = promotion.gates.iter().filter(|gate| gate.state == GateState::Failed);
        let reasons: Vec<String> = failed.map(|gate| format!("{}: {}", gate.gate, gate.finding)).collect();
        let admitted = decision == Decision::Admit && promotion.manifest.is_some();
        let record = AdmissionRecord {
            cycle: params.cycle,
            candidate: params.candidate,
            manifest: promotion.manifest,
            promotion: subject.sha256,
            admitted,
            reasons: reasons.clone(),
            claims: promotion.claims,
        };
        if admitted {
            context.made(&record, Verdict::Pass, format!("admitted: {} gates passed", promotion.gates.len()))
        } else {
            context.made(
                &record,
                Verdict::Reject(reasons.clone()),
                format!("refused: {}", reasons.join("; ")),
            )
        }
    }
}
