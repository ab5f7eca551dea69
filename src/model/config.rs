//! Dimensions and constants of a llama-like network.
//!
//! The configuration decides which tensors there are: [`tensor_table`] lists their names and shapes
//! in the order in which Studbook stores them, which is the order a forward pass reads them.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use super::norms::HeadNorms;
use super::variant::Variant;
use crate::tensor::shape::{Shape, ShapeError};

/// What a forward pass must know besides the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Number of token ids.
    pub vocab_size: u32,
    /// Ids that are not text.
    pub special_token_count: u32,
    /// Width of the residual stream.
    pub hidden_size: u32,
    /// Number of blocks.
    pub layer_count: u32,
    /// Query heads.
    pub head_count: u32,
    /// Key and value heads; divides `head_count`.
    pub kv_head_count: u32,
    /// Width of a head; even.
    pub head_dim: u32,
    /// Width of the feed-forward layer.
    pub ffn_size: u32,
    /// Longest sequence.
    pub max_context: u32,
    /// Base of the rotary frequencies.
    pub rope_theta: f32,
    /// Added to the mean square before its root.
    pub rms_norm_epsilon: f32,
    /// Whether the output matrix is the embedding matrix.
    pub tied_output: bool,
    /// What it does beyond what SLM1 has words for.
    #[serde(default, skip_serializing_if = "Variant::is_plain")]
    pub variant: Variant,
}

/// A field that cannot have its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}; expected {expected}")]
pub struct ConfigError {
    /// The field.
    pub field: &'static str,
    /// Its value.
    pub found: String,
    /// What was possible.
    pub expected: String,
}

/// One tensor a network must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub shape: Shape,
}

/// Tensors of one block, biases and norms of heads apart, with norms on one side of attention and feed-forward.
const PER_LAYER: u64 = 9;
/// The norms of heads of one block: of queries, of keys.
const HEAD_NORMS: u64 = 2;
/// Norms on the other side, too: of attention, of feed-forward.
const OTHER_SIDE: u64 = 2;

