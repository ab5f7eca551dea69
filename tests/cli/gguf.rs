//! GGUF of the architectures `llama`, `qwen2`, `qwen3`, `olmo2` and `gemma3`, against files that the package `gguf`
//! made and logits of the library transformers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use studbook::model::{Package, Tokenizer, open_package};
use studbook::runtime::{Model, Session};
use studbook::tensor::dtype::DType;

use crate::space::{Space, config, model};

#[derive(serde::Deserialize)]
struct Reference {
    tokens: Vec<u32>,
    rows: Vec<usize>,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    logits: Vec<Vec<f32>>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../fixtures/transformers/logits.json")).unwrap()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn open(path: &Path) -> Package {
    open_package(path).unwrap().package
}

/// Logits of a model whose tokenizer is none of the matter.
fn logits(package: &Package, tokens: &[u32]) -> Vec<f32> {
    let package = Package { tokenizer: Ok(Tokenizer::Btok), ..package.clone() };
    let model = Model::new(Arc::new(package.checkpoint().unwrap())).unwrap();
    Session::new(&model, 48).unwrap().feed_all(tokens).unwrap().to_vec()
}

fn off(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).fold(0.0, |most, (a, b)| most.max((a - b).abs()))
}

/// A space with the byte tokenizer at hand.
fn space() -> Space {
    let space = Space::empty();
    space.write("a.slm", &model(&config(), "a", DType::F32));
    space
}

/// Every tensor of `theirs` with the same bytes in `ours`, and no other.
fn same_tensors(ours: &Package, theirs: &Package, what: &str) {
    assert_eq!(ours.weights.infos().len(), theirs.weights.infos().len(), "{what}");
    for tensor in theirs.weights.tensors() {
        let own = ours.weights.tensor(tensor.name).unwrap_or_else(|| panic!("{what}: no {}", tensor.name));
        let at = format!("{what}: {}", tensor.name);
        assert_eq!((own.dtype, own.shape), (tensor.dtype, tensor.shape), "{at}");
        // Two programs round what frequencies are divided by differently; gains that were one more have lost bits
        // beyond those of one.
        let centred =
            what == "gemma3" && tensor.name.starts_with("model.") && tensor.name.ends_with("norm.weight");
        if centred {
            assert!(off(&own.to_f32(), &tensor.to_f32()) < 1e-7, "{at}");
        } else if tensor.name == "rope_freqs.weight" {
            assert!(off(&own.to_f32(), &tensor.to_f32()) < 1e-5, "{at}");
        } else {
            assert!(own.data == tensor.data, "{at}");
        }
    }
}

