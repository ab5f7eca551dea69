//! mergekit configurations without a plan: folders and files in, a child and its receipt out.

use studbook::base::digest::Digest;
use studbook::model::{ModelConfig, Package, open_package};
use studbook::tensor::dtype::DType;

use crate::misfits;
use crate::space::{Space, config, model, said};

/// Folders `base`, `one`, `two` as Hugging Face has them, three layers each.
pub(crate) fn space() -> Space {
    let space = Space::empty();
    let config = ModelConfig { layer_count: 3, tied_output: false, ..config() };
    for name in ["base", "one", "two"] {
        space.write(&format!("{name}.slm"), &model(&config, name, DType::F32));
        let slm = format!("{name}.slm");
        space.studbook(&["convert", &slm, name, "--to", "hugging-face"]).exits(0);
    }
    space
}

fn open(space: &Space, name: &str) -> Package {
    open_package(&space.path(name)).unwrap().package
}

fn values(package: &Package, tensor: &str) -> Vec<f32> {
    package.weights.tensor(tensor).unwrap_or_else(|| panic!("no {tensor}")).to_f32()
}

const UP: &str = "model.layers.1.mlp.up_proj.weight";

#[test]
fn a_linear_merge_is_the_average() {
    let space = space();
    space.write(
        "linear.yml",
        b"merge_method: linear\nmodels:\n  - model: one\n    parameters: {weight: 1}\n  - model: two\n    \
          parameters:\n      weight: [{filter: mlp, value: [0, 1, 3]}, {value: 1}]\ndtype: float32\n",
    );
    space.studbook(&["merge", "linear.yml", "out"]).exits(0).says("linear by blend");
    let (one, two, out) = (open(&space, "one"), open(&space, "two"), open(&space, "out"));
    for (tensor, weight) in
        [("model.layers.0.mlp.up_proj.weight", 0.0), (UP, 1.0), ("model.layers.2.mlp.up_proj.weight", 3.0)]
    {
        let expected: Vec<f32> = values(&one, tensor)
            .iter()
            .zip(values(&two, tensor))
            .map(|(x, y)| (0.0 + 1.0 * x + weight * y) / (1.0 + weight))
            .collect();
        assert_eq!(values(&out, tensor), expected, "{tensor}");
    }
    assert_eq!(space.read("out/config.json"), space.read("one/config.json"));
    assert_eq!(space.read("out/tokenizer.json"), space.read("one/tokenizer.json"));
    let receipt: serde_json::Value = serde_json::from_str(&space.read("out/studbook-receipt.json")).unwrap();
    assert_eq!(receipt["method"], "linear");
    assert_eq!(receipt["inputs"][0]["files"][0]["name"], "model.safetensors");
    let files: Vec<&str> = receipt["inputs"][0]["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            assert_eq!(file["blake3"].as_str().unwrap().len(), 64);
            file["name"].as_str().unwrap()
        })
        .collect();
    assert_eq!(files, ["model.safetensors", "config.json", "tokenizer.json"]);
    assert_eq!((&receipt["inputs"][0]["like"], &receipt["inputs"][0]["base"]), (&true.into(), &false.into()));
    let step = receipt["steps"].as_array().unwrap().iter().find(|step| step["tensor"] == UP).unwrap();
    assert_eq!(step["parents"], serde_json::json!([["one", UP], ["two", UP]]));
    assert_eq!(step["parameters"], serde_json::json!({"normalize": true, "weight": [1, 1]}));
    assert_eq!(receipt["recompute"], "studbook merge CONFIG.yml OUT --seed 0 --shard 5000000000");
    assert_eq!(receipt["outputs"][0]["name"], "model.safetensors");
    assert!(!space.read("out/studbook-receipt.json").contains("/tmp"), "no absolute path");
    // Again there is something in the way.
    space.studbook(&["merge", "linear.yml", "out"]).exits(2).complains("--force");
    let before = space.files("out");
    for threads in ["1", "2", "7"] {
        space.studbook(&["merge", "linear.yml", "out", "--force", "-j", threads]).exits(0);
        assert!(space.files("out") == before, "{threads} threads");
    }
}

