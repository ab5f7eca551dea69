//! Evaluators, gates that ask how sure one is, and what is brought from another harness.

use studbook::base::digest::Sha256;
use studbook::tensor::dtype::DType;

use crate::space::{OBJECTIVES, PLAN, Space, config, model};

/// Cases that tiny models answer by chance: the same for everybody, so that nothing is better.
pub(crate) fn choices(n: usize) -> String {
    let case = |i: usize| {
        format!(
            "{{\"id\":\"q{i}\",\"prompt\":\"question {i}\",\"choices\":[\"{}\",\"no\",\"perhaps\"],\"answer\":{}}}\n",
            i * 7 % 10,
            i % 3
        )
    };
    (0..n).map(case).collect()
}

pub(crate) fn texts(n: usize) -> String {
    (0..n).map(|i| format!("{{\"id\":\"t{i}\",\"text\":\"some text {i} to read {}\"}}\n", i * 31)).collect()
}

/// A plan with every evaluator and gates with confidence.
pub(crate) fn space() -> Space {
    let space = Space::new();
    space.write("choices.jsonl", choices(70).as_bytes());
    space.write("texts.jsonl", texts(12).as_bytes());
    let evals = r#"
[[eval]]
name = "choices"
kind = "multiple_choice"
cases = "choices.jsonl"
use = "gate"
delimiter = " "

[[eval]]
name = "texts"
kind = "perplexity"
cases = "texts.jsonl"
window = 16
stride = 8

[[eval]]
name = "rounding"
kind = "quantization_delta"
cases = "texts.jsonl"
use = "both"

[[gate]]
name = "surely"
kind = "metric"
metric = "accuracy"
suites = ["choices"]
versus = "best-parent"
confidence = 0.95

[[gate]]
name = "rounding"
kind = "metric"
metric = "kl_divergence"
suites = ["rounding"]
max = 1.0
confidence = 0.95

[review]
objectives = ["digits", "texts"]"#;
    space.write("plan.toml", PLAN.replacen("\n[review]", evals, 1).replacen(OBJECTIVES, "", 1).as_bytes());
    space
}

pub(crate) fn sidecar(space: &Space, name: &str) -> serde_json::Value {
    let text = space.read(&format!(".studbook/runs/tiny/07-eval/{name}.json"));
    serde_json::from_str::<serde_json::Value>(&text).unwrap()["body"].clone()
}

#[test]
fn every_evaluator_leaves_outcomes_that_verify_recomputes() {
    let space = space();
    space.studbook(&["run", "plan.toml"]).exits(3);
    let found = sidecar(&space, "average.choices");
    assert_eq!(found["metrics"]["accuracy"]["n"], 70);
    assert_eq!(found["suite"]["options"]["delimiter"], " ");
    assert_eq!(
        sidecar(&space, "average.digits")["suite"]["options"],
        serde_json::json!({"max_tokens": 4, "normalise": "none", "stop": []}),
        "what the plan left unsaid is said"
    );
    let window = |name: &str| sidecar(&space, name)["suite"]["options"].clone();
    assert_eq!(window("average.texts"), serde_json::json!({"window": 16, "stride": 8}));
    assert_eq!(window("average.rounding"), serde_json::json!({"window": 64, "stride": 32}));
    let found = sidecar(&space, "average.texts");
    assert!(found["metrics"]["bits_per_byte"]["value"].as_f64().unwrap() > 1.0);
    assert!(found["metrics"]["bits_per_byte"]["stderr"].as_f64().unwrap() > 0.0);
    let found = sidecar(&space, "average.rounding");
    let kl = found["metrics"]["kl_divergence"]["value"].as_f64().unwrap();
    assert!(kl > 0.0 && kl < 0.1, "eight bits are not quite enough for nothing to change: {kl}");
    assert!(!space.path(".studbook/runs/tiny/07-eval/one.rounding.json").exists(), "a parent is as it is");
    space.studbook(&["verify", "plan.toml"]).exits(0).says(", 0 failed");
    let before = space.files(".studbook/runs");
    let again = space.studbook(&["run", "plan.toml", "--format", "json"]).exits(3).json();
    assert_eq!(again["executed"], 0);
    assert_eq!(space.files(".studbook/runs"), before);
}

