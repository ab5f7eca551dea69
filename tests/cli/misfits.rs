//! Models that do not go together, and disks they do not fit on: what, where, what was expected, what to do.

use std::fs::File;

use crate::space::Space;

/// A safetensors file of f32 tensors, each filled with one number.
pub(crate) fn safetensors(tensors: &[(&str, &[usize], f32)]) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, dims, value) in tensors {
        let begin = data.len();
        (0..dims.iter().product()).for_each(|_| data.extend_from_slice(&value.to_le_bytes()));
        let offsets = [begin, data.len()];
        entries.push(format!(
            "\"{name}\":{{\"dtype\":\"F32\",\"shape\":{dims:?},\"data_offsets\":{offsets:?}}}"
        ));
    }
    let header = format!("{{{}}}", entries.join(","));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

const QUERY: &str = "model.layers.0.self_attn.q_proj.weight";
const EMBEDDING: &str = "model.embed_tokens.weight";

fn space() -> Space {
    let space = Space::empty();
    let good: [(&str, &[usize], f32); 2] = [(EMBEDDING, &[6, 4], 1.0), (QUERY, &[4, 4], 0.5)];
    space.write("a.safetensors", &safetensors(&good));
    space.write("b.safetensors", &safetensors(&good));
    space.write("vocabulary.safetensors", &safetensors(&[(EMBEDDING, &[8, 4], 1.0), good[1]]));
    space.write("fewer.safetensors", &safetensors(&good[..1]));
    space
}

/// Merges `models`, named without their endings, and expects refusal.
#[track_caller]
fn refused(space: &Space, method: &str, models: &[&str], more: &str, parts: &[&str]) {
    let models: String = models
        .iter()
        .map(|name| format!("  - {{model: {name}.safetensors, parameters: {{weight: 1}}}}\n"))
        .collect();
    space.write("m.yml", format!("merge_method: {method}\nmodels:\n{models}{more}").as_bytes());
    let mut said = space.studbook(&["merge", "m.yml", "out.safetensors"]).exits(2);
    for part in parts {
        said = said.complains(part);
    }
    assert!(!space.path("out.safetensors").exists());
}

#[test]
fn what_differs_is_named_with_both_sides() {
    let space = space();
    let vocabularies =
        "tensor `model.embed_tokens.weight` is 8x4 in `vocabulary.safetensors` and 6x4 in `a.safetensors`";
    refused(&space, "linear", &["a", "vocabulary"], "", &[vocabularies, "m.yml:4:", "vocabulary included"]);
    let lacks = "`fewer.safetensors` has no tensor `model.layers.0.self_attn.q_proj.weight`";
    refused(&space, "linear", &["a", "fewer"], "", &[lacks, "m.yml:4:", "the same tensors"]);
    let more =
        "`a.safetensors` has a tensor `model.layers.0.self_attn.q_proj.weight`, which the first model named";
    refused(&space, "linear", &["fewer", "a"], "", &[more, "m.yml:4:"]);
    // A comparison shows it and goes on.
    space
        .studbook(&["diff", "a.safetensors", "vocabulary.safetensors"])
        .exits(0)
        .says("model.embed_tokens.weight is 6x4 in a.safetensors and 8x4 in vocabulary.safetensors");
}

#[test]
fn parameters_out_of_their_range_and_bases_that_are_not_there() {
    let space = space();
    let base = "base_model: a.safetensors\n";
    refused(&space, "ties", &["a", "b"], "", &["`ties` needs a base model", "expected `base_model`"]);
    let density = format!("{base}parameters: {{density: 1.5}}\n");
    refused(&space, "ties", &["b"], &density, &["`density` goes from 0 to 1, found 1.5"]);
    refused(&space, "ties", &["b"], "base_model: gone.safetensors\n", &["`gone.safetensors` is not here"]);
    let drawn = format!("{base}parameters: {{density: 0.1, epsilon: 0.2}}\n");
    refused(&space, "della", &["b"], &drawn, &["must lie between 0 and 1"]);
}

const GPT2: &str = r#"{"model_type": "gpt2", "n_embd": 4, "n_head": 2, "n_layer": 1, "vocab_size": 6,
    "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}"#;

/// Folders `x` and `y` of a network that is not computed here, and a plan that blends them.
fn gpt2s(space: &Space) {
    for (name, value) in [("x", 1.0), ("y", 0.5)] {
        let tensors: [(&str, &[usize], f32); 2] =
            [("wte.weight", &[6, 4], value), ("h.0.attn.c_attn.weight", &[4, 12], value)];
        space.write(&format!("{name}/model.safetensors"), &safetensors(&tensors));
        space.write(&format!("{name}/config.json"), GPT2.as_bytes());
    }
    let plan = "[cycle]\nname = \"gpt\"\nseed = \"7\"\nformat = \"safetensors\"\n\n\
                [budget]\ncandidates = 1\nartifact = \"1 MiB\"\n\
                disk = \"8 MiB\"\nseconds = 600\n\n[parents.x]\nsource = \"x\"\n\n[parents.y]\nsource = \"y\"\n\n\
                [candidates.half]\noperator = \"blend\"\nparents = [\"x\", \"y\"]\n\n\
                [smoke]\nprompts = [\"ab\"]\nmax_tokens = 2\n\n\
                [[gate]]\nname = \"size\"\nkind = \"metric\"\nmetric = \"artifact_bytes\"\nmax = 1000000\n";
    space.write("plan.toml", plan.as_bytes());
}

