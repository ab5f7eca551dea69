//! Looking ahead: what would run and why, which gates wait, and not one byte written.

use std::collections::BTreeSet;

use crate::space::{Said, Space};

/// The names of stages with this state, from `plan --format json`.
fn in_state(plan: &Said, state: &str) -> BTreeSet<String> {
    let stages = plan.json()["stages"].as_array().unwrap().clone();
    let named = stages.iter().filter(|stage| stage["state"] == state);
    named.map(|stage| stage["stage"].as_str().unwrap().to_owned()).collect()
}

fn reason_of(plan: &Said, stage: &str) -> String {
    let stages = plan.json()["stages"].as_array().unwrap().clone();
    let found = stages.iter().find(|row| row["stage"] == stage).unwrap_or_else(|| panic!("no {stage}"));
    found["reason"].as_str().unwrap_or_else(|| panic!("{found}")).to_owned()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn gates(plan: &Said) -> Vec<(String, String, String)> {
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_owned();
    let rows = plan.json()["pending_gates"].as_array().unwrap().clone();
    rows.iter().map(|row| (text(row, "candidate"), text(row, "gate"), text(row, "command"))).collect()
}

#[test]
fn before_any_run_only_sources_are_ready_and_every_gate_waits() {
    let space = Space::new();
    let before = space.files("");
    let plan = space.studbook(&["plan", "plan.toml", "--format", "json"]).exits(0);
    let would_run = in_state(&plan, "would_run");
    for source in ["source:base", "source:one", "source:two", "source:three"] {
        assert!(would_run.contains(source), "{would_run:?}");
        assert_eq!(reason_of(&plan, source), "never run");
    }
    // Operators depend on their parents' bytes alone, which are known; nothing else is.
    let rest: Vec<_> = would_run.iter().filter(|name| !name.starts_with("source:")).collect();
    assert!(rest.iter().all(|name| name.starts_with("operator:")), "{rest:?}");
    let all = plan.json()["stages"].as_array().unwrap().len();
    assert_eq!(would_run.len() + in_state(&plan, "depends").len(), all);
    let run = "studbook run plan.toml";
    let row = |candidate: &str, gate: &str, command: &str| {
        (candidate.to_owned(), gate.to_owned(), command.to_owned())
    };
    assert_eq!(
        gates(&plan),
        [
            row("average", "size", run),
            row("average", "no-worse", run),
            row("tasks", "size", run),
            row("tasks", "quality", run),
            row("tasks", "no-worse", run),
            row("ties", "size", run),
            row("ties", "no-worse", run),
            row("ties", "release", "studbook attest plan.toml ties --gate release --by NAME"),
        ]
    );
    let text = space.studbook(&["plan", "plan.toml"]).exits(0);
    let text = text.says(&format!("{all} stages, 0 cached, {} would run", would_run.len()));
    text.says("never run").says("Pending gates:").says("artifact_bytes <= 100000");
    assert_eq!(space.files(""), before);
    assert!(!space.path(".studbook").exists());
}

#[test]
fn after_a_run_all_is_cached_but_the_one_approval() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml"]).exits(3);
    let before = space.files("");
    let plan = space.studbook(&["plan", "plan.toml", "--format", "json"]).exits(0);
    let all = plan.json()["stages"].as_array().unwrap().len();
    assert_eq!(in_state(&plan, "pending"), names(&["admission:ties"]));
    assert_eq!(in_state(&plan, "cached").len(), all - 1);
    let attest = "studbook attest plan.toml ties --gate release --by NAME";
    assert_eq!(gates(&plan), [("ties".to_owned(), "release".to_owned(), attest.to_owned())]);
    space
        .studbook(&["plan", "plan.toml"])
        .exits(0)
        .says(&format!("{} cached, 0 would run, 0 depend", all - 1))
        .says("an approval: fit to be released")
        .says(attest);
    for looking in ["check", "status", "graph"] {
        space.studbook(&[looking, "plan.toml"]).exits(0);
    }
    assert_eq!(space.files(""), before, "looking writes nothing");
}

/// However the plan is called, what is printed is what a shell takes.
#[test]
fn the_command_of_a_gate_can_be_pasted() {
    for name in ["my plan's $1.toml", "-plan.toml"] {
        let space = Space::new();
        std::fs::copy(space.path("plan.toml"), space.path(name)).unwrap();
        space.studbook(&["run", "--", name]).exits(3);
        let waiting = gates(&space.studbook(&["plan", "--format", "json", "--", name]).exits(0));
        let [(_, _, command)] = &waiting[..] else { panic!("{waiting:?}") };
        let binary = env!("CARGO_BIN_EXE_studbook");
        let typed = command.replacen("studbook", binary, 1).replace("NAME", "ada");
        crate::space::said(&mut space.in_shell(&typed)).exits(0).says("Go on with: studbook run ");
        space.studbook(&["run", "--", name]).exits(0);
    }
}

