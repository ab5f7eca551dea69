//! Whether a demand on a metric is met, missed, or more than the cases can tell.
//!
//! A demand is that a statistic is at least some number: a metric at least a threshold, or a metric
//! less another model's at least a margin; a negative margin asks for no more than not being much worse
//! (non-inferiority). Two one-sided tests are made of each: `meets` is the p value of "the demand is
//! missed", `misses` that of "it is met". Which test depends on what cases give:
//!
//! | cases give | against a number | against a model |
//! |---|---|---|
//! | right or wrong | exact binomial | exact McNemar; Tango's score test if there is a margin |
//! | right or wrong, suites of different sizes | Agresti and Coull (1998) | Agresti and Min (2005) |
//! | anything else | bootstrap | paired bootstrap |
//!
//! Several suites of one size are pooled: the mean of their shares is the share of all their cases, and
//! strata never vary more than one sample of that size does. Several demands of one gate must all be
//! met: `meets` is the largest, `misses` the smallest times their number. Over all gates and candidates
//! p values are adjusted by Holm. A demand is met if the adjusted `meets` is at most 1 - confidence,
//! missed if the adjusted `misses` is, and otherwise undecided. A p value of a bootstrap is never smaller
//! than its draws allow: where the adjustment leaves less of the level than that, no number of cases decides.

use super::EvaluateError;
use super::bootstrap::{self, FEWEST, LEAST_P, RESAMPLES, Stratum};
use super::evaluator::Values;
use super::statistics::{binomial_tails, mcnemar_one_sided, normal_quantile, normal_tail, tango_score};

/// Both p values of one demand, before any adjustment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Test {
    /// The statistic less what is demanded: above 0 if it looks met.
    pub excess: f64,
    /// Of "the demand is missed".
    pub meets: f64,
    /// Of "the demand is met".
    pub misses: f64,
    /// Cases it rests on.
    pub n: u64,
    /// The smallest p value that this test gives for any number of cases.
    pub least: f64,
    /// Which test it was.
    pub method: &'static str,
}

/// Where a demand stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Surely enough.
    Met,
    /// Surely not.
    Missed,
    /// Too few cases to tell; about so many would, if they come out like these.
    Undecided(Option<u64>),
    /// No number of cases can tell, as things are adjusted.
    Undecidable,
}

/// Tests that the mean over the strata of `sign` times the statistic is at least `sign` times `demanded`:
/// `sign` is -1 where less is better.
///
/// # Errors
///
/// [`EvaluateError::NoOutcomes`] without a stratum; [`EvaluateError::Pairing`] of one with other numbers of
/// scores on its two sides. Too few cases are no error: they show nothing.
pub fn test(strata: &[Stratum], demanded: f64, sign: f64, purpose: &[&str]) -> Result<Test, EvaluateError> {
    if strata.is_empty() {
        return Err(EvaluateError::NoOutcomes);
    }
    if let Some(stratum) = strata.iter().find(|s| !s.theirs.is_empty() && s.theirs.len() != s.ours.len()) {
        let text = format!("{} scores against {}", stratum.ours.len(), stratum.theirs.len());
        return Err(EvaluateError::Pairing(text));
    }
    let n = strata.iter().map(|stratum| stratum.ours.len() as u64).sum();
    let excess = sign * (bootstrap::observed(strata) - demanded);
    let exact = strata.iter().all(|stratum| stratum.values == Values::Binary);
    let (lower, upper, method) =
        if exact { binary(strata, demanded) } else { by_bootstrap(strata, demanded, purpose)? };
    let least = if exact { 0.0 } else { LEAST_P };
    let (meets, misses) = if sign > 0.0 { (lower, upper) } else { (upper, lower) };
    Ok(Test { excess, meets, misses, n, least, method })
}

/// Right and wrong answers of one suite.
struct Counts {
    n: u64,
    /// Right answers; or cases only ours got right.
    wins: u64,
    /// Cases only theirs got right.
    losses: u64,
    paired: bool,
}

