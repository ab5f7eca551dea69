//! Parents of other networks: what is said of them before a run.

use serde_json::{Value, json};
use studbook::tensor::dtype::DType;

use crate::gguf::folder;
use crate::space::{Space, config, model};

/// Two folders of one model of gemma3.
fn two_of_gemma3() -> Space {
    let space = Space::empty();
    space.write("a.slm", &model(&config(), "a", DType::F32));
    folder(&space, "gemma3");
    for to in ["one", "two"] {
        for file in ["config.json", "model.safetensors", "tokenizer.json"] {
            space.write(&format!("{to}/{file}"), &std::fs::read(space.path("gemma3").join(file)).unwrap());
        }
    }
    space
}

/// Parents whose windows, their places or the bases of their frequencies differ have no children in a plan: `init`
/// says so, and `check` of a plan that is written by hand.
#[test]
fn models_of_other_networks_are_told_before_a_run() {
    let space = two_of_gemma3();
    let init = |plan: &str| space.studbook(&["init", plan, "--parent", "one", "--parent", "two"]);
    init("good.toml").exits(0);
    let checked = space.studbook(&["check", "good.toml"]).exits(0);
    assert!(checked.err.is_empty(), "{}", checked.err);
    let as_made: Value = serde_json::from_str(&space.read("two/config.json")).unwrap();
    let other_layer = json!("full_attention");
    for (at, value, field) in [
        ("/sliding_window", json!(3), "sliding_window"),
        ("/layer_types/0", other_layer, "sliding_window"),
        ("/rope_parameters/full_attention/rope_theta", json!(50_000.0), "rope_theta"),
        ("/rope_parameters/sliding_attention/rope_theta", json!(500.0), "sliding_window"),
        ("/rope_parameters/full_attention/factor", json!(4.0), "rope_scaling"),
    ] {
        let mut other = as_made.clone();
        *other.pointer_mut(at).unwrap() = value;
        space.write("two/config.json", other.to_string().as_bytes());
        let differ = format!("`{field}` of `one` is ");
        init("new.toml").exits(2).complains(&format!("a plan of these makes no children: {differ}"));
        assert!(!space.path("new.toml").exists());
        let checked = space.studbook(&["check", "good.toml"]).exits(0);
        checked
            .complains(&format!("warning: {differ}"))
            .complains("the compatibility report of `average` refuses them");
    }
    let ran = space.studbook(&["run", "good.toml"]);
    ran.complains("warning: `rope_scaling` of `one` is linear / 8, that of `two` linear / 4");
    let report = space.read(".studbook/runs/good/02-compat/average.json");
    assert!(report.contains("architecture.rope_scaling: `one` has linear / 8"), "{report}");
}
