//! `mutate`: one parent with noise on it, small and never larger than a bound.
//!
//! The mutation of evolution strategies (Beyer and Schwefel, "Evolution strategies: a comprehensive
//! introduction", 2002), with what a model needs: sizes are relative to each tensor's own RMS, and
//! no element moves further than the bound, whatever is drawn.
//!
//! With `r` the root of the mean square of the tensor, a share `rate` of its elements gets
//!
//! ```text
//! out = x + clamp(sigma * r * z, -bound * r, +bound * r)
//! ```
//!
//! `z` has mean 0 and deviation 1: `normal` by Box and Muller from each pair of words of the
//! tensor's random stream, or `uniform` between -√3 and √3. Element j uses word j; it is chosen if
//! word j of a second stream is below `rate * 2^32`. Everything up to the sum is f64. Where rounding
//! the sum to what the child stores (f32, f16, bf16) would carry an element past the bound, the next
//! such number towards `x` is taken instead; both are compared in f64. Where no stored number lies
//! within the bound, which happens only if `x` itself is none, the one nearest to `x` is taken. Encodings
//! that store elements together (q8_0, q4_0) round once more, as they do with every operator.
//!
//! The receipt says the RMS, the bound as a number, how many elements were chosen, and the largest
//! and the RMS change that was made: of f32, f16 and bf16 as stored, of others before the encoding.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::draw::{TWO_POW_32, normal_pair};
use super::error::OperatorError;
use super::parameter::{Kind, Parameter, Parameters, Value};
use super::reduce::{dot, sums};
use super::source::PIECE;
use crate::base::rng::Philox;
use crate::tensor::dtype::DType;
use crate::tensor::step::{next_towards, stored};

/// The operator.
pub struct Mutate;

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "rate",
        doc: "Share of the elements that get noise.",
        kind: Kind::Number { min: 0.0, max: 1.0, default: Some(1.0) },
    },
    Parameter {
        name: "sigma",
        doc: "Standard deviation of the noise, relative to the tensor's RMS.",
        kind: Kind::Number { min: 0.0, max: 1e3, default: Some(0.01) },
    },
    Parameter {
        name: "bound",
        doc: "No element moves further than this, relative to the tensor's RMS.",
        kind: Kind::Number { min: 0.0, max: 1e3, default: Some(0.03) },
    },
    Parameter {
        name: "distribution",
        doc: "How noise is distributed within its deviation.",
        kind: Kind::Choice { options: &["normal", "uniform"], default: "normal" },
    },
    Parameter {
        name: "tensors",
        doc: "Which tensors get noise; those with two dimensions if nothing is said.",
        kind: Kind::Pattern { default: "" },
    },
];

impl Operator for Mutate {
    fn name(&self) -> &'static str {
        "mutate"
    }

    fn version(&self) -> u32 {
        2
    }

    fn summary(&self) -> &'static str {
        "one parent with bounded noise relative to each tensor's RMS (Beyer and Schwefel 2002)"
    }

    fn parents(&self) -> std::ops::RangeInclusive<usize> {
        1..=1
    }

    fn needs_base(&self) -> bool {
        false
    }

    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn kernel<'a>(
        &self,
        tensor: &'a TensorInputs<'a>,
        _survey: &'a Parameters,
    ) -> Result<Box<dyn Kernel + 'a>, OperatorError> {
        if !tensor.is_meant_by("tensors") {
            return Ok(Box::new(Untouched));
        }
        let rms = rms(tensor);
        Ok(Box::new(Mutation {
            elements: tensor.shape.elements(),
            dtype: tensor.dtype,
            rms,
            limit: tensor.values.number("bound") * rms,
            deviation: tensor.values.number("sigma") * rms,
            noise: if tensor.values.choice("distribution") == "uniform" { uniform } else { normal },
            stream: tensor.random(),
            chosen: Chosen::new(tensor),
            changes: Mutex::default(),
        }))
    }
}

/// The root of the mean square of the parent's elements.
fn rms(tensor: &TensorInputs<'_>) -> f64 {
    let elements = tensor.shape.elements();
    let [squares] = sums(elements, |range| {
        let mut scratch = [0.0; PIECE];
        tensor.parents.iter().fold([0.0], |[sum], parent| {
            let run = parent.read(range.start, &mut scratch[..range.len()]);
            [sum + dot(run, run)]
        })
    });
    let rms = (squares / elements as f64).sqrt();
    // Whoever reads the piece that is not finite will tell.
    if rms.is_finite() { rms } else { 0.0 }
}

/// A tensor that the pattern does not mean.
struct Untouched;

