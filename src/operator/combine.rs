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

use super::contract::{Kernel, Piece, TensorInputs};
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
    fn differences(&self, parent: usize, first: usize, x: &[f32], base: &[f32], out: &mut [f32]);

    /// What was counted meanwhile.
    fn counted(&self) -> Parameters {
        Parameters::new()
    }
}

/// The kernel.
pub(super) struct Combine<S> {
    sparsify: S,
    weights: Vec<f32>,
    factors: Vec<f32>,
    lambda: f32,
    way: Way,
    found: Parameters,
}

/// Room for the differences of one run; what lies in it from the last one is never read.
#[derive(Default)]
struct Room {
    changes: Vec<f32>,
    votes: Vec<f32>,
    divisors: Vec<f32>,
}

impl Room {
    fn make(&mut self, parents: usize, run: usize) {
        self.changes.resize(parents * run, 0.0);
        self.votes.resize(run, 0.0);
        self.divisors.resize(run, 0.0);
    }
}

thread_local! {
    /// Kept from run to run: clearing it anew costs as much as some of the arithmetic.
    static ROOM: RefCell<Room> = RefCell::default();
}

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
        }
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

    /// The sparse differences of one parent, not weighted yet.
    fn changes(&self, piece: &Piece<'_>, parent: usize, changes: &mut [f32]) {
        self.sparsify.differences(parent, piece.first, piece.parents[parent], piece.base, changes);
    }

    fn in_runs(&self, piece: &Piece<'_>, room: &mut Room, out: &mut [f32]) {
        let mut parents = Vec::with_capacity(piece.parents.len());
        for first in (0..out.len()).step_by(S::RUN) {
            let run = first..out.len().min(first + S::RUN);
            parents.clear();
            parents.extend(piece.parents.iter().map(|parent| &parent[run.clone()]));
            let (base, out) = (&piece.base[run.clone()], &mut out[run]);
            let run = Piece { first: piece.first + first, base, parents: &parents };
            match self.way {
                Way::Add { divisor } => self.add(&run, divisor, room, out),
                Way::Elect { by_count, normalize } => {
                    self.elect(&run, by_count, normalize, room, out);
                }
            }
        }
    }

    fn add(&self, piece: &Piece<'_>, divisor: Option<f32>, room: &mut Room, out: &mut [f32]) {
        let changes = &mut room.changes[..out.len()];
        for parent in 0..self.weights.len() {
            self.changes(piece, parent, changes);
            let add = if parent == 0 { start_weighted } else { add_weighted };
            add(self.factors[parent], self.weights[parent], changes, out);
        }
        put_on(piece.base, self.lambda, divisor, out);
    }

    fn elect(&self, piece: &Piece<'_>, by_count: bool, normalize: bool, room: &mut Room, out: &mut [f32]) {
        let len = out.len();
        let changes = &mut room.changes[..self.weights.len() * len];
        let (votes, divisors) = (&mut room.votes[..len], &mut room.divisors[..len]);
        votes.fill(0.0);
        divisors.fill(0.0);
        for (parent, changes) in changes.chunks_mut(len).enumerate() {
            self.changes(piece, parent, changes);
            weigh(self.factors[parent], self.weights[parent], changes);
            if by_count {
                count_signs(changes, votes);
            } else {
                add(changes, votes);
            }
        }
        out.fill(0.0);
        for (changes, weight) in changes.chunks(len).zip(&self.weights) {
            tally(out, divisors, votes, changes, *weight);
        }
        if normalize {
            divide(divisors, out);
        }
        put_on(piece.base, self.lambda, None, out);
    }
}

impl<S: Sparsify> Kernel for Combine<S> {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        ROOM.with_borrow_mut(|room| {
            room.make(self.weights.len(), S::RUN.min(out.len()));
            self.in_runs(piece, room, out);
        });
    }

    fn stands_alone(&self) -> bool {
        S::RUN < PIECE
    }

    fn realised(&self) -> Parameters {
        let mut realised = self.found.clone();
        realised.extend(self.sparsify.counted());
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

    /// Weighs one parent's changes.
    fn weigh<'a>(factor: f32, weight: f32, changes: &'a mut [f32]) {
        for change in changes {
            *change = *change * factor * weight;
        }
    }

    /// Weighs the first parent's changes; a sum begins at zero, which makes `-0` into `0`.
    fn start_weighted<'a>(factor: f32, weight: f32, changes: &'a [f32], sums: &'a mut [f32]) {
        for (sum, change) in sums.iter_mut().zip(changes) {
            *sum = 0.0 + *change * factor * weight;
        }
    }

    /// Weighs one parent's changes while they are added up.
    fn add_weighted<'a>(factor: f32, weight: f32, changes: &'a [f32], sums: &'a mut [f32]) {
        for (sum, change) in sums.iter_mut().zip(changes) {
            *sum += *change * factor * weight;
        }
    }

    fn add<'a>(changes: &'a [f32], sums: &'a mut [f32]) {
        for (sum, change) in sums.iter_mut().zip(changes) {
            *sum += change;
        }
    }

    /// Adds -1, 0 or 1 for each change.
    fn count_signs<'a>(changes: &'a [f32], votes: &'a mut [f32]) {
        for (vote, change) in votes.iter_mut().zip(changes) {
            let (plus, minus) = (*change > 0.0, *change < 0.0);
            *vote += f32::from(u8::from(plus)) - f32::from(u8::from(minus));
        }
    }

    /// Adds those changes that have the elected sign, and their weight to the divisors.
    ///
    /// Written with masks: a branch on a coin toss is what the machine is worst at.
    fn tally<'a>(
        sums: &'a mut [f32], divisors: &'a mut [f32], votes: &'a [f32], changes: &'a [f32], weight: f32,
    ) {
        let elected = votes.iter().zip(changes);
        for ((sum, divisor), (vote, change)) in sums.iter_mut().zip(divisors).zip(elected) {
            let plus = *vote >= 0.0;
            let agrees = (plus & (*change > 0.0)) | (!plus & (*change < 0.0));
            let mask = u32::from(agrees).wrapping_neg();
            *sum += f32::from_bits(change.to_bits() & mask);
            *divisor += f32::from_bits(weight.to_bits() & mask);
        }
    }

    /// Divides each sum by its own divisor, unless that is zero.
    fn divide<'a>(divisors: &'a [f32], sums: &'a mut [f32]) {
        for (sum, divisor) in sums.iter_mut().zip(divisors) {
            *sum /= if *divisor == 0.0 { 1.0 } else { *divisor };
        }
    }

    /// Divides all sums, if by anything, and puts them on the base.
    fn put_on<'a>(base: &'a [f32], lambda: f32, divisor: Option<f32>, sums: &'a mut [f32]) {
        if let Some(divisor) = divisor {
            sums.iter_mut().for_each(|sum| *sum /= divisor);
        }
        for (sum, b) in sums.iter_mut().zip(base) {
            *sum = b + lambda * *sum;
        }
    }
}
