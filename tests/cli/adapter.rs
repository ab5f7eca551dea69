//! Models compared, their differences kept as adapters, adapters as parents.

use std::sync::Arc;

use studbook::model::adapter::package::DENSE;
use studbook::model::adapter::{AdapterIdentity, Layout as Package, PlannedDelta, PlannedStored, Writer};
use studbook::model::identity::Identity;
use studbook::model::slm1::write::write_values;
use studbook::model::slm1::{Encoding, Layout};
use studbook::model::tokenizer::Tokenizer;
use studbook::model::{ModelConfig, WriteError, open_bytes};
use studbook::tensor::dtype::DType;

use crate::space::{Said, Space, config};

/// A model on a coarse grid: every element a multiple of 1/256, so that differences are exact.
fn grid(config: &ModelConfig, value: impl Fn(&str, usize) -> f32) -> Vec<u8> {
    let layout = Layout::new(config, &Tokenizer::Btok, Encoding::new(DType::F32)).unwrap();
    let mut bytes = Vec::new();
    write_values::<WriteError>(&layout, &mut bytes, |tensor, start, out| {
        out.iter_mut().enumerate().for_each(|(i, out)| *out = value(&tensor.name, start + i));
        Ok(())
    })
    .unwrap();
    bytes
}

fn base(name: &str, i: usize) -> f32 {
    let mixed = (i * 31 + name.len() * 977).wrapping_mul(2_654_435_761) >> 9 & 0xFF;
    (mixed as f32 - 128.0) / 256.0
}

/// Of rank 1 in every matrix; norms change, too. Some tensors stay.
fn change(name: &str, i: usize) -> f32 {
    match name {
        "norm.weight" => (i % 3) as f32 / 256.0,
        "layers.0.w1.weight" | "tok_embeddings.weight" => (i / 8 % 5 * (i % 8)) as f32 / 256.0,
        _ => 0.0,
    }
}

/// `base.slm`, `tuned.slm`, `other.slm`, a suite and a plan whose parent `x` is an adapter.
fn space() -> Space {
    let space = Space::empty();
    space.write("base.slm", &grid(&config(), base));
    space.write("tuned.slm", &grid(&config(), |name, i| base(name, i) + change(name, i)));
    space.write("other.slm", &grid(&config(), |name, i| base(name, i + 1)));
    space.write("suite.jsonl", b"{\"id\":\"c1\",\"prompt\":\"1=\",\"expected\":\"1\"}\n");
    space.write("plan.toml", PLAN.as_bytes());
    space
}

const PLAN: &str = r#"
[cycle]
name = "adapted"
seed = "7"
output = "f32"

[budget]
candidates = 4
artifact = "1 MiB"
disk = "8 MiB"
seconds = 600

[parents.x]
source = "x.sbd"
adapts = "base"

[parents.base]
source = "base.slm"
role = "base"

[parents.other]
source = "other.slm"

[candidates.again]
operator = "blend"
parents = ["x"]

[candidates.mixed]
operator = "task_delta"
parents = ["x", "other"]
weight = 0.5

[candidates.stay]
operator = "task_delta"
base = "x"
parents = ["other"]
lambda = 0.0

[smoke]
prompts = ["ab"]
max_tokens = 4

[[eval]]
name = "digits"
kind = "exact_match"
cases = "suite.jsonl"
max_tokens = 4

[[gate]]
name = "size"
kind = "metric"
metric = "artifact_bytes"
max = 100000

[[gate]]
name = "no-worse"
kind = "metric"
metric = "exact_match"
suites = ["digits"]
versus = "best-parent"
margin = 0.0
"#;

