//! A run in a browser as a gate, and the command that serves a registry.

use super::{browser, registry};
use crate::space::{PLAN, Space};

const GATE: &str =
    "[[gate]]\nname = \"page\"\nkind = \"browser_smoke\"\ncandidates = [\"average\"]\n\n[review]";

#[test]
fn a_browser_smoke_gate_waits_for_a_browser() {
    let space = Space::new();
    space.write("plan.toml", PLAN.replace("[review]", GATE).as_bytes());
    let run = space.studbook(&["run", "plan.toml"]).exits(3);
    assert!(run.out.contains("studbook smoke --browser plan.toml"), "{}", run.out);
    let mut without = space.command(&["smoke", "--browser", "plan.toml"]);
    crate::space::said(without.env("STUDBOOK_CHROMEDRIVER", "/nowhere/chromedriver"))
        .exits(3)
        .complains("apt-get install chromium chromium-driver")
        .complains("the gate page of average stays pending");
    if browser().is_none() {
        return;
    }
    space.studbook(&["smoke", "--browser", "plan.toml"]).exits(0).says("average: ran in chrome");
    space.studbook(&["run", "plan.toml"]).exits(3);
    let promotion = space.read(".studbook/runs/tiny/08-promotion/average.json");
    assert!(promotion.contains("2 prompts with the native tokens, 2 with the native logits"), "{promotion}");
    assert!(space.read(".studbook/runs/tiny/09-admission/average.json").contains("\"admitted\":true"));
    space.studbook(&["verify", "plan.toml"]).exits(0);

    // What a browser did with another runtime than pages get, or with another candidate, proves nothing.
    let evidence = space.files(".studbook/evidence");
    let brought = format!(".studbook/evidence/{}", evidence.keys().next().unwrap());
    let good = space.read(&brought);
    let evidence: serde_json::Value = serde_json::from_str(&good).unwrap();
    for (field, why) in
        [("/body/runtime", "of another runtime"), ("/body/lineage", "of another candidate, gate or lineage")]
    {
        let mut other = evidence.clone();
        *other.pointer_mut(field).unwrap() = serde_json::json!("0".repeat(64));
        space.write(&brought, other.to_string().as_bytes());
        space.studbook(&["run", "plan.toml"]).exits(3);
        let promotion = space.read(".studbook/runs/tiny/08-promotion/average.json");
        assert!(promotion.contains(why), "{why}: {promotion}");
    }
    space.write(&brought, good.as_bytes());
    space.studbook(&["run", "plan.toml"]).exits(3);
    assert!(space.read(".studbook/runs/tiny/09-admission/average.json").contains("\"admitted\":true"));
}

#[test]
fn a_browser_is_asked_only_for_what_was_made() {
    let space = Space::new();
    space.write("plan.toml", PLAN.replace("[review]", GATE).as_bytes());
    space
        .studbook(&["smoke", "--browser", "plan.toml"])
        .exits(3)
        .complains("average: not made, not smoked, or refused; run it first: studbook run plan.toml");
    space.edit("plan.toml", "output = \"q8_0\"", "output = \"f32\"");
    space.edit("plan.toml", "[cycle]", "[cycle]\nformat = \"gguf\"");
    space
        .studbook(&["check", "plan.toml"])
        .exits(2)
        .complains("`page` can never pass: a browser loads .slm files");
}

#[test]
fn what_is_admitted_and_not_offered_is_named() {
    let space = Space::new();
    space.write("plan.toml", (space.read("plan.toml") + "\n[registry]\nbudget = 1000\n").as_bytes());
    space
        .studbook(&["registry", "build", "plan.toml"])
        .exits(3)
        .says("registry: 0 models")
        .says("left out: average, ");
}

#[test]
fn serving_is_for_a_registry_that_holds() {
    let (space, files) = registry();
    let model = files.keys().find(|path| path.starts_with("models/")).unwrap();
    let mut bytes = files[model].clone();
    bytes[5000] ^= 1;
    space.write(&format!("site/{model}"), &bytes);
    space
        .studbook(&["registry", "serve", "site", "--port", "0"])
        .exits(4)
        .complains("the SHA-256 of the model");
    space.studbook(&["registry", "build", "plan.toml", "--out", "site"]).exits(2).complains("is not empty");
    std::fs::create_dir(space.path("empty")).unwrap();
    space.studbook(&["registry", "serve", "empty", "--port", "0"]).exits(2).complains("empty is no registry");
    Space::new().studbook(&["registry", "serve", "plan.toml"]).exits(2).complains("has no registry yet");
}
