//! Models that number layers in two places: what goes by depth goes from the first to the last in each, and
//! nobody guesses whose layers slices are.

use studbook::model::{Package, open_package};

use crate::misfits::safetensors;
use crate::space::Space;

/// How many layers each place has.
const PLACES: [(&str, usize); 2] = [("visual.blocks", 6), ("model.layers", 3)];

fn names() -> Vec<String> {
    PLACES.iter().flat_map(|(stem, count)| (0..*count).map(move |i| format!("{stem}.{i}.w"))).collect()
}

/// Parents `x` and `y`, filled with one number each, and a plan with these candidates.
fn space(candidates: &str) -> Space {
    let space = Space::empty();
    for (name, value) in [("x", 1.0), ("y", 0.5)] {
        let names = names();
        let tensors: Vec<(&str, &[usize], f32)> =
            names.iter().map(|name| (name.as_str(), &[4, 4][..], value)).collect();
        space.write(&format!("{name}.safetensors"), &safetensors(&tensors));
    }
    let plan = format!(
        "[cycle]\nname = \"two\"\nseed = \"7\"\n\n[budget]\ncandidates = 4\nartifact = \"1 MiB\"\n\
         disk = \"8 MiB\"\nseconds = 600\n\n[parents.x]\nsource = \"x.safetensors\"\n\n\
         [parents.y]\nsource = \"y.safetensors\"\n\n{candidates}\n\
         [smoke]\nprompts = [\"ab\"]\nmax_tokens = 2\n\n\
         [[gate]]\nname = \"size\"\nkind = \"metric\"\nmetric = \"artifact_bytes\"\nmax = 1000000\n"
    );
    space.write("plan.toml", plan.as_bytes());
    space
}

fn made(space: &Space, candidate: &str) -> Package {
    open_package(&space.path(&format!(".studbook/runs/two/04-operator/{candidate}.safetensors")))
        .unwrap()
        .package
}

fn first(package: &Package, name: &str) -> f32 {
    package.weights.tensor(name).unwrap().to_f32()[0]
}

#[test]
fn ramps_go_from_the_first_layer_to_the_last_in_each_place() {
    let space = space(
        "[candidates.ramp]\noperator = \"passthrough\"\nparents = [\"x\"]\nscale = { ramp = [1, 2] }\n",
    );
    space.studbook(&["run", "plan.toml"]).exits(0);
    let child = made(&space, "ramp");
    for (stem, count) in PLACES {
        for layer in 0..count {
            let expected = 1.0 + layer as f32 / (count - 1) as f32;
            assert_eq!(first(&child, &format!("{stem}.{layer}.w")), expected, "{stem}.{layer}");
        }
    }
    let merge =
        "merge_method: passthrough\nmodels:\n  - {model: x.safetensors, parameters: {scale: [1, 2]}}\n";
    space.write("m.yml", merge.as_bytes());
    space.studbook(&["merge", "m.yml", "out.safetensors"]).exits(0);
    let folder = ".studbook/runs/two/04-operator/ramp.safetensors";
    space.studbook(&["diff", folder, "out.safetensors", "--exit-code"]).exits(0);
}

/// A layer of one place says nothing of the other one's of the same number.
#[test]
fn layers_of_two_places_are_drawn_apart() {
    let crossover = "operator = \"crossover\"\nparents = [\"x\", \"y\"]\nunit = \"layer\"\n";
    let space = space(&format!(
        "[candidates.drawn]\n{crossover}\n[candidates.turns]\n{crossover}scheme = \"n_point:8\"\n"
    ));
    space.studbook(&["run", "plan.toml"]).exits(0);
    let drawn = made(&space, "drawn");
    let other = |i: &usize| first(&drawn, &names()[*i]) != first(&drawn, &names()[6 + i]);
    assert_ne!((0..3).filter(other).count(), 0);
    // Cut between all units there are: parents take turns.
    let turns = made(&space, "turns");
    let given: Vec<f32> = turns.weights.tensors().map(|tensor| tensor.to_f32()[0]).collect();
    assert_eq!(given, [1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 1.0]);
    let receipt = space.read(".studbook/runs/two/04-operator/drawn.json");
    assert!(receipt.contains("\"stacks\":2"), "{receipt}");
}

const SLICE: &str = "[candidates.cut]\noperator = \"passthrough\"\nparents = [\"x\"]\n\
                     slices = [{ parent = \"x\", layers = [0, 1] }]\n";

/// A merge and a plan refuse the same.
#[test]
fn slices_are_of_models_that_number_layers_in_one_place() {
    let space = space(SLICE);
    let why = "`x` numbers layers in two places, `model.layers` and `visual.blocks`";
    let said = space.studbook(&["check", "plan.toml"]).exits(2).complains(why).complains("plan.toml:20:22");
    said.complains("expected models with one run of layers").complains("plan.toml has 1 error");
    space.edit("plan.toml", "[0, 1] }", "[5, 6] }");
    space.studbook(&["run", "plan.toml"]).exits(2).complains(why);
    let merge =
        "merge_method: passthrough\nslices:\n  - sources: [{model: x.safetensors, layer_range: [0, 1]}]\n";
    space.write("m.yml", merge.as_bytes());
    let said = space.studbook(&["merge", "m.yml", "out.safetensors"]).exits(2);
    said.complains("`x.safetensors` numbers layers in two places, `model.layers` and `visual.blocks`");
}

/// Layers that no network of the child's configuration has.
#[test]
fn layers_unlike_all_those_of_the_model_the_child_is_like_are_refused() {
    let both = "{ parent = \"x\", layers = [0, 1] }, { parent = \"y\", layers = [0, 2] }]";
    let space = space(
        &SLICE.replace("[\"x\"]", "[\"x\", \"y\"]").replace("{ parent = \"x\", layers = [0, 1] }]", both),
    );
    let model = |name: &str, tensors: [(&str, &[usize], f32); 3]| space.write(name, &safetensors(&tensors));
    model("x.safetensors", [("h.0.w", &[4, 4], 1.0), ("h.1.w", &[4, 4], 1.0), ("h.2.w", &[4, 4], 1.0)]);
    model("y.safetensors", [("h.0.w", &[4, 4], 1.0), ("h.1.w", &[4, 4], 1.0), ("h.2.w", &[8, 4], 1.0)]);
    space.studbook(&["check", "plan.toml"]).exits(0);
    space.edit("plan.toml", "[0, 2] }", "[1, 3] }");
    let said = space.studbook(&["check", "plan.toml"]).exits(2).complains("plan.toml:20:");
    said.complains("tensor `h.2.w` is 8x4 in `y` and 4x4 in `x`").complains("built alike");
    model("y.safetensors", [("h.0.w", &[4, 4], 1.0), ("h.1.w", &[4, 4], 1.0), ("h.2.v", &[4, 4], 1.0)]);
    space
        .studbook(&["check", "plan.toml"])
        .exits(2)
        .complains("`y` has a tensor `h.2.v`, and `x` has no such one");
}
