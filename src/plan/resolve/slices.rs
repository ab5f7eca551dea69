//! Slices: the layers of parents that a candidate is stacked of.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::Resolver;
use super::parents::{Facts, Models};
use crate::base::diagnostic::Diagnostic;
use crate::base::name::Name;
use crate::convert::in_names_of;
use crate::model::Package;
use crate::operator::alike::{Layered, Misfit, one_place};
use crate::operator::depth::Depth;
use crate::operator::{Operator, Slice};
use crate::plan::file::{CandidateSection, SliceSection};
use crate::plan::resolved::Candidate;
use crate::plan::wording::count;
use crate::tensor::shape::Shape;

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

    /// No slice goes beyond its parent's last layer, or is of layers that cannot stand in the child.
    pub(super) fn slices_fit(&mut self, candidates: &[Candidate], models: &Models) {
        let families: BTreeMap<&Name, &Candidate> =
            candidates.iter().map(|candidate| (&candidate.family, candidate)).collect();
        for section in &self.file.candidates {
            let Some(candidate) = families.get(&section.name.value) else { continue };
            let slices = section.slices.iter().flat_map(|slices| &slices.value);
            slices.for_each(|slice| self.slice_fits(slice, candidate, models));
        }
    }

    fn slice_fits(&mut self, slice: &SliceSection, candidate: &Candidate, models: &Models) {
        let (Some(parent), Some(layers)) = (&slice.parent, &slice.layers) else { return };
        let Some(facts) = models.get(&parent.value) else { return };
        if let Err(why) = place(&parent.value, models) {
            self.misfit(&why, &parent.span);
            return;
        }
        let depth = depth(facts);
        if layers.value.1 > depth {
            let message = format!("`{}` has {}", parent.value, count(depth, "layer"));
            self.mistake(Diagnostic::error(message, layers.span.clone()).expected(format!(
                "expected the first layer, from 0, and the one after the last, at most {depth}"
            )));
            return;
        }
        let Some((like, of_like)) = candidate.like().and_then(|like| Some((like, models.get(like)?))) else {
            return;
        };
        if let Err(why) = layers_fit((&parent.value, facts), layers.value.0..layers.value.1, (like, of_like))
        {
            self.misfit(&why, &layers.span);
        }
    }

    /// Tells once what is wrong with a place.
    fn misfit(&mut self, why: &Misfit, span: &Range<usize>) {
        if !self.told(span) {
            self.mistake(Diagnostic::error(why.to_string(), span.clone()).expected(why.expected()));
        }
    }

    /// Whether every slice is of layers that are there; what is wrong was told.
    pub(super) fn slices_are_there(&self, candidate: &Candidate, models: &Models) -> bool {
        let is_there = |slice: &Slice| {
            let facts = models.get(&slice.parent).filter(|_| place(&slice.parent, models).is_ok());
            facts.is_some_and(|facts| slice.layers[1] <= depth(facts))
        };
        candidate.slices.iter().all(is_there)
    }
}

fn names(facts: &Facts) -> impl Iterator<Item = &str> {
    facts.package.own_tensors().map(|info| info.name.as_str())
}

fn depth(facts: &Facts) -> usize {
    Depth::of(names(facts)).layers()
}

/// Layers of a parent are those of one place.
fn place(parent: &Name, models: &Models) -> Result<(), Misfit> {
    models.get(parent).map_or(Ok(()), |facts| one_place(parent.as_str(), names(facts)))
}

/// Whether a network of the configuration that the child gets has layers like these. Of two networks that are
/// known the compatibility report says the fields in which they differ, and of tensors that have no name
/// there, that they have none.
fn layers_fit(
    (parent, facts): (&Name, &Facts),
    mut layers: Range<usize>,
    (like, of_like): (&Name, &Facts),
) -> Result<(), Misfit> {
    let (package, child) = (&*facts.package, &*of_like.package);
    if parent == like || (package.config.is_ok() && child.config.is_ok()) {
        return Ok(());
    }
    let shapes = |package: &Package| in_names_of(package, child).ok();
    let (Some(theirs), Some(own)) = (shapes(package), shapes(child)) else { return Ok(()) };
    let (theirs, own) = (layered(&theirs), layered(&own));
    layers.try_for_each(|layer| own.takes(like.as_str(), (parent.as_str(), &theirs), layer))
}

fn layered(tensors: &[(String, Shape)]) -> Layered<'_> {
    Layered::new(tensors.iter().map(|(name, shape)| (name.as_str(), shape)))
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
