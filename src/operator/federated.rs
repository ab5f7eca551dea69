//! `federated`: one round of a server that averages what clients learned from its model.
//!
//! FedAvg (McMahan et al., "Communication-efficient learning of deep networks from decentralized
//! data", 2017), with server momentum FedAvgM (Hsu et al., "Measuring the effects of non-identical
//! data distribution for federated visual classification", 2019); the server's learning rate and
//! momentum as in Reddi et al., "Adaptive federated optimization", 2021.
//!
//! The base is the server's model, each parent a client's, trained on `samples` examples from the
//! base. An update `d_i = x_i - b` longer than `clip_norm` is shortened to that length; its length
//! is the L2 norm over all of its tensors. With `N` the sum of the samples
//!
//! ```text
//! s = sum (n_i / N) min(1, clip_norm / |d_i|) d_i
//! out = b + server_lr * s
//! ```
//!
//! With `momentum` the last parent carries the velocity of the round before: a model that is the
//! base plus the velocity, with `samples` 0. Then `v = momentum * v_before + s` and
//! `out = b + server_lr * v`. The new velocity, for the next round, is the child of the same round
//! with `server_lr` 1.
//!
//! Norms are f64 sums in a fixed order ([`super::reduce`]); the factor on each update is f64 and
//! rounded to f32 once; elements are f32, summed in list order from zero, the velocity last.

use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::error::OperatorError;
use super::gram::Vector;
use super::parameter::{Kind, Parameter, Parameters, Value, Values};
use super::reduce::{Product, sums_of};
use super::source::RUN;
use super::survey::{numbers, settings};

/// The operator.
pub struct Federated;

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "samples",
        doc: "How many examples each update was trained on; 0 for the velocity, which comes last.",
        kind: Kind::PerParent { min: 0.0, max: 9_007_199_254_740_992.0, default: Some(1.0) },
    },
    Parameter {
        name: "clip_norm",
        doc: "Updates longer than this are shortened to it; 0 leaves all as they are.",
        kind: Kind::Number { min: 0.0, max: 1e9, default: Some(0.0) },
    },
    Parameter {
        name: "server_lr",
        doc: "Factor on the whole change before it is added to the base.",
        kind: Kind::Number { min: -1e9, max: 1e9, default: Some(1.0) },
    },
    Parameter {
        name: "momentum",
        doc: "How much of the velocity of the round before goes on; the last parent is base plus velocity.",
        kind: Kind::Number { min: 0.0, max: 1.0, default: Some(0.0) },
    },
];

impl Operator for Federated {
    fn name(&self) -> &'static str {
        "federated"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "base plus the average of clipped updates by samples, with momentum (FedAvg; McMahan et al. 2017)"
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

    fn relations(&self, values: &Values) -> Result<(), String> {
        let samples = values.per_parent("samples");
        if let Some(part) = samples.iter().find(|samples| samples.fract() != 0.0) {
            return Err(format!("`samples` counts examples, and {part} is no whole number"));
        }
        let updates = match samples {
            [.., velocity] if values.number("momentum") > 0.0 && *velocity != 0.0 => {
                return Err("with momentum the last parent is base plus velocity: \
                            give it samples = 0, or set momentum = 0"
                    .to_owned());
            }
            [_] if values.number("momentum") > 0.0 => {
                return Err("there is a velocity and no update; name the updates before it".to_owned());
            }
            [updates @ .., _] if values.number("momentum") > 0.0 => updates,
            all => all,
        };
        if updates.contains(&0.0) {
            return Err("an update of 0 samples says nothing; give its samples or leave it out".to_owned());
        }
        Ok(())
    }

    fn whole(&self) -> &'static [&'static str] {
        &["samples", "clip_norm"]
    }

    fn survey(&self, tensors: &[TensorInputs<'_>]) -> Result<Parameters, OperatorError> {
        let Some(values) = settings(self, tensors)? else {
            return Ok(Parameters::new());
        };
        let samples = values.per_parent("samples");
        let updates = samples.iter().filter(|samples| **samples > 0.0).count();
        let total: f64 = samples.iter().sum();
        let mut found =
            Parameters::from([per_parent("shares", samples[..updates].iter().map(|n| n / total))]);
        let clip = values.number("clip_norm");
        if clip > 0.0 {
            let norms = norms(tensors, updates);
            // What is not finite is told of by whoever reads the piece.
            let factor = |norm: &f64| if *norm > clip { clip / norm } else { 1.0 };
            found.extend([per_parent("clip_factors", norms.iter().map(factor))]);
            found.extend([per_parent("norms", norms.iter().copied())]);
        }
        Ok(found)
    }

    fn kernel<'a>(
        &self,
        tensor: &'a TensorInputs<'a>,
        survey: &'a Parameters,
    ) -> Result<Box<dyn Kernel + 'a>, OperatorError> {
        let shares = numbers(survey, "shares");
        let clips = numbers(survey, "clip_factors").iter().copied().chain(std::iter::repeat(1.0));
        Ok(Box::new(Round {
            factors: shares.iter().zip(clips).map(|(share, clip)| (share * clip) as f32).collect(),
            server_lr: tensor.values.number("server_lr") as f32,
            momentum: tensor.values.number("momentum") as f32,
        }))
    }
}

fn per_parent(name: &str, numbers: impl Iterator<Item = f64>) -> (String, Value) {
    (name.to_owned(), Value::PerParent(numbers.collect()))
}

/// The length of each of the first `updates` updates over all tensors.
fn norms(tensors: &[TensorInputs<'_>], updates: usize) -> Vec<f64> {
    let mut squares = vec![0.0; updates];
    for tensor in tensors {
        let vectors = Vector::differences(tensor);
        let found = sums_of(tensor.shape.elements(), updates, |range, sums| {
            let mut scratch = [0.0; RUN];
            for (vector, sum) in vectors.iter().zip(sums) {
                let mut square = Product::default();
                for first in range.clone().step_by(RUN) {
                    let run = vector.read(first, &mut scratch[..RUN.min(range.end - first)]);
                    square.add(run, run);
                }
                *sum += square.total();
            }
        });
        squares.iter_mut().zip(found).for_each(|(total, found)| *total += found);
    }
    squares.into_iter().map(f64::sqrt).collect()
}

struct Round {
    /// Of the updates; the velocity, if there is one, is the parent after them.
    factors: Vec<f32>,
    server_lr: f32,
    momentum: f32,
}

impl Kernel for Round {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        out.fill(0.0);
        for (factor, parent) in self.factors.iter().zip(piece.parents) {
            for ((sum, x), b) in out.iter_mut().zip(*parent).zip(piece.base) {
                *sum += factor * (x - b);
            }
        }
        if let Some(velocity) = piece.parents.get(self.factors.len()) {
            for ((sum, x), b) in out.iter_mut().zip(*velocity).zip(piece.base) {
                *sum += self.momentum * (x - b);
            }
        }
        for (sum, b) in out.iter_mut().zip(piece.base) {
            *sum = b + self.server_lr * *sum;
        }
    }

    fn stands_alone(&self) -> bool {
        true
    }
}
