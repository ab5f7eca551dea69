//! Whether layers of different models can stand in one child.
//!
//! A child has one configuration, that of the model it is like, and one count of layers. Whatever slices would
//! leave behind, or put where no network built from that configuration looks for it, is refused:
//!
//! ```text
//! models    number their layers in one place       not in `model.layers` and in `visual.blocks`
//! slices    sources have the same tensors          none has a bias that the first has not
//! layers    are like one of the model's            the same tensors of the same shapes
//! around    embeddings, last norm, output matrix   the same as the model's
//! ```

use std::collections::BTreeMap;

use super::assemble::Views;
use super::config::{Slice, Source};
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::operator::Tensors;
use crate::operator::depth::{is_before_layers, layer_of, renumbered, stems};
use crate::tensor::shape::Shape;

/// What a layer, or what lies around the layers, consists of.
type Parts<'m> = BTreeMap<String, &'m Shape>;

/// The models of a stack by what they consist of.
struct Layered<'m> {
    before: Parts<'m>,
    behind: Parts<'m>,
    /// By number, each with its tensors' names as if it were the first.
    layers: BTreeMap<usize, Parts<'m>>,
}

impl<'m> Layered<'m> {
    fn new(tensors: &'m dyn Tensors) -> Self {
        let mut layered = Self { before: Parts::new(), behind: Parts::new(), layers: BTreeMap::new() };
        for (name, shape) in tensors.shapes() {
            let (parts, name) = match layer_of(name) {
                Some(layer) => (layered.layers.entry(layer).or_default(), renumbered(name, 0)),
                None if is_before_layers(name) => (&mut layered.before, name.to_owned()),
                None => (&mut layered.behind, name.to_owned()),
            };
            parts.insert(name, shape);
        }
        layered
    }
}

/// Refuses slices that do not fit the model `like`, whose configuration the child gets.
pub(super) fn check(slices: &[Slice], like: &str, models: &Views<'_>) -> Result<(), Diagnostic> {
    let mut layered: BTreeMap<&str, Layered<'_>> = BTreeMap::new();
    for Source { model, .. } in slices.iter().flat_map(|slice| &slice.sources) {
        one_count(model, &models[&model.value])?;
        layered.entry(&model.value).or_insert_with(|| Layered::new(&models[&model.value]));
    }
    let own = Layered::new(&models[like]);
    for source in slices.first().into_iter().flat_map(|slice| &slice.sources) {
        same(&layered[source.model.value.as_str()].before, &own.before, &source.model, like)?;
    }
    for source in slices.iter().flat_map(|slice| &slice.sources) {
        for layer in source.layers.clone().unwrap_or_default() {
            // A layer that is not there is refused by whoever needs it.
            let Some(parts) = layered[source.model.value.as_str()].layers.get(&layer) else { continue };
            if own.layers.values().any(|like| like == parts) {
                continue;
            }
            let nearest = own.layers.get(&layer).or_else(|| own.layers.values().next_back());
            let numbered = |name: &str| renumbered(name, layer);
            let Some(nearest) = nearest else { continue };
            differ(parts, nearest, &source.model, like, &numbered)?;
        }
    }
    for source in slices.last().into_iter().flat_map(|slice| &slice.sources) {
        same(&layered[source.model.value.as_str()].behind, &own.behind, &source.model, like)?;
    }
    sources_agree(slices, &layered)
}

/// Layers of which it could not be told which ones are meant.
fn one_count(model: &Located<String>, tensors: &dyn Tensors) -> Result<(), Diagnostic> {
    let mut stems = stems(tensors.shapes().map(|(name, _)| name)).into_iter();
    let (Some(first), Some(second)) = (stems.next(), stems.next()) else { return Ok(()) };
    let message = format!("`{}` numbers layers in two places, `{first}` and `{second}`", model.value);
    Err(Diagnostic::error(message, model.span.clone())
        .expected("expected models with one run of layers: others can be merged as a whole only"))
}

/// Every source of a slice has to give what the first gives.
fn sources_agree(slices: &[Slice], layered: &BTreeMap<&str, Layered<'_>>) -> Result<(), Diagnostic> {
    for slice in slices {
        let Some((first, others)) = slice.sources.split_first() else { continue };
        let parts = |source: &Source, offset: usize| {
            let layer = source.layers.clone()?.nth(offset)?;
            Some((layer, layered[source.model.value.as_str()].layers.get(&layer)?))
        };
        for other in others {
            for offset in 0..first.layers.clone().unwrap_or_default().len() {
                let (Some((_, first_parts)), Some((layer, parts))) =
                    (parts(first, offset), parts(other, offset))
                else {
                    continue;
                };
                let numbered = |name: &str| renumbered(name, layer);
                differ(parts, first_parts, &other.model, &first.model.value, &numbered)?;
            }
        }
    }
    Ok(())
}

fn same(
    parts: &Parts<'_>,
    like: &Parts<'_>,
    model: &Located<String>,
    like_name: &str,
) -> Result<(), Diagnostic> {
    differ(parts, like, model, like_name, &str::to_owned)
}

/// Refuses what is not the same, and names it.
fn differ(
    parts: &Parts<'_>,
    like: &Parts<'_>,
    model: &Located<String>,
    like_name: &str,
    numbered: &dyn Fn(&str) -> String,
) -> Result<(), Diagnostic> {
    let model_name = &model.value;
    let more = parts.iter().find(|(name, _)| !like.contains_key(*name)).map(|(name, _)| {
        format!("`{model_name}` has a tensor `{}`, and `{like_name}` has no such one", numbered(name))
    });
    let fewer = || {
        let (name, _) = like.iter().find(|(name, _)| !parts.contains_key(*name))?;
        Some(format!("`{model_name}` has no tensor `{}`, and `{like_name}` has such a one", numbered(name)))
    };
    let other = || {
        let mut pairs = parts.iter().filter_map(|(name, shape)| Some((name, shape, like.get(name)?)));
        let (name, shape, there) = pairs.find(|(_, shape, there)| shape != there)?;
        Some(format!("tensor `{}` is {shape} in `{model_name}` and {there} in `{like_name}`", numbered(name)))
    };
    match more.or_else(fewer).or_else(other) {
        None => Ok(()),
        Some(message) => Err(Diagnostic::error(message, model.span.clone())
            .expected("expected layers of networks that are built alike")),
    }
}
