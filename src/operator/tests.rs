//! What every operator must hold, on tensors in memory: known answers, independence of blocks and
//! threads, properties.

mod matrix;
mod mixing;
mod models;
mod sparse;

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use serde::Deserialize;

use super::block::{Buffers, Work};
use super::contract::{Kernel, TensorInputs};
use super::source::Source;
use super::statistics::Totals;
use super::stream::{Kernels, run};
use super::*;
use crate::base::digest::Sha256;
use crate::base::wide;
use crate::model::Planned;
use crate::tensor::dtype::DType;
use crate::tensor::shape::Shape;

/// A tensor in memory.
struct Memory(Vec<f32>);

impl Source for Memory {
    fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        &self.0[first..first + scratch.len()]
    }
}

/// One operator on one tensor.
#[derive(Clone)]
struct Trial {
    operator: &'static str,
    parameters: Parameters,
    shape: Vec<usize>,
    base: Option<Vec<f32>>,
    parents: Vec<Vec<f32>>,
    output: DType,
    block: usize,
}

#[derive(Debug, PartialEq)]
struct Outcome {
    payload: Vec<u8>,
    scales: Vec<u8>,
    delta: DeltaStatistics,
    survey: Parameters,
    realised: Parameters,
}

impl Outcome {
    fn floats(&self) -> Vec<f32> {
        self.payload.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
    }
}

fn planned(shape: &Shape, dtype: DType) -> Planned {
    let block_size = crate::tensor::quantize::block_size(dtype, shape.columns(), 32);
    Planned { name: "t".to_owned(), shape: shape.clone(), dtype, block_size }
}

impl Trial {
    fn new(operator: &'static str, base: &[f32], parents: &[Vec<f32>]) -> Self {
        Self {
            operator,
            parameters: Parameters::new(),
            shape: vec![base.len()],
            base: Some(base.to_vec()),
            parents: parents.to_vec(),
            output: DType::F32,
            block: super::pieces::BLOCK,
        }
    }

    fn set(mut self, name: &str, value: Value) -> Self {
        self.parameters.insert(name.to_owned(), value);
        self
    }

    fn weights(self, weights: &[f64]) -> Self {
        self.set("weight", Value::PerParent(weights.to_vec()))
    }

    /// As many parents and only those parameters that the operator takes.
    fn fit(mut self) -> Self {
        let operator = find(self.operator).unwrap();
        let spare = self.parents.len().saturating_sub(*operator.parents().end());
        self.parents.drain(..spare);
        for value in self.parameters.values_mut() {
            if let Value::PerParent(numbers) = value {
                numbers.drain(..spare);
            }
        }
        let declared = |name: &str| operator.parameters().iter().any(|parameter| parameter.name == name);
        self.parameters.retain(|name, _| declared(name));
        self
    }

    fn run(&self) -> Result<Outcome, OperatorError> {
        let operator = find(self.operator).unwrap();
        let values = check(operator, &self.parameters, &[], self.parents.len())?;
        let shape = Shape::new(self.shape.clone()).unwrap();
        let boxed = |values: &Vec<f32>| -> Box<dyn Source> { Box::new(Memory(values.clone())) };
        let names: Vec<String> = (0..self.parents.len()).map(|i| format!("p{i}")).collect();
        let tensors = [TensorInputs {
            name: "t",
            shape: &shape,
            dtype: self.output,
            base: self.base.as_ref().map(boxed),
            base_name: "base",
            parents: self.parents.iter().map(boxed).collect(),
            parent_names: names.iter().map(String::as_str).collect(),
            values,
            purpose: ["seed", operator.name(), "child"],
        }];
        let survey = operator.survey(&tensors)?;
        let child = [planned(&shape, self.output)];
        let work = Work { operator, survey: &survey, tensors: &tensors, child: &child, block: self.block };
        let kernels = Kernels::new(1);
        let buffers = Buffers::default();
        let (mut payload, mut scales, mut totals) = (Vec::new(), Vec::new(), Totals::default());
        run(&work, &buffers, &kernels, &|| false, |made| {
            payload.extend_from_slice(made.payload());
            scales.extend_from_slice(&made.scales);
            made.measured.iter().for_each(|measured| totals.add(*measured));
            totals.add_elements(made.elements);
            buffers.give_back(Arc::new(made));
            Ok(())
        })?;
        let realised = kernels.take(0).unwrap().realised();
        drop(kernels);
        Ok(Outcome { payload, scales, delta: totals.finish(), survey, realised })
    }