/// Children that draw by row and name, and a rule that means Hugging Face's names.
const DRAWN: &str = r#"[candidates.drawn]
operator = "dare"
parents = ["one", "two"]
drop = 0.5

[candidates.noise]
operator = "mutate"
parents = ["one"]
sigma = 0.3
bound = 0.9

[candidates.ruled]
operator = "passthrough"
parents = ["one"]
rules = [{ tensors = "*PATTERN*", scale = 0.3 }]

[smoke]"#;

/// What the children of each format are, held against themselves in f32: by child the divergence.
fn divergences(space: &Space, form: &str, pattern: &str) -> Vec<f64> {
    let suite = "\n[[eval]]\nname = \"rounding\"\nkind = \"quantization_delta\"\n\
                 cases = \"texts.jsonl\"\nuse = \"gate\"\n\n[review]";
    let plan = PLAN.replace("[smoke]", &DRAWN.replace("PATTERN", pattern)).replacen("\n[review]", suite, 1);
    space.write("plan.toml", plan.replace("output = \"q8_0\"", form).as_bytes());
    let said = space.studbook(&["run", "plan.toml"]);
    assert!(said.out.contains(" 0 failed"), "{form}\n{}\n{}", said.out, said.err);
    let kl = |name: &str| {
        let found = sidecar(space, &format!("{name}.rounding"));
        found["metrics"]["kl_divergence"]["value"].as_f64().unwrap()
    };
    ["average", "tasks", "drawn", "noise", "ruled"].map(kl).to_vec()
}

#[test]
fn a_child_is_held_against_itself_in_its_own_format() {
    let space = Space::new();
    space.write("texts.jsonl", texts(4).as_bytes());
    for (format, pattern) in [("hugging-face", ".mlp."), ("gguf", ".ffn_"), ("slm", ".w")] {
        let form = |output: &str| format!("format = \"{format}\"\noutput = \"{output}\"");
        let none = divergences(&space, &form("f32"), pattern);
        assert_eq!(none, [0.0; 5], "what is stored in f32 is itself in f32: {format}");
        let little = divergences(&space, &form(if format == "slm" { "q8_0" } else { "bf16" }), pattern);
        assert!(little.iter().all(|kl| *kl > 0.0 && *kl < 0.01), "{format}: {little:?}");
    }
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0);
}

/// Nothing of it could be an `.slm` file: its tokenizer is none of SLM1's.
#[test]
fn a_child_with_another_tokenizer_is_held_against_itself() {
    let space = Space::new();
    space.write("texts.jsonl", texts(4).as_bytes());
    for name in ["base", "one", "two", "three"] {
        space.studbook(&["convert", &format!("{name}.slm"), name, "--to", "hugging-face"]).exits(0);
        let path = format!("{name}/tokenizer.json");
        // As many models have it: nothing is put in front of a text.
        let mut file: serde_json::Value = serde_json::from_str(&space.read(&path)).unwrap();
        file["post_processor"] = serde_json::Value::Null;
        space.write(&path, file.to_string().as_bytes());
    }
    let kl = |space: &Space| {
        let plan = space.read("plan.toml").replace(".slm\"", "\"").replace("output = \"q8_0\"", "");
        let suite = "\n[[eval]]\nname = \"rounding\"\nkind = \"quantization_delta\"\n\
                     cases = \"texts.jsonl\"\nuse = \"gate\"\n\n[review]";
        space.write("plan.toml", plan.replacen("\n[review]", suite, 1).as_bytes());
        let said = space.studbook(&["run", "plan.toml"]);
        assert!(said.out.contains(" 0 failed"), "{}\n{}", said.out, said.err);
        sidecar(space, "tasks.rounding")["metrics"]["kl_divergence"]["value"].as_f64()
    };
    assert_eq!(kl(&space), Some(0.0));
}

