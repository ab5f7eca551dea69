//! Cycles over every file people have: folders, GGUF, safetensors, trained sources, LoRA folders.

use studbook::model::ModelConfig;
use studbook::tensor::dtype::DType;

use crate::space::{PLAN, Space, config, model};

/// [`PLAN`] over Hugging Face folders, `two` in shards; its sources are there, too.
pub(crate) fn folders() -> Space {
    let space = Space::new();
    for name in ["base", "one", "two", "three"] {
        let (from, shard) = (format!("{name}.slm"), if name == "two" { "4000" } else { "1 GB" });
        let into = ["--to", "hugging-face", "--dtype", "bf16", "--shard", shard];
        space.studbook(&[&["convert", &from, name], &into[..]].concat()).exits(0);
    }
    let plan = PLAN.replace(".slm\"", "\"").replace("output = \"q8_0\"\n", "shard = \"4 kB\"\n");
    space.write("plan.toml", plan.as_bytes());
    space
}

#[test]
fn folders_are_bred_resumed_and_verified() {
    let space = folders();
    space.studbook(&["check", "plan.toml"]).exits(0);
    let killed = space.command(&["run", "plan.toml"]).env("STUDBOOK_FAULT", "blob-renamed:30:kill").output();
    assert!(!killed.unwrap().status.success());
    space.studbook(&["run", "plan.toml"]).exits(3);
    let undisturbed = folders();
    undisturbed.studbook(&["run", "plan.toml"]).exits(3);
    let view = ".studbook/runs/tiny";
    assert_eq!(space.files(view), undisturbed.files(view));
    space.studbook(&["run", "plan.toml"]).exits(3).says("0 executed");
    let ties = space.files(".studbook/runs/tiny/04-operator/ties");
    let names: Vec<&str> = ties.keys().map(String::as_str).collect();
    assert_eq!(names[0], "config.json");
    assert!(
        names.contains(&"model.safetensors.index.json") && names.contains(&"tokenizer.json"),
        "{names:?}"
    );
    assert!(names.iter().filter(|name| name.ends_with(".safetensors")).count() > 1, "{names:?}");
    let config: serde_json::Value = serde_json::from_slice(&ties["config.json"]).unwrap();
    assert_eq!(config["torch_dtype"], "bfloat16");
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0).says("recomputed: MATCH");

    // A source record lists every file; one byte of a tokenizer makes another parent.
    let source: serde_json::Value =
        serde_json::from_str(&space.read(".studbook/runs/tiny/01-source/two.json")).unwrap();
    let listed = source["body"]["files"].as_array().unwrap();
    assert!(listed.iter().any(|file| file["name"] == "tokenizer.json"), "{listed:?}");
    space.write("two/generation_config.json", b"{}");
    space.studbook(&["why", "plan.toml", "source:two"]).exits(0).says("input.model");
    space.studbook(&["verify", "plan.toml"]).exits(4).says("source:two");
}

#[test]
fn a_folder_from_a_pool_is_a_parent() {
    let space = folders();
    space.edit("plan.toml", "min = 0.5", "min = 0.0");
    space.studbook(&["run", "plan.toml"]).exits(3);
    let pool = ".studbook/runs/tiny/12-recipe/pool.toml";
    assert!(space.read(pool).contains("name = \"tasks\""), "{}", space.read(pool));
    let next = PLAN
        .replace("name = \"tiny\"", "name = \"next\"")
        .replace("source = \"one.slm\"", &format!("from_recipe = \"{pool}\""))
        .replace(".slm\"", "\"")
        .replace("output = \"q8_0\"", "output = \"f16\"");
    space.write("next.toml", next.as_bytes());
    // The originals are gone; the store has the child.
    space.studbook(&["run", "next.toml"]).exits(3);
    space.studbook(&["verify", "next.toml", "--recompute"]).exits(0);
    let child = space.files(".studbook/runs/next/04-operator/average");
    let config: serde_json::Value = serde_json::from_slice(&child["config.json"]).unwrap();
    assert_eq!(config["torch_dtype"], "float16");
}

