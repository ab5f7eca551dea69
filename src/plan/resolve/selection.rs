//! What chooses the parents of greedy soups: a metric on a suite of its own.
//!
//! Who was chosen by a suite is flattered by it: a gate on the same cases would measure the choice, not the
//! candidate.

use std::collections::BTreeSet;

use super::Resolver;
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::base::name::Name;
use crate::evaluate::quantization_delta::QuantizationDelta;
use crate::evaluate::{Better, Measure};
use crate::plan::file::{CandidateSection, Written};
use crate::plan::resolved::{Candidate, Gate, GateRule, Suite};

impl Resolver<'_> {
    pub(super) fn selections(&mut self, candidates: &[Candidate], suites: &[Suite], gates: &[Gate]) {
        let mut seen: BTreeSet<(&Name, &str)> = BTreeSet::new();
        for candidate in candidates {
            let Some((metric, suite)) = candidate.selection() else { continue };
            if !seen.insert((&candidate.family, suite)) {
                continue;
            }
            let section = self.section_of(candidate);
            let Some(section) = section else { continue };
            self.selection(candidate, section, (metric, suite), suites, gates);
        }
    }

    fn selection(
        &mut self,
        candidate: &Candidate,
        section: &CandidateSection,
        (metric, suite): (&str, &str),
        suites: &[Suite],
        gates: &[Gate],
    ) {
        let span = said(section, suite).map_or(section.span.clone(), |said| said.span.clone());
        let Some(chosen) = suites.iter().find(|declared| declared.name.as_str() == suite) else {
            if !self.known.suites.contains(suite) {
                let named = Located::new(suite.to_owned(), span);
                self.unknown("suite", &named, super::names::Known::suite_names);
            }
            return;
        };
        if let Some(delta) = suites.iter().find(|suite| suite.kind == QuantizationDelta::NAME) {
            let message = format!("a greedy soup cannot be measured by `{}`", delta.kind);
            self.mistake(
                Diagnostic::error(message, section.span.clone())
                    .expected("expected no such suite beside a greedy soup")
                    .help("who is in it is known when it is made, so there is no such soup in f32 to compare with"),
            );
        }
        let evaluator = crate::evaluate::find(chosen.kind);
        let metrics = evaluator.map(crate::evaluate::Evaluator::metrics).unwrap_or_default();
        let rising: Vec<&str> =
            metrics.iter().filter(|info| info.better == Better::Higher).map(|info| info.name).collect();
        if !rising.contains(&metric) {
            let span = said(section, metric).map_or(section.span.clone(), |said| said.span.clone());
            let expected = match &rising[..] {
                [] => format!(
                    "expected a suite with a metric of which more is better; `{}` has none",
                    chosen.kind
                ),
                known => format!("expected a metric of which more is better: `{}`", known.join("`, `")),
            };
            self.mistake(
                Diagnostic::error(format!("the suite `{suite}` measures no `{metric}` that rises"), span)
                    .expected(expected),
            );
        }
        for gate in gates.iter().filter(|gate| gate.is_for(candidate)) {
            let GateRule::Metric(rule) = &gate.rule else { continue };
            let uses = |name: &Name| {
                let cases = suites.iter().find(|declared| declared.name == *name).map(|suite| &suite.cases);
                name == &chosen.name || cases.is_some_and(|cases| cases.is_some() && *cases == chosen.cases)
            };
            if let Some(used) = rule.suites.iter().find(|name| uses(name)) {
                let family = &candidate.family;
                let message = format!("the parents of `{family}` are chosen by the cases of a gate");
                self.mistake(
                    Diagnostic::error(message, span.clone())
                        .expected(format!(
                            "expected a suite that the gate `{}` does not use (`{used}`)",
                            gate.name
                        ))
                        .help(
                            "choose by cases of their own: whoever was chosen by a suite is flattered by it",
                        ),
                );
            }
        }
    }
}

/// Where a section says a word, in a parameter or in its sweep.
fn said<'s>(section: &'s CandidateSection, word: &str) -> Option<&'s Located<Written>> {
    let swept = section.sweep.iter().flat_map(|(_, values)| values);
    let values = section.parameters.iter().map(|(_, value)| value).chain(swept);
    values.into_iter().find(|value| matches!(&value.value, Written::Text(text) if text == word))
}

#[cfg(test)]
mod tests {
    use crate::plan::resolve::testing::{Folder, GOOD, mistakes};

    fn greedy(more: &str) -> String {
        let soup = format!("operator = \"soup\"\nweighting = \"greedy\"\n{more}");
        GOOD.replacen("operator = \"blend\"", &soup, 1)
    }

    const CHOOSE: &str =
        "[[eval]]\nname = \"choose\"\nkind = \"exact_match\"\ncases = \"choose.jsonl\"\n\n[review]";

    #[test]
    fn a_suite_of_its_own_chooses() {
        let folder = Folder::new();
        folder.write("choose.jsonl", b"{\"id\":\"c1\",\"prompt\":\"2=\",\"expected\":\"2\"}\n");
        let plan = greedy("metric = \"exact_match\"\nsuite = \"choose\"").replace("[review]", CHOOSE);
        let plan = folder.plan(&plan);
        assert_eq!(plan.candidates[0].selection(), Some(("exact_match", "choose")));
        assert_eq!(plan.candidates[0].made(), 2);
    }

    #[test]
    fn slips_are_told() {
        let found = mistakes(&greedy("metric = \"exact_match\"\nsuite = \"digits\""));
        assert!(found[0].message.contains("chosen by the cases of a gate"), "{found:?}");
        // The same cases under another name are the same cases.
        let other = CHOOSE.replace("choose.jsonl", "suite.jsonl");
        let plan = greedy("metric = \"exact_match\"\nsuite = \"choose\"").replace("[review]", &other);
        assert!(mistakes(&plan)[0].message.contains("chosen by the cases of a gate"));
        let found = mistakes(&greedy("metric = \"exact_match\"\nsuite = \"digit\""));
        assert_eq!(found[0].message, "unknown suite `digit`");
        // Of loss and of time less is better.
        let falling = CHOOSE.replace("exact_match", "resource").replace("choose.jsonl", "load.jsonl");
        let folder = Folder::new();
        folder.write("load.jsonl", b"{\"id\":\"a\",\"prompt_tokens\":4,\"new_tokens\":4}\n");
        let found = folder
            .mistakes(&greedy("metric = \"peak_memory\"\nsuite = \"choose\"").replace("[review]", &falling));
        assert_eq!(found[0].message, "the suite `choose` measures no `peak_memory` that rises");
        let none = "expected a suite with a metric of which more is better; `resource` has none";
        assert_eq!(found[0].label, none);
        let found = mistakes(&greedy("metric = \"loss\"\nsuite = \"digits\""));
        assert_eq!(found[0].label, "expected a metric of which more is better: `exact_match`");
        let found = mistakes(&greedy("suite = \"digits\""));
        assert!(found[0].message.contains("a greedy soup needs `metric` and `suite`"), "{found:?}");
    }
}
