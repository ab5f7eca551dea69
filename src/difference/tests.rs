//! Against NumPy's numbers, and what must hold for every difference.

use std::sync::Arc;

use proptest::prelude::*;
use serde::Deserialize;

use super::compare::{Measures, measure};
use super::error::DifferenceError;
use super::extract::{Changed, Extracted, Form};
use super::keep::keep;
use super::low_rank::factor;
use super::pair::Pair;
use super::selection::Selection;
use crate::model::adapter::{self, Adapter, AdapterIdentity, Factors, Stored};
use crate::model::config::tests::tiny;
use crate::model::slm1::{self, Encoding};
use crate::model::{Checkpoint, ModelConfig, Package, Tokenizer, WriteError};
use crate::operator::{Adapted, Source, Tensors};
use crate::tensor::dtype::DType;
use crate::tensor::shape::Shape;

#[derive(Deserialize)]
struct Fixture {
    spectra: Vec<Spectrum>,
    distances: Vec<Distance>,
}

#[derive(Deserialize)]
struct Spectrum {
    rows: usize,
    columns: usize,
    terms: usize,
    seed: u64,
    rank: usize,
    values: Vec<f64>,
    captured: f64,
}

#[derive(Deserialize)]
struct Distance {
    elements: usize,
    step: f64,
    seeds: [u64; 2],
    l2: f64,
    relative_l2: f64,
    max_abs: f64,
    cosine: f64,
    changed: f64,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../../tests/fixtures/adapters.json")).unwrap()
}

/// The inputs of tests/fixtures/adapters.py.
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

fn difference(case: &Spectrum) -> Vec<f32> {
    let (rows, columns, terms) = (case.rows, case.columns, case.terms);
    if terms == 0 {
        return values(case.seed, rows * columns, 1.0 / 64.0);
    }
    let (p, q) = (values(case.seed, rows * terms, 0.125), values(case.seed + 1, terms * columns, 0.125));
    let element = |i: usize| {
        let (row, column) = (i / columns, i % columns);
        let term = |k: usize| p[row * terms + k] * q[k * columns + column] / (1 << k) as f32;
        (0..terms).map(term).sum()
    };
    (0..rows * columns).map(element).collect()
}

/// A tensor in memory.
struct Memory(Vec<f32>);

impl Source for Memory {
    fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        &self.0[first..first + scratch.len()]
    }
}

fn pair<'a>(shape: &'a Shape, first: Vec<f32>, second: Vec<f32>) -> Pair<'a> {
    Pair { name: "t", shape, first: Box::new(Memory(first)), second: Box::new(Memory(second)) }
}

/// A base on a coarse grid and the same with a difference on it, which f32 holds exactly.
fn with_difference(case: &Spectrum) -> (Shape, Vec<f32>, Vec<f32>) {
    let shape = Shape::new(vec![case.rows, case.columns]).unwrap();
    let base = values(99, shape.elements(), 1.0 / 64.0);
    let model = base.iter().zip(difference(case)).map(|(base, delta)| base + delta).collect();
    (shape, base, model)
}

#[test]
fn singular_values_are_numpys() {
    for case in fixture().spectra {
        let (shape, base, model) = with_difference(&case);
        let found = factor(&pair(&shape, base, model), case.rank).unwrap();
        assert_eq!((found.rank, found.values.len()), (case.rank, case.rank));
        // Where the spectrum is flat the vectors mix, and the values come near from below.
        let precision = if case.terms == 0 { 1e-4 } else { 1e-10 };
        for (found, expected) in found.values.iter().zip(&case.values) {
            assert!((found - expected).abs() <= precision * expected, "{found} {expected}");
        }
        // The factors as stored hold as much as the values say.
        let factors = Factors {
            a: found.a.into(),
            b: found.b.into(),
            columns: case.columns,
            rank: found.rank,
            scale: 1.0,
        };
        let mut product = vec![0.0; shape.elements()];
        factors.add_to(0, &mut product);
        let deltas = difference(&case);
        let energy: f64 = deltas.iter().map(|delta| f64::from(*delta).powi(2)).sum();
        let missing: f64 =
            deltas.iter().zip(&product).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
        let captured = 1.0 - missing / energy;
        assert!((captured - case.captured).abs() < 1e-5, "{captured} {}", case.captured);
        assert!(captured <= case.captured + 1e-9, "nothing captures more than the decomposition");
    }
}