#[test]
fn threads_and_lost_batches_change_no_byte() {
    let (one, two) = (space(), space());
    one.studbook(&["run", "plan.toml", "--threads", "1"]).exits(3);
    two.studbook(&["run", "plan.toml", "--threads", "2"]).exits(3);
    assert_eq!(one.files(".studbook/runs"), two.files(".studbook/runs"));
    // An outcomes file is lost: it is made again from its batches, to the same bytes.
    let name = "07-eval/average.choices.outcomes.jsonl";
    let outcomes = two.read(&format!(".studbook/runs/tiny/{name}"));
    let hex = studbook::base::digest::Digest::of(outcomes.as_bytes()).to_hex();
    std::fs::remove_file(two.path(&format!(".studbook/objects/{}/{}", &hex[..2], &hex[2..]))).unwrap();
    two.studbook(&["run", "plan.toml"]).exits(3);
    assert_eq!(one.files(".studbook/runs"), two.files(".studbook/runs"));
}

#[test]
fn a_gate_that_cannot_tell_says_how_many_cases_could() {
    let space = space();
    let report = space.studbook(&["run", "plan.toml", "--format", "json"]).exits(3).json();
    let text = space.read(".studbook/runs/tiny/07-eval/comparisons.json");
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rows = record["body"]["rows"].as_array().unwrap();
    assert_eq!(record["body"]["family"], 6, "two gates of three candidates");
    let surely: Vec<_> = rows.iter().filter(|row| row["gate"] == "surely").collect();
    for row in &surely {
        let tested = &row["test"];
        assert_eq!((tested["n"].as_u64(), &tested["method"]), (Some(70), &"exact McNemar".into()));
        assert!(tested["meets_adjusted"].as_f64() >= tested["meets"].as_f64());
        assert_ne!(row["state"], "passed", "nobody is better than random parents for sure");
    }
    let undecided = surely.iter().find(|row| row["state"] == "inconclusive").expect("one is undecided");
    let candidate = undecided["candidate"].as_str().unwrap();
    let promotion = space.read(&format!(".studbook/runs/tiny/08-promotion/{candidate}.json"));
    assert!(promotion.contains("inconclusive"), "{promotion}");
    assert!(
        rows.iter().filter(|row| row["gate"] == "rounding").all(|row| row["state"] == "passed"),
        "{text}"
    );
    let outcomes = report["candidates"].as_array().unwrap();
    assert!(outcomes.iter().all(|row| row["outcome"] != "admitted"), "{outcomes:?}");
}

#[test]
fn the_threat_of_a_threshold_moved_after_the_run() {
    let space = space();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let lineage = space.read(".studbook/runs/tiny/03-lineage/average.json");
    space.edit("plan.toml", "max = 1.0\nconfidence", "max = 2.0\nconfidence");
    let said = space.studbook(&["plan", "plan.toml"]).exits(0);
    for stage in ["lineage:average", "eval:comparisons", "ledger:plan"] {
        let line = said.out.lines().find(|line| line.starts_with(stage)).unwrap();
        assert!(!line.contains(" cached "), "{line}");
    }
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    assert_ne!(space.read(".studbook/runs/tiny/03-lineage/average.json"), lineage, "another lineage");
    let log = space.studbook(&["ledger", "log", "plan.toml"]).exits(0);
    assert!(log.out.matches("plan").count() >= 2, "both rules are in the ledger: {}", log.out);
}

#[test]
fn the_threat_of_a_swapped_dataset() {
    let space = space();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space.edit("choices.jsonl", "question 3\"", "question 3, again\"");
    space.studbook(&["verify", "plan.toml"]).exits(4).says("FAIL  eval:one.choices");
}