#[test]
fn every_method_that_is_here_runs() {
    let space = space();
    let models = "models:\n  - model: base\n  - model: one\n    parameters: {weight: 0.6, density: 0.5}\n  \
                  - model: two\n    parameters: {weight: 0.4, density: 0.7}\nbase_model: base\n";
    let plain = "models:\n  - model: one\n    parameters: {weight: 0.6}\n  - model: two\n    \
                 parameters: {weight: 0.4}\nbase_model: base\n";
    let bare = "models:\n  - model: one\n  - model: two\n";
    for (method, text) in [
        ("ties", models.to_owned()),
        ("ties", format!("{models}parameters: {{rescale: true, lambda: 0.9}}\n")),
        ("dare_ties", models.to_owned()),
        ("dare_linear", models.to_owned()),
        ("breadcrumbs", models.to_owned()),
        ("breadcrumbs_ties", models.to_owned()),
        ("della", models.to_owned()),
        ("della_linear", models.to_owned()),
        ("task_arithmetic", plain.to_owned()),
        ("nuslerp", plain.to_owned()),
        ("model_stock", format!("{bare}base_model: base\n")),
        ("karcher", bare.to_owned()),
        ("arcee_fusion", "models: [{model: base}, {model: one}]\nbase_model: base\n".to_owned()),
        (
            "slerp",
            "models: [{model: base}, {model: one}]\nbase_model: base\nparameters: {t: [0, 1]}\n".to_owned(),
        ),
    ] {
        space.write("m.yml", format!("merge_method: {method}\n{text}dtype: bfloat16\n").as_bytes());
        space.studbook(&["merge", "m.yml", "out", "--force"]).exits(0).says(&format!("{method} by "));
        let out = open(&space, "out");
        assert!(out.weights.infos().iter().all(|info| info.dtype == DType::BF16), "{method}");
        assert!(space.read("out/config.json").contains("\"bfloat16\""), "{method}");
        assert_eq!(out.weights.infos().len(), open(&space, "base").weights.infos().len(), "{method}");
    }
}

#[test]
fn slices_are_stacked() {
    let space = space();
    space.write(
        "stack.yml",
        b"merge_method: passthrough\nslices:\n  - sources: [{model: one, layer_range: [0, 2]}]\n  \
          - sources: [{model: two, layer_range: [1, 3]}]\n",
    );
    space.studbook(&["merge", "stack.yml", "out"]).exits(0).says("39 tensors");
    let (one, two, out) = (open(&space, "one"), open(&space, "two"), open(&space, "out"));
    let layer = |n: usize| format!("model.layers.{n}.mlp.up_proj.weight");
    for (child, from, there) in [(0, &one, 0), (1, &one, 1), (2, &two, 1), (3, &two, 2)] {
        assert_eq!(values(&out, &layer(child)), values(from, &layer(there)), "layer {child}");
    }
    assert_eq!(values(&out, "model.embed_tokens.weight"), values(&one, "model.embed_tokens.weight"));
    assert_eq!(values(&out, "lm_head.weight"), values(&two, "lm_head.weight"));
    assert_eq!(out.config.unwrap().layer_count, 4);
    // Slices of a merge that needs its base among the sources.
    space.write(
        "slerp.yml",
        b"merge_method: slerp\nbase_model: one\nslices:\n  - sources:\n      - {model: one, layer_range: [0, 3]}\n      \
          - {model: two, layer_range: [0, 3]}\nparameters: {t: 0}\n",
    );
    space.studbook(&["merge", "slerp.yml", "s"]).exits(0);
    let distance = values(&open(&space, "s"), UP)
        .iter()
        .zip(values(&one, UP))
        .fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(distance < 1e-6, "t = 0 is the base: {distance}");
}

/// A model, its weight, and which of its layers.
type Part<'p> = (&'p Package, f32, usize);

