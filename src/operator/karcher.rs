//! `karcher`: the middle of the parents' directions, with their mean length.
//!
//! The mean on a sphere (Karcher, "Riemannian center of mass and mollifier smoothing", 1977): the
//! direction from which the arcs to all parents, as steps along the sphere, sum to nothing. What
//! `slerp` at one half is to two parents this is to any number; the field's definition is that of
//! Goddard et al., "Arcee's MergeKit", 2024.
//!
//! Each tensor is a vector; `u_i` is its direction, its length `tol` at least, or else the parent
//! counts for its length alone. From the direction of their average `m`, at most `max_iter` times:
//! with `theta_i` the angle between `m` and `u_i`, the step is the mean over the parents of
//! `theta_i / sin(theta_i) * (u_i - cos(theta_i) m)`, leaving out angles within `tol` of zero or of
//! half a turn; a step shorter than `tol` ends it; otherwise `m` goes that far along the sphere. `out` is `m` times the mean of
//! all parents' lengths.
//!
//! Every `m` is a sum of parents with some coefficients, and every angle follows from these and the
//! dot products of the parents ([`super::reduce`]): one look at the tensor is enough for all
//! iterations. Coefficients are f64 and rounded to f32 once, elements are f32, summed in list order
//! from zero. The field rounds every `m` to f32 instead, which differs by some last bits.

use std::f64::consts::PI;

use super::blend::Average;
use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::error::OperatorError;
use super::gram::{self, Gram, Vector};
use super::parameter::{Kind, Parameter, Parameters, Value, Values};

/// The operator.
pub struct Karcher;

/// Nearer to half a turn than this, an angle says nothing about the way.
const NO_WAY: f64 = 1e-7;

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "max_iter",
        doc: "Most steps towards the middle.",
        kind: Kind::Number { min: 0.0, max: 1e6, default: Some(10.0) },
    },
    Parameter {
        name: "tol",
        doc: "Steps, angles and lengths below this count as nothing.",
        kind: Kind::Number { min: 0.0, max: 1.0, default: Some(1e-5) },
    },
];

impl Operator for Karcher {
    fn name(&self) -> &'static str {
        "karcher"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "the middle of the parents' directions, at their mean length (Karcher mean; Karcher 1977)"
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
        match values.number("max_iter") {
            whole if whole.fract() == 0.0 => Ok(()),
            part => Err(format!("`max_iter` counts steps, and {part} is no whole number")),
        }
    }

    fn kernel<'a>(
        &self,
        tensor: &'a TensorInputs<'a>,
        _survey: &'a Parameters,
    ) -> Result<Box<dyn Kernel + 'a>, OperatorError> {
        let gram = gram::whole(&Vector::parents(tensor), tensor.shape.elements());
        let steps = tensor.values.number("max_iter") as u64;
        Ok(Box::new(Middle::find(&gram, steps, tensor.values.number("tol"))))
    }
}

/// The parents' directions: products of unit vectors, zero for those without length.
struct Sphere {
    products: Vec<Vec<f64>>,
    /// The weight of each parent in the mean; zero for those without length.
    alphas: Vec<f64>,
    tol: f64,
}

impl Sphere {
    fn new(gram: &Gram, norms: &[f64], tol: f64) -> Self {
        let counts = |i: usize| norms[i] > tol;
        let valid = (0..norms.len()).filter(|i| counts(*i)).count() as f64;
        let product = |i: usize, j: usize| {
            if counts(i) && counts(j) { gram.product(i, j) / (norms[i] * norms[j]) } else { 0.0 }
        };
        let all = 0..norms.len();
        Self {
            products: all.clone().map(|i| all.clone().map(|j| product(i, j)).collect()).collect(),
            alphas: all.map(|i| if counts(i) { 1.0 / valid } else { 0.0 }).collect(),
            tol,
        }
    }

    /// The product of a sum of directions with the direction `i`.
    fn along(&self, coefficients: &[f64], i: usize) -> f64 {
        coefficients.iter().zip(&self.products[i]).map(|(c, product)| c * product).sum()
    }

