//! How far two models are apart, tensor by tensor and in all.
//!
//! Weights are widened exactly and differences taken in f64. Sums run over stretches of fixed size,
//! each in lanes that meet in a fixed tree, and stretches are added in order.

use std::ops::Range;

use serde::Serialize;

use super::error::DifferenceError;
use super::pair::Pair;
use crate::model::Weights;
use crate::operator::Tensors;
use crate::operator::source::PIECE;
use crate::tensor::blocks;
use crate::tensor::dtype::DType;
use crate::tensor::shape::Shape;

/// Elements one core measures before it takes the next stretch.
const STRETCH: usize = 64 * PIECE;

const LANES: usize = 8;

/// How far apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measures {
    /// Elements compared.
    pub elements: u64,
    /// L2 norm of the difference.
    pub l2: f64,
    /// The same over the L2 norm of the first model; none where that is zero.
    pub relative_l2: Option<f64>,
    /// The largest difference of two elements.
    pub max_abs: f64,
    /// Cosine of the angle between the two; none where one of them is zero.
    pub cosine: Option<f64>,
    /// Share of elements that differ, 0 to 1.
    pub changed: f64,
}

/// A tensor that both models have in the same shape.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorDifference {
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub shape: Shape,
    /// How it is stored in the first and in the second model.
    pub dtypes: [DType; 2],
    /// How far apart they are.
    #[serde(flatten)]
    pub measures: Measures,
}

/// A tensor that both models have, in two shapes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reshaped {
    /// Its name.
    pub name: String,
    /// Its dimensions in the first and in the second model.
    pub shapes: [Shape; 2],
}

/// Two models, compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Tensors of both in one shape, in the first model's order.
    pub tensors: Vec<TensorDifference>,
    /// All of them together.
    pub total: Measures,
    /// Tensors of both in two shapes.
    pub reshaped: Vec<Reshaped>,
    /// Tensors of the first alone.
    pub only_first: Vec<String>,
    /// Tensors of the second alone.
    pub only_second: Vec<String>,
}

impl Comparison {
    /// Whether both have the same tensors with the same values. How they are stored may differ.
    pub fn same(&self) -> bool {
        let tensors = self.reshaped.is_empty() && self.only_first.is_empty() && self.only_second.is_empty();
        tensors && self.total.changed == 0.0
    }
}

/// Compares two models.
///
/// # Errors
///
/// [`DifferenceError::NotFinite`] of the first weight that is infinite or no number, in a tensor that both have
/// in one shape. Tensors that only one has, or that have two shapes, are no error.
pub fn compare(a: &Weights, b: &Weights) -> Result<Comparison, DifferenceError> {
    let stored = |weights: &Weights, name: &str| weights.info(name).map_or(DType::F32, |info| info.dtype);
    compare_as(a, b, &|name| [stored(a, name), stored(b, name)])
}

/// Compares a model with another one that is read in the first one's names; `stored` says how each of them
/// stores a tensor that both have.
///
/// # Errors
///
/// As [`compare`].
pub fn compare_as(
    a: &dyn Tensors,
    b: &dyn Tensors,
    stored: &dyn Fn(&str) -> [DType; 2],
) -> Result<Comparison, DifferenceError> {
    let (mut tensors, mut reshaped, mut only_first) = (Vec::new(), Vec::new(), Vec::new());
    let mut total = Sums::default();
    for (own, shape) in a.shapes() {
        let (name, shape) = (own.to_owned(), shape.clone());
        match (b.shape(own), Pair::of(own, a, b)) {
            (None, _) => only_first.push(name),
            (Some(other), None) => reshaped.push(Reshaped { name, shapes: [shape, other.clone()] }),
            (Some(_), Some(pair)) => {
                let sums = measure(&pair)?;
                total.add(&sums);
                let (dtypes, measures) = (stored(own), sums.finish());
                tensors.push(TensorDifference { name, shape, dtypes, measures });
            }
        }
    }
    let names = b.shapes().map(|(name, _)| name);
    let only_second = names.filter(|name| a.shape(name).is_none()).map(str::to_owned).collect();
    Ok(Comparison { tensors, total: total.finish(), reshaped, only_first, only_second })
}

/// Measures one tensor.
pub(super) fn measure(pair: &Pair<'_>) -> Result<Sums, DifferenceError> {
    let stretches = blocks::ranges(pair.shape.elements(), STRETCH);
    let measured = blocks::try_map(&stretches, |_, range: &Range<usize>| {
        let mut sums = Sums::default();
        if pair.is_wide() {
            pair.each_f64(range.clone(), |a, b| sums.add(&piece(a, b)))?;
        } else {
            pair.each(range.clone(), |_, a, b| {
                sums.add(&piece(a, b));
                Ok(())
            })?;
        }
        Ok::<_, DifferenceError>(sums)
    })?;
    let mut sums = Sums::default();
    measured.iter().for_each(|stretch| sums.add(stretch));
    Ok(sums)
}

