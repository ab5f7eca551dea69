//! From random words to what operators draw: normal numbers, places, weights.
//!
//! Every draw has an address in a [`Philox`] stream, so nothing depends on what was drawn before.
//! Logarithms and angles are f64 from the `libm` crate: the platform's own differ in the last bit.

use std::collections::BTreeSet;
use std::f64::consts::TAU;

use crate::base::rng::Philox;

/// One more than the largest word.
pub(super) const TWO_POW_32: f64 = 4_294_967_296.0;

/// Two independent normal numbers of mean 0 and deviation 1 from two words (Box and Muller, "A note
/// on the generation of random normal deviates", 1958). The largest possible is about 6.7.
pub(super) fn normal_pair(radius: u32, angle: u32) -> [f64; 2] {
    // From 2^-32 to 1: never the logarithm of zero.
    let share = (f64::from(radius) + 1.0) / TWO_POW_32;
    let radius = (-2.0 * libm::log(share)).sqrt();
    let (sine, cosine) = libm::sincos(f64::from(angle) / TWO_POW_32 * TAU);
    [radius * cosine, radius * sine]
}

/// A number in `(0, 1]` with 53 bits of two words.
fn positive_unit(low: u32, high: u32) -> f64 {
    let bits = u64::from(high) << 32 | u64::from(low);
    ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

/// The draw at `index`, below `bound`.
fn below(stream: &Philox, index: u64, bound: u64) -> u64 {
    let [low, high, ..] = stream.block(index);
    let word = u64::from(high) << 32 | u64::from(low);
    ((u128::from(word) * u128::from(bound)) >> 64) as u64
}

/// `count` different numbers below `bound`, every set alike, in rising order; all of them if there
/// are no more. (Floyd's sampling, in Bentley, "Programming Pearls", 1987: one draw a number.)
pub(super) fn distinct(stream: &Philox, count: u64, bound: u64) -> Vec<u64> {
    let mut chosen = BTreeSet::new();
    for (index, last) in (bound.saturating_sub(count)..bound).enumerate() {
        let drawn = below(stream, index as u64, last + 1);
        if !chosen.insert(drawn) {
            chosen.insert(last);
        }
    }
    chosen.into_iter().collect()
}

/// `count` weights that sum to one, from the symmetric Dirichlet distribution: with `alpha` 1 every
/// set of weights is alike, above it they gather around equal ones, below around a single parent.
///
/// They are Gamma draws over their sum. Logarithms are compared instead, since a small `alpha`
/// makes draws that f64 cannot tell from zero.
pub(super) fn dirichlet(stream: &Philox, alpha: f64, count: usize) -> Vec<f64> {
    let logs: Vec<f64> = (0..count as u64).map(|address| log_gamma_draw(stream, alpha, address)).collect();
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shares: Vec<f64> = logs.iter().map(|log| libm::exp(log - largest)).collect();
    let total: f64 = shares.iter().sum();
    shares.iter().map(|share| share / total).collect()
}

/// The logarithm of a Gamma draw of shape `alpha` (Marsaglia and Tsang, "A simple method for
/// generating gamma variables", 2000). Attempts of one address have their own indices.
fn log_gamma_draw(stream: &Philox, alpha: f64, address: u64) -> f64 {
    // Below shape 1 the method draws one shape higher and corrects by a power of a uniform draw.
    let (shape, correction) = if alpha < 1.0 {
        let [.., low, high] = stream.block(address << 32 | u64::from(u32::MAX));
        (alpha + 1.0, libm::log(positive_unit(low, high)) / alpha)
    } else {
        (alpha, 0.0)
    };
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    let mut attempt = 0;
    loop {
        let [radius, angle, low, high] = stream.block(address << 32 | attempt);
        let [normal, _] = normal_pair(radius, angle);
        let root = 1.0 + c * normal;
        if root > 0.0 {
            let cube = root * root * root;
            let log_cube = libm::log(cube);
            let limit = 0.5 * normal * normal + d - d * cube + d * log_cube;
            if libm::log(positive_unit(low, high)) < limit {
                return libm::log(d) + log_cube + correction;
            }
        }
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream(label: &str) -> Philox {
        Philox::for_purpose(&["draw", label])
    }

    #[test]
    fn normal_numbers_have_the_moments_of_a_normal_distribution() {
        let stream = stream("normal");
        let draws: Vec<f64> = (0..50_000)
            .flat_map(|i| {
                let [radius, angle, ..] = stream.block(i);
                normal_pair(radius, angle)
            })
            .collect();
        let moment = |k: i32| draws.iter().map(|x| x.powi(k)).sum::<f64>() / draws.len() as f64;
        // Four standard errors of each moment: sqrt(variance of x^k / n).
        for (k, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let error = (variance / draws.len() as f64).sqrt();
            assert!((moment(k) - expected).abs() < 4.0 * error, "moment {k} is {}", moment(k));
        }
        assert_eq!(normal_pair(u32::MAX, 77), [0.0, 0.0], "the smallest radius");
        assert!(normal_pair(0, 0)[0] < 6.7 && normal_pair(0, 0)[0] > 6.6, "the largest");
    }

    #[test]
    fn dirichlet_weights_have_the_right_mean_and_variance() {
        for alpha in [0.05, 0.5, 1.0, 4.0] {
            let draws: Vec<f64> =
                (0..20_000).map(|i| dirichlet(&stream(&i.to_string()), alpha, 3)[1]).collect();
            let n = draws.len() as f64;
            let mean = draws.iter().sum::<f64>() / n;
            let variance = draws.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / n;
            // A symmetric Dirichlet over 3: variance (1/3)(2/3)/(3 alpha + 1).
            let expected = 2.0 / 9.0 / (3.0 * alpha + 1.0);
            assert!((mean - 1.0 / 3.0).abs() < 0.01, "alpha {alpha}: mean {mean}");
            assert!((variance / expected - 1.0).abs() < 0.05, "alpha {alpha}: {variance}, not {expected}");
        }
    }

    #[test]
    fn every_place_is_drawn_as_often() {
        let mut counts = [0; 10];
        for i in 0..20_000 {
            distinct(&stream(&i.to_string()), 3, 10).iter().for_each(|place| counts[*place as usize] += 1);
        }
        // Each is in 3 of 10 sets: 6000 times, with a deviation of 65.
        assert!(counts.iter().all(|count| (5700..6300).contains(count)), "{counts:?}");
    }

    proptest! {
        #[test]
        fn weights_sum_to_one(
            seed in any::<u32>(),
            alpha in prop_oneof![1e-3_f64..1.0, 1.0_f64..1e6],
            count in 1_usize..30,
        ) {
            let weights = dirichlet(&stream(&seed.to_string()), alpha, count);
            prop_assert_eq!(weights.len(), count);
            prop_assert!(weights.iter().all(|weight| (0.0..=1.0).contains(weight)), "{:?}", weights);
            prop_assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-14);
        }

        #[test]
        fn distinct_numbers_are_distinct_and_below(seed in any::<u32>(), count in 0_u64..50, more in 0_u64..50) {
            let drawn = distinct(&stream(&seed.to_string()), count, count + more);
            prop_assert_eq!(drawn.len() as u64, count);
            prop_assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(drawn.iter().all(|number| *number < count + more));
        }
    }
}
