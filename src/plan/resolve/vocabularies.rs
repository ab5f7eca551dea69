//! That models whose tokens are matched say which tokens they have.

use std::collections::BTreeSet;

use super::Resolver;
use super::parents::Models;
use crate::base::diagnostic::Diagnostic;
use crate::base::name::Name;
use crate::model::tokenizer::vocabulary::Vocabulary;
use crate::plan::resolved::Candidate;

impl Resolver<'_> {
    /// Tokens are matched by what they are, so every model must say it.
    pub(super) fn vocabularies_known(&mut self, candidates: &[Candidate], models: &Models) {
        let mut seen: BTreeSet<&Name> = BTreeSet::new();
        let asking = candidates.iter().filter(|candidate| candidate.tokens_of_base);
        for candidate in asking.filter(|candidate| seen.insert(&candidate.family)) {
            let silent = candidate.base.iter().chain(&candidate.parents).find(|name| {
                models.get(*name).is_some_and(|facts| Vocabulary::of_package(&facts.package).is_none())
            });
            let section = self.section_of(candidate);
            let word = section.and_then(|section| section.vocabulary.as_ref());
            let (Some(silent), Some(word)) = (silent, word) else { continue };
            self.mistake(
                Diagnostic::error(
                    format!(
                        "`vocabulary` is for models that say which tokens they have, and `{silent}` does not"
                    ),
                    word.span.clone(),
                )
                .expected("expected a tokenizer with each of the models")
                .help("put its tokenizer beside the model, or remove `vocabulary`"),
            );
        }
    }
}