    fn length(&self, coefficients: &[f64]) -> f64 {
        let along = (0..coefficients.len()).map(|i| coefficients[i] * self.along(coefficients, i));
        // Rounding may leave a little less than nothing.
        along.sum::<f64>().max(0.0).sqrt()
    }

    /// Where to begin: the average, or the first direction if they cancel.
    fn start(&self) -> Vec<f64> {
        let length = self.length(&self.alphas);
        if length >= self.tol && length > 0.0 {
            return self.alphas.iter().map(|alpha| alpha / length).collect();
        }
        let first = self.alphas.iter().position(|alpha| *alpha > 0.0);
        (0..self.alphas.len()).map(|i| if Some(i) == first { 1.0 } else { 0.0 }).collect()
    }

    /// The step from `mean` towards the middle.
    fn tangent(&self, mean: &[f64]) -> Vec<f64> {
        let mut tangent = vec![0.0; mean.len()];
        let mut along_mean = 0.0;
        for (i, alpha) in self.alphas.iter().enumerate().filter(|(_, alpha)| **alpha > 0.0) {
            let cosine = self.along(mean, i).clamp(-1.0, 1.0);
            let theta = libm::acos(cosine);
            // Half a turn away, every way is as good as every other.
            if theta >= self.tol.max(f64::MIN_POSITIVE) && PI - theta >= self.tol.max(NO_WAY) {
                let weight = alpha * (theta / libm::sin(theta));
                tangent[i] += weight;
                along_mean += weight * cosine;
            }
        }
        tangent.iter_mut().zip(mean).for_each(|(step, mean)| *step -= along_mean * mean);
        tangent
    }

    /// `mean` gone along the sphere by a step of this length.
    fn follow(&self, mean: &[f64], tangent: &[f64], length: f64) -> Vec<f64> {
        let (sine, cosine) = libm::sincos(length);
        let moved: Vec<f64> =
            mean.iter().zip(tangent).map(|(mean, step)| cosine * mean + sine * (step / length)).collect();
        match self.length(&moved) {
            norm if norm > self.tol => moved.iter().map(|coefficient| coefficient / norm).collect(),
            _ => moved,
        }
    }
}

/// The mean as a sum of parents.
struct Middle {
    sum: Average,
    norms: Vec<f64>,
    steps: u64,
    /// Length of the last step considered.
    last: f64,
}

impl Middle {
    fn find(gram: &Gram, most: u64, tol: f64) -> Self {
        let norms: Vec<f64> = (0..gram.count()).map(|i| gram.norm(i)).collect();
        let sphere = Sphere::new(gram, &norms, tol);
        let mut mean = sphere.start();
        let (mut steps, mut last) = (0, 0.0);
        while steps < most {
            let tangent = sphere.tangent(&mean);
            last = sphere.length(&tangent);
            // Nor is there a way to go if a parent is not finite, of which whoever reads it will tell.
            if last < tol || last == 0.0 || !last.is_finite() {
                break;
            }
            mean = sphere.follow(&mean, &tangent, last);
            steps += 1;
        }
        let length = norms.iter().sum::<f64>() / norms.len() as f64;
        let coefficient = |(mean, norm): (&f64, &f64)| {
            let coefficient = length * mean / norm;
            if *mean != 0.0 && coefficient.is_finite() { coefficient as f32 } else { 0.0 }
        };
        let weights = mean.iter().zip(&norms).map(coefficient).collect();
        Self { sum: Average { weights, divisor: None }, norms, steps, last }
    }
}

impl Kernel for Middle {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        self.sum.piece(piece, out);
    }

    fn stands_alone(&self) -> bool {
        self.sum.stands_alone()
    }

    fn realised(&self) -> Parameters {
        let weights = self.sum.weights.iter().map(|weight| f64::from(*weight)).collect();
        Parameters::from([
            ("last_step".to_owned(), Value::Number(self.last)),
            ("norms".to_owned(), Value::PerParent(self.norms.clone())),
            ("steps".to_owned(), Value::Number(self.steps as f64)),
            ("weights".to_owned(), Value::PerParent(weights)),
        ])
    }
}
