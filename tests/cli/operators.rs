//! A person asks what a candidate can be made by, and plans take what the answer says.

use crate::space::{PLAN, Space};

fn candidate(operator: &str, parents: &[&str], parameters: &str) -> String {
    format!("\n[candidates.asked]\noperator = \"{operator}\"\nparents = {parents:?}\n{parameters}\n\n[smoke]")
}

#[test]
fn bounds_and_defaults_are_those_that_plans_are_checked_by() {
    let space = Space::new();
    let told = space.studbook(&["operators", "--format", "json"]).exits(0).json();
    let operators = told.as_array().unwrap();
    assert!(operators.len() >= 20, "{told}");
    let mut checked = 0;
    for operator in operators {
        let name = operator["name"].as_str().unwrap();
        let least = operator["parents"][0].as_u64().unwrap() as usize;
        let parents = &["one", "two", "three"][..least];
        for parameter in operator["parameters"].as_array().unwrap() {
            let Some(most) = parameter["bounds"][1].as_f64() else { continue };
            let of = parameter["name"].as_str().unwrap();
            let beyond = most * 2.0 + 1.0;
            let plan = PLAN.replace("\n[smoke]", &candidate(name, parents, &format!("{of} = {beyond:?}")));
            space.write("plan.toml", plan.as_bytes());
            let said = space.studbook(&["check", "plan.toml"]).exits(2);
            said.complains(&format!("`{of}` cannot be {beyond}")).complains("expected a number from ");
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} parameters have bounds");
}

#[test]
fn a_page_has_the_parameters_and_a_mistake_the_nearest_name() {
    let space = Space::empty();
    space
        .studbook(&["operators"])
        .exits(0)
        .says("nuslerp            2          if named")
        .says("TIES; Yadav et al. 2023");
    space
        .studbook(&["operators", "sign_merge"])
        .exits(0)
        .says("parents: 1 or more; base: needed")
        .says("density    1        a number from 0 to 1 for each parent")
        .says("elect      \"sum\"    one of sum, count");
    space.studbook(&["operators", "arcee_fusion"]).exits(0).says("base: needed; no parameters\n");
    space.studbook(&["operators", "sign_merg"]).exits(2).complains("did you mean `sign_merge`?");
    // Who looks for a method of mergekit finds what it is here, in a plan as well.
    for (method, told) in [
        ("ties", "mergekit's `ties` is `sign_merge` here"),
        ("linear", "mergekit's `linear` is `blend` here"),
        ("task_arithmetic", "mergekit's `task_arithmetic` is `task_delta` here"),
        (
            "breadcrumbs_ties",
            "mergekit's `breadcrumbs_ties` is `sparse_task_delta` with `elect = \"sum\"` here",
        ),
    ] {
        space.studbook(&["operators", method]).exits(2).complains(told);
        let space = Space::new();
        space.edit("plan.toml", "operator = \"blend\"", &format!("operator = \"{method}\""));
        space.studbook(&["check", "plan.toml"]).exits(2).complains(told);
    }
}