    fn child(&self) -> Vec<f32> {
        self.run().unwrap().floats()
    }
}

/// The fixture's inputs: a mixing of the index, in multiples of `step` between -1 and 1.
fn values(seed: u64, elements: usize, step: f64) -> Vec<f32> {
    (0..elements as u64)
        .map(|i| {
            let mut x = (i * 2_654_435_761 + seed * 40_503) as u32;
            x ^= x >> 15;
            x = x.wrapping_mul(2_246_822_519);
            x ^= x >> 13;
            let signed = i64::from(x) - (1 << 31);
            ((signed as f64 / (step * 2_147_483_648.0)).floor() * step) as f32
        })
        .collect()
}

#[derive(Deserialize)]
struct Fixture {
    first_values: Vec<u32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    operator: String,
    seed: u64,
    parents: usize,
    shape: Vec<usize>,
    step: f64,
    parameters: Parameters,
    sha256: String,
    kept: Option<Vec<f64>>,
    /// Whether there is a base, where that is not for the operator to say.
    based: Option<bool>,
    /// What survey and kernel found.
    found: Option<Parameters>,
    child: Option<Vec<u32>>,
}

const FIXTURES: &[&str] = &[
    include_str!("../../tests/fixtures/operators.json"),
    include_str!("../../tests/fixtures/operators_sparse.json"),
    mixing::FIXTURE,
];

fn fixtures() -> Vec<Fixture> {
    FIXTURES.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

fn cases() -> Vec<Case> {
    fixtures().into_iter().flat_map(|fixture| fixture.cases).collect()
}

impl Case {
    fn trial(&self) -> Trial {
        let elements = self.shape.iter().product();
        let operator = find(&self.operator).unwrap();
        let parents = 0..self.parents as u64;
        let based = self.based.unwrap_or(operator.needs_base());
        Trial {
            operator: operator.name(),
            parameters: self.parameters.clone(),
            shape: self.shape.clone(),
            base: based.then(|| values(1000, elements, self.step)),
            parents: parents.map(|i| values(self.seed + i, elements, self.step)).collect(),
            output: DType::F32,
            block: super::pieces::BLOCK,
        }
    }
}

#[test]
fn numbers_computed_elsewhere() {
    let inputs: Vec<u32> = values(7, 6, 2_f64.powi(-20)).iter().map(|value| value.to_bits()).collect();
    for fixture in fixtures() {
        assert_eq!(inputs, fixture.first_values, "the inputs themselves differ");
    }
    for case in cases() {
        let label = format!("{} {:?} {:?}", case.operator, case.parameters, case.shape);
        let outcome = case.trial().run().unwrap();
        // The fixture writes both zeros as +0.
        let child: Vec<f32> = outcome.floats().iter().map(|value| value + 0.0).collect();
        if let Some(expected) = &case.child {
            let expected: Vec<f32> = expected.iter().map(|bits| f32::from_bits(*bits)).collect();
            assert_eq!(child, expected, "{label}");
        }
        let bytes: Vec<u8> = child.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(Sha256::of(&bytes).to_hex(), case.sha256, "{label}");
        if let Some(kept) = &case.kept {
            assert_eq!(outcome.realised["kept"], Value::PerParent(kept.clone()), "{label}");
        }
        let all: Parameters = outcome.survey.into_iter().chain(outcome.realised).collect();
        for (name, expected) in case.found.iter().flatten() {
            mixing::assert_near(&all[name], expected, &format!("{label}, {name}"));
        }
    }
}

#[test]
fn every_operator_has_numbers_computed_elsewhere_and_a_declaration_that_holds() {
    let all_cases = cases();
    let mut names: Vec<_> = OPERATORS.iter().map(|operator| operator.name()).collect();
    for operator in OPERATORS {
        let name = operator.name();
        assert!(find(name).is_some_and(|found| std::ptr::addr_eq(found, *operator)), "{name}");
        let cases = all_cases.iter().filter(|case| case.operator == name).count();
        assert!(cases > 0, "{name} has no case in tests/fixtures/operators*.json");
        assert!(operator.version() > 0);
        let year = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
        assert!(operator.summary().as_bytes().windows(4).any(year), "{name} names no source");
        assert!(!operator.summary().contains('\n'));
        let parameters = operator.parameters();
        for parameter in parameters {
            assert!(parameter.doc.ends_with('.'), "{name}.{}", parameter.name);
            let twins = parameters.iter().filter(|other| other.name == parameter.name);
            assert_eq!(twins.count(), 1, "{name}.{}", parameter.name);
        }
        // What is left out of a plan must work.
        let parents = *operator.parents().start();
        let trial = Trial::new(name, &[0.5; 8], &vec![vec![0.25; 8]; parents]);
        trial.run().unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), OPERATORS.len(), "two operators share a name");
}