/// Slices of more models before slices of fewer, with filters that mean the models' own layers.
#[test]
fn slices_may_have_any_number_of_sources() {
    let space = space();
    space.write(
        "m.yml",
        b"merge_method: linear\nslices:\n  - sources:\n      - {model: one, layer_range: [0, 2]}\n      \
          - {model: two, layer_range: [0, 2]}\n      - {model: base, layer_range: [1, 3]}\n  \
          - sources:\n      - model: two\n        layer_range: [1, 3]\n        parameters:\n          \
          weight: [{filter: layers.1., value: 5}, {value: 7}]\n      - {model: one, layer_range: [0, 2]}\n\
          parameters: {weight: 1}\n",
    );
    let [one, two, base] = ["one", "two", "base"].map(|name| open(&space, name));
    for threads in ["1", "2"] {
        space.studbook(&["merge", "m.yml", "out", "--force", "-j", threads]).exits(0);
        let out = open(&space, "out");
        let layer = |n: usize| format!("model.layers.{n}.mlp.up_proj.weight");
        // The child's layer, and what it is made of.
        let layers: [(usize, &[Part<'_>]); 4] = [
            (0, &[(&one, 1.0, 0), (&two, 1.0, 0), (&base, 1.0, 1)]),
            (1, &[(&one, 1.0, 1), (&two, 1.0, 1), (&base, 1.0, 2)]),
            (2, &[(&two, 5.0, 1), (&one, 1.0, 0)]),
            (3, &[(&two, 7.0, 2), (&one, 1.0, 1)]),
        ];
        for (child, sources) in layers {
            let found = values(&out, &layer(child));
            for (i, found) in found.iter().enumerate() {
                let of = |(model, weight, there): &Part<'_>| {
                    f64::from(*weight) * f64::from(values(model, &layer(*there))[i])
                };
                let weights: f64 = sources.iter().map(|(_, weight, _)| f64::from(*weight)).sum();
                let expected = sources.iter().map(of).sum::<f64>() / weights;
                assert!((f64::from(*found) - expected).abs() < 1e-6, "layer {child}: {found} {expected}");
            }
        }
    }
}

/// A base that is one more model takes part, named among the models or not.
#[test]
fn a_base_is_one_more_model_where_it_is_no_origin() {
    let space = space();
    let models = "models: [{model: one}, {model: two}]\nbase_model: base\n";
    let with = |method: &str, models: &str, parameters: &str| {
        space
            .write("m.yml", format!("merge_method: {method}\n{models}parameters: {parameters}\n").as_bytes());
        space.studbook(&["merge", "m.yml", "out", "--force"])
    };
    let three = "models: [{model: one}, {model: two}, {model: base}]\n";
    for (method, parameters) in [("linear", "{weight: 0.5}"), ("karcher", "{max_iter: 20}")] {
        with(method, models, parameters).exits(0);
        let found = values(&open(&space, "out"), UP);
        with(method, three, parameters).exits(0);
        assert_eq!(found, values(&open(&space, "out"), UP), "{method}");
    }
    space.studbook(&["merge", "m.yml", "out", "--force"]).exits(0);
    let own = "models: [{model: one, parameters: {weight: 1}}, {model: two, parameters: {weight: 1}}]\n\
               base_model: base\n";
    with("linear", own, "{normalize: true}").exits(2).complains("m.yml:3:").complains("`weight` of `base`");
    with("passthrough", "models: [{model: one}]\nbase_model: base\n", "{scale: 1}")
        .exits(2)
        .complains("m.yml:3:")
        .complains("`passthrough` of 2 models");
}

/// What slices would leave behind, or put where no network looks for it.
#[test]
fn layers_of_networks_built_otherwise_are_not_stacked() {
    let space = space();
    let wide = ModelConfig { ffn_size: 24, layer_count: 3, tied_output: false, ..config() };
    space.write("wide.slm", &model(&wide, "wide", DType::F32));
    space.studbook(&["convert", "wide.slm", "wide", "--to", "hugging-face"]).exits(0);
    let stack = |first: &str, second: &str| {
        let text = format!(
            "merge_method: passthrough\nslices:\n  - sources: [{{model: {first}, layer_range: [0, 2]}}]\n  \
             - sources: [{{model: {second}, layer_range: [1, 3]}}]\n"
        );
        space.write("m.yml", text.as_bytes());
        space.studbook(&["merge", "m.yml", "out"])
    };
    stack("one", "wide")
        .exits(2)
        .complains("m.yml:4:")
        .complains("architecture.ffn_size is 24 in `wide` (here) and 16 in `one`");
    // Where nothing says how the networks are built, their tensors do.
    std::fs::remove_file(space.path("wide/config.json")).unwrap();
    stack("one", "wide")
        .exits(2)
        .complains("m.yml:4:")
        .complains("tensor `model.layers.1.mlp.down_proj.weight` is 8x24 in `wide` and 8x16 in `one`");
    // Bare files, whatever the tensors are called.
    let file = |name: &str, tensors: &[&str]| space.write(name, &safetensors(tensors));
    let layers = ["h.0.w", "h.1.w", "h.2.w", "wte.weight", "ln_f.weight"];
    file("plain.safetensors", &layers);
    file("bias.safetensors", &[&layers[..], &["h.2.b"]].concat());
    file("seeing.safetensors", &[&layers[..], &["visual.blocks.0.w"]].concat());
    file("headed.safetensors", &[&layers[..], &["lm_head.weight"]].concat());
    let (plain, bias) = ("plain.safetensors", "bias.safetensors");
    stack(plain, bias).exits(2).complains("`bias.safetensors` has a tensor `h.2.b`");
    stack(plain, "seeing.safetensors").exits(2).complains("in two places, `h` and `visual.blocks`");
    stack(plain, "headed.safetensors")
        .exits(2)
        .complains("`headed.safetensors` has a tensor `lm_head.weight`");
    stack("headed.safetensors", plain).exits(2).complains("has no tensor `lm_head.weight`");
    stack(bias, plain).exits(0);
    space.write(
        "m.yml",
        b"merge_method: linear\nslices:\n  - sources:\n      - {model: plain.safetensors, layer_range: [1, 3]}\n      \
          - {model: bias.safetensors, layer_range: [1, 3]}\nbase_model: bias.safetensors\nparameters: {weight: 1}\n",
    );
    space.studbook(&["merge", "m.yml", "sum"]).exits(2).complains("`bias.safetensors` has a tensor `h.2.b`");
    assert!(!space.path("sum").exists());
    // Embeddings come from the first slice, whatever they are called.
    space.write("other.safetensors", &safetensors_of(&layers, 7.0));
    std::fs::remove_file(space.path("out")).unwrap();
    stack(plain, "other.safetensors").exits(0);
    let ends = open(&space, "out");
    assert_eq!((values(&ends, "wte.weight")[0], values(&ends, "ln_f.weight")[0]), (1.0, 7.0));
}

fn safetensors(names: &[&str]) -> Vec<u8> {
    safetensors_of(names, 1.0)
}

/// A file of tensors of two elements, all of one value.
fn safetensors_of(names: &[&str], value: f32) -> Vec<u8> {
    let tensor = |(i, name): (usize, &&str)| {
        (
            name.to_string(),
            serde_json::json!({"dtype": "F32", "shape": [2], "data_offsets": [8 * i, 8 * i + 8]}),
        )
    };
    let header: serde_json::Map<String, serde_json::Value> = names.iter().enumerate().map(tensor).collect();
    let header = serde_json::to_vec(&header).unwrap();
    let length = (header.len() as u64).to_le_bytes();
    let values = value.to_le_bytes().repeat(2 * names.len());
    [&length[..], &header, &values].concat()
}

#[test]
fn files_and_shards() {
    let space = space();
    for name in ["one", "two"] {
        space.studbook(&["convert", name, &format!("{name}.safetensors")]).exits(0);
    }
    let text = "merge_method: linear\nmodels:\n  - {model: ONE, parameters: {weight: 0.25}}\n  \
                - {model: TWO, parameters: {weight: 0.75}}\n";
    let of = |one: &str, two: &str| text.replace("ONE", one).replace("TWO", two);
    space.write("f.yml", of("one.safetensors", "two.safetensors").as_bytes());
    space.studbook(&["merge", "f.yml", "f.safetensors"]).exits(0).says("f.safetensors.receipt.json");
    space.write("d.yml", of("one", "two").as_bytes());
    space.studbook(&["merge", "d.yml", "d", "--shard-size", "4000"]).exits(0);
    let (file, folder) = (open(&space, "f.safetensors"), open(&space, "d"));
    assert!(space.path("d/model.safetensors.index.json").exists());
    assert!(!space.path("d/model.safetensors").exists());
    for tensor in file.weights.tensors() {
        assert_eq!(folder.weights.tensor(tensor.name).unwrap().data, tensor.data, "{}", tensor.name);
    }
    // Whatever the umask is.
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "umask 077 && exec \"$0\" merge d.yml m", env!("CARGO_BIN_EXE_studbook")]);
    command.current_dir(space.path("")).env_remove("XDG_CACHE_HOME").env_remove("HOME");
    assert!(command.output().unwrap().status.success());
    use std::os::unix::fs::PermissionsExt;
    for file in ["f.safetensors", "m/model.safetensors", "m/config.json", "m/studbook-receipt.json"] {
        let mode = std::fs::metadata(space.path(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "{file}");
    }
    // Two bare files of one name.
    for name in ["one", "two"] {
        let bytes = std::fs::read(space.path(&format!("{name}.safetensors"))).unwrap();
        space.write(&format!("bare/{name}/model.safetensors"), &bytes);
    }
    space.write("b.yml", of("bare/one/model.safetensors", "bare/two/model.safetensors").as_bytes());
    space.studbook(&["merge", "b.yml", "b.safetensors"]).exits(0);
    let receipt: serde_json::Value = serde_json::from_str(&space.read("b.safetensors.receipt.json")).unwrap();
    let model = |at: usize| receipt["inputs"][at]["model"].as_str().unwrap();
    assert_eq!((model(0), model(1)), ("one/model.safetensors", "two/model.safetensors"));
    // One file is one file: neither the flag nor the command of the receipt divides it.
    assert_eq!(receipt["recompute"], "studbook merge CONFIG.yml OUT --seed 0");
    space
        .studbook(&["merge", "b.yml", "c.safetensors", "--shard", "1 MB"])
        .exits(2)
        .complains("c.safetensors would be one file, which `--shard` does not divide");
    space
        .studbook(&["merge", "b.yml", "nowhere/b.safetensors"])
        .exits(2)
        .complains("nowhere: there is no such folder");
}

