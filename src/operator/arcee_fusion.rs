//! `arcee_fusion`: takes over from a parent only the elements that changed most where it counts.
//!
//! The field's name and definition (Goddard et al., "Arcee's MergeKit", 2024). With `b` the base, `x`
//! the parent and `D` the divergence of the element's row (`divergence`), tensor by tensor:
//!
//! ```text
//! importance = |x - b| * D
//! threshold  = median + 1.5 (upper quartile - lower quartile)        of all importances
//! out        = b + (x - b)    where importance >= threshold
//!              b              elsewhere
//! ```
//!
//! A quantile is the element of rank `floor(q (n - 1))`, from 0 for the smallest. The field sorts a
//! million elements drawn from tensors that have more; here all are looked at, and nothing is drawn.
//!
//! Divergences are f64, rounded to f32 once; everything else is f32. The field takes divergences in
//! f32, where most of their digits are noise, so that it may decide otherwise about elements near the
//! threshold.

use super::bracket::{Question, find};
use super::combine::subtract;
use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::counters::Counters;
use super::divergence;
use super::error::OperatorError;
use super::parameter::{Parameter, Parameters, Value};
use super::source::{RUN, Source};
use crate::base::wide::wide;

/// The operator.
pub struct ArceeFusion;

/// How many times the distance of the quartiles the threshold lies above the median.
const DISTANCES: f32 = 1.5;

impl Operator for ArceeFusion {
    fn name(&self) -> &'static str {
        "arcee_fusion"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "the elements that changed most where their rows did (Arcee Fusion; Goddard et al. 2024)"
    }

    fn parents(&self) -> std::ops::RangeInclusive<usize> {
        1..=1
    }

    fn needs_base(&self) -> bool {
        true
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[]
    }

    fn kernel<'a>(
        &self,
        tensor: &'a TensorInputs<'a>,
        _survey: &'a Parameters,
    ) -> Result<Box<dyn Kernel + 'a>, OperatorError> {
        let (x, base) = (&*tensor.parents[0], tensor.base());
        let rows =
            Rows { divergences: divergence::of_rows(x, base, tensor.shape), columns: tensor.shape.columns() };
        let importance = Importance { x, base, rows: &rows };
        let threshold = threshold(&importance, tensor.shape.elements());
        Ok(Box::new(Fused { rows, threshold, kept: Counters::new(1) }))
    }
}

/// From which importance on an element is taken over.
fn threshold(importance: &Importance<'_>, elements: usize) -> f32 {
    // From 1 for the largest, as they are looked for.
    let rank = |quarters: usize| (elements - quarters * (elements - 1) / 4) as u64;
    let ranks = vec![rank(3), rank(2), rank(1)];
    let found = find(None, elements, &[Question { source: importance, ranks }]);
    let of = |i: usize| f32::from_bits(found[0][i].place.magnitude);
    of(1) + DISTANCES * (of(0) - of(2))
}

/// The divergences of a tensor's rows.
struct Rows {
    divergences: Vec<f32>,
    columns: usize,
}

impl Rows {
    /// Cuts the elements `first..first + len` where rows end: the places of each part, and its divergence.
    fn parts(&self, first: usize, len: usize) -> impl Iterator<Item = (std::ops::Range<usize>, f32)> {
        let mut done = 0;
        std::iter::from_fn(move || {
            let at = first + done;
            let part = done..len.min(done + self.columns - at % self.columns);
            done = part.end;
            (!part.is_empty()).then(|| (part, self.divergences[at / self.columns]))
        })
    }

    /// The importances of elements from `first` on.
    fn weigh(&self, first: usize, x: &[f32], base: &[f32], out: &mut [f32]) {
        subtract(x, base, out);
        for (part, divergence) in self.parts(first, x.len()) {
            weigh(divergence, &mut out[part]);
        }
    }
}

/// The importance of every element, which is never stored.
struct Importance<'a> {
    x: &'a dyn Source,
    base: &'a dyn Source,
    rows: &'a Rows,
}

impl Source for Importance<'_> {
    fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        let (mut x_scratch, mut base_scratch) = ([0.0; RUN], [0.0; RUN]);
        for (i, out) in scratch.chunks_mut(RUN).enumerate() {
            let (first, run) = (first + i * RUN, out.len());
            let x = self.x.read(first, &mut x_scratch[..run]);
            let base = self.base.read(first, &mut base_scratch[..run]);
            self.rows.weigh(first, x, base, out);
        }
        scratch
    }
}

struct Fused {
    rows: Rows,
    threshold: f32,
    kept: Counters,
}

wide! {
    /// Differences become importances.
    fn weigh<'a>(divergence: f32, differences: &'a mut [f32]) {
        for difference in differences {
            *difference = difference.abs() * divergence;
        }
    }

    /// Importances become the child's elements; returns how many are taken over.
    fn take<'a>(threshold: f32, x: &'a [f32], base: &'a [f32], out: &'a mut [f32]) -> usize {
        let mut taken = 0_u32;
        for (out, (x, b)) in out.iter_mut().zip(x.iter().zip(base)) {
            let is_taken = *out >= threshold;
            taken += u32::from(is_taken);
            *out = if is_taken { b + (x - b) } else { *b };
        }
        taken as usize
    }
}

impl Kernel for Fused {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        let [x] = piece.parents else { return };
        self.rows.weigh(piece.first, x, piece.base, out);
        self.kept.add(0, take(self.threshold, x, piece.base, out));
    }

    fn stands_alone(&self) -> bool {
        true
    }

    fn realised(&self) -> Parameters {
        let mut found = self.kept.realised();
        found.insert("threshold".to_owned(), Value::Number(f64::from(self.threshold)));
        found
    }
}
