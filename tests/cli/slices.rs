//! Layers of parents, stacked by a plan; those of a model with an adapter on it are those of the model that
//! the two make.

use studbook::model::{ModelConfig, Package, open_package};
use studbook::tensor::dtype::DType;

use crate::space::{OBJECTIVES, PLAN, Space, config, model};

const STACK: &str = "[candidates.deep]\noperator = \"passthrough\"\nparents = [\"one\", \"two\"]\n\
                     slices = [{ parent = \"one\", layers = [0, 2] }, { parent = \"two\", layers = [1, 3] }]\n";

/// Two parents of three and four layers with output matrices of their own, and a plan that stacks them.
fn space(candidate: &str) -> Space {
    let space = Space::new();
    for (name, layer_count) in [("one", 3), ("two", 4)] {
        let config = ModelConfig { layer_count, tied_output: false, ..config() };
        space.write(&format!("{name}.slm"), &model(&config, name, DType::F32));
    }
    let (before, rest) = PLAN.split_once("[parents.base]").unwrap();
    let (_, rest) = rest.split_once("[smoke]").unwrap();
    let parents = "[parents.one]\nsource = \"one.slm\"\n\n[parents.two]\nsource = \"two.slm\"\n";
    let gates = rest.split_once("[[gate]]\nname = \"quality\"").unwrap().0;
    let plan = format!("{before}{parents}\n{candidate}\n[smoke]{gates}\n[recipe]\nparents = 1\n");
    let plan = plan.replace("output = \"q8_0\"\n", "").replace(OBJECTIVES, "");
    space.write("plan.toml", plan.replace("use = \"both\"", "use = \"selection\"").as_bytes());
    space
}

fn values(package: &Package, tensor: &str) -> Vec<f32> {
    let view = package.weights.tensor(tensor).unwrap_or_else(|| panic!("no tensor {tensor}"));
    let mut values = vec![0.0; view.shape.elements()];
    view.read_f32(0, &mut values);
    values
}

#[test]
fn a_child_of_slices_is_bred_bound_and_recomputed() {
    let space = space(STACK);
    space.studbook(&["check", "plan.toml"]).exits(0);
    space.studbook(&["run", "plan.toml"]).exits(0);
    let made = ".studbook/runs/tiny/04-operator/deep.slm";
    let open = |name: &str| open_package(&space.path(name)).unwrap().package;
    let (one, two, child) = (open("one.slm"), open("two.slm"), open(made));
    assert_eq!(child.config.as_ref().unwrap().layer_count, 4);
    let name = |layer: usize| format!("layers.{layer}.wq.weight");
    for (layer, from, there) in [(0, &one, 0), (1, &one, 1), (2, &two, 1), (3, &two, 2)] {
        assert_eq!(values(&child, &name(layer)), values(from, &name(there)), "layer {layer}");
    }
    for (tensor, from) in [("tok_embeddings.weight", &one), ("norm.weight", &two), ("output.weight", &two)] {
        assert_eq!(values(&child, tensor), values(from, tensor), "{tensor}");
    }
    let record = |name: &str| -> serde_json::Value {
        serde_json::from_str(&space.read(&format!(".studbook/runs/tiny/{name}"))).unwrap()
    };
    let slices = serde_json::json!([
        { "parent": "one", "layers": [0, 2] }, { "parent": "two", "layers": [1, 3] }
    ]);
    let (lineage, receipt) = (record("03-lineage/deep.json"), record("04-operator/deep.json"));
    assert_eq!(lineage["body"]["operator"]["slices"], slices);
    assert_eq!(receipt["body"]["operator"]["slices"], slices);
    assert_eq!(receipt["body"]["tensors"].as_array().unwrap().len(), 39);
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0).says("recomputed: MATCH");
    space.studbook(&["run", "plan.toml"]).exits(0).says("0 executed");
    // Another slice is another candidate.
    space.edit("plan.toml", "layers = [1, 3]", "layers = [2, 4]");
    space.studbook(&["run", "plan.toml"]).exits(0);
    assert_eq!(values(&open(made), &name(3)), values(&two, &name(3)));
}

