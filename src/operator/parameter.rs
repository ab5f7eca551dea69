//! What parameters an operator takes: declared once, used by the planner to check a plan and by
//! the operator to read its values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::number::number;

/// A parameter's value with its defaults filled in. Per-parent values are in parent order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// On or off.
    Flag(bool),
    /// A number.
    Number(f64),
    /// A word: one of a fixed set, or a pattern.
    Choice(String),
    /// One number for each parent.
    PerParent(Vec<f64>),
    /// A number that changes with depth ([`super::depth`]).
    Ramp {
        /// Its numbers from the first layer to the last.
        ramp: Vec<f64>,
    },
    /// A number for each parent of which one at least changes with depth; the others have one number.
    Ramps {
        /// A ramp for each parent.
        ramps: Vec<Vec<f64>>,
    },
    /// Values by name: what was found for several things. No parameter is one.
    Table(BTreeMap<String, Value>),
}

/// All parameters of one candidate, by name.
pub type Parameters = BTreeMap<String, Value>;

/// What values a parameter may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Flag {
        /// When the plan says nothing.
        default: bool,
    },
    /// A finite number within bounds, both included.
    Number {
        /// Lower bound.
        min: f64,
        /// Upper bound.
        max: f64,
        /// When the plan says nothing; `None` makes it required.
        default: Option<f64>,
    },
    /// A word out of `options`.
    Choice {
        /// The words. A capital letter in one stands for a whole number above zero: `N:M` admits
        /// `2:4`, which [`numbers_in`] takes apart.
        options: &'static [&'static str],
        /// When the plan says nothing.
        default: &'static str,
    },
    /// A number for each parent; a plan may give one number for all.
    PerParent {
        /// Lower bound.
        min: f64,
        /// Upper bound.
        max: f64,
        /// When the plan says nothing; `None` makes it required.
        default: Option<f64>,
    },
    /// A number for each parent, or nothing at all: the operator sees which
    /// ([`Values::optional_per_parent`]).
    OptionalPerParent {
        /// Lower bound.
        min: f64,
        /// Upper bound.
        max: f64,
    },
    /// Any word: the name of something that a plan declares.
    Word {
        /// When the plan says nothing.
        default: &'static str,
    },
    /// A pattern over tensor names ([`super::rule::matches`]): which tensors an operator works on
    /// ([`super::TensorInputs::is_meant_by`]). The empty pattern means those with two dimensions.
    Pattern {
        /// When the plan says nothing.
        default: &'static str,
    },
}

/// One parameter as declared by an operator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameter {
    /// Its name in a plan.
    pub name: &'static str,
    /// One sentence for people.
    pub doc: &'static str,
    /// Its values.
    pub kind: Kind,
}

