//! The registry's limits: bytes of a model, and until when its metadata holds.

use super::Resolver;
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::plan::resolved::RegistryPlan;
use crate::registry::SELECTOR_BUDGET;
use crate::registry::tuf::check::is_date;

impl Resolver<'_> {
    pub(super) fn registry(&mut self) -> RegistryPlan {
        let section = self.file.registry.as_ref();
        let expires = section.and_then(|section| section.expires.as_ref());
        let root = section.and_then(|section| section.root_expires.as_ref());
        let plan = RegistryPlan {
            budget: self.registry_budget(),
            expires: expires.and_then(|given| self.date(given)),
            root_expires: root.and_then(|given| self.date(given)),
        };
        if let Some(given) = root {
            let wrong = match (&plan.expires, &plan.root_expires) {
                (None, _) if expires.is_none() => Some("nothing expires but the root"),
                (Some(expires), Some(root)) if root < expires => {
                    Some("the root expires before what it signs")
                }
                _ => None,
            };
            if let Some(wrong) = wrong {
                let expected = "expected `expires`, and a root that holds at least as long";
                self.mistake(Diagnostic::error(wrong, given.span.clone()).expected(expected));
            }
        }
        plan
    }

    fn registry_budget(&mut self) -> u64 {
        let given = self.file.registry.as_ref().and_then(|section| section.budget.as_ref());
        if let Some(given) = given.filter(|given| given.value.0 > SELECTOR_BUDGET) {
            let message = format!("the selector cannot be asked to load {} bytes", given.value.0);
            self.mistake(
                Diagnostic::error(message, given.span.clone())
                    .expected(format!("expected at most {SELECTOR_BUDGET}, its model budget")),
            );
        }
        given.map_or(SELECTOR_BUDGET, |given| given.value.0)
    }

    /// A day, which begins at midnight UTC, or a second.
    fn date(&mut self, given: &Located<String>) -> Option<String> {
        let whole = format!("{}T00:00:00Z", given.value);
        let found = [whole, given.value.clone()].into_iter().find(|text| is_date(text));
        if found.is_none() {
            self.mistake(
                Diagnostic::error(format!("{:?} is no date", given.value), given.span.clone()).expected(
                    "expected a day such as \"2027-06-30\", or a time such as \"2027-06-30T12:00:00Z\"",
                ),
            );
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::resolve::testing::{Folder, GOOD, mistakes};

    #[test]
    fn limits_hold() {
        for (lines, why) in [
            ("budget = \"1 GB\"", "the selector cannot be asked to load 1000000000 bytes"),
            ("expires = \"soon\"", "\"soon\" is no date"),
            ("expires = \"2027-02-30\"", "\"2027-02-30\" is no date"),
            ("expires = \"2027-06-30T00:00:00+01:00\"", "\"2027-06-30T00:00:00+01:00\" is no date"),
            ("root_expires = \"2027-06-30\"", "nothing expires but the root"),
            (
                "expires = \"2027-06-30\"\nroot_expires = \"2027-06-29\"",
                "the root expires before what it signs",
            ),
        ] {
            let found = mistakes(&format!("{GOOD}\n[registry]\n{lines}\n"));
            assert_eq!(found.iter().map(|found| found.message.as_str()).collect::<Vec<_>>(), [why]);
        }
    }

    #[test]
    fn a_day_begins_at_midnight() {
        let plan = Folder::new().plan(&format!("{GOOD}\n[registry]\nexpires = \"2027-06-30\"\n"));
        assert_eq!(plan.registry.expires.as_deref(), Some("2027-06-30T00:00:00Z"));
        assert_eq!(plan.registry.root_expires, None);
    }
}
