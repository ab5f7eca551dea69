//! Parameters: what an operator is told, checked against what it declares.

use std::collections::BTreeMap;

use super::Resolver;
use super::candidates::Family;
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::base::name::Name;
use crate::operator::parameter::{Kind, Parameter, ParameterError, Parameters, Value};
use crate::plan::file::{Amount, Written};
use crate::plan::wording::{count, one_of};

/// Keys of a candidate section that are no parameters; known, so that a slip in one is understood.
const SECTION_KEYS: [&str; 7] = ["operator", "base", "parents", "vocabulary", "slices", "sweep", "rules"];

/// Why a value is refused: what is wrong, what was expected.
type Refusal = (String, String);

impl Resolver<'_> {
    /// The parameters all candidates of a family share; those swept over are left out.
    pub(super) fn fixed(&mut self, family: &Family<'_>) -> Parameters {
        let mut fixed = Parameters::new();
        for (key, written) in &family.section.parameters {
            let value =
                self.declared(family, key).and_then(|parameter| self.value(family, parameter, written));
            fixed.extend(value.map(|value| (key.value.clone(), value)));
        }
        self.swept_once(family);
        self.complete(family, &mut fixed);
        fixed
    }

    /// The parameter a key names.
    pub(super) fn declared(
        &mut self,
        family: &Family<'_>,
        key: &Located<String>,
    ) -> Option<&'static Parameter> {
        let declared = family.operator.parameters();
        let found = declared.iter().find(|parameter| parameter.name == key.value);
        if found.is_none() {
            let message = format!("`{}` has no parameter `{}`", family.operator.name(), key.value);
            self.unlisted(message, key, |_| {
                declared.iter().map(|parameter| parameter.name).chain(SECTION_KEYS).collect()
            });
        }
        found
    }

    fn swept_once(&mut self, family: &Family<'_>) {
        let own: Vec<&str> = family.section.parameters.iter().map(|(key, _)| key.value.as_str()).collect();
        for (key, _) in family.section.sweep.iter().filter(|(key, _)| own.contains(&key.value.as_str())) {
            let message = format!("`{}` has a value and is swept over, too", key.value);
            self.mistake(
                Diagnostic::error(message, key.span.clone())
                    .expected(format!("expected `{}` once", key.value))
                    .help("remove it here, or outside of the sweep"),
            );
        }
    }

    /// Fills in what the section does not say.
    fn complete(&mut self, family: &Family<'_>, fixed: &mut Parameters) {
        let own = family.section.parameters.iter().map(|(key, _)| key);
        let said: Vec<&str> = own
            .chain(family.section.sweep.iter().map(|(key, _)| key))
            .map(|key| key.value.as_str())
            .collect();
        for parameter in family.operator.parameters().iter().filter(|p| !said.contains(&p.name)) {
            match parameter.default(family.parents.len()) {
                Some(value) => drop(fixed.insert(parameter.name.to_owned(), value)),
                None if !parameter.is_required() => {}
                None => self.mistake(
                    Diagnostic::error(
                        format!("`{}` needs `{}`", family.operator.name(), parameter.name),
                        family.section.span.clone(),
                    )
                    .expected(format!("expected `{}`, {}", parameter.name, describe(&parameter.kind)))
                    .help(format!("`{}`: {}", parameter.name, parameter.doc)),
                ),
            }
        }
    }

    /// A value as the operator will see it.
    pub(super) fn value(
        &mut self,
        family: &Family<'_>,
        parameter: &Parameter,
        written: &Located<Written>,
    ) -> Option<Value> {
        let accepted = accept(parameter, &written.value, &family.parents);
        let told = |(message, expected): Refusal| {
            Diagnostic::error(message, written.span.clone())
                .expected(expected)
                .help(format!("`{}`: {}", parameter.name, parameter.doc))
        };
        accepted.map_err(|refusal| self.mistake(told(refusal))).ok()
    }
}

fn accept(parameter: &Parameter, written: &Written, parents: &[Name]) -> Result<Value, Refusal> {
    let value = match (written, parameter.kind) {
        (Written::Flag(flag), _) => Value::Flag(*flag),
        (Written::Number(number), _) => Value::Number(*number),
        (Written::Text(text), _) => Value::Choice(text.clone()),
        (Written::Ramp(ramp), _) => Value::Ramp { ramp: ramp.clone() },
        (Written::List(amounts), _) => per_parent(amounts.clone()),
        (Written::ByParent(entries), Kind::PerParent { .. } | Kind::OptionalPerParent { .. }) => {
            per_parent(in_order(parameter.name, entries, parents)?)
        }
        (Written::ByParent(_), kind) => {
            return Err((format!("`{}` cannot be a table", parameter.name), expected(&kind)));
        }
    };
    parameter.accept(&value, parents.len()).map_err(|error| {
        let message = match &error {
            ParameterError::Kind { name, found, .. } => format!("`{name}` cannot be {found}"),
            ParameterError::Range { name, found, .. } => format!("`{name}` cannot be {found}"),
            ParameterError::Length { name, parents, found } => {
                format!("`{name}` has {} for {}", count(*found, "number"), count(*parents, "parent"))
            }
            other => other.to_string(),
        };
        (message, expected(&parameter.kind))
    })
}

