//! The network: a small llama, forwards and backwards, written out.
//!
//! Forwards is section by section what an SLM1 runtime computes: RMSNorm, rotary positions on
//! adjacent pairs, causal attention, SwiGLU, the embedding used again as the output. Backwards is
//! the chain rule through the same lines in reverse order; `gradients_match_finite_differences`
//! holds the two together.
//!
//! Parameters live in one flat vector, tensor after tensor ([`Layout`] knows where), and so do
//! gradients: the optimizer needs no idea of layers. A batch is a list of token sequences laid end
//! to end without padding, so the matrices are tall and nothing is computed for nothing. Only
//! the answer counts in the loss, and only there are logits computed.

use std::ops::Range;

use studbook::model::{ModelConfig, tensor_table};

use super::gemm::{Gemm, View, dot};

/// A tensor's name, shape and place in the flat vector. A vector is one row.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) range: Range<usize>,
}

impl Tensor {
    pub(crate) fn is_vector(&self) -> bool {
        self.rows == 1
    }
}

/// Every tensor in the order of the file: embedding, nine per layer, final norm.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) vocab: usize,
    pub(crate) layers: usize,
    hidden: usize,
    heads: usize,
    ffn: usize,
    epsilon: f32,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

struct Layer {
    attn_norm: Range<usize>,
    wq: Range<usize>,
    wk: Range<usize>,
    wv: Range<usize>,
    wo: Range<usize>,
    ffn_norm: Range<usize>,
    w1: Range<usize>,
    w2: Range<usize>,
    w3: Range<usize>,
}

impl Layout {
    /// The layout of a model with tied output and as many key heads as query heads.
    pub(crate) fn new(config: &ModelConfig) -> Self {
        assert!(
            config.tied_output && config.kv_head_count == config.head_count,
            "the one shape trained here"
        );
        let mut offset = 0;
        let tensors = tensor_table(config).expect("a small model").into_iter().map(|spec| {
            let range = offset..offset + spec.shape.elements();
            offset = range.end;
            Tensor { name: spec.name, rows: spec.shape.rows(), columns: spec.shape.columns(), range }
        });
        let (cosines, sines) = rotations(config);
        Self {
            tensors: tensors.collect(),
            vocab: config.vocab_size as usize,
            layers: config.layer_count as usize,
            hidden: config.hidden_size as usize,
            heads: config.head_count as usize,
            ffn: config.ffn_size as usize,
            epsilon: config.rms_norm_epsilon,
            cosines,
            sines,
        }
    }

    pub(crate) fn parameters(&self) -> usize {
        self.tensors.last().map_or(0, |tensor| tensor.range.end)
    }

    fn layer(&self, n: usize) -> Layer {
        let at = |i: usize| self.tensors[1 + 9 * n + i].range.clone();
        Layer {
            attn_norm: at(0),
            wq: at(1),
            wk: at(2),
            wv: at(3),
            wo: at(4),
            ffn_norm: at(5),
            w1: at(6),
            w2: at(7),
            w3: at(8),
        }
    }

    fn embedding(&self) -> Range<usize> {
        self.tensors[0].range.clone()
    }

    fn final_norm(&self) -> Range<usize> {
        self.tensors[self.tensors.len() - 1].range.clone()
    }
}

/// Cosine and sine for each position and pair: theta^(-2i/head_dim) turns per position.
fn rotations(config: &ModelConfig) -> (Vec<f32>, Vec<f32>) {
    let (head, theta) = (config.head_dim, config.rope_theta);
    let angles = (0..config.max_context).flat_map(|position| {
        (0..head / 2).map(move |i| {
            let frequency = libm::powf(theta, -(2.0 * i as f32) / head as f32);
            position as f32 * frequency
        })
    });
    angles.map(|angle| (libm::cosf(angle), libm::sinf(angle))).unzip()
}

