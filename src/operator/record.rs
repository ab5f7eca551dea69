//! What a first look at a tensor decided, kept for the second.
//!
//! A factor that gives a sparse difference its norm back is known only when all of the tensor was sparsified
//! once. Where ranking rows or tossing coins again would cost more than reading it, the first look leaves a bit
//! for every element, piece by piece:
//!
//! ```text
//! piece        16 blocks             where a piece begins follows from the shape alone
//! block        256 elements: eight words of 32 bits
//! element i    of a block: bit i / 8 of word i % 8, so that eight lanes need nothing of each other
//! ```
//!
//! An element whose difference is zero has no bit: kept or not, it adds nothing.

use super::combine::Sparsify;
use super::pieces::piece_of;
use super::source::PIECE;
use crate::base::wide::wide;

/// Most bytes of bits of one tensor; larger ones are sparsified twice.
pub(super) const MOST: usize = 32 << 20;

/// Words of a block.
const LANES: usize = 8;
/// Elements of a block.
const BLOCK: usize = LANES * u32::BITS as usize;

/// The bits of one piece.
pub(super) type Bits = [[u32; LANES]; PIECE / BLOCK];

/// The bits of a tensor.
pub(super) struct Record {
    columns: usize,
    /// Of each parent, piece by piece.
    bits: Vec<Vec<Bits>>,
}

impl Record {
    /// Of a tensor with rows of so many elements: of each parent, the bits of all pieces in order.
    pub(super) fn new(columns: usize, bits: Vec<Vec<Bits>>) -> Self {
        Self { columns, bits }
    }

    /// Bytes that the bits of so many pieces and parents take.
    pub(super) const fn bytes(pieces: usize, parents: usize) -> usize {
        pieces.saturating_mul(size_of::<Bits>()).saturating_mul(parents)
    }
}

impl Sparsify for Record {
    fn differences(&self, parent: usize, first: usize, x: &[f32], base: &[f32], out: &mut [f32]) -> usize {
        let (piece, start) = piece_of(self.columns, first);
        // Runs are whole blocks but for the last one of a piece.
        spread(&self.bits[parent][piece][(first - start) / BLOCK..], x, base, out);
        0
    }
}

wide! {
    /// A bit for each number, one where it is not zero. The first is element `first` of the piece, where a
    /// block begins.
    pub(super) fn mark<'a>(values: &'a [f32], first: usize, bits: &'a mut Bits) {
        let (whole, rest) = values.as_chunks::<BLOCK>();
        let blocks = &mut bits[first / BLOCK..];
        for (words, values) in blocks.iter_mut().zip(whole) {
            *words = marked(values);
        }
        if !rest.is_empty() {
            let mut last = [0.0; BLOCK];
            last[..rest.len()].copy_from_slice(rest);
            blocks[whole.len()] = marked(&last);
        }
    }

    /// Writes differences, zero in the place of those without a bit.
    ///
    /// First the masks of all, then the differences under them: of both at once compilers make a branch for
    /// every bit.
    fn spread<'a>(blocks: &'a [[u32; LANES]], x: &'a [f32], base: &'a [f32], out: &'a mut [f32]) {
        for (words, out) in blocks.iter().zip(out.chunks_mut(BLOCK)) {
            let mut words = *words;
            let (groups, rest) = out.as_chunks_mut::<LANES>();
            for group in groups {
                for (mask, word) in group.iter_mut().zip(&mut words) {
                    *mask = mask_of(*word);
                    *word >>= 1;
                }
            }
            rest.iter_mut().zip(words).for_each(|(mask, word)| *mask = mask_of(word));
        }
        for (out, (x, base)) in out.iter_mut().zip(x.iter().zip(base)) {
            *out = f32::from_bits((x - base).to_bits() & out.to_bits());
        }
    }
}

// Words move by one bit from step to step, so that each step waits for the one before: compilers then take the
// lanes of a step together. Steps that do not wait they take together instead, and gather every lane.

#[inline(always)]
fn marked(values: &[f32; BLOCK]) -> [u32; LANES] {
    let mut words = [0; LANES];
    for values in values.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            words[lane] = words[lane] >> 1 | u32::from(values[lane] != 0.0) << (u32::BITS - 1);
        }
    }
    words
}

/// All ones if the word's last bit is one, or all zeros.
#[inline(always)]
fn mask_of(word: u32) -> f32 {
    f32::from_bits((word & 1).wrapping_neg())
}

#[cfg(test)]
mod tests {
    use super::super::pieces::pieces;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_marked_comes_back(
            (rows, columns) in prop_oneof![(1_usize..40, 1_usize..200), (1_usize..3, 4000_usize..9000)],
            seed in any::<u32>(),
            run in prop::sample::select(vec![BLOCK, 512, PIECE]),
        ) {
            let elements = rows * columns;
            let drawn = |i: usize| (i as u32 ^ seed).wrapping_mul(2_654_435_761) >> 16;
            let x: Vec<f32> = (0..elements).map(|i| drawn(i) as f32).collect();
            let base: Vec<f32> = (0..elements).map(|i| (drawn(i) % 7) as f32).collect();
            let sparse: Vec<f32> =
                (0..elements).map(|i| if drawn(i) % 3 == 0 { x[i] - base[i] } else { 0.0 }).collect();
            let bits = pieces(columns, 0..elements).map(|piece| {
                let mut bits = [[0; LANES]; _];
                for (values, first) in sparse[piece].chunks(run).zip((0..).step_by(run)) {
                    mark(values, first, &mut bits);
                }
                bits
            });
            let record = Record::new(columns, vec![bits.collect()]);
            let mut found = vec![f32::NAN; elements];
            for piece in pieces(columns, 0..elements) {
                for first in piece.clone().step_by(run) {
                    let run = first..piece.end.min(first + run);
                    record.differences(0, first, &x[run.clone()], &base[run.clone()], &mut found[run]);
                }
            }
            prop_assert_eq!(found, sparse);
        }
    }
}