/// Trials large enough for many blocks, for every operator and output.
fn large_trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for operator in OPERATORS {
        for (shape, output) in [
            (vec![301, 160], DType::F32),
            (vec![5, 20_003], DType::F32),
            (vec![40_000], DType::F32),
            (vec![301, 160], DType::Q8_0),
            (vec![301, 160], DType::Q4_0),
            (vec![20_000, 1], DType::Q8_0),
            (vec![3, 9_600], DType::Q4_0),
        ] {
            let elements = shape.iter().product();
            let parents: Vec<_> = (0..3).map(|i| values(i, elements, 2_f64.powi(-18))).collect();
            let trial = Trial::new(operator.name(), &values(9, elements, 2_f64.powi(-18)), &parents)
                .weights(&[0.5, 0.3, -0.1]);
            let trial = trial.set("density", Value::Number(0.4)).fit();
            trials.push(Trial { shape, output, ..trial });
        }
    }
    trials.extend(mixing::large_trials());
    trials.extend(sparse::large_trials());
    trials
}

#[test]
fn documents_explain_every_operator_and_parameter() {
    let read =
        |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let [readme, plans] = ["README.md", "plans/README.md"].map(read);
    for operator in OPERATORS {
        let name = format!("`{}`", operator.name());
        assert!(readme.contains(&name) && plans.contains(&name), "{name}");
        for parameter in operator.parameters() {
            assert!(plans.contains(&format!("`{}", parameter.name)), "{name}: {}", parameter.name);
        }
    }
}

#[test]
fn neither_blocks_nor_threads_change_a_bit() {
    let pools: Vec<_> = [1, 2, 7]
        .into_iter()
        .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap())
        .collect();
    for trial in large_trials() {
        let expected = trial.run().unwrap();
        for block in [1, 10_000, 65_536] {
            for pool in &pools {
                let trial = Trial { block, ..trial.clone() };
                // Called from a worker of the pool: with one thread, the only one there is.
                let found = pool.install(|| trial.run()).unwrap();
                assert!(
                    found == expected,
                    "{} {} {:?}: blocks of {block}, {} threads",
                    trial.operator,
                    trial.output,
                    trial.shape,
                    pool.current_num_threads(),
                );
            }
        }
    }
}

/// See [`crate::base::wide`]; where there is one way only, this compares it with itself.
#[test]
fn narrow_vectors_give_the_bits_of_wide_ones() {
    for trial in large_trials() {
        let wide = trial.run().unwrap();
        let narrow = wide::with_lanes(4, || trial.run());
        assert!(narrow.unwrap() == wide, "{} {} {:?}", trial.operator, trial.output, trial.shape);
    }
}

