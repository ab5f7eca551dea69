//! One model in every format: the same values, the same words.

use std::path::Path;
use std::sync::Arc;

use studbook::model::open_bytes;
use studbook::runtime::{Model, Session};
use studbook::tensor::dtype::DType;

use crate::space::{Space, config, model};

fn space() -> Space {
    let space = Space::empty();
    space.write("a.slm", &model(&config(), "a", DType::F32));
    space
}

/// What a model says, greedily.
fn words(space: &Space, name: &str) -> String {
    space.studbook(&["generate", name, "--prompt", "ab", "--max-tokens", "12"]).exits(0).out
}

#[test]
fn there_and_back_is_the_same_file() {
    let space = space();
    for (there, to) in [("b.gguf", None), ("folder", Some("trained-source")), ("hf", Some("hugging-face"))] {
        let to: &[&str] = &to.map_or(Vec::new(), |to| vec!["--to", to]);
        space.studbook(&[&["convert", "a.slm", there], to].concat()).exits(0).says("11 tensors");
        space.studbook(&["convert", there, "back.slm", "--force"]).exits(0);
        let read = |name| std::fs::read(space.path(name)).unwrap();
        assert!(read("a.slm") == read("back.slm"), "by way of {there}");
    }
    assert_eq!(words(&space, "a.slm"), words(&space, "back.slm"));
    let manifest = space.read("folder/source.manifest");
    assert!(
        manifest.contains("tensor=layers.0.wk.weight 4x8 128 tensors/layers.0.wk.weight.f32\n"),
        "{manifest}"
    );
}

#[test]
fn a_hugging_face_model_computes_the_same() {
    #[derive(serde::Deserialize)]
    struct Reference {
        tokens: Vec<u32>,
        last_two: Vec<Vec<f32>>,
    }
    let reference: Reference =
        serde_json::from_str(include_str!("../fixtures/huggingface_logits.json")).unwrap();
    let space = space();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/huggingface_tiny");
    let folder = folder.to_str().unwrap();
    space.studbook(&["convert", folder, "h.slm"]).exits(2).complains("--tokenizer");
    space.studbook(&["convert", folder, "h.slm", "--tokenizer", "a.slm"]).exits(0).says("21 tensors");
    // By way of GGUF, too, whose rows lie as SLM1's do.
    space.studbook(&["convert", folder, "h.gguf", "--without-tokenizer"]).exits(0);
    space.studbook(&["convert", "h.gguf", "g.slm", "--tokenizer", "a.slm"]).exits(0);
    for name in ["h.slm", "g.slm"] {
        let bytes = std::fs::read(space.path(name)).unwrap();
        let model = Model::new(Arc::new(open_bytes(Arc::new(bytes)).unwrap())).unwrap();
        let mut session = Session::new(&model, reference.tokens.len()).unwrap();
        let (last, before) = reference.tokens.split_last().unwrap();
        let mut worst = 0.0_f32;
        for (step, expected) in [before, &[*last]].iter().zip(&reference.last_two) {
            let logits = session.feed(step).unwrap();
            assert_eq!(logits.len(), expected.len());
            worst = logits.iter().zip(expected).fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
        }
        assert!(worst < 1e-4, "{name}: {worst}");
    }
    // Back in that layout, every tensor is what it was.
    space.studbook(&["convert", "h.slm", "back", "--to", "hugging-face"]).exits(0);
    let original = studbook::model::open_package(Path::new(folder)).unwrap().package;
    let back = studbook::model::open_package(&space.path("back")).unwrap().package;
    assert_eq!(original.weights.infos().len(), back.weights.infos().len());
    for tensor in original.weights.tensors() {
        assert_eq!(back.weights.tensor(tensor.name).unwrap().data, tensor.data, "{}", tensor.name);
    }
    let network = |config: Result<studbook::model::ModelConfig, String>| config.unwrap();
    assert_eq!(network(back.config), network(original.config));
    assert_eq!(back.tokenizer.unwrap(), studbook::model::Tokenizer::Btok);
}

