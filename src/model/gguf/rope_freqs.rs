//! The tensor `rope_freqs.weight`: what each rotary frequency is divided by.
//!
//! Files of models whose frequencies are scaled as `llama3` carry no facts about it but this tensor, as
//! llama.cpp makes it from the configuration. Everything else here knows a way of scaling and not a list of
//! numbers, so the way is found again: models of the family differ in the factor and in the context of the
//! training, a power of two. One is taken only if it gives every number of the tensor.

use std::f64::consts::PI;

use crate::model::config::ModelConfig;
use crate::model::variant::RopeScale;
use crate::tensor::dtype::DType;
use crate::tensor::view::TensorView;

/// What it is called.
pub const TENSOR: &str = "rope_freqs.weight";

/// Turns in the context of the training between which frequencies are blended, in every model of the family.
const BLENDED: (f64, f64) = (1.0, 4.0);
/// How far a number may be from what the way gives: both are single precision.
const CLOSE: f64 = 1e-5;

/// The way of scaling that gives the tensor's numbers in this network; none if there is no such way.
pub fn scale(tensor: TensorView<'_>, config: &ModelConfig) -> Option<RopeScale> {
    if tensor.dtype != DType::F32 || tensor.data.len() != 4 * (config.head_dim / 2) as usize {
        return None;
    }
    let numbers = tensor.data.chunks_exact(4);
    let numbers: Vec<f64> = numbers
        .map(|bytes| f64::from(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
        .collect();
    if !numbers.iter().all(|number| number.is_finite() && *number >= 1.0) {
        return None;
    }
    let factor = numbers.iter().copied().fold(1.0, f64::max);
    if factor == 1.0 {
        return Some(RopeScale::Plain);
    }
    let (low, high) = BLENDED;
    let contexts = (4..=24).map(|power| f64::from(1_u32 << power));
    let ways = contexts.map(|original| RopeScale::Llama3 { factor, low, high, original });
    ways.into_iter().find(|way| {
        let close =
            |(place, number): (usize, &f64)| (divisor(way, place, config) / number - 1.0).abs() < CLOSE;
        numbers.iter().enumerate().all(close)
    })
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

    fn found(numbers: &[f32]) -> Option<RopeScale> {
        let config = ModelConfig { head_dim: 128, rope_theta: 500_000.0, ..tiny() };
        let shape = Shape::new(vec![numbers.len()]).unwrap();
        let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let (name, dtype) = (TENSOR, DType::F32);
        scale(TensorView { name, shape: &shape, dtype, block_size: 0, data: &data, scales: &[] }, &config)
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
}