#[test]
fn what_is_not_finite_is_named() {
    for operator in OPERATORS {
        for (bad, value) in [(0, f32::NAN), (3000, f32::INFINITY), (39_999, f32::NEG_INFINITY)] {
            let mut parents = vec![vec![0.5; 40_000]; 2];
            parents[1][bad] = value;
            // A later one must never be reported first.
            parents[1][39_999] = value;
            let trial = Trial::new(operator.name(), &vec![0.25; 40_000], &parents);
            let trial = Trial { shape: vec![400, 100], block: 1000, ..trial }.fit();
            let last = format!("p{}", trial.parents.len() - 1);
            match trial.run().unwrap_err() {
                OperatorError::InputNotFinite { parent, tensor, index, .. } => {
                    assert_eq!((parent, tensor.as_str(), index), (last, "t", bad));
                }
                other => panic!("{other}"),
            }
        }
        let trial = Trial::new(operator.name(), &[0.0; 10], &[vec![3e38; 10], vec![3e38; 10]]);
        let trial = trial.set("normalize", Value::Flag(false)).set("density", Value::Number(1.0));
        let trial = trial.set("normalize_weights", Value::Flag(false)).weights(&[2.0, 2.0]).fit();
        if !trial.parameters.contains_key("weight") || trial.operator == "nuslerp" {
            continue; // What lies between two numbers cannot outgrow them.
        }
        for output in [DType::F32, DType::BF16, DType::F16, DType::F64, DType::Q8_0] {
            let made = Trial { output, ..trial.clone() }.run();
            assert!(matches!(made, Err(OperatorError::OutputNotFinite { index: 0, .. })), "{output}");
        }
    }
}

#[test]
fn what_an_encoding_cannot_hold_is_named() {
    let mut parent = vec![1.0; 40_000];
    parent[30_001] = 70_000.0;
    let trial = Trial::new("task_delta", &vec![0.0; 40_000], &[parent]);
    let trial = Trial { shape: vec![400, 100], block: 1000, ..trial };
    assert!(Trial { output: DType::BF16, ..trial.clone() }.run().is_ok());
    let error = Trial { output: DType::F16, ..trial }.run().unwrap_err().to_string();
    assert!(error.contains("tensor t") && error.contains("30001") && error.contains("f16"), "{error}");
}

#[test]
fn senseless_parameters_are_refused() {
    let parents = [vec![1.0; 4], vec![2.0; 4]];
    let trial = |operator| Trial::new(operator, &[0.0; 4], &parents);
    let error = trial("blend").weights(&[0.1, -0.1]).run().unwrap_err().to_string();
    assert!(error.starts_with("blend: the weights sum to zero"), "{error}");
    assert!(trial("blend").weights(&[0.1, -0.1]).set("normalize", Value::Flag(false)).run().is_ok());
    let error = trial("sign_merge").set("density", Value::Number(1.5)).run().unwrap_err().to_string();
    assert_eq!(error, "sign_merge: parameter `density` goes from 0 to 1, found 1.5");
    let error = trial("task_delta").set("lamda", Value::Number(1.0)).run().unwrap_err().to_string();
    assert_eq!(error, "task_delta: unknown parameter `lamda`; did you mean `lambda`?");
    let error = Trial::new("blend", &[0.0], &[]).run().unwrap_err().to_string();
    assert_eq!(error, "blend takes 1 parent or more, found 0");
}

#[test]
fn statistics_describe_the_child_as_stored() {
    // Base 0, the child of q8_0 stores 127 steps of 1/127.
    let parents = [vec![1.0, 0.5, -0.25, 0.0], vec![1.0, -0.5, -0.25, 0.0]];
    let trial = Trial { output: DType::Q8_0, ..Trial::new("task_delta", &[0.0; 4], &parents) };
    let outcome = trial.weights(&[0.5, 0.5]).run().unwrap();
    assert_eq!(outcome.payload, [127, 0, 0xE0, 0]);
    let scale = f32::from_le_bytes(outcome.scales[..].try_into().unwrap());
    assert_eq!(outcome.delta.max_abs, f64::from(127.0 * scale));
    assert_eq!(outcome.delta.density, 0.5);
    assert_eq!(outcome.delta.sign_conflict_rate, 0.25);
    let low = f64::from(-32.0 * scale);
    assert_eq!(outcome.delta.l2, (outcome.delta.max_abs.powi(2) + low * low).sqrt());
}

#[test]
fn without_a_base_differences_are_from_the_first_parent() {
    let mut trial = Trial::new("blend", &[0.0; 3], &[vec![1.0; 3], vec![2.0, 1.0, 0.0], vec![0.0, 1.0, 0.0]]);
    trial.base = None;
    let outcome = trial.weights(&[0.0, 1.0, 0.0]).run().unwrap();
    assert_eq!(outcome.delta.density, 2.0 / 3.0);
    assert_eq!(outcome.delta.sign_conflict_rate, 1.0 / 3.0);
    assert_eq!(outcome.delta.l2, 2_f64.sqrt());
}