/// What is summed up; a maximum and counts do not mind the order.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    elements: u64,
    /// Of squares of the difference, of the first, of the second; of products of both.
    pub(super) difference: f64,
    first: f64,
    second: f64,
    product: f64,
    max_abs: f64,
    pub(super) changed: u64,
}

impl Sums {
    fn add(&mut self, more: &Self) {
        self.elements += more.elements;
        self.difference += more.difference;
        self.first += more.first;
        self.second += more.second;
        self.product += more.product;
        self.max_abs = self.max_abs.max(more.max_abs);
        self.changed += more.changed;
    }

    pub(super) fn finish(&self) -> Measures {
        // Square roots are exactly rounded everywhere; equal tensors get the cosine 1.
        let norms = (self.first * self.second).sqrt();
        let defined = |value: f64, divisor: f64| (divisor > 0.0).then(|| value / divisor);
        Measures {
            elements: self.elements,
            l2: self.difference.sqrt(),
            relative_l2: defined(self.difference.sqrt(), self.first.sqrt()),
            max_abs: self.max_abs,
            cosine: defined(self.product, norms).map(|cosine| cosine.clamp(-1.0, 1.0)),
            changed: if self.elements == 0 { 0.0 } else { self.changed as f64 / self.elements as f64 },
        }
    }
}