/// The same network from four formats, and the child in each.
#[test]
fn formats_mix_and_children_have_the_format_that_is_asked_for() {
    let space = Space::new();
    space.studbook(&["convert", "base.slm", "base", "--to", "hugging-face"]).exits(0);
    space.studbook(&["convert", "one.slm", "one.gguf"]).exits(0);
    space.studbook(&["convert", "three.slm", "three", "--to", "trained-source"]).exits(0);
    let plan = PLAN
        .replace("\"base.slm\"", "\"base\"")
        .replace("\"one.slm\"", "\"one.gguf\"")
        .replace("\"three.slm\"", "\"three\"");
    let artifact = |format: &str, output: &str, file: &str| {
        let asked = format!("format = \"{format}\"\noutput = \"{output}\"");
        space.write("plan.toml", plan.replace("output = \"q8_0\"", &asked).as_bytes());
        space.studbook(&["run", "plan.toml", "--store", &format!("{format}-{output}")]).exits(3);
        space.files(&format!("{format}-{output}/runs/tiny/04-operator"))[file].clone()
    };
    let slm = artifact("slm", "f32", "tasks.slm");
    space.write("tasks.slm", &slm);
    space.write("tasks.gguf", &artifact("gguf", "f32", "tasks.gguf"));
    space.write("tasks/config.json", &artifact("hugging-face", "f32", "tasks/config.json"));
    let tensors = artifact("hugging-face", "f32", "tasks/model.safetensors");
    space.write("tasks/model.safetensors", &tensors);
    // Names and the order of rows are the format's, the numbers are the same.
    for other in ["tasks.gguf", "tasks"] {
        space.studbook(&["convert", other, "back.slm", "--tokenizer", "base.slm", "--force"]).exits(0);
        space.studbook(&["diff", "tasks.slm", "back.slm", "--exit-code"]).exits(0);
    }
    assert!(artifact("gguf", "bf16", "tasks.gguf").starts_with(b"GGUF"));
}

/// Children that are bare files have the names and rows of the model they are like, whatever format the
/// parents are of: the numbers of a child that is a folder.
#[test]
fn bare_children_of_mixed_parents_have_the_numbers_of_folders() {
    let space = Space::new();
    space.studbook(&["convert", "base.slm", "base", "--to", "hugging-face"]).exits(0);
    space.studbook(&["convert", "one.slm", "one.gguf"]).exits(0);
    let stacked = "[candidates.deep]\noperator = \"passthrough\"\nparents = [\"base\", \"one\", \"two\"]\n\
                   vocabulary = \"base\"\nslices = [{ parent = \"base\", layers = [0, 1] }, \
                   { parent = \"one\", layers = [0, 1] }, { parent = \"two\", layers = [0, 1] }]\n\n\
                   [candidates.tasks]\nvocabulary = \"base\"";
    let plan = PLAN.replace("\"base.slm\"", "\"base\"").replace("\"one.slm\"", "\"one.gguf\"");
    let plan = plan.replace("[candidates.tasks]", stacked);
    let runs = |format: &str| {
        let asked = format!("format = \"{format}\"\noutput = \"f32\"");
        space.write("plan.toml", plan.replace("output = \"q8_0\"", &asked).as_bytes());
        let store = ["--store", format];
        let said = space.studbook(&[&["run", "plan.toml"], &store[..]].concat());
        assert!(said.out.contains(" 0 failed"), "{}\n{}", said.out, said.err);
        let verify = ["verify", "plan.toml", "--recompute"];
        space.studbook(&[&verify, &store[..]].concat()).exits(0).says("recomputed: MATCH");
        format!("{format}/runs/tiny/04-operator")
    };
    let (folders, files) = (runs("hugging-face"), runs("safetensors"));
    for child in ["deep", "tasks", "ties"] {
        let folder = format!("{folders}/{child}/model.safetensors");
        let file = format!("{files}/{child}.safetensors");
        space.studbook(&["diff", &folder, &file, "--exit-code"]).exits(0);
    }
    // A folder that does not say its network, beside one that does.
    space.studbook(&["convert", "two.slm", "two", "--to", "hugging-face"]).exits(0);
    std::fs::remove_file(space.path("two/config.json")).unwrap();
    space.edit("plan.toml", "\"two.slm\"", "\"two\"");
    space.studbook(&["run", "plan.toml"]).exits(0);
    let why =
        "nothing says of which network the tensors of `two` are (there is no config.json), as `base` does";
    let report = space.read(".studbook/runs/tiny/02-compat/deep.json");
    assert!(report.contains(why), "{report}");
}

