//! Which tensors of which models make which tensor of the child, and with which parameters.
//!
//! Without slices every model gives the tensor of the same name. With slices the layers are those of
//! the slices' sources, counted anew; tensors before the layers come as the first slice's sources have
//! them, those behind as the last one's.

use std::collections::BTreeMap;
use std::ops::Range;

use super::config::{Config, Slice, Slices, Source};
use super::method::{Base, Default, Method, Scope, Takes};
use super::setting::{Given, Settings, evaluate};
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::base::wording::count;
use crate::convert::View;
use crate::operator::depth::{is_before_layers, layer_of, renumbered};
use crate::operator::parameter::ParameterError;
use crate::operator::{self, Operator, OperatorError, Parameters, Tensors, Value};
use crate::tensor::shape::Shape;

/// The models' tensors as the child has them, by the names the configuration gives the models.
pub type Views<'m> = BTreeMap<String, View<'m>>;

/// A tensor of the child.
#[derive(Debug)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub shape: Shape,
    /// The base's tensor: model and name.
    pub base: Option<(String, String)>,
    /// The parents' tensors: model and name.
    pub parents: Vec<(String, String)>,
    /// With which parameters.
    pub parameters: Parameters,
}

/// A child as it is to be made.
pub struct Assembly {
    /// By which operator.
    pub operator: &'static dyn Operator,
    /// The model that the child is like.
    pub like: String,
    /// Its tensors, in storage order.
    pub steps: Vec<Step>,
    /// Its layers, each by its model and its number there, if they are not those of the model it is like.
    pub layers: Option<Vec<(String, usize)>>,
}

/// Every model a configuration names, each once, the one that the child is like first.
pub fn named(config: &Config) -> Vec<&Located<String>> {
    let sources: Vec<&Source> = match &config.slices {
        Slices::Whole(sources) => sources.iter().collect(),
        Slices::Stacked(slices) => slices.iter().flat_map(|slice| &slice.sources).collect(),
    };
    let mut models: Vec<&Located<String>> = config.base.iter().collect();
    for source in sources {
        if models.iter().all(|model| model.value != source.model.value) {
            models.push(&source.model);
        }
    }
    models
}

/// The model that the child is like: the base, or the first one named.
///
/// # Errors
///
/// If the configuration names no model.
pub fn like(config: &Config) -> Result<&str, Diagnostic> {
    let nobody = || Diagnostic::error("no model is named", 0..0).expected("expected at least one model");
    named(config).first().map(|model| model.value.as_str()).ok_or_else(nobody)
}

/// Plans the child; the models are those that [`named`] lists.
///
/// # Errors
///
/// The first mistake, with its place: a method or parameter that the operator does not take, a tensor that a
/// model has not or in another shape, or layers that cannot stand in one child.
pub fn assemble(config: &Config, models: &Views<'_>) -> Result<Assembly, Diagnostic> {
    let like = like(config)?.to_owned();
    let operator = operator_of(config)?;
    let assembler = Assembler { config, models, operator };
    let (steps, layers) = match &config.slices {
        Slices::Whole(sources) => (assembler.whole(&models[&like], sources)?, None),
        Slices::Stacked(slices) => {
            super::fits::check(slices, &like, models)?;
            let layers = slices.iter().flat_map(|slice| slice.sources.first()).flat_map(|source| {
                let layers = source.layers.clone().unwrap_or_default();
                layers.map(|layer| (source.model.value.clone(), layer))
            });
            (assembler.stacked(slices)?, Some(layers.collect()))
        }
    };
    Ok(Assembly { operator, like, steps, layers })
}

/// The operator that the method is; some methods are another one if a parameter is set.
fn operator_of(config: &Config) -> Result<&'static dyn Operator, Diagnostic> {
    let method = config.method;
    let name = match method.instead {
        Some((parameter, instead)) if is_set(config, parameter) => instead,
        _ => method.operator,
    };
    operator::find(name).ok_or_else(|| {
        Diagnostic::error(format!("this program has no operator `{name}`"), 0..0)
            .expected(format!("expected the operator behind `{}`", method.name))
    })
}

/// Whether anybody sets a parameter that is one for all models: the merge, or a slice of it.
fn is_set(config: &Config, parameter: &str) -> bool {
    let slices = match &config.slices {
        Slices::Whole(_) => &[],
        Slices::Stacked(slices) => slices.as_slice(),
    };
    let mut scopes = slices.iter().map(|slice| &slice.settings).chain([&config.settings]);
    scopes.any(|scope| scope.contains_key(parameter))
}

