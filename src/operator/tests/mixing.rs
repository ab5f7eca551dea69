//! What operators that mix whole models must hold: `crossover`, `mutate`, `federated`, `soup`, `slerp`,
//! `nuslerp`, `multislerp`, `karcher`, `model_stock`, `nearswap`, `sce`, `arcee_fusion`, `ram`.

use super::*;
use crate::tensor::step::stored;

pub(super) const FIXTURE: &str = include_str!("../../../tests/fixtures/operators_mixing.json");

/// Numbers agree but for the last bits of sines and logarithms; everything else agrees exactly.
pub(super) fn assert_near(found: &Value, expected: &Value, label: &str) {
    match (found, expected) {
        (Value::Number(found), Value::Number(expected)) => {
            assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{label}: {found}, not {expected}");
        }
        (Value::PerParent(found), Value::PerParent(expected)) => {
            assert_eq!(found.len(), expected.len(), "{label}");
            for (found, expected) in found.iter().zip(expected) {
                assert_near(&Value::Number(*found), &Value::Number(*expected), label);
            }
        }
        _ => assert_eq!(found, expected, "{label}"),
    }
}

pub(super) fn word(text: &str) -> Value {
    Value::Choice(text.to_owned())
}

/// Settings that the general ones do not try.
pub(super) fn large_trials() -> Vec<Trial> {
    let elements = 301 * 160;
    let parents: Vec<_> = (0..3).map(|i| values(i, elements, 2_f64.powi(-18))).collect();
    let trial = |operator| Trial::new(operator, &values(9, elements, 2_f64.powi(-18)), &parents);
    let set = |trial: Trial, name: &str| trial.set(name, Value::Flag(false));
    let samples = Value::PerParent(vec![3.0, 5.0, 0.0]);
    let federated = trial("federated").set("samples", samples).set("clip_norm", Value::Number(9.0));
    let mutate = trial("mutate").set("tensors", word("*")).set("rate", Value::Number(0.3));
    let by_vector = || set(trial("nuslerp"), "nuslerp_flatten");
    [
        trial("crossover").set("unit", word("block:1")),
        trial("crossover").set("unit", word("block:777")).set("scheme", word("n_point:9")),
        federated.set("momentum", Value::Number(0.9)),
        trial("model_stock").set("filter_wise", Value::Flag(true)),
        mutate.clone().set("distribution", word("uniform")),
        mutate,
        by_vector(),
        by_vector().set("nuslerp_row_wise", Value::Flag(true)),
    ]
    .into_iter()
    .flat_map(|trial| {
        // Rows of odd length begin in the middle of a pair of random words.
        let shapes = [vec![301, 160], vec![160, 301], vec![5, 9632], vec![elements]];
        shapes.map(|shape| Trial { shape, ..trial.clone().fit() })
    })
    .collect()
}

#[test]
fn realised_shares_come_near_the_declared_ones() {
    let n = 200_000;
    let parents: Vec<Vec<f32>> = (0..3).map(|i| vec![i as f32; n]).collect();
    let trial = Trial::new("crossover", &[0.0; 1], &parents)
        .set("unit", word("block:2"))
        .set("shares", Value::PerParent(vec![6.0, 0.0, 2.0]));
    let trial = Trial { base: None, shape: vec![n], ..trial };
    let outcome = trial.run().unwrap();
    let Value::PerParent(shares) = &outcome.survey["shares"] else { panic!("no shares") };
    assert_eq!(shares.iter().sum::<f64>(), 1.0);
    assert_eq!(shares[1], 0.0, "a share of nothing");
    // 100,000 draws: a deviation of 0.0014.
    assert!((shares[0] - 0.75).abs() < 0.0055, "{shares:?}");
    for (parent, share) in shares.iter().enumerate() {
        let count = outcome.floats().iter().filter(|value| **value == parent as f32).count();
        assert_eq!(count as f64 / n as f64, *share);
    }
    assert!(outcome.realised.contains_key("genes_blake3") && !outcome.realised.contains_key("genes"));
}

