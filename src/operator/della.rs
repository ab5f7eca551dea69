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
use super::dare::{DENSITY, DROP, RESCALE, keep_probabilities, one_way_to_say_it};
use super::error::OperatorError;
use super::parameter::{Kind, Parameter, Parameters, Values};
use super::rank::{Room, rank};
use super::rescale::{Norm, rescaled};
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
        let rescale = tensor.values.choice("rescale");
        let sampling = Sampling::new(tensor, rescale == "inverse");
        Ok(match Norm::named(rescale) {
            Some(norm) => rescaled(norm, tensor, sampling),
            None => Box::new(Combine::new(tensor, sampling).counting()),
        })
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
    /// For rows of so many elements.
    fn new(columns: usize, least: f32, epsilon: f32) -> Self {
        let (smallest, steps) = if columns == 1 { (0.5, 1.0) } else { (0.0, (columns - 1) as f32) };
        Self { smallest, steps, least, epsilon }
    }

    /// For each rank, what the upper 31 bits of a word are below if the element is kept.
    fn limits(self, columns: usize) -> Vec<i32> {
        (0..columns as i32).map(|rank| limit(self.probability(rank))).collect()
    }

    #[inline(always)]
    fn probability(self, rank: i32) -> f32 {
        let r = self.smallest + rank as f32 / self.steps;
        self.least + r * 2.0 * self.epsilon
    }
}

/// All ones if an element with this word and probability is kept, else zero.
#[inline(always)]
fn kept(word: u32, probability: f32) -> u32 {
    ones_if_below((word >> 1).cast_signed(), limit(probability))
}

/// All ones or zero, for numbers that are not negative: the sign of a difference, which no compiler takes for
/// something to branch on, where half the guesses would be wrong.
#[inline(always)]
fn ones_if_below(drawn: i32, limit: i32) -> u32 {
    (drawn.wrapping_sub(limit) >> 31).cast_unsigned()
}

#[inline(always)]
fn limit(probability: f32) -> i32 {
    (probability * HALF_WORDS) as i32
}

wide! {
    /// Copies the differences that are kept at any rank, zero in the place of all others; returns how many
    /// are, and marks those that some ranks keep and others do not.
    fn keep_surely<'a>(
        least: i32, most: i32, words: &'a [u32], differences: &'a [f32], open: &'a mut [u8], out: &'a mut [f32],
    ) -> u32 {
        let mut count = 0;
        for ((out, open), (word, difference)) in out.iter_mut().zip(open).zip(words.iter().zip(differences)) {
            let drawn = (word >> 1).cast_signed();
            let mask = u32::from(drawn < least).wrapping_neg();
            count += mask & 1;
            *open = u8::from((drawn >= least) & (drawn < most));
            *out = f32::from_bits(difference.to_bits() & mask);
        }
        count
    }

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

/// Where more elements of a row depend on their exact ranks, all of it is ranked.
const MOST_RANKED: usize = 16;
/// Elements for each bucket: fewer buckets are sooner counted up, and decide nearly as much.
const PER_BUCKET: usize = 2;

/// What [`keep`] does, to whole rows, but ranks hardly anything: most words are below the limit of any rank or
/// of none, and of the others most are below the limits of all ranks in a bucket or of none. A larger rank
/// never has a smaller limit, rounding included.
fn keep_by_limits(limits: &[i32], words: &[u32], differences: &[f32], out: &mut [f32]) -> usize {
    let columns = limits.len();
    let rows = differences.chunks(columns).zip(words.chunks(columns)).zip(out.chunks_mut(columns));
    ROW.with_borrow_mut(|room| {
        room.open.clear();
        room.open.resize(columns.next_multiple_of(GROUP), 0);
        room.ranks.resize(columns, 0);
        rows.map(|((row, words), out)| {
            let open = &mut room.open[..columns];
            let sure = keep_surely(limits[0], limits[columns - 1], words, row, open, out) as usize;
            let by_bucket = keep_by_bucket(limits, words, row, room, out);
            by_bucket.map_or_else(|| keep_by_rank(limits, words, row, room, out), |more| sure + more)
        })
        .sum()
    })
}

