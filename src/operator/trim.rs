//! The cut by magnitude: which elements are the k largest, exactly, without sorting or copying.
//!
//! `bracket` finds the magnitude of the k-th largest; on a tie the lower flat index
//! stays. A cut may leave the very largest out, too: what is kept is then a band of magnitudes with
//! two such edges.

use std::ops::Range;

use super::bracket::{Found, Question, find};
use super::combine::Sparsify;
use super::magnitudes::Place;
use super::parameter::Value;
use super::source::Source;
use crate::base::wide::wide;

pub use super::magnitudes::magnitude;

/// Which elements of a difference are kept: a band of magnitudes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    low: Edge,
    high: Edge,
    /// How many elements are kept.
    pub kept: usize,
}

/// One end of a band: magnitudes beyond it are dropped, those within are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Edge {
    /// The outermost magnitude of which some elements are kept.
    magnitude: u32,
    /// Elements with just that magnitude are kept below this flat index.
    ties_end: usize,
}

/// A run of elements, with the least and the largest magnitude that is kept in it: an inner loop
/// then has two comparisons and no ties. Signed, because that is how vector units compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Which elements, relative to the first one asked for.
    pub elements: Range<usize>,
    /// The least magnitude kept.
    pub least: i32,
    /// The largest magnitude kept.
    pub most: i32,
}

/// How many of `elements` a density keeps: at least one, but none for zero.
pub fn kept(density: f64, elements: usize) -> usize {
    match share(density, elements) {
        0 if density > 0.0 => 1.min(elements),
        kept => kept,
    }
}

/// The whole part of a density's share of `elements`.
pub(super) fn share(density: f64, elements: usize) -> usize {
    if density >= 1.0 { elements } else { (density * elements as f64).floor().max(0.0) as usize }
}

impl Cut {
    /// Above every magnitude that a difference of finite numbers has.
    const BEYOND: u32 = i32::MAX as u32;

    /// Nothing is kept.
    pub(super) const NONE: Self = Self::from(Self::BEYOND, 0, 0);

    /// All of `elements` are kept.
    pub(super) const fn all(elements: usize) -> Self {
        Self::from(0, usize::MAX, elements)
    }

    /// What is larger than a magnitude is kept, and so are elements of just that magnitude below
    /// an index: `kept` in all.
    pub(super) const fn from(magnitude: u32, ties_end: usize, kept: usize) -> Self {
        let high = Edge { magnitude: Self::BEYOND, ties_end: usize::MAX };
        Self { low: Edge { magnitude, ties_end }, high, kept }
    }

    /// The least magnitude of which anything is kept, as a float; zero if nothing is.
    pub fn threshold(&self) -> f32 {
        if self.kept == 0 { 0.0 } else { f32::from_bits(self.low.magnitude) }
    }

    /// Splits the elements `first..first + len` into runs.
    pub fn runs(&self, first: usize, len: usize) -> [Run; 3] {
        let end = |edge: &Edge| edge.ties_end.saturating_sub(first).min(len);
        let (low, high) = (end(&self.low), end(&self.high));
        let run = |elements: Range<usize>| {
            let past = |end: usize| i32::from(elements.start >= end);
            Run {
                least: (self.low.magnitude as i32).saturating_add(past(low)),
                most: self.high.magnitude as i32 - past(high),
                elements,
            }
        };
        [run(0..low.min(high)), run(low.min(high)..low.max(high)), run(low.max(high)..len)]
    }

    /// Whether the element at `index` with this difference is kept.
    pub fn keeps(&self, index: usize, difference: f32) -> bool {
        let magnitude = magnitude(difference);
        let ties = |edge: &Edge| magnitude == edge.magnitude && index < edge.ties_end;
        (magnitude > self.low.magnitude || ties(&self.low))
            && (magnitude < self.high.magnitude || ties(&self.high))
    }

    /// Copies the elements from `first`, zero in the place of what is not kept; returns how many are.
    pub(super) fn apply(&self, first: usize, values: &[f32], out: &mut [f32]) -> usize {
        let runs = self.runs(first, values.len()).into_iter();
        runs.map(|Run { elements, least, most }| {
            keep(least, most, &values[elements.clone()], &mut out[elements])
        })
        .sum()
    }

