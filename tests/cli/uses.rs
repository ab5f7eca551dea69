//! What cases may be used for: choosing or judging, once or counted; and whom models are compared with.

use crate::evaluate::{choices, sidecar, space};
use crate::space::{OBJECTIVES, PLAN, Space};

#[test]
fn every_use_of_a_final_suite_is_counted_in_the_ledger() {
    let space = space();
    space.edit(
        "plan.toml",
        "cases = \"choices.jsonl\"\nuse = \"gate\"",
        "cases = \"choices.jsonl\"\nuse = \"final\"",
    );
    let registered = |space: &Space| {
        let said = space.studbook(&["run", "plan.toml"]).exits(3);
        said.err.lines().find(|line| line.contains("ledger:plan")).map(str::to_owned)
    };
    assert!(registered(&space).unwrap().contains("use 1 of the final suite `choices`"));
    assert_eq!(registered(&space), None, "running again is no other use");
    space.edit("plan.toml", "max = 1.0\nconfidence", "max = 0.9\nconfidence");
    assert!(registered(&space).unwrap().contains("use 2 of the final suite `choices`"));
    // The same cases in another order and under other ids are the same cases.
    let turned: Vec<String> = choices(70).lines().rev().map(|case| format!("{case}\n")).collect();
    space.write("choices.jsonl", turned.concat().replace("\"id\":\"q", "\"id\":\"case-").as_bytes());
    assert!(registered(&space).unwrap().contains("use 3 of the final suite `choices`"));
    space.studbook(&["ledger", "check", "plan.toml"]).exits(0);
    let log = space.studbook(&["ledger", "log", "plan.toml", "--format", "json"]).exits(0);
    assert_eq!(log.out.matches("urn:studbook:final-use:v2").count(), 3, "{}", log.out);
    let log = space.studbook(&["ledger", "log", "plan.toml"]).exits(0);
    assert_eq!(log.out.matches(" final-use ").count(), 3, "{}", log.out);
}

/// A gate that one of several plans passes shows less than it says, and the correction does not know of the others.
#[test]
fn other_plans_of_a_cycle_are_told_wherever_its_gates_are() {
    let space = Space::new();
    let run = |arguments: &[&str]| space.studbook(&[&["run", "plan.toml", "--quiet"], arguments].concat());
    let told = "other plan of this cycle is in the ledger (by entry: 0)";
    assert!(!run(&[]).exits(3).out.contains("other plan"));
    space.edit("plan.toml", "min = 0.5", "min = 0.4");
    run(&[])
        .exits(3)
        .says(told)
        .says("a gate's correction for many tests counts those of its own plan alone");
    space.studbook(&["status", "plan.toml"]).exits(0).says(told);
    for json in [run(&["--format", "json"]), space.studbook(&["status", "plan.toml", "--format", "json"])] {
        assert_eq!(json.json()["other_plans"], serde_json::json!([0]));
    }
    // The dossier of who was decided under the second plan says so, and cannot leave it out.
    space.studbook(&["export", "plan.toml", "tasks", "--out", "d"]).exits(0);
    assert!(space.read("d/index.html").contains(told));
    let verify = || space.studbook(&["verify", "d", "--ledger", ".studbook/ledger"]);
    verify().exits(0);
    space.edit("d/dossier.json", ",\"other_plans\":[0]", "");
    verify()
        .exits(4)
        .says("of other plans of the cycle before the decision the ledger has the entries 0, the dossier names none");
    // Who was decided before there was a second plan has nothing to tell.
    space.studbook(&["export", "plan.toml", "average", "--out", "first"]).exits(0);
    assert!(!space.read("first/index.html").contains("other plan"));
    space.studbook(&["verify", "first", "--ledger", ".studbook/ledger"]).exits(0);
}