/// What is no tokenizer.json says which row is of which token as well, and goes to the child.
#[test]
fn models_with_other_tokens_are_refused_whatever_file_says_so() {
    let space = space();
    space.write(
        "m.yml",
        b"merge_method: linear\nmodels: [{model: one}, {model: two}]\nparameters: {weight: 1}\n",
    );
    let merge = ["merge", "m.yml", "out", "--force"];
    for file in ["tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model"] {
        for name in ["one", "two"] {
            let _ = std::fs::remove_file(space.path(name).join("tokenizer.json"));
            space.write(&format!("{name}/{file}"), name.as_bytes());
        }
        let said = space.studbook(&merge).exits(2).complains(&format!("their {file} differ"));
        said.complains("m.yml:2:").complains("--rows-by-number");
        let differ = ["diff", "one", "two", "--exit-code"];
        space.studbook(&differ).exits(1).says(file);
        space.write(&format!("two/{file}"), b"one");
        space.studbook(&merge).exits(0);
        assert_eq!(space.read(&format!("out/{file}")), "one");
    }
    std::fs::remove_file(space.path("two/tokenizer.model")).unwrap();
    for file in ["vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model"] {
        std::fs::remove_file(space.path("one").join(file)).unwrap();
    }
    space.studbook(&merge).exits(2).complains("tokenizer.model here and vocab.json there");
    space.studbook(&["merge", "m.yml", "out", "--force", "--rows-by-number"]).exits(0);
}

