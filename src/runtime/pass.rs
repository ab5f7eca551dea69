//! One pass of tokens through every block.
//!
//! ```text
//! x  = embedding of the token
//! each block:  x += wo * attention(rope(wq * a), rope(wk * a), wv * a)     a = rms_norm(x)
//!              x += w2 * (silu(w1 * f) . (w3 * f))                         f = rms_norm(x)
//! logits = output * rms_norm(x)
//! ```
//!
//! Where a network has other norms ([`crate::model::norms`]), `a` and `f` are x itself, or what is added to x is
//! normed, or wq * a and wk * a are normed before they are turned. Embeddings may be scaled, another function may
//! stand for silu, and a layer's attention may look back over a window ([`crate::model::variant`]). What a network
//! does is asked once a pass and layer, not for each number.
//!
//! Several matrices that are multiplied with the same numbers are multiplied together: threads meet once.

use std::borrow::Cow;

use super::config::Dimensions;
use super::forward::Session;
use super::weights::{Layer, Linear, Weights};
use crate::base::wide::wide;
use crate::model::variant::Activation;
use crate::tensor::blocks;
use crate::tensor::kernel::{dots, exp, multiply};

/// Numbers of an activation worth handing to another thread.
const PIECE: usize = 1 << 13;

/// In the hyperbolic tangent of GELU.
const ROOT_OF_2_OVER_PI: f32 = 0.797_884_6;

/// One token of a pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) session: usize,
    pub(super) position: usize,
    pub(super) token: u32,
    pub(super) wanted: bool,
}

/// One pass of rows through a network.
pub(super) struct Pass<'a> {
    pub(super) weights: Weights<'a>,
    pub(super) dimensions: &'a Dimensions,
    /// Whether other threads may help.
    pub(super) spread: bool,
}

impl Pass<'_> {
    /// Feeds the rows, remembers their keys and values, and adds the logits wanted to their sessions.
    pub(super) fn run(&self, sessions: &mut [&mut Session], rows: &[Row]) {
        let hidden = self.dimensions.hidden;
        let mut x = vec![0.0; rows.len() * hidden];
        let embedding = self.weights.embedding();
        for (row, x) in rows.iter().zip(x.chunks_exact_mut(hidden)) {
            embedding.copy_row(row.token as usize, x);
            self.dimensions.embedding_scale.iter().for_each(|scale| x.iter_mut().for_each(|x| *x *= scale));
        }
        for index in 0..self.weights.layers() {
            let layer = self.weights.layer(index);
            self.attention(index, &layer, sessions, rows, &mut x);
            self.feed_forward(&layer, &mut x);
        }
        self.logits(sessions, rows, &x);
    }

    fn attention(
        &self,
        index: usize,
        layer: &Layer<'_>,
        sessions: &mut [&mut Session],
        rows: &[Row],
        x: &mut [f32],
    ) {
        let &Dimensions { query: width, kv, .. } = self.dimensions;
        let window = self.dimensions.window(index);
        let normed = self.normed(x, layer.attention_norm);
        let [mut queries, mut keys, values] =
            self.products([&layer.query, &layer.key, &layer.value], &normed);
        self.norm(&mut queries, layer.query_norm);
        self.norm(&mut keys, layer.key_norm);
        for (place, row) in rows.iter().enumerate() {
            let session = &mut *sessions[row.session];
            let (key, value) = (&mut keys[place * kv..][..kv], &values[place * kv..][..kv]);
            session.rope.turn(row.position, window.is_some(), &mut queries[place * width..][..width]);
            session.rope.turn(row.position, window.is_some(), key);
            session.memories[index].push(key, value);
        }
        let memories: Vec<_> = sessions.iter().map(|session| &session.memories[index]).collect();
        let mut attended = vec![0.0; queries.len()];
        self.pieces(&mut attended, width, |first, out| {
            let mut scores = Vec::new();
            for (place, out) in out.chunks_exact_mut(width).enumerate().map(|(at, out)| (first + at, out)) {
                let Row { session, position, .. } = rows[place];
                let query = &queries[place * width..][..width];
                let seen = (position + 1).saturating_sub(window.unwrap_or(usize::MAX))..position + 1;
                memories[session].attend(seen, query, out, self.dimensions, &mut scores);
            }
        });
        let [mut output] = self.products([&layer.output], &attended);
        self.norm(&mut output, layer.attention_post_norm);
        add(x, &output);
    }

    fn feed_forward(&self, layer: &Layer<'_>, x: &mut [f32]) {
        let normed = self.normed(x, layer.ffn_norm);
        let [mut gate, up] = self.products([&layer.gate, &layer.up], &normed);
        let let_through = match self.dimensions.variant.activation {
            Activation::Silu => let_through_silu,
            Activation::GeluTanh => let_through_gelu,
        };
        self.pieces(&mut gate, 1, |first, gate| let_through(gate, &up[first..]));
        let [mut down] = self.products([&layer.down], &gate);
        self.norm(&mut down, layer.ffn_post_norm);
        add(x, &down);
    }

    fn logits(&self, sessions: &mut [&mut Session], rows: &[Row], x: &[f32]) {
        let &Dimensions { hidden, vocab, .. } = self.dimensions;
        let wanted = || rows.iter().zip(x.chunks_exact(hidden)).filter(|(row, _)| row.wanted);
        let last: Vec<f32> = wanted().flat_map(|(_, x)| x).copied().collect();
        if last.is_empty() {
            return;
        }
        let normed = self.rms_norm(&last, self.weights.norm());
        let [logits] = self.products([&self.weights.output()], &normed);
        for ((row, _), logits) in wanted().zip(logits.chunks_exact(vocab)) {
            sessions[row.session].logits.extend_from_slice(logits);
        }
    }

    /// The products of the same inputs with several matrices, biases added.
    fn products<const N: usize>(&self, linears: [&Linear<'_>; N], inputs: &[f32]) -> [Vec<f32>; N] {
        let mut outs =
            linears.map(|Linear { matrix, .. }| vec![0.0; inputs.len() / matrix.columns() * matrix.rows()]);
        let mut places = outs.iter_mut();
        let products =
            linears.map(|linear| (linear.matrix, places.next().map(Vec::as_mut_slice).unwrap_or_default()));
        multiply(products, inputs, self.spread);
        for (linear, out) in linears.iter().zip(&mut outs).filter(|(linear, _)| !linear.bias.is_empty()) {
            out.chunks_exact_mut(linear.bias.len()).for_each(|row| add(row, linear.bias));
        }
        outs
    }

    /// `x` normed if there are gains for it, else as it is.
    fn normed<'x>(&self, x: &'x [f32], gain: &[f32]) -> Cow<'x, [f32]> {
        if gain.is_empty() { Cow::Borrowed(x) } else { Cow::Owned(self.rms_norm(x, gain)) }
    }

    /// The same in place.
    fn norm(&self, x: &mut Vec<f32>, gain: &[f32]) {
        if !gain.is_empty() {
            *x = self.rms_norm(x, gain);
        }
    }

    /// Every row of `x`, one as long as the gains, normed.
    fn rms_norm(&self, x: &[f32], gain: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; x.len()];
        self.pieces(&mut out, gain.len(), |first, out| {
            normalise(&x[first * gain.len()..][..out.len()], gain, self.dimensions.epsilon, out);
        });
        out
    }

    /// `work(first, piece)` on pieces of whole units, `first` being the number of the piece's first unit.
    fn pieces(&self, data: &mut [f32], unit: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
        let units = PIECE.div_ceil(unit);
        if self.spread && data.len() > units * unit {
            blocks::for_each_chunk(data, units * unit, |index, piece| work(index * units, piece));
        } else {
            work(0, data);
        }
    }
}

fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

wide! {
    /// Every row of `x` divided by the root of its mean square, times the gains.
    fn normalise<'a>(x: &'a [f32], gain: &'a [f32], epsilon: f32, out: &'a mut [f32]) {
        for (row, out) in x.chunks_exact(gain.len()).zip(out.chunks_exact_mut(gain.len())) {
            let [squares] = dots([row], row);
            let root = libm::sqrtf(squares / row.len() as f32 + epsilon);
            for ((out, x), gain) in out.iter_mut().zip(row).zip(gain) {
                *out = x / root * gain;
            }
        }
    }

    /// `silu(gate) * up`, in the place of `gate`.
    fn let_through_silu<'a>(gate: &'a mut [f32], up: &'a [f32]) {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = *gate / (1.0 + exp(-*gate)) * up;
        }
    }

    /// `gelu(gate) * up` of the kind with a hyperbolic tangent, in the place of `gate`. Half of 1 + tanh(z) is
    /// 1 / (1 + exp(-2z)), which takes the exponential that is the same everywhere, and cancels nothing.
    fn let_through_gelu<'a>(gate: &'a mut [f32], up: &'a [f32]) {
        for (gate, up) in gate.iter_mut().zip(up) {
            let x = *gate;
            let z = ROOT_OF_2_OVER_PI * (x + 0.044_715 * (x * x * x));
            *gate = x / (1.0 + exp(-2.0 * z)) * up;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, word for word, in double precision.
    #[test]
    fn gelu_is_that_with_a_hyperbolic_tangent() {
        for step in -1200..=1200 {
            let x = step as f32 / 100.0;
            let mut gate = [x];
            let_through_gelu(&mut gate, &[2.0]);
            let wide = f64::from(x);
            let z = libm::sqrt(2.0 / std::f64::consts::PI) * (wide + 0.044_715 * wide * wide * wide);
            let expected = wide * (1.0 + libm::tanh(z));
            assert!(
                (f64::from(gate[0]) - expected).abs() <= 1e-6 * expected.abs().max(1e-3),
                "{x}: {} {expected}",
                gate[0]
            );
        }
        let mut ends = [f32::MAX, f32::MIN, 0.0, -40.0];
        let_through_gelu(&mut ends, &[1.0; 4]);
        assert_eq!(ends, [f32::MAX, -0.0, 0.0, -0.0]);
    }
}
