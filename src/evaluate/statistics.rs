//! How sure one can be that one model is better than another.
//!
//! Two models answer the same cases, so they are compared case by case: only cases that one gets
//! right and the other wrong say anything. `wins` and `losses` count those.
//!
//! * Is there a difference at all? McNemar's exact test: under no difference wins are a fair coin,
//!   so p = min(1, 2 P(X <= min(wins, losses))), X ~ Binomial(wins + losses, 1/2).
//! * How large is it? (wins - losses) / n, with the standard error
//!   sqrt(wins + losses - (wins - losses)^2 / n) / n (Wald). That error is 0 when nobody wins or
//!   loses, however few the cases; so margins are judged with Tango's score interval ("Equivalence
//!   test and confidence interval for the difference in proportions for the paired-sample design",
//!   1998), which stays wide for few cases.
//! * How sure is one share? Wilson's score interval (1927).
//! * Many comparisons at once: Holm's step-down adjustment (1979).
//!
//! Everything is basic arithmetic and square roots, plus `libm` for one quantile: the same bits on
//! every machine.

use serde::{Deserialize, Serialize};

use super::EvaluateError;

/// Two models on the same cases.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairedComparison {
    /// Cases.
    pub n: u64,
    /// Cases that only the candidate got right.
    pub wins: u64,
    /// Cases that only the other got right.
    pub losses: u64,
    /// (wins - losses) / n.
    pub difference: f64,
    /// Wald standard error of the difference.
    pub stderr: f64,
    /// McNemar's exact two-sided p value.
    pub p_value: f64,
}

impl PairedComparison {
    /// From the counts.
    ///
    /// # Errors
    ///
    /// [`EvaluateError::NoOutcomes`] if `n` is 0; [`EvaluateError::Pairing`] if more were won and lost than
    /// there are, or `n` is more than 2^40.
    pub fn from_counts(n: u64, wins: u64, losses: u64) -> Result<Self, EvaluateError> {
        check_counts(n, wins, losses)?;
        let cases = n as f64;
        let net = wins as f64 - losses as f64;
        let difference = net / cases;
        // Never below 0 but for rounding: net^2 <= (wins + losses)^2 <= (wins + losses) n.
        let spread = ((wins + losses) as f64 - net * net / cases).max(0.0);
        Ok(Self {
            n,
            wins,
            losses,
            difference,
            stderr: spread.sqrt() / cases,
            p_value: mcnemar_exact(wins, losses),
        })
    }

    /// Tango's score interval of the difference at a two-sided `confidence`.
    ///
    /// # Errors
    ///
    /// As [`tango`].
    pub fn interval(&self, confidence: f64) -> Result<(f64, f64), EvaluateError> {
        tango(self.n, self.wins, self.losses, confidence)
    }
}

/// Compares verdicts on the same cases in the same order.
///
/// # Errors
///
/// [`EvaluateError::Pairing`] unless both are as long, [`EvaluateError::NoOutcomes`] if they are empty.
pub fn compare_paired(candidate: &[bool], other: &[bool]) -> Result<PairedComparison, EvaluateError> {
    if candidate.len() != other.len() {
        return Err(EvaluateError::Pairing(format!("{} verdicts against {}", candidate.len(), other.len())));
    }
    let count = |wanted: (bool, bool)| {
        candidate.iter().zip(other).filter(|pair| (*pair.0, *pair.1) == wanted).count() as u64
    };
    PairedComparison::from_counts(candidate.len() as u64, count((true, false)), count((false, true)))
}

fn check_counts(n: u64, wins: u64, losses: u64) -> Result<(), EvaluateError> {
    if n == 0 {
        return Err(EvaluateError::NoOutcomes);
    }
    if n > 1 << 40 || wins.checked_add(losses).is_none_or(|discordant| discordant > n) {
        return Err(EvaluateError::Pairing(format!("{wins} wins and {losses} losses in {n} cases")));
    }
    Ok(())
}

