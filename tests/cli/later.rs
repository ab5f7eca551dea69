//! What is taken back or lost after a decision: who was refused stays refused for what it was, and what is gone is not
//! forgotten.

use serde_json::json;
use studbook::base::digest::Sha256;
use studbook::store::Verdict;

use crate::forged::replace_record;
use crate::lineage::{object_of, two_cycles};
use crate::space::{Said, Space};
use crate::verify::{actions_with, done, forge};

/// Takes something of the cycle back and runs the plan.
fn revoke(space: &Space, what: &str) -> Said {
    space.studbook(&["revoke", what, "--plan", "plan.toml", "--reason", "bad"]).exits(0);
    space.studbook(&["run", "plan.toml"])
}

fn file(space: &Space, name: &str) -> String {
    Sha256::of(&std::fs::read(space.path(name)).unwrap()).to_hex()
}

/// Whatever is taken back first, and whichever is the nearer cause.
#[test]
fn who_was_refused_for_one_cause_is_not_refused_for_a_later_one() {
    let [one, two, suite, average] = ["one.slm", "two.slm", "suite.jsonl", "tiny/average"];
    let pairs = [(one, average), (two, one), (one, two), (suite, average), (suite, one), (one, suite)];
    for (first, second) in pairs.into_iter().chain([(average, suite)]) {
        let space = done();
        let digest = |what: &str| if what == average { what.to_owned() } else { file(&space, what) };
        revoke(&space, &digest(first));
        space.studbook(&["verify", "plan.toml"]).exits(0);
        // Whose parents cannot be used has no decision that is shown.
        let shown = space.path(".studbook/runs/tiny/09-admission/average.json");
        let refusal = std::fs::read(&shown).ok();
        assert_eq!(refusal.is_some(), !first.ends_with(".slm"));
        let code = revoke(&space, &digest(second)).code;
        assert!([first, second].iter().any(|what| what.ends_with(".slm")) || code == Some(0), "{code:?}");
        space.studbook(&["verify", "plan.toml"]).exits(0).says(", 0 failed");
        if !second.ends_with(".slm") {
            assert_eq!(std::fs::read(&shown).ok(), refusal, "{first} then {second}");
        }
    }
}

/// The same bytes in another cycle, taken back there first and here later.
#[test]
fn the_refusal_of_bytes_that_were_taken_back_elsewhere_outlives_a_nearer_cause() {
    let space = done();
    space.write("other.toml", space.read("plan.toml").replace("\"tiny\"", "\"other\"").as_bytes());
    space.studbook(&["run", "other.toml", "--quiet"]).exits(3);
    let revoke =
        |plan: &str| space.studbook(&["revoke", "average", "--plan", plan, "--reason", "bad"]).exits(0);
    revoke("other.toml");
    space.studbook(&["run", "plan.toml"]).exits(3).says("its bytes are those of other/average");
    revoke("plan.toml");
    space.studbook(&["run", "plan.toml"]).exits(3).says("its bytes are those of other/average");
    let said = space.studbook(&["verify", "plan.toml"]).exits(0);
    said.says("promotion:average: derived again from the first ").says(", 0 failed");
}

/// Nor does it stand in the way of a refusal that a run was stopped before it could enter.
#[test]
fn a_refusal_that_is_not_entered_yet_outlives_a_nearer_cause() {
    let space = done();
    let revoke = |what: &str| {
        space.studbook(&["revoke", what, "--plan", "plan.toml", "--reason", "bad"]).exits(0);
    };
    revoke(&file(&space, "suite.jsonl"));
    let ledger = space.read(".studbook/ledger/checkpoint");
    let mut stopped = space.command(&["run", "plan.toml"]);
    let stopped = stopped.env("STUDBOOK_FAULT", "ledger-entry-written:1:kill").output().unwrap();
    assert!(!stopped.status.success());
    assert_eq!(space.read(".studbook/ledger/checkpoint"), ledger, "nothing was entered");
    revoke("tiny/average");
    space.studbook(&["run", "plan.toml"]).exits(0).says("not-revoked: it was measured on suite");
    space.studbook(&["verify", "plan.toml"]).exits(0).says(", 0 failed");
}

/// No cause that did not reach somebody refuses him, whatever was taken back at some time.
#[test]
fn the_threat_of_a_refusal_for_what_was_taken_back_of_others() {
    let space = done();
    let tasks = space.studbook(&["revoke", "tasks", "--plan", "plan.toml", "--reason", "bad"]).exits(0);
    tasks.says("by ledger entry 3");
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let entered = space.studbook(&["ledger", "log", "--format", "json"]).exits(0).json();
    let (subject, ledger) = (&entered[3]["subject"], space.read(".studbook/ledger/checkpoint"));
    let finding =
        format!("it is the candidate {}, which ledger entry 3 revokes", &subject.as_str().unwrap()[..12]);
    replace_record(&space, "08-promotion/ties.json", |body| {
        let closed = json!({
            "gate": "not-revoked", "state": "failed", "finding": finding, "evidence": [subject],
        });
        body["gates"].as_array_mut().unwrap().push(closed);
        body["decision"] = json!("refuse");
    });
    let waits = |result: &studbook::store::ActionResult| matches!(result.verdict, Verdict::Wait(_));
    let (name, mut result) = actions_with(&space, "record").into_iter().find(|(_, it)| waits(it)).unwrap();
    let told = format!("not-revoked: {finding}");
    (result.verdict, result.summary) = (Verdict::Reject(vec![told.clone()]), told);
    forge(&space, &name, &result);
    let said = space.studbook(&["run", "plan.toml", "--quiet"]).exits(4);
    said.complains("promotion:ties does not follow from its evidence");
    assert_eq!(space.read(".studbook/ledger/checkpoint"), ledger, "nothing was entered");
    space.studbook(&["verify", "plan.toml"]).exits(4).says("FAIL  promotion:ties: derived again");
}

