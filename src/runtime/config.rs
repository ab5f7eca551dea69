//! The dimensions of a network as the runtime uses them: checked once, then trusted as `usize`.

use super::error::RuntimeError;
use crate::model::config::{ConfigError, ModelConfig};
use crate::model::variant::Variant;

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
    /// What scores are multiplied by.
    pub score_scale: f32,
    /// What embeddings are multiplied by, if by anything: always in f32, whatever they are stored as.
    pub embedding_scale: Option<f32>,
    /// Biases, rotary frequencies, norms, windows.
    pub variant: Variant,
    /// Whether rotary pairs lie half a head apart, and not side by side.
    pub halves: bool,
}

impl Dimensions {
    /// Checks a configuration. Shapes are compared with the tensors elsewhere.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Config`] of a number that contradicts the others or cannot be, or heads too wide to be
    /// counted.
    pub fn new(config: &ModelConfig, halves: bool) -> Result<Self, RuntimeError> {
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
            query: width(config.query_size(), "head_count x head_dim")?,
            kv: width(config.kv_size(), "kv_head_count x head_dim")?,
            ffn: config.ffn_size as usize,
            context: config.max_context as usize,
            theta: config.rope_theta,
            epsilon: config.rms_norm_epsilon,
            tied: config.tied_output,
            score_scale: 1.0 / libm::sqrtf(config.variant.score_width.unwrap_or(config.head_dim) as f32),
            embedding_scale: config.variant.scaled_embeddings.then(|| libm::sqrtf(hidden as f32)),
            variant: config.variant.clone(),
            halves,
        })
    }
}

impl Dimensions {
    /// How many positions a token sees in a layer, its own among them, where those are not all.
    pub fn window(&self, layer: usize) -> Option<usize> {
        self.variant.windows.as_ref()?.of_layer(layer)
    }
}

/// A width that a row of a tensor can have here.
fn width(found: u64, field: &'static str) -> Result<usize, RuntimeError> {
    let fits = usize::try_from(found).ok().filter(|width| *width <= usize::MAX / 8);
    fits.ok_or_else(|| {
        let (found, expected) = (found.to_string(), "a width that memory can hold".to_owned());
        ConfigError { field, found, expected }.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fixture;

    #[test]
    fn every_impossible_dimension_is_named() {
        let good = fixture::config();
        assert!(Dimensions::new(&good, false).is_ok());
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
            let error = Dimensions::new(&config, false).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
