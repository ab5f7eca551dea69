//! `sce`: keeps the elements in which the parents differ most, and weighs each parent by how much it
//! changed there.
//!
//! The field's name: select, calculate, erase (Wan et al., "FuseChat: Knowledge Fusion of Chat
//! Models", 2024). With `d_i = x_i - b`, tensor by tensor:
//!
//! * select: of the elements whose `d_i` are not all the same, the share `select_topk` with the
//!   largest variance over the parents stays; of equal ones the earlier. Everything else counts as
//!   no change. With a share of one all elements stay.
//! * calculate: `w_i` is the mean of the squares of what stayed of `d_i`, divided by the sum over all
//!   parents; parents weigh the same where that sum is below 1e-6.
//! * erase: the sign of the sum of the `d_i` is elected for each element, zero elects plus, and
//!   parents of another sign or without a change do not count for it.
//!
//! ```text
//! out = b + (sum of those that count of w_i d_i) / max(sum of their w_i, 1e-6)
//! ```
//!
//! Variances are f64, rounded to f32 once, and so are the `w_i`, from squares summed in f64
//! ([`super::reduce`]); everything else is f32 in list order from zero. The field takes variances and
//! squares in an order of its own, so its weights may differ from these in the last bits.

use super::combine::{GROUP, add, agreeing, in_groups, masked, subtract, turns};
use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::error::OperatorError;
use super::gram::Vector;
use super::parameter::{Kind, Parameter, Parameters, Value};
use super::reduce::{Product, sums, sums_of};
use super::source::{RUN, Source};
use super::trim::{Cut, cut, share};
use crate::base::wide::wide;

/// The operator.
pub struct Sce;

/// Sums of weights below this say nothing.
const ALMOST_NOTHING: f64 = 1e-6;

const PARAMETERS: &[Parameter] = &[Parameter {
    name: "select_topk",
    doc: "Share of the elements in which the parents differ that is kept, the largest variances first.",
    kind: Kind::Number { min: 0.0, max: 1.0, default: Some(1.0) },
}];

impl Operator for Sce {
    fn name(&self) -> &'static str {
        "sce"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "differences of most variance, each parent by its change there (SCE; Wan et al. 2024)"
    }

    fn parents(&self) -> std::ops::RangeInclusive<usize> {
        1..=usize::MAX
    }

    fn needs_base(&self) -> bool {
        true
    }

    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn kernel<'a>(
        &self,
        tensor: &'a TensorInputs<'a>,
        _survey: &'a Parameters,
    ) -> Result<Box<dyn Kernel + 'a>, OperatorError> {
        let (elements, parents) = (tensor.shape.elements(), tensor.parents.len());
        let spread = Spread(Vector::differences(tensor));
        let selected = select(&spread, elements, tensor.values.number("select_topk"));
        let squares = sums_of(elements, parents, |range, sums| {
            let (mut room, mut products) = (Room::new(parents), vec![Product::default(); parents]);
            for first in range.clone().step_by(RUN) {
                let run = RUN.min(range.end - first);
                spread.differences(first, run, &mut room);
                room.keep(selected.as_ref(), first, run);
                for (product, changes) in products.iter_mut().zip(room.changes[..parents * run].chunks(run)) {
                    product.add(changes, changes);
                }
            }
            sums.iter_mut().zip(&products).for_each(|(sum, product)| *sum += product.total());
        });
        let means: Vec<f64> = squares.iter().map(|square| square / elements as f64).collect();
        Ok(Box::new(Elected { weights: weights(&means), selected, elements }))
    }
}

/// The elements that stay; none if all do.
fn select(spread: &Spread<'_>, elements: usize, topk: f64) -> Option<Cut> {
    if topk >= 1.0 {
        return None;
    }
    let differing = sums(elements, |range| {
        let mut scratch = vec![0.0; range.len()];
        let variances = spread.read(range.start, &mut scratch);
        [variances.iter().map(|variance| f64::from(u8::from(*variance != 0.0))).sum()]
    });
    let [differing] = differing.map(|count| count as usize);
    Some(match share(topk, differing) {
        0 => Cut::NONE,
        keep => cut(None, spread, elements, keep),
    })
}

/// How much each parent counts.
fn weights(means: &[f64]) -> Vec<f32> {
    let total: f64 = means.iter().sum();
    // Nor do they say anything if a parent is not finite, of which whoever reads the piece will tell.
    let says_nothing = total < ALMOST_NOTHING || !total.is_finite();
    let weight = |mean: &f64| if says_nothing { 1.0 / means.len() as f64 } else { mean / total };
    means.iter().map(|mean| weight(mean) as f32).collect()
}

/// The variance of every element over the parents' differences, which is never stored.
struct Spread<'a>(Vec<Vector<'a>>);

impl Spread<'_> {
    /// The differences of a run, parent after parent.
    fn differences(&self, first: usize, run: usize, room: &mut Room) {
        for (vector, changes) in self.0.iter().zip(room.changes.chunks_mut(run)) {
            vector.copy(first, changes);
        }
    }
}

