//! Declaring and looking: `init`, `check`, `graph`, `inspect`, `generate`, `completions`.

use studbook::model::norms::Norms;
use studbook::model::open_package;
use studbook::tensor::dtype::DType;

use crate::space::{Space, config, model};

/// A plan that `init` wrote goes all the way; returns the counts that `check` prints.
fn goes_all_the_way(space: &Space, plan: &str) -> String {
    let checked = space.studbook(&["check", plan]).exits(0).out;
    space.studbook(&["plan", plan]).exits(0).says("would run");
    let run = space.studbook(&["run", plan]);
    assert!(matches!(run.code, Some(0 | 3)), "{}\n{}", run.out, run.err);
    run.says("0 failed");
    checked
}

#[test]
fn init_finds_the_models_beside_the_plan() {
    let space = Space::new();
    std::fs::remove_file(space.path("plan.toml")).unwrap();
    let said = space.studbook(&["init"]).exits(0).says("Wrote cycle.toml").says("studbook plan cycle.toml");
    assert!(said.err.is_empty(), "{}", said.err);
    let text = space.read("cycle.toml");
    for name in ["base", "one", "two", "three"] {
        assert!(text.contains(&format!("[parents.{name}]\nsource = \"{name}.slm\"")), "{text}");
    }
    assert!(text.lines().filter(|line| line.starts_with('#')).count() >= 4, "it is commented\n{text}");
    let counts = goes_all_the_way(&space, "cycle.toml");
    assert!(counts.starts_with("cycle.toml: 4 parents, 1 candidate, 0 suites, 1 gate, "), "{counts}");
}

#[test]
fn init_takes_parents_base_and_suites_and_writes_paths_relative_to_the_plan() {
    let space = Space::new();
    std::fs::create_dir(space.path("plans")).unwrap();
    space
        .studbook(&[
            "init",
            "plans/my cycle.toml",
            "--parent",
            "one.slm",
            "--parent",
            "two.slm",
            "--base",
            "base.slm",
            "--suite",
            "suite.jsonl",
        ])
        .exits(0);
    let text = space.read("plans/my cycle.toml");
    assert!(text.contains("name = \"my-cycle\"") && text.contains("source = \"../one.slm\""), "{text}");
    assert!(text.contains("cases = \"../suite.jsonl\"") && text.contains("role = \"base\""), "{text}");
    let counts = goes_all_the_way(&space, "plans/my cycle.toml");
    assert!(counts.contains(": 3 parents, 4 candidates, 1 suite, 2 gates, "), "{counts}");
    // The approval is a comment to be uncommented; then it works as well.
    for line in ["[[gate]]", "name = \"release\"", "kind = \"approval\"", "statement = "] {
        space.edit("plans/my cycle.toml", &format!("# {line}"), line);
    }
    let counts = space.studbook(&["check", "plans/my cycle.toml"]).exits(0).out;
    assert!(counts.contains("3 gates"), "{counts}");
}