#[test]
fn what_a_configuration_says_of_the_weights_must_be_so() {
    let space = space();
    space.write(
        "m.yml",
        b"merge_method: linear\nmodels: [{model: one}, {model: two}]\nparameters: {weight: 1}\n",
    );
    let plain = space.read("one/config.json");
    let with = |name: &str, more: &str| {
        space.write(&format!("{name}/config.json"), plain.replacen('{', &format!("{{{more},"), 1).as_bytes());
    };
    let merge = |code| space.studbook(&["merge", "m.yml", "out", "--force"]).exits(code);
    with("one", "\"quantization_config\": {\"quant_method\": \"bitsandbytes\"}");
    merge(2).complains("one/config.json has a quantization_config, and no tensor is packed");
    // Rotating half of a head or a quarter is other arithmetic, wherever the library writes it.
    with("one", "\"rope_parameters\": {\"partial_rotary_factor\": 0.5}");
    with("two", "\"rope_parameters\": {\"partial_rotary_factor\": 0.25}");
    merge(2).complains("partial_rotary_factor is 0.25").complains("expected models of one network");
    with("two", "\"partial_rotary_factor\": 0.5");
    merge(0);
}

/// A network that the library does not have is a program beside the model.
#[test]
fn code_of_a_models_own_is_named_and_not_copied() {
    let space = space();
    for name in ["one", "two"] {
        space.edit(
            &format!("{name}/config.json"),
            "{",
            "{\"auto_map\": {\"AutoModel\": \"modeling_x.M\", \"AutoConfig\": \"a/b--c.C\"},",
        );
        space.write(&format!("{name}/modeling_x.py"), b"class M: pass");
    }
    space.write(
        "m.yml",
        b"merge_method: linear\nmodels: [{model: one}, {model: two}]\nparameters: {weight: 1}\n",
    );
    let lacks = "out names code of its own, modeling_x.py, which is not in it";
    space.studbook(&["merge", "m.yml", "out"]).exits(0).complains(lacks);
    assert!(!space.path("out/modeling_x.py").exists());
    let convert = ["convert", "one", "out", "--to", "hugging-face", "--force"];
    space.studbook(&convert).exits(0).complains(lacks);
}

#[test]
fn what_does_not_work_is_named_with_its_place() {
    let space = space();
    let merge = |text: &str, code| {
        space.write("m.yml", text.as_bytes());
        let said = space.studbook(&["merge", "m.yml", "out"]).exits(code);
        assert!(!space.path("out").exists());
        said
    };
    let linear = "merge_method: linear\nmodels:\n  - {model: one, parameters: {weight: 1}}\n  \
                  - {model: two, parameters: {weight: 1}}\n";
    merge(&linear.replace("linear", "linaer"), 2)
        .complains("m.yml:1:15")
        .complains("`linaer` is no merge method")
        .complains("did you mean `linear`?");
    merge(&linear.replace("model: two", "model: org/two"), 2).complains("`org/two` is not here");
    merge(&linear.replace("weight: 1}}\n  - {model: two", "wieght: 1}}\n  - {model: two"), 2)
        .complains("did you mean `weight`?");
    merge(&linear.replace("{model: one, parameters: {weight: 1}}", "{model: one}"), 2)
        .complains("`weight` of `one` says nothing");
    merge(
        &linear.replace(
            "weight: 1}}\n  - {model: two, parameters: {weight: 1",
            "weight: 1}}\n  - {model: two, parameters: {weight: -1",
        ),
        2,
    )
    .complains("m.yml:3:")
    .complains("the weights sum to zero");
    let ties = "merge_method: ties\nbase_model: one\nmodels:\n  - model: two\n    parameters:\n      \
                weight: 1\n      density: 1.5\n";
    merge(ties, 2).complains("m.yml:7:").complains("`density` goes from 0 to 1, found 1.5");
    let della = ties.replace("ties", "della").replace("1.5", "0.9\n      epsilon: 0.2");
    merge(&della, 2).complains("m.yml:7:").complains("a density of 0.9 with an epsilon of 0.2");
    merge("merge_method: karcher\nmodels: [{model: one}, {model: two}]\nparameters:\n  max_iter: 2.5\n", 2)
        .complains("m.yml:4:")
        .complains("`max_iter` counts steps");
    merge("merge_method: slerp\nmodels: [{model: one}, {model: two}]\n", 2).complains("needs a base model");
    merge("a: [", 2).complains("not YAML");
    let wide = ModelConfig { ffn_size: 24, layer_count: 3, tied_output: false, ..config() };
    space.write("wide.slm", &model(&wide, "wide", DType::F32));
    space.studbook(&["convert", "wide.slm", "wide", "--to", "hugging-face"]).exits(0);
    merge(&linear.replace("model: two", "model: wide"), 2)
        .complains("architecture.ffn_size is 24 in `wide` (here) and 16 in `one`");
    space.studbook(&["merge", "none.yml", "out"]).exits(2).complains("none.yml");
}

