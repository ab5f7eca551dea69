//! What is known of a child before anything is read: its tensors' names and shapes, and their parameters.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::contract::Operator;
use super::depth::{Depth, place_of, resolve};
use super::error::OperatorError;
use super::job::complete;
use super::parameter::{Parameters, Value, Values};
use super::rule::{Rule, matches, parameters_for};
use crate::tensor::shape::Shape;

/// One tensor of a child.
#[derive(Debug, Clone, Copy)]
pub struct Outlined<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its dimensions.
    pub shape: &'a Shape,
    /// The parameters for this tensor, rules applied.
    pub values: &'a Values,
}

/// Why an operator cannot make a child.
#[derive(Debug)]
pub struct Unsuited {
    /// The parameter it is for, if it is one.
    pub parameter: Option<&'static str>,
    /// The tensor, where the error does not name it.
    pub tensor: Option<String>,
    /// What is wrong.
    pub error: Box<OperatorError>,
}

/// Whether an operator can make a child with these tensors. Reads no model: a planner can ask. Parameters must
/// have passed [`super::check`].
///
/// # Errors
///
/// [`Unsuited`] of parameters that are fine at the ends of a ramp and not at a layer between, or fine for each
/// tensor and not for all of them, and of shapes it cannot work on.
pub fn check_child<'t>(
    operator: &'static dyn Operator,
    (parameters, rules): (&Parameters, &[Rule]),
    parents: usize,
    child: impl Iterator<Item = (&'t str, &'t Shape)> + Clone,
) -> Result<(), Unsuited> {
    let is_ramp = |value: &Value| matches!(value, Value::Ramp { .. } | Value::Ramps { .. });
    if rules.is_empty() && !parameters.values().any(is_ramp) && !operator.minds_tensors() {
        return Ok(());
    }
    let depth = Depth::of(child.clone().map(|(name, _)| name));
    // A model has many more tensors than it has parameters of their own.
    let group =
        |tensor: &'t str| (rules.iter().position(|rule| matches(&rule.tensors, tensor)), place_of(tensor));
    let mut given = BTreeMap::new();
    for (tensor, _) in child.clone() {
        if let Entry::Vacant(entry) = given.entry(group(tensor)) {
            let own = resolve(&parameters_for(tensor, parameters, rules), depth.at(tensor));
            entry.insert((tensor, own));
        }
    }
    let refused = |(parameter, message)| Unsuited {
        parameter: Some(parameter),
        tensor: None,
        error: Box::new(OperatorError::Relation { operator: operator.name(), message }),
    };
    let mut values = BTreeMap::new();
    for (group, (tensor, own)) in &given {
        let told =
            |error| Unsuited { parameter: None, tensor: Some((*tensor).to_owned()), error: Box::new(error) };
        values.insert(*group, complete(operator, own, parents).map_err(told)?);
    }
    // Complete, because a rule may say what holds anyhow.
    let all = given.iter().map(|(group, (tensor, _))| (*tensor, values[group].parameters()));
    same_everywhere(operator.whole(), all).map_err(refused)?;
    let outlined = child.map(|(name, shape)| Outlined { name, shape, values: &values[&group(name)] });
    operator.suits(&outlined.collect::<Vec<_>>()).map_err(refused)
}

/// Refuses parameters of which some tensor has another value than the first; names the parameter.
pub(super) fn same_everywhere<'a>(
    names: &[&'static str],
    mut tensors: impl Iterator<Item = (&'a str, &'a Parameters)>,
) -> Result<(), (&'static str, String)> {
    let Some((_, first)) = tensors.next() else { return Ok(()) };
    for (tensor, own) in tensors {
        if let Some(name) = names.iter().find(|name| own.get(**name) != first.get(**name)) {
            let message = format!("`{name}` holds for the whole model and cannot be another for `{tensor}`");
            return Err((name, message));
        }
    }
    Ok(())
}
