//! The k-th largest magnitude in one look at a tensor, where a sample tells about where it is.
//!
//! ```text
//! sample     some runs of elements, in even steps: two magnitudes that have the k-th between them
//! one look   how many are above them, and the few between them with their indices
//! exact      the k-th of all is so many-th of those few; ties are already in the order of indices
//! ```
//!
//! The sample never decides: where the k-th turns out not to be between the two, or too many are, the
//! histograms of [`super::magnitudes`] find it. Where a sample has one magnitude again and again, as
//! bf16 differences do, its elements are counted instead of kept.

use rayon::prelude::*;

use super::magnitudes::{Magnitudes, Place, places};
use crate::base::wide::wide;

/// Elements read together for the sample: a cache line of f32.
const RUN: usize = 16;
/// Elements looked at together: most groups have none that is kept.
const GROUP: usize = 16;
/// Below so many elements all are kept: nothing is gained by a sample.
const FEW: usize = 1 << 14;
/// One in so many is sampled, within limits.
const ONE_IN: usize = 64;
const LEAST_SAMPLE: usize = 1 << 12;
const MOST_SAMPLE: usize = 1 << 16;
/// Standard errors of a sample's rank on each side.
const ERRORS: f64 = 3.0;
/// A magnitude that is this share of a sample is counted, not kept.
const HEAVY: usize = 16;
/// Most elements of a tensor that are kept: 32 MiB of them.
const MOST_KEPT: usize = 1 << 22;

/// The k-th largest magnitude, and which elements have it.
pub(super) struct Found<'a> {
    /// Where it stands.
    pub(super) place: Place,
    magnitudes: Magnitudes<'a>,
    ties: Ties,
}

/// What is known of the elements that have a magnitude.
enum Ties {
    /// Their indices, rising.
    Indices(Vec<usize>),
    /// How many there are in each task.
    Counts(Vec<u64>),
    /// Only that they are there.
    Unseen,
}

impl Found<'_> {
    /// The flat index just after the `nth` element (from 1) of this magnitude; 0 for none of them.
    pub(super) fn after_nth(&self, nth: u64) -> usize {
        let wanted = self.place.magnitude;
        match &self.ties {
            Ties::Indices(indices) => nth.checked_sub(1).map_or(0, |last| indices[last as usize] + 1),
            Ties::Counts(counts) => self.magnitudes.after_nth(wanted, nth, counts),
            Ties::Unseen => self.magnitudes.after_nth(wanted, nth, &self.magnitudes.counts(wanted)),
        }
    }
}

/// The elements of some ranks, from 1 for the largest; a rank is at most the number of elements.
pub(super) fn find<const N: usize>(magnitudes: Magnitudes<'_>, ranks: [u64; N]) -> [Found<'_>; N] {
    let brackets = Bracket::around(&magnitudes, ranks);
    let tasks: Vec<_> = magnitudes.tasks().collect();
    let seen: Vec<[Seen; N]> = tasks
        .into_par_iter()
        .map(|range| {
            let (start, mut seen) = (range.start, brackets.map(|_| Seen::default()));
            magnitudes.scan(range, |first, piece| {
                for (bracket, seen) in brackets.iter().zip(&mut seen) {
                    seen.look(bracket, (first - start) as u32, piece);
                }
            });
            seen
        })
        .collect();
    std::array::from_fn(|i| {
        let seen: Vec<&Seen> = seen.iter().map(|seen| &seen[i]).collect();
        exact(&magnitudes, &brackets[i], &seen, ranks[i]).unwrap_or_else(|| {
            let [place] = places(&[magnitudes], [ranks[i]]);
            Found { place, magnitudes, ties: Ties::Unseen }
        })
    })
}

/// Two magnitudes that should have the one in question between them, or be it.
#[derive(Debug, Clone, Copy)]
struct Bracket {
    low: u32,
    high: u32,
    /// Most elements kept in one task.
    room: usize,
}

impl Bracket {
    fn around<const N: usize>(magnitudes: &Magnitudes<'_>, ranks: [u64; N]) -> [Self; N] {
        let elements = magnitudes.elements;
        let tasks = magnitudes.tasks().count().max(1);
        let room = (elements / 8).min(MOST_KEPT) / tasks + FEW;
        if elements <= FEW {
            return ranks.map(|_| Self { low: 0, high: u32::MAX, room });
        }
        let mut sample = sample(magnitudes);
        ranks.map(|rank| {
            let [low, high] = between(&mut sample, rank as f64 / elements as f64);
            Self { low, high, room }
        })
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
        magnitudes.scan_by::<RUN>(first..first + RUN, |_, run| sample.extend_from_slice(run));
    }
    sample
}

/// The two magnitudes around a share of a sample from above.
fn between(sample: &mut [u32], share: f64) -> [u32; 2] {
    let size = sample.len();
    // From below, because that is how a slice is ordered.
    let below = (1.0 - share) * size as f64;
    let error = ERRORS * (size as f64 * share * (1.0 - share)).sqrt() + 2.0;
    let middle = (below as usize).min(size - 1);
    let low = if below < error { 0 } else { *sample.select_nth_unstable((below - error) as usize).1 };
    let above = (below + error) as usize;
    let high = if above >= size { u32::MAX } else { *sample.select_nth_unstable(above).1 };
    let middle = *sample.select_nth_unstable(middle).1;
    let heavy = sample.iter().filter(|magnitude| **magnitude == middle).count() >= size / HEAVY;
    if heavy { [middle; 2] } else { [low, high] }
}

/// What one task saw of a bracket.
#[derive(Debug, Default)]
struct Seen {
    above: u64,
    /// Between the two, or just the one.
    within: u64,
    /// Magnitude and index in the task, packed; not of a bracket of one magnitude.
    kept: Vec<u64>,
}

