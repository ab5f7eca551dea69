//! Pedigrees over cycles, and what is taken back.

use serde_json::Value;

use crate::space::Space;

/// Two cycles: the second starts from the pool of the first.
pub(crate) fn two_cycles() -> Space {
    let space = Space::new();
    space.edit("plan.toml", "[recipe]\nparents = 2", "[recipe]\nparents = 1");
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let second = r#"
[cycle]
name = "second"
seed = "8"
output = "q8_0"

[budget]
candidates = 8
artifact = "1 MiB"
disk = "8 MiB"
seconds = 600

[parents.average]
from_recipe = ".studbook/runs/tiny/12-recipe/pool.toml"

[parents.three]
source = "three.slm"

[candidates.child]
operator = "blend"
parents = ["average", "three"]
weight = 1.0

[smoke]
prompts = ["ab"]
max_tokens = 4

[[gate]]
name = "size"
kind = "metric"
metric = "artifact_bytes"
max = 100000
"#;
    space.write("second.toml", second.as_bytes());
    space.studbook(&["run", "second.toml", "--quiet"]).exits(0);
    space
}

pub(crate) fn lineage(space: &Space, candidate: &str) -> Value {
    space.studbook(&["lineage", candidate, "--format", "json"]).exits(0).json()
}

/// Every command that takes a plan and something of it takes the plan first, and says so.
#[test]
fn the_plan_comes_first() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let right: [&[&str]; 4] = [
        &["lineage", "plan.toml", "average"],
        &["ledger", "prove", "plan.toml", "average"],
        &["why", "plan.toml", "operator:ties"],
        &["export", "plan.toml", "average", "--out", "d"],
    ];
    for right in right {
        space.studbook(right).exits(0);
        let at = right.iter().position(|word| *word == "plan.toml").unwrap();
        let mut turned = right.to_vec();
        turned.swap(at, at + 1);
        let order = right[..at + 2].join(" ");
        space
            .studbook(&turned)
            .exits(2)
            .complains(&format!("plan.toml is a plan and {} is none", right[at + 1]))
            .complains(&format!("the plan comes first: studbook {order}"));
    }
    space
        .studbook(&["attest", "ties", "plan.toml", "--gate", "release", "--by", "anna"])
        .exits(2)
        .complains("the plan comes first: studbook attest plan.toml ties");
    // The store that is here needs no plan; a plan alone is nobody.
    space.studbook(&["lineage", "average"]).exits(0);
    space.studbook(&["ledger", "prove", "average"]).exits(0);
    space
        .studbook(&["lineage", "plan.toml"])
        .exits(2)
        .complains("plan.toml is a plan, and no CANDIDATE is named")
        .complains("studbook lineage plan.toml CANDIDATE");
    let help = space.studbook(&["lineage", "--help"]).exits(0).out;
    assert!(help.contains("[PLAN] <CANDIDATE>"), "{help}");
}

#[test]
fn a_pedigree_goes_to_the_roots_over_all_cycles() {
    let space = two_cycles();
    let child = lineage(&space, "child");
    assert_eq!((child["cycle"].as_str(), child["operator"].as_str()), (Some("second"), Some("blend")));
    assert_eq!(child["verdict"], "admitted");
    let average = &child["parents"][0];
    assert_eq!((average["name"].as_str(), average["cycle"].as_str()), (Some("average"), Some("tiny")));
    assert_eq!(
        (average["kind"].as_str(), average["parents"].as_array().unwrap().len()),
        (Some("candidate"), 3)
    );
    assert_eq!(average["parents"][2]["kind"], "source");
    let text = space.studbook(&["lineage", "second/child"]).exits(0).out;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("second/child  ") && lines[0].ends_with("[admitted]"), "{text}");
    assert!(lines[1].starts_with("├─ tiny/average  ") && lines[1].contains("  blend "), "{text}");
    assert!(lines[2].starts_with("│  ├─ one  ") && lines[5].starts_with("└─ three  "), "{text}");
    let drawn = space.studbook(&["lineage", "child", "--format", "mermaid"]).exits(0).out;
    assert!(drawn.starts_with("flowchart BT\n") && drawn.matches(" --> ").count() == 5, "{drawn}");
    space.studbook(&["lineage", "chidl"]).exits(2).complains("did you mean `child`?");
    let digest = &child["record"].as_str().unwrap()[..12];
    assert_eq!(lineage(&space, digest), child);
}