/// Who calls the cycle otherwise makes as many tests of the same cases.
#[test]
fn plans_of_other_cycles_that_ask_the_same_cases_are_told_wherever_gates_are() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let renamed = |name: &str| PLAN.replace("name = \"tiny\"", &format!("name = \"{name}\""));
    let run = |plan: &str| {
        space.write("renamed.toml", plan.as_bytes());
        space.studbook(&["run", "renamed.toml", "--quiet"]).exits(3)
    };
    // Under another name alone it comes to the same.
    assert!(!run(&renamed("again")).out.contains("same cases"));
    let told = "2 plans of other cycles ask the same cases (by entry: 0 of `tiny`, 3 of `again`); a gate's correction";
    run(&renamed("afresh").replace("min = 0.5", "min = 0.4")).says(told);
    space.studbook(&["status", "renamed.toml"]).exits(0).says(told);
    let json = space.studbook(&["status", "renamed.toml", "--format", "json"]).exits(0).json();
    assert_eq!(json["other_plans"], serde_json::json!([]));
    assert_eq!(json["same_cases"][0], serde_json::json!({ "entry": 0, "cycle": "tiny" }));
    space.studbook(&["export", "renamed.toml", "average", "--out", "d"]).exits(0);
    assert!(space.read("d/index.html").contains("2 plans of other cycles ask the same cases"));
    let verify = || space.studbook(&["verify", "d", "--ledger", ".studbook/ledger"]);
    assert!(!verify().exits(0).out.contains("does not name"));
    // The first one was decided before them.
    space.studbook(&["export", "plan.toml", "average", "--out", "first"]).exits(0);
    assert!(!space.read("first/dossier.json").contains("same_cases"));
    // Other cases are another question, of which a ledger alone cannot know.
    space.write("others.jsonl", space.read("suite.jsonl").replace("p0=", "q0=").as_bytes());
    let others = renamed("others").replace("suite.jsonl", "others.jsonl").replace("min = 0.5", "min = 0.4");
    let some = "3 plans of other cycles ask some of the same cases (by entry: 0 of `tiny`: 7 of 8 cases, 3 of `again`: 7";
    run(&others).says(some);
    let mut all_others = space.read("others.jsonl");
    for at in 1..8 {
        all_others = all_others.replace(&format!("p{at}="), &format!("q{at}="));
    }
    space.write("others.jsonl", all_others.as_bytes());
    assert!(!run(&others.replace("\"others\"", "\"quite\"")).out.contains("same cases"));
    space.studbook(&["export", "renamed.toml", "average", "--out", "others"]).exits(0);
    space
        .studbook(&["verify", "others", "--ledger", ".studbook/ledger"])
        .exits(0)
        .says("4 plans of other cycles that the dossier does not name");
    // Nobody is named twice, nor anybody who is not there.
    let twice = "{\"cycle\":\"again\",\"entry\":3}";
    space.edit("d/dossier.json", twice, &format!("{twice},{twice}"));
    verify().exits(4).says("entry 3 is named twice or out of order among the plans of other cycles");
    space.edit("d/dossier.json", &format!("{twice},{twice}"), twice);
    space.edit("d/dossier.json", "\"cycle\":\"again\",\"entry\":3", "\"cycle\":\"gone\",\"entry\":3");
    verify().exits(4).says("ledger entry 3 is no plan of `gone` before the decision");
}