fn expected(kind: &Kind) -> String {
    format!("expected {}", describe(kind))
}

/// What a value of this kind is, with its bounds.
fn describe(kind: &Kind) -> String {
    match kind {
        Kind::Flag { .. } => "`true` or `false`".to_owned(),
        Kind::Number { min, max, .. } => format!("a number from {min} to {max}"),
        Kind::Choice { options, .. } => one_of(options).replacen("expected ", "", 1),
        Kind::PerParent { min, max, .. } | Kind::OptionalPerParent { min, max } => {
            format!("a number from {min} to {max}, or a list with one for each parent")
        }
        Kind::Word { .. } => "a word".to_owned(),
        Kind::Pattern { .. } => "a pattern over tensor names, such as `layers.*`".to_owned(),
    }
}

/// Amounts in parent order as one value.
fn per_parent(amounts: Vec<Amount>) -> Value {
    let constant = |amount: &Amount| match amount {
        Amount::Number(number) => Some(*number),
        Amount::Ramp(_) => None,
    };
    if let Some(numbers) = amounts.iter().map(constant).collect() {
        return Value::PerParent(numbers);
    }
    let ramp = |amount| match amount {
        Amount::Number(number) => vec![number],
        Amount::Ramp(ramp) => ramp,
    };
    Value::Ramps { ramps: amounts.into_iter().map(ramp).collect() }
}

/// A table parent = amount, in the order of the parents.
fn in_order(parameter: &str, entries: &[(String, Amount)], parents: &[Name]) -> Result<Vec<Amount>, Refusal> {
    let mut numbers: BTreeMap<&str, Amount> =
        entries.iter().map(|(name, amount)| (name.as_str(), amount.clone())).collect();
    let names: Vec<&str> = parents.iter().map(Name::as_str).collect();
    let ordered: Vec<Option<Amount>> = names.iter().map(|name| numbers.remove(name)).collect();
    if let Some(stranger) = numbers.keys().next() {
        let message = format!("`{parameter}` names `{stranger}`, which is no parent of this candidate");
        return Err((message, one_of(&names)));
    }
    let number = |(number, name): (Option<Amount>, &&str)| {
        let missing = || format!("`{parameter}` has no number for the parent `{name}`");
        number.ok_or_else(|| (missing(), "expected a number for each parent".to_owned()))
    };
    ordered.into_iter().zip(&names).map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::resolve::testing::{Folder, GOOD, mistakes};

    fn ties(parameter: &str) -> String {
        GOOD.replace("density = 0.5", parameter)
    }

    fn only(parameter: &str) -> (String, String) {
        let mut found = mistakes(&ties(parameter));
        assert_eq!(found.len(), 1, "{found:?}");
        let found = found.remove(0);
        (found.message, found.label)
    }

    #[test]
    fn values_are_spread_over_parents_in_their_order() {
        let plan = Folder::new().plan(&ties("density = { two = 0.25, one = 0.75 }"));
        let ties = plan.candidates.last().unwrap();
        assert_eq!(ties.parameters["density"], Value::PerParent(vec![0.75, 0.25]));
        assert_eq!(ties.parameters["weight"], Value::PerParent(vec![1.0, 1.0]));
        assert_eq!(ties.parameters["elect"], Value::Choice("sum".to_owned()), "defaults are filled in");
    }

    #[test]
    fn a_refused_value_says_its_bounds() {
        let numbers = "expected a number from 0 to 1, or a list with one for each parent".to_owned();
        assert_eq!(only("density = 1.5"), ("`density` cannot be 1.5".into(), numbers.clone()));
        assert_eq!(only("density = [1, 1, 1]"), ("`density` has 3 numbers for 2 parents".into(), numbers));
        assert_eq!(
            only("elect = \"vote\""),
            ("`elect` cannot be `vote`".into(), "expected one of `sum`, `count`".into())
        );
        assert_eq!(only("elect = { one = 1 }").0, "`elect` cannot be a table");
    }

    #[test]
    fn a_table_names_each_parent() {
        assert_eq!(
            only("density = { one = 1, tow = 1, two = 1 }").0,
            "`density` names `tow`, which is no parent of this candidate"
        );
        assert_eq!(only("density = { one = 1 }").0, "`density` has no number for the parent `two`");
    }

    #[test]
    fn a_slip_in_a_key_is_understood() {
        let found = mistakes(&ties("densty = 0.5"));
        assert_eq!(found[0].message, "`sign_merge` has no parameter `densty`");
        assert_eq!(found[0].help, ["did you mean `density`?"]);
    }
}