#[test]
fn every_kind_of_network_goes_to_gguf_and_back_with_the_same_logits() {
    let Reference { tokens, rows, cases } = reference();
    let space = space();
    let architectures = [
        ("llama-llama3", "llama"),
        ("llama-linear", "llama"),
        ("llama-yarn", "llama"),
        ("llama-biases", "llama"),
        ("llama-wide-heads", "llama"),
        ("llama-untied", "llama"),
        ("mistral", "llama"),
        ("qwen2", "qwen2"),
        ("qwen3", "qwen3"),
        ("olmo2", "olmo2"),
        ("gemma3", "gemma3"),
    ];
    for (name, architecture) in architectures {
        let folder = fixtures().join("transformers").join(name);
        let (file, back) = (format!("{name}.gguf"), format!("{name}-back"));
        space.studbook(&["convert", folder.to_str().unwrap(), &file, "--without-tokenizer"]).exits(0);
        let (original, ours) = (open(&folder), open(&space.path(&file)));
        let facts = ours.facts.clone().unwrap();
        assert_eq!(facts.text("general.architecture"), Some(architecture), "{name}");
        assert_eq!(ours.config, original.config, "{name}");
        let expected = logits(&original, &tokens);
        let found = logits(&ours, &tokens);
        // A layout that is kept gives the same bits; else sums run over other pairs first.
        let largest = expected.iter().fold(0.0_f32, |most, logit| most.max(logit.abs()));
        let most = if architecture == "llama" { 1e-5 * largest } else { 0.0 };
        assert!(off(&found, &expected) <= most, "{name}: off by {:e}", off(&found, &expected));
        let case = cases.iter().find(|case| case.name == name).unwrap();
        for (row, theirs) in rows.iter().zip(&case.logits) {
            assert!(off(&found[row * 260..(row + 1) * 260], theirs) < 1e-4, "{name}: row {row}");
        }
        // As the package `gguf` writes it: the same names, shapes and bytes, and what it says is said.
        let theirs = fixtures().join("gguf").join(&file);
        if theirs.exists() {
            let theirs = open(&theirs);
            assert_eq!(theirs.config, original.config, "{name}");
            assert!(off(&logits(&theirs, &tokens), &expected) <= 1e-5 * largest, "{name}");
            same_tensors(&ours, &theirs, name);
            let theirs = theirs.facts.unwrap();
            // The usual width of a head need not be stated.
            let usual = ["llama.attention.key_length", "llama.attention.value_length"];
            let mut compared = 0;
            for (key, fact) in theirs.iter().filter(|(key, _)| key.starts_with(&format!("{architecture}."))) {
                assert!(facts.get(key) == Some(fact) || usual.contains(&key), "{name}: {key}");
                compared += 1;
            }
            assert!(compared >= 8, "{name}: {compared}");
        }
        // And back: the same tensors, the same network.
        let to = ["--to", "hugging-face", "--tokenizer", "a.slm"];
        space.studbook(&[&["convert", &file, &back], &to[..]].concat()).exits(0);
        let back = open(&space.path(&back));
        assert_eq!(back.config, original.config, "{name}");
        same_tensors(&back, &original, name);
        assert_eq!(logits(&back, &tokens), expected, "{name}");
    }
}

/// A folder of transformers/ with the byte tokenizer.
pub(crate) fn folder(space: &Space, name: &str) {
    let from = fixtures().join("transformers").join(name);
    for file in ["config.json", "model.safetensors"] {
        space.write(&format!("{name}/{file}"), &std::fs::read(from.join(file)).unwrap());
    }
    if !space.path("a/tokenizer.json").exists() {
        space.studbook(&["convert", "a.slm", "a", "--to", "hugging-face"]).exits(0);
    }
    space.write(&format!("{name}/tokenizer.json"), space.read("a/tokenizer.json").as_bytes());
    // The ids that the library writes where nobody says any are of its own tokenizers.
    let config = space.read(&format!("{name}/config.json"));
    let said = [("eos", 2, 257), ("eos", 1, 257), ("bos", 2, 256)];
    let config = said.into_iter().fold(config, |config, (what, other, own)| {
        config.replace(&format!("\"{what}_token_id\": {other},"), &format!("\"{what}_token_id\": {own},"))
    });
    space.write(&format!("{name}/config.json"), config.as_bytes());
}

