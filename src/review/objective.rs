//! What is to be reached, and a population checked once for all that follows.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ReviewError;

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// More is better.
    Max,
    /// Less is better.
    Min,
}

/// One objective. The direction is always said, never guessed from the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// What it is called.
    pub name: String,
    /// Which way is better.
    pub direction: Direction,
}

/// One member of the population: its id and one value for each objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Unique in the population.
    pub id: String,
    /// One value for each objective, in their order.
    pub vector: Vec<f64>,
}

/// Checks that a population can be ranked at all.
pub(super) fn validate(objectives: &[Objective], entries: &[Entry]) -> Result<(), ReviewError> {
    if entries.is_empty() {
        return Err(ReviewError::Empty);
    }
    if objectives.is_empty() {
        return Err(ReviewError::NoObjectives);
    }
    let mut names = BTreeSet::new();
    for objective in objectives {
        if !names.insert(&objective.name) {
            return Err(ReviewError::DuplicateObjective(objective.name.clone()));
        }
    }
    let mut ids = BTreeSet::new();
    for Entry { id, vector } in entries {
        if id.is_empty() {
            return Err(ReviewError::EmptyId);
        }
        if !ids.insert(id) {
            return Err(ReviewError::DuplicateId(id.clone()));
        }
        if vector.len() != objectives.len() {
            return Err(ReviewError::Length {
                id: id.clone(),
                expected: objectives.len(),
                found: vector.len(),
            });
        }
        if let Some((value, objective)) = vector.iter().zip(objectives).find(|(value, _)| !value.is_finite())
        {
            return Err(ReviewError::NotFinite {
                id: id.clone(),
                objective: objective.name.clone(),
                value: *value,
            });
        }
    }
    Ok(())
}

/// `-0.0` and `0.0` are one value: equal vectors must be equal in their bytes, too.
pub(super) fn plain(value: f64) -> f64 {
    value + 0.0
}

/// A vector turned so that more is better everywhere.
pub(super) fn oriented(objectives: &[Objective], vector: &[f64]) -> Vec<f64> {
    let turn = |(value, objective): (&f64, &Objective)| match objective.direction {
        Direction::Max => plain(*value),
        Direction::Min => plain(-*value),
    };
    vector.iter().zip(objectives).map(turn).collect()
}

/// Whether `a` is at least as good everywhere and better somewhere; both oriented.
pub(super) fn dominates(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a >= b) && a.iter().zip(b).any(|(a, b)| a > b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objectives() -> Vec<Objective> {
        vec![
            Objective { name: "exact".to_owned(), direction: Direction::Max },
            Objective { name: "bytes".to_owned(), direction: Direction::Min },
        ]
    }

    fn entry(id: &str, vector: &[f64]) -> Entry {
        Entry { id: id.to_owned(), vector: vector.to_vec() }
    }

    #[test]
    fn what_cannot_be_ranked_is_refused_by_name() {
        let check = |entries: &[Entry]| validate(&objectives(), entries).unwrap_err().to_string();
        assert!(check(&[]).contains("empty"));
        assert!(
            check(&[entry("a", &[1.0, 2.0]), entry("a", &[2.0, 1.0])])
                .contains("\"a\" is in the population twice")
        );
        assert!(check(&[entry("", &[1.0, 2.0])]).contains("empty id"));
        assert!(check(&[entry("a", &[1.0])]).contains("1 objective values, expected 2"));
        assert!(check(&[entry("a", &[1.0, f64::NAN])]).contains("NaN for \"bytes\""));
        assert!(check(&[entry("a", &[f64::INFINITY, 1.0])]).contains("inf for \"exact\""));
        let twice = vec![objectives()[0].clone(); 2];
        assert!(validate(&twice, &[entry("a", &[1.0, 2.0])]).is_err());
        assert_eq!(validate(&[], &[entry("a", &[])]), Err(ReviewError::NoObjectives));
    }

    #[test]
    fn better_follows_the_direction_and_zero_has_one_sign() {
        let turned = oriented(&objectives(), &[-0.0, 0.0]);
        assert!(turned.iter().all(|value| value.is_sign_positive()));
        let [good, bad] = [[2.0, 10.0], [2.0, 20.0]].map(|vector| oriented(&objectives(), &vector));
        assert!(dominates(&good, &bad) && !dominates(&bad, &good) && !dominates(&good, &good));
    }
}
