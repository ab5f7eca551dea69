//! `task_delta`: adds weighted differences from a base.
//!
//! The field calls a difference `d_i = x_i - b` a task vector and this task arithmetic (Ilharco et
//! al., "Editing Models with Task Arithmetic", 2023): adding one teaches its task, subtracting one
//! (a negative weight) unlearns it.
//!
//! `s = sum w_i d_i` in list order from zero; with `normalize`, `s / sum w_i`, where a sum of
//! almost nothing counts as one; `out = b + lambda * s`.

use super::blend::{TOGETHER, left_to_right};
use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::error::OperatorError;
use super::parameter::{Kind, Parameter, Parameters};
use crate::base::wide::wide;

/// The operator.
pub struct TaskDelta;

/// A weight for each parent.
pub(super) const WEIGHT: Parameter = Parameter {
    name: "weight",
    doc: "How much each parent counts.",
    kind: Kind::PerParent { min: -1e9, max: 1e9, default: Some(1.0) },
};

/// The factor on the whole change.
pub(super) const LAMBDA: Parameter = Parameter {
    name: "lambda",
    doc: "Factor on the whole change before it is added to the base.",
    kind: Kind::Number { min: -1e9, max: 1e9, default: Some(1.0) },
};

/// Divisors nearer to zero than this count as one.
const ALMOST_NOTHING: f32 = 1e-8;

const PARAMETERS: &[Parameter] = &[
    WEIGHT,
    Parameter {
        name: "normalize",
        doc: "Divide the sum of changes by the sum of the weights.",
        kind: Kind::Flag { default: false },
    },
    LAMBDA,
];

impl Operator for TaskDelta {
    fn name(&self) -> &'static str {
        "task_delta"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "base plus weighted differences from it (task arithmetic; Ilharco et al. 2023)"
    }

    fn parents(&self) -> std::ops::RangeInclusive<usize> {
        1..=usize::MAX
    }

    fn needs_base(&self) -> bool {
        true
    }

    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn kernel<'a>(
        &self,
        tensor: &'a TensorInputs<'a>,
        _survey: &'a Parameters,
    ) -> Result<Box<dyn Kernel + 'a>, OperatorError> {
        let weights = tensor.values.per_parent_f32("weight");
        let divisor = tensor.values.flag("normalize").then(|| divisor(&weights));
        let lambda = tensor.values.number("lambda") as f32;
        Ok(Box::new(Arithmetic { weights, divisor, lambda }))
    }
}

/// What sums of weighted differences are divided by: the sum of the weights.
pub(super) fn divisor(weights: &[f32]) -> f32 {
    let sum = left_to_right(weights);
    if sum.abs() < ALMOST_NOTHING { 1.0 } else { sum }
}

/// The base plus weighted differences from it.
pub(super) struct Arithmetic {
    weights: Vec<f32>,
    divisor: Option<f32>,
    lambda: f32,
}

impl Arithmetic {
    /// With these weights and nothing else.
    pub(super) fn sum(weights: Vec<f32>) -> Self {
        Self { weights, divisor: None, lambda: 1.0 }
    }
}

impl Kernel for Arithmetic {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        add(self, piece, out);
    }

    fn stands_alone(&self) -> bool {
        true
    }
}

wide! {
    fn add<'a>(arithmetic: &'a Arithmetic, piece: &'a Piece<'a>, out: &'a mut [f32]) {
        let Arithmetic { weights, divisor, lambda } = arithmetic;
        let (chunks, rest) = out.as_chunks_mut::<TOGETHER>();
        let first_of_rest = chunks.len() * TOGETHER;
        for (i, out) in chunks.iter_mut().enumerate() {
            let together = |from: &'a [f32]| -> &'a [f32; TOGETHER] {
                from[i * TOGETHER..][..TOGETHER].try_into().expect("as many")
            };
            let (base, mut sums) = (together(piece.base), [0.0; TOGETHER]);
            for (weight, parent) in weights.iter().zip(piece.parents) {
                let x = together(parent);
                for lane in 0..TOGETHER {
                    sums[lane] += weight * (x[lane] - base[lane]);
                }
            }
            *out = sums;
        }
        for (i, out) in rest.iter_mut().enumerate() {
            let (at, b) = (first_of_rest + i, piece.base[first_of_rest + i]);
            let weighted = weights.iter().zip(piece.parents);
            *out = weighted.fold(0.0, |sum, (weight, parent)| sum + weight * (parent[at] - b));
        }
        if let Some(divisor) = divisor {
            out.iter_mut().for_each(|sum| *sum /= divisor);
        }
        for (out, b) in out.iter_mut().zip(piece.base) {
            *out = b + lambda * *out;
        }
    }
}
