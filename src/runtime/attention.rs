//! Keys and values, and attention over them. Memory is taken as positions come.

use std::ops::Range;

use super::config::Dimensions;
use crate::base::wide::wide;
use crate::tensor::kernel::{LANES, dots, exp};

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

    /// Attention of all heads of one query over the positions it sees: its own, which is the last of them, and those
    /// before it. `scores` is room to work in.
    pub fn attend(
        &self,
        seen: Range<usize>,
        query: &[f32],
        out: &mut [f32],
        dimensions: &Dimensions,
        scores: &mut Vec<f32>,
    ) {
        let &Dimensions { head, kv, .. } = dimensions;
        let share = dimensions.heads / dimensions.kv_heads;
        let (chunks, known) = (seen.len().div_ceil(LANES), seen.len());
        scores.resize(chunks * LANES, 0.0);
        let heads = query.chunks_exact(head).zip(out.chunks_exact_mut(head));
        for (index, (query, out)) in heads.enumerate() {
            let start = seen.start * kv + index / share * head;
            likenesses(query, &self.keys[start..], kv, dimensions.score_scale, &mut scores[..known]);
            scores[known..].fill(f32::NEG_INFINITY);
            softmax(scores.as_chunks_mut().0);
            weigh(&scores[..known], &self.values[start..], kv, out);
        }
    }
}

wide! {
    /// The products of a query with the key that begins every `stride` numbers.
    fn likenesses<'a>(query: &'a [f32], keys: &'a [f32], stride: usize, scale: f32, scores: &'a mut [f32]) {
        let key = |position: usize| &keys[position * stride..][..query.len()];
        let (groups, last) = scores.as_chunks_mut::<TOGETHER>();
        let done = groups.len() * TOGETHER;
        for (group, scores) in groups.iter_mut().enumerate() {
            let sums = dots(std::array::from_fn(|place| key(group * TOGETHER + place)), query);
            *scores = sums.map(|sum: f32| sum * scale);
        }
        for (place, score) in last.iter_mut().enumerate() {
            let [sum] = dots([key(done + place)], query);
            *score = sum * scale;
        }
    }

    /// The sum of the values that begin every `stride` numbers, each times its score, in their order.
    fn weigh<'a>(scores: &'a [f32], values: &'a [f32], stride: usize, out: &'a mut [f32]) {
        let width = out.len();
        let (many, rest) = out.as_chunks_mut::<32>();
        let (few, last) = rest.as_chunks_mut::<8>();
        let mut place = 0;
        for out in many {
            columns(scores, &values[place..], stride, out);
            place += out.len();
        }
        for out in few {
            columns(scores, &values[place..], stride, out);
            place += out.len();
        }
        last.fill(0.0);
        for (score, values) in scores.iter().zip(values.chunks(stride)) {
            for (sum, value) in last.iter_mut().zip(&values[place..width]) {
                *sum += score * value;
            }
        }
    }

    /// Softmax, stabilised by the largest score; added up in order. Scores come in whole vectors, the last filled
    /// up with negative infinities: there are few, and what is left over of a loop costs more than the loop.
    fn softmax<'a>(scores: &'a mut [[f32; LANES]]) {
        let mut largest = [f32::NEG_INFINITY; LANES];
        for scores in scores.iter() {
            for lane in 0..LANES {
                // `f32::max` has rules for what is no number, and they are slow.
                largest[lane] = if scores[lane] > largest[lane] { scores[lane] } else { largest[lane] };
            }
        }
        let largest = largest.into_iter().fold(f32::NEG_INFINITY, f32::max);
        for scores in scores.iter_mut() {
            for score in scores {
                *score = exp(*score - largest);
            }
        }
        let sum = scores.as_flattened().iter().fold(0.0, |sum, score| sum + score);
        for scores in scores.iter_mut() {
            for score in scores {
                *score /= sum;
            }
        }
    }
}

/// Sums of neighbouring columns, which stay in registers while all values pass by.
#[inline(always)]
fn columns<const N: usize>(scores: &[f32], values: &[f32], stride: usize, out: &mut [f32; N]) {
    let mut sums = [0.0_f32; N];
    for (score, values) in scores.iter().zip(values.chunks(stride)) {
        let Some(values) = values.first_chunk::<N>() else { break };
        for column in 0..N {
            sums[column] += score * values[column];
        }
    }
    *out = sums;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_survives_large_scores() {
        let mut scores = [[f32::NEG_INFINITY; LANES]; 2];
        (scores[0][1], scores[0][2], scores[1][0]) = (1000.0, -1000.0, 1000.0);
        softmax(&mut scores);
        assert_eq!(
            scores,
            [[0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
        );
    }

    /// The definition, word for word.
    #[test]
    fn any_number_of_scores_is_a_softmax() {
        for count in 1..40_usize {
            let scores: Vec<f32> = (0..count).map(|i| ((i * 7919 % 101) as f32 - 50.0) / 7.0).collect();
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let powers: Vec<f32> = scores.iter().map(|score| libm::expf(score - largest)).collect();
            let sum: f32 = powers.iter().sum();
            let mut padded = scores;
            padded.resize(count.next_multiple_of(LANES), f32::NEG_INFINITY);
            softmax(padded.as_chunks_mut().0);
            for (ours, power) in padded.iter().zip(powers) {
                assert_eq!(ours.to_bits(), (power / sum).to_bits(), "{count} scores");
            }
        }
    }
}