/// Parents whose rows lie in different orders, and what rotary frequencies are divided by, which no operator
/// may touch.
#[test]
fn gguf_parents_are_bred_with_folders_and_keep_their_frequencies() {
    let space = space();
    let Reference { tokens, .. } = reference();
    for name in ["llama-llama3", "qwen2", "qwen3", "olmo2", "gemma3"] {
        folder(&space, name);
        space.studbook(&["convert", name, "one.gguf", "--force"]).exits(0);
        let plan = format!(
            "[cycle]\nname = \"{name}\"\nseed = \"7\"\n\n\
             [budget]\ncandidates = 2\nartifact = \"1 MiB\"\ndisk = \"8 MiB\"\nseconds = 600\n\n\
             [parents.one]\nsource = \"one.gguf\"\n\n[parents.two]\nsource = \"{name}\"\n\n\
             [candidates.same]\noperator = \"blend\"\nparents = [\"one\", \"two\"]\nweight = 0.5\n\n\
             [candidates.moved]\noperator = \"mutate\"\nparents = [\"one\"]\nrate = 1.0\nsigma = 0.1\ntensors = \"*\"\n\n\
             [smoke]\nprompts = [\"ab\"]\nmax_tokens = 2\n\n\
             [[gate]]\nname = \"size\"\nkind = \"metric\"\nmetric = \"artifact_bytes\"\nmax = 1000000\n"
        );
        space.write("plan.toml", plan.as_bytes());
        space.studbook(&["run", "plan.toml"]).exits(0).says("admitted");
        space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0).says("MATCH");
        let child =
            |child: &str| open(&space.path(&format!(".studbook/runs/{name}/04-operator/{child}.gguf")));
        let (parent, same, moved) = (open(&space.path("one.gguf")), child("same"), child("moved"));
        same_tensors(&same, &parent, name);
        assert_eq!(logits(&same, &tokens), logits(&parent, &tokens), "{name}");
        assert_ne!(logits(&moved, &tokens), logits(&parent, &tokens), "{name}");
        let frequencies = |package: &Package| {
            package.weights.tensor("rope_freqs.weight").map(|tensor| tensor.data.to_vec())
        };
        assert_eq!(frequencies(&parent).is_some(), name == "llama-llama3");
        assert_eq!(frequencies(&moved), frequencies(&parent));
        assert_eq!(moved.config, parent.config);
        // What is handed on says of which family the child is.
        space.studbook(&["export", "plan.toml", "moved", "--out", &format!("{name}-dossier")]).exits(0);
        let bill: serde_json::Value =
            serde_json::from_str(&space.read(&format!("{name}-dossier/bom.cdx.json"))).unwrap();
        let model = &bill["metadata"]["component"]["modelCard"]["modelParameters"];
        let family = if ["qwen3", "olmo2", "gemma3"].contains(&name) { name } else { "llama" };
        assert_eq!(model["architectureFamily"], family);
    }
}

/// A file with a vocabulary of its own, as people download them.
#[test]
fn a_file_of_another_family_speaks_with_its_own_vocabulary() {
    for (name, class, has) in [
        ("qwen2.gguf", "Qwen2ForCausalLM", "on queries, keys and values"),
        ("qwen3.gguf", "Qwen3ForCausalLM", "of each query and key head"),
        (
            "olmo2.gguf",
            "Olmo2ForCausalLM",
            "behind attention and feed-forward, of all query and all key heads",
        ),
        (
            "gemma3.gguf",
            "Gemma3ForCausalLM",
            "before and behind attention and feed-forward, of each query and key head",
        ),
    ] {
        speaks_with_its_own_vocabulary(name, class, has);
    }
}

fn speaks_with_its_own_vocabulary(name: &str, class: &str, has: &str) {
    let space = space();
    let file = fixtures().join("gguf").join(name);
    let file = file.to_str().unwrap();
    let words =
        |name: &str| space.studbook(&["generate", name, "--prompt", "ab", "--max-tokens", "12"]).exits(0).out;
    let text = words(file);
    let shown = space.studbook(&["inspect", file]).exits(0);
    shown.says("gguf").says(has).says("yes");
    space.studbook(&["convert", file, "q", "--to", "hugging-face"]).exits(0);
    let settings: serde_json::Value = serde_json::from_str(&space.read("q/config.json")).unwrap();
    assert_eq!(settings["architectures"][0], class);
    // The end of an answer is the vocabulary's, not that of a byte tokenizer.
    assert_eq!(
        (&settings["eos_token_id"], &settings["bos_token_id"]),
        (&257.into(), &serde_json::Value::Null)
    );
    space.studbook(&["convert", "q", "back.gguf"]).exits(0);
    assert_eq!((words("q"), words("back.gguf")), (text.clone(), text));
    let (theirs, ours) =
        (open(Path::new(file)).facts.unwrap(), open(&space.path("back.gguf")).facts.unwrap());
    for key in ["model", "pre", "tokens", "token_type", "merges", "eos_token_id", "add_bos_token"] {
        let key = format!("tokenizer.ggml.{key}");
        assert_eq!(ours.get(&key), theirs.get(&key), "{key}");
    }
    // A network with biases or other norms has no words in `.slm`.
    for from in [file, "q"] {
        space.studbook(&["convert", from, "q.slm", "--tokenizer", "a.slm"]).exits(2).complains(has);
    }
}