#[test]
fn senseless_mixtures_are_refused() {
    let trial = |operator| Trial::new(operator, &[0.0; 4], &[vec![1.0; 4], vec![2.0; 4]]);
    let refused = |trial: Trial| trial.run().unwrap_err().to_string();
    let numbers = |numbers: &[f64]| Value::PerParent(numbers.to_vec());
    let federated = |samples: &[f64]| trial("federated").set("samples", numbers(samples));
    let momentum = |trial: Trial| trial.set("momentum", Value::Number(0.5));
    assert!(refused(federated(&[1.0, 0.0])).contains("an update of 0 samples says nothing"));
    assert!(refused(federated(&[0.0, 0.0])).contains("an update of 0 samples says nothing"));
    assert!(refused(federated(&[1.0, 2.5])).contains("2.5 is no whole number"));
    assert!(refused(momentum(federated(&[1.0, 2.0]))).contains("the last parent is base plus velocity"));
    assert!(momentum(federated(&[1.0, 0.0])).run().is_ok());
    let alone = Trial::new("federated", &[0.0; 4], &[vec![1.0; 4]]).set("samples", numbers(&[0.0]));
    assert!(refused(momentum(alone)).contains("a velocity and no update"));
    let crossover = |shares: &[f64]| trial("crossover").set("shares", numbers(shares));
    assert!(refused(crossover(&[0.0, 0.0])).contains("all shares are zero"));
    let points = |trial: Trial| trial.set("scheme", word("n_point:1")).set("unit", word("block:1"));
    assert!(refused(points(crossover(&[1.0, 2.0]))).contains("parents alternate"));
    assert!(points(crossover(&[2.0, 2.0])).run().is_ok());
    let uniform = trial("soup").set("weighting", word("uniform"));
    assert!(refused(uniform.set("alpha", Value::Number(2.0))).contains("equal weights know no `alpha`"));
    let columns = trial("nuslerp").set("nuslerp_row_wise", Value::Flag(true));
    assert!(refused(columns).contains("a flattened tensor has no rows"));
    assert!(refused(trial("mutate")).contains("mutate takes 1 parent, found 2"));
}

#[test]
fn a_round_of_federated_averaging_by_hand() {
    // Updates (3, 4) and (0, -2) of lengths 5 and 2; velocity (1, 0).
    let parents = [vec![4.0, 5.0], vec![1.0, -1.0], vec![2.0, 1.0]];
    let trial = |parents: &[Vec<f32>], samples: &[f64]| {
        Trial::new("federated", &[1.0, 1.0], parents).set("samples", Value::PerParent(samples.to_vec()))
    };
    let number = Value::Number;
    assert_eq!(trial(&parents[..2], &[3.0, 1.0]).child(), [1.0 + 2.25, 1.0 + 2.5]);
    // The first is clipped to (1.5, 2).
    let clipped = trial(&parents[..2], &[1.0, 1.0]).set("clip_norm", number(2.5));
    let outcome = clipped.run().unwrap();
    assert_eq!(outcome.floats(), [1.75, 1.0]);
    assert_eq!(outcome.survey["norms"], Value::PerParent(vec![5.0, 2.0]));
    assert_eq!(outcome.survey["clip_factors"], Value::PerParent(vec![0.5, 1.0]));
    let moving = trial(&parents, &[3.0, 1.0, 0.0]).set("momentum", number(0.5)).set("server_lr", number(2.0));
    assert_eq!(moving.child(), [1.0 + 2.0 * (0.5 + 2.25), 1.0 + 2.0 * 2.5]);
}

#[test]
fn halfway_between_two_directions_keeps_the_length() {
    let trial = |operator| Trial::new(operator, &[0.0; 2], &[vec![3.0, 0.0], vec![0.0, 3.0]]);
    let expected = 3.0 / 2_f32.sqrt();
    for operator in ["slerp", "nuslerp", "multislerp"] {
        for x in trial(operator).child() {
            assert!((x - expected).abs() < 1e-6, "{operator}: {x}");
        }
    }
    // Opposite directions have no arc between them; an average is what is left.
    let opposite = |operator| Trial::new(operator, &[0.0; 2], &[vec![3.0, 1.0], vec![-6.0, -2.0]]);
    assert_eq!(opposite("slerp").child(), [-1.5, -0.5]);
    assert_eq!(opposite("nuslerp").child(), [-1.5, -0.5]);
}

