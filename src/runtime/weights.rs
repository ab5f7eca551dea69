//! Which tensor is which matrix.
//!
//! A model of a hundred megabytes must not cost a hundred megabytes twice, so weights are used where
//! the file is mapped. Only small things are copied: norm vectors and biases (needed as f32 at every step)
//! and f32 payloads that lie at an odd address. The table of places is made once, when a model is opened;
//! a borrowed matrix is made from it when its turn comes, which costs nanoseconds and no memory.

use std::collections::BTreeMap;

use super::config::Dimensions;
use super::error::RuntimeError;
use crate::model::checkpoint::Checkpoint;
use crate::model::naming::Naming;
use crate::model::variant::Variant;
use crate::tensor::dtype::DType;
use crate::tensor::kernel::Matrix;
use crate::tensor::view::TensorView;

/// Where a matrix lies: an index into the checkpoint's tensors.
#[derive(Debug)]
struct Place {
    tensor: usize,
    copy: Option<Vec<f32>>,
    bias: Vec<f32>,
}

#[derive(Debug)]
struct LayerPlaces {
    attention_norm: Vec<f32>,
    attention_post_norm: Vec<f32>,
    query: Place,
    key: Place,
    value: Place,
    query_norm: Vec<f32>,
    key_norm: Vec<f32>,
    output: Place,
    ffn_norm: Vec<f32>,
    ffn_post_norm: Vec<f32>,
    gate: Place,
    down: Place,
    up: Place,
}

/// Every matrix and vector of a network, found and checked.
#[derive(Debug)]
pub struct Layout {
    embedding: Place,
    layers: Vec<LayerPlaces>,
    norm: Vec<f32>,
    output: Option<Place>,
}

/// A matrix and what is added to its products; no bias is an empty one.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Linear<'a> {
    pub matrix: Matrix<'a>,
    pub bias: &'a [f32],
}

/// One block's weights, borrowed. What is not normed has an empty norm.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Layer<'a> {
    pub attention_norm: &'a [f32],
    pub attention_post_norm: &'a [f32],
    pub query: Linear<'a>,
    pub key: Linear<'a>,
    pub value: Linear<'a>,
    pub query_norm: &'a [f32],
    pub key_norm: &'a [f32],
    pub output: Linear<'a>,
    pub ffn_norm: &'a [f32],
    pub ffn_post_norm: &'a [f32],
    pub gate: Linear<'a>,
    pub down: Linear<'a>,
    pub up: Linear<'a>,
}

/// A network's weights, borrowed from the checkpoint they were found in.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    layout: &'a Layout,
    checkpoint: &'a Checkpoint,
}

impl Layout {
    /// Finds every tensor and checks its shape.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Missing`], [`RuntimeError::Shape`] or [`RuntimeError::Layout`] of the first that is not
    /// as the configuration says: a false layer count costs nothing.
    pub fn new(checkpoint: &Checkpoint, dimensions: &Dimensions) -> Result<Self, RuntimeError> {
        let finder = Finder::new(checkpoint);
        let &Dimensions { vocab, hidden, head, query, kv, ffn, .. } = dimensions;
        let Variant { qkv_bias, output_bias, ffn_bias, norms, .. } = dimensions.variant;
        let [query_norm, key_norm] = norms.heads.widths(head, query, kv).unwrap_or_default();
        // How wide a norm is that stands before, or behind; zero where it does not.
        let [before, behind] =
            [norms.place.is_before(), norms.place.is_behind()].map(|there| if there { hidden } else { 0 });
        // The norm that is called after what it stands between is behind attention where one is.
        let ffn_norm = if norms.place.is_behind() { "ffn_pre_norm" } else { "ffn_norm" };
        let mut layers = Vec::new();
        for layer in 0..dimensions.layers {
            let linear = |name: &str, rows, columns, bias| {
                finder.linear(&format!("layers.{layer}.{name}"), rows, columns, bias)
            };
            let norm = |name: &str, width| match width {
                0 => Ok(Vec::new()),
                width => finder.gains(&format!("layers.{layer}.{name}.weight"), width),
            };
            layers.push(LayerPlaces {
                attention_norm: norm("attn_norm", before)?,
                attention_post_norm: norm("ffn_norm", behind)?,
                query: linear("wq", query, hidden, qkv_bias)?,
                key: linear("wk", kv, hidden, qkv_bias)?,
                value: linear("wv", kv, hidden, qkv_bias)?,
                query_norm: norm("q_norm", query_norm)?,
                key_norm: norm("k_norm", key_norm)?,
                output: linear("wo", hidden, query, output_bias)?,
                ffn_norm: norm(ffn_norm, before)?,
                ffn_post_norm: norm("ffn_post_norm", behind)?,
                gate: linear("w1", ffn, hidden, ffn_bias)?,
                down: linear("w2", hidden, ffn, ffn_bias)?,
                up: linear("w3", ffn, hidden, ffn_bias)?,
            });
        }
        let untied = || finder.linear("output", vocab, hidden, false);
        Ok(Self {
            embedding: finder.linear("tok_embeddings", vocab, hidden, false)?,
            layers,
            norm: finder.gains("norm.weight", hidden)?,
            output: if dimensions.tied { None } else { Some(untied()?) },
        })
    }