#[test]
fn a_name_means_the_candidate_of_the_plan_that_is_named() {
    let space = two_cycles();
    space.write(
        "other.toml",
        space.read("plan.toml").replace("name = \"tiny\"", "name = \"other\"").as_bytes(),
    );
    space.studbook(&["run", "other.toml", "--quiet"]).exits(3);
    for (plan, cycle) in [("plan.toml", "tiny"), ("other.toml", "other")] {
        space.studbook(&["lineage", plan, "average"]).exits(0).says(&format!("{cycle}/average"));
    }
    let one = "\"average\" is the name of 2 candidates";
    space.studbook(&["lineage", "average"]).exits(2).complains(one).complains("give CYCLE/NAME");
    space.studbook(&["revoke", "average", "--reason", "r"]).exits(2).complains(one);
    space.studbook(&["lineage", "second.toml", "average"]).exits(2).complains("has no candidate \"average\"");
    space.studbook(&["lineage", "second.toml", "tiny/average"]).exits(0).says("tiny/average");
    let log = || space.studbook(&["ledger", "log", "--format", "json"]).exits(0).json();
    let entered = |command: &[&str]| {
        let before = log().as_array().unwrap().len();
        space.studbook(command).exits(0);
        log()[before]["cycle"].as_str().unwrap().to_owned()
    };
    assert_eq!(entered(&["retire", "average", "--plan", "plan.toml", "--reason", "r"]), "tiny");
    assert_eq!(entered(&["revoke", "average", "--plan", "other.toml", "--reason", "r"]), "other");
}

#[test]
fn what_is_revoked_taints_all_that_descends_from_it() {
    let space = two_cycles();
    let average = lineage(&space, "average")["record"].as_str().unwrap().to_owned();
    let pool = space.read(".studbook/runs/tiny/12-recipe/pool.toml");
    let model = pool.lines().find_map(|line| line.strip_prefix("artifact = \"")).unwrap();
    let known = format!(" (tiny/average, its model is BLAKE3 {})", &model[..12]);
    let said = space.studbook(&["revoke", &average, "--reason", "found to be copied"]).exits(0);
    let said = said
        .says(&format!("candidate {}{known} is revoked by", &average[..12]))
        .says("tainted: tiny/average")
        .says("tainted: second/child");
    assert!(said.out.contains("its parent `average` is tainted: it is the candidate"), "{}", said.out);
    assert!(said.out.contains("released in registry/second"), "{}", said.out);
    let child = lineage(&space, "child");
    let marks = [&child["revoked"], &child["parents"][0]["revoked"]].map(|mark| mark.as_str().unwrap_or("-"));
    assert!(marks[0].starts_with("its parent `average` is tainted: "), "{marks:?}");
    assert!(marks[1].starts_with("it is the candidate") && marks[1].contains("ledger entry 5"), "{marks:?}");
    assert!(
        marks[0].ends_with(&format!(" (the model of tiny/average, BLAKE3 {})", &model[..12])),
        "{marks:?}"
    );
    assert!(marks[1].ends_with(&known), "{marks:?}");
    assert_eq!(child["parents"][1].get("revoked"), None);
    let shown =
        space.studbook(&["lineage", "child"]).exits(0).says("[admitted]  revoked: it is the candidate");
    assert_eq!(shown.out.matches("revoked: ").count(), 2, "{}", shown.out);
    space.studbook(&["lineage", "child", "--format", "mermaid"]).exits(0).says("<br>admitted<br>revoked");
    // Saying it again is no second entry.
    space.studbook(&["revoke", &average, "--reason", "found to be copied"]).exits(0).says("ledger entry 5");
    space.studbook(&["verify", "plan.toml"]).exits(4).says("FAIL");
    // It cannot be a parent, and the next build of the registry drops it and its child.
    let run = space.studbook(&["run", "second.toml"]).exits(1);
    assert!(
        run.out.contains("`average` cannot be a parent") || run.err.contains("cannot be a parent"),
        "{}{}",
        run.out,
        run.err
    );
    run.complains(&format!("BLAKE3 {})", &model[..12]));
    let run = space.studbook(&["run", "plan.toml"]).exits(3);
    assert!(run.out.contains("not-revoked: it is the candidate"), "{}", run.out);
    run.says(&format!("which ledger entry 5 revokes{known}"));
    assert!(!space.read(".studbook/registry/tiny/selector.json").contains("average"));
    assert!(!space.read(".studbook/registry/second/selector.json").contains("child"));
    space.studbook(&["verify", "plan.toml"]).exits(0);
    let log = space.studbook(&["ledger", "log", "--format", "json"]).exits(0).json();
    let kinds: Vec<&str> =
        log.as_array().unwrap().iter().map(|leaf| leaf["kind"].as_str().unwrap()).collect();
    assert!(kinds[5] == "revocation" && kinds[6..].contains(&"refusal"), "{kinds:?}");
}