/// What a network does with its weights is none of the tensors' business, and decides whether they can be added.
#[test]
fn other_networks_are_refused_and_other_constants_told() {
    let space = space();
    let config = space.read("two/config.json");
    let with = |changes: &[(&str, serde_json::Value)]| {
        let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
        for (key, value) in changes {
            config[*key] = value.clone();
        }
        space.write("two/config.json", config.to_string().as_bytes());
    };
    let text = "merge_method: linear\nmodels:\n  - {model: one, parameters: {weight: 1}}\n  \
                - {model: two, parameters: {weight: 1}}\n";
    space.write("m.yml", text.as_bytes());
    for (changes, said) in [
        (
            &[("num_attention_heads", 4.into()), ("num_key_value_heads", 2.into()), ("head_dim", 2.into())][..],
            "architecture.head_count is 4 in `two` (here) and 2 in `one`",
        ),
        (&[("model_type", "mistral".into())], "architecture.model_type is mistral in `two` (here) and llama"),
        (&[("hidden_act", "gelu".into())], "config.hidden_act is gelu in `two` (here) and silu in `one`"),
        (
            &[
                ("rope_scaling", serde_json::json!({"rope_type": "linear", "factor": 2})),
                ("mlp_bias", true.into()),
            ],
            "architecture.bias is on the feed-forward layers in `two` (here) and none in `one`",
        ),
    ] {
        with(changes);
        let refused = space.studbook(&["merge", "m.yml", "out"]).exits(2).complains(said);
        refused.complains("m.yml:4:13").complains("expected models of one network");
        assert!(!space.path("out").exists());
    }
    with(&[("rope_theta", 5e5.into()), ("rms_norm_eps", 0.125.into()), ("torch_dtype", "float16".into())]);
    let told = space.studbook(&["merge", "m.yml", "out"]).exits(0);
    let told = told.complains("warning: architecture.rope_theta is 500000 in `two` and 10000 in the child");
    told.complains("architecture.rms_norm_epsilon is 0.125 in `two`");
    let receipt: serde_json::Value = serde_json::from_str(&space.read("out/studbook-receipt.json")).unwrap();
    let theta = serde_json::json!(
        {"model": "two", "field": "architecture.rope_theta", "there": "500000", "child": "10000"}
    );
    assert_eq!(receipt["constants"].as_array().unwrap().len(), 2);
    assert_eq!(receipt["constants"][0], theta);
    with(&[("rope_scaling", serde_json::json!({"rope_type": "linear", "factor": 2}))]);
    space
        .studbook(&["merge", "m.yml", "out", "--force"])
        .exits(0)
        .complains("warning: architecture.rope_scaling is linear / 2 in `two` and none in the child");
    with(&[]);
    space.studbook(&["merge", "m.yml", "out", "--force"]).exits(0);
    assert!(!space.read("out/studbook-receipt.json").contains("\"constants\""));
}

/// Another family is told by its name, and not by the first tensor that it has and the others have not. Two
/// models of one folder name are told apart as the configuration does it.
#[test]
fn families_and_models_are_called_by_their_names() {
    let space = space();
    for (place, family) in [("x", "gemma2"), ("y", "phi3")] {
        let folder = format!("{place}/m");
        let tensors: [(&str, &[usize], f32); 1] = [("model.norm.weight", &[4], 1.0)];
        space.write(&format!("{folder}/model.safetensors"), &crate::misfits::safetensors(&tensors));
        let config = format!("{{\"model_type\": \"{family}\", \"hidden_size\": 4}}");
        space.write(&format!("{folder}/config.json"), config.as_bytes());
    }
    let merge = |models: [&str; 2]| {
        let [first, second] = models;
        let text = format!(
            "merge_method: linear\nparameters: {{weight: 1}}\nmodels: [{{model: {first}}}, {{model: {second}}}]\n"
        );
        space.write("m.yml", text.as_bytes());
        space.studbook(&["merge", "m.yml", "out", "--force"])
    };
    merge(["x/m", "y/m"])
        .exits(2)
        .complains("config.model_type is phi3 in `y/m` (here) and gemma2 in `x/m`")
        .complains("models of one family are merged, whether it is run here or not")
        .complains("m.yml has 1 error");
    merge(["one", "x/m"])
        .exits(2)
        .complains("config.model_type is gemma2 in `x/m` (here) and llama in `one`");
    space.edit(
        "y/m/config.json",
        "phi3\", \"hidden_size\": 4",
        "gemma2\", \"hidden_size\": 4, \"rope_theta\": 7",
    );
    space.edit("x/m/config.json", "\"hidden_size\": 4", "\"hidden_size\": 4, \"rope_theta\": 5");
    merge(["x/m", "y/m"]).exits(0).complains("warning: config.rope_theta is 7 in `y/m` and 5 in the child");
    // One of them by itself is a folder name in the receipt, and what was written to whoever wrote it.
    std::fs::create_dir(space.path("z")).unwrap();
    std::fs::rename(space.path("y/m"), space.path("z/n")).unwrap();
    merge(["x/m", "z/n"]).exits(0).complains("is 7 in `z/n` and 5 in the child");
    assert!(space.read("out/studbook-receipt.json").contains("\"model\":\"n\""));
}