    /// The weights in the checkpoint this layout was made from.
    pub fn weights<'a>(&'a self, checkpoint: &'a Checkpoint) -> Weights<'a> {
        Weights { layout: self, checkpoint }
    }
}

impl<'a> Weights<'a> {
    /// Number of blocks.
    pub fn layers(&self) -> usize {
        self.layout.layers.len()
    }

    /// The weights of block `index`.
    pub fn layer(&self, index: usize) -> Layer<'a> {
        let layer = &self.layout.layers[index];
        Layer {
            attention_norm: &layer.attention_norm,
            attention_post_norm: &layer.attention_post_norm,
            query: self.linear(&layer.query),
            key: self.linear(&layer.key),
            value: self.linear(&layer.value),
            query_norm: &layer.query_norm,
            key_norm: &layer.key_norm,
            output: self.linear(&layer.output),
            ffn_norm: &layer.ffn_norm,
            ffn_post_norm: &layer.ffn_post_norm,
            gate: self.linear(&layer.gate),
            down: self.linear(&layer.down),
            up: self.linear(&layer.up),
        }
    }

    /// A row for every id.
    pub fn embedding(&self) -> Matrix<'a> {
        self.linear(&self.layout.embedding).matrix
    }

    /// The gains of the last norm.
    pub fn norm(&self) -> &'a [f32] {
        &self.layout.norm
    }

    /// From the last norm to logits.
    pub fn output(&self) -> Linear<'a> {
        self.linear(self.layout.output.as_ref().unwrap_or(&self.layout.embedding))
    }

    fn linear(&self, place: &'a Place) -> Linear<'a> {
        let view = self.checkpoint.view_at(place.tensor);
        let Some(matrix) = view.and_then(|view| Matrix::new(view, place.copy.as_deref())) else {
            unreachable!("the layout was made from this very checkpoint");
        };
        Linear { matrix, bias: &place.bias }
    }
}

struct Finder<'a> {
    /// What gains are more than what is stored.
    gains: f32,
    naming: Naming,
    by_name: BTreeMap<&'a str, (usize, TensorView<'a>)>,
}

impl<'a> Finder<'a> {
    fn new(checkpoint: &'a Checkpoint) -> Self {
        let named = checkpoint.tensors().enumerate().map(|(index, view)| (view.name, (index, view)));
        let gains = if checkpoint.naming.gains_less_one(&checkpoint.config) { 1.0 } else { 0.0 };
        Self { gains, naming: checkpoint.naming, by_name: named.collect() }
    }

