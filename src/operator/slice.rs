//! Slices: layers of parents, stacked into a child that may have more of them than any parent, or fewer.
//!
//! The child's layers are those of the slices, in their order, counted anew. What lies before the layers
//! (the embeddings) comes from the first slice's parent, what lies behind them from the last one's, as in
//! the field's recipes.
//!
//! [`stacked`] says of every tensor where it comes from; a [`Stack`] is a model of such tensors, read where
//! they lie.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::alike::{Misfit, one_place};
use super::depth::{Depth, is_before_layers, layer_of, renumbered};
use super::error::OperatorError;
use super::source::{Source, Tensors};
use crate::base::name::Name;
use crate::tensor::shape::Shape;

/// Some layers of a parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// Whose.
    pub parent: Name,
    /// The first of them, and the one after the last.
    pub layers: [usize; 2],
}

/// Where a tensor of the child comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What the child calls it.
    pub name: String,
    /// Whose it is.
    pub parent: Name,
    /// What it is called there.
    pub there: String,
}

/// The child's layers: for each the parent, and its number there.
pub fn layers(slices: &[Slice]) -> impl Iterator<Item = (&Name, usize)> {
    slices.iter().flat_map(|slice| (slice.layers[0]..slice.layers[1]).map(|layer| (&slice.parent, layer)))
}

/// Every tensor of a stacked child, in storage order; `names` gives those of a parent, in the child's
/// family of names.
///
/// # Errors
///
/// [`OperatorError::Layer`] of a layer that its parent does not have; [`Misfit::Places`] of a parent that
/// numbers layers in two places.
pub fn stacked(slices: &[Slice], names: &dyn Fn(&Name) -> Vec<String>) -> Result<Vec<Place>, OperatorError> {
    let mut parents: BTreeMap<&Name, Layered> = BTreeMap::new();
    for Slice { parent, .. } in slices {
        if !parents.contains_key(parent) {
            parents.insert(parent, Layered::new(parent, names(parent))?);
        }
    }
    let around = |slice: Option<&Slice>, before: bool| -> Vec<Place> {
        let Some(Slice { parent, .. }) = slice else { return Vec::new() };
        let around = parents[parent].around.iter().filter(|name| is_before_layers(name) == before);
        around.map(|name| place(name.clone(), parent, name)).collect()
    };
    let mut places = around(slices.first(), true);
    for (number, (parent, layer)) in layers(slices).enumerate() {
        let own = &parents[parent];
        let tensors = own.layers.get(&layer).ok_or_else(|| OperatorError::Layer {
            parent: parent.to_string(),
            layer,
            layers: own.depth.layers(),
        })?;
        places.extend(tensors.iter().map(|name| place(renumbered(name, number), parent, name)));
    }
    places.extend(around(slices.last(), false));
    Ok(places)
}

fn place(name: String, parent: &Name, there: &str) -> Place {
    Place { name, parent: parent.clone(), there: there.to_owned() }
}

/// A parent's tensors by the layer they are of.
struct Layered {
    depth: Depth,
    around: Vec<String>,
    layers: BTreeMap<usize, Vec<String>>,
}

impl Layered {
    fn new(parent: &Name, names: Vec<String>) -> Result<Self, Misfit> {
        one_place(parent.as_str(), names.iter().map(String::as_str))?;
        let depth = Depth::of(names.iter().map(String::as_str));
        let mut layered = Self { depth, around: Vec::new(), layers: BTreeMap::new() };
        for name in names {
            match layer_of(&name) {
                Some(layer) => layered.layers.entry(layer).or_default().push(name),
                None => layered.around.push(name),
            }
        }
        Ok(layered)
    }
}

/// A model of slices: nothing is stored, every tensor is read where it lies.
pub struct Stack<'a> {
    parents: BTreeMap<&'a Name, &'a dyn Tensors>,
    places: Vec<Place>,
    /// What errors call the origin of each.
    origins: Vec<String>,
    /// Only ever asked, never walked.
    by_name: HashMap<String, usize>,
}

impl<'a> Stack<'a> {
    /// Stacks layers of parents, each given by its name.
    ///
    /// # Errors
    ///
    /// As [`stacked`]. A parent of a slice that is not among `parents` has no layers.
    pub fn new(
        slices: &[Slice],
        parents: impl IntoIterator<Item = (&'a Name, &'a dyn Tensors)>,
    ) -> Result<Self, OperatorError> {
        let parents: BTreeMap<&Name, &dyn Tensors> = parents.into_iter().collect();
        let names = |parent: &Name| {
            let tensors = parents.get(parent).into_iter();
            tensors.flat_map(|tensors| tensors.shapes()).map(|(name, _)| name.to_owned()).collect()
        };
        let places = stacked(slices, &names)?;
        let origins = places.iter().map(|Place { parent, there, .. }| format!("{parent} (its {there})"));
        let by_name = places.iter().enumerate().map(|(i, place)| (place.name.clone(), i)).collect();
        Ok(Self { origins: origins.collect(), by_name, parents, places })
    }

