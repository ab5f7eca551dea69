//! lm-evaluation-harness beside us, on one model: its results are taken in, and ours are the same.
//!
//! `tests/fixtures/lm_eval_harness.py` made the model, asked the harness, and kept what it wrote;
//! `tests/fixtures/perplexity.py` read texts with it in windows, as Hugging Face documents perplexity.

use serde_json::Value;
use studbook::base::digest::{Digest, Sha256};

use crate::space::Space;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/lm_eval");

fn space() -> Space {
    let space = Space::empty();
    let plan = format!(
        r#"
[cycle]
name = "beside"
seed = "1"

[budget]
candidates = 2
artifact = "1 MiB"
disk = "1 MiB"
seconds = 600

[parents.tiny]
source = "{FIXTURES}/model"

[candidates.same]
operator = "passthrough"
parents = ["tiny"]

[candidates.other]
operator = "mutate"
parents = ["tiny"]

[smoke]
prompts = ["the quick"]
max_tokens = 4

[[eval]]
name = "choices"
kind = "multiple_choice"
cases = "{FIXTURES}/choices.jsonl"
use = "gate"
delimiter = " "

[[eval]]
name = "answers"
kind = "exact_match"
cases = "{FIXTURES}/answers.jsonl"
max_tokens = 6
stop = ["\n"]

[[eval]]
name = "theirs"
kind = "external"
task = "choices"
task_metric = "acc_norm"
task_version = "1"
harness_version = "{}"
num_fewshot = 0
use = "gate"

[[gate]]
name = "theirs"
kind = "metric"
metric = "external"
suites = ["theirs"]
versus = "tiny"

[[gate]]
name = "choices"
kind = "metric"
metric = "accuracy"
suites = ["choices"]
versus = "tiny"
"#,
        results()["lm_eval_version"].as_str().unwrap()
    );
    space.write("plan.toml", plan.as_bytes());
    space
}

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{FIXTURES}/{name}")).unwrap()
}

