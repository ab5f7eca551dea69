//! What operators that drop elements must hold.

use super::super::pieces::pieces;
use super::super::trim::{kept, magnitude};
use super::*;
use crate::tensor::dtype::DType;

fn word(word: &str) -> Value {
    Value::Choice(word.to_owned())
}

fn number(number: f64) -> Value {
    Value::Number(number)
}

/// Names and values of parameters.
type Settings = &'static [(&'static str, Setting)];

#[derive(Clone, Copy)]
enum Setting {
    Number(f64),
    Word(&'static str),
    Flag(bool),
}

use Setting::{Flag, Number, Word};

impl Trial {
    fn with(mut self, settings: Settings) -> Self {
        for (name, setting) in settings {
            self = self.set(
                name,
                match setting {
                    Number(number) => Value::Number(*number),
                    Word(word) => Value::Choice((*word).to_owned()),
                    Flag(flag) => Value::Flag(*flag),
                },
            );
        }
        self
    }
}

/// Ways of dropping elements, one that matters for each branch.
const SPARSE: &[(&str, Settings)] = &[
    ("sparse_task_delta", &[("density", Number(0.5))]),
    ("sparse_task_delta", &[("density", Number(0.3)), ("rescale", Word("l2"))]),
    ("sparse_task_delta", &[("density", Number(0.6)), ("gamma", Number(0.1)), ("rescale", Word("l1"))]),
    ("sparse_task_delta", &[("density", Number(0.5)), ("gamma", Number(0.05)), ("elect", Word("sum"))]),
    ("dare", &[("drop", Number(0.7))]),
    ("dare", &[("density", Number(0.4)), ("rescale", Word("l1")), ("elect", Word("count"))]),
    ("dare", &[("rescale", Word("none")), ("elect", Word("sum")), ("normalize", Flag(true))]),
    ("della", &[("density", Number(0.6))]),
    ("della", &[("drop", Number(0.5)), ("rescale", Word("l1")), ("elect", Word("sum"))]),
];

const PRUNED: &[(&str, Settings)] = &[
    ("prune", &[("structure", Word("2:4"))]),
    ("prune", &[("density", Number(0.2)), ("scope", Word("global")), ("tensors", Word("*"))]),
];

/// For the test that neither blocks nor threads matter.
pub(super) fn large_trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (operator, settings) in SPARSE.iter().chain(PRUNED) {
        for (shape, output) in
            [(vec![301, 160], DType::F32), (vec![5, 20_004], DType::F32), (vec![5_000, 4], DType::Q8_0)]
        {
            let elements = shape.iter().product();
            let step = 2_f64.powi(-6);
            let parents: Vec<_> = (0..3).map(|i| values(i, elements, step)).collect();
            let trial = Trial::new(operator, &values(9, elements, step), &parents).with(settings).fit();
            trials.push(Trial { shape, output, ..trial });
        }
    }
    trials
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let refused = |operator, settings| {
        let trial = Trial::new(operator, &[0.0; 4], &[vec![1.0; 4]]).with(settings);
        trial.run().unwrap_err().to_string()
    };
    assert_eq!(
        refused("dare", &[("drop", Number(0.5)), ("density", Number(0.5))]),
        "dare: `density` is one minus `drop`; give one of them"
    );
    let error = refused("della", &[("density", Number(0.1))]);
    assert!(
        error.starts_with("della: a density of 0.1 with an epsilon of 0.15 is no probability"),
        "{error}"
    );
    let error = refused("prune", &[("structure", Word("4:2"))]);
    assert!(error.ends_with("found 4:2"), "{error}");
    let error = refused("prune", &[("structure", Word("2:4")), ("density", Number(0.5))]);
    assert_eq!(error, "prune: the structure 2:4 says how much is kept; leave `density` out");
    let error = refused("prune", &[("structure", Word("2:4")), ("scope", Word("global"))]);
    assert!(error.contains("compete with their neighbours"), "{error}");
    let error = refused("prune", &[("structure", Word("1:3")), ("tensors", Word("*"))]);
    assert!(error.starts_with("prune: `t` has rows of 4, which cannot be cut into groups of 3"), "{error}");
}

#[test]
fn every_parent_has_its_own_stream() {
    let shape = Shape::new(vec![1]).unwrap();
    let tensor = tensors_of(&[("t", vec![0.0])], &[&shape], "dare", &Parameters::new());
    let streams = [tensor[0].random(), tensor[0].random_for(0), tensor[0].random_for(1)];
    assert!(streams[0] != streams[1] && streams[1] != streams[2] && streams[0] != streams[2]);
}

