//! `prune`: sets the smallest weights of one model to zero.
//!
//! Magnitude pruning (Han et al., "Learning both Weights and Connections for Efficient Neural
//! Networks", 2015). Only tensors that `tensors` means are pruned, others are copied.
//!
//! * `scope = "tensor"`: of the n elements of each tensor the `max(1, floor(density n))` largest
//!   magnitudes stay; a density of zero keeps none.
//! * `scope = "global"`: the same with all pruned tensors taken as one, so that tensors that matter
//!   less lose more. On a tie the earlier tensor in storage order stays.
//! * `structure = "N:M"`: of each M neighbours in a row the N largest stay, the shape that sparse
//!   matrix units multiply (Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021). M
//!   must divide the width of every pruned tensor. There is no density then: it is N/M.
//!
//! On a tie the lower flat index stays. What stays is not changed by a bit.

use super::contract::{Kernel, Operator, Piece, TensorInputs, is_meant};
use super::counters::Counters;
use super::error::OperatorError;
use super::magnitudes::{Magnitudes, TASK, magnitude, places};
use super::outline::Outlined;
use super::parameter::{Kind, Parameter, Parameters, Value, Values, numbers_in};
use super::trim::{Cut, cut, kept};

/// The operator.
pub struct Prune;

/// The share kept when a plan says nothing.
const HALF: f64 = 0.5;
/// The largest M of a structure: hardware knows 4 to 32.
const MOST_NEIGHBOURS: usize = 64;
/// In the survey, before a tensor's name: below which flat index its ties are kept.
const TIES_END: &str = "ties_end:";

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "density",
        doc: "Share of elements that is kept, the largest magnitudes first; 0.5 if nothing is said.",
        kind: Kind::OptionalPerParent { min: 0.0, max: 1.0 },
    },
    Parameter {
        name: "scope",
        doc: "Whether elements compete within their tensor or with those of all pruned tensors.",
        kind: Kind::Choice { options: &["tensor", "global"], default: "tensor" },
    },
    Parameter {
        name: "structure",
        doc: "N:M keeps the N largest of each M neighbours in a row, instead of a density.",
        kind: Kind::Choice { options: &["none", "N:M"], default: "none" },
    },
    Parameter {
        name: "tensors",
        doc: "Which tensors are pruned; if nothing is said, those with two dimensions.",
        kind: Kind::Pattern { default: "" },
    },
];

impl Operator for Prune {
    fn name(&self) -> &'static str {
        "prune"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "one parent with its smallest weights set to zero (magnitude pruning; Han et al. 2015)"
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

    fn relations(&self, values: &Values) -> Result<(), String> {
        let Some((n, m)) = structure(values) else { return Ok(()) };
        if n > m || m > MOST_NEIGHBOURS {
            return Err(format!(
                "a structure keeps N of M neighbours, N at most M and M at most {MOST_NEIGHBOURS}; found {n}:{m}"
            ));
        }
        if values.optional_per_parent("density").is_some() {
            return Err(format!("the structure {n}:{m} says how much is kept; leave `density` out"));
        }
        if values.choice("scope") == "global" {
            return Err(format!(
                "in the structure {n}:{m} elements compete with their neighbours, not globally"
            ));
        }
        Ok(())
    }

    fn minds_tensors(&self) -> bool {
        true
    }