#[test]
fn directions_that_cancel_have_no_middle() {
    let trial = |parents: &[Vec<f32>]| Trial::new("multislerp", &[0.0; 2], parents);
    let (east, west) = (vec![3.0, 0.0], vec![-6.0, 0.0]);
    // Two are averaged by their weights instead, as vectors.
    let average = trial(&[east.clone(), west.clone()]).weights(&[0.5, 0.5]);
    assert_eq!(average.child(), [-1.5, 0.0]);
    let north = trial(&[east.clone(), west, vec![0.0, 1.0]]);
    let error = north.clone().weights(&[1.0, 1.0, 0.0]).run().unwrap_err().to_string();
    assert!(error.contains("directions of `t` cancel"), "{error}");
    // The mean length is (3 + 6 + 1) / 3, and the east and the west cancel.
    let [x, y] = north.child()[..] else { panic!("two elements") };
    assert!(x.abs() < 1e-6 && (y - 10.0 / 3.0).abs() < 1e-6, "{x}, {y}");
    // Three at a third of a turn, which f32 rounds, whatever their lengths.
    let third = |length: f32| {
        let (x, y) = (-0.5 * length, 0.75_f32.sqrt() * length);
        [vec![length, 0.0], vec![x, y], vec![x, -y]]
    };
    for length in [1.0, 100.0, 1e-3] {
        let error = trial(&third(length)).run().unwrap_err().to_string();
        assert!(error.contains("directions of `t` cancel"), "{length}: {error}");
    }
    let error = trial(&[east.clone(), east.clone()]).weights(&[1.0, -1.0]).run().unwrap_err().to_string();
    assert!(error.contains("the weights sum to zero"), "{error}");
    // Parents that are as their base.
    let nothing = Trial::new("multislerp", &[3.0, 0.0], &[east.clone(), east.clone(), east]);
    assert_eq!(nothing.child(), [3.0, 0.0]);
}

#[test]
fn what_is_near_is_taken_over_by_hand() {
    let parents = [vec![1.0, 1.0, 1.0, 1.0], vec![1.25, 2.0, -3.0, 1.0]];
    let trial = |t| Trial::new("nearswap", &[0.0; 4], &parents).set("t", Value::Number(t));
    assert_eq!(trial(0.5).child(), [1.25, 1.5, 0.5, 1.0]);
    assert_eq!(trial(0.0).child(), parents[0]);
    assert_eq!(trial(4.0).child(), parents[1]);
}

