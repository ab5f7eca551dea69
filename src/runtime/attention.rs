//! Keys and values, and attention over them. Memory is taken as positions come.

use super::config::Dimensions;
use crate::tensor::kernel::dot;

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

    /// Attention of all heads of one query at `position` over itself and everything before it.
    pub fn attend(&self, position: usize, query: &[f32], out: &mut [f32], dimensions: &Dimensions) {
        let &Dimensions { head, kv, .. } = dimensions;
        let share = dimensions.heads / dimensions.kv_heads;
        let scale = 1.0 / libm::sqrtf(head as f32);
        let mut scores = vec![0.0; position + 1];
        let heads = query.chunks_exact(head).zip(out.chunks_exact_mut(head));
        for (index, (query, out)) in heads.enumerate() {
            let start = index / share * head;
            for (score, keys) in scores.iter_mut().zip(self.keys.chunks_exact(kv)) {
                *score = dot(query, &keys[start..start + head]) * scale;
            }
            softmax(&mut scores);
            out.fill(0.0);
            for (score, values) in scores.iter().zip(self.values.chunks_exact(kv)) {
                for (sum, value) in out.iter_mut().zip(&values[start..start + head]) {
                    *sum += score * value;
                }
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
