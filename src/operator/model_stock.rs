//! `model_stock`: as far from the base towards the parents' average as their angles allow.
//!
//! Jang et al., "Model Stock: all we need is just a few fine-tuned models", 2024: parents fine-tuned
//! from one base scatter around a centre. The less their differences from the base agree in
//! direction, the more of them is noise, and the nearer to the base the centre must be.
//!
//! `c` is the mean over all pairs of parents of the cosine of the angle between their differences
//! from the base, the product of the norms counting as 1e-6 at least. With `k` parents
//!
//! ```text
//! t = k c / (1 + (k - 1) c)        zero where the divisor is almost zero
//! out = t * average + (1 - t) * b
//! ```
//!
//! for the whole tensor, or with `filter_wise` for each row by itself. Cosines and `t` are f64 over
//! products summed in f64 ([`super::reduce`]); `t` is rounded to f32 once, elements are f32, the
//! average a sum in list order and a true division. The field sums in f32 in an order of its own,
//! so its `t` may differ from this in the last bits, and by no more.

use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::error::OperatorError;
use super::gram::{self, Gram, Vector};
use super::parameter::{Kind, Parameter, Parameters, Value};

/// The operator.
pub struct ModelStock;

/// Products of norms below this count as this.
const LEAST_PRODUCT: f64 = 1e-6;
/// Divisors nearer to zero than this leave the base as it is.
const ALMOST_NOTHING: f64 = 1e-6;

const PARAMETERS: &[Parameter] = &[Parameter {
    name: "filter_wise",
    doc: "Take the angles of each row by itself instead of the whole tensor's.",
    kind: Kind::Flag { default: false },
}];

impl Operator for ModelStock {
    fn name(&self) -> &'static str {
        "model_stock"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "from the base towards the average, as far as the parents' angles allow (Model Stock; Jang et al. 2024)"
    }

    fn parents(&self) -> std::ops::RangeInclusive<usize> {
        2..=usize::MAX
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
        let vectors = Vector::differences(tensor);
        let shape = tensor.shape;
        let (grams, length) = if tensor.values.flag("filter_wise") {
            (gram::rows(&vectors, shape), shape.columns())
        } else {
            (vec![gram::whole(&vectors, shape.elements())], shape.elements())
        };
        let cosines: Vec<f64> = grams.iter().map(mean_cosine).collect();
        let ratio = |cosine: &f64| ratio(*cosine, vectors.len()) as f32;
        Ok(Box::new(Stock { length, ratios: cosines.iter().map(ratio).collect(), cosines }))
    }
}

/// The mean cosine over all pairs.
fn mean_cosine(gram: &Gram) -> f64 {
    let (mut sum, mut pairs) = (0.0, 0.0);
    for i in 0..gram.count() {
        for j in i + 1..gram.count() {
            let norms = (gram.norm(i) * gram.norm(j)).max(LEAST_PRODUCT);
            sum += (gram.product(i, j) / norms).clamp(-1.0, 1.0);
            pairs += 1.0;
        }
    }
    sum / pairs
}

/// How far to go from the base (0) to the average (1).
fn ratio(cosine: f64, parents: usize) -> f64 {
    let parents = parents as f64;
    let divisor = 1.0 + (parents - 1.0) * cosine;
    // Not an angle either if a parent is not finite, of which whoever reads the piece will tell.
    if !divisor.is_finite() || divisor.abs() < ALMOST_NOTHING { 0.0 } else { parents * cosine / divisor }
}

struct Stock {
    /// How many neighbouring elements share a ratio.
    length: usize,
    ratios: Vec<f32>,
    cosines: Vec<f64>,
}

impl Kernel for Stock {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        let [first, others @ ..] = piece.parents else { return };
        out.copy_from_slice(first);
        for parent in others {
            out.iter_mut().zip(*parent).for_each(|(sum, x)| *sum += x);
        }
        let count = piece.parents.len() as f32;
        let mut done = 0;
        while done < out.len() {
            let at = piece.first + done;
            let run = done..out.len().min(done + self.length - at % self.length);
            let ratio = self.ratios[at / self.length];
            let rest = 1.0 - ratio;
            for (sum, b) in out[run.clone()].iter_mut().zip(&piece.base[run.clone()]) {
                *sum = ratio * (*sum / count) + rest * b;
            }
            done = run.end;
        }
    }

    fn stands_alone(&self) -> bool {
        true
    }

    fn realised(&self) -> Parameters {
        let number = |name: &str, value: f64| (name.to_owned(), Value::Number(value));
        let ratios = || self.ratios.iter().map(|ratio| f64::from(*ratio));
        let vectors = self.ratios.len() as f64;
        Parameters::from([
            number("cosine_mean", self.cosines.iter().sum::<f64>() / vectors),
            number("ratio_least", ratios().fold(f64::INFINITY, f64::min)),
            number("ratio_mean", ratios().sum::<f64>() / vectors),
            number("ratio_most", ratios().fold(f64::NEG_INFINITY, f64::max)),
            number("vectors", vectors),
        ])
    }
}