    /// The same of the differences from a base.
    pub(super) fn apply_to_differences(&self, first: usize, x: &[f32], base: &[f32], out: &mut [f32]) {
        for Run { elements, least, most } in self.runs(first, x.len()) {
            let (x, base) = (&x[elements.clone()], &base[elements.clone()]);
            keep_differences(least, most, x, base, &mut out[elements]);
        }
    }
}

/// A value and whether it is within two magnitudes: itself and one, or zero twice.
#[inline(always)]
fn within(least: i32, most: i32, value: f32) -> (f32, u32) {
    let magnitude = magnitude(value) as i32;
    let mask = u32::from((magnitude >= least) & (magnitude <= most));
    (f32::from_bits(value.to_bits() & mask.wrapping_neg()), mask)
}

wide! {
    /// Copies values, zero in the place of what is not within two magnitudes; returns how many are.
    fn keep<'a>(least: i32, most: i32, values: &'a [f32], out: &'a mut [f32]) -> usize {
        let mut count = 0_u32;
        for (out, value) in out.iter_mut().zip(values) {
            let kept;
            (*out, kept) = within(least, most, *value);
            count += kept;
        }
        count as usize
    }

    /// Writes differences, zero in the place of what is not within two magnitudes.
    fn keep_differences<'a>(least: i32, most: i32, x: &'a [f32], base: &'a [f32], out: &'a mut [f32]) {
        for (out, (x, b)) in out.iter_mut().zip(x.iter().zip(base)) {
            (*out, _) = within(least, most, x - b);
        }
    }
}

/// What is to be kept of a tensor: the `drop` largest magnitudes go and the `keep` next stay; fewer go where
/// less than `keep` would remain.
pub(super) struct Band<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) drop: usize,
    pub(super) keep: usize,
}

impl Band<'_> {
    /// The cut where nothing has to be looked for.
    fn plain(&self, elements: usize) -> Option<Cut> {
        if self.keep >= elements { Some(Cut::all(elements)) } else { (self.keep == 0).then_some(Cut::NONE) }
    }

    /// How many go.
    fn dropped(&self, elements: usize) -> u64 {
        self.drop.min(elements - self.keep) as u64
    }

    /// The ranks of the outermost elements that stay or go.
    fn ranks(&self, elements: usize) -> Vec<u64> {
        let (dropped, keep) = (self.dropped(elements), self.keep as u64);
        if dropped == 0 { vec![keep] } else { vec![dropped, dropped + keep] }
    }

    /// The cut, from the elements of these ranks.
    fn cut(&self, elements: usize, found: &[Found<'_>]) -> Cut {
        let (dropped, keep) = (self.dropped(elements), self.keep as u64);
        match found {
            [top, bottom] if top.place.magnitude == bottom.place.magnitude => {
                // One magnitude on both edges: nothing else is kept.
                let edge = edge(top, keep);
                Cut { low: edge, high: edge, kept: self.keep }
            }
            [top, bottom] => Cut {
                low: edge(bottom, dropped + keep - bottom.place.above),
                high: edge(top, top.place.above + top.place.equal - dropped),
                kept: self.keep,
            },
            [found] => {
                let Edge { magnitude, ties_end } = edge(found, keep - found.place.above);
                Cut::from(magnitude, ties_end, self.keep)
            }
            _ => unreachable!("one or two ranks are asked for"),
        }
    }
}

/// The edge behind the `ties`-th element of a magnitude.
fn edge(found: &Found<'_>, ties: u64) -> Edge {
    let Place { magnitude, equal, .. } = found.place;
    // All of a magnitude are kept; or they are zeros, and cutting a zero changes nothing.
    let all = ties == equal || magnitude == 0;
    Edge { magnitude, ties_end: if all { usize::MAX } else { found.after_nth(ties) } }
}

