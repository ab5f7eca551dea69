//! Quantisation delta: what rounding the weights did to the predictions.
//!
//! A child stored in few bits is held against itself stored in f32: the same operator on the same
//! parents, in the same format. Both read the same texts; at every token the two distributions are compared.
//! `kl_divergence` is the mean of KL(f32 || child) in nats per token; `top1_agreement` the share of
//! tokens at which both find the same token likeliest. No answer key is needed, so any text will do.

use serde::{Deserialize, Serialize};

use super::evaluator::{Examinee, Measure, MetricInfo, Score, Trouble, Values};
use super::options::Options;
use super::text::Text;

/// The evaluator `quantization_delta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuantizationDelta;

/// How far apart they were.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Sum over the tokens of KL(f32 || child), in nats.
    pub kl: f64,
    /// Tokens at which both find the same token likeliest.
    pub agreed: u64,
    /// Tokens.
    pub tokens: u64,
}

impl Measure for QuantizationDelta {
    type Case = Text;
    type Outcome = Outcome;
    const NAME: &'static str = "quantization_delta";
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "how far a child's predictions are from those of itself in f32";
    const QUALITY: bool = false;
    const METRICS: &'static [MetricInfo] = &[
        MetricInfo::cost("kl_divergence", Values::Ratio, 0.0),
        MetricInfo { values: Values::Ratio, ..MetricInfo::share("top1_agreement") },
    ];
    const OPTIONS: &'static [&'static str] = &["window", "stride"];

    fn check(case: &Text) -> Result<(), String> {
        case.check()
    }

    fn asks(case: &Text) -> String {
        case.text.clone()
    }

    fn ask(cases: &[Text], model: &dyn Examinee, options: &Options) -> Result<Vec<Outcome>, Trouble> {
        let found = model.diverge(&Text::all(cases), options)?;
        Ok(found
            .into_iter()
            .map(|one| Outcome { kl: one.kl, agreed: one.agreed as u64, tokens: one.tokens as u64 })
            .collect())
    }

    fn judge(_: &Text, outcome: &Outcome, _: &Options) -> Outcome {
        // Nobody agrees more often than there are tokens.
        Outcome { agreed: outcome.agreed.min(outcome.tokens), ..*outcome }
    }

    fn scores(outcome: &Outcome) -> Vec<Score> {
        let weight = outcome.tokens as f64;
        vec![Score { value: outcome.kl, weight }, Score { value: outcome.agreed as f64, weight }]
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluator::Evaluator;
    use super::super::testing::{Reader, suite};
    use super::*;
    use serde_json::json;

    #[test]
    fn tokens_weigh_alike_whatever_text_they_are_in() {
        let cases = [json!({"id": "a", "text": "abcd"}), json!({"id": "b", "text": "abcdefghijkl"})];
        let suite = suite(&QuantizationDelta, cases.into_iter());
        let model = Reader(|text| if text.len() == 4 { 0.4 } else { 0.0 });
        let options = Options::default();
        let found = QuantizationDelta.ask(&suite.cases, &model, &options).unwrap();
        let metrics = QuantizationDelta.recheck(&suite, &found, &options).unwrap();
        assert!((metrics["kl_divergence"].value - 0.4 / 16.0).abs() < 1e-15);
        assert_eq!(metrics["top1_agreement"].value, 14.0 / 16.0);
        let mut edited = found;
        edited[0].body["agreed"] = json!(99);
        assert!(QuantizationDelta.recheck(&suite, &edited, &options).is_err());
    }
}