/// McNemar's exact two-sided p value; 1 if nobody won or lost.
pub fn mcnemar_exact(wins: u64, losses: u64) -> f64 {
    let (least, trials) = (wins.min(losses), wins.saturating_add(losses));
    if wins == losses {
        return 1.0;
    }
    // The largest term, C(trials, least) / 2^trials, with its binary exponent kept apart: no
    // logarithm, so no rounding beyond that of the products.
    let mut term = Scaled { mantissa: 1.0, exponent: 0 };
    for i in 1..=least {
        term.multiply((trials - least + i) as f64 / i as f64);
    }
    // The terms below it, as shares of it.
    let (mut share, mut sum) = (1.0, 1.0);
    for i in (1..=least).rev() {
        share *= i as f64 / (trials - i + 1) as f64;
        sum += share;
        if share < 1e-20 {
            break;
        }
    }
    term.multiply(2.0 * sum);
    term.exponent -= i64::try_from(trials).unwrap_or(i64::MAX);
    term.value().min(1.0)
}

/// McNemar's exact one-sided p value of "wins are no likelier than losses": P(X >= wins).
pub fn mcnemar_one_sided(wins: u64, losses: u64) -> f64 {
    binomial_tails(wins, wins.saturating_add(losses), 0.5).1
}

/// P(X <= right) and P(X >= right) for X ~ Binomial(n, share).
pub fn binomial_tails(right: u64, n: u64, share: f64) -> (f64, f64) {
    if share <= 0.0 {
        return (1.0, f64::from(u8::from(right == 0)));
    }
    if share >= 1.0 {
        return (f64::from(u8::from(right >= n)), 1.0);
    }
    // The logarithm of the term at `right`, then both ways from it until nothing is added.
    let (k, whole) = (right as f64, n as f64);
    let middle = libm::exp(
        libm::lgamma(whole + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(whole - k + 1.0)
            + k * libm::log(share)
            + (whole - k) * libm::log1p(-share),
    );
    if middle < 1e-280 {
        // So far out that one tail is nothing but this term and the other everything.
        return if k > whole * share { (1.0, middle) } else { (middle, 1.0) };
    }
    let odds = share / (1.0 - share);
    let (mut below, mut term) = (middle, middle);
    for i in (1..=right).rev() {
        term *= i as f64 / ((n - i + 1) as f64 * odds);
        below += term;
        if term < below * 1e-17 && (i as f64) < whole * share {
            break;
        }
    }
    let (mut above, mut term) = (middle, middle);
    for i in right..n {
        term *= (n - i) as f64 * odds / (i + 1) as f64;
        above += term;
        if term < above * 1e-17 && (i as f64) > whole * share {
            break;
        }
    }
    (below.min(1.0), above.min(1.0))
}

/// P(Z >= z) of a standard normal Z.
pub fn normal_tail(z: f64) -> f64 {
    libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2) / 2.0
}

/// mantissa * 2^exponent, far beyond the range of an f64.
struct Scaled {
    mantissa: f64,
    exponent: i64,
}

impl Scaled {
    fn multiply(&mut self, factor: f64) {
        let (mantissa, exponent) = libm::frexp(self.mantissa * factor);
        self.mantissa = mantissa;
        self.exponent += i64::from(exponent);
    }

    fn value(&self) -> f64 {
        libm::ldexp(self.mantissa, self.exponent.clamp(-4000, 4000) as i32)
    }
}

fn check_confidence(confidence: f64) -> Result<f64, EvaluateError> {
    if confidence > 0.0 && confidence < 1.0 {
        // The quantile that leaves half of the rest on each side.
        return Ok(normal_quantile(0.5 + confidence / 2.0));
    }
    let found = confidence.to_string();
    Err(EvaluateError::Domain { what: "the confidence", found, expected: "between 0 and 1, both excluded" })
}

/// Wilson's score interval of the share `right / n` at a two-sided `confidence`.
///
/// # Errors
///
/// [`EvaluateError::NoOutcomes`] if `n` is 0; [`EvaluateError::Pairing`] if `right` is more than that, or `n`
/// more than 2^40; [`EvaluateError::Domain`] of a `confidence` that is not between 0 and 1, both excluded.
pub fn wilson(right: u64, n: u64, confidence: f64) -> Result<(f64, f64), EvaluateError> {
    check_counts(n, right, 0)?;
    let z = check_confidence(confidence)?;
    let (n, share) = (n as f64, right as f64 / n as f64);
    let scale = 1.0 + z * z / n;
    let centre = (share + z * z / (2.0 * n)) / scale;
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt() / scale;
    Ok(((centre - half).max(0.0), (centre + half).min(1.0)))
}