/// One run of at most [`PIECE`] elements.
fn piece<T: Copy + Default + PartialEq + Into<f64>>(a: &[T], b: &[T]) -> Sums {
    let mut lanes = [[0.0_f64; LANES]; 4];
    let mut largest = [0.0_f64; LANES];
    let mut changed = [0_u64; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut padded = ([T::default(); LANES], [T::default(); LANES]);
    padded.0[..a_rest.len()].copy_from_slice(a_rest);
    padded.1[..b_rest.len()].copy_from_slice(b_rest);
    let rest = std::iter::once((&padded.0, &padded.1));
    for (a, b) in a_chunks.iter().zip(b_chunks).chain(rest) {
        for lane in 0..LANES {
            let (x, y): (f64, f64) = (a[lane].into(), b[lane].into());
            let difference = y - x;
            lanes[0][lane] += difference * difference;
            lanes[1][lane] += x * x;
            lanes[2][lane] += y * y;
            lanes[3][lane] += x * y;
            let magnitude = difference.abs();
            largest[lane] = if magnitude > largest[lane] { magnitude } else { largest[lane] };
            changed[lane] += u64::from(a[lane] != b[lane]);
        }
    }
    let [difference, first, second, product] =
        lanes.map(|[a, b, c, d, e, f, g, h]| ((a + b) + (c + d)) + ((e + f) + (g + h)));
    Sums {
        elements: a.len() as u64,
        difference,
        first,
        second,
        product,
        max_abs: largest.into_iter().fold(0.0, f64::max),
        changed: changed.iter().sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Checkpoint;
    use crate::model::config::tests::tiny;
    use crate::model::slm1::{self, Encoding};
    use crate::model::{ModelConfig, Tokenizer, WriteError};

    fn model(config: &ModelConfig, dtype: DType, value: impl Fn(&str, usize) -> f32) -> Checkpoint {
        let layout = slm1::Layout::new(config, &Tokenizer::Btok, Encoding::new(dtype)).unwrap();
        let mut file = Vec::new();
        slm1::write::write_values::<WriteError>(&layout, &mut file, |plan, start, out| {
            out.iter_mut().enumerate().for_each(|(i, out)| *out = value(&plan.name, start + i));
            Ok(())
        })
        .unwrap();
        crate::model::open_bytes(std::sync::Arc::new(file)).unwrap()
    }

    #[test]
    fn by_hand() {
        let a = model(&tiny(), DType::F32, |_, i| if i < 2 { [3.0, 4.0][i] } else { 0.0 });
        let b = model(&tiny(), DType::F32, |name, i| match (name, i) {
            ("norm.weight", 0) => 6.0,
            ("norm.weight", 1) => 8.0,
            ("output.weight", 0) => -4.0,
            ("output.weight", 1) => 3.0,
            (_, 0) => 3.0,
            (_, 1) => 4.0,
            _ => 0.0,
        });
        let comparison = compare(&a, &b).unwrap();
        let of = |name: &str| comparison.tensors.iter().find(|found| found.name == name).unwrap().measures;
        let norm = of("norm.weight");
        assert_eq!((norm.elements, norm.l2, norm.relative_l2), (8, 5.0, Some(1.0)));
        assert_eq!((norm.max_abs, norm.cosine, norm.changed), (4.0, Some(1.0), 0.25));
        let output = of("output.weight");
        assert_eq!((output.l2, output.cosine, output.max_abs), (50.0_f64.sqrt(), Some(0.0), 7.0));
        assert_eq!(of("layers.0.wq.weight").cosine, Some(1.0));
        let total = comparison.total;
        assert_eq!((total.elements, total.l2), (4_824, 75.0_f64.sqrt()));
        assert_eq!((total.max_abs, total.changed), (7.0, 4.0 / 4_824.0));
        // All twelve tensors of a have the norm 5.
        assert_eq!(total.relative_l2, Some(75.0_f64.sqrt() / 300.0_f64.sqrt()));
        assert!(!comparison.same());
    }

    #[test]
    fn other_encodings_of_the_same_values_are_the_same() {
        let value = |name: &str, i: usize| ((i * 7 + name.len()) % 255) as f32 - 127.0;
        let a = model(&tiny(), DType::Q8_0, value);
        let stored: Vec<(String, Vec<f32>)> =
            a.tensors().map(|view| (view.name.to_owned(), view.to_f32())).collect();
        let b = model(&tiny(), DType::F32, |name, i| {
            stored.iter().find(|(known, _)| known == name).unwrap().1[i]
        });
        let comparison = compare(&a, &b).unwrap();
        assert!(comparison.same());
        assert_eq!(comparison.total.cosine, Some(1.0));
        assert_eq!(comparison.tensors[0].dtypes, [DType::Q8_0, DType::F32]);
        let zero = model(&tiny(), DType::F32, |_, _| 0.0);
        let nothing = compare(&zero, &zero).unwrap().total;
        assert_eq!((nothing.l2, nothing.relative_l2, nothing.cosine), (0.0, None, None));
    }

    #[test]
    fn tensors_of_one_model_only_are_listed() {
        let one = model(&tiny(), DType::F32, |_, _| 1.0);
        let config = ModelConfig { tied_output: true, ffn_size: 24, layer_count: 2, ..tiny() };
        let other = model(&config, DType::F32, |_, _| 1.0);
        let comparison = compare(&one, &other).unwrap();
        assert_eq!(comparison.only_first, ["output.weight"]);
        assert_eq!(comparison.only_second.len(), 9);
        assert_eq!(comparison.only_second[0], "layers.1.attn_norm.weight");
        let reshaped: Vec<_> = comparison.reshaped.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(reshaped, ["layers.0.w1.weight", "layers.0.w2.weight", "layers.0.w3.weight"]);
        assert_eq!(comparison.reshaped[0].shapes.each_ref().map(ToString::to_string), ["16x8", "24x8"]);
        assert!(!comparison.same() && comparison.total.changed == 0.0);
    }

    #[test]
    fn what_is_no_number_is_named() {
        let fine = model(&tiny(), DType::F32, |_, _| 1.0);
        let info = &fine.infos()[2];
        let mut bytes = fine.tensors().next().map(|_| Vec::new()).unwrap_or_default();
        let layout = slm1::Layout::new(&tiny(), &Tokenizer::Btok, Encoding::new(DType::F32)).unwrap();
        slm1::write::write_values::<WriteError>(&layout, &mut bytes, |_, _, out| {
            out.fill(1.0);
            Ok(())
        })
        .unwrap();
        let at = info.data.start + 4 * 5;
        bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        let broken = crate::model::open_bytes(std::sync::Arc::new(bytes)).unwrap();
        assert_eq!(
            compare(&fine, &broken).unwrap_err().to_string(),
            format!(
                "the second model has the value NaN in tensor `{}` at element 5; finite numbers are needed",
                info.name
            )
        );
    }

    #[test]
    fn threads_change_nothing() {
        let config = ModelConfig { ffn_size: 40_000, ..tiny() };
        let value = |salt: usize| {
            move |name: &str, i: usize| {
                let mixed = (i * 31 + name.len() * 7 + salt).wrapping_mul(2_654_435_761) >> 9 & 0xFFFF;
                (mixed as f32 - 32_768.0) * libm::ldexpf(1.0, (i % 30) as i32 - 15)
            }
        };
        let (a, b) = (model(&config, DType::F32, value(1)), model(&config, DType::F32, value(2)));
        let expected = compare(&a, &b).unwrap();
        for threads in [1, 2, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| compare(&a, &b)).unwrap(), expected);
        }
    }
}
