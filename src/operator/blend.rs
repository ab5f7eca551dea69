//! `blend`: a weighted average of models, element by element.
//!
//! The field calls it linear merging; averaging the weights of networks fine-tuned from one start
//! is due to Wortsman et al., "Model soups", 2022.
//!
//! `acc = sum w_i x_i` in list order from zero; with `normalize`, `acc / sum w_i`: a true division
//! by the f32 sum taken left to right. (From zero: an element that is -0 everywhere becomes +0.)

use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::error::OperatorError;
use super::parameter::{Kind, Parameter, Parameters, Values};
use super::task_delta::WEIGHT;
use crate::base::wide::wide;

/// The operator.
pub struct Blend;

const PARAMETERS: &[Parameter] = &[
    WEIGHT,
    Parameter {
        name: "normalize",
        doc: "Divide by the sum of the weights.",
        kind: Kind::Flag { default: true },
    },
];

impl Operator for Blend {
    fn name(&self) -> &'static str {
        "blend"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "weighted average of the parents (linear merging; Wortsman et al. 2022, Model soups)"
    }

    fn parents(&self) -> std::ops::RangeInclusive<usize> {
        1..=usize::MAX
    }

    fn needs_base(&self) -> bool {
        false
    }

    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn relations(&self, values: &Values) -> Result<(), String> {
        if values.flag("normalize") && left_to_right(&values.per_parent_f32("weight")) == 0.0 {
            return Err(
                "the weights sum to zero, nothing can be divided by that; change one or set normalize = false"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn kernel<'a>(
        &self,
        tensor: &'a TensorInputs<'a>,
        _survey: &'a Parameters,
    ) -> Result<Box<dyn Kernel + 'a>, OperatorError> {
        let weights = tensor.values.per_parent_f32("weight");
        let divisor = tensor.values.flag("normalize").then(|| left_to_right(&weights));
        Ok(Box::new(Average { weights, divisor }))
    }
}

/// The f32 sum in list order.
pub(super) fn left_to_right(weights: &[f32]) -> f32 {
    weights.iter().fold(0.0, |sum, weight| sum + weight)
}

/// The weighted sum in list order, divided by a number or not.
pub(super) struct Average {
    pub(super) weights: Vec<f32>,
    pub(super) divisor: Option<f32>,
}

impl Kernel for Average {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        average(&self.weights, piece.parents, self.divisor, out);
    }

    fn stands_alone(&self) -> bool {
        true
    }
}

/// Elements whose sums are in registers together.
pub(super) const TOGETHER: usize = 32;

wide! {
    fn average<'a>(weights: &'a [f32], parents: &'a [&'a [f32]], divisor: Option<f32>, out: &'a mut [f32]) {
        // What is divided by one stays what it is.
        let divisor = divisor.filter(|divisor| *divisor != 1.0);
        let (chunks, rest) = out.as_chunks_mut::<TOGETHER>();
        let first_of_rest = chunks.len() * TOGETHER;
        for (i, out) in chunks.iter_mut().enumerate() {
            let mut sums = [0.0; TOGETHER];
            for (weight, parent) in weights.iter().zip(parents) {
                let x: &[f32; TOGETHER] = parent[i * TOGETHER..][..TOGETHER].try_into().expect("as many");
                for lane in 0..TOGETHER {
                    sums[lane] += weight * x[lane];
                }
            }
            if let Some(divisor) = divisor {
                sums.iter_mut().for_each(|sum| *sum /= divisor);
            }
            *out = sums;
        }
        for (i, out) in rest.iter_mut().enumerate() {
            let weighted = weights.iter().zip(parents);
            let sum = weighted.fold(0.0, |sum, (weight, parent)| sum + weight * parent[first_of_rest + i]);
            *out = divisor.map_or(sum, |divisor| sum / divisor);
        }
    }
}
