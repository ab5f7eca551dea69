//! Rescaling: a factor on a sparse difference that gives it back the norm of the whole one.
//!
//! The factor is the norm before over the norm after, or one where either is almost nothing. Norms
//! are sums in f64: eight lanes for each piece, pieces in order, tasks in order. Where pieces and
//! tasks begin depends on the shape alone, so no thread can change a bit.

use std::ops::Range;

use rayon::prelude::*;

use super::combine::{Combine, Sparsify};
use super::contract::{Kernel, TensorInputs};
use super::magnitudes::TASK;
use super::parameter::Value;
use super::pieces::{blocks, count, pieces};
use super::record::{self, Bits, Record, mark};
use super::reduce::{LANES, across};
use super::rooms::Rooms;
use super::source::{PIECE, RUN};
use crate::base::wide::wide;
use crate::tensor::dtype::DType;

/// Norms nearer to zero than this make no factor.
const ALMOST_NOTHING: f64 = 1e-7;

/// Which norm is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Norm {
    /// The sum of magnitudes.
    L1,
    /// The root of the sum of squares.
    L2,
}

impl Norm {
    /// The norm a plan names, if it names one.
    pub(super) fn named(word: &str) -> Option<Self> {
        match word {
            "l1" => Some(Self::L1),
            "l2" => Some(Self::L2),
            _ => None,
        }
    }

    fn finish(self, sum: f64) -> f64 {
        match self {
            Self::L1 => sum,
            Self::L2 => sum.sqrt(),
        }
    }

    /// Adds the magnitudes or the squares of a run's differences, and of those among them that are kept.
    fn add(self, sums: &mut [Sums; 2], x: &[f32], base: &[f32], kept: &[f32]) {
        match self {
            Self::L1 => add_magnitudes(sums, x, base, kept),
            Self::L2 => add_squares(sums, x, base, kept),
        }
    }
}

/// The sums over a piece so far: lane `i % 8` has element `i`. All runs of a piece but the last are whole lanes:
/// then it does not matter how it was cut.
type Sums = [f64; LANES];

/// Both at once: a sum waits for itself, but not for the other.
#[inline(always)]
fn add(sums: &mut [Sums; 2], x: &[f32], base: &[f32], kept: &[f32], term: impl Fn(f64) -> f64) {
    let [(xs, x_rest), (bases, base_rest), (kepts, kept_rest)] =
        [x, base, kept].map(<[f32]>::as_chunks::<LANES>);
    let rest = (!x_rest.is_empty()).then(|| [x_rest, base_rest, kept_rest].map(padded));
    let rest = rest.iter().map(|[x, base, kept]| (x, (base, kept)));
    // In registers: memory would be asked for them again at every step.
    let [mut before, mut after] = *sums;
    for (x, (base, kept)) in xs.iter().zip(bases.iter().zip(kepts)).chain(rest) {
        for lane in 0..LANES {
            before[lane] += term(f64::from(x[lane] - base[lane]));
        }
        for lane in 0..LANES {
            after[lane] += term(f64::from(kept[lane]));
        }
    }
    *sums = [before, after];
}

#[inline(always)]
fn padded(rest: &[f32]) -> [f32; LANES] {
    let mut padded = [0.0; LANES];
    padded[..rest.len()].copy_from_slice(rest);
    padded
}

wide! {
    fn add_magnitudes<'a>(sums: &'a mut [Sums; 2], x: &'a [f32], base: &'a [f32], kept: &'a [f32]) {
        add(sums, x, base, kept, f64::abs);
    }

    fn add_squares<'a>(sums: &'a mut [Sums; 2], x: &'a [f32], base: &'a [f32], kept: &'a [f32]) {
        add(sums, x, base, kept, |value| value * value);
    }
}

/// The factor for each parent's difference.
pub(super) fn factors(norm: Norm, tensor: &TensorInputs<'_>, sparsify: &impl Sparsify) -> Vec<f32> {
    look(norm, tensor, sparsify, false).iter().map(|seen| seen.factor(norm)).collect()
}

/// The kernel that gives differences their norms back, where deciding what is kept takes longer than reading a
/// bit: it is done only once, if there is room to remember it.
pub(super) fn rescaled<'a>(
    norm: Norm,
    tensor: &'a TensorInputs<'_>,
    sparsify: impl Sparsify + 'a,
) -> Box<dyn Kernel + 'a> {
    rescaled_within(norm, tensor, sparsify, record::MOST)
}

fn rescaled_within<'a>(
    norm: Norm,
    tensor: &'a TensorInputs<'_>,
    sparsify: impl Sparsify + 'a,
    most: usize,
) -> Box<dyn Kernel + 'a> {
    let remembers = Record::bytes(count(tensor.shape), tensor.parents.len()) <= most;
    let seen = look(norm, tensor, &sparsify, remembers);
    let factors = seen.iter().map(|seen| seen.factor(norm)).collect();
    if !remembers {
        return Box::new(Combine::new(tensor, sparsify).counting().rescaled(factors));
    }
    let kept = Value::PerParent(seen.iter().map(|seen| seen.kept as f64).collect());
    let bits = seen.into_iter().map(|seen| seen.bits).collect();
    let record = Record::new(tensor.shape.columns(), bits);
    Box::new(Combine::new(tensor, record).found("kept", kept).rescaled(factors))
}

/// What a first look saw of one parent.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// What the differences sum up to, before and after some of them are dropped.
    before: f64,
    after: f64,
    /// How many are kept, as the sparsifier counts them, and which if that was to be remembered.
    kept: usize,
    bits: Vec<Bits>,
}

impl Seen {
    fn factor(&self, norm: Norm) -> f32 {
        let (before, after) = (norm.finish(self.before), norm.finish(self.after));
        if before < ALMOST_NOTHING || after < ALMOST_NOTHING { 1.0 } else { (before / after) as f32 }
    }

