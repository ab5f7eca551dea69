//! `slerp`: from one parent to another along the arc between them.
//!
//! Spherical linear interpolation (Shoemake, "Animating rotation with quaternion curves", 1985) of
//! tensors taken as vectors, as Goddard et al., "Arcee's MergeKit", 2024, have it: halfway between
//! two vectors of equal length lies one of that length, where an average would be shorter.
//!
//! With `theta` the angle between the tensors,
//!
//! ```text
//! out = sin((1 - t) theta) / sin(theta) * a + sin(t theta) / sin(theta) * b
//! ```
//!
//! and `(1 - t) a + t b` where they lie almost on one line, `|cos(theta)| > 0.9995`. The weights go
//! on the tensors as they are, not on unit vectors. A norm of 1e-8 or less counts as one.
//!
//! Products are summed in f64 ([`super::reduce`]), the angle and its sines are f64; the two weights
//! are rounded to f32 once and applied in f32, `a` first. The field sums in f32 in an order of its
//! own, so its weights may differ from these in the last bits, and by no more. With `t` 0 or 1 the
//! weights are exactly 1 and 0: the child is that parent, but for the sign of a zero.

use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::error::OperatorError;
use super::gram::{self, Vector};
use super::parameter::{Kind, Parameter, Parameters, Value};
use crate::base::wide::wide;

/// The operator.
pub struct Slerp;

/// Beyond this cosine, either way, two tensors count as lying on one line.
const ON_A_LINE: f64 = 0.9995;
/// Norms up to this count as one.
const NO_LENGTH: f64 = 1e-8;

const PARAMETERS: &[Parameter] = &[Parameter {
    name: "t",
    doc: "How far to go from the first parent (0) to the second (1).",
    kind: Kind::Number { min: 0.0, max: 1.0, default: Some(0.5) },
}];

impl Operator for Slerp {
    fn name(&self) -> &'static str {
        "slerp"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "a point on the arc between two parents (spherical interpolation; Goddard et al. 2024)"
    }

    fn parents(&self) -> std::ops::RangeInclusive<usize> {
        2..=2
    }

    fn needs_base(&self) -> bool {
        false
    }

    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn kernel<'a>(
        &self,
        tensor: &'a TensorInputs<'a>,
        _survey: &'a Parameters,
    ) -> Result<Box<dyn Kernel + 'a>, OperatorError> {
        let gram = gram::whole(&Vector::parents(tensor), tensor.shape.elements());
        let norms = [gram.norm(0), gram.norm(1)];
        let length = |norm: f64| if norm > NO_LENGTH { norm } else { 1.0 };
        let cosine = (gram.product(0, 1) / (length(norms[0]) * length(norms[1]))).clamp(-1.0, 1.0);
        Ok(Box::new(Arc::new(tensor.values.number("t") as f32, norms, cosine)))
    }
}

/// A weight for each end.
struct Arc {
    weights: [f32; 2],
    norms: [f64; 2],
    cosine: f64,
    linear: bool,
}

impl Arc {
    fn new(t: f32, norms: [f64; 2], cosine: f64) -> Self {
        // Nor is it an angle if a parent is not finite, of which whoever reads the piece will tell.
        let linear = !cosine.is_finite() || cosine.abs() > ON_A_LINE;
        let weights = if linear {
            [1.0 - t, t]
        } else {
            let theta = libm::acos(cosine);
            let weight = |t: f32| (libm::sin(f64::from(t) * theta) / libm::sin(theta)) as f32;
            [weight(1.0 - t), weight(t)]
        };
        Self { weights, norms, cosine, linear }
    }
}

wide! {
    fn weighted<'a>(weights: [f32; 2], a: &'a [f32], b: &'a [f32], out: &'a mut [f32]) {
        let [first, second] = weights;
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            *out = first * a + second * b;
        }
    }
}

impl Kernel for Arc {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        if let [a, b] = piece.parents {
            weighted(self.weights, a, b, out);
        }
    }

    fn stands_alone(&self) -> bool {
        true
    }

    fn realised(&self) -> Parameters {
        let weights = self.weights.map(f64::from);
        Parameters::from([
            ("cosine".to_owned(), Value::Number(self.cosine)),
            ("linear".to_owned(), Value::Flag(self.linear)),
            ("norms".to_owned(), Value::PerParent(self.norms.to_vec())),
            ("weights".to_owned(), Value::PerParent(weights.to_vec())),
        ])
    }
}
