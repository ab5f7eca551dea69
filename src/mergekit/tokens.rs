//! Which row of which model means which token.
//!
//! Adding rows means something if they are of the same token. So the vocabularies of the models that
//! make the embedding matrix and the output matrix are compared, as far as the models say which tokens
//! they have, and a difference is refused with the tokens that differ, unless the configuration or the
//! command line says what is to be done:
//!
//! * `tokenizer_source: base`: by token, as mergekit 0.1.5 has it. The child has the tokens of the base,
//!   or of the first model, a row for each and no more; where a model lacks a token, the base's row
//!   stands in, so that the model changes nothing there. Without a base it is the row of the only model that
//!   has the token, or the mean of those that have it.
//! * `tokenizer_source: union`: the same with the tokens of all models ([`super::union`]).
//! * `tokenizer_source: MODEL`: the same with the tokens of that model, and its tokenizer.
//! * `tokens`, beside any: tokens that the child has besides, and whose rows single ones get.
//! * `pad_to_multiple_of`, beside any: rows of no token behind them, the mean of all others.
//! * `--rows-by-number`: by number, whatever the tokens are.

use std::collections::BTreeMap;
use std::ops::Range;

use super::assemble::Views;
use super::config::{ByToken, Config, RowSource, Slices, Source, TokenRow, TokenSource};
use super::models::Models;
use super::union::{self, Grown};
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::convert::{Row, Tokens, View};
use crate::model::Package;
use crate::model::tokenizer::files;
use crate::model::tokenizer::vocabulary::Vocabulary;
use crate::operator::Tensors;

/// Rows that are read by token.
pub(super) struct Rows {
    /// For each row of the child, where each model has it from, by the models' names.
    by_model: BTreeMap<String, Vec<Row>>,
    /// The models that stand in for one another; whose tokens the child has is the first.
    others: Vec<String>,
    matrices: [String; 2],
    /// How many rows the child has, where those are not as many as the model it is like has.
    pub(super) resized: Option<usize>,
    /// The child's tokenizer, where it has tokens that the model lacks whose it was.
    pub(super) tokenizer: Option<Grown>,
    /// The model whose tokenizer it was, where that is not the one that the child is like.
    pub(super) speaker: Option<String>,
    /// Tokens of that tokenizer that have no row, which the child has from it all the same.
    pub(super) rowless: Vec<String>,
}