fn results() -> Value {
    serde_json::from_str(&read("results.json")).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sidecar(space: &Space, name: &str) -> Value {
    let text = space.read(&format!(".studbook/runs/beside/07-eval/{name}.json"));
    serde_json::from_str::<Value>(&text).unwrap()["body"].clone()
}

fn outcomes(space: &Space, name: &str) -> Vec<Value> {
    lines(&space.read(&format!(".studbook/runs/beside/07-eval/{name}.outcomes.jsonl")))
}

fn bring(space: &Space, model: &str, results: &str, samples: &str) -> crate::space::Said {
    space.write("results.json", results.as_bytes());
    space.write("samples.jsonl", samples.as_bytes());
    let brought = ["--suite", "theirs", "--results", "results.json", "--samples", "samples.jsonl"];
    space.studbook(&[&["attest", "plan.toml", model][..], &brought, &["--by", "ada"]].concat())
}

#[test]
fn what_the_harness_wrote_is_taken_in_and_only_of_its_model() {
    let space = space();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let (results, samples) = (read("results.json"), read("samples_choices.jsonl"));
    // Whose results are missing is said, and how to bring them: the candidate's, then its parent's.
    let pending = |space: &Space| space.studbook(&["plan", "plan.toml"]).exits(0);
    pending(&space).says("attest plan.toml same --suite theirs").says("missing: `same` on `theirs`");
    bring(&space, "same", &results, &samples).exits(0).says("40 samples of theirs");
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    pending(&space).says("attest plan.toml tiny --suite theirs").says("missing: `tiny` on `theirs`");
    bring(&space, "tiny", &results, &samples).exits(0).says("40 samples of theirs");
    let theirs = &self::results()["results"]["choices"]["acc_norm,none"];
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let found = sidecar(&space, "tiny.theirs");
    assert_eq!(
        (&found["metrics"]["external"]["value"], &found["metrics"]["external"]["n"]),
        (theirs, &40.into())
    );
    // Whoever is that model byte for byte was asked, too; nobody else was.
    let admission = space.read(".studbook/runs/beside/09-admission/same.json");
    assert!(admission.contains("\"admitted\":true"), "{admission}");
    bring(&space, "other", &results, &samples).exits(2).complains("the results are of the model");
    let short: String = samples.lines().skip(1).map(|line| format!("{line}\n")).collect();
    bring(&space, "tiny", &results, &short).exits(2).complains("hash to");
    let other = results.replace("\"lm_eval_version\": \"0", "\"lm_eval_version\": \"1");
    bring(&space, "tiny", &other, &samples).exits(2).complains("of lm-evaluation-harness");
}

#[test]
fn no_other_results_change_a_refusal() {
    let space = space();
    space.edit("plan.toml", "suites = [\"theirs\"]\nversus = \"tiny\"", "suites = [\"theirs\"]\nmin = 0.99");
    let (results, samples) = (read("results.json"), read("samples_choices.jsonl"));
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    bring(&space, "same", &results, &samples).exits(0);
    space.studbook(&["run", "plan.toml"]).exits(3).says("same       refused  theirs: ");
    let (other, others) = of_others();
    bring(&space, "same", &other, &others)
        .exits(2)
        .complains("`same` was refused; no other results change that");
}

/// The results of the same model, but of other documents after 25 examples.
fn of_others() -> (String, String) {
    let (mut results, mut samples) = (results(), lines(&read("samples_choices.jsonl")));
    results["n-shot"]["choices"] = 25.into();
    let mut hashes = String::new();
    for sample in &mut samples {
        sample["doc_hash"] = Sha256::of(sample["doc_hash"].as_str().unwrap().as_bytes()).to_string().into();
        hashes.extend(["doc_hash", "prompt_hash", "target_hash"].map(|name| sample[name].as_str().unwrap()));
    }
    results["task_hashes"]["choices"] = Sha256::of(hashes.as_bytes()).to_string().into();
    (results.to_string(), samples.iter().map(|sample| format!("{sample}\n")).collect())
}

#[test]
fn the_threat_of_a_comparison_of_models_that_were_asked_other_things() {
    let space = space();
    let (results, samples) = (read("results.json"), read("samples_choices.jsonl"));
    let (their_results, their_samples) = of_others();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    bring(&space, "same", &results, &samples).exits(0);
    bring(&space, "tiny", &their_results, &their_samples).exits(2).complains("of 25 shots of `choices`");
    space.edit("plan.toml", "num_fewshot = 0\n", "");
    for gate in ["", "\nconfidence = 0.95\nmargin = -0.9"] {
        let rule = "suites = [\"theirs\"]\nversus = \"tiny\"";
        space.edit("plan.toml", rule, &format!("{rule}{gate}"));
        space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
        bring(&space, "same", &results, &samples).exits(0);
        bring(&space, "tiny", &their_results, &their_samples).exits(0);
        space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
        let said = space.studbook(&["plan", "plan.toml"]).exits(0);
        said.says("waits for results that can be compared").says("attest plan.toml same --suite theirs");
        space.studbook(&["verify", "plan.toml"]).exits(0).says(", 0 failed");
        // Asked alike, they are compared.
        bring(&space, "tiny", &results, &samples).exits(0);
        space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
        let admission = space.read(".studbook/runs/beside/09-admission/same.json");
        assert!(admission.contains("\"admitted\":true"), "{admission}");
    }
}

#[test]
fn the_threat_of_samples_whose_answers_do_not_come_to_their_values() {
    let space = space();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let mut samples = lines(&read("samples_choices.jsonl"));
    let at = |value: f64| samples.iter().position(|sample| sample["acc_norm"] == value).unwrap();
    let (right, wrong) = (at(1.0), at(0.0));
    samples[right]["acc_norm"] = 0.0.into();
    samples[wrong]["acc_norm"] = 1.0.into();
    let swapped: String = samples.iter().map(|sample| format!("{sample}\n")).collect();
    let line = format!("line {} of the samples has the `acc_norm`", right.min(wrong) + 1);
    bring(&space, "tiny", &read("results.json"), &swapped).exits(2).complains(&line);
    let mut results = results();
    results["results"]["choices"]["acc_norm_stderr,none"] = 0.01.into();
    let samples = read("samples_choices.jsonl");
    bring(&space, "tiny", &results.to_string(), &samples).exits(2).complains("a standard error of 0.079");
    results.as_object_mut().unwrap().remove("task_hashes");
    bring(&space, "tiny", &results.to_string(), &samples).exits(2).complains("no `task_hashes`");
    let adapted = read("results.json").replace("dtype=float32", "dtype=float32,peft=/x/lora");
    bring(&space, "tiny", &adapted, &samples).exits(2).complains("measure the model itself, without `peft`");
}

#[test]
fn our_log_likelihoods_are_theirs() {
    let space = space();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let (ours, theirs) = (outcomes(&space, "tiny.choices"), lines(&read("samples_choices.jsonl")));
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours["id"], theirs["doc"]["id"]);
        let found = ours["log_likelihoods"].as_array().unwrap();
        let expected = theirs["filtered_resps"].as_array().unwrap();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            // The harness writes numbers as text.
            let number = |value: &Value| match value {
                Value::String(text) => text.parse().unwrap(),
                other => other.as_f64().unwrap(),
            };
            let (found, expected): (f64, f64) = (number(found), number(&expected[0]));
            assert!((found - expected).abs() < 1e-4, "{}: {found} against {expected}", ours["id"]);
        }
        assert_eq!(ours["correct"], theirs["acc"] == 1.0, "{}", ours["id"]);
        assert_eq!(ours["correct_norm"], theirs["acc_norm"] == 1.0, "{}", ours["id"]);
    }
    let (found, theirs) = (sidecar(&space, "tiny.choices"), &results()["results"]["choices"]);
    for (ours, metric) in [("accuracy", "acc,none"), ("accuracy_norm", "acc_norm,none")] {
        assert_eq!(found["metrics"][ours]["value"], theirs[metric], "{metric}");
    }
}

