//! `ram`: differences that one parent alone made stay whole, those that several made are averaged
//! over these.
//!
//! Reinforced Agent Merging ("RAM", arXiv 2601.13572, 2026), in the field's words: reinforcement
//! learning moves few elements of a model, and an average over all parents shrinks what only one of
//! them learned.
//!
//! With `d_i = x_i - b`, parent `i` counts for an element where `|d_i| > epsilon`; `c` is how many
//! count for it.
//!
//! ```text
//! s   = sum over those that count of  l_i d_i    where c = 1
//!                                     d_i / c    where c > 1
//! out = b + s
//! ```
//!
//! `l_i` is 1, or with `r` above zero (the field's `ramplus_tl`) `1 + r min(o_i / u_i, alpha)`, where
//! `o_i` is the number of the tensor's elements for which the parent counts with others, and `u_i`
//! the number of those for which it alone does (`epsilon` if there are none): who shares much is
//! diluted much, and gets more weight where it is alone.
//!
//! Elements and `l_i` are f32, sums in list order from zero.

use super::combine::subtract;
use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::error::OperatorError;
use super::gram::Vector;
use super::parameter::{Kind, Parameter, Parameters, Value};
use super::reduce::sums_of;
use super::source::RUN;
use crate::base::wide::wide;

/// The operator.
pub struct Ram;

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "epsilon",
        doc: "Differences up to this count as none.",
        kind: Kind::Number { min: 0.0, max: 1e9, default: Some(1e-5) },
    },
    Parameter {
        name: "r",
        doc: "How much more a difference weighs that its parent alone made, by the share of those it did not.",
        kind: Kind::Number { min: 0.0, max: 1e9, default: Some(0.0) },
    },
    Parameter {
        name: "alpha",
        doc: "The most that this share counts.",
        kind: Kind::Number { min: 0.0, max: 1e9, default: Some(0.2) },
    },
];

impl Operator for Ram {
    fn name(&self) -> &'static str {
        "ram"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "differences of one parent whole, of several averaged over these (RAM; arXiv 2601.13572)"
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
        let values = &tensor.values;
        let epsilon = values.number("epsilon") as f32;
        let (r, alpha) = (values.number("r") as f32, values.number("alpha") as f32);
        let parents = tensor.parents.len();
        let mut ram = Reinforced { epsilon, lambdas: vec![1.0; parents], found: Parameters::new() };
        if r > 0.0 {
            let counts = count(tensor, epsilon);
            let (shared, unique) = counts.split_at(parents);
            let lambda = |(shared, unique): (&f64, &f64)| {
                1.0 + r * (*shared as f32 / (*unique as f32).max(epsilon)).min(alpha)
            };
            ram.lambdas = shared.iter().zip(unique).map(lambda).collect();
            let lambdas = ram.lambdas.iter().map(|lambda| f64::from(*lambda)).collect();
            ram.found = Parameters::from([
                ("lambdas".to_owned(), Value::PerParent(lambdas)),
                ("shared".to_owned(), Value::PerParent(shared.to_vec())),
                ("unique".to_owned(), Value::PerParent(unique.to_vec())),
            ]);
        }
        Ok(Box::new(ram))
    }
}

/// For how many elements each parent counts with others, and then for how many each does alone.
fn count(tensor: &TensorInputs<'_>, epsilon: f32) -> Vec<f64> {
    let vectors = Vector::differences(tensor);
    let parents = vectors.len();
    sums_of(tensor.shape.elements(), 2 * parents, |range, sums| {
        let mut room = vec![0.0; parents * RUN.min(range.len())];
        let mut counting = [0; RUN];
        for first in range.clone().step_by(RUN) {
            let run = RUN.min(range.end - first);
            let (differences, counting) = (&mut room[..parents * run], &mut counting[..run]);
            for (vector, differences) in vectors.iter().zip(differences.chunks_mut(run)) {
                vector.copy(first, differences);
            }
            who_counts(epsilon, differences, counting);
            for (parent, differences) in differences.chunks(run).enumerate() {
                let [shared, unique] = tally(epsilon, differences, counting);
                sums[parent] += f64::from(shared);
                sums[parents + parent] += f64::from(unique);
            }
        }
    })
}

struct Reinforced {
    epsilon: f32,
    /// What the differences are multiplied by that a parent alone made.
    lambdas: Vec<f32>,
    found: Parameters,
}

wide! {
    /// How many parents count for each element.
    fn who_counts<'a>(epsilon: f32, differences: &'a [f32], counting: &'a mut [u32]) {
        counting.fill(0);
        for differences in differences.chunks(counting.len()) {
            for (counting, difference) in counting.iter_mut().zip(differences) {
                *counting += u32::from(difference.abs() > epsilon);
            }
        }
    }

    /// For how many elements a parent counts with others, and for how many alone.
    fn tally<'a>(epsilon: f32, differences: &'a [f32], counting: &'a [u32]) -> [u32; 2] {
        let (mut shared, mut unique) = (0, 0);
        for (difference, counting) in differences.iter().zip(counting) {
            let counts = u32::from(difference.abs() > epsilon);
            shared += counts & u32::from(*counting > 1);
            unique += counts & u32::from(*counting == 1);
        }
        [shared, unique]
    }

    /// Adds a parent's differences where it counts.
    fn add<'a>(epsilon: f32, lambda: f32, differences: &'a [f32], counting: &'a [u32], sums: &'a mut [f32]) {
        for ((sum, difference), counting) in sums.iter_mut().zip(differences).zip(counting) {
            let whole = lambda * difference;
            let share = difference / *counting as f32;
            let change = if *counting == 1 { whole } else { share };
            *sum += if difference.abs() > epsilon { change } else { 0.0 };
        }
    }
}

impl Kernel for Reinforced {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        let mut room = vec![0.0; piece.parents.len() * RUN.min(out.len())];
        let mut counting = [0; RUN];
        for (i, out) in out.chunks_mut(RUN).enumerate() {
            let run = out.len();
            let (differences, counting) = (&mut room[..piece.parents.len() * run], &mut counting[..run]);
            let base = &piece.base[i * RUN..][..run];
            for (x, differences) in piece.parents.iter().zip(differences.chunks_mut(run)) {
                subtract(&x[i * RUN..][..run], base, differences);
            }
            who_counts(self.epsilon, differences, counting);
            out.fill(0.0);
            for (lambda, differences) in self.lambdas.iter().zip(differences.chunks(run)) {
                add(self.epsilon, *lambda, differences, counting, out);
            }
            out.iter_mut().zip(base).for_each(|(sum, base)| *sum += base);
        }
    }

    fn stands_alone(&self) -> bool {
        true
    }

    fn realised(&self) -> Parameters {
        self.found.clone()
    }
}
