//! What is said of a model's quality, where, and what it rests on.

use crate::evaluate::{choices, declare_trained, texts};
use crate::space::{OBJECTIVES, PLAN, Space};

/// The plan with gates that ask for quality (`some`) and gates that do not: a budget, a distance from itself
/// in f32, a demand that everybody meets. All of them are passed.
fn graded() -> Space {
    let space = Space::new();
    space.write("choices.jsonl", choices(70).as_bytes());
    space.write("texts.jsonl", texts(4).as_bytes());
    space.write("loads.jsonl", b"{\"id\":\"chat\",\"prompt_tokens\":8,\"new_tokens\":4}\n");
    let mut evals = String::new();
    for (suite, kind, cases) in [
        ("choices", "multiple_choice", "choices"),
        ("rounding", "quantization_delta", "texts"),
        ("phone", "resource", "loads"),
    ] {
        evals += &format!("[[eval]]\nname = \"{suite}\"\nkind = \"{kind}\"\ncases = \"{cases}.jsonl\"\n\n");
    }
    for (gate, metric, suite, demand) in [
        ("some", "accuracy", "choices", "min = 0.05"),
        ("near", "kl_divergence", "rounding", "max = 1.0"),
        ("fits", "memory_bytes", "phone", "max = 1000000"),
        ("idle", "accuracy", "choices", "min = 0.0"),
        ("surely-idle", "accuracy_norm", "choices", "min = 0.0\nconfidence = 0.95"),
    ] {
        evals += &format!(
            "[[gate]]\nname = \"{gate}\"\nkind = \"metric\"\nmetric = \"{metric}\"\nsuites = [\"{suite}\"]\n{demand}\n\n"
        );
    }
    let review = "[review]\nobjectives = [\"digits\"]";
    space.write(
        "plan.toml",
        PLAN.replacen("[review]", &(evals + review), 1).replacen(OBJECTIVES, "", 1).as_bytes(),
    );
    space
}

#[test]
fn quality_is_claimed_only_of_what_passed_a_gate_on_a_bound_suite() {
    let space = graded();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let body = |name: &str| -> serde_json::Value {
        serde_json::from_str::<serde_json::Value>(&space.read(&format!(".studbook/runs/tiny/{name}.json")))
            .unwrap()["body"]
            .clone()
    };
    // `average` passed `some` on `choices`; nobody declared that its parents were trained.
    let claims = &body("09-admission/average")["claims"];
    assert_eq!(claims["quality_claim"], "passed-gates-on-bound-suites");
    assert_eq!(claims["trained_quality_claim"], "not-claimed");
    // The manifest was bound before anything was measured, and a refused candidate was only run.
    for only_run in [&body("05-candidate/average")["claims"], &body("09-admission/tasks")["claims"]] {
        assert_eq!(only_run["quality_claim"], "runtime-execution-smoke-only");
        assert_eq!(only_run["trained_quality_claim"], "not-claimed");
    }
}

#[test]
fn gates_that_ask_for_no_quality_are_no_ground_for_a_claim() {
    let space = graded();
    space.edit("plan.toml", "min = 0.05", "min = 0.0");
    declare_trained(&space, "a text\n");
    space.studbook(&["check", "plan.toml"]).exits(0).complains("every model has at least 0 of `accuracy`");
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let body = |name: &str| -> serde_json::Value {
        serde_json::from_str::<serde_json::Value>(&space.read(&format!(".studbook/runs/tiny/{name}.json")))
            .unwrap()["body"]
            .clone()
    };
    // Everything was passed: also `no-worse`, by being as wrong on every case as the parents are.
    let gates = body("08-promotion/average")["gates"].as_array().unwrap().clone();
    assert!(gates.iter().all(|gate| gate["state"] == "passed"), "{gates:?}");
    assert!(gates.iter().any(|gate| gate["finding"].as_str().unwrap().contains("exact_match 0.000")));
    let admission = body("09-admission/average");
    assert_eq!(admission["admitted"], true);
    assert_eq!(admission["claims"]["quality_claim"], "runtime-execution-smoke-only");
    assert_eq!(admission["claims"]["trained_quality_claim"], "not-claimed");
    space.studbook(&["verify", "plan.toml"]).exits(0).says(", 0 failed");
}

/// Every claim about quality in a document, and what stands under it.
fn claims(value: &serde_json::Value, found: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(members) => {
            for (key, member) in members {
                match member.as_str().filter(|_| key.ends_with("quality_claim")) {
                    Some(words) => found.push((key.clone(), words.to_owned())),
                    None => claims(member, found),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| claims(item, found)),
        _ => {}
    }
}

#[test]
fn trained_quality_is_said_in_no_other_record_than_that_of_who_passed() {
    let space = graded();
    declare_trained(&space, "a text\n");
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let (mut seen, mut passed) = (0, Vec::new());
    for folder in [".studbook/runs/tiny", ".studbook/registry/tiny"] {
        for (name, bytes) in space.files(folder) {
            let Ok(document) = serde_json::from_slice::<serde_json::Value>(&bytes) else { continue };
            let mut found = Vec::new();
            claims(&document, &mut found);
            seen += found.len();
            let plain = |(key, words): &(String, String)| match key.as_str() {
                "quality_claim" => words == "runtime-execution-smoke-only",
                _ => words == "not-claimed",
            };
            if !found.iter().all(plain) {
                passed.push((name, found));
            }
        }
    }
    // Smoke runs, manifests, decisions and the selector's entry all say what may be said.
    assert!(seen > 15, "{seen}");
    let average: Vec<&str> = passed.iter().map(|(name, _)| name.as_str()).collect();
    assert!(average.contains(&"09-admission/average.json"), "{average:?}");
    for (name, found) in passed {
        // The registry shows the promotion under its digest.
        assert!(name.contains("average") || name.starts_with("records/"), "{name}: {found:?}");
        for (key, words) in found {
            let expected = match key.as_str() {
                "quality_claim" => "passed-gates-on-bound-suites",
                _ => "passed-gates: some",
            };
            assert_eq!(words, expected, "{name}");
        }
    }
    // What a browser is offered never says more than that it runs.
    let selector = space.read(".studbook/registry/tiny/selector.json");
    assert!(selector.contains("\"trained_quality_claim\":\"not-claimed\""), "{selector}");
    assert!(!selector.contains("passed-gates"), "{selector}");
}