/// What the compatibility report says of the candidate `half`: whether it fits, and each check's findings.
fn compatibility(space: &Space) -> serde_json::Value {
    space.studbook(&["run", "plan.toml"]).exits(0);
    let record = space.read(".studbook/runs/gpt/02-compat/half.json");
    serde_json::from_str::<serde_json::Value>(&record).unwrap()["body"].clone()
}

#[track_caller]
fn finds(report: &serde_json::Value, check: &str, findings: &[&str]) {
    let mut checks = report["checks"].as_array().unwrap().iter();
    let found =
        checks.find(|found| found["check"] == check).unwrap_or_else(|| panic!("no {check}: {report}"));
    assert_eq!(found["findings"], serde_json::json!(findings));
}

/// A network need not be known for its parents to compute otherwise: their configurations say it.
#[test]
fn plans_refuse_networks_that_compute_otherwise_whether_known_here_or_not() {
    let space = Space::empty();
    gpt2s(&space);
    let report = compatibility(&space);
    assert_eq!(report["compatible"], true);
    assert!(!report["checks"].to_string().contains("constants"), "{report}");

    space.edit("y/config.json", "1e-5", "1e-6");
    let report = compatibility(&space);
    assert_eq!(report["compatible"], true);
    finds(&report, "constants", &["config.layer_norm_epsilon: `x` has 0.00001, `y` has 1e-6"]);

    space.edit("y/config.json", "\"n_head\": 2", "\"n_head\": 4");
    space.edit("y/config.json", "gelu_new", "relu");
    let report = compatibility(&space);
    assert_eq!(report["compatible"], false);
    let said =
        ["config.activation_function: `x` has gelu_new, `y` has relu", "config.n_head: `x` has 2, `y` has 4"];
    finds(&report, "shape", &said);
    space.studbook(&["run", "plan.toml"]).exits(0).says(said[1]);
}

/// A number that only f64 can hold is told with its tensor and its place, wherever it is met.
#[test]
fn numbers_beyond_f32_are_told_with_tensor_and_index() {
    let space = space();
    let bytes: Vec<u8> = [1.0, 2.0, 1e300, 4.0_f64].iter().flat_map(|value| value.to_le_bytes()).collect();
    let header = r#"{"a.weight":{"dtype":"F64","shape":[2,2],"data_offsets":[0,32]}}"#;
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &bytes].concat();
    space.write("large.safetensors", &file);
    let place = "tensor `a.weight` at element 2 (or an f64 beyond the range of f32, which is read as that)";
    refused(&space, "linear", &["large"], "", &["`large.safetensors` has the value inf in", place]);
    let convert = ["convert", "large.safetensors", "out.safetensors", "--dtype", "f32"];
    let said = space.studbook(&convert).exits(2).complains(place);
    let said = said.complains("large.safetensors: the value inf is in");
    assert!(!said.err.contains("operator"), "{}", said.err);
    let said = space.studbook(&["inspect", "large.safetensors"]).exits(0);
    let at = 8 + header.len() + 16;
    said.says(&format!("element 2 (byte {at}) is 1e300; every weight must be a finite f32"));
}

/// What an encoding cannot hold is the recipe's fault and not the machine's.
#[test]
fn numbers_beyond_the_encoding_asked_for_are_a_mistake() {
    let space = space();
    space.write("large.safetensors", &safetensors(&[(QUERY, &[4, 4], 1e6)]));
    let half = "dtype: float16\n";
    refused(&space, "linear", &["large"], half, &["self_attn.q_proj", "f16"]);
    let convert = ["convert", "large.safetensors", "out.safetensors", "--dtype", "f16"];
    space.studbook(&convert).exits(2).complains("self_attn.q_proj");
    assert!(!space.path("out.safetensors").exists());
}

