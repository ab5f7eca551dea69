//! Properties that are not one operator's: each is asked of every operator it can be asked of.

use super::mixing::word;
use super::*;

/// Settings under which an operator is expected to leave equal models as they are.
fn quiet(operator: &'static str, b: &[f32], parents: usize) -> Trial {
    let trial = Trial::new(operator, b, &vec![b.to_vec(); parents]);
    match operator {
        "mutate" => trial.set("tensors", word("*")).set("rate", Value::Number(0.0)),
        "prune" => trial.set("tensors", word("*")).set("density", Value::Number(1.0)),
        _ => trial,
    }
}

proptest! {
    #[test]
    fn models_equal_to_the_base_make_the_base((b, ..) in three(), count in 1_usize..5, block in 1_usize..100) {
        for operator in OPERATORS {
            let parents = operator.parents();
            let count = count.clamp(*parents.start(), *parents.end());
            let trial = Trial { block, ..quiet(operator.name(), &b, count) };
            let child = trial.child();
            // Shares such as 1/3 are rounded, and so is their sum.
            let near = child.iter().zip(&b).all(|(out, b)| (out - b).abs() <= 4e-6 * b.abs());
            prop_assert!(near, "{}: {child:?} of {b:?}", operator.name());
        }
    }

    #[test]
    fn one_parent_is_kept_as_it_is((x, ..) in three()) {
        let trial = |operator| Trial::new(operator, &x, std::slice::from_ref(&x));
        let to_bits = |child: Vec<f32>| child.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let bits = to_bits(x.clone());
        prop_assert_eq!(&to_bits(trial("passthrough").child()), &bits);
        let whole = trial("prune").set("tensors", word("*")).set("density", Value::Number(1.0));
        prop_assert_eq!(&to_bits(whole.clone().child()), &bits);
        prop_assert_eq!(&to_bits(whole.set("scope", word("global")).child()), &bits);
        let nothing = trial("prune").set("tensors", word("*")).set("density", Value::Number(0.0));
        prop_assert!(nothing.child().iter().all(|value| *value == 0.0));
        prop_assert_eq!(&to_bits(trial("blend").child()), &bits);
        prop_assert_eq!(&to_bits(trial("soup").child_of_two()), &bits);
    }

    #[test]
    fn a_scale_scales((x, ..) in three(), power in -6_i32..7) {
        let scale = 2_f32.powi(power);
        let trial = Trial::new("passthrough", &x, std::slice::from_ref(&x));
        let child = trial.set("scale", Value::Number(f64::from(scale))).child();
        prop_assert!(child.iter().zip(&x).all(|(out, x)| *out == x * scale));
    }

    #[test]
    fn averages_stay_between_their_parents(
        (x, y, z) in three(),
        weights in prop::collection::vec(0.01_f64..10.0, 3),
    ) {
        let parents = [x, y, z];
        let zero = vec![0.0; parents[0].len()];
        let trial = |operator| Trial::new(operator, &zero, &parents);
        let per_parent = || Value::PerParent(weights.clone());
        let whole = || Value::PerParent(weights.iter().map(|weight| weight.ceil()).collect());
        let averages = [
            trial("blend").set("weight", per_parent()),
            trial("task_delta").set("weight", per_parent()).set("normalize", Value::Flag(true)),
            trial("federated").set("samples", whole()),
            trial("soup"),
            trial("soup").set("weighting", word("uniform")),
        ];
        for average in averages {
            for (i, out) in average.child().into_iter().enumerate() {
                let at = || parents.iter().map(|parent| parent[i]);
                let (least, most) = (at().fold(f32::MAX, f32::min), at().fold(f32::MIN, f32::max));
                // Elements are up to 10, a few roundings of each.
                let inside = least - 1e-5 <= out && out <= most + 1e-5;
                prop_assert!(inside, "{}: {out} of {least}..{most}", average.operator);
            }
        }
        // An election leaves out the losers, so what is left lies between zero and the furthest of them.
        for elect in ["sum", "count"] {
            let merged = trial("sign_merge").set("weight", per_parent()).set("elect", word(elect));
            for (i, out) in merged.child().into_iter().enumerate() {
                let at = || parents.iter().map(|parent| parent[i]);
                let (least, most) = (at().fold(0.0, f32::min), at().fold(0.0, f32::max));
                prop_assert!(least - 1e-5 <= out && out <= most + 1e-5, "{out} of {least}..{most}");
            }
        }
    }

    #[test]
    fn what_is_rescaled_by_its_probability_grows_no_more_than_that((x, ..) in three(), drop in 0.0_f64..0.99) {
        let zero = vec![0.0; x.len()];
        let trial = Trial::new("dare", &zero, std::slice::from_ref(&x)).set("drop", Value::Number(drop));
        let most = (1.0 / (1.0 - drop)) as f32 * (1.0 + 1e-6);
        prop_assert!(trial.child().iter().zip(&x).all(|(out, x)| out.abs() <= x.abs() * most));
    }

    #[test]
    fn only_proportions_of_weights_and_shares_count((x, y, z) in three(), power in 1_i32..5) {
        let scale = 2_f64.powi(power);
        let child = |operator, name: &str, numbers: &[f64]| {
            let parents = &[x.clone(), y.clone(), z.clone()][..numbers.len()];
            Trial::new(operator, &x, parents).set(name, Value::PerParent(numbers.to_vec())).child()
        };
        let scaled = |numbers: &[f64]| numbers.iter().map(|number| number * scale).collect::<Vec<_>>();
        for (operator, name, numbers) in [
            ("nuslerp", "weight", &[0.75, 0.5][..]),
            ("crossover", "shares", &[1.0, 2.0, 0.5]),
            ("federated", "samples", &[3.0, 8.0, 1.0]),
            ("blend", "weight", &[0.75, 0.5, 0.25]),
        ] {
            let (once, again) = (child(operator, name, numbers), child(operator, name, &scaled(numbers)));
            prop_assert_eq!(once, again, "{}", operator);
        }
    }
}

impl Trial {
    /// The child of the first parent twice, in equal parts.
    fn child_of_two(mut self) -> Vec<f32> {
        self.parents.push(self.parents[0].clone());
        self.set("weighting", word("uniform")).child()
    }
}