/// Token sequences end to end. `targets` names the tokens after which an answer token follows.
#[derive(Debug, Default, Clone)]
pub(crate) struct Batch {
    tokens: Vec<usize>,
    sequences: Vec<Range<usize>>,
    targets: Vec<Target>,
}

/// After the token at `place`, `token` is right.
#[derive(Debug, Clone, Copy)]
struct Target {
    place: usize,
    token: usize,
}

impl Batch {
    /// Appends one question and its answer; `answer` ends with EOS.
    pub(crate) fn push(&mut self, prompt: &[usize], answer: &[usize]) {
        let start = self.tokens.len();
        self.tokens.extend(prompt);
        for (i, &token) in answer.iter().enumerate() {
            self.targets.push(Target { place: start + prompt.len() - 1 + i, token });
        }
        // The last answer token is only ever a target.
        self.tokens.extend(&answer[..answer.len() - 1]);
        self.sequences.push(start..self.tokens.len());
    }

    pub(crate) fn targets(&self) -> usize {
        self.targets.len()
    }
}

/// One layer's values on the way forwards, kept for the way back.
struct Kept {
    input: Vec<f32>,
    attn_scale: Vec<f32>,
    attn_in: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    weights: Vec<f32>,
    mixed: Vec<f32>,
    middle: Vec<f32>,
    ffn_scale: Vec<f32>,
    ffn_in: Vec<f32>,
    gate: Vec<f32>,
    sigmoid: Vec<f32>,
    up: Vec<f32>,
    product: Vec<f32>,
}

/// Everything the way back needs.
pub(crate) struct Trace {
    layers: Vec<Kept>,
    last: Vec<f32>,
    last_scale: Vec<f32>,
    last_normed: Vec<f32>,
    logits: Vec<f32>,
}

impl Layout {
    /// Runs the network over `batch`; logits exist at the targets only.
    pub(crate) fn forward(&self, parameters: &[f32], batch: &Batch, gemm: &mut Gemm) -> Trace {
        let hidden = self.hidden;
        let embedding = &parameters[self.embedding()];
        let mut x: Vec<f32> = Vec::with_capacity(batch.tokens.len() * hidden);
        for &token in &batch.tokens {
            x.extend_from_slice(&embedding[token * hidden..(token + 1) * hidden]);
        }
        let layers = (0..self.layers).map(|n| self.layer_forward(n, parameters, batch, &mut x, gemm));
        let layers: Vec<Kept> = layers.collect();
        let last: Vec<f32> = batch
            .targets
            .iter()
            .flat_map(|target| &x[target.place * hidden..(target.place + 1) * hidden])
            .copied()
            .collect();
        let (last_normed, last_scale) = rms_norm(&last, &parameters[self.final_norm()], self.epsilon);
        let logits =
            gemm.product(View::rows(&last_normed, hidden), View::rows(embedding, hidden).transposed());
        Trace { layers, last, last_scale, last_normed, logits }
    }

    fn layer_forward(&self, n: usize, p: &[f32], batch: &Batch, x: &mut [f32], gemm: &mut Gemm) -> Kept {
        let Self { hidden, ffn, epsilon, .. } = *self;
        let layer = self.layer(n);
        let input = x.to_owned();
        let (attn_in, attn_scale) = rms_norm(x, &p[layer.attn_norm], epsilon);
        let mut project = |from: &[f32], width: usize, matrix: Range<usize>| {
            gemm.product(View::rows(from, width), View::rows(&p[matrix], width).transposed())
        };
        let mut q = project(&attn_in, hidden, layer.wq);
        let mut k = project(&attn_in, hidden, layer.wk);
        let v = project(&attn_in, hidden, layer.wv);
        self.rotate(&mut q, batch, 1.0);
        self.rotate(&mut k, batch, 1.0);
        let (mixed, weights) = self.attend(&q, &k, &v, batch);
        add(x, &project(&mixed, hidden, layer.wo));
        let middle = x.to_owned();
        let (ffn_in, ffn_scale) = rms_norm(x, &p[layer.ffn_norm], epsilon);
        let gate = project(&ffn_in, hidden, layer.w1);
        let up = project(&ffn_in, hidden, layer.w3);
        let sigmoid: Vec<f32> = gate.iter().map(|&g| 1.0 / (1.0 + libm::expf(-g))).collect();
        let product: Vec<f32> = (0..gate.len()).map(|i| gate[i] * sigmoid[i] * up[i]).collect();
        add(x, &project(&product, ffn, layer.w2));
        Kept {
            input,
            attn_scale,
            attn_in,
            q,
            k,
            v,
            weights,
            mixed,
            middle,
            ffn_scale,
            ffn_in,
            gate,
            sigmoid,
            up,
            product,
        }
    }

