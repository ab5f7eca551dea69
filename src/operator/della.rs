//! `della`: like [`super::dare`], but small elements of a difference are dropped more readily.
//!
//! The field calls it DELLA, its pruning MAGPRUNE (Deep et al., "DELLA-Merging: Reducing
//! Interference in Model Merging through Magnitude-Based Sampling", 2024).
//!
//! Within each row (a vector is one row) the elements of `d_i = x_i - b` are ranked by magnitude:
//! r from 0 for the smallest to 1 for the largest in equal steps, of equals the lower flat index
//! ranks higher; the only element of a row has one half. An element is kept with probability
//!
//! ```text
//! p = (density - epsilon) + 2 r epsilon
//! ```
//!
//! in f32, terms in this order: element j is kept if the upper 31 bits of word j of the parent's
//! random stream are below `p * 2^31`, rounded down. So `density` (or `drop`, one minus that) is the
//! mean probability and `density +- epsilon` must lie between zero and one. A density of one keeps
//! all, of zero none.
//!
//! `rescale = "inverse"` divides what is kept by its p, as the paper does; `"l1"` multiplies it by
//! the L1 norm before over the norm after, as the field's tools do. Then as in
//! [`super::task_delta`]; with `elect`, as in [`super::sign_merge`].

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::combine::{Combine, ELECT, NORMALIZE, Sparsify, subtract};
use super::contract::{Kernel, Operator, TensorInputs};
use super::dare::{Counters, DENSITY, DROP, RESCALE, keep_probabilities, one_way_to_say_it};
use super::error::OperatorError;
use super::parameter::{Kind, Parameter, Parameters, Values};
use super::rank::{Room, rank};
use super::rescale::{Norm, factors};
use super::source::PIECE;
use super::task_delta::{LAMBDA, WEIGHT};
use crate::base::rng::Philox;
use crate::base::wide::wide;

/// The operator.
pub struct Della;

const PARAMETERS: &[Parameter] = &[
    WEIGHT,
    DROP,
    DENSITY,
    Parameter {
        name: "epsilon",
        doc: "How far the probability of the largest and of the smallest element is from the mean.",
        kind: Kind::PerParent { min: 0.0, max: 0.5, default: Some(0.15) },
    },
    RESCALE,
    NORMALIZE,
    LAMBDA,
    ELECT,
];

impl Operator for Della {
    fn name(&self) -> &'static str {
        "della"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "base plus weighted differences, small elements dropped at random more often than large ones \
         (DELLA; Deep et al. 2024)"
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
        one_way_to_say_it(values)?;
        let epsilon = values.per_parent("epsilon");
        for (keep, epsilon) in keep_probabilities(values, epsilon.len()).into_iter().zip(epsilon) {
            let partly = keep > 0.0 && keep < 1.0;
            if partly && (keep - epsilon <= 0.0 || keep + epsilon >= 1.0) {
                return Err(format!(
                    "a density of {keep} with an epsilon of {epsilon} is no probability for every rank; \
                     density - epsilon and density + epsilon must lie between 0 and 1"
                ));
            }
        }
        Ok(())
    }

    fn kernel<'a>(
        &self,
        tensor: &'a TensorInputs<'a>,
        _survey: &'a Parameters,
    ) -> Result<Box<dyn Kernel + 'a>, OperatorError> {
        if tensor.shape.columns() > LONGEST_ROW {
            let message = format!("`{}` has rows too long to be ranked", tensor.name);
            return Err(OperatorError::Relation { operator: self.name(), message });
        }
        let sampling = Sampling::new(tensor);
        let rescale = tensor.values.choice("rescale");
        let factors = Norm::named(rescale).map(|norm| {
            factors(norm, tensor, |parent, first, x, base, out| {
                sampling.sample(parent, first, false, [x, base], out);
            })
        });
        let kept = Counters::new(tensor.parents.len());
        let kernel = Combine::new(tensor, Sampled { sampling, kept, inverse: rescale == "inverse" });
        Ok(Box::new(match factors {
            Some(factors) => kernel.rescaled(factors),
            None => kernel,
        }))
    }
}

