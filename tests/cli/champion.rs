//! Gates that compare with the champion: the last admitted candidate, over cycles.

use serde_json::Value;
use studbook::base::digest::Sha256;

use crate::space::Space;

/// A cycle whose only child must be no worse than the champion, as it is and by a test.
const NEXT: &str = r#"
[cycle]
name = "next"
seed = "8"
output = "q8_0"

[budget]
candidates = 8
artifact = "1 MiB"
disk = "8 MiB"
seconds = 600

[parents.two]
source = "two.slm"

[parents.three]
source = "three.slm"

[candidates.child]
operator = "blend"
parents = ["two", "three"]
weight = 1.0

[smoke]
prompts = ["ab"]
max_tokens = 4

[[eval]]
name = "digits"
kind = "exact_match"
cases = "suite.jsonl"
use = "gate"
max_tokens = 4

[[gate]]
name = "no-worse"
kind = "metric"
metric = "exact_match"
suites = ["digits"]
versus = "champion"
"#;

const SURELY: &str = r#"
[[gate]]
name = "surely"
kind = "metric"
metric = "exact_match"
suites = ["digits"]
versus = "champion"
margin = 0.1
confidence = 0.95
"#;

fn space() -> Space {
    let space = Space::new();
    space.write("next.toml", NEXT.as_bytes());
    space
}

fn body(space: &Space, record: &str) -> Value {
    let text = space.read(&format!(".studbook/runs/{record}.json"));
    serde_json::from_str::<Value>(&text).unwrap()["body"].clone()
}

fn sha256(space: &Space, path: &str) -> String {
    Sha256::of(&std::fs::read(space.path(&format!(".studbook/runs/{path}"))).unwrap()).to_string()
}

fn gate<'v>(promotion: &'v Value, name: &str) -> &'v Value {
    promotion["gates"].as_array().unwrap().iter().find(|gate| gate["gate"] == name).unwrap()
}

#[test]
fn the_champion_is_the_last_admitted_and_bound_before_the_run() {
    let space = space();
    space.write("next.toml", format!("{NEXT}{SURELY}").as_bytes());
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space.studbook(&["run", "next.toml", "--quiet"]).exits(3);
    // `average` is the only one that the first cycle admitted.
    let (manifest, artifact) =
        (sha256(&space, "tiny/05-candidate/average.json"), sha256(&space, "tiny/04-operator/average.slm"));
    let lineage = body(&space, "next/03-lineage/child");
    assert_eq!(lineage["champion"]["sha256"], artifact.as_str());
    assert_eq!(lineage["champion"]["source"], sha256(&space, "next/01-source/champion.json").as_str());
    assert_eq!(
        lineage["gates"][0]["rule"]["metric"]["versus"]["champion"]["manifest"],
        manifest.as_str(),
        "{lineage}"
    );
    assert_eq!(body(&space, "next/01-source/champion")["origin"]["manifest"], manifest.as_str());

    let promotion = body(&space, "next/08-promotion/child");
    assert_eq!(gate(&promotion, "no-worse")["state"], "passed");
    assert!(gate(&promotion, "no-worse")["finding"].as_str().unwrap().contains("`champion`"));
    // Paired with the champion case by case, like with a parent; eight cases are too few to tell.
    let rows = &body(&space, "next/07-eval/comparisons")["rows"];
    assert_eq!((&rows[0]["test"]["n"], &rows[0]["state"]), (&8.into(), &"inconclusive".into()), "{rows}");
    let sidecar = sha256(&space, "next/07-eval/champion.digits.json");
    assert!(rows[0]["evidence"].as_array().unwrap().contains(&sidecar.into()), "{rows}");
    space.studbook(&["verify", "next.toml"]).exits(0).says(", 0 failed");
}

#[test]
fn a_cycle_keeps_its_champion_and_the_next_one_has_its_child() {
    let space = space();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space.studbook(&["run", "next.toml", "--quiet"]).exits(0);
    let before = space.files(".studbook/runs/next");
    let again = space.studbook(&["run", "next.toml", "--format", "json"]).exits(0).json();
    assert_eq!(again["executed"], 0, "its own child was admitted and is not its champion");
    assert_eq!(space.files(".studbook/runs/next"), before);
    space.write("third.toml", NEXT.replace("\"next\"", "\"third\"").as_bytes());
    space.studbook(&["run", "third.toml", "--quiet"]).exits(0);
    let child = sha256(&space, "next/05-candidate/child.json");
    assert_eq!(body(&space, "third/01-source/champion")["origin"]["manifest"], child.as_str());
    // Retired it is no champion any more: the one before it is, for whoever comes next.
    space.studbook(&["retire", "next/child", "--plan", "next.toml", "--reason", "old"]).exits(0);
    space.write("fourth.toml", NEXT.replace("\"next\"", "\"fourth\"").as_bytes());
    space.studbook(&["retire", "third/child", "--plan", "next.toml", "--reason", "old"]).exits(0);
    // Nor are the same bytes, which an edit of the plan has admitted again.
    space.edit("third.toml", "max_tokens = 4\n\n[[eval]]", "max_tokens = 5\n\n[[eval]]");
    space.studbook(&["run", "third.toml"]).exits(0).says("admitted");
    space.studbook(&["run", "fourth.toml", "--quiet"]).exits(0);
    let average = sha256(&space, "tiny/05-candidate/average.json");
    assert_eq!(body(&space, "fourth/01-source/champion")["origin"]["manifest"], average.as_str());
}