/// The cut that keeps the `keep` largest of `elements` magnitudes of `source - base`.
pub fn cut(base: Option<&dyn Source>, source: &dyn Source, elements: usize, keep: usize) -> Cut {
    cuts(base, elements, &[Band { source, drop: 0, keep }])[0]
}

/// The cuts of tensors of so many elements, or of their differences from a base.
pub(super) fn cuts(base: Option<&dyn Source>, elements: usize, bands: &[Band<'_>]) -> Vec<Cut> {
    let questions: Vec<Question<'_>> = bands
        .iter()
        .filter(|band| band.plain(elements).is_none())
        .map(|band| Question { source: band.source, ranks: band.ranks(elements) })
        .collect();
    let mut answers = find(base, elements, &questions).into_iter();
    let mut answer = || answers.next().expect("an answer to every question");
    bands.iter().map(|band| band.plain(elements).unwrap_or_else(|| band.cut(elements, &answer()))).collect()
}

/// A cut for each parent.
pub(super) struct Trimmed(pub(super) Vec<Cut>);

impl Trimmed {
    /// How many elements of each parent are kept.
    pub(super) fn kept(&self) -> Value {
        Value::PerParent(self.0.iter().map(|cut| cut.kept as f64).collect())
    }

    /// The least magnitude kept of each parent.
    pub(super) fn thresholds(&self) -> Value {
        Value::PerParent(self.0.iter().map(|cut| f64::from(cut.threshold())).collect())
    }
}

impl Sparsify for Trimmed {
    fn differences(&self, parent: usize, first: usize, x: &[f32], base: &[f32], out: &mut [f32]) -> usize {
        self.0[parent].apply_to_differences(first, x, base, out);
        // How many is known from the cuts.
        0
    }
}

#[cfg(test)]
mod tests {
    use super::super::magnitudes::TASK;
    use super::super::source::Floats;
    use super::*;
    use proptest::prelude::*;

    /// By a stable sort: largest magnitude first, lower index first among equals.
    fn sorted(values: &[f32], keep: usize) -> Vec<bool> {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| values[*b].abs().total_cmp(&values[*a].abs()));
        let mut keeps = vec![false; values.len()];
        order[..keep].iter().for_each(|i| keeps[*i] = true);
        keeps
    }

    fn check(values: &[f32], keep: usize) {
        let cut = cut(None, &Floats(values.to_vec()), values.len(), keep);
        assert_eq!(cut.kept, keep);
        for (i, keeps) in sorted(values, keep).into_iter().enumerate() {
            // Which zeros are kept is of no consequence and not looked for.
            if values[i] != 0.0 {
                assert_eq!(cut.keeps(i, values[i]), keeps, "element {i}, {}, keep {keep}", values[i]);
            }
        }
        check_runs(values, &cut);
    }

    /// A cut says the same in all its ways, wherever it is asked from.
    fn check_runs(values: &[f32], cut: &Cut) {
        let first = 3.min(values.len());
        let mut seen = first;
        for Run { elements, least, most } in cut.runs(first, values.len() - first) {
            assert_eq!(elements.start + first, seen);
            for i in elements.map(|i| i + first) {
                let magnitude = magnitude(values[i]) as i32;
                assert_eq!(magnitude >= least && magnitude <= most, cut.keeps(i, values[i]), "element {i}");
                seen += 1;
            }
        }
        assert_eq!(seen, values.len());
        let mut applied = vec![f32::NAN; values.len() - first];
        cut.apply(first, &values[first..], &mut applied);
        let (base, mut differences) = (vec![0.0; applied.len()], vec![f32::NAN; applied.len()]);
        cut.apply_to_differences(first, &values[first..], &base, &mut differences);
        assert_eq!(applied, differences);
        for (i, (applied, value)) in applied.iter().zip(&values[first..]).enumerate() {
            assert_eq!(*applied, if cut.keeps(first + i, *value) { *value } else { 0.0 });
        }
    }

    /// By counting: of each magnitude, how many of the first `drop` and of the next `keep` in
    /// falling order have it; the lower indices are those that stay.
    fn check_band(values: &[f32], drop: usize, keep: usize) {
        let mut order: Vec<u32> = values.iter().map(|value| magnitude(*value)).collect();
        order.sort_unstable_by(|a, b| b.cmp(a));
        let source = &Floats(values.to_vec());
        let [cut] = cuts(None, values.len(), &[Band { source, drop, keep }])[..] else { panic!("one") };
        assert_eq!(cut.kept, keep);
        let drop = drop.min(values.len() - keep);
        let mut room = std::collections::BTreeMap::<u32, usize>::new();
        order[drop..drop + keep].iter().for_each(|magnitude| *room.entry(*magnitude).or_default() += 1);
        for (i, value) in values.iter().enumerate() {
            let room = room.entry(magnitude(*value)).or_default();
            if *value != 0.0 {
                assert_eq!(cut.keeps(i, *value), *room > 0, "element {i} of {values:?}, {drop}, {keep}");
            }
            *room = room.saturating_sub(1);
        }
        check_runs(values, &cut);
    }

    #[test]
    fn density_keeps_at_least_one_and_zero_keeps_none() {
        assert_eq!(kept(0.5, 7), 3);
        assert_eq!(kept(0.01, 7), 1);
        assert_eq!(kept(0.0, 7), 0);
        assert_eq!(kept(1.0, 7), 7);
        // 0.29 * 100 is 28.999999999999996 in f64: floor of the product, as the field has it.
        assert_eq!(kept(0.29, 100), 28);
    }

    #[test]
    fn ties_keep_the_lower_index_across_tasks() {
        let mut values = vec![0.5_f32; 2 * TASK + 100];
        values.iter_mut().skip(1).step_by(3).for_each(|value| *value = -1.0);
        values[TASK + 7] = 2.0;
        for keep in [1, 2, 1000, TASK / 2, TASK, 2 * TASK + 50] {
            check(&values, keep);
        }
    }

    #[test]
    fn a_band_has_ties_on_both_edges() {
        let values: Vec<f32> = (0..20_000).map(|i| [1.0, -2.0, 3.0, 2.0, -1.0][i % 5]).collect();
        for (drop, keep) in
            [(1, 1), (4000, 3), (4001, 9000), (3999, 2), (5000, 2000), (11_999, 2), (1, 19_999)]
        {
            check_band(&values, drop, keep);
        }
    }

    #[test]
    fn neighbours_in_the_last_bit_are_told_apart() {
        let values: Vec<f32> = (0..5000).map(|i| f32::from_bits(0x3F80_0000 + (i * 37) % 5000)).collect();
        for keep in [1, 17, 2500, 4999] {
            check(&values, keep);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_stable_sort(
            values in prop::collection::vec(
                prop_oneof![
                    (-4_i8..4).prop_map(f32::from),
                    any::<f32>().prop_filter("finite", |value| value.is_finite()),
                ],
                1..300,
            ),
            share in 0.0_f64..=1.0,
        ) {
            check(&values, kept(share, values.len()));
        }

        #[test]
        fn bands_agree_with_a_sort(
            values in prop::collection::vec(
                prop_oneof![
                    3 => (-4_i8..4).prop_map(f32::from),
                    1 => any::<f32>().prop_filter("finite", |value| value.is_finite()),
                ],
                1..200,
            ),
            drop in 0.0_f64..=1.0,
            keep in 0.0_f64..=1.0,
        ) {
            check_band(&values, share(drop, values.len()), share(keep, values.len()));
        }

        #[test]
        fn differences_are_cut_by_their_own_magnitude(
            pairs in prop::collection::vec((-9_i8..9, -9_i8..9), 1..200),
            share in 0.0_f64..=1.0,
        ) {
            let (x, b): (Vec<f32>, Vec<f32>) =
                pairs.iter().map(|(x, b)| (f32::from(*x), f32::from(*b))).unzip();
            let differences: Vec<f32> = x.iter().zip(&b).map(|(x, b)| x - b).collect();
            let keep = kept(share, x.len());
            let of_pair = cut(Some(&Floats(b)), &Floats(x), pairs.len(), keep);
            prop_assert_eq!(of_pair, cut(None, &Floats(differences), pairs.len(), keep));
        }
    }
}
