//! Which tensor is which matrix.
//!
//! A model of a hundred megabytes must not cost a hundred megabytes twice, so weights are used where
//! the file is mapped. Only three small things are copied: norm vectors (needed as f32 at every step),
//! f32 payloads that lie at an odd address, and nothing else. The table of places is made once, when
//! a model is opened; the borrowed matrices are made from it at the start of every pass, which costs
//! a microsecond.

use std::collections::BTreeMap;

use super::config::Dimensions;
use super::error::RuntimeError;
use crate::model::checkpoint::Checkpoint;
use crate::tensor::dtype::DType;
use crate::tensor::kernel::Matrix;
use crate::tensor::view::TensorView;

/// Where a matrix lies: an index into the checkpoint's tensors.
#[derive(Debug)]
struct Place {
    tensor: usize,
    copy: Option<Vec<f32>>,
}

#[derive(Debug)]
struct LayerPlaces {
    attention_norm: Vec<f32>,
    query: Place,
    key: Place,
    value: Place,
    output: Place,
    ffn_norm: Vec<f32>,
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

/// One block's weights, borrowed.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Layer<'a> {
    pub attention_norm: &'a [f32],
    pub query: Matrix<'a>,
    pub key: Matrix<'a>,
    pub value: Matrix<'a>,
    pub output: Matrix<'a>,
    pub ffn_norm: &'a [f32],
    pub gate: Matrix<'a>,
    pub down: Matrix<'a>,
    pub up: Matrix<'a>,
}

/// A network's weights, borrowed.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Weights<'a> {
    pub embedding: Matrix<'a>,
    pub layers: Vec<Layer<'a>>,
    pub norm: &'a [f32],
    pub output: Matrix<'a>,
}

impl Layout {
    /// Finds every tensor and checks its shape. Stops at the first that is missing, so a false layer
    /// count costs nothing.
    pub fn new(checkpoint: &Checkpoint, dimensions: &Dimensions) -> Result<Self, RuntimeError> {
        let finder = Finder::new(checkpoint);
        let &Dimensions { vocab, hidden, query, kv, ffn, .. } = dimensions;
        let mut layers = Vec::new();
        for layer in 0..dimensions.layers {
            let matrix = |name: &str, rows, columns| {
                finder.matrix(&format!("layers.{layer}.{name}.weight"), rows, columns)
            };
            let vector = |name: &str| finder.vector(&format!("layers.{layer}.{name}.weight"), hidden);
            layers.push(LayerPlaces {
                attention_norm: vector("attn_norm")?,
                query: matrix("wq", query, hidden)?,
                key: matrix("wk", kv, hidden)?,
                value: matrix("wv", kv, hidden)?,
                output: matrix("wo", hidden, query)?,
                ffn_norm: vector("ffn_norm")?,
                gate: matrix("w1", ffn, hidden)?,
                down: matrix("w2", hidden, ffn)?,
                up: matrix("w3", ffn, hidden)?,
            });
        }
        let untied = || finder.matrix("output.weight", vocab, hidden);
        Ok(Self {
            embedding: finder.matrix("tok_embeddings.weight", vocab, hidden)?,
            layers,
            norm: finder.vector("norm.weight", hidden)?,
            output: if dimensions.tied { None } else { Some(untied()?) },
        })
    }

    /// The weights of the checkpoint this layout was made from.
    ///
    /// `None` only if it was made from another.
    pub fn weights<'a>(&'a self, checkpoint: &'a Checkpoint) -> Option<Weights<'a>> {
        let views: Vec<_> = checkpoint.tensors().collect();
        let matrix = |place: &'a Place| Matrix::new(*views.get(place.tensor)?, place.copy.as_deref());
        let layers = self.layers.iter().map(|layer| {
            Some(Layer {
                attention_norm: &layer.attention_norm,
                query: matrix(&layer.query)?,
                key: matrix(&layer.key)?,
                value: matrix(&layer.value)?,
                output: matrix(&layer.output)?,
                ffn_norm: &layer.ffn_norm,
                gate: matrix(&layer.gate)?,
                down: matrix(&layer.down)?,
                up: matrix(&layer.up)?,
            })
        });
        let embedding = matrix(&self.embedding)?;
        Some(Weights {
            embedding,
            layers: layers.collect::<Option<_>>()?,
            norm: &self.norm,
            output: self.output.as_ref().map_or(Some(embedding), matrix)?,
        })
    }
}

struct Finder<'a> {
    by_name: BTreeMap<&'a str, (usize, TensorView<'a>)>,
}

impl<'a> Finder<'a> {
    fn new(checkpoint: &'a Checkpoint) -> Self {
        let named = checkpoint.tensors().enumerate().map(|(index, view)| (view.name, (index, view)));
        Self { by_name: named.collect() }
    }

    fn find(&self, name: &str, expected: &[usize]) -> Result<(usize, TensorView<'a>), RuntimeError> {
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

    fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Place, RuntimeError> {
        let (tensor, view) = self.find(name, &[rows, columns])?;
        let place = Place { tensor, copy: copy_if_needed(view) };
        match Matrix::new(view, place.copy.as_deref()) {
            Some(_) => Ok(place),
            None => Err(RuntimeError::Layout { name: name.to_owned(), dtype: view.dtype }),
        }
    }

    /// A vector is one row, whatever its encoding.
    fn vector(&self, name: &str, width: usize) -> Result<Vec<f32>, RuntimeError> {
        let (_, view) = self.find(name, &[width])?;
        let copy = copy_if_needed(view);
        let Some(matrix) = Matrix::new(view, copy.as_deref()) else {
            return Err(RuntimeError::Layout { name: name.to_owned(), dtype: view.dtype });
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
        let dimensions = Dimensions::new(&checkpoint.config).unwrap();
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
        let dimensions = Dimensions::new(&checkpoint.config).unwrap();
        let error = Layout::new(&checkpoint, &dimensions).unwrap_err().to_string();
        assert!(error.contains("layers.2.attn_norm.weight"), "{error}");
    }

    #[test]
    fn a_shape_of_another_network_is_refused() {
        let mut config = fixture::config();
        let tensors = fixture::Tensors::of(&config, DType::Q8_0);
        config.ffn_size = 32;
        let checkpoint = tensors.with_config(config).checkpoint();
        let dimensions = Dimensions::new(&checkpoint.config).unwrap();
        let error = Layout::new(&checkpoint, &dimensions).unwrap_err().to_string();
        assert!(error.contains("`layers.0.w1.weight` is 24x16") && error.contains("32x16"), "{error}");
    }
}