#[test]
fn cases_that_cannot_be_asked_are_named_with_file_and_line() {
    let space = space();
    for (from, to, why) in [
        ("{\"id\":\"q5\"", "{\"id\":\"q4\"", "choices.jsonl:6: the case has the id \"q4\" of line 5 again"),
        ("\"question 9\"", "\"\"", "choices.jsonl:10: the case has an empty prompt"),
        ("{\"id\":\"q0\"", "\"id\":\"q0\"", "choices.jsonl:1: the case"),
    ] {
        space.write("choices.jsonl", choices(70).as_bytes());
        space.edit("choices.jsonl", from, to);
        space.studbook(&["check", "plan.toml"]).exits(2).complains(why);
    }
    space.write("choices.jsonl", b"");
    space.studbook(&["check", "plan.toml"]).exits(2).complains("the suite has no cases");
}

#[test]
fn what_it_takes_to_run_is_a_fact_that_gates_can_ask_for() {
    let space = Space::new();
    let case = "{\"id\":\"chat\",\"prompt_tokens\":8,\"new_tokens\":4}\n";
    space.write("loads.jsonl", case.as_bytes());
    let evals = "\n[[eval]]\nname = \"phone\"\nkind = \"resource\"\ncases = \"loads.jsonl\"\n\n\
                 [[gate]]\nname = \"fits\"\nkind = \"metric\"\nmetric = \"memory_bytes\"\nsuites = [\"phone\"]\nmax = 1000\n\n[review]\nobjectives = [\"digits\"]";
    space.write("plan.toml", PLAN.replacen("\n[review]", evals, 1).replacen(OBJECTIVES, "", 1).as_bytes());
    let report = space.studbook(&["run", "plan.toml", "--format", "json"]).exits(0).json();
    let because = report["candidates"][0]["because"].as_str().unwrap();
    assert!(because.starts_with("fits: memory_bytes "), "{report}");
    let found = &sidecar(&space, "average.phone")["metrics"];
    // Twelve tokens of keys and values of one head of four, a row of 260 logits, and the weights.
    let config = config();
    let weights = std::fs::read(space.path(".studbook/runs/tiny/04-operator/average.slm")).unwrap().len();
    let memory = found["memory_bytes"]["value"].as_f64().unwrap();
    let more = f64::from(12 * 2 * 4 * 4 + config.vocab_size * 4);
    assert!(memory > more && memory < more + weights as f64, "{memory}");
    assert_eq!(found["bytes_per_token"]["n"], 1);
    assert_eq!(sidecar(&space, "one.phone")["metrics"], *found, "the same shape takes the same");
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0);
}

#[test]
fn the_review_says_which_differences_are_more_than_chance() {
    let space = space();
    space.studbook(&["run", "plan.toml"]).exits(3).complains(" differences are sure");
    let review = space.studbook(&["review", "plan.toml", "--format", "json"]).exits(0).json();
    let significance = &review["significance"];
    let names = |value: &serde_json::Value| value.as_array().unwrap().len();
    // Three candidates, three parents and doing nothing, which is the base; each two on both objectives.
    assert_eq!((names(&significance["compared"]), &significance["family"]), (7, &42.into()));
    for pair in significance["pairs"].as_array().unwrap() {
        let number = |name: &str| pair[name].as_f64().unwrap();
        assert!(number("p_adjusted") >= number("p") && number("p") > 0.0, "{pair}");
        let method = if pair["objective"] == "digits" { "exact McNemar" } else { "paired bootstrap" };
        assert_eq!(
            (&pair["method"], &pair["n"]),
            (&method.into(), &if pair["objective"] == "digits" { 8 } else { 12 }.into())
        );
    }
    let said = space.studbook(&["review", "plan.toml"]).exits(0);
    assert!(
        said.out.contains("Better than, on texts:") && said.out.contains("after Holm over 42 tests"),
        "{}",
        said.out
    );
    // The tests are recomputed with everything else.
    space.studbook(&["verify", "plan.toml"]).exits(0);
    Space::new().studbook(&["review", "plan.toml"]).exits(2).complains("was not reviewed yet");
}

