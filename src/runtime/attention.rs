//! Keys and values, and attention over them. Memory is taken as positions come.

use super::config::Dimensions;
use crate::tensor::kernel::{dot, dots};

/// Keys whose products with a query are summed together.
const TOGETHER: usize = 4;

/// Keys and values of one block for the positions so far.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Memory {
    /// Remembers the next position.
    pub fn push(&mut self, keys: &[f32], values: &[f32]) {
        self.keys.extend_from_slice(keys);
        self.values.extend_from_slice(values);
    }

    /// Forgets everything after the first `numbers` numbers.
    pub fn truncate(&mut self, numbers: usize) {
        self.keys.truncate(numbers);
        self.values.truncate(numbers);
    }

    /// Attention of all heads of one query at `position` over itself and everything before it. `scores` is
    /// room to work in.
    pub fn attend(
        &self,
        position: usize,
        query: &[f32],
        out: &mut [f32],
        scores: &mut Vec<f32>,
        dimensions: &Dimensions,
    ) {
        scores.resize(position + 1, 0.0);
        attend(self, query, out, scores, dimensions);
    }
}

#[cfg_attr(feature = "engine", multiversion::multiversion(targets("x86_64+avx+avx2")))]
fn attend(memory: &Memory, query: &[f32], out: &mut [f32], scores: &mut [f32], dimensions: &Dimensions) {
    let &Dimensions { head, kv, .. } = dimensions;
    let share = dimensions.heads / dimensions.kv_heads;
    let scale = 1.0 / libm::sqrtf(head as f32);
    let heads = query.chunks_exact(head).zip(out.chunks_exact_mut(head));
    for (index, (query, out)) in heads.enumerate() {
        let start = index / share * head;
        let keys = |position: usize| &memory.keys[position * kv + start..][..head];
        let (groups, last) = scores.as_chunks_mut::<TOGETHER>();
        let done = groups.len() * TOGETHER;
        for (group, scores) in groups.iter_mut().enumerate() {
            let sums = dots(std::array::from_fn(|place| keys(group * TOGETHER + place)), query);
            *scores = sums.map(|sum: f32| sum * scale);
        }
        for (place, score) in last.iter_mut().enumerate() {
            *score = dot(query, keys(done + place)) * scale;
        }
        softmax(scores);
        out.fill(0.0);
        for (score, values) in scores.iter().zip(memory.values.chunks_exact(kv)) {
            for (sum, value) in out.iter_mut().zip(&values[start..start + head]) {
                *sum += score * value;
            }
        }
    }
}

/// Softmax, stabilised by the largest score; added up in order.
pub fn softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = libm::expf(*score - largest);
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_survives_large_scores() {
        let mut scores = [1000.0, 1000.0, -1000.0];
        softmax(&mut scores);
        assert_eq!(scores, [0.5, 0.5, 0.0]);
    }
}