    /// The way back: adds to `gradient` the derivative of [`Trace::loss`] times `scale`.
    pub(crate) fn backward(
        &self,
        p: &[f32],
        batch: &Batch,
        trace: &Trace,
        scale: f32,
        gradient: &mut [f32],
        gemm: &mut Gemm,
    ) {
        let hidden = self.hidden;
        let embedding = self.embedding();
        let d_logits = trace.d_logits(batch, self.vocab, scale);
        let d_logits = View::rows(&d_logits, self.vocab);
        let d_normed = gemm.product(d_logits, View::rows(&p[embedding.clone()], hidden));
        let normed = View::rows(&trace.last_normed, hidden);
        gemm.add_product(d_logits.transposed(), normed, &mut gradient[embedding.clone()]);
        let norm = self.final_norm();
        let mut d_last = vec![0.0; trace.last.len()];
        let d_norm = &mut gradient[norm.clone()];
        rms_norm_back(&trace.last, &trace.last_scale, &p[norm], &d_normed, &mut d_last, d_norm);

        let mut dx = vec![0.0; batch.tokens.len() * hidden];
        for (target, d) in batch.targets.iter().zip(d_last.chunks_exact(hidden)) {
            add(&mut dx[target.place * hidden..(target.place + 1) * hidden], d);
        }
        for (n, kept) in trace.layers.iter().enumerate().rev() {
            self.layer_back(n, p, batch, kept, &mut dx, gradient, gemm);
        }
        let d_embedding = &mut gradient[embedding];
        for (&token, d) in batch.tokens.iter().zip(dx.chunks_exact(hidden)) {
            add(&mut d_embedding[token * hidden..(token + 1) * hidden], d);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the way back through one layer needs all of it")]
    fn layer_back(
        &self,
        n: usize,
        p: &[f32],
        batch: &Batch,
        kept: &Kept,
        dx: &mut [f32],
        gradient: &mut [f32],
        gemm: &mut Gemm,
    ) {
        let Self { hidden, ffn, .. } = *self;
        let layer = self.layer(n);
        // y = x W': dW += dy' x, and dx += dy W.
        let mut back = |dy: &[f32], out: usize, x: &[f32], width: usize, w: Range<usize>, dx: &mut [f32]| {
            let dy = View::rows(dy, out);
            gemm.add_product(dy.transposed(), View::rows(x, width), &mut gradient[w.clone()]);
            gemm.add_product(dy, View::rows(&p[w], width), dx);
        };
        let mut d_product = vec![0.0; kept.product.len()];
        back(dx, hidden, &kept.product, ffn, layer.w2, &mut d_product);
        let (d_gate, d_up) = gated_back(kept, &d_product);
        let mut d_ffn_in = vec![0.0; dx.len()];
        back(&d_gate, ffn, &kept.ffn_in, hidden, layer.w1, &mut d_ffn_in);
        back(&d_up, ffn, &kept.ffn_in, hidden, layer.w3, &mut d_ffn_in);
        let mut d_norm = vec![0.0; hidden];
        let norm = &p[layer.ffn_norm.clone()];
        rms_norm_back(&kept.middle, &kept.ffn_scale, norm, &d_ffn_in, dx, &mut d_norm);

        let mut d_mixed = vec![0.0; dx.len()];
        back(dx, hidden, &kept.mixed, hidden, layer.wo, &mut d_mixed);
        let [mut dq, mut dk, dv] = self.attend_back(kept, &d_mixed, batch);
        self.rotate(&mut dq, batch, -1.0);
        self.rotate(&mut dk, batch, -1.0);
        let mut d_attn_in = vec![0.0; dx.len()];
        back(&dq, hidden, &kept.attn_in, hidden, layer.wq, &mut d_attn_in);
        back(&dk, hidden, &kept.attn_in, hidden, layer.wk, &mut d_attn_in);
        back(&dv, hidden, &kept.attn_in, hidden, layer.wv, &mut d_attn_in);
        add(&mut gradient[layer.ffn_norm], &d_norm);
        let (norm, d_norm) = (&p[layer.attn_norm.clone()], &mut gradient[layer.attn_norm]);
        rms_norm_back(&kept.input, &kept.attn_scale, norm, &d_attn_in, dx, d_norm);
    }

    /// Turns each adjacent pair of each head by its position; `direction` -1 turns back.
    fn rotate(&self, x: &mut [f32], batch: &Batch, direction: f32) {
        let hidden = self.hidden;
        let pairs = hidden / self.heads / 2;
        for sequence in &batch.sequences {
            for (position, place) in sequence.clone().enumerate() {
                let row = x[place * hidden..(place + 1) * hidden].as_chunks_mut::<2>().0;
                for (i, pair) in row.iter_mut().enumerate() {
                    let turn = position * pairs + i % pairs;
                    let (cosine, sine) = (self.cosines[turn], direction * self.sines[turn]);
                    let [a, b] = *pair;
                    *pair = [a * cosine - b * sine, a * sine + b * cosine];
                }
            }
        }
    }

    /// Causal attention. Returns the mixed values and the weights, row by row, head by head.
    fn attend(&self, q: &[f32], k: &[f32], v: &[f32], batch: &Batch) -> (Vec<f32>, Vec<f32>) {
        let head = self.hidden / self.heads;
        let scale = 1.0 / (head as f32).sqrt();
        let mut mixed = vec![0.0; q.len()];
        let mut weights = Vec::new();
        for (i, past, columns) in self.heads_in(batch) {
            let at = |place: usize| place * self.hidden + columns.start..place * self.hidden + columns.end;
            let first = weights.len();
            weights.extend(past.clone().map(|j| scale * dot(&q[at(i)], &k[at(j)])));
            softmax(&mut weights[first..]);
            for (j, &weight) in past.zip(&weights[first..]) {
                add_scaled(&mut mixed[at(i)], &v[at(j)], weight);
            }
        }
        (mixed, weights)
    }

    fn attend_back(&self, kept: &Kept, d_mixed: &[f32], batch: &Batch) -> [Vec<f32>; 3] {
        let head = self.hidden / self.heads;
        let scale = 1.0 / (head as f32).sqrt();
        let Kept { q, k, v, weights, .. } = kept;
        let [mut dq, mut dk, mut dv] = [0; 3].map(|_| vec![0.0; q.len()]);
        let mut rest = &weights[..];
        for (i, past, columns) in self.heads_in(batch) {
            let at = |place: usize| place * self.hidden + columns.start..place * self.hidden + columns.end;
            let (weights, after) = rest.split_at(past.len());
            rest = after;
            let d_weights: Vec<f32> = past.clone().map(|j| dot(&d_mixed[at(i)], &v[at(j)])).collect();
            let mean = dot(&d_weights, weights);
            for ((j, &weight), d_weight) in past.zip(weights).zip(d_weights) {
                let d_score = scale * weight * (d_weight - mean);
                add_scaled(&mut dv[at(j)], &d_mixed[at(i)], weight);
                add_scaled(&mut dq[at(i)], &k[at(j)], d_score);
                add_scaled(&mut dk[at(j)], &q[at(i)], d_score);
            }
        }
        [dq, dk, dv]
    }

    /// Every (place, the places it may look at, columns of one head), in one fixed order.
    fn heads_in<'a>(
        &'a self,
        batch: &'a Batch,
    ) -> impl Iterator<Item = (usize, Range<usize>, Range<usize>)> + 'a {
        let head = self.hidden / self.heads;
        batch.sequences.iter().flat_map(move |sequence| {
            (0..self.heads).flat_map(move |h| {
                let columns = h * head..(h + 1) * head;
                sequence.clone().map(move |i| (i, sequence.start..i + 1, columns.clone()))
            })
        })
    }
}