    fn suits(&self, child: &[Outlined<'_>]) -> Result<(), (&'static str, String)> {
        let meant = child.iter().filter(|tensor| is_pruned(tensor));
        meant.clone().try_for_each(rows_fit).map_err(|message| ("structure", message))?;
        let mut global = meant.filter(|tensor| is_global(tensor.values));
        let Some(first) = global.next() else { return Ok(()) };
        match global.find(|other| density(other.values) != density(first.values)) {
            None => Ok(()),
            Some(other) => {
                let message = format!(
                    "elements compete globally, so one density must hold for all; `{}` has {}, `{}` has {}",
                    first.name,
                    density(first.values),
                    other.name,
                    density(other.values)
                );
                Err(("density", message))
            }
        }
    }

    fn survey(&self, tensors: &[TensorInputs<'_>]) -> Result<Parameters, OperatorError> {
        let outlined: Vec<Outlined<'_>> = tensors.iter().map(TensorInputs::outlined).collect();
        self.suits(&outlined)
            .map_err(|(_, message)| OperatorError::Relation { operator: self.name(), message })?;
        let pruned = tensors.iter().filter(|tensor| tensor.is_meant_by("tensors"));
        let global: Vec<_> = pruned.filter(|tensor| is_global(&tensor.values)).collect();
        match global.first() {
            None => Ok(Parameters::new()),
            Some(first) => Ok(global_cut(&global, density(&first.values))),
        }
    }

    fn kernel<'a>(
        &self,
        tensor: &'a TensorInputs<'a>,
        survey: &'a Parameters,
    ) -> Result<Box<dyn Kernel + 'a>, OperatorError> {
        if !tensor.is_meant_by("tensors") {
            return Ok(Box::new(Copied));
        }
        if let Some((keep, of)) = structure(&tensor.values) {
            return Ok(Box::new(Structured { tensor, keep, of }));
        }
        let elements = tensor.shape.elements();
        Ok(Box::new(match tensor.values.choice("scope") {
            "global" => Pruned { cut: cut_from_survey(tensor, survey), counted: Some(Counters::new(1)) },
            _ => {
                let keep = kept(density(&tensor.values), elements);
                Pruned { cut: cut(None, &*tensor.parents[0], elements, keep), counted: None }
            }
        }))
    }
}

fn is_pruned(tensor: &Outlined<'_>) -> bool {
    is_meant(tensor.name, tensor.shape, tensor.values.choice("tensors"))
}

fn is_global(values: &Values) -> bool {
    values.choice("scope") == "global"
}

/// Rows are whole groups of the structure, if there is one.
fn rows_fit(tensor: &Outlined<'_>) -> Result<(), String> {
    let columns = tensor.shape.columns();
    match structure(tensor.values) {
        Some((n, m)) if !columns.is_multiple_of(m) => Err(format!(
            "`{}` has rows of {columns}, which cannot be cut into groups of {m} for the structure {n}:{m}; \
             choose other `tensors`",
            tensor.name
        )),
        _ => Ok(()),
    }
}

fn density(values: &Values) -> f64 {
    values.optional_per_parent("density").map_or(HALF, |density| density[0])
}

/// N and M, if there is a structure.
fn structure(values: &Values) -> Option<(usize, usize)> {
    match numbers_in(values.choice("structure"))[..] {
        [n, m] => Some((n, m)),
        _ => None,
    }
}

/// The cut over several tensors, in storage order: the threshold, how many elements are kept in all,
/// and of which tensors not all ties are kept.
fn global_cut(tensors: &[&TensorInputs<'_>], density: f64) -> Parameters {
    let all: Vec<Magnitudes<'_>> = tensors
        .iter()
        .map(|tensor| Magnitudes {
            base: None,
            source: &*tensor.parents[0],
            elements: tensor.shape.elements(),
        })
        .collect();
    let elements = all.iter().map(|magnitudes| magnitudes.elements).sum();
    let keep = kept(density, elements);
    let mut found = Parameters::from([
        ("kept".to_owned(), Value::Number(keep as f64)),
        ("of".to_owned(), Value::Number(elements as f64)),
    ]);
    if keep == 0 || keep == elements {
        return found;
    }
    let [place] = places(&all, [keep as u64]);
    found.insert("threshold".to_owned(), Value::Number(f64::from(f32::from_bits(place.magnitude))));
    let mut ties = keep as u64 - place.above;
    if ties == place.equal {
        return found;
    }
    for (tensor, magnitudes) in tensors.iter().zip(&all) {
        let counts = magnitudes.counts(place.magnitude);
        let own = counts.iter().sum();
        if own > ties {
            let end = magnitudes.after_nth(place.magnitude, ties, TASK, &counts);
            found.insert(format!("{TIES_END}{}", tensor.name), Value::Number(end as f64));
        }
        ties -= ties.min(own);
    }
    found
}

/// A tensor's part of the global cut.
fn cut_from_survey(tensor: &TensorInputs<'_>, survey: &Parameters) -> Cut {
    let number = |name: &str| match survey.get(name) {
        Some(Value::Number(number)) => Some(*number),
        _ => None,
    };
    let elements = tensor.shape.elements();
    match number("threshold") {
        Some(threshold) => {
            let ties_end =
                number(&format!("{TIES_END}{}", tensor.name)).map_or(usize::MAX, |end| end as usize);
            Cut::from(magnitude(threshold as f32), ties_end, elements)
        }
        None if number("kept") == Some(0.0) => Cut::NONE,
        None => Cut::all(elements),
    }
}

/// Leaves a tensor as it is.
struct Copied;

impl Kernel for Copied {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        out.copy_from_slice(piece.parents[0]);
    }

    fn stands_alone(&self) -> bool {
        true
    }
}

