//! `dare`: drops elements of the differences at random and rescales what is kept.
//!
//! The field calls it DARE, drop and rescale (Yu et al., "Language Models are Super Mario", 2024):
//! most of a fine-tuned difference can be dropped blindly, and sparse differences disturb each other
//! less. `elect = "none"` is what recipes call `dare_linear`, `elect = "sum"` is `dare_ties`.
//!
//! An element of `d_i = x_i - b` is dropped with probability `drop`; `density`, one minus that, is
//! another way to say it. Element j is dropped if its draw, 32 bits, is below `drop * 2^32`, rounded to
//! a whole number. The draw's upper half is half-word j of the parent's random stream
//! ([`super::TensorInputs::random_for`], [`crate::base::rng::Philox::fill`]): the lower half of word
//! `j / 2` for an even j, its upper half for an odd one. The draw's lower half is that of word
//! `j + 2^62`, which is looked at only when the upper half leaves it open, once in 2^16 elements: so one
//! word is enough for two of them. What is kept is multiplied by
//!
//! * `1 / (1 - drop)`, rounded once to f32, with `rescale = "inverse"`: what the paper does, the
//!   expected difference stays the same;
//! * the norm before over the norm after with `"l1"`: the sum of magnitudes stays the same;
//! * nothing with `"none"`.
//!
//! Then as in [`super::task_delta`]; with `elect`, as in [`super::sign_merge`].

use std::cell::RefCell;

use super::combine::{Combine, ELECT, NORMALIZE, Sparsify, subtract};
use super::contract::{Kernel, Operator, TensorInputs};
use super::error::OperatorError;
use super::parameter::{Kind, Parameter, Parameters, Values};
use super::rescale::{Norm, rescaled};
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
        2
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
        let tossed = Tossed(coins);
        let rescale = tensor.values.choice("rescale");
        if let Some(norm) = Norm::named(rescale) {
            return Ok(rescaled(norm, tensor, tossed));
        }
        let kernel = Combine::new(tensor, tossed).counting();
        Ok(Box::new(match rescale {
            "inverse" => kernel.rescaled(keep.iter().map(|keep| inverse(*keep)).collect()),
            _ => kernel,
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

/// The draws of one run.
type Words = [u32; Tossed::RUN / 2 + 1];

thread_local! {
    /// Room for them, kept from run to run: clearing it anew costs a tenth of filling it.
    static WORDS: RefCell<Words> = const { RefCell::new([0; Tossed::RUN / 2 + 1]) };
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

    /// The differences from the flat index `first`, some of them dropped; returns how many are kept.
    fn toss(&self, first: usize, x: &[f32], base: &[f32], out: &mut [f32]) -> usize {
        let Ok(drops_below) = u32::try_from(self.drops_below) else {
            out.fill(0.0);
            return 0;
        };
        if drops_below == 0 {
            subtract(x, base, out);
            return out.len();
        }
        WORDS.with_borrow_mut(|words| self.toss_below(drops_below, first, [x, base], words, out))
    }

    /// The same, for a limit between none and all.
    fn toss_below(
        &self,
        drops_below: u32,
        first: usize,
        [x, base]: [&[f32]; 2],
        words: &mut Words,
        out: &mut [f32],
    ) -> usize {
        let mut kept = 0;
        for start in (0..out.len()).step_by(Tossed::RUN) {
            let run = start..out.len().min(start + Tossed::RUN);
            let first = first + run.start;
            let halves = self.upper_halves(first, run.len(), words);
            let out = &mut out[run.clone()];
            let (upper, lower) = (drops_below >> 16, drops_below & LOWER);
            let (not_below, open) = keep(upper, halves, &x[run.clone()], &base[run], out);
            kept += not_below;
            if open > 0 && lower > 0 {
                let open = (0..out.len()).filter(|i| u32::from(u16::from_le(halves[*i])) == upper);
                for i in open.filter(|i| self.lower_half((first + i) as u64) < lower) {
                    out[i] = 0.0;
                    kept -= 1;
                }
            }
        }
        kept
    }

    /// The upper halves of the draws of elements, each as the bytes of a little-endian number.
    fn upper_halves<'w>(&self, first: usize, count: usize, words: &'w mut [u32]) -> &'w [u16] {
        let words = &mut words[..(first % 2 + count).div_ceil(2)];
        self.stream.fill((first / 2) as u64, words);
        words.iter_mut().for_each(|word| *word = word.to_le());
        &bytemuck::cast_slice(words)[first % 2..][..count]
    }

    fn lower_half(&self, element: u64) -> u32 {
        let mut word = [0];
        self.stream.fill(element + LOWER_HALVES, &mut word);
        word[0] & LOWER
    }
}

/// Where the lower halves of draws begin in a stream: behind those of any tensor.
const LOWER_HALVES: u64 = 1 << 62;
/// The bits of a lower half.
const LOWER: u32 = 0xFFFF;

wide! {
    /// Writes differences, zero in the place of those whose upper half is below; returns how many are
    /// not, and how many of these are just that.
    fn keep<'a>(
        upper: u32, halves: &'a [u16], x: &'a [f32], base: &'a [f32], out: &'a mut [f32],
    ) -> (usize, usize) {
        let (mut kept, mut open) = (0_u32, 0_u32);
        for ((out, half), (x, b)) in out.iter_mut().zip(halves).zip(x.iter().zip(base)) {
            let half = u32::from(u16::from_le(*half));
            let keeps = u32::from(half >= upper);
            kept += keeps;
            open += u32::from(half == upper);
            *out = f32::from_bits((x - b).to_bits() & keeps.wrapping_neg());
        }
        (kept as usize, open as usize)
    }
}

struct Tossed(Vec<Coin>);

impl Sparsify for Tossed {
    fn differences(&self, parent: usize, first: usize, x: &[f32], base: &[f32], out: &mut [f32]) -> usize {
        self.0[parent].toss(first, x, base, out)
    }
}
