//! Fronts, crowding distance and hypervolume.
//!
//! Rank 0 is what nobody beats; rank 1 what only rank 0 beats; and so on. The crowding distance of
//! a member is the sum, over the objectives, of the gap between its two neighbours in the sorted
//! front, as a share of the front's range. The ends of the front are infinitely uncrowded; an
//! objective in which the whole front agrees says nothing and adds 0. Members with equal vectors
//! would crowd each other into a number that means nothing: the one with the byte-smallest id
//! stands for all, the others get 0. So a front of one distinct vector is its own end.

use std::cmp::Ordering;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ReviewError;
use super::objective::{Entry, Objective, dominates, oriented, plain, validate};

/// Most objectives an exact hypervolume is computed for.
pub const MAX_HYPERVOLUME_OBJECTIVES: usize = 4;
/// Most points on the front an exact hypervolume is computed for.
pub const MAX_HYPERVOLUME_POINTS: usize = 256;

/// How far away the neighbours in the front are. In JSON a number, or `"inf"` at the ends.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub enum Crowding {
    /// A sum of gaps.
    Finite(f64),
    /// At an end of the front.
    Infinite,
}

impl Crowding {
    /// Least crowded first; distances are never NaN.
    fn order(self, other: Self) -> Ordering {
        other.partial_cmp(&self).expect("distances are numbers")
    }

    fn add(&mut self, gap: f64) {
        if let Self::Finite(sum) = self {
            *sum += gap;
        }
    }
}

impl Serialize for Crowding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Finite(value) => serializer.serialize_f64(*value),
            Self::Infinite => serializer.serialize_str("inf"),
        }
    }
}

impl<'de> Deserialize<'de> for Crowding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let value = serde_json::Value::deserialize(deserializer)?;
        match value.as_f64() {
            Some(number) if number >= 0.0 => Ok(Self::Finite(number)),
            None if value == "inf" => Ok(Self::Infinite),
            _ => Err(D::Error::custom("expected a crowding distance: a number from 0, or \"inf\"")),
        }
    }
}

/// A member in its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranked {
    /// Its id.
    pub id: String,
    /// Its vector as given, but for the sign of zero.
    pub vector: Vec<f64>,
    /// Its front.
    pub rank: u32,
    /// How uncrowded it is there.
    pub crowding: Crowding,
}

/// Ranks a population: by rank, then least crowded, then id.
///
/// # Errors
///
/// [`ReviewError`] if there is no entry or no objective, if the name of an objective or an id is there twice,
/// an id is empty, or a vector has another length than there are objectives, or a value that is not finite.
pub fn rank(objectives: &[Objective], entries: &[Entry]) -> Result<Vec<Ranked>, ReviewError> {
    validate(objectives, entries)?;
    let mut members: Vec<Member<'_>> =
        entries.iter().map(|entry| Member { entry, oriented: oriented(objectives, &entry.vector) }).collect();
    // Best first in the first objective, then the second, ...: nobody is beaten by a later one.
    members.sort_by(|a, b| compare(&b.oriented, &a.oriented).then_with(|| a.entry.id.cmp(&b.entry.id)));

    let mut ranked = Vec::with_capacity(members.len());
    for (rank, front) in (0..).zip(fronts(&members)) {
        for (member, crowding) in front.iter().zip(crowding(&front)) {
            let vector = member.entry.vector.iter().copied().map(plain).collect();
            ranked.push(Ranked { id: member.entry.id.clone(), vector, rank, crowding });
        }
    }
    ranked
        .sort_by(|a, b| a.rank.cmp(&b.rank).then(a.crowding.order(b.crowding)).then_with(|| a.id.cmp(&b.id)));
    Ok(ranked)
}

struct Member<'a> {
    entry: &'a Entry,
    oriented: Vec<f64>,
}

