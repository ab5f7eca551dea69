//! What operators on differences have in common: sparsify each parent's difference, weigh it, add
//! all of them up or let them elect a sign first, and put the sum on the base.
//!
//! ```text
//! d_i = x_i - b       dropped elements become 0                    (Sparsify)
//! d_i = d_i f_i w_i   f_i a factor that makes up for what was dropped, w_i the weight
//! s   = sum d_i                                 elect = none
//!     = sum of the d_i of the elected sign      elect = sum, count
//! out = b + lambda * s                          s / divisor first, if normalize
//! ```
//!
//! The election (Yadav et al., "TIES-Merging", 2023): the elected sign of an element is that of
//! the sum of the d_i, or of the sum of their signs with `count`; zero elects plus. Exact zeros
//! never count. With an election the divisor is the sum of the weights that were kept for the
//! element, with their signs (one where that is zero); without one it is the sum of all weights
//! (one where that is almost nothing).
//!
//! All sums are f32 in list order from zero.

use std::cell::RefCell;
use std::ops::Range;

use super::contract::{Kernel, Piece, TensorInputs};
use super::counters::Counters;
use super::parameter::{Kind, Parameter, Parameters, Value};
use super::source::PIECE;
use super::task_delta::divisor;
use crate::base::wide::wide;

/// Whether the sum is divided.
pub(super) const NORMALIZE: Parameter = Parameter {
    name: "normalize",
    doc: "Divide the sum of changes by the sum of the weights (with `elect`: of those that were kept).",
    kind: Kind::Flag { default: false },
};

/// Whether parents vote.
pub(super) const ELECT: Parameter = Parameter {
    name: "elect",
    doc: "Elect a sign for each element, by the sum of the differences or the count of their signs, \
          and drop what disagrees.",
    kind: Kind::Choice { options: &["none", "sum", "count"], default: "none" },
};

/// Which elements of the parents' differences stay.
pub(super) trait Sparsify: Send + Sync {
    /// At most so many elements at a time: few, so that the differences of all parents lie in a core's
    /// first cache. What has to see whole rows takes a whole piece.
    const RUN: usize = 512;

    /// Writes a parent's differences from the base, from the flat index `first`, and zero in the place
    /// of those that are dropped.
    ///
    /// Written, not struck out of what lies there: of the latter compilers make masked stores, which
    /// some processors carry out an element at a time.
    ///
    /// Returns how many are kept, if somebody wants to count them ([`Combine::counting`]).
    fn differences(&self, parent: usize, first: usize, x: &[f32], base: &[f32], out: &mut [f32]) -> usize;
}

/// The kernel.
pub(super) struct Combine<S> {
    sparsify: S,
    weights: Vec<f32>,
    factors: Vec<f32>,
    lambda: f32,
    way: Way,
    found: Parameters,
    /// How many elements of each parent were kept so far.
    counters: Option<Counters>,
}

thread_local! {
    /// Room for the differences of one run, parent after parent, and for its divisors. Kept from run to run:
    /// clearing it anew costs as much as some of the arithmetic. What lies in it from the last one is never read.
    static ROOM: RefCell<Vec<f32>> = RefCell::default();
}

/// What is done with the weighted differences.
#[derive(Clone, Copy)]
enum Way {
    Add { divisor: Option<f32> },
    Elect { by_count: bool, normalize: bool },
}

impl<S: Sparsify> Combine<S> {
    /// Reads `weight`, `lambda`, `normalize` and `elect` for a tensor.
    pub(super) fn new(tensor: &TensorInputs<'_>, sparsify: S) -> Self {
        let weights = tensor.values.per_parent_f32("weight");
        let normalize = tensor.values.flag("normalize");
        let way = match tensor.values.choice("elect") {
            "none" => Way::Add { divisor: normalize.then(|| divisor(&weights)) },
            elect => Way::Elect { by_count: elect == "count", normalize },
        };
        Self {
            sparsify,
            factors: vec![1.0; weights.len()],
            weights,
            lambda: tensor.values.number("lambda") as f32,
            way,
            found: Parameters::new(),
            counters: None,
        }
    }

    /// Counts what is kept, for the receipt.
    pub(super) fn counting(mut self) -> Self {
        self.counters = Some(Counters::new(self.weights.len()));
        self
    }