#[test]
fn encodings_change_on_request() {
    let space = space();
    space.studbook(&["convert", "a.slm", "q.slm", "--dtype", "q8_0"]).exits(0);
    let bytes = std::fs::read(space.path("q.slm")).unwrap();
    assert!(bytes == model(&config(), "a", DType::Q8_0), "the quantiser is the writer's");
    space.studbook(&["convert", "a.slm", "h.gguf", "--dtype", "f16"]).exits(0);
    space.studbook(&["convert", "h.gguf", "h.slm"]).exits(0);
    let half = open_bytes(Arc::new(std::fs::read(space.path("h.slm")).unwrap())).unwrap();
    let whole = open_bytes(Arc::new(std::fs::read(space.path("a.slm")).unwrap())).unwrap();
    for (half, whole) in half.tensors().zip(whole.tensors()) {
        for (half, whole) in half.to_f32().iter().zip(whole.to_f32()) {
            assert!((half - whole).abs() <= whole.abs() / 1024.0, "{half} {whole}");
        }
    }
}

/// Everything is computed in f32; what that costs an f64 is told, and shows when it is compared.
#[test]
fn what_an_f64_loses_is_told() {
    let space = Space::empty();
    let file = |name: &str, values: [f64; 3]| {
        let header = br#"{"a":{"dtype":"F64","shape":[3],"data_offsets":[0,24]}}"#;
        let length = (header.len() as u64).to_le_bytes();
        let values = values.map(f64::to_le_bytes).concat();
        space.write(name, &[&length[..], header, &values].concat());
    };
    let differ = |a: &str, b: &str, code| space.studbook(&["diff", a, b, "--exit-code"]).exits(code);
    file("x.safetensors", [0.1, 0.5, -3.0]);
    let said = space.studbook(&["convert", "x.safetensors", "y.safetensors"]).exits(0);
    said.says("1 tensor, 0 of them unchanged").complains("1 tensor stored as f64");
    differ("x.safetensors", "y.safetensors", 1).says("33.3%");
    differ("x.safetensors", "x.safetensors", 0);
    let said =
        space.studbook(&["convert", "y.safetensors", "z.safetensors"]).exits(0).says("1 of them unchanged");
    assert!(said.err.is_empty(), "{}", said.err);
    differ("y.safetensors", "z.safetensors", 0);
    // Beyond the range of f32: nothing to convert to, but to compare.
    file("huge.safetensors", [0.1, 0.5, -3e300]);
    space.studbook(&["convert", "huge.safetensors", "h.safetensors"]).exits(2).complains("`a` at element 2");
    differ("x.safetensors", "huge.safetensors", 1);
}