/// Tango's score interval of (wins - losses) / n at a two-sided `confidence`.
///
/// # Errors
///
/// As [`PairedComparison::from_counts`] of the counts; [`EvaluateError::Domain`] of a `confidence` that is not
/// between 0 and 1, both excluded.
pub fn tango(n: u64, wins: u64, losses: u64, confidence: f64) -> Result<(f64, f64), EvaluateError> {
    check_counts(n, wins, losses)?;
    let z = check_confidence(confidence)?;
    let difference = (wins as f64 - losses as f64) / n as f64;
    // The statistic falls from above +z at -1 through 0 at the difference to below -z at 1.
    let low = bisect(-1.0, difference, |delta| tango_score(n, wins, losses, delta) > z);
    let high = bisect(difference, 1.0, |delta| tango_score(n, wins, losses, delta) > -z);
    Ok((low, high))
}

/// How many standard errors the data are above the hypothesis that the difference is `delta`.
pub(super) fn tango_score(n: u64, wins: u64, losses: u64, delta: f64) -> f64 {
    let (n, b, c) = (n as f64, wins as f64, losses as f64);
    // The most likely share of losses under that hypothesis, root of a quadratic.
    let linear = (2.0 * n - b + c) * delta - b - c;
    let constant = -c * delta * (1.0 - delta);
    let share = ((linear * linear - 8.0 * n * constant).max(0.0).sqrt() - linear) / (4.0 * n);
    let variance = n * (2.0 * share + delta * (1.0 - delta));
    let above = b - c - n * delta;
    if variance > 0.0 {
        above / variance.sqrt()
    } else if above == 0.0 {
        0.0
    } else {
        above.signum() * f64::INFINITY
    }
}

/// Where `holds` turns from true to false between `low` and `high`, to the last bit or nearly.
fn bisect(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..200 {
        let middle = low + (high - low) / 2.0;
        if middle == low || middle == high {
            break;
        }
        if holds(middle) { low = middle } else { high = middle }
    }
    low + (high - low) / 2.0
}

/// Holm's step-down adjusted p values, in the order given: reject those not above the level.
///
/// # Errors
///
/// [`EvaluateError::Domain`] of one that is not from 0 to 1.
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>, EvaluateError> {
    if let Some(bad) = p_values.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        let found = bad.to_string();
        return Err(EvaluateError::Domain { what: "a p value", found, expected: "from 0 to 1" });
    }
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (step, at) in order.into_iter().enumerate() {
        largest = largest.max(p_values[at] * (p_values.len() - step) as f64);
        adjusted[at] = largest.min(1.0);
    }
    Ok(adjusted)
}

