//! The child's chat template, where a configuration asks for another than that of the model the child is like:
//! one that it says itself, or with `auto` the one that most of the models have.
//!
//! mergekit takes any of several that as many models have; here it is the one of the model that the child is like,
//! else of the first model that the configuration names.

use serde::Serialize;

use super::assemble::named;
use super::config::{ChatTemplate, Config};
use super::models::Models;
use crate::base::diagnostic::Diagnostic;
use crate::base::digest::Digest;
use crate::model::Companion;
use crate::model::huggingface::template::{self, DEFAULT};

/// Another template than that of the model that the child is like.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    /// The template.
    text: String,
    /// The models that have it; none if the configuration says it.
    pub(super) models: Vec<String>,
}

/// What a receipt says of it.
#[derive(Debug, Clone, Serialize)]
pub struct OtherTemplate {
    /// The models that have it; none if the configuration says it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// BLAKE3 of its text.
    pub blake3: Digest,
}

impl Chosen {
    /// Puts it among the child's small files.
    pub(super) fn put(&self, companions: &mut Vec<Companion>) {
        template::put(companions, &self.text);
    }

    /// What a receipt says, the models called as `called` has them.
    pub(super) fn receipt(&self, called: impl Fn(&str) -> String) -> OtherTemplate {
        let models = self.models.iter().map(|model| called(model)).collect();
        OtherTemplate { models, blake3: Digest::of(self.text.as_bytes()) }
    }
}

/// The template that was asked for, if it is another one than that of `like`, whom the child is like.
pub(super) fn choose(
    asked: &ChatTemplate,
    config: &Config,
    models: &Models,
    like: &str,
) -> Result<Option<Chosen>, Diagnostic> {
    let own = template::all(&models[like].package).remove(DEFAULT);
    let is_own = |text: &str| own.as_deref().is_some_and(|own| own.trim() == text.trim());
    let Some(text) = &asked.text else {
        return Ok(most_common(config, models, like).filter(|chosen| !is_own(&chosen.text)));
    };
    if !models[like].is_folder {
        let message = "a bare file has no place for a chat template";
        return Err(Diagnostic::error(message, asked.place.clone())
            .expected("expected models that are folders, or no template"));
    }
    Ok((!is_own(text)).then(|| Chosen { text: text.clone(), models: Vec::new() }))
}

/// The template that most models have, but for space around it.
fn most_common(config: &Config, models: &Models, like: &str) -> Option<Chosen> {
    let mut found: Vec<Chosen> = Vec::new();
    let others = named(config).into_iter().map(|model| model.value.as_str()).filter(|model| *model != like);
    for model in std::iter::once(like).chain(others) {
        let Some(text) = template::all(&models[model].package).remove(DEFAULT) else { continue };
        match found.iter_mut().find(|chosen| chosen.text == text.trim()) {
            None => {
                let text = text.trim().to_owned();
                found.push(Chosen { text, models: vec![model.to_owned()] });
            }
            Some(chosen) if !chosen.models.iter().any(|known| known == model) => {
                chosen.models.push(model.to_owned());
            }
            Some(_) => {}
        }
    }
    // The first of those that as many have: an empty one says nothing.
    found.retain(|chosen| !chosen.text.is_empty());
    let most = found.iter().map(|chosen| chosen.models.len()).max()?;
    found.into_iter().find(|chosen| chosen.models.len() == most)
}