/// What the harness would have written of this model.
fn harness(artifact: &str, version: &str, right: usize) -> (String, String) {
    let hash = |text: &str| Sha256::of(text.as_bytes()).to_string();
    let (mut samples, mut hashes) = (String::new(), String::new());
    for i in 0..40 {
        let (prompt, is_right) = (format!("question {i}"), i < right);
        let (yes, no) = if is_right { (-1.0, -2.0) } else { (-2.0, -1.0) };
        let sample = serde_json::json!({
            "doc_id": i, "target": 0, "filter": "none",
            "arguments": [[prompt, " yes"], [prompt, " no"]],
            "filtered_resps": [[yes, false], [no, false]],
            "doc_hash": format!("d{i}"), "prompt_hash": hash(&prompt), "target_hash": hash("0"),
            "acc": u8::from(is_right),
        });
        samples += &format!("{sample}\n");
        hashes += &format!("d{i}{}{}", hash(&prompt), hash("0"));
    }
    let results = serde_json::json!({
        "results": {"arc": {"acc,none": right as f64 / 40.0}},
        "versions": {"arc": version},
        "n-samples": {"arc": {"original": 40, "effective": 40}},
        "config": {"model_args": format!("pretrained=hf/{artifact}")},
        "configs": {"arc": {"output_type": "multiple_choice"}},
        "n-shot": {"arc": 0},
        "task_hashes": {"arc": hash(&hashes)},
        "lm_eval_version": "0.4.9",
    });
    (results.to_string(), samples)
}

#[test]
fn results_of_another_harness_are_waited_for_checked_and_bound() {
    let space = Space::new();
    let external = r#"
[[eval]]
name = "arc"
kind = "external"
task = "arc"
task_version = "1"
use = "gate"

[[gate]]
name = "arc"
kind = "metric"
metric = "external"
suites = ["arc"]
min = 0.5
candidates = ["average"]

[review]"#;
    space.write("plan.toml", PLAN.replacen("\n[review]", external, 1).as_bytes());
    let report = space.studbook(&["run", "plan.toml", "--format", "json"]).exits(3).json();
    let gates = report["pending_gates"].as_array().unwrap();
    let command = "studbook attest plan.toml average --suite arc --results FILE --samples FILE --by NAME";
    assert!(gates.iter().any(|gate| gate["command"] == command), "{gates:?}");

    let sha = |name: &str| {
        Sha256::of(
            &std::fs::read(space.path(&format!(".studbook/runs/tiny/04-operator/{name}.slm"))).unwrap(),
        )
        .to_string()
    };
    let bring = |results: &str, samples: &str| {
        space.write("results.json", results.as_bytes());
        space.write("samples.jsonl", samples.as_bytes());
        space.studbook(&[
            "attest",
            "plan.toml",
            "average",
            "--suite",
            "arc",
            "--results",
            "results.json",
            "--samples",
            "samples.jsonl",
            "--by",
            "ada",
        ])
    };
    let (results, samples) = harness(&sha("tasks"), "1", 30);
    bring(&results, &samples).exits(2).complains("the results are of the model");
    let (results, samples) = harness(&sha("average"), "2", 30);
    bring(&results, &samples).exits(2).complains("of version \"2\" of the task");
    let (results, samples) = harness(&sha("average"), "1", 30);
    bring(&results, &samples.replacen("\"acc\":1", "\"acc\":0", 1))
        .exits(2)
        .complains("line 1 of the samples has the `acc` 0");
    bring(&results, &samples).exits(0).says("40 samples of arc");
    space.studbook(&["run", "plan.toml"]).exits(3);
    let found = sidecar(&space, "average.arc");
    assert_eq!(
        (&found["metrics"]["external"]["value"], &found["metrics"]["external"]["n"]),
        (&0.75.into(), &40.into())
    );
    let admission = space.read(".studbook/runs/tiny/09-admission/average.json");
    assert!(admission.contains("\"admitted\":true"), "{admission}");
    space.studbook(&["verify", "plan.toml"]).exits(0).says(", 0 failed");
}