/// A run that fails mends nothing: what was lost before it is lost after it, and no plan is entered for want of it.
#[test]
fn a_failing_run_does_not_hide_what_is_lost() {
    let space = two_cycles();
    std::fs::remove_file(space.path(&object_of(&space, "tiny/03-lineage/average.json"))).unwrap();
    let unrelated = Sha256::of(b"unrelated").to_hex();
    space.studbook(&["revoke", &unrelated, "--plan", "second.toml", "--reason", "r"]).exits(0);
    let lost = || {
        let found = space.studbook(&["verify", "second.toml"]).exits(4);
        found.says("FAIL  source:average: nobody can tell whether it still holds: the lineage template");
    };
    lost();
    let plan = space.studbook(&["plan", "second.toml"]).exits(0);
    plan.says("would run  nobody can tell whether its result still holds: the lineage template ");
    let ledger = space.read(".studbook/ledger/checkpoint");
    for _ in 0..2 {
        let said = space.studbook(&["run", "second.toml", "--quiet"]).exits(4);
        said.complains("the lineage template").complains("cannot be read in this store");
        assert_eq!(space.read(".studbook/ledger/checkpoint"), ledger, "nothing was entered");
        lost();
        assert!(!space.read(".studbook/registry/second/selector.json").contains("child"));
    }
    // What it says to do works.
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space.studbook(&["run", "second.toml", "--quiet"]).exits(0);
    space.studbook(&["verify", "second.toml"]).exits(0);
}

/// Whose lineage is lost is no root, and taking something back closes him for good; what is said to do helps.
#[test]
fn a_pedigree_that_is_cut_is_told_as_one() {
    let space = two_cycles();
    let shown = |format: &str| space.studbook(&["lineage", "second/child", "--format", format]).exits(0);
    assert!(!shown("text").out.contains("not known") && !shown("mermaid").out.contains("not known"));
    std::fs::remove_file(space.path(&object_of(&space, "tiny/03-lineage/average.json"))).unwrap();
    shown("text").says("[admitted]  whom it comes from is not known: its lineage template ");
    shown("mermaid").says("<br>admitted<br>whom it comes from is not known");
    let cut = &shown("json").json()["parents"][0]["cut"];
    assert!(cut.as_str().unwrap().ends_with(" cannot be read in this store"), "{cut}");
    let unrelated = Sha256::of(b"unrelated").to_hex();
    let said = space.studbook(&["revoke", &unrelated, "--plan", "plan.toml", "--reason", "r"]).exits(0);
    assert!(!said.out.contains("put it back"), "{}", said.out);
    let said = said.says("cannot be read in this store, so nobody can tell whether this reaches it");
    said.complains("run the plan to have the record back, then edit it ");
    space.studbook(&["run", "plan.toml"]).exits(3).says("not-revoked: it was admitted by record");
    space.edit("plan.toml", "seconds = 600", "seconds = 601");
    space.studbook(&["run", "plan.toml"]).exits(3).says("average    admitted");
}

/// What wrote a pool is evidence like any other.
#[test]
fn a_pool_whose_recipe_is_lost_is_no_mistake_of_the_plan() {
    let space = two_cycles();
    let pool = ".studbook/runs/tiny/12-recipe/pool.toml";
    let (kept, wrote) = (space.read(pool), actions_with(&space, "pool"));
    let is_it = |result: &studbook::store::ActionResult| {
        result.outputs["pool"].digest == studbook::base::digest::Digest::of(kept.as_bytes())
    };
    for (name, _) in wrote.iter().filter(|(_, result)| is_it(result)) {
        std::fs::remove_file(space.path(&format!(".studbook/actions/{name}"))).unwrap();
    }
    let lost = "what recipe:tiny made is lost, and with it what says that the pool is as its cycle wrote it";
    for command in ["check", "plan", "run", "status"] {
        space.studbook(&[command, "second.toml"]).exits(4).complains(lost);
    }
    space.studbook(&["verify", "second.toml"]).exits(4).says("FAIL  parent: ").says(lost);
    // What it says to do works, and a pool that somebody edited is his mistake.
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space.studbook(&["verify", "second.toml"]).exits(0);
    space.write("pool.toml", kept.replace("rank = 0", "rank = 1").as_bytes());
    space.edit("second.toml", pool, "pool.toml");
    space.studbook(&["check", "second.toml"]).exits(2).complains("no cycle of this store wrote the pool");
}
