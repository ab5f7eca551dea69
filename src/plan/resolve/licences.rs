//! `[licences]`: which licences may meet in a child.

use super::Resolver;
use crate::base::diagnostic::Diagnostic;
use crate::model::licence::Policy;

impl Resolver<'_> {
    pub(super) fn licences(&mut self) -> Option<Policy> {
        let section = self.file.licences.as_ref()?;
        let mut policy = Policy::default();
        if let Some(allow) = &section.allow {
            if allow.value.is_empty() {
                self.mistake(
                    Diagnostic::error("no licence is allowed", allow.span.clone())
                        .expected("expected at least one licence"),
                );
            }
            self.each_once("licence", &allow.value);
            policy.allow = Some(allow.value.iter().map(|licence| licence.value.clone()).collect());
        }
        for together in section.forbid.iter().flat_map(|forbid| &forbid.value) {
            let mut licences = together.value.0.clone();
            licences.sort();
            licences.dedup();
            if licences.len() < together.value.0.len() {
                self.mistake(Diagnostic::error("a licence is named twice", together.span.clone()));
            }
            if licences.is_empty() {
                self.mistake(
                    Diagnostic::error("a combination of no licences", together.span.clone())
                        .expected("expected one or more licences that may not meet"),
                );
            }
            policy.forbid.push(together.value.0.clone());
        }
        match section.undeclared.as_ref().map(|word| (word.value.as_str(), word)) {
            None | Some(("allow", _)) => {}
            Some(("refuse", _)) => policy.refuse_undeclared = true,
            Some((_, word)) => {
                self.unknown("word for parents without a licence", word, |_| vec!["allow", "refuse"]);
            }
        }
        Some(policy)
    }
}