    /// What errors call the parent that the child's tensor `name` comes from.
    pub fn origin(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(|index| self.origins[*index].as_str())
    }

    fn place(&self, name: &str) -> Option<(&'a dyn Tensors, &Place)> {
        let place = &self.places[*self.by_name.get(name)?];
        Some((*self.parents.get(&place.parent)?, place))
    }
}

impl Tensors for Stack<'_> {
    fn shapes(&self) -> Box<dyn Iterator<Item = (&str, &Shape)> + '_> {
        let names = self.places.iter().map(|place| place.name.as_str());
        Box::new(names.filter_map(|name| Some((name, self.shape(name)?))))
    }

    fn shape(&self, name: &str) -> Option<&Shape> {
        let (tensors, place) = self.place(name)?;
        tensors.shape(&place.there)
    }

    fn source(&self, name: &str) -> Option<Box<dyn Source + '_>> {
        let (tensors, place) = self.place(name)?;
        tensors.source(&place.there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(parent: &str, first: usize, end: usize) -> Slice {
        Slice { parent: parent.parse().unwrap(), layers: [first, end] }
    }

    fn names(parent: &Name) -> Vec<String> {
        let layers = if parent.as_str() == "deep" { 4 } else { 2 };
        let layer = |n: usize| [format!("blk.{n}.attn_q.weight"), format!("blk.{n}.ffn_up.weight")];
        let mut names = vec!["output_norm.weight".to_owned()];
        names.extend((0..layers).flat_map(layer));
        names.push("token_embd.weight".to_owned());
        names
    }

    #[test]
    fn layers_are_counted_anew_between_what_lies_around_them() {
        let places = stacked(&[slice("flat", 0, 2), slice("deep", 1, 2), slice("deep", 1, 3)], &names);
        let places = places.unwrap();
        let said: Vec<String> =
            places.iter().map(|p| format!("{} {} {}", p.name, p.parent, p.there)).collect();
        let mut expected = vec!["token_embd.weight flat token_embd.weight".to_owned()];
        for (number, parent, layer) in
            [(0, "flat", 0), (1, "flat", 1), (2, "deep", 1), (3, "deep", 1), (4, "deep", 2)]
        {
            for part in ["attn_q", "ffn_up"] {
                expected.push(format!("blk.{number}.{part}.weight {parent} blk.{layer}.{part}.weight"));
            }
        }
        expected.push("output_norm.weight deep output_norm.weight".to_owned());
        assert_eq!(said, expected);
    }

    /// A model of the same names whose every number is one number.
    struct Flat(Vec<String>, Shape, f32);

    impl Source for f32 {
        fn read<'s>(&'s self, _: usize, scratch: &'s mut [f32]) -> &'s [f32] {
            scratch.fill(*self);
            scratch
        }
    }

    impl Tensors for Flat {
        fn shapes(&self) -> Box<dyn Iterator<Item = (&str, &Shape)> + '_> {
            Box::new(self.0.iter().map(|name| (name.as_str(), &self.1)))
        }

        fn shape(&self, name: &str) -> Option<&Shape> {
            self.0.iter().any(|known| known == name).then_some(&self.1)
        }

        fn source(&self, name: &str) -> Option<Box<dyn Source + '_>> {
            self.shape(name).map(|_| Box::new(self.2) as Box<dyn Source>)
        }
    }

    #[test]
    fn a_stack_reads_what_lies_there_and_says_whose_it_is() {
        let parents: [Name; 2] = ["flat", "deep"].map(|name| name.parse().unwrap());
        let shapes = [2, 3].map(|columns| Shape::new(vec![columns]).unwrap());
        let models = [0, 1].map(|i| Flat(names(&parents[i]), shapes[i].clone(), i as f32));
        let given = [0, 1].map(|i| (&parents[i], &models[i] as &dyn Tensors));
        let stack = Stack::new(&[slice("flat", 1, 2), slice("deep", 2, 4)], given).unwrap();
        for (name, of) in [("token_embd.weight", 0), ("blk.0.attn_q.weight", 0), ("blk.2.ffn_up.weight", 1)] {
            assert_eq!(stack.source(name).unwrap().read(0, &mut [9.0]), [of as f32]);
            assert_eq!(stack.shape(name), Some(&shapes[of]));
        }
        assert_eq!(stack.origin("blk.2.ffn_up.weight"), Some("deep (its blk.3.ffn_up.weight)"));
        assert_eq!(stack.shapes().count(), 8);
        assert!(stack.source("blk.3.attn_q.weight").is_none());
    }

    #[test]
    fn a_layer_that_is_not_there_is_named() {
        let error = stacked(&[slice("deep", 0, 1), slice("flat", 1, 1_000_000_000)], &names).unwrap_err();
        assert_eq!(error.to_string(), "`flat` has 2 layers, numbered from 0; there is no layer 2");
    }
}
