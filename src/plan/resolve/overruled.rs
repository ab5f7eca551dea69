//! What a candidate says and no tensor hears.
//!
//! The first rule that matches a tensor wins. A rule whose tensors all belong to earlier ones does nothing,
//! and the candidates of a sweep over what rules give every tensor are one child under several names. Both
//! run, so they are worth a warning.

use std::collections::BTreeSet;

use super::Resolver;
use super::children::Children;
use crate::base::diagnostic::Diagnostic;
use crate::base::name::Name;
use crate::operator::rule::matches;
use crate::plan::file::{CandidateSection, RuleSection};
use crate::plan::resolved::Candidate;

impl Resolver<'_> {
    pub(super) fn overruled(&mut self, candidates: &[Candidate], children: &Children<'_>) {
        let mut seen: BTreeSet<&Name> = BTreeSet::new();
        let ruled = candidates.iter().filter(|candidate| !candidate.rules.is_empty());
        for candidate in ruled.filter(|candidate| seen.insert(&candidate.family)) {
            let section = self.section_of(candidate);
            let child = children.of(candidate).and_then(|child| child.as_ref().ok());
            let (Some(section), Some(facts)) = (section, child) else { continue };
            let tensors: Vec<&str> = facts.tensors.iter().map(|(tensor, _)| tensor.as_str()).collect();
            self.rules_shadowed(section, &tensors);
            self.sweeps_overruled(section, &tensors);
        }
    }

    fn rules_shadowed(&mut self, section: &CandidateSection, tensors: &[&str]) {
        for (place, rule) in section.rules.iter().enumerate() {
            let Some(pattern) = &rule.tensors else { continue };
            let mut met = tensors.iter().filter(|tensor| is_for(rule, tensor)).peekable();
            let earlier = &section.rules[..place];
            let all_taken = |tensor: &&str| earlier.iter().any(|rule| is_for(rule, tensor));
            // That it meets none is a mistake, which was told.
            if met.peek().is_none() || !met.all(all_taken) {
                continue;
            }
            self.mistake(
                Diagnostic::warning(
                    format!("no tensor takes the rule for `{}`", pattern.value),
                    pattern.span.clone(),
                )
                .expected("expected tensors that no earlier rule is for: the first that matches wins")
                .help("put this rule before the earlier one, or remove it"),
            );
        }
    }

    fn sweeps_overruled(&mut self, section: &CandidateSection, tensors: &[&str]) {
        for (key, _) in &section.sweep {
            let says = |rule: &RuleSection| rule.parameters.iter().any(|(own, _)| own.value == key.value);
            let overrules =
                |tensor: &&str| section.rules.iter().find(|rule| is_for(rule, tensor)).is_some_and(says);
            if tensors.is_empty() || !tensors.iter().all(overrules) {
                continue;
            }
            self.mistake(
                Diagnostic::warning(
                    format!("the sweep over `{}` changes nothing: rules give every tensor theirs", key.value),
                    key.span.clone(),
                )
                .expected("expected a tensor without a rule for it")
                .help("all of these candidates would be the same child"),
            );
        }
    }
}

fn is_for(rule: &RuleSection, tensor: &str) -> bool {
    rule.tensors.as_ref().is_some_and(|pattern| matches(&pattern.value, tensor))
}

#[cfg(test)]
mod tests {
    use crate::plan::resolve::testing::{Folder, GOOD};

    /// The places of warnings and their texts.
    fn warned(candidate: &str) -> Vec<(String, String)> {
        let text = GOOD.replace("density = 0.5", candidate);
        let (plan, found) = Folder::new().check(&text);
        assert!(plan.is_some(), "a warning does not take the plan away: {found:?}");
        found
            .iter()
            .map(|found| (text[found.span.clone().unwrap()].to_owned(), found.message.clone()))
            .collect()
    }

    #[test]
    fn a_rule_behind_one_for_the_same_tensors_is_warned_of() {
        let rules = |first: &str, second: &str| {
            format!(
                "rules = [{{ tensors = \"{first}\", density = 0.5 }}, {{ tensors = \"{second}\", density = 0.1 }}]"
            )
        };
        for (first, second) in [("*", "*.wq.*"), ("layers.*", "*.wq.*"), ("*.wq.*", "*.wq.*")] {
            let (at, message) = warned(&rules(first, second)).remove(0);
            assert_eq!(message, format!("no tensor takes the rule for `{second}`"));
            assert_eq!(at, format!("\"{second}\""));
        }
        assert_eq!(warned(&rules("*.wq.*", "*")), []);
        assert_eq!(warned(&rules("*.wq.*", "layers.*")), []);
    }

    #[test]
    fn a_sweep_over_what_rules_decide_is_warned_of() {
        let swept =
            |rules: &str| warned(&format!("density = 0.5\nsweep = {{ lambda = [1, 2] }}\nrules = [{rules}]"));
        let message = "the sweep over `lambda` changes nothing: rules give every tensor theirs";
        assert_eq!(swept("{ tensors = \"*\", lambda = 3 }"), [("lambda".to_owned(), message.to_owned())]);
        let both = "{ tensors = \"layers.*\", lambda = 3 }, { tensors = \"*\", lambda = 4 }";
        assert_eq!(swept(both), [("lambda".to_owned(), message.to_owned())]);
        assert_eq!(swept("{ tensors = \"*\", density = 0.1 }"), []);
        assert_eq!(swept("{ tensors = \"*.wq.*\", density = 0.1 }, { tensors = \"*\", lambda = 3 }"), []);
    }
}