/// A registration that is gone is told as that: another's may ask anything, and one's own is nobody else's.
#[test]
fn a_lost_registration_is_told_as_lost() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let afresh = PLAN.replace("name = \"tiny\"", "name = \"afresh\"").replace("min = 0.5", "min = 0.4");
    // Sections in another order are the same plan.
    let [start, average, tasks] = ["[candidates.average]", "[candidates.tasks]", "[candidates.ties]"]
        .map(|section| afresh.find(section).unwrap());
    let turned =
        [&afresh[..start], &afresh[average..tasks], &afresh[start..average], &afresh[tasks..]].concat();
    for plan in [&afresh, &turned] {
        space.write("afresh.toml", plan.as_bytes());
        let said = space.studbook(&["run", "afresh.toml", "--quiet"]).exits(3);
        let told = "1 plan of other cycles asks the same cases (by entry: 0 of `tiny`); a gate's correction";
        assert!(!said.says(told).out.contains("of this cycle"));
    }
    let lose = |cycle: &str| {
        let lost = crate::lineage::object_of(&space, &format!("{cycle}/10-ledger/plan.registration.json"));
        std::fs::remove_file(space.path(&lost)).unwrap();
        space.studbook(&["status", "afresh.toml"]).exits(0)
    };
    lose("tiny")
        .says("1 plan of other cycles cannot be read and may ask the same cases (by entry: 0 of `tiny`)");
    lose("afresh");
    let log = space.studbook(&["ledger", "log", "--format", "json"]).exits(0).json();
    let plans = log.as_array().unwrap().iter();
    let plans = plans.filter(|leaf| leaf["kind"] == "plan" && leaf["cycle"] == "afresh");
    let [first, _own] = &plans.map(|leaf| &leaf["index"]).collect::<Vec<_>>()[..] else { panic!("{log}") };
    let json = space.studbook(&["status", "afresh.toml", "--format", "json"]).exits(0).json();
    assert_eq!(json["other_plans"], serde_json::json!([first]));
    space.studbook(&["verify", "afresh.toml"]).exits(4).says("FAIL  ledger:plan: ");
    let export = |code| space.studbook(&["export", "plan.toml", "average", "--out", "d"]).exits(code);
    export(4)
        .complains("is no longer in the store: put it back from a copy of the store, or run that plan again");
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    export(0);
}

/// A stage of another version has another key, and the plan is the same all the same.
#[test]
fn a_plan_is_known_right_after_an_upgrade() {
    use studbook::base::canonical;
    use studbook::base::key::WriteKey;
    use studbook::stage::Action;
    use studbook::store::Store;

    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let cycle = "tiny".parse().unwrap();
    // As an earlier version of two stages left it.
    for stage in ["lineage:ties", "ledger:plan"] {
        let store = Store::open(&space.path(".studbook")).unwrap();
        let mut event = store.last_events(&cycle).unwrap().remove(stage).unwrap();
        let mut action: Action = canonical::from_slice(&store.read(&event.action).unwrap()).unwrap();
        let result = store.lookup(&event.key).unwrap().unwrap();
        std::fs::remove_file(store.action_path(&event.key)).unwrap();
        action.version -= 1;
        event.key = action.action_key();
        event.action = store.put(&canonical::to_vec(&action).unwrap()).unwrap().digest;
        store.record_action(&event.key, &result).unwrap();
        store.append_log(&cycle).unwrap().append(&event).unwrap();
    }
    let status =
        || space.studbook(&["status", "plan.toml"]).exits(0).says("Go on with: studbook run plan.toml");
    assert!(!status().out.contains("other plan"));
    space.edit("plan.toml", "density = 0.5", "density = 0.75");
    status().says("1 other plan of this cycle is in the ledger (by entry: 0)");
}

/// A plan that tries nothing else is no other try.
#[test]
fn a_plan_that_was_not_changed_in_what_it_tries_is_no_other_plan() {
    let space = Space::new();
    let run = || space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    run();
    space.edit("plan.toml", "seconds = 600", "seconds = 601");
    assert!(!run().out.contains("other plan"));
    space.edit("plan.toml", "statement = \"", "statement = \"again: ");
    assert!(!run().out.contains("other plan"));
    space.edit("plan.toml", "density = 0.5", "density = 0.75");
    run().says("3 other plans of this cycle are in the ledger");
}