#[test]
fn what_cannot_be_run_is_bred_and_refused_with_the_reason() {
    let space = Space::new();
    for name in ["base", "one", "two", "three"] {
        let file = format!("{name}.safetensors");
        space.studbook(&["convert", &format!("{name}.slm"), &file, "--dtype", "f32"]).exits(0);
    }
    let plan = PLAN.replace(".slm\"", ".safetensors\"").replace("output = \"q8_0\"\n", "");
    space.write("plan.toml", plan.as_bytes());
    space.studbook(&["check", "plan.toml"]).exits(0).complains("cannot be run here");
    space
        .studbook(&["run", "plan.toml"])
        .exits(0)
        .says("refused  runtime-smoke: the model cannot be run here");
    let files = space.files(".studbook/runs/tiny/04-operator");
    assert!(files.contains_key("average.safetensors") && files.contains_key("average.json"));
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0);
    // The format and the encoding must be possible, and that is known before anything runs.
    space.edit("plan.toml", "seed = \"7\"", "seed = \"7\"\nformat = \"slm\"");
    space.studbook(&["check", "plan.toml"]).exits(2).complains("no child like `base` can be made");
    space.edit("plan.toml", "format = \"slm\"", "output = \"q4_0\"");
    space.studbook(&["check", "plan.toml"]).exits(2).complains("cannot be stored as q4_0");
}

#[test]
fn bad_folders_are_told_at_their_place() {
    let space = folders();
    std::fs::remove_file(space.path("one/model.safetensors")).unwrap();
    let shard = std::fs::read_dir(space.path("two")).unwrap().map(|entry| entry.unwrap().path());
    let shard = shard.filter(|path| path.to_string_lossy().contains("-of-")).min().unwrap();
    std::fs::write(&shard, b"not safetensors at all").unwrap();
    let said = space.studbook(&["check", "plan.toml"]).exits(2);
    assert!(said.err.contains("neither model.safetensors nor"), "{}", said.err);
    assert!(said.err.contains("plan.toml:"), "{}", said.err);
    said.complains("2 errors");
}

/// A tokenizer of Hugging Face's kind with `tokens` after ours.
fn with_tokens(space: &Space, folder: &str, tokens: &[(&str, u32)]) {
    let path = format!("{folder}/tokenizer.json");
    let mut file: serde_json::Value = serde_json::from_str(&space.read(&path)).unwrap();
    for (token, id) in tokens {
        let added = serde_json::json!({ "id": id, "content": token, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true });
        file["added_tokens"].as_array_mut().unwrap().push(added);
    }
    space.write(&path, serde_json::to_string(&file).unwrap().as_bytes());
}

#[test]
fn other_tokens_are_refused_by_name_or_mapped_if_asked_for() {
    let space = Space::empty();
    let wide = ModelConfig { vocab_size: 261, ..config() };
    // The tensors of a model with one id more, which no tokenizer of ours has.
    space.write("base.slm", &model(&config(), "base", DType::F32));
    space.write("one.slm", &model(&config(), "one", DType::F32));
    for name in ["base", "one"] {
        space.studbook(&["convert", &format!("{name}.slm"), name, "--to", "hugging-face"]).exits(0);
    }
    widen(&space, "one", &wide);
    with_tokens(&space, "one", &[("<tool>", 260)]);
    space.write("suite.jsonl", b"{\"id\":\"c1\",\"prompt\":\"1=\",\"expected\":\"1\"}\n");
    let plan = "[cycle]\nname = \"words\"\nseed = \"7\"\n[budget]\ncandidates = 2\nartifact = \"1 MiB\"\n\
        disk = \"2 MiB\"\nseconds = 60\n[parents.base]\nsource = \"base\"\nrole = \"base\"\n\
        [parents.one]\nsource = \"one\"\n[candidates.child]\noperator = \"blend\"\nparents = [\"base\", \"one\"]\n\
        weight = [0.0, 1.0]\n\
        [smoke]\nprompts = [\"ab\"]\nmax_tokens = 2\n[[gate]]\nname = \"size\"\nkind = \"metric\"\n\
        metric = \"artifact_bytes\"\nmax = 1000000\n";
    space.write("plan.toml", plan.as_bytes());
    let refused = space.studbook(&["run", "plan.toml"]);
    assert!(refused.out.contains("1 token only there (\"<tool>\")"), "{}\n{}", refused.out, refused.err);
    stacks_have_the_tokens_of_the_base(&space);

    space.edit("plan.toml", "weight = [0.0, 1.0]", "weight = [0.0, 1.0]\nvocabulary = \"base\"");
    space.studbook(&["run", "plan.toml"]).exits(0).says("admitted");
    let lineage = space.read(".studbook/runs/words/03-lineage/child.json");
    assert!(lineage.contains("\"vocabulary\":\"base\""), "{lineage}");
    // The parent itself, with the base's tokens.
    space.write("child/config.json", space.read("base/config.json").as_bytes());
    let child = &space.files(".studbook/runs/words/04-operator/child")["model.safetensors"];
    space.write("child/model.safetensors", child);
    space.studbook(&["convert", "child", "child.slm", "--tokenizer", "base.slm"]).exits(0);
    space.studbook(&["diff", "child.slm", "one.slm", "--exit-code"]).exits(0);
}

