//! The threats of selection, each refused with its own reason: who is bred from next must be who was measured,
//! ranked and admitted.

use serde_json::{Value, json};
use studbook::base::canonical;

use crate::space::{PLAN, Space};

const POOL: &str = ".studbook/runs/tiny/12-recipe/pool.toml";

/// A cycle, and a plan `second.toml` that starts from its pool.
fn two_cycles() -> Space {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space.write("pool.toml", space.read(POOL).as_bytes());
    let second = PLAN.replace("name = \"tiny\"", "name = \"second\"");
    let second = second.replacen("source = \"one.slm\"", "from_recipe = \"pool.toml\"", 1);
    space.write("second.toml", second.as_bytes());
    space
}

fn body(space: &Space, record: &str) -> Value {
    let text = space.read(&format!(".studbook/runs/{record}.json"));
    serde_json::from_str::<Value>(&text).unwrap()["body"].clone()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|row| row[0].as_str().unwrap()).collect()
}

#[test]
fn an_id_that_is_there_twice_is_refused_before_anything_runs() {
    let space = Space::new();
    space.edit("plan.toml", "[candidates.tasks]", "[candidates.no-op]");
    space
        .studbook(&["check", "plan.toml"])
        .exits(2)
        .complains("`no-op` is what the review calls doing nothing");
    space.write("plan.toml", PLAN.replace("[candidates.tasks]", "[candidates.average]").as_bytes());
    space.studbook(&["check", "plan.toml"]).exits(2).complains("duplicate key");
    // A sweep that spells out a name that is taken.
    let sweep = PLAN.replace("lambda = 0.5\n", "sweep = { lambda = [0.5] }\n");
    let taken = "\n[candidates.tasks-lambda0.5]\noperator = \"passthrough\"\nparents = [\"one\"]\n\n[smoke]";
    space.write("plan.toml", sweep.replace("\n[smoke]", taken).as_bytes());
    space.studbook(&["check", "plan.toml"]).exits(2).complains("tasks-lambda0.5");
}

#[test]
fn equal_vectors_share_one_place_and_the_smaller_name_comes_first() {
    let space = Space::new();
    let twin = "[candidates.basic]\noperator = \"blend\"\nparents = [\"one\", \"two\", \"three\"]\nweight = 1.0\n\n[smoke]";
    space.edit("plan.toml", "[smoke]", twin);
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let review = body(&space, "tiny/11-review/tiny");
    let of = |name: &str| {
        let members = review["members"].as_array().unwrap();
        members.iter().position(|member| member["name"] == name).map(|at| (at, members[at].clone())).unwrap()
    };
    let ((first, average), (second, basic)) = (of("average"), of("basic"));
    assert_eq!((&average["vector"], &average["rank"]), (&basic["vector"], &basic["rank"]));
    assert!(first < second, "{review}");
    assert_eq!(basic["crowding"], 0.0, "only one of two equals keeps the place's distance: {review}");
}

#[test]
fn an_ancestor_cannot_be_made_its_own_descendant() {
    let space = two_cycles();
    space.studbook(&["run", "second.toml", "--quiet"]).exits(3);
    let before = space.studbook(&["lineage", "second/average", "--format", "json"]).exits(0).json();
    assert_eq!(before["parents"][0]["cycle"], "tiny", "{before}");
    // The source record says that it was bred from its own grandchild; its name is its digest, still.
    let child = studbook::base::digest::Sha256::of(
        space.read(".studbook/runs/second/05-candidate/average.json").as_bytes(),
    );
    let record = space.read(".studbook/runs/second/01-source/one.json");
    let parent = body(&space, "second/01-source/one")["origin"]["manifest"].as_str().unwrap().to_owned();
    let forged = record.replace(&parent, &child.to_hex());
    let objects = space.files(".studbook/objects");
    let (name, _) = objects.iter().find(|(_, bytes)| **bytes == record.as_bytes()).unwrap();
    let path = space.path(&format!(".studbook/objects/{name}"));
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, forged).unwrap();
    let after = space.studbook(&["lineage", "second/average", "--format", "json"]);
    assert!(
        !after.out.contains(&child.to_hex()[..16]) || after.json()["parents"][0]["cycle"] != "second",
        "{}",
        after.out
    );
    space.studbook(&["verify", "second.toml"]).exits(4).says("FAIL  source:one");
}

