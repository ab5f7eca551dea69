//! Which row of which model means which token.
//!
//! Adding rows means something if they are of the same token. So the vocabularies of the models that
//! make the embedding matrix and the output matrix are compared, as far as the models say which tokens
//! they have, and a difference is refused with the tokens that differ, unless the configuration or the
//! command line says what is to be done:
//!
//! * `tokenizer_source: base`: by token, as mergekit 0.1.5 has it. The child has the tokens of the base,
//!   or of the first model, a row for each and no more; where a model lacks a token, the base's row
//!   stands in, so that the model changes nothing there.
//! * `tokenizer_source: union`: the same, where no model has a token that the base lacks. Otherwise the
//!   child would need a tokenizer that none of them has, and it is refused.
//! * `--rows-by-number`: by number, whatever the tokens are.

use std::collections::BTreeMap;
use std::ops::Range;

use super::assemble::Views;
use super::config::{ByToken, Config, Slices, Source};
use super::models::Models;
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::convert::{Tokens, View};
use crate::model::tokenizer::files;
use crate::model::tokenizer::vocabulary::Vocabulary;
use crate::operator::Tensors;

/// Rows that are read by token.
pub(super) struct Rows {
    /// For each token of the child, the row of each model, by the models' names.
    by_model: BTreeMap<String, Vec<Option<usize>>>,
    matrices: [String; 2],
    /// How many rows the child has, where those are not as many as the model it is like has.
    pub(super) resized: Option<usize>,
}

impl Rows {
    /// Every view with the child's rows; `like` is that of the model the child is like.
    pub(super) fn applied<'m>(&self, views: Views<'m>, like: &'m View<'m>) -> Views<'m> {
        let with = |(name, view): (String, View<'m>)| {
            let view = match self.by_model.get(&name) {
                Some(rows) => {
                    let matrices = self.matrices.to_vec();
                    view.with_tokens(Tokens { rows: rows.clone(), matrices, like })
                }
                None => view,
            };
            (name, view)
        };
        views.into_iter().map(with).collect()
    }
}

/// The models that have a part in a matrix with a row for each token, once for each such matrix.
fn shares(config: &Config) -> Vec<Vec<&Located<String>>> {
    match &config.slices {
        Slices::Whole(sources) => {
            let mut share = models_of(sources);
            share.extend(&config.base);
            vec![share]
        }
        // The embedding matrix comes as the first slice has it, the output matrix as the last one has it.
        Slices::Stacked(slices) => {
            let ends = slices.first().into_iter().chain(slices.last());
            ends.map(|slice| models_of(&slice.sources)).collect()
        }
    }
}

fn models_of(sources: &[Source]) -> Vec<&Located<String>> {
    sources.iter().map(|source| &source.model).collect()
}

const BY_TOKEN: &str = "`tokenizer_source: base` takes rows by token, `--rows-by-number` as they lie";
const BY_NUMBER: &str = "give each a tokenizer.json; `--rows-by-number` takes rows as they lie";

/// Refuses vocabularies that differ; `like` is whom the child is like.
pub(super) fn compare(config: &Config, models: &Models, like: &str) -> Result<(), Vec<Diagnostic>> {
    let ours = Vocabulary::of_package(&models[like].package);
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut seen = vec![like];
    for model in shares(config).into_iter().flatten() {
        if seen.contains(&model.value.as_str()) {
            continue;
        }
        seen.push(&model.value);
        let theirs = &models[&model.value].package;
        let (difference, help) = match (&ours, Vocabulary::of_package(theirs)) {
            (Some(ours), Some(theirs)) => (ours.difference(&theirs).map(|found| found.to_string()), BY_TOKEN),
            _ => (files::unlike(&models[like].package, theirs).map(|found| found.to_string()), BY_NUMBER),
        };
        if let Some(difference) = difference {
            let message = format!("tokens of `{like}` (here) and `{}` (there): {difference}", model.value);
            let expected = "expected models with the same tokens";
            found.push(Diagnostic::error(message, model.span.clone()).expected(expected).help(help));
        }
    }
    if found.is_empty() { Ok(()) } else { Err(found) }
}

/// The rows of every model by the tokens of `like`, whose tensors `view` has.
pub(super) fn by_token(
    config: &Config,
    models: &Models,
    like: &str,
    view: &View<'_>,
    asked: &ByToken,
) -> Result<Rows, Diagnostic> {
    let place = &asked.place;
    let refuse = |message: String, span: &Range<usize>, expected: &str| {
        Err(Diagnostic::error(message, span.clone()).expected(expected))
    };
    let package = &models[like].package;
    let (Some(ours), Some(naming)) = (Vocabulary::of_package(package), package.naming) else {
        let message = format!("`{like}` does not say which tokens its rows are of");
        return refuse(message, place, "expected a folder with its tokenizer.json");
    };
    let matrices = naming.token_matrices();
    let height = view.shape(&matrices[0]).map_or(0, |shape| shape.dims()[0]);
    let Some(count) = ours.dense(height) else {
        let message = format!("the ids of `{like}` do not count its tokens from zero without a gap");
        return refuse(message, place, "expected an id for each row");
    };
    let mut rows = BTreeMap::new();
    for share in shares(config) {
        let among = |name: &str| share.iter().any(|model| model.value == name);
        let has_base = config.base.as_ref().is_some_and(|base| among(&base.value));
        // Of two models, one of which has every token, that one alone has it.
        let stands_in = has_base || among(like) && share.len() <= 2;
        for model in &share {
            let package = &models[&model.value].package;
            let Some(theirs) = Vocabulary::of_package(package) else {
                let message = format!("`{}` does not say which tokens its rows are of", model.value);
                return refuse(message, &model.span, "expected a folder with its tokenizer.json");
            };
            let there = package.naming.and_then(|naming| package.weights.info(&naming.token_matrices()[0]));
            let there = there.map_or(0, |info| info.shape.dims()[0]);
            let own = ours.rows_in(count, &theirs, there);
            if asked.union
                && let Some(more) = theirs.first_beyond(there, &ours, count)
            {
                let message = format!("`{}` has the token {more:?}, which `{like}` lacks", model.value);
                return refuse(message, place, "expected `base`: of a union no tokenizer is made here");
            }
            // Without a base nobody stands in for a token, and mergekit averages or leaves zeros.
            if !stands_in && let Some(id) = own.iter().position(Option::is_none) {
                let token = ours.token(id).unwrap_or_default();
                let message =
                    format!("`{}` has no token {token:?}, and there is no base to stand in", model.value);
                return refuse(message, &model.span, "expected `base_model` among the models of this matrix");
            }
            rows.insert(model.value.clone(), own);
        }
    }
    let resized = (count != height).then_some(count);
    rows.entry(like.to_owned()).or_insert_with(|| (0..count).map(Some).collect());
    Ok(Rows { by_model: rows, matrices, resized })
}