#[test]
fn a_request_to_stop_is_heard() {
    let trial = Trial::new("blend", &[0.0; 4], &[vec![1.0; 4]]);
    let shape = Shape::new(vec![4]).unwrap();
    let operator = find("blend").unwrap();
    let tensors = [TensorInputs {
        name: "t",
        shape: &shape,
        dtype: DType::F32,
        base: None,
        base_name: "",
        parents: vec![Box::new(Memory(trial.parents[0].clone()))],
        parent_names: vec!["p"],
        values: check(operator, &trial.parameters, &[], 1).unwrap(),
        purpose: ["", "", ""],
    }];
    let survey = Parameters::new();
    let work = Work {
        operator,
        survey: &survey,
        tensors: &tensors,
        child: &[planned(&shape, DType::F32)],
        block: 1,
    };
    let kernels = Kernels::new(1);
    let outcome = run(&work, &Buffers::default(), &kernels, &|| true, |_| panic!("nothing is written"));
    assert!(matches!(outcome, Err(OperatorError::Cancelled)));
}

#[test]
fn a_panic_in_a_kernel_comes_out_and_nothing_hangs() {
    struct Broken;
    impl Operator for Broken {
        fn name(&self) -> &'static str {
            "broken"
        }
        fn version(&self) -> u32 {
            1
        }
        fn summary(&self) -> &'static str {
            ""
        }
        fn parents(&self) -> std::ops::RangeInclusive<usize> {
            1..=1
        }
        fn needs_base(&self) -> bool {
            false
        }
        fn parameters(&self) -> &'static [Parameter] {
            &[]
        }
        fn kernel<'a>(
            &self,
            _: &'a TensorInputs<'a>,
            _: &'a Parameters,
        ) -> Result<Box<dyn Kernel + 'a>, OperatorError> {
            Ok(Box::new(Broken))
        }
    }
    impl Kernel for Broken {
        fn piece(&self, piece: &Piece<'_>, _: &mut [f32]) {
            assert_ne!(piece.first, 3 * super::source::PIECE, "broken on purpose");
        }
    }
    let shape = Shape::new(vec![100_000]).unwrap();
    let survey = Parameters::new();
    let tensors = [TensorInputs {
        name: "t",
        shape: &shape,
        dtype: DType::F32,
        base: None,
        base_name: "",
        parents: vec![Box::new(Memory(vec![0.0; 100_000]))],
        parent_names: vec!["p"],
        values: check(&Broken, &Parameters::new(), &[], 1).unwrap(),
        purpose: ["", "", ""],
    }];
    let work = Work {
        operator: &Broken,
        survey: &survey,
        tensors: &tensors,
        child: &[planned(&shape, DType::F32)],
        block: 1,
    };
    let kernels = Kernels::new(1);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run(&work, &Buffers::default(), &kernels, &|| false, |_| Ok(()))
    }));
    let message = *outcome.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("broken on purpose"), "{message}");
}

fn tensor(elements: usize) -> impl Strategy<Value = Vec<f32>> {
    // Multiples of 1/8: their differences and small sums are exact.
    prop::collection::vec((-80_i16..80).prop_map(|value| f32::from(value) / 8.0), elements)
}

fn three() -> impl Strategy<Value = (Vec<f32>, Vec<f32>, Vec<f32>)> {
    (1_usize..60).prop_flat_map(|elements| (tensor(elements), tensor(elements), tensor(elements)))
}

