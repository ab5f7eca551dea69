//! The tensor `rope_freqs.weight`: what each rotary frequency is divided by.
//!
//! Files of models whose frequencies are scaled as `llama3` carry no facts about it but this tensor, as
//! llama.cpp makes it from the configuration. Everything else here knows a way of scaling and not a list of
//! numbers, so the way is found again: models of the family differ in the factor and in the context of the
//! training, a power of two. A file that was written here says its way in a fact of our own, since it can be
//! any. A way, stated or found, is taken only if it gives every number of the tensor.
//!
//! The tensor follows from the configuration and is none of the network's: nothing is bred of it.

use std::f64::consts::PI;

use super::facts::{Fact, Facts};
use crate::model::config::ModelConfig;
use crate::model::variant::RopeScale;
use crate::tensor::dtype::DType;
use crate::tensor::view::TensorView;

/// What it is called.
pub const TENSOR: &str = "rope_freqs.weight";

/// Our fact: the factor, the turns between which frequencies are blended, the context of the training.
pub const WAY: &str = "studbook.rope.llama3";

/// Turns in the context of the training between which frequencies are blended, in every model of the family.
const BLENDED: (f64, f64) = (1.0, 4.0);
/// How far a number may be from what the way gives: both are single precision.
const CLOSE: f64 = 1e-5;

/// The way of scaling that gives the tensor's numbers in this network; none if there is no such way.
pub fn scale(tensor: TensorView<'_>, config: &ModelConfig, facts: &Facts) -> Option<RopeScale> {
    if tensor.dtype != DType::F32 || tensor.data.len() != 4 * (config.head_dim / 2) as usize {
        return None;
    }
    let numbers = tensor.data.chunks_exact(4);
    let numbers: Vec<f64> = numbers
        .map(|bytes| f64::from(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
        .collect();
    if !numbers.iter().all(|number| number.is_finite() && *number > 0.0) {
        return None;
    }
    let gives = |way: &RopeScale| {
        let close =
            |(place, number): (usize, &f64)| (divisor(way, place, config) / number - 1.0).abs() < CLOSE;
        numbers.iter().enumerate().all(close)
    };
    if facts.get(WAY).is_some() {
        return read(facts).filter(gives);
    }
    let factor = numbers.iter().copied().fold(1.0, f64::max);
    if factor == 1.0 {
        return Some(RopeScale::Plain).filter(gives);
    }
    let (low, high) = BLENDED;
    let contexts = (4..=24).map(|power| f64::from(1_u32 << power));
    let mut ways = contexts.map(|original| RopeScale::Llama3 { factor, low, high, original });
    ways.find(gives)
}

/// The way that our fact says.
fn read(facts: &Facts) -> Option<RopeScale> {
    let Some(Fact::List(numbers)) = facts.get(WAY) else { return None };
    let [Fact::F64(factor), Fact::F64(low), Fact::F64(high), Fact::F64(original)] = numbers[..] else {
        return None;
    };
    Some(RopeScale::Llama3 { factor, low, high, original })
}

/// The way as our fact.
pub(super) fn stated(way: &RopeScale) -> Fact {
    let RopeScale::Llama3 { factor, low, high, original } = *way else { return Fact::List(Vec::new()) };
    Fact::List([factor, low, high, original].map(Fact::F64).to_vec())
}

/// The tensor's numbers in a network whose frequencies are scaled as `llama3`; none in any other.
pub fn numbers(config: &ModelConfig) -> Option<Vec<f32>> {
    let way = config.variant.rope;
    let pairs = 0..(config.head_dim / 2) as usize;
    matches!(way, RopeScale::Llama3 { .. })
        .then(|| pairs.map(|pair| divisor(&way, pair, config) as f32).collect())
}

/// What the frequency of a pair is divided by.
fn divisor(way: &RopeScale, pair: usize, config: &ModelConfig) -> f64 {
    let RopeScale::Llama3 { factor, low, high, original } = *way else { return 1.0 };
    let exponent = -2.0 * pair as f64 / f64::from(config.head_dim);
    let turns = original * libm::pow(f64::from(config.rope_theta), exponent) / (2.0 * PI);
    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
    1.0 / ((1.0 - kept) / factor + kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::tests::tiny;
    use crate::tensor::shape::Shape;

    /// The numbers that Llama 3.1 has, for heads of 128 elements, as llama.cpp computes them.
    fn factors(factor: f32, original: f32) -> Vec<f32> {
        (0..64)
            .map(|pair| {
                let length = 2.0 * std::f32::consts::PI * 500_000.0_f32.powf(pair as f32 / 64.0);
                let (shortest, longest) = (original / 4.0, original / 1.0);
                if length < shortest {
                    1.0
                } else if length > longest {
                    factor
                } else {
                    let smooth = (original / length - 1.0) / 3.0;
                    1.0 / ((1.0 - smooth) / factor + smooth)
                }
            })
            .collect()
    }

    fn found_with(numbers: &[f32], facts: &Facts) -> Option<RopeScale> {
        let config = ModelConfig { head_dim: 128, rope_theta: 500_000.0, ..tiny() };
        let shape = Shape::new(vec![numbers.len()]).unwrap();
        let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let (name, dtype) = (TENSOR, DType::F32);
        let view = TensorView { name, shape: &shape, dtype, block_size: 0, data: &data, scales: &[] };
        scale(view, &config, facts)
    }

    fn found(numbers: &[f32]) -> Option<RopeScale> {
        found_with(numbers, &Facts::default())
    }

    #[test]
    fn the_way_is_found_in_its_numbers() {
        let way = |factor, original| Some(RopeScale::Llama3 { factor, low: 1.0, high: 4.0, original });
        assert_eq!(found(&factors(8.0, 8192.0)), way(8.0, 8192.0));
        assert_eq!(found(&factors(32.0, 8192.0)), way(32.0, 8192.0));
        assert_eq!(found(&[1.0; 64]), Some(RopeScale::Plain));
    }

    #[test]
    fn numbers_of_no_known_way_are_not_taken() {
        let good = factors(8.0, 8192.0);
        for (place, number) in [(0, 1.001), (30, f32::NAN), (40, 0.5), (63, 9.0), (31, -1.0)] {
            let mut other = good.clone();
            other[place] = number;
            assert_eq!(found(&other), None, "{place} {number}");
        }
        assert_eq!(found(&good[1..]), None);
    }
    #[test]
    fn any_way_is_stated_and_must_give_the_numbers() {
        let way = RopeScale::Llama3 { factor: 5.5, low: 0.5, high: 3.0, original: 3000.0 };
        let variant = crate::model::variant::Variant { rope: way, ..Default::default() };
        let config = ModelConfig { head_dim: 128, rope_theta: 500_000.0, variant, ..tiny() };
        let written = numbers(&config).unwrap();
        assert_eq!(found(&written), None, "nobody would guess it");
        let mut facts = Facts::default();
        facts.push(WAY, stated(&way));
        assert_eq!(found_with(&written, &facts), Some(way));
        assert_eq!(found_with(&factors(8.0, 8192.0), &facts), None, "it says something else");
        assert_eq!(numbers(&tiny()), None);
        // Of the usual ones, llama.cpp's numbers.
        let rope = RopeScale::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        let variant = crate::model::variant::Variant { rope, ..Default::default() };
        let ours = numbers(&ModelConfig { variant, ..config }).unwrap();
        for (ours, theirs) in ours.iter().zip(factors(8.0, 8192.0)) {
            assert!((ours / theirs - 1.0).abs() < 1e-5, "{ours} {theirs}");
        }
    }
}