/// A vocabulary of pieces and scores, as files of gemma have it, goes to a folder and back.
#[test]
fn pieces_and_scores_go_to_a_folder_and_back() {
    let space = Space::empty();
    let file = fixtures().join("gguf/pieces.gguf");
    let file = file.to_str().unwrap();
    space.studbook(&["convert", file, "g", "--to", "hugging-face"]).exits(0);
    space.studbook(&["convert", "g", "back.gguf"]).exits(0);
    let words = |name: &str| {
        let options = ["--prompt", "the quick  fox", "--max-tokens", "12", "--temperature", "1.5"];
        space.studbook(&[&["generate", name], &options[..]].concat()).exits(0).out
    };
    assert_eq!((words("g"), words("back.gguf")), (words(file), words(file)));
    let (theirs, ours) =
        (open(Path::new(file)).facts.unwrap(), open(&space.path("back.gguf")).facts.unwrap());
    for key in ["model", "pre", "tokens", "token_type", "bos_token_id", "eos_token_id", "add_space_prefix"] {
        let key = format!("tokenizer.ggml.{key}");
        assert_eq!(ours.get(&key), theirs.get(&key), "{key}");
    }
    space.studbook(&["diff", file, "back.gguf", "--exit-code"]).exits(0).says("the same tensors");
}

/// What a chat begins and ends with stands in files of their own on one side, in facts on the other.
#[test]
fn templates_and_names_of_special_tokens_go_along() {
    let space = space();
    let file = fixtures().join("gguf/qwen2.gguf");
    space.studbook(&["convert", file.to_str().unwrap(), "q", "--to", "hugging-face"]).exits(0);
    let settings = |name: &str| -> serde_json::Value {
        serde_json::from_str(&space.read(&format!("{name}/tokenizer_config.json"))).unwrap()
    };
    let end = settings("q")["eos_token"].clone();
    assert!(end.is_string(), "the file says which token ends an answer");
    space.edit("q/tokenizer_config.json", "{", "{\"pad_token\": {\"content\": \"a\"},");
    space.write("q/chat_template.jinja", b"{{ messages }}");
    space.studbook(&["convert", "q", "chat.gguf"]).exits(0);
    let facts = open(&space.path("chat.gguf")).facts.unwrap();
    assert_eq!(facts.text("tokenizer.chat_template"), Some("{{ messages }}"));
    space.studbook(&["convert", "chat.gguf", "back", "--to", "hugging-face"]).exits(0);
    let back = settings("back");
    assert_eq!(
        (&back["chat_template"], &back["pad_token"], &back["eos_token"]),
        (&"{{ messages }}".into(), &"a".into(), &end)
    );
    // A token without a row is none in a file that has as many as rows.
    let read = |name: &str| -> serde_json::Value { serde_json::from_str(&space.read(name)).unwrap() };
    let mut tokenizer = read("back/tokenizer.json");
    let rows = read("back/config.json")["vocab_size"].as_u64().unwrap();
    let far = serde_json::json!({"id": rows + 3, "content": "<far>", "single_word": false, "lstrip": false,
                                 "rstrip": false, "normalized": false, "special": true});
    tokenizer["added_tokens"].as_array_mut().unwrap().push(far);
    space.write("back/tokenizer.json", tokenizer.to_string().as_bytes());
    space.studbook(&["convert", "back", "far.gguf"]).exits(0).complains(
        "without a row of the model's, such as \"<far>\", nothing is a token in GGUF: 1 token left out",
    );
    // A tokenizer of bytes has no names in the file; its folder's template has.
    folder(&space, "llama-llama3");
    space.write("llama-llama3/chat_template.jinja", b"{{ x }}");
    space.studbook(&["convert", "llama-llama3", "bytes.gguf"]).exits(0);
    space.studbook(&["convert", "bytes.gguf", "bytes", "--to", "hugging-face"]).exits(0);
    assert_eq!(settings("bytes")["chat_template"], "{{ x }}");
    // What has no words for templates says that it leaves them out.
    let left = "warning: the model has 1 chat template, for which slm1 has no words: left out";
    for (name, told) in [("a", false), ("a.gguf", false), ("a", true), ("a.gguf", true)] {
        if told {
            space.write("a/chat_template.jinja", b"{{ x }}");
        }
        space.studbook(&["convert", "a", "a.gguf", "--force"]).exits(0);
        let said = space.studbook(&["convert", name, "template.slm", "--force"]).exits(0);
        assert_eq!(said.err.contains(left), told, "{name}: {}", said.err);
    }
}