    /// With a factor on each parent's difference; the receipt will name it.
    pub(super) fn rescaled(mut self, factors: Vec<f32>) -> Self {
        let shown = factors.iter().map(|factor| f64::from(*factor)).collect();
        self.factors = factors;
        self.found("rescale", Value::PerParent(shown))
    }

    /// With something for the receipt.
    pub(super) fn found(mut self, name: &str, value: Value) -> Self {
        self.found.insert(name.to_owned(), value);
        self
    }

    /// Elements `run` of a piece.
    fn run(&self, piece: &Piece<'_>, run: Range<usize>, room: &mut [f32], out: &mut [f32]) {
        let (first, base) = (piece.first + run.start, &piece.base[run.clone()]);
        let (changes, divisors) = room.split_at_mut(self.weights.len() * run.len());
        for (parent, changes) in changes.chunks_mut(run.len()).enumerate() {
            let x = &piece.parents[parent][run.clone()];
            let kept = self.sparsify.differences(parent, first, x, base, changes);
            if let Some(counters) = &self.counters {
                counters.add(parent, kept);
            }
        }
        let scales = Scales { factors: &self.factors, weights: &self.weights, lambda: self.lambda };
        match self.way {
            Way::Add { divisor } => add_up(scales, divisor, changes, base, out),
            Way::Elect { by_count, normalize } => {
                elect(scales, by_count, normalize, changes, base, &mut divisors[..run.len()], out);
            }
        }
    }
}

impl<S: Sparsify> Kernel for Combine<S> {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        ROOM.with_borrow_mut(|room| {
            room.resize((self.weights.len() + 1) * S::RUN.min(out.len()), 0.0);
            for first in (0..out.len()).step_by(S::RUN) {
                let run = first..out.len().min(first + S::RUN);
                self.run(piece, run.clone(), room, &mut out[run]);
            }
        });
    }

    fn stands_alone(&self) -> bool {
        S::RUN < PIECE
    }

    fn realised(&self) -> Parameters {
        let mut realised = self.found.clone();
        realised.extend(self.counters.iter().flat_map(Counters::realised));
        realised
    }
}

wide! {
    /// The difference of each element.
    pub(super) fn subtract<'a>(from: &'a [f32], base: &'a [f32], differences: &'a mut [f32]) {
        for (difference, (x, b)) in differences.iter_mut().zip(from.iter().zip(base)) {
            *difference = x - b;
        }
    }

    /// Adds the parents' changes up and puts the sums on the base.
    fn add_up<'a>(
        scales: Scales<'a>, divisor: Option<f32>, changes: &'a [f32], base: &'a [f32], out: &'a mut [f32],
    ) {
        in_groups(changes, [&mut *out], #[inline(always)] |changes| {
            let mut sums = [0.0; GROUP];
            for (i, (factor, weight)) in scales.each().enumerate() {
                add(&mut sums, &weighed(changes.of(i), factor, weight));
            }
            [sums]
        });
        if let Some(divisor) = divisor {
            out.iter_mut().for_each(|sum| *sum /= divisor);
        }
        put_on(base, scales.lambda, out);
    }

    /// Adds up those changes that have the elected sign, and puts the sums on the base. `divisors` is room.
    ///
    /// Written without branches: one on a coin toss is what the machine is worst at.
    fn elect<'a>(
        scales: Scales<'a>, by_count: bool, normalize: bool, changes: &'a [f32], base: &'a [f32],
        divisors: &'a mut [f32], out: &'a mut [f32],
    ) {
        in_groups(changes, [&mut *out, &mut *divisors], #[inline(always)] |changes| {
            let mut votes = [0.0; GROUP];
            for (i, (factor, weight)) in scales.each().enumerate() {
                let changes = weighed(changes.of(i), factor, weight);
                if by_count {
                    add(&mut votes, &changes.map(sign));
                } else {
                    add(&mut votes, &changes);
                }
            }
            let turns = turns(votes);
            let (mut sums, mut divisors) = ([0.0; GROUP], [0.0; GROUP]);
            for (i, (factor, weight)) in scales.each().enumerate() {
                let changes = weighed(changes.of(i), factor, weight);
                let agree = agreeing(&changes, turns);
                add(&mut sums, &masked(changes, agree));
                add(&mut divisors, &masked([weight; GROUP], agree));
            }
            [sums, divisors]
        });
        if normalize {
            for (sum, divisor) in out.iter_mut().zip(divisors) {
                *sum /= if *divisor == 0.0 { 1.0 } else { *divisor };
            }
        }
        put_on(base, scales.lambda, out);
    }
}