impl Kernel for Untouched {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        piece.parents.iter().for_each(|parent| out.copy_from_slice(parent));
    }

    fn stands_alone(&self) -> bool {
        true
    }
}

/// Which elements get noise.
struct Chosen {
    stream: Philox,
    /// Words below this choose.
    threshold: u64,
}

impl Chosen {
    fn new(tensor: &TensorInputs<'_>) -> Self {
        let threshold = (tensor.values.number("rate") * TWO_POW_32).round() as u64;
        let [seed, operator, candidate] = tensor.purpose;
        let stream = Philox::for_purpose(&[seed, operator, candidate, tensor.name, "chosen"]);
        Self { stream, threshold }
    }

    fn read(&self, first: usize, words: &mut [u32]) {
        if self.threshold < TWO_POW_32 as u64 {
            self.stream.fill(first as u64, words);
        } else {
            words.fill(0);
        }
    }

    fn is(&self, word: u32) -> bool {
        u64::from(word) < self.threshold
    }
}

/// Noise of deviation 1 for a pair of words.
type Noise = fn([u32; 2]) -> [f64; 2];

fn normal([radius, angle]: [u32; 2]) -> [f64; 2] {
    normal_pair(radius, angle)
}

fn uniform(words: [u32; 2]) -> [f64; 2] {
    words.map(|word| ((f64::from(word) + 0.5) / TWO_POW_32 * 2.0 - 1.0) * 3_f64.sqrt())
}

struct Mutation {
    elements: usize,
    dtype: DType,
    rms: f64,
    limit: f64,
    deviation: f64,
    noise: Noise,
    stream: Philox,
    chosen: Chosen,
    /// What was done in each piece, by its first element: added up in order, whoever came first.
    changes: Mutex<BTreeMap<usize, Change>>,
}

#[derive(Clone, Copy, Default)]
struct Change {
    chosen: u64,
    squares: f64,
    largest: f64,
}

impl Kernel for Mutation {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        let [parent] = piece.parents else { return };
        // Pairs of words begin at even elements; a piece may not.
        let odd = piece.first % 2;
        let (mut words, mut chosen) = ([0; PIECE + 2], [0; PIECE]);
        let words = &mut words[..(odd + out.len()).next_multiple_of(2)];
        let chosen = &mut chosen[..out.len()];
        self.stream.fill((piece.first - odd) as u64, words);
        self.chosen.read(piece.first, chosen);
        out.copy_from_slice(parent);
        let mut change = Change::default();
        for (pair, words) in words.as_chunks::<2>().0.iter().enumerate() {
            let first = (2 * pair).saturating_sub(odd);
            let elements = first..out.len().min(2 * pair + 2 - odd);
            if !chosen[elements.clone()].iter().any(|word| self.chosen.is(*word)) {
                continue;
            }
            let noise = (self.noise)(*words);
            for i in elements.filter(|i| self.chosen.is(chosen[*i])) {
                out[i] = self.moved(parent[i], noise[(piece.first + i) % 2], &mut change);
            }
        }
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).insert(piece.first, change);
    }

    fn realised(&self) -> Parameters {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let total = changes.values().fold(Change::default(), |total, change| Change {
            chosen: total.chosen + change.chosen,
            squares: total.squares + change.squares,
            largest: total.largest.max(change.largest),
        });
        let number = |name: &str, value: f64| (name.to_owned(), Value::Number(value));
        Parameters::from([
            number("chosen", total.chosen as f64),
            number("limit", self.limit),
            number("max_change", total.largest),
            number("rms", self.rms),
            number("rms_change", (total.squares / self.elements as f64).sqrt()),
        ])
    }
}

impl Mutation {
    /// The element with noise on it, at most `limit` away.
    fn moved(&self, x: f32, noise: f64, change: &mut Change) -> f32 {
        let exact = f64::from(x);
        let distance = |out: f32| (f64::from(out) - exact).abs();
        let mut out = (exact + (noise * self.deviation).clamp(-self.limit, self.limit)) as f32;
        while distance(out) > self.limit {
            out = if out > x { out.next_down() } else { out.next_up() };
        }
        if let Some(near) = stored(out, self.dtype) {
            out = near;
            if distance(out) > self.limit {
                out = next_towards(out, x, self.dtype);
            }
            if distance(out) > self.limit {
                out = stored(x, self.dtype).unwrap_or(x);
            }
        }
        let moved = distance(out);
        change.chosen += 1;
        change.squares += moved * moved;
        change.largest = change.largest.max(moved);
        out
    }
}
