//! A PEFT folder to a package and back, on every format of base: the same factors, and a model with the
//! folder on it has the same bytes as with the one that came back. `MODEL+ADAPTER` as one model.

use std::collections::BTreeMap;

use studbook::base::rng::Philox;
use studbook::model::slm1::write::write_values;
use studbook::model::slm1::{Encoding, Layout};
use studbook::model::tokenizer::Tokenizer;
use studbook::model::{ModelConfig, WriteError, open_package};
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
                let model = format!("{base}+{adapter}");
                if base != "folder" {
                    let out = format!("whole-{base}.safetensors");
                    space.studbook(&["convert", &model, &out, "--force"]).exits(0);
                    return tensors(&space, &out);
                }
                let text = format!(
                    "merge_method: linear\nmodels: [{{model: {model}, parameters: {{weight: 1}}}}]\n"
                );
                space.write("whole.yml", text.as_bytes());
                space.studbook(&["merge", "whole.yml", "whole-folder", "--force"]).exits(0);
                tensors(&space, "whole-folder")
            };
            let (one, other) = (whole(name), whole(&back));
            assert!(one == other, "{name} on {base}: another model");
            // A conversion of the two is the same model.
            let (from, to) =
                (format!("{base}+{name}"), if base == "folder" { "made" } else { "made.safetensors" });
            let format = if base == "folder" { "hugging-face" } else { "safetensors" };
            let said = space.studbook(&["convert", &from, to, "--to", format, "--force"]).exits(0);
            said.says("and an adapter");
            assert!(tensors(&space, to) == one, "{name} on {base}: converted");
            assert!(one != tensors(&space, base), "{name} on {base}: no change");
        }
    }
}

#[test]
fn a_model_with_an_adapter_is_converted_and_run_as_one() {
    let space = Space::empty();
    let config = ModelConfig { tied_output: false, ..config() };
    space.write("base.slm", &model(&config, "base", DType::F32));
    space.write("lora/adapter_model.safetensors", &factors("F32", &[("layers.0.mlp.up_proj", 16, 8, 2)]));
    let settings = r#"{"peft_type":"LORA","r":2,"lora_alpha":20,"target_modules":["up_proj"]}"#;
    space.write("lora/adapter_config.json", settings.as_bytes());
    space.studbook(&["convert", "base.slm+lora", "one.slm"]).exits(0).says("and an adapter");
    space.studbook(&["convert", "base.slm+lora", "one.gguf"]).exits(0);
    space.studbook(&["convert", "lora", "x.sbl", "--base", "base.slm"]).exits(0);
    space.studbook(&["convert", "base.slm+x.sbl", "two.slm"]).exits(0);
    for other in ["one.gguf", "two.slm"] {
        space.studbook(&["diff", "one.slm", other, "--exit-code"]).exits(0);
    }
    space.studbook(&["diff", "one.slm", "base.slm", "--exit-code"]).exits(1);
    for pair in [["base.slm+lora", "one.gguf"], ["one.gguf", "base.slm+x.sbl"], ["base.slm+x.sbl", "one.slm"]]
    {
        space.studbook(&["diff", pair[0], pair[1], "--exit-code"]).exits(0).says("the same tensors");
    }
    space.studbook(&["diff", "base.slm", "base.slm+lora", "--exit-code"]).exits(1).says("layers.0.w3.weight");
    let words = |name: &str| {
        let options = ["--prompt", "ab", "--max-tokens", "24", "--temperature", "2"];
        space.studbook(&[&["generate", name], &options[..]].concat()).exits(0).out
    };
    assert_eq!(words("base.slm+lora"), words("one.slm"));
    assert_ne!(words("base.slm"), words("one.slm"));
    // What stands behind the plus is an adapter that fits.
    let refused = |name: &str| space.studbook(&["convert", name, "no.slm"]).exits(2);
    refused("base.slm+one.slm").complains("one.slm is no adapter");
    refused("base.slm+none").complains("base.slm+none");
    space.write("tied.slm", &model(&crate::space::config(), "base", DType::F32));
    refused("tied.slm+x.sbl").complains("x.sbl: the adapter is for another model");
    assert!(!space.path("no.slm").exists());
}

