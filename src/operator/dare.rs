//! `dare`: drops elements of the differences at random and rescales what is kept.
//!
//! The field calls it DARE, drop and rescale (Yu et al., "Language Models are Super Mario", 2024):
//! most of a fine-tuned difference can be dropped blindly, and sparse differences disturb each other
//! less. `elect = "none"` is what recipes call `dare_linear`, `elect = "sum"` is `dare_ties`.
//!
//! An element of `d_i = x_i - b` is dropped with probability `drop`; `density`, one minus that, is
//! another way to say it. Element j is dropped if word j of the parent's random stream
//! ([`super::TensorInputs::random_for`], [`crate::base::rng::Philox::fill`]) is below
//! `drop * 2^32`, rounded to a whole number. What is kept is multiplied by
//!
//! * `1 / (1 - drop)`, rounded once to f32, with `rescale = "inverse"`: what the paper does, the
//!   expected difference stays the same;
//! * the norm before over the norm after with `"l1"`: the sum of magnitudes stays the same;
//! * nothing with `"none"`.
//!
//! Then as in [`super::task_delta`]; with `elect`, as in [`super::sign_merge`].

use std::sync::atomic::{AtomicUsize, Ordering};

use super::combine::{Combine, ELECT, NORMALIZE, Sparsify};
use super::contract::{Kernel, Operator, TensorInputs};
use super::error::OperatorError;
use super::parameter::{Kind, Parameter, Parameters, Value, Values};
use super::rescale::{Norm, factors};
use super::source::PIECE;
use super::task_delta::{LAMBDA, WEIGHT};
use crate::base::rng::Philox;
use crate::base::wide::wide;

/// The operator.
pub struct Dare;

/// The probability with which an element is dropped.
pub(super) const DROP: Parameter = Parameter {
    name: "drop",
    doc: "Probability with which an element of a difference is dropped; 0.5 if nothing is said.",
    kind: Kind::OptionalPerParent { min: 0.0, max: 1.0 },
};

/// The probability with which an element is kept.
pub(super) const DENSITY: Parameter = Parameter {
    name: "density",
    doc: "Probability with which an element of a difference is kept: one minus `drop`, instead of it.",
    kind: Kind::OptionalPerParent { min: 0.0, max: 1.0 },
};

/// How what is kept makes up for what is dropped.
pub(super) const RESCALE: Parameter = Parameter {
    name: "rescale",
    doc: "Divide what is kept by the probability of keeping it, or give the difference its L1 norm back.",
    kind: Kind::Choice { options: &["inverse", "l1", "none"], default: "inverse" },
};

/// The share kept when a plan says nothing.
const HALF: f64 = 0.5;

const PARAMETERS: &[Parameter] = &[WEIGHT, DROP, DENSITY, RESCALE, NORMALIZE, LAMBDA, ELECT];

impl Operator for Dare {
    fn name(&self) -> &'static str {
        "dare"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "base plus weighted differences, elements dropped at random and the rest rescaled \
         (DARE; Yu et al. 2024)"
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
        one_way_to_say_it(values)
    }

    fn kernel<'a>(
        &self,
        tensor: &'a TensorInputs<'a>,
        _survey: &'a Parameters,
    ) -> Result<Box<dyn Kernel + 'a>, OperatorError> {
        let keep = keep_probabilities(&tensor.values, tensor.parents.len());
        let coins: Vec<Coin> =
            keep.iter().enumerate().map(|(parent, keep)| Coin::new(tensor, parent, *keep)).collect();
        let factors = match tensor.values.choice("rescale") {
            "inverse" => Some(keep.iter().map(|keep| inverse(*keep)).collect()),
            rescale => Norm::named(rescale).map(|norm| {
                factors(norm, tensor, |parent, first, differences| {
                    coins[parent].toss(first, differences);
                })
            }),
        };
        let kernel = Combine::new(tensor, Tossed { kept: Counters::new(coins.len()), coins });
        Ok(Box::new(match factors {
            Some(factors) => kernel.rescaled(factors),
            None => kernel,
        }))
    }
}

/// Refuses `drop` and `density` together.
pub(super) fn one_way_to_say_it(values: &Values) -> Result<(), String> {
    let said = |name| values.optional_per_parent(name).is_some();
    if said("drop") && said("density") {
        return Err("`density` is one minus `drop`; give one of them".to_owned());
    }
    Ok(())
}

/// The probability with which each parent's elements are kept.
pub(super) fn keep_probabilities(values: &Values, parents: usize) -> Vec<f64> {
    let said = |name| values.optional_per_parent(name);
    match (said("density"), said("drop")) {
        (Some(density), _) => density.to_vec(),
        (None, Some(drop)) => drop.iter().map(|drop| 1.0 - drop).collect(),
        (None, None) => vec![HALF; parents],
    }
}

fn inverse(keep: f64) -> f32 {
    if keep > 0.0 { (1.0 / keep) as f32 } else { 1.0 }
}

/// How many elements of each parent were kept so far.
pub(super) struct Counters(Vec<AtomicUsize>);

impl Counters {
    /// One for each parent.
    pub(super) fn new(parents: usize) -> Self {
        Self((0..parents).map(|_| AtomicUsize::new(0)).collect())
    }

    /// Counts; sums of integers do not depend on order.
    pub(super) fn add(&self, parent: usize, kept: usize) {
        self.0[parent].fetch_add(kept, Ordering::Relaxed);
    }

    /// For the receipt.
    pub(super) fn realised(&self) -> Parameters {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed) as f64).collect();
        Parameters::from([("kept".to_owned(), Value::PerParent(counts))])
    }
}

/// One parent's coin.
struct Coin {
    stream: Philox,
    /// Words below this drop: up to 2^32, which drops all.
    drops_below: u64,
}

impl Coin {
    fn new(tensor: &TensorInputs<'_>, parent: usize, keep: f64) -> Self {
        let words = (1_u64 << 32) as f64;
        Self { stream: tensor.random_for(parent), drops_below: ((1.0 - keep) * words).round() as u64 }
    }

    /// Drops elements, from the flat index `first`; returns how many are kept.
    fn toss(&self, first: usize, differences: &mut [f32]) -> usize {
        let Ok(drops_below) = u32::try_from(self.drops_below) else {
            differences.fill(0.0);
            return 0;
        };
        if drops_below == 0 {
            return differences.len();
        }
        let mut words = [0; PIECE];
        let words = &mut words[..differences.len()];
        self.stream.fill(first as u64, words);
        keep(drops_below, words, differences)
    }
}

wide! {
    /// Puts zero in the place of those whose words are below; returns how many are not.
    fn keep<'a>(drops_below: u32, words: &'a [u32], differences: &'a mut [f32]) -> usize {
        let mut kept = 0_u32;
        for (difference, word) in differences.iter_mut().zip(words) {
            let keeps = u32::from(*word >= drops_below);
            kept += keeps;
            *difference = f32::from_bits(difference.to_bits() & keeps.wrapping_neg());
        }
        kept as usize
    }
}

struct Tossed {
    coins: Vec<Coin>,
    kept: Counters,
}

impl Sparsify for Tossed {
    fn sparsify(&self, parent: usize, first: usize, differences: &mut [f32]) {
        self.kept.add(parent, self.coins[parent].toss(first, differences));
    }

    fn counted(&self) -> Parameters {
        self.kept.realised()
    }
}