proptest! {
    #[test]
    fn equal_parents_give_themselves((x, b, _) in three(), count in 1_usize..5) {
        let parents = vec![x.clone(); count];
        // Equal weights that are powers of two: their sums and quotients are exact.
        let trial = |operator| Trial::new(operator, &b, &parents).weights(&vec![0.25; count]);
        prop_assert_eq!(&trial("blend").child(), &x);
        let normalized = trial("task_delta").set("normalize", Value::Flag(true));
        if count != 3 {
            prop_assert_eq!(&normalized.child(), &x);
            prop_assert_eq!(&trial("sign_merge").child(), &x);
        }
    }

    #[test]
    fn parents_equal_to_the_base_change_nothing((b, ..) in three(), weight in -2.0_f64..2.0) {
        for operator in ["task_delta", "sign_merge"] {
            let trial = Trial::new(operator, &b, &[b.clone(), b.clone()]).weights(&[weight, 1.0]);
            let outcome = trial.set("density", Value::Number(0.5));
            let outcome = if operator == "task_delta" {
                let mut plain = outcome;
                plain.parameters.remove("density");
                plain
            } else {
                outcome
            };
            let outcome = outcome.run().unwrap();
            prop_assert_eq!(outcome.floats(), b.clone());
            prop_assert_eq!(outcome.delta.density, 0.0);
            prop_assert_eq!(outcome.delta.l2, 0.0);
        }
    }

    #[test]
    fn a_normalized_blend_does_not_know_the_scale_of_its_weights((x, y, b) in three()) {
        let trial = Trial::new("blend", &b, &[x, y]);
        let once = trial.clone().weights(&[0.3, 0.6]).child();
        // A power of two moves the exponents alone.
        prop_assert_eq!(trial.weights(&[4.0 * f64::from(0.3_f32), 4.0 * f64::from(0.6_f32)]).child(), once);
    }

    #[test]
    fn lambda_and_weight_scale_alike((x, _, b) in three(), lambda in -3_i8..4) {
        let lambda = f64::from(lambda);
        let trial = Trial::new("task_delta", &b, &[x]);
        let by_lambda = trial.clone().set("lambda", Value::Number(lambda)).child();
        prop_assert_eq!(trial.weights(&[lambda]).child(), by_lambda);
    }

    #[test]
    fn one_parent_at_full_density_is_task_arithmetic((x, _, b) in three(), lambda in -3.0_f64..3.0) {
        let lambda = Value::Number(lambda);
        let merged = Trial::new("sign_merge", &b, std::slice::from_ref(&x)).set("lambda", lambda.clone());
        let added = Trial::new("task_delta", &b, &[x]).set("lambda", lambda);
        prop_assert_eq!(merged.child(), added.child());
    }

    #[test]
    fn density_one_is_no_trimming_and_zero_is_no_change((x, y, b) in three()) {
        let trial = Trial::new("sign_merge", &b, &[x, y]);
        let whole = trial.clone().child();
        prop_assert_eq!(trial.clone().set("density", Value::Number(1.0)).child(), whole);
        prop_assert_eq!(trial.set("density", Value::Number(0.0)).child(), b);
    }

    #[test]
    fn parents_that_agree_are_averaged_as_if_nothing_was_elected((x, y, b) in three()) {
        let up = |x: &[f32]| -> Vec<f32> { x.iter().zip(&b).map(|(x, b)| b + x.abs() + 1.0).collect() };
        let parents = [up(&x), up(&y)];
        let added = Trial::new("task_delta", &b, &parents).set("normalize", Value::Flag(true));
        for elect in ["sum", "count"] {
            let merged = Trial::new("sign_merge", &b, &parents)
                .set("elect", Value::Choice(elect.to_owned()))
                .run()
                .unwrap();
            prop_assert_eq!(merged.floats(), added.child());
            prop_assert_eq!(merged.delta.sign_conflict_rate, 0.0);
        }
    }
}

#[test]
fn random_streams_differ_by_everything_they_are_for() {
    let shape = Shape::new(vec![1]).unwrap();
    let stream = |name, purpose| {
        let values = check(find("blend").unwrap(), &Parameters::new(), &[], 1).unwrap();
        let (base, parents, parent_names) = (None, Vec::new(), Vec::new());
        let inputs = TensorInputs {
            name,
            shape: &shape,
            dtype: DType::F32,
            base,
            base_name: "",
            parents,
            parent_names,
            values,
            purpose,
        };
        inputs.random().block(0)
    };
    let all = [
        stream("t", ["s", "o", "c"]),
        stream("u", ["s", "o", "c"]),
        stream("t", ["r", "o", "c"]),
        stream("t", ["s", "p", "c"]),
        stream("t", ["s", "o", "d"]),
    ];
    for (i, a) in all.iter().enumerate() {
        assert!(all[i + 1..].iter().all(|b| a != b));
    }
}
