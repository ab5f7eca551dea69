//! `[licences]`: which may meet in a child.

use crate::space::{PLAN, Space};

fn space(policy: &str) -> Space {
    let space = Space::new();
    let licensed = PLAN
        .replace("source = \"one.slm\"", "source = \"one.slm\"\nlicence = \"MIT\"")
        .replace("source = \"two.slm\"", "source = \"two.slm\"\nlicence = \"GPL-2.0-only\"")
        .replace("source = \"three.slm\"", "source = \"three.slm\"\nlicence = \"Apache-2.0\"");
    space.write("plan.toml", format!("{licensed}\n[licences]\n{policy}\n").as_bytes());
    space
}

fn outcomes(space: &Space) -> Vec<(String, String)> {
    let report = space.studbook(&["run", "plan.toml", "--format", "json"]).json();
    let row = |row: &serde_json::Value| {
        let word = |name: &str| row[name].as_str().unwrap().to_owned();
        (word("outcome"), word("because"))
    };
    report["candidates"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn a_child_of_licences_that_may_not_meet_is_refused_before_it_is_made() {
    let space = space("forbid = [[\"GPL-2.0-only\", \"Apache-2.0\"]]");
    let found = outcomes(&space);
    let why = "the plan forbids that GPL-2.0-only (`two`) and Apache-2.0 (`three`) meet in one child";
    assert!(found[0].0 == "refused" && found[0].1.contains(why), "{found:?}");
    assert!(found[2].0 == "refused" && found[2].1.contains(why), "{found:?}");
    assert!(!found[1].1.contains("forbids"), "tasks has no parent under Apache-2.0: {found:?}");
    assert!(!space.path(".studbook/runs/tiny/04-operator/average.json").exists());
    let manifest = space.read(".studbook/runs/tiny/05-candidate/tasks.json");
    assert!(manifest.contains("\"licences\":[\"GPL-2.0-only\",\"MIT\"]"), "{manifest}");
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

#[test]
fn what_is_not_known_is_refused_if_the_plan_says_so() {
    // The base declares nothing.
    let strict = space("undeclared = \"refuse\"");
    let found = outcomes(&strict);
    assert!(found[1].0 == "refused" && found[1].1.contains("`base` declares no licence"), "{found:?}");
    let listed = space("allow = [\"MIT\", \"Apache-2.0\"]");
    let found = outcomes(&listed);
    assert!(
        found[0].1.contains("`two` is under \"GPL-2.0-only\", which the plan does not allow"),
        "{found:?}"
    );
}

#[test]
fn mistakes_have_a_place() {
    let space = space("forbid = [[\"MIT\", \"MIT\"], [], 3]\nundeclared = \"refus\"\nallowed = []");
    let said = space.studbook(&["check", "plan.toml"]).exits(2);
    said.complains("a licence is named twice")
        .complains("a combination of no licences")
        .complains("did you mean `refuse`?")
        .complains("allowed");
}