#[test]
fn about_as_many_are_dropped_as_was_said() {
    let elements = 100_000;
    let (base, parent) = (vec![0.0; elements], values(1, elements, 2_f64.powi(-20)));
    for operator in ["dare", "della"] {
        for drop in [0.3, 0.5, 0.7] {
            let trial = Trial::new(operator, &base, std::slice::from_ref(&parent)).set("drop", number(drop));
            let outcome = Trial { shape: vec![100, 1000], ..trial }.run().unwrap();
            let Value::PerParent(kept) = &outcome.realised["kept"] else { panic!("no counts") };
            // Five standard deviations.
            let bound = 5.0 * (drop * (1.0 - drop) * elements as f64).sqrt();
            assert!((kept[0] - (1.0 - drop) * elements as f64).abs() < bound, "{operator} {drop} {kept:?}");
            let changed = outcome.floats().iter().filter(|value| **value != 0.0).count();
            let zeros = parent.iter().filter(|value| **value == 0.0).count();
            assert!(changed as f64 <= kept[0] && kept[0] <= (changed + zeros) as f64);
        }
    }
}

#[test]
fn small_elements_are_dropped_more_readily() {
    // Two halves of each row: the second has the larger magnitudes.
    let row = |i: usize| (i % 100) as f32 + 1.0;
    let parent: Vec<f32> = (0..100_000).map(row).collect();
    let trial = Trial::new("della", &vec![0.0; 100_000], &[parent]).with(&[
        ("density", Number(0.5)),
        ("epsilon", Number(0.3)),
        ("rescale", Word("none")),
    ]);
    let child = Trial { shape: vec![1000, 100], ..trial }.child();
    let share = |from: usize| {
        let kept = child.iter().enumerate().filter(|(i, x)| (i % 100) / 50 == from && **x != 0.0).count();
        kept as f64 / 50_000.0
    };
    // Means of the straight line from 0.2 to 0.8 over each half.
    assert!((share(0) - 0.35).abs() < 0.02 && (share(1) - 0.65).abs() < 0.02, "{} {}", share(0), share(1));
}

#[test]
fn what_is_rescaled_has_its_norm_again() {
    let elements = 30_000;
    let parent = values(3, elements, 2_f64.powi(-20));
    let size = |values: &[f32], norm: &str| -> f64 {
        let squares = norm == "l2";
        let terms = values.iter().map(|x| f64::from(*x)).map(|x| if squares { x * x } else { x.abs() });
        if squares { terms.sum::<f64>().sqrt() } else { terms.sum() }
    };
    for (operator, norm) in
        [("sparse_task_delta", "l1"), ("sparse_task_delta", "l2"), ("dare", "l1"), ("della", "l1")]
    {
        let trial = Trial::new(operator, &vec![0.0; elements], std::slice::from_ref(&parent));
        let child = trial.set("density", number(0.4)).set("rescale", word(norm)).child();
        let (found, expected) = (size(&child, norm), size(&parent, norm));
        assert!((found / expected - 1.0).abs() < 1e-6, "{operator} {norm}: {found} {expected}");
    }
}

#[test]
fn which_tensors_are_pruned_can_be_said() {
    let (b, x) = (vec![0.0; 8], vec![vec![1.0, 2.0, 3.0, 4.0, -5.0, 6.0, 7.0, 8.0]]);
    let trial = |shape: &[usize]| Trial { shape: shape.to_vec(), ..Trial::new("prune", &b, &x) };
    let half = vec![0.0, 0.0, 0.0, 0.0, -5.0, 6.0, 7.0, 8.0];
    assert_eq!(trial(&[8]).child(), x[0], "a vector is copied");
    assert_eq!(trial(&[2, 2, 2]).child(), x[0]);
    assert_eq!(trial(&[2, 4]).child(), half);
    assert_eq!(trial(&[8]).set("tensors", word("t")).child(), half);
    assert_eq!(trial(&[2, 4]).set("tensors", word("u*")).child(), x[0]);
    let outcome = trial(&[2, 4]).run().unwrap();
    assert_eq!(outcome.realised["kept"], Value::PerParent(vec![4.0]));
    assert_eq!(outcome.realised["threshold"], Value::PerParent(vec![5.0]));
}

