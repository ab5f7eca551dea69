//! Stopping and going on: what was finished is kept, and the end is the same.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::evaluate::declare_trained;
use crate::space::{PLAN, Space};

/// Forty candidates and questions enough to be interrupted.
fn long() -> Space {
    with_cases(64)
}

/// Forty candidates and so many questions.
fn with_cases(cases: u32) -> Space {
    let space = Space::new();
    let values: Vec<String> = (1..=40).map(|i| format!("{}", f64::from(i) / 50.0)).collect();
    let sweep = format!("sweep = {{ lambda = [{}] }}", values.join(", "));
    let plan = PLAN
        .replace("lambda = 0.5", &sweep)
        .replace("candidates = 8", "candidates = 64")
        .replace("max_tokens = 4\n\n[[gate]]", "max_tokens = 40\n\n[[gate]]");
    assert!(plan.contains("max_tokens = 40") && plan.contains("sweep") && plan.contains("= 64"));
    space.write("plan.toml", plan.as_bytes());
    let case = |i: u32| format!("{{\"id\":\"c{i}\",\"prompt\":\"p{i}=\",\"expected\":\"{i}\"}}\n");
    space.write("suite.jsonl", (0..cases).map(case).collect::<String>().as_bytes());
    space
}

/// Waits until the run log has this many lines.
fn wait_for_log(space: &Space, lines: usize, child: &mut Child) {
    let start = Instant::now();
    loop {
        let log = std::fs::read_to_string(space.path(".studbook/cycles/tiny/log")).unwrap_or_default();
        if log.lines().count() >= lines {
            return;
        }
        assert!(child.try_wait().unwrap().is_none(), "ended too early:\n{log}");
        assert!(start.elapsed() < Duration::from_secs(60), "nothing happens:\n{log}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn same_end(space: &Space, other: &Space) {
    for folder in [".studbook/runs", ".studbook/ledger", ".studbook/registry"] {
        let (ours, theirs) = (space.files(folder), other.files(folder));
        assert!(!ours.is_empty(), "{folder}");
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
        for (name, bytes) in &ours {
            assert!(theirs[name] == *bytes, "{folder}/{name} differs");
        }
    }
}

#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let space = long();
    let mut command = space.command(&["run", "plan.toml"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_log(&space, 12, &mut child);
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(130), "{out}");
    assert!(out.contains("Interrupted. Finished stages are kept; run the same command to go on."), "{out}");
    assert!(space.files(".studbook/tmp").is_empty(), "nothing half-written is left");

    let status = space.studbook(&["status", "plan.toml", "--format", "json"]).exits(0).json();
    let (done, stages) = (status["done"].as_u64().unwrap(), status["stages"].as_u64().unwrap());
    assert!((10..stages).contains(&done), "{done} of {stages}");
    space
        .studbook(&["status", "plan.toml"])
        .exits(0)
        .says(&format!("tiny: {done} of {stages} stages are done"))
        .says("Go on with: studbook run plan.toml");

    let report = space.studbook(&["run", "plan.toml", "--format", "json"]).exits(3).json();
    assert!(report["cached"].as_u64().unwrap() >= done, "{done}: {}", report["cached"]);
    let status = space.studbook(&["status", "plan.toml", "--format", "json"]).exits(0).json();
    let [done, waits] = ["done", "waits"].map(|key| status[key].as_u64().unwrap());
    assert!(waits > 0 && done + waits == stages, "{status}");
    let waiting = format!("{done} of {stages} stages are done, {waits} wait for evidence");
    space.studbook(&["status", "plan.toml"]).exits(0).says(&waiting);

    let undisturbed = long();
    undisturbed.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    same_end(&space, &undisturbed);
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

#[test]
fn a_used_up_budget_stops_and_the_next_run_goes_on() {
    // Nobody is done with these in a second, whatever the machine.
    let space = with_cases(1500);
    space.edit("plan.toml", "seconds = 600", "seconds = 1");
    let mut cached = 0;
    let mut stopped = 0;
    let code = loop {
        let said = space.studbook(&["run", "plan.toml", "--format", "json"]);
        let report = said.json();
        if report["stopped"].is_null() {
            break said.code;
        }
        assert_eq!(report["stopped"], "out of time");
        assert_eq!(said.code, Some(1), "{}", said.out);
        let now = report["cached"].as_u64().unwrap() + report["executed"].as_u64().unwrap();
        // On a slow machine a second may end within a suite: then its finished batches are what is kept.
        assert!(now >= cached, "nothing that was finished is lost");
        (cached, stopped) = (now, stopped + 1);
        assert!(stopped < 300);
    };
    assert!(stopped > 0, "all of it was done within a second");
    assert_eq!(code, Some(3));
    let undisturbed = with_cases(1500);
    // The limit is part of what is bound, so the one to compare with has it, too.
    undisturbed.edit("plan.toml", "seconds = 600", "seconds = 1");
    while undisturbed.studbook(&["run", "plan.toml", "--quiet"]).code == Some(1) {}
    same_end(&space, &undisturbed);
}

#[test]
fn fail_fast_starts_nothing_new() {
    // Evaluations look for their cases in the texts that parents were trained on, and these are others.
    let lost = || {
        let space = Space::new();
        declare_trained(&space, "a text");
        space.write("train.txt", b"another text");
        space
    };
    let space = lost();
    let said = space.studbook(&["run", "plan.toml", "--fail-fast", "--threads", "1", "--format", "json"]);
    let fast = said.exits(1).json();
    let slow = lost().studbook(&["run", "plan.toml", "--format", "json"]).exits(1).json();
    assert!(fast["executed"].as_u64() < slow["executed"].as_u64(), "{fast}\n{slow}");
}
