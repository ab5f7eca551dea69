//! Tensors as they lie in one file or in several: names, places, bytes.
//!
//! This is what every format has in common, and all that operators need. What the tensors *mean* (a
//! network, a tokenizer) is a [`super::Checkpoint`]'s business, or nobody's: a bare safetensors
//! file says nothing about it and can be merged all the same.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::buffer::Buffer;
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
    /// Which part (file) holds it.
    pub part: usize,
    /// The payload's bytes in that part.
    pub data: Range<usize>,
    /// The scales' bytes in that part; empty for encodings without separate scales.
    pub scales: Range<usize>,
    /// Elements per scale; 0 without separate scales.
    pub block_size: usize,
}

/// Named tensors, in storage order.
#[derive(Clone)]
pub struct Weights {
    format: &'static str,
    tensors: Vec<TensorInfo>,
    /// Only ever asked, never walked: a map has no order.
    by_name: HashMap<String, usize>,
    parts: Vec<SharedBytes>,
    /// What lies beside them and holds no weights.
    buffers: Vec<Buffer>,
}

impl Weights {
    /// Puts tensors together; the reader has checked every range, and that no name comes twice.
    pub(crate) fn new(format: &'static str, tensors: Vec<TensorInfo>, parts: Vec<SharedBytes>) -> Self {
        debug_assert!(tensors.iter().all(|tensor| {
            let bytes = (*parts[tensor.part]).as_ref().len();
            tensor.data.end <= bytes && tensor.scales.end <= bytes
        }));
        let by_name = tensors.iter().enumerate().map(|(i, tensor)| (tensor.name.clone(), i)).collect();
        Self { format, tensors, by_name, parts, buffers: Vec::new() }
    }

    /// No tensors at all: a model that is not there.
    pub fn none() -> Self {
        Self::new("nothing", Vec::new(), Vec::new())
    }

    /// With the tensor `name` once more, under another name, unless there is one of that name.
    #[must_use]
    pub fn with_again(mut self, name: &str, again: &str) -> Self {
        if self.info(again).is_none()
            && let Some(info) = self.info(name).cloned()
        {
            self.by_name.insert(again.to_owned(), self.tensors.len());
            self.tensors.push(TensorInfo { name: again.to_owned(), ..info });
        }
        self
    }

    /// Tensors of several models: each with the number of its model, under the name it is to have.
    pub fn gathered(format: &'static str, models: &[&Self], tensors: Vec<(usize, TensorInfo)>) -> Self {
        let (mut parts, mut first) = (Vec::new(), Vec::with_capacity(models.len()));
        for model in models {
            first.push(parts.len());
            parts.extend(model.parts.iter().cloned());
        }
        let own = |(model, info): (usize, TensorInfo)| TensorInfo { part: first[model] + info.part, ..info };
        Self::new(format, tensors.into_iter().map(own).collect(), parts)
    }

    /// With these beside them.
    #[must_use]
    pub(crate) fn with_buffers(self, buffers: Vec<Buffer>) -> Self {
        Self { buffers, ..self }
    }

    /// Tensors that hold no weights, in storage order.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// Name of the format they were read from.
    pub fn format(&self) -> &'static str {
        self.format
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
        self.by_name.get(name).map(|index| self.view(&self.tensors[*index]))
    }

    /// Where the tensor called `name` lies.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).map(|index| &self.tensors[*index])
    }

    /// The tensor at `index` of [`Self::infos`].
    pub fn view_at(&self, index: usize) -> Option<TensorView<'_>> {
        self.tensors.get(index).map(|info| self.view(info))
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

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights")
            .field("format", &self.format)
            .field("tensors", &self.tensors.len())
            .field("bytes", &self.bytes())
            .finish()
    }
}