#[test]
fn adapters_for_what_is_not_there() {
    let space = space();
    let settings = br#"{"peft_type":"LORA","r":1,"lora_alpha":1,"target_modules":["q_proj"]}"#;
    space.write("lora/adapter_config.json", settings);
    let factors = |layer: u32, rows: usize| {
        let name =
            |letter| format!("base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{letter}.weight");
        safetensors(&[(&name("A"), &[1, 4], 1.0), (&name("B"), &[rows, 1], 1.0)])
    };
    let extract = |factors: &[u8], code| {
        space.write("lora/adapter_model.safetensors", factors);
        space.studbook(&["extract", "a.safetensors", "lora", "out.sbl", "--force"]).exits(code)
    };
    extract(&factors(9, 4), 2)
        .complains("lora: module `model.layers.9.self_attn.q_proj` has factors")
        .complains("the model has no tensor `model.layers.9.self_attn.q_proj.weight`");
    extract(&factors(0, 5), 2).complains("self_attn.q_proj").complains("4x4");
    assert!(!space.path("out.sbl").exists());
    space.studbook(&["inspect", "lora"]).exits(0).says("peft-lora").says("model.layers.0.self_attn.q_proj");
    extract(&factors(0, 4), 0).says("1 delta,");
}

/// A model with one tensor of eight terabytes, nothing of which is on the disk.
fn huge(space: &Space, name: &str) -> bool {
    let elements = 1_u64 << 41;
    let header = format!(
        "{{\"{QUERY}\":{{\"dtype\":\"F32\",\"shape\":[{},2],\"data_offsets\":[0,{}]}}}}",
        elements / 2,
        elements * 4
    );
    space.write(name, &[&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat());
    let file = File::options().write(true).open(space.path(name)).unwrap();
    file.set_len(8 + header.len() as u64 + elements * 4).is_ok()
}

#[test]
fn a_disk_that_is_too_small_is_told_before_the_work() {
    let space = space();
    let room = studbook::disk::space::available(&space.path("")).unwrap();
    // Not every file system can hold such a file, and some disks could hold all of it.
    if !huge(&space, "huge.safetensors") || room > 1 << 42 {
        return;
    }
    space.write(
        "m.yml",
        b"merge_method: passthrough\nmodels: [{model: huge.safetensors}]\nout_dtype: bfloat16\n",
    );
    for arguments in
        [["merge", "m.yml", "out.safetensors"], ["convert", "huge.safetensors", "out.safetensors"]]
    {
        let said = space.studbook(&arguments).exits(5).complains("bytes are needed, ").complains(" are free");
        said.complains("free some space");
        assert!(!space.path("out.safetensors").exists());
    }
}

/// Tokens are matched by what they are; models that do not say cannot be asked once everything else is done.
#[test]
fn a_vocabulary_needs_models_with_tokenizers() {
    let space = Space::new();
    space.studbook(&["convert", "two.slm", "bare.safetensors"]).exits(0);
    space.edit("plan.toml", "source = \"two.slm\"", "source = \"bare.safetensors\"");
    space.edit("plan.toml", "lambda = 0.5", "lambda = 0.5\nvocabulary = \"base\"");
    space
        .studbook(&["check", "plan.toml"])
        .exits(2)
        .complains("`vocabulary` is for models that say which tokens they have, and `two` does not")
        .complains("expected a tokenizer with each of the models");
}

#[test]
fn who_does_not_run_is_refused_with_the_reason() {
    let space = Space::new();
    space.edit("plan.toml", "\"1+1=\"]", &format!("\"{}\"]", "x".repeat(70)));
    let why = "does not run cleanly: the prompt \"xxxxx";
    let said = space.studbook(&["run", "plan.toml"]);
    let smoke = said.err.lines().find(|line| line.contains("smoke:average")).unwrap();
    assert!(smoke.contains(why), "{smoke}");
    let promotion = space.read(".studbook/runs/tiny/08-promotion/average.json");
    assert!(promotion.contains("the model does not run cleanly: the prompt \\\"xxxxx"), "{promotion}");
    assert!(promotion.contains("xxx\\\"...: a context of 71 tokens is not possible"), "{promotion}");
}

/// A report names the tensors of one model alone, and those of other shapes.
#[test]
fn a_tensor_that_one_parent_alone_has_is_named() {
    let space = Space::empty();
    gpt2s(&space);
    let tensors: [(&str, &[usize], f32); 3] = [
        ("wte.weight", &[7, 4], 0.5),
        ("h.0.attn.c_proj.weight", &[4, 4], 0.5),
        ("h.0.ln.weight", &[4], 0.5),
    ];
    space.write("y/model.safetensors", &safetensors(&tensors));
    let report = compatibility(&space);
    assert_eq!(report["compatible"], false);
    let layout =
        report["checks"].as_array().unwrap().iter().find(|check| check["check"] == "layout").unwrap();
    let findings = layout["findings"].to_string();
    for told in [
        "tensors: `x` has no `h.0.attn.c_proj.weight`, `h.0.ln.weight`, as `y` has",
        "tensors: `y` has no `h.0.attn.c_attn.weight`, as `x` has",
        "tensors of other shapes in `x` (here) and `y` (there): `wte.weight` (6x4 here, 7x4 there)",
    ] {
        assert!(findings.contains(told), "no {told:?} in {findings}");
    }
}