#[test]
fn a_source_a_model_a_suite_and_a_dataset_can_be_revoked() {
    let space = two_cycles();
    let three = &lineage(&space, "child")["parents"][1].clone();
    let run = |what: &str, expected: &str| {
        let said = space.studbook(&["revoke", what, "--reason", "r", "--format", "json"]).exits(0).json();
        assert_eq!(said["what"], expected);
        said["tainted"].as_array().unwrap().len()
    };
    let suite = studbook::base::digest::Sha256::of(space.read("suite.jsonl").as_bytes()).to_hex();
    assert_eq!(run(&"ab".repeat(32), "unknown"), 0);
    // All three of the first cycle were measured on it, and the second's child descends from one.
    assert_eq!(run(&suite, "suite"), 4);
    space.studbook(&["lineage", "average"]).exits(0).says("revokes (the suite `digits`)");
    // `tasks` was made without it.
    let [record, artifact] = ["record", "artifact"].map(|digest| three[digest].as_str().unwrap());
    assert_eq!(run(record, "source"), 3);
    assert_eq!(run(artifact, "artifact"), 3);
    // As `lineage` prints them.
    assert_eq!(run(&record[..12], "source"), 3);
    assert_eq!(run(&artifact[..12], "artifact"), 3);
    space
        .studbook(&["revoke", &record[..7], "--reason", "r"])
        .exits(2)
        .complains("the store has no candidate");
    let said = space.studbook(&["revoke", "--dataset", "web-crawl", "--reason", "licence"]).exits(0);
    said.says("dataset ");
    space.studbook(&["revoke", &suite, "--reason", " "]).exits(2).complains("a reason is needed");
    space.studbook(&["run", "plan.toml"]).exits(1);
}