#[test]
fn a_rank_that_is_not_there_is_not_made_up() {
    let case = &fixture().spectra[1];
    let (shape, base, model) = with_difference(case);
    let found = factor(&pair(&shape, base.clone(), model), case.rank + 4).unwrap();
    assert_eq!(found.rank, case.terms);
    assert_eq!(factor(&pair(&shape, base.clone(), base), 3).unwrap().rank, 0);
}

#[test]
fn factors_do_not_depend_on_threads() {
    for case in fixture().spectra {
        let (shape, base, model) = with_difference(&case);
        let pair = pair(&shape, base, model);
        let expected = factor(&pair, case.rank).unwrap();
        for threads in [1, 2, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert!(pool.install(|| factor(&pair, case.rank)).unwrap() == expected);
        }
    }
}

#[test]
fn measures_are_numpys() {
    for case in fixture().distances {
        let shape = Shape::new(vec![case.elements]).unwrap();
        let [a, b] = case.seeds.map(|seed| values(seed, case.elements, case.step));
        let found: Measures = measure(&pair(&shape, a, b)).unwrap().finish();
        let near = |found: f64, expected: f64| (found - expected).abs() <= 1e-12 * expected.abs().max(1e-3);
        assert!(near(found.l2, case.l2), "{} {}", found.l2, case.l2);
        assert!(near(found.relative_l2.unwrap(), case.relative_l2));
        assert!(near(found.cosine.unwrap(), case.cosine), "{:?} {}", found.cosine, case.cosine);
        assert_eq!((found.max_abs, found.changed), (case.max_abs, case.changed));
    }
}

fn config() -> ModelConfig {
    ModelConfig { hidden_size: 32, head_dim: 16, ffn_size: 48, ..tiny() }
}

fn model(value: impl Fn(usize, usize) -> f32) -> Checkpoint {
    let layout = slm1::Layout::new(&config(), &Tokenizer::Btok, Encoding::new(DType::F32)).unwrap();
    let mut file = Vec::new();
    let index = |name: &str| layout.tensors().iter().position(|plan| plan.name == name).unwrap();
    slm1::write::write_values::<WriteError>(&layout, &mut file, |plan, start, out| {
        let tensor = index(&plan.name);
        out.iter_mut().enumerate().for_each(|(i, out)| *out = value(tensor, start + i));
        Ok(())
    })
    .unwrap();
    crate::model::open_bytes(Arc::new(file)).unwrap()
}

fn coarse(tensor: usize, i: usize) -> f32 {
    ((i + tensor * 7919).wrapping_mul(2_654_435_761) >> 7 & 0xFF) as f32 / 1024.0
}

fn extracted(base: &Checkpoint, model: &Checkpoint, form: Form) -> (Adapter, Vec<Extracted>) {
    let (base, model): (Package, Package) = (base.clone().into(), model.clone().into());
    let mut file = Vec::new();
    let what = extract(&base, &model, form, &mut file).unwrap();
    let mut again = Vec::new();
    assert_eq!(extract(&base, &model, form, &mut again).unwrap(), what);
    assert!(again == file, "the same bytes again");
    let adapter = adapter::open_bytes(Arc::new(file.clone())).unwrap();
    // Kept as it is, an adapter is the same file.
    again.clear();
    let kept = keep(&base, &adapter, Selection::default(), &mut again).unwrap().deltas;
    assert!(again == file || adapter.infos().is_empty());
    assert_eq!(kept.len(), what.len());
    (adapter, what)
}

fn extract(
    base: &Package,
    model: &Package,
    form: Form,
    sink: &mut Vec<u8>,
) -> Result<Vec<Extracted>, DifferenceError> {
    let (changed, all) = (Changed::Model(model, &model.weights), Selection::default());
    super::extract::extract(base, changed, form, all, sink, &|| false).map(|made| made.deltas)
}

