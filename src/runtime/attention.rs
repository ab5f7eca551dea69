//! Positions, memory and attention.
//!
//! Positions are turned into angles: the pair `(2i, 2i+1)` of every query and key head is rotated by
//! `position * theta^(-2i/head_dim)`. Angles are computed in double precision and rounded once, in
//! one table for all sessions of a model that grows when a longer position is met: a header may
//! promise a context of billions, but only positions that were fed cost memory. The same holds
//! for keys and values.

use std::sync::Arc;

use super::config::Dimensions;
use crate::tensor::kernel::dot;

/// Cosine and sine of every position and pair.
#[derive(Debug, Clone, Default)]
pub struct Rope {
    pairs: usize,
    turns: Vec<[f32; 2]>,
}

impl Rope {
    /// The table for at least `positions`, reusing `self` if it is long enough.
    pub fn grown(self: &Arc<Self>, positions: usize, dimensions: &Dimensions) -> Arc<Self> {
        let pairs = dimensions.head / 2;
        if self.pairs == pairs && self.turns.len() >= positions * pairs {
            return Arc::clone(self);
        }
        // Doubling: a session that grows token by token must not rebuild the table each time.
        let positions = positions.next_power_of_two().min(dimensions.context);
        let frequencies: Vec<f64> = (0..pairs).map(|pair| frequency(pair, dimensions)).collect();
        let mut turns = self.turns.clone();
        for position in turns.len() / pairs..positions {
            turns.extend(frequencies.iter().map(|frequency| {
                let angle = position as f64 * frequency;
                [libm::cos(angle) as f32, libm::sin(angle) as f32]
            }));
        }
        Arc::new(Self { pairs, turns })
    }

    /// Rotates every head in `heads`, the queries or keys at `position`.
    pub fn turn(&self, position: usize, heads: &mut [f32]) {
        let turns = &self.turns[position * self.pairs..(position + 1) * self.pairs];
        for head in heads.chunks_exact_mut(2 * self.pairs) {
            for ([even, odd], [cos, sin]) in head.as_chunks_mut::<2>().0.iter_mut().zip(turns) {
                (*even, *odd) = (*even * cos - *odd * sin, *even * sin + *odd * cos);
            }
        }
    }
}

/// Likeliest reading of the format's prose; one genuine model would settle it.
fn frequency(pair: usize, dimensions: &Dimensions) -> f64 {
    libm::pow(f64::from(dimensions.theta), -2.0 * pair as f64 / dimensions.head as f64)
}

/// Keys and values of one block for the positions so far.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Memory {
    /// Remembers the next position.
    pub fn push(&mut self, keys: &[f32], values: &[f32]) {
        self.keys.extend_from_slice(keys);
        self.values.extend_from_slice(values);
    }

    /// Forgets everything after the first `numbers` numbers.
    pub fn truncate(&mut self, numbers: usize) {
        self.keys.truncate(numbers);
        self.values.truncate(numbers);
    }

    /// Attention of all heads of one query at `position` over itself and everything before it.
    pub fn attend(&self, position: usize, query: &[f32], out: &mut [f32], dimensions: &Dimensions) {
        let &Dimensions { head, kv, .. } = dimensions;
        let share = dimensions.heads / dimensions.kv_heads;
        let scale = 1.0 / libm::sqrtf(head as f32);
        let mut scores = vec![0.0; position + 1];
        let heads = query.chunks_exact(head).zip(out.chunks_exact_mut(head));
        for (index, (query, out)) in heads.enumerate() {
            let start = index / share * head;
            for (score, keys) in scores.iter_mut().zip(self.keys.chunks_exact(kv)) {
                *score = dot(query, &keys[start..start + head]) * scale;
            }
            softmax(&mut scores);
            out.fill(0.0);
            for (score, values) in scores.iter().zip(self.values.chunks_exact(kv)) {
                for (sum, value) in out.iter_mut().zip(&values[start..start + head]) {
                    *sum += score * value;
                }
            }
        }
    }
}

/// Softmax, stabilised by the largest score; added up in order.
pub fn softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = libm::expf(*score - largest);
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fixture;

    #[test]
    fn position_zero_turns_nothing_and_the_first_pair_turns_one_radian_a_step() {
        let dimensions = Dimensions::new(&fixture::config()).unwrap();
        let rope = Arc::new(Rope::default()).grown(3, &dimensions);
        let mut heads: Vec<f32> = (0..dimensions.query).map(|i| i as f32).collect();
        let before = heads.clone();
        rope.turn(0, &mut heads);
        assert_eq!(heads, before);
        let mut pair = vec![0.0; dimensions.head];
        pair[0] = 1.0;
        rope.turn(2, &mut pair);
        assert!((f64::from(pair[0]) - (-0.416_146_836_547_142_4)).abs() < 1e-7, "cos 2");
        assert!((f64::from(pair[1]) - 0.909_297_426_825_681_7).abs() < 1e-7, "sin 2");
    }

    #[test]
    fn a_grown_table_has_the_bits_of_a_long_one() {
        let dimensions = Dimensions::new(&fixture::config()).unwrap();
        let long = Arc::new(Rope::default()).grown(32, &dimensions);
        let mut short = Arc::new(Rope::default());
        for positions in [1, 2, 3, 9, 32] {
            short = short.grown(positions, &dimensions);
        }
        assert_eq!(short.turns, long.turns);
    }

    #[test]
    fn softmax_survives_large_scores() {
        let mut scores = [1000.0, 1000.0, -1000.0];
        softmax(&mut scores);
        assert_eq!(scores, [0.5, 0.5, 0.0]);
    }
}
