//! Metric gates: a number that must lie somewhere, or beat somebody.

use super::Resolver;
use super::names::Known;
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::evaluate::quantization_delta::QuantizationDelta;
use crate::evaluate::{self, Measure};
use crate::plan::file::GateSection;
use crate::plan::resolved::{ARTIFACT_BYTES, CHAMPION, MetricGate, Suite, Versus};
use crate::plan::wording::number;

const VERSUS_BEST_PARENT: &str = "best-parent";
const VERSUS_NO_OP: &str = "no-op";

impl Resolver<'_> {
    pub(super) fn metric_gate(&mut self, section: &GateSection, suites: &[Suite]) -> Option<MetricGate> {
        self.no_statement(section);
        self.asks_for_something(section);
        let Some(metric) = &section.metric else {
            self.no_metric(section);
            return None;
        };
        let measured = self.measured(section, suites);
        if metric.value == ARTIFACT_BYTES {
            self.size_only(section);
        } else {
            self.metric_known(metric, &measured, section);
            self.can_be_met_and_missed(section, metric);
        }
        Some(MetricGate {
            metric: metric.value.clone(),
            suites: measured.iter().map(|suite| suite.name.clone()).collect(),
            min: section.min.as_ref().map(|min| min.value),
            max: section.max.as_ref().map(|max| max.value),
            versus: section.versus.as_ref().and_then(|versus| self.versus(versus)),
            margin: section.margin.as_ref().map_or(0.0, |margin| margin.value),
            confidence: section.confidence.as_ref().and_then(|confidence| self.confidence(confidence)),
        })
    }

    fn no_metric(&mut self, section: &GateSection) {
        if !section.faulty {
            self.mistake(
                Diagnostic::error("a metric gate needs a `metric`", section.span.clone())
                    .expected(format!("expected `metric`, an evaluator's metric or `{ARTIFACT_BYTES}`")),
            );
        }
    }

    fn no_statement(&mut self, section: &GateSection) {
        if let Some(statement) = &section.statement {
            self.mistake(
                Diagnostic::error("a metric gate has no `statement`", statement.span.clone())
                    .expected("expected no `statement` here")
                    .help("remove it, or make this a gate of the kind `approval`"),
            );
        }
    }

    /// A gate that everybody passes, or nobody, is no gate.
    fn asks_for_something(&mut self, section: &GateSection) {
        let unbounded = section.min.is_none() && section.max.is_none() && section.versus.is_none();
        if unbounded && !section.faulty {
            self.mistake(
                Diagnostic::error("this gate asks for nothing", section.span.clone())
                    .expected("expected `min`, `max` or `versus`"),
            );
        }
        if let (Some(min), Some(max)) = (&section.min, &section.max)
            && min.value > max.value
        {
            let (least, most) = (number(min.value), number(max.value));
            let message = format!("nothing is at least {least} and at most {most}");
            self.mistake(
                Diagnostic::error(message, max.span.clone())
                    .expected(format!("expected at least {least}, the gate's `min`")),
            );
        }
        if let (None, Some(margin), false) = (&section.versus, &section.margin, section.faulty) {
            self.mistake(
                Diagnostic::error("`margin` without `versus` means nothing", margin.span.clone())
                    .expected("expected `versus` beside it")
                    .help(format!("add `versus = \"{VERSUS_BEST_PARENT}\"` or a parent's name")),
            );
        }
    }

    /// The suites a gate names that are there and right.
    fn measured<'s>(&mut self, section: &GateSection, suites: &'s [Suite]) -> Vec<&'s Suite> {
        let Some(list) = &section.suites else { return Vec::new() };
        self.each_once("suite", &list.value);
        for name in &list.value {
            if !self.known.suites.contains(name.value.as_str()) {
                self.unknown("suite", name, Known::suite_names);
            }
        }
        let of = |name: &Located<_>| suites.iter().find(|suite| suite.name == name.value);
        list.value.iter().filter_map(of).collect()
    }

    /// The size of a model is known without asking it anything.
    fn size_only(&mut self, section: &GateSection) {
        if let Some(confidence) = &section.confidence {
            self.mistake(
                Diagnostic::error(
                    format!("`{ARTIFACT_BYTES}` is known, not estimated"),
                    confidence.span.clone(),
                )
                .expected("expected no `confidence` here")
                .help("remove it"),
            );
        }
        if let Some(suites) = section.suites.as_ref().filter(|suites| !suites.value.is_empty()) {
            self.mistake(
                Diagnostic::error(
                    format!("`{ARTIFACT_BYTES}` is not measured by a suite"),
                    suites.span.clone(),
                )
                .expected("expected no `suites` here")
                .help("remove it"),
            );
        }
        if let Some(versus) = &section.versus {
            self.mistake(
                Diagnostic::error(format!("`{ARTIFACT_BYTES}` is not compared"), versus.span.clone())
                    .expected("expected `min` or `max` instead"),
            );
        }
    }

    fn metric_known(&mut self, metric: &Located<String>, measured: &[&Suite], section: &GateSection) {
        let nothing =
            section.suites.as_ref().is_none_or(|list| list.value.is_empty() && !self.told(&list.span));
        if nothing && !(section.suites.is_none() && section.faulty) {
            let message = format!("no suite is named that measures `{}`", metric.value);
            self.mistake(
                Diagnostic::error(message, metric.span.clone())
                    .expected(format!("expected `suites` beside it, or `{ARTIFACT_BYTES}`"))
                    .help("add `suites = [\"NAME\"]`; of several the mean is taken"),
            );
        }
        for suite in measured {
            if let (QuantizationDelta::NAME, Some(versus)) = (suite.kind, &section.versus) {
                let message = format!("`{}` already compares a model with itself in f32", suite.name);
                self.mistake(
                    Diagnostic::error(message, versus.span.clone())
                        .expected("expected `min` or `max` instead"),
                );
            }
            let metrics: Vec<&str> = evaluate::find(suite.kind)
                .map(|evaluator| evaluator.metrics().iter().map(|metric| metric.name).collect())
                .unwrap_or_default();
            if !metrics.contains(&metric.value.as_str()) {
                let message = format!("the suite `{}` does not measure `{}`", suite.name, metric.value);
                self.unlisted(message, metric, |_| metrics);
            }
        }
    }

    /// One-sided: how sure it must be that the demand is met.
    fn confidence(&mut self, given: &Located<f64>) -> Option<f64> {
        if given.value > 0.5 && given.value < 1.0 {
            return Some(given.value);
        }
        self.mistake(
            Diagnostic::error(format!("nobody can be {} sure", number(given.value)), given.span.clone())
                .expected("expected more than 0.5 and less than 1, such as 0.95"),
        );
        None
    }

    fn versus(&mut self, versus: &Located<String>) -> Option<Versus> {
        if versus.value == CHAMPION {
            let otherwise = self.file.champion.as_ref().and_then(|section| section.otherwise.as_ref());
            let otherwise = otherwise.and_then(|otherwise| self.rival(otherwise)).map(Box::new);
            let manifest = self.champion.as_ref().map(|champion| champion.manifest);
            return Some(Versus::Champion { manifest, otherwise });
        }
        self.rival(versus)
    }

    /// Somebody of this plan.
    fn rival(&mut self, versus: &Located<String>) -> Option<Versus> {
        if versus.value == VERSUS_BEST_PARENT {
            return Some(Versus::BestParent);
        }
        if versus.value == VERSUS_NO_OP {
            let no_op = self.file.review.as_ref().and_then(|review| review.no_op.as_ref());
            if no_op.is_none() {
                self.mistake(
                    Diagnostic::error(
                        "the plan does not say what stays if nothing is done",
                        versus.span.clone(),
                    )
                    .expected("expected `no_op` in `[review]`"),
                );
            }
            return no_op.map(|no_op| Versus::NoOp(no_op.value.clone()));
        }
        let parent = self.known.parents.get(versus.value.as_str()).copied();
        if parent.is_none() {
            self.unknown("parent", versus, |known| {
                known.parents.keys().copied().chain([VERSUS_BEST_PARENT, VERSUS_NO_OP, CHAMPION]).collect()
            });
        }
        parent.map(|section| Versus::Parent(section.name.value.clone()))
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::resolve::testing::{Folder, GOOD, mistakes};
    use crate::plan::{GateRule, Versus};

    const QUALITY: &str = "metric = \"exact_match\"\nsuites = [\"digits\"]\nmin = 0.5";

    fn quality(gate: &str) -> Vec<String> {
        mistakes(&GOOD.replace(QUALITY, gate)).into_iter().map(|found| found.message).collect()
    }

    #[test]
    fn a_gate_may_compare_with_one_parent() {
        let plan = GOOD.replace("versus = \"best-parent\"", "versus = \"one\"");
        let plan = Folder::new().plan(&plan);
        let versus = plan.gates.iter().find_map(|gate| match &gate.rule {
            GateRule::Metric(rule) => rule.versus.clone(),
            GateRule::Approval(_) | GateRule::BrowserSmoke => None,
        });
        assert_eq!(versus, Some(Versus::Parent("one".parse().unwrap())));
    }

    #[test]
    fn a_gate_must_be_able_to_decide() {
        let suite = "metric = \"exact_match\"\nsuites = [\"digits\"]\n";
        assert_eq!(quality(suite), ["this gate asks for nothing"]);
        assert_eq!(
            quality(&format!("{suite}min = 0.5\nmax = 0.4")),
            ["nothing is at least 0.5 and at most 0.4"]
        );
        assert_eq!(
            quality(&format!("{suite}min = 0.5\nmargin = 1")),
            ["`margin` without `versus` means nothing"]
        );
        assert_eq!(quality("suites = [\"digits\"]\nmin = 0.5"), ["a metric gate needs a `metric`"]);
        assert_eq!(
            quality(&format!("{suite}min = 0.5\nstatement = \"x\"")),
            ["a metric gate has no `statement`"]
        );
    }

    #[test]
    fn a_metric_is_one_its_suites_measure() {
        let none = ["no suite is named that measures `exact_match`"];
        assert_eq!(quality("metric = \"exact_match\"\nmin = 0.5"), none);
        assert_eq!(quality("metric = \"exact_match\"\nsuites = []\nmin = 0.5"), none);
        assert_eq!(
            quality("metric = \"perplexity\"\nsuites = [\"digits\"]\nmin = 0.5"),
            ["the suite `digits` does not measure `perplexity`"]
        );
        assert_eq!(
            quality("metric = \"artifact_bytes\"\nsuites = [\"digits\"]\nversus = \"one\""),
            ["`artifact_bytes` is not measured by a suite", "`artifact_bytes` is not compared"]
        );
    }

    #[test]
    fn one_slip_is_one_mistake() {
        assert_eq!(quality(&QUALITY.replace("min", "mni")), ["unknown key `mni` in [[gate]]"]);
        assert_eq!(quality(&QUALITY.replace("suites", "suits")), ["unknown key `suits` in [[gate]]"]);
        assert_eq!(quality(&QUALITY.replace("\"digits\"", "\"digit\"")), ["unknown suite `digit`"]);
        assert_eq!(quality(&QUALITY.replace("[\"digits\"]", "\"digits\"")).len(), 1);
    }
}