/// Keeps what a cut keeps.
struct Pruned {
    cut: Cut,
    /// How much a tensor keeps of a global cut is known when its pieces are made.
    counted: Option<Counters>,
}

impl Kernel for Pruned {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        let kept = self.cut.apply(piece.first, piece.parents[0], out);
        if let Some(counted) = &self.counted {
            counted.add(0, kept);
        }
    }

    fn realised(&self) -> Parameters {
        let mut realised = match &self.counted {
            Some(counted) => counted.realised(),
            None => kept_of_one(self.cut.kept),
        };
        realised.insert("threshold".to_owned(), Value::PerParent(vec![f64::from(self.cut.threshold())]));
        realised
    }
}

fn kept_of_one(kept: usize) -> Parameters {
    Parameters::from([("kept".to_owned(), Value::PerParent(vec![kept as f64]))])
}

/// Keeps `keep` of each `of` neighbours.
struct Structured<'a> {
    tensor: &'a TensorInputs<'a>,
    keep: usize,
    of: usize,
}

impl Kernel for Structured<'_> {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        let (of, first, end) = (self.of, piece.first, piece.first + out.len());
        // Rows are whole groups, so groups begin at multiples of M everywhere. Pieces of a row that
        // is longer than a piece may begin and end in the middle of one.
        let inner = first.next_multiple_of(of).min(end)..(end / of * of).max(first);
        if inner.start < inner.end {
            let range = inner.start - first..inner.end - first;
            self.keep_largest(&piece.parents[0][range.clone()], &mut out[range]);
        }
        let edges = [first..inner.start, inner.end.max(inner.start)..end];
        for edge in edges.into_iter().filter(|edge| !edge.is_empty()) {
            let group = edge.start / of * of;
            let (mut scratch, mut chosen) = ([0.0; MOST_NEIGHBOURS], [0.0; MOST_NEIGHBOURS]);
            let whole = self.tensor.parents[0].read(group, &mut scratch[..of]);
            self.keep_largest(whole, &mut chosen[..of]);
            out[edge.start - first..edge.end - first]
                .copy_from_slice(&chosen[edge.start - group..edge.end - group]);
        }
    }

    fn realised(&self) -> Parameters {
        kept_of_one(self.tensor.shape.elements() / self.of * self.keep)
    }
}

impl Structured<'_> {
    /// Fills `out` with the largest of each group of `values`.
    fn keep_largest(&self, values: &[f32], out: &mut [f32]) {
        // The same code with the number known beforehand, where it is a usual one.
        match self.of {
            4 => keep_largest(self.keep, 4, values, out),
            8 => keep_largest(self.keep, 8, values, out),
            of => keep_largest(self.keep, of, values, out),
        }
    }
}

#[inline(always)]
fn keep_largest(keep: usize, of: usize, values: &[f32], out: &mut [f32]) {
    for (values, out) in values.chunks_exact(of).zip(out.chunks_exact_mut(of)) {
        for (i, out) in out.iter_mut().enumerate() {
            let own = magnitude(values[i]);
            let before = values[..i].iter().map(|other| u32::from(magnitude(*other) >= own)).sum::<u32>();
            let after = values[i..].iter().map(|other| u32::from(magnitude(*other) > own)).sum::<u32>();
            let mask = u32::from((before + after) < keep as u32).wrapping_neg();
            *out = f32::from_bits(values[i].to_bits() & mask);
        }
    }
}
