//! `sign_merge`: trims differences from a base, elects a sign for every element, averages those
//! that agree.
//!
//! The field calls it TIES: trim, elect sign, merge (Yadav et al., "TIES-Merging: Resolving
//! Interference When Merging Models", 2023). Parents that pull an element in opposite directions
//! no longer cancel each other.
//!
//! Each `d_i = x_i - b` keeps its largest magnitudes ([`super::trim`]) and is then weighted. The
//! elected sign is that of the sum of the weighted differences, or of the sum of their signs with
//! `elect = "count"`; zero elects plus. Weighted differences of that sign are summed, exact zeros
//! never count, and the sum is divided by the sum of the kept weights, with their signs (one where
//! that is zero). All sums are f32 in list order from zero; `out = b + lambda * s`.

use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::error::OperatorError;
use super::parameter::{Kind, Parameter, Parameters, Value};
use super::source::PIECE;
use super::task_delta::{LAMBDA, WEIGHT};
use super::trim::{Cut, cut, kept, magnitude};

/// The operator.
pub struct SignMerge;

/// The share of elements that trimming keeps.
pub(super) const DENSITY: Parameter = Parameter {
    name: "density",
    doc: "Share of each difference's elements that is kept, the largest magnitudes first.",
    kind: Kind::PerParent { min: 0.0, max: 1.0, default: Some(1.0) },
};

const PARAMETERS: &[Parameter] = &[
    WEIGHT,
    DENSITY,
    LAMBDA,
    Parameter {
        name: "normalize",
        doc: "Divide each element's sum by the sum of the weights that were kept for it.",
        kind: Kind::Flag { default: true },
    },
    Parameter {
        name: "elect",
        doc: "Whether a sign is elected by the sum of the differences or by the count of their signs.",
        kind: Kind::Choice { options: &["sum", "count"], default: "sum" },
    },
];

impl Operator for SignMerge {
    fn name(&self) -> &'static str {
        "sign_merge"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "trim differences, elect a sign per element, average those that agree (TIES; Yadav et al. 2023)"
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
        let elements = tensor.shape.elements();
        let densities = tensor.values.per_parent("density");
        let cuts =
            tensor.parents.iter().zip(densities).map(|(parent, density)| {
                cut(Some(tensor.base()), &**parent, elements, kept(*density, elements))
            });
        Ok(Box::new(Election {
            weights: tensor.values.per_parent_f32("weight"),
            cuts: cuts.collect(),
            lambda: tensor.values.number("lambda") as f32,
            normalize: tensor.values.flag("normalize"),
            by_count: tensor.values.choice("elect") == "count",
        }))
    }
}

struct Election {
    weights: Vec<f32>,
    cuts: Vec<Cut>,
    lambda: f32,
    normalize: bool,
    by_count: bool,
}

impl Kernel for Election {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        // Weighted differences are made twice, for the vote and for the sum: cheaper than keeping
        // them for every parent.
        let (mut votes, mut divisors, mut changes) = ([0.0; PIECE], [0.0; PIECE], [0.0; PIECE]);
        let (votes, divisors) = (&mut votes[..out.len()], &mut divisors[..out.len()]);
        let changes = &mut changes[..out.len()];
        for i in 0..self.weights.len() {
            self.changes(piece, i, changes);
            if self.by_count {
                votes.iter_mut().zip(&*changes).for_each(|(vote, change)| *vote += sign(*change));
            } else {
                votes.iter_mut().zip(&*changes).for_each(|(vote, change)| *vote += change);
            }
        }
        out.fill(0.0);
        for (i, weight) in self.weights.iter().enumerate() {
            self.changes(piece, i, changes);
            tally(out, divisors, votes, changes, *weight);
        }
        if self.normalize {
            for (sum, divisor) in out.iter_mut().zip(divisors) {
                *sum /= if *divisor == 0.0 { 1.0 } else { *divisor };
            }
        }
        for (sum, b) in out.iter_mut().zip(piece.base) {
            *sum = b + self.lambda * *sum;
        }
    }

    fn realised(&self) -> Parameters {
        let counts = self.cuts.iter().map(|cut| cut.kept as f64).collect();
        Parameters::from([("kept".to_owned(), Value::PerParent(counts))])
    }
}

impl Election {
    /// The weighted, trimmed differences of parent `i`.
    fn changes(&self, piece: &Piece<'_>, i: usize, changes: &mut [f32]) {
        let (weight, parent) = (self.weights[i], piece.parents[i]);
        for (run, least) in self.cuts[i].least_kept(piece.first, changes.len()) {
            let pairs = parent[run.clone()].iter().zip(&piece.base[run.clone()]);
            for (change, (x, b)) in changes[run].iter_mut().zip(pairs) {
                let difference = x - b;
                let kept = if magnitude(difference) >= least { difference } else { 0.0 };
                *change = kept * weight;
            }
        }
    }
}

/// Adds those changes that have the elected sign, and their weight to the divisors.
///
/// Written with masks: a branch on a coin toss is what the machine is worst at.
fn tally(sums: &mut [f32], divisors: &mut [f32], votes: &[f32], changes: &[f32], weight: f32) {
    let elected = votes.iter().zip(changes);
    for ((sum, divisor), (vote, change)) in sums.iter_mut().zip(divisors).zip(elected) {
        let plus = *vote >= 0.0;
        let agrees = (plus & (*change > 0.0)) | (!plus & (*change < 0.0));
        let mask = u32::from(agrees).wrapping_neg();
        *sum += f32::from_bits(change.to_bits() & mask);
        *divisor += f32::from_bits(weight.to_bits() & mask);
    }
}

/// -1, 0 or 1.
fn sign(value: f32) -> f32 {
    let (plus, minus) = (value > 0.0, value < 0.0);
    f32::from(u8::from(plus)) - f32::from(u8::from(minus))
}
