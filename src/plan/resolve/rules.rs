//! Rules: other parameters for some tensors of a candidate.

use std::collections::BTreeSet;

use super::Resolver;
use super::candidates::Family;
use super::children::Children;
use crate::base::diagnostic::Diagnostic;
use crate::base::name::Name;
use crate::operator::rule::matches;
use crate::operator::{Parameters, Rule};
use crate::plan::resolved::Candidate;

impl Resolver<'_> {
    /// Other parameters for some tensors.
    pub(super) fn rules(&mut self, family: &Family<'_>) -> Vec<Rule> {
        let mut rules = Vec::new();
        for section in &family.section.rules {
            let mut parameters = Parameters::new();
            for (key, written) in &section.parameters {
                let value =
                    self.declared(family, key).and_then(|parameter| self.value(family, parameter, written));
                parameters.extend(value.map(|value| (key.value.clone(), value)));
            }
            let Some(tensors) = &section.tensors else { continue };
            if section.parameters.is_empty() {
                self.mistake(
                    Diagnostic::error("this rule changes nothing", tensors.span.clone())
                        .expected("expected a parameter beside `tensors`")
                        .help("add what is different for these tensors, or remove the rule"),
                );
            }
            rules.push(Rule { tensors: tensors.value.clone(), parameters });
        }
        rules
    }

    /// A rule that no tensor meets is a slip in its pattern: it would be read and ignored.
    pub(super) fn rules_meet_tensors(&mut self, candidates: &[Candidate], children: &Children<'_>) {
        let mut seen: BTreeSet<&Name> = BTreeSet::new();
        for candidate in candidates.iter().filter(|candidate| seen.insert(&candidate.family)) {
            let child = children.of(candidate).and_then(|child| child.as_ref().ok());
            let Some(facts) = child else { continue };
            let section = self.section_of(candidate);
            for rule in section.iter().flat_map(|section| &section.rules) {
                let Some(pattern) = &rule.tensors else { continue };
                if facts.tensors.iter().any(|(tensor, _)| matches(&pattern.value, tensor)) {
                    continue;
                }
                let example =
                    facts.tensors.get(facts.tensors.len() / 2).map_or("", |(name, _)| name.as_str());
                self.mistake(
                    Diagnostic::error(
                        format!("no tensor is called `{}`", pattern.value),
                        pattern.span.clone(),
                    )
                    .expected(format!("expected a pattern over names such as `{example}`"))
                    .help("`*` stands for any characters, `?` for one; `studbook inspect` lists the names"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::operator::Value;
    use crate::plan::resolve::testing::{Folder, GOOD, mistakes};

    fn with(rules: &str) -> String {
        GOOD.replace("density = 0.5", &format!("density = 0.5\nrules = {rules}"))
    }

    #[test]
    fn rules_and_ramps_come_through() {
        let plan = Folder::new().plan(&with(
            "[{ tensors = \"*.wq.*\", density = { ramp = [0.2, 1] } }, { tensors = \"layers.*\", \
             weight = { one = { ramp = [0, 1] }, two = 0.5 } }]",
        ));
        let ties = plan.candidates.last().unwrap();
        assert_eq!(ties.rules.len(), 2);
        assert_eq!(ties.rules[0].tensors, "*.wq.*");
        assert_eq!(ties.rules[0].parameters["density"], Value::Ramps { ramps: vec![vec![0.2, 1.0]; 2] });
        let ramps = vec![vec![0.0, 1.0], vec![0.5]];
        assert_eq!(ties.rules[1].parameters["weight"], Value::Ramps { ramps });
    }

    #[test]
    fn slips_are_told() {
        let found = mistakes(&with("[{ tensors = \"*.wx.*\", density = 0.1 }]"));
        assert_eq!(found[0].message, "no tensor is called `*.wx.*`");
        assert!(found[0].label.contains("layers.0."), "{}", found[0].label);
        assert_eq!(mistakes(&with("[{ tensors = \"*\" }]"))[0].message, "this rule changes nothing");
        let found = mistakes(&with("[{ tensors = \"*\", densty = 0.1, density = { ramp = [0, 2] } }]"));
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].message, "`sign_merge` has no parameter `densty`");
        assert_eq!(found[1].message, "`density` cannot be 2");
        let found = mistakes(&with("[{ density = 0.1 }]"));
        assert_eq!(found[0].message, "[[rules]] needs `tensors`");
        let found = mistakes(&GOOD.replace("density = 0.5", "density = { ramp = [] }"));
        assert_eq!(found[0].message, "the ramp of parameter `density` has no numbers");
    }
}