/// Embeddings come from the first slice's parent, in the rows of the base's tokens; the one with more tokens
/// first.
#[track_caller]
fn stacks_have_the_tokens_of_the_base(space: &Space) {
    let slices = "vocabulary = \"base\"\nslices = [{ parent = \"one\", layers = [0, 1] }, \
                  { parent = \"base\", layers = [0, 1] }]\n";
    let plan = space.read("plan.toml").replace("weight = [0.0, 1.0]\n", slices);
    let plan = plan.replace("operator = \"blend\"", "operator = \"passthrough\"");
    for (format, child) in
        [("hugging-face", "child"), ("safetensors", "child.safetensors"), ("gguf", "child.gguf")]
    {
        let asked = format!("[cycle]\nformat = \"{format}\"\noutput = \"f32\"");
        space.write("stack.toml", plan.replace("[cycle]", &asked).as_bytes());
        let store = ["--store", format];
        space.studbook(&[&["check", "stack.toml"], &store[..]].concat()).exits(0);
        let said = space.studbook(&[&["run", "stack.toml"], &store[..]].concat()).exits(0);
        assert!(said.out.contains(" 0 failed"), "{format}\n{}", said.out);
        let child = space.path(&format!("{format}/runs/words/04-operator/{child}"));
        let open = |path: &std::path::Path| studbook::model::open_package(path).unwrap().package;
        let (child, one) = (open(&child), open(&space.path("one")));
        let embedding = |package: &studbook::model::Package| {
            let name = package.naming.unwrap().token_matrices()[0].clone();
            package.weights.tensor(&name).unwrap().to_f32()
        };
        assert_eq!(embedding(&child), embedding(&one)[..260 * 8], "{format}");
    }
}

/// Gives the folder's embedding matrix one row more.
fn widen(space: &Space, folder: &str, wide: &ModelConfig) {
    let bytes = std::fs::read(space.path(&format!("{folder}/model.safetensors"))).unwrap();
    let (weights, metadata) = studbook::model::safetensors::read(std::sync::Arc::new(bytes)).unwrap();
    let planned: Vec<_> = weights
        .tensors()
        .map(|view| {
            let mut dims = view.shape.dims().to_vec();
            if view.name == "model.embed_tokens.weight" {
                dims[0] = wide.vocab_size as usize;
            }
            let shape = studbook::tensor::shape::Shape::new(dims).unwrap();
            let (name, dtype) = (view.name.to_owned(), view.dtype);
            studbook::model::Planned { name, shape, dtype, block_size: 0 }
        })
        .collect();
    let layout = studbook::model::safetensors::Layout::new(planned, &metadata).unwrap();
    let mut file = Vec::new();
    let mut writer = studbook::model::safetensors::Writer::new(&layout, &mut file).unwrap();
    use studbook::model::ModelWriter;
    for view in weights.tensors() {
        writer.payload(view.data).unwrap();
        if view.name == "model.embed_tokens.weight" {
            writer.payload(&view.data[..view.data.len() / 260]).unwrap();
        }
        writer.finish_tensor(&[]).unwrap();
    }
    writer.finish().unwrap();
    space.write(&format!("{folder}/model.safetensors"), &file);
    space.edit(&format!("{folder}/config.json"), "\"vocab_size\": 260", "\"vocab_size\": 261");
}

#[test]
fn no_room_is_found_out_before_anything_is_written() {
    let space = Space::new();
    let mut command = space.command(&["run", "plan.toml"]);
    let said = crate::space::said(command.env("STUDBOOK_FAULT", "room-asked:1:full"));
    let said = said.exits(5).complains("bytes are needed, 0 are free");
    assert!(said.err.contains("cannot write to"), "{}", said.err);
    let runs = space.files(".studbook/objects");
    let model = runs.values().filter(|bytes| bytes.starts_with(b"SLM1")).count();
    assert_eq!(model, 0, "no child, not a byte of one");
    assert!(space.files(".studbook/tmp").is_empty());
    space.studbook(&["run", "plan.toml"]).exits(3);
    // Without a plan: the same, and nothing is left where the output would be.
    let mut command = space.command(&["convert", "one.slm", "one", "--to", "hugging-face"]);
    crate::space::said(command.env("STUDBOOK_FAULT", "room-asked:1:full")).complains("0 are free");
    assert!(!space.path("one").exists());
    let mut command = space.command(&["extract", "base.slm", "one.slm", "one.sbd", "--as", "dense"]);
    let command = command.env("STUDBOOK_FAULT", "room-asked:1:full");
    crate::space::said(command).exits(5).complains("0 are free");
    assert!(!space.path("one.sbd").exists());
    // What the plan allows is known before that.
    space.edit("plan.toml", "artifact = \"1 MiB\"", "artifact = \"1 kB\"");
    let said = space.studbook(&["check", "plan.toml"]).exits(2);
    assert!(said.err.contains("would have") && said.err.contains("expected at most 1000"), "{}", said.err);
}

