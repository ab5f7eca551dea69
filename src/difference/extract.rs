//! What one model has and another has not, as an adapter package.
//!
//! A delta is `model - base` in f32, so `base + delta` is the model again wherever that difference is
//! exact, and within one rounding of it elsewhere. Tensors that do not differ get no delta.
//!
//! | form | what is kept |
//! |---|---|
//! | dense | every difference |
//! | sparse | every difference that is not zero, or the share of largest magnitude in each tensor |
//! | low rank | of a matrix, the nearest product of two narrow ones; of a vector, every difference |
//!
//! Where the difference is an adapter already (a PEFT folder, say), it can also be kept as it is.
//!
//! A pair of factors that would hold as many numbers as the matrix itself is stored dense instead:
//! that costs no more and loses nothing. Where linear modules alone are meant it stays a pair, for what reads
//! nothing else.
//!
//! What a [`Selection`] leaves out is measured and said.

use std::collections::HashSet;

use serde::Serialize;

use super::compare::measure;
use super::error::{DifferenceError, Side};
use super::low_rank::{LowRank, factor};
use super::pair::Pair;
use super::selection::{LeftOut, Selection, refuse_nothing};
use crate::base::sink::ArtifactSink;
use crate::model::adapter::package::{DENSE, Family, LOW_RANK, SPARSE};
use crate::model::adapter::write::{encode_pair, needs_wide};
use crate::model::adapter::{Adapter, AdapterIdentity, Factors, Layout, PlannedDelta, PlannedStored, Writer};
use crate::model::arithmetic::{Bearing, unlike};
use crate::model::tokenizer::alike;
use crate::model::{Package, buffer};
use crate::operator::reduce::dot;
use crate::operator::trim::{Cut, cut, kept};
use crate::operator::{Adapted, Tensors};
use crate::tensor::shape::Shape;

/// What differs from the base.
#[derive(Clone, Copy)]
pub enum Changed<'a> {
    /// Another model, and its tensors in the base's names.
    Model(&'a Package, &'a dyn Tensors),
    /// The base with an adapter on it.
    Adapter(&'a Adapter),
}

/// How a difference is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// Every element.
    Dense,
    /// Some elements.
    Sparse {
        /// The share of each tensor's elements, above 0 and at most 1; none keeps all that differ.
        density: Option<f64>,
    },
    /// Two factors for each matrix.
    LowRank {
        /// Their rank; at least 1.
        rank: usize,
    },
}

/// One delta of the package.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Extracted {
    /// The tensor it is for.
    pub tensor: String,
    /// That tensor's dimensions.
    pub shape: Shape,
    /// `dense`, `sparse` or `low-rank`.
    pub stored: &'static str,
    /// Numbers stored for it; indices do not count.
    pub numbers: u64,
    /// L2 norm of the whole difference.
    pub l2: f64,
    /// What of its energy the delta holds: 1 less the squared L2 norm of what is missing over that of
    /// the difference.
    pub captured: f64,
}

/// An adapter that was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Made {
    /// What is in it.
    pub deltas: Vec<Extracted>,
    /// What differs, too, and was not to be in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// Writes the difference of two models that have the same tensors, and says what was kept of it. `cancelled` is
/// asked between tensors.
///
/// # Errors
///
/// [`DifferenceError::Missing`], [`DifferenceError::Shape`], [`DifferenceError::Buffer`],
/// [`DifferenceError::OtherModel`] or [`DifferenceError::OtherNetwork`] of models that are not two states of
/// one; [`DifferenceError::Adapter`] of an adapter that is not for the base.
///
/// [`DifferenceError::NotFinite`] or [`DifferenceError::Overflow`] of a weight, [`DifferenceError::AllLeftOut`]
/// if the selection leaves nothing that differs, [`DifferenceError::Write`] if the sink fails,
/// [`DifferenceError::Cancelled`]. What was written is worthless then.
pub fn extract(
    base: &Package,
    changed: Changed<'_>,
    form: Form,
    selection: Selection<'_>,
    sink: &mut dyn ArtifactSink,
    cancelled: &dyn Fn() -> bool,
) -> Result<Made, DifferenceError> {
    let work = Work { base, form, selection, cancelled };
    match changed {
        Changed::Model(model, tensors) => {
            // An adapter has no words for them.
            buffer::same(("the base", base), ("the model", model))?;
            let follows = [follows(base, tensors), follows(model, &base.weights)];
            let pairs = pairs(&base.weights, tensors, &follows)?;
            same_arithmetic(base, model)?;
            work.write(&pairs, &same_model(base, model, tensors, &follows)?, sink)
        }
        Changed::Adapter(adapter) => {
            let identity = AdapterIdentity::of_package(base);
            let adapted = Adapted::on(base, adapter)?;
            work.write(&pairs(&base.weights, &adapted, &Default::default())?, &identity, sink)
        }
    }
}

/// What is wanted of the pairs.
struct Work<'a> {
    base: &'a Package,
    form: Form,
    selection: Selection<'a>,
    cancelled: &'a dyn Fn() -> bool,
}