#[test]
fn who_has_more_rows_is_told_how_rows_are_taken_by_token() {
    let space = Space::empty();
    for (name, dims) in [("one", [2, 4]), ("more", [3, 4]), ("wide", [2, 5])] {
        space.write(&format!("{name}.safetensors"), &misfits::safetensors(&[("a.weight", &dims, 1.0)]));
    }
    let help = "`tokenizer_source: base` takes rows by the base's tokens";
    for (other, told) in [("more", true), ("wide", false)] {
        let text = format!(
            "merge_method: linear\nmodels:\n  - {{model: one.safetensors, parameters: {{weight: 1}}}}\n  \
             - {{model: {other}.safetensors, parameters: {{weight: 1}}}}\n"
        );
        space.write("m.yml", text.as_bytes());
        let said = space.studbook(&["merge", "m.yml", "out.safetensors"]).exits(2);
        let said = said.complains("expected models of one shape, vocabulary included");
        assert_eq!(said.err.contains(help), told, "{}", said.err);
    }
}

/// mergekit reads past such a slip.
#[test]
fn a_filter_that_matches_no_tensor_is_told_and_recorded() {
    let space = space();
    let text = "merge_method: linear\nmodels:\n  - {model: one, parameters: {weight: [{filter: self_atn, value: 9}, \
                {value: 1}]}}\n  - {model: two, parameters: {weight: [{filter: mlp, value: 2}, {value: 1}]}}\n";
    space.write("m.yml", text.as_bytes());
    let told = space.studbook(&["merge", "m.yml", "out"]).exits(0);
    let why = "warning: no tensor's name contains `self_atn`, so that filter of `weight` changes nothing";
    assert_eq!(told.err.matches("no tensor's name").count(), 1, "{}", told.err);
    told.complains(why);
    let receipt: serde_json::Value = serde_json::from_str(&space.read("out/studbook-receipt.json")).unwrap();
    let expected = serde_json::json!([{"parameter": "weight", "filter": "self_atn"}]);
    assert_eq!(receipt["unmatched_filters"], expected);
    space.write("m.yml", text.replace("self_atn", "self_attn").as_bytes());
    space.studbook(&["merge", "m.yml", "out", "--force"]).exits(0);
    assert!(!space.read("out/studbook-receipt.json").contains("unmatched_filters"));
}

#[test]
fn what_a_child_cannot_be_is_refused_by_name() {
    let space = space();
    space.studbook(&["convert", "two", "two.gguf"]).exits(0);
    let merge = |two: &str, out: &str| {
        let text = format!(
            "merge_method: linear\nmodels:\n  - {{model: one, parameters: {{weight: 1}}}}\n  \
             - {{model: {two}, parameters: {{weight: 1}}}}\n"
        );
        space.write("m.yml", text.as_bytes());
        let said = space.studbook(&["merge", "m.yml", out]).exits(2);
        assert!(!space.path(out).exists());
        said
    };
    for (two, format) in [("two.gguf", "gguf"), ("two.slm", "slm1")] {
        merge(two, "out")
            .complains(&format!("`{two}` is a {format} file"))
            .complains("m.yml:4:13")
            .complains(&format!("`studbook convert {two} FOLDER --to hugging-face`"));
    }
    for out in ["x.gguf", "x.slm", "x.bin", "x.PT"] {
        merge("two", out).complains("is named like a file of another format").complains(out);
    }
}

/// The child's configuration is that of the model it is like.
#[test]
fn a_configuration_is_not_lost() {
    let space = space();
    let text = "merge_method: linear\nmodels:\n  - {model: one, parameters: {weight: 1}}\n  \
                - {model: two, parameters: {weight: 1}}\n";
    space.write("m.yml", text.as_bytes());
    std::fs::remove_file(space.path("one/config.json")).unwrap();
    space
        .studbook(&["merge", "m.yml", "out"])
        .exits(2)
        .complains("m.yml:3:13")
        .complains("`one` has no config.json, so the child would have none; `two` has one");
    assert!(!space.path("out").exists());
    std::fs::remove_file(space.path("two/config.json")).unwrap();
    let said = space.studbook(&["merge", "m.yml", "out"]).exits(0);
    said.complains("no model has a config.json, so out has none");
    assert!(!space.path("out/config.json").exists());
}

