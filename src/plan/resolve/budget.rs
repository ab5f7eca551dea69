//! What a cycle is called, what it may cost, and whether its candidates could cost more.
//!
//! A child is as large as its base or first parent in the child's format and encoding, so sizes are known
//! before anything is made; a plan that cannot be paid for does not become one.

use super::Resolver;
use super::children::Children;
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::convert::Target;
use crate::plan::file::BudgetSection;
use crate::plan::resolved::{Budget, Candidate, Cycle};
use crate::tensor::dtype::DType;

impl Resolver<'_> {
    pub(super) fn cycle(&mut self) -> Option<Cycle> {
        let Some(section) = &self.file.cycle else {
            self.section_missing("`[cycle]`", "add `[cycle]` with a `name` and a `seed`");
            return None;
        };
        let (name, seed) = (section.name.as_ref()?, section.seed.as_ref()?);
        Some(Cycle { name: name.value.clone(), seed: seed.value.clone() })
    }

    pub(super) fn budget(&mut self) -> Option<Budget> {
        let Some(section) = &self.file.budget else {
            self.section_missing(
                "`[budget]`",
                "add `[budget]` with `candidates`, `artifact`, `disk` and `seconds`: nothing runs without limits",
            );
            return None;
        };
        Some(Budget {
            candidates: section.candidates.as_ref()?.value,
            artifact: section.artifact.as_ref()?.value.0,
            disk: section.disk.as_ref()?.value.0,
            seconds: section.seconds.as_ref()?.value,
        })
    }

    pub(super) fn within_budget(
        &mut self,
        budget: Budget,
        candidates: &[Candidate],
        children: &Children<'_>,
    ) {
        let Some(section) = &self.file.budget else { return };
        let count = candidates.len() as u64;
        if count > budget.candidates {
            let message = format!("the plan declares {count} candidates");
            self.over(&section.candidates, message, budget.candidates, "raise this, or sweep over less");
        }
        self.bytes_within(section, budget, candidates, children);
    }

    fn bytes_within(
        &mut self,
        section: &BudgetSection,
        budget: Budget,
        candidates: &[Candidate],
        children: &Children<'_>,
    ) {
        if self.file.cycle.as_ref().is_some_and(|cycle| cycle.unclear) {
            // How children are stored was said and not understood: their length is not known.
            return;
        }
        let mut total = 0_u64;
        let mut largest: Option<(u64, &Candidate)> = None;
        for candidate in candidates {
            let child = children.of(candidate).and_then(|child| child.as_ref().ok());
            let Some(bytes) = child.map(|child| child.bytes) else { continue };
            total = total.saturating_add(bytes.saturating_mul(candidate.made()));
            if largest.is_none_or(|(most, _)| bytes > most) {
                largest = Some((bytes, candidate));
            }
        }
        if let Some((bytes, candidate)) = largest.filter(|(bytes, _)| *bytes > budget.artifact) {
            let message = format!("`{}` would have {bytes} bytes", candidate.name);
            let format =
                children.of(candidate).and_then(|child| child.as_ref().ok()).map(|child| child.format);
            let help = format!("raise this, or {}", self.smaller(format.unwrap_or(Target::Slm1)));
            self.over(&section.artifact, message, budget.artifact, &help);
        }
        if total > budget.disk {
            let trials = candidates.iter().any(|candidate| candidate.made() > 1);
            let trials = if trials { ", trial soups included," } else { "" };
            let message = format!("all candidates together{trials} would have {total} bytes");
            self.over(&section.disk, message, budget.disk, "raise this, or declare fewer candidates");
        }
    }

    /// How to have smaller children of a format.
    fn smaller(&self, format: Target) -> &'static str {
        let halves = [Some(DType::F16), Some(DType::BF16)];
        match format {
            Target::Slm1 | Target::Trained => "store children with `output = \"q8_0\"` or \"q4_0\"",
            Target::Gguf => "store children with `output = \"q8_0\"`",
            _ if halves.contains(&self.form("").dtype) => {
                "set `format = \"gguf\"` and `output = \"q8_0\"` in `[cycle]`"
            }
            Target::HuggingFace | Target::Safetensors => "store children with `output = \"bf16\"` or \"f16\"",
        }
    }

    fn over<T>(&mut self, limit: &Option<Located<T>>, message: String, allowed: u64, help: &str) {
        let Some(limit) = limit else { return };
        self.mistake(
            Diagnostic::error(message, limit.span.clone())
                .expected(format!("expected at most {allowed}"))
                .help(help),
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
    fn no_plan_exceeds_its_budget() {
        assert_eq!(
            only(&GOOD.replace("candidates = 8", "candidates = 3")),
            "the plan declares 4 candidates; expected at most 3"
        );
        let small = only(&GOOD.replace("artifact = \"1 MiB\"", "artifact = 100"));
        assert!(small.starts_with("`average` would have "), "{small}");
        let small = only(&GOOD.replace("disk = \"8 MiB\"", "disk = \"10 kB\""));
        assert!(small.starts_with("all candidates together would have "), "{small}");
        assert!(small.ends_with("expected at most 10000"), "{small}");
    }

    #[test]
    fn a_missing_section_is_told_at_the_top() {
        let found =
            mistakes(&GOOD.replace("[cycle]\nname = \"tiny\"\nseed = \"7\"\noutput = \"q8_0\"\n", ""));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].span, Some(0..0));
        assert_eq!(found[0].help, ["add `[cycle]` with a `name` and a `seed`"]);
    }
}
