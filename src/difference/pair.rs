//! A tensor of both models, read in runs.

use std::ops::Range;

use super::error::{DifferenceError, Side};
use crate::operator::source::PIECE;
use crate::operator::{Source, Tensors};
use crate::tensor::shape::Shape;

/// A tensor that both models have in the same shape.
pub(super) struct Pair<'a> {
    pub(super) name: &'a str,
    pub(super) shape: &'a Shape,
    pub(super) first: Box<dyn Source + 'a>,
    pub(super) second: Box<dyn Source + 'a>,
}

/// Room for a run of both models: made once for many short runs.
pub(super) struct Scratch([f32; PIECE], [f32; PIECE]);

impl Scratch {
    pub(super) fn new() -> Self {
        Self([0.0; PIECE], [0.0; PIECE])
    }
}

impl<'a> Pair<'a> {
    /// The tensor called `name`, if both models have it in the same shape.
    pub(super) fn of(name: &'a str, a: &'a dyn Tensors, b: &'a dyn Tensors) -> Option<Self> {
        let shape = a.shape(name)?;
        if b.shape(name)? != shape {
            return None;
        }
        Some(Self { name, shape, first: a.source(name)?, second: b.source(name)? })
    }

    /// Hands over the elements of a range in runs of at most [`PIECE`], all of them finite, with the
    /// index of each run's first.
    pub(super) fn each(
        &self,
        range: Range<usize>,
        take: impl FnMut(usize, &[f32], &[f32]) -> Result<(), DifferenceError>,
    ) -> Result<(), DifferenceError> {
        self.each_with(&mut Scratch::new(), range, take)
    }

    /// Like [`Self::each`], in room that is there already.
    pub(super) fn each_with(
        &self,
        Scratch(first, second): &mut Scratch,
        range: Range<usize>,
        mut take: impl FnMut(usize, &[f32], &[f32]) -> Result<(), DifferenceError>,
    ) -> Result<(), DifferenceError> {
        for start in range.clone().step_by(PIECE) {
            let len = PIECE.min(range.end - start);
            let a = self.first.read(start, &mut first[..len]);
            let b = self.second.read(start, &mut second[..len]);
            self.finite(Side::First, start, a)?;
            self.finite(Side::Second, start, b)?;
            take(start, a, b)?;
        }
        Ok(())
    }

    /// Whether either model stores it as f64.
    pub(super) fn is_wide(&self) -> bool {
        self.first.is_wide() || self.second.is_wide()
    }

    /// Like [`Self::each`], without rounding anything.
    pub(super) fn each_f64(
        &self,
        range: Range<usize>,
        mut take: impl FnMut(&[f64], &[f64]),
    ) -> Result<(), DifferenceError> {
        let (mut first, mut second) = (vec![0.0; PIECE], vec![0.0; PIECE]);
        for start in range.clone().step_by(PIECE) {
            let len = PIECE.min(range.end - start);
            let (a, b) = (&mut first[..len], &mut second[..len]);
            self.first.read_f64(start, a);
            self.second.read_f64(start, b);
            self.finite(Side::First, start, a)?;
            self.finite(Side::Second, start, b)?;
            take(a, b);
        }
        Ok(())
    }

    /// Like [`Self::each`], with the differences as an adapter holds them: `b - a` in f32.
    pub(super) fn each_delta(
        &self,
        range: Range<usize>,
        mut take: impl FnMut(usize, &[f32]) -> Result<(), DifferenceError>,
    ) -> Result<(), DifferenceError> {
        let mut deltas = [0.0; PIECE];
        self.each(range, |start, a, b| {
            let deltas = &mut deltas[..a.len()];
            for ((delta, a), b) in deltas.iter_mut().zip(a).zip(b) {
                *delta = b - a;
            }
            match deltas.iter().position(|delta| !delta.is_finite()) {
                None => take(start, deltas),
                Some(i) => Err(DifferenceError::Overflow {
                    tensor: self.name.to_owned(),
                    index: start + i,
                    value: deltas[i],
                }),
            }
        })
    }

    fn finite<T: Copy + Into<f64>>(
        &self,
        side: Side,
        start: usize,
        values: &[T],
    ) -> Result<(), DifferenceError> {
        match values.iter().position(|value| !(*value).into().is_finite()) {
            None => Ok(()),
            Some(i) => Err(DifferenceError::NotFinite {
                side,
                tensor: self.name.to_owned(),
                index: start + i,
                value: values[i].into() as f32,
            }),
        }
    }
}