impl Seen {
    fn look(&mut self, bracket: &Bracket, first: u32, piece: &[u32]) {
        if bracket.low == bracket.high {
            let (above, equal) = count(bracket.low as i32, piece);
            self.above += u64::from(above);
            self.within += u64::from(equal);
            return;
        }
        // Magnitudes have no sign bit, so they compare alike with one.
        let most = bracket.high.min(i32::MAX as u32) as i32;
        let room = bracket.room.saturating_sub(self.kept.len());
        let (above, within) = keep(bracket.low as i32, most, first, piece, room, &mut self.kept);
        self.above += u64::from(above);
        self.within += u64::from(within);
    }
}

wide! {
    /// How many are above a magnitude, and how many are just that.
    fn count<'a>(wanted: i32, magnitudes: &'a [u32]) -> (u32, u32) {
        let (mut above, mut equal) = (0, 0);
        for magnitude in magnitudes {
            above += u32::from(magnitude.cast_signed() > wanted);
            equal += u32::from(magnitude.cast_signed() == wanted);
        }
        (above, equal)
    }

    /// How many are above two magnitudes and how many between them; the latter are kept while there
    /// is room.
    fn keep<'a>(
        low: i32, high: i32, first: u32, magnitudes: &'a [u32], room: usize, kept: &'a mut Vec<u64>,
    ) -> (u32, u32) {
        let is_within = |magnitude: u32| {
            (magnitude.cast_signed() >= low) & (magnitude.cast_signed() <= high)
        };
        let above = magnitudes.iter().map(|magnitude| u32::from(magnitude.cast_signed() > high)).sum();
        let mut within = 0;
        let (groups, rest) = magnitudes.as_chunks::<GROUP>();
        let mut rest_group = [u32::MAX; GROUP];
        rest_group[..rest.len()].copy_from_slice(rest);
        let groups = groups.iter().chain((!rest.is_empty()).then_some(&rest_group));
        for (group, first) in groups.zip((first..).step_by(GROUP)) {
            // What is below wraps around and so is far above; what fills the last group up is, too.
            let above_low = group.iter().map(|magnitude| magnitude.wrapping_sub(low.cast_unsigned()));
            let nearest = above_low.fold(u32::MAX, u32::min);
            if nearest <= high.abs_diff(low) {
                // Which ones is a coin toss: all are written, those that are not within over again.
                let (mut found, mut count) = ([0; GROUP], 0);
                for (magnitude, index) in group.iter().zip(first..) {
                    found[count % GROUP] = u64::from(*magnitude) << 32 | u64::from(index);
                    count += usize::from(is_within(*magnitude));
                }
                if within as usize <= room {
                    kept.extend_from_slice(&found[..count]);
                }
                within += count as u32;
            }
        }
        (above, within)
    }
}

/// The element in question, if it is within the bracket and everything there was kept.
fn exact<'a>(magnitudes: &Magnitudes<'a>, bracket: &Bracket, seen: &[&Seen], rank: u64) -> Option<Found<'a>> {
    let above: u64 = seen.iter().map(|seen| seen.above).sum();
    let within: u64 = seen.iter().map(|seen| seen.within).sum();
    if rank <= above || rank > above + within {
        return None;
    }
    if bracket.low == bracket.high {
        let place = Place { magnitude: bracket.low, above, equal: within };
        let counts = seen.iter().map(|seen| seen.within).collect();
        return Some(Found { place, magnitudes: *magnitudes, ties: Ties::Counts(counts) });
    }
    if seen.iter().any(|seen| seen.kept.len() as u64 != seen.within) {
        return None;
    }
    let magnitude_of = |kept: &u64| (kept >> 32) as u32;
    let mut candidates: Vec<u32> = seen.iter().flat_map(|seen| &seen.kept).map(magnitude_of).collect();
    let from_below = (above + within - rank) as usize;
    let magnitude = *candidates.select_nth_unstable(from_below).1;
    let larger = candidates[from_below..].iter().filter(|candidate| **candidate > magnitude).count() as u64;
    let indices: Vec<usize> = magnitudes
        .tasks()
        .zip(seen)
        .flat_map(|(task, seen)| {
            let ties = seen.kept.iter().filter(|kept| magnitude_of(kept) == magnitude);
            ties.map(move |kept| task.start + (kept & u64::from(u32::MAX)) as usize)
        })
        .collect();
    let place = Place { magnitude, above: above + larger, equal: indices.len() as u64 };
    Some(Found { place, magnitudes: *magnitudes, ties: Ties::Indices(indices) })
}

#[cfg(test)]
mod tests {
    use super::super::magnitudes::TASK;
    use super::super::source::Source;
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
        for (name, source) in [("smooth", &smooth), ("few", &few), ("zeros", &zeros), ("astray", &astray)] {
            for elements in [1, 100, FEW + 1, 2 * TASK + 77] {
                let magnitudes = Magnitudes { base: None, source, elements };
                for rank in
                    [1, 2, elements / 1000, elements / 3, elements / 2, elements - elements / 9, elements]
                {
                    let rank = rank.clamp(1, elements) as u64;
                    let [expected] = places(&[magnitudes], [rank]);
                    let [found, _] = find(magnitudes, [rank, elements as u64]);
                    assert_eq!(found.place, expected, "{name}, {rank} of {elements}");
                    let counts = magnitudes.counts(expected.magnitude);
                    for nth in [0, 1, expected.equal / 2, expected.equal] {
                        let after = magnitudes.after_nth(expected.magnitude, nth, &counts);
                        assert_eq!(found.after_nth(nth), after, "{name}, {nth} of {}", expected.equal);
                    }
                }
            }
        }
    }
}