/// The bit of an f32 that says minus.
const SIGN: u32 = 1 << 31;

/// Elements whose sums are in registers together.
pub(super) const GROUP: usize = 16;

/// What differences are multiplied by.
#[derive(Clone, Copy)]
struct Scales<'a> {
    factors: &'a [f32],
    weights: &'a [f32],
    lambda: f32,
}

impl<'a> Scales<'a> {
    /// The factor and the weight of each parent, in order.
    #[inline(always)]
    fn each(self) -> impl Iterator<Item = (f32, f32)> + use<'a> {
        self.factors.iter().copied().zip(self.weights.iter().copied())
    }
}

/// The changes of all parents to the same few elements.
#[derive(Clone, Copy)]
pub(super) struct Changes<'a> {
    /// Those of one run, parent after parent.
    all: &'a [f32],
    run: usize,
    /// Where the elements are in the run, and how many.
    first: usize,
    len: usize,
}

impl Changes<'_> {
    /// Those of one parent; zeros fill the last group up.
    #[inline(always)]
    pub(super) fn of(&self, parent: usize) -> [f32; GROUP] {
        let changes = &self.all[parent * self.run + self.first..][..self.len];
        if let Ok(changes) = changes.try_into() {
            return changes;
        }
        let mut filled = [0.0; GROUP];
        filled[..changes.len()].copy_from_slice(changes);
        filled
    }
}

/// Gives every group of a run what is made of the changes to it.
///
/// What can be done to all of a run at once is done after this: of short loops over a group compilers make
/// vector code or, where there is more of it than they follow, one element after the other.
#[inline(always)]
pub(super) fn in_groups<const N: usize>(
    all: &[f32],
    mut outs: [&mut [f32]; N],
    make: impl Fn(Changes<'_>) -> [[f32; GROUP]; N],
) {
    let run = outs[0].len();
    let whole = run / GROUP * GROUP;
    for first in (0..whole).step_by(GROUP) {
        for (out, made) in outs.iter_mut().zip(make(Changes { all, run, first, len: GROUP })) {
            out[first..][..GROUP].copy_from_slice(&made);
        }
    }
    if whole == run {
        return;
    }
    for (out, made) in outs.iter_mut().zip(make(Changes { all, run, first: whole, len: run - whole })) {
        out[whole..].copy_from_slice(&made[..run - whole]);
    }
}

// One step for all lanes, and the next: of several steps lane by lane, with a choice among them, compilers make
// hardly any vector code.

/// What turns changes of the elected sign into positive ones; zero elects plus.
#[inline(always)]
pub(super) fn turns(votes: [f32; GROUP]) -> [u32; GROUP] {
    votes.map(|vote| if vote >= 0.0 { 0 } else { SIGN })
}

/// All bits for changes of the elected sign, none for others and for zeros.
#[inline(always)]
pub(super) fn agreeing(changes: &[f32; GROUP], turns: [u32; GROUP]) -> [u32; GROUP] {
    let mut agree = [0; GROUP];
    for lane in 0..GROUP {
        let agrees = f32::from_bits(changes[lane].to_bits() ^ turns[lane]) > 0.0;
        agree[lane] = u32::from(agrees).wrapping_neg();
    }
    agree
}

/// Changes times their factor, times their weight.
#[inline(always)]
fn weighed(mut changes: [f32; GROUP], factor: f32, weight: f32) -> [f32; GROUP] {
    for change in &mut changes {
        *change = *change * factor * weight;
    }
    changes
}

/// Numbers, zero in the place of those whose mask is.
#[inline(always)]
pub(super) fn masked(mut numbers: [f32; GROUP], masks: [u32; GROUP]) -> [f32; GROUP] {
    for (number, mask) in numbers.iter_mut().zip(masks) {
        *number = f32::from_bits(number.to_bits() & mask);
    }
    numbers
}

#[inline(always)]
pub(super) fn add(sums: &mut [f32; GROUP], more: &[f32; GROUP]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}

/// Puts sums on the base.
#[inline(always)]
fn put_on(base: &[f32], lambda: f32, sums: &mut [f32]) {
    for (sum, base) in sums.iter_mut().zip(base) {
        *sum = base + lambda * *sum;
    }
}

/// -1, 0 or 1.
#[inline(always)]
fn sign(change: f32) -> f32 {
    f32::from(u8::from(change > 0.0)) - f32::from(u8::from(change < 0.0))
}