/// Why a value is not one of a parameter's values.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ParameterError {
    /// No parameter has this name.
    #[error("unknown parameter `{name}`{}", did_you_mean(*.nearest))]
    Unknown {
        /// What was written.
        name: String,
        /// The nearest declared name.
        nearest: Option<&'static str>,
    },
    /// A parameter without default was left out.
    #[error("parameter `{0}` is required")]
    Missing(&'static str),
    /// A value of another kind.
    #[error("parameter `{name}` is {expected}, found {found}")]
    Kind {
        /// The parameter.
        name: &'static str,
        /// What it takes.
        expected: String,
        /// What it got.
        found: String,
    },
    /// A number outside its bounds, or not finite.
    #[error("parameter `{name}` goes from {min} to {max}, found {found}")]
    Range {
        /// The parameter.
        name: &'static str,
        /// Lower bound.
        min: f64,
        /// Upper bound.
        max: f64,
        /// What it got.
        found: f64,
    },
    /// A ramp without numbers.
    #[error("the ramp of parameter `{0}` has no numbers")]
    EmptyRamp(&'static str),
    /// A list that is not one number for each parent.
    #[error("parameter `{name}` takes one number for each of {parents} parents, found {found}")]
    Length {
        /// The parameter.
        name: &'static str,
        /// Number of parents.
        parents: usize,
        /// Numbers given.
        found: usize,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// Whether an option of [`Kind::Choice`] is this word, its capitals replaced by whole numbers.
fn admits(option: &str, word: &str) -> bool {
    let Some((fixed, rest)) = option.split_once(|c: char| c.is_ascii_uppercase()) else {
        return option == word;
    };
    let Some(number) = word.strip_prefix(fixed) else { return false };
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    let (digits, after) = number.split_at(end);
    // As people write them, so that one number has one spelling; and short enough to be one.
    (1..=9).contains(&digits.len()) && !digits.starts_with('0') && admits(rest, after)
}

/// The whole numbers in a word, such as 2 and 4 in `2:4`.
pub fn numbers_in(word: &str) -> Vec<usize> {
    word.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

impl Kind {
    /// What a value of this kind is, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Flag { .. } => "true or false".to_owned(),
            Self::Number { .. } => "a number".to_owned(),
            Self::Choice { options, .. } => format!("one of {}", options.join(", ")),
            Self::PerParent { .. } | Self::OptionalPerParent { .. } => {
                "a number, or a list with one for each parent".to_owned()
            }
            Self::Word { .. } => "a word".to_owned(),
            Self::Pattern { .. } => "a pattern over tensor names".to_owned(),
        }
    }

    /// The least and the largest number there may be; nothing of what is no number.
    pub fn bounds(&self) -> Option<[f64; 2]> {
        match *self {
            Self::Number { min, max, .. }
            | Self::PerParent { min, max, .. }
            | Self::OptionalPerParent { min, max } => Some([min, max]),
            Self::Flag { .. } | Self::Choice { .. } | Self::Word { .. } | Self::Pattern { .. } => None,
        }
    }
}

impl Value {
    fn describe(&self) -> String {
        match self {
            Self::Flag(flag) => flag.to_string(),
            Self::Number(value) => number(*value),
            Self::Choice(word) => format!("`{word}`"),
            Self::PerParent(numbers) => format!("{numbers:?}"),
            Self::Ramp { ramp } => format!("the ramp {ramp:?}"),
            Self::Ramps { ramps } => format!("the ramps {ramps:?}"),
            Self::Table(_) => "a table".to_owned(),
        }
    }
}

impl Parameter {
    /// The value as the operator will see it: checked, one number for all spread over the parents.
    ///
    /// # Errors
    ///
    /// [`ParameterError::Kind`] of another kind of value, or a choice that is none; [`ParameterError::Range`]
    /// of a number out of bounds or not finite; [`ParameterError::Length`] of a list that is not one for each
    /// parent; [`ParameterError::EmptyRamp`].
    pub fn accept(&self, value: &Value, parents: usize) -> Result<Value, ParameterError> {
        match (&self.kind, value) {
            (Kind::Flag { .. }, Value::Flag(flag)) => Ok(Value::Flag(*flag)),
            (Kind::Number { min, max, .. }, Value::Number(number)) => {
                self.bounded(*number, *min, *max).map(Value::Number)
            }
            (Kind::Choice { options, .. }, Value::Choice(word))
                if options.iter().any(|option| admits(option, word)) =>
            {
                Ok(value.clone())
            }
            (Kind::Pattern { .. } | Kind::Word { .. }, Value::Choice(_)) => Ok(value.clone()),
            (
                Kind::PerParent { min, max, .. } | Kind::OptionalPerParent { min, max },
                Value::Number(number),
            ) => self.bounded(*number, *min, *max).map(|number| Value::PerParent(vec![number; parents])),
            (
                Kind::PerParent { min, max, .. } | Kind::OptionalPerParent { min, max },
                Value::PerParent(numbers),
            ) => {
                if numbers.len() != parents {
                    let found = numbers.len();
                    return Err(ParameterError::Length { name: self.name, parents, found });
                }
                numbers.iter().try_for_each(|number| self.bounded(*number, *min, *max).map(drop))?;
                Ok(value.clone())
            }
            (Kind::Number { .. }, Value::Ramp { ramp }) => self.ramp(ramp).map(|()| value.clone()),
            (Kind::PerParent { .. } | Kind::OptionalPerParent { .. }, Value::Ramp { ramp }) => {
                self.ramp(ramp).map(|()| Value::Ramps { ramps: vec![ramp.clone(); parents] })
            }
            (Kind::PerParent { .. } | Kind::OptionalPerParent { .. }, Value::Ramps { ramps }) => {
                if ramps.len() != parents {
                    let found = ramps.len();
                    return Err(ParameterError::Length { name: self.name, parents, found });
                }
                ramps.iter().try_for_each(|ramp| self.ramp(ramp)).map(|()| value.clone())
            }
            (kind, value) => Err(ParameterError::Kind {
                name: self.name,
                expected: kind.describe(),
                found: value.describe(),
            }),
        }
    }

    /// Whether a plan must say something.
    pub fn is_required(&self) -> bool {
        let optional = matches!(self.kind, Kind::OptionalPerParent { .. });
        !optional && self.default(0).is_none()
    }

    /// The value when a plan says nothing; `None` if the parameter is required, or optional.
    pub fn default(&self, parents: usize) -> Option<Value> {
        match self.kind {
            Kind::Flag { default } => Some(Value::Flag(default)),
            Kind::Number { default, .. } => default.map(Value::Number),
            Kind::Choice { default, .. } | Kind::Pattern { default } | Kind::Word { default } => {
                Some(Value::Choice(default.to_owned()))
            }
            Kind::PerParent { default, .. } => default.map(|number| Value::PerParent(vec![number; parents])),
            Kind::OptionalPerParent { .. } => None,
        }
    }

    /// What lies between two numbers within bounds is within bounds.
    fn ramp(&self, ramp: &[f64]) -> Result<(), ParameterError> {
        let (Kind::Number { min, max, .. }
        | Kind::PerParent { min, max, .. }
        | Kind::OptionalPerParent { min, max }) = self.kind
        else {
            return Ok(());
        };
        if ramp.is_empty() {
            return Err(ParameterError::EmptyRamp(self.name));
        }
        ramp.iter().try_for_each(|number| self.bounded(*number, min, max).map(drop))
    }

    fn bounded(&self, found: f64, min: f64, max: f64) -> Result<f64, ParameterError> {
        if (min..=max).contains(&found) {
            Ok(found)
        } else {
            Err(ParameterError::Range { name: self.name, min, max, found })
        }
    }
}

/// Parameters with every declared name present, the optional ones apart, and checked: an operator
/// reads them without doubt.
#[derive(Debug, Clone, PartialEq)]
pub struct Values(Parameters);

impl Values {
    /// Checks `given` against a declaration and fills the defaults in.
    ///
    /// # Errors
    ///
    /// [`ParameterError::Unknown`] of a name that is not declared, with the nearest that is;
    /// [`ParameterError::Missing`] of one that has no default; else as [`Parameter::accept`].
    pub fn complete(
        declared: &'static [Parameter],
        given: &Parameters,
        parents: usize,
    ) -> Result<Self, ParameterError> {
        for name in given.keys() {
            if declared.iter().all(|parameter| parameter.name != name) {
                let names = declared.iter().map(|parameter| parameter.name);
                let nearest = crate::base::nearest::nearest(name, names);
                return Err(ParameterError::Unknown { name: name.clone(), nearest });
            }
        }
        let mut complete = Parameters::new();
        for parameter in declared {
            let value = match given.get(parameter.name) {
                Some(value) => Some(parameter.accept(value, parents)?),
                None if parameter.is_required() => return Err(ParameterError::Missing(parameter.name)),
                None => parameter.default(parents),
            };
            complete.extend(value.map(|value| (parameter.name.to_owned(), value)));
        }
        Ok(Self(complete))
    }

    /// All of them, by name.
    pub fn parameters(&self) -> &Parameters {
        &self.0
    }

    /// A flag.
    ///
    /// # Panics
    /// Like all readers here, if the operator declares no such flag.
    pub fn flag(&self, name: &str) -> bool {
        match self.0.get(name) {
            Some(Value::Flag(flag)) => *flag,
            _ => panic!("the operator declares no flag `{name}`"),
        }
    }

    /// A number.
    pub fn number(&self, name: &str) -> f64 {
        match self.0.get(name) {
            Some(Value::Number(number)) => *number,
            _ => panic!("the operator declares no number `{name}`"),
        }
    }

    /// A word, or a pattern.
    pub fn choice(&self, name: &str) -> &str {
        match self.0.get(name) {
            Some(Value::Choice(word)) => word,
            _ => panic!("the operator declares no choice `{name}`"),
        }
    }

    /// One number for each parent.
    pub fn per_parent(&self, name: &str) -> &[f64] {
        match self.0.get(name) {
            Some(Value::PerParent(numbers)) => numbers,
            _ => panic!("the operator declares no numbers `{name}`"),
        }
    }

    /// One number for each parent, if anything was said.
    pub fn optional_per_parent(&self, name: &str) -> Option<&[f64]> {
        self.0.contains_key(name).then(|| self.per_parent(name))
    }

    /// One number for each parent, rounded to the f32 that arithmetic uses.
    pub fn per_parent_f32(&self, name: &str) -> Vec<f32> {
        self.per_parent(name).iter().map(|number| *number as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: &[Parameter] = &[
        Parameter { name: "weight", doc: "", kind: Kind::PerParent { min: -2.0, max: 2.0, default: None } },
        Parameter {
            name: "elect",
            doc: "",
            kind: Kind::Choice { options: &["sum", "count"], default: "sum" },
        },
        Parameter { name: "normalize", doc: "", kind: Kind::Flag { default: true } },
        Parameter { name: "lambda", doc: "", kind: Kind::Number { min: 0.0, max: 9.0, default: Some(1.0) } },
        Parameter { name: "tensors", doc: "", kind: Kind::Pattern { default: "" } },
    ];

    fn complete(given: &[(&str, Value)]) -> Result<Values, ParameterError> {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Values::complete(DECLARED, &given, 2)
    }

    #[test]
    fn defaults_are_filled_in_and_one_number_serves_all_parents() {
        let values = complete(&[("weight", Value::Number(0.5))]).unwrap();
        assert_eq!(values.per_parent("weight"), [0.5, 0.5]);
        assert_eq!(values.choice("elect"), "sum");
        assert!(values.flag("normalize"));
        assert_eq!(values.number("lambda"), 1.0);
        assert_eq!(values.choice("tensors"), "");
        assert_eq!(values.parameters().len(), 5);
        let values =
            complete(&[("weight", Value::Number(0.5)), ("tensors", Value::Choice("*.wq.*".to_owned()))]);
        assert_eq!(values.unwrap().choice("tensors"), "*.wq.*");
    }

    #[test]
    fn what_is_optional_is_left_out() {
        const DENSITY: &[Parameter] =
            &[Parameter { name: "density", doc: "", kind: Kind::OptionalPerParent { min: 0.0, max: 1.0 } }];
        let complete = |given: Parameters| Values::complete(DENSITY, &given, 2);
        let values = complete(Parameters::new()).unwrap();
        assert_eq!(values.optional_per_parent("density"), None);
        assert!(values.parameters().is_empty());
        let given = |number| Parameters::from([("density".to_owned(), Value::Number(number))]);
        let values = complete(given(0.5)).unwrap();
        assert_eq!(values.optional_per_parent("density"), Some(&[0.5, 0.5][..]));
        assert!(complete(given(1.5)).is_err());
    }

    #[test]
    fn capitals_stand_for_whole_numbers() {
        for (option, word) in [("none", "none"), ("N:M", "2:4"), ("block:N", "block:128")] {
            assert!(admits(option, word), "{option} {word}");
        }
        let wrong = [
            ("none", "non"),
            ("N:M", "2:"),
            ("N:M", "N:M"),
            ("N:M", "2:4 "),
            ("N:M", "0:4"),
            ("N:M", "02:4"),
            ("N:M", "-2:4"),
            ("block:N", "block:"),
            ("block:N", "block:1x"),
            ("block:N", "block:1234567890"),
        ];
        for (option, word) in wrong {
            assert!(!admits(option, word), "{option} {word}");
        }
        assert_eq!(numbers_in("2:4"), [2, 4]);
        assert_eq!(numbers_in("none"), [0; 0]);
    }

    #[test]
    fn what_is_refused_is_named() {
        let refused = |given: &[(&str, Value)]| complete(given).unwrap_err().to_string();
        let weight = ("weight", Value::Number(1.0));
        assert_eq!(refused(&[]), "parameter `weight` is required");
        assert_eq!(
            refused(&[("wieght", Value::Number(1.0))]),
            "unknown parameter `wieght`; did you mean `weight`?"
        );
        assert_eq!(
            refused(&[("weight", Value::PerParent(vec![1.0; 3]))]),
            "parameter `weight` takes one number for each of 2 parents, found 3"
        );
        assert_eq!(
            refused(&[("weight", Value::PerParent(vec![1.0, 3.0]))]),
            "parameter `weight` goes from -2 to 2, found 3"
        );
        assert!(refused(&[("weight", Value::Number(f64::NAN))]).contains("found NaN"));
        assert_eq!(
            refused(&[weight.clone(), ("elect", Value::Choice("vote".to_owned()))]),
            "parameter `elect` is one of sum, count, found `vote`"
        );
        assert_eq!(
            refused(&[weight.clone(), ("tensors", Value::Number(1.0))]),
            "parameter `tensors` is a pattern over tensor names, found 1"
        );
        assert_eq!(
            refused(&[weight, ("normalize", Value::Number(1.0))]),
            "parameter `normalize` is true or false, found 1"
        );
    }
}
