//! Positions as angles.
//!
//! Pair `i` of every query and key head is rotated by `position * f(i)`, where `f(i)` is
//! `theta^(-2i/head_dim)` or what the network's variant makes of it ([`crate::model::variant`]). Which
//! elements are a pair depends on the file: `2i` and `2i + 1`, or `i` and `i + head_dim/2`. Rows stay as
//! they lie there, and pairs are taken from where they are.
//!
//! Angles are computed in double precision and rounded once, in one table for all sessions of a model that
//! grows when a longer position is met: a header may promise a context of billions, but only positions that
//! were fed cost memory.

use std::f64::consts::PI;
use std::sync::Arc;

use super::config::Dimensions;
use crate::model::variant::RopeScale;

/// Cosine and sine of every position and pair: in layers that see everything, and in windowed ones, which have
/// frequencies of their own ([`crate::model::windows`]).
#[derive(Debug, Clone, Default)]
pub struct Rope {
    pairs: usize,
    halves: bool,
    turns: Vec<[f32; 2]>,
    windowed: Vec<[f32; 2]>,
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
        let extended = |turns: &[[f32; 2]], (frequencies, scale): (Vec<f64>, f64)| {
            let mut turns = turns.to_vec();
            for position in turns.len() / pairs..positions {
                turns.extend(frequencies.iter().map(|frequency| {
                    let angle = position as f64 * frequency;
                    [(libm::cos(angle) * scale) as f32, (libm::sin(angle) * scale) as f32]
                }));
            }
            turns
        };
        let own = dimensions.variant.windows.as_ref();
        let own = own.map(|windows| (plain(windows.rope_theta, dimensions.head).collect(), 1.0));
        Arc::new(Self {
            pairs,
            halves: dimensions.halves,
            turns: extended(&self.turns, frequencies(dimensions)),
            windowed: own.map(|own| extended(&self.windowed, own)).unwrap_or_default(),
        })
    }

    /// Rotates every head in `heads`, the queries or keys at `position` of a layer that is windowed or sees everything.
    pub fn turn(&self, position: usize, windowed: bool, heads: &mut [f32]) {
        let turns = if windowed { &self.windowed } else { &self.turns };
        let turns = &turns[position * self.pairs..(position + 1) * self.pairs];
        for head in heads.chunks_exact_mut(2 * self.pairs) {
            if self.halves {
                let (evens, odds) = head.split_at_mut(self.pairs);
                for ((even, odd), turn) in evens.iter_mut().zip(odds).zip(turns) {
                    rotate(even, odd, turn);
                }
            } else {
                for ([even, odd], turn) in head.as_chunks_mut::<2>().0.iter_mut().zip(turns) {
                    rotate(even, odd, turn);
                }
            }
        }
    }
}

#[inline(always)]
fn rotate(even: &mut f32, odd: &mut f32, [cos, sin]: &[f32; 2]) {
    (*even, *odd) = (*even * cos - *odd * sin, *even * sin + *odd * cos);
}

/// The frequency of every pair as it is before any scaling.
fn plain(theta: f32, head: usize) -> impl Iterator<Item = f64> {
    // Likeliest reading of SLM1's prose; one genuine model would settle it.
    (0..head / 2).map(move |pair| libm::pow(f64::from(theta), -2.0 * pair as f64 / head as f64))
}

