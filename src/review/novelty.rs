//! Novelty: how differently a candidate behaves from those most like it.
//!
//! A behaviour descriptor is what a model answered to a fixed set of probes. Two models differ by
//! the share of probes they answer differently; a model is as novel as its mean distance to its
//! `k` nearest others (Lehman and Stanley, "Abandoning objectives", 2011). It says nothing about
//! quality: noise is novel, too.

use serde::{Deserialize, Serialize};

use super::ReviewError;

/// What one model answered to the probes, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// Whose.
    pub id: String,
    /// The answers.
    pub outputs: Vec<String>,
}

/// How novel one model is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Novelty {
    /// Whose.
    pub id: String,
    /// Mean distance to the nearest others, from 0 to 1; none if there are no others.
    pub novelty: Option<f64>,
    /// Those nearest others, nearest first.
    pub neighbours: Vec<String>,
}

/// The share of probes on which two behaviours differ.
///
/// # Errors
///
/// [`ReviewError::Probes`] if they did not answer the same number of probes, or none.
pub fn distance(a: &Descriptor, b: &Descriptor) -> Result<f64, ReviewError> {
    Ok(differing(a, b)? as f64 / a.outputs.len() as f64)
}

fn differing(a: &Descriptor, b: &Descriptor) -> Result<usize, ReviewError> {
    if a.outputs.len() != b.outputs.len() || b.outputs.is_empty() {
        let (expected, found) = (a.outputs.len().max(1), b.outputs.len());
        return Err(ReviewError::Probes { id: b.id.clone(), expected, found });
    }
    Ok(a.outputs.iter().zip(&b.outputs).filter(|(a, b)| a != b).count())
}

/// The novelty of each, in the order of their ids. With fewer than `k` others, all of them count.
///
/// # Errors
///
/// [`ReviewError::Zero`] if `k` is 0, [`ReviewError::Empty`] if there are none, [`ReviewError::Probes`] unless
/// all answered as many probes, and [`ReviewError::EmptyId`] or [`ReviewError::DuplicateId`].
pub fn novelty(descriptors: &[Descriptor], k: usize) -> Result<Vec<Novelty>, ReviewError> {
    if k == 0 {
        return Err(ReviewError::Zero("the number of nearest others"));
    }
    let mut sorted: Vec<&Descriptor> = descriptors.iter().collect();
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    let Some(first) = sorted.first() else { return Err(ReviewError::Empty) };
    for descriptor in &sorted {
        if descriptor.id.is_empty() {
            return Err(ReviewError::EmptyId);
        }
        differing(first, descriptor)?;
    }
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(ReviewError::DuplicateId(pair[0].id.clone()));
    }
    sorted.iter().map(|descriptor| one(descriptor, &sorted, k)).collect()
}

fn one(own: &Descriptor, all: &[&Descriptor], k: usize) -> Result<Novelty, ReviewError> {
    let mut others = Vec::with_capacity(all.len());
    for other in all.iter().filter(|other| other.id != own.id) {
        others.push((differing(own, other)?, other.id.clone()));
    }
    others.sort();
    others.truncate(k);
    // Counted in whole probes, divided once: no rounding depends on an order.
    let sum: usize = others.iter().map(|(differing, _)| differing).sum();
    let novelty = (!others.is_empty()).then(|| sum as f64 / (others.len() as f64 * own.outputs.len() as f64));
    Ok(Novelty { id: own.id.clone(), novelty, neighbours: others.into_iter().map(|(_, id)| id).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(id: &str, outputs: &str) -> Descriptor {
        Descriptor { id: id.to_owned(), outputs: outputs.chars().map(String::from).collect() }
    }

    #[test]
    fn the_mean_distance_to_the_nearest() {
        let all = [
            descriptor("d", "zzzx"),
            descriptor("a", "wwww"),
            descriptor("c", "wxyx"),
            descriptor("b", "wwwx"),
        ];
        // Differing probes, counted by hand: ab 1, ac 3, ad 4, bc 2, bd 3, cd 3.
        let found = novelty(&all, 2).unwrap();
        let values: Vec<_> = found.iter().map(|n| (n.id.as_str(), n.novelty.unwrap())).collect();
        assert_eq!(values, [("a", 0.5), ("b", 0.375), ("c", 0.625), ("d", 0.75)]);
        assert_eq!(found[3].neighbours, ["b", "c"], "the byte-smaller id on a tie");
        assert_eq!(novelty(&all, 99).unwrap()[0].neighbours.len(), 3);
        assert_eq!(distance(&all[1], &all[3]).unwrap(), 0.25);
    }

    #[test]
    fn alone_is_neither_novel_nor_not() {
        let alone = novelty(&[descriptor("a", "xy")], 3).unwrap();
        assert_eq!(alone[0], Novelty { id: "a".to_owned(), novelty: None, neighbours: Vec::new() });
    }

    #[test]
    fn behaviours_on_other_probes_are_refused() {
        let error = novelty(&[descriptor("a", "xy"), descriptor("b", "x")], 1).unwrap_err();
        assert_eq!(error, ReviewError::Probes { id: "b".to_owned(), expected: 2, found: 1 });
        assert!(novelty(&[descriptor("a", "")], 1).is_err());
        assert!(novelty(&[descriptor("a", "x"), descriptor("a", "y")], 1).is_err());
        assert!(novelty(&[descriptor("", "x")], 1).is_err());
        assert_eq!(
            novelty(&[descriptor("a", "x")], 0),
            Err(ReviewError::Zero("the number of nearest others"))
        );
        assert_eq!(novelty(&[], 1), Err(ReviewError::Empty));
    }
}
