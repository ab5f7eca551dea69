//! A job: which operator, on whom, with which parameters; and from it, the inputs of every tensor.

use crate::model::config::ModelConfig;
use crate::model::{Checkpoint, Planned, Weights};

use super::contract::{Operator, TensorInputs};
use super::depth::{Depth, bends, resolve};
use super::error::OperatorError;
use super::parameter::{Parameters, Values};
use super::rule::{Rule, parameters_for};
use super::source::Tensors;

/// One candidate to be made.
pub struct Job<'a> {
    /// How.
    pub operator: &'static dyn Operator,
    /// Its parameters; defaults need not be filled in.
    pub parameters: &'a Parameters,
    /// Other parameters for some tensors.
    pub rules: &'a [Rule],
    /// The cycle's seed.
    pub seed: &'a str,
    /// The candidate's name, which keys randomness too.
    pub candidate: &'a str,
    /// What differences are taken from.
    pub base: Option<Parent<'a>>,
    /// The parents, in the plan's order.
    pub parents: Vec<Parent<'a>>,
}

/// A model that is read.
#[derive(Clone, Copy)]
pub struct Parent<'a> {
    /// What the plan calls it.
    pub name: &'a str,
    /// Its tensors.
    pub tensors: &'a dyn Tensors,
    /// What they mean, as far as it is known.
    pub config: Option<&'a ModelConfig>,
}

impl<'a> Parent<'a> {
    /// A model whose meaning is known.
    pub fn new(name: &'a str, checkpoint: &'a Checkpoint) -> Self {
        Self { name, tensors: &checkpoint.weights, config: Some(&checkpoint.config) }
    }

    /// Tensors and no more.
    pub fn of_weights(name: &'a str, weights: &'a Weights) -> Self {
        Self { name, tensors: weights, config: None }
    }
}

/// Checks an operator's parameters, rules too, and fills the defaults in. Reads no model: a
/// planner can ask.
///
/// # Errors
///
/// [`OperatorError::Parents`] of too few or too many; else as [`complete`], for the parameters and for those of
/// each rule, at every depth where a ramp bends.
pub fn check(
    operator: &'static dyn Operator,
    parameters: &Parameters,
    rules: &[Rule],
    parents: usize,
) -> Result<Values, OperatorError> {
    let allowed = operator.parents();
    if !allowed.contains(&parents) {
        return Err(OperatorError::Parents {
            operator: operator.name(),
            expected: count_of_parents(*allowed.start(), *allowed.end()),
            found: parents,
        });
    }
    for rule in rules {
        let mut parameters = parameters.clone();
        parameters.extend(rule.parameters.clone());
        check_at_all_depths(operator, &parameters, parents)?;
    }
    check_at_all_depths(operator, parameters, parents)
}

/// The values at the first layer, once those at every depth have been found to be fine.
fn check_at_all_depths(
    operator: &'static dyn Operator,
    parameters: &Parameters,
    parents: usize,
) -> Result<Values, OperatorError> {
    let bends = bends(parameters).into_iter().rev();
    let mut values = None;
    for depth in bends {
        values = Some(complete(operator, &resolve(parameters, depth), parents)?);
    }
    Ok(values.expect("zero is among the depths"))
}

/// The values for one tensor: checked, defaults filled in; no ramps any more.
///
/// # Errors
///
/// [`OperatorError::Parameter`] of one that is unknown, missing, of another kind or out of its bounds;
/// [`OperatorError::Relation`] of some that make no sense together.
pub fn complete(
    operator: &'static dyn Operator,
    parameters: &Parameters,
    parents: usize,
) -> Result<Values, OperatorError> {
    let values = Values::complete(operator.parameters(), parameters, parents)
        .map_err(|source| OperatorError::Parameter { operator: operator.name(), source })?;
    operator
        .relations(&values)
        .map_err(|message| OperatorError::Relation { operator: operator.name(), message })?;
    Ok(values)
}

fn count_of_parents(least: usize, most: usize) -> String {
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    if least == most {
        format!("{least} parent{}", plural(least))
    } else if most == usize::MAX {
        format!("{least} parent{} or more", plural(least))
    } else {
        format!("{least} to {most} parents")
    }
}