#[test]
fn without_a_champion_the_gate_waits_or_asks_who_was_declared() {
    let space = space();
    let report = space.studbook(&["run", "next.toml", "--format", "json"]).exits(3).json();
    let waits = report["pending_gates"][0]["satisfied_by"].as_str().unwrap();
    assert!(waits.contains("a champion that is not there"), "{report}");
    assert!(report["candidates"][0]["because"].as_str().unwrap().contains("nobody was admitted"), "{report}");
    space.write("next.toml", format!("{NEXT}\n[champion]\notherwise = \"three\"\n").as_bytes());
    space.studbook(&["run", "next.toml", "--quiet"]).exits(0);
    let promotion = body(&space, "next/08-promotion/child");
    assert!(gate(&promotion, "no-worse")["finding"].as_str().unwrap().contains("`three`"), "{promotion}");
    assert_eq!(body(&space, "next/03-lineage/child")["champion"], Value::Null);
}

#[test]
fn the_threat_of_a_champion_that_was_refused_or_taken_back() {
    let space = space();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let name = |name: &str| sha256(&space, &format!("tiny/05-candidate/{name}.json"));
    let named = |name: &str| format!("{NEXT}\n[champion]\nmanifest = \"{name}\"\n");
    space.write("next.toml", named(&name("tasks")).as_bytes());
    space.studbook(&["check", "next.toml"]).exits(2).complains("did not admit");
    space.write("next.toml", named(&name("average")).as_bytes());
    space.studbook(&["run", "next.toml", "--quiet"]).exits(0);
    space.studbook(&["revoke", &name("average"), "--plan", "plan.toml", "--reason", "wrong data"]).exits(0);
    space.studbook(&["run", "next.toml"]).exits(2).complains("there is no telling who the champion is");
}

/// The dossier shows whom it was compared with: the champion's record, sidecar and outcomes, bound by the
/// lineage, so that a lesser champion put in its place is found out.
#[test]
fn a_dossier_holds_the_champion_it_was_compared_with() {
    let space = space();
    for role in ["producer", "evaluator", "promoter", "log", "registry"] {
        space.studbook(&["keys", "new", role, "--trust", "trust.toml"]).exits(0);
    }
    // As good as the champion is sure enough where the margin is wide.
    let wide = SURELY.replace("margin = 0.1", "margin = -0.9");
    space.write("next.toml", format!("{NEXT}{wide}").as_bytes());
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space.studbook(&["run", "next.toml", "--quiet"]).exits(0);
    space.studbook(&["verify", "next.toml"]).exits(0).says(", 0 failed");
    space.studbook(&["export", "next.toml", "child", "--out", "out"]).exits(0);
    let other = Space::empty();
    let copy = |changed: Option<(&str, &str, &str)>| {
        let _ = std::fs::remove_dir_all(other.path("d"));
        for (name, bytes) in space.files("out") {
            other.write(&format!("d/{name}"), &bytes);
        }
        if let Some((name, from, to)) = changed {
            other.edit(&format!("d/{name}"), from, to);
        }
        other.write("trust.toml", space.read("trust.toml").as_bytes());
        other.studbook(&["verify", "d", "--trust", "trust.toml"])
    };
    let said = copy(None).exits(0).says("promotion:child: derived again: same bytes");
    said.says("attestation of eval:comparisons: signed by evaluator `evaluator`");
    for name in ["records/01-source/champion.json", "records/07-eval/champion.digits.outcomes.jsonl"] {
        assert!(other.path(&format!("d/{name}")).is_file(), "{name}");
    }
    // Another champion than the lineage binds, a worse one, one whose outcomes were improved upon, or none.
    let source = "records/01-source/champion.json";
    copy(Some((source, "\"q8_0\"", "\"q4_0\""))).exits(4).says("the source record of `champion`");
    let lineage = "records/03-lineage/child.json";
    copy(Some((lineage, "\"champion\":{\"blake3\":\"", "\"champion\":{\"blake3\":\"0"))).exits(4);
    let outcomes = "records/07-eval/champion.digits.outcomes.jsonl";
    copy(Some((outcomes, "\"c1\"", "\"c9\""))).exits(4).says("eval:champion.digits: ");
    copy(None);
    std::fs::remove_file(other.path(&format!("d/{source}"))).unwrap();
    other.studbook(&["verify", "d"]).exits(4).says("the source record of the parent `champion` is missing");
}
