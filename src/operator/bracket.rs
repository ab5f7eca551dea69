//! The k-th largest magnitude in one look at a tensor, where a sample tells about where it is.
//!
//! ```text
//! sample     some runs of elements, in even steps: two magnitudes that have the k-th between them, and
//!            the likeliest one
//! one look   how many are above the two, how many are the likeliest, and the others between the two
//!            with their indices
//! exact      the k-th of all is the likeliest, or so many-th of the others
//! ```
//!
//! Differences of bf16 numbers have few magnitudes, each of them many times: the likeliest alone can be
//! more than all the others in between, and is only counted.
//!
//! The sample never decides: where the k-th turns out not to be between the two, or too many are, the
//! histograms of [`super::magnitudes`] find it.

use std::ops::Range;

use rayon::prelude::*;

use super::magnitudes::{Magnitudes, Place, TASK, magnitude, places, tasks};
use super::source::Source;
use crate::base::wide::{bits_of, wide};

/// Elements read together for the sample: a cache line of f32.
const RUN: usize = 16;
/// Elements of each tensor that lie in the first cache while they are looked at.
const LOOK: usize = 1024;
/// Elements looked at together: most groups have none that is kept.
const GROUP: usize = 32;
const GROUPS: usize = LOOK / GROUP;
/// Below so many elements all are kept: nothing is gained by a sample.
const FEW: usize = 1 << 14;
/// One in so many is sampled, within limits.
const ONE_IN: usize = 64;
const LEAST_SAMPLE: usize = 1 << 12;
const MOST_SAMPLE: usize = 1 << 18;
/// Runs of the sample that are on their way from memory: each lies alone, where no processor looks ahead.
const ON_THE_WAY: usize = 16;
/// Standard errors of a sample's rank on each side.
const ERRORS: f64 = 3.0;
/// No magnitude is larger.
const LARGEST: u32 = i32::MAX as u32;
/// Most elements that are kept of all tensors that are asked about together: 128 MiB of them. Usually one in
/// two hundred is.
const MOST_KEPT: usize = 1 << 24;

/// The k-th largest magnitude, and which elements have it.
pub(super) struct Found<'a> {
    /// Where it stands.
    pub(super) place: Place,
    magnitudes: Magnitudes<'a>,
    ties: Ties,
}

/// What is known of the elements that have a magnitude.
enum Ties {
    /// They are among those that every task kept.
    Kept(Vec<Vec<u64>>),
    /// How many there are in every [`LOOK`] elements.
    Counts(Vec<u64>),
    /// Only that they are there.
    Unseen,
}

impl Found<'_> {
    /// The flat index just after the `nth` element (from 1) of this magnitude; 0 for none of them.
    pub(super) fn after_nth(&self, nth: u64) -> usize {
        let wanted = self.place.magnitude;
        match &self.ties {
            Ties::Kept(kept) => after_nth_kept(wanted, nth, kept),
            Ties::Counts(counts) => self.magnitudes.after_nth(wanted, nth, LOOK, counts),
            Ties::Unseen => self.magnitudes.after_nth(wanted, nth, TASK, &self.magnitudes.counts(wanted)),
        }
    }
}

/// What is asked of one tensor: the elements of some ranks, from 1 for the largest; a rank is at most the
/// number of elements.
pub(super) struct Question<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) ranks: Vec<u64>,
}

/// Answers questions about tensors of one shape, or about their differences from a base, which is read
/// once for all of them.
pub(super) fn find<'a>(
    base: Option<&'a dyn Source>,
    elements: usize,
    questions: &[Question<'a>],
) -> Vec<Vec<Found<'a>>> {
    if questions.is_empty() {
        return Vec::new();
    }
    let of = |question: &Question<'a>| Magnitudes { base, source: question.source, elements };
    let asked = questions.iter().map(|question| question.ranks.len()).sum::<usize>().max(1);
    let brackets: Vec<Vec<Bracket>> =
        questions.iter().map(|question| Bracket::around(&of(question), &question.ranks, asked)).collect();
    let tasks: Vec<_> = tasks(elements).collect();
    let tasks: Vec<Vec<Vec<Seen>>> =
        tasks.into_par_iter().map(|range| look(base, questions, &brackets, range)).collect();
    let answers = by_question(tasks, questions).into_par_iter().zip(questions).zip(&brackets);
    answers
        .map(|((seen, question), brackets)| {
            let answers = seen.into_iter().zip(brackets).zip(&question.ranks);
            answers.map(|((seen, bracket), rank)| answer(of(question), bracket, seen, *rank)).collect()
        })
        .collect()
}

