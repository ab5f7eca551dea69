//! Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//!
//! A counter-based generator: the draw for element `i` is a function of the key and `i` alone.
//! Threads, blocks and the order of work can therefore never change a result.

use crate::base::digest::Digest;
use crate::base::wide::wide;

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;
const LOW: u64 = 0xFFFF_FFFF;
/// Blocks made at once by [`Philox::fill`]: as many as keep the machine's vector units busy.
const LANES: usize = 16;

/// A stream of random blocks addressed by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Philox {
    key: [u32; 2],
    stream: [u32; 2],
}

impl Philox {
    /// The stream for one purpose: the labels (seed, operator, candidate, tensor, ...) are hashed
    /// with their lengths, so no two lists of labels share a stream by concatenation.
    pub fn for_purpose(labels: &[&str]) -> Self {
        let mut bytes = Vec::new();
        for label in labels {
            bytes.extend_from_slice(&(label.len() as u64).to_le_bytes());
            bytes.extend_from_slice(label.as_bytes());
        }
        let digest = Digest::of(&bytes);
        let words = digest.as_bytes().as_chunks::<4>().0;
        let word = |i: usize| u32::from_le_bytes(words[i]);
        Self { key: [word(0), word(1)], stream: [word(2), word(3)] }
    }

    /// Four random words for `index`.
    pub fn block(&self, index: u64) -> [u32; 4] {
        rounds(self.counter(index), &round_keys(self.key)).map(|word| word as u32)
    }

    /// One word for each of the indices `first..first + words.len()`: word `i % 4` of block `i / 4`,
    /// so that four elements share the work of one block.
    pub fn fill(&self, first: u64, words: &mut [u32]) {
        let ahead = (4 - first as usize % 4) % 4;
        let (head, words) = words.split_at_mut(ahead.min(words.len()));
        if !head.is_empty() {
            let from = first as usize % 4;
            head.copy_from_slice(&self.block(first / 4)[from..from + head.len()]);
        }
        let block = first.div_ceil(4);
        let (groups, tail) = words.as_chunks_mut::<{ 4 * LANES }>();
        fill_groups(self, block, groups);
        let block = block.wrapping_add((groups.len() * LANES) as u64);
        for (i, four) in tail.chunks_mut(4).enumerate() {
            four.copy_from_slice(&self.block(block + i as u64)[..four.len()]);
        }
    }

    /// The words of [`LANES`] blocks.
    #[inline(always)]
    fn lanes(&self, block: u64, keys: &[[u64; 2]; ROUNDS], out: &mut [u32; 4 * LANES]) {
        // By lanes first, because that is how vector units make them; and words in pairs, because two halves
        // of every block are woven into each other with less ado than four quarters.
        let (mut left, mut right) = ([0; LANES], [0; LANES]);
        for (lane, (left, right)) in left.iter_mut().zip(&mut right).enumerate() {
            let [a, b, c, d] = rounds(self.counter(block.wrapping_add(lane as u64)), keys);
            (*left, *right) = (pair(a, b), pair(c, d));
        }
        let blocks: [[u64; 2]; LANES] = std::array::from_fn(|lane| [left[lane], right[lane]]);
        *out = bytemuck::cast(blocks);
    }

    #[inline(always)]
    fn counter(&self, index: u64) -> [u64; 4] {
        [index & LOW, index >> 32, u64::from(self.stream[0]), u64::from(self.stream[1])]
    }

    /// A number in `[0, 1)` with 53 random bits for `index`.
    pub fn unit(&self, index: u64) -> f64 {
        let [low, high, ..] = self.block(index);
        let bits = u64::from(high) << 32 | u64::from(low);
        (bits >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }
}

wide! {
    integers:
    /// The words of the blocks from `block`.
    fn fill_groups<'a>(stream: &'a Philox, block: u64, groups: &'a mut [[u32; 4 * LANES]]) {
        let keys = round_keys(stream.key);
        for (i, group) in groups.iter_mut().enumerate() {
            stream.lanes(block.wrapping_add((i * LANES) as u64), &keys, group);
        }
    }
}

/// The key of every round.
fn round_keys(key: [u32; 2]) -> [[u64; 2]; ROUNDS] {
    let word = |round: usize, i: usize| key[i].wrapping_add((round as u32).wrapping_mul(WEYL[i]));
    std::array::from_fn(|round| [u64::from(word(round, 0)), u64::from(word(round, 1))])
}

/// The rounds over one counter.
///
/// Every word lies in the low half of a u64, the shape in which vector units multiply; what gathers
/// in the high halves is never looked at.
#[inline(always)]
fn rounds(counter: [u64; 4], keys: &[[u64; 2]; ROUNDS]) -> [u64; 4] {
    let [mut a, mut b, mut c, mut d] = counter;
    for [left, right] in keys {
        let first = u64::from(MULTIPLIERS[0]) * (a & LOW);
        let second = u64::from(MULTIPLIERS[1]) * (c & LOW);
        (a, b) = (second >> 32 ^ b ^ left, second);
        (c, d) = (first >> 32 ^ d ^ right, first);
    }
    [a, b, c, d]
}

/// Two words as they lie in memory one after the other.
#[inline(always)]
const fn pair(first: u64, second: u64) -> u64 {
    if cfg!(target_endian = "little") { first & LOW | second << 32 } else { first << 32 | second & LOW }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::wide::with_lanes;

    /// The three known answers of Random123's `kat_vectors`.
    #[test]
    fn known_answers() {
        let rounds =
            |counter: [u32; 4], key| rounds(counter.map(u64::from), &round_keys(key)).map(|word| word as u32);
        assert_eq!(rounds([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            rounds([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            rounds([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn filling_gives_the_words_of_the_blocks() {
        let stream = Philox::for_purpose(&["test"]);
        // Around the place where an index outgrows 32 bits, too.
        for first in [0, 1, 2, 3, 4, 17, (4 << 32) - 30, u64::MAX - 200] {
            for len in [0, 1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 150] {
                let index = |i: usize| first + i as u64;
                let expected: Vec<u32> =
                    (0..len).map(|i| stream.block(index(i) / 4)[(index(i) % 4) as usize]).collect();
                for lanes in [4, 8, 16] {
                    let mut words = vec![0; len];
                    with_lanes(lanes, || stream.fill(first, &mut words));
                    assert_eq!(words, expected, "{len} words from {first}, {lanes} lanes");
                }
            }
        }
    }

    #[test]
    fn labels_do_not_run_together() {
        assert_ne!(Philox::for_purpose(&["ab", "c"]), Philox::for_purpose(&["a", "bc"]));
    }

    #[test]
    fn unit_is_in_range_and_spread() {
        let stream = Philox::for_purpose(&["test"]);
        let mean = (0..10_000).map(|i| stream.unit(i)).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.01, "mean {mean}");
        assert!((0..10_000).all(|i| (0.0..1.0).contains(&stream.unit(i))));
    }
}
