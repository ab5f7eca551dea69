//! That the parents of a candidate are of one network: what their compatibility report refuses can be known before.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::Resolver;
use super::parents::Models;
use crate::base::diagnostic::Diagnostic;
use crate::base::name::Name;
use crate::convert::one_layer;
use crate::model::Package;
use crate::model::networks::networks_differ;
use crate::plan::resolved::Candidate;

impl Resolver<'_> {
    /// Warns of parents whose networks differ, once for each section: it is no mistake to declare candidates that
    /// are refused.
    pub(super) fn networks_agree(&mut self, candidates: &[Candidate], models: &Models) {
        let mut seen = BTreeSet::new();
        for candidate in candidates {
            let Some(like) = candidate.like().filter(|_| seen.insert(&candidate.family)) else { continue };
            let others = candidate.base.iter().chain(&candidate.parents).filter(|name| *name != like);
            let differences = others.map(|name| {
                let [ours, theirs] = [like, name].map(|name| compared(candidate, name, models));
                let (Some(ours), Some(theirs)) = (ours, theirs) else { return Vec::new() };
                let (ours, theirs) = ((like.as_str(), &*ours), (name.as_str(), &*theirs));
                networks_differ(ours, theirs, candidate.tokens_of_base)
            });
            let first = differences.into_iter().find(|differences| !differences.is_empty());
            let parents = self.section_of(candidate).and_then(|section| section.parents.as_ref());
            let (Some(first), Some(parents)) = (first, parents) else { continue };
            self.mistake(
                Diagnostic::warning(first.join("; "), parents.span.clone())
                    .expected("expected parents of one network and one context")
                    .help(format!("the compatibility report of `{}` refuses them", candidate.family)),
            );
        }
    }
}

/// What the report compares of a parent: of stacked layers it is those that must be alike, and not how many a
/// model has.
fn compared<'m>(candidate: &Candidate, name: &Name, models: &'m Models) -> Option<Cow<'m, Package>> {
    let package = &*models.get(name)?.package;
    if candidate.slices.is_empty() {
        return Some(Cow::Borrowed(package));
    }
    let slice = candidate.slices.iter().find(|slice| slice.parent == *name)?;
    one_layer(package, name, slice.layers[0]).ok().map(Cow::Owned)
}