#[test]
fn what_cannot_be_is_told() {
    let space = space();
    let exits = |arguments: &[&str], code| space.studbook(&[&["convert"], arguments].concat()).exits(code);
    exits(&["a.slm", "b"], 2).complains("does not say which format").complains("--to");
    exits(&["a.slm", "b.slm", "--dtype", "q9"], 2).complains("unknown encoding \"q9\"");
    exits(&["a.slm", "b.slm", "--dtype", "f16"], 2)
        .complains("slm1 files cannot hold f16")
        .complains("`--dtype` is one of f32, q8_0, q4_0\n");
    // GGUF's own q8_0 is asked for as that.
    for word in ["q4_0", "ggml_q8_0"] {
        exits(&["a.slm", "b.gguf", "--dtype", word], 2)
            .complains(&format!("gguf files cannot hold {word}"))
            .complains("`--dtype` is one of f32, f16, bf16, q8_0, f64\n");
    }
    exits(&["a.slm", "b", "--to", "trained-source", "--dtype", "q8_0"], 2).complains("cannot hold q8_0");
    exits(&["a.slm", "a.slm"], 2).complains("a.slm is the input a.slm");
    // Whoever asks for files of a size is not given one of any.
    for (out, to) in [("b.gguf", "gguf"), ("b.safetensors", "safetensors"), ("b.slm", "slm")] {
        let shard = ["a.slm", out, "--to", to, "--shard", "8KB"];
        exits(&shard, 2).complains("`--shard` goes with Hugging Face folders only");
    }
    exits(&["a.slm", "b", "--to", "trained-source", "--shard", "8KB"], 2).complains("`--shard` goes with");
    exits(&["a.slm", "b", "--to", "hugging-face", "--shard", "8 Q"], 2)
        .complains("kB, MB, GB, KiB, MiB, GiB");
    exits(&["a.slm", "shards", "--to", "hugging-face", "--shard", "8KB"], 0);
    assert!(space.path("shards/model.safetensors.index.json").exists());
    exits(&["none.slm", "b.gguf"], 2).complains("none.slm");
    // Rows of eight do not fill blocks of 32.
    exits(&["a.slm", "b.gguf", "--dtype", "q8_0"], 2).complains("token_embd.weight");
    assert!(!space.path("b.gguf").exists() && !space.path("b.slm").exists());
    space.studbook(&["convert", "a.slm", "g.gguf"]).exits(0);
    space.write("plan.toml", crate::space::PLAN.replace("one.slm", "g.gguf").as_bytes());
    space.studbook(&["check", "plan.toml"]).exits(2).complains("no child like `one` can be made");

    space.studbook(&["convert", "a.slm", "t", "--to", "trained-source"]).exits(0);
    let bad = |from: &str, to: &str, complaint: &str| {
        let good = space.read("t/source.manifest");
        space.edit("t/source.manifest", from, to);
        exits(&["t", "c.slm"], 2).complains(complaint);
        space.write("t/source.manifest", good.as_bytes());
    };
    bad(" tensors/norm.weight.f32", " ../norm.weight.f32", "goes up");
    bad(" tensors/norm.weight.f32", " /etc/passwd", "is absolute");
    bad(" 32 tensors/norm", " 36 tensors/norm", "expected 32");
    bad("tensor=norm.weight ", "tensor=norm ", "the network has no tensor norm");
    std::os::unix::fs::symlink(space.path("a.slm"), space.path("t/link")).unwrap();
    bad(" tensors/norm.weight.f32", " link", "is a symbolic link");
    bad("tensors/norm.weight.f32", "tensors/layers.0.attn_norm.weight.f32", "is that of two tensors");
    space.write("t/tensors/old.f32", &[0; 32]);
    exits(&["t", "c.slm"], 2).complains("the file tensors/old.f32 is no tensor's");
    std::fs::remove_file(space.path("t/tensors/old.f32")).unwrap();
    space.write("t/tensors/norm.weight.f32", &[0; 32]);
    exits(&["t", "c.slm"], 2).complains("every element of tensor norm.weight is zero");
    space.write("t/tensors/norm.weight.f32", &f32::NAN.to_le_bytes().repeat(8));
    exits(&["t", "c.slm"], 2).complains("element 0 (byte 0) is NaN");
}

/// A folder as people download it: the library's own files, with a tokenizer of the same family.
#[test]
fn a_downloaded_folder_and_a_gguf_file_are_run_and_shown() {
    let space = space();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::create_dir(space.path("qwen")).unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixtures.join("transformers/qwen2").join(file), space.path("qwen").join(file)).unwrap();
    }
    let generate = |extra: &[&str]| {
        let prompt = ["--prompt", "ab", "--max-tokens", "12"];
        space.studbook(&[&["generate"], extra, prompt.as_slice()].concat())
    };
    generate(&["qwen"]).exits(2).complains("there is no tokenizer.json").complains("--tokenizer FILE");
    let shown = space.studbook(&["inspect", "qwen"]).exits(0);
    shown
        .says("bias          on queries, keys and values\nrope scaling  none\n")
        .says("no: the tokenizer is not known");

    // The byte tokenizer of another model, as a model and as a file; the same bits as any number of times.
    space.studbook(&["convert", "a.slm", "a", "--to", "hugging-face"]).exits(0);
    let text = generate(&["qwen", "--tokenizer", "a.slm"]).exits(0).out;
    assert_eq!(generate(&["qwen", "--tokenizer", "a/tokenizer.json"]).exits(0).out, text);
    std::fs::copy(space.path("a/tokenizer.json"), space.path("qwen/tokenizer.json")).unwrap();
    assert_eq!(generate(&["qwen"]).exits(0).out, text);
    // What ends its answers is the model's own, whose tokenizer it is that makes text of them.
    let every: Vec<u32> = (0..260).collect();
    space.write("qwen/generation_config.json", format!("{{\"eos_token_id\": {every:?}}}").as_bytes());
    for extra in
        [&["qwen"][..], &["qwen", "--tokenizer", "a.slm"], &["qwen", "--tokenizer", "a/tokenizer.json"]]
    {
        generate(extra).exits(0).complains("tokens: the model ended");
    }
    std::fs::remove_file(space.path("qwen/generation_config.json")).unwrap();
    let json = space.studbook(&["inspect", "qwen", "--format", "json"]).exits(0).json();
    assert_eq!((&json["runs"], &json["config"]["variant"]["qkv_bias"]), (&"yes".into(), &true.into()));
    space.studbook(&["convert", "qwen", "q.slm"]).exits(2).complains("bias is on queries");

    // The same network in every format.
    space.studbook(&["convert", "a.slm", "a.gguf"]).exits(0);
    let text = generate(&["a.slm"]).exits(0).out;
    generate(&["a"]).exits(0);
    assert_eq!(generate(&["a.gguf"]).exits(0).out, text);
    space.studbook(&["inspect", "a.gguf"]).exits(0).says("gguf").says("yes").says("BTOK");
    // More ids than the network has rows.
    let large = fixtures.join("tokenizers/qwen2.json");
    let error = generate(&["qwen", "--tokenizer", large.to_str().unwrap()]).exits(2);
    error.complains("ids and the network 260");
    // Chosen by temperature, the seed decides.
    let wild =
        |seed: &str| generate(&["qwen", "--temperature", "2", "--top-k", "50", "--seed", seed]).exits(0).out;
    assert_eq!(wild("3"), wild("3"));
    // Another program gets what the model said, control characters and all.
    let control = |c: char| c.is_control() && c != '\n';
    assert!((0..20).any(|seed| wild(&seed.to_string()).contains(control)));
    assert_ne!(wild("3"), wild("4"));
}

