//! Demands that no model can meet, or that every model does.
//!
//! They can be judged, so they are no mistakes, but hardly what was meant: a share of right answers is asked
//! for as `0.9` and not as `90`.

use super::Resolver;
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::evaluate;
use crate::plan::file::GateSection;
use crate::plan::wording::number;

impl Resolver<'_> {
    pub(super) fn can_be_met_and_missed(&mut self, section: &GateSection, metric: &Located<String>) {
        let Some((_, info)) = evaluate::measured_by(&metric.value) else { return };
        let (name, (least, greatest)) = (info.name, info.range);
        let range = match greatest.is_finite() {
            true => format!("from {least} to {greatest}"),
            false => format!("at least {least}"),
        };
        let range = format!("`{name}` is {range}");
        let limits = [
            (&section.min, "no model has at least", greatest, "every model has at least", least),
            (&section.max, "no model has at most", least, "every model has at most", greatest),
        ];
        for (limit, never, beyond, always, until) in limits {
            let Some(limit) = limit else { continue };
            let value = number(limit.value);
            // On which side of the range a limit is hopeless, and on which it is idle.
            let sign = if beyond > until { 1.0 } else { -1.0 };
            if sign * limit.value > sign * beyond {
                self.pointless(limit, format!("{never} {value} of `{name}`"), &range);
            } else if sign * limit.value <= sign * until {
                self.pointless(limit, format!("{always} {value} of `{name}`"), &range);
            }
        }
        let Some(margin) = section.margin.as_ref().filter(|_| section.versus.is_some()) else { return };
        if margin.value > info.spread() {
            let message = format!("no model is {} better in `{name}`", number(margin.value));
            self.pointless(margin, message, &range);
        } else if margin.value <= -info.spread() {
            let message = format!("no model is more than {} worse in `{name}`", number(-margin.value));
            self.pointless(margin, message, &range);
        }
    }

    fn pointless(&mut self, place: &Located<f64>, message: String, range: &str) {
        self.mistake(
            Diagnostic::warning(message, place.span.clone())
                .expected(range)
                .help("a gate that everybody passes, or nobody, decides nothing, and no claim rests on it"),
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::resolve::testing::{Folder, GOOD};

    /// What is said of the gate on right answers with these demands.
    fn warned(demands: &str) -> Vec<String> {
        let old = "metric = \"exact_match\"\nsuites = [\"digits\"]\nmin = 0.5";
        assert!(GOOD.contains(old));
        let new = format!("metric = \"exact_match\"\nsuites = [\"digits\"]\n{demands}");
        let (plan, found) = Folder::new().check(&GOOD.replacen(old, &new, 1));
        assert!(plan.is_some(), "{found:?}");
        found.into_iter().map(|found| found.message).collect()
    }

    #[test]
    fn demands_that_decide_nothing_are_warned_of() {
        assert!(warned("min = 0.5").is_empty() && warned("min = 1").is_empty());
        assert_eq!(warned("min = 1.5"), ["no model has at least 1.5 of `exact_match`"]);
        assert_eq!(warned("min = 1e308"), ["no model has at least 1e308 of `exact_match`"]);
        assert_eq!(warned("min = 0"), ["every model has at least 0 of `exact_match`"]);
        assert_eq!(warned("max = 1"), ["every model has at most 1 of `exact_match`"]);
        assert_eq!(warned("max = -0.5"), ["no model has at most -0.5 of `exact_match`"]);
        let versus = |margin: &str| warned(&format!("versus = \"one\"\nmargin = {margin}"));
        assert!(versus("-0.1").is_empty() && versus("1").is_empty());
        assert_eq!(versus("5"), ["no model is 5 better in `exact_match`"]);
        assert_eq!(versus("-1"), ["no model is more than 1 worse in `exact_match`"]);
    }
}