/// Several tensors of one parent.
fn tensors_of<'a>(
    named: &[(&'a str, Vec<f32>)],
    shapes: &[&'a Shape],
    operator: &'static str,
    parameters: &Parameters,
) -> Vec<TensorInputs<'a>> {
    let values = check(find(operator).unwrap(), parameters, &[], 1).unwrap();
    let tensor = |((name, values_of), shape): (&(&'a str, Vec<f32>), &&'a Shape)| TensorInputs {
        name,
        shape,
        dtype: DType::F32,
        base: None,
        base_name: "",
        parents: vec![Box::new(Memory(values_of.clone()))],
        parent_names: vec!["p"],
        values: values.clone(),
        purpose: ["seed", operator, "child"],
    };
    named.iter().zip(shapes).map(tensor).collect()
}

/// Global pruning of vectors: the survey, the children one after the other, how many each keeps.
fn pruned(tensors: &[Vec<f32>], density: f64) -> (Parameters, Vec<f32>, Vec<f64>) {
    const NAMES: [&str; 4] = ["d", "b", "c", "a"];
    let shapes: Vec<Shape> = tensors.iter().map(|values| Shape::new(vec![values.len()]).unwrap()).collect();
    let shapes: Vec<&Shape> = shapes.iter().collect();
    let named: Vec<_> = NAMES.into_iter().zip(tensors.iter().cloned()).collect();
    let parameters = Parameters::from([
        ("density".to_owned(), number(density)),
        ("scope".to_owned(), word("global")),
        ("tensors".to_owned(), word("*")),
    ]);
    let inputs = tensors_of(&named, &shapes, "prune", &parameters);
    let operator = find("prune").unwrap();
    let survey = operator.survey(&inputs).unwrap();
    let (mut child, mut counts) = (Vec::new(), Vec::new());
    for (input, values) in inputs.iter().zip(tensors) {
        let kernel = operator.kernel(input, &survey).unwrap();
        for piece in pieces(values.len(), 0..values.len()) {
            let mut out = vec![f32::NAN; piece.len()];
            let parents = [&values[piece.clone()]];
            kernel.piece(&Piece { first: piece.start, base: &[], parents: &parents }, &mut out);
            child.extend(out);
        }
        let Value::PerParent(kept) = &kernel.realised()["kept"] else { panic!("no counts") };
        counts.push(kept[0]);
    }
    (survey, child, counts)
}

#[test]
fn a_global_cut_is_recorded() {
    let tensors = [vec![3.0, 1.0, 1.0], vec![1.0, 2.0, 1.0, 1.0], vec![1.0, -0.5]];
    let (survey, child, counts) = pruned(&tensors, 5.0 / 9.0);
    assert_eq!(child, [3.0, 1.0, 1.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(counts, [3.0, 2.0, 0.0]);
    let expected = [("kept", 5.0), ("of", 9.0), ("threshold", 1.0), ("ties_end:b", 1.0), ("ties_end:c", 0.0)];
    assert_eq!(survey, expected.map(|(name, value)| (name.to_owned(), number(value))).into());
}

fn several() -> impl Strategy<Value = Vec<Vec<f32>>> {
    prop::collection::vec((1_usize..80).prop_flat_map(tensor), 1..=4)
}

proptest! {
    #[test]
    fn a_global_cut_is_one_of_all_tensors_in_order(
        tensors in several(),
        density in prop_oneof![8 => 0.0_f64..1.0, 1 => Just(0.0), 1 => Just(1.0)],
    ) {
        let all = tensors.concat();
        let keep = kept(density, all.len());
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by_key(|i| std::cmp::Reverse(magnitude(all[*i])));
        let mut expected = vec![0.0; all.len()];
        order[..keep].iter().for_each(|i| expected[*i] = all[*i]);
        let (_, child, counts) = pruned(&tensors, density);
        prop_assert_eq!(child, expected);
        prop_assert_eq!(counts.iter().sum::<f64>(), keep as f64);
    }

    #[test]
    fn nothing_added_to_the_base_is_the_base((b, ..) in three(), weight in -2.0_f64..2.0) {
        for (operator, settings) in SPARSE {
            let trial = Trial::new(operator, &b, &[b.clone(), b.clone()]).with(settings);
            prop_assert_eq!(trial.weights(&[weight, 1.0]).child(), b.clone(), "{}", operator);
        }
    }

    #[test]
    fn dropping_nothing_is_the_plain_operator((x, y, b) in three(), lambda in -3.0_f64..3.0) {
        for normalize in [false, true] {
            let trial = |operator| {
                Trial::new(operator, &b, &[x.clone(), y.clone()])
                    .weights(&[0.7, -0.3])
                    .set("lambda", number(lambda))
                    .set("normalize", Value::Flag(normalize))
            };
            for operator in ["sparse_task_delta", "dare", "della"] {
                let whole = || trial(operator).set("density", number(1.0));
                prop_assert_eq!(whole().child(), trial("task_delta").child());
                for elect in ["sum", "count"] {
                    let elected = trial("sign_merge").set("elect", word(elect)).child();
                    prop_assert_eq!(whole().set("elect", word(elect)).child(), elected);
                }
                let nothing = trial(operator).set("density", number(0.0)).child();
                prop_assert_eq!(nothing, b.clone());
            }
            prop_assert_eq!(trial("dare").set("drop", number(0.0)).child(), trial("task_delta").child());
        }
    }

    #[test]
    fn trimming_and_an_election_are_sign_merge((x, y, b) in three(), density in 0.0_f64..=1.0) {
        for elect in ["sum", "count"] {
            let trial = |operator| {
                Trial::new(operator, &b, &[x.clone(), y.clone()])
                    .set("density", number(density))
                    .set("elect", word(elect))
                    .set("normalize", Value::Flag(true))
                    .weights(&[0.7, 0.4])
            };
            prop_assert_eq!(trial("sparse_task_delta").child(), trial("sign_merge").child());
        }
    }

    #[test]
    fn powers_of_two_move_from_weights_to_lambda((x, y, b) in three(), power in -4_i32..5) {
        let scale = 2_f64.powi(power);
        for (operator, settings) in SPARSE {
            let trial = Trial::new(operator, &b, &[x.clone(), y.clone()])
                .with(settings)
                .set("normalize", Value::Flag(false));
            let by_weight = trial.clone().weights(&[0.75 * scale, 0.5 * scale]).child();
            let by_lambda = trial.weights(&[0.75, 0.5]).set("lambda", number(scale)).child();
            prop_assert_eq!(by_weight, by_lambda, "{}", operator);
        }
    }

    #[test]
    fn what_is_kept_is_counted_and_untouched(
        (x, ..) in three(),
        density in 0.0_f64..=1.0,
        gamma in 0.0_f64..=1.0,
    ) {
        let zero = vec![0.0; x.len()];
        let trial = Trial::new("sparse_task_delta", &zero, std::slice::from_ref(&x));
        let trial = trial.set("density", number(density)).set("gamma", number(gamma));
        let outcome = trial.run().unwrap();
        let Value::PerParent(counts) = &outcome.realised["kept"] else { panic!("no counts") };
        let expected = if gamma > 0.0 { (density * x.len() as f64).floor() } else { counts[0] };
        prop_assert_eq!(counts[0], expected);
        let child = outcome.floats();
        let changed = child.iter().filter(|value| **value != 0.0).count();
        let zeros = x.iter().filter(|value| **value == 0.0).count();
        prop_assert!(changed <= counts[0] as usize && counts[0] as usize <= changed + zeros);
        prop_assert!(child.iter().zip(&x).all(|(child, x)| *child == 0.0 || child == x));
    }

    #[test]
    fn elements_are_kept_by_their_own_draw((x, ..) in three(), drop in 0.01_f64..0.99) {
        let zero = vec![0.0; x.len()];
        let trial = Trial::new("dare", &zero, std::slice::from_ref(&x)).set("rescale", word("none"));
        let child = trial.set("drop", number(drop)).child();
        let stream = crate::base::rng::Philox::for_purpose(&["seed", "dare", "child", "t", "0"]);
        for (i, (child, x)) in child.into_iter().zip(x).enumerate() {
            let word = |i: usize| stream.block(i as u64 / 4)[i % 4];
            let upper = word(i / 2) >> (16 * (i % 2)) & 0xFFFF;
            let draw = upper << 16 | word(i + (1 << 62)) & 0xFFFF;
            let keeps = f64::from(draw) >= (drop * 4_294_967_296.0).round();
            prop_assert_eq!(child, if keeps { x } else { 0.0 });
        }
    }

    #[test]
    fn structures_hold(
        groups in 1_usize..40,
        rows in 1_usize..4,
        of in 1_usize..20,
        keep in 1_usize..20,
        seed in 0_u64..1000,
    ) {
        let keep = keep.min(of);
        let shape = vec![rows, groups * of];
        let x = values(seed, shape.iter().product(), 0.25);
        let trial = Trial::new("prune", &x, std::slice::from_ref(&x));
        let trial = Trial { shape, ..trial }.set("structure", word(&format!("{keep}:{of}")));
        let outcome = trial.run().unwrap();
        let child = outcome.floats();
        for (child, x) in child.chunks(of).zip(x.chunks(of)) {
            let mut order: Vec<usize> = (0..of).collect();
            order.sort_by_key(|i| std::cmp::Reverse(magnitude(x[*i])));
            let mut expected = vec![0.0; of];
            order[..keep].iter().for_each(|i| expected[*i] = x[*i]);
            prop_assert_eq!(child, &expected[..]);
        }
        let count = (rows * groups * keep) as f64;
        prop_assert_eq!(&outcome.realised["kept"], &Value::PerParent(vec![count]));
    }
}
