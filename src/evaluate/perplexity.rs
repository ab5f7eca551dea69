//! Perplexity: how likely a model finds texts that people wrote.
//!
//! `bits_per_byte` is the sum of -log2 of the probabilities of all tokens over the bytes of all texts:
//! it compares models whatever their tokenizers, since every token counts. `token_perplexity` is e to the mean of -ln, per token:
//! it compares models of one tokenizer. Texts are read in windows ([`crate::runtime::score`]): `window`
//! tokens, by default the model's context; `stride` tokens apart, by default half a window.

use serde::{Deserialize, Serialize};

use super::evaluator::{Examinee, Measure, MetricInfo, Score, Trouble, Values};
use super::options::Options;
use super::text::Text;

/// The evaluator `perplexity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Perplexity;

/// How likely it was.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Sum of the log-probabilities of its tokens, in nats.
    pub log_likelihood: f64,
    /// Its tokens.
    pub tokens: u64,
    /// Its bytes.
    pub bytes: u64,
}

impl Measure for Perplexity {
    type Case = Text;
    type Outcome = Outcome;
    const NAME: &'static str = "perplexity";
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "bits a model needs for each byte of a text";
    const QUALITY: bool = true;
    const METRICS: &'static [MetricInfo] = &[
        // Whoever finds every byte as likely as any other needs eight.
        MetricInfo { ignorance: 8.0, ..MetricInfo::cost("bits_per_byte", Values::Ratio, 0.0) },
        MetricInfo::cost("token_perplexity", Values::Exponential, 1.0),
    ];
    const OPTIONS: &'static [&'static str] = &["window", "stride"];

    fn check(case: &Text) -> Result<(), String> {
        case.check()
    }

    fn asks(case: &Text) -> String {
        case.text.clone()
    }

    fn ask(cases: &[Text], model: &dyn Examinee, options: &Options) -> Result<Vec<Outcome>, Trouble> {
        let readings = model.read(&Text::all(cases), options)?;
        Ok(readings
            .into_iter()
            .map(|reading| Outcome {
                log_likelihood: reading.log_likelihood,
                tokens: reading.tokens as u64,
                bytes: 0,
            })
            .collect())
    }

    fn judge(case: &Text, outcome: &Outcome, _: &Options) -> Outcome {
        let &Outcome { log_likelihood, tokens, .. } = outcome;
        Outcome { log_likelihood, tokens, bytes: case.text.len() as u64 }
    }

    fn scores(outcome: &Outcome) -> Vec<Score> {
        let nats = -outcome.log_likelihood;
        vec![
            Score { value: nats / std::f64::consts::LN_2, weight: outcome.bytes as f64 },
            Score { value: nats, weight: outcome.tokens as f64 },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluator::Evaluator;
    use super::super::testing::{Reader, suite};
    use super::*;
    use serde_json::json;

    #[test]
    fn a_fair_coin_for_each_bit_needs_eight_bits_a_byte() {
        let cases = [json!({"id": "a", "text": "four"}), json!({"id": "b", "text": "seven!!"})];
        let suite = suite(&Perplexity, cases.into_iter());
        // Every byte is one of 256, equally likely.
        let model = Reader(|text| -(text.len() as f64) * 256.0_f64.ln());
        let options = Options::default();
        let found = Perplexity.ask(&suite.cases, &model, &options).unwrap();
        let metrics = Perplexity.recheck(&suite, &found, &options).unwrap();
        assert!((metrics["bits_per_byte"].value - 8.0).abs() < 1e-12);
        assert!((metrics["token_perplexity"].value - 256.0).abs() < 1e-9);
        assert!(metrics["bits_per_byte"].stderr.unwrap() < 1e-12, "both texts agree");
        let mut edited = found;
        edited[0].body["bytes"] = json!(400);
        assert!(Perplexity.recheck(&suite, &edited, &options).is_err(), "a longer text would look better");
    }

    #[test]
    fn one_text_has_no_standard_error() {
        let suite = suite(&Perplexity, [json!({"id": "a", "text": "four"})].into_iter());
        let found = Perplexity.ask(&suite.cases, &Reader(|_| -1.0), &Options::default()).unwrap();
        assert_eq!(Perplexity.recompute(&found).unwrap()["bits_per_byte"].stderr, None);
    }
}