/// Folders and GGUF files, too; their children are stored as they are.
#[test]
fn init_takes_models_of_any_format() {
    let space = Space::new();
    for (name, to) in [("base", "hugging-face"), ("one", "hugging-face"), ("two", "gguf")] {
        let out = if to == "gguf" { "two.gguf" } else { name };
        space.studbook(&["convert", &format!("{name}.slm"), out, "--to", to]).exits(0);
    }
    let parents = ["--parent", "one", "--parent", "two.gguf", "--suite", "suite.jsonl"];
    space.studbook(&[&["init", "folders.toml", "--base", "base"], &parents[..]].concat()).exits(0);
    assert!(!space.read("folders.toml").contains("\noutput ="));
    let counts = goes_all_the_way(&space, "folders.toml");
    assert!(counts.contains(": 3 parents, 4 candidates, 1 suite, 2 gates, "), "{counts}");
    assert!(space.path(".studbook/runs/folders/04-operator/ties/model.safetensors").exists());
    space.studbook(&["init", "gguf.toml", "--parent", "two.gguf", "--parent", "three.slm"]).exits(0);
    goes_all_the_way(&space, "gguf.toml");
    assert!(space.path(".studbook/runs/gguf/04-operator/average.gguf").exists());
    // A family whose networks norm their heads, as a folder and as a file.
    let qwen = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf/qwen3.gguf");
    space.write("qwen3.gguf", &std::fs::read(qwen).unwrap());
    space.studbook(&["convert", "qwen3.gguf", "qwen3", "--to", "hugging-face"]).exits(0);
    let parents = ["--parent", "qwen3", "--parent", "qwen3.gguf", "--suite", "suite.jsonl"];
    space.studbook(&[&["init", "qwen.toml"], &parents[..]].concat()).exits(0);
    goes_all_the_way(&space, "qwen.toml");
    let child = open_package(&space.path(".studbook/runs/qwen/04-operator/average")).unwrap().package;
    assert!(child.checkpoint().unwrap().config.variant.norms == Norms::QWEN3);
    // What has no words cannot be measured.
    space.studbook(&["convert", "one.slm", "bare.safetensors"]).exits(0);
    let said = space.studbook(&["init", "bare.toml", "--parent", "bare.safetensors"]).exits(2);
    said.complains("bare.safetensors cannot be run").complains("written by hand");
    assert!(!space.path("bare.toml").exists());
}

/// gemma3's tokenizers have one for images, behind all others, and its models without images no row for it.
#[test]
fn a_token_that_no_text_has_needs_no_row() {
    let space = Space::new();
    space.studbook(&["convert", "one.slm", "one", "--to", "hugging-face"]).exits(0);
    let mut file: serde_json::Value = serde_json::from_str(&space.read("one/tokenizer.json")).unwrap();
    let rows = open_package(&space.path("one")).unwrap().package.config.unwrap().vocab_size;
    let mut with = |special: bool| {
        let token =
            serde_json::json!({ "id": rows, "content": "<image>", "special": special, "normalized": false });
        file["added_tokens"].as_array_mut().unwrap().retain(|token| token["content"] != "<image>");
        file["added_tokens"].as_array_mut().unwrap().push(token);
        space.write("one/tokenizer.json", file.to_string().as_bytes());
    };
    with(true);
    space.studbook(&["inspect", "one"]).exits(0).says("runs          yes");
    space.studbook(&["generate", "one", "--prompt", "ab", "--max-tokens", "2"]).exits(0);
    space.studbook(&["convert", "one", "again", "--to", "hugging-face"]).exits(0);
    let said = space.studbook(&["generate", "one", "--prompt", "a<image>b"]);
    said.exits(2).complains(&format!("{rows}"));
    with(false);
    let said = space.studbook(&["generate", "one", "--prompt", "ab"]).exits(2);
    said.complains(&format!("the tokenizer has {} ids and the network {rows}", rows + 1));
}

#[test]
fn init_never_overwrites_and_needs_models() {
    let space = Space::new();
    let before = space.files("");
    space
        .studbook(&["init", "plan.toml"])
        .exits(2)
        .complains("plan.toml is already there")
        .complains("init never overwrites");
    space
        .studbook(&["init", "new.toml", "--parent", "suite.jsonl"])
        .exits(2)
        .complains("suite.jsonl")
        .complains("known formats: slm1");
    space.write("broken.jsonl", b"{\"id\":\"a\",\"prompt\":\"p\",\"expected\":\"e\"}\nnope\n");
    space
        .studbook(&["init", "new.toml", "--suite", "broken.jsonl"])
        .exits(2)
        .complains("broken.jsonl")
        .complains("line 2 of the suite");
    assert_eq!(space.files(""), before.into_iter().chain([broken(&space)]).collect());

    let empty = Space::empty();
    empty.studbook(&["init"]).exits(2).complains("there are no .slm files in .").complains("--parent MODEL");
    assert!(empty.files("").is_empty());
}

