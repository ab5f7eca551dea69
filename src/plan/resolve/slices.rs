//! Slices: the layers of parents that a candidate is stacked of.

use std::collections::BTreeSet;

use super::Resolver;
use super::parents::Models;
use crate::base::diagnostic::Diagnostic;
use crate::base::name::Name;
use crate::operator::depth::Depth;
use crate::operator::{Operator, Slice};
use crate::plan::file::{CandidateSection, SliceSection};
use crate::plan::resolved::Candidate;
use crate::plan::wording::count;

impl Resolver<'_> {
    /// The slices of a section: none if it has none, nothing if they are wrong.
    pub(super) fn slices(
        &mut self,
        section: &CandidateSection,
        operator: &dyn Operator,
    ) -> Option<Vec<Slice>> {
        let Some(given) = &section.slices else { return Some(Vec::new()) };
        if !operator.stacks() {
            let message = format!("`{}` takes no slices", operator.name());
            self.mistake(
                Diagnostic::error(message, given.span.clone())
                    .expected("expected no `slices` here")
                    .help("`passthrough` stacks layers; its child can be a parent of a later cycle"),
            );
            return None;
        }
        if given.value.is_empty() {
            if !self.told(&given.span) {
                self.mistake(
                    Diagnostic::error("there are no slices to stack", given.span.clone())
                        .expected("expected at least one, such as `{ parent = \"one\", layers = [0, 8] }`"),
                );
            }
            return None;
        }
        let listed = section.parents.as_ref()?;
        let parents: Vec<&str> = listed.value.iter().map(|name| name.value.as_str()).collect();
        for parent in given.value.iter().filter_map(|slice| slice.parent.as_ref()) {
            if !parents.contains(&parent.value.as_str()) {
                let message = format!("a slice of `{}`, which is no parent of this candidate", parent.value);
                self.unlisted(message, parent, |_| parents.clone());
            }
        }
        let used: BTreeSet<&Name> =
            given.value.iter().filter_map(|slice| Some(&slice.parent.as_ref()?.value)).collect();
        for idle in listed.value.iter().filter(|name| !used.contains(&name.value)) {
            if given.value.iter().any(|slice| slice.parent.is_none()) {
                break; // It may be the one that could not be read.
            }
            self.mistake(
                Diagnostic::error(format!("no slice is of the parent `{}`", idle.value), idle.span.clone())
                    .expected("expected a slice of each parent")
                    .help("remove it, or add a slice with layers of it"),
            );
        }
        let slice = |section: &SliceSection| {
            let (parent, layers) = (section.parent.as_ref()?, section.layers.as_ref()?.value);
            Some(Slice { parent: parent.value.clone(), layers: [layers.0, layers.1] })
        };
        given.value.iter().map(slice).collect()
    }

    /// No slice goes beyond its parent's last layer.
    pub(super) fn slices_fit(&mut self, candidates: &[Candidate], models: &Models) {
        let families: BTreeSet<&Name> = candidates.iter().map(|candidate| &candidate.family).collect();
        let sections = &self.file.candidates;
        for section in sections.iter().filter(|section| families.contains(&section.name.value)) {
            for slice in section.slices.iter().flat_map(|slices| &slices.value) {
                let (Some(parent), Some(layers)) = (&slice.parent, &slice.layers) else { continue };
                let Some(depth) = depth(&parent.value, models) else { continue };
                if layers.value.1 <= depth {
                    continue;
                }
                let message = format!("`{}` has {}", parent.value, count(depth, "layer"));
                self.mistake(Diagnostic::error(message, layers.span.clone()).expected(format!(
                    "expected the first layer, from 0, and the one after the last, at most {depth}"
                )));
            }
        }
    }

    /// Whether every slice is of layers that are there; what is wrong was told.
    pub(super) fn slices_are_there(&self, candidate: &Candidate, models: &Models) -> bool {
        let is_there =
            |slice: &Slice| depth(&slice.parent, models).is_some_and(|depth| slice.layers[1] <= depth);
        candidate.slices.iter().all(is_there)
    }
}

fn depth(parent: &Name, models: &Models) -> Option<usize> {
    let names = models.get(parent)?.package.weights.infos().iter().map(|info| info.name.as_str());
    Some(Depth::of(names).layers())
}

#[cfg(test)]
mod tests {
    use crate::operator::Slice;
    use crate::plan::resolve::testing::{Folder, GOOD, mistakes};

    fn stacked(slices: &str) -> String {
        GOOD.replace("operator = \"blend\"", &format!("operator = \"passthrough\"\nslices = {slices}"))
    }

    const BOTH: &str = "[{ parent = \"one\", layers = [0, 1] }, { parent = \"two\", layers = [0, 1] }]";

    fn told(slices: &str) -> Vec<String> {
        mistakes(&stacked(slices)).into_iter().map(|found| found.message).collect()
    }

    #[test]
    fn slices_come_through() {
        let plan = Folder::new().plan(&stacked(BOTH));
        let slice = |name: &str| Slice { parent: name.parse().unwrap(), layers: [0, 1] };
        assert_eq!(plan.candidates[0].slices, [slice("one"), slice("two")]);
    }

    #[test]
    fn slips_are_told_at_their_place() {
        let text = stacked(&BOTH.replace("\"two\", layers = [0, 1]", "\"two\", layers = [0, 3]"));
        let found = mistakes(&text);
        assert_eq!(found[0].message, "`two` has 1 layer");
        assert_eq!(&text[found[0].span.clone().unwrap()], "[0, 3]");
        assert_eq!(told("[]"), ["there are no slices to stack"]);
        assert_eq!(
            told(&BOTH.replace("\"two\"", "\"base\"")),
            ["a slice of `base`, which is no parent of this candidate", "no slice is of the parent `two`"]
        );
        assert_eq!(
            told(&BOTH.replace("[0, 1] }]", "[1, 1] }]")),
            ["`layers` in [[slices]]: from 1 to before 1 there is no layer"]
        );
        assert_eq!(told(&BOTH.replace("parent = \"two\", ", "")), ["[[slices]] needs `parent`"]);
        assert_eq!(told("3"), ["`slices` is the number 3, not a list of tables"]);
        let blend = GOOD.replace("density = 0.5", &format!("density = 0.5\nslices = {BOTH}"));
        assert_eq!(mistakes(&blend)[0].message, "`sign_merge` takes no slices");
        let without = mistakes(&GOOD.replace("operator = \"blend\"", "operator = \"passthrough\""));
        assert_eq!(without[0].help, ["add `slices`, the layers to take of each"]);
    }

    #[test]
    fn children_have_the_size_of_their_layers() {
        let many = format!("[{}]", ["{ parent = \"one\", layers = [0, 1] }"; 2000].join(", "));
        let text = stacked(&many).replacen("parents = [\"one\", \"two\"]", "parents = [\"one\"]", 1);
        let found = mistakes(&text);
        assert!(found[0].message.starts_with("`average` would have "), "{found:?}");
    }
}