fn counts(stratum: &Stratum) -> Counts {
    let right = |scores: &[super::evaluator::Score], at: usize| scores.get(at).is_some_and(|s| s.value > 0.5);
    let paired = !stratum.theirs.is_empty();
    let places = || 0..stratum.ours.len();
    let wins = places().filter(|at| right(&stratum.ours, *at) && !right(&stratum.theirs, *at)).count();
    let losses = places().filter(|at| !right(&stratum.ours, *at) && right(&stratum.theirs, *at)).count();
    Counts { n: stratum.ours.len() as u64, wins: wins as u64, losses: losses as u64, paired }
}

/// P values of "the statistic is at most what is demanded" and of "at least".
fn binary(strata: &[Stratum], demanded: f64) -> (f64, f64, &'static str) {
    let all: Vec<Counts> = strata.iter().map(counts).collect();
    if all.iter().any(|counts| counts.n != all[0].n) {
        return unequal(&all, demanded);
    }
    let n: u64 = all.iter().map(|counts| counts.n).sum();
    let wins: u64 = all.iter().map(|counts| counts.wins).sum();
    let losses: u64 = all.iter().map(|counts| counts.losses).sum();
    if !all[0].paired {
        let (below, above) = binomial_tails(wins, n, demanded);
        return (above, below, "exact binomial");
    }
    if demanded == 0.0 {
        return (mcnemar_one_sided(wins, losses), mcnemar_one_sided(losses, wins), "exact McNemar");
    }
    let z = tango_score(n, wins, losses, demanded.clamp(-1.0, 1.0));
    (normal_tail(z), normal_tail(-z), "Tango's score test")
}

/// Suites of different sizes: the mean of their smoothed shares or differences, and its variance.
fn unequal(all: &[Counts], demanded: f64) -> (f64, f64, &'static str) {
    let (mut mean, mut variance) = (0.0, 0.0);
    for counts in all {
        let (n, wins, losses) = (counts.n as f64, counts.wins as f64, counts.losses as f64);
        if counts.paired {
            let size = n + 2.0;
            let net = wins - losses;
            mean += net / size;
            variance += (wins + losses + 1.0 - net * net / size) / (size * size);
        } else {
            let size = n + 4.0;
            let share = (wins + 2.0) / size;
            mean += share;
            variance += share * (1.0 - share) / size;
        }
    }
    let k = all.len() as f64;
    let z = (mean / k - demanded) / (variance.sqrt() / k);
    let method = if all[0].paired { "Agresti and Min" } else { "Agresti and Coull" };
    (normal_tail(z), normal_tail(-z), method)
}

fn by_bootstrap(
    strata: &[Stratum],
    demanded: f64,
    purpose: &[&str],
) -> Result<(f64, f64, &'static str), EvaluateError> {
    let method = if strata[0].theirs.is_empty() { "bootstrap" } else { "paired bootstrap" };
    if strata.iter().any(|stratum| stratum.ours.len() < FEWEST) {
        // So few cases cannot say anything either way.
        return Ok((1.0, 1.0, method));
    }
    let drawn = bootstrap::resample(strata, purpose)?;
    let share = |count: usize| (count + 1) as f64 / (RESAMPLES + 1) as f64;
    let below = drawn.iter().filter(|value| **value <= demanded).count();
    let above = drawn.iter().filter(|value| **value >= demanded).count();
    Ok((share(below).min(1.0), share(above).min(1.0), method))
}

/// All demands of one gate as one: the hardest must be met, and any may be missed.
pub fn all_of(tests: &[Test]) -> Option<Test> {
    let worst = tests.iter().min_by(|a, b| a.excess.total_cmp(&b.excess))?;
    let hardest = tests.iter().max_by(|a, b| a.meets.total_cmp(&b.meets))?;
    let misses = tests.iter().map(|test| test.misses).fold(1.0, f64::min) * tests.len() as f64;
    Some(Test { excess: worst.excess, misses: misses.min(1.0), ..*hardest })
}

/// What follows at a one-sided `confidence` from the adjusted p values.
pub fn standing(test: &Test, meets: f64, misses: f64, confidence: f64) -> Standing {
    let level = 1.0 - confidence;
    if meets <= level {
        Standing::Met
    } else if misses <= level {
        Standing::Missed
    } else {
        undecided(test, meets, misses, level)
    }
}

