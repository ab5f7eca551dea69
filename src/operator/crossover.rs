//! `crossover`: every unit of the child comes whole from one parent.
//!
//! The recombination of genetic algorithms on weights instead of bits: uniform crossover (Syswerda,
//! "Uniform crossover in genetic algorithms", 1989) and n-point crossover (De Jong and Spears, "A
//! formal analysis of the role of multi-point crossover", 1992), with two parents or more. Nothing
//! is averaged: the bits of an element are those of the parent it came from.
//!
//! A unit is a `tensor`; a `layer`, all tensors of one number in one place ([`super::depth::place_of`]), others
//! being units of their own; a `row`; or `block:N`, N neighbouring elements of a tensor (its last block may be
//! shorter). Who gives a unit:
//!
//! * `uniform`: word `u` of the tensor's random stream (for layers that of `layers.N`, or of `STEM.N` in a
//!   model that numbers them in several places, which the receipt calls `stacks`) over 2^32, against the
//!   cumulated `shares` over their sum, where `u` counts the tensor's units.
//! * `n_point:K`: the model's units in storage order are cut at K different places, drawn from all
//!   between two units; the pieces come from the first parent, the second and so on, round and round.
//!
//! The receipt says which share of the elements each parent really gave, and for each tensor how
//! many units, with the gene map: parent (from 0), number of units, parent, number of units and so
//! on; or, where that would be long, its BLAKE3 over one little-endian u32 a unit.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::depth::{place_of, stems};
use super::draw::distinct;
use super::error::OperatorError;
use super::genes::{GeneMap, Genes};
use super::outline::Outlined;
use super::parameter::{Kind, Parameter, Parameters, Value, Values, numbers_in};
use super::source::PIECE;
use super::survey::{numbers, settings, stream};
use crate::base::rng::Philox;

/// The operator.
pub struct Crossover;

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "unit",
        doc: "What is taken whole from one parent; `block:N` is N neighbouring elements.",
        kind: Kind::Choice { options: &["row", "tensor", "layer", "block:N"], default: "row" },
    },
    Parameter {
        name: "scheme",
        doc: "Whether each unit is drawn by itself, or the model is cut at K places and parents alternate.",
        kind: Kind::Choice { options: &["uniform", "n_point:K"], default: "uniform" },
    },
    Parameter {
        name: "shares",
        doc: "How likely each parent gives a unit, up to a common factor.",
        kind: Kind::PerParent { min: 0.0, max: 1e9, default: Some(1.0) },
    },
];

impl Operator for Crossover {
    fn name(&self) -> &'static str {
        "crossover"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "each unit whole from one parent (uniform or n-point crossover; De Jong and Spears 1992)"
    }

    fn parents(&self) -> std::ops::RangeInclusive<usize> {
        2..=usize::MAX
    }

    fn needs_base(&self) -> bool {
        false
    }

    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn relations(&self, values: &Values) -> Result<(), String> {
        let shares = values.per_parent("shares");
        if shares.iter().all(|share| *share == 0.0) {
            return Err("all shares are zero, so no parent may give anything".to_owned());
        }
        if points(values).is_some() && shares.iter().any(|share| *share != shares[0]) {
            return Err("with `n_point` parents alternate; leave `shares` out, or set scheme = \"uniform\""
                .to_owned());
        }
        Ok(())
    }

    fn whole(&self) -> &'static [&'static str] {
        &["scheme"]
    }

    fn minds_tensors(&self) -> bool {
        true
    }

    fn suits(&self, child: &[Outlined<'_>]) -> Result<(), (&'static str, String)> {
        let Some(points) = child.first().and_then(|first| points(first.values)) else { return Ok(()) };
        cuts_fit(points, numbering(child).1).map_err(|message| ("scheme", message))
    }

    fn survey(&self, tensors: &[TensorInputs<'_>]) -> Result<Parameters, OperatorError> {
        let Some(values) = settings(self, tensors)? else {
            return Ok(Parameters::new());
        };
        let mut found = match points(values) {
            Some(points) => self.cut(tensors, points)?,
            None => Parameters::new(),
        };
        let of_layers = tensors.iter().filter(|tensor| layer_unit(&tensor.outlined()).is_some());
        let stacks = stems(of_layers.map(|tensor| tensor.name)).len();
        if stacks > 1 {
            found.insert(STACKS.to_owned(), Value::Number(stacks as f64));
        }
        let given: Vec<Vec<u64>> =
            tensors.par_iter().map(|tensor| GeneMap::of(&genes(tensor, &found)).elements).collect();
        let elements: u64 = given.iter().flatten().sum();
        let share =
            |parent: usize| given.iter().map(|given| given[parent]).sum::<u64>() as f64 / elements as f64;
        let shares = (0..tensors[0].parents.len()).map(share).collect();
        found.insert("shares".to_owned(), Value::PerParent(shares));
        Ok(found)
    }

    fn kernel<'a>(
        &self,
        tensor: &'a TensorInputs<'a>,
        survey: &'a Parameters,
    ) -> Result<Box<dyn Kernel + 'a>, OperatorError> {
        let genes = genes(tensor, survey);
        let map = GeneMap::of(&genes);
        Ok(Box::new(Copy { genes, map }))
    }
}