/// Of every rank of every question, what each task saw, instead of the other way round.
fn by_question(tasks: Vec<Vec<Vec<Seen>>>, questions: &[Question<'_>]) -> Vec<Vec<Vec<Seen>>> {
    let nothing = |question: &Question<'_>| question.ranks.iter().map(|_| Vec::new()).collect();
    let mut all: Vec<Vec<Vec<Seen>>> = questions.iter().map(nothing).collect();
    for task in tasks {
        for (all, seen) in all.iter_mut().flatten().zip(task.into_iter().flatten()) {
            all.push(seen);
        }
    }
    all
}

/// By the bracket, or by the histograms if that missed.
fn answer<'a>(magnitudes: Magnitudes<'a>, bracket: &Bracket, seen: Vec<Seen>, rank: u64) -> Found<'a> {
    let (place, ties) = exact(bracket, seen, rank).unwrap_or_else(|| {
        let [place] = places(&[magnitudes], [rank]);
        (place, Ties::Unseen)
    });
    Found { place, magnitudes, ties }
}

/// Looks once at the elements in `range` of every tensor.
fn look(
    base: Option<&dyn Source>,
    questions: &[Question<'_>],
    brackets: &[Vec<Bracket>],
    range: Range<usize>,
) -> Vec<Vec<Seen>> {
    let mut seen: Vec<Vec<Seen>> =
        brackets.iter().map(|brackets| brackets.iter().map(|_| Seen::default()).collect()).collect();
    let (mut base_scratch, mut scratch, mut room) = ([0.0; LOOK], [0.0; LOOK], Room::default());
    let zeros = [0.0; LOOK];
    for first in range.clone().step_by(LOOK) {
        let len = LOOK.min(range.end - first);
        // The magnitude of a difference from zero is that of the value.
        let base = base.map_or(&zeros[..len], |base| base.read(first, &mut base_scratch[..len]));
        for ((question, brackets), seen) in questions.iter().zip(brackets).zip(&mut seen) {
            let values = question.source.read(first, &mut scratch[..len]);
            for (bracket, seen) in brackets.iter().zip(seen) {
                seen.look(bracket, (first - range.start) as u32, values, base, &mut room);
            }
        }
    }
    seen
}

/// Two magnitudes that should have the one in question between them, or be it.
#[derive(Debug, Clone, Copy)]
struct Bracket {
    low: u32,
    high: u32,
    /// The likeliest, between them.
    middle: u32,
    /// Most elements kept in one task.
    room: usize,
}

impl Bracket {
    /// Those of one tensor's ranks, of so many that are asked for in all.
    fn around(magnitudes: &Magnitudes<'_>, ranks: &[u64], asked: usize) -> Vec<Self> {
        let elements = magnitudes.elements;
        let tasks = tasks(elements).count().max(1);
        let room = (elements / 8).min(MOST_KEPT / asked).max(FEW) / tasks;
        if elements <= FEW {
            let all = Self { low: 0, high: LARGEST, middle: 0, room };
            return vec![all; ranks.len()];
        }
        let mut sample = sample(magnitudes);
        let shares = ranks.iter().map(|rank| *rank as f64 / elements as f64);
        shares.map(|share| Self { room, ..between(&mut sample, share) }).collect()
    }
}

/// Magnitudes from all over the tensor.
fn sample(magnitudes: &Magnitudes<'_>) -> Vec<u32> {
    let elements = magnitudes.elements;
    let runs = (elements / ONE_IN).clamp(LEAST_SAMPLE, MOST_SAMPLE) / RUN;
    let step = elements / runs;
    let mut sample = Vec::with_capacity(runs * RUN);
    for run in 0..runs {
        let first = run * step;
        for source in magnitudes.base.into_iter().chain([magnitudes.source]) {
            source.expect(first + ON_THE_WAY * step);
        }
        magnitudes.scan_by::<RUN>(first..first + RUN, |_, run| sample.extend_from_slice(run));
    }
    sample
}

/// The magnitudes around a share of a sample from above.
fn between(sample: &mut [u32], share: f64) -> Bracket {
    let size = sample.len();
    // From below, because that is how a slice is ordered.
    let below = (1.0 - share) * size as f64;
    let error = ERRORS * (size as f64 * share * (1.0 - share)).sqrt() + 2.0;
    let (first, last) = ((below - error).max(0.0) as usize, (below + error) as usize);
    let middle = (below as usize).min(size - 1);
    // Each search leaves less for the next.
    let (_, lowest, mut rest) = sample.select_nth_unstable(first);
    let low = if below < error { 0 } else { *lowest };
    let mut high = LARGEST;
    if last < size {
        let (between, highest, _) = rest.select_nth_unstable(last - first - 1);
        (high, rest) = (*highest, between);
    }
    let middle = match middle - first {
        0 => *lowest,
        above => *rest.select_nth_unstable(above - 1).1,
    };
    Bracket { low, high, middle, room: 0 }
}

/// What one task saw of a bracket.
#[derive(Debug, Default)]
struct Seen {
    above: u64,
    /// The likeliest, in every [`LOOK`] elements.
    equal: Vec<u64>,
    /// Others between the two.
    within: u64,
    /// Magnitude and index in the task of these, packed.
    kept: Vec<u64>,
}

impl Seen {
    fn look(&mut self, bracket: &Bracket, first: u32, values: &[f32], base: &[f32], room: &mut Room) {
        let Counts { above, equal, within } = sort_out(bracket, first, values, base, room);
        self.above += u64::from(above);
        self.equal.push(u64::from(equal));
        self.within += within as u64;
        if self.kept.len() <= bracket.room {
            self.kept.extend_from_slice(&room.found[..within]);
        }
    }
}

/// Room to sort out [`LOOK`] elements in.
struct Room {
    /// Of each element, whether it is found: a mask.
    is_found: [u32; LOOK],
    /// Where groups begin that have any, and a bit for each element.
    list: [(usize, u32); GROUPS],
    /// What is found.
    found: [u64; LOOK],
}

impl Default for Room {
    fn default() -> Self {
        Self { is_found: [0; LOOK], list: [(0, 0); GROUPS], found: [0; LOOK] }
    }
}

/// Of some elements, how many are above a bracket, of its likeliest magnitude, and others within it.
struct Counts {
    above: u32,
    equal: u32,
    within: usize,
}

wide! {
    /// Counts differences, and finds those that are within a bracket but not of its likeliest magnitude.
    fn sort_out<'a>(
        bracket: &'a Bracket, first: u32, values: &'a [f32], base: &'a [f32], room: &'a mut Room,
    ) -> Counts {
        // Without a sign bit they compare alike with one, which is how vector units compare.
        let [low, high, middle] =
            [bracket.low, bracket.high, bracket.middle].map(u32::cast_signed);
        let (mut above, mut equal) = (0_u32, 0_u32);
        room.is_found[values.len()..].fill(0);
        for ((is_found, value), base) in room.is_found.iter_mut().zip(values).zip(base) {
            let magnitude = magnitude(value - base).cast_signed();
            let (is_above, is_middle) = (u32::from(magnitude > high), u32::from(magnitude == middle));
            above += is_above;
            equal += is_middle;
            // A mask.
            *is_found = (is_above | is_middle | u32::from(magnitude < low)).wrapping_sub(1);
        }
        // Few are: groups that have any are listed, without a branch that would be guessed wrong.
        let mut listed = 0;
        for (group, masks) in room.is_found[..values.len().next_multiple_of(GROUP)].as_chunks().0.iter().enumerate() {
            let bits = bits_of(masks);
            room.list[listed % GROUPS] = (group * GROUP, bits);
            listed += usize::from(bits != 0);
        }
        let mut within = 0;
        for (start, bits) in &room.list[..listed] {
            let mut left = *bits;
            while left != 0 {
                let i = start + left.trailing_zeros() as usize;
                room.found[within % LOOK] = packed(magnitude(values[i] - base[i]), first + i as u32);
                within += 1;
                left &= left - 1;
            }
        }
        Counts { above, equal, within }
    }
}