/// Plans are registered with more than they were: the entry of the days before is of the same plan.
#[test]
fn a_plan_that_is_registered_again_after_an_upgrade_is_no_other_plan() {
    use studbook::base::digest::Sha256;
    use studbook::ledger::{EntryKind, NewEntry};

    let (old, space) = (Space::new(), Space::new());
    old.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    old.studbook(&["export", "plan.toml", "average", "--out", "d"]).exits(0);
    let text = old.read("d/records/10-ledger/plan.json");
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    for later in ["review", "recipe"] {
        assert!(record["body"].as_object_mut().unwrap().remove(later).is_some());
    }
    let before = studbook::base::canonical::to_vec(&record).unwrap();
    let store = studbook::store::Store::create(&space.path(".studbook")).unwrap();
    let entry = NewEntry {
        kind: EntryKind::Plan,
        cycle: "tiny".parse().unwrap(),
        candidate: None,
        subject: None,
        record: Sha256::of(&before),
        predicate_type: record["type"].as_str().unwrap().to_owned(),
        registration: None,
    };
    store.ledger().unwrap().append(vec![entry], &|| "2026-01-01T00:00:00Z".to_owned()).unwrap();
    drop(store);
    let said = space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    assert!(!said.out.contains("other plan"), "{}", said.out);
    space.studbook(&["export", "plan.toml", "average", "--out", "d"]).exits(0);
    assert!(space.read("d/dossier.json").contains("\"other_plans\":[]"));
    space.studbook(&["verify", "d", "--ledger", ".studbook/ledger"]).exits(0);
}

/// What ranks and how many are chosen is on record before anything is measured, as gates are.
#[test]
fn a_review_or_a_pool_that_is_changed_is_another_registration() {
    let space = Space::new();
    let registered = || {
        space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
        let log = space.studbook(&["ledger", "log", "plan.toml", "--format", "json"]).exits(0);
        log.out.matches("urn:studbook:plan-registration:").count()
    };
    assert_eq!(registered(), 1);
    space.edit("plan.toml", "parents = 2\n", "parents = 1\n");
    assert_eq!(registered(), 2, "another size of the pool");
    space.edit("plan.toml", "no_op = \"base\"\n", "");
    assert_eq!(registered(), 3, "no no-op");
    space.edit("plan.toml", OBJECTIVES, "objectives = [\"artifact_bytes\"]\n");
    assert_eq!(registered(), 4, "other objectives");
    assert_eq!(registered(), 4, "nothing was changed");
}

/// A cycle that starts from the pool of the first one, and gates by these cases.
fn second(space: &Space, cases: &str, r#use: &str) {
    let plan = PLAN
        .replace("name = \"tiny\"", "name = \"next\"")
        .replace("source = \"one.slm\"", "from_recipe = \".studbook/runs/tiny/12-recipe/pool.toml\"")
        .replace("cases = \"suite.jsonl\"\nuse = \"both\"", &format!("cases = \"{cases}\"\nuse = \"{use}\""))
        .replace(OBJECTIVES, "objectives = [\"artifact_bytes\"]\n");
    space.write("next.toml", plan.as_bytes());
}

/// A pool that outlived what it came from: what cannot be looked up is not taken for nothing.
#[test]
fn a_pool_whose_cases_or_models_are_not_in_the_store_is_refused() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let pool = space.read(".studbook/runs/tiny/12-recipe/pool.toml");
    let other = |i: u32| format!("{{\"id\":\"o{i}\",\"prompt\":\"q{i}=\",\"expected\":\"{i}\"}}\n");
    space.write("other.jsonl", (0..8).map(other).collect::<String>().as_bytes());
    second(&space, "other.jsonl", "gate");
    space.studbook(&["check", "next.toml"]).exits(0);
    // The store knows the cases by a person's file, which is not what it was.
    space.edit("suite.jsonl", "p7=", "p8=");
    space
        .studbook(&["check", "next.toml"])
        .exits(2)
        .complains("the cases of `digits`, by which the cycle `tiny` chose parents of this plan")
        .complains("cannot be read from this store: nobody can tell whether gates ask them again")
        .complains("use = \"both\"");
    // Whoever means it need not show them.
    second(&space, "other.jsonl", "both");
    space.studbook(&["check", "next.toml"]).exits(0);
    let artifact = pool.lines().find_map(|line| line.strip_prefix("artifact = \"")).unwrap();
    let artifact = artifact.trim_end_matches('"');
    let object = format!(".studbook/objects/{}/{}", &artifact[..2], &artifact[2..]);
    std::fs::remove_file(space.path(&object)).unwrap();
    space
        .studbook(&["check", "next.toml"])
        .exits(4)
        .complains("the model of `average` is not in this store")
        .complains("run the plan of the cycle `tiny` with this store");
}