fn on<'a>(base: &'a Checkpoint, adapter: &'a Adapter) -> Adapted<'a> {
    Adapted::new(&base.weights, &AdapterIdentity::of_package(&base.clone().into()), adapter).unwrap()
}

fn values_of(tensors: &dyn Tensors, name: &str) -> Vec<f32> {
    let source = tensors.source(name).unwrap();
    source.read(0, &mut vec![0.0; tensors.shape(name).unwrap().elements()]).to_vec()
}

#[test]
fn base_and_adapter_are_the_model_again() {
    let base = model(coarse);
    // Two tensors stay as they are; of the others every fifth element.
    let tuned = model(|t, i| if t > 1 && i % 5 == 0 { coarse(t + 30, i) } else { coarse(t, i) });
    for form in [Form::Dense, Form::Sparse { density: None }, Form::Sparse { density: Some(1.0) }] {
        let (adapter, what) = extracted(&base, &tuned, form);
        assert_eq!(adapter.infos().len(), base.infos().len() - 2, "unchanged tensors have no delta");
        let adapted = on(&base, &adapter);
        // The difference of base and adapter is the adapter again.
        let (mut file, package) = (Vec::new(), Package::from(base.clone()));
        let again = Changed::Adapter(&adapter);
        super::extract::extract(&package, again, form, Selection::default(), &mut file, &|| false).unwrap();
        let found = adapter::open_bytes(Arc::new(file)).unwrap();
        assert_eq!(found.infos(), adapter.infos());
        for view in tuned.tensors() {
            let found = values_of(&adapted, view.name);
            let same = found.iter().zip(view.to_f32()).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{} {form:?}", view.name);
        }
        assert!(what.iter().all(|delta| delta.captured == 1.0));
    }
}

#[test]
fn a_sparse_delta_keeps_the_largest() {
    let base = model(coarse);
    let tuned = model(|t, i| coarse(t, i) + i as f32 / 1024.0);
    let (adapter, what) = extracted(&base, &tuned, Form::Sparse { density: Some(0.25) });
    for (info, what) in adapter.infos().iter().zip(&what) {
        let elements = info.shape.elements();
        assert_eq!((what.stored, what.numbers), ("sparse", elements as u64 / 4));
        let adapter::Delta::Sparse(pairs) = adapter.delta(&info.name).unwrap() else { panic!("sparse") };
        // Differences grow with the index: the last quarter is kept.
        let first = elements - elements / 4;
        assert_eq!(pairs.get(0), (first as u64, first as f32 / 1024.0));
        let square = |i: usize| (i as f64 / 1024.0).powi(2);
        let all: f64 = (0..elements).map(square).sum();
        let kept: f64 = (first..elements).map(square).sum();
        assert!((what.captured - kept / all).abs() < 1e-12);
        assert!((what.l2 - all.sqrt()).abs() < 1e-12 * all.sqrt());
    }
}

#[test]
fn a_low_rank_difference_is_recovered() {
    let base = model(coarse);
    let shapes: Vec<Shape> = base.infos().iter().map(|info| info.shape.clone()).collect();
    // Rank 2 everywhere: u(row) v(column) + row * column parity, on a coarse grid.
    let delta = |t: usize, i: usize| {
        let (row, column) = (i / shapes[t].columns(), i % shapes[t].columns());
        (row % 7) as f32 * (column % 5) as f32 / 512.0 + ((row % 2) * (column % 3)) as f32 / 64.0
    };
    let tuned = model(|t, i| coarse(t, i) + delta(t, i));
    let (adapter, what) = extracted(&base, &tuned, Form::LowRank { rank: 4 });
    let adapted = on(&base, &adapter);
    for (t, info) in base.infos().iter().enumerate() {
        let Some(what) = what.iter().find(|what| what.tensor == info.name) else {
            assert!((0..info.shape.elements()).all(|i| delta(t, i) == 0.0), "{}", info.name);
            continue;
        };
        let vector = info.shape.dims().len() == 1;
        assert_eq!(what.stored, if vector { "dense" } else { "low-rank" });
        assert!(what.captured > 1.0 - 1e-10, "{} {}", info.name, what.captured);
        if !vector {
            assert_eq!(
                what.numbers as usize,
                2 * (info.shape.rows() + info.shape.columns()),
                "rank 2, not 4"
            );
        }
        let wanted = values_of(&tuned.weights, &info.name);
        let found = values_of(&adapted, &info.name);
        assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{}", info.name);
    }
    // Where factors are no smaller than the matrix, the matrix itself is kept.
    let (adapter, _) = extracted(&base, &tuned, Form::LowRank { rank: 16 });
    let stored = |name: &str| &adapter.infos().iter().find(|info| info.name == name).unwrap().stored;
    assert!(matches!(stored("layers.0.wq.weight"), Stored::Dense { .. }));
    assert!(matches!(stored("output.weight"), Stored::LowRank { .. }));
}