/// Cases say by their fields who asks them; each kind has its own gate.
#[test]
fn init_knows_what_kind_of_suite_a_file_is() {
    let space = Space::new();
    let choice = "{\"id\":\"q\",\"prompt\":\"The sky is\",\"choices\":[\" blue\",\" tin\"],\"answer\":0}\n";
    space.write("choices.jsonl", choice.as_bytes());
    space.write("texts.jsonl", b"{\"id\":\"t\",\"text\":\"some text to read\"}\n");
    let suites = ["--suite", "suite.jsonl", "--suite", "choices.jsonl", "--suite", "texts.jsonl"];
    space.studbook(&[&["init", "new.toml", "--base", "base.slm"], &suites[..]].concat()).exits(0);
    let text = space.read("new.toml");
    for (kind, metric) in
        [("exact_match", "exact_match"), ("multiple_choice", "accuracy"), ("perplexity", "bits_per_byte")]
    {
        assert!(text.contains(&format!("kind = \"{kind}\"\n")), "{text}");
        let gate =
            format!("name = \"better-than-parents-by-{metric}\"\nkind = \"metric\"\nmetric = \"{metric}\"");
        assert!(text.contains(&gate), "{text}");
    }
    space.studbook(&["check", "new.toml"]).exits(0).says("3 suites, 4 gates");
    space.studbook(&["init", "one.toml", "--base", "base.slm", "--suite", "choices.jsonl"]).exits(0);
    assert!(space.read("one.toml").contains("name = \"better-than-parents\"\n"));
    let said = space.studbook(&["run", "one.toml"]);
    assert!(said.out.contains(" 0 failed"), "{}\n{}", said.out, said.err);
    // What is none of them is told, with what they look like.
    space.write("odd.jsonl", b"{\"id\":\"q\",\"question\":\"1+1\"}\n");
    space
        .studbook(&["init", "odd.toml", "--base", "base.slm", "--suite", "odd.jsonl"])
        .exits(2)
        .complains("the first case of the suite odd.jsonl is of no kind that init knows")
        .complains("\"choices\": [\"blue\", \"tin\"]");
    space.write("choices.jsonl", (choice.to_owned() + "{\"id\":\"r\",\"prompt\":\"p\"}\n").as_bytes());
    let said = space.studbook(&["init", "odd.toml", "--base", "base.slm", "--suite", "choices.jsonl"]);
    said.exits(2).complains("line 2 of the suite");
}

