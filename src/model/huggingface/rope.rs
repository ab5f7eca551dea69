//! How a configuration scales its rotary frequencies.
//!
//! The kinds are those of the library's `modeling_rope_utils`; a kind that is not listed here, or a key that
//! changes one in a way that is not computed here, is refused by name.

use serde::Deserialize;

use crate::model::variant::RopeScale;

/// How rotary frequencies are changed. Which numbers matter depends on the kind.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct RopeScaling {
    /// `default`, `linear`, `dynamic`, `yarn`, `llama3`, ...
    pub rope_type: Option<String>,
    /// What older versions call `rope_type`.
    #[serde(rename = "type")]
    pub old_type: Option<String>,
    /// Newer versions state the base of the frequencies here.
    pub rope_theta: Option<f64>,
    /// How many times longer sequences are.
    pub factor: Option<f64>,
    /// Frequencies of fewer turns are scaled.
    pub low_freq_factor: Option<f64>,
    /// Frequencies of more turns are not.
    pub high_freq_factor: Option<f64>,
    /// The longest sequence in training.
    pub original_max_position_embeddings: Option<f64>,
    /// YaRN: frequencies of more turns are not scaled.
    pub beta_fast: Option<f64>,
    /// YaRN: frequencies of fewer turns are.
    pub beta_slow: Option<f64>,
    /// YaRN: what cosines and sines are multiplied by.
    pub attention_factor: Option<f64>,
    /// YaRN: whether the ends of the ramp are whole pairs.
    pub truncate: Option<bool>,
    /// YaRN, in another family: two more ways to say `attention_factor`.
    pub mscale: Option<f64>,
    /// See `mscale`.
    pub mscale_all_dim: Option<f64>,
    /// Which share of a head is turned.
    pub partial_rotary_factor: Option<f64>,
}

impl RopeScaling {
    /// The kind; `default` if the file does not say.
    pub fn kind(&self) -> &str {
        self.rope_type.as_deref().or(self.old_type.as_deref()).unwrap_or("default")
    }

    /// What it means, or which key of it is not computed here.
    pub(super) fn scale(&self) -> Result<RopeScale, String> {
        let unusual = [
            ("partial_rotary_factor", self.partial_rotary_factor.filter(|share| *share != 1.0)),
            ("mscale", self.mscale),
            ("mscale_all_dim", self.mscale_all_dim),
        ];
        if let Some((key, value)) = unusual.into_iter().find_map(|(key, value)| Some((key, value?))) {
            return Err(format!("rope_scaling has `{key}` {value}, which is not computed here"));
        }
        match self.kind() {
            // As long as the context is that of the configuration, the dynamic way changes nothing; formats
            // without a word for it are not written.
            "default" | "dynamic" => Ok(RopeScale::Plain),
            "linear" => Ok(RopeScale::Linear { factor: need("factor", self.factor)? }),
            "llama3" => Ok(RopeScale::Llama3 {
                factor: need("factor", self.factor)?,
                low: need("low_freq_factor", self.low_freq_factor)?,
                high: need("high_freq_factor", self.high_freq_factor)?,
                original: need("original_max_position_embeddings", self.original_max_position_embeddings)?,
            }),
            "yarn" => self.yarn(),
            kind => Err(format!("rope_scaling has the `rope_type` `{kind}`, which is not computed here")),
        }
    }

    fn yarn(&self) -> Result<RopeScale, String> {
        let factor = need("factor", self.factor)?;
        let usual = if factor > 1.0 { 0.1 * libm::log(factor) + 1.0 } else { 1.0 };
        // The library takes a zero for nothing said.
        let or = |stated: Option<f64>, usual| stated.filter(|number| *number != 0.0).unwrap_or(usual);
        Ok(RopeScale::Yarn {
            factor,
            fast: or(self.beta_fast, 32.0),
            slow: or(self.beta_slow, 1.0),
            original: need("original_max_position_embeddings", self.original_max_position_embeddings)?,
            attention: self.attention_factor.unwrap_or(usual),
            truncate: self.truncate.unwrap_or(true),
        })
    }
}

fn need(key: &str, value: Option<f64>) -> Result<f64, String> {
    value.ok_or_else(|| format!("rope_scaling has no `{key}`, which its kind needs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(text: &str) -> Result<RopeScale, String> {
        serde_json::from_str::<RopeScaling>(text).unwrap().scale()
    }

    #[test]
    fn every_known_kind_is_read() {
        assert_eq!(scale("{}"), Ok(RopeScale::Plain));
        assert_eq!(scale(r#"{"rope_type": "dynamic", "factor": 4}"#), Ok(RopeScale::Plain));
        assert_eq!(scale(r#"{"type": "linear", "factor": 2}"#), Ok(RopeScale::Linear { factor: 2.0 }));
        let llama3 = r#"{"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"}"#;
        let expected = RopeScale::Llama3 { factor: 32.0, low: 1.0, high: 4.0, original: 8192.0 };
        assert_eq!(scale(llama3), Ok(expected));
        let yarn = r#"{"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 1024}"#;
        let Ok(RopeScale::Yarn { attention, fast, slow, truncate, .. }) = scale(yarn) else { panic!() };
        assert_eq!((fast, slow, truncate), (32.0, 1.0, true));
        assert!((attention - 1.138_629_436_111_989).abs() < 1e-15);
    }

    #[test]
    fn what_is_not_computed_is_named() {
        let refused = |text| scale(text).unwrap_err();
        assert!(refused(r#"{"rope_type": "longrope"}"#).contains("`longrope`"));
        assert!(refused(r#"{"type": "linear"}"#).contains("no `factor`"));
        assert!(refused(r#"{"type": "yarn", "factor": 2, "mscale": 1}"#).contains("`mscale` 1"));
        assert!(refused(r#"{"partial_rotary_factor": 0.5}"#).contains("`partial_rotary_factor`"));
    }
}