#[test]
fn an_output_matrix_of_its_own_is_not_dropped() {
    let space = Space::empty();
    let untied = studbook::model::ModelConfig { tied_output: false, ..config() };
    space.write("u.slm", &model(&untied, "u", DType::F32));
    space.studbook(&["convert", "u.slm", "u", "--to", "hugging-face"]).exits(0).says("12 tensors");
    space.edit("u/config.json", "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
    for out in ["x.slm", "x.gguf"] {
        space
            .studbook(&["convert", "u", out])
            .exits(2)
            .complains("`lm_head.weight` is not the embedding matrix again");
        assert!(!space.path(out).exists());
    }
}

/// A folder whose tokenizer is twelve letters, from the fixtures.
fn letters(space: &Space, name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mergekit/tokens");
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        space.write(&format!("{name}/{file}"), &std::fs::read(folder.join(file)).unwrap());
    }
}

#[test]
fn byte_level_pairs_go_to_gguf_and_back() {
    let space = space();
    letters(&space, "l");
    let expected = words(&space, "l");
    space.studbook(&["convert", "l", "l.gguf"]).exits(0);
    assert_eq!(words(&space, "l.gguf"), expected);
    // Back from the file's own tables, and from a file at hand.
    space.studbook(&["convert", "l.gguf", "own", "--to", "hugging-face"]).exits(0);
    let given = ["--to", "hugging-face", "--tokenizer", "l/tokenizer.json"];
    space.studbook(&[&["convert", "l.gguf", "given"], &given[..]].concat()).exits(0);
    for back in ["own", "given"] {
        assert_eq!(words(&space, back), expected, "{back}");
        let file: serde_json::Value =
            serde_json::from_str(&space.read(&format!("{back}/tokenizer.json"))).unwrap();
        assert_eq!((&file["version"], &file["model"]["vocab"]["l"]), (&"1.0".into(), &11.into()));
    }
    space.studbook(&["convert", "l", "l.slm"]).exits(2).complains("cannot be an SLM1 tokenizer");
    // What has no name there is refused, and left out if somebody says so.
    space.edit("l/tokenizer.json", "\"add_prefix_space\": false", "\"add_prefix_space\": true");
    space
        .studbook(&["convert", "l", "n.gguf"])
        .exits(2)
        .complains("cuts text has no name")
        .complains("`--without-tokenizer`");
    space.studbook(&["convert", "l", "n.gguf", "--without-tokenizer"]).exits(0);
    space
        .studbook(&["generate", "n.gguf", "--prompt", "ab"])
        .exits(2)
        .complains("the tokenizer is not known");
}

