//! `multislerp`: the weighted middle of the parents' directions, at their weighted mean length.
//!
//! The field's name (Goddard et al., "Arcee's MergeKit", 2024): spherical interpolation of any number of
//! parents, of the whole tensor as one vector or, if there is a base, of their differences from it.
//!
//! With `w_i` the weights, which `normalize_weights` divides by their sum, `n_i` the lengths of the
//! vectors `d_i` and `u_i = d_i / (n_i + eps)` their directions,
//!
//! ```text
//! m   = sum w_i u_i
//! out = b + (sum w_i n_i) * m / |m|
//! ```
//!
//! The field goes on from `m / |m|` along the sphere by the weighted sum of the directions' parts
//! across it. That sum is `m` less its own part along `m`: nothing, but for rounding, so the step is
//! left out. Where `m` is shorter than `eps`, or than 1e-5 of what it would be without cancelling,
//! which is as far as f32 can tell a direction, the directions cancel: two vectors are then averaged by
//! their weights, vectors without any length leave the base as it is, and more of them have no middle.
//!
//! Lengths and `|m|` follow from dot products summed in f64 ([`super::reduce`]); coefficients are f64
//! and rounded to f32 once, elements are f32, summed in list order from zero. The field rounds every
//! step to f32 instead, which differs by some last bits.

use super::blend::Average;
use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::error::OperatorError;
use super::gram::{self, Gram, Vector};
use super::parameter::{Kind, Parameter, Parameters, Value, Values};
use super::task_delta::{Arithmetic, WEIGHT};

/// The operator.
pub struct MultiSlerp;

const NAME: &str = "multislerp";

/// A mean direction shorter than this, by its weights, is what rounding left of one.
const NO_DIRECTION: f64 = 1e-5;

const PARAMETERS: &[Parameter] = &[
    WEIGHT,
    Parameter {
        name: "normalize_weights",
        doc: "Divide the weights by their sum.",
        kind: Kind::Flag { default: true },
    },
    Parameter {
        name: "eps",
        doc: "Lengths below this count as nothing.",
        kind: Kind::Number { min: 0.0, max: 1.0, default: Some(1e-8) },
    },
];

impl Operator for MultiSlerp {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "weighted spherical interpolation of many parents or their differences (Goddard et al. 2024)"
    }

    fn parents(&self) -> std::ops::RangeInclusive<usize> {
        2..=usize::MAX
    }

    fn needs_base(&self) -> bool {
        false
    }

    fn takes_base(&self) -> bool {
        true
    }

    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn relations(&self, values: &Values) -> Result<(), String> {
        let sum: f64 = values.per_parent("weight").iter().sum();
        if values.flag("normalize_weights") && sum == 0.0 {
            return Err("the weights sum to zero, by which they would be divided; \
                        set normalize_weights = false or other weights"
                .to_owned());
        }
        Ok(())
    }

    fn kernel<'a>(
        &self,
        tensor: &'a TensorInputs<'a>,
        _survey: &'a Parameters,
    ) -> Result<Box<dyn Kernel + 'a>, OperatorError> {
        let gram = gram::whole(&Vector::differences(tensor), tensor.shape.elements());
        let norms: Vec<f64> = (0..gram.count()).map(|i| gram.norm(i)).collect();
        let weights = coefficients(&gram, &norms, &tensor.values).ok_or_else(|| OperatorError::Relation {
            operator: NAME,
            message: format!(
                "the parents' directions of `{}` cancel with these weights: they have no middle; \
                 weigh them otherwise",
                tensor.name
            ),
        })?;
        let rounded: Vec<f32> = weights.iter().map(|weight| *weight as f32).collect();
        let sum: Box<dyn Kernel> = match tensor.base {
            Some(_) => Box::new(Arithmetic::sum(rounded)),
            None => Box::new(Average { weights: rounded, divisor: None }),
        };
        Ok(Box::new(Middle { sum, weights, norms }))
    }
}

/// What each vector is multiplied by; none if the directions cancel and say nothing.
fn coefficients(gram: &Gram, norms: &[f64], values: &Values) -> Option<Vec<f64>> {
    let given = values.per_parent("weight");
    let total = if values.flag("normalize_weights") { given.iter().sum() } else { 1.0 };
    let weights: Vec<f64> = given.iter().map(|weight| weight / total).collect();
    let eps = values.number("eps");
    if norms.iter().all(|norm| *norm == 0.0) {
        return Some(vec![0.0; norms.len()]);
    }
    let shares: Vec<f64> = weights
        .iter()
        .zip(norms)
        .map(|(weight, norm)| if *norm == 0.0 { 0.0 } else { weight / (norm + eps) })
        .collect();
    let length = length(gram, &shares);
    // No direction either if a parent is not finite, of which whoever reads the piece will tell.
    if !length.is_finite() {
        return Some(weights);
    }
    let most: f64 = weights.iter().map(|weight| weight.abs()).sum();
    if length < eps.max(NO_DIRECTION * most) || length == 0.0 {
        return (norms.len() == 2).then_some(weights);
    }
    let radius: f64 = weights.iter().zip(norms).map(|(weight, norm)| weight * norm).sum();
    Some(shares.iter().map(|share| radius * (share / length)).collect())
}

/// The length of a sum of the vectors.
fn length(gram: &Gram, shares: &[f64]) -> f64 {
    let along =
        |i: usize| shares.iter().enumerate().map(|(j, share)| share * gram.product(i, j)).sum::<f64>();
    let square: f64 = shares.iter().enumerate().map(|(i, share)| share * along(i)).sum();
    // Rounding may leave a little less than nothing.
    square.max(0.0).sqrt()
}

struct Middle<'a> {
    sum: Box<dyn Kernel + 'a>,
    weights: Vec<f64>,
    norms: Vec<f64>,
}

impl Kernel for Middle<'_> {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        self.sum.piece(piece, out);
    }

    fn stands_alone(&self) -> bool {
        self.sum.stands_alone()
    }

    fn realised(&self) -> Parameters {
        Parameters::from([
            ("norms".to_owned(), Value::PerParent(self.norms.clone())),
            ("weights".to_owned(), Value::PerParent(self.weights.clone())),
        ])
    }
}
