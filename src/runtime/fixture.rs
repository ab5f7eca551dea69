//! Small networks whose weights come from a formula that `tests/fixtures/reference_logits.py` has too.

use std::ops::Range;
use std::sync::Arc;

use crate::model::checkpoint::Checkpoint;
use crate::model::config::ModelConfig;
use crate::model::naming::Naming;
use crate::model::norms::Norms;
use crate::model::tokenizer::Tokenizer;
use crate::model::variant::Variant;
use crate::model::weights::{TensorInfo, Weights};
use crate::model::windows::Windows;
use crate::runtime::Model;
use crate::tensor::dtype::DType;
use crate::tensor::quantize;
use crate::tensor::shape::Shape;

/// Two layers, four query heads over two key heads.
pub(super) fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 260,
        special_token_count: 4,
        hidden_size: 16,
        layer_count: 2,
        head_count: 4,
        kv_head_count: 2,
        head_dim: 4,
        ffn_size: 24,
        max_context: 32,
        rope_theta: 10_000.0,
        rms_norm_epsilon: 1e-5,
        tied_output: false,
        variant: Variant::PLAIN,
    }
}

/// Every kind of norms.
pub(super) const NORMS: [Norms; 3] = [Norms::PLAIN, Norms::QWEN3, Norms::OLMO2];

/// The same network with these norms.
pub(super) fn config_with(norms: Norms) -> ModelConfig {
    ModelConfig { variant: Variant { norms, ..Variant::PLAIN }, ..config() }
}

/// Every kind of network: what differs in norms, and all that gemma3 does, with a window of so many positions.
pub(super) fn networks() -> Vec<ModelConfig> {
    NORMS.into_iter().map(config_with).chain([1, 3, 8].map(windowed)).collect()
}

/// The same network as gemma3 has it; its first layer looks back over a window.
pub(super) fn windowed(size: u32) -> ModelConfig {
    let windows = Some(Windows { size, rope_theta: 100.0, full: vec![1] });
    ModelConfig { variant: Variant { windows, score_width: Some(6), ..Variant::GEMMA3 }, ..config() }
}

/// A model of this configuration and encoding.
pub(super) fn model(config: &ModelConfig, dtype: DType) -> Model {
    Model::new(Arc::new(Tensors::of(config, dtype).checkpoint())).unwrap()
}

/// A checkpoint in the making.
pub(super) struct Tensors {
    config: ModelConfig,
    infos: Vec<TensorInfo>,
    bytes: Vec<u8>,
}

/// Every encoding these narrow rows can have.
pub(super) const DTYPES: [DType; 6] =
    [DType::F32, DType::F16, DType::BF16, DType::F64, DType::Q8_0, DType::Q4_0];

/// Weights per scale of the q4_0 fixtures.
const BLOCK: usize = 4;

impl Tensors {
    pub(super) fn of(config: &ModelConfig, dtype: DType) -> Self {
        let mut tensors = Self { config: config.clone(), infos: Vec::new(), bytes: Vec::new() };
        let size = |value: u32| value as usize;
        let (vocab, hidden, ffn) = (size(config.vocab_size), size(config.hidden_size), size(config.ffn_size));
        let query = size(config.head_count * config.head_dim);
        let kv = size(config.kv_head_count * config.head_dim);
        let norms = config.variant.norms;
        let heads = norms.heads.widths(size(config.head_dim), query, kv);
        // Before attention, or behind feed-forward; the third is called the same on either side.
        let first = if norms.place.is_before() { "attn_norm" } else { "ffn_post_norm" };
        let around = norms.place.is_before() && norms.place.is_behind();
        tensors.add("tok_embeddings.weight", &[vocab, hidden], dtype);
        for layer in 0..config.layer_count {
            for (name, dims) in [
                (first, vec![hidden]),
                ("wq", vec![query, hidden]),
                ("wk", vec![kv, hidden]),
                ("wv", vec![kv, hidden]),
                ("wo", vec![hidden, query]),
                ("ffn_norm", vec![hidden]),
                ("w1", vec![ffn, hidden]),
                ("w2", vec![hidden, ffn]),
                ("w3", vec![ffn, hidden]),
            ] {
                tensors.add(&format!("layers.{layer}.{name}.weight"), &dims, dtype);
            }
            for name in ["ffn_pre_norm", "ffn_post_norm"].into_iter().filter(|_| around) {
                tensors.add(&format!("layers.{layer}.{name}.weight"), &[hidden], dtype);
            }
            for (name, width) in ["q_norm", "k_norm"].into_iter().zip(heads.iter().flatten()) {
                tensors.add(&format!("layers.{layer}.{name}.weight"), &[*width], dtype);
            }
        }
        tensors.add("norm.weight", &[hidden], dtype);
        if !config.tied_output {
            tensors.add("output.weight", &[vocab, hidden], dtype);
        }
        tensors
    }

