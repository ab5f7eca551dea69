//! The dimensions of a network as the runtime uses them: checked once, then trusted as `usize`.

use super::error::RuntimeError;
use crate::model::config::ModelConfig;

/// The validated configuration, with the widths that follow from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Dimensions {
    /// Number of token ids.
    pub vocab: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head: usize,
    /// Width of all query heads.
    pub query: usize,
    /// Width of all key heads.
    pub kv: usize,
    /// Width of the feed-forward layer.
    pub ffn: usize,
    /// Longest sequence.
    pub context: usize,
    /// Base of the rotary frequencies.
    pub theta: f32,
    /// Added to the mean square before its root.
    pub epsilon: f32,
    /// Whether the output matrix is the embedding matrix.
    pub tied: bool,
}

impl Dimensions {
    /// Checks a configuration. Shapes are compared with the tensors elsewhere.
    pub fn new(config: &ModelConfig) -> Result<Self, RuntimeError> {
        config.validate()?;
        let head = config.head_dim as usize;
        let hidden = config.hidden_size as usize;
        Ok(Self {
            vocab: config.vocab_size as usize,
            hidden,
            layers: config.layer_count as usize,
            heads: config.head_count as usize,
            kv_heads: config.kv_head_count as usize,
            head,
            // Validated: all query heads are as wide as the residual stream, key heads no wider.
            query: hidden,
            kv: config.kv_head_count as usize * head,
            ffn: config.ffn_size as usize,
            context: config.max_context as usize,
            theta: config.rope_theta,
            epsilon: config.rms_norm_epsilon,
            tied: config.tied_output,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fixture;

    #[test]
    fn every_impossible_dimension_is_named() {
        let good = fixture::config();
        assert!(Dimensions::new(&good).is_ok());
        type Damage = fn(&mut ModelConfig);
        let cases: [(&str, Damage); 8] = [
            ("vocab_size", |c| c.vocab_size = 0),
            ("layer_count", |c| c.layer_count = 0),
            ("max_context", |c| c.max_context = 0),
            ("head_dim", |c| c.head_dim = 7),
            ("kv_head_count", |c| c.kv_head_count = 3),
            ("rope_theta", |c| c.rope_theta = f32::INFINITY),
            ("rms_norm_epsilon", |c| c.rms_norm_epsilon = f32::NAN),
            ("ffn_size", |c| c.ffn_size = 0),
        ];
        for (name, damage) in cases {
            let mut config = good.clone();
            damage(&mut config);
            let error = Dimensions::new(&config).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