/// A folder's child has its configuration with the new number of layers, and the numbers that a merge of
/// the same slices has; a parent of another format is read in the child's names and rows.
#[test]
fn folders_and_files_stack_as_a_merge_does() {
    let space = space(STACK);
    for name in ["one", "two"] {
        let file = format!("{name}.slm");
        space.studbook(&["convert", &file, name, "--to", "hugging-face", "--dtype", "f32"]).exits(0);
    }
    space.write(
        "stack.yml",
        b"merge_method: passthrough\nslices:\n  - sources: [{model: one, layer_range: [0, 2]}]\n  \
          - sources: [{model: two, layer_range: [1, 3]}]\n",
    );
    space.studbook(&["merge", "stack.yml", "merged"]).exits(0);
    space.studbook(&["convert", "two.slm", "two.gguf"]).exits(0);
    space.edit("plan.toml", "\"one.slm\"", "\"one\"");
    for two in ["two", "two.gguf"] {
        let from = if two == "two" { "\"two.slm\"" } else { "source = \"two\"" };
        let to = if two == "two" { "\"two\"" } else { "source = \"two.gguf\"" };
        space.edit("plan.toml", from, to);
        space.studbook(&["run", "plan.toml"]).exits(0).says("admitted");
        let made = ".studbook/runs/tiny/04-operator/deep";
        let config: serde_json::Value =
            serde_json::from_str(&space.read(&format!("{made}/config.json"))).unwrap();
        assert_eq!(config["num_hidden_layers"], 4);
        space.studbook(&["diff", "merged", made, "--exit-code"]).exits(0);
        space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0).says("recomputed: MATCH");
    }
    space.edit("plan.toml", "seed = \"7\"", "seed = \"7\"\nformat = \"gguf\"\noutput = \"f32\"");
    space.studbook(&["run", "plan.toml"]).exits(0).says("admitted");
    let made = ".studbook/runs/tiny/04-operator/deep.gguf";
    space.studbook(&["convert", made, "back", "--to", "hugging-face", "--dtype", "f32"]).exits(0);
    space.studbook(&["diff", "merged", "back", "--exit-code"]).exits(0);
}

/// What newer folders list of each layer holds for a file that says nothing of its network, where they say
/// the same of every layer.
#[test]
fn lists_of_layers_that_a_file_does_not_have_are_known_or_named() {
    let space = space(STACK);
    space.studbook(&["convert", "one.slm", "one", "--to", "hugging-face", "--dtype", "f32"]).exits(0);
    space.studbook(&["convert", "two.slm", "two.gguf"]).exits(0);
    space.studbook(&["convert", "two.slm", "two.safetensors"]).exits(0);
    let config = space.read("one/config.json");
    let types = |types: [&str; 3]| {
        let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
        config["layer_types"] = types.map(|kind| format!("{kind}_attention")).to_vec().into();
        space.write("one/config.json", config.to_string().as_bytes());
    };
    space.edit("plan.toml", "\"one.slm\"", "\"one\"");
    let plan = space.read("plan.toml");
    types(["full"; 3]);
    for two in ["two.slm", "two.gguf"] {
        space.write("plan.toml", plan.replace("two.slm", two).as_bytes());
        space.studbook(&["run", "plan.toml"]).exits(0).says("admitted");
        let made = space.read(".studbook/runs/tiny/04-operator/deep/config.json");
        let made: serde_json::Value = serde_json::from_str(&made).unwrap();
        assert_eq!(made["layer_types"], serde_json::json!(vec!["full_attention"; 4]), "{two}");
    }
    space.edit("plan.toml", "two.gguf", "two.safetensors");
    space.studbook(&["check", "plan.toml"]).exits(0);
    types(["sliding", "full", "full"]);
    for two in ["two.slm", "two.gguf", "two.safetensors"] {
        space.write("plan.toml", plan.replace("two.slm", two).as_bytes());
        let said = space.studbook(&["check", "plan.toml"]).exits(2).complains("plan.toml:");
        said.complains("`layer_types` says something of each layer, and `two`, whose layer 1");
    }
}

