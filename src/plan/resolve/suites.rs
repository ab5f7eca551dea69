//! Smoke prompts and evaluation suites: what every candidate is asked.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::Resolver;
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::base::name::Name;
use crate::evaluate::harness::External;
use crate::evaluate::{self, EvaluateError, Evaluator, Measure};
use crate::plan::file::EvalSection;
use crate::plan::resolved::{Candidate, Smoke, Suite, SuiteUse};

const DEFAULT_MAX_TOKENS: u64 = 32;
pub(super) const MAX_TOKENS: u64 = 4096;

impl Resolver<'_> {
    pub(super) fn smoke(&mut self) -> Smoke {
        let Some(section) = &self.file.smoke else {
            self.section_missing(
                "`[smoke]`",
                "add `[smoke]` with `prompts`, which every candidate must answer",
            );
            return Smoke { prompts: Vec::new(), max_tokens: DEFAULT_MAX_TOKENS };
        };
        if let Some(list) = section.prompts.as_ref().filter(|list| list.value.is_empty())
            && !self.told(&list.span)
        {
            self.mistake(
                Diagnostic::error("`[smoke]` has no prompts", list.span.clone())
                    .expected("expected at least one text")
                    .help("a candidate that was never asked anything has not been seen to run"),
            );
        }
        for empty in section.prompts.iter().flat_map(|list| &list.value).filter(|one| one.value.is_empty()) {
            self.mistake(
                Diagnostic::error("a prompt of `[smoke]` is empty", empty.span.clone())
                    .expected("expected at least one character")
                    .help("models continue a text; of none there is nothing to continue"),
            );
        }
        let prompts = section.prompts.iter().flat_map(|list| &list.value).map(|prompt| prompt.value.clone());
        Smoke { prompts: prompts.collect(), max_tokens: self.max_tokens(section.max_tokens.as_ref()) }
    }

    fn max_tokens(&mut self, given: Option<&Located<u64>>) -> u64 {
        let Some(given) = given else { return DEFAULT_MAX_TOKENS };
        if !(1..=MAX_TOKENS).contains(&given.value) {
            self.mistake(
                Diagnostic::error(format!("`max_tokens` cannot be {}", given.value), given.span.clone())
                    .expected(format!("expected 1 to {MAX_TOKENS}")),
            );
        }
        given.value
    }

    /// The suites that are right; what they are used for is known once gates and review are.
    pub(super) fn suites(&mut self) -> Vec<Suite> {
        let mut suites = Vec::new();
        let mut taken: BTreeSet<&Name> = BTreeSet::new();
        for section in &self.file.evals {
            let evaluator = self.evaluator(section);
            let options = self.options(section, evaluator);
            let cases = match evaluator {
                Some(evaluator) => self.cases(section, evaluator),
                None => self.cases_of_nobody(section),
            };
            let given = self.suite_use(section);
            let Some(name) = &section.name else { continue };
            if !taken.insert(&name.value) {
                self.mistake(
                    Diagnostic::error(format!("two suites are called `{}`", name.value), name.span.clone())
                        .expected("expected a name that no other suite has")
                        .help("rename one of the two"),
                );
                continue;
            }
            let Some(evaluator) = evaluator else { continue };
            let r#use = given.unwrap_or_else(|| self.inferred_use(&name.value));
            suites.push(Suite { name: name.value.clone(), kind: evaluator.name(), cases, options, r#use });
        }
        suites
    }

    fn evaluator(&mut self, section: &EvalSection) -> Option<&'static dyn Evaluator> {
        let kind = section.kind.as_ref()?;
        let found = evaluate::find(&kind.value);
        if found.is_none() {
            self.unknown("evaluator", kind, |_| evaluate::EVALUATORS.iter().map(|e| e.name()).collect());
        }
        found
    }

    /// Whose cases these are is unclear; that they are not there is not.
    fn cases_of_nobody(&mut self, section: &EvalSection) -> Option<PathBuf> {
        let named = section.cases.as_ref()?;
        let path = self.folder.join(&named.value);
        self.file_exists(&path, named).then_some(path)
    }

    /// The cases are read now: a malformed one is a mistake in what the plan names, and is told before
    /// anything runs.
    fn cases(&mut self, section: &EvalSection, evaluator: &'static dyn Evaluator) -> Option<PathBuf> {
        if evaluator.name() == External::NAME {
            if let Some(named) = &section.cases {
                self.mistake(
                    Diagnostic::error("the cases of `external` are the harness's", named.span.clone())
                        .expected("expected no `cases` here")
                        .help("remove it"),
                );
            }
            return None;
        }
        let Some(named) = &section.cases else {
            self.mistake(
                Diagnostic::error("[[eval]] needs `cases`", section.span.clone())
                    .expected("expected `cases`, a JSON Lines file"),
            );
            return None;
        };
        let path = self.folder.join(&named.value);
        if !self.file_exists(&path, named) {
            return None;
        }
        match evaluate::Suite::read(evaluator, &path) {
            Ok(suite) => {
                let name = section.name.as_ref().map_or_else(String::new, |name| name.value.to_string());
                for case in &suite.cases {
                    self.cases.entry(case.digest()).or_default().insert(name.clone());
                }
                if let Some(name) = &section.name {
                    self.read.insert(name.value.clone(), suite);
                }
            }
            Err(EvaluateError::Suite { line, why }) => self.mistake(
                Diagnostic::error(format!("{}:{line}: the case {why}", path.display()), named.span.clone())
                    .expected(format!("expected cases for `{}`", evaluator.name())),
            ),
            Err(error) => self.mistake(
                Diagnostic::error(format!("{}: {error}", path.display()), named.span.clone())
                    .expected(format!("expected cases for `{}`", evaluator.name())),
            ),
        }
        Some(path)
    }

    /// What the plan says the suite is for.
    fn suite_use(&mut self, section: &EvalSection) -> Option<SuiteUse> {
        let given = section.r#use.as_ref()?;
        let found = SuiteUse::ALL.iter().find(|(word, _)| *word == given.value).map(|(_, r#use)| *r#use);
        if found.is_none() {
            self.unknown("use", given, |_| SuiteUse::ALL.iter().map(|(word, _)| *word).collect());
        }
        found
    }

    /// Evaluations are called `MODEL.SUITE`, and both names may have dots: `a` on `b.c` would be `a.b`
    /// on `c`. Two stages of one name would share a file.
    pub(super) fn labels_differ(&mut self, candidates: &[Candidate]) {
        let suites: Vec<&Located<Name>> = self.file.evals.iter().filter_map(|s| s.name.as_ref()).collect();
        if suites.iter().all(|name| !name.value.as_str().contains('.')) {
            return;
        }
        let parents = self.file.parents.iter().map(|section| section.name.value.as_str());
        let models: BTreeSet<&str> = parents.chain(candidates.iter().map(|c| c.name.as_str())).collect();
        for suite in suites {
            let text = suite.value.as_str();
            for (dot, _) in text.match_indices('.') {
                let (start, rest) = (&text[..dot], &text[dot + 1..]);
                if !self.known.suites.contains(rest) {
                    continue;
                }
                let clash = models.iter().find(|model| models.contains(format!("{model}.{start}").as_str()));
                if let Some(model) = clash {
                    self.same_label(suite, model, &format!("{model}.{start}"), rest);
                }
            }
        }
    }

    fn same_label(&mut self, suite: &Located<Name>, model: &str, other: &str, rest: &str) {
        let message = format!(
            "`{model}` on the suite `{}` and `{other}` on the suite `{rest}` have the same name",
            suite.value
        );
        self.mistake(
            Diagnostic::error(message, suite.span.clone())
                .expected("expected a name that keeps evaluations apart")
                .help("write the suite's name without `.`"),
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::resolve::testing::{GOOD, mistakes};

    fn only(plan: &str) -> String {
        let found = mistakes(plan);
        assert_eq!(found.len(), 1, "{found:?}");
        format!("{}; {}", found[0].message, found[0].label)
    }

    #[test]
    fn something_must_be_asked() {
        let prompts = "prompts = [\"ab\", \"1+1=\"]";
        assert_eq!(
            only(&GOOD.replace(prompts, "prompts = []")),
            "`[smoke]` has no prompts; expected at least one text"
        );
        assert!(only(&GOOD.replace(prompts, "prompts = [1]")).starts_with("`prompts` in [smoke] cannot be"));
        assert!(only(&GOOD.replace(prompts, "prompts = \"ab\"")).contains("not a list"));
        assert_eq!(
            only(&GOOD.replace(prompts, "prompts = [\"ab\", \"\"]")),
            "a prompt of `[smoke]` is empty; expected at least one character"
        );
        assert_eq!(
            only(&GOOD.replace(&format!("{prompts}\nmax_tokens = 4"), "prompts = [\"ab\"]\nmax_tokens = 0")),
            "`max_tokens` cannot be 0; expected 1 to 4096"
        );
    }

    #[test]
    fn suites_have_their_own_names() {
        let second =
            "[[eval]]\nname = \"digits\"\nkind = \"exact_match\"\ncases = \"suite.jsonl\"\n\n[review]";
        assert!(only(&GOOD.replace("[review]", second)).starts_with("two suites are called `digits`"));
    }

    #[test]
    fn evaluations_have_their_own_names() {
        // `tasks-lambda0` does not exist, `tasks-lambda0.3` does: a parent of that name makes the clash.
        let second = "[parents.tasks-lambda0]\nsource = \"one.slm\"\n\n[[eval]]\nname = \"3.digits\"\n\
                      kind = \"exact_match\"\ncases = \"suite.jsonl\"\n\n[review]";
        assert_eq!(
            only(&GOOD.replace("[review]", second)),
            "`tasks-lambda0` on the suite `3.digits` and `tasks-lambda0.3` on the suite `digits` have the \
             same name; expected a name that keeps evaluations apart"
        );
    }
}