/// The folders that were named are named again, but for those that a variable says.
#[test]
fn a_printed_command_is_of_the_same_store() {
    let space = Space::new();
    let run = ["run", "plan.toml", "--store", "my store", "--keys", "k"];
    let command = "studbook attest plan.toml --store 'my store' --keys k ties --gate release --by NAME";
    space.studbook(&run).exits(3).says(command);
    let typed = command.replacen("studbook", env!("CARGO_BIN_EXE_studbook"), 1).replace("NAME", "ada");
    let said = crate::space::said(&mut space.in_shell(&typed)).exits(0);
    said.says("Go on with: studbook run plan.toml --store 'my store' --keys k");
    assert!(!space.path(".studbook").exists());
    let mut plan = space.command(&["plan", "plan.toml"]);
    let said = crate::space::said(plan.env("STUDBOOK_STORE", "other")).exits(0);
    said.says("studbook attest plan.toml ties --gate release");
}

#[test]
fn after_an_edit_exactly_the_changed_stages_would_run() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml"]).exits(3);
    space.edit("plan.toml", "lambda = 0.5", "lambda = 0.25");
    let before = space.files("");
    let plan = space.studbook(&["plan", "plan.toml", "--format", "json"]).exits(0);
    assert_eq!(in_state(&plan, "would_run"), names(&["lineage:tasks", "operator:tasks"]));
    let why = "param.operator.parameters.lambda: 0.5 -> 0.25";
    assert_eq!(reason_of(&plan, "operator:tasks"), why);
    assert_eq!(reason_of(&plan, "lineage:tasks"), why);
    assert_eq!(
        in_state(&plan, "depends"),
        names(&[
            "admission:tasks",
            "candidate:tasks",
            "eval:tasks.digits",
            "ledger:admissions",
            "ledger:plan",
            "promotion:tasks",
            "recipe:tiny",
            "registry:tiny",
            "review:tiny",
            "smoke:tasks",
        ])
    );
    space.studbook(&["plan", "plan.toml"]).exits(0).says(why);
    assert_eq!(space.files(""), before);
    // And a run does what was said, no more.
    let report = space.studbook(&["run", "plan.toml", "--format", "json"]).exits(3).json();
    assert_eq!(report["executed"], 12);
}

#[test]
fn an_edited_parent_is_named_by_its_digest() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml"]).exits(3);
    let other = crate::space::model(&crate::space::config(), "other", studbook::tensor::dtype::DType::Q8_0);
    space.write("three.slm", &other);
    let plan = space.studbook(&["plan", "plan.toml", "--format", "json"]).exits(0);
    assert!(reason_of(&plan, "source:three").starts_with("input.model: "), "{}", plan.out);
    let would_run = in_state(&plan, "would_run");
    assert_eq!(would_run, names(&["operator:average", "operator:ties", "source:three"]));
}

#[test]
fn why_prints_exactly_the_fields_that_differ() {
    let space = Space::new();
    let never = space.studbook(&["why", "plan.toml", "operator:tasks"]).exits(0);
    never.says("operator:tasks would run: never run").says("its key is made of:").says("lambda: 0.5");
    space.studbook(&["run", "plan.toml"]).exits(3);
    let cached =
        space.studbook(&["why", "plan.toml", "operator:tasks"]).exits(0).says("operator:tasks is cached");
    assert!(!cached.out.contains("->"), "{}", cached.out);
    space.studbook(&["why", "plan.toml", "admission:ties"]).exits(0).says("waits for promotion:ties");

    space.edit("plan.toml", "lambda = 0.5", "lambda = 0.25");
    let why = space.studbook(&["why", "plan.toml", "operator:tasks"]).exits(0);
    let changed: Vec<_> = why.out.lines().filter(|line| line.contains("->")).collect();
    let line = "param.operator.parameters.lambda: 0.5 -> 0.25";
    assert_eq!(changed, [format!("operator:tasks would run: {line}"), format!("    {line}")]);
    let keys: Vec<_> = why.out.lines().filter(|line| line.contains("key")).collect();
    assert_eq!(keys.len(), 2, "the key now and the key before");
    space.studbook(&["why", "plan.toml", "operator:average"]).exits(0).says("operator:average is cached");
    let json = space.studbook(&["why", "plan.toml", "operator:tasks", "--format", "json"]).exits(0).json();
    let differences = json["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 1);
    assert_eq!(differences[0]["field"], "param.operator.parameters.lambda");
    assert_eq!([&differences[0]["before"], &differences[0]["now"]], ["0.5", "0.25"]);
    assert_ne!(json["key"], json["last_key"]);
}
