//! What may be said of a candidate: that it is good, only where a gate that asks for quality found it so.
//!
//! Gates ask for many things. That a model fits a budget or lies near what it was rounded from says nothing
//! about its answers; a demand that every model meets says nothing at all; and who beats a parent that gets
//! nothing right by getting nothing right is as bad as can be. Claims rest on none of these.

use super::{Case, GateParams, MetricRule, Rule};
use crate::base::name::Name;
use crate::evaluate::{self, Better};
use crate::record::candidate::Claims;
use crate::record::promotion::{Decision, GateState, GateStatus};
use crate::stage::StageError;
use crate::stage::context::of;

impl MetricRule {
    /// Whether it asks for quality, and for more than everybody has.
    fn asks_for_quality(&self) -> bool {
        let Some((evaluator, metric)) = evaluate::measured_by(&self.metric) else { return false };
        let limit = match metric.better {
            Better::Higher => self.min,
            Better::Lower => self.max,
        };
        let limited = limit.is_some_and(|limit| metric.beats_ignorance(limit));
        let compared = self.versus.is_some() && self.margin > -metric.spread();
        evaluator.measures_quality() && (limited || compared)
    }
}

impl Case<'_> {
    /// An admitted candidate may say which gates of quality it passed on suites that its lineage bound.
    pub(super) fn claims(
        &self,
        rules: &[GateParams],
        gates: &[GateStatus],
        decision: Decision,
    ) -> Result<Option<Claims>, StageError> {
        let Some((manifest, _)) = &self.candidate else { return Ok(None) };
        let mut passed = Vec::new();
        if decision == Decision::Admit {
            for gate in gates.iter().filter(|gate| gate.state == GateState::Passed) {
                if self.shows_quality(&gate.gate, rules)? {
                    passed.push(gate.gate.as_str());
                }
            }
        }
        Ok(Some(manifest.claims.clone().passed(&passed)))
    }

    /// Whether a gate that was passed asked for quality on bound suites, and found some.
    fn shows_quality(&self, gate: &Name, rules: &[GateParams]) -> Result<bool, StageError> {
        let Some((lineage, _)) = &self.lineage else { return Ok(false) };
        let bound = |suite: &Name| lineage.suites.iter().any(|known| known.name == *suite);
        for rule in rules.iter().filter(|rule| rule.name == *gate) {
            let Rule::Metric(rule) = &rule.rule else { continue };
            if rule.suites.is_empty() || !rule.suites.iter().all(bound) || !rule.asks_for_quality() {
                continue;
            }
            let subject = self.candidate.as_ref().map(|(_, subject)| subject);
            let found = self.mean(rule, |suite| of("eval", suite), subject)?;
            let Some((_, metric)) = evaluate::measured_by(&rule.metric) else { continue };
            if found.is_some_and(|found| metric.beats_ignorance(found.value)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::rival::Rival;

    fn asks(metric: &str, min: Option<f64>, max: Option<f64>, margin: Option<f64>) -> bool {
        let versus = margin.map(|_| Rival::BestParent);
        let (suites, confidence) = (vec!["s".parse().unwrap()], None);
        let margin = margin.unwrap_or(0.0);
        MetricRule { metric: metric.to_owned(), suites, min, max, versus, margin, confidence }
            .asks_for_quality()
    }

    #[test]
    fn quality_is_asked_for_by_demands_that_not_everybody_meets() {
        for (metric, min, max) in [
            ("exact_match", Some(0.1), None),
            ("accuracy_norm", Some(1.0), None),
            ("external", Some(0.3), None),
            ("bits_per_byte", None, Some(2.0)),
            ("token_perplexity", None, Some(20.0)),
        ] {
            assert!(asks(metric, min, max, None), "{metric}");
            assert!(asks(metric, None, None, Some(-0.02)), "{metric}: no worse than somebody");
        }
        for (metric, min, max) in [
            // Everybody has that.
            ("exact_match", Some(0.0), None),
            ("exact_match", Some(-1.0), Some(1.0)),
            ("external", Some(0.0), None),
            ("bits_per_byte", Some(0.0), None),
            // Whoever guesses has that.
            ("bits_per_byte", None, Some(8.0)),
            ("bits_per_byte", None, Some(1000.0)),
            // The wrong way round.
            ("accuracy", None, Some(0.9)),
            ("bits_per_byte", Some(2.0), None),
            // Not about answers.
            ("kl_divergence", None, Some(0.01)),
            ("top1_agreement", Some(0.9), None),
            ("memory_bytes", None, Some(1e6)),
            ("bytes_per_token", None, Some(1e6)),
            ("artifact_bytes", None, Some(1e6)),
            ("no-such-metric", Some(0.5), None),
        ] {
            assert!(!asks(metric, min, max, None), "{metric} {min:?} {max:?}");
        }
        assert!(!asks("exact_match", None, None, Some(-1.0)), "nobody is more than 1 worse");
        assert!(!asks("memory_bytes", None, None, Some(0.0)));
    }
}