/// Cases that would decide: standard errors shrink with the root of their number.
fn undecided(test: &Test, meets: f64, misses: f64, level: f64) -> Standing {
    let (raw, adjusted) = if test.excess > 0.0 { (test.meets, meets) } else { (test.misses, misses) };
    if test.excess == 0.0 || raw >= 0.5 || adjusted >= 1.0 && raw >= 1.0 {
        return Standing::Undecided(None);
    }
    // What is left of the level after the adjustment, were it to stay as it is.
    let own = level * (raw / adjusted.max(raw));
    if own < test.least {
        return Standing::Undecidable;
    }
    let ratio = normal_quantile(own) / normal_quantile(raw);
    let cases = (test.n as f64 * ratio * ratio).ceil();
    Standing::Undecided((cases < 1e12).then(|| (cases as u64).max(test.n + 1)))
}

#[cfg(test)]
mod tests {
    use super::super::evaluator::Score;
    use super::super::statistics::holm;
    use super::*;
    use serde_json::Value;

    /// Cases of which the first `wins` only we got right, the next `losses` only they.
    fn paired(n: usize, wins: usize, losses: usize) -> Stratum {
        let ours = (0..n).map(|at| Score::of(at < wins || at >= wins + losses)).collect();
        let theirs = (0..n).map(|at| Score::of(at >= wins)).collect();
        Stratum { ours, theirs, values: Values::Binary }
    }

    fn alone(n: usize, right: usize) -> Stratum {
        let ours = (0..n).map(|at| Score::of(at < right)).collect();
        Stratum { ours, theirs: Vec::new(), values: Values::Binary }
    }

    fn fixture() -> Value {
        serde_json::from_str(include_str!("../../tests/fixtures/gates.json")).unwrap()
    }

    #[track_caller]
    fn close(found: f64, expected: &Value) {
        let expected = expected.as_f64().unwrap();
        assert!((found - expected).abs() <= 1e-9 * expected + 1e-14, "{found} against {expected}");
    }

    #[test]
    fn thresholds_agree_with_scipys_binomial_test() {
        for case in fixture()["binomial"].as_array().unwrap() {
            let [right, n] = ["right", "n"].map(|name| case[name].as_u64().unwrap() as usize);
            let found = test(&[alone(n, right)], case["share"].as_f64().unwrap(), 1.0, &["t"]).unwrap();
            close(found.meets, &case["greater"]);
            close(found.misses, &case["less"]);
        }
    }

    #[test]
    fn comparisons_agree_with_scipys_binomial_test_on_who_differs() {
        for case in fixture()["mcnemar"].as_array().unwrap() {
            let [n, wins, losses] = ["n", "wins", "losses"].map(|name| case[name].as_u64().unwrap() as usize);
            let found = test(&[paired(n, wins, losses)], 0.0, 1.0, &["t"]).unwrap();
            assert_eq!(found.method, "exact McNemar");
            close(found.meets, &case["greater"]);
            close(found.misses, &case["less"]);
        }
    }

    #[test]
    fn suites_of_one_size_are_pooled_and_others_are_not() {
        let [one, two] = [paired(50, 9, 2), paired(50, 5, 4)];
        let pooled = test(&[one.clone(), two], 0.0, 1.0, &["t"]).unwrap();
        let whole = test(&[paired(100, 14, 6)], 0.0, 1.0, &["t"]).unwrap();
        assert_eq!((pooled.meets, pooled.misses, pooled.n), (whole.meets, whole.misses, 100));
        let other = test(&[one, paired(60, 5, 4)], 0.0, 1.0, &["t"]).unwrap();
        assert_eq!(other.method, "Agresti and Min");
        assert!(other.meets > 0.01 && other.meets < 0.2, "{other:?}");
    }

    #[test]
    fn not_being_worse_takes_cases_even_if_nothing_differs() {
        let few = test(&[paired(20, 0, 0)], -0.02, 1.0, &["t"]).unwrap();
        let many = test(&[paired(2000, 0, 0)], -0.02, 1.0, &["t"]).unwrap();
        assert!(few.meets > 0.2 && many.meets < 1e-6, "{few:?} {many:?}");
        assert_eq!(many.method, "Tango's score test");
    }