impl ModelConfig {
    /// Checks every field and every relation between fields.
    ///
    /// # Errors
    ///
    /// The first field that cannot be: a size of 0, a `kv_head_count` that does not divide `head_count`, an odd
    /// `head_dim`, a `rope_theta` or `rms_norm_epsilon` that is not finite and more than 0, or what the variant
    /// cannot have.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("layer_count", self.layer_count),
            ("head_count", self.head_count),
            ("kv_head_count", self.kv_head_count),
            ("head_dim", self.head_dim),
            ("ffn_size", self.ffn_size),
            ("max_context", self.max_context),
        ];
        for (field, size) in sizes {
            ensure(size != 0, field, &size, &"at least 1")?;
        }
        let heads = self.head_count;
        let kv = self.kv_head_count;
        ensure(
            kv <= heads && heads.is_multiple_of(kv),
            "kv_head_count",
            &kv,
            &format_args!("a divisor of head_count {heads}"),
        )?;
        ensure(self.head_dim.is_multiple_of(2), "head_dim", &self.head_dim, &"an even number")?;
        ensure_positive("rope_theta", f64::from(self.rope_theta), &self.rope_theta)?;
        let epsilon = self.rms_norm_epsilon;
        ensure_positive("rms_norm_epsilon", f64::from(epsilon), &epsilon)?;
        self.variant.validate(self.layer_count)
    }

    /// Checks, too, that it is a network SLM1 has words for: it is of the plain variant, and its heads are as
    /// wide as the residual stream.
    ///
    /// # Errors
    ///
    /// As [`Self::validate`]; else the first difference from the plain variant, or a `hidden_size` that is not
    /// `head_count` times `head_dim`.
    pub fn validate_plain(&self) -> Result<(), ConfigError> {
        self.validate()?;
        // First what no other width would mend.
        if let Some((field, found, expected)) = self.variant.differences(&Variant::PLAIN).into_iter().next() {
            return Err(ConfigError { field, found, expected });
        }
        self.validate_width()
    }

    /// Checks every field, and that heads are as wide together as the residual stream: what a header of SLM1, which
    /// has no words for any other variant, can get wrong.
    ///
    /// # Errors
    ///
    /// As [`Self::validate`]; else a `hidden_size` that is not `head_count` times `head_dim`.
    pub fn validate_header(&self) -> Result<(), ConfigError> {
        self.validate()?;
        self.validate_width()
    }

    fn validate_width(&self) -> Result<(), ConfigError> {
        let width = self.query_size();
        ensure(
            width == u64::from(self.hidden_size),
            "hidden_size",
            &self.hidden_size,
            &format_args!("head_count {} x head_dim {} = {width}", self.head_count, self.head_dim),
        )
    }

    /// Number of tensors, without listing them: a header can claim billions.
    pub fn tensor_count(&self) -> u64 {
        let Variant { qkv_bias, output_bias, ffn_bias, norms, .. } = self.variant;
        let biases = 3 * u64::from(qkv_bias) + u64::from(output_bias) + 3 * u64::from(ffn_bias);
        let around = norms.place.is_before() && norms.place.is_behind();
        let per_layer = PER_LAYER
            + biases
            + HEAD_NORMS * u64::from(norms.heads != HeadNorms::None)
            + OTHER_SIDE * u64::from(around);
        u64::from(self.layer_count) * per_layer + if self.tied_output { 2 } else { 3 }
    }

    /// Why a tensor of attention has the shape it has: by its name in SLM1, which fields make its rows or
    /// columns. Nothing of other tensors.
    pub fn why_shape(&self, name: &str) -> Option<String> {
        let part = name.strip_prefix("layers.")?.split('.').nth(1)?;
        let (field, heads) = match part {
            "wq" | "wo" => ("head_count", self.head_count),
            "wk" | "wv" => ("kv_head_count", self.kv_head_count),
            _ => return None,
        };
        let width = u64::from(heads) * u64::from(self.head_dim);
        Some(format!("{field} {heads} x head_dim {} = {width}", self.head_dim))
    }

    /// Width of all query heads.
    pub fn query_size(&self) -> u64 {
        u64::from(self.head_count) * u64::from(self.head_dim)
    }

    /// Width of the key and value rows.
    pub fn kv_size(&self) -> u64 {
        u64::from(self.kv_head_count) * u64::from(self.head_dim)
    }
}

/// Every tensor of the network in storage order: embeddings, blocks from the first to the last,
/// final norm, output matrix.
///
/// The list is as long as [`ModelConfig::tensor_count`] says: check that first if the configuration comes from
/// a file.
///
/// # Errors
///
/// [`ShapeError::Overflow`] if a product does not fit, [`ShapeError::Zero`] of a size of 0, which
/// [`ModelConfig::validate`] refuses.
pub fn tensor_table(config: &ModelConfig) -> Result<Vec<TensorSpec>, ShapeError> {
    let hidden = config.hidden_size as usize;
    let vocab = config.vocab_size as usize;
    let ffn = config.ffn_size as usize;
    let query = usize::try_from(config.query_size()).unwrap_or(usize::MAX);
    let kv = usize::try_from(config.kv_size()).unwrap_or(usize::MAX);
    let Variant { qkv_bias, output_bias, ffn_bias, norms, .. } = config.variant;
    let head_norms = norms.heads.widths(config.head_dim as usize, query, kv);
    let [query_norm, key_norm] = head_norms.unwrap_or_default();
    let [before, behind] = [norms.place.is_before(), norms.place.is_behind()];
    // Name, dimensions, whether it is there, whether it has a bias.
    let layer: [(&str, &[usize], bool, bool); 13] = [
        ("attn_norm", &[hidden], before, false),
        ("wq", &[query, hidden], true, qkv_bias),
        ("wk", &[kv, hidden], true, qkv_bias),
        ("wv", &[kv, hidden], true, qkv_bias),
        ("q_norm", &[query_norm], head_norms.is_some(), false),
        ("k_norm", &[key_norm], head_norms.is_some(), false),
        ("wo", &[hidden, query], true, output_bias),
        ("ffn_norm", &[hidden], true, false),
        ("ffn_pre_norm", &[hidden], before && behind, false),
        ("w1", &[ffn, hidden], true, ffn_bias),
        ("w2", &[hidden, ffn], true, ffn_bias),
        ("w3", &[ffn, hidden], true, ffn_bias),
        ("ffn_post_norm", &[hidden], behind, false),
    ];
    let mut table = Vec::new();
    let mut push = |name: String, dims: &[usize]| {
        Shape::new(dims.to_vec()).map(|shape| table.push(TensorSpec { name, shape }))
    };
    push("tok_embeddings.weight".to_owned(), &[vocab, hidden])?;
    for index in 0..config.layer_count {
        for (part, dims, _, bias) in layer.into_iter().filter(|(_, _, there, _)| *there) {
            push(format!("layers.{index}.{part}.weight"), dims)?;
            if bias {
                push(format!("layers.{index}.{part}.bias"), &dims[..1])?;
            }
        }
    }
    push("norm.weight".to_owned(), &[hidden])?;
    if !config.tied_output {
        push("output.weight".to_owned(), &[vocab, hidden])?;
    }
    Ok(table)
}

