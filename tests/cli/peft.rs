//! A PEFT folder to a package and back, on every format of base: the same factors, and a model with the
//! folder on it has the same bytes as with the one that came back.

use std::collections::BTreeMap;

use studbook::base::rng::Philox;
use studbook::model::{ModelConfig, open_package};
use studbook::tensor::dtype::DType;

use crate::space::{Space, config, model};

/// Factors under PEFT's names, in their encoding, drawn.
fn factors(dtype: &str, modules: &[(&str, usize, usize, usize)]) -> Vec<u8> {
    let (mut header, mut payload) = (serde_json::Map::new(), Vec::new());
    for (module, rows, columns, rank) in modules {
        for (letter, shape) in [('A', [*rank, *columns]), ('B', [*rows, *rank])] {
            let name = match module.ends_with("embed_tokens") {
                true => format!("base_model.model.model.{module}.lora_embedding_{letter}"),
                false => format!("base_model.model.model.{module}.lora_{letter}.weight"),
            };
            let (random, start) = (Philox::for_purpose(&["peft", &name]), payload.len());
            for i in 0..shape[0] * shape[1] {
                let bits = ((random.unit(i as u64) - 0.5) as f32).to_bits();
                match dtype {
                    "F32" => payload.extend_from_slice(&bits.to_le_bytes()),
                    _ => payload.extend_from_slice(&((bits >> 16) as u16).to_le_bytes()),
                }
            }
            let place = [start, payload.len()];
            header.insert(name, serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": place }));
        }
    }
    let text = serde_json::Value::from(header).to_string();
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &payload].concat()
}

/// Every factor's numbers in f32, by name.
fn numbers(space: &Space, folder: &str) -> BTreeMap<String, Vec<u32>> {
    let file = space.path(folder).join("adapter_model.safetensors");
    let package = open_package(&file).unwrap().package;
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    package.weights.tensors().map(|tensor| (tensor.name.to_owned(), bits(tensor.to_f32()))).collect()
}

#[test]
fn folders_come_back_with_the_same_factors_on_any_base() {
    let space = Space::empty();
    let config = ModelConfig { tied_output: false, layer_count: 2, ..config() };
    space.write("base.slm", &model(&config, "base", DType::F32));
    space.studbook(&["convert", "base.slm", "base.gguf"]).exits(0);
    space.studbook(&["convert", "base.slm", "folder", "--to", "hugging-face", "--dtype", "f32"]).exits(0);
    let modules = [
        ("layers.0.self_attn.q_proj", 8, 8, 2),
        ("layers.1.self_attn.k_proj", 4, 8, 3),
        ("layers.1.self_attn.o_proj", 8, 8, 3),
        ("layers.0.mlp.down_proj", 8, 16, 3),
    ];
    // Of an embedding the product is taken transposed.
    let embedding = [&modules[..], &[("embed_tokens", 8, 260, 3)]].concat();
    for (name, dtype, modules, settings) in [
        ("plain", "F32", &embedding[..], r#""use_rslora":false,"alpha_pattern":{"k_proj":0.7}"#),
        ("rslora", "BF16", &modules[..], r#""use_rslora":true"#),
    ] {
        space.write(&format!("{name}/adapter_model.safetensors"), &factors(dtype, modules));
        let targets = modules.iter().map(|(module, ..)| module.rsplit('.').next());
        let targets = serde_json::json!(targets.collect::<Vec<_>>());
        let settings = format!(
            r#"{{"peft_type":"LORA","r":3,"lora_alpha":5,"rank_pattern":{{"q_proj":2}},{settings},
                "target_modules":{targets}}}"#
        );
        space.write(&format!("{name}/adapter_config.json"), settings.as_bytes());
        for base in ["base.slm", "base.gguf", "folder"] {
            let back = format!("{name}-{base}");
            space.studbook(&["convert", name, "x.sbl", "--base", base, "--force"]).exits(0);
            space.studbook(&["convert", "x.sbl", &back, "--base", base]).exits(0).says("modules");
            let (came, went) = (numbers(&space, name), numbers(&space, &back));
            assert_eq!(came.len(), 2 * modules.len());
            assert!(came == went, "{name} on {base}");
            // The factors are the same; so is what they are multiplied by.
            let whole = |adapter: &str| {
                let text = format!(
                    "merge_method: linear\nmodels: [{{model: {base}+{adapter}, parameters: {{weight: 1}}}}]\n"
                );
                space.write("whole.yml", text.as_bytes());
                let out = format!("whole-{base}");
                space.studbook(&["merge", "whole.yml", &out, "--force"]).exits(0);
                tensors(&space, &out)
            };
            let (one, other) = (whole(name), whole(&back));
            assert!(one == other, "{name} on {base}: another model");
            assert!(one != tensors(&space, base), "{name} on {base}: no change");
        }
    }
}

/// Every tensor of a model.
fn tensors(space: &Space, base: &str) -> Vec<(String, Vec<u8>)> {
    let package = open_package(&space.path(base)).unwrap().package;
    package.weights.tensors().map(|tensor| (tensor.name.to_owned(), tensor.data.to_vec())).collect()
}