    #[test]
    fn less_can_be_better() {
        let ours: Vec<Score> = (0..40).map(|i| Score { value: f64::from(i % 7), weight: 2.0 }).collect();
        let theirs: Vec<Score> = ours.iter().map(|s| Score { value: s.value + 1.0, ..*s }).collect();
        let strata = [Stratum { ours, theirs, values: Values::Ratio }];
        let found = test(&strata, 0.0, -1.0, &["t"]).unwrap();
        assert!(found.excess > 0.0 && found.meets < 0.001 && found.misses == 1.0, "{found:?}");
        let few = [Stratum {
            ours: strata[0].ours[..9].to_vec(),
            theirs: strata[0].theirs[..9].to_vec(),
            ..strata[0].clone()
        }];
        assert_eq!(test(&few, 0.0, -1.0, &["t"]).unwrap().meets, 1.0, "nine cases are not resampled");
    }

    #[test]
    fn a_gate_is_decided_or_says_how_many_cases_would() {
        let stand = |wins, losses, n| {
            let found = test(&[paired(n, wins, losses)], 0.0, 1.0, &["t"]).unwrap();
            standing(&found, found.meets, found.misses, 0.95)
        };
        assert_eq!(stand(20, 4, 100), Standing::Met);
        assert_eq!(stand(4, 20, 100), Standing::Missed);
        let Standing::Undecided(Some(needed)) = stand(12, 8, 100) else { panic!("{:?}", stand(12, 8, 100)) };
        // As many cases more of the same kind do decide it, and half of them do not.
        let times = needed.div_ceil(100) as usize + 1;
        assert_eq!(stand(12 * times, 8 * times, 100 * times), Standing::Met);
        let half = times / 2 - 1;
        assert!(matches!(stand(12 * half, 8 * half, 100 * half), Standing::Undecided(_)), "{needed}");
        assert_eq!(stand(5, 5, 100), Standing::Undecided(None), "nothing points either way");
    }

    #[test]
    fn adjustment_makes_it_harder() {
        let found = test(&[paired(100, 16, 6)], 0.0, 1.0, &["t"]).unwrap();
        assert_eq!(standing(&found, found.meets, found.misses, 0.95), Standing::Met);
        let adjusted = holm(&[found.meets, found.meets, found.meets]).unwrap();
        let Standing::Undecided(Some(needed)) = standing(&found, adjusted[0], 1.0, 0.95) else { panic!() };
        assert!(needed > 100);
    }

    #[test]
    fn no_cases_are_asked_for_where_none_would_decide() {
        let scores = |value: f64| (0..40).map(move |_| Score { value, weight: 1.0 }).collect();
        let strata = [Stratum { ours: scores(2.0), theirs: scores(1.0), values: Values::Ratio }];
        let found = test(&strata, 0.0, 1.0, &["t"]).unwrap();
        assert_eq!((found.meets, found.least), (LEAST_P, LEAST_P), "as sure as draws can make it");
        assert_eq!(standing(&found, found.meets, found.misses, 0.9999), Standing::Met);
        let adjusted = holm(&[found.meets, found.meets]).unwrap();
        assert_eq!(standing(&found, adjusted[0], 1.0, 0.9999), Standing::Undecidable);
        assert_eq!(standing(&found, adjusted[0], 1.0, 0.9998), Standing::Met);
        // An exact test of the same p value only needs more cases.
        let exact = Test { least: 0.0, ..found };
        assert!(matches!(standing(&exact, adjusted[0], 1.0, 0.9999), Standing::Undecided(Some(_))));
    }

    #[test]
    fn every_demand_must_be_met() {
        let one = test(&[paired(100, 20, 4)], 0.0, 1.0, &["t"]).unwrap();
        let two = test(&[paired(100, 5, 4)], 0.0, 1.0, &["t"]).unwrap();
        let both = all_of(&[one, two]).unwrap();
        assert_eq!((both.meets, both.excess), (two.meets, two.excess));
        assert_eq!(both.misses, (two.misses.min(one.misses) * 2.0).min(1.0));
        assert_eq!(all_of(&[]), None);
    }
}
