//! Sweeps: one section, many candidates, each named after its values.
//!
//! Values are checked once each, not once for every combination they are in; what is left for the
//! combinations is their name, and whether the operator takes these values together.

use super::Resolver;
use super::candidates::{Family, MAX_CANDIDATES};
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::base::name::Name;
use crate::operator::{self, Parameters, Rule, Value};
use crate::plan::file::Written;
use crate::plan::resolved::Candidate;

/// A parameter and all it goes through, each value with its text in names.
struct Axis<'s> {
    key: &'s str,
    values: Vec<(String, Value)>,
}

impl Resolver<'_> {
    /// Every candidate of a family; none if anything about it is wrong. `room` is how many fit.
    pub(super) fn spell_out(&mut self, family: &Family<'_>, room: usize) -> Vec<Candidate> {
        let before = self.out.len();
        let fixed = self.fixed(family);
        let rules = self.rules(family);
        let axes = self.axes(family);
        let size = combinations(&axes);
        if size.is_none_or(|size| size > room) {
            self.too_many(family);
        }
        if self.out.len() > before {
            return Vec::new();
        }
        let made =
            (0..size.unwrap_or_default()).map_while(|place| self.one(family, &fixed, &rules, &axes, place));
        let made: Vec<Candidate> = made.collect();
        if self.out.len() > before { Vec::new() } else { made }
    }

    fn axes<'s>(&mut self, family: &Family<'s>) -> Vec<Axis<'s>> {
        let mut axes = Vec::new();
        for (key, values) in &family.section.sweep {
            let Some(parameter) = self.declared(family, key) else { continue };
            let mut axis = Axis { key: &key.value, values: Vec::with_capacity(values.len()) };
            for written in values {
                let Some(text) = self.text_in_names(key, written) else { continue };
                axis.values.extend(self.value(family, parameter, written).map(|value| (text, value)));
            }
            axes.push(axis);
        }
        axes
    }

    fn text_in_names(&mut self, key: &Located<String>, written: &Located<Written>) -> Option<String> {
        match &written.value {
            Written::Number(number) => Some(number.to_string().replace('-', "m")),
            Written::Flag(flag) => Some(flag.to_string()),
            Written::Text(text) => Some(text.clone()),
            Written::List(_) | Written::ByParent(_) | Written::Ramp(_) => {
                let message = format!("the sweep over `{}` has a value of several numbers", key.value);
                self.mistake(
                    Diagnostic::error(message, written.span.clone())
                        .expected("expected a number, `true`, `false` or a word: it becomes part of a name")
                        .help("write a section of its own for this value"),
                );
                None
            }
        }
    }

    fn too_many(&mut self, family: &Family<'_>) {
        let message = format!("the sweep of `{}` makes too many candidates", family.section.name.value);
        self.mistake(
            Diagnostic::error(message, family.section.span.clone())
                .expected(format!("expected at most {MAX_CANDIDATES} candidates in the plan"))
                .help("sweep over fewer values, or over fewer parameters"),
        );
    }

    /// The candidate at a place of the sweep.
    fn one(
        &mut self,
        family: &Family<'_>,
        fixed: &Parameters,
        rules: &[Rule],
        axes: &[Axis<'_>],
        place: usize,
    ) -> Option<Candidate> {
        let mut name = family.section.name.value.to_string();
        let mut parameters = fixed.clone();
        for (axis, index) in axes.iter().zip(indices(axes, place)) {
            let (text, value) = &axis.values[index];
            name.push_str(&format!("-{}{text}", axis.key));
            parameters.insert(axis.key.to_owned(), value.clone());
        }
        let name = self.checked_name(family, &name)?;
        if let Err(why) = operator::check(family.operator, &parameters, rules, family.operands()) {
            self.mistake(
                Diagnostic::error(format!("`{name}`: {why}"), family.section.span.clone())
                    .expected("expected values that make sense together"),
            );
            return None;
        }
        Some(Candidate {
            name,
            family: family.section.name.value.clone(),
            operator: family.operator,
            base: family.base.clone(),
            parents: family.parents.clone(),
            tokens_of_base: family.tokens_of_base,
            parameters,
            rules: rules.to_vec(),
            slices: family.slices.clone(),
        })
    }

    fn checked_name(&mut self, family: &Family<'_>, name: &str) -> Option<Name> {
        let refused = |error: crate::base::name::NameError| {
            let message = format!("the sweep would make a candidate called `{name}`: {error}");
            Diagnostic::error(message, family.section.span.clone())
                .expected("expected names that files can have")
                .help("give the section a shorter name, or the sweep shorter values")
        };
        name.parse().map_err(|error| self.mistake(refused(error))).ok()
    }
}

/// How many candidates a sweep makes: one without axes. `None` beyond all numbers.
fn combinations(axes: &[Axis<'_>]) -> Option<usize> {
    axes.iter().try_fold(1_usize, |size, axis| size.checked_mul(axis.values.len()))
}

/// The value of each axis at a place, the last axis going fastest.
fn indices(axes: &[Axis<'_>], mut place: usize) -> Vec<usize> {
    let mut indices = vec![0; axes.len()];
    for (index, axis) in indices.iter_mut().zip(axes).rev() {
        *index = place % axis.values.len();
        place /= axis.values.len();
    }
    indices
}

#[cfg(test)]
mod tests {
    use crate::operator::Value;
    use crate::plan::resolve::testing::{Folder, GOOD, mistakes};

    fn swept(sweep: &str) -> String {
        GOOD.replace("density = 0.5", &format!("sweep = {{ {sweep} }}"))
    }

    #[test]
    fn the_last_key_goes_fastest() {
        let plan = Folder::new().plan(&swept("lambda = [-1, 0.5], elect = [\"sum\", \"count\"]"));
        let ties: Vec<_> = plan.candidates.iter().filter(|c| c.family.as_str() == "ties").collect();
        let names: Vec<_> = ties.iter().map(|candidate| candidate.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "ties-lambdam1-electsum",
                "ties-lambdam1-electcount",
                "ties-lambda0.5-electsum",
                "ties-lambda0.5-electcount",
            ]
        );
        assert_eq!(ties[1].parameters["lambda"], Value::Number(-1.0));
        assert_eq!(ties[1].parameters["elect"], Value::Choice("count".to_owned()));
    }

    #[test]
    fn every_wrong_value_is_told_once() {
        let found = mistakes(&swept("density = [0.5, 1.5, 2.5], lambda = [1, 2, 3]"));
        let messages: Vec<_> = found.iter().map(|found| found.message.as_str()).collect();
        assert_eq!(messages, ["`density` cannot be 1.5", "`density` cannot be 2.5"]);
        let found = mistakes(&swept("density = [[0.5, 0.5]]"));
        assert_eq!(found[0].message, "the sweep over `density` has a value of several numbers");
        let found = mistakes(&swept("weight = [1, 2]").replace("sweep", "weight = 1\nsweep"));
        assert_eq!(found[0].message, "`weight` has a value and is swept over, too");
    }

    #[test]
    fn a_slip_cannot_fill_the_memory() {
        let values = (0..400).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
        let found = mistakes(&swept(&format!("lambda = [{values}], weight = [{values}]")));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].message, "the sweep of `ties` makes too many candidates");
    }

    #[test]
    fn names_must_stay_names() {
        let found = mistakes(&swept("lambda = [1e-70]"));
        assert!(found[0].message.ends_with("a name has at most 64 bytes, this one has 83"), "{found:?}");
    }
}
