//! Choosing parents for a later cycle.
//!
//! No dice: from the review's own order the first that may be chosen are taken. Two parents that
//! do the same add nothing to a pool, so a caller can demand that the chosen differ, in their
//! objective values or in their behaviour.

use std::collections::{BTreeMap, BTreeSet};

use super::novelty::{Descriptor, distance};
use super::{Ranked, ReviewError};

/// What it takes to be chosen beside somebody already chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distinct<'a> {
    /// Nothing.
    No,
    /// Another objective vector.
    Vector,
    /// At least this share of probes answered differently.
    Behaviour {
        /// Least distance, from 0 to 1.
        least: f64,
        /// What everybody answered.
        descriptors: &'a [Descriptor],
    },
}

/// The first `k` of `ranked` (as [`super::rank`] orders them) that are `allowed` and distinct.
///
/// # Errors
///
/// [`ReviewError::TooFew`] if there are fewer than `k` such; [`ReviewError::AllZero`] if every value of all who
/// are allowed is zero; [`ReviewError::Zero`] if `k` is; [`ReviewError::Unknown`] of an id that is allowed and
/// not ranked; [`ReviewError::DuplicateId`]; [`ReviewError::Probes`] of one whose behaviour is not known, or
/// not comparable.
pub fn select(
    ranked: &[Ranked],
    allowed: &BTreeSet<String>,
    k: usize,
    distinct: Distinct<'_>,
) -> Result<Vec<Ranked>, ReviewError> {
    if k == 0 {
        return Err(ReviewError::Zero("the number of parents"));
    }
    let known: BTreeSet<&str> = ranked.iter().map(|member| member.id.as_str()).collect();
    if known.len() != ranked.len() {
        let mut seen = BTreeSet::new();
        let twice = ranked.iter().find(|member| !seen.insert(member.id.as_str()));
        return Err(ReviewError::DuplicateId(twice.map_or_else(String::new, |member| member.id.clone())));
    }
    if let Some(unknown) = allowed.iter().find(|id| !known.contains(id.as_str())) {
        return Err(ReviewError::Unknown(unknown.clone()));
    }
    let mut order: Vec<&Ranked> = ranked.iter().filter(|member| allowed.contains(&member.id)).collect();
    if order.is_empty() {
        return Err(ReviewError::TooFew { asked: k, found: 0 });
    }
    if order.iter().all(|member| member.vector.iter().all(|value| *value == 0.0)) {
        return Err(ReviewError::AllZero);
    }
    // The order is the review's; sorted again so that a shuffled list cannot change the choice.
    order.sort_by(|a, b| {
        let crowding = b.crowding.partial_cmp(&a.crowding).expect("distances are numbers");
        a.rank.cmp(&b.rank).then(crowding).then_with(|| a.id.cmp(&b.id))
    });
    let mut chosen: Vec<&Ranked> = Vec::with_capacity(k.min(order.len()));
    let behaviour = behaviours(distinct);
    for member in order {
        if chosen.len() == k {
            break;
        }
        if is_distinct(member, &chosen, distinct, &behaviour)? {
            chosen.push(member);
        }
    }
    if chosen.len() < k {
        return Err(ReviewError::TooFew { asked: k, found: chosen.len() });
    }
    Ok(chosen.into_iter().cloned().collect())
}

fn behaviours(distinct: Distinct<'_>) -> BTreeMap<&str, &Descriptor> {
    match distinct {
        Distinct::Behaviour { descriptors, .. } => {
            descriptors.iter().map(|descriptor| (descriptor.id.as_str(), descriptor)).collect()
        }
        _ => BTreeMap::new(),
    }
}

