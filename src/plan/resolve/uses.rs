//! What suites are used for: choosing models, or judging them.
//!
//! The best of many on some cases owes part of that to luck with those cases. Who is then judged on
//! the same cases is judged by that luck once more. So a plan that ranks and gates by one case is
//! refused, wherever the case lies and whatever it is called, unless its suite says `use = "both"`. So is
//! one that gates by cases that chose its parents in an earlier cycle: a pool says which those were.

use super::Resolver;
use crate::base::diagnostic::Diagnostic;
use crate::base::digest::Digest;
use crate::base::name::Name;
use crate::evaluate::{self, Case};
use crate::plan::pool::ChosenBy;
use crate::plan::resolved::{Gate, GateRule, Objective, Review, Suite, SuiteUse};

impl Resolver<'_> {
    /// The use of a suite that does not say: what the plan does with it.
    pub(super) fn inferred_use(&self, name: &Name) -> SuiteUse {
        let listed =
            |list: &Option<crate::base::located::Located<Vec<crate::base::located::Located<Name>>>>| {
                list.iter().flat_map(|list| &list.value).any(|suite| suite.value == *name)
            };
        if self.file.gates.iter().any(|gate| listed(&gate.suites)) {
            SuiteUse::Gate
        } else {
            SuiteUse::Selection
        }
    }

    /// Gates ask about suites that may gate, the review about those that may select.
    pub(super) fn uses_kept(&mut self, suites: &[Suite], gates: &[Gate], review: &Review) {
        let of = |name: &Name| suites.iter().find(|suite| suite.name == *name);
        let mut gating: Vec<&Suite> = Vec::new();
        for gate in gates {
            let GateRule::Metric(rule) = &gate.rule else { continue };
            gating.extend(rule.suites.iter().filter_map(of));
        }
        let selecting: Vec<&Suite> = review
            .objectives
            .iter()
            .filter_map(|objective| match objective {
                Objective::Suite(name) => of(name),
                Objective::ArtifactBytes => None,
            })
            .collect();
        for suite in suites {
            if !suite.r#use.gates() && gating.iter().any(|gate| gate.name == suite.name) {
                self.misused(suite, "is for selection, and a gate asks about it");
            }
            if !suite.r#use.selects() && selecting.iter().any(|one| one.name == suite.name) {
                self.misused(suite, "is for gates, and the review ranks by it");
            }
        }
        self.no_shared_cases(&gating, &selecting);
        self.no_cases_that_chose_parents(&gating);
    }

    /// Nor by cases that chose the parents in an earlier cycle.
    fn no_cases_that_chose_parents(&mut self, gating: &[&Suite]) {
        let gating: Vec<&Suite> =
            gating.iter().filter(|suite| suite.r#use != SuiteUse::Both).copied().collect();
        let Some(first) = gating.first() else { return };
        for chosen in self.chosen_by.clone() {
            let Some(cases) = self.earlier_cases(&chosen) else {
                let message = format!(
                    "the cases of `{}`, by which the cycle `{}` chose parents of this plan, cannot be read from \
                     this store: nobody can tell whether gates ask them again",
                    chosen.suite, chosen.cycle
                );
                self.judged_twice(first, message);
                continue;
            };
            let shared = |suite: &&Suite| {
                let own = |case: &&Digest| {
                    self.cases.get(*case).is_some_and(|names| names.contains(suite.name.as_str()))
                };
                cases.iter().filter(own).count()
            };
            let found = gating.iter().map(|suite| (*suite, shared(suite))).find(|(_, shared)| *shared > 0);
            let Some((suite, shared)) = found else { continue };
            let message = format!(
                "{shared} of the cases of `{}`, which gates ask about, chose parents of this plan in the cycle \
                 `{}`, as `{}`",
                suite.name, chosen.cycle, chosen.suite
            );
            self.judged_twice(suite, message);
        }
    }

    /// The cases of a suite of an earlier cycle.
    fn earlier_cases(&self, chosen: &ChosenBy) -> Option<Vec<Digest>> {
        let bytes = self.store.read(&chosen.cases).ok()?;
        let suite = evaluate::Suite::parse(evaluate::find(&chosen.kind)?, &bytes).ok()?;
        Some(suite.cases.iter().map(Case::digest).collect())
    }

    fn judged_twice(&mut self, suite: &Suite, message: String) {
        let span = self.suite_span(suite);
        self.mistake(
            Diagnostic::error(message, span)
                .expected("expected each case to choose models or to judge them")
                .help("gate by other cases, or say that it is meant: `use = \"both\"`"),
        );
    }

    fn misused(&mut self, suite: &Suite, how: &str) {
        let span = self.suite_span(suite);
        self.mistake(
            Diagnostic::error(format!("the suite `{}` {how}", suite.name), span)
                .expected("expected each case to choose models or to judge them")
                .help("rank and gate by different cases, or say that it is meant: `use = \"both\"`"),
        );
    }

    fn suite_span(&self, suite: &Suite) -> std::ops::Range<usize> {
        let names = self.file.evals.iter().filter_map(|section| section.name.as_ref());
        let mut spans = names.filter(|name| name.value == suite.name).map(|name| name.span.clone());
        spans.next().unwrap_or(0..0)
    }

    /// Two suites of other names may still have a case in common.
    fn no_shared_cases(&mut self, gating: &[&Suite], selecting: &[&Suite]) {
        for gate in gating.iter().filter(|suite| suite.r#use != SuiteUse::Both) {
            for select in selecting.iter().filter(|suite| suite.r#use != SuiteUse::Both) {
                if gate.name == select.name {
                    continue;
                }
                let both = |names: &&std::collections::BTreeSet<String>| {
                    names.contains(gate.name.as_str()) && names.contains(select.name.as_str())
                };
                let shared = self.cases.values().filter(both).count();
                if shared > 0 {
                    let message = format!(
                        "{shared} of the cases of `{}`, which gates ask about, are also in `{}`, which the \
                         review ranks by",
                        gate.name, select.name
                    );
                    let span = self.suite_span(select);
                    self.mistake(
                        Diagnostic::error(message, span)
                            .expected("expected each case to choose models or to judge them")
                            .help("take them out of one, or say that it is meant: `use = \"both\"`"),
                    );
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::SuiteUse;
    use crate::plan::resolve::testing::{Folder, GOOD};

    const BOTH: &str = "use = \"both\"\n";

    fn messages(folder: &Folder, plan: &str) -> Vec<String> {
        folder.mistakes(plan).into_iter().map(|found| found.message).collect()
    }

    #[test]
    fn ranking_and_gating_by_one_suite_must_be_meant() {
        let folder = Folder::new();
        assert!(folder.check(GOOD).0.is_some(), "it says so");
        let ranked = GOOD.replace(BOTH, "").replace("[review]", "[review]\nobjectives = [\"digits\"]");
        assert_eq!(
            messages(&folder, &ranked),
            ["the suite `digits` is for gates, and the review ranks by it"]
        );
        let selection = ranked.replace("name = \"digits\"", "name = \"digits\"\nuse = \"selection\"");
        assert_eq!(
            messages(&folder, &selection),
            ["the suite `digits` is for selection, and a gate asks about it"]
        );
        let unknown = GOOD.replace("\"both\"", "\"bth\"");
        assert_eq!(messages(&folder, &unknown)[0], "unknown use `bth`");
    }

    #[test]
    fn without_a_word_a_suite_is_for_what_the_plan_does_with_it() {
        let folder = Folder::new();
        let plan = folder
            .plan(&GOOD.replace(BOTH, "").replace("[review]", "[review]\nobjectives = [\"artifact_bytes\"]"));
        assert_eq!(plan.suites[0].r#use, SuiteUse::Gate);
    }

    #[test]
    fn a_case_is_known_by_its_contents_not_by_its_name() {
        let folder = Folder::new();
        folder.write("other.jsonl", b"{\"id\":\"x\",\"prompt\":\"2=\",\"expected\":\"2\"}\n{\"id\":\"y\",\"expected\":\"1\",\"prompt\":\"1=\"}\n");
        let other = "[[eval]]\nname = \"other\"\nkind = \"exact_match\"\ncases = \"other.jsonl\"\n\n\
                     [review]\nobjectives = [\"other\"]";
        let plan = GOOD.replace(BOTH, "").replace("[review]", other);
        let found = messages(&folder, &plan);
        assert_eq!(
            found,
            [
                "1 of the cases of `digits`, which gates ask about, are also in `other`, which the review ranks by"
            ]
        );
        assert!(folder.check(&plan.replace("other.jsonl\"", "other.jsonl\"\nuse = \"both\"")).0.is_some());
    }
}