/// Each layer of a gemma3 keeps how far it looks back, whatever becomes its number; a period would say it of others.
#[test]
fn stacked_layers_look_back_as_far_as_they_did() {
    let space = space(STACK);
    space.studbook(&["convert", "one.slm", "one", "--to", "hugging-face", "--dtype", "f32"]).exits(0);
    let fixtures =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/transformers/gemma3");
    for file in ["config.json", "model.safetensors"] {
        space.write(&format!("one/{file}"), &std::fs::read(fixtures.join(file)).unwrap());
    }
    let mut config: serde_json::Value = serde_json::from_str(&space.read("one/config.json")).unwrap();
    config.as_object_mut().unwrap().remove("layer_types");
    config["eos_token_id"] = 257.into();
    config["bos_token_id"] = 256.into();
    space.write("one/config.json", config.to_string().as_bytes());
    space.studbook(&["convert", "one", "one.gguf"]).exits(0);
    let slices = "slices = [{ parent = \"one\", layers = [0, 6] }, { parent = \"one\", layers = [5, 7] }]\n";
    let stack = format!("[candidates.deep]\noperator = \"passthrough\"\nparents = [\"one\"]\n{slices}");
    let plan = space.read("plan.toml").replace(STACK, &stack);
    let plan = plan.replace("\n[parents.two]\nsource = \"two.slm\"\n", "");
    let plan = plan.replace("max = 100000", "max = 1000000");
    space.write("plan.toml", plan.replace("one.slm", "one").as_bytes());
    space.studbook(&["run", "plan.toml"]).exits(0).says("admitted");
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0).says("recomputed: MATCH");
    let full = |name: &str| {
        let network = open_package(&space.path(name)).unwrap().package.config.unwrap();
        network.variant.windows.unwrap().full
    };
    assert_eq!(full("one"), [5]);
    assert_eq!(full(".studbook/runs/tiny/04-operator/deep"), [5, 6]);
    // Programs that run a file take every sixth layer for one that sees everything.
    space.write("plan.toml", plan.replace("one.slm", "one.gguf").as_bytes());
    let said = space.studbook(&["check", "plan.toml"]).exits(2);
    said.complains("but in layers 5, 6; expected each layer but every sixth one");
    space.edit("plan.toml", "layers = [5, 7]", "layers = [0, 6]");
    space.studbook(&["run", "plan.toml"]).exits(0).says("admitted");
    assert_eq!(full(".studbook/runs/tiny/04-operator/deep.gguf"), [5, 11]);
    space.studbook(&["convert", "one", "none.slm"]).exits(2).complains("norm is before and behind");
}

#[test]
fn other_networks_and_layers_that_are_not_there_are_named() {
    let space = space(STACK);
    let wide = ModelConfig { layer_count: 4, tied_output: false, ffn_size: 24, ..config() };
    space.write("two.slm", &model(&wide, "two", DType::F32));
    space.studbook(&["run", "plan.toml"]).exits(0).says("architecture.ffn_size: `one` has 16, `two` has 24");
    space.edit("plan.toml", "layers = [1, 3]", "layers = [1, 9]");
    space.studbook(&["check", "plan.toml"]).exits(2).complains("`two` has 4 layers").complains("plan.toml:");
}

#[test]
fn scale_rules_and_ramps_hold_for_the_childs_layers() {
    let space = space(&format!(
        "{STACK}scale = {{ ramp = [1, 0] }}\nrules = [{{ tensors = \"layers.2.*\", scale = 0.5 }}]\n"
    ));
    space.studbook(&["run", "plan.toml"]).exits(0);
    let child = open_package(&space.path(".studbook/runs/tiny/04-operator/deep.slm")).unwrap().package;
    let two = open_package(&space.path("two.slm")).unwrap().package;
    let half: Vec<f32> = values(&two, "layers.1.wq.weight").iter().map(|value| value * 0.5).collect();
    assert_eq!(values(&child, "layers.2.wq.weight"), half);
    assert!(values(&child, "layers.3.wq.weight").iter().all(|value| *value == 0.0));
}

/// `space`, the second parent called `x`: what differs between `two.slm` and another one of its shape.
fn adapted(tuned: &[u8]) -> Space {
    let stack = STACK.replace("\"two\"", "\"x\"");
    let space =
        space(&format!("{stack}\n[candidates.whole]\noperator = \"passthrough\"\nparents = [\"x\"]\n"));
    space.write("tuned.slm", tuned);
    space.edit(
        "plan.toml",
        "[candidates.deep]",
        "[parents.x]\nsource = \"FILE\"\nadapts = \"two\"\n\n[candidates.deep]",
    );
    space
}

/// Every tensor in its bytes, and no other.
fn same_tensors(one: &Package, other: &Package, what: &str) {
    assert_eq!(one.weights.infos().len(), other.weights.infos().len(), "{what}");
    for tensor in one.weights.tensors() {
        let there = other.weights.tensor(tensor.name).unwrap_or_else(|| panic!("{what}: {}", tensor.name));
        assert_eq!((tensor.dtype, tensor.shape), (there.dtype, there.shape), "{what}: {}", tensor.name);
        assert!(tensor.data == there.data, "{what}: {}", tensor.name);
    }
}

/// Changes every matrix of `two.slm` by products of small ranks, and nothing else.
fn tuned() -> Vec<u8> {
    let config = ModelConfig { layer_count: 4, tied_output: false, ..config() };
    let mut bytes = model(&config, "two", DType::F32);
    let read = studbook::model::open_package_bytes(std::sync::Arc::new(bytes.clone())).unwrap();
    for (n, tensor) in read.weights.tensors().enumerate().filter(|(_, tensor)| tensor.shape.dims().len() == 2)
    {
        let start = read.weights.infos()[n].data.start;
        let columns = tensor.shape.columns();
        for (i, value) in tensor.to_f32().into_iter().enumerate() {
            let change = ((i / columns) % 7) as f32 * ((i % columns) as f32 - 3.0) / 64.0;
            bytes[start + 4 * i..start + 4 * i + 4].copy_from_slice(&(value + change).to_le_bytes());
        }
    }
    bytes
}