fn length(slice: &Slice) -> usize {
    slice.sources.first().and_then(|source| source.layers.as_ref()).map_or(0, Range::len)
}

const SAME_TENSORS: &str = "expected models with the same tensors";

struct Assembler<'c> {
    config: &'c Config,
    models: &'c Views<'c>,
    operator: &'static dyn Operator,
}

/// Where the child's tensor lies: for settings, and for messages.
struct Place<'c> {
    /// The child's name for it.
    name: String,
    depth: f64,
    slice: Option<&'c Slice>,
}

/// A model that takes part in one tensor.
struct Part<'c> {
    model: &'c Located<String>,
    /// What the tensor is called there.
    tensor: String,
    settings: Option<&'c Settings>,
}

impl<'c> Assembler<'c> {
    fn whole(&self, like: &dyn Tensors, sources: &'c [Source]) -> Result<Vec<Step>, Diagnostic> {
        let names = || like.shapes().map(|(name, _)| name);
        let depth = crate::operator::depth::Depth::of(names());
        let step = |name: &str| {
            let part = |(model, settings)| Part { model, tensor: name.to_owned(), settings };
            let named = sources.iter().map(|source| (&source.model, Some(&source.settings)));
            let base = self.base_besides(sources).map(|base| (base, None));
            let place = Place { name: name.to_owned(), depth: depth.at(name), slice: None };
            self.step(&place, named.chain(base).map(part).collect(), name)
        };
        self.no_more_tensors(like, sources)?;
        names().map(step).collect()
    }