/// An error unless it holds. Pages load this: one function for whatever is found.
#[inline(never)]
pub(super) fn ensure(
    holds: bool,
    field: &'static str,
    found: &dyn Display,
    expected: &dyn Display,
) -> Result<(), ConfigError> {
    if holds {
        return Ok(());
    }
    Err(ConfigError { field, found: found.to_string(), expected: expected.to_string() })
}

/// An error unless the number, found as it is written, is finite and above zero.
#[inline(never)]
pub(super) fn ensure_positive(
    field: &'static str,
    number: f64,
    found: &dyn Display,
) -> Result<(), ConfigError> {
    ensure(number.is_finite() && number > 0.0, field, found, &"a positive finite number")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::norms::Norms;
    use crate::model::variant::RopeScale;

    /// One block, hidden 8, FFN 16, vocabulary 260: the published tiny fixture.
    pub(crate) fn tiny() -> ModelConfig {
        ModelConfig {
            vocab_size: 260,
            special_token_count: 4,
            hidden_size: 8,
            layer_count: 1,
            head_count: 2,
            kv_head_count: 2,
            head_dim: 4,
            ffn_size: 16,
            max_context: 16,
            rope_theta: 10_000.0,
            rms_norm_epsilon: 1e-5,
            tied_output: false,
            variant: Variant::PLAIN,
        }
    }

    /// The published TinyLM-16M.
    pub(crate) fn tiny_lm_16m() -> ModelConfig {
        ModelConfig {
            hidden_size: 512,
            layer_count: 4,
            head_count: 8,
            kv_head_count: 8,
            head_dim: 64,
            ffn_size: 2048,
            max_context: 512,
            ..tiny()
        }
    }

    fn count(config: &ModelConfig) -> (usize, usize) {
        let table = tensor_table(config).unwrap();
        assert_eq!(table.len() as u64, config.tensor_count());
        (table.len(), table.iter().map(|spec| spec.shape.elements()).sum())
    }

    #[test]
    fn published_counts() {
        assert_eq!(count(&tiny()), (12, 4_824));
        assert_eq!(count(&ModelConfig { tied_output: true, ..tiny() }), (11, 2_744));
        assert_eq!(count(&tiny_lm_16m()), (39, 17_048_064));
    }

    #[test]
    fn biases_follow_their_matrices() {
        let variant = Variant { qkv_bias: true, output_bias: true, ffn_bias: true, ..Variant::PLAIN };
        let config = ModelConfig { variant, head_dim: 6, kv_head_count: 1, ..tiny() };
        let table = tensor_table(&config).unwrap();
        assert_eq!(table.len() as u64, config.tensor_count());
        let listed: Vec<_> = table[2..6].iter().map(|spec| format!("{} {}", spec.name, spec.shape)).collect();
        let expected =
            ["wq.weight 12x8", "wq.bias 12", "wk.weight 6x8", "wk.bias 6"].map(|it| format!("layers.0.{it}"));
        assert_eq!(listed, expected);
    }

    #[test]
    fn norms_stand_where_they_are_read() {
        let listed = |norms| {
            let variant = Variant { norms, ..Variant::PLAIN };
            let config = ModelConfig {
                variant: variant.clone(),
                head_dim: 6,
                kv_head_count: 1,
                layer_count: 3,
                ..tiny()
            };
            let table = tensor_table(&config).unwrap();
            assert_eq!(table.len() as u64, config.tensor_count());
            let error = config.validate_plain().unwrap_err().to_string();
            assert_eq!(error, format!("norm is {norms}; expected before attention and feed-forward"));
            let of_layer = table.iter().filter_map(|spec| {
                let name = spec.name.strip_prefix("layers.1.")?.strip_suffix(".weight")?;
                Some(format!("{name} {}", spec.shape))
            });
            of_layer.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(
            listed(Norms::QWEN3),
            "attn_norm 8, wq 12x8, wk 6x8, wv 6x8, q_norm 6, k_norm 6, wo 8x12, ffn_norm 8, w1 16x8, w2 8x16, w3 16x8"
        );
        assert_eq!(
            listed(Norms::OLMO2),
            "wq 12x8, wk 6x8, wv 6x8, q_norm 12, k_norm 6, wo 8x12, ffn_norm 8, w1 16x8, w2 8x16, w3 16x8, ffn_post_norm 8"
        );
        assert_eq!(
            listed(Norms::GEMMA3),
            "attn_norm 8, wq 12x8, wk 6x8, wv 6x8, q_norm 6, k_norm 6, wo 8x12, ffn_norm 8, ffn_pre_norm 8, w1 16x8, w2 8x16, w3 16x8, ffn_post_norm 8"
        );
    }

    #[test]
    fn grouped_heads_narrow_the_keys_and_values() {
        let table = tensor_table(&ModelConfig { kv_head_count: 1, ..tiny() }).unwrap();
        let shape = |name: &str| table.iter().find(|spec| spec.name == name).unwrap().shape.to_string();
        assert_eq!(shape("layers.0.wk.weight"), "4x8");
        assert_eq!(shape("layers.0.wq.weight"), "8x8");
        assert_eq!(shape("layers.0.w2.weight"), "8x16");
    }

    #[test]
    fn refusals_name_the_field() {
        let refused = |config: ModelConfig| config.validate().unwrap_err().field;
        assert!(tiny().validate().is_ok());
        assert_eq!(refused(ModelConfig { layer_count: 0, ..tiny() }), "layer_count");
        assert_eq!(refused(ModelConfig { kv_head_count: 3, ..tiny() }), "kv_head_count");
        assert_eq!(refused(ModelConfig { kv_head_count: 4, ..tiny() }), "kv_head_count");
        assert_eq!(refused(ModelConfig { head_dim: 3, ..tiny() }), "head_dim");
        let plain = |config: ModelConfig| config.validate_plain().unwrap_err().field;
        assert!(ModelConfig { hidden_size: 10, ..tiny() }.validate().is_ok());
        assert_eq!(plain(ModelConfig { hidden_size: 10, ..tiny() }), "hidden_size");
        let biased = Variant { qkv_bias: true, ..Variant::PLAIN };
        assert_eq!(plain(ModelConfig { variant: biased.clone(), ..tiny() }), "bias");
        let rope = RopeScale::Linear { factor: 0.0 };
        assert_eq!(
            refused(ModelConfig { variant: Variant { rope, ..biased.clone() }, ..tiny() }),
            "rope factor"
        );
        assert_eq!(refused(ModelConfig { rope_theta: f32::NAN, ..tiny() }), "rope_theta");
        assert_eq!(refused(ModelConfig { rms_norm_epsilon: 0.0, ..tiny() }), "rms_norm_epsilon");
    }
}