impl Crossover {
    /// Draws the places where the model is cut.
    fn cut(&self, tensors: &[TensorInputs<'_>], points: u64) -> Result<Parameters, OperatorError> {
        let outlined: Vec<Outlined<'_>> = tensors.iter().map(TensorInputs::outlined).collect();
        let (first, units) = numbering(&outlined);
        cuts_fit(points, units)
            .map_err(|message| OperatorError::Relation { operator: self.name(), message })?;
        let cuts = distinct(&stream(tensors), points, units - 1);
        // Cut `i` lies before unit `i + 1`.
        let cuts = cuts.into_iter().map(|cut| (cut + 1) as f64).collect();
        let names = tensors.iter().map(|tensor| tensor.name.to_owned());
        let first = names.zip(first.into_iter().map(|unit| Value::Number(unit as f64))).collect();
        Ok(Parameters::from([
            ("cuts".to_owned(), Value::PerParent(cuts)),
            ("first_unit".to_owned(), Value::Table(first)),
            ("units".to_owned(), Value::Number(units as f64)),
        ]))
    }
}

/// K of `n_point:K`.
fn points(values: &Values) -> Option<u64> {
    numbers_in(values.choice("scheme")).first().map(|points| *points as u64)
}

/// Cuts lie between units, and no two of them in one place.
fn cuts_fit(points: u64, units: u64) -> Result<(), String> {
    if points < units {
        return Ok(());
    }
    Err(format!("`n_point:{points}` cuts between units, and the model has only {units}"))
}

/// The first unit of each tensor in the order of the whole model, and how many units there are.
fn numbering(tensors: &[Outlined<'_>]) -> (Vec<u64>, u64) {
    let mut layers = BTreeMap::new();
    let mut units = 0;
    let first = tensors.iter().map(|tensor| {
        let next = units;
        let first = match layer_unit(tensor) {
            Some(layer) => *layers.entry(layer).or_insert(next),
            None => next,
        };
        if first == next {
            units += Genes::units_in(tensor.shape.elements(), unit_length(tensor));
        }
        first
    });
    (first.collect(), units)
}

/// In how many places layers are numbered, where it is more than one.
const STACKS: &str = "stacks";

/// The layer that is this tensor's unit: its place, and its number there.
fn layer_unit<'a>(tensor: &Outlined<'a>) -> Option<(&'a str, usize)> {
    if tensor.values.choice("unit") == "layer" { place_of(tensor.name) } else { None }
}

/// Elements of a unit of this tensor.
fn unit_length(tensor: &Outlined<'_>) -> usize {
    match tensor.values.choice("unit") {
        "tensor" | "layer" => tensor.shape.elements(),
        "row" => tensor.shape.columns(),
        block => numbers_in(block).first().copied().unwrap_or(1),
    }
}

fn genes(tensor: &TensorInputs<'_>, survey: &Parameters) -> Genes {
    let (elements, length) = (tensor.shape.elements(), unit_length(&tensor.outlined()));
    let parents = tensor.parents.len();
    match survey.get("first_unit") {
        Some(Value::Table(units)) => {
            let first = match units.get(tensor.name) {
                Some(Value::Number(first)) => *first as u64,
                _ => 0,
            };
            let cuts = numbers(survey, "cuts").iter().map(|cut| *cut as u64).collect();
            Genes::by_cuts(elements, length, parents, first, cuts)
        }
        _ => {
            let stream = match layer_unit(&tensor.outlined()) {
                Some((stem, layer)) => {
                    let [seed, operator, candidate] = tensor.purpose;
                    let stem = if survey.contains_key(STACKS) { stem } else { "layers" };
                    Philox::for_purpose(&[seed, operator, candidate, &format!("{stem}.{layer}")])
                }
                None => tensor.random(),
            };
            Genes::drawn(elements, length, stream, tensor.values.per_parent("shares"))
        }
    }
}

struct Copy {
    genes: Genes,
    map: GeneMap,
}

impl Kernel for Copy {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        let length = self.genes.length();
        let first = piece.first / length;
        let mut genes = [0; PIECE];
        let genes = &mut genes[..(piece.first + out.len()).div_ceil(length) - first];
        self.genes.read(first as u64, genes);
        let mut done = 0;
        for parent in genes {
            let end = out.len().min(done + length - (piece.first + done) % length);
            out[done..end].copy_from_slice(&piece.parents[*parent as usize][done..end]);
            done = end;
        }
    }

    fn realised(&self) -> Parameters {
        self.map.realised()
    }
}
