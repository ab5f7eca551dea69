//! A model file opened and validated: configuration, tokenizer, tensors in storage order.
//!
//! Readers of every format produce this one type; operators and the runtime know no other.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::model::config::ModelConfig;
use crate::model::tokenizer::Tokenizer;
use crate::tensor::dtype::DType;
use crate::tensor::shape::Shape;
use crate::tensor::view::TensorView;

/// Bytes that live as long as anybody needs them: a mapped file, or memory in a browser.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Where one tensor lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Its encoding.
    pub dtype: DType,
    /// Its dimensions.
    pub shape: Shape,
    /// Which part (file) of the checkpoint holds it.
    pub part: usize,
    /// The payload's bytes in that part.
    pub data: Range<usize>,
    /// The scales' bytes in that part; empty for f32.
    pub scales: Range<usize>,
    /// Elements per scale; 0 for f32.
    pub block_size: usize,
}

/// A validated model.
#[derive(Clone)]
pub struct Checkpoint {
    /// Name of the format it was read from.
    pub format: &'static str,
    /// Dimensions and constants of the network.
    pub config: ModelConfig,
    /// How text becomes ids.
    pub tokenizer: Tokenizer,
    tensors: Vec<TensorInfo>,
    parts: Vec<SharedBytes>,
}

impl Checkpoint {
    /// Puts a checkpoint together; every range was checked by the reader.
    pub(crate) fn new(
        format: &'static str,
        config: ModelConfig,
        tokenizer: Tokenizer,
        tensors: Vec<TensorInfo>,
        parts: Vec<SharedBytes>,
    ) -> Self {
        debug_assert!(tensors.iter().all(|tensor| {
            let bytes = (*parts[tensor.part]).as_ref().len();
            tensor.data.end <= bytes && tensor.scales.end <= bytes
        }));
        Self { format, config, tokenizer, tensors, parts }
    }

    /// Where every tensor lies, in storage order.
    pub fn infos(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// Every tensor, in storage order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = TensorView<'_>> {
        self.tensors.iter().map(|info| self.view(info))
    }

    /// The tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        self.tensors.iter().find(|info| info.name == name).map(|info| self.view(info))
    }

    /// Number of parameters.
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().map(|info| info.shape.elements() as u64).sum()
    }

    /// Bytes of all parts.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| (**part).as_ref().len() as u64).sum()
    }

    fn view<'a>(&'a self, info: &'a TensorInfo) -> TensorView<'a> {
        let part = (*self.parts[info.part]).as_ref();
        TensorView {
            name: &info.name,
            dtype: info.dtype,
            shape: &info.shape,
            data: &part[info.data.clone()],
            scales: &part[info.scales.clone()],
            block_size: info.block_size,
        }
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("format", &self.format)
            .field("config", &self.config)
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}
