//! How few cases decide: a gate that rests on a handful of them is passed, or not, by chance. It is told, and not
//! refused, before anybody is asked: whoever starts has no more, and a gate may be there to be looked at.
//!
//! Gates with a confidence on answers that are right or wrong say themselves that too few cases decide nothing. A
//! bootstrap does not: of a single case it draws that case each time, and is sure.

use super::Resolver;
use crate::base::diagnostic::Diagnostic;
use crate::base::wording::count;
use crate::evaluate::evaluator::Values;
use crate::evaluate::measured_by;
use crate::plan::resolved::{Gate, GateRule};

/// With fewer cases than this a quality is hardly a number: half of so many that are right may be a third, or two
/// thirds, of all.
const FEW: usize = 30;

impl Resolver<'_> {
    /// Warns of suites with few cases that gates of quality rest on; once for each suite.
    pub(super) fn enough_cases(&mut self, gates: &[Gate]) {
        for section in &self.file.evals {
            let Some(name) = &section.name else { continue };
            let Some(cases) = self.read.get(&name.value).map(|suite| suite.cases.len()) else { continue };
            if cases >= FEW {
                continue;
            }
            let resting = gates.iter().filter(|gate| rests_on(gate, name.value.as_str()));
            let resting: Vec<String> = resting.map(|gate| format!("`{}`", gate.name)).collect();
            if resting.is_empty() {
                continue;
            }
            let message =
                format!("{} of `{}` decide at {}", count(cases, "case"), name.value, resting.join(", "));
            let each = match cases {
                1 => "the one there is decides all".to_owned(),
                _ => format!("each moves the result by {:.0} %", 100.0 / cases as f64),
            };
            self.mistake(
                Diagnostic::warning(message, name.span.clone())
                    .expected(format!("expected {FEW} or more: {each}"))
                    .help("so few pass or fail by chance, and a claim that rests on them says little: add cases"),
            );
        }
    }
}

/// Whether a gate asks for quality on this suite and does not itself say how sure it is.
fn rests_on(gate: &Gate, suite: &str) -> bool {
    let GateRule::Metric(rule) = &gate.rule else { return false };
    let Some((evaluator, metric)) = measured_by(&rule.metric) else { return false };
    let sure = rule.confidence.is_some() && metric.values == Values::Binary;
    evaluator.measures_quality() && !sure && rule.suites.iter().any(|name| name.as_str() == suite)
}

#[cfg(test)]
mod tests {
    use crate::plan::resolve::testing::{Folder, GOOD};

    const RIGHT: &str = "metric = \"exact_match\"\nsuites = [\"digits\"]\nmin = 0.5";

    /// What is warned of if `digits` has so many cases and the gate on them is this.
    fn warned(cases: usize, gate: &str) -> Vec<(String, String)> {
        assert!(GOOD.contains(RIGHT));
        let folder = Folder::new();
        let case = |i: usize| format!("{{\"id\":\"c{i}\",\"prompt\":\"{i}=\",\"expected\":\"{i}\"}}\n");
        folder.write("suite.jsonl", (0..cases).map(case).collect::<String>().as_bytes());
        let (plan, found) = folder.check(&GOOD.replacen(RIGHT, gate, 1));
        assert!(plan.is_some(), "{found:?}");
        let mine = found.into_iter().filter(|found| found.message.contains(" of `digits` decide"));
        mine.map(|found| (found.message, found.label)).collect()
    }

    #[test]
    fn few_cases_are_told_where_they_decide() {
        assert_eq!(warned(30, RIGHT), []);
        let found = warned(29, RIGHT);
        let [(message, expected)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(message, "29 cases of `digits` decide at `quality`, `no-worse`");
        assert_eq!(expected, "expected 30 or more: each moves the result by 3 %");
        assert!(warned(1, RIGHT)[0].1.ends_with("the one there is decides all"));
        // It says itself that they are too few.
        let sure = format!("{RIGHT}\nconfidence = 0.95");
        assert_eq!(warned(8, &sure)[0].0, "8 cases of `digits` decide at `no-worse`");
    }
}