/// Of a folder that becomes a folder, its network need not be known: other files, other encodings.
#[test]
fn a_network_that_is_not_known_is_stored_anew_as_it_is() {
    let space = Space::empty();
    let tensor = |name: &'static str, value: f32| (name, &[4, 4][..], value);
    let tensors = [tensor("h.0.attn.weight", 0.5), tensor("h.1.attn.weight", 1.5), tensor("wte.weight", 2.5)];
    space.write("m/model.safetensors", &crate::misfits::safetensors(&tensors));
    space.write("m/config.json", b"{\"model_type\": \"something\", \"torch_dtype\": \"float32\"}");
    let convert = ["convert", "m", "out", "--to", "hugging-face", "--dtype", "bf16", "--shard", "40"];
    space.studbook(&convert).exits(0).says("3 tensors, 3 of them unchanged in value");
    assert!(space.path("out/model-00003-of-00003.safetensors").exists());
    assert!(space.read("out/config.json").contains("\"bfloat16\""));
    space.studbook(&["diff", "m", "out"]).exits(0).says("the same values");
    // In another format it would have to be.
    space
        .studbook(&["convert", "m", "out.slm"])
        .exits(2)
        .complains("the network is not known")
        .complains("config.json says `model_type` `something`; what is run here is `llama`, `mistral`, `qwen2`, `qwen3`, `olmo2`, `gemma3_text`")
        .complains("merging works for any other, too");
    space.edit("m/config.json", "\"model_type\": \"something\", ", "");
    space
        .studbook(&["generate", "m", "--prompt", "a"])
        .exits(2)
        .complains("config.json says no `model_type`");
}