/// Which ids end an answer and fill up a text, and how answers are drawn, come back; what cannot is told.
#[test]
fn ends_fillers_and_how_answers_are_drawn_come_back() {
    let space = space();
    let file = fixtures().join("gguf/qwen2.gguf");
    space.studbook(&["convert", file.to_str().unwrap(), "q", "--to", "hugging-face"]).exits(0);
    let json = |name: &str| -> serde_json::Value { serde_json::from_str(&space.read(name)).unwrap() };
    let mut config = json("q/config.json");
    config["eos_token_id"] = serde_json::json!([257, 5]);
    config["pad_token_id"] = 7.into();
    space.write("q/config.json", config.to_string().as_bytes());
    let said = serde_json::json!({
        "eos_token_id": [5, 9, 257], "do_sample": true, "temperature": 0.7, "top_k": 20, "repetition_penalty": 1.1
    });
    space.write("q/generation_config.json", said.to_string().as_bytes());
    let left =
        "warning: generation_config.json says `repetition_penalty`, for which gguf has no words: left out";
    space.studbook(&["convert", "q", "g.gguf"]).exits(0).complains(left);
    space.studbook(&["convert", "g.gguf", "back", "--to", "hugging-face"]).exits(0);
    let (config, drawn) = (json("back/config.json"), json("back/generation_config.json"));
    for file in [&config, &drawn] {
        assert_eq!(file["pad_token_id"], 7);
        // The one that is said first is the first again: templates end turns with it.
        assert_eq!(file["eos_token_id"], serde_json::json!([257, 5, 9]));
    }
    assert_eq!(
        (&drawn["temperature"], &drawn["top_k"], &drawn["do_sample"]),
        (&0.7.into(), &20.into(), &true.into())
    );
    // What belongs to a model's own tokenizer does not go along with another one, and is named.
    for option in [&["--tokenizer", "q/tokenizer.json"][..], &["--without-tokenizer"]] {
        let said = space.studbook(&[&["convert", "q", "other.gguf", "--force"], option].concat()).exits(0);
        let said = said.complains(&format!("`{}` leaves out what belongs to the model's own", option[0]));
        let said = said.complains("generation_config.json").complains("the ids that end an answer");
        assert!(!said.err.contains("has no words"), "{}", said.err);
    }
    // And once more, without a word.
    let again = space.studbook(&["convert", "back", "again.gguf"]).exits(0);
    assert!(!again.err.contains("left out"), "{}", again.err);
    let facts = |name: &str| (*open(&space.path(name)).facts.unwrap()).clone();
    let sorted = |name: &str| {
        let mut all: Vec<String> = facts(name).iter().map(|(key, fact)| format!("{key} {fact:?}")).collect();
        all.sort();
        all
    };
    assert_eq!(sorted("g.gguf"), sorted("again.gguf"));
}