/// Room for one row.
#[derive(Default)]
struct Row {
    buckets: Room,
    /// One where words leave it open, in whole groups.
    open: Vec<u8>,
    ranks: Vec<i32>,
}

/// So many elements are looked through for open ones at a time.
const GROUP: usize = u64::BITS as usize;

/// The bits of bytes that are zero or one, the first the lowest: a product moves eight to its highest byte, and
/// no two of its terms meet in a bit.
#[inline(always)]
fn bits(bytes: &[[u8; 8]]) -> u64 {
    const TO_HIGHEST: u64 = 0x0102_0408_1020_4080;
    let eight = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes).wrapping_mul(TO_HIGHEST) >> 56;
    bytes.iter().rev().fold(0, |bits, bytes| bits << 8 | eight(bytes))
}

/// Decides those that are open; returns how many are kept, or nothing if ranks matter to too many.
fn keep_by_bucket(
    limits: &[i32],
    words: &[u32],
    row: &[f32],
    room: &mut Row,
    out: &mut [f32],
) -> Option<usize> {
    let Row { buckets: room, open, .. } = room;
    if !open.contains(&1) {
        return Some(0);
    }
    room.fill(row, row.len().div_ceil(PER_BUCKET));
    let bounds = room.bounds();
    let (mut kept, mut ranked) = (0_u32, 0);
    // Which ones are open is chance: those that are not cost nothing but their bits.
    for (group, bytes) in open.as_chunks().0.chunks(GROUP / 8).enumerate() {
        let mut left = bits(bytes);
        while left != 0 {
            let i = GROUP * group + left.trailing_zeros() as usize;
            left &= left - 1;
            let drawn = (words[i] >> 1).cast_signed();
            let [mut keeps, may_keep] = bounds.of(i).map(|rank| ones_if_below(drawn, limits[rank]));
            if keeps != may_keep {
                ranked += 1;
                if ranked > MOST_RANKED {
                    return None;
                }
                keeps = ones_if_below(drawn, limits[room.rank_of(row, i)]);
            }
            kept += keeps & 1;
            out[i] = f32::from_bits(row[i].to_bits() & keeps);
        }
    }
    Some(kept as usize)
}

fn keep_by_rank(limits: &[i32], words: &[u32], row: &[f32], room: &mut Row, out: &mut [f32]) -> usize {
    let Row { buckets, ranks, .. } = room;
    rank(row, buckets, ranks);
    let drawn = ranks.iter().zip(words).zip(row);
    let mut count = 0;
    for (out, ((rank, word), difference)) in out.iter_mut().zip(drawn) {
        let keeps = (word >> 1).cast_signed() < limits[*rank as usize];
        count += usize::from(keeps);
        *out = if keeps { *difference } else { 0.0 };
    }
    count
}

thread_local! {
    /// Kept from row to row and from piece to piece: clearing them anew costs as much as some of the arithmetic.
    /// What lies there from the last one is never read.
    static ROW: RefCell<Row> = RefCell::default();
    static DRAWN: RefCell<Drawn> = RefCell::default();
}

/// Room for one piece: its differences and their words, and their ranks.
#[derive(Default)]
struct Drawn {
    differences: Vec<f32>,
    words: Vec<u32>,
    ranks: Vec<i32>,
}

/// Decides which elements are kept.
struct Sampling<'a> {
    tensor: &'a TensorInputs<'a>,
    chances: Vec<Chances>,
    streams: Vec<Philox>,
    /// Whether what is kept is divided by its probability.
    inverse: bool,
    /// The limit of each rank, for each parent, if rows are short and nothing else is asked of ranks.
    limits: Vec<Vec<i32>>,
    long_rows: LongRows,
}