/// Models that see differently far have no children in a plan: `init` says so, and `check` of a plan that is
/// written by hand; both say which key of which file bounds them. `run` refuses the candidate.
#[test]
fn models_of_other_contexts_are_told_before_a_run() {
    let space = Space::new();
    for name in ["one", "two"] {
        space.studbook(&["convert", &format!("{name}.slm"), name, "--to", "hugging-face"]).exits(0);
        space.edit(&format!("{name}/config.json"), "\"llama\"", "\"mistral\"");
    }
    let parents = ["--parent", "one", "--parent", "two"];
    let init = |plan: &str| space.studbook(&[&["init", plan], &parents[..]].concat());
    init("good.toml").exits(0);
    space.edit("two/config.json", "\"hidden_act\"", "\"sliding_window\": 24, \"hidden_act\"");
    let differ = "`one` has a context of 64 tokens (`max_position_embeddings` of config.json), `two` one of 24 \
                  (`sliding_window` of config.json, of 64 positions)";
    init("new.toml").exits(2).complains(differ).complains("name models of one network and one context");
    assert!(!space.path("new.toml").exists());
    let checked = space.studbook(&["check", "good.toml"]).exits(0);
    checked
        .complains(&format!("warning: {differ}"))
        .complains("the compatibility report of `average` refuses them");
    let ran = space.studbook(&["run", "good.toml"]).exits(0);
    ran.complains(&format!("warning: {differ}"));
    let report = space.read(".studbook/runs/good/02-compat/average.json");
    assert!(report.contains("architecture.max_context: `one` has 64, `two` has 24"), "{report}");
    // Where all see equally far, the cases must fit, and the texts of the smoke run.
    space.edit("one/config.json", "\"hidden_act\"", "\"sliding_window\": 24, \"hidden_act\"");
    let case = format!("{{\"id\":\"a\",\"prompt\":\"{}\",\"expected\":\"b\"}}\n", "x".repeat(30));
    space.write("long.jsonl", case.as_bytes());
    let said =
        space.studbook(&[&["init", "new.toml", "--suite", "long.jsonl"], &parents[..]].concat()).exits(2);
    said.complains("the case takes 32 tokens, the context of `one` has 24 (`sliding_window` of config.json")
        .complains("new.toml is not written: it would have 1 error");
    assert!(!space.path("new.toml").exists());
    init("new.toml").exits(0);
    let checked = space.studbook(&["check", "new.toml"]).exits(0);
    assert!(checked.err.is_empty(), "{}", checked.err);
    space.edit("new.toml", "\"hello\"", &format!("\"{}\"", "x".repeat(23)));
    space
        .studbook(&["check", "new.toml"])
        .exits(0)
        .complains("warning: a prompt and a token of an answer take 25 tokens, the context of `one` has 24")
        .complains("refused by the gate `runtime-smoke`");
    space.edit("new.toml", &"x".repeat(23), &"x".repeat(22));
    let checked = space.studbook(&["check", "new.toml"]).exits(0);
    assert!(checked.err.is_empty(), "{}", checked.err);
}

/// Two files of one name, a name that the plan itself gives, names without a letter of a name, and text that
/// needs escapes: what is written is a plan all the same.
#[test]
fn init_gives_every_model_and_suite_a_name_of_its_own() {
    let space = Space::new();
    for (from, to) in [
        ("one.slm", "d1/model.slm"),
        ("two.slm", "d2/model.slm"),
        ("three.slm", "d2/base.slm"),
        ("one.slm", "ties.slm"),
        ("two.slm", "average.slm"),
        ("three.slm", "ÄÖ.slm"),
        ("suite.jsonl", "su\"i\\te.jsonl"),
        ("suite.jsonl", "d1/su-i-te.jsonl"),
    ] {
        std::fs::create_dir_all(space.path(to).parent().unwrap()).unwrap();
        std::fs::copy(space.path(from), space.path(to)).unwrap();
    }
    let parents = ["d1/model.slm", "d2/model.slm", "d2/base.slm", "ties.slm", "average.slm", "ÄÖ.slm"];
    let suites = ["su\"i\\te.jsonl", "d1/su-i-te.jsonl"];
    let options = parents.iter().flat_map(|parent| ["--parent", parent]);
    let options: Vec<&str> = options.chain(suites.iter().flat_map(|suite| ["--suite", suite])).collect();
    space.studbook(&[&["init", "new.toml", "--base", "base.slm"], &options[..]].concat()).exits(0);
    let text = space.read("new.toml");
    for name in ["base", "model", "model-2", "base-2", "ties-2", "average-2", "model-3"] {
        assert!(text.contains(&format!("[parents.{name}]\n")), "{name}: {text}");
    }
    for name in ["su-i-te", "su-i-te-2"] {
        assert!(text.contains(&format!("name = \"{name}\"\n")), "{name}: {text}");
    }
    let counts = space.studbook(&["check", "new.toml"]).exits(0).out;
    assert!(counts.contains(": 7 parents, 4 candidates, 2 suites, "), "{counts}");
}