/// Another order of lines is another file, and the same cases.
#[test]
fn a_revoked_suite_does_not_come_back_in_another_order() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let suite = |name: &str| studbook::base::digest::Sha256::of(space.read(name).as_bytes()).to_hex();
    let turned = |name: &str, from: &str| {
        let lines: Vec<String> =
            space.read("suite.jsonl").lines().rev().map(|case| format!("{case}\n")).collect();
        space.write(name, lines.concat().replace("\"id\":\"c", from).as_bytes());
    };
    // One that was there before, and one that comes after.
    turned("turned.jsonl", "\"id\":\"t");
    let other = |cycle: &str, file: &str| {
        let plan = space.read("plan.toml").replace("name = \"tiny\"", &format!("name = \"{cycle}\""));
        space.write(&format!("{cycle}.toml"), plan.replace("suite.jsonl", file).as_bytes());
        space.studbook(&["run", &format!("{cycle}.toml"), "--quiet"])
    };
    other("turned", "turned.jsonl").exits(3);
    space.studbook(&["export", "turned.toml", "average", "--out", "d"]).exits(0);
    let said = space.studbook(&["revoke", &suite("suite.jsonl"), "--reason", "leaked"]).exits(0);
    said.says("tainted: tiny/average").says("tainted: turned/average");
    let log = space.studbook(&["ledger", "log", "--format", "json"]).exits(0);
    assert!(log.out.contains(&suite("turned.jsonl")), "{}", log.out);
    space
        .studbook(&["verify", "d", "--ledger", ".studbook/ledger"])
        .exits(4)
        .says("revokes the suite `digits`");
    turned("later.jsonl", "\"id\":\"l");
    let refused = other("later", "later.jsonl").says("refused  not-revoked: it was measured on the cases ");
    refused.says("revokes (what the suite `digits` asks)");
    // Other cases are others.
    space.write("fresh.jsonl", space.read("suite.jsonl").replace("p0=", "q0=").as_bytes());
    other("fresh", "fresh.jsonl").says("average    admitted");
    // Whose file is not what it was, is known by its digest alone.
    let fresh = suite("fresh.jsonl");
    space.edit("fresh.jsonl", "q0=", "r0=");
    space
        .studbook(&["revoke", &fresh, "--reason", "leaked"])
        .exits(0)
        .says("tainted: fresh/average")
        .complains("its cases are not at hand as they were");
}

#[test]
fn a_retired_candidate_is_no_longer_offered_but_stays_a_parent() {
    let space = two_cycles();
    assert!(space.read(".studbook/registry/tiny/selector.json").contains("average"));
    // A pool that was made before goes on offering it to whoever keeps it.
    let shown = ".studbook/runs/tiny/12-recipe/pool.toml";
    space.write("pool.toml", space.read(shown).as_bytes());
    space.edit("second.toml", shown, "pool.toml");
    let retire = |reason| space.studbook(&["retire", "average", "--reason", reason]).exits(0);
    retire("superseded").says("average is retired by ledger entry 5");
    let told = "retired by ledger entry 5, so it is no longer offered";
    for command in ["status", "run"] {
        let said = space.studbook(&[command, "plan.toml"]);
        let said = said.says(&format!("average    admitted  {told}; size: "));
        if command == "run" {
            said.exits(3).complains("; without average, retired by ledger entry 5");
        }
    }
    space.studbook(&["review", "plan.toml"]).exits(0).says(&format!("\naverage: {told}\n"));
    let verify = space.studbook(&["verify", "plan.toml"]).exits(0);
    verify.says(&format!("  ok  admission:average: derived again: same bytes, same verdict; {told}\n"));
    space.studbook(&["lineage", "child"]).exits(0).says("[admitted]  retired by ledger entry 5\n");
    space.studbook(&["lineage", "child", "--format", "mermaid"]).exits(0).says("<br>admitted<br>retired\"]");
    let entries = || space.studbook(&["ledger", "log", "--format", "json"]).exits(0).json();
    let before = entries();
    for reason in ["superseded", "there is a better one"] {
        retire(reason).says("average is retired already, by ledger entry 5: nothing is entered");
    }
    assert_eq!(entries(), before);
    assert!(!space.read(shown).contains("average"), "{}", space.read(shown));
    assert!(space.read(".studbook/runs/tiny/12-recipe/tiny.json").contains("retired by ledger entry 5"));
    assert!(!space.read(".studbook/registry/tiny/selector.json").contains("average"));
    space.studbook(&["run", "second.toml"]).exits(0);
    assert_eq!(lineage(&space, "second/child")["parents"][0]["name"], "average");
    assert!(space.read(".studbook/registry/second/selector.json").contains("child"));
    space.studbook(&["verify", "plan.toml"]).exits(0);
    space.studbook(&["retire", "tasks", "--reason", "r"]).exits(2).complains("is not admitted");
}

