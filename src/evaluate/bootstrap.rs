//! The paired bootstrap: how a difference of means would have come out with other cases of the kind.
//!
//! Cases are drawn with replacement, as many as there are, both models' scores of a case together, and
//! within each suite for itself; then the statistic is taken again (Efron and Tibshirani, "An Introduction
//! to the Bootstrap", 1993, chapters 8 and 16). The share of draws on the wrong side of a demand, counting
//! one more than was seen, is the p value of its opposite. Draws come from Philox by their number, so
//! the same outcomes give the same p value anywhere.

use super::EvaluateError;
use super::evaluator::{Score, Values};
use crate::base::rng::Philox;
use crate::tensor::blocks;

/// Draws.
pub const RESAMPLES: usize = 10_000;
/// The smallest p value that so many draws can give, however many cases there are.
pub const LEAST_P: f64 = 1.0 / (RESAMPLES as f64 + 1.0);
/// Fewer cases than this have too few different draws to be believed.
pub const FEWEST: usize = 10;

/// One suite: the scores of a model, and of the one it is compared with, case by case.
#[derive(Debug, Clone)]
pub struct Stratum {
    /// Of the model.
    pub ours: Vec<Score>,
    /// Of the other; empty if the model is held against a number.
    pub theirs: Vec<Score>,
    /// How the metric reads the ratio.
    pub values: Values,
}

impl Stratum {
    /// The metric of the cases at these places, less the other model's.
    fn statistic(&self, places: impl Iterator<Item = usize>) -> f64 {
        let mut sums = [0.0; 4];
        for at in places {
            sums[0] += self.ours[at].value;
            sums[1] += self.ours[at].weight;
            if let Some(theirs) = self.theirs.get(at) {
                sums[2] += theirs.value;
                sums[3] += theirs.weight;
            }
        }
        let ours = self.values.read(sums[0] / sums[1]);
        if self.theirs.is_empty() { ours } else { ours - self.values.read(sums[2] / sums[3]) }
    }
}

/// The statistic as measured: the mean over the suites.
pub fn observed(strata: &[Stratum]) -> f64 {
    mean(strata.iter().map(|stratum| stratum.statistic(0..stratum.ours.len())))
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len() as f64;
    values.sum::<f64>() / n
}

/// The statistic of every draw, in the order of the draws. `purpose` names the random stream.
///
/// # Errors
///
/// [`EvaluateError::NoOutcomes`] of a stratum without cases; [`EvaluateError::Pairing`] of one with other
/// numbers of scores on its two sides.
pub fn resample(strata: &[Stratum], purpose: &[&str]) -> Result<Vec<f64>, EvaluateError> {
    for stratum in strata {
        let n = stratum.ours.len();
        if !stratum.theirs.is_empty() && stratum.theirs.len() != n {
            return Err(EvaluateError::Pairing(format!("{n} scores against {}", stratum.theirs.len())));
        }
        if n == 0 {
            return Err(EvaluateError::NoOutcomes);
        }
    }
    let random = Philox::for_purpose(purpose);
    let cases: usize = strata.iter().map(|stratum| stratum.ours.len()).sum();
    let draws: Vec<usize> = (0..RESAMPLES).collect();
    let pieces: Vec<&[usize]> = draws.chunks(250).collect();
    let found = blocks::map(&pieces, |_, draws| {
        let mut words = vec![0; cases];
        let one = |draw: &usize| {
            random.fill((*draw * cases) as u64, &mut words);
            let mut rest = words.as_slice();
            mean(strata.iter().map(|stratum| {
                let n = stratum.ours.len();
                let (own, others) = rest.split_at(n);
                rest = others;
                // The high half of word times n: each place but for 2^-32 n as likely as any other.
                stratum.statistic(own.iter().map(|word| ((u64::from(*word) * n as u64) >> 32) as usize))
            }))
        };
        draws.iter().map(one).collect::<Vec<f64>>()
    });
    Ok(found.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn scores(values: &Value, weights: &Value) -> Vec<Score> {
        let of = |list: &Value| -> Vec<f64> { serde_json::from_value(list.clone()).unwrap() };
        of(values).into_iter().zip(of(weights)).map(|(value, weight)| Score { value, weight }).collect()
    }

    /// The shares and percentiles of SciPy's own bootstrap, which draws from another generator: they agree
    /// within what 10,000 draws can tell.
    #[test]
    fn draws_agree_with_scipy() {
        let fixture: Value = serde_json::from_str(include_str!("../../tests/fixtures/gates.json")).unwrap();
        let cases = fixture["bootstrap"].as_array().unwrap();
        assert!(cases.len() >= 3);
        for case in cases {
            let stratum = Stratum {
                ours: scores(&case["ours"], &case["our_weights"]),
                theirs: scores(&case["theirs"], &case["their_weights"]),
                values: Values::Ratio,
            };
            let strata = [stratum];
            assert!((observed(&strata) - case["observed"].as_f64().unwrap()).abs() < 1e-12);
            let mut drawn = resample(&strata, &["test"]).unwrap();
            assert_eq!(drawn, resample(&strata, &["test"]).unwrap());
            assert_ne!(drawn, resample(&strata, &["other"]).unwrap());
            drawn.sort_by(f64::total_cmp);
            let spread = drawn[9749] - drawn[250];
            for (name, place) in [("low", 250), ("high", 9749)] {
                let expected = case[name].as_f64().unwrap();
                assert!(
                    (drawn[place] - expected).abs() < 0.04 * spread,
                    "{name} {} {expected}",
                    drawn[place]
                );
            }
            let below = drawn.iter().filter(|value| **value <= 0.0).count() as f64 / RESAMPLES as f64;
            let expected = case["share_below_zero"].as_f64().unwrap();
            assert!((below - expected).abs() < 0.02, "{below} {expected}");
        }
    }

    #[test]
    fn suites_are_drawn_for_themselves_and_count_alike() {
        let flat = |value: f64, n: usize| Stratum {
            ours: vec![Score { value, weight: 1.0 }; n],
            theirs: Vec::new(),
            values: Values::Ratio,
        };
        let drawn = resample(&[flat(1.0, 10), flat(3.0, 1000)], &["t"]).unwrap();
        assert!(drawn.iter().all(|value| *value == 2.0), "the mean of the suites, not of the cases");
        assert!(resample(&[flat(1.0, 0)], &["t"]).is_err());
    }
}