fn bytes(space: &Space, name: &str) -> Vec<u8> {
    std::fs::read(space.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn extract(space: &Space, arguments: &[&str]) -> Said {
    space.studbook(&[&["extract", "base.slm"], arguments].concat())
}

#[test]
fn base_and_adapter_breed_like_the_model() {
    let space = space();
    extract(&space, &["tuned.slm", "x.sbd", "--as", "dense"]).exits(0).says("x.sbd: 3 deltas");
    space.studbook(&["run", "plan.toml"]).exits(0).says("again");
    let child = ".studbook/runs/adapted/04-operator/again.slm";
    assert!(bytes(&space, child) == bytes(&space, "tuned.slm"), "bit for bit");
    let stayed = ".studbook/runs/adapted/04-operator/stay.slm";
    assert!(bytes(&space, stayed) == bytes(&space, "tuned.slm"), "an adapted base");

    // The same plan on the model itself makes the same children.
    let whole = PLAN.replace("source = \"x.sbd\"\nadapts = \"base\"", "source = \"tuned.slm\"");
    space.write("whole.toml", whole.replace("name = \"adapted\"", "name = \"whole\"").as_bytes());
    space.studbook(&["run", "whole.toml"]).exits(0);
    for name in ["again", "mixed", "stay"] {
        let child = |cycle: &str| bytes(&space, &format!(".studbook/runs/{cycle}/04-operator/{name}.slm"));
        assert!(child("adapted") == child("whole"), "{name}");
        let sidecar =
            |cycle: &str| space.read(&format!(".studbook/runs/{cycle}/07-eval/x.digits.outcomes.jsonl"));
        assert_eq!(sidecar("adapted"), sidecar("whole"), "the adapter is measured on its model");
    }

    // Records name the model behind the adapter.
    let record = |part: &str| -> serde_json::Value {
        serde_json::from_str(&space.read(&format!(".studbook/runs/adapted/{part}.json"))).unwrap()
    };
    let source = record("01-source/x");
    assert_eq!(source["body"]["adapter"]["adapts"], "base", "{source}");
    assert_eq!(source["body"]["adapter"]["deltas"], 3);
    assert!(source["body"]["identity"].is_null());
    assert_eq!(record("03-lineage/again")["body"]["parents"][0]["adapts"]["name"], "base");
    assert_eq!(record("04-operator/again")["body"]["parents"][0]["adapts"]["name"], "base");
    let checks = record("02-compat/again")["body"]["checks"].clone();
    assert_eq!(checks[4], serde_json::json!({"check": "adapter", "passed": true, "findings": []}));
    let pool = space.read(".studbook/runs/adapted/12-recipe/pool.toml");
    assert!(!pool.contains("name = \"x\""), "a pool holds whole models: {pool}");

    // The other cycle added to the ledger that the registry's page shows; nothing else runs twice, and
    // everything can be computed again.
    space.studbook(&["run", "plan.toml"]).exits(0).says(" 1 executed").complains("registry:adapted");
    space.studbook(&["run", "plan.toml"]).exits(0).says(" 0 executed");
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0).says("recomputed: MATCH");
    // Another adapter under the same name is another parent.
    extract(&space, &["other.slm", "x.sbd", "--as", "dense", "--force"]).exits(0);
    space.studbook(&["run", "plan.toml"]).exits(0);
    assert!(bytes(&space, child) == bytes(&space, "other.slm"));
}

#[test]
fn every_form_is_a_parent() {
    let space = space();
    for (file, form) in [("x.sbs", &["--as", "sparse"][..]), ("x.sbl", &["--as", "low-rank", "--rank", "2"])]
    {
        let said = extract(&space, &[&["tuned.slm", file][..], form].concat()).exits(0);
        assert!(said.out.contains("100.00%") && said.out.contains("norm.weight"), "{}", said.out);
        space.write("plan.toml", PLAN.replace("x.sbd", file).as_bytes());
        space.studbook(&["run", "plan.toml"]).exits(0);
        space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0);
        let child = ".studbook/runs/adapted/04-operator/again.slm";
        let diff = space.studbook(&["diff", "tuned.slm", child, "--format", "json"]).exits(0).json();
        let largest = diff["total"]["max_abs"].as_f64().unwrap();
        assert!(largest <= if file == "x.sbs" { 0.0 } else { 1e-6 }, "{file}: {largest}");
    }
}

/// A checksum does not tell whether another file of tokenizers means the same: what can be done is said.
#[test]
fn an_adapter_for_another_tokenizer_says_what_to_do() {
    let space = space();
    for name in ["base", "tuned"] {
        space.studbook(&["convert", &format!("{name}.slm"), name, "--to", "hugging-face"]).exits(0);
        // No tokenizer that `.slm` files have.
        space.edit(&format!("{name}/config.json"), "\"eos_token_id\": 257", "\"eos_token_id\": 5");
    }
    space.studbook(&["extract", "base", "tuned", "x.sbd", "--as", "dense"]).exits(0);
    let generate = || space.studbook(&["generate", "base+x.sbd", "--prompt", "a", "--max-tokens", "1"]);
    generate().exits(0);
    let own = space.read("base/tokenizer.json");
    let mut other: serde_json::Value = serde_json::from_str(&own).unwrap();
    other["post_processor"]["single"][0]["SpecialToken"]["type_id"] = 1.into();
    space.write("base/tokenizer.json", other.to_string().as_bytes());
    let said = generate().exits(2);
    said.complains("tokenizer_checksum").complains("put the tokenizer.json that the adapter was made with");
    let plan = PLAN.replace("base.slm", "base").replace("tuned.slm", "tuned");
    space.write("plan.toml", plan.as_bytes());
    space.studbook(&["run", "plan.toml"]);
    let report = space.read(".studbook/runs/adapted/02-compat/again.json");
    assert!(report.contains("put the tokenizer.json that the adapter was made with"), "{report}");
    space.write("base/tokenizer.json", own.as_bytes());
    generate().exits(0);
}