#[test]
fn qwen2_is_quantised_as_the_package_gguf_does_it() {
    let space = space();
    let folder = fixtures().join("gguf/qwen2-wide");
    let theirs = open(&fixtures().join("gguf/qwen2-wide.q8_0.gguf"));
    let convert = |dtype: &str| {
        let file = format!("{dtype}.gguf");
        let options = ["--dtype", dtype, "--without-tokenizer", "--force"];
        space.studbook(&[&["convert", folder.to_str().unwrap(), &file], &options[..]].concat()).exits(0);
        open(&space.path(&file))
    };
    same_tensors(&convert("q8_0"), &theirs, "q8_0");
    // Twelve letters are a vocabulary that fits.
    let letters = std::fs::read(fixtures().join("mergekit/tokens/tokenizer.json")).unwrap();
    let letters = studbook::model::tokenizer::HfTokenizer::from_json(&letters).unwrap();
    let tokens: Vec<u32> = (0..40).map(|i| (i * 37 + i * i) % 64).collect();
    let logits = |package: &Package| {
        let tokenizer = Ok(Tokenizer::HuggingFace(Arc::new(letters.clone())));
        let package = Package { tokenizer, ..package.clone() };
        let model = Model::new(Arc::new(package.checkpoint().unwrap())).unwrap();
        Session::new(&model, 48).unwrap().feed_all(&tokens).unwrap().to_vec()
    };
    let whole = logits(&open(&folder));
    let largest = whole.iter().fold(0.0_f32, |most, logit| most.max(logit.abs()));
    assert_eq!(logits(&convert("f32")), whole);
    for (dtype, most) in [("f16", 2e-3), ("bf16", 2e-2), ("q8_0", 4e-2)] {
        let off = off(&logits(&convert(dtype)), &whole);
        assert!(off > 0.0 && off < most * largest, "{dtype}: off by {off:e} of {largest}");
    }
    assert_eq!(logits(&convert("q8_0")), logits(&theirs));
}

/// A file without a vocabulary is one that somebody asked for.
#[test]
fn a_folder_without_a_tokenizer_goes_to_gguf_only_on_request() {
    let space = space();
    folder(&space, "qwen2");
    std::fs::remove_file(space.path("qwen2/tokenizer.json")).unwrap();
    for more in ["special_tokens_map.json", "vocab.json"] {
        space
            .studbook(&["convert", "qwen2", "q.gguf"])
            .exits(2)
            .complains("there is no tokenizer.json")
            .complains("`--without-tokenizer`");
        assert!(!space.path("q.gguf").exists());
        // Nor is one dropped that is kept in other files.
        space.write(&format!("qwen2/{more}"), b"{}");
    }
    space.studbook(&["convert", "qwen2", "q.gguf", "--without-tokenizer"]).exits(0);
    space.studbook(&["convert", "qwen2", "t.gguf", "--tokenizer", "a.slm"]).exits(0);
}