#[test]
fn nobody_is_selected_where_all_fitness_is_zero() {
    let space = Space::new();
    // Models of noise answer nothing right.
    space.edit("plan.toml", "objectives = [\"digits\", \"artifact_bytes\"]", "objectives = [\"digits\"]");
    space.studbook(&["run", "plan.toml"]).exits(3);
    let recipe = body(&space, "tiny/12-recipe/tiny");
    assert_eq!(recipe["selected"], json!([]), "{recipe}");
    let why = "there is no fitness to select by";
    assert!(
        recipe["passed_over"].as_array().unwrap().iter().any(|row| row[1].as_str().unwrap().contains(why)),
        "{recipe}"
    );
    let second = PLAN.replace("name = \"tiny\"", "name = \"second\"");
    let second = second.replacen("source = \"one.slm\"", &format!("from_recipe = \"{POOL}\""), 1);
    space.write("second.toml", second.as_bytes());
    space
        .studbook(&["check", "second.toml"])
        .exits(2)
        .complains("expected a pool with parents; this one is empty");
}

#[test]
fn a_seed_that_is_not_recorded_is_refused() {
    let space = Space::new();
    space.write("no-seed.toml", PLAN.replace("seed = \"7\"\n", "").as_bytes());
    space.studbook(&["check", "no-seed.toml"]).exits(2).complains("`seed`");
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space.studbook(&["export", "plan.toml", "average", "--out", "good"]).exits(0);
    for record in ["03-lineage/average", "04-operator/average", "10-ledger/plan"] {
        for (name, bytes) in space.files("good") {
            space.write(&format!("d/{name}"), &bytes);
        }
        let path = format!("d/records/{record}.json");
        let mut value: Value = serde_json::from_str(&space.read(&path)).unwrap();
        assert!(value["body"].as_object_mut().unwrap().remove("seed").is_some(), "{record} records the seed");
        space.write(&path, &canonical::to_vec(&value).unwrap());
        space.studbook(&["verify", "d"]).exits(4).says("missing field `seed`");
    }
}

#[test]
fn whom_no_ledger_admitted_is_in_no_pool() {
    let space = two_cycles();
    let recipe = body(&space, "tiny/12-recipe/tiny");
    let passed_over = names(&recipe["passed_over"]);
    assert!(passed_over.contains(&"tasks") && passed_over.contains(&"ties"), "{recipe}");
    assert!(!names(&recipe["selected"]).contains(&"tasks"), "{recipe}");
    space.studbook(&["check", "second.toml"]).exits(0);
    // The refused one in the place of the admitted one, whatever else the text says.
    let manifest = |name: &str| {
        let record = space.read(&format!(".studbook/runs/tiny/05-candidate/{name}.json"));
        (
            studbook::base::digest::Sha256::of(record.as_bytes()).to_hex(),
            body(&space, &format!("tiny/05-candidate/{name}")),
        )
    };
    let ((good, average), (bad, tasks)) = (manifest("average"), manifest("tasks"));
    let artifact = |body: &Value| body["artifact"]["blake3"].as_str().unwrap().to_owned();
    let pool = space.read("pool.toml");
    let offered = |changed: String, why: &str| {
        assert_ne!(changed, pool);
        space.write("pool.toml", changed.as_bytes());
        let why = format!("the pool of `tiny` cannot offer `average`: {why}");
        space.studbook(&["run", "second.toml"]).exits(2).complains(&why);
    };
    let refused = pool.replace(&good, &bad).replace(&artifact(&average), &artifact(&tasks));
    offered(refused, "the ledger of this store did not admit it");
    offered(
        pool.replace(&artifact(&average), &artifact(&tasks)),
        "its record says otherwise about its bytes",
    );
    offered(pool.replace(&good, &good.chars().rev().collect::<String>()), "its record is not in this store");
    // What it would hand down to its children cannot be edited either.
    offered(
        pool.replacen("licences = []", "licences = [\"MIT\"]", 1),
        "its record says otherwise about its licences",
    );
    offered(pool.replacen("data = []", "data = [\"ours\"]", 1), "its record says otherwise about its data");
    offered(
        pool.replacen("trained = false", "trained = true", 1),
        "its record says otherwise about its training",
    );
    // Nor what chose it, which a gate must not ask again.
    let (before, _) = pool.split_once("[[chosen_by]]").unwrap();
    offered(before.to_owned(), "no cycle of this store wrote the pool as it is");
    // A remark is no edit.
    space.write("pool.toml", format!("# ours since spring\n{pool}").as_bytes());
    space.studbook(&["run", "second.toml", "--quiet"]).exits(3);
}

#[test]
fn names_that_look_alike_cannot_be_declared() {
    let space = Space::new();
    for name in [
        "Average",
        "\"av\\u0435rage\"",
        "\"cafe\\u0301\"",
        "\"caf\\u00e9\"",
        "\"ave rage\"",
        "\"../average\"",
        "\"average\\u200b\"",
    ] {
        space.write(
            "plan.toml",
            PLAN.replace("[candidates.average]", &format!("[candidates.{name}]")).as_bytes(),
        );
        space.studbook(&["check", "plan.toml"]).exits(2).complains("lower-case letters");
    }
}