impl Rows {
    /// Every view with the child's rows; `there` are the same views with the models' own.
    pub(super) fn applied<'m>(&self, views: Views<'m>, there: &'m Views<'m>) -> Views<'m> {
        let with = |(name, view): (String, View<'m>)| {
            let view = match self.by_model.get(&name) {
                Some(rows) => {
                    let others = self.others.iter().map(|name| &there[name] as &dyn Tensors).collect();
                    view.with_tokens(Tokens { rows: rows.clone(), matrices: self.matrices.to_vec(), others })
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

const BY_TOKEN: &str = "`tokenizer_source: base` takes rows by token, `union` with the tokens of all, \
                        `--rows-by-number` as they lie";
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

/// The rows of every model by the tokens of the child, which is like `like`, whose tensors `view` has.
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
    let speaks = match &asked.source {
        TokenSource::Model(model) => model.as_str(),
        TokenSource::Base | TokenSource::Union => like,
    };
    let package = &models[like].package;
    let (Some(ours), Some(naming)) = (Vocabulary::of_package(package), package.naming) else {
        let message = format!("`{like}` does not say which tokens its rows are of");
        return refuse(message, place, "expected a folder with its tokenizer.json");
    };
    let matrices = naming.token_matrices();
    let height = view.shape(&matrices[0]).map_or(0, |shape| shape.dims()[0]);
    let mut speakers = vec![Speaker { name: like, package, vocabulary: ours, rows: height }];
    for model in shares(config).into_iter().flatten() {
        if speakers.iter().all(|speaker| speaker.name != model.value) {
            speakers.push(Speaker::of(&model.value, models, &model.span)?);
        }
    }
    let Some(first) = speakers.iter().position(|speaker| speaker.name == speaks) else {
        let message = format!("`{speaks}` is none of the models that are merged");
        return refuse(message, place, "expected `base`, `union`, or one of them");
    };
    // Whose tokens the child has is the first of them.
    speakers[..=first].rotate_right(1);
    if speakers[0].vocabulary.dense(speakers[0].rows).is_none() {
        let message = format!("the ids of `{speaks}` do not count its tokens from zero without a gap");
        return refuse(message, place, "expected an id for each row");
    }
    let is_whole = matches!(config.slices, Slices::Whole(_));
    if let (false, Some(first)) = (is_whole, asked.tokens.first()) {
        let message = "slices have no rows of single tokens";
        return refuse(message.to_owned(), &first.token.span, "expected whole models, or no `tokens`");
    }
    let named: Vec<&str> = asked.tokens.iter().map(|row| row.token.value.as_str()).collect();
    let (first, others) =
        (&speakers[0], if asked.source == TokenSource::Union { &speakers[1..] } else { &[] });
    let grown = union::grow(first, others, &named).map_err(|message| {
        Diagnostic::error(message, place.clone())
            .expected("expected a base whose tokenizer can be added to, or its own tokens")
    })?;
    let mut tokens: Vec<&str> = first.vocabulary.tokens(first.rows);
    tokens.extend(grown.iter().flat_map(|grown| &grown.tokens).map(String::as_str));
    let total = asked.padded_to.map_or(tokens.len(), |multiple| tokens.len().next_multiple_of(multiple));
    let mut by_model = BTreeMap::new();
    for share in shares(config) {
        let among = |name: &str| share.iter().any(|model| model.value == name);
        let base = config.base.as_ref().map(|base| base.value.as_str()).filter(|base| among(base));
        // Of two models, one of which has every token, that one alone has it.
        let stands_in =
            speaks == like && grown.is_none() && (base.is_some() || among(like) && share.len() <= 2);
        for model in &share {
            let row = |token: &&str| {
                let said = asked.tokens.iter().find(|row| row.token.value == **token);
                match said {
                    Some(said) => said_row(&speakers, &model.value, &among, said),
                    None => Ok(row(&speakers, &model.value, base, &among, token)),
                }
            };
            let rows = tokens.iter().map(row).collect::<Result<Vec<Row>, Diagnostic>>()?;
            let lacks = || rows.iter().position(|row| !matches!(row, Row::Own(_)));
            // A layer's models are not asked for the rows of another matrix than theirs.
            if !is_whole
                && !stands_in
                && let Some(id) = lacks()
            {
                let message = format!(
                    "`{}` has no token {:?}, and slices have no model to stand in",
                    model.value, tokens[id]
                );
                return refuse(message, &model.span, "expected `base_model` among the models of this matrix");
            }
            by_model.insert(model.value.clone(), rows);
        }
    }
    by_model
        .entry(like.to_owned())
        .or_insert_with(|| tokens.iter().map(|token| row(&speakers, like, None, &|_| true, token)).collect());
    by_model.values_mut().for_each(|rows| rows.resize(total, Row::Padding));
    let others = speakers.iter().map(|speaker| speaker.name.to_owned()).collect();
    let resized = (total != height).then_some(total);
    let rowless = first.vocabulary.beyond(first.rows).into_iter().map(str::to_owned).collect();
    let speaker = (speaks != like).then(|| speaks.to_owned());
    Ok(Rows { by_model, others, matrices, resized, tokenizer: grown, speaker, rowless })
}

/// Where a model has the row of a token from: its own, or the only one among the models of the matrix that has
/// one, or the base's, or the mean of all that have one.
fn row(
    speakers: &[Speaker<'_>],
    model: &str,
    base: Option<&str>,
    among: &dyn Fn(&str) -> bool,
    token: &str,
) -> Row {
    let has = |speaker: &Speaker<'_>| speaker.row(token);
    if let Some(own) = speakers.iter().find(|speaker| speaker.name == model).and_then(has) {
        return Row::Own(own);
    }
    let with_it = speakers.iter().enumerate().filter(|(_, speaker)| among(speaker.name));
    let with_it: Vec<(usize, usize)> =
        with_it.filter_map(|(at, speaker)| Some((at, has(speaker)?))).collect();
    let of_base = with_it.iter().find(|(at, _)| Some(speakers[*at].name) == base);
    Row::Of(of_base.map_or(with_it.clone(), |one| vec![*one]))
}

/// Where a model has the row of a token from of which the configuration says it: its own, unless that is not wanted,
/// else what is said.
fn said_row(
    speakers: &[Speaker<'_>],
    model: &str,
    among: &dyn Fn(&str) -> bool,
    said: &TokenRow,
) -> Result<Row, Diagnostic> {
    let token = &said.token.value;
    let own = speakers.iter().find(|speaker| speaker.name == model).and_then(|speaker| speaker.row(token));
    if let (Some(own), false) = (own, said.force) {
        return Ok(Row::Own(own));
    }
    let Some(source) = &said.source else {
        let message = format!("`{model}` has no token {token:?}, and nothing says whose row stands in");
        return Err(Diagnostic::error(message, said.token.span.clone()).expected("expected a `source`"));
    };
    let refuse = |message: String, expected: &str| {
        Err(Diagnostic::error(message, source.span.clone()).expected(expected))
    };
    let (donor, row) = match &source.value {
        RowSource::Zero => return Ok(Row::Of(Vec::new())),
        RowSource::Same { model } => (model, Ok(token)),
        RowSource::Token { model, token } => (model, Ok(token)),
        RowSource::Id { model, id } => (model, Err(*id)),
    };
    let Some(at) = speakers.iter().position(|speaker| speaker.name == *donor && among(speaker.name)) else {
        return refuse(format!("`{donor}` is none of the models that are merged"), "expected one of them");
    };
    let found = match row {
        Ok(token) => speakers[at].row(token),
        Err(id) => (id < speakers[at].rows).then_some(id),
    };
    match (found, row) {
        (Some(found), _) => Ok(Row::Of(vec![(at, found)])),
        (None, Ok(token)) => {
            refuse(format!("`{donor}` has no token {token:?}"), "expected a token that it has")
        }
        (None, Err(id)) => {
            let expected = format!("expected a number below {}", speakers[at].rows);
            refuse(format!("`{donor}` has no row {id}"), &expected)
        }
    }
}

/// A model that says which tokens it has.
pub(super) struct Speaker<'m> {
    name: &'m str,
    pub(super) package: &'m Package,
    pub(super) vocabulary: Vocabulary,
    /// How many rows it has for them.
    pub(super) rows: usize,
}

impl<'m> Speaker<'m> {
    /// Its row of a token.
    fn row(&self, token: &str) -> Option<usize> {
        self.vocabulary.row(token, self.rows)
    }

    fn of(name: &'m str, models: &'m Models, span: &Range<usize>) -> Result<Self, Diagnostic> {
        let package = &models[name].package;
        let Some(vocabulary) = Vocabulary::of_package(package) else {
            let message = format!("`{name}` does not say which tokens its rows are of");
            return Err(Diagnostic::error(message, span.clone())
                .expected("expected a folder with its tokenizer.json"));
        };
        let there = package.naming.and_then(|naming| package.weights.info(&naming.token_matrices()[0]));
        let rows = there.map_or(0, |info| info.shape.dims()[0]);
        Ok(Self { name, package, vocabulary, rows })
    }
}