impl Trace {
    /// The sum over the targets of minus the log probability of the right token.
    pub(crate) fn loss(&self, batch: &Batch, vocab: usize) -> f64 {
        let rows = self.logits.chunks_exact(vocab).zip(&batch.targets);
        rows.map(|(logits, target)| {
            let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = logits.iter().map(|&l| f64::from(libm::expf(l - max))).sum();
            libm::log(sum) - f64::from(logits[target.token] - max)
        })
        .sum()
    }

    fn d_logits(&self, batch: &Batch, vocab: usize, scale: f32) -> Vec<f32> {
        let mut d = self.logits.clone();
        for (row, target) in d.chunks_exact_mut(vocab).zip(&batch.targets) {
            softmax(row);
            row[target.token] -= 1.0;
            row.iter_mut().for_each(|d| *d *= scale);
        }
        d
    }
}

/// y = x / sqrt(mean(x^2) + epsilon) * g, and the reciprocal roots.
fn rms_norm(x: &[f32], g: &[f32], epsilon: f32) -> (Vec<f32>, Vec<f32>) {
    let mut y = Vec::with_capacity(x.len());
    let mut scales = Vec::with_capacity(x.len() / g.len());
    for row in x.chunks_exact(g.len()) {
        let scale = 1.0 / (dot(row, row) / g.len() as f32 + epsilon).sqrt();
        y.extend(row.iter().zip(g).map(|(x, g)| x * scale * g));
        scales.push(scale);
    }
    (y, scales)
}