#[test]
fn an_adapter_for_another_model_is_named_field_by_field() {
    let space = space();
    let wide = ModelConfig { ffn_size: 24, tied_output: false, ..config() };
    space.write("wide.slm", &grid(&wide, base));
    space.write("wide-tuned.slm", &grid(&wide, |name, i| base(name, i) + change(name, i)));
    let arguments = ["extract", "wide.slm", "wide-tuned.slm", "x.sbd", "--as", "dense"];
    space.studbook(&arguments).exits(0);
    let said = space.studbook(&["run", "plan.toml"]);
    let compat: serde_json::Value =
        serde_json::from_str(&space.read(".studbook/runs/adapted/02-compat/again.json")).unwrap();
    let checks = compat["body"]["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["check"] == "adapter").unwrap();
    assert_eq!(check["passed"], false);
    let findings: Vec<_> =
        check["findings"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
    assert_eq!(findings[0], "tensor_count: `x` is for 12, `base` has 11");
    assert_eq!(findings[1], "flags: `x` is for 0, `base` has 1");
    assert!(findings[2].starts_with("parameter_count: `x` is for "), "{findings:?}");
    assert!(findings[3].starts_with("tensor_layout_checksum: "), "{findings:?}");
    assert_eq!(findings.len(), 4, "the tokenizer is the same: {findings:?}");
    assert!(
        said.out.contains("tensor_count: `x` is for 12") || said.err.contains("tensor_count: `x` is for 12")
    );
}

/// A dense adapter for the base with one value in it.
fn adapter_with(space: &Space, tensor: &str, value: f32) -> Vec<u8> {
    let model = open_bytes(Arc::new(bytes(space, "base.slm"))).unwrap();
    let info = model.infos().iter().find(|info| info.name == tensor).unwrap();
    let identity = AdapterIdentity::of(&Identity::of(&model));
    let plan =
        PlannedDelta { name: info.name.clone(), shape: info.shape.clone(), stored: PlannedStored::Dense };
    let layout = Package::new(DENSE, &identity, &[plan]).unwrap();
    let mut file = Vec::new();
    let mut writer = Writer::new(&layout, &mut file).unwrap();
    let mut values = vec![0.0; info.shape.elements()];
    values[3] = value;
    writer.put_f32(&values).unwrap();
    writer.finish().unwrap();
    file
}

#[test]
fn numbers_that_are_none_are_named() {
    let space = space();
    space.write("x.sbd", &adapter_with(&space, "norm.weight", f32::NAN));
    space.studbook(&["run", "plan.toml"]).exits(1).complains("tensor norm.weight, value 3 is NaN");

    let mut damaged = adapter_with(&space, "norm.weight", 1.0);
    let last = damaged.len() - 64;
    damaged[last] ^= 1;
    space.write("x.sbd", &damaged);
    space.studbook(&["run", "plan.toml"]).exits(1).complains("the adapter is damaged");
    space.write("x.sbd", &damaged[..200]);
    space.studbook(&["run", "plan.toml"]).exits(2).complains("cut short");

    // Finite by itself, not on this model.
    let max = grid(&config(), |name, i| if name == "norm.weight" { f32::MAX } else { base(name, i) });
    space.write("base.slm", &max);
    space.write("x.sbd", &adapter_with(&space, "norm.weight", f32::MAX));
    let said = space.studbook(&["run", "plan.toml"]).exits(1);
    said.complains("`x` has the value inf in tensor `norm.weight` at element 3");
}

#[test]
fn mistakes_about_adapters_have_a_place() {
    let space = space();
    extract(&space, &["tuned.slm", "x.sbd", "--as", "dense"]).exits(0);
    let refused = |from: &str, to: &str, what: &str| {
        assert!(PLAN.contains(from));
        space.write("plan.toml", PLAN.replace(from, to).as_bytes());
        space.studbook(&["check", "plan.toml"]).exits(2).complains(what);
    };
    refused("adapts = \"base\"", "adapts = \"bass\"", "did you mean `base`?");
    refused("\nadapts = \"base\"", "", "it is an adapter: add `adapts = \"NAME\"`");
    refused("x.sbd", "tuned.slm", "remove `adapts` if it is a model");
    refused("x.sbd", "gone.sbd", "gone.sbd does not exist");
    refused("source = \"other.slm\"", "source = \"x.sbd\"\nadapts = \"x\"", "`x` is an adapter itself");
    refused("adapts = \"base\"", "adapts = \"x\"", "`x` is an adapter itself");
    refused(
        "\"x.sbd\"",
        "\"x.sbd\"\nlicense = \"MIT\"",
        "`source`, `manifest`, `from_recipe`, `place`, `adapts`",
    );
    space.write("plan.toml", PLAN.as_bytes());
    space.studbook(&["check", "plan.toml"]).exits(0);
    space.studbook(&["plan", "plan.toml"]).exits(0);
}

#[test]
fn models_are_compared() {
    let space = space();
    let said = space.studbook(&["diff", "base.slm", "tuned.slm"]).exits(0);
    let line = |name: &str| said.out.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("layers.0.wq.weight").ends_with("0.0%"), "{}", said.out);
    assert!(line("all ").contains("e"), "{}", said.out);
    space.studbook(&["diff", "base.slm", "tuned.slm", "--exit-code"]).exits(1);
    space.studbook(&["diff", "base.slm", "base.slm", "--exit-code"]).exits(0).says("the same tensors");
    let json = space.studbook(&["diff", "base.slm", "tuned.slm", "--format", "json"]).exits(0).json();
    assert_eq!(json["same"], false);
    let norm = json["tensors"].as_array().unwrap().iter().find(|t| t["name"] == "norm.weight").unwrap();
    // 0 1 2 0 1 2 0 1 in 256ths: squares sum to 11.
    assert_eq!(norm["l2"].as_f64().unwrap(), (11.0_f64 / 65_536.0).sqrt());
    assert_eq!((norm["max_abs"].as_f64(), norm["changed"].as_f64()), (Some(2.0 / 256.0), Some(0.625)));
    assert_eq!(norm["dtypes"], serde_json::json!(["f32", "f32"]));

    // Any format: the same values are the same model.
    space.studbook(&["convert", "base.slm", "folder", "--to", "trained-source"]).exits(0);
    space.studbook(&["diff", "base.slm", "folder", "--exit-code"]).exits(0);
    for (to, names) in [("hugging-face", "model.norm.weight"), ("x.gguf", "output_norm.weight")] {
        let there = if to == "x.gguf" { to } else { "hf" };
        let format: &[&str] = if to == "x.gguf" { &[] } else { &["--to", to] };
        space.studbook(&[&["convert", "tuned.slm", there], format].concat()).exits(0);
        space.studbook(&["diff", "tuned.slm", there, "--exit-code"]).exits(0).says("the same tensors");
        space.studbook(&["diff", there, "tuned.slm", "--exit-code"]).exits(0).says(names);
        // And the difference is the same package.
        extract(&space, &["tuned.slm", "one.sbd", "--as", "dense", "--force"]).exits(0);
        extract(&space, &[there, "two.sbd", "--as", "dense", "--force"]).exits(0);
        assert!(bytes(&space, "one.sbd") == bytes(&space, "two.sbd"), "{there}");
    }
    let turned = ModelConfig { rope_theta: 500.0, ..config() };
    space.write("turned.slm", &grid(&turned, base));
    let said = space.studbook(&["diff", "base.slm", "turned.slm", "--exit-code"]).exits(1);
    said.says("architecture.rope_theta is 10000 in base.slm and 500 in turned.slm");
    let untied = ModelConfig { tied_output: false, ..config() };
    space.write("untied.slm", &grid(&untied, base));
    let said = space.studbook(&["diff", "base.slm", "untied.slm", "--exit-code"]).exits(1);
    said.says("only in untied.slm: output.weight");
    space.studbook(&["diff", "base.slm", "gone.slm"]).exits(2).complains("gone.slm");
}

/// The same tensors, of networks that do other things with them; no tokenizer is needed to tell.
#[test]
fn models_that_compute_differently_are_not_the_same() {
    let space = space();
    space.studbook(&["convert", "base.slm", "one", "--to", "hugging-face"]).exits(0);
    std::fs::remove_file(space.path("one/tokenizer.json")).unwrap();
    let copy = || {
        std::fs::create_dir_all(space.path("other")).unwrap();
        for name in ["config.json", "model.safetensors"] {
            std::fs::copy(space.path(&format!("one/{name}")), space.path(&format!("other/{name}"))).unwrap();
        }
    };
    let config: serde_json::Value = serde_json::from_str(&space.read("one/config.json")).unwrap();
    for (key, value, said) in [
        ("rope_theta", serde_json::json!(500.0), "architecture.rope_theta is 10000 in one and 500 in other"),
        ("rms_norm_eps", serde_json::json!(0.125), "architecture.rms_norm_epsilon"),
        ("model_type", serde_json::json!("mistral"), "architecture.model_type is llama in one and mistral"),
        ("hidden_act", serde_json::json!("gelu"), "config.hidden_act is silu in one and gelu in other"),
    ] {
        copy();
        let mut config = config.clone();
        config[key] = value;
        space.write("other/config.json", config.to_string().as_bytes());
        let told = space.studbook(&["diff", "one", "other", "--exit-code"]).exits(1).says(said);
        assert!(!told.out.contains("the same tensors"), "{}", told.out);
        let refused = space.studbook(&["extract", "one", "other", "d.sbd", "--as", "dense"]).exits(2);
        refused.complains("the models compute differently").complains(said.split(' ').next().unwrap());
        assert!(!space.path("d.sbd").exists());
    }
    // How a model is loaded is no difference.
    copy();
    let mut config = config;
    config["_name_or_path"] = "elsewhere".into();
    config["use_cache"] = false.into();
    space.write("other/config.json", config.to_string().as_bytes());
    space.studbook(&["diff", "one", "other", "--exit-code"]).exits(0).says("the same tensors");
    // Of a network that is not known here, the keys of its configuration tell.
    for (name, heads) in [("one", 2), ("other", 4)] {
        let text = format!("{{\"model_type\": \"strange\", \"n_head\": {heads}}}");
        space.write(&format!("{name}/config.json"), text.as_bytes());
    }
    let said = space.studbook(&["diff", "one", "other", "--exit-code"]).exits(1);
    said.says("config.n_head is 2 in one and 4 in other");
}

#[test]
fn extraction_says_what_is_wrong() {
    let space = space();
    let refused = |arguments: &[&str], what: &str| {
        extract(&space, arguments).exits(2).complains(what);
        assert!(!space.path("y").exists());
    };
    refused(&["tuned.slm", "y"], "how is the difference to be kept?");
    refused(&["tuned.slm", "y", "--as", "low-rank"], "needs `--rank R`");
    refused(&["tuned.slm", "y", "--as", "dense", "--rank", "2"], "goes with `--as low-rank` only");
    refused(&["tuned.slm", "y", "--as", "low-rank", "--rank", "2", "--density", "1"], "`--as sparse` only");
    refused(&["tuned.slm", "y", "--as", "sparse", "--density", "0"], "above 0 and at most 1");
    refused(&["tuned.slm", "y", "--as", "low-rank", "--rank", "0"], "--rank");
    space.write("wide.slm", &grid(&ModelConfig { ffn_size: 24, ..config() }, base));
    refused(&["wide.slm", "y", "--as", "dense"], "is 16x8 in the first model and 24x8 in the second");
    refused(&["gone.slm", "y", "--as", "dense"], "gone.slm");
    extract(&space, &["tuned.slm", "tuned.slm", "--as", "dense"]).exits(2).complains("is the input");

    // The share of each tensor that is kept, and how much of the difference it is.
    let arguments = ["tuned.slm", "x.sbs", "--as", "sparse", "--density", "0.1", "--format", "json"];
    let json = extract(&space, &arguments).exits(0).json();
    let embedding =
        json["deltas"].as_array().unwrap().iter().find(|d| d["tensor"] == "tok_embeddings.weight");
    let embedding = embedding.unwrap();
    assert_eq!((embedding["stored"].as_str(), embedding["numbers"].as_u64()), (Some("sparse"), Some(208)));
    let captured = embedding["captured"].as_f64().unwrap();
    assert!(captured > 0.2 && captured < 0.9, "{captured}");
    let said = space.studbook(&["inspect", "x.sbs"]).exits(0).says("sbs1").says("sparse, 208 pairs");
    said.says("tensor count").says("every value is finite");
    // An adapter is a model's difference, too.
    extract(&space, &["x.sbs", "again.sbs"]).exits(0);
    assert!(bytes(&space, "x.sbs") == bytes(&space, "again.sbs"));
    extract(&space, &["x.sbs", "dense.sbd", "--as", "dense"]).exits(0).says("dense.sbd: 3 deltas");
    // Where a model is meant, it says what it is.
    for arguments in [
        &["diff", "base.slm", "x.sbs"][..],
        &["convert", "x.sbs", "y.slm"],
        &["extract", "x.sbs", "base.slm", "y", "--as", "dense"],
    ] {
        space.studbook(arguments).exits(2).complains("x.sbs is an adapter").complains("MODEL+ADAPTER OUT");
    }
    let arguments = ["extract", "wide.slm", "x.sbs", "z"];
    space.studbook(&arguments).exits(2).complains("parameter_count is");
}

/// A PEFT folder, written byte by byte.
#[test]
fn a_peft_folder_becomes_a_package() {
    let space = space();
    let [a, b] = ["A", "B"]
        .map(|factor| format!("base_model.model.model.layers.0.mlp.gate_proj.lora_{factor}.weight"));
    let header = format!(
        "{{\"{a}\":{{\"dtype\":\"F32\",\"shape\":[1,8],\"data_offsets\":[0,32]}},\
          \"{b}\":{{\"dtype\":\"F32\",\"shape\":[16,1],\"data_offsets\":[32,96]}}}}"
    );
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    let numbers = (0..8).chain(0..16).map(|i| i as f32 / 16.0);
    file.extend(numbers.flat_map(f32::to_le_bytes));
    space.write("lora/adapter_model.safetensors", &file);
    let settings = |more: &str| {
        format!(
            "{{\"peft_type\":\"LORA\",\"r\":1,\"lora_alpha\":4,\"target_modules\":[\"gate_proj\"]{more}}}"
        )
    };
    space.write("lora/adapter_config.json", settings("").as_bytes());
    extract(&space, &["lora", "x.sbl"]).exits(0).says("layers.0.w1.weight").says("x.sbl: 1 delta,");

    space.write("plan.toml", PLAN.replace("x.sbd", "x.sbl").as_bytes());
    space.studbook(&["run", "plan.toml"]).exits(0);
    let child = ".studbook/runs/adapted/04-operator/again.slm";
    let expected = grid(&config(), |name, i| {
        let delta = 4.0 * (i / 8) as f32 / 16.0 * (i % 8) as f32 / 16.0;
        base(name, i) + if name == "layers.0.w1.weight" { delta } else { 0.0 }
    });
    assert!(bytes(&space, child) == expected, "sums of multiples of 1/64 are exact");

    // The folder as it is makes the same child.
    space.write("plan.toml", PLAN.replace("x.sbd", "lora").as_bytes());
    space.studbook(&["run", "plan.toml", "--store", "folder"]).exits(0);
    assert!(bytes(&space, "folder/runs/adapted/04-operator/again.slm") == expected);
    space.studbook(&["verify", "plan.toml", "--store", "folder", "--recompute"]).exits(0);

    // A merge takes model and adapter in one word, and says so.
    space.studbook(&["convert", "base.slm", "bare.safetensors"]).exits(0);
    let text = "merge_method: linear\nmodels: [{model: bare.safetensors+lora, parameters: {weight: 1}}]\n";
    space.write("m.yml", text.as_bytes());
    space.studbook(&["merge", "m.yml", "m.safetensors"]).exits(0);
    let weights = |path: &str| studbook::model::open_package(&space.path(path)).unwrap().package.weights;
    let (merged, bred) = (weights("m.safetensors"), weights(child));
    for tensor in bred.tensors() {
        assert_eq!(merged.tensor(tensor.name).unwrap().to_f32(), tensor.to_f32(), "{}", tensor.name);
    }
    space.write("m.yml", text.replace("+lora", "+base.slm").as_bytes());
    space
        .studbook(&["merge", "m.yml", "n.safetensors"])
        .exits(2)
        .complains("adds something that is no adapter");

    // Factors that lie elsewhere are somebody else's.
    let factors = space.path("lora/adapter_model.safetensors");
    std::fs::rename(&factors, space.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", &factors).unwrap();
    extract(&space, &["lora", "y.sbl"]).exits(2).complains("leads out of the adapter's folder");
    std::fs::remove_file(&factors).unwrap();
    std::fs::rename(space.path("elsewhere"), &factors).unwrap();

    space.write("lora/adapter_config.json", settings(",\"use_dora\":true").as_bytes());
    extract(&space, &["lora", "y.sbl"]).exits(2).complains("lora: adapter_config.json use_dora is true");
    space.write("lora/adapter_config.json", settings("").replace("gate", "up").as_bytes());
    extract(&space, &["lora", "y.sbl"]).exits(2).complains("target_modules does not list it");
}

/// A LoRA folder to a package and back: the same factors, in the model's rows and in PEFT's.
#[test]
fn packages_and_peft_folders_become_each_other() {
    let space = space();
    let untied = ModelConfig { tied_output: false, ..config() };
    space.write("base.slm", &grid(&untied, base));
    let module = |name: &str| format!("base_model.model.model.{name}");
    let factors: Vec<(String, Vec<usize>)> = vec![
        (module("layers.0.self_attn.q_proj.lora_A.weight"), vec![2, 8]),
        (module("layers.0.self_attn.q_proj.lora_B.weight"), vec![8, 2]),
        (module("layers.0.mlp.up_proj.lora_A.weight"), vec![3, 8]),
        (module("layers.0.mlp.up_proj.lora_B.weight"), vec![16, 3]),
        (module("embed_tokens.lora_embedding_A"), vec![2, 260]),
        (module("embed_tokens.lora_embedding_B"), vec![8, 2]),
    ];
    let (mut header, mut payload) = (serde_json::Map::new(), Vec::new());
    for (n, (name, shape)) in factors.iter().enumerate() {
        let start = payload.len();
        for i in 0..shape.iter().product::<usize>() {
            payload.extend_from_slice(&(base(name, i + n) * 0.25).to_le_bytes());
        }
        let entry =
            serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, payload.len()] });
        header.insert(name.clone(), entry);
    }
    let text = serde_json::Value::from(header).to_string();
    let file = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &payload].concat();
    space.write("lora/adapter_model.safetensors", &file);
    let settings = br#"{"peft_type":"LORA","r":2,"lora_alpha":3,"rank_pattern":{".*\\.mlp\\.up_proj":3},
        "alpha_pattern":{"embed_tokens":0.7},"target_modules":"all-linear"}"#;
    space.write("lora/adapter_config.json", settings);
    let convert = |from: &str, to: &str| space.studbook(&["convert", from, to, "--base", "base.slm"]);
    convert("lora", "lora.sbl").exits(0).says("3 deltas");
    convert("lora.sbl", "again").exits(0).says("again: a PEFT LoRA of 3 modules");
    convert("again", "again.sbl").exits(0);
    let bytes = |name: &str| std::fs::read(space.path(name)).unwrap();
    assert!(bytes("lora.sbl") == bytes("again.sbl"));
    convert("lora.sbl", "twice").exits(0);
    assert!(bytes("again/adapter_model.safetensors") == bytes("twice/adapter_model.safetensors"));
    let settings: serde_json::Value = serde_json::from_slice(&bytes("again/adapter_config.json")).unwrap();
    assert_eq!(settings["target_modules"].as_array().unwrap().len(), 3);
    // Of a folder's names and rows, the factors are those that came.
    space.studbook(&["convert", "base.slm", "base", "--to", "hugging-face", "--dtype", "f32"]).exits(0);
    space.studbook(&["convert", "lora", "folder.sbl", "--base", "base"]).exits(0);
    space.studbook(&["convert", "folder.sbl", "folder", "--base", "base"]).exits(0);
    assert!(bytes("folder/adapter_model.safetensors") == bytes("again/adapter_model.safetensors"));

    // What a LoRA cannot say.
    space.write("tuned.slm", &grid(&untied, |name, i| base(name, i) + change(name, i)));
    let extract = ["extract", "base.slm", "tuned.slm", "d.sbl", "--as", "low-rank", "--rank", "1"];
    space.studbook(&extract).exits(0);
    let said = convert("d.sbl", "no").exits(2).complains("the delta of tensor `norm.weight` is dense");
    said.complains("--as low-rank --rank R --linear-only");
    convert("lora", "no").exits(2).complains("end it in .sbl");
    convert("lora.sbl", "no.sbs").exits(2).complains("is a package already");
    assert!(!space.path("no").exists());
    let said = space.studbook(&["convert", "lora.sbl", "no", "--base", "tuned.slm"]).exits(0);
    assert!(said.out.contains("3 modules"), "the same network is the same base");
    space.studbook(&["convert", "lora.sbl", "other", "--base", "other.slm"]).exits(2).complains("parameter");
}