#[test]
fn cases_that_chose_parents_do_not_judge_their_children_without_a_word() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let pool = space.read(".studbook/runs/tiny/12-recipe/pool.toml");
    assert!(pool.contains("[[chosen_by]]") && pool.contains("suite = \"digits\""), "{pool}");
    // Other order, other ids, another file: the same cases.
    let turned: String = space.read("suite.jsonl").lines().rev().map(|case| format!("{case}\n")).collect();
    space.write("again.jsonl", turned.replace("\"c", "\"again-").as_bytes());
    for r#use in ["gate", "final"] {
        second(&space, "again.jsonl", r#use);
        space
            .studbook(&["check", "next.toml"])
            .exits(2)
            .complains("8 of the cases of `digits`, which gates ask about, chose parents of this plan in the cycle `tiny`");
    }
    second(&space, "again.jsonl", "both");
    space.studbook(&["check", "next.toml"]).exits(0);
    let other = "{\"id\":\"a\",\"prompt\":\"another\",\"expected\":\"one\"}\n";
    space.write("other.jsonl", other.as_bytes());
    second(&space, "other.jsonl", "final");
    space.studbook(&["run", "next.toml", "--quiet"]).exits(3);
    // Two cycles on, it is still known who was chosen by what.
    let pool = space.read(".studbook/runs/next/12-recipe/pool.toml");
    assert!(pool.contains("cycle = \"tiny\""), "{pool}");
}

/// A child that is copied and named as a file has the same history.
#[test]
fn a_copy_of_a_child_was_chosen_by_what_chose_the_child() {
    let space = Space::new();
    space.edit("plan.toml", "source = \"one.slm\"", "source = \"one.slm\"\nlicence = \"CC-BY-4.0\"");
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let child = std::fs::read(space.path(".studbook/runs/tiny/04-operator/average.slm")).unwrap();
    space.write("copy.slm", &child);
    let copied = |cases: &str, r#use: &str| {
        second(&space, cases, r#use);
        let from = "from_recipe = \".studbook/runs/tiny/12-recipe/pool.toml\"";
        space.edit("next.toml", from, "source = \"copy.slm\"");
        space.studbook(&["check", "next.toml"])
    };
    copied("suite.jsonl", "gate").exits(2).complains(
        "8 of the cases of `digits`, which gates ask about, chose parents of this plan in the cycle `tiny`",
    );
    copied("suite.jsonl", "both").exits(0);
    space.studbook(&["run", "next.toml", "--quiet"]).exits(3);
    let source = space.read(".studbook/runs/next/01-source/one.json");
    assert!(source.contains("CC-BY-4.0"), "{source}");
    let pool = space.read(".studbook/runs/next/12-recipe/pool.toml");
    assert!(pool.contains("cycle = \"tiny\"") && pool.contains("suite = \"digits\""), "{pool}");
    space.studbook(&["verify", "next.toml"]).exits(0).says(", 0 failed");
    // The parents themselves are nobody's children.
    space.edit("next.toml", "source = \"copy.slm\"", "source = \"one.slm\"");
    space.edit("next.toml", "use = \"both\"", "use = \"gate\"");
    space.studbook(&["check", "next.toml"]).exits(0);
}