/// A third cycle, whose parent is one that the second cycle's pool only passes on.
fn passed_on() -> Space {
    let space = two_cycles();
    let more = "\n[review]\nobjectives = [\"artifact_bytes\"]\n\n[recipe]\nparents = 3\n";
    space.write("second.toml", (space.read("second.toml") + more).as_bytes());
    space.studbook(&["run", "second.toml", "--quiet"]).exits(0);
    let pool = space.read(".studbook/runs/second/12-recipe/pool.toml");
    let places: Vec<&str> = pool.lines().filter(|line| line.starts_with("name = ")).collect();
    let at = places.iter().position(|line| *line == "name = \"average\"").unwrap() + 1;
    space.write("pool.toml", pool.as_bytes());
    let third = space
        .read("second.toml")
        .replace("name = \"second\"", "name = \"third\"")
        .replace(".studbook/runs/tiny/12-recipe/pool.toml\"", &format!("pool.toml\"\nplace = {at}"));
    space.write("third.toml", third.as_bytes());
    space
}

#[test]
fn a_parent_that_a_pool_passes_on_is_who_it_was() {
    let space = passed_on();
    space.studbook(&["run", "third.toml", "--quiet"]).exits(0);
    let child = lineage(&space, "third/child");
    let average = &child["parents"][0];
    assert_eq!((average["name"].as_str(), average["cycle"].as_str()), (Some("average"), Some("tiny")));
    assert_eq!(
        (average["kind"].as_str(), average["verdict"].as_str()),
        (Some("candidate"), Some("admitted"))
    );
    let average = average["record"].as_str().unwrap();
    space
        .studbook(&["revoke", average, "--reason", "bad"])
        .exits(0)
        .says("tainted: third/child")
        .says("released in registry/third");
    space.studbook(&["run", "third.toml"]).exits(1).complains("cannot be a parent");
    assert!(!space.read(".studbook/registry/third/selector.json").contains("child"));
    // Nor can a cycle begin with it that never ran before.
    space.edit("third.toml", "name = \"third\"", "name = \"fourth\"");
    space.studbook(&["run", "third.toml"]).exits(1).complains("cannot be a parent");
}

/// Whoever is retired is left out of every pool that is made from then on, however often it was passed on before.
#[test]
fn a_retired_candidate_is_not_passed_on_by_a_third_pool() {
    let space = passed_on();
    let pool = ".studbook/runs/third/12-recipe/pool.toml";
    space.studbook(&["run", "third.toml", "--quiet"]).exits(0);
    assert!(space.read(pool).contains("name = \"average\""), "{}", space.read(pool));
    space.studbook(&["retire", "tiny/average", "--plan", "third.toml", "--reason", "superseded"]).exits(0);
    space.studbook(&["run", "third.toml"]).exits(0).complains("; without average, retired by ledger entry");
    assert!(!space.read(pool).contains("name = \"average\""), "{}", space.read(pool));
    // It stays a parent where a pool offered it.
    assert_eq!(lineage(&space, "third/child")["parents"][0]["name"], "average");
}

/// What a verification finds out about a parent is a finding, even where the plan cannot be understood without it.
#[test]
fn a_pool_parent_that_is_damaged_or_lost_is_a_finding() {
    let space = two_cycles();
    let shown = space.path(".studbook/runs/tiny/04-operator/average.slm");
    let bytes = std::fs::read(&shown).unwrap();
    let digest = studbook::base::digest::Digest::of(&bytes).to_hex();
    let object = space.path(&format!(".studbook/objects/{}/{}", &digest[..2], &digest[2..]));
    std::fs::remove_file(&object).unwrap();
    for damaged in [Some(&bytes[..100]), None] {
        if let Some(damaged) = damaged {
            std::fs::write(&object, damaged).unwrap();
        } else {
            std::fs::remove_file(&object).unwrap();
        }
        let said = space.studbook(&["verify", "second.toml"]).exits(4).says("FAIL  parent: ");
        said.says("nothing else was checked").says("1 checked, 1 failed");
        space.studbook(&["check", "second.toml"]).exits(4);
    }
    std::fs::write(&object, &bytes).unwrap();
    // So is one whose record is lost: the store had it when it wrote the pool.
    let object = space.path(&object_of(&space, "tiny/05-candidate/average.json"));
    std::fs::remove_file(&object).unwrap();
    let lost = "the pool of `tiny` cannot offer `average`: the record ";
    for command in ["check", "run", "plan"] {
        let said = space.studbook(&[command, "second.toml"]).exits(4).complains(lost);
        said.complains("of the candidate that ledger entry 1 admits cannot be read in this store");
    }
    space.studbook(&["verify", "second.toml"]).exits(4).says("FAIL  parent: the pool of `tiny` cannot offer");
    // A mistake of the plan is one.
    space.edit("second.toml", "operator = \"blend\"", "operator = \"blond\"");
    space.studbook(&["verify", "second.toml"]).exits(2).complains("blond");
}