#[test]
fn slices_of_a_model_with_an_adapter_are_those_of_the_model_they_make() {
    let space = adapted(&tuned());
    let plan = space.read("plan.toml");
    let made = |cycle: &str, name: &str| format!(".studbook/runs/{cycle}/04-operator/{name}");
    let open = |name: &str| open_package(&space.path(name)).unwrap().package;
    for (file, form) in [
        ("x.sbd", &["--as", "dense"][..]),
        ("x.sbs", &["--as", "sparse", "--density", "0.5"]),
        ("x.sbl", &["--as", "low-rank", "--rank", "1"]),
    ] {
        space.studbook(&[&["extract", "two.slm", "tuned.slm", file][..], form].concat()).exits(0);
    }
    space.studbook(&["convert", "x.sbl", "lora", "--base", "two.slm"]).exits(0);
    for file in ["x.sbd", "x.sbs", "x.sbl", "lora"] {
        space.write("plan.toml", plan.replace("FILE", file).as_bytes());
        space.studbook(&["run", "plan.toml"]).exits(0).says("admitted");
        space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0).says("recomputed: MATCH");
        let (deep, whole) = (open(&made("tiny", "deep.slm")), open(&made("tiny", "whole.slm")));
        let name = |layer: usize| format!("layers.{layer}.wk.weight");
        assert_eq!(values(&deep, &name(3)), values(&whole, &name(2)), "{file}");
        assert_ne!(
            values(&deep, &name(3)),
            values(&open("two.slm"), &name(2)),
            "{file}: the adapter is on it"
        );
        // The model made, and sliced by another plan.
        std::fs::copy(space.path(&made("tiny", "whole.slm")), space.path("whole.slm")).unwrap();
        let sliced = plan.replace("name = \"tiny\"", "name = \"sliced\"");
        let sliced = sliced.replace("\"FILE\"\nadapts = \"two\"", "\"whole.slm\"");
        space.write("sliced.toml", sliced.as_bytes());
        space.studbook(&["run", "sliced.toml"]).exits(0);
        same_tensors(&deep, &open(&made("sliced", "deep.slm")), file);
    }
    space.edit("plan.toml", "layers = [1, 3]", "layers = [1, 5]");
    space.studbook(&["check", "plan.toml"]).exits(2).complains("`x` has 4 layers");

    // Folders in bf16, in a plan and in a merge: rounded once, at the end.
    for (name, file) in [("one", "one.slm"), ("two", "two.slm")] {
        space.studbook(&["convert", file, name, "--to", "hugging-face", "--dtype", "bf16"]).exits(0);
    }
    let folders = plan.replace("FILE", "lora").replace(".slm\"", "\"").replace("\"tiny\"", "\"folders\"");
    space.write("folders.toml", folders.as_bytes());
    space.studbook(&["run", "folders.toml"]).exits(0).says("admitted");
    let slices = |two: &str| {
        format!(
            "merge_method: passthrough\nslices:\n  - sources: [{{model: one, layer_range: [0, 2]}}]\n  \
             - sources: [{{model: {two}, layer_range: [1, 3]}}]\n"
        )
    };
    space.write("deep.yml", slices("two+lora").as_bytes());
    space.studbook(&["merge", "deep.yml", "deep"]).exits(0);
    space.write("whole.yml", b"merge_method: passthrough\nmodels: [{model: two+lora}]\n");
    space.studbook(&["merge", "whole.yml", "whole"]).exits(0);
    same_tensors(&open("whole"), &open(&made("folders", "whole")), "whole");
    space.studbook(&["convert", "two+lora", "one-model", "--to", "hugging-face"]).exits(0);
    same_tensors(&open("whole"), &open("one-model"), "converted");
    space.write("sliced.yml", slices("whole").as_bytes());
    space.studbook(&["merge", "sliced.yml", "sliced"]).exits(0);
    let deep = open("deep");
    assert_eq!(deep.config.as_ref().unwrap().layer_count, 4);
    same_tensors(&deep, &open("sliced"), "a merge");
    same_tensors(&deep, &open(&made("folders", "deep")), "a plan");
    assert_ne!(
        values(&deep, "model.layers.3.mlp.up_proj.weight"),
        values(&open("two"), "model.layers.2.mlp.up_proj.weight")
    );
}