/// A fine-tune of everything as a LoRA: its matrices, and what is left out is told.
#[test]
fn what_a_lora_cannot_say_is_left_out_on_request_and_told() {
    let space = space();
    let untied = ModelConfig { tied_output: false, ..config() };
    space.write("base.slm", &grid(&untied, base));
    space.write("tuned.slm", &grid(&untied, |name, i| base(name, i) + change(name, i)));
    let low_rank = ["tuned.slm", "x.sbl", "--force", "--as", "low-rank", "--rank", "1"];
    let with = |more: &[&str]| extract(&space, &[&low_rank[..], more].concat());
    let said =
        with(&["--linear-only"]).exits(0).says("x.sbl: 1 delta,").says("2 tensors that differ left out");
    said.says("norm.weight").says("of the whole difference (squared L2)");
    let json = with(&["--linear-only", "--format", "json"]).exits(0).json();
    let left_out = json["left_out"].as_array().unwrap();
    let names: Vec<&str> = left_out.iter().map(|one| one["tensor"].as_str().unwrap()).collect();
    assert_eq!(names, ["tok_embeddings.weight", "norm.weight"]);
    // 0, 1, 2 of 256 three times over, without the last.
    let expected = (3.0 * 1.0 + 2.0 * 4.0_f64).sqrt() / 256.0;
    assert_eq!(left_out[1]["l2"].as_f64(), Some(expected));
    assert!(left_out[1]["relative_l2"].as_f64().is_some());
    let convert = |out: &str| space.studbook(&["convert", "x.sbl", out, "--base", "base.slm"]);
    convert("lora").exits(0).says("lora: a PEFT LoRA of 1 module");
    // With a rank that no matrix is wide enough for, too: a LoRA has nothing but products.
    let wide = ["tuned.slm", "x.sbl", "--force", "--as", "low-rank", "--rank", "64", "--linear-only"];
    extract(&space, &wide).exits(0).says("low-rank");
    convert("wide").exits(0);

    // By name: tensors of the base.
    with(&["--skip", "tok_*", "--skip", "norm.weight"]).exits(0).says("x.sbl: 1 delta,");
    convert("skipped").exits(0);
    with(&["--only", "layers.*", "--only", "norm.*"])
        .exits(0)
        .says("x.sbl: 2 deltas")
        .says("1 tensor that differ");
    // Where nothing would be left there is no package, and the one that is there stays.
    let before = bytes(&space, "x.sbl");
    let refused = with(&["--only", "layers.*", "--skip", "*.w1.*"]).exits(2);
    refused.complains("nothing is left to write: `tok_embeddings.weight`, ");
    with(&["--only", "norm.*", "--linear-only"]).exits(2).complains("leave out less");
    with(&["--skip", "*"]).exits(2).complains("are left out, which is all that differs");
    assert!(bytes(&space, "x.sbl") == before);
    let equal = ["extract", "base.slm", "base.slm", "none.sbd", "--as", "dense"];
    space.studbook(&equal).exits(0).says("none.sbd: 0 deltas");
    space.studbook(&[&equal[..], &["--force", "--skip", "norm.*"]].concat()).exits(0).says("0 deltas");
    let refused = with(&["--skip", "model.norm.weight"]).exits(2);
    refused.complains("no tensor of base.slm is called `model.norm.weight`");
    // Of an adapter, as it is kept.
    let kept = |more: &[&str]| extract(&space, &[&["lora", "kept.sbl", "--force"], more].concat());
    kept(&["--only", "layers.*"]).exits(0).says("kept.sbl: 1 delta,");
    kept(&["--skip", "layers.*"]).exits(2).complains("is left out, which is all that differs");
}