impl Work<'_> {
    /// Writes what is kept of each pair.
    fn write(
        &self,
        pairs: &[Pair<'_>],
        identity: &AdapterIdentity,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Made, DifferenceError> {
        let (mut kept, mut left_out) = (Vec::new(), Vec::new());
        for pair in pairs {
            go_on(self.cancelled)?;
            let sums = measure(pair)?;
            if sums.changed == 0 {
                continue;
            }
            if self.selection.takes(self.base, pair.name) {
                kept.extend(Kept::of(pair, self.form, self.selection.linear, sums.difference)?);
            } else {
                let (tensor, shape) = (pair.name.to_owned(), pair.shape.clone());
                left_out.push(LeftOut { tensor, shape, measures: sums.finish() });
            }
        }
        refuse_nothing(kept.len(), &left_out)?;
        let planned: Vec<PlannedDelta> = kept.iter().map(Kept::planned).collect();
        let layout = Layout::new(self.form.family(), identity, &planned)?;
        let mut writer = Writer::new(&layout, sink)?;
        for delta in &kept {
            go_on(self.cancelled)?;
            delta.write(&mut writer)?;
        }
        writer.finish()?;
        Ok(Made { deltas: kept.iter().map(Kept::extracted).collect(), left_out })
    }
}

impl Form {
    fn family(self) -> &'static Family {
        match self {
            Self::Dense => DENSE,
            Self::Sparse { .. } => SPARSE,
            Self::LowRank { .. } => LOW_RANK,
        }
    }
}

fn go_on(cancelled: &dyn Fn() -> bool) -> Result<(), DifferenceError> {
    if cancelled() { Err(DifferenceError::Cancelled) } else { Ok(()) }
}

/// The tensors of a model that follow from its others, and that the other model has not.
fn follows<'p>(package: &'p Package, other: &dyn Tensors) -> HashSet<&'p str> {
    let own: HashSet<&str> = package.own_tensors().map(|info| info.name.as_str()).collect();
    let names = package.weights.infos().iter().map(|info| info.name.as_str());
    names.filter(|name| !own.contains(name) && other.shape(name).is_none()).collect()
}

/// Every tensor of both, in the base's order, but for those that follow from the others in one of them.
fn pairs<'a>(
    a: &'a dyn Tensors,
    b: &'a dyn Tensors,
    follows: &[HashSet<&str>; 2],
) -> Result<Vec<Pair<'a>>, DifferenceError> {
    let mut pairs = Vec::new();
    for (name, shape) in a.shapes().filter(|(name, _)| !follows[0].contains(name)) {
        let tensor = || name.to_owned();
        let Some(other) = b.shape(name) else {
            return Err(DifferenceError::Missing { tensor: tensor(), without: Side::Second });
        };
        pairs.push(Pair::of(name, a, b).ok_or_else(|| DifferenceError::Shape {
            tensor: tensor(),
            first: Box::new(shape.clone()),
            second: Box::new(other.clone()),
        })?);
    }
    match b.shapes().find(|(name, _)| a.shape(name).is_none() && !follows[1].contains(name)) {
        Some((name, _)) => Err(DifferenceError::Missing { tensor: name.to_owned(), without: Side::First }),
        None => Ok(pairs),
    }
}

/// An adapter changes weights and nothing that the network does with them. What one model does not say
/// contradicts nothing.
fn same_arithmetic(base: &Package, model: &Package) -> Result<(), DifferenceError> {
    let mut found = unlike(base, model);
    found.retain(|found| matches!(found.bearing, Bearing::Network | Bearing::Constant));
    if found.is_empty() { Ok(()) } else { Err(DifferenceError::OtherNetwork(found)) }
}

/// The identity both models share. A tokenizer that one file does not tell contradicts nothing, nor does one
/// that gives the same ids in other words.
fn same_model(
    base: &Package,
    model: &Package,
    tensors: &dyn Tensors,
    follows: &[HashSet<&str>; 2],
) -> Result<AdapterIdentity, DifferenceError> {
    let identity = |package: &Package, tensors: &dyn Tensors, follows: &HashSet<&str>| {
        let own = tensors.shapes().filter(|(name, _)| !follows.contains(name));
        AdapterIdentity::of_tensors(package, &own.collect::<Vec<_>>())
    };
    let first = identity(base, &base.weights, &follows[0]);
    let mut second = identity(model, tensors, &follows[1]);
    let told = first.tokenizer_checksum.0 != 0 && second.tokenizer_checksum.0 != 0;
    if !told || alike::give_same_ids(base, model) {
        second.tokenizer_checksum = first.tokenizer_checksum;
    }
    match first.mismatches(&second) {
        found if found.is_empty() => Ok(AdapterIdentity::of_package(base)),
        found => Err(DifferenceError::OtherModel(found)),
    }
}

/// A delta before it is written.
struct Kept<'a> {
    pair: &'a Pair<'a>,
    what: What,
    /// Squared L2 norm of the difference, and of what is missing.
    energy: f64,
    missing: f64,
}