impl<'a> Job<'a> {
    /// Whose configuration, tokenizer and tensor list the child takes over: the base, or the first
    /// parent without one.
    ///
    /// # Errors
    ///
    /// [`OperatorError::NoBase`] if the operator needs one and there is none; [`OperatorError::Parents`] if
    /// there is nobody at all.
    pub fn reference(&self) -> Result<Parent<'a>, OperatorError> {
        if self.operator.needs_base() && self.base.is_none() {
            return Err(OperatorError::NoBase(self.operator.name()));
        }
        self.base.or_else(|| self.parents.first().copied()).ok_or_else(|| OperatorError::Parents {
            operator: self.operator.name(),
            expected: count_of_parents(*self.operator.parents().start(), *self.operator.parents().end()),
            found: 0,
        })
    }

    /// The inputs of each of the child's tensors.
    ///
    /// # Errors
    ///
    /// As [`check`] and [`Self::reference`]; [`OperatorError::Config`], [`OperatorError::Missing`] or
    /// [`OperatorError::Shape`] unless every model has the same heads and rotary base, and each of the child's
    /// tensors in its shape and no other.
    pub fn inputs(&self, child: &'a [Planned]) -> Result<Vec<TensorInputs<'a>>, OperatorError> {
        check(self.operator, self.parameters, self.rules, self.parents.len())?;
        let reference = self.reference()?;
        for model in self.base.iter().chain(&self.parents) {
            agree(model, &reference)?;
        }
        for planned in child {
            agree_with_child(&reference, planned)?;
        }
        let depth = Depth::of(child.iter().map(|planned| planned.name.as_str()));
        child.iter().map(|planned| self.tensor(planned, &reference, &depth)).collect()
    }

    fn tensor(
        &self,
        planned: &'a Planned,
        reference: &Parent<'a>,
        depth: &Depth,
    ) -> Result<TensorInputs<'a>, OperatorError> {
        let name = planned.name.as_str();
        let find = |parent: &Parent<'a>| {
            let tensors: &'a dyn Tensors = parent.tensors;
            tensors.source(name).ok_or_else(|| missing(name, reference, parent))
        };
        let parameters = parameters_for(name, self.parameters, self.rules);
        let parameters = resolve(&parameters, depth.at(name));
        Ok(TensorInputs {
            name,
            shape: &planned.shape,
            dtype: planned.dtype,
            base: self.base.as_ref().map(find).transpose()?,
            base_name: self.base.map_or("", |base| base.name),
            parents: self.parents.iter().map(find).collect::<Result<_, _>>()?,
            parent_names: self.parents.iter().map(|parent| parent.name).collect(),
            values: complete(self.operator, &parameters, self.parents.len())?,
            purpose: [self.seed, self.operator.name(), self.candidate],
        })
    }
}

fn missing(tensor: &str, with: &Parent<'_>, without: &Parent<'_>) -> OperatorError {
    OperatorError::Missing {
        tensor: tensor.to_owned(),
        with: with.name.to_owned(),
        without: without.name.to_owned(),
    }
}

/// The child has its reference's tensors in the reference's shapes.
fn agree_with_child(reference: &Parent<'_>, child: &Planned) -> Result<(), OperatorError> {
    match reference.tensors.shape(&child.name) {
        Some(found) if *found != child.shape => Err(OperatorError::Shape {
            tensor: child.name.clone(),
            parent: reference.name.to_owned(),
            found: Box::new(found.clone()),
            reference: "the child".to_owned(),
            expected: Box::new(child.shape.clone()),
        }),
        // What is not there is told with the first model that has it.
        _ => Ok(()),
    }
}

/// Models agree if they have the same tensors and mean the same by them.
fn agree(model: &Parent<'_>, reference: &Parent<'_>) -> Result<(), OperatorError> {
    if let (Some(found), Some(expected)) = (model.config, reference.config) {
        agree_in_meaning((model.name, found), (reference.name, expected))?;
    }
    for (name, expected) in reference.tensors.shapes() {
        let found = model.tensors.shape(name).ok_or_else(|| missing(name, reference, model))?;
        if found != expected {
            return Err(OperatorError::Shape {
                tensor: name.to_owned(),
                parent: model.name.to_owned(),
                found: Box::new(found.clone()),
                reference: reference.name.to_owned(),
                expected: Box::new(expected.clone()),
            });
        }
    }
    match model.tensors.shapes().find(|(name, _)| reference.tensors.shape(name).is_none()) {
        Some((name, _)) => Err(missing(name, model, reference)),
        None => Ok(()),
    }
}

/// What shapes do not tell: equal matrices may be cut into other heads, turned by other angles.
fn agree_in_meaning(
    (parent, found): (&str, &ModelConfig),
    (reference, expected): (&str, &ModelConfig),
) -> Result<(), OperatorError> {
    let facts = [
        ("the number of heads", f64::from(found.head_count), f64::from(expected.head_count)),
        (
            "the number of key and value heads",
            f64::from(found.kv_head_count),
            f64::from(expected.kv_head_count),
        ),
        ("the rotary base", f64::from(found.rope_theta), f64::from(expected.rope_theta)),
    ];
    match facts.into_iter().find(|(_, found, expected)| found != expected) {
        Some((what, found, expected)) => Err(OperatorError::Config {
            parent: parent.to_owned(),
            reference: reference.to_owned(),
            what,
            found: found.to_string(),
            expected: expected.to_string(),
        }),
        None => Ok(()),
    }
}