#[test]
fn what_changed_most_is_taken_over_by_hand() {
    let (base, x) = (vec![0.0; 8], vec![5.0, 1.0, 20.0, 3.0, -4.0, 6.0, -2.0, 7.0]);
    // In one row importances are as magnitudes: median 4, quartiles 2 and 6, and so a threshold of 10.
    let row = Trial { shape: vec![1, 8], ..Trial::new("arcee_fusion", &base, std::slice::from_ref(&x)) };
    let outcome = row.run().unwrap();
    assert_eq!(outcome.floats(), [0.0, 0.0, 20.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(outcome.realised["kept"], Value::PerParent(vec![1.0]));
    // A row that moved as a whole is no other distribution: there nothing is important, and the threshold is
    // that of the other row alone.
    let moved = [x, vec![30.0; 8]].concat();
    let trial = Trial::new("arcee_fusion", &[0.0; 16], std::slice::from_ref(&moved));
    let outcome = Trial { shape: vec![2, 8], ..trial }.run().unwrap();
    assert_eq!(outcome.floats()[8..], [0.0; 8]);
    // Every row for itself: none of one element is another distribution.
    let column = Trial { shape: vec![8, 1], ..Trial::new("arcee_fusion", &base, &[moved[..8].to_vec()]) };
    assert_eq!(column.child(), moved[..8]);
}

#[test]
fn differences_of_one_parent_stay_whole_by_hand() {
    let parents = [vec![1.0, 4.0, 0.0, 0.1], vec![3.0, 0.0, 0.0, 0.0], vec![2.0, 2.0, -7.0, 0.0]];
    let trial = Trial::new("ram", &[0.0; 4], &parents).set("epsilon", Value::Number(0.5));
    // Three have changed the first element, two the second, one the third; the fourth is nothing.
    assert_eq!(trial.child(), [2.0, 3.0, -7.0, 0.0]);
    let outcome = trial.set("r", Value::Number(0.5)).set("alpha", Value::Number(1.0)).run().unwrap();
    assert_eq!(outcome.realised["shared"], Value::PerParent(vec![2.0, 1.0, 2.0]));
    assert_eq!(outcome.realised["unique"], Value::PerParent(vec![0.0, 0.0, 1.0]));
    assert_eq!(outcome.floats(), [2.0, 3.0, -10.5, 0.0]);
}

#[test]
fn what_differs_most_is_selected_and_weighed_by_hand() {
    // Variances 4, 0, 1, 0.25: half of the three that differ is one, the first element.
    let parents = [vec![4.0, 1.0, -2.0, 0.0], vec![0.0, 1.0, 0.0, 1.0]];
    let trial = |topk| Trial::new("sce", &[0.0; 4], &parents).set("select_topk", Value::Number(topk));
    let outcome = trial(0.5).run().unwrap();
    assert_eq!(outcome.floats(), [4.0, 0.0, 0.0, 0.0]);
    assert_eq!(outcome.realised["kept"], Value::Number(1.0));
    assert_eq!(outcome.realised["weights"], Value::PerParent(vec![1.0, 0.0]));
    // Squares 21 and 2; who alone has the elected sign decides alone, whatever it weighs.
    assert_eq!(trial(1.0).child(), [4.0, 1.0, -2.0, 1.0]);
    assert_eq!(trial(0.0).child(), [0.0; 4]);
}

#[test]
fn the_middle_of_directions_by_hand() {
    let child = |parents: &[Vec<f32>]| Trial::new("karcher", &[0.0; 3], parents).child();
    let near = |found: &[f32], expected: [f32; 3]| {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}, not {expected:?}");
    };
    // Three axes, lengths 1, 2 and 3: the diagonal, at length 2.
    let axes = [vec![1.0, 0.0, 0.0], vec![0.0, 2.0, 0.0], vec![0.0, 0.0, 3.0]];
    near(&child(&axes), [2.0 / 3_f32.sqrt(); 3]);
    // On a circle directions are angles: 0, 0 and 90 degrees have the mean 30, where the average of
    // the vectors points to 26.6. One without length counts for its length alone.
    let circle = [vec![4.0, 0.0, 0.0], vec![4.0, 0.0, 0.0], vec![0.0, 4.0, 0.0], vec![0.0; 3]];
    near(&child(&circle), [3.0 * 0.75_f32.sqrt(), 1.5, 0.0]);
    // Opposite directions have no middle: the first is as good as any.
    near(&child(&[vec![1.0, 0.0, 0.0], vec![-1.0, 0.0, 0.0]]), [1.0, 0.0, 0.0]);
    near(&child(&[vec![0.0; 3], vec![0.0; 3]]), [0.0; 3]);
}

#[test]
fn model_stock_by_hand() {
    let trial = |parents: &[Vec<f32>]| Trial::new("model_stock", &[1.0; 3], parents);
    // Differences at right angles: nothing is common to them.
    assert_eq!(trial(&[vec![2.0, 1.0, 1.0], vec![1.0, 2.0, 1.0]]).child(), [1.0; 3]);
    // Opposite ones: the divisor is zero.
    assert_eq!(trial(&[vec![2.0, 1.0, 1.0], vec![0.0, 1.0, 1.0]]).child(), [1.0; 3]);
    // A cosine of one half: t = 2 * 0.5 / 1.5, the average is (0.5, 0.5, 1) away.
    let child = trial(&[vec![2.0, 1.0, 2.0], vec![1.0, 2.0, 2.0]]).child();
    for (x, expected) in child.iter().zip([1.0 + 1.0 / 3.0, 1.0 + 1.0 / 3.0, 1.0 + 2.0 / 3.0]) {
        assert!((x - expected).abs() < 1e-6, "{child:?}");
    }
    // Rows by themselves: the first agrees, the second does not.
    let rows = Trial {
        shape: vec![2, 2],
        ..Trial::new("model_stock", &[0.0; 4], &[vec![1.0, 1.0, 1.0, 0.0], vec![1.0, 1.0, 0.0, 1.0]])
    };
    assert_eq!(rows.set("filter_wise", Value::Flag(true)).child(), [1.0, 1.0, 0.0, 0.0]);
}

/// Floats of very different sizes, zeros of both signs among them.
fn wild(elements: usize) -> impl Strategy<Value = Vec<f32>> {
    let float = prop_oneof![
        4 => -1.0_f32..1.0,
        1 => (-1.0_f32..1.0).prop_map(|x| x * 1e30),
        1 => (-1.0_f32..1.0).prop_map(|x| x * 1e-30),
        1 => Just(-0.0_f32),
        1 => Just(f32::MAX),
    ];
    prop::collection::vec(float, elements)
}

fn to_bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

proptest! {
    #[test]
    fn every_unit_is_one_parents_bit_for_bit(
        (rows, columns, parents) in (1_usize..20, 1_usize..20, 2_usize..5).prop_flat_map(|(rows, columns, count)| {
            (Just(rows), Just(columns), prop::collection::vec(wild(rows * columns), count))
        }),
        unit in prop_oneof![Just("row"), Just("tensor"), Just("block:3"), Just("block:1")],
        shares in prop::collection::vec(0.1_f64..4.0, 5),
    ) {
        let length = match unit {
            "row" => columns,
            "tensor" => rows * columns,
            block => parameter::numbers_in(block)[0],
        };
        let trial = Trial::new("crossover", &parents[0], &parents)
            .set("unit", word(unit))
            .set("shares", Value::PerParent(shares[..parents.len()].to_vec()));
        let outcome = Trial { shape: vec![rows, columns], base: None, ..trial }.run().unwrap();
        let child = to_bits(&outcome.floats());
        let parents: Vec<Vec<u32>> = parents.iter().map(|parent| to_bits(parent)).collect();
        for start in (0..child.len()).step_by(length) {
            let unit = start..child.len().min(start + length);
            prop_assert!(parents.iter().any(|parent| parent[unit.clone()] == child[unit.clone()]));
        }
        let Value::PerParent(taken) = &outcome.realised["taken"] else { panic!("no counts") };
        prop_assert_eq!(taken.iter().sum::<f64>(), child.len().div_ceil(length) as f64);
    }

    #[test]
    fn no_stored_mutation_goes_beyond_its_bound(
        x in (1_usize..200).prop_flat_map(wild),
        bound in prop_oneof![Just(0.0), 1e-4_f64..0.1],
        output in prop_oneof![Just(DType::BF16), Just(DType::F16)],
    ) {
        // A parent that the child's encoding can hold.
        let x: Vec<f32> = x.iter().map(|x| stored(x.clamp(-6e4, 6e4), output).unwrap()).collect();
        let mut trial = Trial::new("mutate", &x, std::slice::from_ref(&x))
            .set("tensors", word("*"))
            .set("sigma", Value::Number(0.1))
            .set("bound", Value::Number(bound));
        trial.output = output;
        let outcome = trial.run().unwrap();
        let number = |name: &str| match &outcome.realised[name] {
            Value::Number(number) => *number,
            other => panic!("{other:?}"),
        };
        prop_assert!(outcome.delta.max_abs <= number("limit"), "{} > {}", outcome.delta.max_abs, number("limit"));
        prop_assert_eq!(number("max_change"), outcome.delta.max_abs);
    }

    #[test]
    fn no_mutation_goes_beyond_its_bound(
        x in (1_usize..200).prop_flat_map(wild),
        sigma in 0.0_f64..10.0,
        bound in prop_oneof![Just(0.0), 1e-9_f64..1e-6, 0.0_f64..3.0],
        rate in 0.0_f64..=1.0,
        distribution in prop_oneof![Just("normal"), Just("uniform")],
    ) {
        let trial = Trial::new("mutate", &x, std::slice::from_ref(&x))
            .set("tensors", word("*"))
            .set("sigma", Value::Number(sigma))
            .set("bound", Value::Number(bound))
            .set("rate", Value::Number(rate))
            .set("distribution", word(distribution));
        let outcome = trial.run().unwrap();
        let number = |name: &str| match &outcome.realised[name] {
            Value::Number(number) => *number,
            other => panic!("{other:?}"),
        };
        let squares: f64 = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        let rms = (squares / x.len() as f64).sqrt();
        prop_assert!((number("rms") - rms).abs() <= 1e-12 * rms);
        prop_assert_eq!(number("limit"), bound * number("rms"));
        let child = outcome.floats();
        let change = |(out, x): (&f32, &f32)| (f64::from(*out) - f64::from(*x)).abs();
        let largest = child.iter().zip(&x).map(change).fold(0.0, f64::max);
        prop_assert!(largest <= number("limit"), "{} > {}", largest, number("limit"));
        prop_assert_eq!(number("max_change"), largest);
        prop_assert!(number("rms_change") <= largest);
        let changed = child.iter().zip(&x).filter(|(out, x)| out != x).count();
        prop_assert!(changed as f64 <= number("chosen"));
        if bound == 0.0 {
            prop_assert_eq!(child, x);
        }
    }

    #[test]
    fn nothing_is_mutated_at_rate_zero_or_where_it_is_not_meant(x in (1_usize..99).prop_flat_map(wild)) {
        let trial = Trial::new("mutate", &x, std::slice::from_ref(&x));
        let at_zero = trial.clone().set("tensors", word("*")).set("rate", Value::Number(0.0));
        prop_assert_eq!(to_bits(&at_zero.child()), to_bits(&x));
        // A vector is not meant if nothing is said.
        prop_assert_eq!(to_bits(&trial.clone().child()), to_bits(&x));
        prop_assert_eq!(to_bits(&trial.set("tensors", word("other.*")).child()), to_bits(&x));
    }

    #[test]
    fn equal_parents_mix_to_themselves((x, b, _) in three(), count in 2_usize..5) {
        let parents = vec![x.clone(); count];
        let near = |child: Vec<f32>| child.iter().zip(&x).all(|(out, x)| (out - x).abs() <= 4e-6 * x.abs());
        let exact = |child: &[f32]| child.iter().zip(&x).all(|(out, x)| out == x);
        prop_assert!(exact(&Trial::new("crossover", &b, &parents).child()));
        prop_assert!(near(Trial::new("soup", &b, &parents).child()));
        prop_assert!(near(Trial::new("karcher", &b, &parents).child()));
        // Weights t and 1 - t, both exact.
        prop_assert!(exact(&Trial::new("slerp", &b, &parents[..2]).child()));
        let nuslerp = Trial { base: None, ..Trial::new("nuslerp", &b, &parents[..2]) };
        prop_assert!(exact(&nuslerp.child()));
        // Differences from the base are small multiples of 1/8; the base is up to 10.
        let close = |child: Vec<f32>| child.iter().zip(&x).all(|(out, x)| (out - x).abs() <= 1e-4);
        prop_assert!(close(Trial::new("federated", &b, &parents).child()));
        prop_assert!(close(Trial::new("model_stock", &b, &parents).child()));
        prop_assert!(close(Trial::new("nuslerp", &b, &parents[..2]).child()));
    }

    #[test]
    fn a_fusion_takes_over_whole_elements_or_none((x, y, _) in three(), columns in 1_usize..40) {
        let fusion = |x: &[f32], b: &[f32]| Trial::new("arcee_fusion", b, &[x.to_vec()]);
        // What is equal is equally important: all of it is taken over, and changes nothing.
        prop_assert_eq!(fusion(&y, &y).child(), y.clone());
        let elements = x.len() - x.len() % columns.min(x.len());
        let (x, y) = (&x[..elements], &y[..elements]);
        let shape = vec![elements / columns.min(elements), columns.min(elements)];
        let outcome = Trial { shape, ..fusion(x, y) }.run().unwrap();
        let whole = |((out, x), b): ((&f32, &f32), &f32)| *out == *b || *out == b + (x - b);
        prop_assert!(outcome.floats().iter().zip(x).zip(y).all(whole));
        let Value::PerParent(kept) = &outcome.realised["kept"] else { panic!("no count") };
        let changed = outcome.floats().iter().zip(y).filter(|(out, b)| out != b).count();
        prop_assert!(changed as f64 <= kept[0] && kept[0] <= elements as f64);
    }

    #[test]
    fn soup_weights_are_in_the_receipt_and_sum_to_one(
        (x, y, z) in three(),
        alpha in 0.01_f64..50.0,
        seed in 0_usize..3,
    ) {
        let parents = [x, y, z];
        let trial = Trial::new("soup", &parents[0], &parents[..=seed.max(1)]).set("alpha", Value::Number(alpha));
        let outcome = trial.run().unwrap();
        let Value::PerParent(weights) = &outcome.survey["weights"] else { panic!("no weights") };
        prop_assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-14);
        // The receipt alone makes the child again.
        let blend = Trial::new("blend", &parents[0], &trial.parents).weights(weights);
        prop_assert_eq!(outcome.floats(), blend.set("normalize", Value::Flag(false)).child());
    }

    #[test]
    fn an_arc_begins_and_ends_at_its_parents((x, y, b) in three()) {
        let parents = [x, y];
        for (t, end) in [(0.0, 0), (1.0, 1)] {
            let slerp = Trial::new("slerp", &b, &parents).set("t", Value::Number(t));
            prop_assert_eq!(&slerp.child(), &parents[end]);
            let nuslerp = Trial { base: None, ..Trial::new("nuslerp", &b, &parents).weights(&[1.0 - t, t]) };
            // Its sines are multiplied and divided again: a unit in the last place each.
            for (out, x) in nuslerp.child().iter().zip(&parents[end]) {
                prop_assert!((out - x).abs() <= 2.4e-7 * x.abs(), "{} {}", out, x);
            }
        }
    }

    #[test]
    fn both_spherical_interpolations_agree((x, y, b) in three(), t in 0.0_f64..1.0) {
        let parents = [x, y];
        let slerp = Trial::new("slerp", &b, &parents).set("t", Value::Number(t)).run().unwrap();
        if slerp.realised["linear"] == Value::Flag(true) {
            return Ok(());
        }
        let nuslerp = Trial { base: None, ..Trial::new("nuslerp", &b, &parents).weights(&[1.0 - t, t]) };
        let based = Trial { base: Some(vec![0.0; b.len()]), ..nuslerp.clone() };
        prop_assert_eq!(based.child(), nuslerp.child());
        for (i, (a, b)) in slerp.floats().iter().zip(nuslerp.child()).enumerate() {
            let size = parents[0][i].abs() + parents[1][i].abs();
            // Sines up to the edge of the linear case, divided by one of 0.03.
            prop_assert!((a - b).abs() <= 4e-5 * size, "{} {}", a, b);
        }
    }

    #[test]
    fn a_clipped_round_is_no_longer_than_the_clip((x, y, b) in three(), clip in 0.1_f64..50.0) {
        let trial = Trial::new("federated", &b, &[x, y])
            .set("samples", Value::PerParent(vec![3.0, 8.0]))
            .set("clip_norm", Value::Number(clip));
        let outcome = trial.run().unwrap();
        // Elements are up to 10 and rounded once at the end.
        prop_assert!(outcome.delta.l2 <= clip * (1.0 + 1e-6) + 1e-4);
    }

    #[test]
    fn only_the_proportion_of_samples_counts((x, y, b) in three()) {
        let trial = Trial::new("federated", &b, &[x, y]);
        let child = |samples: [f64; 2]| trial.clone().set("samples", Value::PerParent(samples.to_vec())).child();
        prop_assert_eq!(child([3.0, 8.0]), child([48.0, 128.0]));
    }
}
