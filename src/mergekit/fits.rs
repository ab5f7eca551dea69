//! Whether layers of different models can stand in one child: [`crate::operator::alike`] for the slices of a
//! merge.
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
use crate::operator::alike::{Layered, Misfit, Parts, one_place, same};
use crate::operator::depth::renumbered;

/// Refuses slices that do not fit the model `like`, whose configuration the child gets.
pub(super) fn check(slices: &[Slice], like: &str, models: &Views<'_>) -> Result<(), Diagnostic> {
    let mut layered: BTreeMap<&str, Layered<'_>> = BTreeMap::new();
    for Source { model, .. } in slices.iter().flat_map(|slice| &slice.sources) {
        let view = &models[&model.value];
        one_place(&model.value, view.shapes().map(|(name, _)| name)).map_err(|why| refused(&why, model))?;
        layered.entry(&model.value).or_insert_with(|| Layered::new(view.shapes()));
    }
    let own = Layered::new(models[like].shapes());
    let around = |source: &Source, parts: &Parts<'_>, of_like: &Parts<'_>| {
        let model = &source.model;
        same((&model.value, parts), (like, of_like), &str::to_owned).map_err(|why| refused(&why, model))
    };
    for source in slices.first().into_iter().flat_map(|slice| &slice.sources) {
        around(source, &layered[source.model.value.as_str()].before, &own.before)?;
    }
    for source in slices.iter().flat_map(|slice| &slice.sources) {
        let model = source.model.value.as_str();
        for layer in source.layers.clone().unwrap_or_default() {
            let fits = own.takes(like, (model, &layered[model]), layer);
            fits.map_err(|why| refused(&why, &source.model))?;
        }
    }
    for source in slices.last().into_iter().flat_map(|slice| &slice.sources) {
        around(source, &layered[source.model.value.as_str()].behind, &own.behind)?;
    }
    sources_agree(slices, &layered)
}

fn refused(why: &Misfit, model: &Located<String>) -> Diagnostic {
    Diagnostic::error(why.to_string(), model.span.clone()).expected(why.expected())
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
                let pair = ((other.model.value.as_str(), parts), (first.model.value.as_str(), first_parts));
                same(pair.0, pair.1, &|name| renumbered(name, layer))
                    .map_err(|why| refused(&why, &other.model))?;
            }
        }
    }
    Ok(())
}