/// A magnitude and an index in a task, in the order of the former.
fn packed(magnitude: u32, index: u32) -> u64 {
    u64::from(magnitude) << 32 | u64::from(index)
}

/// The element in question, if it is within the bracket and everything there was kept.
fn exact(bracket: &Bracket, seen: Vec<Seen>, rank: u64) -> Option<(Place, Ties)> {
    let above: u64 = seen.iter().map(|seen| seen.above).sum();
    let within: u64 = seen.iter().map(|seen| seen.within).sum();
    let equal: u64 = seen.iter().flat_map(|seen| &seen.equal).sum();
    let all_kept = seen.iter().all(|seen| seen.kept.len() as u64 == seen.within);
    if rank <= above || rank > above + within + equal || !all_kept {
        return None;
    }
    let mut others: Vec<u32> = Vec::with_capacity(within as usize);
    seen.iter().for_each(|seen| others.extend(seen.kept.iter().map(magnitude_of)));
    let above_middle = others.iter().filter(|other| **other > bracket.middle).count() as u64;
    let rank_within = rank - above;
    if rank_within > above_middle && rank_within <= above_middle + equal {
        let place = Place { magnitude: bracket.middle, above: above + above_middle, equal };
        return Some((place, Ties::Counts(seen.into_iter().flat_map(|seen| seen.equal).collect())));
    }
    let not_others = if rank_within > above_middle { equal } else { 0 };
    let place = nth_largest(&mut others, rank_within - not_others);
    let place = Place { above: above + not_others + place.above, ..place };
    Some((place, Ties::Kept(seen.into_iter().map(|seen| seen.kept).collect())))
}