/// Half of all words there are.
const HALF_WORDS: f32 = (1_u32 << 31) as f32;
/// Ranks are counted in 31 bits.
const LONGEST_ROW: usize = i32::MAX as usize;

/// The probabilities of one parent's ranks.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Chances {
    None,
    All,
    /// From the smallest rank up, and half the way from there to the largest.
    Between {
        least: f32,
        epsilon: f32,
    },
}

impl Chances {
    fn new(keep: f64, epsilon: f64) -> Self {
        if keep <= 0.0 {
            Self::None
        } else if keep >= 1.0 {
            Self::All
        } else {
            Self::Between { least: (keep - epsilon) as f32, epsilon: epsilon as f32 }
        }
    }
}

/// From a rank to a probability.
#[derive(Clone, Copy)]
struct Line {
    smallest: f32,
    steps: f32,
    least: f32,
    epsilon: f32,
}

impl Line {
    #[inline(always)]
    fn probability(self, rank: i32) -> f32 {
        let r = self.smallest + rank as f32 / self.steps;
        self.least + r * 2.0 * self.epsilon
    }
}

/// All ones if an element with this word and probability is kept, else zero.
#[inline(always)]
fn kept(word: u32, probability: f32) -> u32 {
    u32::from(((word >> 1) as i32) < (probability * HALF_WORDS) as i32).wrapping_neg()
}

wide! {
    /// Copies differences, zero in the place of what is dropped; returns how many are kept.
    fn keep<'a>(
        line: Line, ranks: &'a [i32], words: &'a [u32], differences: &'a [f32], out: &'a mut [f32],
    ) -> usize {
        let mut count = 0_u32;
        let drawn = ranks.iter().zip(words).zip(differences);
        for (out, ((rank, word), difference)) in out.iter_mut().zip(drawn) {
            let mask = kept(*word, line.probability(*rank));
            count += mask & 1;
            *out = f32::from_bits(difference.to_bits() & mask);
        }
        count as usize
    }

    /// The same, and divides what is kept by its probability.
    fn keep_divided<'a>(
        line: Line, ranks: &'a [i32], words: &'a [u32], differences: &'a [f32], out: &'a mut [f32],
    ) -> usize {
        let mut count = 0_u32;
        let drawn = ranks.iter().zip(words).zip(differences);
        for (out, ((rank, word), difference)) in out.iter_mut().zip(drawn) {
            let probability = line.probability(*rank);
            let mask = kept(*word, probability);
            count += mask & 1;
            *out = f32::from_bits((difference / probability).to_bits() & mask);
        }
        count as usize
    }
}

thread_local! {
    /// Kept from row to row.
    static ROOM: RefCell<Room> = RefCell::default();
}

/// Decides which elements are kept.
struct Sampling<'a> {
    tensor: &'a TensorInputs<'a>,
    chances: Vec<Chances>,
    streams: Vec<Philox>,
    long_rows: LongRows,
}

impl<'a> Sampling<'a> {
    fn new(tensor: &'a TensorInputs<'a>) -> Self {
        let epsilon = tensor.values.per_parent("epsilon");
        let keep = keep_probabilities(&tensor.values, epsilon.len());
        Self {
            tensor,
            chances: keep.iter().zip(epsilon).map(|(keep, epsilon)| Chances::new(*keep, *epsilon)).collect(),
            streams: (0..keep.len()).map(|parent| tensor.random_for(parent)).collect(),
            long_rows: LongRows::new(keep.len()),
        }
    }

