//! Names: which are declared, and what to say of one that is not.

use std::collections::{BTreeMap, BTreeSet};

use super::Resolver;
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::plan::file::{ParentSection, PlanFile};
use crate::plan::wording::{one_of, suggest};

/// Finding the nearest of many names is slow, and nobody reads the thousandth mistake.
const ENOUGH_ADVICE: usize = 200;

/// Everything that has a section, whether or not the section is right.
pub(super) struct Known<'p> {
    pub(super) parents: BTreeMap<&'p str, &'p ParentSection>,
    /// Candidate sections, not the single candidates of a sweep.
    pub(super) families: BTreeSet<&'p str>,
    pub(super) suites: BTreeSet<&'p str>,
}

impl<'p> Known<'p> {
    pub(super) fn of(file: &'p PlanFile) -> Self {
        let suite = |name: &'p Located<crate::base::name::Name>| name.value.as_str();
        Self {
            parents: file.parents.iter().map(|section| (section.name.value.as_str(), section)).collect(),
            families: file.candidates.iter().map(|section| section.name.value.as_str()).collect(),
            suites: file.evals.iter().filter_map(|section| section.name.as_ref()).map(suite).collect(),
        }
    }

    pub(super) fn parent_names(&self) -> Vec<&'p str> {
        self.parents.keys().copied().collect()
    }

    pub(super) fn suite_names(&self) -> Vec<&'p str> {
        self.suites.iter().copied().collect()
    }
}

impl<'p> Resolver<'p> {
    /// Reports a name that is not declared; `known` lists those that are.
    pub(super) fn unknown<'n>(
        &mut self,
        what: &str,
        name: &Located<impl AsRef<str>>,
        known: impl FnOnce(&Known<'p>) -> Vec<&'n str>,
    ) {
        self.unlisted(format!("unknown {what} `{}`", name.value.as_ref()), name, known);
    }

    /// Like [`Self::unknown`], in other words.
    pub(super) fn unlisted<'n>(
        &mut self,
        message: String,
        name: &Located<impl AsRef<str>>,
        known: impl FnOnce(&Known<'p>) -> Vec<&'n str>,
    ) {
        let word = name.value.as_ref();
        let diagnostic = Diagnostic::error(message, name.span.clone());
        if self.out.len() >= ENOUGH_ADVICE {
            return self.mistake(diagnostic.expected("expected a name that is declared"));
        }
        let known = known(&self.known);
        let expected = if known.is_empty() {
            "expected a name, but none is declared".to_owned()
        } else {
            one_of(&known)
        };
        self.mistake(suggest(diagnostic.expected(expected), word, &known));
    }

    /// A parent that must have a section.
    pub(super) fn parent_known(&mut self, name: &Located<impl AsRef<str>>) -> bool {
        let known = self.known.parents.contains_key(name.value.as_ref());
        if !known {
            self.unknown("parent", name, Known::parent_names);
        }
        known
    }

    /// Reports every repetition in a list.
    pub(super) fn each_once<N: AsRef<str>>(&mut self, what: &str, list: &[Located<N>]) {
        let mut seen = BTreeSet::new();
        for name in list {
            let word = name.value.as_ref();
            if !seen.insert(word) {
                let message = format!("the {what} `{word}` is listed twice");
                self.mistake(
                    Diagnostic::error(message, name.span.clone())
                        .expected(format!("expected each {what} once"))
                        .help("remove one of them"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::resolve::testing::{GOOD, mistakes};

    #[test]
    fn an_unknown_name_gets_the_declared_ones_and_the_nearest() {
        let found = mistakes(&GOOD.replace("no_op = \"base\"", "no_op = \"bas\""));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].message, "unknown parent `bas`");
        assert_eq!(found[0].label, "expected one of `base`, `one`, `two`");
        assert_eq!(found[0].help, ["did you mean `base`?"]);
    }

    #[test]
    fn a_section_with_mistakes_is_still_declared() {
        // The suite's evaluator is wrong; the gate and the objective that name the suite are right.
        let found = mistakes(&GOOD.replace("kind = \"exact_match\"", "kind = \"exact_mach\""));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].message, "unknown evaluator `exact_mach`");
    }
}