#[test]
fn init_says_which_models_are_missing() {
    let space = Space::new();
    let init = |options: &[&str]| space.studbook(&[&["init", "new.toml"], options].concat()).exits(2);
    init(&["--base", "one.slm", "--parent", "./one.slm"])
        .complains("one.slm is the base and the only parent")
        .complains("--parent MODEL");
    init(&["--parent", "one.slm", "--parent", "./one.slm"]).complains("--parent names ./one.slm twice");
    std::fs::create_dir(space.path("alone")).unwrap();
    std::fs::copy(space.path("one.slm"), space.path("alone/one.slm")).unwrap();
    space
        .studbook(&["init", "alone/new.toml", "--base", "alone/one.slm"])
        .exits(2)
        .complains("there are no .slm files in alone but the base");
    assert!(!space.path("new.toml").exists() && !space.path("alone/new.toml").exists());
}

/// A plan is UTF-8; the name of a file need not be.
#[cfg(unix)]
#[test]
fn init_refuses_a_path_that_no_plan_can_write() {
    use std::os::unix::ffi::OsStrExt;
    let space = Space::new();
    let name = std::ffi::OsStr::from_bytes(b"bad\xff.slm");
    std::fs::copy(space.path("one.slm"), space.path("").join(name)).unwrap();
    let said = space.studbook(&["init", "new.toml"]).exits(2);
    said.complains("bad\u{fffd}.slm is not UTF-8, as a plan is").complains("rename the file");
    assert!(!space.path("new.toml").exists());
}

fn broken(space: &Space) -> (String, Vec<u8>) {
    ("broken.jsonl".to_owned(), space.read("broken.jsonl").into_bytes())
}

#[test]
fn check_counts_what_is_declared() {
    let space = Space::new();
    let plan = space.studbook(&["plan", "plan.toml", "--format", "json"]).exits(0).json();
    let stages = plan["stages"].as_array().unwrap().len();
    let said = space.studbook(&["check", "plan.toml"]).exits(0);
    assert_eq!(said.out, format!("plan.toml: 4 parents, 3 candidates, 1 suite, 4 gates, {stages} stages\n"));
    assert_eq!(space.studbook(&["check", "plan.toml", "--quiet"]).exits(0).out, "");
}

#[test]
fn graphs_hold_every_stage_once() {
    let space = Space::new();
    let plan = space.studbook(&["plan", "plan.toml", "--format", "json"]).exits(0).json();
    let mermaid = space.studbook(&["graph", "plan.toml"]).exits(0).out;
    let dot = space.studbook(&["graph", "plan.toml", "--format", "dot"]).exits(0).out;
    assert!(mermaid.starts_with("flowchart LR\n"), "{mermaid}");
    assert!(dot.starts_with("digraph studbook {\n") && dot.ends_with("}\n"), "{dot}");
    let stages = plan["stages"].as_array().unwrap();
    for stage in stages {
        let id = stage["stage"].as_str().unwrap();
        assert_eq!(mermaid.matches(&format!("[\"{id}\"]")).count(), 1, "{id}\n{mermaid}");
        assert_eq!(dot.matches(&format!("[label=\"{id}\"]")).count(), 1, "{id}\n{dot}");
    }
    assert_eq!(mermaid.matches("[\"").count(), stages.len());
    assert_eq!(dot.matches("[label=").count(), stages.len());
    // The same edges in both, between stages that exist.
    let ends = |text: &str, arrows: &[&str]| -> Vec<(String, String)> {
        let edge = |line: &str| {
            let line = line.trim().split(" [style").next().unwrap().trim_end_matches(';').to_owned();
            let arrow = arrows.iter().find(|arrow| line.contains(&format!(" {arrow} ")))?;
            line.split_once(&format!(" {arrow} ")).map(|(from, to)| (from.to_owned(), to.to_owned()))
        };
        let mut found: Vec<_> = text.lines().filter_map(edge).collect();
        found.sort();
        found
    };
    let drawn = ends(&mermaid, &["-->", "-.->", "-..->"]);
    assert!(drawn.len() > stages.len());
    assert_eq!(drawn, ends(&dot, &["->"]));
}