/// A plan that asks a ledger of which a file is lost has no mistake of its own.
#[test]
fn a_lost_file_of_the_ledger_is_no_mistake_of_the_plan() {
    let space = two_cycles();
    let files = space.files(".studbook/ledger/tile/entries");
    let (name, bytes) = files.into_iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let lost = format!(".studbook/ledger/tile/entries/{name}");
    std::fs::remove_file(space.path(&lost)).unwrap();
    // A copy of a child is looked up in the same ledger.
    let child = std::fs::read(space.path(".studbook/runs/tiny/04-operator/average.slm")).unwrap();
    space.write("copy.slm", &child);
    let copy = space
        .read("second.toml")
        .replace("from_recipe = \".studbook/runs/tiny/12-recipe/pool.toml\"", "source = \"copy.slm\"");
    space.write("copy.toml", copy.as_bytes());
    for (plan, why) in [
        ("second.toml", "the pool of `tiny` cannot offer `average`: "),
        ("copy.toml", "nobody can tell which parents were bred in this store: "),
    ] {
        for command in ["check", "plan", "status", "verify", "run"] {
            let said = space.studbook(&[command, plan]).exits(4);
            let told = said.out + &said.err;
            for piece in [why, name.as_str(), "is missing; restore it from a copy"] {
                assert!(told.contains(piece), "{command} {plan}: no {piece:?} in {told}");
            }
            assert!(!told.contains("unedited"), "{told}");
        }
    }
    space.write(&lost, &bytes);
    space.studbook(&["verify", "second.toml"]).exits(0);
}

/// Whom the ledger decided of was there, whatever else has the name.
#[test]
fn a_candidate_whose_manifest_is_lost_is_told_as_lost() {
    let space = two_cycles();
    let manifest = lineage(&space, "child")["record"].as_str().unwrap().to_owned();
    let refused = lineage(&space, "tiny/tasks")["record"].as_str().unwrap().to_owned();
    for shown in ["second/05-candidate/child.json", "tiny/05-candidate/tasks.json"] {
        std::fs::remove_file(space.path(&object_of(&space, shown))).unwrap();
    }
    let log = space.studbook(&["ledger", "log", "--format", "json"]).exits(0).json();
    let of = |subject: &str| {
        log.as_array().unwrap().iter().rfind(|entry| entry["subject"] == subject).unwrap()["index"].clone()
    };
    let why = format!("the manifest {manifest} of the candidate that ledger entry {} admits", of(&manifest));
    for named in [&["second.toml", "child"][..], &["child"], &["second/child"], &[&manifest[..12]]] {
        let said = space.studbook(&[&["lineage"], named].concat()).exits(4).complains(&why);
        assert!(said.err.contains("put it back from a copy"), "{}", said.err);
    }
    space.studbook(&["retire", "child", "--reason", "r"]).exits(4).complains(&why);
    let why = format!("the manifest {refused} of the candidate that ledger entry {} refuses", of(&refused));
    space.studbook(&["lineage", "plan.toml", "tasks"]).exits(4).complains(&why);
    // One of another cycle is not there at all.
    space.studbook(&["lineage", "second.toml", "tasks"]).exits(2).complains("no candidate \"tasks\"");
    space.studbook(&["lineage", "nobody"]).exits(2);
}