enum What {
    Dense,
    Sparse { cut: Cut, pairs: u64, wide: bool },
    LowRank(LowRank),
}

impl<'a> Kept<'a> {
    /// Nothing if every difference of the tensor is cut away. `product`: a pair of factors though it is no
    /// smaller than the matrix.
    fn of(
        pair: &'a Pair<'a>,
        form: Form,
        product: bool,
        energy: f64,
    ) -> Result<Option<Self>, DifferenceError> {
        let dense = Self { pair, what: What::Dense, energy, missing: 0.0 };
        match form {
            Form::Dense => Ok(Some(dense)),
            Form::Sparse { density } => Self::sparse(pair, density.unwrap_or(1.0), energy),
            Form::LowRank { rank } if product || is_narrow(pair.shape, rank) => {
                Self::low_rank(pair, rank, energy)
            }
            Form::LowRank { .. } => Ok(Some(dense)),
        }
    }

    fn sparse(pair: &'a Pair<'a>, density: f64, energy: f64) -> Result<Option<Self>, DifferenceError> {
        let elements = pair.shape.elements();
        let cut = cut(Some(&*pair.first), &*pair.second, elements, kept(density, elements));
        let (mut pairs, mut missing) = (0, 0.0);
        pair.each_delta(0..elements, |first, deltas| {
            for (index, delta) in (first..).zip(deltas) {
                if *delta != 0.0 && cut.keeps(index, *delta) {
                    pairs += 1;
                } else {
                    missing += f64::from(*delta) * f64::from(*delta);
                }
            }
            Ok(())
        })?;
        let wide = needs_wide(pair.shape);
        let kept = Self { pair, what: What::Sparse { cut, pairs, wide }, energy, missing };
        Ok((pairs > 0).then_some(kept))
    }

    fn low_rank(pair: &'a Pair<'a>, rank: usize, energy: f64) -> Result<Option<Self>, DifferenceError> {
        let found = factor(pair, rank)?;
        if found.rank == 0 {
            return Ok(None);
        }
        let factors = factors(&found, pair.shape);
        let mut missing = 0.0;
        pair.each_delta(0..pair.shape.elements(), |first, deltas| {
            // What is left of the difference when the product, as it will be added, is taken away.
            let mut left = [0.0; crate::operator::source::PIECE];
            let left = &mut left[..deltas.len()];
            left.copy_from_slice(deltas);
            left.iter_mut().for_each(|value| *value = -*value);
            factors.add_to(first, left);
            missing += dot(left, left);
            Ok(())
        })?;
        Ok(Some(Self { pair, what: What::LowRank(found), energy, missing }))
    }

    fn planned(&self) -> PlannedDelta {
        let stored = match &self.what {
            What::Dense => PlannedStored::Dense,
            What::Sparse { pairs, wide, .. } => PlannedStored::Sparse { pairs: *pairs, wide: *wide },
            What::LowRank(found) => PlannedStored::LowRank { rank: found.rank, scale: 1.0 },
        };
        PlannedDelta { name: self.pair.name.to_owned(), shape: self.pair.shape.clone(), stored }
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), DifferenceError> {
        let all = 0..self.pair.shape.elements();
        match &self.what {
            What::Dense => self.pair.each_delta(all, |_, deltas| Ok(writer.put_f32(deltas)?)),
            What::Sparse { cut, wide, .. } => {
                let mut bytes = Vec::new();
                self.pair.each_delta(all, |first, deltas| {
                    bytes.clear();
                    for (index, delta) in (first..).zip(deltas) {
                        if *delta != 0.0 && cut.keeps(index, *delta) {
                            encode_pair(*wide, index as u64, *delta, &mut bytes);
                        }
                    }
                    Ok(writer.put(&bytes)?)
                })
            }
            What::LowRank(found) => {
                writer.put_f32(&found.a)?;
                Ok(writer.put_f32(&found.b)?)
            }
        }
    }

    fn extracted(&self) -> Extracted {
        let (stored, numbers) = match &self.what {
            What::Dense => ("dense", self.pair.shape.elements() as u64),
            What::Sparse { pairs, .. } => ("sparse", *pairs),
            What::LowRank(found) => ("low-rank", (found.a.len() + found.b.len()) as u64),
        };
        Extracted {
            tensor: self.pair.name.to_owned(),
            shape: self.pair.shape.clone(),
            stored,
            numbers,
            l2: self.energy.sqrt(),
            captured: if self.energy > 0.0 { 1.0 - self.missing / self.energy } else { 1.0 },
        }
    }
}

/// Whether factors of this rank hold fewer numbers than the matrix.
fn is_narrow(shape: &Shape, rank: usize) -> bool {
    let numbers = (shape.rows() + shape.columns()).saturating_mul(rank);
    shape.dims().len() >= 2 && numbers < shape.elements()
}

fn factors<'f>(found: &'f LowRank, shape: &Shape) -> Factors<'f> {
    let (a, b) = ((&found.a[..]).into(), (&found.b[..]).into());
    Factors { a, b, columns: shape.columns(), rank: found.rank, scale: 1.0 }
}