/// A child that is a folder is known by its files.
#[test]
fn a_copy_of_a_child_that_is_a_folder_was_chosen_by_what_chose_the_child() {
    let space = crate::formats::folders();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    for (name, bytes) in space.files(".studbook/runs/tiny/04-operator/average") {
        space.write(&format!("copy/{name}"), &bytes);
    }
    let next = space
        .read("plan.toml")
        .replace("name = \"tiny\"", "name = \"next\"")
        .replace("use = \"both\"", "use = \"gate\"")
        .replace(OBJECTIVES, "objectives = [\"artifact_bytes\"]\n");
    space.write("next.toml", next.as_bytes());
    space.studbook(&["check", "next.toml"]).exits(0);
    space.edit("next.toml", "source = \"one\"", "source = \"copy\"");
    let why =
        "8 of the cases of `digits`, which gates ask about, chose parents of this plan in the cycle `tiny`";
    space.studbook(&["check", "next.toml"]).exits(2).complains(why);
    // The list of its files may be damaged or gone, and the copy is what it was.
    let manifest: serde_json::Value =
        serde_json::from_str(&space.read(".studbook/runs/tiny/05-candidate/average.json")).unwrap();
    let list = manifest["body"]["artifact"]["blake3"].as_str().unwrap().to_owned();
    let list = format!(".studbook/objects/{}/{}", &list[..2], &list[2..]);
    let whole = space.read(&list);
    std::fs::remove_file(space.path(&list)).unwrap();
    space.studbook(&["check", "next.toml"]).exits(2).complains(why);
    let damaged = whole.replacen("\"bytes\":", "\"bites\":", 1);
    space.write(&list, damaged.as_bytes());
    space.studbook(&["check", "next.toml"]).exits(2).complains(why);
    std::fs::remove_file(space.path(&list)).unwrap();
    space.write(&list, whole.as_bytes());
    // Other bytes are another model.
    space.edit("copy/config.json", "\n", "\n\n");
    space.studbook(&["check", "next.toml"]).exits(0);
}

#[test]
fn a_gate_compares_with_what_stays_if_nothing_is_done() {
    let space = Space::new();
    space.write("choices.jsonl", choices(70).as_bytes());
    let more = "[[eval]]\nname = \"choices\"\nkind = \"multiple_choice\"\ncases = \"choices.jsonl\"\n\n\
                [[gate]]\nname = \"worth-it\"\nkind = \"metric\"\nmetric = \"accuracy\"\nsuites = [\"choices\"]\n\
                versus = \"no-op\"\nmargin = -0.05\n\n[review]\nobjectives = [\"digits\"]";
    space.write("plan.toml", PLAN.replacen("[review]", more, 1).replacen(OBJECTIVES, "", 1).as_bytes());
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let stays = sidecar(&space, "base.choices")["metrics"]["accuracy"]["value"].as_f64().unwrap();
    for name in ["average", "tasks", "ties"] {
        let ours =
            sidecar(&space, &format!("{name}.choices"))["metrics"]["accuracy"]["value"].as_f64().unwrap();
        let text = space.read(&format!(".studbook/runs/tiny/08-promotion/{name}.json"));
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        let gates = record["body"]["gates"].as_array().unwrap();
        let gate = gates.iter().find(|gate| gate["gate"] == "worth-it").unwrap();
        let (state, sign) = if ours >= stays - 0.05 - 1e-12 { ("passed", ">=") } else { ("failed", "<") };
        assert_eq!(gate["state"], state, "{gate}");
        let finding = format!("accuracy {ours:.3} {sign} {:.3}, `base` {stays:.3} + -0.05", stays - 0.05);
        assert_eq!(gate["finding"], finding);
    }
    space.edit("plan.toml", "no_op = \"base\"", "");
    space.studbook(&["check", "plan.toml"]).exits(2).complains("does not say what stays if nothing is done");
}