/// A network that nobody here knows: its tensors are called as its modules are, and that is what PEFT asks for.
#[test]
fn an_adapter_for_a_network_that_is_not_known_becomes_a_peft_folder() {
    let space = Space::empty();
    let names = [("transformer.h.0.mlp.fc_in", 6), ("transformer.wte", 5), ("transformer.h.0.ln", 0)];
    let weights = |salt: usize| {
        let tensors = names.iter().map(|(name, rows)| {
            let shape = if *rows == 0 { vec![4] } else { vec![*rows, 4] };
            let values = (0..shape.iter().product::<usize>()).map(|i| base(name, i + salt)).collect();
            (format!("{name}.weight"), shape, values)
        });
        safetensors(&tensors.collect::<Vec<_>>())
    };
    for (folder, salt) in [("base", 0), ("tuned", 3)] {
        space.write(&format!("{folder}/model.safetensors"), &weights(salt));
        space.write(&format!("{folder}/config.json"), br#"{"model_type":"gptj","vocab_size":5}"#);
    }
    let extract = |more: &[&str]| {
        let given = ["extract", "base", "tuned", "x.sbl", "--force", "--as", "low-rank", "--rank", "2"];
        space.studbook(&[&given[..], more].concat()).exits(0)
    };
    let convert = |out: &str| space.studbook(&["convert", "x.sbl", out, "--base", "base"]);
    extract(&["--linear-only"]).says("x.sbl: 1 delta,").says("transformer.wte.weight");
    convert("lora").exits(0).says("lora: a PEFT LoRA of 1 module");
    let settings: serde_json::Value = serde_json::from_str(&space.read("lora/adapter_config.json")).unwrap();
    assert_eq!(settings["target_modules"], serde_json::json!(["transformer.h.0.mlp.fc_in"]));
    assert_eq!(settings["fan_in_fan_out"], false);
    space.studbook(&["convert", "lora", "again.sbl", "--base", "base"]).exits(0);
    assert!(bytes(&space, "again.sbl") == bytes(&space, "x.sbl"));
    // What is looked up in it may be the output matrix, too.
    extract(&["--skip", "*.ln.*", "--skip", "*.mlp.*"]);
    convert("no").exits(2).complains("`transformer.wte.weight`");
    assert!(!space.path("no").exists());
}

/// A safetensors file of f32.
fn safetensors(tensors: &[(String, Vec<usize>, Vec<f32>)]) -> Vec<u8> {
    let (mut header, mut payload) = (serde_json::Map::new(), Vec::new());
    for (name, shape, values) in tensors {
        let start = payload.len();
        payload.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let entry =
            serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, payload.len()] });
        header.insert(name.clone(), entry);
    }
    let text = serde_json::Value::from(header).to_string();
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &payload].concat()
}