impl<'a> Sampling<'a> {
    fn new(tensor: &'a TensorInputs<'_>, inverse: bool) -> Self {
        let epsilon = tensor.values.per_parent("epsilon");
        let keep = keep_probabilities(&tensor.values, epsilon.len());
        let chances: Vec<Chances> =
            keep.iter().zip(epsilon).map(|(keep, epsilon)| Chances::new(*keep, *epsilon)).collect();
        let columns = tensor.shape.columns();
        let by_limits = !inverse && columns <= PIECE;
        let limits = |chances: &Chances| match chances {
            Chances::Between { least, epsilon } if by_limits => {
                Line::new(columns, *least, *epsilon).limits(columns)
            }
            _ => Vec::new(),
        };
        Self {
            tensor,
            limits: chances.iter().map(limits).collect(),
            chances,
            inverse,
            streams: (0..keep.len()).map(|parent| tensor.random_for(parent)).collect(),
            long_rows: LongRows::new(keep.len()),
        }
    }

    /// The differences of a parent `x` from a base, from the flat index `first`: some dropped, the others
    /// divided by their probability if asked to; returns how many are kept.
    fn sample(&self, parent: usize, first: usize, [x, base]: [&[f32]; 2], out: &mut [f32]) -> usize {
        let Chances::Between { least, epsilon } = self.chances[parent] else {
            if self.chances[parent] == Chances::All {
                subtract(x, base, out);
                return out.len();
            }
            out.fill(0.0);
            return 0;
        };
        DRAWN.with_borrow_mut(|Drawn { differences, words, ranks }| {
            differences.resize(out.len(), 0.0);
            subtract(x, base, differences);
            words.resize(out.len(), 0);
            self.streams[parent].fill(first as u64, words);
            if !self.limits[parent].is_empty() {
                return keep_by_limits(&self.limits[parent], words, differences, out);
            }
            let line = Line::new(self.tensor.shape.columns(), least, epsilon);
            ranks.resize(out.len(), 0);
            self.rank(parent, first, differences, ranks);
            if self.inverse {
                keep_divided(line, ranks, words, differences, out)
            } else {
                keep(line, ranks, words, differences, out)
            }
        })
    }

    /// The ranks of elements within their rows, from 0 for the smallest.
    fn rank(&self, parent: usize, first: usize, differences: &[f32], ranks: &mut [i32]) {
        let columns = self.tensor.shape.columns();
        if columns <= PIECE {
            // A piece is whole rows.
            ROW.with_borrow_mut(|Row { buckets, .. }| {
                for (row, ranks) in differences.chunks(columns).zip(ranks.chunks_mut(columns)) {
                    rank(row, buckets, ranks);
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

impl Sparsify for Sampling<'_> {
    const RUN: usize = PIECE;

    fn differences(&self, parent: usize, first: usize, x: &[f32], base: &[f32], out: &mut [f32]) -> usize {
        self.sample(parent, first, [x, base], out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever lies in a row: different magnitudes, one alone above all others, hardly any, only one.
    #[test]
    fn limits_keep_what_ranks_keep() {
        let mixed = |i: usize| (i as u32).wrapping_mul(2_654_435_761);
        let kinds: [fn(u32) -> f32; 4] = [
            |word| (word >> 8) as f32 - 8e6,
            |word| if word < 1 << 24 { 1e9 } else { (word >> 8) as f32 },
            |word| [0.0, 1.0, -1.0, 2.0][word as usize % 4],
            |_| -3.0,
        ];
        for columns in [1, 2, 7, 300, 1024] {
            let line = Line::new(columns, 0.25, 0.2);
            let limits = line.limits(columns);
            for (kind, seed) in kinds.iter().zip(1..) {
                let elements = columns * (PIECE / columns).min(5);
                let row: Vec<f32> = (0..elements).map(|i| kind(mixed(i + seed) ^ mixed(i * 7))).collect();
                let words: Vec<u32> = (0..elements).map(|i| mixed(i * 31 + 5 * seed)).collect();
                let (mut found, mut expected) = (vec![f32::NAN; elements], vec![f32::NAN; elements]);
                let count = keep_by_limits(&limits, &words, &row, &mut found);
                let mut ranks = vec![0; elements];
                for (row, ranks) in row.chunks(columns).zip(ranks.chunks_mut(columns)) {
                    rank(row, &mut Room::default(), ranks);
                }
                assert_eq!(count, keep(line, &ranks, &words, &row, &mut expected));
                assert_eq!(found, expected, "{columns} columns, kind {seed}");
            }
        }
    }
}