    pub(super) fn with_config(self, config: ModelConfig) -> Self {
        Self { config, ..self }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.infos.retain(|info| info.name != name);
    }

    /// Moves all bytes to odd addresses.
    pub(super) fn shifted(mut self) -> Self {
        self.bytes.insert(0, 0);
        for info in &mut self.infos {
            for range in [&mut info.data, &mut info.scales] {
                *range = range.start + 1..range.end + 1;
            }
        }
        self
    }

    pub(super) fn checkpoint(self) -> Checkpoint {
        let weights = Weights::new("memory", self.infos, vec![Arc::new(self.bytes)]);
        Checkpoint { config: self.config, tokenizer: Tokenizer::Btok, naming: Naming::Slm1, weights }
    }

    fn add(&mut self, name: &str, dims: &[usize], dtype: DType) {
        let shape = Shape::new(dims.to_vec()).unwrap();
        let tensor = self.infos.len() as u64;
        let elements = shape.elements();
        let norm = dims.len() == 1;
        let (data, scales, block_size) = match dtype {
            DType::F32 | DType::F16 | DType::BF16 | DType::F64 | DType::GgmlQ8_0 => {
                let numbers: Vec<_> = (0..elements).map(|i| weight(tensor, i as u64, norm)).collect();
                let (mut data, mut none) = (Vec::new(), Vec::new());
                quantize::encode_into(dtype, 0, shape.columns(), &numbers, &mut data, &mut none).unwrap();
                (data, none, 0)
            }
            DType::Q8_0 => {
                let quanta = (0..elements).map(|i| quantum(tensor, i as u64, 255, norm) as u8);
                (quanta.collect(), scales(tensor, shape.rows(), 1.0 / 127.0), shape.columns())
            }
            DType::Q4_0 => {
                let quanta: Vec<_> =
                    (0..elements).map(|i| quantum(tensor, i as u64, 15, norm) as u8).collect();
                let pairs = quanta.as_chunks::<2>().0.iter().map(|[low, high]| low & 15 | high << 4);
                (pairs.collect(), scales(tensor, elements / BLOCK, 1.0 / 7.0), BLOCK)
            }
        };
        let (data, scales) = (self.append(data), self.append(scales));
        self.infos.push(TensorInfo {
            name: name.to_owned(),
            dtype,
            shape,
            part: 0,
            data,
            scales,
            block_size,
        });
    }

    fn append(&mut self, bytes: Vec<u8>) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend(bytes);
        start..self.bytes.len()
    }
}

/// Well-mixed bits for element `index` of tensor number `tensor`: the finaliser of SplitMix64.
fn bits(tensor: u64, index: u64) -> u64 {
    let mut z = (tensor << 32 | index).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// A multiple of 2^-12 in (-1/2, 1/2), or in (1/2, 3/2) for a norm: exact in f32.
fn weight(tensor: u64, index: u64, norm: bool) -> f32 {
    let centred = (bits(tensor, index) % 4095) as i64 - 2047;
    centred as f32 / 4096.0 + if norm { 1.0 } else { 0.0 }
}

/// A quantum of `levels` possible ones; positive for a norm.
fn quantum(tensor: u64, index: u64, levels: u64, norm: bool) -> i8 {
    let quantum = (bits(tensor, index) % levels) as i64 - (levels / 2) as i64;
    (if norm { quantum.abs().max(1) } else { quantum }) as i8
}

/// Scales between a half and one and a half `unit`.
fn scales(tensor: u64, count: usize, unit: f32) -> Vec<u8> {
    let scale = |i: usize| (512 + bits(tensor + 1000, i as u64) % 1024) as f32 / 1024.0 * unit;
    (0..count).flat_map(|i| scale(i).to_le_bytes()).collect()
}