#[test]
fn our_answers_are_theirs() {
    let space = space();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let (ours, theirs) = (outcomes(&space, "tiny.answers"), lines(&read("samples_answers.jsonl")));
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours["id"], theirs["doc"]["id"]);
        assert_eq!(ours["output"], theirs["filtered_resps"][0], "{}", ours["id"]);
        assert_eq!(ours["correct"], theirs["exact_match"] == 1.0, "{}", ours["id"]);
    }
    let found = &sidecar(&space, "tiny.answers")["metrics"]["exact_match"]["value"];
    assert_eq!(*found, results()["results"]["answers"]["exact_match,none"]);
    assert!(found.as_f64().unwrap() >= 0.5, "half of the answers are the model's own");
    // The digest by which the harness knew the model is that of the files as they are.
    let source = space.read(".studbook/runs/beside/01-source/tiny.json");
    let weights = std::fs::read(format!("{FIXTURES}/model/model.safetensors")).unwrap();
    assert!(source.contains(&Digest::of(&weights).to_hex()));
}

#[test]
fn our_perplexities_are_those_of_transformers() {
    let space = space();
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/perplexity.json")).unwrap();
    let cases: String = fixture["cases"].as_array().unwrap().iter().map(|case| format!("{case}\n")).collect();
    space.write("texts.jsonl", cases.as_bytes());
    let cuts = fixture["cuts"].as_array().unwrap();
    let mut evals = String::new();
    for (at, cut) in cuts.iter().enumerate() {
        let (window, stride) = (&cut["window"], &cut["stride"]);
        evals += &format!(
            "[[eval]]\nname = \"texts-{at}\"\nkind = \"perplexity\"\ncases = \"texts.jsonl\"\n\
             window = {window}\nstride = {stride}\n\n"
        );
    }
    space.edit("plan.toml", "[[eval]]\nname = \"theirs\"", &format!("{evals}[[eval]]\nname = \"theirs\""));
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    for (at, cut) in cuts.iter().enumerate() {
        let ours = outcomes(&space, &format!("tiny.texts-{at}"));
        let (theirs, tokens) = (&cut["log_likelihoods"], &cut["tokens"]);
        for (row, ours) in ours.iter().enumerate() {
            assert_eq!(ours["tokens"], tokens[row]);
            let (found, expected) = (ours["log_likelihood"].as_f64().unwrap(), theirs[row].as_f64().unwrap());
            assert!((found / expected - 1.0).abs() < 1e-5, "{cut}: {found} against {expected}");
        }
        let found = &sidecar(&space, &format!("tiny.texts-{at}"))["metrics"]["token_perplexity"]["value"];
        let (found, expected) = (found.as_f64().unwrap(), cut["perplexity"].as_f64().unwrap());
        assert!((found / expected - 1.0).abs() < 1e-4, "{cut}: {found} against {expected}");
    }
}