impl Source for Spread<'_> {
    fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        let mut room = Room::new(self.0.len());
        for (i, out) in scratch.chunks_mut(RUN).enumerate() {
            let run = out.len();
            self.differences(first + i * RUN, run, &mut room);
            variances(&room.changes[..self.0.len() * run], out);
        }
        scratch
    }
}

/// Room for a run: the differences, parent after parent, and their variances.
struct Room {
    parents: usize,
    changes: Vec<f32>,
    variances: Vec<f32>,
}

impl Room {
    fn new(parents: usize) -> Self {
        Self { parents, changes: vec![0.0; parents * RUN], variances: vec![0.0; RUN] }
    }

    /// Leaves those differences of a run that stay, and zero in the place of the others.
    fn keep(&mut self, selected: Option<&Cut>, first: usize, run: usize) {
        let Some(cut) = selected else { return };
        let (changes, spread) = (&mut self.changes[..self.parents * run], &mut self.variances[..run]);
        variances(changes, spread);
        for kept in cut.runs(first, run) {
            for changes in changes.chunks_mut(run) {
                let (changes, spread) = (&mut changes[kept.elements.clone()], &spread[kept.elements.clone()]);
                strike(kept.least, kept.most, spread, changes);
            }
        }
    }
}

struct Elected {
    weights: Vec<f32>,
    selected: Option<Cut>,
    elements: usize,
}

wide! {
    /// The variance of each element over all parents, whose changes follow each other.
    fn variances<'a>(changes: &'a [f32], out: &'a mut [f32]) {
        let parents = changes.len() / out.len();
        in_groups(changes, [out], #[inline(always)] |changes| {
            let mut means = [0.0; GROUP];
            for i in 0..parents {
                let changes = changes.of(i);
                for lane in 0..GROUP {
                    means[lane] += f64::from(changes[lane]);
                }
            }
            let means = means.map(|sum| sum / parents as f64);
            let mut squares = [0.0; GROUP];
            for i in 0..parents {
                let changes = changes.of(i);
                for lane in 0..GROUP {
                    let distance = f64::from(changes[lane]) - means[lane];
                    squares[lane] += distance * distance;
                }
            }
            [squares.map(|sum| (sum / parents as f64) as f32)]
        });
    }

    /// Writes zero in the place of changes whose variance is not within two magnitudes.
    fn strike<'a>(least: i32, most: i32, variances: &'a [f32], changes: &'a mut [f32]) {
        for (change, variance) in changes.iter_mut().zip(variances) {
            let magnitude = variance.to_bits() as i32;
            let mask = u32::from((magnitude >= least) & (magnitude <= most)).wrapping_neg();
            *change = f32::from_bits(change.to_bits() & mask);
        }
    }

    /// Elects signs for a run and puts what is left of the changes on the base. `divisors` is room.
    fn elect<'a>(
        weights: &'a [f32], changes: &'a [f32], base: &'a [f32], divisors: &'a mut [f32], out: &'a mut [f32],
    ) {
        in_groups(changes, [&mut *out, &mut *divisors], #[inline(always)] |changes| {
            let mut votes = [0.0; GROUP];
            for i in 0..weights.len() {
                add(&mut votes, &changes.of(i));
            }
            let turns = turns(votes);
            let (mut sums, mut divisors) = ([0.0; GROUP], [0.0; GROUP]);
            for (i, weight) in weights.iter().enumerate() {
                let changes = changes.of(i);
                let agree = agreeing(&changes, turns);
                add(&mut sums, &masked(changes.map(|change| change * weight), agree));
                add(&mut divisors, &masked([*weight; GROUP], agree));
            }
            [sums, divisors]
        });
        for ((sum, divisor), base) in out.iter_mut().zip(divisors).zip(base) {
            *sum = base + *sum / divisor.max(ALMOST_NOTHING as f32);
        }
    }
}

impl Kernel for Elected {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        let mut room = Room::new(piece.parents.len());
        for (i, out) in out.chunks_mut(RUN).enumerate() {
            let run = out.len();
            let base = &piece.base[i * RUN..][..run];
            for (x, changes) in piece.parents.iter().zip(room.changes.chunks_mut(run)) {
                subtract(&x[i * RUN..][..run], base, changes);
            }
            room.keep(self.selected.as_ref(), piece.first + i * RUN, run);
            let Room { changes, variances, .. } = &mut room;
            elect(&self.weights, &changes[..piece.parents.len() * run], base, &mut variances[..run], out);
        }
    }

    fn stands_alone(&self) -> bool {
        true
    }

    fn realised(&self) -> Parameters {
        let kept = self.selected.as_ref().map_or(self.elements, |cut| cut.kept);
        let weights = self.weights.iter().map(|weight| f64::from(*weight)).collect();
        Parameters::from([
            ("kept".to_owned(), Value::Number(kept as f64)),
            ("weights".to_owned(), Value::PerParent(weights)),
        ])
    }
}