/// The standard normal quantile of `p` in (0, 1): bisection on the distribution function, which
/// `libm` gives the same on every machine. Slow and sure; used once for an interval or an estimate.
pub fn normal_quantile(p: f64) -> f64 {
    // Phi(x) = erfc(-x / sqrt 2) / 2; the tail is inverted where it is small and so exact.
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    bisect(-40.0, 0.0, |x| libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2) / 2.0 < p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Numbers from SciPy and statsmodels, and from likelihoods maximised by search; the script
    /// lies beside them.
    fn fixture() -> Value {
        serde_json::from_str(include_str!("../../tests/fixtures/statistics.json")).unwrap()
    }

    #[track_caller]
    fn close(found: f64, expected: &Value, relative: f64) {
        let expected = expected.as_f64().unwrap();
        let error = (found - expected).abs();
        assert!(error <= relative * expected.abs() + 1e-300, "{found} against {expected}");
    }

    #[test]
    fn mcnemar_agrees_with_scipy_and_statsmodels() {
        let fixture = fixture();
        let cases = fixture["mcnemar"].as_array().unwrap();
        assert!(cases.len() >= 10);
        for case in cases {
            let [wins, losses] = ["wins", "losses"].map(|name| case[name].as_u64().unwrap());
            close(mcnemar_exact(wins, losses), &case["p_value"], 1e-10);
            assert_eq!(mcnemar_exact(wins, losses), mcnemar_exact(losses, wins));
        }
        assert_eq!(mcnemar_exact(0, 0), 1.0);
        assert_eq!(mcnemar_exact(5, 0), 0.0625, "2 / 2^5");
        assert_eq!(mcnemar_exact(0, 5000), 0.0, "below the smallest number");
    }

    #[test]
    fn wilson_agrees_with_statsmodels() {
        let fixture = fixture();
        for case in fixture["wilson"].as_array().unwrap() {
            let [right, n] = ["right", "n"].map(|name| case[name].as_u64().unwrap());
            let (low, high) = wilson(right, n, case["confidence"].as_f64().unwrap()).unwrap();
            assert!((low - case["low"].as_f64().unwrap()).abs() < 1e-13, "{case} {low}");
            assert!((high - case["high"].as_f64().unwrap()).abs() < 1e-13, "{case} {high}");
        }
        assert!(wilson(2, 1, 0.95).is_err() && wilson(0, 0, 0.95).is_err());
        assert!([0.0, 1.0, -1.0, f64::NAN].iter().all(|confidence| wilson(1, 2, *confidence).is_err()));
    }

    #[test]
    fn the_paired_difference_agrees_with_numpy_and_a_direct_likelihood() {
        let fixture = fixture();
        for case in fixture["paired"].as_array().unwrap() {
            let [n, wins, losses] = ["n", "wins", "losses"].map(|name| case[name].as_u64().unwrap());
            let found = PairedComparison::from_counts(n, wins, losses).unwrap();
            assert!((found.difference - case["difference"].as_f64().unwrap()).abs() < 1e-15);
            assert!((found.stderr - case["stderr"].as_f64().unwrap()).abs() < 1e-14, "{case}");
            let (low, high) = found.interval(0.95).unwrap();
            assert!((low - case["tango_low"].as_f64().unwrap()).abs() < 1e-6, "{case} {low}");
            assert!((high - case["tango_high"].as_f64().unwrap()).abs() < 1e-6, "{case} {high}");
        }
    }

    #[test]
    fn no_difference_in_three_cases_proves_little() {
        let (low, high) = tango(3, 0, 0, 0.95).unwrap();
        // z^2 / (n + z^2), from the score of 0 wins and 0 losses.
        let z = 1.959_963_984_540_054_f64;
        let expected = z * z / (3.0 + z * z);
        assert!((low + expected).abs() < 1e-9 && (high - expected).abs() < 1e-9, "{low} {high}");
    }

    #[test]
    fn holm_agrees_with_statsmodels() {
        let fixture = fixture();
        for case in fixture["holm"].as_array().unwrap() {
            let p: Vec<f64> = serde_json::from_value(case["p"].clone()).unwrap();
            let found = holm(&p).unwrap();
            for (found, expected) in found.iter().zip(case["adjusted"].as_array().unwrap()) {
                close(*found, expected, 1e-14);
            }
        }
        assert_eq!(holm(&[]).unwrap(), [] as [f64; 0]);
        assert!(holm(&[0.5, f64::NAN]).is_err() && holm(&[1.5]).is_err());
    }

    #[test]
    fn quantiles_agree_with_scipy() {
        let fixture = fixture();
        for case in fixture["quantile"].as_array().unwrap() {
            let p = case["p"].as_f64().unwrap();
            let error = (normal_quantile(p) - case["z"].as_f64().unwrap()).abs();
            assert!(error < 1e-13, "{p}: {error}");
        }
    }

    #[test]
    fn pairs_are_counted() {
        let candidate = [true, true, true, false, false, true];
        let other = [true, false, false, true, false, false];
        let found = compare_paired(&candidate, &other).unwrap();
        assert_eq!((found.n, found.wins, found.losses), (6, 3, 1));
        assert_eq!((found.difference, found.p_value), (2.0 / 6.0, 0.625));
        assert!(compare_paired(&candidate, &other[1..]).is_err());
        assert!(compare_paired(&[], &[]).is_err());
        assert!(PairedComparison::from_counts(3, 2, 2).is_err());
        assert!(PairedComparison::from_counts(3, u64::MAX, 2).is_err());
    }
}