/// What is advised can be done.
#[test]
fn children_that_are_too_large_are_told_what_their_format_can_have() {
    let space = Space::new();
    let plan = PLAN.replace("artifact = \"1 MiB\"", "artifact = \"1 kB\"");
    for (format, output, advice) in [
        ("slm", "f32", "`output = \"q8_0\"` or \"q4_0\""),
        ("gguf", "f32", "`output = \"q8_0\"`"),
        ("hugging-face", "f32", "`output = \"bf16\"` or \"f16\""),
        ("safetensors", "bf16", "`format = \"gguf\"` and `output = \"q8_0\"`"),
    ] {
        let asked = format!("format = \"{format}\"\noutput = \"{output}\"");
        space.write("plan.toml", plan.replace("output = \"q8_0\"", &asked).as_bytes());
        let said = space.studbook(&["check", "plan.toml"]).exits(2).complains(advice);
        assert!(format == "slm" || !said.err.contains("q4_0"), "{}", said.err);
    }
}

#[test]
fn a_tied_parent_and_rows_to_spare_fit() {
    let space = Space::empty();
    let untied = ModelConfig { tied_output: false, ..config() };
    space.write("base.slm", &model(&untied, "base", DType::F32));
    space.write("tied.slm", &model(&config(), "tied", DType::F32));
    space.write("spare.slm", &model(&config(), "spare", DType::F32));
    for name in ["base", "tied", "spare"] {
        space.studbook(&["convert", &format!("{name}.slm"), name, "--to", "hugging-face"]).exits(0);
    }
    widen(&space, "spare", &ModelConfig { vocab_size: 261, ..config() });
    let plan = "[cycle]\nname = \"mixed\"\nseed = \"7\"\n[budget]\ncandidates = 2\nartifact = \"1 MiB\"\n\
        disk = \"2 MiB\"\nseconds = 60\n[parents.base]\nsource = \"base\"\nrole = \"base\"\n\
        [parents.tied]\nsource = \"tied\"\n[parents.spare]\nsource = \"spare\"\n\
        [candidates.child]\noperator = \"blend\"\nparents = [\"base\", \"tied\"]\nweight = [0.0, 1.0]\n\
        [candidates.rows]\noperator = \"blend\"\nparents = [\"base\", \"spare\"]\nweight = [0.0, 1.0]\n\
        vocabulary = \"base\"\n\
        [smoke]\nprompts = [\"ab\"]\nmax_tokens = 2\n[[gate]]\nname = \"size\"\nkind = \"metric\"\n\
        metric = \"artifact_bytes\"\nmax = 1000000\n";
    space.write("plan.toml", plan.as_bytes());
    space.studbook(&["run", "plan.toml"]).exits(0).says("child      admitted").says("rows       admitted");
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0);
    // Children are opened where they are shown.
    for (child, parent) in [("child", "tied"), ("rows", "spare")] {
        let shown = space.path(&format!(".studbook/runs/mixed/04-operator/{child}"));
        let open = |path: &std::path::Path| studbook::model::open_package(path).unwrap().package.weights;
        let (child, parent) = (open(&shown), open(&space.path(parent)));
        let values = |weights: &studbook::model::Weights, name: &str| weights.tensor(name).unwrap().to_f32();
        let embedding = values(&parent, "model.embed_tokens.weight");
        for matrix in ["lm_head.weight", "model.embed_tokens.weight"] {
            let found = values(&child, matrix);
            assert_eq!(found, embedding[..found.len()], "{matrix}");
        }
    }
}

#[test]
fn names_from_a_file_move_no_cursor() {
    let space = Space::empty();
    let header = "{\"a\\u001b[31mb\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend(1_f32.to_le_bytes());
    space.write("e.safetensors", &file);
    let said = space.studbook(&["inspect", "e.safetensors", "--color", "always"]).exits(0);
    assert!(!said.out.contains('\u{1b}'), "{:?}", said.out);
    said.says("a\\u{1b}[31mb");
}