/// Models as people have them, with their own tokenizers, tied, in half precision or with biases: an adapter
/// on one is tested as what the two make.
#[test]
fn an_adapter_on_a_downloaded_model_is_run_and_measured() {
    let space = Space::empty();
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let folder = fixtures.join("lm_eval/model");
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        space.write(&format!("base/{name}"), &std::fs::read(folder.join(name)).unwrap());
    }
    for (name, file) in [
        ("base.gguf", "gguf/qwen2.gguf"),
        ("qwen3.gguf", "gguf/qwen3.gguf"),
        ("gemma3.gguf", "gguf/gemma3.gguf"),
    ] {
        space.write(name, &std::fs::read(fixtures.join(file)).unwrap());
    }
    space.studbook(&["convert", "qwen3.gguf", "qwen3", "--to", "hugging-face"]).exits(0);
    space.studbook(&["convert", "gemma3.gguf", "gemma3", "--to", "hugging-face"]).exits(0);
    // All are 16 wide and 24 inside; one is tied.
    space.write("lora/adapter_model.safetensors", &factors("F32", &[("layers.1.mlp.up_proj", 24, 16, 2)]));
    let settings = r#"{"peft_type":"LORA","r":2,"lora_alpha":40,"target_modules":["up_proj"]}"#;
    space.write("lora/adapter_config.json", settings.as_bytes());
    space.write("cases.jsonl", b"{\"id\":\"c\",\"prompt\":\"the \",\"expected\":\"x\"}\n");
    for base in ["base", "base.gguf", "qwen3", "qwen3.gguf", "gemma3", "gemma3.gguf"] {
        let whole = format!("whole-{base}");
        let is_file = base.ends_with(".gguf");
        let to = if is_file { "gguf" } else { "hugging-face" };
        let made = ["convert", &format!("{base}+lora"), &whole, "--to", to, "--dtype", "f32"];
        space.studbook(&made).exits(0);
        let words = |name: &str| {
            let options = ["--prompt", "the ", "--max-tokens", "16", "--temperature", "1.5"];
            space.studbook(&[&["generate", name], &options[..]].concat()).exits(0).out
        };
        assert_eq!(words(&format!("{base}+lora")), words(&whole));
        assert_ne!(words(base), words(&whole));
        let plan = format!(
            "[cycle]\nname = \"tuned\"\nseed = \"7\"\noutput = \"f32\"\n\n\
             [budget]\ncandidates = 1\nartifact = \"1 MiB\"\ndisk = \"8 MiB\"\nseconds = 600\n\n\
             [parents.base]\nsource = \"{base}\"\n\n[parents.x]\nsource = \"lora\"\nadapts = \"base\"\n\n\
             [parents.whole]\nsource = \"{whole}\"\n\n\
             [candidates.child]\noperator = \"blend\"\nparents = [\"x\", \"whole\"]\nweight = 0.5\n\n\
             [smoke]\nprompts = [\"the \"]\nmax_tokens = 8\n\n\
             [[eval]]\nname = \"cases\"\nkind = \"exact_match\"\ncases = \"cases.jsonl\"\n\
             use = \"both\"\nmax_tokens = 8\n\n\
             [[gate]]\nname = \"no-worse\"\nkind = \"metric\"\nmetric = \"exact_match\"\n\
             suites = [\"cases\"]\nversus = \"best-parent\"\nmargin = 0.0\n"
        );
        space.write("plan.toml", plan.as_bytes());
        space.studbook(&["run", "plan.toml"]).exits(0).says("admitted");
        space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0).says("MATCH");
        let record = |name: &str| -> serde_json::Value {
            let text = space.read(&format!(".studbook/runs/tuned/06-smoke/{name}.json"));
            serde_json::from_str::<serde_json::Value>(&text).unwrap()["body"]["prompts"].clone()
        };
        assert_eq!(record("x"), record("whole"), "the adapter is run on its model");
        assert_ne!(record("x"), record("base"));
        let outcomes =
            |name: &str| space.read(&format!(".studbook/runs/tuned/07-eval/{name}.cases.outcomes.jsonl"));
        assert_eq!(outcomes("x"), outcomes("whole"));
        let child = format!(".studbook/runs/tuned/04-operator/child{}", if is_file { ".gguf" } else { "" });
        space.studbook(&["diff", &whole, &child, "--exit-code"]).exits(0);
    }
    // What is turned, in both of qwen3's formats: the heads are wider than their share of the residual stream.
    let modules = [("layers.0.self_attn.q_proj", 40, 16, 2), ("layers.1.self_attn.k_proj", 20, 16, 2)];
    space.write("turned/adapter_model.safetensors", &factors("F32", &modules));
    space.write(
        "turned/adapter_config.json",
        settings.replace("\"up_proj\"", "\"q_proj\",\"k_proj\"").as_bytes(),
    );
    for (base, whole) in [("qwen3", "turned-folder"), ("qwen3.gguf", "turned-file")] {
        let made = ["convert", &format!("{base}+turned"), whole, "--to", "hugging-face", "--dtype", "f32"];
        space.studbook(&made).exits(0);
    }
    space.studbook(&["diff", "turned-folder", "turned-file", "--exit-code"]).exits(0).says("the same values");
    space.studbook(&["diff", "qwen3", "turned-folder", "--exit-code"]).exits(1).says("q_proj").says("k_proj");
}