#[test]
fn completions_name_every_command() {
    let said = Space::empty().studbook(&["completions", "bash"]).exits(0).says("complete -F _studbook");
    for command in ["init", "check", "plan", "run", "status", "attest", "why", "verify", "ledger"] {
        said.out.find(&format!("studbook,{command})")).unwrap_or_else(|| panic!("{command}"));
    }
    Space::empty().studbook(&["completions", "tcl"]).exits(2).complains("possible values: bash");
}

#[test]
fn inspect_says_what_a_model_is() {
    let space = Space::new();
    let text = space.studbook(&["inspect", "one.slm"]).exits(0);
    let bytes = std::fs::read(space.path("one.slm")).unwrap();
    let json = space.studbook(&["inspect", "one.slm", "--format", "json"]).exits(0).json();
    assert_eq!(json["bytes"], bytes.len());
    assert_eq!(json["sha256"], studbook::base::digest::Sha256::of(&bytes).to_hex());
    assert_eq!(json["blake3"], studbook::base::digest::Digest::of(&bytes).to_hex());
    assert_eq!(json["values"], "every value is finite");
    assert_eq!(json["config"]["ffn_size"], 16);
    assert_eq!(json["identity"]["parameters"], 2680);
    let tensors = json["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), 11);
    for tensor in tensors {
        assert_eq!(
            text.out.matches(&format!("\n{} ", tensor["name"].as_str().unwrap())).count(),
            1,
            "{tensor}"
        );
    }
    text.says("every value is finite").says("q8_0").says("260x8").says(json["sha256"].as_str().unwrap());
    space.studbook(&["inspect", "plan.toml"]).exits(2).complains("known formats: slm1");
    space.studbook(&["inspect", "none.slm"]).exits(2).complains("cannot open none.slm");
}

#[test]
fn generate_repeats_itself() {
    let space = Space::new();
    let ask = |extra: &[&str]| {
        let arguments = [&["generate", "one.slm", "--prompt", "ab", "--max-tokens", "12"], extra].concat();
        space.studbook(&arguments).exits(0)
    };
    let greedy = ask(&[]);
    assert_eq!(greedy.out, ask(&[]).out);
    assert!(greedy.out.len() > 2, "{:?}", greedy.out);
    greedy.complains("tokens: ");
    assert_eq!(ask(&["--threads", "1"]).out, ask(&["--threads", "3"]).out);
    let sampled = |seed: &str| ask(&["--temperature", "1.5", "--seed", seed]).out;
    assert_eq!(sampled("7"), sampled("7"));
    assert!((1..5).any(|seed| sampled(&seed.to_string()) != sampled("7")), "the seed matters");
}

#[test]
fn generated_bytes_that_are_not_text_are_shown_as_such() {
    // Random weights choose random bytes; `Said` would fail on output that is not UTF-8.
    let space = Space::empty();
    let broken = (0..8).any(|i| {
        space.write("m.slm", &model(&config(), &format!("m{i}"), DType::F32));
        let said = space.studbook(&["generate", "m.slm", "-p", "ab", "--max-tokens", "16"]).exits(0);
        said.out.contains('\u{fffd}')
    });
    assert!(broken, "none of eight random models made a broken sequence");
}

#[test]
fn prompts_that_cannot_be_answered_are_mistakes() {
    let space = Space::new();
    space.studbook(&["generate", "one.slm", "--prompt", ""]).exits(2).complains("the prompt is empty");
    space
        .studbook(&["generate", "one.slm", "--prompt", &"x".repeat(200)])
        .exits(2)
        .complains("the prompt has 201 tokens")
        .complains("at most 63");
    space
        .studbook(&["generate", "one.slm", "-p", "a", "--temperature", "1", "--top-k", "0"])
        .exits(2)
        .complains("top_k");
    space.studbook(&["generate", "none.slm", "-p", "a"]).exits(2).complains("cannot open none.slm");
}
