//! `nuslerp`: spherical interpolation by weights, of models or of their differences from a base,
//! over whole tensors or row by row.
//!
//! The field's name and definition (Goddard et al., "Arcee's MergeKit", 2024). `t` is the second
//! parent's share of the weights, one half where these sum to almost nothing. `u` and `v` are the
//! parents or, if there is a base, their differences from it, which are interpolated and added:
//!
//! ```text
//! out = (sin((1 - t) theta) * u + sin(t theta) * v) / sin(theta)
//! ```
//!
//! or `(1 - t) u + t v` where f32 cannot tell the square of the cosine from 1. What counts as a
//! vector with an angle of its own: the whole tensor (`nuslerp_flatten`, the default); each row,
//! along the last dimension; or with `nuslerp_row_wise` each column, along the first dimension,
//! which the field calls so since it transposes before. Norms below 1e-7 count as that.
//!
//! Products are summed in f64 ([`super::reduce`]), angles and sines are f64 and rounded to f32 once;
//! elements are made in f32 in the order written above. The field sums in f32 in an order of its
//! own, so its sines may differ from these in the last bits, and by no more.

use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::error::OperatorError;
use super::gram::{self, Gram, Vector};
use super::parameter::{Kind, Parameter, Parameters, Value, Values};
use super::source::PIECE;
use super::task_delta::WEIGHT;

/// The operator.
pub struct NuSlerp;

/// Norms below this count as this.
const LEAST_NORM: f64 = 1e-7;
/// Sums of weights nearer to zero than this say nothing about shares.
const ALMOST_NOTHING: f64 = 1e-6;
/// The square of a cosine as near to 1 as this is 1.
const ON_A_LINE: f32 = 1e-16;

const PARAMETERS: &[Parameter] = &[
    WEIGHT,
    Parameter {
        name: "nuslerp_flatten",
        doc: "Take each tensor as one vector.",
        kind: Kind::Flag { default: true },
    },
    Parameter {
        name: "nuslerp_row_wise",
        doc: "Without `nuslerp_flatten`: vectors run along the first dimension instead of the last.",
        kind: Kind::Flag { default: false },
    },
];

impl Operator for NuSlerp {
    fn name(&self) -> &'static str {
        "nuslerp"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "weighted spherical interpolation of two parents or their differences (NuSLERP; Goddard et al. 2024)"
    }

    fn parents(&self) -> std::ops::RangeInclusive<usize> {
        2..=2
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
        if values.flag("nuslerp_row_wise") && values.flag("nuslerp_flatten") {
            return Err("a flattened tensor has no rows; set nuslerp_flatten = false".to_owned());
        }
        Ok(())
    }

    fn kernel<'a>(
        &self,
        tensor: &'a TensorInputs<'a>,
        _survey: &'a Parameters,
    ) -> Result<Box<dyn Kernel + 'a>, OperatorError> {
        let vectors = Vector::differences(tensor);
        let shape = tensor.shape;
        let (grams, cut) = if tensor.values.flag("nuslerp_flatten") {
            (vec![gram::whole(&vectors, shape.elements())], Cut::Along(shape.elements()))
        } else if tensor.values.flag("nuslerp_row_wise") && shape.dims().len() > 1 {
            (gram::columns(&vectors, shape), Cut::Across)
        } else {
            (gram::rows(&vectors, shape), Cut::Along(shape.columns()))
        };
        let t = share(tensor.values.per_parent("weight"));
        let from_base = tensor.base.is_some();
        Ok(Box::new(Arcs::new(t, &grams, cut, from_base)))
    }
}

/// The second parent's share of the weights.
fn share(weights: &[f64]) -> f64 {
    let total: f64 = weights.iter().sum();
    match weights {
        [_, second] if total.abs() >= ALMOST_NOTHING => second / total,
        _ => 0.5,
    }
}

/// What of a tensor has an angle of its own.
enum Cut {
    /// So many neighbouring elements.
    Along(usize),
    /// Every element that is a multiple of the number of vectors further on.
    Across,
}