fn is_distinct(
    member: &Ranked,
    chosen: &[&Ranked],
    distinct: Distinct<'_>,
    behaviour: &BTreeMap<&str, &Descriptor>,
) -> Result<bool, ReviewError> {
    match distinct {
        Distinct::No => Ok(true),
        Distinct::Vector => Ok(chosen.iter().all(|other| other.vector != member.vector)),
        Distinct::Behaviour { least, .. } => {
            let of = |id: &str| {
                behaviour.get(id).copied().ok_or_else(|| ReviewError::Probes {
                    id: id.to_owned(),
                    expected: 1,
                    found: 0,
                })
            };
            let own = of(&member.id)?;
            for other in chosen {
                // A threshold that is no number is never reached.
                let reached = distance(of(&other.id)?, own)? >= least;
                if !reached {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Direction, Entry, Objective, rank};
    use super::*;

    fn population() -> Vec<Ranked> {
        let objectives =
            ["x", "y"].map(|name| Objective { name: name.to_owned(), direction: Direction::Max });
        let entries =
            [("a", [3.0, 0.0]), ("b", [0.0, 3.0]), ("c", [2.0, 2.0]), ("d", [2.0, 2.0]), ("e", [1.0, 1.0])]
                .map(|(id, vector)| Entry { id: id.to_owned(), vector: vector.to_vec() });
        rank(&objectives, &entries).unwrap()
    }

    fn chosen(allowed: &[&str], k: usize, distinct: Distinct<'_>) -> Result<String, ReviewError> {
        let allowed = allowed.iter().map(|id| (*id).to_owned()).collect();
        let mut shuffled = population();
        shuffled.reverse();
        let selected = select(&population(), &allowed, k, distinct);
        assert_eq!(select(&shuffled, &allowed, k, distinct), selected);
        Ok(selected?.into_iter().map(|member| member.id).collect())
    }

    #[test]
    fn by_rank_then_crowding_then_id() {
        let all = ["a", "b", "c", "d", "e"];
        assert_eq!(chosen(&all, 3, Distinct::No).unwrap(), "abc");
        assert_eq!(chosen(&all, 5, Distinct::No).unwrap(), "abcde");
        assert_eq!(chosen(&all, 4, Distinct::Vector).unwrap(), "abce");
        assert_eq!(chosen(&["e", "d"], 1, Distinct::No).unwrap(), "d", "only who is allowed");
    }

    #[test]
    fn behaviour_can_be_demanded() {
        let descriptors: Vec<Descriptor> =
            [("a", "xxxx"), ("b", "xxxy"), ("c", "xxyy"), ("d", "yyyy"), ("e", "xxxx")]
                .map(|(id, outputs)| Descriptor {
                    id: id.to_owned(),
                    outputs: outputs.chars().map(String::from).collect(),
                })
                .to_vec();
        let all = ["a", "b", "c", "d", "e"];
        let at = |least| Distinct::Behaviour { least, descriptors: &descriptors };
        assert_eq!(chosen(&all, 3, at(0.5)).unwrap(), "acd");
        assert_eq!(chosen(&all, 5, at(0.0)).unwrap(), "abcde");
        assert_eq!(chosen(&all, 3, at(0.75)), Err(ReviewError::TooFew { asked: 3, found: 2 }));
        assert_eq!(chosen(&all, 2, at(f64::NAN)), Err(ReviewError::TooFew { asked: 2, found: 1 }));
        let missing = Distinct::Behaviour { least: 0.5, descriptors: &descriptors[..1] };
        assert!(matches!(chosen(&all, 2, missing), Err(ReviewError::Probes { id, .. }) if id == "b"));
    }

    #[test]
    fn what_cannot_be_selected_is_said() {
        assert_eq!(chosen(&["a"], 0, Distinct::No), Err(ReviewError::Zero("the number of parents")));
        assert_eq!(chosen(&["z"], 1, Distinct::No), Err(ReviewError::Unknown("z".to_owned())));
        assert_eq!(chosen(&["a"], 2, Distinct::No), Err(ReviewError::TooFew { asked: 2, found: 1 }));
        assert_eq!(chosen(&[], 1, Distinct::No), Err(ReviewError::TooFew { asked: 1, found: 0 }));
        let objectives = [Objective { name: "x".to_owned(), direction: Direction::Max }];
        let entries = ["a", "b"].map(|id| Entry { id: id.to_owned(), vector: vec![-0.0] });
        let ranked = rank(&objectives, &entries).unwrap();
        let allowed = ["a".to_owned()].into();
        assert_eq!(select(&ranked, &allowed, 1, Distinct::No), Err(ReviewError::AllZero));
    }
}