#[test]
fn what_gguf_cannot_say_is_refused_by_name() {
    let space = space();
    let convert = || space.studbook(&["convert", "llama-yarn", "y.gguf"]);
    folder(&space, "llama-yarn");
    space.edit("llama-yarn/config.json", "\"factor\": 4.0,", "\"factor\": 4.0, \"beta_fast\": 16.0,");
    convert()
        .exits(2)
        .complains("yarn / 4 (1 to 16 turns")
        .complains("the numbers that follow from its factor");
    space.edit("llama-yarn/config.json", "\"beta_fast\": 16.0,", "\"attention_factor\": 2.0,");
    convert().exits(2).complains("x 2");
    assert!(!space.path("y.gguf").exists());
    // A file that says what is not computed here.
    let bytes = std::fs::read(fixtures().join("gguf/llama-linear.gguf")).unwrap();
    let at = bytes.windows(6).position(|window| window == b"linear").unwrap();
    let mut other = bytes.clone();
    other[at..at + 6].copy_from_slice(b"lineal");
    space.write("other.gguf", &other);
    space
        .studbook(&["convert", "other.gguf", "o", "--to", "hugging-face", "--tokenizer", "a.slm"])
        .exits(2)
        .complains("`llama.rope.scaling.type`");
    // qwen2 knows no tensor of frequencies; such a network is written as a llama with biases.
    folder(&space, "qwen2");
    let scaled = "\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, \
                  \"high_freq_factor\": 3.5, \"original_max_position_embeddings\": 30";
    space.edit("qwen2/config.json", "\"rope_type\": \"default\"", scaled);
    space.studbook(&["convert", "qwen2", "l.gguf"]).exits(0);
    let (ours, original) = (open(&space.path("l.gguf")), open(&space.path("qwen2")));
    assert_eq!(ours.facts.clone().unwrap().text("general.architecture"), Some("llama"));
    assert_eq!(ours.config, original.config);
    let Reference { tokens, .. } = reference();
    assert!(off(&logits(&ours, &tokens), &logits(&original, &tokens)) < 1e-5);
    // qwen3 knows no biases, and nothing else knows its norms.
    folder(&space, "qwen3-biases");
    space.studbook(&["convert", "qwen3-biases", "b.gguf"]).exits(2).complains(
        "error: qwen3-biases: the network cannot be written as gguf: bias is on queries, keys and values, \
             attention's output; expected none, which programs that run a `qwen3` look for",
    );
    folder(&space, "gemma3");
    // A gemma3 whose windows are not where programs take them to be.
    folder(&space, "gemma3-listed");
    space
        .studbook(&["convert", "gemma3-listed", "g.gguf"])
        .exits(2)
        .complains("bias is on")
        .complains("expected none, which programs that run a `gemma3` look for");
    space.edit(
        "gemma3/config.json",
        "\"full_attention\",\n    \"sliding_attention\"",
        "\"sliding_attention\",\n    \"full_attention\"",
    );
    space
        .studbook(&["convert", "gemma3", "g.gguf"])
        .exits(2)
        .complains("sliding_window is of 5 positions, frequencies of 10000, but in layers 6; expected each layer but every sixth one");
    let bytes = std::fs::read(fixtures().join("gguf/qwen3.gguf")).unwrap();
    let mut bare = bytes.clone();
    let at = bytes.windows(11).position(|window| window == b"attn_k_norm").unwrap();
    bare[at..at + 11].copy_from_slice(b"attn_x_norm");
    space.write("bare.gguf", &bare);
    space
        .studbook(&["generate", "bare.gguf", "--prompt", "ab"])
        .exits(2)
        .complains("there is no tensor `blk.0.attn_k_norm.weight`");
}

/// What follows from the rest is a tensor in one of the two only: it is no difference.
#[test]
fn a_file_is_compared_with_a_folder_and_what_they_differ_in_is_kept() {
    let space = space();
    // Gains of gemma3 are compared as they are computed with: less one they are others in their last bits.
    folder(&space, "gemma3");
    space.studbook(&["convert", "gemma3", "x.gguf"]).exits(0);
    for pair in [["x.gguf", "gemma3"], ["gemma3", "x.gguf"]] {
        space.studbook(&["diff", pair[0], pair[1], "--exit-code"]).exits(0).says("the same tensors");
    }
    for name in ["gemma3", "llama-llama3", "qwen3", "olmo2", "qwen2"] {
        folder(&space, name);
        space.studbook(&["convert", name, "x.gguf", "--force"]).exits(0);
        for pair in [["x.gguf", name], [name, "x.gguf"]] {
            space.studbook(&["diff", pair[0], pair[1], "--exit-code"]).exits(0).says("the same tensors");
        }
        let mut bytes = std::fs::read(space.path(&format!("{name}/model.safetensors"))).unwrap();
        let last = bytes.len() - 4;
        bytes[last..].copy_from_slice(&0.625_f32.to_le_bytes());
        space.write(&format!("{name}/model.safetensors"), &bytes);
        for pair in [["x.gguf", name], [name, "x.gguf"]] {
            let said = space.studbook(&["extract", pair[0], pair[1], "d.sbs", "--as", "sparse", "--force"]);
            said.exits(0).says("d.sbs: 1 delta,");
            // The package is for the file it was taken from.
            space.studbook(&["extract", pair[0], "d.sbs", "e.sbs", "--force"]).exits(0).says("1 delta,");
        }
    }
    // Biases have no place in `.slm`, so the two have no common names.
    let said = space.studbook(&["diff", "a.slm", "x.gguf", "--exit-code"]).exits(1);
    said.says("the tensors of x.gguf cannot be called as those of a.slm are").says("bias is on queries");
    space
        .studbook(&["extract", "a.slm", "x.gguf", "n.sbd", "--as", "dense"])
        .exits(2)
        .complains("bias is on queries, keys and values; expected none");
}
