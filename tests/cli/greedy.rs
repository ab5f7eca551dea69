//! Greedy soups: trials are stages like any other.

use crate::space::{PLAN, Space};

fn space() -> Space {
    let space = Space::new();
    let soups = "[candidates.soup]\noperator = \"soup\"\nparents = [\"one\", \"two\", \"three\"]\n\
        weighting = \"greedy\"\nmetric = \"exact_match\"\nsuite = \"choose\"\n\n\
        [candidates.even]\noperator = \"soup\"\nparents = [\"one\", \"two\", \"three\"]\n\
        weighting = \"uniform\"\n\n[smoke]";
    let suite = "[[eval]]\nname = \"choose\"\nkind = \"exact_match\"\ncases = \"choose.jsonl\"\n\n[review]";
    let plan = PLAN.replace("[smoke]", soups).replace("[review]", suite);
    space.write("plan.toml", plan.as_bytes());
    let case = |i: u32| format!("{{\"id\":\"c{i}\",\"prompt\":\"q{i}=\",\"expected\":\"{i}\"}}\n");
    space.write("choose.jsonl", (0..4).map(case).collect::<String>().as_bytes());
    space
}

#[test]
fn a_greedy_soup_tries_every_parent_once_and_says_so() {
    let space = space();
    // Known in advance: one trial less than there are parents.
    let said = space.studbook(&["plan", "plan.toml"]).exits(0).says("operator:soup+trial-1");
    let said = said.says("eval:soup+trial-2.choose");
    assert!(!said.out.contains("trial-3"), "{}", said.out);
    space.studbook(&["graph", "plan.toml", "--format", "dot"]).exits(0).says("soup+trial-2");
    space.studbook(&["run", "plan.toml"]).exits(3);
    space.studbook(&["run", "plan.toml"]).exits(3).says("0 executed");
    space.studbook(&["why", "plan.toml", "operator:soup+trial-2"]).exits(0).says("is cached");

    // These models know nothing, so no average is worse than another, and everybody stays.
    let receipt: serde_json::Value =
        serde_json::from_str(&space.read(".studbook/runs/tiny/04-operator/soup.json")).unwrap();
    let selection = &receipt["body"]["selection"];
    let added: Vec<_> = selection["trials"].as_array().unwrap().iter().map(|t| &t["added"]).collect();
    assert_eq!(added, ["two", "three"], "{selection}");
    assert!(selection["trials"].as_array().unwrap().iter().all(|trial| trial["kept"] == true));
    assert_eq!((&selection["suite"], &selection["metric"]), (&"choose".into(), &"exact_match".into()));
    let artifact = |name: &str| space.files(".studbook/runs/tiny/04-operator")[name].clone();
    assert!(artifact("soup.slm") == artifact("even.slm"), "the equal average of those that stayed");
    let lineage = space.read(".studbook/runs/tiny/03-lineage/soup.json");
    assert!(lineage.contains("\"suite\":\"choose\""), "{lineage}");

    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0).says("operator:soup+trial-1");
    // Another choice is another soup; nothing else is made again.
    space.edit("choose.jsonl", "q0=", "r0=");
    space.studbook(&["why", "plan.toml", "eval:one.choose"]).exits(0).says("input.suite");
}

#[test]
fn trials_count_and_gates_have_other_cases() {
    let space = space();
    space.edit("plan.toml", "disk = \"8 MiB\"", "disk = \"20 kB\"");
    space.studbook(&["check", "plan.toml"]).exits(2).complains("trial soups included");
    space.edit("plan.toml", "disk = \"20 kB\"", "disk = \"8 MiB\"");
    space.edit("plan.toml", "suite = \"choose\"", "suite = \"digits\"");
    space.studbook(&["check", "plan.toml"]).exits(2).complains("are chosen by the cases of a gate");
}