#[test]
fn no_input_is_replaced() {
    let space = space();
    let text = "merge_method: linear\nmodels:\n  - {model: one, parameters: {weight: 1}}\n  \
                - {model: two, parameters: {weight: 1}}\n";
    space.write("m.yml", text.as_bytes());
    std::fs::create_dir(space.path("box")).unwrap();
    std::fs::rename(space.path("one"), space.path("box/one")).unwrap();
    std::os::unix::fs::symlink("box/one", space.path("one")).unwrap();
    let before = space.files("box");
    for (out, why) in [
        ("one", "one is the input one"),
        ("two", "two is the input two"),
        ("box/one", "box/one is the input one"),
        ("box", "box holds one, which is an input"),
        ("two/model.safetensors", "two/model.safetensors is a file of the input two"),
        ("two/config.json", "two/config.json is a file of the input two"),
        ("m.yml", "m.yml is the input m.yml"),
    ] {
        space.studbook(&["merge", "m.yml", out, "--force"]).exits(2).complains(why);
    }
    assert!(space.files("box") == before);
    assert!(space.path("two/model.safetensors").exists());
}

#[test]
fn what_a_configuration_lists_by_layer_is_stacked() {
    let space = space();
    let types = |name: &str, types: &str| {
        let layers = "\"num_hidden_layers\": 3";
        space.edit(&format!("{name}/config.json"), layers, &format!("{layers}, \"layer_types\": {types}"));
    };
    types("one", "[\"full_attention\", \"sliding_attention\", \"full_attention\"]");
    let text = "merge_method: passthrough\nslices:\n  - sources: [{model: one, layer_range: [0, 2]}]\n  \
                - sources: [{model: two, layer_range: [1, 3]}]\n";
    space.write("m.yml", text.as_bytes());
    space.studbook(&["merge", "m.yml", "out"]).exits(2).complains("config.json of the child: `layer_types`");
    types("two", "[\"a\", \"b\", \"c\"]");
    space.studbook(&["merge", "m.yml", "out"]).exits(0);
    let config: serde_json::Value = serde_json::from_str(&space.read("out/config.json")).unwrap();
    assert_eq!(config["layer_types"], serde_json::json!(["full_attention", "sliding_attention", "b", "c"]));
}

/// Who merges the same parents again does not wait for their digests again, and is never told old ones.
#[test]
fn what_did_not_change_is_not_hashed_again() {
    let space = space();
    space.write(
        "m.yml",
        b"merge_method: linear\nmodels: [{model: one}, {model: two}]\nparameters: {weight: 1}\n",
    );
    // Files that were just written are not trusted to stand still.
    std::thread::sleep(std::time::Duration::from_millis(60));
    let merge = |more: &[&str]| {
        let arguments = [&["merge", "m.yml", "out", "--force"], more].concat();
        said(space.command(&arguments).env("XDG_CACHE_HOME", space.path("caches"))).exits(0);
        let receipt: serde_json::Value =
            serde_json::from_str(&space.read("out/studbook-receipt.json")).unwrap();
        receipt["inputs"][0]["files"][0]["blake3"].as_str().unwrap().to_owned()
    };
    let digest = || Digest::of(&std::fs::read(space.path("one/model.safetensors")).unwrap()).to_hex();
    assert_eq!(merge(&[]), digest());
    // That it is remembered shows when the memory lies.
    let forged = "0".repeat(64);
    space.edit("caches/studbook/stamps", &digest(), &forged);
    assert_eq!(merge(&[]), forged);
    assert_eq!(merge(&["--rehash"]), digest());
    assert_eq!(merge(&[]), digest(), "the memory is mended");
    space.edit("caches/studbook/stamps", &digest(), &forged);
    let bytes = std::fs::read(space.path("two/model.safetensors")).unwrap();
    space.write("one/model.safetensors", &bytes);
    assert_eq!(merge(&[]), digest(), "another file is hashed");
    // A place where nothing can be kept is no reason to fail.
    space.write("file", b"");
    let mut command = space.command(&["merge", "m.yml", "out", "--force"]);
    said(command.env("XDG_CACHE_HOME", space.path("file"))).exits(0);
}

/// A child of two states of a file would be a child of nobody, whatever the receipt says.
#[test]
fn an_input_that_is_written_to_meanwhile_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let space = space();
    space.write(
        "m.yml",
        b"merge_method: linear\nmodels: [{model: one}, {model: two}]\nparameters: {weight: 1}\n",
    );
    let input = space.path("one/model.safetensors");
    let done = std::sync::atomic::AtomicBool::new(false);
    let refused = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                for mode in [0o600, 0o644] {
                    let _ = std::fs::set_permissions(&input, std::fs::Permissions::from_mode(mode));
                }
            }
        });
        // A merge of so little may fit between two ticks of the clock.
        let merge = |_| {
            let said = space.studbook(&["merge", "m.yml", "out"]);
            let kept = std::fs::remove_dir_all(space.path("out")).is_ok();
            (said, kept)
        };
        let refused = (0..50).map(merge).find(|(said, _)| said.code != Some(0));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        refused
    });
    let (said, kept) = refused.expect("one of fifty merges was refused");
    assert!(said.err.contains("one/model.safetensors was changed while it was read"), "{}", said.err);
    assert!(!kept, "nothing is left of the child");
}
