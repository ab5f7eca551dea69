//! Parents that are adapters, where stages meet them.

use std::path::Path;

use super::StageError;
use crate::base::digest::Digest;
use crate::base::name::Name;
use crate::model::adapter::{self, AdapterIdentity, OpenedAdapter};
use crate::model::identity::Identity;
use crate::model::{Checkpoint, Opened};
use crate::operator::{Adapted, Parent};
use crate::store::Store;

/// A parent as it lies on the disk: a model, or a model and what is added to it.
pub(super) struct Whole {
    /// The model.
    pub(super) model: Opened,
    /// What is added to it.
    pub(super) adapter: Option<OpenedAdapter>,
}

impl Whole {
    /// The model with its adapter on it, if it has one; everything about the two is checked here.
    pub(super) fn adapted(&self) -> Result<Option<Adapted<'_>>, StageError> {
        let Some(opened) = &self.adapter else { return Ok(None) };
        let identity = AdapterIdentity::of(&Identity::of(&self.model.checkpoint));
        let weights = &self.model.checkpoint.weights;
        let adapted = Adapted::new(weights, &identity, &opened.adapter)
            .map_err(|error| StageError::Refused(format!("{}: {error}", opened.mapped.path().display())))?;
        Ok(Some(adapted))
    }

    /// The parent as operators see it.
    pub(super) fn parent<'a>(&'a self, name: &'a Name, adapted: &'a Option<Adapted<'a>>) -> Parent<'a> {
        let model = Parent::new(name.as_str(), &self.model.checkpoint);
        match adapted {
            Some(adapted) => Parent { tensors: adapted, ..model },
            None => model,
        }
    }

    /// A model that can be run. One with an adapter on it is made in memory, as f32.
    pub(super) fn runnable(self, name: &Name) -> Result<Checkpoint, StageError> {
        let Some(adapted) = self.adapted()? else { return Ok(self.model.checkpoint) };
        Ok(adapted.to_checkpoint(&self.model.checkpoint, name.as_str())?)
    }

    /// A file that is not what it was when it was opened.
    pub(super) fn edited(&self) -> Option<&Path> {
        let model = Some(&self.model.mapped);
        let adapter = self.adapter.as_ref().map(|opened| &opened.mapped);
        model.into_iter().chain(adapter).find(|mapped| !mapped.unchanged()).map(|mapped| mapped.path())
    }
}

/// Opens an adapter by its digest.
pub(super) fn open(store: &Store, digest: &Digest) -> Result<OpenedAdapter, StageError> {
    adapter::open(&store.locate(digest)?).map_err(|error| StageError::Refused(error.to_string()))
}
