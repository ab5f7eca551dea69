//! Names that would share a file among what a cycle shows.
//!
//! The outputs of a model are shown in one folder for each kind of stage: `NAME.json` beside
//! `NAME.files.json` and `NAME.sigstore.json`, a child as `NAME.slm`, or under its bare name if it is a
//! folder. Names may have dots, so `k` and `k.files` both have a `k.files.json`, and `k.json` as a folder
//! lies where the record of `k` does. One of the two would be missing, or the run could not end.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Resolver;
use crate::base::diagnostic::Diagnostic;
use crate::plan::resolved::Candidate;

/// Between the name of any model and the last `.json` of its files.
const OF_MODELS: [&str; 2] = [".files", ".sigstore"];

/// Behind the name of a candidate in its files; another's folder may be called so.
const OF_CHILDREN: [&str; 6] = [".json", ".files.json", ".sigstore.json", ".slm", ".gguf", ".safetensors"];

/// Behind the labels of evaluations, which end with a suite's name.
const OF_SUITES: &str = "sigstore";

impl Resolver<'_> {
    pub(super) fn files_differ(&mut self, candidates: &[Candidate]) {
        let children: BTreeSet<&str> = candidates.iter().map(|candidate| candidate.name.as_str()).collect();
        let parents = self.file.parents.iter().map(|section| section.name.value.as_str());
        let models: BTreeSet<&str> = parents.chain(children.iter().copied()).collect();
        let beyond = |name: &str, known: &BTreeSet<&str>, endings: &[&str]| -> Option<String> {
            let stems = endings.iter().filter_map(|ending| name.strip_suffix(ending));
            stems.filter(|stem| known.contains(stem)).map(str::to_owned).next()
        };
        for section in &self.file.parents {
            let name = section.name.value.as_str();
            if let Some(other) = beyond(name, &models, &OF_MODELS) {
                self.same_files(name, &other, section.name.span.clone());
            }
        }
        let mut told = BTreeSet::new();
        for candidate in candidates {
            let name = candidate.name.as_str();
            let other = beyond(name, &models, &OF_MODELS).or_else(|| beyond(name, &children, &OF_CHILDREN));
            // One mistake of a sweep is enough.
            let Some(other) = other.filter(|_| told.insert(&candidate.family)) else { continue };
            let section = self.section_of(candidate);
            self.same_files(name, &other, section.map_or(0..0, |section| section.name.span.clone()));
        }
        self.suites_end_otherwise();
    }

    fn same_files(&mut self, name: &str, other: &str, span: Range<usize>) {
        self.mistake(
            Diagnostic::error(format!("files of `{name}` and of `{other}` would have the same name"), span)
                .expected(format!("expected a name that is not `{other}` and an ending of its files"))
                .help("rename one of the two, best without `.`"),
        );
    }

    fn suites_end_otherwise(&mut self) {
        for name in self.file.evals.iter().filter_map(|section| section.name.as_ref()) {
            if name.value.as_str().rsplit('.').next() == Some(OF_SUITES) {
                let message =
                    format!("files of the suite `{}` would be called like attestations", name.value);
                self.mistake(
                    Diagnostic::error(message, name.span.clone())
                        .expected(format!("expected a name that does not end with `{OF_SUITES}`"))
                        .help("rename the suite"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::resolve::testing::{Folder, GOOD, mistakes};

    /// `GOOD` with its first candidate under another name.
    fn called(name: &str) -> String {
        GOOD.replace("[candidates.average]", &format!("[candidates.\"{name}\"]"))
    }

    fn only(plan: &str) -> String {
        let found = mistakes(plan);
        assert_eq!(found.len(), 1, "{found:?}");
        let span = found[0].span.clone().unwrap();
        format!("{}: {}", &plan[span], found[0].message)
    }

    #[test]
    fn children_have_their_own_files() {
        let same = |name: &str, other: &str| {
            format!("\"{name}\": files of `{name}` and of `{other}` would have the same name")
        };
        for ending in ["json", "files", "files.json", "sigstore", "sigstore.json", "slm"] {
            let name = format!("ties.{ending}");
            assert_eq!(only(&called(&name)), same(&name, "ties"));
        }
        assert_eq!(only(&called("tasks-lambda0.3.json")), same("tasks-lambda0.3.json", "tasks-lambda0.3"));
        assert_eq!(only(&called("one.sigstore")), same("one.sigstore", "one"));
        for name in ["ties.v2", "one.json", "other.files", "tiesjson"] {
            Folder::new().plan(&called(name));
        }
    }

    #[test]
    fn parents_have_their_own_files() {
        let more = "[parents.\"one.files\"]\nsource = \"one.slm\"\n\n[candidates.average]";
        assert_eq!(
            only(&GOOD.replace("[candidates.average]", more)),
            "\"one.files\": files of `one.files` and of `one` would have the same name"
        );
    }

    #[test]
    fn suites_are_no_attestations() {
        for name in ["sigstore", "digits.sigstore"] {
            let plan = GOOD.replace("\"digits\"", &format!("\"{name}\""));
            let wanted = format!("\"{name}\": files of the suite `{name}` would be called like attestations");
            assert_eq!(only(&plan), wanted);
        }
    }
}