    /// The tensor that SLM1 calls `name`.
    fn find(&self, name: &str, expected: &[usize]) -> Result<(usize, TensorView<'a>), RuntimeError> {
        let own = self.naming.from_slm1(name);
        let name = own.as_deref().unwrap_or(name);
        let text = || expected.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
        let Some((index, view)) = self.by_name.get(name) else {
            return Err(RuntimeError::Missing { name: name.to_owned(), expected: text() });
        };
        if view.shape.dims() != expected {
            let (name, found) = (name.to_owned(), view.shape.to_string());
            return Err(RuntimeError::Shape { name, found, expected: text() });
        }
        Ok((*index, *view))
    }

    fn linear(&self, name: &str, rows: usize, columns: usize, bias: bool) -> Result<Place, RuntimeError> {
        let (tensor, view) = self.find(&format!("{name}.weight"), &[rows, columns])?;
        let bias = if bias { self.vector(&format!("{name}.bias"), rows)? } else { Vec::new() };
        let place = Place { tensor, copy: copy_if_needed(view), bias };
        match Matrix::new(view, place.copy.as_deref()) {
            Some(_) => Ok(place),
            None => Err(RuntimeError::Layout { name: view.name.to_owned(), dtype: view.dtype }),
        }
    }

    /// The gains of a norm.
    fn gains(&self, name: &str, width: usize) -> Result<Vec<f32>, RuntimeError> {
        let mut gains = self.vector(name, width)?;
        if self.gains != 0.0 {
            gains.iter_mut().for_each(|gain| *gain += self.gains);
        }
        Ok(gains)
    }

    /// A vector is one row, whatever its encoding.
    fn vector(&self, name: &str, width: usize) -> Result<Vec<f32>, RuntimeError> {
        let (_, view) = self.find(name, &[width])?;
        let copy = copy_if_needed(view);
        let Some(matrix) = Matrix::new(view, copy.as_deref()) else {
            return Err(RuntimeError::Layout { name: view.name.to_owned(), dtype: view.dtype });
        };
        let mut numbers = vec![0.0; width];
        matrix.copy_row(0, &mut numbers);
        Ok(numbers)
    }
}

/// The numbers of an f32 tensor that cannot be read in place; nothing if its length is wrong anyway.
fn copy_if_needed(view: TensorView<'_>) -> Option<Vec<f32>> {
    let whole = Some(view.data.len()) == view.shape.elements().checked_mul(4);
    (view.dtype == DType::F32 && view.as_f32().is_none() && whole).then(|| view.to_f32())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fixture;

    #[test]
    fn a_missing_tensor_is_named() {
        let mut parts = fixture::Tensors::of(&fixture::config(), DType::F32);
        parts.remove("layers.1.w2.weight");
        let checkpoint = parts.checkpoint();
        let dimensions = Dimensions::new(&checkpoint.config, false).unwrap();
        let error = Layout::new(&checkpoint, &dimensions).unwrap_err();
        assert_eq!(
            error,
            RuntimeError::Missing { name: "layers.1.w2.weight".to_owned(), expected: "16x24".to_owned() }
        );
    }

    #[test]
    fn a_false_layer_count_fails_at_the_first_layer_that_is_not_there() {
        let mut config = fixture::config();
        let tensors = fixture::Tensors::of(&config, DType::F32);
        config.layer_count = u32::MAX;
        let checkpoint = tensors.with_config(config).checkpoint();
        let dimensions = Dimensions::new(&checkpoint.config, false).unwrap();
        let error = Layout::new(&checkpoint, &dimensions).unwrap_err().to_string();
        assert!(error.contains("layers.2.attn_norm.weight"), "{error}");
    }

    #[test]
    fn a_shape_of_another_network_is_refused() {
        let mut config = fixture::config();
        let tensors = fixture::Tensors::of(&config, DType::Q8_0);
        config.ffn_size = 32;
        let checkpoint = tensors.with_config(config).checkpoint();
        let dimensions = Dimensions::new(&checkpoint.config, false).unwrap();
        let error = Layout::new(&checkpoint, &dimensions).unwrap_err().to_string();
        assert!(error.contains("`layers.0.w1.weight` is 24x16") && error.contains("32x16"), "{error}");
    }
}
