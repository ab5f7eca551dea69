//! On which side of a number a metric lies, and with how many digits that is told.

use std::collections::BTreeMap;

use super::MetricRule;
use crate::record::promotion::GateState;

/// Means of decimal fractions are not exact: 0.664 + 0.02 must not lose against 0.684, nor the mean of three
/// times 0.7 against 0.7.
const ROUNDING: f64 = 1e-12;
/// The most digits after the point that a number is told with.
const MOST_DIGITS: usize = 17;

/// On which side of a number a metric must be.
#[derive(Clone, Copy)]
pub(super) enum Demand {
    AtLeast,
    AtMost,
}

impl Demand {
    pub(super) fn met(self, value: f64, limit: f64) -> bool {
        match self {
            Self::AtLeast => value >= limit - ROUNDING,
            Self::AtMost => value <= limit + ROUNDING,
        }
    }

    pub(super) fn sign(self, met: bool) -> &'static str {
        match (self, met) {
            (Self::AtLeast, true) => ">=",
            (Self::AtLeast, false) => "<",
            (Self::AtMost, true) => "<=",
            (Self::AtMost, false) => ">",
        }
    }

    /// With how many digits a value must be told so that a reader, who sees the limit as `limit` says it for so
    /// many, sees what was decided: 0.6999 is not "0.700 < 0.7".
    pub(super) fn digits(self, value: f64, least: usize, limit: impl Fn(usize) -> f64, met: bool) -> usize {
        let seen = |digits: &usize| self.met(rounded(value, *digits), limit(*digits)) == met;
        (least..=MOST_DIGITS).find(seen).unwrap_or(MOST_DIGITS)
    }
}

/// A number as it is told with so many digits after the point.
pub(super) fn rounded(value: f64, digits: usize) -> f64 {
    format!("{value:.digits$}").parse().unwrap_or(value)
}

pub(super) fn limits(rule: &MetricRule, value: f64, digits: usize) -> (GateState, String) {
    let mut findings = BTreeMap::new();
    let mut passed = value.is_finite();
    for (name, limit, demand) in [("min", rule.min, Demand::AtLeast), ("max", rule.max, Demand::AtMost)] {
        let Some(limit) = limit else { continue };
        let met = demand.met(value, limit);
        passed &= met;
        let digits = demand.digits(value, digits, |_| limit, met);
        let sign = demand.sign(met);
        findings.insert(name, format!("{} {value:.digits$} {sign} {limit}", rule.metric));
    }
    let finding = findings.into_values().collect::<Vec<_>>().join("; ");
    (if passed { GateState::Passed } else { GateState::Failed }, finding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(min: Option<f64>, max: Option<f64>) -> MetricRule {
        MetricRule {
            metric: "m".into(),
            suites: vec![],
            min,
            max,
            versus: None,
            margin: 0.0,
            confidence: None,
        }
    }

    #[test]
    fn limits_hold_or_fail_and_say_the_numbers() {
        assert_eq!(limits(&rule(Some(0.5), None), 0.5, 3), (GateState::Passed, "m 0.500 >= 0.5".into()));
        assert_eq!(limits(&rule(Some(0.5), None), 0.4, 3), (GateState::Failed, "m 0.400 < 0.5".into()));
        assert_eq!(limits(&rule(None, Some(9.0)), 10.0, 0), (GateState::Failed, "m 10 > 9".into()));
        assert_eq!(limits(&rule(None, None), f64::NAN, 3).0, GateState::Failed);
    }

    #[test]
    fn a_mean_that_is_the_limit_but_for_rounding_is_within() {
        // What three suites of 0.7 come to.
        let mean = (0.7 + 0.7 + 0.7) / 3.0;
        assert!(mean < 0.7);
        assert_eq!(limits(&rule(Some(0.7), None), mean, 3), (GateState::Passed, "m 0.700 >= 0.7".into()));
        let mean = (0.1 + 0.2) / 2.0;
        assert!(mean > 0.15);
        assert_eq!(limits(&rule(None, Some(0.15)), mean, 3), (GateState::Passed, "m 0.150 <= 0.15".into()));
        assert_eq!(limits(&rule(Some(0.7), None), 0.7 - 1e-9, 3).0, GateState::Failed);
    }

    #[test]
    fn a_finding_does_not_contradict_itself() {
        let said = |min, max, value| limits(&rule(min, max), value, 3).1;
        assert_eq!(said(Some(0.7), None, 0.6999), "m 0.6999 < 0.7");
        assert_eq!(said(None, Some(0.7), 0.70004), "m 0.70004 > 0.7");
        assert_eq!(said(Some(0.7004), None, 0.70043), "m 0.7004 >= 0.7004");
        assert_eq!(said(None, Some(1e-4), 2e-4), "m 0.0002 > 0.0001");
        let mistaken = Demand::AtMost.digits(0.70004, 3, |digits| rounded(0.70001, digits), false);
        assert_eq!(mistaken, 5, "0.70004 > 0.70001, where both are rounded");
    }
}
