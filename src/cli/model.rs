//! Models as people name them: a file, a folder, or `MODEL+ADAPTER`, one with an adapter on it.

use std::path::{Path, PathBuf};

use super::exit::UsageError;
use crate::model::adapter::{self, Adapter, AdapterError, peft};
use crate::model::{OpenedPackage, open_package};
use crate::operator::Adapted;

/// Opens a model; an adapter in its place is called what it is.
pub(super) fn open_model(path: &Path) -> anyhow::Result<OpenedPackage> {
    open_package(path).map_err(|error| {
        if !peft::is_one(path) && adapter::open(path).is_err() {
            return error.into();
        }
        UsageError::new(format!(
            "{} is an adapter, which is no model without the one it is for",
            path.display()
        ))
        .hint("`studbook convert MODEL+ADAPTER OUT` makes a model of the two")
        .into()
    })
}

/// A model, and what is added to it.
pub(super) struct Given {
    /// The model.
    pub(super) opened: OpenedPackage,
    adapter: Option<(PathBuf, Adapter)>,
}

impl Given {
    /// Opens what `path` names.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let Some((model, added)) = apart(path) else {
            return Ok(Self { opened: open_model(path)?, adapter: None });
        };
        let opened = open_model(&model)?;
        match adapter::open_for(&added, &opened.package)? {
            Some(adapter) => Ok(Self { opened, adapter: Some((added, adapter)) }),
            None => Err(UsageError::new(format!("{} is no adapter", added.display()))
                .hint("behind the `+` stands a package of `studbook extract`, or a PEFT folder")
                .into()),
        }
    }

    /// What speaks against the two belonging together.
    pub(super) fn doubt(&self) -> Option<String> {
        let (path, adapter) = self.adapter.as_ref()?;
        doubt(path, adapter)
    }

    /// The model's tensors with the adapter on them, if there is one, after all checks.
    pub(super) fn adapted(&self) -> Result<Option<Adapted<'_>>, AdapterError> {
        match &self.adapter {
            None => Ok(None),
            Some((path, adapter)) => Adapted::on(&self.opened.package, adapter)
                .map(Some)
                .map_err(|error| AdapterError::InFile { path: path.clone(), source: Box::new(error) }),
        }
    }
}

/// What an adapter's files say against its being for its model, with its place.
pub(super) fn doubt(path: &Path, adapter: &Adapter) -> Option<String> {
    adapter.doubt().map(|why| format!("{}: {why}", path.display()))
}

/// Everything that `path` names: a model, or a model and an adapter.
pub(super) fn named(path: &Path) -> Vec<PathBuf> {
    apart(path).map_or_else(|| vec![path.to_owned()], |(model, adapter)| vec![model, adapter])
}

/// The two that `MODEL+ADAPTER` names; a file whose own name has a plus in it is a model.
fn apart(path: &Path) -> Option<(PathBuf, PathBuf)> {
    if path.exists() {
        return None;
    }
    let (model, adapter) = path.to_str()?.split_once('+')?;
    let [model, adapter] = [model, adapter].map(PathBuf::from);
    (model.exists() && adapter.exists()).then_some((model, adapter))
}