    /// The differences of a parent `x` from a base, from the flat index `first`: some dropped, the others
    /// divided by their probability if asked to; returns how many are kept.
    fn sample(
        &self,
        parent: usize,
        first: usize,
        inverse: bool,
        [x, base]: [&[f32]; 2],
        out: &mut [f32],
    ) -> usize {
        let Chances::Between { least, epsilon } = self.chances[parent] else {
            if self.chances[parent] == Chances::All {
                subtract(x, base, out);
                return out.len();
            }
            out.fill(0.0);
            return 0;
        };
        let mut differences = [0.0; PIECE];
        let differences = &mut differences[..out.len()];
        subtract(x, base, differences);
        let mut words = [0; PIECE];
        let words = &mut words[..differences.len()];
        self.streams[parent].fill(first as u64, words);
        let mut ranks = [0; PIECE];
        let ranks = &mut ranks[..differences.len()];
        self.rank(parent, first, differences, ranks);
        let columns = self.tensor.shape.columns();
        let (smallest, steps) = if columns == 1 { (0.5, 1.0) } else { (0.0, (columns - 1) as f32) };
        let line = Line { smallest, steps, least, epsilon };
        if inverse {
            keep_divided(line, ranks, words, differences, out)
        } else {
            keep(line, ranks, words, differences, out)
        }
    }

    /// The ranks of elements within their rows, from 0 for the smallest.
    fn rank(&self, parent: usize, first: usize, differences: &[f32], ranks: &mut [i32]) {
        let columns = self.tensor.shape.columns();
        if columns <= PIECE {
            // A piece is whole rows.
            ROOM.with_borrow_mut(|room| {
                for (row, ranks) in differences.chunks(columns).zip(ranks.chunks_mut(columns)) {
                    rank(row, room, ranks);
                }
            });
        } else {
            let start = first / columns * columns;
            let row = self.long_rows.get(parent, start, || self.rank_long_row(parent, start));
            ranks.copy_from_slice(&row[first - start..][..ranks.len()]);
        }
    }

    fn rank_long_row(&self, parent: usize, start: usize) -> Vec<i32> {
        let columns = self.tensor.shape.columns();
        let (mut x, mut b) = (vec![0.0; columns], vec![0.0; columns]);
        let x = self.tensor.parents[parent].read(start, &mut x);
        let b = self.tensor.base().read(start, &mut b);
        let differences: Vec<f32> = x.iter().zip(b).map(|(x, b)| x - b).collect();
        let mut ranks = vec![0; columns];
        rank(&differences, &mut Room::default(), &mut ranks);
        ranks
    }
}

/// The ranks of rows that are longer than a piece: the few last used are kept, because the next
/// piece will ask for the same row. What is kept changes no result.
struct LongRows {
    rows: Mutex<VecDeque<LongRow>>,
    room: usize,
}

struct LongRow {
    parent: usize,
    start: usize,
    ranks: Arc<Vec<i32>>,
}

impl LongRows {
    fn new(parents: usize) -> Self {
        Self { rows: Mutex::default(), room: parents * rayon::current_num_threads() }
    }

    fn get(&self, parent: usize, start: usize, make: impl FnOnce() -> Vec<i32>) -> Arc<Vec<i32>> {
        let rows = || self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let known =
            rows().iter().find(|row| (row.parent, row.start) == (parent, start)).map(|row| row.ranks.clone());
        known.unwrap_or_else(|| {
            let ranks = Arc::new(make());
            let mut rows = rows();
            if rows.len() == self.room {
                rows.pop_front();
            }
            rows.push_back(LongRow { parent, start, ranks: ranks.clone() });
            ranks
        })
    }
}

struct Sampled<'a> {
    sampling: Sampling<'a>,
    kept: Counters,
    inverse: bool,
}

impl Sparsify for Sampled<'_> {
    const RUN: usize = PIECE;

    fn differences(&self, parent: usize, first: usize, x: &[f32], base: &[f32], out: &mut [f32]) {
        self.kept.add(parent, self.sampling.sample(parent, first, self.inverse, [x, base], out));
    }

    fn counted(&self) -> Parameters {
        self.kept.realised()
    }
}