/// A tied model that stores its output matrix all the same: a change of that copy would be lost.
#[test]
fn a_change_of_what_follows_from_other_tensors_is_refused() {
    let space = Space::empty();
    let config = ModelConfig { tied_output: false, ..config() };
    let layout = Layout::new(&config, &Tokenizer::Btok, Encoding::new(DType::F32)).unwrap();
    let mut bytes = Vec::new();
    write_values::<WriteError>(&layout, &mut bytes, |tensor, start, out| {
        let seed = tensor.name.replace("output", "tok_embeddings");
        let random = Philox::for_purpose(&[&seed]);
        out.iter_mut().zip(start..).for_each(|(out, i)| *out = random.unit(i as u64) as f32);
        Ok(())
    })
    .unwrap();
    space.write("base.slm", &bytes);
    space.studbook(&["convert", "base.slm", "base", "--to", "hugging-face", "--dtype", "f32"]).exits(0);
    let name = |letter| format!("base_model.model.lm_head.lora_{letter}.weight");
    let payload: Vec<u8> = (0..268).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let header = serde_json::json!({
        name('A'): { "dtype": "F32", "shape": [1, 8], "data_offsets": [0, 32] },
        name('B'): { "dtype": "F32", "shape": [260, 1], "data_offsets": [32, 1072] },
    })
    .to_string();
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &payload].concat();
    space.write("lora/adapter_model.safetensors", &file);
    let settings = r#"{"peft_type":"LORA","r":1,"lora_alpha":1,"target_modules":["lm_head"]}"#;
    space.write("lora/adapter_config.json", settings.as_bytes());
    space.write("m.yml", b"merge_method: passthrough\nmodels: [{model: base+lora}]\n");
    space.studbook(&["merge", "m.yml", "own"]).exits(0);
    space.edit("base/config.json", "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
    for command in [
        &["merge", "m.yml", "no"][..],
        &["convert", "base+lora", "no.gguf"],
        &["extract", "base", "lora", "no.sbl"],
        &["generate", "base+lora", "--prompt", "a"],
    ] {
        let said = space.studbook(command).exits(2);
        said.complains("tensor lm_head.weight, which in this model follows from other tensors");
    }
    assert!(["no", "no.gguf", "no.sbl"].iter().all(|name| !space.path(name).exists()));
}

/// Every tensor of a model.
fn tensors(space: &Space, base: &str) -> Vec<(String, Vec<u8>)> {
    let package = open_package(&space.path(base)).unwrap().package;
    package.weights.tensors().map(|tensor| (tensor.name.to_owned(), tensor.data.to_vec())).collect()
}