/// The place of the `nth` largest, from 1.
fn nth_largest(magnitudes: &mut [u32], nth: u64) -> Place {
    let from_below = magnitudes.len() - nth as usize;
    let magnitude = *magnitudes.select_nth_unstable(from_below).1;
    let count =
        |of: &[u32], is: fn(&u32, &u32) -> bool| of.iter().filter(|other| is(other, &magnitude)).count();
    Place {
        magnitude,
        above: count(&magnitudes[from_below..], u32::gt) as u64,
        equal: count(magnitudes, u32::eq) as u64,
    }
}

/// The flat index just after the `nth` element of a magnitude of which every task kept all.
fn after_nth_kept(wanted: u32, nth: u64, tasks: &[Vec<u64>]) -> usize {
    let kept = tasks.iter().zip((0..).step_by(TASK));
    let mut indices = kept.flat_map(|(kept, start)| {
        let ties = kept.iter().filter(|kept| magnitude_of(kept) == wanted);
        ties.map(move |kept| start + (kept & u64::from(u32::MAX)) as usize)
    });
    nth.checked_sub(1).map_or(0, |before| indices.nth(before as usize).expect("so many ties were seen") + 1)
}

fn magnitude_of(kept: &u64) -> u32 {
    (kept >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Made(fn(usize) -> f32);

    impl Source for Made {
        fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32] {
            scratch.iter_mut().enumerate().for_each(|(i, value)| *value = (self.0)(first + i));
            scratch
        }
    }

    fn mixed(i: usize) -> u32 {
        (i as u32).wrapping_mul(2_654_435_761) ^ (i as u32).wrapping_mul(40_503) >> 9
    }

    /// The histograms and the sample must agree, wherever the sample leads: into the middle of a
    /// smooth distribution, to one of few magnitudes, past the end, or astray.
    #[test]
    fn says_what_the_histograms_say() {
        let smooth = Made(|i| f32::from_bits(0x3C00_0000 + mixed(i) % (1 << 26)));
        let few = Made(|i| [0.0, 1.0, -1.0, 2.0, -3.0, 1.0][mixed(i) as usize % 6]);
        let zeros = Made(|i| if i % 1000 == 7 { i as f32 } else { 0.0 });
        // Every run of the sample falls into the small ones.
        let astray =
            Made(|i| if i % ((2 * TASK + 77) / 2048) < 64 { 1e-3 } else { 1.0 + (mixed(i) % 997) as f32 });
        // One magnitude is a tenth of all, the others are spread around it.
        let clump =
            Made(
                |i| {
                    if mixed(i).is_multiple_of(10) { 1.0 } else { 0.5 + (mixed(i) >> 9) as f32 / 8_388_608.0 }
                },
            );
        let sources =
            [("smooth", &smooth), ("few", &few), ("zeros", &zeros), ("astray", &astray), ("clump", &clump)];
        for (name, source) in sources {
            for elements in [1, 100, FEW + 1, 2 * TASK + 77] {
                let magnitudes = Magnitudes { base: None, source, elements };
                for rank in
                    [1, 2, elements / 1000, elements / 3, elements / 2, elements - elements / 9, elements]
                {
                    let rank = rank.clamp(1, elements) as u64;
                    let [expected] = places(&[magnitudes], [rank]);
                    let ranks = vec![rank, elements as u64];
                    let found = find(None, elements, &[Question { source, ranks }]).remove(0).remove(0);
                    assert_eq!(found.place, expected, "{name}, {rank} of {elements}");
                    let counts = magnitudes.counts(expected.magnitude);
                    for nth in [0, 1, expected.equal / 2, expected.equal] {
                        let after = magnitudes.after_nth(expected.magnitude, nth, TASK, &counts);
                        assert_eq!(found.after_nth(nth), after, "{name}, {nth} of {}", expected.equal);
                    }
                }
            }
        }
    }
}