    /// Goes on with what was seen of the elements behind.
    fn append(&mut self, mut next: Self) {
        self.before += next.before;
        self.after += next.after;
        self.kept += next.kept;
        self.bits.append(&mut next.bits);
    }
}

/// Looks once at all of a tensor; parent by parent.
fn look(norm: Norm, tensor: &TensorInputs<'_>, sparsify: &impl Sparsify, remembers: bool) -> Vec<Seen> {
    let tasks: Vec<Range<usize>> = blocks(tensor.shape, DType::F32, TASK).collect();
    let tasks: Vec<Vec<Seen>> =
        tasks.into_par_iter().map(|task| look_at(norm, tensor, task, sparsify, remembers)).collect();
    let pieces = if remembers { count(tensor.shape) } else { 0 };
    let nothing = |_| Seen { bits: Vec::with_capacity(pieces), ..Seen::default() };
    let mut all: Vec<Seen> = (0..tensor.parents.len()).map(nothing).collect();
    for task in tasks {
        all.iter_mut().zip(task).for_each(|(all, seen)| all.append(seen));
    }
    all
}

fn look_at<S: Sparsify>(
    norm: Norm,
    tensor: &TensorInputs<'_>,
    task: Range<usize>,
    sparsify: &S,
    remembers: bool,
) -> Vec<Seen> {
    // Runs, where they will do, stay in the first cache from one step to the next.
    let step = if S::RUN == PIECE { PIECE } else { RUN };
    let mut rooms = Rooms::default();
    rooms.make(3);
    let mut rooms = rooms.all();
    let [x_room, base_room, differences, ..] = &mut rooms[..] else { unreachable!("three were made") };
    let mut all = vec![Seen::default(); tensor.parents.len()];
    let mut sums = vec![[Sums::default(); 2]; all.len()];
    for piece in pieces(tensor.shape.columns(), task) {
        sums.fill_with(Default::default);
        if remembers {
            all.iter_mut().for_each(|seen| seen.bits.push(Bits::default()));
        }
        for first in piece.clone().step_by(step) {
            let len = step.min(piece.end - first);
            let differences = &mut differences[..len];
            let base = tensor.base().read(first, &mut base_room[..len]);
            let parents = tensor.parents.iter().zip(&mut all).zip(&mut sums);
            for (parent, ((source, seen), sums)) in parents.enumerate() {
                let x = source.read(first, &mut x_room[..len]);
                seen.kept += sparsify.differences(parent, first, x, base, differences);
                norm.add(sums, x, base, differences);
                if let Some(bits) = seen.bits.last_mut() {
                    mark(differences, first - piece.start, bits);
                }
            }
        }
        for (seen, [before, after]) in all.iter_mut().zip(&sums) {
            seen.before += across(*before);
            seen.after += across(*after);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::contract::Piece;
    use super::super::find;
    use super::super::job::complete;
    use super::super::parameter::Parameters;
    use super::super::source::Source;
    use super::*;
    use crate::tensor::shape::Shape;

    struct Made(usize);

    impl Source for Made {
        fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32] {
            let value = |i: usize| (i.wrapping_mul(2_654_435_761).wrapping_mul(self.0) >> 7 & 0xFF) as f32;
            scratch.iter_mut().zip(first..).for_each(|(out, i)| *out = value(i));
            scratch
        }
    }

    struct EveryThird;

    impl Sparsify for EveryThird {
        fn differences(&self, _: usize, first: usize, x: &[f32], base: &[f32], out: &mut [f32]) -> usize {
            let keeps = |i: usize| (first + i).is_multiple_of(3);
            for (i, out) in out.iter_mut().enumerate() {
                *out = if keeps(i) { x[i] - base[i] } else { 0.0 };
            }
            (0..out.len()).filter(|i| keeps(*i)).count()
        }
    }

    /// Whether the first look is remembered or repeated must not show.
    #[test]
    fn remembering_changes_nothing() {
        let values = complete(find("dare").unwrap(), &Parameters::new(), 2).unwrap();
        for dims in [vec![7, 100], vec![3, 5000], vec![9999]] {
            let shape = Shape::new(dims).unwrap();
            let tensor = TensorInputs {
                name: "t",
                shape: &shape,
                dtype: DType::F32,
                base: Some(Box::new(Made(1))),
                base_name: "base",
                parents: vec![Box::new(Made(3)), Box::new(Made(5))],
                parent_names: vec!["a", "b"],
                values: values.clone(),
                purpose: ["1", "dare", "child"],
            };
            let made = |most: usize| {
                let kernel = rescaled_within(Norm::L1, &tensor, EveryThird, most);
                let read = |source: &dyn Source, piece: &Range<usize>| {
                    source.read(piece.start, &mut vec![0.0; piece.len()]).to_vec()
                };
                let mut out = vec![0.0; shape.elements()];
                for piece in pieces(shape.columns(), 0..shape.elements()) {
                    let base = read(tensor.base(), &piece);
                    let parents: Vec<Vec<f32>> =
                        tensor.parents.iter().map(|parent| read(&**parent, &piece)).collect();
                    let parents: Vec<&[f32]> = parents.iter().map(Vec::as_slice).collect();
                    let inputs = Piece { first: piece.start, base: &base, parents: &parents };
                    kernel.piece(&inputs, &mut out[piece]);
                }
                (out, kernel.realised())
            };
            let (remembered, repeated) = (made(record::MOST), made(0));
            assert_eq!(remembered, repeated);
            let third = shape.elements().div_ceil(3) as f64;
            assert_eq!(remembered.1["kept"], Value::PerParent(vec![third; 2]));
        }
    }
}
