//! Candidate sections: what is made of whom. One section is one candidate, or a family by sweep.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::Resolver;
use crate::base::diagnostic::Diagnostic;
use crate::base::name::Name;
use crate::mergekit::method;
use crate::operator::{self, Operator, Slice};
use crate::plan::file::CandidateSection;
use crate::plan::resolved::Candidate;
use crate::plan::wording::count;

/// A plan of more candidates than this is a slip in a sweep, whatever its budget says.
pub(super) const MAX_CANDIDATES: usize = 100_000;

/// What all candidates of a section have in common.
pub(super) struct Family<'s> {
    pub(super) section: &'s CandidateSection,
    pub(super) operator: &'static dyn Operator,
    pub(super) base: Option<Name>,
    pub(super) parents: Vec<Name>,
    pub(super) tokens_of_base: bool,
    pub(super) slices: Vec<Slice>,
}

impl Family<'_> {
    /// How many models the operator sees: stacked layers are one.
    pub(super) fn operands(&self) -> usize {
        if self.slices.is_empty() { self.parents.len() } else { 1 }
    }
}

impl Resolver<'_> {
    pub(super) fn candidates(&mut self) -> Vec<Candidate> {
        if self.file.candidates.is_empty() && !self.file.nameless.contains(&"candidates") {
            self.section_missing(
                "`[candidates.NAME]`",
                "add one with an `operator` and the `parents` it combines",
            );
        }
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut taken: BTreeSet<Name> = self.file.parents.iter().map(|p| p.name.value.clone()).collect();
        for section in &self.file.candidates {
            let Some(family) = self.family(section) else { continue };
            let room = MAX_CANDIDATES - candidates.len();
            let made = self.spell_out(&family, room);
            self.names_free(section, &made, &mut taken);
            candidates.extend(made);
        }
        candidates
    }

    /// Parents and candidates share folders and stage names, so they share one set of names.
    fn names_free(&mut self, section: &CandidateSection, made: &[Candidate], taken: &mut BTreeSet<Name>) {
        for candidate in made {
            if taken.insert(candidate.name.clone()) {
                continue;
            }
            let message = format!("the name `{}` is taken", candidate.name);
            let help = if section.sweep.is_empty() {
                "rename one of the two"
            } else {
                "rename one of the two, or list each value of the sweep once"
            };
            self.mistake(
                Diagnostic::error(message, section.name.span.clone())
                    .expected("expected a name that no parent and no other candidate has")
                    .help(help),
            );
            return;
        }
    }

    fn family<'s>(&mut self, section: &'s CandidateSection) -> Option<Family<'s>> {
        let named = section.operator.as_ref()?;
        let Some(operator) = operator::find(&named.value) else {
            self.unknown("operator", named, |_| operator::OPERATORS.iter().map(|o| o.name()).collect());
            if let (Some(told), Some(mistake)) = (method::as_here(&named.value), self.out.last_mut()) {
                mistake.help.insert(0, told);
            }
            return None;
        };
        let parents = self.candidate_parents(section, operator);
        let base = self.candidate_base(section, operator);
        let tokens_of_base = self.vocabulary(section);
        let slices = self.slices(section, operator);
        let (base, parents, slices) = (base.ok()?, parents?, slices?);
        Some(Family { section, operator, base, parents, tokens_of_base, slices })
    }

    fn vocabulary(&mut self, section: &CandidateSection) -> bool {
        match section.vocabulary.as_ref().map(|word| (word.value.as_str(), word)) {
            None => false,
            Some(("base", _)) => true,
            Some((_, word)) => {
                self.unknown("vocabulary", word, |_| vec!["base"]);
                false
            }
        }
    }

    fn candidate_parents(
        &mut self,
        section: &CandidateSection,
        operator: &dyn Operator,
    ) -> Option<Vec<Name>> {
        let listed = section.parents.as_ref()?;
        for name in &listed.value {
            self.parent_known(name);
        }
        self.each_once("parent", &listed.value);
        let (found, mut allowed) = (listed.value.len(), operator.parents());
        if operator.stacks() && section.slices.is_some() {
            allowed = 1..=usize::MAX;
        }
        if !allowed.contains(&found) {
            // A parent that could not be read is missing here, too; that was told.
            if !self.told(&listed.span) {
                let message = format!("`{}` cannot be made from {}", operator.name(), count(found, "parent"));
                let mistake = Diagnostic::error(message, listed.span.clone()).expected(how_many(&allowed));
                self.mistake(if operator.stacks() && found > 1 {
                    mistake.help("add `slices`, the layers to take of each")
                } else {
                    mistake
                });
            }
            return None;
        }
        Some(listed.value.iter().map(|name| name.value.clone()).collect())
    }

    fn candidate_base(
        &mut self,
        section: &CandidateSection,
        operator: &dyn Operator,
    ) -> Result<Option<Name>, ()> {
        match &section.base {
            None if operator.needs_base() => self.only_base(section, operator).map(Some),
            None => Ok(None),
            Some(base) if operator.takes_base() => {
                self.parent_known(base).then(|| Some(base.value.clone())).ok_or(())
            }
            Some(base) => {
                let message = format!("`{}` takes no base", operator.name());
                self.mistake(
                    Diagnostic::error(message, base.span.clone())
                        .expected("expected no `base` here")
                        .help("remove it, or choose an operator that works on differences from a base"),
                );
                Err(())
            }
        }
    }

    /// Where a plan has one base, nobody needs to repeat its name.
    fn only_base(&mut self, section: &CandidateSection, operator: &dyn Operator) -> Result<Name, ()> {
        let is_base = |parent: &&crate::plan::file::ParentSection| {
            parent.role.as_ref().is_some_and(|role| role.value == "base")
        };
        let bases: Vec<_> = self.file.parents.iter().filter(is_base).collect();
        if let [base] = bases.as_slice() {
            return Ok(base.name.value.clone());
        }
        let message = format!("`{}` works on differences from a base, and none is named", operator.name());
        let help = match bases.len() {
            0 => "add `base = \"NAME\"` here, or mark one parent with `role = \"base\"`".to_owned(),
            many => format!("add `base = \"NAME\"` here: {many} parents have the role `base`"),
        };
        self.mistake(Diagnostic::error(message, section.span.clone()).expected("expected `base`").help(help));
        Err(())
    }
}

