//! Tensors that hold no weights: positions, masks, frequencies, and integers of other kinds.

use studbook::model::open_package;

use crate::space::{OBJECTIVES, PLAN, Space};

const POSITIONS: (&str, &str, &[u8]) = ("model.embeddings.position_ids", "I64", &[1; 16]);
const FREQUENCIES: (&str, &str, &[u8]) = ("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", &[0; 8]);
const TABLE: (&str, &str, &[u8]) = ("router.table", "U8", &[7, 8, 9]);

/// A safetensors file with more tensors behind its own.
fn with(file: &[u8], more: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let mut payload = file[8 + length..].to_vec();
    for (name, dtype, bytes) in more {
        let width = match *dtype {
            "I64" => 8,
            "F32" => 4,
            _ => 1,
        };
        header[*name] = serde_json::json!({
            "dtype": dtype, "shape": [bytes.len() / width],
            "data_offsets": [payload.len(), payload.len() + bytes.len()],
        });
        payload.extend_from_slice(bytes);
    }
    let text = header.to_string();
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &payload].concat()
}

fn add(space: &Space, path: &str, more: &[(&str, &str, &[u8])]) {
    let file = std::fs::read(space.path(path)).unwrap();
    space.write(path, &with(&file, more));
}

/// [`PLAN`] without gates of quality, over folders or bare files of tensors.
fn space(ending: &str) -> Space {
    let space = Space::new();
    for name in ["base", "one", "two", "three"] {
        let (from, to) = (format!("{name}.slm"), format!("{name}{ending}"));
        let format = if ending.is_empty() { "hugging-face" } else { "safetensors" };
        space.studbook(&["convert", &from, &to, "--to", format, "--dtype", "f32"]).exits(0);
    }
    let plan = PLAN.replace(".slm\"", &format!("{ending}\"")).replace("output = \"q8_0\"\n", "");
    let (plan, rest) = plan.split_once("[[gate]]\nname = \"quality\"").unwrap();
    let rest = rest.split_once("[review]").unwrap().1.replace(OBJECTIVES, "");
    let plan = format!("{plan}[review]{rest}").replace("use = \"both\"", "use = \"selection\"");
    space.write("plan.toml", plan.as_bytes());
    space
}

fn record(space: &Space, name: &str) -> serde_json::Value {
    serde_json::from_str(&space.read(&format!(".studbook/runs/tiny/{name}"))).unwrap()
}

/// What follows from a known configuration is left out, whoever has it, and the records say so.
#[test]
fn a_known_networks_buffers_are_left_out_and_told() {
    let space = space("");
    add(&space, "one/model.safetensors", &[POSITIONS, FREQUENCIES]);
    space
        .studbook(&["inspect", "one"])
        .exits(0)
        .says("model.embeddings.position_ids")
        .says("left out: it follows from the configuration");
    space.studbook(&["run", "plan.toml"]).exits(0).says("admitted");
    let receipt = record(&space, "04-operator/average.json");
    let buffers = receipt["body"]["buffers"].as_array().unwrap();
    let told: Vec<_> = buffers.iter().map(|buffer| (&buffer["name"], &buffer["carried"])).collect();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|(_, carried)| **carried == false), "{told:?}");
    let compat = record(&space, "02-compat/average.json").to_string();
    assert!(compat.contains("`model.embeddings.position_ids`, I64: left out"), "{compat}");
    let child = open_package(&space.path(".studbook/runs/tiny/04-operator/average")).unwrap().package;
    assert!(child.weights.buffers().is_empty());
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0).says("recomputed: MATCH");
    space
        .studbook(&["convert", "one", "one.gguf"])
        .exits(0)
        .complains("left out: 2 buffers that follow from the configuration");
    space.studbook(&["diff", "one", "one.gguf", "--exit-code"]).exits(0);
}

#[test]
fn an_unknown_integer_of_a_known_network_is_refused_by_name() {
    let space = space("");
    add(&space, "base/model.safetensors", &[TABLE]);
    let why =
        "the tensor `router.table` is U8: no weight, and nothing that a llama-like network is known to have";
    space.studbook(&["check", "plan.toml"]).exits(2).complains(why).complains("plan.toml:");
    space.studbook(&["convert", "base", "again.slm"]).exits(2).complains(why);
    space.studbook(&["generate", "base", "--prompt", "ab"]).exits(2).complains(why);
    space.studbook(&["inspect", "base"]).exits(0).says("refused: nothing that the network is known to have");
    // Integers where a configuration says that weights are packed are those weights.
    space.edit("base/config.json", "{", "{\"quantization_config\": {\"bits\": 4},");
    space.studbook(&["inspect", "base"]).exits(2).complains("packed weights are not read here");
}

/// Of bare files nothing is known: what all have alike is carried, and nothing is merged that is no weight.
#[test]
fn bare_files_carry_what_all_have_and_merge_no_integer() {
    let space = space(".safetensors");
    for name in ["base", "one", "two", "three"] {
        add(&space, &format!("{name}.safetensors"), &[TABLE, POSITIONS]);
    }
    space.studbook(&["run", "plan.toml"]).exits(0);
    let receipt = record(&space, "04-operator/tasks.json");
    let buffers = receipt["body"]["buffers"].as_array().unwrap();
    assert!(buffers.len() == 2 && buffers.iter().all(|buffer| buffer["carried"] == true), "{buffers:?}");
    let of = |path: &str| {
        let package = open_package(&space.path(path)).unwrap().package;
        let all = package.weights.buffers().iter();
        all.map(|buffer| (buffer.name.clone(), buffer.kind, buffer.data().to_vec())).collect::<Vec<_>>()
    };
    let made = ".studbook/runs/tiny/04-operator/tasks.safetensors";
    assert_eq!(of(made), of("one.safetensors"));
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0).says("recomputed: MATCH");

    let blend = "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: one.safetensors}, {model: two.safetensors}]\n";
    space.write("blend.yml", blend.as_bytes());
    space
        .studbook(&["merge", "blend.yml", "out.safetensors"])
        .exits(0)
        .complains("carried as they are: 2 buffers");
    assert_eq!(of("out.safetensors"), of("one.safetensors"));
    assert!(space.read("out.safetensors.receipt.json").contains("router.table"));

    let plain = std::fs::read(space.path("two.safetensors")).unwrap();
    let differing = with(&plain, &[("another", "I64", &[3; 8])]);
    space.write("two.safetensors", &differing);
    let why = "has the tensor `another`, which is I64 and cannot be merged";
    space.studbook(&["merge", "blend.yml", "out.safetensors", "--force"]).exits(2).complains(why);
    space.studbook(&["run", "plan.toml"]).exits(0).says(why);
    space.studbook(&["diff", "one.safetensors", "two.safetensors"]).exits(0).says(why);
    let mut other = plain;
    let end = other.len();
    other[end - 1] = 2;
    space.write("two.safetensors", &other);
    space
        .studbook(&["merge", "blend.yml", "out.safetensors", "--force"])
        .exits(2)
        .complains("have different numbers in `model.embeddings.position_ids`, which is I64");
}