/// An arc for every vector: the weights of its ends, and what their sum is divided by.
struct Arcs {
    cut: Cut,
    first: Vec<f32>,
    second: Vec<f32>,
    divisor: Vec<f32>,
    from_base: bool,
    t: f64,
    /// Smallest and largest, and how many vectors lie on a line.
    cosines: [f64; 2],
    linear: usize,
}

impl Arcs {
    fn new(t: f64, grams: &[Gram], cut: Cut, from_base: bool) -> Self {
        let mut arcs = Self {
            cut,
            first: Vec::with_capacity(grams.len()),
            second: Vec::with_capacity(grams.len()),
            divisor: Vec::with_capacity(grams.len()),
            from_base,
            t,
            cosines: [1.0, -1.0],
            linear: 0,
        };
        grams.iter().for_each(|gram| arcs.push(gram));
        arcs
    }

    fn push(&mut self, gram: &Gram) {
        let norms = gram.norm(0).max(LEAST_NORM) * gram.norm(1).max(LEAST_NORM);
        let cosine = (gram.product(0, 1) / norms).clamp(-1.0, 1.0);
        let (to_first, to_second) = ((1.0 - self.t) as f32, self.t as f32);
        let rounded = cosine as f32;
        // Not an angle either if a parent is not finite, of which whoever reads the piece will tell.
        if !cosine.is_finite() || 1.0 - rounded * rounded <= ON_A_LINE {
            self.linear += 1;
            self.first.push(to_first);
            self.second.push(to_second);
            self.divisor.push(1.0);
        } else {
            let theta = libm::acos(cosine);
            let sine = |t: f32| libm::sin(f64::from(t) * theta) as f32;
            self.first.push(sine(to_first));
            self.second.push(sine(to_second));
            self.divisor.push(libm::sin(theta) as f32);
        }
        let [least, most] = self.cosines;
        self.cosines = [least.min(cosine), most.max(cosine)];
    }

    /// Interpolates a run; `first` is its place in the tensor.
    fn mix(&self, first: usize, u: &[f32], v: &[f32], out: &mut [f32]) {
        let vectors = self.first.len();
        let mut done = 0;
        while done < out.len() {
            let at = first + done;
            let (here, len) = match self.cut {
                Cut::Along(length) => (at / length..at / length + 1, length - at % length),
                Cut::Across => (at % vectors..vectors, vectors - at % vectors),
            };
            let run = done..out.len().min(done + len);
            let (u, v, out) = (&u[run.clone()], &v[run.clone()], &mut out[run.clone()]);
            let (first, second) = (&self.first[here.clone()], &self.second[here.clone()]);
            let divisor = &self.divisor[here];
            if let ([first], [second], [divisor]) = (first, second, divisor) {
                for ((out, u), v) in out.iter_mut().zip(u).zip(v) {
                    *out = (first * u + second * v) / divisor;
                }
            } else {
                let arcs = first.iter().zip(second).zip(divisor);
                for (((out, u), v), ((first, second), divisor)) in out.iter_mut().zip(u).zip(v).zip(arcs) {
                    *out = (first * u + second * v) / divisor;
                }
            }
            done = run.end;
        }
    }
}

impl Kernel for Arcs {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        let [x, y] = piece.parents else { return };
        if !self.from_base {
            return self.mix(piece.first, x, y, out);
        }
        let (mut u, mut v) = ([0.0; PIECE], [0.0; PIECE]);
        let (u, v) = (&mut u[..out.len()], &mut v[..out.len()]);
        for (difference, parent) in [(&mut *u, x), (&mut *v, y)] {
            for ((difference, x), b) in difference.iter_mut().zip(*parent).zip(piece.base) {
                *difference = x - b;
            }
        }
        self.mix(piece.first, u, v, out);
        for (out, b) in out.iter_mut().zip(piece.base) {
            *out += b;
        }
    }

    fn realised(&self) -> Parameters {
        let number = |name: &str, value: f64| (name.to_owned(), Value::Number(value));
        let [least, most] = self.cosines;
        Parameters::from([
            number("cosine_least", least),
            number("cosine_most", most),
            number("linear", self.linear as f64),
            number("t", self.t),
            number("vectors", self.first.len() as f64),
        ])
    }
}
