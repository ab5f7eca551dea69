//! What the cycle leaves behind: the review's objectives and the pool's size.

use super::Resolver;
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::plan::file::ReviewSection;
use crate::plan::resolved::{ARTIFACT_BYTES, NO_OP, Objective, Review, Suite};

const DEFAULT_POOL: u64 = 2;

impl Resolver<'_> {
    pub(super) fn review(&mut self, suites: &[Suite]) -> Review {
        let section = self.file.review.as_ref();
        let objectives = match section.and_then(|section| section.objectives.as_ref()) {
            Some(listed) => {
                if listed.value.is_empty() {
                    self.mistake(
                        Diagnostic::error("the review ranks by nothing", listed.span.clone())
                            .expected("expected suites or `artifact_bytes`"),
                    );
                }
                self.objectives(&listed.value)
            }
            None => whatever_may_select(suites),
        };
        Review { objectives, no_op: section.and_then(|section| self.no_op(section)) }
    }

    fn objectives(&mut self, listed: &[Located<String>]) -> Vec<Objective> {
        self.each_once("objective", listed);
        let mut objectives = Vec::new();
        for name in listed {
            if name.value == ARTIFACT_BYTES {
                objectives.push(Objective::ArtifactBytes);
            } else if self.known.suites.contains(name.value.as_str()) {
                objectives.extend(name.value.parse().map(Objective::Suite));
            } else {
                self.unknown("objective", name, |known| {
                    known.suites.iter().copied().chain([ARTIFACT_BYTES]).collect()
                });
            }
        }
        objectives
    }

    fn no_op(&mut self, section: &ReviewSection) -> Option<crate::base::name::Name> {
        let name = section.no_op.as_ref()?;
        let (parents, families) = (&self.file.parents, &self.file.candidates);
        let mut named = parents.iter().map(|it| &it.name).chain(families.iter().map(|it| &it.name));
        if let Some(taken) = named.find(|name| name.value.as_str() == NO_OP) {
            self.mistake(
                Diagnostic::error(
                    format!("`{NO_OP}` is what the review calls doing nothing"),
                    taken.span.clone(),
                )
                .expected("expected another name for this one")
                .help("or leave `no_op` out of `[review]`"),
            );
        }
        self.parent_known(name).then(|| name.value.clone())
    }

    pub(super) fn pool_size(&mut self) -> u64 {
        let given = self.file.recipe.as_ref().and_then(|section| section.parents.as_ref());
        if let Some(given) = given.filter(|given| given.value == 0) {
            self.mistake(
                Diagnostic::error("the recipe selects no parents", given.span.clone())
                    .expected("expected at least 1"),
            );
        }
        given.map_or(DEFAULT_POOL, |given| given.value)
    }
}

/// A plan that ranks by nothing in particular ranks by every suite that may select, and by the size of
/// its models if there is none.
fn whatever_may_select(suites: &[Suite]) -> Vec<Objective> {
    let suites: Vec<_> = suites
        .iter()
        .filter(|suite| suite.r#use.selects())
        .map(|suite| Objective::Suite(suite.name.clone()))
        .collect();
    if suites.is_empty() { vec![Objective::ArtifactBytes] } else { suites }
}

#[cfg(test)]
mod tests {
    use crate::plan::Objective;
    use crate::plan::resolve::testing::{Folder, GOOD, mistakes};

    #[test]
    fn objectives_are_suites_and_the_size() {
        let folder = Folder::new();
        let names = |plan: &str| -> Vec<String> {
            folder.plan(plan).review.objectives.iter().map(|o| Objective::name(o).to_owned()).collect()
        };
        assert_eq!(names(GOOD), ["digits"], "every suite if nothing is said");
        let listed = "[review]\nobjectives = [\"artifact_bytes\", \"digits\"]";
        assert_eq!(names(&GOOD.replace("[review]", listed)), ["artifact_bytes", "digits"]);
    }

    #[test]
    fn what_cannot_be_ranked_by_is_told() {
        let listed = |list: &str| {
            let found = mistakes(&GOOD.replace("[review]", &format!("[review]\nobjectives = {list}")));
            found.into_iter().map(|found| found.message).collect::<Vec<_>>()
        };
        assert_eq!(listed("[]"), ["the review ranks by nothing"]);
        assert_eq!(listed("[\"digit\"]"), ["unknown objective `digit`"]);
        assert_eq!(listed("[\"digits\", \"digits\"]"), ["the objective `digits` is listed twice"]);
    }

    #[test]
    fn limits_hold() {
        let found = mistakes(&GOOD.replace("[recipe]\nparents = 2", "[recipe]\nparents = 0"));
        assert_eq!(found[0].message, "the recipe selects no parents");
    }
}