#[test]
fn the_threat_of_a_sidecar_of_the_parent() {
    // A child that is its parent byte for byte has the same outcomes, but its own sidecar.
    let space = Space::new();
    space.write("base.slm", &model(&config(), "one", DType::Q8_0));
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let (base, one) = (sidecar(&space, "base.digits"), sidecar(&space, "one.digits"));
    assert_eq!(base["outcomes"], one["outcomes"], "the same bytes answer alike");
    assert_ne!(base["subject"]["manifest"], one["subject"]["manifest"], "and are introduced apart");
    // Put in each other's place they are noticed.
    let path = |name: &str| {
        let text = space.read(&format!(".studbook/runs/tiny/07-eval/{name}.json"));
        let hex = studbook::base::digest::Digest::of(text.as_bytes()).to_hex();
        (space.path(&format!(".studbook/objects/{}/{}", &hex[..2], &hex[2..])), text)
    };
    let ((mine, _), (_, theirs)) = (path("average.digits"), path("one.digits"));
    std::fs::remove_file(&mine).unwrap();
    std::fs::write(&mine, theirs).unwrap();
    space.studbook(&["verify", "plan.toml"]).exits(4).says("FAIL  eval:average.digits");
}

#[test]
fn the_plans_of_the_examples_end_as_their_comments_say() {
    let space = Space::empty();
    let plan = |name: &str| format!("{}/plans/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let run = |name: &str| space.studbook(&["--store", "store", "run", &plan(name), "--format", "json"]);
    let report = run("confidence").exits(3).json();
    let outcome = |name: &str| {
        let rows = report["candidates"].as_array().unwrap();
        rows.iter().find(|row| row["candidate"] == name).unwrap().clone()
    };
    let tasks = outcome("tasks");
    assert_eq!(tasks["outcome"], "inconclusive", "{tasks}");
    assert!(tasks["because"].as_str().unwrap().contains("cases would decide"), "{tasks}");
    assert_eq!(outcome("overshoot")["outcome"], "refused");
    let report = run("quantised").exits(0).json();
    assert_eq!(report["candidates"][0]["outcome"], "admitted", "{report}");
}

/// Manifests that say that the parents, but not the base, were trained on this text.
pub(crate) fn declare_trained(space: &Space, text: &str) {
    space.write("train.txt", text.as_bytes());
    for name in ["one", "two", "three"] {
        let bytes = std::fs::read(space.path(&format!("{name}.slm"))).unwrap();
        let manifest = format!(
            "source_kind = \"converted-trained\"\nlicence = \"MIT\"\ntrained_quality_claim = \"not-claimed\"\n\
             summary = \"a model\"\n[artifact]\nbytes = {}\nsha256 = \"{}\"\nblake3 = \"{}\"\n\
             [training]\ngenerator = \"a trainer\"\nsteps = 1\nseed = \"1\"\ndata = [\"text\"]\n\
             texts = [{{ path = \"train.txt\", sha256 = \"{}\" }}]\n",
            bytes.len(),
            Sha256::of(&bytes),
            studbook::base::digest::Digest::of(&bytes),
            Sha256::of(text.as_bytes())
        );
        space.write(&format!("{name}.source.toml"), manifest.as_bytes());
    }
}

#[test]
fn cases_that_stand_in_declared_training_texts_are_found_and_silence_is_not_cleanness() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let found = &sidecar(&space, "average.digits")["contamination"];
    assert_eq!((&found["status"], &found["overlapping"]), (&"unknown".into(), &0.into()));

    let space = Space::new();
    let text = "all of it: p3=3 and p5=5, no more\n";
    declare_trained(&space, text);
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let found = &sidecar(&space, "average.digits")["contamination"];
    assert_eq!(
        (&found["status"], &found["overlapping"], &found["first"]),
        (&"searched".into(), &2.into(), &"c3".into())
    );
    let found = &sidecar(&space, "tasks.digits")["contamination"];
    assert_eq!((&found["status"], &found["undeclared"]), (&"unknown".into(), &serde_json::json!(["base"])));
    assert_eq!(found["overlapping"], 2, "what is declared was searched all the same");
    space.studbook(&["verify", "plan.toml"]).exits(0);

    space.write("train.txt", b"another text");
    space.studbook(&["run", "plan.toml"]).exits(1).complains("is not the one its source manifest declares");
    std::fs::remove_file(space.path("train.txt")).unwrap();
    space
        .studbook(&["check", "plan.toml"])
        .exits(2)
        .complains("train.txt, which `one` was trained on, does not exist");
}

