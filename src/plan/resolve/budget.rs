//! What a cycle is called, what it may cost, and whether its candidates could cost more.
//!
//! A child is as large as its base or first parent in the child's format and encoding, so sizes are known
//! before anything is made; a plan that cannot be paid for does not become one.

use super::Resolver;
use super::children::Children;
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::convert::Target;
use crate::evaluate::Measure;
use crate::evaluate::quantization_delta::QuantizationDelta;
use crate::plan::file::BudgetSection;
use crate::plan::resolved::{Budget, Candidate, Cycle, Suite};
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
        suites: &[Suite],
        children: &Children<'_>,
    ) {
        let Some(section) = &self.file.budget else { return };
        let count = candidates.len() as u64;
        if count > budget.candidates {
            let message =
                format!("the plan declares {}", crate::plan::wording::count(candidates.len(), "candidate"));
            self.over(&section.candidates, message, budget.candidates, "raise this, or sweep over less");
        }
        let against = suites.iter().find(|suite| suite.kind == QuantizationDelta::NAME);
        self.bytes_within(section, budget, candidates, against, children);
    }

    fn bytes_within(
        &mut self,
        section: &BudgetSection,
        budget: Budget,
        candidates: &[Candidate],
        against: Option<&Suite>,
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
            let Some(child) = child else { continue };
            let bytes = child.bytes;
            total = total.saturating_add(bytes.saturating_mul(candidate.made()));
            // What a child is held against is made and kept, too.
            total = total.saturating_add(against.map_or(0, |_| child.full));
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
            let twins = against.map(|suite| format!("themselves in f32 for `{}`", suite.name));
            let more = trials.then(|| "trial soups".to_owned()).into_iter().chain(twins);
            let more = more.collect::<Vec<_>>().join(" and ");
            let more = if more.is_empty() { more } else { format!(", {more} included,") };
            let message = format!("all candidates together{more} would have {total} bytes");
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

    /// A suite that holds children against themselves in f32 has those made, too.
    #[test]
    fn children_in_f32_count_where_a_suite_needs_them() {
        let total = |plan: &str| -> u64 {
            let told = only(&plan.replace("disk = \"8 MiB\"", "disk = 100"));
            let digits = told.split("would have ").nth(1).and_then(|rest| rest.split(' ').next());
            digits.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{told}"))
        };
        let suite = "[[eval]]\nname = \"rounding\"\nkind = \"quantization_delta\"\n\
                     cases = \"texts.jsonl\"\n\n[review]";
        let folder = crate::plan::resolve::testing::Folder::new();
        folder.write("texts.jsonl", b"{\"id\":\"a\",\"text\":\"any\"}\n");
        let with = GOOD.replace("[review]", suite).replace("disk = \"8 MiB\"", "disk = 100");
        let (_, found) = folder.check(&with);
        let told = found.iter().find(|found| found.message.contains("all candidates")).unwrap();
        assert!(told.message.contains(", themselves in f32 for `rounding` included,"), "{}", told.message);
        let digits = told.message.split("would have ").nth(1).unwrap().split(' ').next().unwrap();
        let (without, with): (u64, u64) = (total(GOOD), digits.parse().unwrap());
        // 32 bits for 8 and a part of a scale.
        assert!(with > 3 * without, "{without} without, {with} with");
        // Who is in f32 is himself.
        let plain = |plan: &str| plan.replace("output = \"q8_0\"", "output = \"f32\"");
        let (_, found) = folder.check(&plain(&GOOD.replace("[review]", suite).replace("8 MiB", "100 kB")));
        assert!(found.iter().all(|found| !found.message.contains("would have")), "{found:?}");
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
