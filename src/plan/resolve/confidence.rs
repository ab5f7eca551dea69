//! How sure a bootstrap can be at all: its p values are no smaller than its draws allow, and those of all gates
//! and candidates are adjusted together. What no number of cases could decide is told before anybody is asked.

use super::Resolver;
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::base::name::Name;
use crate::evaluate::bootstrap::{LEAST_P, RESAMPLES};
use crate::evaluate::evaluator::Values;
use crate::evaluate::measured_by;
use crate::plan::resolved::{Candidate, Gate, GateRule};
use crate::plan::wording::number;

impl Resolver<'_> {
    /// By Holm the smallest p value of all is multiplied by their number. Exact tests have as small ones as their
    /// cases allow and may come first, so only those by bootstrap are counted.
    pub(super) fn confidence_in_reach(&mut self, gates: &[Gate], candidates: &[Candidate]) {
        let drawn: Vec<&Gate> = gates.iter().filter(|gate| is_drawn(gate)).collect();
        let count = |gate: &&Gate| candidates.iter().filter(|candidate| gate.is_for(candidate)).count();
        let tests: usize = drawn.iter().map(count).sum();
        let level = tests as f64 * LEAST_P;
        for gate in drawn {
            let mut sections = self.file.gates.iter();
            let own = |name: &Located<Name>| name.value == gate.name;
            let section = sections.find(|section| section.name.as_ref().is_some_and(own));
            let Some(confidence) = section.and_then(|section| section.confidence.as_ref()) else { continue };
            if 1.0 - confidence.value >= level {
                continue;
            }
            let asked = number(confidence.value);
            let message = format!("`{}` can never be decided: nobody can be {asked} sure of it", gate.name);
            let of = format!("by {RESAMPLES} draws each, of {tests} tests that are adjusted together");
            let most = ((1.0 - level) * 1e4).floor() / 1e4;
            let expected = if most > 0.5 {
                format!("at most {}, {of}", number(most))
            } else {
                format!("fewer tests {of}")
            };
            self.mistake(
                Diagnostic::error(message, confidence.span.clone())
                    .expected(format!("expected {expected}"))
                    .help("be content with less, or ask for a confidence at fewer gates or for fewer candidates"),
            );
        }
    }
}

/// Whether a gate is decided by draws: with a confidence, of cases that are not right or wrong.
fn is_drawn(gate: &Gate) -> bool {
    let GateRule::Metric(rule) = &gate.rule else { return false };
    let exact = measured_by(&rule.metric).is_none_or(|(_, metric)| metric.values == Values::Binary);
    rule.confidence.is_some() && !exact
}

#[cfg(test)]
mod tests {
    use crate::plan::resolve::testing::{Folder, GOOD};

    const RIGHT: &str = "metric = \"exact_match\"\nsuites = [\"digits\"]\nmin = 0.5";

    /// What is said of the plan's confidence if one of its gates, that two candidates have, is this.
    fn told(gate: &str) -> Vec<(String, String)> {
        assert!(GOOD.contains(RIGHT));
        let suite =
            "\n[[eval]]\nname = \"texts\"\nkind = \"perplexity\"\ncases = \"texts.jsonl\"\nuse = \"gate\"\n";
        let folder = Folder::new();
        folder.write("texts.jsonl", b"{\"id\":\"t1\",\"text\":\"text\"}\n");
        let (plan, found) = folder.check(&(GOOD.replacen(RIGHT, gate, 1) + suite));
        let mine: Vec<_> = found.iter().filter(|found| found.message.contains("be decided")).collect();
        assert_eq!(plan.is_some(), mine.is_empty(), "{found:?}");
        mine.into_iter().map(|found| (found.message.clone(), found.label.clone())).collect()
    }

    #[test]
    fn what_no_number_of_cases_decides_is_told_before_they_are_asked() {
        let drawn = "metric = \"bits_per_byte\"\nsuites = [\"texts\"]\nmax = 4\nconfidence = ";
        assert_eq!(told(&format!("{drawn}0.9998")), []);
        let found = told(&format!("{drawn}0.9999"));
        let [(message, expected)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(message, "`quality` can never be decided: nobody can be 0.9999 sure of it");
        let most = "expected at most 0.9998, by 10000 draws each, of 2 tests that are adjusted together";
        assert_eq!(expected, most);
        // Exact tests can be as sure as one likes.
        assert_eq!(told(&format!("{RIGHT}\nconfidence = 0.9999")), []);
    }
}