/// The frequency of every pair, and what cosines and sines are multiplied by.
fn frequencies(dimensions: &Dimensions) -> (Vec<f64>, f64) {
    let theta = f64::from(dimensions.theta);
    let plain = plain(dimensions.theta, dimensions.head);
    match dimensions.variant.rope {
        RopeScale::Plain => (plain.collect(), 1.0),
        RopeScale::Linear { factor } => (plain.map(|frequency| frequency / factor).collect(), 1.0),
        RopeScale::Llama3 { factor, low, high, original } => {
            let scaled = plain.map(|frequency| {
                let turns = original * frequency / (2.0 * PI);
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - kept) * frequency / factor + kept * frequency
            });
            (scaled.collect(), 1.0)
        }
        RopeScale::Yarn { factor, fast, slow, original, attention, truncate } => {
            // The pair that makes so many turns in the context of the training.
            let width = dimensions.head as f64;
            let pair =
                |turns: f64| width * libm::log(original / (turns * 2.0 * PI)) / (2.0 * libm::log(theta));
            let (first, last) = (pair(fast), pair(slow));
            let (first, last) = if truncate { (libm::floor(first), libm::ceil(last)) } else { (first, last) };
            let (first, last) = (first.max(0.0), last.min(width - 1.0));
            let length = if first == last { 0.001 } else { last - first };
            let scaled = plain.enumerate().map(|(place, frequency)| {
                let divided = ((place as f64 - first) / length).clamp(0.0, 1.0);
                frequency / factor * divided + frequency * (1.0 - divided)
            });
            (scaled.collect(), attention)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::variant::Variant;
    use crate::model::windows::Windows;
    use crate::runtime::fixture;

    fn dimensions() -> Dimensions {
        Dimensions::new(&fixture::config(), false).unwrap()
    }

    #[test]
    fn position_zero_turns_nothing_and_the_first_pair_turns_one_radian_a_step() {
        let plain = dimensions();
        for halves in [false, true] {
            let dimensions = Dimensions { halves, ..plain.clone() };
            let rope = Arc::new(Rope::default()).grown(3, &dimensions);
            let mut heads: Vec<f32> = (0..dimensions.query).map(|i| i as f32).collect();
            let before = heads.clone();
            rope.turn(0, false, &mut heads);
            assert_eq!(heads, before);
            let mut head = vec![0.0; dimensions.head];
            head[0] = 1.0;
            rope.turn(2, false, &mut head);
            let odd = if halves { dimensions.head / 2 } else { 1 };
            assert!((f64::from(head[0]) - (-0.416_146_836_547_142_4)).abs() < 1e-7, "cos 2");
            assert!((f64::from(head[odd]) - 0.909_297_426_825_681_7).abs() < 1e-7, "sin 2");
        }
    }

    #[test]
    fn a_grown_table_has_the_bits_of_a_long_one() {
        let windows = Windows { size: 3, rope_theta: 100.0, full: vec![1] };
        let variant = Variant { windows: Some(windows), ..Variant::PLAIN };
        let dimensions = Dimensions { variant, ..dimensions() };
        let long = Arc::new(Rope::default()).grown(32, &dimensions);
        let mut short = Arc::new(Rope::default());
        for positions in [1, 2, 3, 9, 32] {
            short = short.grown(positions, &dimensions);
        }
        assert_eq!(short.turns, long.turns);
        assert_eq!(short.windowed, long.windowed);
        assert_ne!(long.windowed, long.turns);
    }

    /// The ends of each ramp; what lies between is compared with another program's logits.
    #[test]
    fn scaled_frequencies_are_kept_or_divided_at_the_ends() {
        let scaled = |rope| {
            let variant = Variant { rope, ..Variant::PLAIN };
            frequencies(&Dimensions { head: 32, variant, ..dimensions() })
        };
        let (plain, _) = scaled(RopeScale::Plain);
        let ends = |scaled: &[f64]| (scaled[0] / plain[0], scaled[15] / plain[15]);
        let (llama3, one) = scaled(RopeScale::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 64.0 });
        assert_eq!((ends(&llama3), one), ((1.0, 0.125), 1.0));
        let yarn = RopeScale::Yarn {
            factor: 4.0,
            fast: 8.0,
            slow: 1.0,
            original: 64.0,
            attention: 1.5,
            truncate: true,
        };
        let (yarn, attention) = scaled(yarn);
        assert_eq!((ends(&yarn), attention), ((1.0, 0.25), 1.5));
    }
}