/// The file of the store with the bytes of a record that is shown.
pub(crate) fn object_of(space: &Space, shown: &str) -> String {
    let bytes = space.read(&format!(".studbook/runs/{shown}")).into_bytes();
    let digest = studbook::base::digest::Digest::of(&bytes).to_hex();
    format!(".studbook/objects/{}/{}", &digest[..2], &digest[2..])
}

/// Losing the record that says whom somebody comes from must not free its descendants.
#[test]
fn an_ancestor_that_cannot_be_looked_at_closes_the_gate() {
    let space = two_cycles();
    let three = lineage(&space, "child")["parents"][1]["artifact"].as_str().unwrap().to_owned();
    let one = lineage(&space, "average")["parents"][0]["artifact"].as_str().unwrap().to_owned();
    assert_ne!(one, three);
    let lost = object_of(&space, "tiny/03-lineage/average.json");
    std::fs::remove_file(space.path(&lost)).unwrap();
    // While nothing is revoked there is nothing to look for.
    space.studbook(&["run", "second.toml"]).exits(0);
    space.studbook(&["revoke", &one, "--reason", "bad"]).exits(0).says("tainted: second/child");
    let run = space.studbook(&["run", "second.toml"]).exits(4);
    let told = run.out.clone() + &run.err;
    for piece in ["the lineage template", "tiny/average", "cannot be read in this store", "studbook verify"] {
        assert!(told.contains(piece), "no {piece:?} in {told}");
    }
    assert!(!space.read(".studbook/registry/second/selector.json").contains("child"));
}

/// The same bytes are as bad under another plan, another cycle's name, or as a file that was copied.
#[test]
fn the_bytes_of_a_revoked_candidate_do_not_come_back() {
    let space = two_cycles();
    let bytes = std::fs::read(space.path(".studbook/runs/tiny/04-operator/average.slm")).unwrap();
    space.write("copy.slm", &bytes);
    let manifest = lineage(&space, "average")["record"].as_str().unwrap().to_owned();
    space.studbook(&["revoke", &manifest, "--reason", "bad"]).exits(0);
    space.edit("plan.toml", "seconds = 600", "seconds = 601");
    space.studbook(&["run", "plan.toml"]).exits(3).says("not-revoked: its bytes are those of tiny/average");
    space.edit("plan.toml", "name = \"tiny\"", "name = \"other\"");
    space.studbook(&["run", "plan.toml"]).exits(3).says("not-revoked: its bytes are those of");
    assert!(!space.read(".studbook/registry/other/selector.json").contains("average"));
    let from = "from_recipe = \".studbook/runs/tiny/12-recipe/pool.toml\"";
    space.edit("second.toml", from, "source = \"copy.slm\"");
    let run = space.studbook(&["run", "second.toml"]).exits(1);
    assert!((run.out.clone() + &run.err).contains("cannot be a parent: its bytes are those of"), "{run:?}");
    // What was said of somebody is not in the bytes: measured on other cases they may come again.
    let space = two_cycles();
    let suite = studbook::base::digest::Sha256::of(space.read("suite.jsonl").as_bytes()).to_hex();
    space.studbook(&["revoke", &suite, "--reason", "leaked"]).exits(0);
    space.studbook(&["run", "plan.toml"]).exits(0).says("not-revoked: it was measured on suite");
    space.edit("suite.jsonl", "p0=", "q0=");
    space.studbook(&["run", "plan.toml"]).exits(3).says("average    admitted");
}