fn how_many(allowed: &RangeInclusive<usize>) -> String {
    match (*allowed.start(), *allowed.end()) {
        (least, usize::MAX) => format!("expected at least {}", count(least, "parent")),
        (least, most) if least == most => format!("expected exactly {}", count(least, "parent")),
        (least, most) => format!("expected {least} to {most} parents"),
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::resolve::testing::{Folder, GOOD, mistakes};

    #[test]
    fn the_only_base_need_not_be_named() {
        let plan = Folder::new().plan(GOOD);
        let tasks = plan.candidates.iter().find(|c| c.family.as_str() == "tasks").unwrap();
        assert_eq!(tasks.base.as_ref().unwrap().as_str(), "base");
        let average = &plan.candidates[0];
        assert_eq!((average.name.as_str(), &average.base), ("average", &None));
    }

    #[test]
    fn without_a_base_the_plan_must_say_which() {
        let found = mistakes(&GOOD.replace("role = \"base\"", "role = \"parent\""));
        assert_eq!(found.len(), 2, "tasks and ties: {found:?}");
        assert_eq!(found[0].message, "`task_delta` works on differences from a base, and none is named");
        let both = GOOD.replace("source = \"one.slm\"", "source = \"one.slm\"\nrole = \"base\"");
        assert_eq!(mistakes(&both)[0].help, ["add `base = \"NAME\"` here: 2 parents have the role `base`"]);
    }

    #[test]
    fn a_base_may_be_optional() {
        let spherical = GOOD.replace("operator = \"blend\"", "operator = \"nuslerp\"");
        let base_of = |text: &str| Folder::new().plan(text).candidates[0].base.clone();
        assert_eq!(base_of(&spherical), None, "not even the only one, unless it is named");
        let named = spherical.replace("operator = \"nuslerp\"", "operator = \"nuslerp\"\nbase = \"base\"");
        assert_eq!(base_of(&named).unwrap().as_str(), "base");
        let refused = GOOD.replace("operator = \"blend\"", "operator = \"slerp\"\nbase = \"base\"");
        assert!(mistakes(&refused).iter().any(|mistake| mistake.message == "`slerp` takes no base"));
    }

    #[test]
    fn names_are_taken_once() {
        let found = mistakes(&GOOD.replace("[candidates.average]", "[candidates.one]"));
        assert_eq!(found[0].message, "the name `one` is taken");
        let twice = mistakes(&GOOD.replace("lambda = [0.3, 0.5]", "lambda = [0.5, 0.5]"));
        assert_eq!(twice.len(), 1, "{twice:?}");
        assert_eq!(twice[0].message, "the name `tasks-lambda0.5` is taken");
    }

    #[test]
    fn parents_are_counted_unless_one_was_unreadable() {
        let parents = |list: &str| mistakes(&GOOD.replacen("parents = [\"one\", \"two\"]", list, 1));
        let found = parents("parents = []");
        assert_eq!(found[0].message, "`blend` cannot be made from 0 parents");
        let found = parents("parents = [3]");
        assert_eq!(found.len(), 1, "{found:?}");
        let found = parents("parents = [\"one\", \"one\"]");
        assert_eq!(found[0].message, "the parent `one` is listed twice");
    }
}
