//! Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//!
//! A counter-based generator: the draw for element `i` is a function of the key and `i` alone.
//! Threads, blocks and the order of work can therefore never change a result.

use crate::base::digest::Digest;

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

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
        let counter = [index as u32, (index >> 32) as u32, self.stream[0], self.stream[1]];
        rounds(counter, self.key)
    }

    /// A number in `[0, 1)` with 53 random bits for `index`.
    pub fn unit(&self, index: u64) -> f64 {
        let [low, high, ..] = self.block(index);
        let bits = u64::from(high) << 32 | u64::from(low);
        (bits >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }
}

fn rounds(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let wide = [
            u64::from(MULTIPLIERS[0]) * u64::from(counter[0]),
            u64::from(MULTIPLIERS[1]) * u64::from(counter[2]),
        ];
        counter = [
            (wide[1] >> 32) as u32 ^ counter[1] ^ key[0],
            wide[1] as u32,
            (wide[0] >> 32) as u32 ^ counter[3] ^ key[1],
            wide[0] as u32,
        ];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The three known answers of Random123's `kat_vectors`.
    #[test]
    fn known_answers() {
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