/// Adds to `dx` and `dg` what `dy` implies.
fn rms_norm_back(x: &[f32], scales: &[f32], g: &[f32], dy: &[f32], dx: &mut [f32], dg: &mut [f32]) {
    let width = g.len();
    let rows = x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(dx.chunks_exact_mut(width));
    for (((x, dy), dx), &scale) in rows.zip(scales) {
        let weighted: Vec<f32> = dy.iter().zip(g).map(|(dy, g)| dy * g).collect();
        let pull = dot(&weighted, x) * scale * scale * scale / width as f32;
        for i in 0..width {
            dx[i] += scale * weighted[i] - pull * x[i];
            dg[i] += dy[i] * x[i] * scale;
        }
    }
}

/// Back through silu(gate) * up.
fn gated_back(kept: &Kept, d_product: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let values = kept.gate.iter().zip(&kept.sigmoid).zip(&kept.up).zip(d_product);
    values
        .map(|(((gate, sigmoid), up), d)| {
            let silu = gate * sigmoid;
            (d * up * (sigmoid + silu * (1.0 - sigmoid)), d * silu)
        })
        .unzip()
}

fn softmax(scores: &mut [f32]) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = libm::expf(*score - max);
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

fn add(to: &mut [f32], from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

fn add_scaled(to: &mut [f32], from: &[f32], scale: f32) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += scale * from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use studbook::base::rng::Philox;

    fn small() -> (Layout, Vec<f32>, Batch) {
        let layout = Layout::new(&ModelConfig {
            vocab_size: 11,
            special_token_count: 4,
            hidden_size: 12,
            layer_count: 2,
            head_count: 3,
            kv_head_count: 3,
            head_dim: 4,
            ffn_size: 10,
            max_context: 8,
            rope_theta: 100.0,
            rms_norm_epsilon: 1e-5,
            tied_output: true,
            variant: studbook::model::variant::Variant::PLAIN,
        });
        let stream = Philox::for_purpose(&["network test"]);
        let parameters = (0..layout.parameters()).map(|i| stream.unit(i as u64) as f32 * 1.2 - 0.6).collect();
        let mut batch = Batch::default();
        batch.push(&[1, 2, 3], &[4, 5, 10]);
        batch.push(&[9], &[2, 2]);
        batch.push(&[7, 7, 0, 3], &[10]);
        (layout, parameters, batch)
    }

    /// For every tensor, the slope along a random direction, and along its largest gradient.
    #[test]
    fn gradients_match_finite_differences() {
        let (layout, parameters, batch) = small();
        let gemm = &mut Gemm::default();
        let trace = layout.forward(&parameters, &batch, gemm);
        let mut gradient = vec![0.0; parameters.len()];
        layout.backward(&parameters, &batch, &trace, 1.0, &mut gradient, gemm);
        for (t, tensor) in layout.tensors.iter().enumerate() {
            let stream = Philox::for_purpose(&["direction", &t.to_string()]);
            let random = |i: usize| if stream.unit(i as u64) < 0.5 { 1.0 } else { -1.0 };
            let steepest =
                tensor.range.clone().max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs()));
            for single in [None, steepest] {
                let direction = |i: usize| single.map_or_else(|| random(i), |s| f32::from(s == i));
                let mut loss_at = |step: f32| {
                    let mut moved = parameters.clone();
                    for i in tensor.range.clone() {
                        moved[i] += step * direction(i);
                    }
                    layout.forward(&moved, &batch, gemm).loss(&batch, layout.vocab)
                };
                let step = 2e-3;
                let measured = (loss_at(step) - loss_at(-step)) / (2.0 * f64::from(step));
                let slope: f64 = tensor.range.clone().map(|i| f64::from(gradient[i] * direction(i))).sum();
                let error = (measured - slope).abs() / (slope.abs() + 0.1);
                assert!(error < 5e-3, "{}: measured {measured}, computed {slope}", tensor.name);
            }
        }
    }

    /// A sequence's logits cannot depend on its neighbours in the batch.
    #[test]
    fn sequences_do_not_see_each_other() {
        let (layout, parameters, batch) = small();
        let mut alone = Batch::default();
        alone.push(&[7, 7, 0, 3], &[10]);
        let gemm = &mut Gemm::default();
        let together = layout.forward(&parameters, &batch, gemm).logits;
        let alone = layout.forward(&parameters, &alone, gemm).logits;
        assert_eq!(together[5 * 11..], alone);
    }

    /// Training and inference are two programs; they must compute one network.
    #[test]
    fn forward_is_what_the_runtime_computes() {
        let layout = Layout::new(&crate::config());
        let noise = crate::train::noise(&layout, "runtime");
        let file = crate::publish::encode(&crate::config(), &layout, &noise).unwrap();
        let checkpoint = studbook::model::open_bytes(std::sync::Arc::new(file)).unwrap();
        let parameters = crate::publish::parameters(&layout, &checkpoint).unwrap();
        let model = studbook::runtime::Model::new(std::sync::Arc::new(checkpoint)).unwrap();
        let mut session = studbook::runtime::Session::new(&model, 64).unwrap();

        let tokens: [u32; 9] = [256, 115, 111, 114, 116, 32, 98, 97, 61];
        let mut batch = Batch::default();
        batch.push(&tokens.map(|token| token as usize), &[257]);
        let trained = layout.forward(&parameters, &batch, &mut Gemm::default()).logits;
        let run = session.feed(&tokens).unwrap();
        let largest = run.iter().fold(0.0_f32, |largest, logit| largest.max(logit.abs()));
        let apart = trained.iter().zip(run).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(largest > 0.5 && apart < 1e-5 * largest, "{apart} apart of {largest}");
    }
}