#[test]
fn a_case_that_was_trained_on_word_for_word_is_found() {
    // Thirteen words in all, none of its texts has so many: what is asked is followed by the answer.
    let space = Space::new();
    let case = "{\"id\":\"c0\",\"prompt\":\"a b c d e f g h i j k\",\"expected\":\"l m\"}\n";
    space.write("suite.jsonl", case.as_bytes());
    declare_trained(&space, "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\n");
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let found = &sidecar(&space, "average.digits")["contamination"];
    assert_eq!((&found["overlapping"], &found["first"]), (&1.into(), &"c0".into()), "{found}");
}

#[test]
fn a_confidence_that_no_cases_could_give_is_refused_before_anybody_is_asked() {
    let space = space();
    let plan = space.read("plan.toml");
    // Of three candidates each; in a bootstrap of 10000 draws nothing is rarer than one of 10001.
    let sure = |confidence: &str| {
        let gate = format!(
            "metric = \"kl_divergence\"\nsuites = [\"rounding\"]\nmax = 50\nconfidence = {confidence}"
        );
        let old = "metric = \"exact_match\"\nsuites = [\"digits\"]\nversus = \"best-parent\"\nmargin = 0.0";
        assert!(plan.contains(old));
        space.write("sure.toml", plan.replacen(old, &gate, 1).as_bytes());
        space.studbook(&["check", "sure.toml"])
    };
    sure("0.9999")
        .exits(2)
        .complains("`no-worse` can never be decided: nobody can be 0.9999 sure of it")
        .complains("expected at most 0.9994, by 10000 draws each, of 6 tests that are adjusted together");
    sure("0.9994").exits(0);
}

/// A plan that reads texts with two models of the same weights, `plain` and `bos`.
const READERS: &str = r#"
[cycle]
name = "tiny"
seed = "1"
[budget]
candidates = 1
artifact = "1 MiB"
disk = "1 MiB"
seconds = 60
[parents.plain]
source = "plain"
[parents.bos]
source = "bos"
[candidates.same]
operator = "passthrough"
parents = ["plain"]
[smoke]
prompts = ["ab"]
max_tokens = 2
[[eval]]
name = "texts"
kind = "perplexity"
cases = "texts.jsonl"
use = "both"
[[gate]]
name = "short"
kind = "metric"
metric = "bits_per_byte"
suites = ["texts"]
max = 100
"#;