fn compare(a: &[f64], b: &[f64]) -> Ordering {
    a.iter().zip(b).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Each member, in sorted order, joins the first front in which nobody beats it.
fn fronts<'a>(members: &'a [Member<'a>]) -> Vec<Vec<&'a Member<'a>>> {
    let mut fronts: Vec<Vec<&Member<'_>>> = Vec::new();
    for member in members {
        let free = fronts
            .iter_mut()
            .find(|front| !front.iter().any(|other| dominates(&other.oriented, &member.oriented)));
        match free {
            Some(front) => front.push(member),
            None => fronts.push(vec![member]),
        }
    }
    fronts
}

/// The crowding distance of each member of one front, which is sorted by vector, then id.
fn crowding(front: &[&Member<'_>]) -> Vec<Crowding> {
    let mut distances = vec![Crowding::Finite(0.0); front.len()];
    // Equal vectors stand side by side, the byte-smallest id first: it stands for all.
    let mut distinct: Vec<usize> =
        (0..front.len()).filter(|at| *at == 0 || front[*at].oriented != front[at - 1].oriented).collect();
    if let [only] = distinct[..] {
        distances[only] = Crowding::Infinite;
        return distances;
    }
    for objective in 0..front[0].oriented.len() {
        let value = |at: usize| front[at].oriented[objective];
        distinct.sort_by(|a, b| {
            value(*a).total_cmp(&value(*b)).then_with(|| front[*a].entry.id.cmp(&front[*b].entry.id))
        });
        let (first, last) = (distinct[0], distinct[distinct.len() - 1]);
        // Halved before subtracting, so that no range overflows; the share is the same.
        let range = value(last) / 2.0 - value(first) / 2.0;
        if range == 0.0 {
            continue;
        }
        for three in distinct.windows(3) {
            distances[three[1]].add((value(three[2]) / 2.0 - value(three[0]) / 2.0) / range);
        }
        distances[first] = Crowding::Infinite;
        distances[last] = Crowding::Infinite;
    }
    distances
}

/// The volume of objective space that the population dominates and that dominates `reference`.
///
/// Exact, by slicing along one objective after another. Members that are not better than the
/// reference point in every objective add nothing.
///
/// # Errors
///
/// As [`rank`]; [`ReviewError::Reference`] of a reference point that is no point of that space;
/// [`ReviewError::TooLarge`] of more than [`MAX_HYPERVOLUME_OBJECTIVES`] objectives or
/// [`MAX_HYPERVOLUME_POINTS`] members that count.
pub fn hypervolume(
    objectives: &[Objective],
    entries: &[Entry],
    reference: &[f64],
) -> Result<f64, ReviewError> {
    validate(objectives, entries)?;
    let count = objectives.len();
    if reference.len() != count || reference.iter().any(|value| !value.is_finite()) {
        return Err(ReviewError::Reference { expected: count, found: format!("{reference:?}") });
    }
    let origin = oriented(objectives, reference);
    let above = |entry: &Entry| -> Option<Vec<f64>> {
        let point = oriented(objectives, &entry.vector);
        let edges: Vec<f64> = point.iter().zip(&origin).map(|(value, origin)| value - origin).collect();
        edges.iter().all(|edge| *edge > 0.0).then_some(edges)
    };
    let points = nondominated(entries.iter().filter_map(above).collect());
    if points.len() > MAX_HYPERVOLUME_POINTS || count > MAX_HYPERVOLUME_OBJECTIVES {
        return Err(ReviewError::TooLarge {
            points: points.len(),
            objectives: count,
            most_points: MAX_HYPERVOLUME_POINTS,
            most_objectives: MAX_HYPERVOLUME_OBJECTIVES,
        });
    }
    Ok(volume(&points))
}

/// The distinct points that no other beats, largest first: one order, whatever order they came in.
fn nondominated(mut points: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    points.sort_by(|a, b| compare(b, a));
    points.dedup();
    let mut kept: Vec<Vec<f64>> = Vec::new();
    for point in points {
        if !kept.iter().any(|other| dominates(other, &point)) {
            kept.push(point);
        }
    }
    kept
}

/// The union of the boxes from the origin to each point; points as [`nondominated`] gives them.
fn volume(points: &[Vec<f64>]) -> f64 {
    let Some(first) = points.first() else { return 0.0 };
    if first.len() == 1 {
        return first[0];
    }
    // Slabs along the first objective, from its far end: in each, the points so far reach across.
    let mut total = 0.0;
    for (reached, point) in (1..).zip(points) {
        let next = points.get(reached).map_or(0.0, |next| next[0]);
        let depth = point[0] - next;
        if depth > 0.0 {
            let cut = points[..reached].iter().map(|point| point[1..].to_vec()).collect();
            total += depth * volume(&nondominated(cut));
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::super::Direction;
    use super::*;
    use crate::base::canonical;
    use proptest::prelude::*;

    fn objectives(directions: &[Direction]) -> Vec<Objective> {
        let named =
            |(i, direction): (usize, &Direction)| Objective { name: format!("o{i}"), direction: *direction };
        directions.iter().enumerate().map(named).collect()
    }

    fn entries(vectors: &[&[f64]]) -> Vec<Entry> {
        let named = |(i, vector): (usize, &&[f64])| Entry { id: format!("c{i}"), vector: vector.to_vec() };
        vectors.iter().enumerate().map(named).collect()
    }

    fn ids(ranked: &[Ranked]) -> String {
        ranked.iter().map(|member| member.id.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[derive(Deserialize)]
    struct Expected {
        id: String,
        rank: u32,
        crowding: Crowding,
    }

    #[derive(Deserialize)]
    struct Case {
        directions: Vec<Direction>,
        entries: Vec<Entry>,
        reference: Vec<f64>,
        ranked: Vec<Expected>,
        hypervolume: Option<f64>,
    }

    /// Answers of a brute-force script in exact arithmetic, which lies beside them.
    #[test]
    fn agrees_with_the_definitions_in_exact_arithmetic() {
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../tests/fixtures/review.json")).unwrap();
        assert!(cases.len() >= 10);
        for case in cases {
            let objectives = objectives(&case.directions);
            let found = rank(&objectives, &case.entries).unwrap();
            assert_eq!(found.len(), case.ranked.len());
            for (found, expected) in found.iter().zip(&case.ranked) {
                assert_eq!((&found.id, found.rank), (&expected.id, expected.rank));
                match (found.crowding, expected.crowding) {
                    (Crowding::Finite(a), Crowding::Finite(b)) => assert!((a - b).abs() < 1e-12, "{a} {b}"),
                    (a, b) => assert_eq!(a, b, "{}", found.id),
                }
            }
            match case.hypervolume {
                Some(expected) => {
                    let found = hypervolume(&objectives, &case.entries, &case.reference).unwrap();
                    assert!((found - expected).abs() <= 1e-12 * expected, "{found} {expected}");
                }
                None => assert!(hypervolume(&objectives, &case.entries, &case.reference).is_err()),
            }
        }
    }

    /// Worked by hand: a front (0,4) (1,2) (2,1) (4,0), sums of neighbour gaps over ranges of 4.
    #[test]
    fn crowding_by_hand() {
        let two = objectives(&[Direction::Min, Direction::Min]);
        let vectors: [&[f64]; 4] = [&[0.0, 4.0], &[1.0, 2.0], &[2.0, 1.0], &[4.0, 0.0]];
        let ranked = rank(&two, &entries(&vectors)).unwrap();
        assert_eq!(ids(&ranked), "c0 c3 c1 c2");
        assert_eq!(ranked[2].crowding, Crowding::Finite(2.0 / 4.0 + 3.0 / 4.0));
        assert_eq!(ranked[3].crowding, Crowding::Finite(3.0 / 4.0 + 2.0 / 4.0));
    }

    #[test]
    fn equal_vectors_share_one_place() {
        let two = objectives(&[Direction::Max, Direction::Min]);
        let vectors: [&[f64]; 4] = [&[1.0, 0.0], &[1.0, -0.0], &[0.0, -1.0], &[2.0, 5.0]];
        let ranked = rank(&two, &entries(&vectors)).unwrap();
        assert_eq!(ids(&ranked), "c2 c3 c0 c1");
        assert_eq!(ranked[2].crowding, Crowding::Finite(2.0));
        assert_eq!(ranked[3].crowding, Crowding::Finite(0.0));
        assert!(ranked[3].vector[1].is_sign_positive());
        let alone: [&[f64]; 2] = [&[1.0, 1.0], &[1.0, 1.0]];
        let ranked = rank(&two, &entries(&alone)).unwrap();
        assert_eq!([ranked[0].crowding, ranked[1].crowding], [Crowding::Infinite, Crowding::Finite(0.0)]);
    }

    #[test]
    fn an_objective_all_agree_in_says_nothing() {
        let three = objectives(&[Direction::Max; 3]);
        let vectors: [&[f64]; 3] = [&[0.0, 2.0, 7.0], &[1.0, 1.0, 7.0], &[2.0, 0.0, 7.0]];
        let ranked = rank(&three, &entries(&vectors)).unwrap();
        assert_eq!(ranked[2].crowding, Crowding::Finite(2.0));
    }

    #[test]
    fn huge_values_do_not_overflow() {
        let two = objectives(&[Direction::Max, Direction::Min]);
        let vectors: [&[f64]; 3] = [&[f64::MIN, f64::MIN], &[0.0, 0.0], &[f64::MAX, f64::MAX]];
        let ranked = rank(&two, &entries(&vectors)).unwrap();
        assert_eq!(ranked[2].crowding, Crowding::Finite(2.0));
    }

    #[test]
    fn infinity_is_a_word_in_json() {
        assert_eq!(canonical::to_string(&Crowding::Infinite).unwrap(), "\"inf\"");
        assert_eq!(canonical::to_string(&Crowding::Finite(0.5)).unwrap(), "0.5");
        for crowding in [Crowding::Infinite, Crowding::Finite(0.5)] {
            let text = canonical::to_vec(&crowding).unwrap();
            assert_eq!(canonical::from_slice::<Crowding>(&text).unwrap(), crowding);
        }
        for bad in ["\"Infinity\"", "-1", "null", "[]"] {
            assert!(canonical::from_slice::<Crowding>(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn hypervolume_by_hand() {
        let two = objectives(&[Direction::Max, Direction::Min]);
        // Boxes 1 x 3 and 2 x 1 from the reference (0, 10), overlapping in 1 x 1.
        let vectors: [&[f64]; 4] = [&[1.0, 7.0], &[2.0, 9.0], &[5.0, 10.0], &[0.5, 8.0]];
        assert_eq!(hypervolume(&two, &entries(&vectors), &[0.0, 10.0]).unwrap(), 4.0);
        assert_eq!(hypervolume(&two, &entries(&vectors), &[9.0, 0.0]).unwrap(), 0.0);
        for bad in [&[0.0][..], &[0.0, f64::NAN], &[0.0, 1.0, 2.0]] {
            assert!(hypervolume(&two, &entries(&vectors), bad).is_err());
        }
        let many: Vec<Entry> =
            (0..300).map(|i| Entry { id: i.to_string(), vector: vec![f64::from(i), f64::from(i)] }).collect();
        let error = hypervolume(&two, &many, &[-1.0, 1000.0]).unwrap_err();
        assert!(matches!(error, ReviewError::TooLarge { points: 300, .. }), "{error}");
    }

    proptest! {
        #[test]
        fn the_order_of_entries_changes_nothing(
            vectors in proptest::collection::vec(proptest::collection::vec(0_u8..5, 3), 1..20),
            seed in any::<u64>(),
        ) {
            let objectives = objectives(&[Direction::Max, Direction::Min, Direction::Max]);
            let mut entries: Vec<Entry> = vectors.iter().enumerate().map(|(i, vector)| Entry {
                id: format!("c{i}"),
                vector: vector.iter().map(|value| f64::from(*value) / 3.0).collect(),
            }).collect();
            let expected = rank(&objectives, &entries).unwrap();
            let volume = hypervolume(&objectives, &entries, &[-1.0, 9.0, -1.0]).unwrap();
            let draw = crate::base::rng::Philox::for_purpose(&["shuffle", &seed.to_string()]);
            entries.sort_by_key(|entry| draw.block(entry.id[1..].parse().unwrap()));
            prop_assert_eq!(rank(&objectives, &entries).unwrap(), expected.clone());
            prop_assert_eq!(hypervolume(&objectives, &entries, &[-1.0, 9.0, -1.0]).unwrap(), volume);
            // Nobody is beaten by somebody of the same or a later rank.
            for a in &expected {
                for b in &expected {
                    let beaten = dominates(&oriented(&objectives, &b.vector), &oriented(&objectives, &a.vector));
                    prop_assert!(!beaten || b.rank < a.rank);
                }
            }
        }
    }
}