/// The same ids in other words are one tokenizer: what a file says of offsets, types of tokens and pairs of texts
/// is lost on the way over GGUF, and no id with it.
#[test]
fn a_tokenizer_that_went_to_gguf_and_back_is_the_same() {
    let space = space();
    letters(&space, "l");
    space.edit(
        "l/tokenizer.json",
        "\"post_processor\": null",
        "\"post_processor\": {\"type\": \"ByteLevel\", \"trim_offsets\": false}",
    );
    space.studbook(&["convert", "l", "l.gguf"]).exits(0);
    space.studbook(&["convert", "l.gguf", "back", "--to", "hugging-face"]).exits(0);
    for other in ["l.gguf", "back"] {
        let said = space.studbook(&["diff", "l", other, "--exit-code"]).exits(0);
        assert!(!said.out.contains("tokenizer.digest"), "{}", said.out);
        let dense = ["extract", "l", other, "none.sbd", "--as", "dense", "--force"];
        space.studbook(&dense).exits(0).says("0 deltas");
    }
    space.write("plan.toml", BOTH.as_bytes());
    space.studbook(&["run", "plan.toml"]).exits(0);
    let report = space.read(".studbook/runs/both/02-compat/mean.json");
    assert!(report.contains("\"compatible\":true") && !report.contains("tokenizer.digest"), "{report}");
    // A record says what each file does, in its own words: it comes out the same whenever it is made again.
    let said = "d68b751b57607a1d0fb484af4daf09fd412e840e3de5247cad6b78c3eee77ef7";
    let source = |name: &str| space.read(&format!(".studbook/runs/both/01-source/{name}.json"));
    assert!(source("one").contains(said), "{}", source("one"));
    assert!(!source("other").contains(said), "{}", source("other"));
    // Another one is refused, and the report says what a plan can do about it.
    space.edit("back/tokenizer.json", "\"use_regex\": true", "\"use_regex\": false");
    space.studbook(&["run", "plan.toml"]).exits(0);
    let report = space.read(".studbook/runs/both/02-compat/mean.json");
    assert!(report.contains("\"compatible\":false") && report.contains("tokenizer.digest"), "{report}");
    assert!(report.contains(r#"`vocabulary = \"base\"` in the candidate's section"#), "{report}");
}

const BOTH: &str = r#"
[cycle]
name = "both"
seed = "7"

[budget]
candidates = 1
artifact = "1 MiB"
disk = "20 MiB"
seconds = 600

[parents.one]
source = "l"

[parents.other]
source = "back"

[candidates.mean]
operator = "blend"
parents = ["one", "other"]

[smoke]
prompts = ["ab"]
max_tokens = 4

[[gate]]
name = "size"
kind = "metric"
metric = "artifact_bytes"
max = 1000000
"#;

/// Chat templates with names lie in a folder of their own, and go wherever the model goes.
#[test]
fn chat_templates_with_names_go_to_every_child() {
    let space = space();
    letters(&space, "l");
    let (folder, own) = ("additional_chat_templates", "additional_chat_templates/tool_use.jinja");
    space.write(&format!("l/{own}"), b"{{ tools }}");
    space.write(&format!("l/{folder}/notes.txt"), b"not carried");
    let carried = |child: &str| {
        assert_eq!(space.read(&format!("{child}/{own}")), "{{ tools }}", "{child}");
        assert!(!space.path(&format!("{child}/{folder}/notes.txt")).exists());
    };
    for _ in 0..2 {
        space
            .studbook(&["convert", "l", "half", "--to", "hugging-face", "--dtype", "bf16", "--force"])
            .exits(0);
        carried("half");
        space.write("m.yml", b"merge_method: linear\nmodels: [{model: l, parameters: {weight: 1}}]\n");
        space.studbook(&["merge", "m.yml", "merged", "--force"]).exits(0);
        carried("merged");
    }
    assert!(space.read("merged/studbook-receipt.json").contains(own));
    // Over a file that has facts for them.
    space.studbook(&["convert", "l", "l.gguf"]).exits(0);
    space.studbook(&["convert", "l.gguf", "back", "--to", "hugging-face"]).exits(0);
    let settings: serde_json::Value =
        serde_json::from_str(&space.read("back/tokenizer_config.json")).unwrap();
    assert!(settings["chat_template"].to_string().contains("{{ tools }}"), "{settings}");
    // In the store and out of it.
    space.studbook(&["convert", "l", "back", "--to", "hugging-face", "--force"]).exits(0);
    space.write("plan.toml", BOTH.as_bytes());
    space.studbook(&["run", "plan.toml"]).exits(0);
    carried(".studbook/runs/both/04-operator/mean");
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0);
    // Of somebody else's place, nothing.
    std::fs::rename(space.path(&format!("l/{folder}")), space.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", space.path(&format!("l/{folder}"))).unwrap();
    let said = space.studbook(&["convert", "l", "no", "--to", "hugging-face"]).exits(2);
    said.complains("leads out of the model's folder");
    std::fs::remove_file(space.path(&format!("l/{folder}"))).unwrap();
    (0..65).for_each(|i| space.write(&format!("l/{folder}/{i}.jinja"), b""));
    space.studbook(&["convert", "l", "no", "--to", "hugging-face"]).exits(2).complains("at most 64 are read");
}

/// What lies beside the tensors needs room, too.
#[test]
fn the_room_asked_for_is_that_of_every_file() {
    let space = space();
    letters(&space, "l");
    space.write("m.yml", b"merge_method: linear\nmodels: [{model: l, parameters: {weight: 1}}]\n");
    let mut full = space.command(&["merge", "m.yml", "merged"]);
    let said = full.env("STUDBOOK_FAULT", "room-asked:1:full").output().unwrap();
    assert_eq!(said.status.code(), Some(5));
    let err = String::from_utf8(said.stderr).unwrap();
    let needed = err.split(" bytes are needed").next().and_then(|before| before.rsplit(' ').next());
    let needed: u64 = needed.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{err}"));
    space.studbook(&["merge", "m.yml", "merged"]).exits(0);
    let files = std::fs::read_dir(space.path("merged")).unwrap().map(Result::unwrap);
    let written = files.filter(|file| file.file_name() != "studbook-receipt.json");
    assert_eq!(written.map(|file| file.metadata().unwrap().len()).sum::<u64>(), needed);
}

/// A disk that fills up while a child's files are written is told like any other: what to do, and exit code 5.
#[test]
fn a_disk_that_fills_up_under_a_child_is_told_with_what_to_do() {
    let space = space();
    letters(&space, "l");
    std::fs::create_dir(space.path("back")).unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(space.path(&format!("l/{file}")), space.path(&format!("back/{file}"))).unwrap();
    }
    space.write("m.yml", b"merge_method: linear\nmodels: [{model: l, parameters: {weight: 1}}]\n");
    space.write("plan.toml", BOTH.as_bytes());
    let commands: [&[&str]; 2] =
        [&["convert", "l", "out", "--to", "hugging-face"], &["merge", "m.yml", "out"]];
    let full = |command: &[&str], at: u32| {
        let mut command = space.command(command);
        crate::space::said(command.env("STUDBOOK_FAULT", format!("blob-written:{at}:full")))
    };
    for command in commands {
        full(command, 1)
            .exits(5)
            .complains("cannot write the model")
            .complains("free some space and run again");
        assert!(!space.path("out").exists());
    }
    // Files of parents are not blobs: the first that is written in pieces is the child's.
    let said = full(&["run", "plan.toml"], 1).exits(5);
    said.complains("free some space and run again");
}

/// Frequencies that change with the length of a text have a word in folders alone.
#[test]
fn dynamic_frequencies_go_to_no_format_that_has_no_word_for_them() {
    let space = space();
    letters(&space, "l");
    let mut config: serde_json::Value = serde_json::from_str(&space.read("l/config.json")).unwrap();
    config["rope_scaling"] = serde_json::json!({ "rope_type": "dynamic", "factor": 4.0 });
    space.write("l/config.json", config.to_string().as_bytes());
    for (out, format) in [("l.gguf", "gguf"), ("l.slm", "slm1")] {
        let said = space.studbook(&["convert", "l", out, "--tokenizer", "a.slm"]).exits(2);
        said.complains(&format!(
            "error: l: the network cannot be written as {format}: rope_scaling is `dynamic` by 4; expected `linear`"
        ))
        .complains("remove `rope_scaling` from its config.json");
        assert!(!space.path(out).exists());
    }
    // It runs, and goes to folders and files of tensors.
    space.studbook(&["convert", "l", "again", "--to", "hugging-face"]).exits(0);
    space.studbook(&["convert", "l", "again.safetensors"]).exits(0);
    let room = "a".repeat(100);
    let long = space.studbook(&["generate", "again", "--prompt", &room]).exits(2);
    long.complains("`max_position_embeddings` of config.json, beyond which its `rope_scaling` `dynamic`");
    let shown = space.studbook(&["inspect", "again"]).exits(0);
    shown.says("`max_position_embeddings` of config.json");
}

/// Heads of another width than the tensors have: the refusal says which fields make the shape.
#[test]
fn a_width_of_heads_that_does_not_fit_is_named() {
    let space = space();
    letters(&space, "l");
    let mut config: serde_json::Value = serde_json::from_str(&space.read("l/config.json")).unwrap();
    let heads = config["num_attention_heads"].as_u64().unwrap();
    config["head_dim"] = 10.into();
    space.write("l/config.json", config.to_string().as_bytes());
    let why = format!("(head_count {heads} x head_dim 10 = {})", heads * 10);
    space.studbook(&["convert", "l", "l.gguf"]).exits(2).complains("error: l: tensor").complains(&why);
    space.studbook(&["generate", "l", "--prompt", "a"]).exits(2).complains(&why);
}

/// A window that the network looks back over is the context of a child that has no word for it, and that is told.
#[test]
fn a_context_cut_to_its_window_is_told() {
    let space = space();
    letters(&space, "l");
    let config = |more: &str| {
        let mut file: serde_json::Value = serde_json::from_str(&space.read("l/config.json")).unwrap();
        let said: serde_json::Value = serde_json::from_str(more).unwrap();
        said.as_object().unwrap().iter().for_each(|(key, value)| file[key] = value.clone());
        space.write("l/config.json", file.to_string().as_bytes());
    };
    config(r#"{"model_type": "mistral", "sliding_window": 24, "max_position_embeddings": 64}"#);
    let convert = |out: &[&str]| space.studbook(&[&["convert", "l"], out, &["--force"]].concat()).exits(0);
    convert(&["l.gguf"]).complains("warning: the context becomes 24 of 64 positions");
    let folder = convert(&["again", "--to", "hugging-face"]);
    assert!(!folder.err.contains("the context becomes"), "{}", folder.err);
    assert!(space.read("again/config.json").contains("\"sliding_window\":24"));
    config(r#"{"sliding_window": null}"#);
    let whole = convert(&["l.gguf"]);
    assert!(!whole.err.contains("the context becomes"), "{}", whole.err);
}