#[test]
fn bits_per_byte_do_not_favour_tokenizers_that_put_nothing_before_a_text() {
    let space = Space::empty();
    space.write("plan.toml", READERS.as_bytes());
    space.write("texts.jsonl", (texts(4) + "{\"id\":\"one\",\"text\":\"x\"}\n").as_bytes());
    space.write("bos.slm", &model(&config(), "one", DType::F32));
    for name in ["bos", "plain"] {
        space.studbook(&["convert", "bos.slm", name, "--to", "hugging-face"]).exits(0);
    }
    let mut file: serde_json::Value = serde_json::from_str(&space.read("plain/tokenizer.json")).unwrap();
    file["post_processor"] = serde_json::Value::Null;
    space.write("plain/tokenizer.json", file.to_string().as_bytes());
    let bits = |name: &str| sidecar(&space, &format!("{name}.texts"))["metrics"]["bits_per_byte"].clone();
    let runs = || {
        space.studbook(&["run", "plan.toml"]).exits(0).says(" 0 failed");
        assert_eq!(bits("plain")["n"], 5);
        bits("plain")["value"] == bits("bos")["value"]
    };
    assert!(runs(), "{} and {}", bits("plain"), bits("bos"));
    // EOS stands before a text where there is no BOS.
    let without = |config: &str, key: &str| {
        let lines = config.lines().filter(|line| !line.contains(key)).map(|line| format!("{line}\n"));
        lines.collect::<String>()
    };
    let only_eos = without(&space.read("plain/config.json"), "bos_token_id");
    space.write("plain/config.json", only_eos.as_bytes());
    assert!(!runs(), "another token is another text before it");
    // Where neither is known, the first token would be free.
    let neither = without(&only_eos, "eos_token_id");
    space.write("plain/config.json", neither.as_bytes());
    let said = space.studbook(&["check", "plan.toml"]).exits(2);
    said.complains("`plain` cannot be measured by `perplexity`")
        .complains("`bos_token_id` or `eos_token_id`");
    // An end that cannot be read is not taken for none.
    let unread = neither.replacen('{', "{\n\"eos_token_id\": [257, null],", 1);
    space.write("plain/config.json", unread.as_bytes());
    let said = space.studbook(&["check", "plan.toml"]).exits(2);
    said.complains("plain/config.json has eos_token_id [257,null]; expected an id");
}

/// Where the search for the tokenizer's pattern is given up, the rest of the text would have other ids.
#[test]
fn a_text_that_is_not_searched_to_its_end_is_not_measured() {
    let space = Space::empty();
    space.write("plan.toml", READERS.as_bytes());
    space.write("bos.slm", &model(&config(), "one", DType::F32));
    for name in ["bos", "plain"] {
        space.studbook(&["convert", "bos.slm", name, "--to", "hugging-face"]).exits(0);
    }
    let mut file: serde_json::Value = serde_json::from_str(&space.read("plain/tokenizer.json")).unwrap();
    let split = serde_json::json!({ "type": "Split", "pattern": { "Regex": "(?:a|a)*(?=(a))\\1c|-" },
        "behavior": "Removed", "invert": false });
    let bytes = file["pre_tokenizer"].take();
    file["pre_tokenizer"] = serde_json::json!({ "type": "Sequence", "pretokenizers": [split, bytes] });
    space.write("plain/tokenizer.json", file.to_string().as_bytes());
    space.write("texts.jsonl", (texts(4) + "{\"id\":\"short\",\"text\":\"-aaaa-b-b\"}\n").as_bytes());
    space.studbook(&["run", "plan.toml"]).exits(0).says(" 0 failed");
    let long = format!("{{\"id\":\"long\",\"text\":\"-{}-b-b\"}}\n", "a".repeat(30));
    space.write("texts.jsonl", (texts(4) + &long).as_bytes());
    let said = space.studbook(&["run", "plan.toml"]);
    assert_ne!(said.code, Some(0), "{}", said.out);
    assert!((said.out.clone() + &said.err).contains("the text cannot be cut into tokens"), "{said:?}");
    // A prompt that has not surely room is looked at before anything runs.
    let prompt = format!("{{\"id\":\"long\",\"prompt\":\"-{}-b-b\",\"expected\":\"1\"}}\n", "a".repeat(44));
    space.write("asked.jsonl", prompt.as_bytes());
    let suite = "[[eval]]\nname = \"asked\"\nkind = \"exact_match\"\ncases = \"asked.jsonl\"\nmax_tokens = 2\n[[gate]]";
    space.write("plan.toml", READERS.replacen("[[gate]]", suite, 1).as_bytes());
    space.studbook(&["check", "plan.toml"]).exits(2).complains("asked.jsonl:1: `plain` cannot read the case");
}