/// Shapes fit by chance: what an adapter says of its base is held against what the base says of itself.
#[test]
fn an_adapter_for_another_family_is_warned_of() {
    let space = Space::empty();
    let config = ModelConfig { tied_output: false, ..config() };
    space.write("base.slm", &model(&config, "base", DType::F32));
    space.studbook(&["convert", "base.slm", "base", "--to", "hugging-face", "--dtype", "f32"]).exits(0);
    space.write("lora/adapter_model.safetensors", &factors("F32", &[("layers.0.mlp.up_proj", 16, 8, 2)]));
    let says = |base: &str| {
        let settings = format!(
            r#"{{"peft_type":"LORA","r":2,"lora_alpha":4,"target_modules":["up_proj"],
                "base_model_name_or_path":"{base}"}}"#
        );
        space.write("lora/adapter_config.json", settings.as_bytes());
    };
    let text = "merge_method: linear\nmodels: [{model: base+lora, parameters: {weight: 1}}]\n";
    space.write("m.yml", text.as_bytes());
    space.write("plan.toml", ADDED.as_bytes());
    let commands: [&[&str]; 5] = [
        &["convert", "base+lora", "sum.safetensors", "--force"],
        &["convert", "lora", "x.sbl", "--base", "base", "--force"],
        &["diff", "base", "base+lora"],
        &["merge", "m.yml", "merged", "--force"],
        &["check", "plan.toml"],
    ];
    for command in commands {
        says("mistralai/Mistral-7B-v0.1");
        let said = space.studbook(command).exits(0).complains("warning");
        said.complains("trained for \"mistralai/Mistral-7B-v0.1\"").complains("`llama`");
        says("meta-llama/Llama-2-7b-hf");
        let said = space.studbook(command).exits(0);
        assert!(!said.err.contains("trained for"), "{command:?}: {}", said.err);
    }
    says("mistralai/Mistral-7B-v0.1");
    space.studbook(commands[3]).exits(0);
    assert!(space.read("merged/studbook-receipt.json").contains("Mistral-7B"));
}

const ADDED: &str = r#"
[cycle]
name = "added"
seed = "7"

[budget]
candidates = 1
artifact = "1 MiB"
disk = "8 MiB"
seconds = 600

[parents.base]
source = "base"

[parents.x]
source = "lora"
adapts = "base"

[candidates.mean]
operator = "blend"
parents = ["base", "x"]

[smoke]
prompts = ["ab"]
max_tokens = 4

[[gate]]
name = "size"
kind = "metric"
metric = "artifact_bytes"
max = 1000000
"#;

/// A folder by itself: whatever model it is for, it says what it would add.
#[test]
fn a_folder_is_inspected_without_its_base() {
    let space = Space::empty();
    let settings = r#"{"peft_type":"LORA","r":2,"lora_alpha":20,"target_modules":["up_proj","embed_tokens"],
        "base_model_name_or_path":"somebody/base"}"#;
    space.write("lora/adapter_config.json", settings.as_bytes());
    let modules = [("layers.0.mlp.up_proj", 16, 8, 2), ("embed_tokens", 8, 260, 2)];
    space.write("lora/adapter_model.safetensors", &factors("F32", &modules));
    let said = space.studbook(&["inspect", "lora"]).exits(0);
    let said = said.says("peft-lora").says("every value is finite").says("somebody/base");
    assert!(said.out.contains("model.layers.0.mlp.up_proj  16x8   rank 2, scale 10"), "{}", said.out);
    assert!(said.out.contains("model.embed_tokens          260x8  rank 2, scale 10"), "{}", said.out);
    let json: serde_json::Value =
        serde_json::from_str(&space.studbook(&["inspect", "lora", "--format", "json"]).exits(0).out).unwrap();
    assert_eq!(json["stated_base"], "somebody/base");
    assert_eq!(json["numbers"], 2 * (16 + 8 + 8 + 260));
    assert_eq!(json["deltas"].as_array().unwrap().len(), 2);
    // What a model would refuse of it is refused without one, too.
    space.edit("lora/adapter_config.json", "\"r\":2", "\"r\":3");
    space.studbook(&["inspect", "lora"]).exits(2).complains("lora").complains("rank");
    space.edit("lora/adapter_config.json", "\"r\":3", "\"use_dora\":true,\"r\":2");
    space.studbook(&["inspect", "lora"]).exits(2).complains("use_dora");
}