    /// The base that is one more model, though it is not among them: as the field's tool has it, the last.
    fn base_besides(&self, sources: &[Source]) -> Option<&'c Located<String>> {
        let base = self.config.base.as_ref().filter(|_| !self.config.method.base.is_apart())?;
        sources.iter().all(|source| source.model.value != base.value).then_some(base)
    }

    /// A tensor that only another model has would be left behind.
    fn no_more_tensors(&self, like: &dyn Tensors, sources: &[Source]) -> Result<(), Diagnostic> {
        for source in sources {
            let mut names = self.models[&source.model.value].shapes().map(|(name, _)| name);
            if let Some(name) = names.find(|name| like.shape(name).is_none()) {
                let message = format!(
                    "`{}` has a tensor `{name}`, which the first model named, whose tensors the child gets, has not",
                    source.model.value
                );
                return Err(Diagnostic::error(message, source.model.span.clone()).expected(SAME_TENSORS));
            }
        }
        Ok(())
    }

    fn stacked(&self, slices: &'c [Slice]) -> Result<Vec<Step>, Diagnostic> {
        let (Some(first), Some(last)) = (slices.first(), slices.last()) else {
            return Err(
                Diagnostic::error("there are no slices", 0..0).expected("expected at least one slice")
            );
        };
        let mut steps = Vec::new();
        let around = |slice: &'c Slice, before: bool| -> Result<Vec<Step>, Diagnostic> {
            let template = self.template(slice)?;
            let names = template.shapes().map(|(name, _)| name);
            names
                .filter(|name| layer_of(name).is_none() && is_before_layers(name) == before)
                .map(|name| self.sliced(slice, name, name.to_owned(), 0.0, None))
                .collect()
        };
        steps.extend(around(first, true)?);
        let mut number = 0;
        for slice in slices {
            let count = length(slice);
            for offset in 0..count {
                let depth = if count > 1 { offset as f64 / (count - 1) as f64 } else { 1.0 };
                steps.extend(self.layer(slice, offset, number, depth)?);
                number += 1;
            }
        }
        steps.extend(around(last, false)?);
        Ok(steps)
    }

    fn template(&self, slice: &Slice) -> Result<&'c View<'c>, Diagnostic> {
        let source = slice.sources.first().ok_or_else(|| {
            Diagnostic::error("this slice has no sources", slice.span.clone()).expected("expected a source")
        })?;
        Ok(&self.models[&source.model.value])
    }

    fn layer(
        &self,
        slice: &'c Slice,
        offset: usize,
        number: usize,
        depth: f64,
    ) -> Result<Vec<Step>, Diagnostic> {
        let template = self.template(slice)?;
        let first = slice.sources[0].layers.as_ref().map_or(0, |layers| layers.start);
        let names: Vec<&str> = template
            .shapes()
            .map(|(name, _)| name)
            .filter(|name| layer_of(name) == Some(first + offset))
            .collect();
        if names.is_empty() {
            let source = &slice.sources[0].model;
            let message = format!("`{}` has no layer {}", source.value, first + offset);
            return Err(Diagnostic::error(message, source.span.clone()).expected("expected layers it has"));
        }
        names
            .into_iter()
            .map(|name| self.sliced(slice, name, renumbered(name, number), depth, Some(offset)))
            .collect()
    }

    /// The step of a slice's tensor; `offset` counts its layers.
    fn sliced(
        &self,
        slice: &'c Slice,
        name: &str,
        child: String,
        depth: f64,
        offset: Option<usize>,
    ) -> Result<Step, Diagnostic> {
        let part = |source: &'c Source| {
            let first = source.layers.as_ref().map_or(0, |layers| layers.start);
            let tensor = offset.map_or_else(|| name.to_owned(), |offset| renumbered(name, first + offset));
            Part { model: &source.model, tensor, settings: Some(&source.settings) }
        };
        let place = Place { name: child, depth, slice: Some(slice) };
        self.step(&place, slice.sources.iter().map(part).collect(), name)
    }

    fn step(&self, place: &Place<'c>, mut parts: Vec<Part<'c>>, name: &str) -> Result<Step, Diagnostic> {
        let method = self.config.method;
        let mut base = None;
        if let Some(model) = self.config.base.as_ref().filter(|_| method.base.is_apart()) {
            let own = parts.iter().position(|part| part.model.value == model.value);
            let part = match own {
                Some(own) => parts.remove(own),
                None if place.slice.is_none() => Part { model, tensor: name.to_owned(), settings: None },
                None => {
                    let message = format!("a slice does not say which layers of the base `{}`", model.value);
                    let span = place.slice.map_or(0..0, |slice| slice.span.clone());
                    return Err(
                        Diagnostic::error(message, span).expected("expected the base among its sources")
                    );
                }
            };
            base = Some(part);
        }
        let (least, most) = method.models;
        if !(least..=most).contains(&parts.len()) {
            let found = count(parts.len(), "model");
            let too_many = parts.get(most).map(|part| part.model.span.clone());
            let span = too_many.or(place.slice.map(|slice| slice.span.clone())).unwrap_or(0..0);
            let apart = if method.base.is_apart() { " besides the base" } else { "" };
            let expected = match (least, most) {
                (least, usize::MAX) => format!("expected at least {}{apart}", count(least, "model")),
                (least, _) => format!("expected {}{apart}", count(least, "model")),
            };
            return Err(Diagnostic::error(format!("`{}` of {found}", method.name), span).expected(expected));
        }
        // The end where t is zero is a parent like the other.
        if method.base == Base::Start {
            parts.splice(0..0, base.take());
        }
        let shape = self.common_shape(base.iter().chain(&parts))?;
        let parameters = self.parameters(method, place, &parts)?;
        operator::complete(self.operator, &parameters, parts.len()).map_err(|error| {
            let span = self.out_of_range(&error, place, &parts).unwrap_or(0..0);
            Diagnostic::error(format!("tensor `{}`: {error}", place.name), span)
                .expected("expected values that the method takes")
        })?;
        let named = |part: &Part<'_>| (part.model.value.clone(), part.tensor.clone());
        Ok(Step {
            name: place.name.clone(),
            shape,
            base: base.as_ref().map(named),
            parents: parts.iter().map(named).collect(),
            parameters,
        })
    }

    /// Where a number that is out of its range was written.
    fn out_of_range(
        &self,
        error: &OperatorError,
        place: &Place<'c>,
        parts: &[Part<'c>],
    ) -> Option<Range<usize>> {
        let own = parts.iter().filter_map(|part| part.settings);
        let mut scopes = own.chain(place.slice.map(|slice| &slice.settings)).chain([&self.config.settings]);
        match error {
            // Values that make no sense together: the first that somebody wrote of those it speaks of.
            OperatorError::Relation { message, .. } => {
                let is_meant = |takes: &&Takes| message.contains(takes.name);
                let meant: Vec<&Takes> = self.config.method.takes.iter().filter(is_meant).collect();
                let setting = |scope: &'_ &'c Settings| meant.iter().find_map(|takes| scope.get(takes.name));
                scopes.find_map(|scope| setting(&scope)).map(|setting| setting.span.clone())
            }
            OperatorError::Parameter { source: ParameterError::Range { name, min, max, .. }, .. } => {
                let mut settings = scopes.filter_map(|scope| scope.get(*name));
                settings
                    .find(|setting| setting.value.goes_beyond(*min, *max))
                    .map(|setting| setting.span.clone())
            }
            _ => None,
        }
    }

    fn common_shape<'p>(&self, parts: impl Iterator<Item = &'p Part<'c>>) -> Result<Shape, Diagnostic>
    where
        'c: 'p,
    {
        let mut common: Option<(&Shape, &Located<String>)> = None;
        for part in parts {
            let Some(own) = self.models[&part.model.value].shape(&part.tensor) else {
                let message = format!("`{}` has no tensor `{}`", part.model.value, part.tensor);
                return Err(Diagnostic::error(message, part.model.span.clone()).expected(SAME_TENSORS));
            };
            match common {
                Some((shape, other)) if shape != own => {
                    let message = format!(
                        "tensor `{}` is {own} in `{}` and {shape} in `{}`",
                        part.tensor, part.model.value, other.value
                    );
                    let mistake = Diagnostic::error(message, part.model.span.clone())
                        .expected("expected models of one shape, vocabulary included");
                    // Matrices of more rows than there are tokens differ in nothing else.
                    return Err(if shape.columns() == own.columns() {
                        mistake.help("`tokenizer_source: base` takes rows by the base's tokens")
                    } else {
                        mistake
                    });
                }
                Some(_) => {}
                None => common = Some((own, part.model)),
            }
        }
        common.map(|(shape, _)| shape.clone()).ok_or_else(|| {
            Diagnostic::error("a tensor comes from no model", 0..0).expected("expected at least one model")
        })
    }

    fn parameters(
        &self,
        method: &Method,
        place: &Place<'c>,
        parts: &[Part<'c>],
    ) -> Result<Parameters, Diagnostic> {
        let mut parameters = Parameters::new();
        for takes in method.takes {
            let value = match takes.scope {
                Scope::Whole => self.given(takes, place, None).map(|given| value_of(takes, given))?,
                Scope::Each => {
                    let numbers: Vec<f64> = parts
                        .iter()
                        .map(|part| self.given(takes, place, Some(part)).map(number_of))
                        .collect::<Result<_, _>>()?;
                    match numbers[..] {
                        [only] if takes.name == "scale" => Value::Number(only),
                        _ => Value::PerParent(numbers),
                    }
                }
            };
            parameters.insert(takes.name.to_owned(), value);
        }
        for (name, word) in method.fixed {
            parameters.insert((*name).to_owned(), Value::Choice((*word).to_owned()));
        }
        if self.operator.name() != method.operator
            && let Some((parameter, _)) = method.instead
        {
            let takes = Takes { name: parameter, scope: Scope::Whole, default: Default::Flag(false) };
            let given = self.given(&takes, place, None)?;
            parameters.insert(parameter.to_owned(), value_of(&takes, given));
        }
        Ok(parameters)
    }

    /// The value of a parameter: the model's own, the slice's, the merge's, the method's.
    fn given(&self, takes: &Takes, place: &Place<'c>, part: Option<&Part<'c>>) -> Result<Given, Diagnostic> {
        let own = part.and_then(|part| part.settings);
        let slice = place.slice.map(|slice| &slice.settings);
        let scopes: Vec<&Settings> = own.into_iter().chain(slice).chain([&self.config.settings]).collect();
        // Filters of what is a model's own are for its tensors, called as they are there.
        let tensor = part.map_or(&place.name, |part| &part.tensor);
        if let Some(given) = evaluate(&scopes, takes.name, tensor, place.depth) {
            return Ok(given);
        }
        match takes.default {
            Default::Flag(flag) => Ok(Given::Flag(flag)),
            Default::Number(number) => Ok(Given::Number(number)),
            Default::Required => {
                let (of, span) = part.map_or((String::new(), 0..0), |part| {
                    (format!(" of `{}`", part.model.value), part.model.span.clone())
                });
                let message = format!("`{}`{of} says nothing for tensor `{tensor}`", takes.name);
                Err(Diagnostic::error(message, span).expected(format!("expected `{}`", takes.name)))
            }
        }
    }
}

fn number_of(given: Given) -> f64 {
    match given {
        Given::Number(number) => number,
        Given::Flag(flag) => f64::from(u8::from(flag)),
    }
}

/// A value as the operator takes it: what rescaling was asked for is a word there.
fn value_of(takes: &Takes, given: Given) -> Value {
    let on = number_of(given) != 0.0;
    match takes.default {
        Default::Flag(_) if takes.name == "rescale" => {
            Value::Choice(if on { "l1" } else { "none" }.to_owned())
        }
        Default::Flag(_) => Value::Flag(on),
        Default::Number(_) | Default::Required => Value::Number(number_of(given)),
    }
}
