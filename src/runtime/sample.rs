//! From logits to the next token.
//!
//! Greedy choice takes the largest logit, the lower id on a tie. Otherwise logits are divided by the temperature, the
//! `top_k` best kept (again the lower id first), turned into probabilities, cut to the smallest head that reaches
//! `top_p`, and one is drawn with a seeded XorShift64. The generator has no good name among statisticians, but it
//! is the one the format's runtime describes, and a seed must mean the same here.

use super::error::RuntimeError;

/// Most candidates `top_k` can keep.
pub const MAX_TOP_K: u32 = 1024;

/// What replaces a seed of zero, which XorShift64 would never leave. The format's prose does not say which
/// number; this is the golden ratio in 64 bits.
const ZERO_SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 is greedy; larger is wilder.
    pub temperature: f32,
    /// Best candidates kept, 1 to [`MAX_TOP_K`].
    pub top_k: u32,
    /// Probability kept, in (0, 1].
    pub top_p: f32,
    /// Seed of the draws.
    pub seed: u64,
}

impl Sampling {
    /// Always the likeliest token.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: 1, top_p: 1.0, seed: 1 };

    /// Checks every range.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Sampling`] of a temperature below 0 or not finite, a `top_k` that is not 1 to
    /// [`MAX_TOP_K`], or a `top_p` that is not more than 0 and at most 1.
    pub fn check(&self) -> Result<(), RuntimeError> {
        let &Self { temperature, top_k, top_p, .. } = self;
        let wrong =
            |parameter, value: String, expected| Err(RuntimeError::Sampling { parameter, value, expected });
        if !(temperature.is_finite() && temperature >= 0.0) {
            return wrong("temperature", temperature.to_string(), "a finite number, 0 or more, is needed");
        }
        if !(1..=MAX_TOP_K).contains(&top_k) {
            return wrong("top_k", top_k.to_string(), "1 to 1024 is possible");
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return wrong("top_p", top_p.to_string(), "more than 0, at most 1, is possible");
        }
        Ok(())
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self::GREEDY
    }
}

/// Chooses tokens, one draw after the other.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    random: XorShift64,
}

impl Sampler {
    /// Starts the draws of one generation.
    ///
    /// # Errors
    ///
    /// As [`Sampling::check`].
    pub fn new(sampling: Sampling) -> Result<Self, RuntimeError> {
        sampling.check()?;
        Ok(Self { sampling, random: XorShift64::new(sampling.seed) })
    }

    /// The next token.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::NotFinite`] of the first logit that is infinite or no number.
    pub fn choose(&mut self, logits: &[f32]) -> Result<u32, RuntimeError> {
        if self.sampling.temperature == 0.0 {
            return greedy(logits);
        }
        finite(logits)?;
        let mut candidates = self.best(logits);
        let total: f32 = candidates.iter().map(|(_, probability)| probability).sum();
        let mut kept = 0.0;
        let mut count = 0;
        for (_, probability) in &candidates {
            kept += probability;
            count += 1;
            if kept >= self.sampling.top_p * total {
                break;
            }
        }
        candidates.truncate(count);
        Ok(draw(&candidates, self.random.unit() * f64::from(kept)))
    }

    /// The `top_k` best, likeliest first, with probabilities that are yet to be divided by their sum.
    fn best(&self, logits: &[f32]) -> Vec<(u32, f32)> {
        let mut candidates: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
        let better = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let keep = self.sampling.top_k as usize;
        if keep < candidates.len() {
            candidates.select_nth_unstable_by(keep, better);
            candidates.truncate(keep);
        }
        candidates.sort_unstable_by(better);
        let largest = candidates.first().map_or(0.0, |best| best.1);
        for (_, value) in &mut candidates {
            *value = libm::expf((*value - largest) / self.sampling.temperature);
        }
        candidates
    }
}

/// The id of the largest logit; the lowest such id.
///
/// # Errors
///
/// As [`Sampler::choose`].
pub fn greedy(logits: &[f32]) -> Result<u32, RuntimeError> {
    finite(logits)?;
    let mut best = (0, f32::NEG_INFINITY);
    for (token, logit) in (0..).zip(logits) {
        if *logit > best.1 {
            best = (token, *logit);
        }
    }
    Ok(best.0)
}

