//! Checkpoints as people have them, generated: a llama-like network as a Hugging Face folder.

use std::path::{Path, PathBuf};

use studbook::disk::hashed::HashedFile;
use studbook::model::safetensors::{Layout, Metadata, Writer};
use studbook::model::{ModelWriter, Planned};
use studbook::tensor::dtype::DType;
use studbook::tensor::quantize;
use studbook::tensor::shape::Shape;

use crate::yard::bell;

/// Dimensions of a network.
pub(crate) struct Size {
    pub(crate) label: &'static str,
    hidden: usize,
    layers: usize,
    kv: usize,
    ffn: usize,
    vocab: usize,
}

pub(crate) const SIZES: [Size; 2] = [
    Size { label: "160M", hidden: 768, layers: 12, kv: 768, ffn: 3072, vocab: 32_000 },
    Size { label: "1.1B", hidden: 2048, layers: 22, kv: 256, ffn: 5632, vocab: 32_000 },
];

pub(crate) fn planned(name: String, shape: Shape, dtype: DType) -> Planned {
    let block_size = quantize::block_size(dtype, shape.columns(), quantize::DEFAULT_BLOCK);
    Planned { name, shape, dtype, block_size }
}

/// A model's folder, made unless it is there; number 0 is the base, the others lie near it.
pub(crate) fn folder(place: &Path, size: &Size, dtype: DType, model: u64) -> PathBuf {
    let folder = place.join(format!("{}-{dtype}-{model}", size.label));
    let path = weights(&folder);
    if path.exists() {
        return folder;
    }
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("config.json"), config(size, dtype)).expect("a configuration");
    let planned = tensors(size, dtype);
    let layout = Layout::new(planned.clone(), &Metadata::from([("format".into(), "pt".into())]));
    let layout = layout.expect("a layout");
    let mut file = HashedFile::create(&folder).expect("a file");
    let mut writer = Writer::new(&layout, &mut file).expect("a file");
    let (mut values, mut payload, mut scales) = (Vec::new(), Vec::new(), Vec::new());
    for (tensor, plan) in planned.iter().enumerate() {
        let stream = (tensor as u64) << 40;
        for start in (0..plan.shape.elements()).step_by(1 << 20) {
            let end = plan.shape.elements().min(start + (1 << 20));
            let near =
                |i| bell(stream, i) + if model == 0 { 0.0 } else { bell(stream + (model << 60), i) / 16.0 };
            values.clear();
            values.extend((start..end).map(near));
            payload.clear();
            quantize::encode_into(dtype, 0, values.len(), &values, &mut payload, &mut scales)
                .expect("values");
            writer.payload(&payload).expect("a payload");
        }
        writer.finish_tensor(&[]).expect("a tensor");
    }
    writer.finish().expect("a model");
    file.finish().expect("a file").persist(&path, false).expect("a name");
    folder
}

/// The file with a folder's tensors.
pub(crate) fn weights(folder: &Path) -> PathBuf {
    folder.join("model.safetensors")
}

fn config(size: &Size, dtype: DType) -> String {
    let dtype = if dtype == DType::BF16 { "bfloat16" } else { "float32" };
    let Size { hidden, layers, kv, ffn, vocab, .. } = size;
    let (heads, kv_heads) = (hidden / 64, kv / 64);
    format!(
        r#"{{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "{dtype}",
"hidden_size": {hidden}, "intermediate_size": {ffn}, "num_hidden_layers": {layers}, "vocab_size": {vocab},
"num_attention_heads": {heads}, "num_key_value_heads": {kv_heads}, "head_dim": 64, "hidden_act": "silu",
"max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "initializer_range": 0.02,
"tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2, "use_cache": true}}
"#
    )
}

fn tensors(size: &Size, dtype: DType) -> Vec<Planned> {
    let mut all = Vec::new();
    let mut add = |name: String, dims: &[usize]| {
        all.push(planned(name, Shape::new(dims.to_vec()).expect("a shape"), dtype));
    };
    add("model.embed_tokens.weight".to_owned(), &[size.vocab, size.hidden]);
    for layer in 0..size.layers {
        let mut part = |name: &str, dims: &[usize]| add(format!("model.layers.{layer}.{name}.weight"), dims);
        part("input_layernorm", &[size.hidden]);
        part("self_attn.q_proj", &[size.hidden, size.hidden]);
        part("self_attn.k_proj", &[size.kv, size.hidden]);
        part("self_attn.v_proj", &[size.kv, size.hidden]);
        part("self_attn.o_proj", &[size.hidden, size.hidden]);
        part("post_attention_layernorm", &[size.hidden]);
        part("mlp.gate_proj", &[size.ffn, size.hidden]);
        part("mlp.up_proj", &[size.ffn, size.hidden]);
        part("mlp.down_proj", &[size.hidden, size.ffn]);
    }
    add("model.norm.weight".to_owned(), &[size.hidden]);
    add("lm_head.weight".to_owned(), &[size.vocab, size.hidden]);
    all
}