/// A revocation reaches the bytes even where the record that tells whose they are is lost.
#[test]
fn a_lost_manifest_gives_the_bytes_of_a_revoked_candidate_to_nobody() {
    let space = two_cycles();
    let bytes = std::fs::read(space.path(".studbook/runs/tiny/04-operator/average.slm")).unwrap();
    space.write("copy.slm", &bytes);
    let lost = object_of(&space, "tiny/05-candidate/average.json");
    space.studbook(&["revoke", "tiny/average", "--reason", "bad"]).exits(0).says("by ledger entry 5");
    std::fs::remove_file(space.path(&lost)).unwrap();
    let from = "from_recipe = \".studbook/runs/tiny/12-recipe/pool.toml\"";
    space.edit("second.toml", from, "source = \"copy.slm\"");
    space.edit("second.toml", "name = \"second\"", "name = \"third\"");
    space.write("third.toml", space.read("second.toml").as_bytes());
    let run = space.studbook(&["run", "third.toml"]).exits(1);
    let told = run.out.clone() + &run.err;
    assert!(told.contains("cannot be a parent: its bytes are those of tiny/average"), "{told}");
}

/// Whether what is revoked reaches somebody whose manifest is gone, nobody can tell.
#[test]
fn a_revocation_closes_whoever_cannot_be_looked_at() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let revoke = |data: &str| space.studbook(&["revoke", "--dataset", data, "--reason", "r"]).exits(0);
    revoke("a").says("nothing in this store descends from it");
    let manifest = object_of(&space, "tiny/05-candidate/average.json");
    std::fs::remove_file(space.path(&manifest)).unwrap();
    let why = "its manifest cannot be read in this store, so nobody can tell whether this reaches it";
    revoke("b").says("tainted: tiny/average ").says(why).says("released in registry/tiny");
    // Closed is closed: it is not told of, nor entered, twice.
    revoke("c").says("nothing in this store descends from it");
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    assert!(!space.read(".studbook/registry/tiny/selector.json").contains("average"));
}

/// A merge in which one parent weighs nothing has the other one's bytes; that it is tainted says nothing
/// against that one, nor against whoever else descends from it.
#[test]
fn a_child_with_the_bytes_of_a_parent_taints_nobody_with_the_other() {
    let space = Space::new();
    let candidate = "[candidates.control]\noperator = \"task_delta\"\nparents = [\"one\"]\nlambda = 0.0\n";
    space.edit("plan.toml", "[[eval]]", &format!("{candidate}\n[[eval]]"));
    space.edit("plan.toml", "output = \"q8_0\"", "output = \"f32\"");
    let base = crate::space::model(&crate::space::config(), "base", studbook::tensor::dtype::DType::F32);
    space.write("base.slm", &base);
    space.studbook(&["run", "plan.toml"]).exits(3);
    let control = std::fs::read(space.path(".studbook/runs/tiny/04-operator/control.slm")).unwrap();
    assert!(control == base, "nothing of `one` is in it");
    let one = studbook::base::digest::Sha256::of(&std::fs::read(space.path("one.slm")).unwrap()).to_hex();
    let said = space.studbook(&["revoke", &one, "--reason", "r", "--format", "json"]).exits(0).json();
    assert!(said.to_string().contains("tiny/control"), "{said}");
    space.edit("plan.toml", "seconds = 600", "seconds = 601");
    let run = space.studbook(&["run", "plan.toml"]).exits(1);
    assert!(!run.err.contains("`base` cannot be a parent"), "{run:?}");
    assert!(run.err.contains("`one` cannot be a parent"), "{run:?}");
}

/// A dossier names its candidate's parents; that a grandparent was taken back its reader learns all the same.
#[test]
fn a_dossier_is_told_of_a_grandparent_that_was_taken_back() {
    let space = two_cycles();
    space.studbook(&["export", "second.toml", "child", "--out", "d"]).exits(0);
    let verify = || space.studbook(&["verify", "d", "--ledger", ".studbook/ledger"]);
    verify().exits(0).says("take nothing of it back; asked were the candidate, its admission");
    let one = lineage(&space, "average")["parents"][0]["artifact"].as_str().unwrap().to_owned();
    space.studbook(&["revoke", &one, "--reason", "bad"]).exits(0).says("tainted: second/child");
    verify().exits(4).says("revokes its admission");
}