#[test]
fn models_that_do_not_belong_together_are_refused() {
    let package = |config: &ModelConfig| {
        let layout = slm1::Layout::new(config, &Tokenizer::Btok, Encoding::new(DType::F32)).unwrap();
        let mut file = Vec::new();
        slm1::write::write_values::<WriteError>(&layout, &mut file, |_, _, out| {
            out.fill(f32::MAX);
            Ok(())
        })
        .unwrap();
        Package::from(crate::model::open_bytes(Arc::new(file)).unwrap())
    };
    let refused =
        |a: &Package, b: &Package| extract(a, b, Form::Dense, &mut Vec::new()).unwrap_err().to_string();
    let base = package(&tiny());
    let other = package(&ModelConfig { ffn_size: 24, ..tiny() });
    assert_eq!(
        refused(&base, &other),
        "tensor `layers.0.w1.weight` is 16x8 in the first model and 24x8 in the second"
    );
    let tied = package(&ModelConfig { tied_output: true, ..tiny() });
    assert!(refused(&base, &tied).starts_with("the second model has no tensor `output.weight`"));
    assert!(refused(&tied, &base).starts_with("the first model has no tensor `output.weight`"));
    let mut tokens = base.clone();
    let bpe = crate::model::tokenizer::Bpe1::new(260, vec![], vec![]).unwrap();
    tokens.tokenizer = Ok(Tokenizer::Bpe1(bpe.into()));
    assert!(refused(&base, &tokens).contains("tokenizer_checksum is"), "{}", refused(&base, &tokens));
    tokens.tokenizer = Err("not told".to_owned());
    assert!(extract(&base, &tokens, Form::Dense, &mut Vec::new()).unwrap().is_empty());
    let minus = {
        let bytes = model(|_, _| -f32::MAX);
        let plus = model(|_, _| f32::MAX);
        refused(&plus.into(), &bytes.into())
    };
    assert!(minus.contains("element 0 is -inf, which no adapter can hold"), "{minus}");
    let changed = Changed::Model(&base, &base.weights);
    let stopped =
        super::extract::extract(&base, changed, Form::Dense, Selection::default(), &mut Vec::new(), &|| true);
    assert!(matches!(stopped, Err(DifferenceError::Cancelled)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// More rank never captures less, and full rank captures all.
    #[test]
    fn rank_buys_energy(rows in 1_usize..30, columns in 1_usize..30, seed in 0_u64..1000) {
        let shape = Shape::new(vec![rows, columns]).unwrap();
        let model = values(seed, rows * columns, 1.0 / 256.0);
        let energy: f64 = model.iter().map(|value| f64::from(*value).powi(2)).sum();
        let pair = pair(&shape, vec![0.0; rows * columns], model);
        let mut before = 0.0;
        for rank in 1..=rows.min(columns) {
            let found = factor(&pair, rank).unwrap();
            let captured: f64 = found.values.iter().map(|value| value * value).sum();
            prop_assert!(captured >= before * (1.0 - 1e-6) && captured <= energy * (1.0 + 1e-12));
            before = captured;
        }
        prop_assert!((before - energy).abs() <= 1e-9 * energy);
    }
}