fn finite(logits: &[f32]) -> Result<(), RuntimeError> {
    match (0..).zip(logits).find(|(_, logit)| !logit.is_finite()) {
        Some((token, value)) => Err(RuntimeError::NotFinite { token, value: *value }),
        None => Ok(()),
    }
}

fn draw(candidates: &[(u32, f32)], at: f64) -> u32 {
    let mut sum = 0.0_f32;
    for (token, probability) in candidates {
        sum += probability;
        if at < f64::from(sum) {
            return *token;
        }
    }
    candidates.last().map_or(0, |last| last.0)
}

/// Marsaglia's 64-bit generator with shifts 13, 7, 17.
#[derive(Debug, Clone)]
struct XorShift64(u64);

impl XorShift64 {
    fn new(seed: u64) -> Self {
        Self(if seed == 0 { ZERO_SEED } else { seed })
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number in [0, 1) from the upper 53 bits.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(temperature: f32, top_k: u32, top_p: f32, seed: u64) -> Sampler {
        Sampler::new(Sampling { temperature, top_k, top_p, seed }).unwrap()
    }

    #[test]
    fn greedy_takes_the_lowest_id_on_a_tie() {
        assert_eq!(greedy(&[0.0, 2.0, 2.0, 1.0]), Ok(1));
        assert_eq!(greedy(&[-3.0, -2.0, -0.0, 0.0]), Ok(2));
    }

    #[test]
    fn a_logit_that_is_no_number_is_an_error_and_not_a_choice() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(matches!(greedy(&[1.0, bad]), Err(RuntimeError::NotFinite { token: 1, .. })));
            let choice = sampler(1.0, 2, 1.0, 1).choose(&[1.0, bad]);
            assert!(matches!(choice, Err(RuntimeError::NotFinite { token: 1, .. })));
        }
    }

    /// The first state after 1, shifted by hand.
    #[test]
    fn xorshift_follows_its_shifts() {
        let mut random = XorShift64::new(1);
        // 1 ^ 1<<13 = 0x2001; ^ >>7 = 0x2001 ^ 0x40 = 0x2041; ^ <<17 = 0x40822041.
        assert_eq!(random.next(), 0x4082_2041);
        assert_eq!(XorShift64::new(0).0, ZERO_SEED);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        // exp(0), exp(ln 3): one quarter and three quarters.
        let logits = [0.0, 3.0_f64.ln() as f32];
        let mut sampler = sampler(1.0, 1024, 1.0, 7);
        let ones: u32 = (0..20_000).map(|_| sampler.choose(&logits).unwrap()).sum();
        assert!((14_700..15_300).contains(&ones), "{ones}");
    }

    #[test]
    fn top_k_and_top_p_keep_only_the_head() {
        let logits = [1.0, 5.0, 3.0, 5.0];
        let mut one = sampler(5.0, 1, 1.0, 3);
        assert!((0..50).all(|_| one.choose(&logits) == Ok(1)));
        let mut two = sampler(5.0, 2, 1.0, 3);
        let seen: std::collections::BTreeSet<_> = (0..50).map(|_| two.choose(&logits).unwrap()).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [1, 3]);
        let mut small = sampler(5.0, 1024, 1e-6, 3);
        assert!((0..50).all(|_| small.choose(&logits) == Ok(1)));
    }

    #[test]
    fn a_seed_repeats_its_draws() {
        let logits: Vec<f32> = (0..100).map(|i| (i % 7) as f32).collect();
        let draws = |seed| {
            let mut sampler = sampler(2.0, 50, 0.9, seed);
            (0..30).map(|_| sampler.choose(&logits).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draws(5), draws(5));
        assert_ne!(draws(5), draws(6));
    }

    #[test]
    fn ranges_are_checked() {
        let good = Sampling { temperature: 1.0, top_k: 40, top_p: 0.9, seed: 0 };
        assert!(good.check().is_ok() && Sampling::GREEDY.check().is_ok());
        for (name, bad) in [
            ("temperature", Sampling { temperature: -0.1, ..good }),
            ("temperature", Sampling { temperature: f32::NAN, ..good }),
            ("top_k", Sampling { top_k: 0, ..good }),
            ("top_k", Sampling { top_k: 1025, ..good }),
            ("top_p", Sampling { top_p: 0.0, ..good }),
            ("top_p", Sampling { top_p: 1.5, ..good }),
            ("top_p", Sampling { top_p: f32::NAN, ..good }),
        ] {
            let error = bad.check().unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
