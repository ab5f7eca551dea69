//! Whether layers of different models can stand in one child.
//!
//! A child has one configuration, that of the model it is like, and one count of layers. Whatever slices would
//! leave behind, or put where no network built from that configuration looks for it, is refused, in merges and
//! in plans.

use std::collections::BTreeMap;

use super::depth::{is_before_layers, layer_of, renumbered, stems};
use crate::tensor::shape::Shape;

/// What a layer, or what lies around the layers, consists of.
pub type Parts<'m> = BTreeMap<String, &'m Shape>;

/// A model by what it consists of.
pub struct Layered<'m> {
    /// What lies before the layers.
    pub before: Parts<'m>,
    /// What lies behind them.
    pub behind: Parts<'m>,
    /// By number, each with its tensors' names as if it were the first.
    pub layers: BTreeMap<usize, Parts<'m>>,
}

/// Why layers of a model cannot stand in a child.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// It could not be told which layers are meant.
    #[error("`{model}` numbers layers in two places, `{first}` and `{second}`")]
    Places {
        /// The model.
        model: String,
        /// One place.
        first: String,
        /// Another one.
        second: String,
    },
    /// A tensor that the configuration knows nothing of.
    #[error("`{model}` has a tensor `{tensor}`, and `{like}` has no such one")]
    More {
        /// The model.
        model: String,
        /// The tensor there.
        tensor: String,
        /// Whom it was compared with.
        like: String,
    },
    /// A tensor that the configuration asks for.
    #[error("`{model}` has no tensor `{tensor}`, and `{like}` has such a one")]
    Fewer {
        /// The model.
        model: String,
        /// What the tensor would be called there.
        tensor: String,
        /// Whom it was compared with.
        like: String,
    },
    /// A tensor of another shape.
    #[error("tensor `{tensor}` is {found} in `{model}` and {there} in `{like}`")]
    Shape {
        /// The model.
        model: String,
        /// The tensor there.
        tensor: String,
        /// Its shape.
        found: Box<Shape>,
        /// Whom it was compared with.
        like: String,
        /// The shape there.
        there: Box<Shape>,
    },
}

impl Misfit {
    /// What would have been right.
    pub fn expected(&self) -> &'static str {
        match self {
            Self::Places { .. } => {
                "expected models with one run of layers: others can be merged as a whole only"
            }
            _ => "expected layers of networks that are built alike",
        }
    }
}

/// Refuses a model with layers of which it could not be told which ones are meant.
///
/// # Errors
///
/// [`Misfit::Places`] with the first two of the places where it numbers layers.
pub fn one_place<'a>(model: &str, tensors: impl IntoIterator<Item = &'a str>) -> Result<(), Misfit> {
    let mut stems = stems(tensors).into_iter();
    let (Some(first), Some(second)) = (stems.next(), stems.next()) else { return Ok(()) };
    Err(Misfit::Places { model: model.to_owned(), first: first.to_owned(), second: second.to_owned() })
}

impl<'m> Layered<'m> {
    /// A model of these tensors.
    pub fn new<'n>(tensors: impl IntoIterator<Item = (&'n str, &'m Shape)>) -> Self {
        let mut layered = Self { before: Parts::new(), behind: Parts::new(), layers: BTreeMap::new() };
        for (name, shape) in tensors {
            let (parts, name) = match layer_of(name) {
                Some(layer) => (layered.layers.entry(layer).or_default(), renumbered(name, 0)),
                None if is_before_layers(name) => (&mut layered.before, name.to_owned()),
                None => (&mut layered.behind, name.to_owned()),
            };
            parts.insert(name, shape);
        }
        layered
    }

    /// Refuses a layer of `model` that is like none of this one's, whom the child, `like`, is like. One that
    /// is not there is refused by whoever needs it.
    ///
    /// # Errors
    ///
    /// [`Misfit::More`], [`Misfit::Fewer`] or [`Misfit::Shape`], as the layer differs from that of the same
    /// number, or from the last one if there are fewer.
    pub fn takes(&self, like: &str, model: (&str, &Self), layer: usize) -> Result<(), Misfit> {
        let (model, layered) = model;
        let Some(parts) = layered.layers.get(&layer) else { return Ok(()) };
        if self.layers.values().any(|own| own == parts) {
            return Ok(());
        }
        let nearest = self.layers.get(&layer).or_else(|| self.layers.values().next_back());
        nearest
            .map_or(Ok(()), |nearest| same((model, parts), (like, nearest), &|name| renumbered(name, layer)))
    }
}

/// Refuses what is not the same in two models, and names it; `numbered` is what a tensor is called in the
/// first.
///
/// # Errors
///
/// [`Misfit::More`] of the first tensor that only the first has, else [`Misfit::Fewer`] of one that only the
/// second has, else [`Misfit::Shape`] of one with two shapes.
pub fn same(
    (model, parts): (&str, &Parts<'_>),
    (like, own): (&str, &Parts<'_>),
    numbered: &dyn Fn(&str) -> String,
) -> Result<(), Misfit> {
    let (model, like) = (model.to_owned(), like.to_owned());
    if let Some((name, _)) = parts.iter().find(|(name, _)| !own.contains_key(*name)) {
        return Err(Misfit::More { model, tensor: numbered(name), like });
    }
    if let Some((name, _)) = own.iter().find(|(name, _)| !parts.contains_key(*name)) {
        return Err(Misfit::Fewer { model, tensor: numbered(name), like });
    }
    let mut pairs = parts.iter().filter_map(|(name, shape)| Some((name, *shape, *own.get(name)?)));
    match pairs.find(|(_, shape, there)| shape != there) {
        None => Ok(()),
        Some((name, found, there)) => {
            let (found, there) = (Box::new(found.clone()), Box::new(there.clone()));
            Err(Misfit::Shape { model, tensor: numbered(name), found, like, there })
        }
    }
}
